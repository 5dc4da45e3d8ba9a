"""What the volume's projection predicts at a matrix, kept while the matrix stands."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.consistency.picture import CONTRAST_RADIUS, FLOOR, MEAN_RADIUS
from guidance.consistency.volume import WatchVolume
from guidance.kernels.watch import PLANES, Grid, WatchProjector, motion_template
from guidance.messages import F64
from guidance.registration.values import small_motion

F32 = npt.NDArray[np.float32]

_KEPT: Final = 12  # templates: told and found pose at three resolutions, of now and before
_NEAREST_MM: Final = 10.0


class Prediction:
    """Templates of one volume, by matrix, motion and resolution.

    Args:
        volume: of `watch_volume`.
    """

    def __init__(self, volume: WatchVolume) -> None:
        voxels, affine = volume.array(), volume.affine()
        self._projector = WatchProjector(voxels, affine)
        self._kept: OrderedDict[tuple[bytes, bytes, Grid], F32] = OrderedDict()
        self.pivot_lps_mm = _middle(voxels, affine)

    def template(self, told: F64, motion: F64, grid: Grid) -> F32:
        """(8, rows, columns) of `motion_template`, linear about a motion of the told pose.

        Args:
            told: (3, 4) contiguous.
            motion: (6,) small motion about the pivot.
        """
        key = (told.tobytes(), motion.tobytes(), grid)
        held = self._kept.get(key)
        if held is None:
            held = self._kept[key] = self.made(told @ small_motion(motion, self.pivot_lps_mm), grid)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return held

    def made(self, matrix: F64, grid: Grid) -> F32:
        """The same for any matrix, not kept; nothing where the volume's middle is not well in front of the source."""
        matrix = np.ascontiguousarray(matrix)
        depth = self.depth_mm(matrix)
        if not depth > _NEAREST_MM:
            return np.zeros((PLANES, grid.rows, grid.columns), np.float32)
        sums, moments = self._projector.project(matrix, grid, depth)
        template, _ = motion_template(
            sums,
            moments,
            matrix,
            self.pivot_lps_mm,
            grid,
            depth,
            mean_radius=MEAN_RADIUS,
            contrast_radius=CONTRAST_RADIUS,
            floor=FLOOR,
        )
        return template

    def depth_mm(self, matrix: F64) -> float:
        """w of the pivot."""
        return float(matrix[2, :3] @ self.pivot_lps_mm + matrix[2, 3])

    def usable(self, matrix: F64) -> bool:
        """Finite, not singular, with the volume in front of the source."""
        if not np.isfinite(matrix).all() or not self.depth_mm(matrix) > _NEAREST_MM:
            return False
        lengths = np.linalg.norm(matrix[:, :3], axis=1)
        return bool(abs(np.linalg.det(matrix[:, :3])) > 1e-9 * np.prod(lengths) > 0.0)


def _middle(voxels: npt.NDArray[np.int16], affine: F64) -> F64:
    """Centroid of what is dense; the grid's middle where nothing is."""
    sides = [voxels.sum(axis=axes, dtype=np.float64) for axes in ((0, 1), (0, 2), (1, 2))]  # along i, j, k
    total = float(sides[0].sum())
    if total > 0.0:
        middle = np.array([float(side @ np.arange(len(side))) / total for side in sides])
    else:
        middle = (np.array(voxels.shape[::-1], np.float64) - 1.0) / 2.0
    return np.asarray(affine[:3, :3] @ middle + affine[:3, 3], np.float64)
