"""Where the patient is told to be: angles, isocentre and table of a picture, in the patient's frame."""

from __future__ import annotations

from dataclasses import dataclass

from guidance.errors import GeometryError
from guidance.geometry.metadata import XRayMetadata
from guidance.geometry.positioner import positioner_axes, positioner_from_isocenter
from guidance.geometry.table import isocenter_now_lps_mm, patient_shift_lps_mm
from guidance.messages import F64, CbctVolume, Vector3

# Angles told twice, in both systems: a rounding of 0.1 degrees each and a patient not quite straight on the table.
_SAME_ANGLE_COSINE = 0.99985  # 1 degree


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientReference:
    """What the CBCT's own objects say about where the patient was; "" and None where they say nothing."""

    patient_position: str = ""
    table_at_cbct_mm: Vector3 | None = None
    isocenter_lps_mm: Vector3 | None = None


def reference_of(volume: CbctVolume | None) -> PatientReference:
    """What a volume says about patient and table."""
    if volume is None:
        return PatientReference()
    return PatientReference(
        patient_position=volume.patient_position,
        table_at_cbct_mm=volume.table_at_cbct_mm,
        isocenter_lps_mm=volume.isocenter_lps_mm,
    )


def has_patient_angles(xray: XRayMetadata) -> bool:
    """Whether both angles are told relative to the patient."""
    return xray.primary_angle_deg is not None and xray.secondary_angle_deg is not None


def has_equipment_angles(xray: XRayMetadata) -> bool:
    """Whether both angles are told relative to the equipment."""
    return xray.isocenter_primary_angle_deg is not None and xray.isocenter_secondary_angle_deg is not None


def patient_angles(xray: XRayMetadata) -> tuple[float, float, float]:
    """Primary, secondary and detector rotation relative to the patient.

    Raises:
        GeometryError: `incomplete_geometry` where no system is complete, or the equipment's without a patient
            position; `contradictory_angles` where both are told and disagree.
    """
    rotation = xray.detector_rotation_deg or 0.0
    converted: tuple[float, float, float] | None = None
    if xray.isocenter_primary_angle_deg is not None and xray.isocenter_secondary_angle_deg is not None:
        if xray.patient_position:
            converted = positioner_from_isocenter(
                xray.isocenter_primary_angle_deg, xray.isocenter_secondary_angle_deg, rotation, xray.patient_position
            )
            _check_same_angles(xray, converted)
        elif not has_patient_angles(xray):
            raise GeometryError(
                "equipment-related angles without XRay.PatientPosition",
                code="incomplete_geometry",
                mend="send XRay.PatientPosition",
            )
    if xray.primary_angle_deg is None or xray.secondary_angle_deg is None:
        if converted is None:
            raise GeometryError("angles are not complete in one system", code="incomplete_geometry")
        return converted
    return (xray.primary_angle_deg, xray.secondary_angle_deg, rotation)


def _check_same_angles(xray: XRayMetadata, converted: tuple[float, float, float]) -> None:
    """Whatever is told of the patient-related angles must be what the equipment-related ones say."""
    primary = converted[0] if xray.primary_angle_deg is None else xray.primary_angle_deg
    secondary = converted[1] if xray.secondary_angle_deg is None else xray.secondary_angle_deg
    # Compared as rays: near the poles and at +-180 the numbers differ and the view does not.
    cosine = float(positioner_axes(primary, secondary)[1] @ positioner_axes(converted[0], converted[1])[1])
    if cosine < _SAME_ANGLE_COSINE:
        raise GeometryError(
            f"angles relative to the patient ({primary:g}, {secondary:g}) and to the equipment "
            f"({converted[0]:g}, {converted[1]:g} for {xray.patient_position}) disagree",
            code="contradictory_angles",
            mend="check the patient position that the equipment was told",
        )


def has_isocenter(xray: XRayMetadata, reference: PatientReference) -> bool:
    """Whether the isocentre of this picture can be known."""
    # The CBCT's isocentre is true for the CBCT's table only, so it needs a word on where the table is now.
    return xray.isocenter_lps_mm is not None or (reference.isocenter_lps_mm is not None and xray.table_mm is not None)


def isocenter_now(xray: XRayMetadata, reference: PatientReference) -> Vector3:
    """Isocentre in the patient for this picture; call only where `has_isocenter`. Raises as `table_shift`."""
    told = xray.isocenter_lps_mm or reference.isocenter_lps_mm
    assert told is not None
    shift_mm = table_shift(xray, reference)
    return told if shift_mm is None else isocenter_now_lps_mm(told, shift_mm)


def table_shift(xray: XRayMetadata, reference: PatientReference) -> F64 | None:
    """How far the table carried the patient since the CBCT, LPS mm; None where it is not told or did not move.

    Raises:
        GeometryError: `table_reference_unknown`, or `patient_position_unknown` where it moved.
    """
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
