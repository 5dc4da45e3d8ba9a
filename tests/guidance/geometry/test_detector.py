"""Detector links: what the 3x3 does to pixels is what NumPy does to the picture, on an asymmetric F."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.errors import GeometryError
from guidance.geometry.detector import (
    FOV_ROTATIONS_DEG,
    Detector,
    cropped_from_pixel,
    detector_of_picture,
    flipped_from_turned,
    picture_from_cropped,
    pixel_from_plane,
    turned_from_cropped,
    zoomed_from_pixel,
)


def picture_of_f(rows: int = 9, columns: int = 7) -> np.ndarray:
    """An F: no rotation or flip of it is the same picture."""
    picture = np.zeros((rows, columns), np.uint8)
    picture[1:8, 1] = 1  # stem
    picture[1, 1:6] = 2  # upper bar
    picture[4, 1:4] = 3  # lower bar
    return picture


def moved(picture: np.ndarray, transform: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Carry every pixel to where the transform says."""
    result = np.full(shape, 255, np.uint8)
    for (v, u), value in np.ndenumerate(picture):
        x, y, w = transform @ (u, v, 1.0)
        assert w == 1.0
        assert (x, y) == (round(x), round(y))
        result[int(y), int(x)] = value
    return result


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("rotation", FOV_ROTATIONS_DEG)
def test_turn_and_flip_of_an_f(rotation, flip):
    picture = picture_of_f()
    expected = np.rot90(picture, -rotation // 90)
    if flip:
        expected = np.fliplr(expected)
    transform = picture_from_cropped(*picture.shape, rotation, flip)
    np.testing.assert_array_equal(moved(picture, transform, expected.shape), expected)


def test_the_f_tells_all_eight_apart():
    seen = {
        moved(picture_of_f(9, 9), picture_from_cropped(9, 9, rotation, flip), (9, 9)).tobytes()
        for rotation in FOV_ROTATIONS_DEG
        for flip in (False, True)
    }
    assert len(seen) == 8


def test_rotation_is_clockwise_and_before_the_flip():
    # The upper left corner of a 90 degrees clockwise turn is upper right; flipped afterwards it is upper left.
    rows, columns = 9, 7
    np.testing.assert_array_equal(turned_from_cropped(rows, columns, 90) @ (0, 0, 1), (8, 0, 1))
    np.testing.assert_array_equal(picture_from_cropped(rows, columns, 90, True) @ (0, 0, 1), (0, 0, 1))
    np.testing.assert_array_equal(turned_from_cropped(rows, columns, 270) @ (0, 0, 1), (0, 6, 1))


def test_crop_of_an_f():
    picture = picture_of_f()
    cropped = picture[2:9, 1:7]
    transform = cropped_from_pixel(2, 1)
    for (v, u), value in np.ndenumerate(cropped):
        x, y, _ = np.linalg.inv(transform) @ (u, v, 1)
        assert picture[round(y), round(x)] == value


def test_zoom_keeps_the_edge_and_divides_the_pitch():
    transform = zoomed_from_pixel(2.0, 3.0)
    np.testing.assert_allclose(transform @ (-0.5, -0.5, 1), (-0.5, -0.5, 1))
    np.testing.assert_allclose(transform @ (9.5, 9.5, 1), (19.5, 29.5, 1))
    # 1024 pixels of 0.3 mm and 512 of 0.6 mm are the same detector.
    fine = Detector(rows=1024, columns=1024, pitch_row_mm=0.3, pitch_column_mm=0.3)
    coarse = Detector(rows=512, columns=512, pitch_row_mm=0.6, pitch_column_mm=0.6)
    np.testing.assert_allclose(zoomed_from_pixel(2, 2) @ coarse.picture_from_plane(), fine.picture_from_plane())


def test_plane_to_pixel_in_words():
    # Row pitch is the distance of rows, so it goes with v; x is to the right, y down.
    np.testing.assert_allclose(pixel_from_plane(0.5, 0.25, (10.0, 20.0)) @ (1.0, 1.0, 1.0), (14.0, 22.0, 1.0))


def test_default_principal_point_is_the_middle_of_the_pixel_centres():
    detector = Detector(rows=800, columns=1000, pitch_row_mm=0.3, pitch_column_mm=0.3)
    np.testing.assert_allclose(detector.picture_from_plane() @ (0, 0, 1), (499.5, 399.5, 1))


def test_collimation_only_moves_the_principal_point():
    whole = Detector(rows=1024, columns=1024, pitch_row_mm=0.3, pitch_column_mm=0.3)
    cropped = Detector(
        rows=600, columns=500, pitch_row_mm=0.3, pitch_column_mm=0.3, principal_point_px=(511.5 - 100, 511.5 - 50)
    )
    np.testing.assert_allclose(cropped_from_pixel(50, 100) @ whole.picture_from_plane(), cropped.picture_from_plane())


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("rotation", FOV_ROTATIONS_DEG)
def test_size_as_sent_and_before_the_turn(rotation, flip):
    before = Detector(
        rows=600, columns=800, pitch_row_mm=0.2, pitch_column_mm=0.3, fov_rotation_deg=rotation, fov_flip=flip
    )
    rows, columns = before.picture_size
    assert (rows, columns) == ((800, 600) if rotation in (90, 270) else (600, 800))
    after = detector_of_picture(
        rows, columns, pitch_row_mm=0.2, pitch_column_mm=0.3, fov_rotation_deg=rotation, fov_flip=flip
    )
    assert after == before
    # The middle stays the middle whatever the turn.
    np.testing.assert_allclose(after.picture_from_plane() @ (0, 0, 1), ((columns - 1) / 2, (rows - 1) / 2, 1))


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(FOV_ROTATIONS_DEG))
def test_four_turns_and_two_flips_are_none(rows, columns, rotation):
    transform = np.eye(3)
    size = (rows, columns)
    for _ in range(4):
        transform = turned_from_cropped(*size, rotation) @ transform
        size = size[::-1] if rotation in (90, 270) else size
    np.testing.assert_allclose(transform, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(flipped_from_turned(columns) @ flipped_from_turned(columns), np.eye(3))


GOOD = {"rows": 10, "columns": 10, "pitch_row_mm": 0.3, "pitch_column_mm": 0.3}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"rows": 0}, "bad_picture_size"),
        ({"columns": -1}, "bad_picture_size"),
        ({"pitch_row_mm": 0.0}, "bad_pixel_spacing"),
        ({"pitch_column_mm": float("nan")}, "bad_pixel_spacing"),
        ({"pitch_column_mm": float("inf")}, "bad_pixel_spacing"),
        ({"principal_point_px": (float("nan"), 0.0)}, "bad_principal_point"),
        ({"fov_rotation_deg": 45}, "bad_fov_rotation"),
        ({"fov_rotation_deg": -90}, "bad_fov_rotation"),
        ({"fov_rotation_deg": 360}, "bad_fov_rotation"),
    ],
)
def test_impossible_detectors_are_refused(change, code):
    with pytest.raises(GeometryError) as refusal:
        Detector(**{**GOOD, **change})
    assert refusal.value.code == code
