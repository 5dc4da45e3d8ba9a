"""Cement in 3D: known lumps seen from two directions, at once and in turn, with everything that can be missing."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from guidance.cement.fusion import BodyEstimator
from guidance.cement.space import cement_space
from guidance.config import CementSettings
from guidance.messages import PlannedPath
from tests.helpers.cement_bodies import STEP_MM, Lump, camera, lump, ray_lengths, rod_along, seen
from tests.helpers.cement_zones import fields, target, tube

SECOND = 1_000_000_000
AP, LATERAL = camera(180.0).pixel_from_patient, camera(90.0).pixel_from_patient


def view_of(body, matrix, *, at_s=0.0, device="FluoroA", noise_mm=0.1, size=512, **changes):
    bodies = body if isinstance(body, tuple) else (body,)
    return seen(
        ray_lengths(bodies, matrix, size=size),
        matrix,
        device=device,
        received_ns=round(at_s * SECOND),
        noise_mm=noise_mm,
        seed=round(at_s * 100.0),
        **changes,
    )


def estimator(*zones, space=None, paths=()):
    return BodyEstimator(space, fields(*zones), CementSettings(), paths=paths)


def nearest_mm(body, zone):
    """From every fine voxel that is half full, by closed form."""
    points = body.points[body.shares > 0.42]
    return float(fields(zone)[0].field.distance_mm(points).min()) - 0.5 * STEP_MM


def site(found, zone_id):
    return next(one for one in found.sites if one.zone_id == zone_id)


@pytest.mark.parametrize("seed", range(5))
def test_both_planes_at_once_give_volume_and_distance(seed):
    body = lump(seed, radius_mm=8.0, center_lps_mm=(4.0, -6.0, 3.0))
    beside = tube(1, (18.0, -25.0, 0.0), (18.0, 20.0, 3.0))
    through = tube(2, (4.0, -25.0, 6.0), (4.0, 20.0, 6.0))
    found = estimator(beside, through)
    found.add(view_of(body, AP))
    found.add(view_of(body, LATERAL, device="FluoroB", at_s=0.05))
    told = found.body(SECOND)
    assert told.volume_ml == pytest.approx(body.volume_ml, rel=0.03)
    assert told.volume_low_ml < body.volume_ml < told.volume_high_ml
    assert len(told.views) == 2
    assert told.reason == ""
    # What two shadows leave open is the end of a thin tongue.
    assert site(told, "Z1").distance_mm == pytest.approx(nearest_mm(body, beside), abs=2.5)
    assert not site(told, "Z1").touches
    assert site(told, "Z2").touches
    assert site(told, "Z2").inside_ml > 0.1
    share = float(told.occupancy.sum()) / 1000.0
    assert share == pytest.approx(body.volume_ml, rel=0.03)


@pytest.mark.parametrize("size", [256, 1024])
def test_other_picture_sizes_tell_the_same(size):
    body = lump(2, radius_mm=7.0)
    found = estimator()
    for matrix, device in ((camera(180.0, size=size), "A"), (camera(90.0, size=size), "B")):
        found.add(view_of(body, matrix.pixel_from_patient, device=device, size=size))
    assert found.body(0).volume_ml == pytest.approx(body.volume_ml, rel=0.03)


@pytest.mark.parametrize("second", [(60.0, 0.0), (120.0, 20.0), (90.0, -25.0)])
def test_any_two_directions_will_do(second):
    body = lump(1, radius_mm=8.0)
    found = estimator()
    found.add(view_of(body, camera(180.0, 10.0).pixel_from_patient))
    found.add(view_of(body, camera(*second).pixel_from_patient, device="FluoroB"))
    assert found.body(0).volume_ml == pytest.approx(body.volume_ml, rel=0.03)


def test_one_direction_gives_an_interval_and_no_distance():
    body = lump(1, radius_mm=8.0, center_lps_mm=(10.0, 40.0, -20.0))
    found = estimator(tube(1, (18.0, -25.0, 0.0), (18.0, 20.0, 3.0)))
    for number in range(3):
        found.add(view_of(body, AP, at_s=0.1 * number))
    told = found.body(SECOND)
    assert told.volume_ml is None
    assert told.volume_low_ml < body.volume_ml < told.volume_high_ml
    assert told.volume_high_ml < 2.5 * told.volume_low_ml
    assert told.occupancy is None
    assert site(told, "Z1").distance_mm is None
    assert "direction" in site(told, "Z1").reason
    assert len(told.views) == 1


def test_a_small_turn_is_no_second_direction():
    body = lump(1, radius_mm=8.0)
    found = estimator()
    found.add(view_of(body, AP))
    found.add(view_of(body, camera(165.0).pixel_from_patient, device="FluoroB"))
    assert found.body(0).volume_ml is None


def test_the_space_narrows_the_interval_of_one_direction():
    body = lump(1, radius_mm=6.0)
    hu = np.full((60, 120, 120), 40, np.int16)
    hu[20:40, 50:70, 40:80] = 300  # one bone around the cement
    hu[20:40, 50:52, 40:80] = hu[20:40, 68:70, 40:80] = 900
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-119.0, -119.0, -59.0)
    widths = []
    for space in (None, cement_space(hu, affine)):
        found = estimator(space=space)
        found.add(view_of(body, AP))
        told = found.body(0)
        assert told.volume_low_ml < body.volume_ml < told.volume_high_ml
        widths.append(told.volume_high_ml / told.volume_low_ml)
    assert widths[1] < 0.85 * widths[0]


def test_ap_then_lateral_counts_what_came_since():
    """The older view is a lower bound: the volume is the newer one's, at the depth that the older one tells."""
    small, large = lump(3, radius_mm=5.0), lump(3, radius_mm=8.0)
    found = estimator()
    found.add(view_of(small, AP, at_s=0.0))
    found.add(view_of(large, LATERAL, at_s=4.0))
    told = found.body(round(4.0 * SECOND))
    assert told.volume_ml == pytest.approx(large.volume_ml, rel=0.04)
    assert told.volume_low_ml < large.volume_ml < told.volume_high_ml
    assert told.oldest_s == pytest.approx(4.0)


