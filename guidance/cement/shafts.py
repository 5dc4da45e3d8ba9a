"""Instruments over cement: which of them the reference shows as well, and where one's lumen hides what is in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from guidance.messages import F64, U8, CementView
from guidance.tracking.values import SeenInstrument

_SHAFT: Final = 0.6  # of the diameter: its edge is blurred
_STILL_PX: Final = 1.5  # across itself, beside what is not known of where it is; of a picture of 512 px
_STILL_TIP_PX: Final = 4.0
_BODY_REACH: Final = 1.4  # of a ball's radius: how far cement lies around the tip, and along the shaft
_LEAST_REACH: Final = 2.0  # of the diameter
_BESIDE: Final = 1.0  # diameters from its middle: outside the shaft and its blurred edge
_GAP: Final = 3.0  # diameters without cement beside it, beyond which it has ended
_FAR_PX: Final = 4096.0
_KEPT_NS: Final = 500_000_000
_GONE_NS: Final = 1_000_000_000


class Shafts:
    """The instruments of one pose; one thread.

    An instrument that stands where it stood in the reference takes nothing away from what is new: it is in both
    pictures. One that came, moved or left hides what is under it, then and now.
    """

    def __init__(self) -> None:
        self._first: dict[str, SeenInstrument] | None = None
        self._last_ns: dict[str, int] = {}
        self._lumens: tuple[SeenInstrument, ...] = ()
        self._seen_ns = 0

    def moved(
        self,
        seen: Sequence[SeenInstrument],
        time_ns: int,
        motion: tuple[float, float, float],
        side_px: int,
        mask: U8 | None = None,
    ) -> list[SeenInstrument]:
        """Those that do not stand where they stood, and where those stood that have left.

        Args:
            seen: in this frame.
            time_ns: of the frame.
            motion: of the picture against the reference, as in `CementView`.
            side_px: the picture's longer side.
            mask: 1 where new cement was in the frame before, of the same pose: a tip in it is not told any more.
        """
        if self._first is None:
            # The first frame that is followed is a moment after the reference.
            self._first = {one.path_id: one for one in seen}
            self._last_ns = dict.fromkeys(self._first, time_ns)
            return []
        scale = side_px / 512.0
        found = []
        for one in seen:
            before = self._first.get(one.path_id)
            if before is None or not _stands(before, one, motion, scale, mask):
                found.append(one)
                if before is not None:
                    found.append(before)
            self._last_ns[one.path_id] = time_ns
        # Steel that has gone and cement that came in its place take each other away: nothing is told of that place.
        gone = [path_id for path_id in self._first if time_ns - self._last_ns[path_id] > _GONE_NS]
        return found + [self._first[path_id] for path_id in gone]

    def lumens(self, seen: Sequence[SeenInstrument], time_ns: int, last: CementView | None) -> F64 | None:
        """(N, 5) u0, v0, u1, v1, radius: capsules in which cement does not count, for it is within an instrument.

        Around the tip, as far as the cement that flows out reaches, it counts: there it lies before and behind too.

        Args:
            seen: in this frame; where none is, those seen within the last half second.
            time_ns: of the frame.
            last: the view before, for how much cement there is; None: none.
        """
        if seen:
            self._lumens, self._seen_ns = tuple(seen), time_ns
        elif time_ns - self._seen_ns > _KEPT_NS:
            self._lumens = ()  # it may have been withdrawn: what is there now is a track
        if not self._lumens:
            return None
        radius_px, mask = 0.0, None
        if last is not None and last.seen and last.mask is not None:
            radius_px, mask = math.sqrt(max(last.area_px, 0.0) / math.pi), last.mask
        capsules = []
        for one in self._lumens:
            free_px = _BODY_REACH * radius_px
            if mask is not None:
                free_px = max(free_px, beside_px(one, mask))
            reach_px = float(np.hypot(*mask.shape)) if mask is not None else _FAR_PX
            capsules.append(lumen_px(one, reach_px, free_px=free_px))
        return np.concatenate(capsules)


def beside_px(seen: SeenInstrument, mask: U8) -> float:
    """How far from its tip backwards new cement lies beside a shaft: there it flows back around it.

    Args:
        mask: 1 where new cement is, of the same picture.
    """
    line = np.asarray(seen.centreline_px, np.float64)
    tip = np.array(seen.tip_px) if seen.tip_px is not None else line[-1]
    back = (line[0] - tip) / max(float(np.linalg.norm(line[0] - tip)), 1e-6)
    across = np.array((-back[1], back[0])) * (_BESIDE * seen.diameter_px)
    rows, columns = mask.shape
    places = np.arange(0.0, float(np.hypot(rows, columns)), 2.0)
    points = tip + places[:, None] * back
    found = np.zeros(len(places), np.bool_)
    for side in (points + across, points - across):
        u, v = np.rint(side).astype(int).T
        inside = (u >= 0) & (u < columns) & (v >= 0) & (v < rows)
        found[inside] |= mask[v[inside], u[inside]] > 0
    there = places[found]
    if len(there) == 0 or there[0] > _GAP * seen.diameter_px + _BODY_REACH * seen.diameter_px:
        return 0.0
    ends = np.flatnonzero(np.diff(there) > _GAP * seen.diameter_px)
    return float(there[ends[0]] if len(ends) else there[-1]) + seen.diameter_px


def lumen_px(seen: SeenInstrument, reach_px: float, *, free_px: float = 0.0) -> F64:
    """(N, 5) u0, v0, u1, v1, radius: a shaft without its last part, drawn out backwards by `reach_px`.

    Args:
        free_px: length of the part at the tip that is left out; at least twice the diameter is.
    """
    line = np.asarray(seen.centreline_px, np.float64).copy()
    if seen.tip_px is not None:
        line[-1] = seen.tip_px
    line = _shortened(line, max(free_px, _LEAST_REACH * seen.diameter_px))
    back = line[0] - line[1]
    start = line[0] + back * (reach_px / max(float(np.linalg.norm(back)), 1e-6))
    points = np.concatenate((start[None], line))
    radius = np.full((len(points) - 1, 1), _SHAFT * seen.diameter_px)
    return np.concatenate((points[:-1], points[1:], radius), axis=1)


def _shortened(line: F64, by_px: float) -> F64:
    """A polyline without its end; of one that is shorter only a piece at its beginning is left, drawn backwards."""
    while True:
        last = line[-1] - line[-2]
        length = float(np.linalg.norm(last))
        if length > by_px or len(line) == 2:
            line[-1] = line[-1] - last * (by_px / max(length, 1e-6))
            return line
        by_px -= length
        line = line[:-1]


def _stands(
    before: SeenInstrument, now: SeenInstrument, motion: tuple[float, float, float], scale: float, mask: U8 | None
) -> bool:
    shift = np.array(motion[:2])
    first = np.asarray(before.centreline_px, np.float64) + shift
    line = np.asarray(now.centreline_px, np.float64)
    along = first[-1] - first[0]
    along = along / max(float(np.linalg.norm(along)), 1e-6)
    across = np.array((-along[1], along[0]))
    slack = scale * _STILL_PX + 2.0 * math.hypot(before.sigma_px, now.sigma_px)
    if float(np.abs((line[[0, -1]] - first[0]) @ across).max()) > 2.0 * slack:
        return False
    if float(abs((line.mean(axis=0) - first[0]) @ across)) > slack:
        return False
    if mask is not None and _lies_in(mask, np.array(before.tip_px if before.tip_px is not None else first[-1]) + shift):
        return True
    if before.tip_px is None or now.tip_px is None:
        return before.tip_px is None and now.tip_px is None
    sigma = math.hypot(before.tip_sigma_px or 0.0, now.tip_sigma_px or 0.0)
    tip = (np.array(now.tip_px) - shift - np.array(before.tip_px)) @ along
    return abs(float(tip)) <= scale * _STILL_TIP_PX + 2.0 * sigma


def _lies_in(mask: U8, place: F64) -> bool:
    u, v = (round(float(value)) for value in place)
    return 0 <= v < mask.shape[0] and 0 <= u < mask.shape[1] and bool(mask[v, u])
