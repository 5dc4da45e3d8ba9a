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


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Points of a lattice, as `ZoneDistances` has them at the moment; to be used before it is asked of another box.

    Attributes:
        chosen: (N,) flat indices.
        ahead: (M,) flat indices of what is worked out with them, for cement gets there next.
    """

    chosen: Lattice
    ahead: Lattice


class ZoneDistances:
    """Distances of lattice points to zones, each worked out once.

    Args:
        fields: of `zone_fields`.
        spacing_mm: of the lattice, whose points are whole multiples of it in LPS.
    """

    def __init__(self, fields: Sequence[ZoneField], spacing_mm: float) -> None:
        self.fields = tuple(fields)
        self.spacing_mm = spacing_mm
        self._bounds = [None if one.field is None else one.field.bounds_lps_mm for one in fields]
        self._first: Lattice = np.zeros(3, np.intp)
        self._known: F32 = np.empty((len(self.fields), 0, 0, 0), np.float32)

    def places(
        self, first_ijk: Lattice, chosen: npt.NDArray[np.bool_], ahead: npt.NDArray[np.bool_] | None = None
    ) -> Places:
        """Points of a box, for `at`.

        Args:
            first_ijk: (3,) lattice indices of the box's first point.
            chosen: `[k, j, i]` of the box.
            ahead: `[k, j, i]` of the box; None: nothing beside the chosen ones.
        """
        self._cover(first_ijk, first_ijk + np.array(chosen.shape[::-1]))
        i, j, k = first_ijk - self._first
        _, _, rows, columns = self._known.shape
        flat = [
            (found[0] + k) * rows * columns + (found[1] + j) * columns + found[2] + i
            for found in (np.nonzero(one) for one in (chosen, ahead) if one is not None)
        ]
        return Places(flat[0], flat[-1])

    def at(self, number: int, places: Places) -> F32:
        """Distances of the chosen points to one zone.

        Args:
            number: of the zone in `fields`, one with a field.
            places: of the last call of `places`.

        Returns:
            (N,) float32 in array order; negative inside; farther than `FAR_MM` a lower bound.
        """
        known = self._known[number].reshape(-1)
        distances: F32 = known[places.chosen]
        if np.isnan(distances).any():
            for wanted in (places.ahead, places.chosen):
                missing = wanted[np.isnan(known[wanted])]
                known[missing] = self._worked_out(number, missing)
            distances = known[places.chosen]
        return distances

    def _worked_out(self, number: int, flat: Lattice) -> F64:
        field, bounds = self.fields[number].field, self._bounds[number]
        assert field is not None
        assert bounds is not None
        ijk = np.stack(np.unravel_index(flat, self._known.shape[1:])[::-1], axis=1) + self._first
        points = ijk * self.spacing_mm
        beyond: F64 = np.linalg.norm(np.maximum(np.maximum(bounds[0] - points, points - bounds[1]), 0.0), axis=1)
        near = beyond <= FAR_MM
        if near.any():
            beyond[near] = field.distance_mm(np.ascontiguousarray(points[near]))
        return beyond

    def _cover(self, first: Lattice, last: Lattice) -> None:
        """Have room for a box; what is known stays."""
        size = np.array(self._known.shape[:0:-1])
        if size.all() and (first >= self._first).all() and (last <= self._first + size).all():
            return
        if size.all():
            first, last = np.minimum(first, self._first), np.maximum(last, self._first + size)
        wider = np.full((len(self.fields), *(int(n) for n in (last - first)[::-1])), np.nan, np.float32)
        if size.all():
            start = (self._first - first)[::-1]
            kept = (slice(None), *(slice(a, a + n) for a, n in zip(start, size[::-1], strict=True)))
            wider[kept] = self._known
        self._known, self._first = wider, first


def _field_of(zone: Zone, surface: Surface) -> ZoneField:
    try:
        if isinstance(zone.shape, MaskShape):
            return ZoneField(zone, SurfaceField(surface))
        return ZoneField(zone, primitive_field(zone.shape))
    except (GeometryError, ValueError) as error:
        return ZoneField(zone, None, f"no distance to it is known: {error.args[0]}")
