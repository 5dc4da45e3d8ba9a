"""Shares of voxels -> signed distance to the surface, on the distance's own grid or on another."""

from __future__ import annotations

import numpy as np

from guidance.planning.distance import GridField, field_of_occupancy
from guidance.planning.occupancy import Occupancy
from guidance.planning.working_grid import F32, WorkingGrid, onto_grid

_MARGIN_MM = 8.0
_COARSEST_MM = 1.0


def field_of_share(share: F32, grid: WorkingGrid) -> GridField:
    """Signed distance around what a share of voxels fills.

    Args:
        share: `[k, j, i]` 0 to 1 on the grid.

    Raises:
        GeometryError: `empty_zone`: nothing is filled by half.
    """
    values = np.clip(share * np.float32(255.0) + np.float32(0.5), 0.0, 255.0).astype(np.uint8)
    return field_of_occupancy(
        Occupancy(values, grid.affine_lps_from_ijk), spacing_mm=min(grid.spacing_mm, _COARSEST_MM), margin_mm=_MARGIN_MM
    )


def grid_of(field: GridField) -> WorkingGrid:
    """The grid that a field's values stand on."""
    k, j, i = field.values_mm.shape
    x, y, z = (float(n) for n in field.affine_lps_from_ijk[:3, 3])
    return WorkingGrid((x, y, z), float(field.affine_lps_from_ijk[0, 0]), (k, j, i))


def on_grid(field: GridField, grid: WorkingGrid) -> F32:
    """A field on another grid; beyond its own grid at most its margin, so that it never tells too much."""
    return onto_grid(field.values_mm, field.affine_lps_from_ijk, grid, outside=_MARGIN_MM)
