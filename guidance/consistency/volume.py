"""The small volume of attenuating structure that live pictures are held against: made once, sent as bytes."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from guidance.messages import F64

I16 = npt.NDArray[np.int16]

TARGET_SPACING_MM: Final = 2.0  # a bin of a picture is about 1.5 mm at the isocentre
# Soft tissue shades into its surroundings where the field of view ends, and gas moves; what is denser does neither.
_DENSE_ABOVE_SOFT_TISSUE_HU: Final = 100.0
_SOFT_TISSUE_HU: Final = (-150.0, 150.0)
_DENSEST_HU: Final = 2500.0  # metal and its artefacts count as dense bone
_EDGE_MM: Final = 9.0  # bone cut off by the field of view fades instead of ending where the picture shows none end


class WatchVolume(msgspec.Struct, frozen=True, kw_only=True):
    """Excess over soft tissue on a coarse grid.

    Attributes:
        voxels: int16, `[k, j, i]` in C order, HU above soft tissue; 0 where nothing dense is.
        shape_kji: its shape.
        affine_lps_from_ijk: 16 numbers, row-major, voxel centres at integers.
    """

    voxels: bytes
    shape_kji: tuple[int, int, int]
    affine_lps_from_ijk: tuple[float, ...]

    def array(self) -> I16:
        """`[k, j, i]` int16, read-only."""
        return np.frombuffer(self.voxels, np.int16).reshape(self.shape_kji)

    def affine(self) -> F64:
        """(4, 4) float64."""
        return np.array(self.affine_lps_from_ijk).reshape(4, 4)


def watch_volume(voxels_hu: npt.NDArray[Any], affine_lps_from_ijk: F64) -> WatchVolume:
    """Reduce a volume to what live pictures are held against.

    Args:
        voxels_hu: `[k, j, i]`, any real type; NaN counts as nothing.
        affine_lps_from_ijk: (4, 4), voxel centres at integers.

    Raises:
        ValueError: not three-dimensional, empty, or a singular or non-finite affine.
    """
    affine = np.ascontiguousarray(affine_lps_from_ijk, np.float64)
    if voxels_hu.ndim != 3 or voxels_hu.size == 0:
        raise ValueError("a volume has three dimensions and at least one voxel")
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise ValueError("affine_lps_from_ijk must be a finite, invertible (4, 4)")
    spacing_ijk = np.linalg.norm(affine[:3, :3], axis=0)
    factor = [int(n) for n in np.clip(np.rint(TARGET_SPACING_MM / spacing_ijk), 1, None)[::-1]]
    factor = [min(n, size) for n, size in zip(factor, voxels_hu.shape, strict=True)]
    knee = _soft_tissue_hu(voxels_hu) + _DENSE_ABOVE_SOFT_TISSUE_HU
    reduced = _block_mean(voxels_hu, factor, knee)
    reduced *= _fade(reduced.shape, spacing_ijk[::-1] * factor)
    new_from_old = np.diag([*factor[::-1], 1.0])
    new_from_old[:3, 3] = (np.array(factor[::-1]) - 1) / 2.0
    return WatchVolume(
        voxels=np.rint(reduced).astype(np.int16).tobytes(),
        shape_kji=(reduced.shape[0], reduced.shape[1], reduced.shape[2]),
        affine_lps_from_ijk=tuple((affine @ new_from_old).ravel().tolist()),
    )


def _soft_tissue_hu(voxels_hu: npt.NDArray[Any]) -> float:
    """The commonest value near water: a cone-beam volume's scale may lie off by 100 HU."""
    step = max(1, round((voxels_hu.size / 1e6) ** (1 / 3)))
    sample = voxels_hu[::step, ::step, ::step].astype(np.float32)
    low, high = _SOFT_TISSUE_HU
    sample = sample[(sample > low) & (sample < high)]
    if sample.size == 0:
        return 0.0
    counts, edges = np.histogram(sample, bins=30, range=_SOFT_TISSUE_HU)
    # Fat makes a peak of its own, to the left: the rightmost peak half as high as the highest is muscle.
    high_ones = np.flatnonzero(counts >= 0.5 * counts.max())
    return float(edges[high_ones[-1]] + edges[high_ones[-1] + 1]) / 2.0


def _block_mean(voxels_hu: npt.NDArray[Any], factor: list[int], knee: float) -> npt.NDArray[np.float32]:
    """Mean excess over `knee` of whole blocks; slab by slab, for the volume may be large."""
    fk, fj, fi = factor
    nk, nj, ni = (size // n for size, n in zip(voxels_hu.shape, factor, strict=True))
    reduced = np.empty((nk, nj, ni), np.float32)
    for k in range(nk):
        slab = voxels_hu[k * fk : (k + 1) * fk, : nj * fj, : ni * fi].astype(np.float32)
        excess = np.nan_to_num(np.clip(slab, knee, _DENSEST_HU) - np.float32(knee), copy=False, nan=0.0)
        reduced[k] = excess.reshape(fk, nj, fj, ni, fi).mean(axis=(0, 2, 4))
    return reduced


def _fade(shape_kji: tuple[int, ...], spacing_kji_mm: F64) -> npt.NDArray[np.float32]:
    """1 inside, falling to 0 at the faces."""
    ramps = []
    for size, spacing in zip(shape_kji, spacing_kji_mm, strict=True):
        from_face_mm = (np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5) * spacing
        ramps.append(np.clip(from_face_mm / _EDGE_MM, 0.0, 1.0).astype(np.float32))
    fade: npt.NDArray[np.float32] = ramps[0][:, None, None] * ramps[1][:, None] * ramps[2]
    return fade
