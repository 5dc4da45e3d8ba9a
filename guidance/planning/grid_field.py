"""Masks as signed distances: their surface at sub-voxel places, its distance on a grid, and exactly off the grid."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.errors import GeometryError
from guidance.kernels.distance import GridValues, NearestSurface, isosurface
from guidance.messages import F64, U8
from guidance.planning.occupancy import SURFACE_LEVEL, Occupancy

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]

MARGIN_MM: Final = 8.0
OUTER_MARGIN_MM: Final = 60.0
_OUTER_MM: Final = 2.0
_MOST_OUTER_VOXELS: Final = 1_000_000
_FAR_MARGIN_MM: Final = 250.0
_MOST_FAR_VOXELS: Final = 120_000  # some 8 mm apart: beyond 60 mm that is right to 0.15 mm
_FEW: Final = 2000  # points at once that are asked of the surface while there is no grid: some 10 ms
_MANY: Final = 10_000  # points off the grid that are worth the coarser one
_FINEST_MM, _COARSEST_MM = 0.3, 1.0
_MOST_VOXELS: Final = 24_000_000  # 96 MB kept, three times as much while it is made
_MOST_ASKED_VOXELS: Final = 256_000_000


@dataclass(frozen=True, slots=True, eq=False)
class MaskSurface:
    """Where a mask crosses one half.

    Attributes:
        points_lps_mm: (V, 3) float64.
        triangles: (T, 3) int32, outward.
        crop: the mask's values around the zone.
        affine_lps_from_ijk: of the crop.
        finest_mm: shortest distance between neighbouring planes of voxels.
    """

    points_lps_mm: F64
    triangles: I32
    crop: U8
    affine_lps_from_ijk: F64
    finest_mm: float


def mask_surface(occupancy: Occupancy) -> MaskSurface:
    """Find a mask's surface.

    Raises:
        GeometryError: `empty_zone`: no voxel belongs to the zone by half; `singular_grid`.
    """
    affine = np.asarray(occupancy.affine_lps_from_ijk, np.float64)
    steps = _steps_mm(affine)
    crop, first_kji = _cropped(occupancy.values)
    affine = affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.array(first_kji[::-1], np.float64)
    points, triangles = isosurface(crop, affine, SURFACE_LEVEL)
    return MaskSurface(points, triangles, crop, affine, steps)


class GridField:
    """A mask's signed distance: exact for a few points; for many from a grid that is made when it is first needed.

    Args:
        mask: the surface.
        spacing_mm: of the grid.
        margin_mm: how far the grid reaches beyond the zone.

    Attributes:
        bounds_lps_mm: (2, 3) float64: box of the zone.
        spacing_mm: of the grid.
        surface: where the mask's voxels cross one half, in their own grid; exact, but 1 to 20 us per point.
    """

    def __init__(self, mask: MaskSurface, *, spacing_mm: float, margin_mm: float) -> None:
        self._mask = mask
        self._margin_mm = margin_mm
        self._lock = threading.Lock()
        self._grid: GridValues | None = None
        self._outer: GridValues | None = None
        self._far: GridValues | None = None
        self.bounds_lps_mm = _bounds(mask)
        self.spacing_mm = spacing_mm
        self.surface = NearestSurface(mask.points_lps_mm, mask.triangles)

    def prepare(self, *, coarse_only: bool = False) -> None:
        """Make the grids, once: for who asks again and again and must be quick then.

        Takes tenths of a second for a zone of 50 ml at 0.5 mm.

        Args:
            coarse_only: the coarser one alone, for what is mostly far away: 4 MB at most; near it a few exact
                distances do.
        """
        assert self.outer is not None
        assert coarse_only or self.grid is not None
        with self._lock:
            if self._far is None:
                self._far = self._coarser(_FAR_MARGIN_MM, _MOST_FAR_VOXELS)

    @property
    def grid(self) -> GridValues:
        """Around the zone; made by the first call."""
        with self._lock:
            if self._grid is None:
                self._grid = _distances(self._mask, self.surface, self.bounds_lps_mm, self.spacing_mm, self._margin_mm)
            return self._grid

    @property
    def outer(self) -> GridValues:
        """Coarser, `OUTER_MARGIN_MM` around the zone; made by the first call."""
        with self._lock:
            if self._outer is None:
                self._outer = self._coarser(OUTER_MARGIN_MM, _MOST_OUTER_VOXELS)
            return self._outer

    def _coarser(self, margin_mm: float, most_voxels: int) -> GridValues:
        size = self.bounds_lps_mm[1] - self.bounds_lps_mm[0] + 2.0 * margin_mm
        spacing_mm = max(_OUTER_MM, self.spacing_mm, float(np.cbrt(np.prod(size) / most_voxels)))
        return _distances(self._mask, self.surface, self.bounds_lps_mm, spacing_mm, margin_mm)

    @property
    def values_mm(self) -> F32:
        """`[k, j, i]` float32, C order, read-only: at the grid's points; negative inside."""
        return self.grid.values_mm

    @property
    def affine_lps_from_ijk(self) -> F64:
        """(4, 4) float64: the spacing times the identity, and the grid's first point."""
        affine = np.diag([self.spacing_mm, self.spacing_mm, self.spacing_mm, 1.0])
        affine[:3, 3] = self.grid.origin_lps_mm
        return affine

    def distance_mm(self, points_lps_mm: F64) -> F64:
        """(N,) signed distance of (N, 3) points to the surface, negative inside."""
        points = np.ascontiguousarray(points_lps_mm, np.float64)
        if self._far is not None and self._outer is not None:
            away = self._beyond(points, OUTER_MARGIN_MM)
            if away.any():
                distances = np.empty(len(points))
                distances[away] = self.surface.sample(self._outer, self._far, points[away])
                distances[~away] = self._near(points[~away])
                return distances
        return self._near(points)

    def _near(self, points: F64) -> F64:
        if len(points) <= _FEW and self._grid is None:
            return self.surface.nearest(points)[1] if self._outer is None else self._coarse(self._outer, points)
        grid = self.grid
        far = self._outer or (
            self.outer if len(points) > _MANY and self._beyond(points, self._margin_mm).sum() > _MANY else grid
        )
        return self.surface.sample(grid, far, points)

    def nearest_mm(self, points_lps_mm: F64) -> F64:
        """(N, 3) nearest points on the surface."""
        return self.surface.nearest(points_lps_mm)[0]

    def _coarse(self, outer: GridValues, points: F64) -> F64:
        """From the coarser grid where that is good enough, else exact."""
        distances = self.surface.sample(outer, outer, points)
        near = ~(distances >= self._margin_mm)
        if near.any():
            distances[near] = self.surface.nearest(points[near])[1]
        return distances

    def _beyond(self, points: F64, margin_mm: float) -> npt.NDArray[np.bool_]:
        """(N,) which points lie farther off the zone's box."""
        low, high = self.bounds_lps_mm[0] - margin_mm, self.bounds_lps_mm[1] + margin_mm
        outside: npt.NDArray[np.bool_] = ((points < low) | (points > high)).any(axis=1)
        return outside


