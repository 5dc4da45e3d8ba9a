"""A calibration in figures: per view, the worst bead, and what held-out views say of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from guidance.calibration.answers import (
    CalibrationAnswer,
    HeldOutView,
    LeftOutView,
    ViewAnswer,
    WorstBead,
)
from guidance.calibration.equipment_view import in_equipment
from guidance.calibration.frame import turned_apart_deg
from guidance.calibration.held_out import held_out_view, missed
from guidance.calibration.phantom import Phantom
from guidance.calibration.picture import LeftOut, MeasuredView, cropped_points
from guidance.calibration.suite import SuiteCalibration, left_out_errors_mm
from guidance.geometry.calibration_table import CalibratedView
from guidance.geometry.camera import decomposed, project
from guidance.geometry.rotations import rotation_of
from guidance.messages import F64

_FEWEST_VIEWS: Final = 5
_FAR_DEG: Final = 13.0  # beyond it the table's largest reach, 10 deg, leaves gaps
_STEP: Final = 1e-4


def calibration_answer(phantom: Phantom, done: SuiteCalibration) -> CalibrationAnswer:
    """All figures of a calibration."""
    foretold_mm: Sequence[float | None] = (
        left_out_errors_mm(done.table) if len(done.table.views) > 1 else [None] * len(done.table.views)
    )
    views = tuple(_view_answer(phantom, done, n, foretold_mm[n]) for n in range(len(done.used)))
    residuals = np.concatenate(
        [residual[inlier] for residual, inlier in zip(done.bundle.residuals_px, done.bundle.inliers, strict=True)]
    )
    held, errors = _held_out(phantom, done)
    off_mm = [view.isocenter_off_middle_mm for view in views]
    moved = done.bundle.points_mm - phantom.points_mm
    x, y, z = done.pose.isocenter_phantom_mm.tolist()
    return CalibrationAnswer(
        phantom=phantom.name,
        suite=done.table.suite,
        views=views,
        left_out=tuple(_left_out(one) for one in done.left_out),
        rms_px=float(np.sqrt(np.mean(residuals**2))),
        worst_bead=max((view.worst_bead for view in views), key=lambda bead: bead.residual_px),
        sigma_px=float(np.median(np.concatenate([view.sigma_px for view in done.used]))) * done.bundle.sigma_unit,
        isocenter=done.pose.found_from,
        isocenter_phantom_mm=(x, y, z),
        isocenter_spread_mm=done.pose.isocenter_spread_mm,
        beads_moved_mm=float(np.sqrt(np.mean(moved**2))),
        held_out=held,
        held_out_interpolated=missed(errors["interpolated"]),
        held_out_nearest_view=missed(errors["nearest_view"]),
        held_out_classic_xa=missed(errors["classic_xa"]),
        classic_xa_off_mm=(float(np.sqrt(np.mean(np.square(off_mm)))), max(off_mm)),
        tolerance_deg=done.table.tolerance_deg,
        warnings=_warnings(done),
    )


def picture_sigma_mm(view: CalibratedView, points_mm: F64 | None = None) -> float | None:
    """Standard deviation of points' places along an axis of the picture, from a view's covariance; mm at the isocentre.

    Args:
        points_mm: (N, 3) equipment points; None: the isocentre.
    """
    if view.covariance is None:
        return None
    slopes = picture_slopes(view.pixel_from_equipment, np.zeros((1, 3)) if points_mm is None else points_mm)
    variance = np.einsum("pai,ij,paj->pa", slopes, view.covariance, slopes)
    parts = decomposed(view.pixel_from_equipment)
    return float(np.sqrt(variance.mean())) * float(parts.translation_mm[2]) / parts.focal_v_px


def picture_slopes(pixel_from_equipment: F64, points_mm: F64) -> F64:
    """(N, 2, 9) px by each of a covariance's nine numbers, by central differences."""
    slopes = np.empty((len(points_mm), 2, 9))
    for n in range(9):
        there, back = (
            project(points_mm, perturbed(pixel_from_equipment, _STEP * sign * np.eye(9)[n])) for sign in (1.0, -1.0)
        )
        slopes[:, :, n] = (there[:, :2] - back[:, :2]) / (2.0 * _STEP)
    return slopes


