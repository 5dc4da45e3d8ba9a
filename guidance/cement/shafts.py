"""Instruments over cement: which of them the reference shows as well, and where one's lumen hides what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from guidance.cement.reference import ReferencePicture
from guidance.cement.shaft_stands import ends_alike, in_line, placed
from guidance.cement.steel_shafts import deeper, steel_along
from guidance.cement.values import CementFrame, CementScene
from guidance.messages import F64, U8, CementView
from guidance.tracking.find import find_instruments
from guidance.tracking.known_metal import IN_PATIENT
from guidance.tracking.values import SeenInstrument

_SHAFT: Final = 0.6  # of the diameter: its edge is blurred
_LEAST_REACH: Final = 1.2  # of the diameter: what cannot be seen beside it
_BESIDE: Final = 0.85  # diameters from its middle: outside the shaft and its blurred edge
_GAP: Final = 3.0  # diameters without cement beside it, beyond which it has ended ...
_FIRST: Final = 4.4  # ... or has not begun, at the tip
_FAR_PX: Final = 4096.0
_KEPT_NS: Final = 500_000_000  # one that stands is missed in single frames
_GONE_NS: Final = 1_000_000_000  # missed for longer it may have left
_LONGEST_NS: Final = 500_000_000  # between frames: a longer time nobody looked


class Shafts:
    """The instruments of one pose; one thread.

    An instrument that stands where it stood in the reference takes nothing away from what is new: it is in both
    pictures. One that came, moved or left hides what is under it, then and now.
    """

    def __init__(self) -> None:
        self._first: dict[str, SeenInstrument] = {}
        self._whole: dict[str, SeenInstrument] = {}  # of those, where the steel goes on beyond what the search sees
        self._begun = False
        self._unwatched: frozenset[str] = frozenset()
        self._missed_ns: dict[str, int] = {}
        self._endless_ns: dict[str, int] = {}
        self._standing: dict[str, SeenInstrument] = {}
        self._lumens: tuple[SeenInstrument, ...] = ()
        self._seen_ns = 0
        self._last_ns: int | None = None

    def stood(self, seen: Sequence[SeenInstrument], steel: Sequence[SeenInstrument] = ()) -> None:
        """Those that the reference shows, in its place: cement hides ends later on, and sometimes all of one.

        Args:
            seen: as in frames; one that is missed for long has left.
            steel: as the reference shows it. Where the search for instruments sees none, missing it tells nothing; one
                that goes on beyond the end that the search sees crosses something dense there.
        """
        watched = {one.path_id: one for one in seen}
        self._first = {one.path_id: one for one in steel} | watched
        self._unwatched = frozenset(self._first) - frozenset(watched)
        pairs = [(watched[one.path_id], one) for one in steel if one.path_id in watched]
        self._whole = {one.path_id: whole for one, of in pairs if (whole := deeper(one, of)) is not None}
        self._standing, self._missed_ns = self._first | self._whole, dict.fromkeys(self._first, 0)

    def reference_moved(self, motion: tuple[float, float, float]) -> None:
        """From now on the reference is another, where a frame with this motion is."""
        self._first = {path_id: placed(one, motion) for path_id, one in self._first.items()}
        self._whole = {path_id: placed(one, motion) for path_id, one in self._whole.items()}

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
            mask: 1 where new cement was in the frame before, of the same pose: near it a tip is not told any more;
                None: not known.
        """
        passed_ns = 0 if self._last_ns is None else min(max(time_ns - self._last_ns, 0), _LONGEST_NS)
        self._last_ns = time_ns
        scale = side_px / 512.0
        found = []
        now = {one.path_id: one for one in seen}
        if not self._begun:
            # The first frame that is followed is a moment after the reference.
            self._begun = True
            for path_id, one in now.items():
                if path_id not in self._first:
                    self._first[path_id], self._missed_ns[path_id] = one, 0
        for path_id, one in now.items():
            before = self._first.get(path_id)
            whole = None if before is None else self._whole.get(path_id, before)
            if before is not None and whole is not None:
                self._missed_ns[path_id] = 0
                ended = one.tip_px is not None or before.tip_px is None
                self._endless_ns[path_id] = 0 if ended else self._endless_ns.get(path_id, 0) + passed_ns
                if in_line(before, one, motion, scale) and (
                    # Where its end is not seen, a crossing edge may be what it seems to end at.
                    (not ended and self._endless_ns[path_id] < _KEPT_NS)
                    or any(ends_alike(of, one, motion, scale, mask) for of in (before, whole))
                ):
                    self._standing[path_id] = placed(whole, motion, one)
                    continue
            self._standing.pop(path_id, None)
            found.append(one)
            if whole is not None:
                found.append(whole)
        for path_id, before in (self._first | self._whole).items():
            if path_id in now:
                continue
            self._missed_ns[path_id] += 0 if path_id in self._unwatched else passed_ns
            if self._missed_ns[path_id] >= _GONE_NS:
                # Steel that has gone and cement that came in its place take each other away: nothing is told there.
                # It may as well be hidden by cement: where its steel is seen to stand, its lumen is still one.
                found.append(before)
            if path_id in self._standing:
                self._standing[path_id] = placed(before, motion)
        return found

    def lumens(self, seen: Sequence[SeenInstrument], time_ns: int, last: CementView | None) -> F64 | None:
        """(N, 5) u0, v0, u1, v1, radius: capsules in which cement does not count, for it is within an instrument.

        Around the tip, as far as cement is seen beside it, it counts: there it lies before and behind too.

        Args:
            seen: in this frame; where none is, those seen within the last half second. One that stands, as `moved`
                was told, reaches as far as it did before there was cement.
            time_ns: of the frame.
            last: the view before, for where cement is; None: none.
        """
        shafts = {one.path_id: one for one in seen} | self._standing
        if shafts:
            self._lumens, self._seen_ns = tuple(shafts.values()), time_ns
        elif time_ns - self._seen_ns > _KEPT_NS:
            self._lumens = ()  # it may have been withdrawn: what is there now is a track
        if not self._lumens:
            return None
        mask = last.mask if last is not None and last.seen else None
        capsules = []
        for one in self._lumens:
            free_px = 0.0 if mask is None else beside_px(one, mask)
            reach_px = float(np.hypot(*mask.shape)) if mask is not None else _FAR_PX
            capsules.append(lumen_px(one, reach_px, free_px=free_px))
        return np.concatenate(capsules)


