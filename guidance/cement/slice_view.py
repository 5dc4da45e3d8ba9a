"""CT slices beside a single view: how far its thickness is off, and which zones cement is in for certain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.cement.interval import EDGE_SIGMA, GEOMETRY_SIGMA, LEAST_ML, Volume, thickness_sigma
from guidance.cement.rays import BinnedView, source_of
from guidance.cement.slices import ShownBySlice
from guidance.cement.zone_fields import ZoneField
from guidance.messages import F64, SiteInSpace

_FRESH_NS: Final = 3_000_000_000  # a view this near to a slice shows the same cement
_SLICE_SIGMA: Final = 0.12  # of a slice's volume
_DEPTH_SIGMA: Final = 0.02  # of the volume: slices tell where the cement's middle is to some mm
_LEAST_SLAB_ML: Final = 0.1
_ALONG: Final = 0.35  # rays that run further along a slice's normal cross several slabs
_SOLID: Final = 0.5  # of a pixel
_NEAREST_ML: Final = 0.002  # so much cement must be as near as a distance says
_TOUCH_ML: Final = 0.015
_IN_PLANE_SIGMA_MM: Final = 0.5
_ACROSS_SIGMA: Final = 0.25  # of the slice's thickness: where in it the cement is
_WIDE: Final = 1.96


@dataclass(frozen=True, slots=True)
class _Scale:
    """What slices said of a view: it holds on, for opacity and scatter stay.

    Attributes:
        name: of the view.
        log_factor: of its volume.
        sigma: of that.
        middle_lps_mm: of the slices' cement.
    """

    name: str
    log_factor: float
    sigma: float
    middle_lps_mm: F64


class SliceView:
    """What the slices of a run say where one view, or none, shows the cement."""

    def __init__(self) -> None:
        self._told: tuple[ShownBySlice, ...] = ()
        self._scale: _Scale | None = None
        self._held: tuple[tuple[ShownBySlice, ...], tuple[ZoneField, ...]] = ((), ())
        self._in: dict[str, SiteInSpace] = {}

    def volume(self, volume: Volume, view: BinnedView, name: str, shown: Sequence[ShownBySlice], now_ns: int) -> Volume:
        """The view's interval, as slices that were taken beside it have it.

        Args:
            volume: of the view alone; an interval.
            view, name: with thickness.
            shown: by all slices.
            now_ns: server's monotonic clock.
        """
        fresh = tuple(one for one in shown if abs(now_ns - one.received_ns) <= _FRESH_NS and one.ml > 0.0)
        if fresh and fresh != self._told:
            self._told = fresh
            self._scale = _scale_of(view, name, fresh) or self._scale
        scale = self._scale
        if scale is None or scale.name != name or volume.low_ml is None or volume.high_ml is None:
            return volume
        ml = view.volume_ml(_depth_mm(view, scale.middle_lps_mm)) * math.exp(scale.log_factor)
        sigma = math.hypot(scale.sigma, math.hypot(math.hypot(GEOMETRY_SIGMA, EDGE_SIGMA), _DEPTH_SIGMA))
        low_ml = max(ml * math.exp(-_WIDE * sigma) - LEAST_ML, 0.0)
        return Volume(None, low_ml, ml * math.exp(_WIDE * sigma) + LEAST_ML)

    def sites(
        self, sites: Sequence[SiteInSpace], shown: Sequence[ShownBySlice], fields: Sequence[ZoneField]
    ) -> tuple[SiteInSpace, ...]:
        """Zones that a slice shows cement in touch; of the others a slice, which shows a part, says nothing.

        Args:
            sites: as known without slices, in the order of `fields`.
            shown: by all slices.
            fields: of the zones.
        """
        held = tuple(one for one in shown if one.ml > 0.0), tuple(fields)
        if held != self._held:
            self._held, self._in = held, _zones_with_cement(*held)
        return tuple(self._in.get(site.zone_id, site) if site.distance_mm is None else site for site in sites)


def _depth_mm(view: BinnedView, point_lps_mm: F64) -> float:
    matrix = view.pixel_from_patient
    return max(float(matrix[2, :3] @ point_lps_mm + matrix[2, 3]), 100.0)


def _scale_of(view: BinnedView, name: str, fresh: Sequence[ShownBySlice]) -> _Scale | None:
    """How much more the slices show than the view does of the same slabs; None where they have too little in common."""
    seen = sum(one.ml for one in fresh)
    middle: F64 = sum((one.middle_lps_mm * one.ml for one in fresh), np.zeros(3)) / max(seen, 1e-9)
    depth_mm = _depth_mm(view, middle)
    made = view.volume_ml(depth_mm) * _part_in_slabs(view, fresh, depth_mm)
    if min(seen, made) < _LEAST_SLAB_ML:
        return None
    own = thickness_sigma(view)
    weight = own**2 / (own**2 + _SLICE_SIGMA**2)
    return _Scale(name, weight * math.log(seen / made), math.sqrt(weight) * _SLICE_SIGMA, middle)


def _part_in_slabs(view: BinnedView, fresh: Sequence[ShownBySlice], depth_mm: float) -> float:
    """Share of a view's cement that lies within the slices, were all of it at one depth."""
    assert view.thickness_mm is not None
    matrix = view.bin_from_patient
    bins = np.argwhere(view.thickness_mm > 0.0)
    if not len(bins):
        return 0.0
    rays = np.column_stack([bins[:, 1], bins[:, 0], np.ones(len(bins))]) @ np.linalg.inv(matrix[:, :3]).T
    lengths = np.linalg.norm(rays, axis=1)
    points = source_of(matrix) + depth_mm * rays
    part = np.zeros(len(bins))
    for one in fresh:
        if float(np.abs(rays @ one.normal / lengths).max()) > _ALONG:
            return 0.0
        away = np.abs((points - one.middle_lps_mm) @ one.normal)
        across = depth_mm / view.focal_bins
        # A bin at a slab's face is in it by its share.
        part += np.clip(0.5 + (0.5 * one.thickness_mm - away) / across, 0.0, 1.0)
    weights = view.thickness_mm[tuple(bins.T)] / lengths
    return float((weights * part).sum() / weights.sum())