def test_a_leak_that_only_the_newer_view_shows_is_not_cut_away():
    body = lump(3, radius_mm=6.0)
    leak = lump(7, radius_mm=3.0, center_lps_mm=(4.0, 14.0, 12.0))
    through = tube(1, (-20.0, 14.0, 12.0), (25.0, 14.0, 12.0), radius_mm=3.0)
    found = estimator(through)
    found.add(view_of(body, AP, at_s=0.0))
    found.add(view_of((body, leak), LATERAL, at_s=3.0))
    told = found.body(3 * SECOND)
    assert told.volume_ml == pytest.approx(body.volume_ml + leak.volume_ml, rel=0.05)
    assert site(told, "Z1").touches


def test_one_plane_that_shows_nothing_does_not_hide_what_the_other_shows():
    body = lump(3, radius_mm=5.0)
    found = estimator()
    found.add(view_of(body, AP))
    found.add(view_of(replace_share(body, 0.0), LATERAL, device="FluoroB", at_s=0.05))
    told = found.body(SECOND)
    assert told.volume_ml is None
    assert told.volume_low_ml < body.volume_ml < told.volume_high_ml
    assert "one direction only" in told.reason


def replace_share(body, factor):
    return Lump(body.share * np.float32(factor), body.first_lps_mm)


def test_no_cement_in_either_plane_is_nothing_and_says_how_much_may_hide():
    found = estimator(tube(1, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0)))
    empty = replace_share(lump(0, radius_mm=3.0), 0.0)
    found.add(view_of(empty, AP))
    found.add(view_of(empty, LATERAL, device="FluoroB"))
    told = found.body(0)
    assert told.volume_ml == 0.0
    assert told.volume_high_ml > 0.0
    assert site(told, "Z1").distance_mm is None
    assert "no cement" in site(told, "Z1").reason


