"""An instrument in 3D from two views or more: its line or low curve, its tip, and how far that may be off."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.geometry.camera import ray_through
from guidance.messages import F64, Vector3
from guidance.tracking.values import InstrumentView, PlacedInstrument

LEAST_ANGLE_DEG: Final = 10.0  # between rays and between the planes of source and shadow: errors grow by 1 / sine
MOST_MISS_MM: Final = 1.0  # what two still pictures of one instrument may contradict each other by
_MISS_SIGMAS: Final = 3.0
_SAMPLES: Final = 16
_ROUNDS: Final = 8
_SHORTEST_MM: Final = 3.0
_STEPS: Final = np.array((1e-3, 1e-3, 1e-3, 1e-6, 1e-6, 1e-7, 1e-7))  # mm, rad, 1/mm


@dataclass(frozen=True, slots=True, eq=False)
class _Shadow:
    """One view's centreline as a low curve y(x) in axes of its own: x along the chord to the tip, from its last point.

    Attributes:
        rows: (2, 2) unit vectors along and across.
        curve: coefficients of y(x), highest power first.
        length_px: of the chord.
    """

    view: InstrumentView
    rows: F64
    origin_px: F64
    curve: F64
    length_px: float
    sigma_px: float

    def along_across(self, points_lps_mm: F64) -> F64:
        """(N, 2) px: x, and the distance from the curve, of points' projections."""
        matrix = self.view.pixel_from_patient
        homogeneous = points_lps_mm @ matrix[:, :3].T + matrix[:, 3]
        local = (homogeneous[:, :2] / homogeneous[:, 2:] - self.origin_px) @ self.rows.T
        slope = np.polyval(np.polyder(self.curve), local[:, 0])
        local[:, 1] = (local[:, 1] - np.polyval(self.curve, local[:, 0])) / np.sqrt(1.0 + slope * slope)
        return local

    def mm_per_px(self, point_lps_mm: F64) -> float:
        """At a point's depth."""
        matrix = self.view.pixel_from_patient
        depth_mm = float(matrix[2, :3] @ point_lps_mm + matrix[2, 3])
        return depth_mm / math.sqrt(abs(float(np.linalg.det(matrix[:, :3]))))


def instrument_3d(views: Sequence[InstrumentView]) -> PlacedInstrument:
    """Place one instrument that was found in several pictures.

    A straight one is the line in which the planes through each source and shadow meet; a bent one a parabola in space;
    the tip is where the views' rays to it pass nearest to each other, on that line. All of it at once, least squares
    weighted by each view's standard deviations.

    Args:
        views: findings along the same path, from different directions, of pictures taken while it did not move.

    Returns:
        Refused, with words and code: `too_few_views`, `views_too_parallel` (rays less than 10 deg apart),
        `in_plane_of_sources` (it lies in the plane of both sources: its shadows say nothing of its slope there),
        `views_contradict` (it moved in between, another instrument was seen, or the geometry is off).

    Source: Hartley & Zisserman, Multiple View Geometry, 2nd ed., 12.5 (points), 12.7 (lines).
    """
    path_id = views[0].seen.path_id if views else ""
    if len(views) < 2:
        return _refused(path_id, "too_few_views", "one view does not tell its depth", len(views))
    shadows = [_shadow_of(view) for view in views]
    angle_deg = _largest_ray_angle_deg(shadows)
    if angle_deg < LEAST_ANGLE_DEG:
        words = f"the views are only {angle_deg:.0f} deg apart: turn the C-arm by {LEAST_ANGLE_DEG:.0f} deg or more"
        return _refused(path_id, "views_too_parallel", words, len(views))
    start = _meeting_line(shadows)
    if start is None:
        words = "the instrument lies in the plane of the views' X-ray sources: take one view tilted out of that plane"
        return _refused(path_id, "in_plane_of_sources", words, len(views))
    point, direction = start
    reached = _reach(shadows, point, direction)
    if reached is None:
        words = "the views show different instruments, or ends of one that do not belong together"
        return _refused(path_id, "views_contradict", words, len(views))
    deepest_mm, length_mm = reached
    return _fitted(path_id, shadows, point + deepest_mm * direction, direction, length_mm)


