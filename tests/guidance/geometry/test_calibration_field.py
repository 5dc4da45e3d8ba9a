"""Between views: what leaves a view out must be what a table without it gives; covariance, groups, and the text."""

from dataclasses import replace

import numpy as np
import pytest

from guidance.errors import ConfigError, GeometryError
from guidance.geometry.calibration import (
    CalibratedView,
    CalibrationTable,
    calibration_table_from_text,
    text_of_calibration_table,
)
from guidance.geometry.calibration_field import FieldModel
from guidance.geometry.camera import project
from guidance.geometry.detector import picture_from_cropped
from simulators.flexing_gantry import FlexingGantry

GANTRY = FlexingGantry(sag_mm=1.5, wobble_mm=0.0, seed=11)
CUBE = np.array([(x, y, z) for x in (-40.0, 40.0) for y in (-40.0, 40.0) for z in (-40.0, 40.0)])
SIGMAS = np.array((0.02, 0.02, 0.02, 0.01, 0.01, 0.01, 0.5, 0.5, 2e-4))


def view_at(primary, secondary, gantry=GANTRY, turn=np.eye(3), covariance=True) -> CalibratedView:
    return CalibratedView(
        primary_deg=primary,
        secondary_deg=secondary,
        detector_rotation_deg=0.0,
        source_to_detector_mm=1195.0,
        pixel_from_equipment=turn @ gantry.pixel_from_equipment(primary, secondary),
        covariance=np.diag(SIGMAS**2) if covariance else None,
    )


def table_of(views, **more) -> CalibrationTable:
    known = {
        "suite": 'Room "3"',
        "rows": 1024,
        "columns": 1024,
        "fov_rotation_deg": 0,
        "fov_flip": False,
        "tolerance_deg": 10.0,
        "tolerance_mm": 1.0,
    }
    return CalibrationTable(**(known | more), views=tuple(views))


def seen(table, primary, secondary, **more) -> np.ndarray:
    asked = {"detector_rotation_deg": 0.0, "source_to_detector_mm": 1195.0, "rows": 1024, "columns": 1024}
    return table.pixel_from_equipment(primary_deg=primary, secondary_deg=secondary, **(asked | more))


def covariance(table, primary, secondary) -> np.ndarray:
    return table.covariance_at(
        primary_deg=primary, secondary_deg=secondary, detector_rotation_deg=0.0, source_to_detector_mm=1195.0
    )


GRID = [(p, s) for p in (-40, -20, 0, 20, 40) for s in (-20, 0, 20)]


def off_mm(matrix, primary, secondary, turn=np.eye(3)) -> float:
    truth = project(CUBE, turn @ GANTRY.pixel_from_equipment(primary, secondary))
    return float(np.abs(project(CUBE, matrix) - truth)[:, :2].max()) * 750.0 / 3983.0


@pytest.mark.parametrize("pose", [(-30, -10), (10, 5), (33, -12), (-9, 18)])
def test_sag_is_foretold_between_views(pose):
    table = table_of([view_at(p, s, covariance=False) for p, s in GRID], tolerance_deg=20.0)
    assert off_mm(seen(table, *pose), *pose) < 0.15
    nearest = table.nearest_view(*pose, 0.0)
    assert abs(nearest.primary_deg - pose[0]) <= 11


def test_without_covariance_a_calibrated_pose_gives_its_own_matrix():
    table = table_of([view_at(p, s, covariance=False) for p, s in GRID])
    for view in table.views:
        found = seen(table, view.primary_deg, view.secondary_deg)
        assert np.abs(project(CUBE, found) - project(CUBE, view.pixel_from_equipment)).max() < 1e-3
    assert covariance(table, 0.0, 0.0) is None


def test_with_covariance_it_does_within_its_accuracy():
    table = table_of([view_at(p, s) for p, s in GRID])
    for p, s in GRID:
        assert off_mm(seen(table, p, s), p, s) < 0.1


@pytest.mark.parametrize("model", [FieldModel(local_deg=20.0, local_share=0.2, signal_mm=1.0)])
@pytest.mark.parametrize("known", [False, True])
def test_leaving_out_is_a_table_without_the_view(model, known):
    views = [view_at(p, s, covariance=known) for p, s in GRID]
    # What all views have in common is told from all of them, so it is held still here: no view is the median.
    table = table_of(views, model=model, tolerance_deg=60.0)
    for n in (0, 4, 7, 14):
        rest = table_of(views[:n] + views[n + 1 :], model=model, tolerance_deg=60.0)
        found = seen(rest, views[n].primary_deg, views[n].secondary_deg)
        away = project(CUBE, table.left_out()[n]) - project(CUBE, found)
        assert np.abs(away).max() < 0.05


