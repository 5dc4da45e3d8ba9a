"""Closed-form shapes of the procedural pelvis: signed distances in mm, negative inside, on any set of points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from guidance.messages import F64, Vector3

F32 = npt.NDArray[np.float32]
_FAR_MM = 1e3


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A regular grid: where its planes lie along x, y and z (float32 mm, rising); arrays on it are `[z, y, x]`."""

    x: F32
    y: F32
    z: F32

    def part(self, low: F64, high: F64) -> tuple[slice, slice, slice] | None:
        """What of it lies in a box, as slices of `[z, y, x]`; None if nothing does."""
        slices = []
        for n, places in ((2, self.z), (1, self.y), (0, self.x)):
            first, end = np.searchsorted(places, (low[n], high[n]))
            if first >= end:
                return None
            slices.append(slice(int(first), int(end)))
        return (slices[0], slices[1], slices[2])

    def points(self, part: tuple[slice, slice, slice]) -> F32:
        """(..., 3) float32 x, y, z of that part."""
        zz, yy, xx = np.meshgrid(self.z[part[0]], self.y[part[1]], self.x[part[2]], indexing="ij")
        return np.stack([xx, yy, zz], axis=-1)


class Shape(Protocol):
    """Something with an inside."""

    def distance_mm(self, points: F32) -> F32:
        """(..., 3) LPS mm -> (...,) mm to the surface, negative inside; exact near it."""
        ...

    def box_mm(self) -> tuple[F64, F64]:
        """Corners of a box around it, LPS mm."""
        ...


@dataclass(frozen=True, slots=True)
class Tube:
    """Balls along a chain of points; the radius runs from point to point.

    Attributes:
        points_lps_mm: 2 or more points.
        radii_mm: one per point.
    """

    points_lps_mm: tuple[Vector3, ...]
    radii_mm: tuple[float, ...]

    def distance_mm(self, points: F32) -> F32:
        """Distance to the nearest place of the chain less the radius there."""
        nearest = np.full(points.shape[:-1], _FAR_MM, np.float32)
        for n in range(len(self.points_lps_mm) - 1):
            start = np.asarray(self.points_lps_mm[n], np.float32)
            along = np.asarray(self.points_lps_mm[n + 1], np.float32) - start
            from_start = points - start
            part = np.clip(from_start @ along / (along @ along), 0.0, 1.0)
            gap = np.linalg.norm(from_start - part[..., None] * along, axis=-1)
            radius = np.float32(self.radii_mm[n]) + part * np.float32(self.radii_mm[n + 1] - self.radii_mm[n])
            np.minimum(nearest, gap - radius, out=nearest)
        return nearest

    def box_mm(self) -> tuple[F64, F64]:
        """Around all balls."""
        return _box(self.points_lps_mm, self.radii_mm)


@dataclass(frozen=True, slots=True)
class Plate:
    """A triangle with thickness: balls over its face, the radius runs from corner to corner."""

    corners_lps_mm: tuple[Vector3, Vector3, Vector3]
    radii_mm: tuple[float, float, float]

    def distance_mm(self, points: F32) -> F32:
        """Distance to the nearest place of the triangle less the radius there."""
        a, b, c = (np.asarray(corner, np.float32) for corner in self.corners_lps_mm)
        ab, ac, ap = b - a, c - a, points - a
        d00, d01, d11 = ab @ ab, ab @ ac, ac @ ac
        d20, d21 = ap @ ab, ap @ ac
        scale = d00 * d11 - d01 * d01
        v = (d11 * d20 - d01 * d21) / scale
        w = (d00 * d21 - d01 * d20) / scale
        face = np.linalg.norm(ap - v[..., None] * ab - w[..., None] * ac, axis=-1)
        ra, rb, rc = self.radii_mm
        over_face = face - (np.float32(ra) + v * np.float32(rb - ra) + w * np.float32(rc - ra))
        beside = np.full(points.shape[:-1], _FAR_MM, np.float32)
        for m, n in ((0, 1), (1, 2), (2, 0)):
            edge = Tube((self.corners_lps_mm[m], self.corners_lps_mm[n]), (self.radii_mm[m], self.radii_mm[n]))
            np.minimum(beside, edge.distance_mm(points), out=beside)
        inside = (v >= 0.0) & (w >= 0.0) & (v + w <= 1.0)
        distance: F32 = np.where(inside, np.minimum(over_face, beside), beside)
        return distance

    def box_mm(self) -> tuple[F64, F64]:
        """Around all balls."""
        return _box(self.corners_lps_mm, self.radii_mm)


