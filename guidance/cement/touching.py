"""The body of cement against the zones: least distance, cement within, and whether it touches beyond doubt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.cement.zone_fields import Lattice, ZoneDistances
from guidance.messages import F32, F64, SiteInSpace, ZoneKind

_FULL_PERCENTILE: Final = 75.0  # of what is filled at all: what a full voxel holds, bone taken off
_HAZE: Final = 0.1
_LEAST_FULL: Final = 0.3
_NEAREST_ML: Final = 0.004  # so much cement must be as near as a distance says: no single voxel makes an alarm
_TOUCH_ML: Final = 0.03
_FRONT_SIGMA_MM: Final = 0.4  # front and geometry, across the rays
_VOXEL_SIGMA: Final = 0.3  # of the spacing
_DOUBT: Final = 0.25  # of how much nearer cement could be without any view's saying no
_MOST_DOUBT_MM: Final = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """Cement on a lattice whose points are whole multiples of the spacing.

    Attributes:
        share: `[k, j, i]` float32 of each voxel.
        possible: `[k, j, i]` uint8: 1 where no view forbids cement.
        counted: `[k, j, i]` uint8: 0 where it is in a cannula.
        first_ijk: (3,) lattice indices of the first voxel.
        spacing_mm: of the lattice.
    """

    share: F32
    possible: npt.NDArray[np.uint8]
    counted: npt.NDArray[np.uint8]
    first_ijk: Lattice
    spacing_mm: float

    @property
    def first_lps_mm(self) -> F64:
        """(3,) of the first voxel's centre."""
        return np.asarray(self.first_ijk, np.float64) * self.spacing_mm

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
    def full(self) -> float:
        """Share of a full voxel."""
        filled = self.share[(self.share > _HAZE) & (self.counted > 0)]
        return max(float(np.percentile(filled, _FULL_PERCENTILE)), _LEAST_FULL) if filled.size else 1.0


def sites_of(body: Body, distances: ZoneDistances) -> tuple[SiteInSpace, ...]:
    """Every zone against the body, in the zones' order."""
    full = body.full
    counted = body.counted > 0
    there = counted & (body.share > _HAZE * full)
    maybe = (body.possible > 0) & (body.share > 0.25 * _HAZE * full) & counted
    return tuple(
        SiteInSpace(zone_id=one.zone.id, distance_mm=None, reason=one.reason)
        if one.field is None
        else _site(body, distances, number, there, maybe, full)
        for number, one in enumerate(distances.fields)
    )


def outside_ml(body: Body, distances: ZoneDistances) -> float | None:
    """Cement outside all target zones; None where there is none, or where one's place is not known."""
    targets = [n for n, one in enumerate(distances.fields) if one.zone.kind is ZoneKind.TARGET]
    if not targets or any(distances.fields[n].field is None for n in targets):
        return None
    there = (body.counted > 0) & (body.share > 0.0)
    inside = np.zeros(int(there.sum()), np.float32)
    for number in targets:
        np.maximum(inside, _within(distances.at(number, body.first_ijk, there), body.spacing_mm), out=inside)
    return float((body.share[there] * (1.0 - inside)).sum(dtype=np.float64)) * body.voxel_ml


def nothing_yet(distances: ZoneDistances) -> tuple[SiteInSpace, ...]:
    """What is said of the zones while there is no cement."""
    return tuple(
        SiteInSpace(zone_id=one.zone.id, distance_mm=None, reason=one.reason or "no cement is seen yet")
        for one in distances.fields
    )


def all_unknown(distances: ZoneDistances, reason: str) -> tuple[SiteInSpace, ...]:
    """What is said of the zones where the body's place is not known."""
    return tuple(SiteInSpace(zone_id=one.zone.id, distance_mm=None, reason=reason) for one in distances.fields)


def _site(
    body: Body,
    distances: ZoneDistances,
    number: int,
    there: npt.NDArray[np.bool_],
    maybe: npt.NDArray[np.bool_],
    full: float,
) -> SiteInSpace:
    zone_id = distances.fields[number].zone.id
    away = distances.at(number, body.first_ijk, there)
    if away.size == 0:
        return SiteInSpace(zone_id=zone_id, distance_mm=None, reason="no cement is seen yet")
    share = body.share[there]
    inside_ml = float((share * _within(away, body.spacing_mm)).sum(dtype=np.float64)) * body.voxel_ml
    # The surface is where a voxel is half full: it lies half a voxel beyond the middle of a full one.
    filled = np.clip(share / np.float32(full), 0.0, 1.0)
    surface = away - body.spacing_mm * (filled - 0.5)
    solid = filled >= 0.5
    distance = _least(surface[solid], share[solid], body.voxel_ml) if solid.any() else float(surface.min())
    could = float(distances.at(number, body.first_ijk, maybe).min(initial=np.inf))
    doubt = min(max(distance - could, 0.0), _MOST_DOUBT_MM / _DOUBT) * _DOUBT
    sigma = float(np.sqrt(_FRONT_SIGMA_MM**2 + (_VOXEL_SIGMA * body.spacing_mm) ** 2 + doubt**2))
    return SiteInSpace(
        zone_id=zone_id,
        distance_mm=distance,
        sigma_mm=sigma,
        inside_ml=inside_ml,
        touches=inside_ml >= _TOUCH_ML and distance <= -sigma,
    )


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
