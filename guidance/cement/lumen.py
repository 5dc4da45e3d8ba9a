"""Cement inside a cannula that nobody told of: a thin line of new contrast that lies on steel of the reference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from guidance.messages import F32, F64, U8, CementView

_WIDEST: Final = 0.06  # of the picture: what is wider is no instrument
_STEEL: Final = 0.2  # natural logarithm over what lies beside it
_EDGE_BINS: Final = 2
_LEAST_LENGTH: Final = 0.07  # of the picture
_SLIM: Final = 6.0  # length over width
_BESIDE: Final = 0.3  # share of new contrast in the strip around it that may lie beside the steel
_MOST: Final = 3
_BODY_REACH: Final = 1.4  # of a ball's radius: how far cement lies around the tip, and along the shaft
_FEWEST: Final = 60  # bins
_ROUNDS: Final = 12
_STRIP_BINS: Final = 6.0  # half of it: a cannula's width and what its direction is off
_GAP: Final = 0.15  # of the picture: where a rod crosses
_STEP: Final = 0.5  # of half the length that is known
_LOOKS: Final = 4  # every so many frames


@dataclass(frozen=True, slots=True)
class _Line:
    """A lumen in the reference's pixels: its end at the tip, its other end drawn out of the picture, half its width."""

    tip: tuple[float, float]
    back: tuple[float, float]
    radius: float