def test_without_geometry_nothing_is_said_in_3d():
    found = estimator(tube(1, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0)))
    found.add(replace(view_of(lump(0, radius_mm=5.0), AP), pixel_from_patient=None))
    told = found.body(0)
    assert told.volume_ml is told.volume_low_ml is told.volume_high_ml is None
    assert "no geometry" in told.reason
    assert site(told, "Z1").distance_mm is None


def test_a_frame_that_cannot_see_changes_nothing():
    body = lump(3, radius_mm=6.0)
    found = estimator()
    found.add(view_of(body, AP))
    found.add(view_of(body, LATERAL, device="FluoroB"))
    before = found.body(0)
    found.add(replace(view_of(body, AP), seen=False, mask=None, thickness_mm=None, code="saturated", reason="white"))
    after = found.body(0)
    assert after.volume_ml == pytest.approx(before.volume_ml, rel=0.01)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_a_matrix_that_is_none_is_not_taken(bad):
    found = estimator()
    found.add(replace(view_of(lump(0, radius_mm=5.0), AP), pixel_from_patient=(bad,) * 12))
    assert found.body(0).volume_high_ml is None


def test_views_that_contradict_each_other_say_so():
    found = estimator()
    found.add(view_of(lump(0, radius_mm=4.0, center_lps_mm=(0.0, 0.0, 40.0)), AP))
    found.add(view_of(lump(0, radius_mm=4.0, center_lps_mm=(0.0, 0.0, -40.0)), LATERAL, device="FluoroB"))
    told = found.body(0)
    assert told.volume_ml is None
    assert "contradict" in told.reason


def test_display_processed_pictures_give_a_shape_and_no_volume():
    body = lump(3, radius_mm=7.0)
    found = estimator(tube(1, (25.0, -25.0, 0.0), (25.0, 20.0, 0.0)))
    for matrix, device in ((AP, "A"), (LATERAL, "B")):
        view = view_of(body, matrix, device=device)
        found.add(replace(view, thickness_mm=None, thickness_sum_mm_px=None, thickness_sigma_mm_px=None))
    told = found.body(0)
    assert told.volume_ml is told.volume_low_ml is told.volume_high_ml is None
    assert "display-processed" in told.reason


def test_cement_that_leaves_the_picture_has_no_upper_bound():
    body = lump(3, radius_mm=7.0)
    found = estimator()
    for matrix, device in ((AP, "A"), (LATERAL, "B")):
        found.add(replace(view_of(body, matrix, device=device), out_of_picture=True))
    told = found.body(0)
    assert told.volume_high_ml is None
    assert told.volume_low_ml > 0.0
    assert "leaves the picture" in told.reason


def test_the_patients_motion_is_taken_out():
    """The second plane's patient has moved by 12 px since the reference, and its told geometry has not."""
    body = lump(3, radius_mm=7.0)
    found = estimator()
    lateral = view_of(body, LATERAL, device="FluoroB", noise_mm=0.05)
    found.add(lateral)
    shifted = replace(
        lateral,
        received_ns=SECOND,
        mask=np.roll(lateral.mask, 12, axis=0),
        thickness_mm=np.roll(lateral.thickness_mm, 12, axis=0),
        motion=(0.0, 12.0, 0.0),
    )
    found.add(view_of(body, AP, at_s=1.0, noise_mm=0.05))
    found.add(shifted)
    moved = found.body(SECOND)
    still = estimator()
    still.add(lateral)
    still.add(view_of(body, AP, noise_mm=0.05))
    stood = still.body(0)
    np.testing.assert_allclose(middle(moved), middle(stood), atol=0.25)
    assert moved.volume_ml == pytest.approx(body.volume_ml, rel=0.03)


def middle(told):
    kji = np.argwhere(told.occupancy > 0.0)
    weights = told.occupancy[tuple(kji.T)]
    ijk = (weights[:, None] * kji[:, ::-1]).sum(axis=0) / weights.sum()
    return told.affine_lps_from_ijk[:3, :3] @ ijk + told.affine_lps_from_ijk[:3, 3]


