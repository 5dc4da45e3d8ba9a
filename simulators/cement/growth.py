"""Growth: the front runs through the medium, and the injected volume says how far it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from guidance.errors import ConfigError
from guidance.messages import F32, F64, U8, PlannedPath, Zone
from guidance.planning.distance import distance_field
from simulators.cement.arrival import arrival
from simulators.cement.grown import NEVER_S, Balloon, GrownCement, Leak, LeakKind, ZoneTruth
from simulators.cement.injection import CannulaScript, InjectionCurve
from simulators.cement.medium import Medium
from simulators.instruments import Cylinder

_DROP_MM: Final = 1.2  # the first drop at the tip
_CORNERS: Final = 20000  # of the table from level to volume
_BALL_SHARE: Final = 0.9  # of the cube root of a volume: half as much again as the ball's radius
_SLACK: Final = 3.0  # half of the longest crossing of a cell
_ROUNDING: Final = 1e-6
_FARTHEST: Final = 400.0
_MARGIN: Final = 3  # voxels around all that is ever reached
_OUTSIDE_ML: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Phase:
    """From a time on, another medium or another tip: a track opens, cortex gives way.

    Attributes:
        start_s: when.
        speed: `[k, j, i]` of the front.
        tip_lps_mm: (3,) where cement comes out.
    """

    start_s: float
    speed: F32
    tip_lps_mm: F64


@dataclass(frozen=True, slots=True)
class Opportunity:
    """A leak that can happen here: its kind, the name of its site in the medium, the zone that it goes into."""

    kind: LeakKind
    site_name: str
    zone_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surroundings:
    """What is around the cement and does not change its growth."""

    zone_bodies: tuple[Mapping[str, Any], ...]
    zones: tuple[Zone, ...]
    paths: tuple[PlannedPath, ...]
    metal: tuple[Cylinder, ...] = ()
    old_cement: F32 | None = None
    balloon: Balloon | None = None


def grow(
    medium: Medium,
    phases: Sequence[Phase],
    injection: InjectionCurve,
    cannula: CannulaScript,
    surroundings: Surroundings,
    opportunities: Sequence[Opportunity],
    *,
    duration_s: float,
    brand: str,
) -> GrownCement:
    """Let cement grow.

    Args:
        medium: grid, capacity and sites.
        phases: in the order of time, the first from 0 on.
        injection: what is given when.
        cannula, surroundings, opportunities: go with the answer.
        duration_s: of the scene.
        brand: what is injected.

    Raises:
        ConfigError: `no_room`: all that can be reached holds less than is injected.
    """
    level = np.full(medium.hu.shape, np.inf, np.float32)
    crossing = np.ones(medium.hu.shape, np.float32)
    levels, levels_ml = np.zeros(1), np.zeros(1)
    needed_ml = injection.injected_ml(duration_s)
    for phase in phases:
        reached = float(np.interp(injection.injected_ml(phase.start_s), levels_ml, levels))
        before, reach = (level, crossing), _BALL_SHARE * np.cbrt(needed_ml * 1000.0)
        while True:
            level, crossing = _continued(medium, phase, *before, reached, reached + reach)
            levels, levels_ml = _volumes(level, crossing, medium.capacity, medium.spacing_mm**3 / 1000.0)
            # What the last level holds is only sure up to a crossing below it.
            if np.interp(reached + reach - _SLACK, levels, levels_ml) >= needed_ml or reach > _FARTHEST:
                break
            reach *= 1.6
    if levels_ml[-1] < needed_ml * (1.0 - _ROUNDING):
        raise ConfigError(
            f"{needed_ml:.2f} ml are injected where {levels_ml[-1]:.2f} ml have room",
            code="no_room",
            mend="inject less, or open a way out",
        )
    end = float(np.interp(injection.injected_ml(duration_s), levels_ml, levels))
    level[level - 0.5 * crossing >= end] = np.inf
    old = surroundings.old_cement
    box = _box(np.isfinite(level) if old is None else np.isfinite(level) | (old > 0.0))
    affine = medium.affine_lps_from_ijk.copy()
    affine[:3, 3] += affine[:3, :3] @ np.array([part.start for part in box[::-1]], np.float64)
    level, crossing = level[box].copy(), crossing[box].copy()
    capacity, site_of = medium.capacity[box].copy(), medium.site_of[box].copy()
    when = np.full(level.shape, np.inf, np.float32)
    half_full = level <= end
    when[half_full] = injection.times_of(np.interp(level[half_full], levels, levels_ml))
    when[when > duration_s] = np.inf
    for array in (level, crossing, capacity, site_of, when):
        array.setflags(write=False)
    return GrownCement(
        affine_lps_from_ijk=affine,
        arrival_s=when,
        level=level,
        crossing=crossing,
        capacity=capacity,
        site_of=site_of,
        site_names=medium.site_names,
        levels=levels,
        levels_ml=levels_ml,
        injection=injection,
        cannula=cannula,
        zone_bodies=surroundings.zone_bodies,
        zones=surroundings.zones,
        paths=surroundings.paths,
        zone_truth=_truth(surroundings.zones, when, affine),
        leaks=tuple(
            _leak(each, medium.site_names.index(each.site_name), when, capacity, site_of, affine)
            for each in opportunities
        ),
        duration_s=duration_s,
        brand=brand,
        metal=surroundings.metal,
        old_cement=None if old is None else old[box].copy(),
        balloon=surroundings.balloon,
    )


def _continued(
    medium: Medium, phase: Phase, level: F32, crossing: F32, reached: float, limit: float
) -> tuple[F32, F32]:
    """What has begun to fill goes on as it was; from there and from the tip the front runs at the phase's speeds."""
    begun = level - 0.5 * crossing < reached
    apart = np.linalg.norm(medium.points_lps_mm() - phase.tip_lps_mm.astype(np.float32), axis=-1)
    drop = (apart <= max(_DROP_MM, 0.9 * medium.spacing_mm)) & ~begun
    since = np.float32(reached)
    # What opens beside cement that has long been there is reached from now on, not from when that came.
    known = np.where(begun, np.maximum(level, since), since + np.maximum(apart, 0.5 * _DROP_MM).astype(np.float32))
    speed = np.where(drop, np.maximum(phase.speed, 1.0), phase.speed).astype(np.float32)
    new = arrival(speed, medium.spacing_mm, begun | drop, known, limit)
    # Nothing new fills before the phase begins.
    took = np.minimum(np.float32(medium.spacing_mm) / np.maximum(speed, 0.1), 2.0 * np.maximum(new - since, 1e-3))
    return np.where(begun, level, new), np.where(begun, crossing, took).astype(np.float32)


