"""A view's camera in the phantom's frame -> the table's view: equipment axes, picture as sent, covariance."""

from __future__ import annotations

import math

import numpy as np

from guidance.calibration.told_view import ToldView
from guidance.calibration.view_camera import NUMBERS, ViewCamera
from guidance.geometry.calibration_table import CalibratedView
from guidance.geometry.detector import picture_from_cropped
from guidance.messages import F64


def calibrated_view(
    told: ToldView, camera: ViewCamera, equipment_from_phantom: F64, covariance: F64 | None
) -> CalibratedView:
    """One view of the table.

    Args:
        camera: phantom's frame, picture before turn and flip.
        equipment_from_phantom: (4, 4).
        covariance: (9, 9) of the camera's nine numbers (`ViewCamera.moved`).
    """
    seen = in_equipment(camera, equipment_from_phantom)
    rows, columns = told.cropped_size
    turn = picture_from_cropped(rows, columns, told.fov_rotation_deg, told.fov_flip)
    return CalibratedView(
        primary_deg=told.primary_deg,
        secondary_deg=told.secondary_deg,
        detector_rotation_deg=told.detector_rotation_deg,
        source_to_detector_mm=told.source_to_detector_mm,
        pixel_from_equipment=turn @ seen.matrix,
        covariance=None if covariance is None else _of_equipment(covariance, camera, seen, turn),
    )


def in_equipment(camera: ViewCamera, equipment_from_phantom: F64) -> ViewCamera:
    """The same camera for equipment points."""
    rotation, shift = equipment_from_phantom[:3, :3], equipment_from_phantom[:3, 3]
    turned = camera.rotation @ rotation.T
    return ViewCamera(
        focal_px=camera.focal_px,
        principal_px=camera.principal_px,
        rotation=turned,
        translation_mm=camera.translation_mm - turned @ shift,
    )


def _of_equipment(covariance: F64, camera: ViewCamera, seen: ViewCamera, turn: F64) -> F64:
    """From turn rad and shift mm in the camera's axes to shift mm and turn deg of equipment points."""
    # moved(): x -> turn (R x + t) + shift. About the isocentre, which is seen at t: R (S x) + t with S's turn R' w, for
    # a mirror (determinant -1) the other way round, and S's shift R' (shift + w x t).
    rotation, t = seen.rotation, seen.translation_mm
    handed = math.copysign(1.0, float(np.linalg.det(rotation)))
    across = np.array(((0.0, t[2], -t[1]), (-t[2], 0.0, t[0]), (t[1], -t[0], 0.0)))  # w -> w x t
    spread = np.zeros((NUMBERS, NUMBERS))
    spread[:3, :3] = rotation.T @ across
    spread[:3, 3:6] = rotation.T
    spread[3:6, :3] = handed * np.degrees(rotation.T)
    spread[6:8, 6:8] = turn[:2, :2]
    spread[8, 8] = 1.0
    moved: F64 = spread @ covariance @ spread.T
    return (moved + moved.T) / 2.0
