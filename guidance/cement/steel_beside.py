"""Steel in a picture that the volume does not know: instruments that were seen, and whatever else is a dense rod."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from guidance.messages import F32, F64
from guidance.tracking.values import SeenInstrument

Marks = npt.NDArray[np.bool_]
_STEEL: Final = 1.4  # diameters: its edge is blurred
_LONG_MM, _WIDEST_MM = 30.0, 10.0  # a straight run of cement is shorter, or wider
_CONTRAST: Final = 0.35  # log contrast that a rod of steel has at least
_CELLS: Final = 128  # along the longer side, in which rods are looked for
_ANGLES: Final = 24  # 7.5 degrees apart: a rod of a tenth of its length in width is found in between
_NARROW: Final = 1.3  # of the median width: where a shaft has no cement around it
_AROUND: Final = 2.0  # bins
_DENSE: Final = 0.15  # log contrast of what may be cement beside it ...
_BESIDE: Final = 1.5  # ... so many widths from its middle
_SAME, _PARALLEL = 0.4, 0.98  # share of a rod that lies in another; cosine


@dataclass(frozen=True, slots=True, eq=False)
class Rod:
    """A straight piece of steel.

    Attributes:
        marks: (R, C) where it is, blurred edge and all.
        bare: (R, C) of them, where nothing else that is dense lies beside it.
        across: unit vector (u, v) across it.
        width: of it, bins.
    """

    marks: Marks
    bare: Marks
    across: tuple[float, float]
    width: float

    def filled(self, cement: Marks) -> Marks:
        """Its places with cement on both sides: there is some before and behind it too."""
        half = int(np.ceil(self.width))
        kernel = np.zeros((2 * half + 1, 2 * half + 1), np.uint8)
        one, two = (
            (round(half + side * self.width * self.across[0]), round(half + side * self.width * self.across[1]))
            for side in (-1.0, 1.0)
        )
        cv2.line(kernel, one, two, (1,))
        closed = cv2.morphologyEx(cement.astype(np.uint8), cv2.MORPH_CLOSE, kernel, borderValue=0)
        return np.asarray((closed > 0) & self.marks & ~cement, np.bool_)


def rods_in(instruments: Sequence[SeenInstrument], to_grid: F64, contrast: F32, mm_per_bin: float) -> list[Rod]:
    """Instruments that were seen, each from the border of the picture to its tip, and other dense rods.

    Cement around a shaft is wider than it for a part of its length only.

    Args:
        instruments: seen in the picture.
        to_grid: (3, 3) bins from pixels.
        contrast: (R, C) log contrast over what the volume predicts; 0 where that is not known.
        mm_per_bin: where the cement is.
    """
    kept: list[_Found] = []
    for one in sorted(_dense(contrast, mm_per_bin), key=lambda rod: -int(np.count_nonzero(rod.marks))):
        if not any(one.like(other) for other in kept):
            kept.append(one)
    kept += _seen(instruments, to_grid, contrast.shape)
    rods = []
    for one in kept:
        crossing = [other.marks for other in kept if abs(float(one.along @ other.along)) <= _PARALLEL]
        alone = np.where(np.any(crossing, axis=0), np.float32(0.0), contrast) if crossing else contrast
        across = (-float(one.along[1]), float(one.along[0]))
        rods.append(Rod(one.marks, one.bare(alone), across, one.width + _AROUND))
    return rods


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A rod, and the line that it runs along."""

    marks: Marks
    middle: F64
    along: F64
    width: float

    def like(self, other: _Found) -> bool:
        """Whether it is for a good part the same."""
        common = np.count_nonzero(self.marks & other.marks)
        alike = abs(float(self.along @ other.along)) > _PARALLEL
        return alike and bool(common > _SAME * np.count_nonzero(self.marks))

    def bare(self, contrast: F32) -> Marks:
        """Where the dense part across it is hardly wider than it is for the most of its length."""
        v, u = np.nonzero(contrast > _DENSE)
        off = np.column_stack([u, v]) - self.middle
        near = np.abs(off @ np.array([-self.along[1], self.along[0]])) < _BESIDE * self.width
        places = np.rint(off[near] @ self.along).astype(np.intp)
        v, u = np.nonzero(self.marks)
        own = np.rint((np.column_stack([u, v]) - self.middle) @ self.along).astype(np.intp)
        if len(places) == 0 or len(own) == 0:
            return self.marks
        first = min(int(places.min()), int(own.min()))
        length = max(int(places.max()), int(own.max())) - first + 1
        widths = np.bincount(places - first, minlength=length)
        here = widths[np.unique(own) - first]
        usual = float(np.median(here[here > 0])) if np.any(here > 0) else self.width
        found = np.zeros_like(self.marks)
        narrow = widths[own - first] <= _NARROW * usual + _AROUND
        found[v[narrow], u[narrow]] = True
        return found