def field_of_occupancy(
    occupancy: Occupancy, *, spacing_mm: float | None = None, margin_mm: float = MARGIN_MM
) -> GridField:
    """Signed distance to where half of a voxel belongs to the zone, voxels interpolated linearly.

    The surface is found in the mask's own grid, sheared, tilted or anisotropic as that may be; distances stand on a
    grid along LPS around the zone. At its points they are exact within 2 voxels of the surface, and farther off too
    large by a tenth of a voxel at most (by half of one where sharp tips of a zone of many millilitres lie tilted to
    the grid). Between them they are interpolated; where two places of the surface are as near, the surface itself is
    asked. Off the grid they are exact, but where very many are asked at once: those come from a coarser one, up to
    `OUTER_MARGIN_MM` from the zone, right to 0.2 mm at 8 mm and better farther away.

    Args:
        occupancy: any affine grid.
        spacing_mm: of the distance grid; None: as fine as the mask, 0.3 to 1 mm, coarser for zones of litres.
        margin_mm: how far the grid reaches beyond the zone.

    Raises:
        GeometryError: `empty_zone`: no voxel belongs to the zone by half; `singular_grid`; `too_large`: a spacing
            for which there is no memory.
    """
    return field_of_surface(mask_surface(occupancy), spacing_mm=spacing_mm, margin_mm=margin_mm)


