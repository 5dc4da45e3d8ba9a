"""Table chain: what a table move does to the patient's frame, position by position."""

import numpy as np
import pytest

from guidance.errors import GeometryError
from guidance.geometry.table import (
    isocenter_now_lps_mm,
    patient_shift_lps_mm,
    pixel_from_patient_after_shift,
    table_from_dicom,
)

# Table 10 mm along equipment +x (to the left of a supine head-first patient), 20 mm down, 30 mm to the head end:
# where that carries a patient, told in the patient's own axes.
CARRIED = {
    "HFS": (10, 20, 30),
    "HFP": (-10, -20, 30),
    "FFS": (-10, 20, -30),
    "FFP": (10, -20, -30),
    "HFDL": (20, -10, 30),  # on the left side: what goes down goes to the left
    "HFDR": (-20, 10, 30),
    "FFDL": (20, 10, -30),
    "FFDR": (-20, -10, -30),
}


@pytest.mark.parametrize(("position", "shift"), CARRIED.items())
def test_shift_in_the_patients_axes(position, shift):
    np.testing.assert_array_equal(patient_shift_lps_mm((110, 220, 330), (100, 200, 300), position), shift)


def test_only_the_change_counts():
    one = patient_shift_lps_mm((1, 2, 3), (0, 0, 0), "HFP")
    other = patient_shift_lps_mm((1001, -498, 3), (1000, -500, 0), "HFP")
    np.testing.assert_array_equal(one, other)


def test_a_table_that_did_not_move_needs_no_patient_position():
    np.testing.assert_array_equal(patient_shift_lps_mm((5, 6, 7), (5, 6, 7), ""), (0, 0, 0))
    with pytest.raises(GeometryError) as refusal:
        patient_shift_lps_mm((5, 6, 7), (5, 6, 8), "")
    assert refusal.value.code == "unknown_patient_position"


def test_isocentre_moves_back_in_the_patient():
    assert isocenter_now_lps_mm((1.0, 2.0, 3.0), np.array((10.0, 0.0, -5.0))) == (-9.0, 2.0, 8.0)


def test_matrix_and_isocentre_tell_the_same_move():
    """A matrix of the CBCT's table, moved, is the matrix of the moved isocentre."""
    rng = np.random.default_rng(7)
    at_origin = rng.normal(size=(3, 4))
    isocenter, shift = np.array((3.0, -4.0, 5.0)), np.array((10.0, 20.0, 30.0))

    def about(point):
        matrix = at_origin.copy()
        matrix[:, 3] -= matrix[:, :3] @ point
        return matrix

    np.testing.assert_allclose(
        pixel_from_patient_after_shift(about(isocenter), shift),
        about(np.array(isocenter_now_lps_mm(tuple(isocenter), shift))),
    )


@pytest.mark.parametrize(
    ("position", "expected"),
    [("HFS", (7, 9, 8)), ("HFP", (-7, 9, 8)), ("FFS", (-7, 9, -8)), ("FFP", (7, 9, -8))],
)
def test_words_of_dicom_are_told_from_the_tables_side(position, expected):
    # Longitudinal is patient left-right, lateral is head-feet, vertical is down positive.
    assert table_from_dicom(lateral_mm=8, longitudinal_mm=7, vertical_mm=9, patient_position=position) == expected


def test_words_of_dicom_for_a_patient_on_the_side_are_refused():
    with pytest.raises(GeometryError) as refusal:
        table_from_dicom(lateral_mm=8, longitudinal_mm=7, vertical_mm=9, patient_position="HFDL")
    assert refusal.value.code == "table_words_ambiguous"
