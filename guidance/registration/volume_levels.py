"""A CT or CBCT made ready to be held against another: coarse to fine, bone alone, and the points worth comparing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from guidance.errors import GeometryError
from guidance.messages import F64

F32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

LEVEL_SPACING_MM: Final = (6.0, 3.0, 1.25)
"""Coarse to fine. Below the last nothing is gained: 40 000 edges of 1.25 mm leave 0.05 mm."""
_LEVEL_POINTS: Final = (4000, 15000, 40000)
BLOCK_MM: Final = 25.0

# Relative to the level of soft tissue, in HU. Values are limited far from bone's edge: a limit within it would move
# the edge of a CBCT whose values are off.
_LOWEST_HU: Final = -150.0
_HIGHEST_HU: Final = 1600.0
_BONE_HU: Final = 120.0  # what is compared lies beside it: muscle and bowel move
_COARSE_LOWEST_HU: Final = 50.0  # on the coarse level, where only the way is looked for, nothing but bone is left
_PEAK_PART: Final = 0.3  # of the most frequent value; fat and muscle are two peaks, and muscle is the upper one
_SMOOTHING_VOXELS: Final = 0.8  # noise of CBCTs would be most of the steepest places
_AIR_BELOW_TISSUE_HU: Final = 300.0
_METAL_HU: Final = 2200.0  # cortical bone ends at 1900; titanium begins at 3000 and is blurred
_METAL_MARGIN_MM: Final = 3.0  # blooming and the worst of the streaks
_FEWEST_VOXELS: Final = 4  # of an axis, after reduction
_LEAST_EDGE_HU: Final = 8.0  # per voxel
_EDGES_PART: Final = 0.4  # of the steepest places
_CROWDED: Final = 3.0  # points of one block over the mean: no femur shaft outvotes a sacrum


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VolumeLevel:
    """One resolution of a volume.

    Attributes:
        bone_hu: `[k, j, i]`, HU above soft tissue, smoothed and limited; NaN where nothing may be compared: air,
            padding, metal.
        affine_lps_from_ijk, ijk_from_lps: (4, 4), voxel centres at integers.
    """

    bone_hu: F32
    affine_lps_from_ijk: F64
    ijk_from_lps: F64

    def at(self, points_lps_mm: F64) -> F64:
        """(N,) values between voxel centres, trilinear; NaN outside and where a neighbour is not comparable."""
        kji = (points_lps_mm @ self.ijk_from_lps[:3, :3].T + self.ijk_from_lps[:3, 3]).T[::-1]
        values: F64 = ndimage.map_coordinates(
            self.bone_hu, kji, output=np.float64, order=1, cval=np.nan, prefilter=False
        )
        return values


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EdgePoints:
    """Places of a volume where bone begins or ends.

    Attributes:
        lps_mm: (N, 3).
        bone_hu: (N,).
        gradient: (N, 3), HU per mm, along LPS.
        block: (N,) which cube of `BLOCK_MM` each lies in, 0 to `blocks` - 1.
        blocks: how many.
    """

    lps_mm: F64
    bone_hu: F64
    gradient: F64
    block: npt.NDArray[np.intp]
    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LevelledVolume:
    """A volume as registration needs it.

    Attributes:
        levels: coarse to fine.
        tissue_hu: what soft tissue has in this volume: CBCTs are off by 100 HU and more.
        center_lps_mm: (3,) middle of the grid.
        volume_ml: of the part that shows patient.
    """

    levels: tuple[VolumeLevel, ...]
    tissue_hu: float
    center_lps_mm: F64
    volume_ml: float


def levelled_volume(voxels_hu: npt.NDArray[Any], affine_lps_from_ijk: F64) -> LevelledVolume:
    """Reduce and limit a volume.

    Args:
        voxels_hu: `[k, j, i]` int16 or float32, HU with any offset within some hundred.
        affine_lps_from_ijk: (4, 4); may be turned, sheared or left-handed.

    Raises:
        GeometryError: `bad_volume`: no 3D array, fewer than four voxels along an axis, or a singular affine.
    """
    affine = np.asarray(affine_lps_from_ijk, np.float64)
    if voxels_hu.ndim != 3 or min(voxels_hu.shape) < _FEWEST_VOXELS:
        shape = " x ".join(str(count) for count in voxels_hu.shape)
        raise GeometryError(f"a volume of {shape} voxels", code="bad_volume", mend="at least 4 along each axis")
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise GeometryError("the volume's affine is singular or not finite", code="bad_volume")
    if voxels_hu.dtype not in (np.int16, np.float32):
        voxels_hu = voxels_hu.astype(np.float32)
    reduced = [reduced_by_means(voxels_hu, affine, LEVEL_SPACING_MM[-1])]
    for spacing_mm in LEVEL_SPACING_MM[-2::-1]:
        reduced.append(reduced_by_means(*reduced[-1], spacing_mm))
    tissue_hu = _tissue_hu(reduced[1][0])
    lowest_hu = (_COARSE_LOWEST_HU, *[_LOWEST_HU] * (len(reduced) - 1))
    levels = tuple(
        _level(values, grid, tissue_hu, low) for (values, grid), low in zip(reversed(reduced), lowest_hu, strict=True)
    )
    coarse = levels[0]
    voxel_ml = abs(float(np.linalg.det(coarse.affine_lps_from_ijk[:3, :3]))) / 1000.0
    middle = (np.array(voxels_hu.shape[::-1]) - 1.0) / 2.0
    return LevelledVolume(
        levels=levels,
        tissue_hu=tissue_hu,
        center_lps_mm=affine[:3, :3] @ middle + affine[:3, 3],
        volume_ml=float(np.isfinite(coarse.bone_hu).sum()) * voxel_ml,
    )


def reduced_by_means(voxels: npt.NDArray[Any], affine: F64, spacing_mm: float) -> tuple[F32, F64]:
    """Means of whole blocks of voxels, so that each axis comes near `spacing_mm`; and their affine."""
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    counts = voxels.shape[::-1]
    fx, fy, fz = (
        max(1, min(round(spacing_mm / float(step)), count // _FEWEST_VOXELS))
        for step, count in zip(steps, counts, strict=True)
    )
    columns, rows, slices = counts[0] // fx, counts[1] // fy, counts[2] // fz
    means = np.empty((slices, rows, columns), np.float32)
    for k in range(slices):
        total: npt.NDArray[Any] = np.zeros((rows, columns), np.float32)
        for plane in voxels[k * fz : (k + 1) * fz, : rows * fy, : columns * fx]:
            same = np.ascontiguousarray(plane)
            total += cv2.resize(same, (columns, rows), interpolation=cv2.INTER_AREA) if fx * fy > 1 else same
        means[k] = total / fz
    factors = np.array((fx, fy, fz), np.float64)
    grid = affine.copy()
    grid[:3, :3] = affine[:3, :3] * factors
    grid[:3, 3] = affine[:3, 3] + affine[:3, :3] @ ((factors - 1.0) / 2.0)
    return means, grid


def edge_points(level: VolumeLevel, number: int) -> EdgePoints:
    """The steepest places of bone, spread over the volume; the same ones every time.

    Args:
        number: at most so many.
    """
    slopes = np.gradient(level.bone_hu)[::-1]  # along i, j, k; NaN beside what may not be compared
    inverse = level.ijk_from_lps[:3, :3].astype(np.float32)
    steep = np.sqrt(sum(np.square(sum(inverse[n, m] * slopes[n] for n in range(3))) for m in range(3)))
    # A maximum of NaN is not defined by the filter, and no bone is what it stands for.
    by_bone = ndimage.maximum_filter(np.nan_to_num(level.bone_hu, nan=-1000.0), 3) > _BONE_HU
    # A slope does not look at the place itself.
    usable = np.isfinite(steep) & np.isfinite(level.bone_hu) & by_bone
    if not usable.any():
        return _no_points()
    step_mm = float(np.linalg.norm(level.affine_lps_from_ijk[:3, :3], axis=0).mean())
    least = max(float(np.quantile(steep[usable], 1.0 - _EDGES_PART)), _LEAST_EDGE_HU / step_mm)
    found = np.flatnonzero(usable & (steep >= least))
    if not len(found):
        return _no_points()
    found = np.random.default_rng(0).permutation(found)
    ijk = np.stack(np.unravel_index(found, level.bone_hu.shape)[::-1], axis=1)
    affine = level.affine_lps_from_ijk
    lps_mm = ijk @ affine[:3, :3].T + affine[:3, 3]
    cube = np.floor((lps_mm - lps_mm.min(axis=0)) / BLOCK_MM).astype(np.intp)
    sizes = cube.max(axis=0) + 1
    key = (cube[:, 0] * sizes[1] + cube[:, 1]) * sizes[2] + cube[:, 2]
    kept = _spread(key, number)
    _, block = np.unique(key[kept], return_inverse=True)
    gradient = np.stack([slope.ravel()[found[kept]] for slope in slopes], axis=1).astype(np.float64)
    return EdgePoints(
        lps_mm=lps_mm[kept],
        bone_hu=level.bone_hu.ravel()[found[kept]].astype(np.float64),
        gradient=gradient @ level.ijk_from_lps[:3, :3],
        block=block,
        blocks=int(block.max()) + 1,
    )


def thinned(points: EdgePoints, number: int) -> EdgePoints:
    """At most `number` of the points; they are in no order, so any run of them is spread over the volume."""
    return EdgePoints(
        lps_mm=points.lps_mm[:number],
        bone_hu=points.bone_hu[:number],
        gradient=points.gradient[:number],
        block=points.block[:number],
        blocks=points.blocks,
    )


def level_points(volume: LevelledVolume) -> tuple[EdgePoints, ...]:
    """Edge points of every level."""
    return tuple(edge_points(level, number) for level, number in zip(volume.levels, _LEVEL_POINTS, strict=True))


def _spread(block: npt.NDArray[np.intp], number: int) -> npt.NDArray[np.intp]:
    """Indices of at most `number`, none of a block beyond its share."""
    counts = np.bincount(block)
    most = max(1, int(_CROWDED * number / np.count_nonzero(counts)))
    order = np.argsort(block, kind="stable")
    place = np.arange(len(block)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept: npt.NDArray[np.intp] = np.sort(order[place < most])
    return kept[:number]


def _no_points() -> EdgePoints:
    none = np.zeros((0, 3))
    return EdgePoints(lps_mm=none, bone_hu=none[:, 0], gradient=none, block=np.zeros(0, np.intp), blocks=0)


def _tissue_hu(values: F32) -> float:
    """The most frequent value of muscle; of everything where there is next to nothing in soft tissue's range."""
    edges = np.arange(-300.0, 401.0, 10.0)
    counts = np.histogram(values, edges)[0].astype(np.float64)
    if counts.sum() < 0.1 * values.size:
        low, high = float(values.min()), float(values.max())
        edges = np.linspace(low, max(high, low + 10.0), 200)
        counts = np.histogram(values, edges)[0].astype(np.float64)
    smooth = np.convolve(counts, np.ones(5), mode="same")
    inner = smooth[1:-1]
    is_peak = (inner >= smooth[:-2]) & (inner > smooth[2:]) & (inner >= _PEAK_PART * smooth.max())
    best = int(np.flatnonzero(is_peak)[-1]) + 1 if is_peak.any() else int(np.argmax(smooth))
    return float(edges[best] + edges[best + 1]) / 2.0


def _level(values: F32, affine: F64, tissue_hu: float, lowest_hu: float) -> VolumeLevel:
    limited = np.clip(values - np.float32(tissue_hu), lowest_hu, _HIGHEST_HU)
    bone = ndimage.gaussian_filter(np.nan_to_num(limited, nan=lowest_hu), _SMOOTHING_VOXELS, truncate=2.5)
    bone[~(values > tissue_hu - _AIR_BELOW_TISSUE_HU)] = np.nan
    metal = values > _METAL_HU
    if metal.any():
        steps = np.linalg.norm(affine[:3, :3], axis=0)
        reach = [max(1, round(_METAL_MARGIN_MM / float(step))) for step in steps[::-1]]
        near = ndimage.maximum_filter(metal, size=[2 * n + 1 for n in reach])
        bone[near] = np.nan
    return VolumeLevel(
        bone_hu=bone, affine_lps_from_ijk=affine, ijk_from_lps=np.asarray(np.linalg.inv(affine), np.float64)
    )
