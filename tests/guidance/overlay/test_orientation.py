"""Sides of the patient from the matrix alone."""

import math

import pytest

from guidance.geometry.camera import ConeBeamCamera
from guidance.geometry.detector import Detector
from guidance.geometry.positioner import CArmPose
from guidance.overlay.orientation import orientation_marks


def marks(primary_deg, secondary_deg=0.0, roll_deg=0.0, scale=1.0):
    camera = ConeBeamCamera(
        pose=CArmPose(
            primary_angle_deg=primary_deg,
            secondary_angle_deg=secondary_deg,
            source_to_detector_mm=1200.0,
            source_to_isocenter_mm=750.0,
            detector_rotation_deg=roll_deg,
        ),
        detector=Detector(rows=1024, columns=1024, pitch_row_mm=0.3, pitch_column_mm=0.3),
    )
    matrix = tuple((scale * camera.pixel_from_patient).reshape(-1).tolist())
    return {mark.letter: mark.direction for mark in orientation_marks(matrix, 1024, 1024)}


def test_opposite_sides_point_opposite_ways_and_directions_are_units():
    found = marks(25, 15, 33)
    assert set(found) == {"L", "R", "H", "F"}
    for one, other in (("L", "R"), ("H", "F")):
        assert found[one] == pytest.approx([-part for part in found[other]])
        assert math.hypot(*found[one]) == pytest.approx(1.0)


@pytest.mark.parametrize("primary_deg", [90, 80, 75, -90, -101])
def test_left_and_right_are_left_out_along_the_view(primary_deg):
    assert set(marks(primary_deg)) == {"A", "P", "H", "F"}


def test_head_and_feet_are_left_out_along_the_view():
    assert set(marks(0, 90)) == {"L", "R", "A", "P"}


def test_a_roll_turns_the_marks_clockwise():
    # At 0/0 and +90 the design's first marker (left) goes down, the third (head) to the right.
    found = marks(0, 0, 90)
    assert found["L"] == pytest.approx((0.0, 1.0), abs=1e-9)
    assert found["H"] == pytest.approx((1.0, 0.0), abs=1e-9)


def test_the_matrix_scale_does_not_matter():
    assert marks(30, 20, scale=1e-3).keys() == marks(30, 20).keys()


def test_a_matrix_without_moves_has_no_marks():
    assert orientation_marks((0.0,) * 12, 512, 512) == ()
