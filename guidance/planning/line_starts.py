"""Lines to begin a search with: every direction through the deepest places of bone, or a fan through a gate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from guidance.kernels.corridor import LINE_NUMBERS
from guidance.messages import F64
from guidance.planning.line_search import batches_of, box_grid
from guidance.planning.working_grid import F32, WorkingGrid

_RIDGE_MM: Final = 3.0  # a place as deep as any within this is one to begin at
_ALIKE: Final = 0.92  # nearly as deep counts: a ridge rises and falls
_MOST_PLACES: Final = 700
_DIRECTIONS: Final = 1200  # on a half sphere: 4 deg apart
_PLACES_AT_ONCE: Final = 48
_MOST_FAN: Final = 120_000


def free_charts(grid: WorkingGrid) -> F64:
    """(3, 12) charts along x, y and z through the middle of a grid."""
    middle = _middle(grid)
    return np.array([np.concatenate([middle, *np.roll(np.eye(3), -axis, axis=0)]) for axis in range(3)])


def lines_through(depth_mm: F32, grid: WorkingGrid, least_mm: float) -> Iterable[F64]:
    """Lines of all directions through places on the ridges of depth, in the charts of `free_charts`.

    A corridor of some radius passes places that are as deep as that, and the ridges are near any of them.

    Args:
        depth_mm: `[k, j, i]` on the grid, positive inside.
        least_mm: shallower places are not begun at.
    """
    places = _ridge(depth_mm, grid, least_mm) - _middle(grid)
    directions = _half_sphere(_DIRECTIONS)
    main = np.abs(directions).argmax(axis=1)
    for first in range(0, len(places), _PLACES_AT_ONCE):
        part = places[first : first + _PLACES_AT_ONCE]
        rows = []
        for axis in range(3):
            along = np.roll(directions[main == axis], -axis, axis=1)
            at = np.roll(part, -axis, axis=1)
            out = np.zeros((len(at), len(along), LINE_NUMBERS))
            out[..., 0] = axis
            out[..., 1:4] = at[:, None]
            out[..., 4:6] = along[:, 1:] / along[:, :1]
            rows.append(out.reshape(-1, LINE_NUMBERS))
        yield np.concatenate(rows)


def fan(low: F64, high: F64, reach_mm: float) -> Iterable[F64]:
    """Lines of chart 0 that are spread evenly over ranges of u, v, a, b."""
    weights = np.array([1.0, 1.0, reach_mm, reach_mm])
    half = 1.0
    while np.prod(np.ceil((high - low) * weights / (2.0 * half))) > _MOST_FAN:
        half *= 1.1
    return batches_of(box_grid(0, 0.0, low, high, half / weights))


def _middle(grid: WorkingGrid) -> F64:
    return np.asarray(grid.origin_lps_mm) + grid.spacing_mm * (np.array(grid.shape_kji[::-1]) - 1) / 2.0


def _ridge(depth_mm: F32, grid: WorkingGrid, least_mm: float) -> F64:
    """(N, 3) LPS: places nearly as deep as any around them, evenly thinned out where they are too many."""
    size = 2 * max(round(_RIDGE_MM / grid.spacing_mm), 1) + 1
    ridge = depth_mm >= np.maximum(_ALIKE * ndimage.maximum_filter(depth_mm, size), least_mm)
    kji = np.argwhere(ridge)
    depths = depth_mm[ridge]
    cell_mm = _RIDGE_MM
    while True:
        cells = np.floor(kji * grid.spacing_mm / cell_mm).astype(np.int64)
        keys = (cells[:, 0] << 40) + (cells[:, 1] << 20) + cells[:, 2]
        order = np.lexsort((-depths, keys))
        _, first = np.unique(keys[order], return_index=True)  # the deepest place of each cell
        if len(first) <= _MOST_PLACES:
            break
        cell_mm *= 1.15
    chosen = order[first]
    return np.asarray(np.asarray(grid.origin_lps_mm) + grid.spacing_mm * kji[chosen][:, ::-1])


def _half_sphere(count: int) -> npt.NDArray[np.float64]:
    """(count, 3) unit vectors with z > 0, spread evenly (a Fibonacci lattice)."""
    n = np.arange(count) + 0.5
    z = n / count
    turn = np.pi * (1.0 + np.sqrt(5.0)) * n
    across = np.sqrt(1.0 - z * z)
    return np.stack([across * np.cos(turn), across * np.sin(turn), z], axis=-1)
