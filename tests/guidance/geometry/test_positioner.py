"""Positioner angles: DICOM's words case by case, for every patient position."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.errors import GeometryError
from guidance.geometry.positioner import (
    PATIENT_POSITIONS,
    CArmPose,
    angles_of_direction,
    isocenter_from_positioner,
    lps_from_equipment,
    positioner_axes,
    positioner_from_isocenter,
    positioner_from_isocenter_angles,
    wrap_deg,
)

# Where a detector above the table looks from, by the words of PS3.3 C.8.7.5.1.2 (0/0: in front of the chest,
# +90: the patient's left) and C.7.3.1.1.2 (decubitus left: on the left side, so the right side is up).
DETECTOR_ABOVE_THE_TABLE = {
    "HFS": 0.0,
    "FFS": 0.0,
    "HFP": 180.0,
    "FFP": 180.0,
    "HFDL": -90.0,
    "FFDL": -90.0,
    "HFDR": 90.0,
    "FFDR": 90.0,
}
# Where the patient's left, back and head point in the room, told in words: equipment x is to the left of a supine
# head-first patient, y down, z to that patient's head.
LEFT_BACK_HEAD = {
    "HFS": ("+x", "down", "+z"),
    "HFP": ("-x", "up", "+z"),
    "FFS": ("-x", "down", "-z"),
    "FFP": ("+x", "up", "-z"),
    "HFDL": ("down", "-x", "+z"),
    "HFDR": ("up", "+x", "+z"),
    "FFDL": ("down", "+x", "-z"),
    "FFDR": ("up", "-x", "-z"),
}
DIRECTIONS = {
    "+x": (1, 0, 0),
    "-x": (-1, 0, 0),
    "down": (0, 1, 0),
    "up": (0, -1, 0),
    "+z": (0, 0, 1),
    "-z": (0, 0, -1),
}

positions = st.sampled_from(PATIENT_POSITIONS)
primaries = st.floats(-180, 180)
secondaries = st.floats(-90, 90)


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_where_the_patient_lies_in_the_room(position):
    left, back, head = (np.array(DIRECTIONS[word]) for word in LEFT_BACK_HEAD[position])
    lps = lps_from_equipment(position)
    np.testing.assert_array_equal(lps @ left, (1, 0, 0))
    np.testing.assert_array_equal(lps @ back, (0, 1, 0))
    np.testing.assert_array_equal(lps @ head, (0, 0, 1))
    assert np.linalg.det(lps) == pytest.approx(1.0)


def test_all_eight_positions_are_different():
    assert len(PATIENT_POSITIONS) == 8
    assert len({lps_from_equipment(position).tobytes() for position in PATIENT_POSITIONS}) == 8


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_detector_above_the_table(position):
    primary, secondary = positioner_from_isocenter_angles(0.0, 0.0, position)
    assert (primary, secondary) == (DETECTOR_ABOVE_THE_TABLE[position], 0.0)


def test_prone_patient_under_a_detector_above_the_table_is_at_plus_or_minus_180():
    primary, _ = positioner_from_isocenter_angles(0.0, 0.0, "HFP")
    assert abs(primary) == 180.0


@pytest.mark.parametrize(
    ("position", "isocenter_angles", "word"),
    [
        # The gantry turned to the side of a supine patient's left sees a prone patient's right: +90 becomes -90 (RAO).
        ("HFS", (90.0, 0.0), (90.0, 0.0)),
        ("HFP", (90.0, 0.0), (-90.0, 0.0)),
        ("FFS", (90.0, 0.0), (-90.0, 0.0)),
        ("FFP", (90.0, 0.0), (90.0, 0.0)),
        # Tilted to the table's head end: cranial for head first, caudal for feet first.
        ("HFS", (0.0, 25.0), (0.0, 25.0)),
        ("HFP", (0.0, 25.0), (180.0, 25.0)),
        ("FFS", (0.0, 25.0), (0.0, -25.0)),
        ("FFP", (0.0, 25.0), (180.0, -25.0)),
        ("FFDR", (0.0, 25.0), (90.0, -25.0)),
        # Under the table.
        ("HFS", (180.0, 0.0), (180.0, 0.0)),
        ("HFP", (180.0, 0.0), (0.0, 0.0)),
        ("HFP", (-150.0, 10.0), (30.0, 10.0)),
    ],
)
def test_equipment_angles_in_words(position, isocenter_angles, word):
    assert positioner_from_isocenter_angles(*isocenter_angles, position) == pytest.approx(word)


def test_zero_faces_the_chest_and_ninety_the_left_hand():
    np.testing.assert_allclose(-positioner_axes(0, 0)[1], (0, -1, 0), atol=1e-15)
    np.testing.assert_allclose(-positioner_axes(90, 0)[1], (1, 0, 0), atol=1e-15)
    np.testing.assert_allclose(-positioner_axes(-90, 0)[1], (-1, 0, 0), atol=1e-15)
    np.testing.assert_allclose(-positioner_axes(0, 90)[1], (0, 0, 1), atol=1e-15)


@given(primaries, st.floats(-180, 180), st.floats(-180, 180), positions)
def test_conversion_is_the_same_gantry_in_the_room(primary, secondary, rotation, position):
    """The converted angles' axes must be the equipment axes turned into the patient, picture rows and all."""
    in_room = positioner_axes(primary, secondary, rotation)
    converted = positioner_from_isocenter(primary, secondary, rotation, position)
    assert -180.0 < converted[0] <= 180.0
    assert -90.0 <= converted[1] <= 90.0
    np.testing.assert_allclose(positioner_axes(*converted), in_room @ lps_from_equipment(position).T, atol=1e-12)


