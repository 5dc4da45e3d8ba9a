"""What a stream tells of its geometry, put together: metadata, else paired transforms, else the calibration table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from guidance.errors import GeometryError
from guidance.geometry.calibration import CalibrationTable
from guidance.geometry.camera import ConeBeamCamera
from guidance.geometry.detector import detector_of_picture
from guidance.geometry.metadata import XRayMetadata
from guidance.geometry.paired import PairedTransforms, projection_of_transforms
from guidance.geometry.positioner import (
    CArmPose,
    isocenter_from_positioner,
    lps_from_equipment,
    positioner_axes,
    positioner_from_isocenter,
)
from guidance.geometry.table import isocenter_now_lps_mm, patient_shift_lps_mm, pixel_from_patient_after_shift
from guidance.messages import F64, CbctVolume, Vector3

# Angles told twice, in both systems: a rounding of 0.1 degrees each and a patient not quite straight on the table.
_SAME_ANGLE_COSINE = 0.99985  # 1 degree
# Blades that lie this far outside the picture were cut off with it.
_CROP_SLACK_PX = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientReference:
    """What the CBCT's own objects say about where the patient was; "" and None where they say nothing."""

    patient_position: str = ""
    table_at_cbct_mm: Vector3 | None = None
    isocenter_lps_mm: Vector3 | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ToldGeometry:
    """A projection as told, for the table as it is now; not judged yet.

    Attributes:
        source: `metadata_matrix`, `metadata_angles`, `transforms` or `table`.
        pixel_from_patient: (3, 4), patient LPS mm -> pixel as sent; w in mm along the central ray, but for
            `metadata_matrix`, whose scale and sign are the sender's.
        source_to_detector_mm: None where it is not told (a matrix).
        told_angles_deg: patient-related angles told next to a matrix; None if there are none.
        told_camera: the complete angle form next to a matrix, as (3, 4); None if it is not complete.
    """

    source: Literal["metadata_matrix", "metadata_angles", "transforms", "table"]
    pixel_from_patient: F64
    source_to_detector_mm: float | None = None
    told_angles_deg: tuple[float, float] | None = None
    told_camera: F64 | None = None


def reference_of(volume: CbctVolume | None) -> PatientReference:
    """What a volume says about patient and table."""
    if volume is None:
        return PatientReference()
    return PatientReference(
        patient_position=volume.patient_position,
        table_at_cbct_mm=volume.table_at_cbct_mm,
        isocenter_lps_mm=volume.isocenter_lps_mm,
    )


def missing_keys(xray: XRayMetadata, reference: PatientReference) -> list[str]:
    """Keys that the angle form still needs; [] where it is complete."""
    missing = []
    if not _has_equipment_angles(xray) and not _has_patient_angles(xray):
        missing += ["XRay.PrimaryAngleDeg", "XRay.SecondaryAngleDeg"]
    elif not _has_patient_angles(xray) and not xray.patient_position:
        missing.append("XRay.PatientPosition")
    if xray.source_to_detector_mm is None:
        missing.append("XRay.SourceToDetectorMm")
    if xray.source_to_isocenter_mm is None:
        missing.append("XRay.SourceToIsocenterMm")
    if xray.imager_pixel_spacing_mm is None:
        missing.append("XRay.ImagerPixelSpacingMm")
    if not _has_isocenter(xray, reference):
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
    if xray.projection_matrix is not None:
        return _from_matrix(xray, rows, columns, reference)
    missing = missing_keys(xray, reference)
    if not missing:
        return _from_angles(xray, rows, columns, reference)
    if transforms is not None:
        matrix, distance_mm = projection_of_transforms(transforms, pixel_pitch_mm, rows, columns, frame=transform_frame)
        return ToldGeometry(source="transforms", pixel_from_patient=matrix, source_to_detector_mm=distance_mm)
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
    shift_mm = _shift(xray, reference)
    if shift_mm is not None:
        matrix = pixel_from_patient_after_shift(matrix, shift_mm)
    angles: tuple[float, float] | None = None
    camera: F64 | None = None
    if _has_patient_angles(xray) or (_has_equipment_angles(xray) and xray.patient_position):
        angles = _patient_angles(xray)[:2]
        if not missing_keys(xray, reference):
            camera = _from_angles(xray, rows, columns, reference).pixel_from_patient
    return ToldGeometry(source="metadata_matrix", pixel_from_patient=matrix, told_angles_deg=angles, told_camera=camera)


