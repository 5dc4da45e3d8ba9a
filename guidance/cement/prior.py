"""How likely cement is in each voxel before any view is asked: tissue, what was there, slices, cannulas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.cement.cannula import Cannula
from guidance.cement.slices import Slices
from guidance.cement.space import OpenSpace, room_for_cement
from guidance.cement.zone_fields import Lattice
from guidance.messages import F32, U8
from guidance.planning.working_grid import WorkingGrid

_ROOM_UNKNOWN: Final = 0.8
_WAS_THERE: Final = 1.0  # how much likelier a voxel is that was full before
_LUMEN: Final = 4.0  # how much likelier cement is in a cannula than around it


@dataclass(frozen=True, slots=True, eq=False)
class Filled:
    """Cement, or a balloon, as it was.

    Attributes:
        share: `[k, j, i]` float32 of each voxel.
        first_ijk: (3,) lattice indices of the first voxel.
    """

    share: F32
    first_ijk: Lattice


def prior_of(
    grid: WorkingGrid,
    first_ijk: Lattice,
    *,
    space: OpenSpace | None,
    before: Sequence[Filled],
    slices: Slices,
    cannulas: Sequence[Cannula],
    now_ns: int,
) -> tuple[F32, U8]:
    """The prior on a grid, and which of its voxels count.

    Args:
        grid: on the lattice.
        first_ijk: (3,) lattice indices of its first point.
        space: None: no volume, everywhere alike.
        before: on the same lattice: cement does not flow back, and fills what a balloon leaves.
        slices, cannulas: as they are now.
        now_ns: server's monotonic clock.

    Returns:
        `[k, j, i]` float32, 0 where cement cannot be; `[k, j, i]` uint8, 0 within a cannula.
    """
    if space is None:
        prior = np.full(grid.shape_kji, _ROOM_UNKNOWN, np.float32)
    else:
        prior = room_for_cement(space.on(grid), space.hu_on(grid))
    for one in before:
        _raise_by(prior, first_ijk, one)
    slices.weigh(prior, grid, now_ns)
    counted = np.ones(grid.shape_kji, np.uint8)
    if cannulas:
        points = grid.points(0, grid.shape_kji[0])
        for cannula in cannulas:
            held = cannula.holds(points).reshape(grid.shape_kji)
            counted[held] = 0
            prior[held] = np.maximum(prior[held], np.float32(_ROOM_UNKNOWN)) * np.float32(_LUMEN)
    return prior, counted


def _raise_by(prior: F32, first: Lattice, filled: Filled) -> None:
    start = np.maximum(first, filled.first_ijk)
    end = np.minimum(first + np.array(prior.shape[::-1]), filled.first_ijk + np.array(filled.share.shape[::-1]))
    if (start >= end).any():
        return
    here, there = (
        tuple(slice(a, b) for a, b in zip((start - origin)[::-1], (end - origin)[::-1], strict=True))
        for origin in (first, filled.first_ijk)
    )
    prior[here] *= 1.0 + np.float32(_WAS_THERE) * filled.share[there]