def field_of_surface(mask: MaskSurface, *, spacing_mm: float | None = None, margin_mm: float = MARGIN_MM) -> GridField:
    """As `field_of_occupancy`, of a surface that was found already."""
    spacing = _spacing(mask, _bounds(mask), spacing_mm, margin_mm)
    return GridField(mask, spacing_mm=spacing, margin_mm=margin_mm)


def _bounds(mask: MaskSurface) -> F64:
    return np.stack([mask.points_lps_mm.min(axis=0), mask.points_lps_mm.max(axis=0)])


def _spacing(mask: MaskSurface, bounds: F64, asked_mm: float | None, margin_mm: float) -> float:
    size = bounds[1] - bounds[0] + 2.0 * margin_mm
    if asked_mm is None:
        spacing = float(np.clip(mask.finest_mm, _FINEST_MM, _COARSEST_MM))
        return max(spacing, float(np.cbrt(np.prod(size) / _MOST_VOXELS)))
    if not (np.isfinite(asked_mm) and asked_mm > 0.0 and np.prod(size / asked_mm + 1.0) <= _MOST_ASKED_VOXELS):
        raise GeometryError(f"a grid of {asked_mm} mm is too large", code="too_large", mend="ask for a coarser one")
    return asked_mm


def _distances(
    mask: MaskSurface, surface: NearestSurface, bounds: F64, spacing_mm: float, margin_mm: float
) -> GridValues:
    # Through the mask's own voxel centres: where both grids lie alike, their points are the same.
    anchor = mask.affine_lps_from_ijk[:3, 3]
    rim = max(margin_mm, 2.0 * spacing_mm)
    first = anchor + spacing_mm * np.floor((bounds[0] - rim - anchor) / spacing_mm)
    count = np.ceil((bounds[1] + rim - first) / spacing_mm).astype(np.int64) + 1
    return surface.on_grid(
        mask.crop,
        mask.affine_lps_from_ijk,
        SURFACE_LEVEL,
        0.5 * mask.finest_mm,
        origin_lps_mm=(float(first[0]), float(first[1]), float(first[2])),
        spacing_mm=spacing_mm,
        shape_kji=(int(count[2]), int(count[1]), int(count[0])),
    )


def _steps_mm(affine: F64) -> float:
    matrix = affine[:3, :3]
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(float(np.linalg.det(matrix))) < 1e-9:
        raise GeometryError("the mask's grid has no volume", code="singular_grid", mend="export the zone again")
    return float((1.0 / np.linalg.norm(np.linalg.inv(matrix), axis=1)).min())


def _cropped(values: U8) -> tuple[U8, tuple[int, int, int]]:
    """What is not 0, with a rim of a voxel where the array has one; and the first voxel of it."""
    inside = values > SURFACE_LEVEL
    low, high = [], []
    for axis in range(3):
        there = np.flatnonzero(inside.any(axis=tuple(n for n in range(3) if n != axis)))
        if len(there) == 0:
            raise GeometryError(
                "no voxel of the mask belongs to the zone by half", code="empty_zone", mend="segment the zone again"
            )
        low.append(max(int(there[0]) - 1, 0))
        high.append(int(there[-1]) + 2)
    crop = values[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    return np.ascontiguousarray(crop), (low[0], low[1], low[2])