def _zones_with_cement(shown: Sequence[ShownBySlice], fields: Sequence[ZoneField]) -> dict[str, SiteInSpace]:
    found: dict[str, SiteInSpace] = {}
    for one in shown:
        solid = one.share >= _SOLID
        points, ml = one.points_lps_mm[solid], one.pixel_ml[solid]
        sigma = math.hypot(_IN_PLANE_SIGMA_MM, _ACROSS_SIGMA * one.thickness_mm)
        for field in fields:
            site = _site(field, points, ml, sigma)
            if site is not None and (field.zone.id not in found or _deeper(site, found[field.zone.id])):
                found[field.zone.id] = site
    return found


def _deeper(site: SiteInSpace, other: SiteInSpace) -> bool:
    return (site.distance_mm or 0.0) < (other.distance_mm or 0.0)


def _site(field: ZoneField, points: F64, ml: npt.NDArray[np.float64], sigma_mm: float) -> SiteInSpace | None:
    """None where the slice's cement is not surely in the zone."""
    if field.field is None or not len(points):
        return None
    low, high = field.field.bounds_lps_mm
    near = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))
    if not len(near):
        return None
    away = field.field.distance_mm(np.ascontiguousarray(points[near]))
    inside_ml = float(ml[near][away < 0.0].sum())
    order = np.argsort(away)
    reached = min(int(np.searchsorted(np.cumsum(ml[near][order]), _NEAREST_ML)), len(order) - 1)
    distance_mm = float(away[order[reached]])
    if inside_ml < _TOUCH_ML or distance_mm > -sigma_mm:
        return None
    return SiteInSpace(
        zone_id=field.zone.id, distance_mm=distance_mm, sigma_mm=sigma_mm, inside_ml=inside_ml, touches=True
    )