@dataclass(frozen=True, slots=True)
class Cup:
    """A ball with a hollow, open to one side: the acetabulum.

    Attributes:
        center_lps_mm: of both balls.
        outer_mm, inner_mm: their radii.
        opening: direction in which it is open.
        rim_mm: the rim's plane lies so far from the centre along `opening`.
    """

    center_lps_mm: Vector3
    outer_mm: float
    inner_mm: float
    opening: Vector3
    rim_mm: float

    def distance_mm(self, points: F32) -> F32:
        """The largest of what cuts it."""
        from_center = points - np.asarray(self.center_lps_mm, np.float32)
        radius = np.linalg.norm(from_center, axis=-1)
        direction = np.asarray(self.opening, np.float32)
        along = from_center @ (direction / np.float32(np.linalg.norm(direction))) - np.float32(self.rim_mm)
        distance: F32 = np.maximum.reduce([radius - self.outer_mm, self.inner_mm - radius, along])
        return distance

    def box_mm(self) -> tuple[F64, F64]:
        """Around the outer ball."""
        return _box((self.center_lps_mm,), (self.outer_mm,))


@dataclass(frozen=True, slots=True)
class Disc:
    """A short elliptic cylinder, waisted, in any direction: a vertebral body.

    Attributes:
        center_lps_mm: its middle.
        half_width_mm, half_depth_mm, half_height_mm: along x, along the third axis, along `axis`.
        axis: direction of its height; has no x.
        waist: how much smaller the middle is than the ends, 0 to 1.
    """

    center_lps_mm: Vector3
    half_width_mm: float
    half_depth_mm: float
    half_height_mm: float
    axis: Vector3
    waist: float = 0.1

    def distance_mm(self, points: F32) -> F32:
        """First-order distance."""
        axis = np.asarray(self.axis, np.float32) / np.float32(np.linalg.norm(self.axis))
        depth_axis = np.cross(axis, np.array([1.0, 0.0, 0.0], np.float32))
        from_center = points - np.asarray(self.center_lps_mm, np.float32)
        height, depth = from_center @ axis, from_center @ depth_axis
        narrow = 1.0 - np.float32(self.waist) * (1.0 - np.minimum((height / np.float32(self.half_height_mm)) ** 2, 1.0))
        ellipse = np.hypot(from_center[..., 0] / np.float32(self.half_width_mm), depth / np.float32(self.half_depth_mm))
        side = (ellipse - narrow) * np.float32(min(self.half_width_mm, self.half_depth_mm))
        distance: F32 = np.maximum(side, np.abs(height) - np.float32(self.half_height_mm))
        return distance

    def box_mm(self) -> tuple[F64, F64]:
        """A box that holds it in any direction."""
        reach = float(np.hypot(max(self.half_width_mm, self.half_depth_mm), self.half_height_mm))
        return _box((self.center_lps_mm,), (reach,))


def smooth_union(first: F32, second: F32, width_mm: float) -> F32:
    """The smaller distance, with a fillet of that width where both are near (polynomial smooth minimum)."""
    if width_mm <= 0.0:
        return np.minimum(first, second)
    blend = np.maximum(np.float32(width_mm) - np.abs(first - second), 0.0) / np.float32(width_mm)
    result: F32 = np.minimum(first, second) - blend * blend * np.float32(width_mm / 4.0)
    return result


def union_distance_mm(shapes: tuple[Shape, ...], points: F32, fillet_mm: float = 0.0) -> F32:
    """Distance to many shapes as one, at scattered points (..., 3)."""
    distance = np.full(points.shape[:-1], _FAR_MM, np.float32)
    for shape in shapes:
        distance = smooth_union(distance, shape.distance_mm(points), fillet_mm)
    return distance


def mirrored(shape: Tube | Plate | Cup) -> Tube | Plate | Cup:
    """The same on the other side of the body (x changes sign)."""

    def flip(point: Vector3) -> Vector3:
        return (-point[0], point[1], point[2])

    if isinstance(shape, Tube):
        return Tube(tuple(flip(point) for point in shape.points_lps_mm), shape.radii_mm)
    if isinstance(shape, Plate):
        a, b, c = shape.corners_lps_mm
        return Plate((flip(a), flip(b), flip(c)), shape.radii_mm)
    return Cup(flip(shape.center_lps_mm), shape.outer_mm, shape.inner_mm, flip(shape.opening), shape.rim_mm)


def _box(points: tuple[Vector3, ...], radii: tuple[float, ...]) -> tuple[F64, F64]:
    at, radius = np.asarray(points, np.float64), np.asarray(radii)[:, None]
    return (at - radius).min(axis=0), (at + radius).max(axis=0)
