"""Tubes, balls and prisms as exact signed distances, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from guidance.errors import GeometryError
from guidance.messages import F64, PrismShape, SphereShape, TubeShape

_PUSHES = 4  # out of the bends of a tube, for points within it


@dataclass(frozen=True, slots=True, eq=False)
class TubeField:
    """All that is within `radius_mm` of a polyline.

    On the inner side of a bend, within the tube, the depth is a lower bound: there the surface is farther than
    `radius_mm` less the distance to the axis.

    Attributes:
        points_lps_mm: (N, 3), N >= 1.
    """

    points_lps_mm: F64
    radius_mm: float

    @property
    def bounds_lps_mm(self) -> F64:
        """(2, 3) least and greatest coordinates of the surface."""
        low, high = self.points_lps_mm.min(axis=0), self.points_lps_mm.max(axis=0)
        return np.stack([low - self.radius_mm, high + self.radius_mm])

    def distance_mm(self, points_lps_mm: F64) -> F64:
        """(N,) signed distance of (N, 3) points to the surface, negative inside."""
        return np.sqrt(self._on_axis(points_lps_mm)[1]) - self.radius_mm

    def nearest_mm(self, points_lps_mm: F64) -> F64:
        """(N, 3) nearest points on the surface."""
        found = np.array(points_lps_mm, np.float64)
        for _ in range(_PUSHES):
            axis, squared = self._on_axis(found)
            length = np.sqrt(squared)
            out = np.where(length[:, None] > 1e-9, found - axis, self._across())
            out /= np.linalg.norm(out, axis=1, keepdims=True)
            found = axis + self.radius_mm * out
        return found

    def _across(self) -> F64:
        steps = np.diff(self.points_lps_mm, axis=0)
        along = steps[np.argmax((steps**2).sum(axis=1))] if len(steps) else np.array([0.0, 0.0, 1.0])
        across = np.cross(along, np.eye(3)[np.argmin(np.abs(along))])
        length = float(np.linalg.norm(across))
        return across / length if length > 0.0 else np.array([1.0, 0.0, 0.0])

    def _on_axis(self, points: F64) -> tuple[F64, F64]:
        """Nearest points of the polyline, and squared distances to them."""
        first = self.points_lps_mm[0]
        best, least = np.broadcast_to(first, points.shape).copy(), ((points - first) ** 2).sum(axis=1)
        for start, end in zip(self.points_lps_mm[:-1], self.points_lps_mm[1:], strict=True):
            along = end - start
            squared_length = float(along @ along)
            if squared_length == 0.0:
                continue
            part = np.clip((points - start) @ along / squared_length, 0.0, 1.0)
            place = start + part[:, None] * along
            squared = ((points - place) ** 2).sum(axis=1)
            nearer = squared < least
            best[nearer], least[nearer] = place[nearer], squared[nearer]
        return best, least


@dataclass(frozen=True, slots=True, eq=False)
class PrismField:
    """A plane polygon, convex or not, extruded along its right-hand normal.

    Attributes:
        frame: (3, 3) rows: two axes in the polygon's plane, its normal.
        origin_lps_mm: (3,) in the plane.
        polygon_mm: (N, 2) corners along the first two axes, counter-clockwise.
        height_mm: > 0.
    """

    frame: F64
    origin_lps_mm: F64
    polygon_mm: F64
    height_mm: float

    @property
    def bounds_lps_mm(self) -> F64:
        """(2, 3) least and greatest coordinates of the surface."""
        flat = np.concatenate([self.polygon_mm, np.zeros((len(self.polygon_mm), 1))], axis=1) @ self.frame
        corners = np.concatenate([flat, flat + self.height_mm * self.frame[2]]) + self.origin_lps_mm
        return np.stack([corners.min(axis=0), corners.max(axis=0)])

    def distance_mm(self, points_lps_mm: F64) -> F64:
        """(N,) signed distance of (N, 3) points to the surface, negative inside."""
        local = (points_lps_mm - self.origin_lps_mm) @ self.frame.T
        _, squared, inside = self._on_polygon(local[:, :2])
        beside = np.where(inside, -1.0, 1.0) * np.sqrt(squared)
        beyond = np.abs(local[:, 2] - self.height_mm / 2.0) - self.height_mm / 2.0
        outside = np.hypot(np.maximum(beside, 0.0), np.maximum(beyond, 0.0))
        return np.asarray(np.minimum(np.maximum(beside, beyond), 0.0) + outside)

    def nearest_mm(self, points_lps_mm: F64) -> F64:
        """(N, 3) nearest points on the surface."""
        local = (points_lps_mm - self.origin_lps_mm) @ self.frame.T
        edge, squared, inside = self._on_polygon(local[:, :2])
        z = local[:, 2]
        cap = np.where(z < self.height_mm / 2.0, 0.0, self.height_mm)
        within = (z > 0.0) & (z < self.height_mm)
        # To a cap where it is nearer than the side, or straight above or below the polygon.
        to_cap = inside & (~within | (np.abs(z - cap) < np.sqrt(squared)))
        found = np.empty_like(local)
        found[:, :2] = np.where(to_cap[:, None], local[:, :2], edge)
        found[:, 2] = np.where(to_cap | ~within, cap, z)
        return np.asarray(found @ self.frame + self.origin_lps_mm)

    def _on_polygon(self, points: F64) -> tuple[F64, F64, npt.NDArray[np.bool_]]:
        """Nearest points of the outline, squared distances to them, and whether the polygon holds the points."""
        best, least = np.empty_like(points), np.full(len(points), np.inf)
        inside = np.zeros(len(points), np.bool_)
        for start, end in zip(self.polygon_mm, np.roll(self.polygon_mm, -1, axis=0), strict=True):
            along = end - start
            squared_length = float(along @ along)
            if squared_length == 0.0:
                continue
            part = np.clip((points - start) @ along / squared_length, 0.0, 1.0)
            place = start + part[:, None] * along
            squared = ((points - place) ** 2).sum(axis=1)
            nearer = squared < least
            best[nearer], least[nearer] = place[nearer], squared[nearer]
            if start[1] != end[1]:
                crosses = (points[:, 1] < start[1]) != (points[:, 1] < end[1])
                at = start[0] + (points[:, 1] - start[1]) * (along[0] / along[1])
                inside ^= crosses & (points[:, 0] < at)
        return best, least, inside


PrimitiveField = TubeField | PrismField


def primitive_field(shape: TubeShape | SphereShape | PrismShape) -> PrimitiveField:
    """A drawn shape's distance field.

    Raises:
        GeometryError: `empty_zone`: the shape encloses nothing.
    """
    if isinstance(shape, SphereShape):
        return TubeField(_checked(np.array([shape.center_lps_mm], np.float64)), _size(shape.radius_mm))
    if isinstance(shape, TubeShape):
        points = np.array(shape.points_lps_mm, np.float64).reshape(-1, 3)
        if len(points) == 0:
            raise _empty("a tube needs a point")
        return TubeField(_checked(points), _size(shape.radius_mm))
    corners = _checked(np.array(shape.polygon_lps_mm, np.float64).reshape(-1, 3))
    normal = newell_normal(corners) if len(corners) >= 3 else np.zeros(3)
    length = float(np.linalg.norm(normal))
    if length <= 1e-6:
        raise _empty("the polygon has no area")
    normal = normal / length
    origin = corners.mean(axis=0)
    first = np.cross(np.eye(3)[np.argmin(np.abs(normal))], normal)
    first /= np.linalg.norm(first)
    frame = np.stack([first, np.cross(normal, first), normal])
    return PrismField(frame, origin, (corners - origin) @ frame[:2].T, _size(shape.height_mm))


def newell_normal(corners: F64) -> F64:
    """Right-hand normal of a polygon, twice its area long.

    Source: Newell's method (Sutherland, Sproull, Schumacker, ACM Computing Surveys 1974;6:1, section 2.4).
    """
    middle = corners - corners.mean(axis=0)
    return np.asarray(np.cross(middle, np.roll(middle, -1, axis=0)).sum(axis=0))


def _checked(points: F64) -> F64:
    if not np.isfinite(points).all():
        raise GeometryError("a zone's points must be finite", code="bad_zone", mend="send numbers in mm")
    return points


def _size(size_mm: float) -> float:
    if not (np.isfinite(size_mm) and size_mm > 0.0):
        raise _empty("radius and height must be > 0")
    return float(size_mm)


def _empty(why: str) -> GeometryError:
    return GeometryError(f"the zone encloses nothing: {why}", code="empty_zone", mend="draw or segment it again")
