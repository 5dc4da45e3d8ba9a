"""Cone-beam camera: the design's golden table through every link, OpenCV as an outside judge, and back."""

import itertools
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guidance.errors import GeometryError
from guidance.geometry.camera import (
    ConeBeamCamera,
    check_plausible,
    decomposed,
    determinant,
    normalised,
    project,
    project_polyline,
    ray_through,
    source_of,
)
from guidance.geometry.detector import Detector, cropped_from_pixel, picture_from_cropped, zoomed_from_pixel
from guidance.geometry.positioner import (
    PATIENT_POSITIONS,
    CArmPose,
    lps_from_equipment,
    positioner_axes,
    positioner_from_isocenter,
)

MARKERS_LPS_MM = np.array(((50.0, 0.0, 0.0), (0.0, 30.0, 0.0), (0.0, 0.0, 20.0)))
# Design section 3: SID 1200, SOD 750, 1024 x 1024, 0.3 mm, isocentre at the origin, head first supine, no roll.
GOLDEN_TABLE = {
    (0, 0): ((778.17, 511.50), (511.50, 511.50), (511.50, 404.83)),
    (30, 0): ((734.99, 511.50), (594.37, 511.50), (511.50, 404.83)),
    (-30, 0): ((750.40, 511.50), (428.63, 511.50), (511.50, 404.83)),
    (0, 20): ((778.17, 511.50), (511.50, 454.64), (511.50, 412.17)),
    (0, -20): ((778.17, 511.50), (511.50, 568.36), (511.50, 410.34)),
    (90, 0): ((511.50, 511.50), (671.50, 511.50), (511.50, 404.83)),
    (30, 20): ((735.43, 555.72), (594.19, 462.51), (511.50, 412.17)),
}
# The table's numbers are rounded to 0.01 px.
TABLE_PX = 0.0051


def camera(
    primary=0.0, secondary=0.0, rotation=0.0, detector=None, isocenter=(0.0, 0.0, 0.0), **pose
) -> ConeBeamCamera:
    return ConeBeamCamera(
        pose=CArmPose(
            primary_angle_deg=primary,
            secondary_angle_deg=secondary,
            source_to_detector_mm=pose.get("sid", 1200.0),
            source_to_isocenter_mm=pose.get("sod", 750.0),
            detector_rotation_deg=rotation,
        ),
        detector=detector or Detector(rows=1024, columns=1024, pitch_row_mm=0.3, pitch_column_mm=0.3),
        isocenter_lps_mm=isocenter,
    )


@pytest.mark.parametrize("angles", GOLDEN_TABLE)
def test_golden_table(angles):
    found = project(MARKERS_LPS_MM, camera(*angles).pixel_from_patient)
    np.testing.assert_allclose(found[:, :2], GOLDEN_TABLE[angles], atol=TABLE_PX)


def test_golden_detector_rotation():
    """Design section 3: at 0/0 and +90 the first marker goes to 511.50, 778.17, the third to 618.17, 511.50."""
    found = project(MARKERS_LPS_MM, camera(rotation=90.0).pixel_from_patient)[:, :2]
    np.testing.assert_allclose(found[0], (511.50, 778.17), atol=TABLE_PX)
    np.testing.assert_allclose(found[2], (618.17, 511.50), atol=TABLE_PX)


ZOOMS = (1.0, 2.0, 0.5)
CROPS = ((0, 0, 1024, 1024), (100, 40, 700, 900))  # first row, first column, rows, columns of the whole detector
TURNS = [(rotation, flip) for rotation in (0, 90, 180, 270) for flip in (False, True)]