def _seen(instruments: Sequence[SeenInstrument], to_grid: F64, shape: tuple[int, ...]) -> list[_Found]:
    found = []
    for one in instruments:
        line = np.asarray(one.centreline_px, np.float64).copy()
        if one.tip_px is not None:
            line[-1] = one.tip_px
        back = line[0] - line[1]
        start = line[0] + back * (2.0 * max(shape) / to_grid[0, 0] / max(float(np.linalg.norm(back)), 1e-6))
        points = np.concatenate((start[None], line)) @ to_grid[:2, :2].T + to_grid[:2, 2]
        width = _STEEL * one.diameter_px * float(to_grid[0, 0])
        marks = np.zeros(shape, np.uint8)
        cv2.polylines(marks, [np.rint(points).astype(np.int32)], False, (1,), thickness=max(1, round(width)))
        along = (line[-1] - line[0]) / max(float(np.linalg.norm(line[-1] - line[0])), 1e-6)
        found.append(_Found(marks > 0, to_grid[:2, :2] @ line[-1] + to_grid[:2, 2], along, width))
    return found


def _dense(contrast: F32, mm_per_bin: float) -> list[_Found]:
    """Straight, narrow and long runs of what is as dense as steel."""
    rows, columns = contrast.shape
    step = max(1, round(max(rows, columns) / _CELLS))
    size = (max(1, columns // step), max(1, rows // step))
    dense = (contrast > _CONTRAST).astype(np.float32)
    small = (cv2.resize(dense, size, interpolation=cv2.INTER_AREA) > 0.5).astype(np.uint8)
    half, wide = 0.5 * _LONG_MM / (mm_per_bin * step), round(0.5 * _WIDEST_MM / (mm_per_bin * step))
    ball = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * wide + 1, 2 * wide + 1))
    reach = int(np.ceil(half))
    found = []
    for angle in np.arange(_ANGLES) * (np.pi / _ANGLES):
        kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
        u, v = round(half * float(np.cos(angle))), round(half * float(np.sin(angle)))
        cv2.line(kernel, (reach - u, reach - v), (reach + u, reach + v), (1,))
        run = cv2.morphologyEx(small, cv2.MORPH_OPEN, kernel, borderValue=0)
        run &= ~cv2.dilate(cv2.morphologyEx(run, cv2.MORPH_OPEN, ball, borderValue=0), np.ones((3, 3), np.uint8))
        count, labels, stats, _ = cv2.connectedComponentsWithStats(run, connectivity=8)
        for label in range(1, count):
            if stats[label, cv2.CC_STAT_AREA] > half:
                points = np.argwhere(labels == label)[:, ::-1].astype(np.float32)
                found.append(_run(points, float(angle), step, (rows, columns)))
    return found


def _run(points: F32, angle: float, step: int, shape: tuple[int, int]) -> _Found:
    """Of its cells (u, v): as wide as it is for the most of its length."""
    places = np.rint(points @ np.array([np.cos(angle), np.sin(angle)])).astype(np.intp)
    places -= places.min()
    widths = np.bincount(places)
    width = float(np.median(widths[widths > 0]))
    narrow = points[widths[places] <= _NARROW * width]
    along_u, along_v, u, v = (float(n) for n in cv2.fitLine(narrow, cv2.DIST_L1, 0, 0.01, 0.01).ravel())
    ends = (points - np.array([u, v])) @ np.array([along_u, along_v])
    marks = np.zeros(shape, np.uint8)
    one, two = (
        (round((u + end * along_u + 0.5) * step), round((v + end * along_v + 0.5) * step))
        for end in (float(ends.min()) - 1.0, float(ends.max()) + 1.0)
    )
    cv2.line(marks, one, two, (1,), thickness=max(1, round((width + 1.0) * step)))
    middle = np.array([(u + 0.5) * step, (v + 0.5) * step])
    return _Found(marks > 0, middle, np.array([along_u, along_v]), (width + 1.0) * step)
