"""The suite's calibration table: read or refused by name, exact where calibrated, refused where not."""

import numpy as np
import pytest

from guidance.errors import ConfigError, GeometryError
from guidance.geometry.calibration import calibration_table_from_text
from guidance.geometry.camera import ConeBeamCamera, project
from guidance.geometry.detector import Detector
from guidance.geometry.positioner import CArmPose

HEADER = """
format = "guidance-calibration-table"
version = 1
suite = "Room 3"
rows = 1024
columns = 1024
"""
POINTS = np.array(((50.0, 0.0, 0.0), (0.0, 30.0, 0.0), (0.0, 0.0, 20.0), (-60.0, 40.0, -70.0)))


def nominal(primary, secondary, rotation=0.0, sid=1200.0) -> np.ndarray:
    return ConeBeamCamera(
        pose=CArmPose(
            primary_angle_deg=primary,
            secondary_angle_deg=secondary,
            source_to_detector_mm=sid,
            source_to_isocenter_mm=750.0,
            detector_rotation_deg=rotation,
        ),
        detector=Detector(rows=1024, columns=1024, pitch_row_mm=0.3, pitch_column_mm=0.3),
    ).pixel_from_patient


def view_text(primary, secondary, matrix, sid=1200.0, rotation=0.0) -> str:
    numbers = ", ".join(repr(value) for value in matrix.ravel().tolist())
    return (
        f"[[view]]\nprimary_deg = {primary}\nsecondary_deg = {secondary}\nsource_to_detector_mm = {sid}\n"
        f"detector_rotation_deg = {rotation}\npixel_from_equipment = [{numbers}]\n"
    )


def seen(table, primary, secondary, rotation=0.0, sid=1200.0, **more) -> np.ndarray:
    return table.pixel_from_equipment(
        primary_deg=primary,
        secondary_deg=secondary,
        detector_rotation_deg=rotation,
        source_to_detector_mm=sid,
        rows=1024,
        columns=1024,
        **more,
    )


def test_a_calibrated_view_is_given_exactly():
    sagging = nominal(31.2, -1.4, rotation=0.8) * -7.0  # what calibration found where 30 / 0 was shown; any scale
    table = calibration_table_from_text(HEADER + view_text(30.0, 0.0, sagging))
    np.testing.assert_allclose(seen(table, 30.0, 0.0), nominal(31.2, -1.4, rotation=0.8), atol=1e-9)
    assert (table.suite, table.tolerance_deg, table.tolerance_mm) == ("Room 3", 2.0, 1.0)


def test_between_views_an_ideal_gantry_stays_ideal():
    text = HEADER + "".join(view_text(p, s, nominal(p, s)) for p in (0.0, 3.0, 6.0) for s in (0.0, 3.0))
    table = calibration_table_from_text(text)
    for primary, secondary, rotation in ((1.4, 0.9, 0.0), (4.9, 2.0, 0.3), (6.5, 3.5, -0.4)):
        found = project(POINTS, seen(table, primary, secondary, rotation))
        np.testing.assert_allclose(found, project(POINTS, nominal(primary, secondary, rotation)), atol=1e-6)


def test_between_two_views_the_departure_goes_over_from_one_to_the_other():
    offset = nominal(0.0, 0.0)
    offset[0] += 10.0 * offset[2]  # this view's pictures lie 10 px further right
    table = calibration_table_from_text(HEADER + view_text(0.0, 0.0, offset) + view_text(3.0, 0.0, nominal(3.0, 0.0)))
    found = []
    for primary in (0.0, 0.75, 1.5, 2.25, 3.0):
        shift = project(POINTS, seen(table, primary, 0.0)) - project(POINTS, nominal(primary, 0.0))
        np.testing.assert_allclose(shift, np.tile((shift[0, 0], 0.0, 0.0), (4, 1)), atol=1e-6)
        found.append(shift[0, 0])
    np.testing.assert_allclose(np.array(found)[[0, 2, 4]], (10.0, 5.0, 0.0), atol=1e-6)
    assert found == sorted(found, reverse=True)


