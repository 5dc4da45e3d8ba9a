"""Masks as closed surfaces, and signed distances to them: native and parallel, no GIL while they work.

What they must give is specified by closed forms, brute force over triangles and `scipy.ndimage`'s Euclidean distance
transform in `tests/guidance/kernels/test_distance.py`; there is no fallback.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.kernels import _core
from guidance.kernels.reference import F32, I32
from guidance.messages import F64, U8, Vector3

_MOST_THREADS: Final = 16


@dataclass(frozen=True, slots=True, eq=False)
class GridValues:
    """Numbers on an isotropic grid along LPS.

    Attributes:
        values_mm: `[k, j, i]` float32, C order.
        origin_lps_mm: of the first point.
    """

    values_mm: F32
    origin_lps_mm: Vector3
    spacing_mm: float

    @property
    def place(self) -> tuple[float, float, float, float]:
        """Origin and spacing, as the native code takes them."""
        return (*self.origin_lps_mm, self.spacing_mm)


def isosurface(values: U8, affine_lps_from_ijk: F64, level: float) -> tuple[F64, I32]:
    """Where voxels, interpolated along their edges, cross a level; outside the array is 0.

    Args:
        values: `[k, j, i]` uint8, C order.
        affine_lps_from_ijk: (4, 4) float64; may be sheared or mirrored.
        level: between two integers, so that no voxel lies on the surface.

    Returns:
        (V, 3) float64 points in LPS and (T, 3) int32 triangles, outward by the right hand; every edge has two
        triangles (four where two parts touch). Empty where nothing is above the level.

    Raises:
        TypeError: wrong dtype, shape or memory order.
        ValueError: a matrix that is not finite, a level that is not between 0 and 255.

    Source: marching cubes; ambiguous faces keep inside corners apart.
    """
    return _core.isosurface(values, np.ascontiguousarray(affine_lps_from_ijk[:3]), level)


def simplified(
    points_mm: F64, triangles: I32, *, most_triangles: int, deviation_mm: float, smoothing: int = 0, smoothing_mm: float
) -> tuple[F64, I32]:
    """Fewer triangles for the same closed surface; parts and holes stay as they are.

    Args:
        points_mm: (V, 3) float64.
        triangles: (T, 3) int32.
        most_triangles: there it stops.
        deviation_mm: root mean square distance to the planes that a point stands for; what would cost more is left,
            however many triangles that are. A single place may lie farther off: measure where it matters.
        smoothing: rounds before.
        smoothing_mm: how far they may move a point.

    Raises:
        TypeError: wrong dtype, shape or memory order.
        ValueError: points that are not finite, triangles of points that there are not, rules below 0.
    """
    return _core.simplified(points_mm, triangles, most_triangles, deviation_mm, smoothing, smoothing_mm)


class NearestSurface:
    """A closed triangle surface, prepared for nearest points.

    Args:
        points_mm: (V, 3) float64, all of them used.
        triangles: (T, 3) int32, T >= 1, outward by the right hand.

    Raises:
        TypeError: wrong dtype, shape or memory order.
        ValueError: no triangle, points that are not finite, triangles of points that there are not.
    """

    def __init__(self, points_mm: F64, triangles: I32) -> None:
        self._tree = _core.SurfaceTree(points_mm, triangles)

    def nearest(self, points_mm: F64) -> tuple[F64, F64]:
        """Nearest points on the surface, (N, 3), and signed distances, (N,), negative inside; exact to 1e-4 mm."""
        points_mm = np.ascontiguousarray(points_mm, np.float64)
        places, distances = np.empty_like(points_mm), np.empty(len(points_mm), np.float64)
        self._tree.nearest(points_mm, places, distances)
        return places, distances

    def on_grid(
        self,
        values: U8,
        affine_lps_from_ijk: F64,
        level: float,
        trusted_mm: float,
        *,
        origin_lps_mm: Vector3,
        spacing_mm: float,
        shape_kji: tuple[int, int, int],
        threads: int | None = None,
    ) -> GridValues:
        """Signed distance at the points of an isotropic grid along LPS.

        Within 2 voxels of the surface exact; beyond it at most a tenth of a voxel too large, less the farther off. On
        grids of more than 1.5 million points, which are worked out in parallel along lines, up to half a voxel where
        sharp tips lie tilted to the grid. Needs 20 bytes per point on small grids while it works, 12 on large ones,
        4 after.

        Args:
            values, affine_lps_from_ijk, level: the mask that the surface is of: tells inside from outside.
            trusted_mm: nearer to the surface than this the triangles tell the side.
            shape_kji: 2 at least along each axis.
            threads: 1 to 64; None: as many as there are processors.

        Returns:
            Read-only.
        """
        out = np.empty(shape_kji, np.float32)
        inverse = np.ascontiguousarray(np.linalg.inv(affine_lps_from_ijk)[:3])
        self._tree.fill(values, inverse, level, trusted_mm, origin_lps_mm, spacing_mm, threads or thread_count(), out)
        out.flags.writeable = False
        return GridValues(out, origin_lps_mm, spacing_mm)

    def sample(self, inner: GridValues, outer: GridValues, points_mm: F64) -> F64:
        """Values of such grids between their points, linearly.

        Where neither reaches, and where their slope is below 0.77 (two places are as near), the exact distance.

        Args:
            inner: looked at first.
            outer: coarser and larger.
            points_mm: (N, 3).

        Returns:
            (N,) float64; NaN where a point is not finite.
        """
        points_mm = np.ascontiguousarray(points_mm, np.float64)
        out = np.empty(len(points_mm), np.float64)
        self._tree.sample(inner.values_mm, inner.place, outer.values_mm, outer.place, points_mm, out)
        return out


def thread_count() -> int:
    """Threads that a kernel uses where it is not told."""
    return max(1, min(os.cpu_count() or 1, _MOST_THREADS))
