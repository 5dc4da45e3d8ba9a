"""How far points are from a zone's surface, whatever the zone was made of."""

from __future__ import annotations

from typing import Protocol

from guidance.errors import GeometryError
from guidance.messages import F64, MaskShape, ZoneShape
from guidance.planning.grid_field import GridField, field_of_occupancy
from guidance.planning.occupancy import Occupancy
from guidance.planning.primitives import primitive_field

__all__ = ["DistanceField", "GridField", "distance_field", "field_of_occupancy"]


class DistanceField(Protocol):
    """Signed distances to one closed surface; right everywhere, also far from it."""

    @property
    def bounds_lps_mm(self) -> F64:
        """(2, 3) float64: least and greatest coordinates of the zone itself."""

    def distance_mm(self, points_lps_mm: F64) -> F64:
        """Signed distances in mm, negative inside.

        Args:
            points_lps_mm: (N, 3) float64, LPS.

        Returns:
            (N,) float64; NaN where the point is not finite.
        """

    def nearest_mm(self, points_lps_mm: F64) -> F64:
        """(N, 3) float64: the surface point nearest to each of (N, 3) points."""


def distance_field(shape: ZoneShape, occupancy: Occupancy | None = None) -> DistanceField:
    """A zone's distance field: drawn shapes in closed form, masks by their voxels.

    Args:
        shape: the zone's.
        occupancy: the voxels of a mask; not looked at for drawn shapes.

    Raises:
        GeometryError: `empty_zone`: it encloses nothing; `no_voxels`: a mask without its voxels; `bad_zone`: numbers
            that are not finite; `singular_grid`.
    """
    if not isinstance(shape, MaskShape):
        return primitive_field(shape)
    if occupancy is None:
        raise GeometryError(
            f"the voxels of mask {shape.mask_id[:12]} are not there", code="no_voxels", mend="import the zone again"
        )
    return field_of_occupancy(occupancy)