@pytest.mark.parametrize("angles", GOLDEN_TABLE)
def test_golden_table_through_zoom_crop_turn_and_flip(angles):
    """The table's pixels, carried by what NumPy does to a picture, are the camera's of that picture."""
    for zoom, (row, column, rows, columns), (rotation, flip) in itertools.product(ZOOMS, CROPS, TURNS):
        zoomed = zoomed_from_pixel(zoom, zoom)
        row, column, rows, columns = (int(value * zoom) for value in (row, column, rows, columns))
        moved = picture_from_cropped(rows, columns, rotation, flip) @ cropped_from_pixel(row, column) @ zoomed
        expected = np.array([moved @ (u, v, 1.0) for u, v in GOLDEN_TABLE[angles]])[:, :2]
        centre = cropped_from_pixel(row, column) @ zoomed @ (511.5, 511.5, 1.0)
        detector = Detector(
            rows=rows,
            columns=columns,
            pitch_row_mm=0.3 / zoom,
            pitch_column_mm=0.3 / zoom,
            principal_point_px=(centre[0], centre[1]),
            fov_rotation_deg=rotation,
            fov_flip=flip,
        )
        matrix = camera(*angles, detector=detector).pixel_from_patient
        np.testing.assert_allclose(project(MARKERS_LPS_MM, matrix)[:, :2], expected, atol=TABLE_PX * zoom)
        assert (determinant(matrix) > 0.0) is flip


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
@pytest.mark.parametrize("angles", GOLDEN_TABLE)
def test_golden_table_for_every_patient_position(angles, position):
    """A phantom on the table, seen at equipment-related angles: the picture does not care how it is called.

    Three markers sit where a supine head-first patient's would; told in the frame of a patient who lies otherwise
    they have other coordinates, but the same gantry must show them at the same pixels.
    """
    markers = MARKERS_LPS_MM @ lps_from_equipment(position).T
    primary, secondary, rotation = positioner_from_isocenter(*angles, 0.0, position)
    found = project(markers, camera(primary, secondary, rotation).pixel_from_patient)
    np.testing.assert_allclose(found[:, :2], GOLDEN_TABLE[angles], atol=TABLE_PX)


def test_isocentre_moves_everything_with_it():
    moved = (12.0, -7.0, 33.0)
    found = project(MARKERS_LPS_MM + moved, camera(30, 20, isocenter=moved).pixel_from_patient)
    np.testing.assert_allclose(found[:, :2], GOLDEN_TABLE[30, 20], atol=TABLE_PX)


def test_depth_is_mm_along_the_central_ray():
    matrix = camera(30, 20).pixel_from_patient
    toward_source = positioner_axes(30, 20)[1]
    depths = project(np.array([0 * toward_source, 40 * toward_source, -60 * toward_source]), matrix)[:, 2]
    np.testing.assert_allclose(depths, (750.0, 710.0, 810.0))


def test_magnification_is_what_a_ruler_shows():
    view = camera(0, 0)
    for y in (-100.0, 0.0, 80.0):
        ends = project(np.array(((-5.0, y, 0.0), (5.0, y, 0.0))), view.pixel_from_patient)
        assert (ends[1, 0] - ends[0, 0]) * 0.3 == pytest.approx(10.0 * view.magnification(ends[0, 2]))


poses = st.tuples(st.floats(-180, 180), st.floats(-85, 85), st.floats(-180, 180))
points = st.tuples(*[st.floats(-150, 150)] * 3)
detectors = st.builds(
    Detector,
    rows=st.integers(200, 2048),
    columns=st.integers(200, 2048),
    pitch_row_mm=st.floats(0.1, 0.45),
    pitch_column_mm=st.floats(0.1, 0.45),
    principal_point_px=st.none() | st.tuples(st.floats(-500, 2000), st.floats(-500, 2000)),
    fov_rotation_deg=st.sampled_from((0, 90, 180, 270)),
    fov_flip=st.booleans(),
)


