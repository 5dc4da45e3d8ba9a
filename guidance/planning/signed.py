"""Shares of voxels -> the surface where half of a voxel is filled, and signed distances to it on any grid."""

from __future__ import annotations

import numpy as np

from guidance.kernels.distance import NearestSurface
from guidance.planning.grid_field import mask_surface
from guidance.planning.occupancy import SURFACE_LEVEL, Occupancy
from guidance.planning.working_grid import F32, WorkingGrid, box_of, grid_over, onto_grid


class ShareSurface:
    """The surface of what a share of voxels fills.

    Args:
        share: `[k, j, i]` 0 to 1 on the grid.

    Raises:
        GeometryError: `empty_zone`: nothing is filled by half.
    """

    def __init__(self, share: F32, grid: WorkingGrid) -> None:
        values = np.clip(share * np.float32(255.0) + np.float32(0.5), 0.0, 255.0).astype(np.uint8)
        self._mask = mask_surface(Occupancy(values, grid.affine_lps_from_ijk))
        self._surface = NearestSurface(self._mask.points_lps_mm, self._mask.triangles)

    def on(self, grid: WorkingGrid) -> F32:
        """Signed distance at a grid's points, negative inside; near the surface exact."""
        return self._surface.on_grid(
            self._mask.crop,
            self._mask.affine_lps_from_ijk,
            SURFACE_LEVEL,
            0.5 * self._mask.finest_mm,
            origin_lps_mm=grid.origin_lps_mm,
            spacing_mm=grid.spacing_mm,
            shape_kji=grid.shape_kji,
        ).values_mm

    def roughly_on(self, grid: WorkingGrid, spacing_mm: float) -> F32:
        """As `on`, interpolated from a coarser grid of that spacing: never more than a part of it off."""
        if spacing_mm <= grid.spacing_mm:
            return self.on(grid)
        low, high = box_of(grid.shape_kji, grid.affine_lps_from_ijk)
        coarse = grid_over(low - spacing_mm, high + spacing_mm, spacing_mm)
        return onto_grid(self.on(coarse), coarse.affine_lps_from_ijk, grid, outside=0.0)
