"""Volumes and their intervals from numbers, the kept views, the projection of a body, and the box of several views."""

from dataclasses import replace

import numpy as np
import pytest

from guidance.cement.fill import corrected_by_fill
from guidance.cement.interval import Measured, Volume, of_one_view, of_views
from guidance.cement.kept_views import KeptViews, moved
from guidance.cement.projection import body_thickness
from guidance.cement.rays import binned, enclosed_box
from guidance.cement.touching import Body
from guidance.messages import PlannedPath
from tests.helpers.cement_bodies import STEP_MM, camera, lump, ray_lengths, seen

AP, LATERAL = camera(180.0).pixel_from_patient, camera(90.0).pixel_from_patient


def view_of(body, matrix, **changes):
    return seen(ray_lengths((body,), matrix), matrix, **changes)


def bins_of(body, matrix, **changes):
    return binned(view_of(body, matrix, **changes), matrix, spacing_mm=1.0, depth_mm=750.0)


def test_two_views_that_agree_are_as_sure_as_one_for_they_share_their_opacity():
    one = of_views([Measured(3.0, 0.1, False)])
    two = of_views([Measured(3.0, 0.1, False), Measured(3.0, 0.1, False)])
    assert two == one
    assert two.low_ml < 3.0 * np.exp(-1.96 * 0.1)


def test_views_that_differ_widen_the_interval_over_both():
    told = of_views([Measured(2.0, 0.1, False), Measured(3.0, 0.1, False)])
    assert 2.0 < told.ml < 3.0
    assert told.low_ml < 2.0
    assert told.high_ml > 3.0


def test_the_surer_view_counts_more():
    told = of_views([Measured(2.0, 0.05, False), Measured(3.0, 0.3, False)])
    assert told.ml == pytest.approx(2.0, abs=0.06)


@pytest.mark.parametrize(("older_ml", "expected"), [(1.0, 3.0), (4.0, 3.5)])
def test_an_older_view_is_a_lower_bound(older_ml, expected):
    told = of_views([Measured(older_ml, 0.1, True), Measured(3.0, 0.1, False)])
    assert told.ml == pytest.approx(expected, rel=0.01)


def test_where_all_views_are_parts_the_largest_counts():
    assert of_views([Measured(1.0, 0.1, True), Measured(2.5, 0.1, True)]).ml == pytest.approx(2.5)


@pytest.mark.parametrize("depth_mm", [-60.0, 0.0, 60.0])
def test_one_view_holds_the_truth_wherever_the_cement_lies(depth_mm):
    body = lump(4, radius_mm=8.0, center_lps_mm=(3.0, depth_mm, 10.0))
    told = of_one_view(bins_of(body, AP), None, ())
    assert told.ml is None
    assert told.low_ml < body.volume_ml < told.high_ml


def test_a_path_tells_the_depth():
    body = lump(4, radius_mm=8.0, center_lps_mm=(3.0, 60.0, 10.0))
    path = PlannedPath(id="P1", entry_lps_mm=(3.0, 110.0, 10.0), target_lps_mm=(3.0, 62.0, 10.0), diameter_mm=3.0)
    without, with_path = (of_one_view(bins_of(body, AP), None, paths) for paths in ((), (path,)))
    assert with_path.low_ml < body.volume_ml < with_path.high_ml
    assert with_path.high_ml / with_path.low_ml < without.high_ml / without.low_ml


def test_without_a_told_scale_a_usual_c_arm_is_taken():
    body = lump(4, radius_mm=8.0)
    view = replace(view_of(body, AP), mm_per_px=None)
    told = of_one_view(binned(view, AP, spacing_mm=1.0, depth_mm=750.0), None, ())
    assert told.low_ml < body.volume_ml < told.high_ml


def as_body(one, factor):
    return Body(one.share * np.float32(factor), np.ones(one.share.shape, np.uint8), np.zeros(3, np.intp), STEP_MM)


@pytest.mark.parametrize("factor", [0.6, 0.8, 1.0])
def test_empty_voxels_draw_the_volume_up_by_how_unsure_it_is(factor):
    one = lump(2, radius_mm=9.0, share=0.87)
    told_ml = one.volume_ml * factor
    unsure = Volume(told_ml, told_ml * 0.6, told_ml * 1.7)
    sure = Volume(told_ml, told_ml * 0.97, told_ml * 1.03)
    body = as_body(one, factor)
    up, volume = corrected_by_fill(unsure, body, None)
    little, _ = corrected_by_fill(sure, body, None)
    assert 0.98 <= little <= 1.02 if factor == 1.0 else 1.0 < little < up
    assert abs(volume.ml - one.volume_ml) <= abs(told_ml - one.volume_ml) + 0.02 * one.volume_ml
    assert volume.low_ml < one.volume_ml < volume.high_ml


