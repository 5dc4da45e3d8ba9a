"""Solids of instruments in closed form: cylinders with flat ends and ellipsoids of revolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from guidance.messages import F64, Vector3


class DistanceField(Protocol):
    """The part of a zone's distance field that is read here."""

    def distance_mm(self, points_lps_mm: F64) -> F64:
        """Signed distances of (N, 3) points to the surface, negative inside."""


@dataclass(frozen=True, slots=True)
class Cylinder:
    """A straight instrument with flat ends; `radius_mm` and the length are > 0."""

    entry_lps_mm: Vector3
    target_lps_mm: Vector3
    radius_mm: float


@dataclass(frozen=True, slots=True)
class Spheroid:
    """An ellipsoid of revolution; `axis` is its unit axis, both semi-axes are > 0."""

    center_lps_mm: Vector3
    axis: Vector3
    semi_axial_mm: float
    semi_transverse_mm: float


Solid = Cylinder | Spheroid


@dataclass(frozen=True, slots=True, eq=False)
class CylinderField:
    """A cylinder with flat ends as a distance field, exact everywhere; made by `of`."""

    entry: F64
    axis: F64
    length_mm: float
    radius_mm: float

    @classmethod
    def of(cls, cylinder: Cylinder) -> CylinderField:
        return cls(*line_of(cylinder), cylinder.radius_mm)

    @property
    def bounds_lps_mm(self) -> F64:
        """(2, 3) corners of its box."""
        aside = self.radius_mm * np.sqrt(np.maximum(1.0 - self.axis**2, 0.0))
        ends = np.stack([self.entry, self.entry + self.axis * self.length_mm])
        return np.stack([ends.min(axis=0) - aside, ends.max(axis=0) + aside])

    def distance_mm(self, points_lps_mm: F64) -> F64:
        """Signed distances of (N, 3) points to its surface, negative inside."""
        return cylinder_distance_mm(points_lps_mm, self.entry, self.axis, self.length_mm, self.radius_mm)

    def nearest_mm(self, points_lps_mm: F64) -> F64:
        """(N, 3) nearest points on its surface."""
        offsets = points_lps_mm - self.entry
        depths = offsets @ self.axis
        across = offsets - depths[:, None] * self.axis
        aside = np.linalg.norm(across, axis=1)
        any_side = frame_of(self.axis)[1]
        outward = np.where(aside[:, None] > 1e-12, across / np.maximum(aside, 1e-12)[:, None], any_side)
        to_side = self.radius_mm - aside
        to_end = np.minimum(depths, self.length_mm - depths)
        inside = (to_side > 0.0) & (to_end > 0.0)
        on_end = inside & (to_end < to_side)
        new_aside = np.where(inside & ~on_end, self.radius_mm, np.minimum(aside, self.radius_mm))
        nearer_end = np.where(depths < 0.5 * self.length_mm, 0.0, self.length_mm)
        new_depths = np.where(on_end, nearer_end, np.clip(depths, 0.0, self.length_mm))
        nearest: F64 = self.entry + new_depths[:, None] * self.axis + new_aside[:, None] * outward
        return nearest


def cylinder_distance_mm(
    points_lps_mm: F64, entry: F64, axis: F64, length_mm: float | F64, radius_mm: float | F64
) -> F64:
    """Signed distances of (N, 3) points to a cylinder with flat ends, or of each to its own; negative inside."""
    offsets = points_lps_mm - entry
    depths = (offsets * axis).sum(axis=1)
    beside = np.sqrt(np.maximum((offsets * offsets).sum(axis=1) - depths**2, 0.0)) - radius_mm
    beyond = np.abs(depths - 0.5 * length_mm) - 0.5 * length_mm
    outside = np.hypot(np.maximum(beside, 0.0), np.maximum(beyond, 0.0))
    distances: F64 = outside + np.minimum(np.maximum(beside, beyond), 0.0)
    return distances


def line_of(cylinder: Cylinder) -> tuple[F64, F64, float]:
    """Entry, unit axis and length."""
    entry = np.array(cylinder.entry_lps_mm, dtype=np.float64)
    along = np.array(cylinder.target_lps_mm, dtype=np.float64) - entry
    length_mm = float(np.linalg.norm(along))
    return entry, along / length_mm, length_mm


def frame_of(axis: F64) -> F64:
    """Rows: the unit axis and two unit vectors across it (Duff et al., JCGT 6 (2017) 1)."""
    x, y, z = axis.tolist()
    sign = math.copysign(1.0, z)
    a = -1.0 / (sign + z)
    b = x * y * a
    return np.array([[x, y, z], [1.0 + sign * x * x * a, sign * b, -sign * x], [b, sign + y * y * a, -y]])
