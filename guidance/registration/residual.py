"""What is left after a pose: how far off, tile by tile, the nearest likeness lies; not what was optimised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from guidance.messages import F64
from guidance.registration.measure import normalised
from guidance.registration.refine import Problem

_LEVEL: Final = 1
_TILE_MM: Final = 24.0
_REACH_MM: Final = 7.5
_AGREES_MM: Final = 2.0
_LIKE: Final = 0.4  # correlation of a tile from which on its shift says something
_LEAD: Final = 0.15  # by which it must be above what lies 4 mm and more from the best place
_RIVAL_MM: Final = 4.0
_LEAST_STRUCTURE: Final = 0.35
_LEAST_VALID: Final = 0.6

# Measured by `guidance bench registration` (docs/decisions/0016): a view that fits has 0.65 of its telling tiles in
# place or more, even with hands and instruments over a third of it; one that has nothing to do with the volume 0.35 at
# most, a mirrored one 0.5.
LEAST_SIMILARITY: Final = 0.25
_CLEAR: Final = 0.7  # share of telling tiles in place that makes up for
_LEAST_IF_CLEAR: Final = 0.12  # similarity this low: most of the picture is in the way, or dark
_LEAST_AGREEING: Final = 0.5
_LEAST_AGREEING_ALL: Final = 0.55
_FEW: Final = 6  # telling tiles of a view: where there are fewer its similarity alone must do
_SIMILAR_ENOUGH: Final = 0.4
_LEAST_TELLING: Final = 10  # of all views together
_LARGEST_MEDIAN_MM: Final = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class LeftOver:
    """One view's tiles.

    Attributes:
        shifts_mm: (N, 2) right and down at the pivot's depth, of the telling tiles: like the projection at one
            place near where it should be and clearly less so elsewhere.
        tiles: how many have structure in the projection and are picture.
        agreeing: share of the telling tiles that are in place to within 2 mm.
    """

    shifts_mm: F64
    tiles: int
    agreeing: float

    @property
    def median_mm(self) -> float | None:
        """Median length of the shifts."""
        return float(np.median(np.linalg.norm(self.shifts_mm, axis=1))) if len(self.shifts_mm) else None


def agrees(views: Sequence[LeftOver], similarities: Sequence[float]) -> list[bool]:
    """Whether each view speaks for the pose.

    Args:
        views: their tiles.
        similarities: of each, at the middle level: at the finest one noise alone can make them low.
    """
    telling = np.array([len(view.shifts_mm) for view in views])
    in_place = float(np.dot(telling, [view.agreeing for view in views]))
    words = [_speaks(view, similarity) for view, similarity in zip(views, similarities, strict=True)]
    enough = telling.sum() >= _LEAST_TELLING and in_place >= _LEAST_AGREEING_ALL * float(telling.sum())
    return words if enough else [False] * len(words)


def _speaks(view: LeftOver, similarity: float) -> bool:
    median_mm = view.median_mm
    if median_mm is None or len(view.shifts_mm) < _FEW:
        return similarity >= _SIMILAR_ENOUGH
    least = _LEAST_IF_CLEAR if view.agreeing >= _CLEAR else LEAST_SIMILARITY
    return similarity >= least and view.agreeing >= _LEAST_AGREEING and median_mm <= _LARGEST_MEDIAN_MM


def left_over(problem: Problem, motion: F64, view: int) -> LeftOver:
    """Look for each tile of the projection in the picture, around where it should be."""
    here = problem.levels[view][_LEVEL]
    side = max(5, round(_TILE_MM / here.pixel_mm)) | 1
    reach = max(2, round(_REACH_MM / here.pixel_mm))
    told = normalised(problem.projection(view, _LEVEL, motion), here.window)
    rows, columns = here.picture.shape
    half = side // 2
    v, u = np.meshgrid(np.arange(half, rows - half, half + 1), np.arange(half, columns - half, half + 1), indexing="ij")
    if v.size == 0:
        return LeftOver(np.zeros((0, 2)), 0, 0.0)
    where = (v.ravel(), u.ravel())
    good = cv2.blur(here.window.valid, (side, side), borderType=cv2.BORDER_CONSTANT)[where] > _LEAST_VALID
    good &= (
        cv2.blur(told.structure * here.window.valid, (side, side), borderType=cv2.BORDER_CONSTANT)[where]
        > _LEAST_STRUCTURE
    )
    where = (where[0][good], where[1][good])
    tiles = len(where[0])
    span = 2 * reach + 1
    if tiles == 0:
        return LeftOver(np.zeros((0, 2)), 0, 0.0)
    picture = cv2.copyMakeBorder(here.picture, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0.0)
    power = cv2.copyMakeBorder(here.picture**2, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0.0)
    own = cv2.blur(told.values**2, (side, side), borderType=cv2.BORDER_CONSTANT)[where]
    likeness = np.empty((span, span, tiles))
    for dv in range(span):
        for du in range(span):
            cut = np.s_[dv : dv + rows, du : du + columns]
            cross = cv2.blur(told.values * picture[cut], (side, side), borderType=cv2.BORDER_CONSTANT)[where]
            other = cv2.blur(power[cut], (side, side), borderType=cv2.BORDER_CONSTANT)[where]
            likeness[dv, du] = cross / np.sqrt(np.maximum(own * other, 1e-6))
    best = likeness.reshape(-1, tiles).argmax(axis=0)
    at_v, at_u = best // span, best % span
    peak = likeness[at_v, at_u, np.arange(tiles)]
    shift_px = np.stack((at_u + _between(likeness, at_v, at_u, 1), at_v + _between(likeness, at_v, at_u, 0)), axis=1)
    shifts_mm = (shift_px - reach) * here.pixel_mm
    steps = np.arange(span)
    apart = np.maximum(np.abs(steps[:, None, None] - at_v), np.abs(steps[None, :, None] - at_u))
    elsewhere = np.where(apart > _RIVAL_MM / here.pixel_mm, likeness, -1.0).max(axis=(0, 1))
    telling = (peak > _LIKE) & (peak > elsewhere + _LEAD)
    near = telling & (np.linalg.norm(shifts_mm, axis=1) <= _AGREES_MM)
    agreeing = float(np.count_nonzero(near)) / max(int(np.count_nonzero(telling)), 1)
    return LeftOver(shifts_mm[telling], tiles, agreeing)


def _between(likeness: F64, at_v: np.ndarray, at_u: np.ndarray, axis: int) -> F64:
    """Vertex of the parabola through the peak and its neighbours along an axis; 0 at the rim."""
    at = (at_v, at_u)[axis]
    tiles = np.arange(len(at))
    inner = np.clip(at, 1, likeness.shape[axis] - 2)
    index = [at_v, at_u, tiles]
    values = []
    for offset in (-1, 0, 1):
        index[axis] = inner + offset
        values.append(likeness[tuple(index)])
    bend = values[0] - 2.0 * values[1] + values[2]
    vertex = np.where(bend < -1e-9, 0.5 * (values[0] - values[2]) / np.minimum(bend, -1e-9), 0.0)
    return np.asarray(np.where(at == inner, np.clip(vertex, -0.5, 0.5), 0.0), np.float64)