def test_covariance_grows_away_from_views_and_is_one():
    table = table_of([view_at(p, s) for p, s in GRID], tolerance_deg=20.0)
    at, between = covariance(table, 0.0, 0.0), covariance(table, 10.0, 10.0)
    for one in (at, between):
        np.testing.assert_allclose(one, one.T)
        assert np.linalg.eigvalsh(one / np.outer(np.sqrt(np.diag(one)), np.sqrt(np.diag(one))))[0] > -1e-9
    assert np.diag(between)[:3].sum() > np.diag(at)[:3].sum()


def test_a_lone_views_covariance_is_its_own_and_grows_by_what_is_assumed():
    table = table_of([view_at(0.0, 0.0)])
    np.testing.assert_allclose(covariance(table, 0.0, 0.0), np.diag(SIGMAS**2), atol=1e-12)
    away = np.sqrt(np.diag(covariance(table, 8.0, 0.0)))
    assert 0.1 < away[0] < 2.0


@pytest.mark.parametrize(("rotation", "flip"), [(0, True), (90, False), (180, False), (270, True)])
def test_turned_and_flipped_pictures_are_interpolated_like_others(rotation, flip):
    turn = picture_from_cropped(1024, 1024, rotation, flip)
    table = table_of(
        [view_at(p, s, turn=turn) for p, s in GRID], fov_rotation_deg=rotation, fov_flip=flip, tolerance_deg=20
    )
    plain = table_of([view_at(p, s) for p, s in GRID], tolerance_deg=20.0)
    found = seen(table, 10.0, -8.0, fov_rotation_deg=rotation, fov_flip=flip)
    assert off_mm(found, 10.0, -8.0, turn) < 0.15
    # Shift and turn are of equipment points: the same however the picture lies; the principal point turns with it.
    ours, theirs = covariance(table, 10.0, -8.0), covariance(plain, 10.0, -8.0)
    np.testing.assert_allclose(np.diag(ours)[:6], np.diag(theirs)[:6], rtol=0.05)


def test_zooms_and_distances_are_never_mixed():
    near = [view_at(p, s) for p, s in GRID]
    zoomed = FlexingGantry(sag_mm=1.5, wobble_mm=0.0, seed=11, pitch_mm=0.22)
    table = table_of(near + [view_at(p, s, zoomed) for p, s in GRID])
    alone = table_of(near)
    np.testing.assert_array_equal(seen(table, 3.0, 2.0, pitch_row_mm=0.3), seen(alone, 3.0, 2.0))
    focal = np.linalg.norm(seen(table, 3.0, 2.0, pitch_row_mm=0.22)[0, :3])
    assert focal > 1.2 * np.linalg.norm(seen(alone, 3.0, 2.0)[0, :3])
    with pytest.raises(GeometryError, match="pixel spacing"):
        seen(table, 3.0, 2.0, pitch_row_mm=0.26)
    with pytest.raises(GeometryError, match="no view within"):
        seen(alone, 3.0, 2.0, source_to_detector_mm=1199.0)


def test_two_views_of_one_pose_are_averaged():
    views = [view_at(0.0, 0.0), view_at(0.0, 0.0), view_at(15.0, 0.0)]
    shifted = views[1].pixel_from_equipment.copy()
    shifted[0] += 2.0 * shifted[2]
    table = table_of([views[0], replace(views[1], pixel_from_equipment=shifted), views[2]])
    away = project(CUBE, seen(table, 0.0, 0.0)) - project(CUBE, views[0].pixel_from_equipment)
    np.testing.assert_allclose(away[:, 0], 1.0, atol=0.05)


def test_a_written_table_is_read_again():
    table = table_of([view_at(p, s) for p, s in GRID])
    again = calibration_table_from_text(text_of_calibration_table(table))
    assert (again.suite, again.tolerance_deg, len(again.views)) == (table.suite, table.tolerance_deg, len(table.views))
    assert again.field_model == table.field_model
    np.testing.assert_allclose(seen(again, 7.0, 3.0), seen(table, 7.0, 3.0), rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(covariance(again, 7.0, 3.0), covariance(table, 7.0, 3.0), rtol=1e-4, atol=1e-12)


TEXT = text_of_calibration_table(table_of([view_at(0.0, 0.0)]))


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("local_deg", "locul_deg"),
        TEXT.replace("local_share = 0.2", "local_share = 0.0"),
        TEXT.replace("[model]", "[[model]]"),
        TEXT.replace("covariance = [", "covariance = [1.0, "),
        TEXT.replace("covariance = [", "covariance = [-"),
        TEXT.replace("covariance = [0.0004", 'covariance = ["a"'),
    ],
)
def test_a_malformed_model_or_covariance_is_refused(text):
    assert text != TEXT
    with pytest.raises(ConfigError) as refusal:
        calibration_table_from_text(text, origin="room3.toml")
    assert refusal.value.code == "bad_calibration_table"
    assert "room3.toml" in str(refusal.value)