@given(poses, points, st.floats(900, 1500), st.floats(600, 850))
def test_opencv_projects_the_same(pose, isocenter, sid, sod):
    """cv2.projectPoints has y down and z away from the camera, so it takes Xp, Zp, -Yp and a negative fy."""
    detector = Detector(
        rows=800, columns=1000, pitch_row_mm=0.2, pitch_column_mm=0.25, principal_point_px=(450.0, 380.0)
    )
    matrix = camera(*pose, detector=detector, isocenter=isocenter, sid=sid, sod=sod).pixel_from_patient
    cloud = np.array(isocenter) + np.random.default_rng(3).uniform(-150, 150, (40, 3))
    axes = positioner_axes(*pose)
    rotation = np.array((axes[0], axes[2], -axes[1]))
    translation = -rotation @ (np.array(isocenter) + sod * axes[1])
    intrinsics = np.array(((sid / 0.25, 0, 450.0), (0, -sid / 0.2, 380.0), (0, 0, 1.0)))
    expected, _ = cv2.projectPoints(cloud, cv2.Rodrigues(rotation)[0], translation, intrinsics, np.zeros(4))
    # Rodrigues vectors near a half turn are good to some 1e-9 only.
    np.testing.assert_allclose(project(cloud, matrix)[:, :2], expected[:, 0], atol=1e-4)


@given(poses, points, detectors)
def test_project_and_back_through_the_ray(pose, point, detector):
    matrix = camera(*pose, detector=detector).pixel_from_patient
    (u, v, w) = project(np.array([point]), matrix)[0]
    source, direction = ray_through((u, v), matrix)
    np.testing.assert_allclose(source, source_of(matrix))
    along = (np.array(point) - source) @ direction
    assert along >= w - 1e-9 > 0.0
    np.testing.assert_allclose(source + along * direction, point, atol=1e-7)


@given(poses, points, detectors)
def test_decomposition_and_back(pose, isocenter, detector):
    view = camera(*pose, detector=detector, isocenter=isocenter)
    matrix = view.pixel_from_patient
    parts = decomposed(matrix)
    np.testing.assert_allclose(parts.pixel_from_patient, matrix, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(parts.source_lps_mm, view.source_lps_mm, atol=1e-7)
    np.testing.assert_allclose(parts.axes @ parts.axes.T, np.eye(3), atol=1e-12)
    assert parts.handedness == (1 if detector.fov_flip else -1) == round(np.linalg.det(parts.axes))
    turned = detector.fov_rotation_deg in (90, 270)
    pitch_u = detector.pitch_row_mm if turned else detector.pitch_column_mm
    pitch_v = detector.pitch_column_mm if turned else detector.pitch_row_mm
    assert parts.focal_u_px == pytest.approx(1200.0 / pitch_u)
    assert parts.focal_v_px == pytest.approx(1200.0 / pitch_v)
    assert parts.pitch_ratio == pytest.approx(pitch_v / pitch_u)
    assert parts.skew_px == pytest.approx(0.0, abs=1e-6)
    expected = picture_from_cropped(detector.rows, detector.columns, detector.fov_rotation_deg, detector.fov_flip) @ (
        *detector.principal_point_or_middle_px,
        1.0,
    )
    np.testing.assert_allclose(parts.principal_point_px, expected[:2], atol=1e-6)


@given(poses, points, detectors, st.floats(-12, 12), st.booleans())
def test_scale_and_sign_are_free(pose, isocenter, detector, exponent, negative):
    matrix = camera(*pose, detector=detector, isocenter=isocenter).pixel_from_patient
    scale = 10.0**exponent * (-1.0 if negative else 1.0)
    np.testing.assert_allclose(normalised(scale * matrix, np.array(isocenter)), matrix, rtol=1e-9, atol=1e-7)


def test_sign_by_the_determinant_would_hide_a_mirrored_picture():
    """P and -P give the same pixels but opposite determinants: only a point in front of the source decides."""
    right = camera(20, 10).pixel_from_patient
    mirrored = np.diag((-1.0, 1.0, 1.0)) @ right
    mirrored[0] += 1023.0 * mirrored[2]
    for matrix, sign in ((right, -1), (-right, -1), (mirrored, 1), (-mirrored, 1)):
        assert math.copysign(1, determinant(normalised(matrix, np.zeros(3)))) == sign


@given(poses, points, points, st.sampled_from(PATIENT_POSITIONS))
def test_a_turned_patient_gives_the_same_picture(pose, point, isocenter, position):
    """Call the same scene by another patient's axes: same pixels, same depth."""
    turn = lps_from_equipment(position)
    here = project(np.array([point]), camera(*pose, isocenter=isocenter).pixel_from_patient)
    there_pose = positioner_from_isocenter(*pose, position)
    there = project(np.array([turn @ point]), camera(*there_pose, isocenter=tuple(turn @ isocenter)).pixel_from_patient)
    np.testing.assert_allclose(there, here, atol=1e-6)


def test_behind_the_source_has_no_pixel():
    found = project(np.array(((0.0, 749.0, 0.0), (0.0, 750.0, 0.0), (3.0, 751.0, 0.0))), camera().pixel_from_patient)
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1:, :2]).all()
    np.testing.assert_allclose(found[1:, 2], (0.0, -1.0))


