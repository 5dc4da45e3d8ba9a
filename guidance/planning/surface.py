"""A zone's surface as triangles, for outlines on the live picture and for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.errors import GeometryError
from guidance.kernels.distance import NearestSurface, simplified
from guidance.messages import F64, MaskShape, ZoneShape
from guidance.planning.grid_field import MaskSurface, mask_surface
from guidance.planning.occupancy import Occupancy
from guidance.planning.primitives import primitive_field
from guidance.planning.tessellation import Mesh, primitive_mesh

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]

MOST_TRIANGLES: Final = 4000
DEVIATION_MM: Final = 0.15
_VOXEL_PART: Final = 0.5  # of a voxel: what is finer than that is not known of a mask
_SMOOTHING_ROUNDS: Final = 25
_LEAST_VOXELS: Final = 4.0  # across: what is smaller would be smoothed away
# Parts of the allowed deviation that smoothing and collapses may use; the first that keeps to it is taken.
_TRIES: Final = ((1.0, 0.3), (1.0, 0.16), (0.6, 0.12), (0.3, 0.06))
_TYPICAL_PERCENT: Final = 99.5
_WORST: Final = 1.5
_MEASURED: Final = 4000  # points of the original surface that the deviation is measured at


@dataclass(frozen=True, slots=True, eq=False)
class ZoneSurface:
    """A closed surface; outward by the right hand.

    Attributes:
        vertices_lps_mm: (V, 3) float32, C order, read-only.
        triangles: (T, 3) int32, C order, read-only.
    """

    vertices_lps_mm: F32
    triangles: I32


def surface_of_shape(
    shape: ZoneShape, occupancy: Occupancy | None = None, *, most_triangles: int = MOST_TRIANGLES
) -> ZoneSurface:
    """Tessellate a zone.

    Drawn shapes: within 0.05 mm; the parts of a bent tube are closed bodies of their own that overlap. Masks: where
    voxels cross one half, stairs smoothed, then simplified. It stays within `DEVIATION_MM`, or half of a coarse mask's
    voxel, of the unsmoothed surface, but for 0.5 % of its places, which stay within one and a half times that. All
    parts and holes are kept.

    Args:
        shape: the zone's.
        occupancy: the voxels of a mask.
        most_triangles: of a mask; more where the deviation would otherwise grow.

    Raises:
        GeometryError: as `guidance.planning.distance.distance_field`.
    """
    if isinstance(shape, MaskShape):
        if occupancy is None:
            raise GeometryError(
                f"the voxels of mask {shape.mask_id[:12]} are not there", code="no_voxels", mend="import the zone again"
            )
        return surface_of_mask(mask_surface(occupancy), most_triangles=most_triangles)
    return _surface(*primitive_mesh(primitive_field(shape)))


def surface_of_mask(mask: MaskSurface, *, most_triangles: int = MOST_TRIANGLES) -> ZoneSurface:
    """As `surface_of_shape`, of a surface that was found already."""
    allowed_mm = max(DEVIATION_MM, _VOXEL_PART * mask.finest_mm)
    # Only voxels that are all or nothing make stairs.
    across = np.ptp(mask.points_lps_mm, axis=0).min() / mask.finest_mm
    stairs = across >= _LEAST_VOXELS and bool(((mask.crop == 0) | (mask.crop == 255)).all())
    original = NearestSurface(mask.points_lps_mm, mask.triangles)
    spots = mask.points_lps_mm[:: max(1, len(mask.points_lps_mm) // _MEASURED)]
    for smoothing_part, collapse_part in _TRIES:
        made = simplified(
            mask.points_lps_mm,
            mask.triangles,
            most_triangles=most_triangles,
            deviation_mm=collapse_part * allowed_mm,
            smoothing=_SMOOTHING_ROUNDS if stairs else 0,
            smoothing_mm=smoothing_part * allowed_mm,
        )
        typical_mm, largest_mm = _deviation_mm(original, spots, made)
        if typical_mm <= allowed_mm and largest_mm <= _WORST * allowed_mm:
            return _surface(*made)
    return _surface(mask.points_lps_mm, mask.triangles)


def _deviation_mm(original: NearestSurface, spots: F64, made: Mesh) -> tuple[float, float]:
    """Of the original's points to the simplified surface, and of its points and middles back: nearly all, and all."""
    points, triangles = made
    middles = points[triangles].mean(axis=1)
    back = np.abs(original.nearest(np.concatenate([points, middles]))[1])
    there = np.abs(NearestSurface(points, triangles).nearest(spots)[1])
    typical = max(float(np.percentile(some, _TYPICAL_PERCENT)) for some in (back, there))
    return typical, float(max(back.max(), there.max()))


def _surface(points: F64, triangles: I32) -> ZoneSurface:
    vertices, faces = points.astype(np.float32), np.ascontiguousarray(triangles)
    vertices.flags.writeable = False
    faces.flags.writeable = False
    return ZoneSurface(vertices, faces)