def test_three_parts_are_the_same_as_the_matrix():
    text = HEADER + (
        "[[view]]\nprimary_deg = 0\nsecondary_deg = 0\nsource_to_detector_mm = 1200\n"
        "intrinsics_px = [4000, 0, 511.5, 0, 4000, 511.5, 0, 0, 1]\n"
        "camera_from_equipment = [1, 0, 0, 0, 0, -1, 0, -1, 0]\n"
        "translation_mm = [0, 0, 750]\n"
    )
    np.testing.assert_allclose(seen(calibration_table_from_text(text), 0.0, 0.0), nominal(0.0, 0.0), atol=1e-9)


GOOD = HEADER + view_text(0.0, 0.0, nominal(0.0, 0.0))


@pytest.mark.parametrize(
    "asked",
    [
        {"primary": 2.1, "secondary": 0.0},
        {"primary": 0.0, "secondary": -2.1},
        {"primary": 0.0, "secondary": 0.0, "rotation": 90.0},
        {"primary": 0.0, "secondary": 0.0, "sid": 1202.0},
        {"primary": 0.0, "secondary": 0.0, "fov_rotation_deg": 90},
        {"primary": 0.0, "secondary": 0.0, "fov_flip": True},
        {"primary": 0.0, "secondary": 0.0, "pitch_row_mm": 0.2},  # another field of view
    ],
)
def test_what_was_not_calibrated_is_refused(asked):
    with pytest.raises(GeometryError) as refusal:
        seen(calibration_table_from_text(GOOD), **asked)
    assert refusal.value.code == "view_not_calibrated"


def test_another_picture_size_is_refused():
    with pytest.raises(GeometryError) as refusal:
        calibration_table_from_text(GOOD).pixel_from_equipment(
            primary_deg=0.0,
            secondary_deg=0.0,
            detector_rotation_deg=0.0,
            source_to_detector_mm=1200.0,
            rows=512,
            columns=1024,
        )
    assert refusal.value.code == "view_not_calibrated"


def test_the_told_pitch_of_the_same_field_of_view_is_accepted():
    np.testing.assert_allclose(seen(calibration_table_from_text(GOOD), 0.0, 0.0, pitch_row_mm=0.302), nominal(0.0, 0.0))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "format = ",
        'format = "something-else"\nversion = 1\nrows = 1024\ncolumns = 1024',
        GOOD.replace("version = 1", "version = 2"),
        HEADER,
        HEADER + "view = 3",
        GOOD.replace("rows = 1024", 'rows = "many"'),
        GOOD.replace("rows = 1024", "rows = 0"),
        GOOD.replace("rows = 1024", "rows = true"),
        GOOD.replace("suite", "siute"),
        GOOD.replace('"Room 3"', "3"),
        GOOD.replace("secondary_deg", "second_deg"),
        GOOD.replace("primary_deg = 0.0", "primary_deg = nan"),
        GOOD.replace("primary_deg = 0.0", "primary_deg = 400.0"),
        GOOD.replace("primary_deg = 0.0", "primary_deg = 90.0"),  # the matrix looks elsewhere
        GOOD.replace("primary_deg = 0.0", "primary_deg = 180.0"),
        GOOD.replace("source_to_detector_mm = 1200.0", "source_to_detector_mm = -1.0"),
        GOOD.replace("4000.0", "inf", 1),
        GOOD.replace("4000.0", '"4000"', 1),
        GOOD.replace("pixel_from_equipment = [", "pixel_from_equipment = [1.0, "),
        GOOD.replace("pixel_from_equipment = [", "translation_mm = [0, 0, 1]\npixel_from_equipment = ["),
        GOOD.replace("version = 1", "version = 1\ntolerance_deg = 90.0"),
        GOOD.replace("version = 1", "version = 1\nfov_rotation_deg = 45"),
        GOOD.replace("version = 1", 'version = 1\nfov_flip = "no"'),
        HEADER + view_text(0.0, 0.0, np.zeros((3, 4))),
        HEADER + view_text(0.0, 0.0, np.eye(3, 4)),
    ],
)
def test_malformed_tables_are_refused(text):
    with pytest.raises(ConfigError) as refusal:
        calibration_table_from_text(text, origin="room3.toml")
    assert refusal.value.code == "bad_calibration_table"
    assert "room3.toml" in str(refusal.value)
