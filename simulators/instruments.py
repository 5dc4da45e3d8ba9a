"""Pins, needles and screws at known places: solid or hollow cylinders, exact along every ray."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from guidance.errors import ConfigError
from guidance.messages import F64, Vector3

F32 = npt.NDArray[np.float32]
_MARGIN_PX = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cylinder:
    """A straight instrument with flat ends.

    Attributes:
        start_lps_mm, end_lps_mm: ends of the axis.
        diameter_mm: outer diameter, > 0.
        bore_mm: inner diameter of a cannula, 0 for a solid pin.
        material: a material of the X-ray table.

    Raises:
        ConfigError: no length, no diameter, or a bore as wide as the instrument.
    """

    start_lps_mm: Vector3
    end_lps_mm: Vector3
    diameter_mm: float
    bore_mm: float = 0.0
    material: str = "stainless_steel"

    def __post_init__(self) -> None:
        if not 0.0 <= self.bore_mm < self.diameter_mm or not np.linalg.norm(self.axis_mm()) > 0.0:
            raise ConfigError(
                f"an instrument of {self.diameter_mm} mm with a bore of {self.bore_mm} mm along {self.axis_mm()}",
                code="bad_instrument",
                mend="give two different ends and 0 <= bore < diameter",
            )

    def axis_mm(self) -> F64:
        """(3,): from start to end."""
        return np.subtract(self.end_lps_mm, self.start_lps_mm)

    def chord_mm(self, source_lps_mm: F64, directions: F64) -> F64:
        """Length of material along rays.

        Args:
            source_lps_mm: (3,), outside the instrument.
            directions: (..., 3), any length.

        Returns:
            (...,) mm.
        """
        outer = _solid_chord(self, self.diameter_mm / 2.0, source_lps_mm, directions)
        if self.bore_mm == 0.0:
            return outer
        return outer - _solid_chord(self, self.bore_mm / 2.0, source_lps_mm, directions)

    def corners_lps_mm(self) -> F64:
        """(8, 3): corners of a box around the instrument."""
        axis = self.axis_mm()
        across = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
        across /= np.linalg.norm(across)
        third = np.cross(axis, across) / np.linalg.norm(axis)
        radius = self.diameter_mm / 2.0
        return np.array(
            [
                np.asarray(end) + radius * (a * across + b * third)
                for end in (self.start_lps_mm, self.end_lps_mm)
                for a in (-1.0, 1.0)
                for b in (-1.0, 1.0)
            ]
        )


def add_chords(instrument: Cylinder, pixel_from_patient: F64, thickness_mm: F32) -> None:
    """Add the instrument's material to a picture of path lengths, at pixel centres.

    Args:
        pixel_from_patient: (3, 4), w > 0 in front of the source; the instrument must be there as a whole.
        thickness_mm: (rows, columns) float32, written to only where the instrument may be.
    """
    rows, columns = thickness_mm.shape
    corners = instrument.corners_lps_mm() @ pixel_from_patient[:, :3].T + pixel_from_patient[:, 3]
    if np.any(corners[:, 2] <= 0.0):
        return
    uv = corners[:, :2] / corners[:, 2:]
    left, top = np.maximum(np.floor(uv.min(axis=0) - _MARGIN_PX), 0).astype(int)
    right, bottom = np.minimum(np.ceil(uv.max(axis=0) + _MARGIN_PX) + 1, (columns, rows)).astype(int)
    if right <= left or bottom <= top:
        return
    patient_from_pixel = np.linalg.inv(pixel_from_patient[:, :3])
    source = -patient_from_pixel @ pixel_from_patient[:, 3]
    u, v = np.meshgrid(np.arange(left, right), np.arange(top, bottom))
    directions = np.stack([u, v, np.ones_like(u)], axis=-1) @ patient_from_pixel.T
    thickness_mm[top:bottom, left:right] += instrument.chord_mm(source, directions)


def voxelise(
    instrument: Cylinder, voxels_hu: npt.NDArray[np.int16], affine_lps_from_ijk: F64, value_hu: int = 8000
) -> None:
    """Write the instrument into a volume, partial voxels by their share (from 3x3x3 places within each).

    Args:
        voxels_hu: `[k, j, i]` int16, changed.
        affine_lps_from_ijk: (4, 4).
        value_hu: of a voxel that is all instrument.
    """
    ijk_from_lps = np.linalg.inv(affine_lps_from_ijk)
    corners = instrument.corners_lps_mm() @ ijk_from_lps[:3, :3].T + ijk_from_lps[:3, 3]
    size = voxels_hu.shape[::-1]
    low = np.maximum(np.floor(corners.min(axis=0)) - 1, 0).astype(int)
    high = np.minimum(np.ceil(corners.max(axis=0)) + 2, size).astype(int)
    if np.any(high <= low):
        return
    grid = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), axis=-1)
    share = np.zeros(grid.shape[:3])
    offsets = (np.arange(3) - 1) / 3.0
    for shift in np.stack(np.meshgrid(offsets, offsets, offsets), axis=-1).reshape(-1, 3):
        points = (grid + shift) @ affine_lps_from_ijk[:3, :3].T + affine_lps_from_ijk[:3, 3]
        share += _contains(instrument, points) / 27.0
    block = voxels_hu[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
    share = share.transpose(2, 1, 0)
    block[:] = np.rint(block * (1.0 - share) + value_hu * share).astype(np.int16)


def _contains(instrument: Cylinder, points: F64) -> F64:
    axis = instrument.axis_mm()
    from_start = points - instrument.start_lps_mm
    along = from_start @ axis / (axis @ axis)
    radius = np.linalg.norm(from_start - along[..., None] * axis, axis=-1)
    inside = (along >= 0.0) & (along <= 1.0) & (radius <= instrument.diameter_mm / 2.0)
    inside &= radius >= instrument.bore_mm / 2.0
    return np.asarray(inside, np.float64)


def _solid_chord(instrument: Cylinder, radius_mm: float, source: F64, directions: F64) -> F64:
    """Ray against infinite cylinder (a quadratic) and the slab between both end planes; the overlap is the chord."""
    axis = instrument.axis_mm()
    length = np.linalg.norm(axis)
    axis = axis / length
    rays = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    to_source = source - instrument.start_lps_mm
    ray_along, source_along = rays @ axis, to_source @ axis
    ray_across = rays - ray_along[..., None] * axis
    source_across = to_source - source_along * axis
    a = np.einsum("...c,...c->...", ray_across, ray_across)
    b = ray_across @ source_across
    # Distance of the ray from the axis, not b*b - a*c: the source is far and that difference would cancel.
    nearest = source_across - (b / np.maximum(a, 1e-30))[..., None] * ray_across
    room = radius_mm**2 - np.einsum("...c,...c->...", nearest, nearest)
    half = np.sqrt(np.maximum(room, 0.0) / np.maximum(a, 1e-30))
    middle = -b / np.maximum(a, 1e-30)
    steep = np.where(np.abs(ray_along) < 1e-12, 1e-12, ray_along)
    ends = np.stack([-source_along / steep, (length - source_along) / steep])
    enter = np.maximum(middle - half, ends.min(axis=0))
    leave = np.minimum(middle + half, ends.max(axis=0))
    chord: F64 = np.where(room > 0.0, np.maximum(leave - enter, 0.0), 0.0)
    return chord
