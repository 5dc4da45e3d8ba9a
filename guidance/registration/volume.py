"""A volume made ready for 2D/3D registration: what casts sharp shadows, at several resolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from guidance.errors import GeometryError
from guidance.kernels.drr import ProjectionVolume
from guidance.messages import F64

LEVEL_SPACING_MM: Final = (4.0, 2.0, 1.0)
"""Coarse to fine. A radiograph has 0.2 mm at the isocentre, but bone's edges keep 1 mm after blur and noise."""

# Soft tissue is left out: bowel and its gas move between the CBCT and the picture, skin is deformed by the table, and
# the wall of a truncated field of view would cast an edge that no patient has. Above 3000 HU: metal and its streaks.
_BONE_HU: Final = 150.0
_SOFT_HU: Final = -300.0
_METAL_HU: Final = 3000.0
_LEAST_BONE: Final = 0.002  # share of the volume below which bone does not make the picture
_PADDING_HU: Final = -1100.0  # nothing measured is below it, air's noise included
_ABSURD_HU: Final = 20000.0  # 63536: unsigned padding
_DENSER_HU: Final = 150
_RAMP_MM: Final = 8.0  # bone fades out towards the wall of the field of view


@dataclass(frozen=True, slots=True, eq=False)
class RegistrationVolume:
    """What `register_views` projects.

    Attributes:
        levels: coarse to fine, int16: HU above `threshold_hu`, nothing elsewhere.
        center_lps_mm: (3,) centre of what casts shadows.
        box_lps_mm: (8, 3) corners of the grid.
        threshold_hu: above it tissue counts.
        filled: share of the voxels that count.
        dense: the middle level's HU above a threshold 150 HU higher: what bone's edges look like a little further in.
        voxel_lps_mm: (3, 3) steps along i, j, k of the volume as given, as columns.
    """

    levels: tuple[ProjectionVolume, ...]
    center_lps_mm: F64
    box_lps_mm: F64
    threshold_hu: float
    filled: float
    dense: ProjectionVolume
    voxel_lps_mm: F64


def registration_volume(voxels_hu: npt.NDArray[Any], affine_lps_from_ijk: F64) -> RegistrationVolume:
    """Make a volume ready; once per volume, 512^3 in under a second.

    Args:
        voxels_hu: `[k, j, i]` HU, any scalar type; padding (-2000, -3024, 63536) and NaN are nothing.
        affine_lps_from_ijk: (4, 4), voxel centres at integers; may be sheared or left-handed.

    Raises:
        GeometryError: `bad_volume`: not 3D, empty, too small, or an affine that is not finite or singular;
            `empty_volume`: nothing in it could cast a shadow.
    """
    affine = np.ascontiguousarray(affine_lps_from_ijk, np.float64)
    if voxels_hu.ndim != 3 or min(voxels_hu.shape) < 2 or affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise GeometryError("a volume for registration is [k, j, i] with a finite affine", code="bad_volume")
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    if abs(np.linalg.det(affine[:3, :3])) < 1e-6 * np.prod(np.maximum(spacing_mm, 1e-9)):
        raise GeometryError("the volume's affine is singular", code="bad_volume")
    factors = _factors(spacing_mm, LEVEL_SPACING_MM[-1])
    if any(size < factor for size, factor in zip(voxels_hu.shape, factors, strict=True)):
        raise GeometryError("the volume is smaller than a voxel of what is registered", code="bad_volume")
    excess, filled, threshold = _excess(voxels_hu, factors)
    fine_affine = _reduced_affine(affine, factors)
    excess *= _ramp(excess.shape, fine_affine, _unmeasured(voxels_hu, factors))
    total = float(excess.sum(dtype=np.float64))
    if not total > 0.0:
        raise GeometryError("nothing in the volume casts a shadow", code="empty_volume", mend="is it in HU?")
    levels = []
    for wanted_mm in LEVEL_SPACING_MM:
        more = _factors(np.linalg.norm(fine_affine[:3, :3], axis=0), wanted_mm)
        levels.append(
            ProjectionVolume(
                np.rint(_box_average(excess, more)).astype(np.int16), _reduced_affine(fine_affine, more), air=0
            )
        )
    inner = np.maximum(levels[1].voxels, _DENSER_HU) - np.int16(_DENSER_HU)
    return RegistrationVolume(
        tuple(levels),
        _centroid(levels[0]),
        _box(affine, voxels_hu.shape),
        threshold,
        filled,
        ProjectionVolume(inner, levels[1].affine_lps_from_ijk, air=0),
        affine[:3, :3].copy(),
    )


def _factors(spacing_mm: F64, wanted_mm: float) -> tuple[int, int, int]:
    """Whole numbers along (k, j, i) by which voxels are put together: never coarser than 1.35 times what is wanted."""
    i, j, k = (max(1, int(wanted_mm * 1.35 / max(step, 1e-6))) for step in spacing_mm)
    return k, j, i


def _reduced_affine(affine: F64, factors: tuple[int, int, int]) -> F64:
    """Of boxes of voxels: their centres."""
    ijk = np.array(factors[::-1], float)
    result = affine.copy()
    result[:3, :3] *= ijk
    result[:3, 3] += affine[:3, :3] @ ((ijk - 1.0) / 2.0)
    return result


