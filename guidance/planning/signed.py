"""Shares of voxels -> signed distance to the surface, on the same grid."""

from __future__ import annotations

import numpy as np

from guidance.planning.distance import field_of_occupancy
from guidance.planning.occupancy import Occupancy
from guidance.planning.working_grid import F32, WorkingGrid, onto_grid


def signed_distance_mm(share: F32, grid: WorkingGrid) -> F32:
    """Signed distance, negative inside; beyond the array is outside.

    Args:
        share: `[k, j, i]` 0 to 1 on the grid; something of it is at least 0.5.

    Raises:
        GeometryError: `empty_zone`.
    """
    values = np.clip(share * np.float32(255.0) + np.float32(0.5), 0.0, 255.0).astype(np.uint8)
    field = field_of_occupancy(Occupancy(values, grid.affine_lps_from_ijk), spacing_mm=grid.spacing_mm)
    shift = (np.asarray(grid.origin_lps_mm) - field.affine_lps_from_ijk[:3, 3]) / grid.spacing_mm
    whole = np.rint(shift).astype(int)[::-1]
    shape = np.array(grid.shape_kji)
    if np.allclose(field.affine_lps_from_ijk[:3, :3], np.eye(3) * grid.spacing_mm) and np.allclose(shift[::-1], whole):
        low, high = np.maximum(whole, 0), np.minimum(whole + shape, field.values_mm.shape)
        if np.all(low == whole) and np.all(high == whole + shape):
            return np.ascontiguousarray(field.values_mm[tuple(slice(a, b) for a, b in zip(low, high, strict=True))])
    far = float(field.values_mm.max())
    return onto_grid(field.values_mm, field.affine_lps_from_ijk, grid, outside=far)