def _fitted(path_id: str, shadows: list[_Shadow], end: F64, direction: F64, length_mm: float) -> PlacedInstrument:
    axes = np.stack((direction, *_across(direction)))
    bent = any(shadow.view.seen.bent for shadow in shadows)
    has_tip = any(shadow.view.seen.tip_px is not None for shadow in shadows)
    free = np.ones(7, bool)
    free[5:] = bent
    free[0] = has_tip  # without a tip nothing says how far along the line it ends
    numbers = np.zeros(7)
    back_mm = np.linspace(0.0, length_mm, _SAMPLES)

    def residuals(at: F64) -> F64:
        return np.concatenate([_misses(shadow, _curve(at, end, axes, back_mm)) for shadow in shadows])

    jacobian = np.zeros((0, 0))
    for _ in range(_ROUNDS):
        now = residuals(numbers)
        columns = np.flatnonzero(free)
        jacobian = np.stack(
            [(residuals(numbers + _STEPS * (np.arange(7) == n)) - now) / _STEPS[n] for n in columns], axis=1
        )
        scale = np.sqrt((jacobian * jacobian).sum(axis=0)) + 1e-12
        step = np.linalg.lstsq(jacobian / scale, -now, rcond=1e-9)[0] / scale
        numbers[columns] += step
        if float(np.abs(step).max()) < 1e-7:
            break
    if not np.isfinite(numbers).all():
        return _refused(path_id, "views_contradict", "no line fits what the views show", len(shadows))
    now = residuals(numbers)
    points = _curve(numbers, end, axes, back_mm)
    miss_px, miss_mm, sigma_mm = _worst_miss(shadows, points)
    if miss_mm > max(MOST_MISS_MM, _MISS_SIGMAS * sigma_mm):
        words = f"the views contradict each other by {miss_mm:.1f} mm: it moved between them, or the geometry is off"
        return _refused(path_id, "views_contradict", words, len(shadows), residual_px=miss_px, residual_mm=miss_mm)
    normal = jacobian.T @ jacobian
    excess = float(now @ now) / max(len(shadows) - 1, 1)
    whole = np.zeros((7, 7))
    whole[np.ix_(free, free)] = np.linalg.pinv(normal) * max(1.0, excess)
    tip_covariance = axes.T @ whole[:3, :3] @ axes
    angle_sigma = math.degrees(math.sqrt(max(float(np.linalg.eigvalsh(whole[3:5, 3:5])[-1]), 0.0)))
    heading = axes[0] + numbers[3:5] @ axes[1:]
    heading = heading / np.linalg.norm(heading)
    return PlacedInstrument(
        path_id=path_id,
        accepted=True,
        reason=f"from {len(shadows)} views, which agree to {miss_mm:.1f} mm",
        code="",
        tip_lps_mm=_vector(points[0]) if has_tip else None,
        axis=_vector(heading),
        curve_lps_mm=points[::-1].copy(),
        residual_px=miss_px,
        residual_mm=miss_mm,
        tip_sigma_mm=math.sqrt(max(float(np.linalg.eigvalsh(tip_covariance)[-1]), 0.0)) if has_tip else None,
        tip_covariance_mm2=tip_covariance if has_tip else None,
        axis_sigma_deg=angle_sigma,
        views=len(shadows),
    )


def _curve(numbers: F64, end: F64, axes: F64, back_mm: F64) -> F64:
    """(N, 3): a parabola through the end, back along the axis; numbers: shift, two slopes, two curvatures."""
    tip = end + numbers[:3] @ axes
    back = back_mm[:, None]
    curve: F64 = tip - back * (axes[0] + numbers[3:5] @ axes[1:]) + 0.5 * back * back * (numbers[5:7] @ axes[1:])
    return curve


def _misses(shadow: _Shadow, points: F64) -> F64:
    """What one view has against a curve, in standard deviations: across at each sample, along at the tip."""
    local = shadow.along_across(points)
    # A line has two degrees of freedom, so the samples together count as two measurements, not as sixteen.
    across = local[:, 1] / (shadow.sigma_px * math.sqrt(_SAMPLES / 2.0))
    seen = shadow.view.seen
    if seen.tip_px is None:
        return across
    tip = (np.array(seen.tip_px) - shadow.origin_px) @ shadow.rows[0]
    return np.append(across, (local[0, 0] - tip) / _tip_sigma_px(shadow))


def _worst_miss(shadows: list[_Shadow], points: F64) -> tuple[float, float, float]:
    """Root mean square across and distance along at the tip, the worst of the views: px, mm, and its sigma in mm."""
    worst = (0.0, 0.0, 0.0)
    for shadow in shadows:
        local = shadow.along_across(points)
        mm = shadow.mm_per_px(points[0])
        sigma_px = shadow.sigma_px
        miss_px = math.sqrt(float((local[:, 1] ** 2).mean()))
        if shadow.view.seen.tip_px is not None:
            tip = (np.array(shadow.view.seen.tip_px) - shadow.origin_px) @ shadow.rows[0]
            miss_px = max(miss_px, math.hypot(float(local[0, 0] - tip), float(local[0, 1])))
            sigma_px = max(sigma_px, _tip_sigma_px(shadow))
        if miss_px * mm >= worst[1]:
            worst = (miss_px, miss_px * mm, sigma_px * mm)
    return worst