def test_no_number_is_made_of_an_interval():
    body = as_body(lump(2, radius_mm=5.0), 1.0)
    assert corrected_by_fill(Volume(None, 1.0, 2.0), body, None) == (1.0, Volume(None, 1.0, 2.0))
    assert corrected_by_fill(Volume(1.0, 0.5, None), body, None) == (1.0, Volume(1.0, 0.5, None))


def test_a_newer_view_replaces_one_from_about_the_same_side():
    kept = KeptViews()
    body = lump(1, radius_mm=4.0)
    for n, (primary, secondary) in enumerate(((180.0, 0.0), (90.0, 0.0), (174.0, 5.0), (-85.0, 0.0))):
        matrix = camera(primary, secondary).pixel_from_patient
        assert kept.add(view_of(body, matrix, sequence=n))
    assert [one.view.sequence for one in kept.chosen()] == [2, 3]


def test_no_more_than_four_directions_are_kept():
    kept = KeptViews()
    body = lump(1, radius_mm=4.0)
    for n in range(6):
        kept.add(view_of(body, camera(-90.0 + 30.0 * n).pixel_from_patient, sequence=n))
    assert len(kept) == 4
    assert kept.newest.view.sequence == 5


def test_motion_turns_about_the_pictures_middle():
    view = replace(view_of(lump(1, radius_mm=4.0), AP), motion=(3.0, -2.0, 90.0))
    middle = np.array([255.5, 255.5, 1.0])
    np.testing.assert_allclose(moved(view) @ middle, np.add(middle, (3.0, -2.0, 0.0)), atol=1e-9)
    np.testing.assert_allclose(moved(view) @ (265.5, 255.5, 1.0), (258.5, 263.5, 1.0), atol=1e-9)


@pytest.mark.parametrize(("primary", "secondary", "size"), [(180.0, 0.0, 512), (70.0, 30.0, 200), (0.0, -15.0, 1024)])
def test_a_body_is_projected_as_fine_voxels_are(primary, secondary, size):
    one = lump(5, radius_mm=8.0, center_lps_mm=(10.0, 5.0, -8.0))
    matrix = camera(primary, secondary, size=size).pixel_from_patient
    shown = body_thickness(one.share, one.first_lps_mm, STEP_MM, matrix, size, size)
    true = ray_lengths((one,), matrix, size=size, blur_px=0.0)
    assert float(shown.sum()) == pytest.approx(float(true.sum()), rel=0.01)
    assert np.corrcoef(shown.ravel(), true.ravel())[0, 1] > 0.99


def test_a_body_behind_the_source_or_off_the_picture_shows_nothing():
    one = lump(5, radius_mm=3.0, center_lps_mm=(0.0, -2000.0, 0.0))
    behind = body_thickness(one.share, one.first_lps_mm, STEP_MM, camera(0.0).pixel_from_patient, 64, 64)
    beside = lump(5, radius_mm=3.0, center_lps_mm=(900.0, 0.0, 0.0))
    off = body_thickness(beside.share, beside.first_lps_mm, STEP_MM, AP, 64, 64)
    assert not behind.any()
    assert not off.any()


@pytest.mark.parametrize("second", [(90.0, 0.0), (120.0, 15.0)])
def test_the_box_holds_the_body_and_little_more(second):
    one = lump(3, radius_mm=8.0, center_lps_mm=(6.0, -10.0, 4.0))
    views = [bins_of(one, AP), bins_of(one, camera(*second).pixel_from_patient)]
    box = enclosed_box(views, (0.0, 0.0), near_mm=200.0, far_mm=2000.0)
    points = one.points[one.shares > 0.2]
    assert (box[0] <= points.min(axis=0)).all()
    assert (box[1] >= points.max(axis=0)).all()
    assert (box[1] - box[0] <= 3.0 * np.ptp(points, axis=0) + 6.0).all()


@pytest.mark.parametrize("corner", [(slice(0, 4), slice(0, 4)), (slice(-6, None), slice(-6, None))])
def test_a_mask_in_the_pictures_corner_is_binned_as_far_as_there_are_whole_bins(corner):
    view = view_of(lump(1, radius_mm=4.0), AP)
    mask = np.zeros_like(view.mask)
    mask[corner] = 1
    bins = binned(replace(view, mask=mask), AP, spacing_mm=1.0, depth_mm=750.0)
    assert bins.touched.any()
    assert bins.corners_px().min() >= -0.5
    assert bins.corners_px().max() <= 511.5