def _volumes(level: F32, crossing: F32, capacity: F32, voxel_ml: float) -> tuple[F64, F64]:
    """Rising levels, and the volume below each: every voxel fills evenly while the front crosses it."""
    there = np.isfinite(level)
    middle, took = level[there].astype(np.float64), crossing[there].astype(np.float64)
    rate = capacity[there] * voxel_ml / took
    corners = np.concatenate([middle - 0.5 * took, middle + 0.5 * took])
    order = np.argsort(corners, kind="stable")
    corners, rates = corners[order], np.cumsum(np.concatenate([rate, -rate])[order])
    volume = np.concatenate([[0.0], np.cumsum(rates[:-1] * np.diff(corners))])
    kept = np.unique(np.linspace(0, len(corners) - 1, min(len(corners), _CORNERS)).astype(int))
    return corners[kept], np.maximum.accumulate(volume[kept])


def _box(inside: Any) -> tuple[slice, slice, slice]:
    places = [np.flatnonzero(inside.any(axis=tuple(n for n in range(3) if n != axis))) for axis in range(3)]
    k, j, i = (
        slice(max(int(found[0]) - _MARGIN, 0), min(int(found[-1]) + _MARGIN + 1, size))
        for found, size in zip(places, inside.shape, strict=True)
    )
    return k, j, i


def _truth(zones: Sequence[Zone], when: F32, affine: F64) -> dict[str, ZoneTruth]:
    place = np.nonzero(np.isfinite(when))
    order = np.argsort(when[place], kind="stable")
    times = when[place][order].astype(np.float64)
    points = np.stack(place[::-1], axis=1)[order] @ affine[:3, :3].T + affine[:3, 3]
    answer = {}
    for zone in zones:
        least = np.minimum.accumulate(distance_field(zone.shape).distance_mm(points))
        falls = np.flatnonzero(np.diff(least, prepend=np.inf) < 0.0)
        inside = np.flatnonzero(least <= 0.0)
        answer[zone.id] = ZoneTruth(
            times_s=times[falls],
            distances_mm=least[falls],
            contact_s=float(times[inside[0]]) if inside.size else NEVER_S,
        )
    return answer


def _leak(each: Opportunity, label: int, when: F32, capacity: F32, site_of: U8, affine: F64) -> Leak:
    there = np.isfinite(when) & (site_of == label)
    times = np.sort(when[there])
    order = np.argsort(when[there], kind="stable")
    volume = np.cumsum(capacity[there][order]) * abs(np.linalg.det(affine[:3, :3])) / 1000.0
    enough = np.flatnonzero(volume >= _OUTSIDE_ML)
    return Leak(
        kind=each.kind,
        label=label,
        onset_s=float(times[0]) if times.size else NEVER_S,
        tenth_ml_s=float(times[enough[0]]) if enough.size else NEVER_S,
        zone_id=each.zone_id,
    )
