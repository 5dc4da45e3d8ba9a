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
_AROUND: Final = 2.0  # bins


@dataclass(frozen=True, slots=True, eq=False)
class Rod:
    """A straight piece of steel.

    Attributes:
        marks: (R, C) where it is, blurred edge and all.
        across: unit vector (u, v) across it.
        width: of it, bins.
    """

    marks: Marks
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


def rods_of_instruments(instruments: Sequence[SeenInstrument], to_grid: F64, shape: tuple[int, ...]) -> list[Rod]:
    """Each from the border of the picture to its tip.

    Args:
        instruments: seen in the picture.
        to_grid: (3, 3) bins from pixels.
        shape: of the grid.
    """
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
        found.append(Rod(marks > 0, (-float(along[1]), float(along[0])), width + _AROUND))
    return found


def dense_rods(contrast: F32, mm_per_bin: float) -> list[Rod]:
    """Straight, narrow and long runs of what is as dense as steel, by direction.

    Args:
        contrast: (R, C) log contrast over what the volume predicts; 0 where that is not known.
        mm_per_bin: where the cement is.
    """
    rows, columns = contrast.shape
    step = max(1, round(max(rows, columns) / _CELLS))
    dense = (contrast > _CONTRAST).astype(np.float32)
    size = (max(1, columns // step), max(1, rows // step))
    small = (cv2.resize(dense, size, interpolation=cv2.INTER_AREA) > 0.5).astype(np.uint8)
    mm = mm_per_bin * step
    half, wide = 0.5 * _LONG_MM / mm, round(0.5 * _WIDEST_MM / mm)
    ball = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * wide + 1, 2 * wide + 1))
    runs: list[tuple[float, npt.NDArray[np.uint8]]] = []
    for angle in np.arange(_ANGLES) * (np.pi / _ANGLES):
        reach = int(np.ceil(half))
        kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
        u, v = round(half * float(np.cos(angle))), round(half * float(np.sin(angle)))
        cv2.line(kernel, (reach - u, reach - v), (reach + u, reach + v), (1,))
        run = cv2.morphologyEx(small, cv2.MORPH_OPEN, kernel, borderValue=0)
        run &= ~cv2.dilate(cv2.morphologyEx(run, cv2.MORPH_OPEN, ball, borderValue=0), np.ones((3, 3), np.uint8))
        if np.count_nonzero(run) > half:
            runs.append((float(angle), run))
    if not runs:
        return []
    together = np.max([run for _, run in runs], axis=0)
    depth = cv2.distanceTransform(np.pad(together, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    near = np.ones((3, 3), np.uint8)
    found = []
    for angle, run in runs:
        width = 2.0 * float(np.quantile(depth[run > 0], 0.8)) * step + 2.0 * step
        marks = cv2.resize(cv2.dilate(run, near), (columns, rows), interpolation=cv2.INTER_NEAREST) > 0
        found.append(Rod(marks, (-float(np.sin(angle)), float(np.cos(angle))), width + _AROUND))
    return found
