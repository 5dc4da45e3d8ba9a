"""The body of cement against the zones: least distance, cement within, and whether it touches beyond doubt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.cement.zone_fields import Lattice, ZoneDistances
from guidance.messages import F32, F64, SiteInSpace, ZoneKind
from guidance.planning.fill import dilated

_FULL_PERCENTILE: Final = 75.0  # of what is filled at all: what a full voxel holds, bone taken off
_HAZE: Final = 0.1  # of a full voxel: what is less is no cement ...
_MAYBE: Final = 0.025  # ... but may be some
_AHEAD: Final = 2  # voxels around the cement whose distances are worked out with it
_NO_CEMENT: Final = "no cement is seen yet"
_LEAST_FULL: Final = 0.3
_EDGE: Final = 0.35  # of a full voxel: thin tongues fill no voxel of a millimetre by half
_NEAREST_ML: Final = 0.002  # so much cement must be as near as a distance says: no single voxel makes an alarm
_TOUCH_ML: Final = 0.015
_FRONT_SIGMA_MM: Final = 0.4  # front and geometry, across the rays
_VOXEL_SIGMA: Final = 0.3  # of the spacing
_DOUBT: Final = 0.25  # of how much nearer cement could be without any view's saying no
_MOST_DOUBT_MM: Final = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """Cement on a lattice whose points are whole multiples of the spacing.

    Attributes:
        share: `[k, j, i]` float32 of each voxel.
        counted: `[k, j, i]` uint8: 0 where it is in a cannula.
        first_ijk: (3,) lattice indices of the first voxel.
        spacing_mm: of the lattice.
    """

    share: F32
    counted: npt.NDArray[np.uint8]
    first_ijk: Lattice
    spacing_mm: float

    @property
    def first_lps_mm(self) -> F64:
        """(3,) of the first voxel's centre."""
        return np.asarray(self.first_ijk, np.float64) * self.spacing_mm

    @property
    def middle_lps_mm(self) -> F64:
        """(3,) of the lattice's middle."""
        middle: F64 = self.first_lps_mm + 0.5 * self.spacing_mm * (np.array(self.share.shape[::-1]) - 1)
        return middle

    @property
    def affine_lps_from_ijk(self) -> F64:
        """(4, 4)."""
        affine = np.diag([self.spacing_mm, self.spacing_mm, self.spacing_mm, 1.0])
        affine[:3, 3] = self.first_lps_mm
        return affine

    @property
    def voxel_ml(self) -> float:
        return self.spacing_mm**3 / 1000.0

    @property
    def total_ml(self) -> float:
        """What the shares add up to, cannulas aside."""
        return float((self.share * (self.counted > 0)).sum(dtype=np.float64)) * self.voxel_ml

    @property
    def full(self) -> float:
        """Share of a full voxel."""
        filled = self.share[(self.share > _HAZE) & (self.counted > 0)]
        return max(float(np.percentile(filled, _FULL_PERCENTILE)), _LEAST_FULL) if filled.size else 1.0


class Measuring:
    """One body held against all zones.

    Args:
        body: cement.
        distances: of the zones, on the body's lattice.
    """

    def __init__(self, body: Body, distances: ZoneDistances) -> None:
        self._body, self._distances = body, distances
        full = body.full
        maybe = (body.share > _MAYBE * full) & (body.counted > 0)
        self._share = body.share[maybe]
        # The surface is where a voxel is half full: it lies half a voxel beyond the middle of a full one.
        filled = np.minimum(self._share / np.float32(full), np.float32(1.0))
        self._there = np.flatnonzero(filled > _HAZE)
        self._solid = np.flatnonzero(filled >= _EDGE)
        self._beyond = np.float32(body.spacing_mm) * (filled - np.float32(0.5))
        ahead = dilated(maybe, _AHEAD) if distances.fields else None
        self._places = distances.places(body.first_ijk, maybe, ahead)

    def sites(self) -> tuple[SiteInSpace, ...]:
        """Every zone against the body, in the zones' order."""
        return tuple(
            SiteInSpace(zone_id=one.zone.id, distance_mm=None, reason=one.reason)
            if one.field is None
            else self._site(number)
            for number, one in enumerate(self._distances.fields)
        )

    def outside_ml(self) -> float | None:
        """Cement outside all target zones; None where there is none, or where one's place is not known."""
        fields = self._distances.fields
        targets = [n for n, one in enumerate(fields) if one.zone.kind is ZoneKind.TARGET]
        if not targets or any(fields[n].field is None for n in targets):
            return None
        nearest = np.min([self._distances.at(number, self._places) for number in targets], axis=0)
        outside = self._share * (1.0 - _within(nearest, self._body.spacing_mm))
        return float(outside.sum(dtype=np.float64)) * self._body.voxel_ml

    def _site(self, number: int) -> SiteInSpace:
        body, zone_id = self._body, self._distances.fields[number].zone.id
        if not len(self._there):
            return SiteInSpace(zone_id=zone_id, distance_mm=None, reason=_NO_CEMENT)
        away = self._distances.at(number, self._places)
        could = float(away.min())
        inside_ml = 0.0
        if could < body.spacing_mm:
            inside = self._share[self._there] * _within(away[self._there], body.spacing_mm)
            inside_ml = float(inside.sum(dtype=np.float64)) * body.voxel_ml
        surface = away - self._beyond
        if len(self._solid):
            distance = _least(surface[self._solid], self._share[self._solid], body.voxel_ml)
        else:
            distance = float(surface[self._there].min())
        doubt = min(max(distance - could, 0.0) * _DOUBT, _MOST_DOUBT_MM)
        sigma = float(np.sqrt(_FRONT_SIGMA_MM**2 + (_VOXEL_SIGMA * body.spacing_mm) ** 2 + doubt**2))
        return SiteInSpace(
            zone_id=zone_id,
            distance_mm=distance,
            sigma_mm=sigma,
            inside_ml=inside_ml,
            touches=inside_ml >= _TOUCH_ML and distance <= -sigma,
        )


def nothing_yet(distances: ZoneDistances) -> tuple[SiteInSpace, ...]:
    """What is said of the zones while there is no cement."""
    return tuple(
        SiteInSpace(zone_id=one.zone.id, distance_mm=None, reason=one.reason or _NO_CEMENT) for one in distances.fields
    )


def all_unknown(distances: ZoneDistances, reason: str) -> tuple[SiteInSpace, ...]:
    """What is said of the zones where the body's place is not known."""
    return tuple(SiteInSpace(zone_id=one.zone.id, distance_mm=None, reason=reason) for one in distances.fields)


def _least(surface_mm: F32, share: F32, voxel_ml: float) -> float:
    """The distance that the nearest `_NEAREST_ML` of cement keep to."""
    count = min(max(round(_NEAREST_ML / voxel_ml), 1) * 4, len(surface_mm) - 1)
    nearest = np.argpartition(surface_mm, count)[: count + 1] if count > 0 else np.zeros(1, np.intp)
    nearest = nearest[np.argsort(surface_mm[nearest])]
    volume = np.cumsum(share[nearest], dtype=np.float64) * voxel_ml
    return float(surface_mm[nearest[min(int(np.searchsorted(volume, _NEAREST_ML)), len(nearest) - 1)]])


def _within(away_mm: F32, spacing_mm: float) -> F32:
    """Share of voxels that lies in a zone, by their distance to its surface."""
    share: F32 = np.clip(np.float32(0.5) - away_mm / np.float32(spacing_mm), 0.0, 1.0)
    return share
