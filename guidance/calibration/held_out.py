"""Views that nothing was fitted to: how far the table, its nearest view and the classic assumption miss their beads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from guidance.calibration.answers import HeldOutView, Missed
from guidance.calibration.picture import MeasuredView, cropped_points
from guidance.calibration.view_camera import ViewCamera, shadows_of
from guidance.errors import GeometryError
from guidance.geometry.calibration_table import CalibrationTable
from guidance.geometry.camera import decomposed
from guidance.geometry.detector import picture_from_cropped
from guidance.geometry.positioner import positioner_axes
from guidance.messages import F64

_REACH_DEG: Final = 30.0


def held_out_view(
    view: MeasuredView, table: CalibrationTable, points_equipment_mm: F64, radii_mm: F64
) -> tuple[HeldOutView, dict[str, F64]]:
    """Errors of three methods at the beads of a view.

    Args:
        points_equipment_mm: (N, 3) all beads of the phantom, where calibration of the other views found them.

    Returns:
        The figures, and per method (M, 2) errors: px of the picture, mm at the isocentre; a method that does not reach
        the view is missing.
    """
    told = view.told
    methods: dict[str, ViewCamera] = {"classic_xa": told.ideal_camera()}
    try:
        # A held-out view leaves a gap that the table itself may be too careful to bridge.
        reaching = replace(table, tolerance_deg=_REACH_DEG)
        matrix = reaching.pixel_from_equipment(
            primary_deg=told.primary_deg,
            secondary_deg=told.secondary_deg,
            detector_rotation_deg=told.detector_rotation_deg,
            source_to_detector_mm=told.source_to_detector_mm,
            rows=told.rows,
            columns=told.columns,
            fov_rotation_deg=told.fov_rotation_deg,
            fov_flip=told.fov_flip,
            pitch_row_mm=told.pitch_mm[0],
        )
        methods["interpolated"] = _camera(matrix, view)
        methods["nearest_view"] = _camera(nearest_view_matrix(table, view), view)
    except GeometryError:
        pass  # the table does not reach it: said by nulls
    points, radii = points_equipment_mm[view.beads], radii_mm[view.beads]
    seen_px = cropped_points(view.places_px, told)
    errors: dict[str, F64] = {}
    for name, camera in methods.items():
        off_px = cropped_points(shadows_of(camera, points, radii), told) - seen_px
        length_px = np.linalg.norm(off_px, axis=1)
        mm_per_px = camera.translation_mm[2] / math.sqrt(camera.focal_px[0] * camera.focal_px[1])
        errors[name] = np.column_stack((length_px, length_px * mm_per_px))
    return (
        HeldOutView(
            name=told.name,
            primary_deg=told.primary_deg,
            secondary_deg=told.secondary_deg,
            interpolated=missed(errors.get("interpolated")),
            nearest_view=missed(errors.get("nearest_view")),
            classic_xa=_missed(errors["classic_xa"]),
        ),
        errors,
    )


def nearest_view_matrix(table: CalibrationTable, view: MeasuredView) -> F64:
    """(3, 4): the nearest calibrated view's, turned about the isocentre by the difference of the angles."""
    told = view.told
    near = table.nearest_view(told.primary_deg, told.secondary_deg, told.detector_rotation_deg)
    then = positioner_axes(near.primary_deg, near.secondary_deg, near.detector_rotation_deg)
    matrix = near.pixel_from_equipment.copy()
    matrix[:, :3] = matrix[:, :3] @ (then.T @ told.axes)
    return matrix


def missed(errors: F64 | Sequence[F64] | None) -> Missed | None:
    """Figures of (M, 2) errors, or of several; None of nothing."""
    if errors is None or len(errors) == 0:
        return None
    return _missed(np.vstack(errors) if isinstance(errors, list) else np.asarray(errors))


def _missed(errors: F64) -> Missed:
    rms, worst = np.sqrt(np.mean(errors**2, axis=0)), errors.max(axis=0)
    return Missed(rms_px=float(rms[0]), worst_px=float(worst[0]), rms_mm=float(rms[1]), worst_mm=float(worst[1]))


def _camera(pixel_from_equipment: F64, view: MeasuredView) -> ViewCamera:
    """A matrix for the picture as sent -> the camera before turn and flip."""
    told = view.told
    rows, columns = told.cropped_size
    back = np.linalg.inv(picture_from_cropped(rows, columns, told.fov_rotation_deg, told.fov_flip))
    parts = decomposed(back @ pixel_from_equipment)
    return ViewCamera(
        focal_px=(parts.focal_u_px, parts.focal_v_px),
        principal_px=parts.principal_point_px,
        rotation=parts.axes,
        translation_mm=parts.translation_mm,
    )
