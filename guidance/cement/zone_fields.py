"""Signed distances from points to zones, remembered on a lattice: cement grows slowly, so few are new in any frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from guidance.errors import GeometryError
from guidance.kernels.distance import NearestSurface
from guidance.kernels.silhouette import Surface
from guidance.messages import F32, F64, MaskShape, Zone
from guidance.overlay.zones import ZonesOnPicture
from guidance.planning.primitives import primitive_field

FAR_MM: Final = 30.0
"""Beyond this a zone's distance is that to its box: never larger than the true one."""

Lattice = npt.NDArray[np.intp]


class SignedDistance(Protocol):
    """Distance to a closed surface."""

    @property
    def bounds_lps_mm(self) -> F64:
        """(2, 3) least and greatest coordinates."""

    def distance_mm(self, points_lps_mm: F64) -> F64:
        """(N,) negative inside, of (N, 3) points."""


@dataclass(frozen=True, slots=True, eq=False)
class ZoneField:
    """One zone as far as cement is concerned.

    Attributes:
        zone: which.
        field: distances to it; None: `reason`.
        reason: why there are none.
    """

    zone: Zone
    field: SignedDistance | None
    reason: str = ""


class SurfaceField:
    """Distances to a zone that is known by its triangles.

    Args:
        surface: closed, outward by the right hand.
    """

    def __init__(self, surface: Surface) -> None:
        points = np.ascontiguousarray(surface.vertices_lps_mm, np.float64)
        self.bounds_lps_mm = np.stack([points.min(axis=0), points.max(axis=0)])
        self._nearest = NearestSurface(points, np.ascontiguousarray(surface.triangles))

    def distance_mm(self, points_lps_mm: F64) -> F64:
        """(N,) negative inside, of (N, 3) finite points."""
        return self._nearest.nearest(points_lps_mm)[1]


def zone_fields(zones: ZonesOnPicture) -> tuple[ZoneField, ...]:
    """Each zone's distances: drawn shapes in closed form, masks by their surfaces.

    What cannot be measured to stays in the list and says why: it is unknown, not clear.
    """
    return tuple(_field_of(zone, surface) for zone, surface in zones.surfaces)


class ZoneDistances:
    """Distances of lattice points to zones, each worked out once.

    Args:
        fields: of `zone_fields`.
        spacing_mm: of the lattice, whose points are whole multiples of it in LPS.
    """

    def __init__(self, fields: Sequence[ZoneField], spacing_mm: float) -> None:
        self.fields = tuple(fields)
        self.spacing_mm = spacing_mm
        self._first: Lattice = np.zeros(3, np.intp)
        self._known: list[F32] = [np.empty((0, 0, 0), np.float32) for _ in fields]

    def at(self, number: int, first_ijk: Lattice, chosen: npt.NDArray[np.bool_]) -> F32:
        """Distances of the chosen points of a box to one zone.

        Args:
            number: of the zone in `fields`, one with a field.
            first_ijk: (3,) lattice indices of the box's first point.
            chosen: `[k, j, i]` of the box.

        Returns:
            (N,) float32 in array order; negative inside; farther than `FAR_MM` a lower bound.
        """
        field = self.fields[number].field
        assert field is not None
        block = self._block(number, first_ijk, chosen.shape)
        distances = block[chosen]
        missing = np.isnan(distances)
        if missing.any():
            kji = np.argwhere(chosen)[missing]
            points = (kji[:, ::-1] + first_ijk) * self.spacing_mm
            distances[missing] = _distances(field, points.astype(np.float64))
            block[chosen] = distances
        return distances

    def _block(self, number: int, first_ijk: Lattice, shape_kji: tuple[int, ...]) -> F32:
        known = self._known[number]
        last = first_ijk + np.array(shape_kji[::-1])
        if known.size == 0:
            self._grow_all(first_ijk, last)
        elif (first_ijk < self._first).any() or (last > self._first + np.array(known.shape[::-1])).any():
            self._grow_all(
                np.minimum(first_ijk, self._first), np.maximum(last, self._first + np.array(known.shape[::-1]))
            )
        start = (first_ijk - self._first)[::-1]
        part = tuple(slice(a, a + n) for a, n in zip(start, shape_kji, strict=True))
        return self._known[number][part]

    def _grow_all(self, first: Lattice, last: Lattice) -> None:
        shape = tuple(int(n) for n in (last - first)[::-1])
        for number, old in enumerate(self._known):
            new = np.full(shape, np.nan, np.float32)
            if old.size:
                start = (self._first - first)[::-1]
                new[tuple(slice(a, a + n) for a, n in zip(start, old.shape, strict=True))] = old
            self._known[number] = new
        self._first = first


def _field_of(zone: Zone, surface: Surface) -> ZoneField:
    try:
        if isinstance(zone.shape, MaskShape):
            return ZoneField(zone, SurfaceField(surface))
        return ZoneField(zone, primitive_field(zone.shape))
    except (GeometryError, ValueError) as error:
        return ZoneField(zone, None, f"no distance to it is known: {error.args[0]}")


def _distances(field: SignedDistance, points: F64) -> F64:
    low, high = field.bounds_lps_mm
    beyond: F64 = np.linalg.norm(np.maximum(np.maximum(low - points, points - high), 0.0), axis=1)
    near = beyond <= FAR_MM
    if near.any():
        beyond[near] = field.distance_mm(np.ascontiguousarray(points[near]))
    return beyond
