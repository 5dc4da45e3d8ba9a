"""Distance fields in closed form, for tests of what reads distance fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from guidance.messages import F64, SphereShape, Zone, ZoneKind, ZoneSide, ZoneSite


@dataclass(frozen=True)
class Ball:
    center: tuple[float, float, float]
    radius: float

    def distance_mm(self, points_lps_mm: F64) -> F64:
        return np.linalg.norm(points_lps_mm - np.array(self.center), axis=1) - self.radius

    def nearest_mm(self, points_lps_mm: F64) -> F64:
        away = points_lps_mm - np.array(self.center)
        return np.array(self.center) + self.radius * away / np.linalg.norm(away, axis=1)[:, None]


@dataclass(frozen=True)
class Slab:
    """All within `half` of the plane normal . x = offset; `half` inf and `offset` the surface make a half space."""

    normal: tuple[float, float, float]
    offset: float
    half: float

    def distance_mm(self, points_lps_mm: F64) -> F64:
        return np.abs(points_lps_mm @ self._unit() - self.offset) - self.half

    def nearest_mm(self, points_lps_mm: F64) -> F64:
        heights = points_lps_mm @ self._unit() - self.offset
        sides = np.where(heights < 0.0, -1.0, 1.0)
        return points_lps_mm + ((sides * self.half - heights)[:, None]) * self._unit()

    def _unit(self) -> F64:
        return np.array(self.normal) / np.linalg.norm(self.normal)


@dataclass(frozen=True)
class HalfSpace:
    """All with normal . x < offset."""

    normal: tuple[float, float, float]
    offset: float

    def distance_mm(self, points_lps_mm: F64) -> F64:
        return points_lps_mm @ self._unit() - self.offset

    def nearest_mm(self, points_lps_mm: F64) -> F64:
        return points_lps_mm - self.distance_mm(points_lps_mm)[:, None] * self._unit()

    def _unit(self) -> F64:
        return np.array(self.normal) / np.linalg.norm(self.normal)


@dataclass(frozen=True)
class Rod:
    """All within `radius` of the segment: round ends."""

    start: tuple[float, float, float]
    stop: tuple[float, float, float]
    radius: float

    def distance_mm(self, points_lps_mm: F64) -> F64:
        return np.linalg.norm(points_lps_mm - self._feet(points_lps_mm), axis=1) - self.radius

    def nearest_mm(self, points_lps_mm: F64) -> F64:
        feet = self._feet(points_lps_mm)
        away = points_lps_mm - feet
        return feet + self.radius * away / np.maximum(np.linalg.norm(away, axis=1), 1e-9)[:, None]

    def _feet(self, points: F64) -> F64:
        start, along = np.array(self.start), np.array(self.stop) - np.array(self.start)
        return start + np.clip((points - start) @ along / (along @ along), 0.0, 1.0)[:, None] * along


@dataclass(frozen=True)
class Outside:
    """What a body leaves free."""

    body: Any

    def distance_mm(self, points_lps_mm: F64) -> F64:
        return -self.body.distance_mm(points_lps_mm)

    def nearest_mm(self, points_lps_mm: F64) -> F64:
        return self.body.nearest_mm(points_lps_mm)


@dataclass(frozen=True)
class Either:
    """Several bodies that are apart from each other."""

    bodies: tuple[Any, ...]

    def distance_mm(self, points_lps_mm: F64) -> F64:
        return np.min([body.distance_mm(points_lps_mm) for body in self.bodies], axis=0)

    def nearest_mm(self, points_lps_mm: F64) -> F64:
        which = np.argmin([body.distance_mm(points_lps_mm) for body in self.bodies], axis=0)
        return np.stack([body.nearest_mm(points_lps_mm) for body in self.bodies])[which, np.arange(len(points_lps_mm))]


@dataclass(frozen=True)
class Moved:
    """A field after a rigid motion: x goes to rotation @ x + shift."""

    body: Any
    rotation: F64
    shift: F64

    def distance_mm(self, points_lps_mm: F64) -> F64:
        return self.body.distance_mm((points_lps_mm - self.shift) @ self.rotation)

    def nearest_mm(self, points_lps_mm: F64) -> F64:
        return self.body.nearest_mm((points_lps_mm - self.shift) @ self.rotation) @ self.rotation.T + self.shift


def zone(
    zone_id: str,
    site: ZoneSite = ZoneSite.FORAMEN,
    kind: ZoneKind = ZoneKind.KEEP_OUT,
    *,
    name: str = "",
    side: ZoneSide | None = None,
    level: str = "",
    frame: str = "",
    patient_id: str | None = None,
) -> Zone:
    """A zone whose shape does not matter, for its field comes beside it."""
    return Zone(
        id=zone_id,
        name=name or zone_id,
        site=site,
        kind=kind,
        side=side,
        level=level,
        shape=SphereShape(center_lps_mm=(0.0, 0.0, 0.0), radius_mm=1.0),
        frame_of_reference_uid=frame,
        patient_id=patient_id,
    )
