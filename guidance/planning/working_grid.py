"""An isotropic grid along LPS to work on, and volumes brought onto it; values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from guidance.messages import F64, Vector3

F32 = npt.NDArray[np.float32]

_MOST_VOXELS: Final = 48_000_000  # 200 MB of float32
MOST_SEARCHED_VOXELS: Final = 2_000_000
"""Of a grid that a corridor is searched on: what is finer is found on the surface itself."""
_SWAP: Final = np.eye(4)[[2, 1, 0, 3]]  # arrays are [k, j, i]


@dataclass(frozen=True, slots=True)
class WorkingGrid:
    """Voxel centres at `origin_lps_mm + spacing_mm * (i, j, k)`; arrays on it are `[k, j, i]`."""

    origin_lps_mm: Vector3
    spacing_mm: float
    shape_kji: tuple[int, int, int]

    @property
    def affine_lps_from_ijk(self) -> F64:
        """(4, 4)."""
        affine = np.diag([self.spacing_mm, self.spacing_mm, self.spacing_mm, 1.0])
        affine[:3, 3] = self.origin_lps_mm
        return affine

    def points(self, first: int, last: int) -> F64:
        """(N, 3) voxel centres of the slices first to last - 1, in array order."""
        _, rows, columns = self.shape_kji
        out = np.empty((last - first, rows, columns, 3), np.float64)
        x, y, z = self.origin_lps_mm
        out[..., 0] = x + self.spacing_mm * np.arange(columns)
        out[..., 1] = (y + self.spacing_mm * np.arange(rows))[:, None]
        out[..., 2] = (z + self.spacing_mm * np.arange(first, last))[:, None, None]
        return out.reshape(-1, 3)

    def part(self, low_kji: npt.NDArray[np.intp], high_kji: npt.NDArray[np.intp]) -> WorkingGrid:
        """The grid of `array[low:high]`."""
        x, y, z = (float(o + self.spacing_mm * n) for o, n in zip(self.origin_lps_mm, low_kji[::-1], strict=True))
        k, j, i = (int(b - a) for a, b in zip(low_kji, high_kji, strict=True))
        return WorkingGrid((x, y, z), self.spacing_mm, (k, j, i))


def grid_over(low_lps_mm: F64, high_lps_mm: F64, spacing_mm: float, *, most_voxels: int = _MOST_VOXELS) -> WorkingGrid:
    """A grid that covers a box; coarser than asked where it would have too many voxels."""
    size = np.maximum(high_lps_mm - low_lps_mm, 0.0)
    while np.prod(size / spacing_mm + 1.0) > most_voxels:
        spacing_mm *= 1.05
    count = np.ceil(size / spacing_mm - 1e-6).astype(int) + 1
    first = (low_lps_mm + high_lps_mm) / 2.0 - (count - 1) / 2.0 * spacing_mm
    return WorkingGrid(
        (float(first[0]), float(first[1]), float(first[2])), spacing_mm, (int(count[2]), int(count[1]), int(count[0]))
    )


def box_of(shape_kji: tuple[int, ...], affine_lps_from_ijk: F64) -> tuple[F64, F64]:
    """Corners of the box along LPS around the voxel centres of a grid."""
    corners = np.stack(np.meshgrid(*([0, n - 1] for n in shape_kji[::-1]), indexing="ij"), axis=-1).reshape(-1, 3)
    places = corners @ affine_lps_from_ijk[:3, :3].T + affine_lps_from_ijk[:3, 3]
    return places.min(axis=0), places.max(axis=0)


def finest_step_mm(affine_lps_from_ijk: F64) -> float:
    """Shortest distance between neighbouring planes of voxels; right for sheared grids too."""
    inverse = np.linalg.inv(affine_lps_from_ijk[:3, :3])
    return float((1.0 / np.linalg.norm(inverse, axis=1)).min())


def onto_grid(
    values: npt.NDArray[Any], affine_lps_from_ijk: F64, grid: WorkingGrid, *, outside: float, lowest: int | None = None
) -> F32:
    """Interpolate linearly; where the grid is coarser than the voxels, they are averaged first.

    Args:
        values: `[k, j, i]` of any number type.
        outside: what stands beyond the outermost voxel centres.
        lowest: what is less (padding) becomes this.
    """
    steps = 1.0 / np.linalg.norm(np.linalg.inv(affine_lps_from_ijk[:3, :3]), axis=1)
    factors = np.clip(np.floor(grid.spacing_mm / steps + 0.35).astype(int), 1, 8)
    source, affine = _averaged(values, affine_lps_from_ijk, factors, lowest)
    matrix = _SWAP @ np.linalg.inv(affine) @ grid.affine_lps_from_ijk @ _SWAP
    linear: F64 = matrix[:3, :3]
    out = np.empty(grid.shape_kji, np.float32)
    # A diagonal matrix is the quick case of SciPy's.
    scale = np.diag(linear) if np.allclose(linear, np.diag(np.diag(linear)), atol=1e-9) else linear
    ndimage.affine_transform(
        source, scale, offset=matrix[:3, 3], output_shape=grid.shape_kji, output=out, order=1, cval=outside
    )
    return out


def _averaged(
    values: npt.NDArray[Any], affine: F64, factors_ijk: npt.NDArray[np.int_], lowest: int | None
) -> tuple[npt.NDArray[Any], F64]:
    fi, fj, fk = (int(f) for f in factors_ijk)
    if fi == fj == fk == 1:
        return values if lowest is None else np.maximum(values, lowest), affine
    # The outermost voxels that make no whole block are repeated, so that the border stays where it is.
    padded_shape = [-(-n // f) * f for n, f in zip(values.shape, (fk, fj, fi), strict=True)]
    out = np.empty([n // f for n, f in zip(padded_shape, (fk, fj, fi), strict=True)], np.float32)
    for k in range(len(out)):
        slab = values[k * fk : (k + 1) * fk]
        slab = (slab if lowest is None else np.maximum(slab, lowest)).mean(axis=0, dtype=np.float32)
        slab = np.pad(slab, ((0, padded_shape[1] - slab.shape[0]), (0, padded_shape[2] - slab.shape[1])), mode="edge")
        out[k] = slab.reshape(out.shape[1], fj, out.shape[2], fi).mean(axis=(1, 3))
    coarse = affine.copy()
    coarse[:3, 3] += affine[:3, :3] @ ((np.array([fi, fj, fk]) - 1) / 2.0)
    coarse[:3, :3] = affine[:3, :3] * np.array([fi, fj, fk])
    return out, coarse