def test_lines_are_cut_where_they_pass_the_source():
    matrix = camera().pixel_from_patient
    line = np.array(((10.0, 0.0, 0.0), (10.0, 1000.0, 0.0), (20.0, 1000.0, 0.0), (20.0, 0.0, 0.0), (20.0, -50.0, 0.0)))
    first, second = project_polyline(line, matrix, nearest_mm=2.0)
    np.testing.assert_allclose(first, project(np.array(((10.0, 0.0, 0.0), (10.0, 748.0, 0.0))), matrix)[:, :2])
    np.testing.assert_allclose(
        second, project(np.array(((20.0, 748.0, 0.0), (20.0, 0.0, 0.0), (20.0, -50.0, 0.0))), matrix)[:, :2]
    )
    assert project_polyline(line[1:3], matrix) == []
    (whole,) = project_polyline(line[3:], matrix)
    assert whole.shape == (2, 2)


@pytest.mark.parametrize(
    ("matrix", "code"),
    [
        (np.full((3, 4), np.nan), "not_finite"),
        (np.eye(4), "not_finite"),
        (np.zeros((3, 4)), "not_a_projection"),
        (np.array(((1.0, 0, 0, 0), (0, 1, 0, 0), (0, 0, 0, 1))), "not_a_projection"),  # parallel beam
        (np.array(((1.0, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0))), "not_a_projection"),  # volume in the source's plane
    ],
)
def test_what_no_cone_beam_is(matrix, code):
    with pytest.raises(GeometryError) as refusal:
        normalised(matrix, np.zeros(3))
    assert refusal.value.code == code


def test_a_singular_matrix_has_no_source():
    matrix = np.array(((4000.0, 0, 0, 1), (8000.0, 0, 0, 2), (0, 0, 1.0, 750)))
    with pytest.raises(GeometryError) as refusal:
        decomposed(matrix)
    assert refusal.value.code == "not_a_projection"


@pytest.mark.parametrize(
    "intrinsics", [np.diag((4000.0, 500.0, 1.0)), np.array(((4000.0, 900, 0), (0, 4000, 0), (0, 0, 1)))]
)
def test_pixels_that_no_detector_has(intrinsics):
    axes = np.array(((1.0, 0, 0, 0), (0, 0, -1.0, 0), (0, -1.0, 0, 750.0)))
    with pytest.raises(GeometryError) as refusal:
        check_plausible(decomposed(intrinsics @ axes))
    assert refusal.value.code == "not_a_projection"


@settings(max_examples=30)
@given(st.lists(st.floats(-1e3, 1e3), min_size=12, max_size=12))
def test_any_twelve_numbers_are_taken_apart_or_refused(numbers):
    matrix = np.array(numbers).reshape(3, 4)
    try:
        parts = decomposed(normalised(matrix, np.array((5.0, 6.0, 7.0))))
    except GeometryError:
        return
    assert np.isfinite(parts.source_lps_mm).all()
    found = project(np.array(((5.0, 6.0, 7.0),)), parts.pixel_from_patient)[0]
    homogeneous = matrix @ (5.0, 6.0, 7.0, 1.0)
    np.testing.assert_allclose(found[:2], homogeneous[:2] / homogeneous[2], rtol=1e-4, atol=1e-3)