def perturbed(pixel_from_equipment: F64, nine: F64) -> F64:
    """(3, 4): the matrix nine small numbers further, as `CalibratedView.covariance` counts them."""
    parts = decomposed(pixel_from_equipment)
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = rotation_of(np.radians(nine[3:6])), nine[:3]
    calibration = parts.intrinsics_px.copy()
    calibration[:2, :2] *= 1.0 + nine[8]
    calibration[:2, 2] += nine[6:8]
    matrix: F64 = calibration @ np.column_stack((parts.axes, parts.translation_mm)) @ motion
    return matrix


def _view_answer(phantom: Phantom, done: SuiteCalibration, n: int, foretold_mm: float | None) -> ViewAnswer:
    view, camera = done.used[n], done.bundle.cameras[n]
    residual, inlier = done.bundle.residuals_px[n], done.bundle.inliers[n]
    size = np.linalg.norm(residual, axis=1)
    worst = int(np.argmax(size))
    calibrated = done.table.views[n]
    seen = in_equipment(camera, done.pose.equipment_from_phantom)
    isocenter_px = project(np.zeros((1, 3)), calibrated.pixel_from_equipment)[0, :2]
    middle_px = cropped_points(np.array([view.told.middle_px]), view.told)[0]
    to_mm = float(seen.translation_mm[2]) / math.sqrt(camera.focal_px[0] * camera.focal_px[1])
    return ViewAnswer(
        name=view.told.name,
        primary_deg=view.told.primary_deg,
        secondary_deg=view.told.secondary_deg,
        detector_rotation_deg=view.told.detector_rotation_deg,
        source_to_detector_mm=view.told.source_to_detector_mm,
        beads_named=view.named,
        beads_expected=view.expected,
        beads_measured=len(view.beads),
        false_shadows=view.false_shadows,
        outliers=int(np.count_nonzero(~inlier)),
        rms_px=float(np.sqrt(np.mean(residual[inlier] ** 2))) if inlier.any() else float(np.sqrt(np.mean(residual**2))),
        worst_bead=WorstBead(
            bead=phantom.names[int(view.beads[worst])], view=view.told.name, residual_px=float(size[worst])
        ),
        focal_px=camera.focal_px,
        principal_px=camera.principal_px,
        source_to_isocenter_mm=float(seen.translation_mm[2]),
        isocenter_off_middle_mm=float(np.linalg.norm(isocenter_px - middle_px)) * to_mm,
        sigma_mm=picture_sigma_mm(calibrated) or 0.0,
        left_out_mm=foretold_mm,
    )


def _held_out(phantom: Phantom, done: SuiteCalibration) -> tuple[tuple[HeldOutView, ...], dict[str, list[F64]]]:
    pose = done.pose.equipment_from_phantom
    points = done.bundle.points_mm @ pose[:3, :3].T + pose[:3, 3]
    errors: dict[str, list[F64]] = {"interpolated": [], "nearest_view": [], "classic_xa": []}
    answers = []
    for view in done.held:
        answer, by_method = held_out_view(view, done.table, points, phantom.diameters_mm / 2.0)
        answers.append(answer)
        for method, values in by_method.items():
            errors[method].append(values)
    return tuple(answers), errors


def _left_out(one: LeftOut) -> LeftOutView:
    return LeftOutView(name=one.name, code=one.code, reason=one.reason, mend=one.mend)


def _warnings(done: SuiteCalibration) -> tuple[str, ...]:
    warnings = []
    views: tuple[MeasuredView, ...] = done.used
    if len(views) < _FEWEST_VIEWS:
        warnings.append(
            f"{len(views)} views say little of how the gantry sags between them: what lies between is assumed to "
            "1 mm and 0.1 deg"
        )
    apart = turned_apart_deg([view.told for view in views])
    far = max(range(len(views)), key=apart.__getitem__)
    if len(views) > 1 and apart[far] > _FAR_DEG:
        warnings.append(
            f"{views[far].told.name} is {apart[far]:.0f} deg from its nearest neighbour: the table does not reach "
            "all poses between them"
        )
    if done.pose.found_from == "views" and all(view.told.source_to_isocenter_mm is None for view in views):
        warnings.append(
            "no view tells XRay.SourceToIsocenterMm: the isocentre's depth rests on the views' angles alone"
        )
    return tuple(warnings)
