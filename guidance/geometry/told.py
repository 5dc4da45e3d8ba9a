"""What a stream tells of its geometry, put together: metadata, else paired transforms, else the calibration table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from guidance.errors import GeometryError
from guidance.geometry.calibration import CalibrationTable
from guidance.geometry.camera import ConeBeamCamera
from guidance.geometry.detector import detector_of_picture
from guidance.geometry.metadata import XRayMetadata
from guidance.geometry.paired import PairedTransforms, projection_of_transforms
from guidance.geometry.positioner import CArmPose, isocenter_from_positioner, lps_from_equipment
from guidance.geometry.table import pixel_from_patient_after_shift
from guidance.geometry.told_patient import (
    PatientReference,
    has_equipment_angles,
    has_isocenter,
    has_patient_angles,
    isocenter_now,
    patient_angles,
    table_shift,
)
from guidance.messages import F64, EquipmentUncertainty

# Blades that lie this far outside the picture were cut off with it.
_CROP_SLACK_PX = 1.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ToldGeometry:
    """A projection as told, for the table as it is now; not judged yet.

    Attributes:
        source: `metadata_matrix`, `metadata_angles`, `transforms` or `table`.
        pixel_from_patient: (3, 4), patient LPS mm -> pixel as sent; w in mm along the central ray, but for
            `metadata_matrix`, whose sign is the sender's and whose largest element is 1.
        source_to_detector_mm: None where it is not told (a matrix).
        told_angles_deg: patient-related angles told next to a matrix or transforms; None if there are none.
        told_camera: the complete angle form next to a matrix, as (3, 4); None if it is not complete.
        calibration: how well the table knows it; None where it is not from one, or the table does not say.
    """

    source: Literal["metadata_matrix", "metadata_angles", "transforms", "table"]
    pixel_from_patient: F64
    source_to_detector_mm: float | None = None
    told_angles_deg: tuple[float, float] | None = None
    told_camera: F64 | None = None
    calibration: EquipmentUncertainty | None = None


def missing_keys(xray: XRayMetadata, reference: PatientReference) -> list[str]:
    """Keys that the angle form still needs; [] where it is complete."""
    missing = []
    if not has_equipment_angles(xray) and not has_patient_angles(xray):
        missing += ["XRay.PrimaryAngleDeg", "XRay.SecondaryAngleDeg"]
    elif not has_patient_angles(xray) and not xray.patient_position:
        missing.append("XRay.PatientPosition")
    if xray.source_to_detector_mm is None:
        missing.append("XRay.SourceToDetectorMm")
    if xray.source_to_isocenter_mm is None:
        missing.append("XRay.SourceToIsocenterMm")
    if xray.imager_pixel_spacing_mm is None:
        missing.append("XRay.ImagerPixelSpacingMm")
    if not has_isocenter(xray, reference):
        missing.append("XRay.IsocenterLpsMm")
    return missing


def told_geometry(
    xray: XRayMetadata,
    rows: int,
    columns: int,
    *,
    reference: PatientReference | None = None,
    transforms: PairedTransforms | None = None,
    pixel_pitch_mm: tuple[float, float] | None = None,
    transform_frame: str = "ras",
    calibration: CalibrationTable | None = None,
) -> ToldGeometry | None:
    """The geometry of one picture, in the contract's order of preference.

    Args:
        xray: from `metadata.read_metadata`.
        rows, columns: of the picture as sent.
        reference: what the CBCT says; used where the stream leaves the table's reference, the isocentre or the
            patient position to it.
        transforms: form (b), already paired with this picture.
        pixel_pitch_mm: (column step, row step) of the IMAGE header's matrix, for form (b).
        transform_frame: "ras" or "lps", for form (b).
        calibration: form (c).

    Returns:
        None where nothing of a geometry is told.

    Raises:
        GeometryError: told, but incomplete, contradictory, absurd or not usable; see docs/geometry.md for the codes.

    Source: contract 5.3.
    """
    reference = reference or PatientReference()
    if not xray.patient_position and has_equipment_angles(xray) and has_patient_angles(xray):
        # Told in both systems, so they can be held against the volume's position: a prone patient whom the equipment
        # believes to be supine has the same numbers in both.
        xray = replace(xray, patient_position=reference.patient_position)
    if xray.projection_matrix is not None:
        return _from_matrix(xray, rows, columns, reference)
    missing = missing_keys(xray, reference)
    if not missing:
        return _from_angles(xray, rows, columns, reference)
    if transforms is not None:
        matrix, distance_mm = projection_of_transforms(transforms, pixel_pitch_mm, rows, columns, frame=transform_frame)
        return ToldGeometry(
            source="transforms",
            pixel_from_patient=matrix,
            source_to_detector_mm=distance_mm,
            told_angles_deg=_angles_beside(xray),
        )
    if not xray.has_angles:
        return None
    if calibration is not None and not {"XRay.SourceToDetectorMm", "XRay.IsocenterLpsMm"} & set(missing):
        return _from_calibration(xray, rows, columns, reference, calibration)
    if "XRay.PrimaryAngleDeg" in missing:
        raise GeometryError(
            "angles are not complete in one system",
            code="incomplete_geometry",
            mend="send primary and secondary angle, both relative to the patient or both to the equipment",
        )
    raise GeometryError(
        f"geometry incomplete, missing {', '.join(missing)}",
        code="incomplete_geometry",
        mend="send the missing keys or a projection matrix",
    )


def _from_matrix(xray: XRayMetadata, rows: int, columns: int, reference: PatientReference) -> ToldGeometry:
    matrix = np.array(xray.projection_matrix, dtype=np.float64).reshape(3, 4)
    # The scale is the sender's to choose, also where products of such numbers would leave the range of a double.
    matrix /= float(np.abs(matrix).max()) or 1.0
    shift_mm = table_shift(xray, reference)
    if shift_mm is not None:
        matrix = pixel_from_patient_after_shift(matrix, shift_mm)
    angles = _angles_beside(xray)
    camera: F64 | None = None
    # A matrix has the crop in it, so beside one an unknown principal point leaves only the angles to compare.
    if angles and not missing_keys(xray, reference) and _principal_point_is_known(xray, rows, columns):
        camera = _from_angles(xray, rows, columns, reference).pixel_from_patient
    return ToldGeometry(source="metadata_matrix", pixel_from_patient=matrix, told_angles_deg=angles, told_camera=camera)


def _angles_beside(xray: XRayMetadata) -> tuple[float, float] | None:
    """Complete patient-related angles told beside a matrix or transforms, which must show the same pose."""
    if has_patient_angles(xray) or (has_equipment_angles(xray) and xray.patient_position):
        return patient_angles(xray)[:2]
    return None


def _from_angles(xray: XRayMetadata, rows: int, columns: int, reference: PatientReference) -> ToldGeometry:
    assert xray.source_to_detector_mm is not None
    assert xray.source_to_isocenter_mm is not None
    assert xray.imager_pixel_spacing_mm is not None
    primary, secondary, rotation = patient_angles(xray)
    pitch_row, pitch_column = xray.imager_pixel_spacing_mm
    detector = detector_of_picture(
        rows,
        columns,
        pitch_row_mm=pitch_row,
        pitch_column_mm=pitch_column,
        principal_point_px=xray.isocenter_projection_px,
        fov_rotation_deg=xray.fov_rotation_deg or 0,
        fov_flip=bool(xray.fov_flip),
    )
    if not _principal_point_is_known(xray, rows, columns):
        raise GeometryError(
            f"XRay.CollimatorPx is not inside the picture of {columns} x {rows}: the picture was cropped, and where "
            "the isocentre projects is unknown",
            code="principal_point_unknown",
            mend="send XRay.IsocenterProjectionPx in pixels of the cropped picture",
        )
    camera = ConeBeamCamera(
        pose=CArmPose(
            primary_angle_deg=primary,
            secondary_angle_deg=secondary,
            source_to_detector_mm=xray.source_to_detector_mm,
            source_to_isocenter_mm=xray.source_to_isocenter_mm,
            detector_rotation_deg=rotation,
        ),
        detector=detector,
        isocenter_lps_mm=isocenter_now(xray, reference),
    )
    return ToldGeometry(
        source="metadata_angles",
        pixel_from_patient=camera.pixel_from_patient,
        source_to_detector_mm=xray.source_to_detector_mm,
    )


def _from_calibration(
    xray: XRayMetadata, rows: int, columns: int, reference: PatientReference, table: CalibrationTable
) -> ToldGeometry:
    assert xray.source_to_detector_mm is not None
    position = xray.patient_position or reference.patient_position
    if not position:
        raise GeometryError(
            "the calibration table needs the patient position",
            code="patient_position_unknown",
            mend="send XRay.PatientPosition",
        )
    primary, secondary, rotation = isocenter_from_positioner(*patient_angles(xray), position)
    pitch = xray.imager_pixel_spacing_mm
    matrix = table.pixel_from_equipment(
        primary_deg=primary,
        secondary_deg=secondary,
        detector_rotation_deg=rotation,
        source_to_detector_mm=xray.source_to_detector_mm,
        rows=rows,
        columns=columns,
        fov_rotation_deg=xray.fov_rotation_deg or 0,
        fov_flip=bool(xray.fov_flip),
        pitch_row_mm=pitch[0] if pitch else None,
    )
    covariance = table.covariance_at(
        primary_deg=primary,
        secondary_deg=secondary,
        detector_rotation_deg=rotation,
        source_to_detector_mm=xray.source_to_detector_mm,
        pitch_row_mm=pitch[0] if pitch else None,
    )
    to_lps = lps_from_equipment(position)
    matrix[:, :3] = matrix[:, :3] @ to_lps.T
    matrix[:, 3] -= matrix[:, :3] @ np.asarray(isocenter_now(xray, reference))
    calibration = None
    if covariance is not None:
        calibration = EquipmentUncertainty(
            covariance=tuple(covariance.ravel().tolist()), lps_from_equipment=tuple(to_lps.ravel().tolist())
        )
    return ToldGeometry(
        source="table",
        pixel_from_patient=matrix,
        source_to_detector_mm=xray.source_to_detector_mm,
        calibration=calibration,
    )


def _principal_point_is_known(xray: XRayMetadata, rows: int, columns: int) -> bool:
    """Told, or the picture's middle: which it is not for a picture that was cut to blades outside of it."""
    if xray.isocenter_projection_px is not None or xray.collimator_px is None:
        return True
    left, top, right, bottom = xray.collimator_px
    # The blades may be told before or after the turn: either size will do.
    width, height = (max(rows, columns),) * 2 if (xray.fov_rotation_deg or 0) % 180 else (columns, rows)
    inside_u = -_CROP_SLACK_PX <= left < right <= width + _CROP_SLACK_PX
    return inside_u and -_CROP_SLACK_PX <= top < bottom <= height + _CROP_SLACK_PX