def _from_angles(xray: XRayMetadata, rows: int, columns: int, reference: PatientReference) -> ToldGeometry:
    assert xray.source_to_detector_mm is not None
    assert xray.source_to_isocenter_mm is not None
    assert xray.imager_pixel_spacing_mm is not None
    primary, secondary, rotation = _patient_angles(xray)
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
    if xray.isocenter_projection_px is None:
        _check_not_cropped(xray, detector.rows, detector.columns)
    camera = ConeBeamCamera(
        pose=CArmPose(
            primary_angle_deg=primary,
            secondary_angle_deg=secondary,
            source_to_detector_mm=xray.source_to_detector_mm,
            source_to_isocenter_mm=xray.source_to_isocenter_mm,
            detector_rotation_deg=rotation,
        ),
        detector=detector,
        isocenter_lps_mm=_isocenter_now(xray, reference),
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
    primary, secondary, rotation = isocenter_from_positioner(*_patient_angles(xray), position)
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
    matrix[:, :3] = matrix[:, :3] @ lps_from_equipment(position).T
    matrix[:, 3] -= matrix[:, :3] @ np.asarray(_isocenter_now(xray, reference))
    return ToldGeometry(source="table", pixel_from_patient=matrix, source_to_detector_mm=xray.source_to_detector_mm)


def _has_patient_angles(xray: XRayMetadata) -> bool:
    return xray.primary_angle_deg is not None and xray.secondary_angle_deg is not None


def _has_equipment_angles(xray: XRayMetadata) -> bool:
    return xray.isocenter_primary_angle_deg is not None and xray.isocenter_secondary_angle_deg is not None


def _patient_angles(xray: XRayMetadata) -> tuple[float, float, float]:
    """Primary, secondary and detector rotation relative to the patient; both systems must agree where both are told."""
    rotation = xray.detector_rotation_deg or 0.0
    converted: tuple[float, float, float] | None = None
    if xray.isocenter_primary_angle_deg is not None and xray.isocenter_secondary_angle_deg is not None:
        if xray.patient_position:
            converted = positioner_from_isocenter(
                xray.isocenter_primary_angle_deg, xray.isocenter_secondary_angle_deg, rotation, xray.patient_position
            )
        elif not _has_patient_angles(xray):
            raise GeometryError(
                "equipment-related angles without XRay.PatientPosition",
                code="incomplete_geometry",
                mend="send XRay.PatientPosition",
            )
    if xray.primary_angle_deg is None or xray.secondary_angle_deg is None:
        if converted is None:
            raise GeometryError("angles are not complete in one system", code="incomplete_geometry")
        return converted
    told = (xray.primary_angle_deg, xray.secondary_angle_deg, rotation)
    if converted is not None:
        cosine = float(positioner_axes(told[0], told[1])[1] @ positioner_axes(converted[0], converted[1])[1])
        if cosine < _SAME_ANGLE_COSINE:
            raise GeometryError(
                f"angles relative to the patient ({told[0]:g}, {told[1]:g}) and to the equipment "
                f"({converted[0]:g}, {converted[1]:g} for {xray.patient_position}) disagree",
                code="contradictory_angles",
                mend="check the patient position that the equipment was told",
            )
    return told


def _has_isocenter(xray: XRayMetadata, reference: PatientReference) -> bool:
    # The CBCT's isocentre is true for the CBCT's table only, so it needs a word on where the table is now.
    return xray.isocenter_lps_mm is not None or (reference.isocenter_lps_mm is not None and xray.table_mm is not None)


def _isocenter_now(xray: XRayMetadata, reference: PatientReference) -> Vector3:
    told = xray.isocenter_lps_mm or reference.isocenter_lps_mm
    assert told is not None
    shift_mm = _shift(xray, reference)
    return told if shift_mm is None else isocenter_now_lps_mm(told, shift_mm)


def _shift(xray: XRayMetadata, reference: PatientReference) -> F64 | None:
    """How far the table carried the patient since the CBCT, LPS; None where it is not told or did not move."""
    if xray.table_mm is None:
        return None
    at_cbct_mm = xray.table_at_cbct_mm or reference.table_at_cbct_mm
    if at_cbct_mm is None:
        raise GeometryError(
            "table reference unknown: the table's position is told, not where it was at the CBCT",
            code="table_reference_unknown",
            mend="send XRay.TableAtCbctMm",
        )
    if xray.table_mm == at_cbct_mm:
        return None
    position = xray.patient_position or reference.patient_position
    if not position:
        raise GeometryError(
            "patient position unknown: the table has moved and nothing says how the patient lies on it",
            code="patient_position_unknown",
            mend="send XRay.PatientPosition",
        )
    return patient_shift_lps_mm(xray.table_mm, at_cbct_mm, position)


def _check_not_cropped(xray: XRayMetadata, rows: int, columns: int) -> None:
    """Without a told principal point it is the picture's middle, which is wrong for a picture cut to its blades."""
    if xray.collimator_px is None:
        return
    left, top, right, bottom = xray.collimator_px
    # The blades may be told before or after the turn: either size will do.
    width, height = (max(rows, columns),) * 2 if (xray.fov_rotation_deg or 0) % 180 else (columns, rows)
    if min(left, top) < -_CROP_SLACK_PX or right > width + _CROP_SLACK_PX or bottom > height + _CROP_SLACK_PX:
        raise GeometryError(
            f"XRay.CollimatorPx {left:g} {top:g} {right:g} {bottom:g} lies outside the picture of {columns} x {rows}: "
            "it was cropped and the principal point is unknown",
            code="principal_point_unknown",
            mend="send XRay.IsocenterProjectionPx in pixels of the cropped picture",
        )