def cylinder(start, end, radius_mm, share):
    """A straight rod of cement, in fine voxels."""
    start, end = np.asarray(start), np.asarray(end)
    low = np.minimum(start, end) - radius_mm - 1.0
    count = np.ceil((np.maximum(start, end) + radius_mm + 1.0 - low) / STEP_MM).astype(int)
    k, j, i = np.meshgrid(*(np.arange(n) for n in count[::-1]), indexing="ij")
    points = np.stack([i, j, k], axis=-1) * STEP_MM + low
    along = (end - start) / np.linalg.norm(end - start)
    foot = (points - start) @ along
    away = np.linalg.norm(points - start - foot[..., None] * along, axis=-1)
    inside = (away <= radius_mm) & (foot >= 0.0) & (foot <= np.linalg.norm(end - start))
    return Lump(inside.astype(np.float32) * np.float32(share), low)


@pytest.mark.parametrize("instrument_seen", [True, False])
def test_cement_within_the_cannula_does_not_count_while_the_cannula_is_there(instrument_seen):
    path = PlannedPath(id="P1", entry_lps_mm=(0.0, 50.0, 0.0), target_lps_mm=(0.0, 4.0, 0.0), diameter_mm=4.0)
    body, lumen = lump(3, radius_mm=6.0), cylinder((0.0, 45.0, 0.0), (0.0, 6.0, 0.0), 1.3, 1.0)
    found = estimator(paths=(path,))
    for matrix, device in ((AP, "A"), (LATERAL, "B")):
        rod = rod_along(path, matrix, diameter_px=8.0)
        found.add(view_of((body, lumen), matrix, device=device), (rod,) if instrument_seen and device == "B" else ())
    told = found.body(0)
    expected = body.volume_ml + (0.0 if instrument_seen else lumen.volume_ml)
    assert told.volume_ml == pytest.approx(expected, rel=0.06)


def test_what_is_outside_the_targets_is_told():
    body = lump(0, radius_mm=8.0, rough=0.0)
    found = estimator(target(1, (0.0, 0.0, 0.0), 12.0))
    half = estimator(target(1, (-20.0, 0.0, 0.0), 20.0))
    for one in (found, half):
        one.add(view_of(body, AP))
        one.add(view_of(body, LATERAL, device="FluoroB"))
    assert found.body(0).outside_ml == pytest.approx(0.0, abs=0.05)
    assert half.body(0).outside_ml == pytest.approx(0.54 * body.volume_ml, rel=0.1)


def test_without_a_target_nothing_is_outside_a_plan():
    found = estimator(tube(1, (18.0, -25.0, 0.0), (18.0, 20.0, 3.0)))
    found.add(view_of(lump(0, radius_mm=6.0), AP))
    found.add(view_of(lump(0, radius_mm=6.0), LATERAL, device="FluoroB"))
    assert found.body(0).outside_ml is None


@pytest.mark.parametrize(("primary", "size"), [(140.0, 512), (-145.0, 300)])
def test_the_body_is_shown_as_a_third_direction_would_see_it(primary, size):
    body = lump(4, radius_mm=9.0)
    found = estimator()
    assert found.expected_thickness(AP, 512, 512) is None
    found.add(view_of(body, AP))
    found.add(view_of(body, LATERAL, device="FluoroB"))
    found.body(0)
    matrix = camera(primary, 10.0, size=size).pixel_from_patient
    shown, true = found.expected_thickness(matrix, size, size), ray_lengths((body,), matrix, size=size)
    assert shown.dtype == np.float32
    assert shown.shape == (size, size)
    assert float(shown.sum()) == pytest.approx(float(true.sum()), rel=0.03)
    assert np.corrcoef(shown.ravel(), true.ravel())[0, 1] > 0.97


