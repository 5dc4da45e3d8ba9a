"""The table's link of the chain: how far it went since the CBCT, told in the patient's frame."""

from __future__ import annotations

import numpy as np

from guidance.errors import GeometryError
from guidance.geometry.positioner import lps_from_equipment
from guidance.messages import F64, Vector3


def table_from_dicom(
    *, lateral_mm: float, longitudinal_mm: float, vertical_mm: float, patient_position: str
) -> Vector3:
    """Table position in the equipment's axes from the words of DICOM's XA modules.

    Args:
        lateral_mm: Table Lateral Increment (0018,1136): towards the +90 deg secondary angle, the patient's head.
            The words are told from an operator at the table's side.
        longitudinal_mm: Table Longitudinal Increment (0018,1137): towards the +90 deg primary angle, the
            patient's left.
        vertical_mm: Table Vertical Increment (0018,1135): down positive, whatever the patient's position.
        patient_position: supine or prone; a positioner angle is told from the patient, so these directions are too.

    Returns:
        x, y, z in mm along the axes of design section 3 (zero as in the source: only differences mean anything).

    Raises:
        GeometryError: `unknown_patient_position`, or `table_words_ambiguous` for a patient on the side, whose
            left is up or down while the table's second horizontal direction has no word.

    Source: PS3.3 C.8.7.4.1.2, C.8.7.4.1.3.
    """
    left, _, head = lps_from_equipment(patient_position).tolist()
    if left[0] == 0.0:
        raise GeometryError(
            f"table words of DICOM's XA modules for a patient in {patient_position}",
            code="table_words_ambiguous",
            mend="give the table as x y z in the equipment's axes",
        )
    return (left[0] * longitudinal_mm, vertical_mm, head[2] * lateral_mm)


def patient_shift_lps_mm(table_mm: Vector3, table_at_cbct_mm: Vector3, patient_position: str) -> F64:
    """How far the table carried the patient since the CBCT, in the patient's axes.

    Args:
        table_mm, table_at_cbct_mm: table now and then, equipment axes, mm, the same zero.
        patient_position: what turns the equipment's axes into the patient's; "" is enough while nothing moved.

    Returns:
        (3,) float64: a patient point x is now where x + shift was.

    Raises:
        GeometryError: `unknown_patient_position` where the table moved and the position is none of the eight.
    """
    moved = np.subtract(table_mm, table_at_cbct_mm)
    if not moved.any():
        return np.zeros(3)
    shift: F64 = lps_from_equipment(patient_position) @ moved
    return shift


def isocenter_now_lps_mm(isocenter_at_cbct_lps_mm: Vector3, shift_lps_mm: F64) -> Vector3:
    """The isocentre stays in the room while the patient moves by `shift_lps_mm`: so it moves back in the patient."""
    x, y, z = np.subtract(isocenter_at_cbct_lps_mm, shift_lps_mm).tolist()
    return (x, y, z)


def pixel_from_patient_after_shift(pixel_from_patient_at_cbct: F64, shift_lps_mm: F64) -> F64:
    """(3, 4) true for the table now, from the one that is true for the table at the CBCT."""
    matrix = pixel_from_patient_at_cbct.copy()
    matrix[:, 3] += matrix[:, :3] @ shift_lps_mm
    return matrix