@given(primaries, secondaries, st.floats(-180, 180), positions)
def test_conversion_and_back(primary, secondary, rotation, position):
    there = isocenter_from_positioner(primary, secondary, rotation, position)
    back = positioner_from_isocenter(*there, position)
    np.testing.assert_allclose(positioner_axes(*back), positioner_axes(primary, secondary, rotation), atol=1e-12)


@given(primaries, secondaries, st.floats(-360, 360))
def test_axes_are_a_rotation(primary, secondary, rotation):
    axes = positioner_axes(primary, secondary, rotation)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1.0)


@given(primaries, st.floats(-89.9, 89.9))
def test_angles_of_a_direction(primary, secondary):
    found = angles_of_direction(-7.5 * positioner_axes(primary, secondary)[1])
    np.testing.assert_allclose(positioner_axes(*found), positioner_axes(primary, secondary), atol=1e-9)


@pytest.mark.parametrize("z", [-3.0, 3.0])
def test_direction_along_the_body_has_no_primary_angle(z):
    assert angles_of_direction(np.array((0.0, 0.0, z))) == (0.0, math.copysign(90.0, z))


@given(st.floats(-1e4, 1e4))
def test_wrapping_keeps_the_angle(angle):
    wrapped = wrap_deg(angle)
    assert -180.0 < wrapped <= 180.0
    assert math.remainder(wrapped - angle, 360.0) == pytest.approx(0.0, abs=1e-9)


POSE = {
    "primary_angle_deg": 0.0,
    "secondary_angle_deg": 0.0,
    "source_to_detector_mm": 1200.0,
    "source_to_isocenter_mm": 750.0,
}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"primary_angle_deg": 180.1}, "angle_out_of_range"),
        ({"primary_angle_deg": math.nan}, "not_finite"),
        ({"secondary_angle_deg": -90.1}, "angle_out_of_range"),
        ({"secondary_angle_deg": math.inf}, "not_finite"),
        ({"detector_rotation_deg": 361.0}, "angle_out_of_range"),
        ({"source_to_isocenter_mm": 1200.0}, "distance_out_of_range"),
        ({"source_to_isocenter_mm": 1300.0}, "distance_out_of_range"),
        ({"source_to_isocenter_mm": 0.0}, "distance_out_of_range"),
        ({"source_to_isocenter_mm": -750.0}, "distance_out_of_range"),
        ({"source_to_isocenter_mm": math.nan}, "distance_out_of_range"),
        ({"source_to_detector_mm": math.inf}, "distance_out_of_range"),
    ],
)
def test_impossible_poses_are_refused(change, code):
    with pytest.raises(GeometryError) as refusal:
        CArmPose(**{**POSE, **change})
    assert refusal.value.code == code


@pytest.mark.parametrize("position", ["", "HF", "hfs", "HFS ", "SUPINE"])
def test_unknown_positions_are_refused(position):
    for convert in (
        lambda: lps_from_equipment(position),
        lambda: positioner_from_isocenter_angles(0.0, 0.0, position),
        lambda: isocenter_from_positioner(0.0, 0.0, 0.0, position),
    ):
        with pytest.raises(GeometryError) as refusal:
            convert()
        assert refusal.value.code == "unknown_patient_position"


def test_equipment_angles_out_of_range_are_refused():
    for angles in ((181.0, 0.0), (0.0, -180.5)):
        with pytest.raises(GeometryError) as refusal:
            positioner_from_isocenter_angles(*angles, "HFS")
        assert refusal.value.code == "angle_out_of_range"
