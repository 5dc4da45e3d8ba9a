"""Slices and their grid -> voxels: copied where the grid is even, interpolated where it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from guidance.geometry.volume_grid import VolumeGrid
from guidance.messages import F64

I16 = npt.NDArray[np.int16]

AIR_HU: Final = -1000
"""What stands where nothing was measured."""


def fill(grid: VolumeGrid, pixels_of: Callable[[tuple[str, int]], I16], out: I16) -> None:
    """Write the volume of a grid.

    Args:
        grid: see `volume_grid.arrange`.
        pixels_of: key of a slice -> (rows, columns) int16 HU; called once per slice, in ascending k.
        out: `grid.shape_kji` int16, overwritten.
    """
    if not grid.is_resampled:
        for k, key in enumerate(grid.order):
            out[k] = pixels_of(key)
        return
    below = _in_place(pixels_of(grid.order[0]), grid.offsets_ij[0])
    below_k = float(grid.source_k[0])
    k = 0
    for key, source_k, offset_ij in zip(grid.order[1:], grid.source_k[1:], grid.offsets_ij[1:], strict=True):
        above = _in_place(pixels_of(key), offset_ij)
        while k < len(out) and (k <= source_k or key == grid.order[-1]):
            weight = np.float32(np.clip((k - below_k) / (source_k - below_k), 0.0, 1.0))
            # integers between -32768 and 32767 are exact in float32
            out[k] = np.rint(below + weight * (above - below))
            k += 1
        below, below_k = above, float(source_k)


def _in_place(pixels: I16, offset_ij: F64) -> npt.NDArray[np.float32]:
    """Move a picture that lies `offset_ij` voxels beside the grid onto it; air comes in at the edge."""
    plane = pixels.astype(np.float32)
    if not np.any(offset_ij):
        return plane
    moved = ndimage.shift(plane, (offset_ij[1], offset_ij[0]), order=1, mode="constant", cval=AIR_HU)
    return np.asarray(moved, dtype=np.float32)