class LumenFinder:
    """Looks for lumens of one pose until it has found them; one thread.

    A vein is thin and fast as well; it does not run along the middle of a steel shaft, and it does not fill one from
    end to end.

    Args:
        attenuation: (R, C) of the reference.
        valid: (R, C) 1 where it is known.
        step: pixels per bin.
    """

    def __init__(self, attenuation: F32, valid: U8, step: int) -> None:
        side = max(attenuation.shape)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (max(3, round(_WIDEST * side)) | 1,) * 2)
        known = np.where(valid > 0, attenuation, np.float32(np.median(attenuation[valid > 0])))
        steel = (cv2.morphologyEx(known.astype(np.float32), cv2.MORPH_TOPHAT, kernel) > _STEEL) & (valid > 0)
        near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _EDGE_BINS + 1,) * 2)
        self._steel: npt.NDArray[np.bool_] = cv2.dilate(steel.astype(np.uint8), near) > 0
        self._step, self._side = step, side
        self._lines: list[_Line] = []
        self._looks = 0

    def look(self, view: CementView) -> None:
        """Look at a frame's mask; each few frames, for a lumen fills in a second or two."""
        self._looks += 1
        if view.mask is None or len(self._lines) >= _MOST or self._looks % _LOOKS or view.area_px <= 0.0:
            return
        step = self._step
        rows, columns = self._steel.shape
        shift = np.array([[1.0, 0.0, -view.motion[0] / step], [0.0, 1.0, -view.motion[1] / step]])
        small = np.ascontiguousarray(view.mask[step // 2 :: step, step // 2 :: step][:rows, :columns])
        new = cv2.warpAffine(small, shift, (columns, rows), flags=cv2.INTER_NEAREST) > 0
        if self._lines:
            new &= ~self._taken(new.shape)
        on_steel = (new & self._steel[: new.shape[0], : new.shape[1]]).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(on_steel, connectivity=8)
        for label in range(1, count):
            if stats[label, cv2.CC_STAT_AREA] >= _FEWEST:
                found = self._line_of(np.argwhere(labels == label)[:, ::-1].astype(np.float64), new)
                if found is not None:
                    self._lines.append(found)

    def capsules(self, last: CementView | None) -> F64 | None:
        """(N, 5) u0, v0, u1, v1, radius in the last frame's pixels: cement in them does not count; None: none found."""
        if not self._lines:
            return None
        shift = np.array(last.motion[:2]) if last is not None and last.seen else np.zeros(2)
        radius = math.sqrt(max(last.area_px, 0.0) / math.pi) if last is not None and last.seen else 0.0
        rows = []
        for line in self._lines:
            tip, back = np.array(line.tip), np.array(line.back)
            along = (back - tip) / max(float(np.linalg.norm(back - tip)), 1e-6)
            near = tip + along * max(_BODY_REACH * radius, 2.0 * line.radius)
            rows.append((*(near + shift), *(back + shift), line.radius))
        return np.array(rows, np.float64)

    def _line_of(self, points: F64, new: npt.NDArray[np.bool_]) -> _Line | None:
        middle = points.mean(axis=0)
        _, sizes, axes = np.linalg.svd(points - middle, full_matrices=False)
        along, across = axes[0], axes[1]
        places = (points - middle) @ along
        length = float(places.max() - places.min()) + 1.0
        width = len(points) / length
        if length < _LEAST_LENGTH * self._side or length < _SLIM * width:
            return None
        if float(sizes[1]) / math.sqrt(len(points)) > max(width, 1.5):
            return None
        ends = self._along_steel(middle + np.outer((places.min(), places.max()), along))
        along = (ends[1] - ends[0]) / max(float(np.linalg.norm(ends[1] - ends[0])), 1e-6)
        across, middle, length = (
            np.array((-along[1], along[0])),
            ends.mean(axis=0),
            float(np.linalg.norm(ends[1] - ends[0])),
        )
        v, u = np.nonzero(new)
        every = np.stack((u, v), axis=1).astype(np.float64) - middle
        strip = (np.abs(every @ across) < 2.0 * width + 2.0) & (np.abs(every @ along) < 0.5 * length)
        beside = strip & ~self._steel[v, u]
        if np.count_nonzero(beside) > _BESIDE * np.count_nonzero(strip):
            return None
        tip, far = self._turned(ends, every[~strip] + middle)
        back = far + (far - tip) / max(float(np.linalg.norm(far - tip)), 1e-6) * self._side
        half = (self._step - 1) / 2.0
        return _Line(
            tip=(float(tip[0]) * self._step + half, float(tip[1]) * self._step + half),
            back=(float(back[0]) * self._step + half, float(back[1]) * self._step + half),
            radius=(width + 2.0 * _EDGE_BINS) * self._step,
        )

    def _along_steel(self, ends: F64) -> F64:
        """(2, 2) ends of the straight steel that a piece lies on; crossing steel and short gaps do not end it."""
        v, u = np.nonzero(self._steel)
        steel = np.stack((u, v), axis=1).astype(np.float64)
        for _ in range(_ROUNDS):
            middle = ends.mean(axis=0)
            half = 0.5 * float(np.linalg.norm(ends[1] - ends[0]))
            along = (ends[1] - ends[0]) / max(2.0 * half, 1e-6)
            across = np.array((-along[1], along[0]))
            near = steel[np.abs((steel - middle) @ across) < _STRIP_BINS] - middle
            places = np.unique(np.rint(near @ along).astype(int))
            gaps = np.flatnonzero(np.diff(places) > _GAP * self._side)
            first = int(np.searchsorted(places[gaps], -half, side="left")) if len(gaps) else 0
            starts = np.concatenate(([0], gaps + 1))
            stops = np.concatenate((gaps, [len(places) - 1]))
            run = min(first, len(starts) - 1)
            low, high = float(places[starts[run]]), float(places[stops[run]])
            # One step at a time: the direction of a short piece is not known well enough to go far.
            # But beyond a gap at least to where the steel goes on, and a little further.
            after, before = places[places > half], places[places < -half]
            farthest = max(half + _STEP * half, float(after[0]) + _STEP * half) if len(after) else half
            nearest = min(-half - _STEP * half, float(before[-1]) - _STEP * half) if len(before) else -half
            low, high = max(low, nearest), min(high, farthest)
            own = near[(near @ along >= low) & (near @ along <= high)]
            if len(own) < _FEWEST:
                return ends
            centre = own.mean(axis=0)
            axis = np.linalg.svd(own - centre, full_matrices=False)[2][0]
            axis = axis if axis @ along > 0.0 else -axis
            reach = (own - centre) @ axis
            ends = middle + centre + np.outer((float(reach.min()), float(reach.max())), axis)
        return ends

    def _turned(self, ends: F64, others: F64) -> tuple[F64, F64]:
        """The end at the tip first: where other cement is, else the one farther inside the picture."""
        if len(others) >= _FEWEST:
            away = [float(np.median(np.linalg.norm(others - end, axis=1))) for end in ends]
        else:
            rows, columns = self._steel.shape
            centre = np.array([(columns - 1) / 2.0, (rows - 1) / 2.0])
            away = [float(np.linalg.norm(end - centre)) for end in ends]
        return (ends[0], ends[1]) if away[0] <= away[1] else (ends[1], ends[0])

    def _taken(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        canvas = np.zeros(shape, np.uint8)
        for line in self._lines:
            ends = [tuple(int(value / self._step) for value in end) for end in (line.tip, line.back)]
            cv2.line(canvas, ends[0], ends[1], 1, max(1, 2 * int(line.radius / self._step)))
        taken: npt.NDArray[np.bool_] = canvas > 0
        return taken