def _tip_sigma_px(shadow: _Shadow) -> float:
    return max(math.hypot(shadow.view.seen.tip_sigma_px or 0.0, shadow.view.geometry_sigma_px), 0.05)


def _shadow_of(view: InstrumentView) -> _Shadow:
    points = np.asarray(view.seen.centreline_px, np.float64)
    chord = points[-1] - points[0]
    length = math.sqrt(float(chord @ chord))
    along = chord / length
    rows = np.array((along, (-along[1], along[0])))
    local = (points - points[-1]) @ rows.T
    curve = np.polyfit(local[:, 0], local[:, 1], min(3, max(len(points) - 2, 1)))
    sigma_px = max(math.hypot(view.seen.sigma_px, view.geometry_sigma_px), 0.02)
    return _Shadow(view, rows, points[-1], curve, length, sigma_px)


def _largest_ray_angle_deg(shadows: list[_Shadow]) -> float:
    rays = [ray_through((float(s.origin_px[0]), float(s.origin_px[1])), s.view.pixel_from_patient)[1] for s in shadows]
    least = min(abs(float(a @ b)) for a, b in itertools.combinations(rays, 2))
    return math.degrees(math.acos(min(least, 1.0)))


def _meeting_line(shadows: list[_Shadow]) -> tuple[F64, F64] | None:
    """A point and the direction, hub to tip, of the line in which all planes meet best; None where they do not cut."""
    planes = []
    for shadow in shadows:
        middle = shadow.origin_px - 0.5 * shadow.length_px * shadow.rows[0]
        normal = shadow.rows[1]
        plane = shadow.view.pixel_from_patient.T @ np.array((*normal, -float(normal @ middle)))
        planes.append(plane / np.linalg.norm(plane[:3]))
    stacked = np.array(planes)
    turned, singular, axes = np.linalg.svd(stacked[:, :3], full_matrices=True)
    # Of two unit normals at angle f the singular values are sqrt(1 +- cos f): 2 sin^2(f/2) is the smaller's square.
    if singular[1] < math.sqrt(2.0) * math.sin(math.radians(LEAST_ANGLE_DEG) / 2.0):
        return None
    direction = axes[2]
    point = -axes[:2].T @ ((turned[:, :2].T @ stacked[:, 3]) / singular[:2])
    return point, direction


def _reach(shadows: list[_Shadow], point: F64, direction: F64) -> tuple[float, float] | None:
    """Where along the line it ends on the tip's side, and how long all views show it; None where they disagree.

    The direction is turned in place to run from hub to tip.
    """
    turned = 0
    ends = []
    for shadow in shadows:
        matrix = shadow.view.pixel_from_patient
        base, slope = matrix[:, :3] @ point + matrix[:, 3], matrix[:, :3] @ direction
        mm = []
        for along_px in (-shadow.length_px, 0.0):
            place = shadow.origin_px + along_px * shadow.rows[0]
            # x(t) = rows[0] . (base + t slope)[:2] / (base + t slope)[2] equals that of the place.
            at = float(shadow.rows[0] @ place)
            divisor = float(shadow.rows[0] @ slope[:2]) - at * slope[2]
            if divisor == 0.0:
                return None
            mm.append((at * base[2] - float(shadow.rows[0] @ base[:2])) / divisor)
        turned += 1 if mm[1] > mm[0] else -1
        ends.append(mm)
    if abs(turned) != len(shadows):
        return None
    if turned < 0:
        direction *= -1.0
        ends = [[-hub, -tip] for hub, tip in ends]
    tips = [tip for shadow, (_, tip) in zip(shadows, ends, strict=True) if shadow.view.seen.tip_px is not None]
    deepest = float(np.mean(tips)) if tips else min(tip for _, tip in ends)
    length = deepest - max(hub for hub, _ in ends)
    return (deepest, length) if length >= _SHORTEST_MM else None


def _across(direction: F64) -> tuple[F64, F64]:
    first = np.cross(direction, np.eye(3)[int(np.argmin(np.abs(direction)))])
    first /= np.linalg.norm(first)
    return first, np.cross(direction, first)


def _vector(values: F64) -> Vector3:
    x, y, z = (float(value) for value in values)
    return x, y, z


def _refused(
    path_id: str,
    code: str,
    reason: str,
    views: int,
    *,
    residual_px: float | None = None,
    residual_mm: float | None = None,
) -> PlacedInstrument:
    return PlacedInstrument(
        path_id=path_id,
        accepted=False,
        reason=reason,
        code=code,
        tip_lps_mm=None,
        axis=None,
        curve_lps_mm=np.zeros((0, 3)),
        residual_px=residual_px,
        residual_mm=residual_mm,
        tip_sigma_mm=None,
        tip_covariance_mm2=None,
        axis_sigma_deg=None,
        views=views,
    )
