"""Patients for cement: procedural pelvises that differ, with sound, thin or destroyed bone; CTs made once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np

from guidance.messages import F32, F64, Vector3
from simulators.pelvis import ProceduralPelvis
from simulators.pelvis_anatomy import DYSMORPHIC, USUAL, Variant, sacral_point
from simulators.pelvis_shapes import Grid, Tube
from simulators.volumes import HuVolume

VOXEL_MM: Final = 1.0
WHOLE_SIZE_MM: Final = (380.0, 250.0, 245.0)  # all that a beam through L5, the sacrum or the hip's roof goes through
WHOLE_MIDDLE_MM: Final = (0.0, -12.0, -17.0)  # of that, in an unmoved pelvis
_MARROW_HU: Final = (90.0, 520.0)
_LESION_HU: Final = 40.0
_EDGE_MM: Final = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """One patient.

    Attributes:
        variant: of the anatomy.
        origin_lps_mm: where in their frame of reference they lie.
        density: of the marrow's bone, over usual.
        lesions: where bone is gone, in the coordinates of an unmoved pelvis; they leave the cortex alone.
    """

    variant: Variant = USUAL
    origin_lps_mm: Vector3 = (0.0, 0.0, 0.0)
    density: float = 1.0
    lesions: tuple[Tube, ...] = ()

    @property
    def pelvis(self) -> ProceduralPelvis:
        return ProceduralPelvis(self.variant, self.origin_lps_mm)

    def lesion_mm(self, points_lps_mm: F32) -> F32:
        """(..., 3) -> (...,) distance to the nearest lesion, negative within; 1e3 where there is none."""
        local = points_lps_mm - np.asarray(self.origin_lps_mm, np.float32)
        nearest = np.full(points_lps_mm.shape[:-1], 1e3, np.float32)
        for lesion in self.lesions:
            np.minimum(nearest, lesion.distance_mm(local), out=nearest)
        return nearest


def _lesion(*balls: tuple[float, float, float, float]) -> Tube:
    """Balls along the sacrum: across, depth, down, radius."""
    return Tube(tuple(sacral_point(*ball[:3]) for ball in balls), tuple(ball[3] for ball in balls))


PATIENTS: Final[Mapping[str, Patient]] = {
    "usual": Patient(),
    "thin bone": Patient(
        variant=replace(USUAL, foramen_radii_mm=(6.2, 5.4, 4.2, 3.2)), origin_lps_mm=(12.0, -35.0, 410.0), density=0.66
    ),
    "destroyed left ala": Patient(
        variant=replace(USUAL, ala_slope=0.25),
        origin_lps_mm=(-8.0, 120.0, -300.0),
        lesions=(_lesion((31.0, 0.0, 17.0, 6.5), (37.0, -1.0, 23.0, 7.0)),),
    ),
    "destroyed body": Patient(
        origin_lps_mm=(3.0, -140.0, 900.0),
        density=0.85,
        lesions=(_lesion((-5.0, -3.0, 15.0, 6.0), (8.0, -4.0, 13.0, 7.0)),),
    ),
    "dysmorphic": Patient(variant=DYSMORPHIC, origin_lps_mm=(-5.0, 60.0, 80.0), density=1.1),
}


@lru_cache(maxsize=2)
def patient_volume(name: str) -> HuVolume:
    """The patient's CT; 23 million voxels, so only two are kept."""
    center = np.add(PATIENTS[name].origin_lps_mm, WHOLE_MIDDLE_MM)
    return _volume(name, center, np.asarray(WHOLE_SIZE_MM))


def patient_part(name: str, low_lps_mm: F64, high_lps_mm: F64) -> HuVolume:
    """A box of the same CT, with the same voxels, made alone; read-only."""
    first = (
        np.add(PATIENTS[name].origin_lps_mm, WHOLE_MIDDLE_MM)
        - (np.asarray(WHOLE_SIZE_MM) / VOXEL_MM - 1.0) / 2.0 * VOXEL_MM
    )
    begin = np.floor((low_lps_mm - first) / VOXEL_MM)
    count = np.ceil((high_lps_mm - first) / VOXEL_MM) - begin + 1.0
    x, y, z = (float(value) for value in first + VOXEL_MM * (begin + (count - 1.0) / 2.0))
    width, depth, height = (float(value) for value in count * VOXEL_MM)
    return _kept_part(name, (x, y, z), (width, depth, height))


@lru_cache(maxsize=8)
def _kept_part(name: str, center_lps_mm: Vector3, size_mm: Vector3) -> HuVolume:
    part = _volume(name, np.asarray(center_lps_mm), np.asarray(size_mm))
    part.voxels_hu.setflags(write=False)
    return part


def _volume(name: str, center: F64, size_mm: F64) -> HuVolume:
    patient = PATIENTS[name]
    x, y, z = (float(value) for value in center)
    width, depth, height = (float(value) for value in size_mm)
    volume = patient.pelvis.volume(VOXEL_MM, center_lps_mm=(x, y, z), size_mm=(width, depth, height))
    voxels = volume.voxels_hu
    low, high = _MARROW_HU
    if patient.density != 1.0:
        marrow = (voxels > low) & (voxels < high)
        voxels[marrow] = np.rint(voxels[marrow] * patient.density).astype(np.int16)
    first = volume.affine_lps_from_ijk[:3, 3] - patient.origin_lps_mm
    x_mm, y_mm, z_mm = (np.asarray(first[n] + VOXEL_MM * np.arange(voxels.shape[2 - n]), np.float32) for n in range(3))
    grid = Grid(x_mm, y_mm, z_mm)
    for lesion in patient.lesions:
        least, most = lesion.box_mm()
        if (part := grid.part(least - _EDGE_MM, most + _EDGE_MM)) is not None:
            share = np.clip(0.5 - lesion.distance_mm(grid.points(part)) / _EDGE_MM, 0.0, 1.0)
            gone = share * (voxels[part] < high)
            voxels[part] = np.rint(voxels[part] + gone * (_LESION_HU - voxels[part])).astype(np.int16)
    return HuVolume(voxels, volume.affine_lps_from_ijk, f"procedural pelvis, {name}, {VOXEL_MM:g} mm")