def _excess(voxels: npt.NDArray[Any], factors: tuple[int, int, int]) -> tuple[npt.NDArray[np.float32], float, float]:
    """What counts, averaged over boxes; bone, or all that is denser than fat where there is hardly any bone."""
    sample = np.asarray(voxels[:: max(1, voxels.shape[0] // 64), ::4, ::4], np.float32)
    real = np.isfinite(sample) & (np.abs(sample) < _ABSURD_HU)
    share = float(np.count_nonzero(sample[real] > _BONE_HU)) / max(sample.size, 1)
    threshold = _BONE_HU if share >= _LEAST_BONE else _SOFT_HU
    counts = [max(1, -(-size // factor)) for size, factor in zip(voxels.shape, factors, strict=True)]
    result = np.zeros(counts, np.float32)
    rows, columns = counts[1] * factors[1], counts[2] * factors[2]
    padded = np.zeros((rows, columns), np.float32)
    filled = 0
    for k in range(voxels.shape[0]):
        slab = padded[: voxels.shape[1], : voxels.shape[2]]
        slab[:] = voxels[k]
        if voxels.dtype != np.int16:  # only those can hold what is no HU at all
            slab[~(np.abs(slab) < _ABSURD_HU)] = threshold
        np.clip(slab, threshold, _METAL_HU, out=slab)
        slab -= threshold
        filled += cv2.countNonZero(slab)
        result[k // factors[0]] += cv2.resize(padded, (counts[2], counts[1]), interpolation=cv2.INTER_AREA)
    result *= 1.0 / factors[0]
    return result, filled / voxels.size, threshold


def _unmeasured(voxels: npt.NDArray[Any], factors: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """Boxes whose middle voxel is padding, on the reduced grid."""
    middle = voxels[factors[0] // 2 :: factors[0], factors[1] // 2 :: factors[1], factors[2] // 2 :: factors[2]]
    padding = (middle < _PADDING_HU) | (middle > _ABSURD_HU)
    if padding.dtype != bool or np.issubdtype(middle.dtype, np.floating):
        padding = padding | ~np.isfinite(middle)
    shape = [max(1, -(-size // factor)) for size, factor in zip(voxels.shape, factors, strict=True)]
    result = np.ones(shape, bool)
    result[: middle.shape[0], : middle.shape[1], : middle.shape[2]] = padding
    # A last box that is only begun has no middle: it is taken as its neighbour.
    for axis, size in enumerate(middle.shape):
        if size < shape[axis]:
            last = [slice(None)] * 3
            last[axis] = slice(size, None)
            before = [slice(None)] * 3
            before[axis] = slice(size - 1, size)
            result[tuple(last)] = result[tuple(before)]
    return result


def _ramp(shape: tuple[int, ...], affine: F64, unmeasured: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """1 inside, falling to 0 at the walls of what was measured: bone cut off there must not end in an edge."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
    ramps = []
    for size, step in zip(shape, spacing, strict=True):
        along = np.arange(size) + 0.5
        ramps.append(np.minimum(np.minimum(along, size - along) * step / _RAMP_MM, 1.0).astype(np.float32))
    result = ramps[0][:, None, None] * ramps[1][None, :, None] * ramps[2][None, None, :]
    if unmeasured.any() and not unmeasured.all():
        coarse = tuple(max(1, int(3.0 / step)) for step in spacing)
        small = ~unmeasured[:: coarse[0], :: coarse[1], :: coarse[2]]
        distance = ndimage.distance_transform_edt(small, sampling=spacing * coarse).astype(np.float32)
        zoomed = ndimage.zoom(distance, coarse, order=1, grid_mode=True, mode="nearest")
        zoomed = zoomed[: shape[0], : shape[1], : shape[2]]
        fade = np.zeros(shape, np.float32)
        fade[: zoomed.shape[0], : zoomed.shape[1], : zoomed.shape[2]] = np.minimum(zoomed / _RAMP_MM, 1.0)
        result = result * fade * ~unmeasured
    return np.asarray(result, np.float32)


def _box_average(values: npt.NDArray[np.float32], factors: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """Means over boxes of voxels; a last box that is only begun is filled up with nothing."""
    if factors == (1, 1, 1):
        return values
    pad = [(0, -size % factor) for size, factor in zip(values.shape, factors, strict=True)]
    full = np.pad(values, pad) if any(after for _, after in pad) else values
    k, j, i = (size // factor for size, factor in zip(full.shape, factors, strict=True))
    along_i = full.reshape(-1, i, factors[2]).mean(axis=2)
    along_j = along_i.reshape(-1, factors[1], i).mean(axis=1)
    return np.asarray(along_j.reshape(k, factors[0], j, i).mean(axis=1), np.float32)


def _centroid(level: ProjectionVolume) -> F64:
    weights = level.voxels.astype(np.float64)
    total = weights.sum()
    sums = (weights.sum(axis=(0, 1)), weights.sum(axis=(0, 2)), weights.sum(axis=(1, 2)))
    ijk = [float(one @ np.arange(len(one))) / total for one in sums]
    center: F64 = level.affine_lps_from_ijk[:3, :3] @ ijk + level.affine_lps_from_ijk[:3, 3]
    return center


def _box(affine: F64, shape: tuple[int, ...]) -> F64:
    ends = [(-0.5, size - 0.5) for size in shape[::-1]]
    corners = np.array([[i, j, k] for i in ends[0] for j in ends[1] for k in ends[2]])
    box: F64 = corners @ affine[:3, :3].T + affine[:3, 3]
    return box
