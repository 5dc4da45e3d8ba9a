"""Voxels as a signed distance on an isotropic grid along LPS, and its points between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from guidance.errors import GeometryError
from guidance.messages import F64
from guidance.planning.occupancy import SURFACE_LEVEL, Occupancy

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class GridField:
    """A mask's signed distance.

    Attributes:
        values_mm: `[k, j, i]` float32, C order, read-only: at the voxel centres; negative inside.
        affine_lps_from_ijk: (4, 4) float64: `spacing_mm` times the identity, and the first voxel's centre.
        bounds_lps_mm: (2, 3) float64: box of the zone.
    """

    values_mm: F32
    affine_lps_from_ijk: F64
    bounds_lps_mm: F64

    @property
    def spacing_mm(self) -> float:
        """Of the grid."""
        return float(self.affine_lps_from_ijk[0, 0])

    def distance_mm(self, points_lps_mm: F64) -> F64:
        """(N,) signed distance of (N, 3) points to the surface, negative inside."""
        ijk = (points_lps_mm - self.affine_lps_from_ijk[:3, 3]) / self.spacing_mm
        inner = np.clip(ijk, 0.0, np.array(self.values_mm.shape[::-1]) - 1.0)
        sampled = ndimage.map_coordinates(self.values_mm, inner[:, ::-1].T, np.float64, order=1)
        away = np.linalg.norm(ijk - inner, axis=1) * self.spacing_mm
        return np.asarray(sampled + away)

    def nearest_mm(self, points_lps_mm: F64) -> F64:
        """(N, 3) nearest points on the surface."""
        found = np.array(points_lps_mm, np.float64)
        for _ in range(6):
            step = np.eye(3) * self.spacing_mm * 0.5
            slope = np.stack([self.distance_mm(found + s) - self.distance_mm(found - s) for s in step], axis=1)
            slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9)
            found -= self.distance_mm(found)[:, None] * slope
        return found


def field_of_occupancy(occupancy: Occupancy, *, spacing_mm: float | None = None, margin_mm: float = 8.0) -> GridField:
    """Signed distance to where half of a voxel belongs to the zone.

    Raises:
        GeometryError: `empty_zone`: no voxel belongs to it; `singular_grid`.
    """
    solid = occupancy.values > SURFACE_LEVEL
    if not solid.any():
        raise GeometryError("the mask is empty", code="empty_zone", mend="segment the zone again")
    affine = occupancy.affine_lps_from_ijk
    where = np.argwhere(solid)
    corners = np.stack(np.meshgrid(*zip(where.min(0)[::-1] - 0.5, where.max(0)[::-1] + 0.5, strict=True)), -1)
    places = corners.reshape(-1, 3) @ affine[:3, :3].T + affine[:3, 3]
    bounds = np.stack([places.min(axis=0), places.max(axis=0)])
    inverse = np.linalg.inv(affine)
    step = spacing_mm or float((1.0 / np.linalg.norm(inverse[:3, :3], axis=1)).min())
    first = bounds[0] - margin_mm
    count = np.ceil((bounds[1] + margin_mm - first) / step).astype(int) + 1
    out = np.diag([step, step, step, 1.0])
    out[:3, 3] = first
    between = (inverse @ out)[[2, 1, 0, 3]][:, [2, 1, 0, 3]]
    values = ndimage.affine_transform(
        occupancy.values.astype(np.float32), between[:3, :3], between[:3, 3], tuple(count[::-1]), order=1
    )
    inside = values > SURFACE_LEVEL
    outer, inner = ndimage.distance_transform_edt(~inside), ndimage.distance_transform_edt(inside)
    signed = np.where(inside, 0.5 - inner, outer - 0.5).astype(np.float32) * np.float32(step)
    signed.flags.writeable = False
    return GridField(signed, out, bounds)
