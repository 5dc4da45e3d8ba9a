"""The simulator's own geometry against the design's golden table, turn by turn, and in every patient position."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from guidance.errors import ConfigError
from simulators.carm_metadata import equipment_angles, patient_angles
from simulators.gantry import PATIENT_POSITIONS, Gantry, lps_from_equipment

MARKERS = np.array([[50.0, 0.0, 0.0], [0.0, 30.0, 0.0], [0.0, 0.0, 20.0]])
GOLDEN = [  # design section 3
    (0, 0, [[778.17, 511.50], [511.50, 511.50], [511.50, 404.83]]),
    (30, 0, [[734.99, 511.50], [594.37, 511.50], [511.50, 404.83]]),
    (-30, 0, [[750.40, 511.50], [428.63, 511.50], [511.50, 404.83]]),
    (0, 20, [[778.17, 511.50], [511.50, 454.64], [511.50, 412.17]]),
    (0, -20, [[778.17, 511.50], [511.50, 568.36], [511.50, 410.34]]),
    (90, 0, [[511.50, 511.50], [671.50, 511.50], [511.50, 404.83]]),
    (30, 20, [[735.43, 555.72], [594.19, 462.51], [511.50, 412.17]]),
]


def through_matrix(gantry: Gantry, points: np.ndarray) -> np.ndarray:
    uvw = points @ gantry.pixel_from_patient()[:, :3].T + gantry.pixel_from_patient()[:, 3]
    return uvw[:, :2] / uvw[:, 2:]


@pytest.mark.parametrize(("primary", "secondary", "pixels"), GOLDEN)
def test_golden_table(primary, secondary, pixels):
    gantry = Gantry(primary_deg=primary, secondary_deg=secondary)
    assert np.abs(gantry.project(MARKERS)[:, :2] - pixels).max() < 0.01
    assert np.abs(through_matrix(gantry, MARKERS) - pixels).max() < 0.01


def test_detector_rotation_turns_the_content_clockwise():
    pixels = Gantry(detector_rotation_deg=90).project(MARKERS)[:, :2]
    assert pixels[0] == pytest.approx((511.50, 778.17), abs=0.01)
    assert pixels[2] == pytest.approx((618.17, 511.50), abs=0.01)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", [False, True])
def test_turn_and_flip_move_pixels_as_numpy_turns_pictures(turn, flip):
    """The marker's pixel in the turned picture is where `rot90` and `fliplr` bring a dot drawn in the plain one."""
    plain = Gantry(crop_px=(100, 200, 700, 500))
    u, v = np.rint(plain.project(MARKERS[:1])[0, :2]).astype(int)
    picture = np.zeros(plain.size)
    picture[v, u] = 1.0
    picture = np.rot90(picture, -turn // 90)
    picture = np.fliplr(picture) if flip else picture
    turned = replace(plain, fov_rotation_deg=turn, fov_flip=flip)
    assert turned.size == picture.shape
    row, column = np.argwhere(picture)[0]
    assert turned.project(MARKERS[:1])[0, :2] == pytest.approx((column, row), abs=0.51)
    handedness = np.linalg.det(turned.pixel_from_patient()[:, :3])
    assert (handedness > 0.0) == flip


def test_zoom_magnifies_about_the_middle():
    u, v = Gantry().zoomed(2.0).project(MARKERS[:1])[0, :2]
    assert (u - 511.5, v) == pytest.approx((2.0 * 266.67, 511.5), abs=0.01)


def test_table_carries_the_patient():
    """Table 40 mm towards the head side: what lay 40 mm to the feet is now at the isocentre."""
    gantry = Gantry(table_mm=(0.0, 0.0, 40.0))
    assert gantry.project(np.array([[0.0, 0.0, -40.0]]))[0, :2] == pytest.approx((511.5, 511.5))
    prone = Gantry(table_mm=(25.0, 0.0, 0.0), patient_position="HFP")
    assert prone.project(np.array([[25.0, 0.0, 0.0]]))[0, :2] == pytest.approx((511.5, 511.5))


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_positions_are_rotations(position):
    matrix = lps_from_equipment(position)
    assert np.linalg.det(matrix) == pytest.approx(1.0)
    assert matrix @ matrix.T == pytest.approx(np.eye(3))


def test_a_prone_patient_under_a_detector_above_the_table_is_at_180():
    gantry = Gantry(angles="equipment", patient_position="HFP")
    primary, secondary, rotation = patient_angles(gantry)
    assert (abs(primary), secondary, rotation) == pytest.approx((180.0, 0.0, 0.0))


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_both_angle_systems_describe_the_same_picture(position):
    gantry = Gantry(
        angles="equipment", primary_deg=25, secondary_deg=-15, detector_rotation_deg=10, patient_position=position
    )
    primary, secondary, rotation = patient_angles(gantry)
    same = replace(
        gantry, angles="patient", primary_deg=primary, secondary_deg=secondary, detector_rotation_deg=rotation
    )
    assert same.project(MARKERS) == pytest.approx(gantry.project(MARKERS), abs=1e-6)
    assert equipment_angles(same) == pytest.approx((25.0, -15.0, 10.0))


def test_lps_from_picture_puts_pixels_on_their_rays():
    gantry = Gantry(primary_deg=20, secondary_deg=10, fov_rotation_deg=90, fov_flip=True, pitch_row_mm=0.25)
    matrix = gantry.lps_from_picture()
    column_mm, row_mm = gantry.picture_pitch_mm
    uv = np.array([[0.0, 0.0], [900.0, 100.0], [333.0, 777.0]])
    on_detector = (matrix @ np.column_stack([uv[:, 0] * column_mm, uv[:, 1] * row_mm, np.zeros(3), np.ones(3)]).T)[:3].T
    assert gantry.project(on_detector)[:, :2] == pytest.approx(uv, abs=1e-6)
    assert gantry.project(on_detector)[:, 2] == pytest.approx([gantry.source_to_detector_mm] * 3)


def test_an_unknown_position_is_named():
    with pytest.raises(ConfigError, match="HFX"):
        lps_from_equipment("HFX")