def shafts_of(
    frame: CementFrame, scene: CementScene, reference: ReferencePicture, *, cement: bool
) -> tuple[tuple[SeenInstrument, ...], tuple[SeenInstrument, ...]]:
    """Those that a reference shows: found like in any frame, and by their steel along the paths.

    Args:
        frame: in whose place the reference is.
        scene: its paths; without known metal only steel is looked for.
        reference: without cement.
        cement: there is some in the frame, and it would hide ends.
    """
    if frame.pixel_from_patient is None:
        return (), ()
    matrix = np.array(frame.pixel_from_patient, np.float64).reshape(3, 4)
    found: tuple[SeenInstrument, ...] = ()
    if scene.metal is not None and not cement:
        found = find_instruments(
            frame.pixels,
            matrix,
            scene.paths,
            intensity=frame.intensity.relationship,
            sign=frame.intensity.sign,
            known_metal=scene.metal,
            collimator_px=frame.collimator_px,
        )
    return found, steel_along(reference, [path for path in scene.paths if path.stage not in IN_PATIENT], matrix)


def beside_px(seen: SeenInstrument, mask: U8) -> float:
    """How far from its tip backwards new cement lies beside a shaft, both sides taken together.

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
    reach = 0.0
    for side in (points + across, points - across):
        u, v = np.rint(side).astype(int).T
        inside = (u >= 0) & (u < columns) & (v >= 0) & (v < rows)
        found = np.zeros(len(places), np.bool_)
        found[inside] = mask[v[inside], u[inside]] > 0
        there = places[found]
        if len(there) == 0 or there[0] > _FIRST * seen.diameter_px:
            continue
        ends = np.flatnonzero(np.diff(there) > _GAP * seen.diameter_px)
        # A front that crosses the shaft aslant is on one side before it is on the other.
        reach += 0.5 * float(there[ends[0]] if len(ends) else there[-1])
    return reach + _SHAFT * seen.diameter_px if reach > 0.0 else 0.0


def lumen_px(seen: SeenInstrument, reach_px: float, *, free_px: float = 0.0) -> F64:
    """(N, 5) u0, v0, u1, v1, radius: a shaft without its last part, drawn out backwards by `reach_px`.

    Args:
        free_px: length of the part at the tip that is left out; at least 1.2 times the diameter is.
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