def test_very_large_cement_is_worked_out_on_a_coarser_grid():
    bodies = (lump(1, radius_mm=14.0), lump(2, radius_mm=8.0, center_lps_mm=(45.0, 40.0, 45.0)))
    found = estimator()
    for matrix, device in ((AP, "A"), (LATERAL, "B")):
        found.add(view_of(bodies, matrix, device=device))
    told = found.body(0)
    assert told.affine_lps_from_ijk[0, 0] > 1.0
    assert told.volume_ml == pytest.approx(sum(one.volume_ml for one in bodies), rel=0.05)


@pytest.mark.parametrize("prone", [True, False])
def test_upside_down_patients_and_mirrored_views_are_all_one(prone):
    body = lump(6, radius_mm=7.0, center_lps_mm=(5.0, 9.0, -4.0))
    ap = camera(180.0 if prone else 0.0).pixel_from_patient
    flip = np.array([[-1.0, 0.0, 511.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    found = estimator()
    found.add(view_of(body, flip @ ap))
    found.add(view_of(body, camera(-90.0).pixel_from_patient, device="FluoroB"))
    told = found.body(0)
    assert told.volume_ml == pytest.approx(body.volume_ml, rel=0.03)
    true = (body.shares[:, None] * body.points).sum(axis=0) / body.shares.sum()
    np.testing.assert_allclose(middle(told), true, atol=0.3)


def test_values_that_are_no_numbers_in_a_map_are_left_out():
    body = lump(3, radius_mm=7.0)
    view = view_of(body, AP)
    view.thickness_mm[:5] = np.nan
    view.thickness_mm[250, 250] = np.inf
    found = estimator()
    found.add(view)
    found.add(view_of(body, LATERAL, device="FluoroB"))
    told = found.body(0)
    assert told.volume_ml == pytest.approx(body.volume_ml, rel=0.03)
    assert np.isfinite(told.occupancy).all()


def covered(view, columns):
    """A hand over some columns of the picture: blind there, and no cement is told."""
    mask, blind, thickness = view.mask.copy(), view.blind.copy(), view.thickness_mm.copy()
    mask[:, columns], blind[:, columns], thickness[:, columns] = 0, 1, 0.0
    return replace(view, mask=mask, blind=blind, thickness_mm=thickness)


def test_a_hand_over_one_plane_leaves_what_was_seen_and_opens_the_upper_end():
    body = lump(3, radius_mm=7.0)
    found = estimator()
    found.add(view_of(body, AP, noise_mm=0.05))
    found.add(view_of(body, LATERAL, device="FluoroB", noise_mm=0.05))
    found.add(covered(view_of(body, AP, at_s=0.2, noise_mm=0.05), slice(0, 400)))
    told = found.body(SECOND)
    assert told.volume_low_ml > 0.5 * body.volume_ml
    assert told.volume_high_ml is None
    assert "hidden" in told.reason
    found.add(view_of(body, AP, at_s=0.4, noise_mm=0.05))
    found.add(view_of(body, LATERAL, device="FluoroB", at_s=0.4, noise_mm=0.05))
    told = found.body(SECOND)
    assert told.volume_ml == pytest.approx(body.volume_ml, rel=0.06)
    assert told.volume_high_ml > body.volume_ml


def test_a_view_that_shows_but_a_part_does_not_cut_away_what_another_has_shown():
    """A pose without a reference of its own begins with a mask that lacks most of the cement."""
    body = lump(3, radius_mm=8.0)
    found = estimator()
    found.add(view_of(body, LATERAL, at_s=0.0))
    full = view_of(body, AP, at_s=3.0)
    part = full.mask.copy()
    part[:262] = 0
    found.add(replace(full, mask=part, thickness_mm=full.thickness_mm * part))
    told = found.body(3 * SECOND)
    assert told.volume_low_ml > 0.7 * body.volume_ml
    assert told.volume_ml == pytest.approx(body.volume_ml, rel=0.15)
    assert told.volume_high_ml is None
    assert "may be more" in told.reason


def test_where_the_front_is_hidden_all_around_the_view_is_a_lower_bound():
    small, large = lump(3, radius_mm=4.0), lump(3, radius_mm=8.0)
    found = estimator()
    found.add(view_of(large, LATERAL, at_s=0.0))
    ap = view_of(small, AP, at_s=0.1, device="FluoroB")
    blind = (1 - ap.mask).astype(np.uint8)
    found.add(replace(ap, blind=blind))
    told = found.body(SECOND)
    assert told.volume_ml == pytest.approx(large.volume_ml, rel=0.15)


def test_a_view_that_could_not_tell_what_was_there_before_is_a_lower_bound():
    """It shows a rim that grew, and all else of it is in its reference."""
    large = lump(3, radius_mm=8.0)
    found = estimator()
    found.add(view_of(large, LATERAL, at_s=0.0))
    full = view_of(large, AP, at_s=0.1)
    rim = full.mask * (cv2.erode(full.mask, np.ones((9, 9), np.uint8)) == 0)
    growth = replace(full, mask=rim, thickness_mm=full.thickness_mm * rim, growth_only=True)
    found.add(growth)
    told = found.body(SECOND)
    assert told.volume_low_ml > 0.6 * large.volume_ml
    alone = estimator()
    alone.add(growth)
    told = alone.body(SECOND)
    assert told.volume_high_ml is None
    assert "may be more" in told.reason


@pytest.mark.parametrize(("factor", "left"), [(0.75, 0.7), (1.25, 1.0)])
def test_outlines_draw_a_wrong_thickness_towards_the_truth(factor, left):
    """Too little is seen as voxels that are not full; too much only as voxels that are more than full."""
    body = lump(2, radius_mm=8.0)
    found = estimator()
    for matrix, device in ((AP, "A"), (LATERAL, "B")):
        found.add(view_of(body, matrix, device=device, gain=factor, sigma=0.2))
    told = found.body(0)
    assert abs(told.volume_ml / body.volume_ml - 1.0) < left * abs(factor - 1.0)
    assert told.volume_low_ml < body.volume_ml < told.volume_high_ml


def test_no_cement_where_it_would_come_from_is_hidden_is_not_none():
    path = PlannedPath(id="P1", entry_lps_mm=(0.0, 50.0, 0.0), target_lps_mm=(0.0, 4.0, 0.0), diameter_mm=4.0)
    empty = view_of(replace_share(lump(0, radius_mm=3.0), 0.0), AP)
    blind = empty.blind.copy()
    blind[236:276, 236:276] = 1
    for view, high_is_known in ((empty, True), (replace(empty, blind=blind), False)):
        found = estimator(paths=(path,))
        found.add(view)
        told = found.body(0)
        assert told.volume_low_ml == 0.0
        assert (told.volume_high_ml is not None) == high_is_known
        assert ("hidden" in told.reason) != high_is_known


def test_after_a_registration_the_body_lies_where_the_new_one_puts_it():
    body = lump(2, radius_mm=8.0, center_lps_mm=(4.0, -6.0, 3.0))
    beside = tube(1, (22.0, -25.0, 0.0), (22.0, 20.0, 3.0))
    found = estimator(beside)
    found.add(view_of(body, AP))
    found.add(view_of(body, LATERAL, device="FluoroB", at_s=0.05))
    before = site(found.body(SECOND), "Z1").distance_mm
    found.registered_anew()
    seen_from_volume = np.eye(4)
    seen_from_volume[0, 3] = 5.0  # the pictures are as they were: in the volume the cement lies 5 mm to the right
    for matrix, device in ((AP, "FluoroA"), (LATERAL, "FluoroB")):
        moved = np.array(matrix).reshape(3, 4) @ seen_from_volume
        anew = replace(view_of(body, matrix, at_s=0.2, device=device), pixel_from_patient=tuple(moved.ravel().tolist()))
        found.add(anew)
    told = found.body(SECOND)
    assert site(told, "Z1").distance_mm == pytest.approx(before + 5.0, abs=0.7)
    assert told.volume_ml == pytest.approx(body.volume_ml, rel=0.05)
