"""A scan of a patient in another pose, on another grid, by another modality, with metal that was not there before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from guidance.messages import F64
from simulators.volumes import HuVolume

F32 = npt.NDArray[np.float32]

_AIR_HU: Final = -1024.0
_METAL_HU: Final = 6000.0
_STREAKS: Final = 7  # bright and dark fans of one rod
_STREAK_REACH_MM: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rod:
    """A metal cylinder in the patient's frame."""

    start_lps_mm: tuple[float, float, float]
    end_lps_mm: tuple[float, float, float]
    radius_mm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Modality:
    """What a scanner does to CT values.

    Attributes:
        spacing_mm: voxel along x, y, z of its own grid.
        size: voxels along x, y, z.
        grid_turn_deg: of the grid's axes against the patient's, about an axis drawn by chance.
        blur_mm: standard deviation of its point spread.
        scale, offset_hu: true HU -> told HU.
        cupping_hu: added in the middle, falling to 0 at the field's edge.
        noise_hu: standard deviation, over two voxels.
        streak_hu: of the fans around a rod; 0 for a scanner that corrects them.
        is_cylinder: nothing outside the largest circle of a slice.
    """

    spacing_mm: tuple[float, float, float]
    size: tuple[int, int, int]
    grid_turn_deg: float = 0.0
    blur_mm: float = 0.5
    scale: float = 1.0
    offset_hu: float = 0.0
    cupping_hu: float = 0.0
    noise_hu: float = 0.0
    streak_hu: float = 0.0
    is_cylinder: bool = False


def rescan(
    patient: HuVolume,
    modality: Modality,
    *,
    scan_from_patient: F64,
    center_lps_mm: F64,
    rods: tuple[Rod, ...] = (),
    seed: int = 0,
) -> HuVolume:
    """Scan a patient.

    Args:
        patient: true HU.
        scan_from_patient: (4, 4) rigid: where a patient's point lies in the scan's frame.
        center_lps_mm: (3,) point of the patient in the middle of the field of view.
        rods: metal in the patient.
        seed: of noise and grid.
    """
    random = np.random.default_rng(seed)
    affine = _grid(modality, scan_from_patient, center_lps_mm, random)
    patient_from_ijk = np.linalg.inv(scan_from_patient) @ affine
    swap = np.eye(4)[[2, 1, 0, 3]]  # the arrays are [k, j, i]
    matrix = swap @ np.linalg.inv(patient.affine_lps_from_ijk) @ patient_from_ijk @ swap
    values: F32 = ndimage.affine_transform(
        patient.voxels_hu.astype(np.float32),
        matrix[:3, :3],
        matrix[:3, 3],
        modality.size[::-1],
        order=1,
        mode="constant",
        cval=_AIR_HU,
    )
    for rod in rods:
        _put_rod(values, rod, patient_from_ijk, modality)
    values = ndimage.gaussian_filter(values, [modality.blur_mm / step for step in modality.spacing_mm[::-1]])
    seen = values > -900.0
    radius = _radius(modality)
    values = values * np.float32(modality.scale)
    values += seen * (modality.offset_hu + modality.cupping_hu * np.maximum(1.0 - radius**2, 0.0)).astype(np.float32)
    if modality.noise_hu:
        white = random.standard_normal(values.shape, np.float32)
        values += np.float32(modality.noise_hu * 2.0**1.5) * ndimage.uniform_filter(white, 2)
    if modality.is_cylinder:
        values[np.broadcast_to(radius > 1.0, values.shape)] = _AIR_HU
    voxels = np.clip(np.rint(values), _AIR_HU, 3071.0).astype(np.int16)
    return HuVolume(voxels, affine, f"{patient.description}, scanned again")


def _grid(modality: Modality, scan_from_patient: F64, center_lps_mm: F64, random: np.random.Generator) -> F64:
    axis = random.normal(size=3)
    x, y, z = axis / np.linalg.norm(axis)
    angle = np.radians(modality.grid_turn_deg)
    cross = np.array(((0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0)))
    turn = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array(modality.spacing_mm)
    middle = scan_from_patient[:3, :3] @ center_lps_mm + scan_from_patient[:3, 3]
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(modality.size) - 1.0) / 2.0)
    return affine


def _radius(modality: Modality) -> F64:
    """(1, rows, columns): 0 in the middle of a slice, 1 at the largest circle in it."""
    columns, rows, _ = modality.size
    j, i = np.mgrid[:rows, :columns]
    middle_j, middle_i = (rows - 1) / 2.0, (columns - 1) / 2.0
    radius: F64 = np.hypot((j - middle_j) / (rows / 2.0), (i - middle_i) / (columns / 2.0))[None]
    return radius


def _put_rod(values: F32, rod: Rod, patient_from_ijk: F64, modality: Modality) -> None:
    """Metal, and its fans of streaks in the slices that it crosses."""
    start, end = np.array(rod.start_lps_mm, np.float64), np.array(rod.end_lps_mm, np.float64)
    along = end - start
    length_mm = float(np.linalg.norm(along))
    along /= length_mm
    k, j, i = np.ogrid[: values.shape[0], : values.shape[1], : values.shape[2]]
    x, y, z = (
        patient_from_ijk[row, 0] * i
        + patient_from_ijk[row, 1] * j
        + patient_from_ijk[row, 2] * k
        + (patient_from_ijk[row, 3] - start[row])
        for row in range(3)
    )
    depth = np.clip(x * along[0] + y * along[1] + z * along[2], 0.0, length_mm)
    apart = np.sqrt((x - depth * along[0]) ** 2 + (y - depth * along[1]) ** 2 + (z - depth * along[2]) ** 2)
    if modality.streak_hu:
        ijk_from_patient = np.linalg.inv(patient_from_ijk)
        ends = np.stack([start, end]) @ ijk_from_patient[:3, :3].T + ijk_from_patient[:3, 3]
        first, last = sorted(ends[:, 2])
        u, v = i - ends[:, 0].mean(), j - ends[:, 1].mean()
        reach_mm = np.hypot(u * modality.spacing_mm[0], v * modality.spacing_mm[1])
        fans = np.cos(_STREAKS * np.arctan2(v, u) + 0.3 * k) * np.exp(-reach_mm / _STREAK_REACH_MM)
        margin = rod.radius_mm / modality.spacing_mm[2]
        values += (((k >= first - margin) & (k <= last + margin)) * modality.streak_hu * fans).astype(np.float32)
    values[apart < rod.radius_mm] = _METAL_HU
