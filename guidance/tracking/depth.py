"""How deep an instrument is against its plan: exact in 3D, under a said assumption from one view; and the words."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from guidance.messages import F64, PlannedPath
from guidance.tracking.values import InstrumentDepth, PlacedInstrument, SeenInstrument

# Below this a view runs so much along the path that a px across it would be many mm along it.
_LEAST_SINE: Final = math.sin(math.radians(15.0))
_OFF_AXIS_SAID_MM: Final = 0.05  # what rounds to 0.0 is not said
SIGMA_SAID_MM: Final = 0.5  # an uncertainty (95 %) below this is not worth an operator's glance


def depth_of(path: PlannedPath, placed: PlacedInstrument) -> InstrumentDepth:
    """The tip of an instrument in 3D against its plan.

    Args:
        path: the plan.
        placed: found in two views or more, in the plan's frame.
    """
    if not placed.accepted or placed.axis is None:
        return _unknown(path, placed.reason, placed.views)
    entry, axis, length_mm = _line_of(path)
    cosine = float(np.clip(np.array(placed.axis) @ axis, -1.0, 1.0))
    angle_deg = math.degrees(math.acos(cosine))
    if placed.tip_lps_mm is None:
        return _unknown(path, "its tip is in no view", placed.views, angle_deg=angle_deg)
    from_entry = np.array(placed.tip_lps_mm) - entry
    depth_mm = float(from_entry @ axis)
    covariance = placed.tip_covariance_mm2
    return InstrumentDepth(
        path_id=path.id,
        depth_mm=depth_mm,
        to_target_mm=length_mm - depth_mm,
        off_axis_mm=float(np.linalg.norm(from_entry - depth_mm * axis)),
        angle_deg=angle_deg,
        sigma_mm=None if covariance is None else math.sqrt(max(float(axis @ covariance @ axis), 0.0)),
        views=placed.views,
    )


def constrained_to_path(
    path: PlannedPath, seen: SeenInstrument, pixel_from_patient: F64, *, geometry_sigma_px: float = 0.0
) -> InstrumentDepth:
    """The tip of an instrument seen in one view, were it on its planned path.

    One picture gives a ray, not a point. The depth is that of the planned axis' point whose shadow is nearest to the
    tip's; what the tip lies beside it in the picture is told in mm at that depth, what it lies off along the ray
    nobody can tell.

    Args:
        path: the plan.
        seen: what was found along it.
        pixel_from_patient: (3, 4) as trusted, w in mm along the central ray.
        geometry_sigma_px: standard deviation by which the geometry may misplace what is seen.
    """
    entry, axis, length_mm = _line_of(path)
    matrix = pixel_from_patient
    start = matrix[:, :3] @ entry + matrix[:, 3]
    slope = matrix[:, :3] @ axis
    if start[2] <= 0.0 or start[2] + length_mm * slope[2] <= 0.0:
        return _unknown(path, "the path reaches the X-ray source", 1)
    # The axis' shadow is a straight line; du/dt is along it everywhere.
    at_entry = start[:2] / start[2]
    along = (slope[:2] - at_entry * slope[2]) / start[2]
    px_per_mm = math.sqrt(float(along @ along))
    full = math.sqrt(abs(float(np.linalg.det(matrix[:, :3])))) / start[2]
    if px_per_mm < _LEAST_SINE * full:
        return _unknown(path, "the view runs along the path", 1)
    along /= px_per_mm
    across = np.array((-along[1], along[0]))
    heading = seen.centreline_px[-1] - seen.centreline_px[-2]
    angle_deg = math.degrees(math.atan2(float(heading @ across), float(heading @ along)))
    if seen.tip_px is None:
        return _unknown(path, seen.tip_unknown, 1, angle_deg=abs(angle_deg))
    offset = np.array(seen.tip_px) - at_entry
    seen_along = float(offset @ along)
    # u(t) - u(0) = t * px_per_mm * w0 / (w0 + t dw): solved for t.
    depth_mm = seen_along * start[2] / (px_per_mm * start[2] - seen_along * slope[2])
    at_tip_mm = start[2] + depth_mm * slope[2]
    if at_tip_mm <= 0.0 or not math.isfinite(depth_mm):
        return _unknown(path, "the tip cannot lie on the planned path", 1, angle_deg=abs(angle_deg))
    there_px_per_mm = px_per_mm * (start[2] / at_tip_mm) ** 2
    sigma_px = math.hypot(seen.tip_sigma_px or 0.0, geometry_sigma_px)
    return InstrumentDepth(
        path_id=path.id,
        depth_mm=depth_mm,
        to_target_mm=length_mm - depth_mm,
        off_axis_mm=abs(float(offset @ across)) * at_tip_mm / (full * start[2]),
        angle_deg=abs(angle_deg),
        sigma_mm=sigma_px / there_px_per_mm,
        views=1,
    )


def depth_words(path: PlannedPath, depth: InstrumentDepth) -> str:
    """One line for the operator: `LABEL: 23.4 mm to target, 1.2 mm off axis`.

    Past the target it says so; an assumption and what is not known are said in words, never left out.
    """
    label = path.label.strip() or path.id
    if depth.to_target_mm is None:
        return f"{label}: depth unknown, {depth.reason or 'not seen'}"
    to_target = depth.to_target_mm
    if round(to_target, 1) >= 0.0:
        said = f"{label}: {abs(to_target):.1f} mm to target"
    else:
        said = f"{label}: past target by {-to_target:.1f} mm"
    if depth.sigma_mm is not None and 2.0 * depth.sigma_mm >= SIGMA_SAID_MM:
        said += f" (+-{2.0 * depth.sigma_mm:.1f})"
    if depth.off_axis_mm is not None and depth.off_axis_mm >= _OFF_AXIS_SAID_MM:
        said += f", {depth.off_axis_mm:.1f} mm off axis" + (" in this view" if depth.assumed else "")
    return said + (", if on the planned path" if depth.assumed else "")


def _unknown(path: PlannedPath, reason: str, views: int, *, angle_deg: float | None = None) -> InstrumentDepth:
    return InstrumentDepth(
        path_id=path.id,
        depth_mm=None,
        to_target_mm=None,
        off_axis_mm=None,
        angle_deg=angle_deg,
        sigma_mm=None,
        views=views,
        reason=reason,
    )


def _line_of(path: PlannedPath) -> tuple[F64, F64, float]:
    entry = np.array(path.entry_lps_mm, np.float64)
    axis = np.array(path.target_lps_mm, np.float64) - entry
    length_mm = math.sqrt(float(axis @ axis))
    return entry, axis / length_mm, length_mm
