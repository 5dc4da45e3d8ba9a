"""Views of a path: against the camera, against brute force, and the same in the room however the patient lies."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guidance.errors import GeometryError
from guidance.geometry.camera import ConeBeamCamera, project
from guidance.geometry.detector import Detector
from guidance.geometry.positioner import PATIENT_POSITIONS, CArmPose, lps_from_equipment, positioner_axes
from guidance.messages import PlannedPath, PrismShape, SphereShape, TubeShape, Zone, ZoneKind, ZoneSite
from guidance.planning.c_arms import DEFAULT_C_ARM, AngleRange, c_arm_library
from guidance.planning.collision import couch_of, separations_mm
from guidance.planning.distance import distance_field
from guidance.planning.reach import directions_of
from guidance.planning.views import nearest_useful_view, path_views, view_words, views_with_offsets

MODEL = c_arm_library().find(DEFAULT_C_ARM)
SOURCE_TO_DETECTOR_MM = 1200.0
PITCH_MM = 0.3
SACRAL = ((38.0, 95.0, 25.0), (10.0, 40.0, 5.0))
ANYWHERE = AngleRange(primary=(-180.0, 180.0), secondary=(-90.0, 90.0))
UNLIMITED = msgspec.structs.replace(MODEL, id="unlimited", ranges_deg=(ANYWHERE,))


def path_of(entry, target, **more):
    return PlannedPath(id="P1", entry_lps_mm=tuple(entry), target_lps_mm=tuple(target), diameter_mm=7.3, **more)


def zone_of(shape, zone_id="Z1", site=ZoneSite.FORAMEN, **more):
    zone = Zone(id=zone_id, name=f"zone {zone_id}", site=site, kind=ZoneKind.KEEP_OUT, shape=shape, **more)
    return zone, distance_field(shape)


def tube(start, end, radius=4.0, **more):
    return zone_of(TubeShape(points_lps_mm=(tuple(start), tuple(end)), radius_mm=radius), **more)


def body(low, high):
    (x, y, z), (right, back, top) = low, high
    corners = ((x, y, z), (right, y, z), (right, back, z), (x, back, z))
    return zone_of(PrismShape(polygon_lps_mm=corners, height_mm=top - z), "skin", ZoneSite.SKIN)


def of_kind(views, kind, *, reachable=None):
    return [view for view in views.views if view.kind == kind and reachable in (None, view.reachable)]


def matrix_of(view, isocenter):
    pose = CArmPose(
        primary_angle_deg=view.primary_deg,
        secondary_angle_deg=view.secondary_deg,
        source_to_detector_mm=SOURCE_TO_DETECTOR_MM,
        source_to_isocenter_mm=MODEL.source_to_isocenter_mm,
    )
    detector = Detector(rows=1024, columns=1024, pitch_row_mm=PITCH_MM, pitch_column_mm=PITCH_MM)
    return ConeBeamCamera(pose=pose, detector=detector, isocenter_lps_mm=tuple(isocenter)).pixel_from_patient


def pixels(view, isocenter, *points):
    return project(np.array(points, np.float64), matrix_of(view, isocenter))[:, :2]


def room_direction(view, position):
    toward = directions_of(np.array([view.primary_deg]), np.array([view.secondary_deg]))[0]
    return toward @ lps_from_equipment(position)


def middle_of(entry, target):
    return (np.array(entry) + np.array(target)) / 2


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
@pytest.mark.parametrize("beside", [(0.0, 0.0, 0.0), (-60.0, 40.0, 80.0)], ids=["on the path", "beside the path"])
def test_bulls_eye_puts_entry_and_target_on_one_pixel(position, beside):
    entry, target = SACRAL
    isocenter = middle_of(entry, target) + beside
    views = path_views(
        path_of(entry, target), [], patient_position=position, c_arm=UNLIMITED, isocenter_lps_mm=tuple(isocenter)
    )
    straight = [view for view in of_kind(views, "bulls_eye") if view.ideal_off_deg == 0.0]
    assert len(straight) == 2
    for view in straight:
        one, other = pixels(view, isocenter, entry, target)
        assert np.linalg.norm(one - other) < 0.5
    # one of them has the detector on the entry's side, the other on the target's
    axis = np.array(entry) - target
    sides = [float(directions_of(np.array([v.primary_deg]), np.array([v.secondary_deg]))[0] @ axis) for v in straight]
    assert min(sides) < 0.0 < max(sides)


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_a_perpendicular_view_shows_the_full_length(position):
    entry, target = SACRAL
    isocenter = middle_of(entry, target)
    views = path_views(path_of(entry, target), [], patient_position=position, c_arm=MODEL)
    perpendicular = [view for view in of_kind(views, "progression", reachable=True) if view.ideal_off_deg == 0.0]
    assert perpendicular
    for view in perpendicular:
        one, other = pixels(view, isocenter, entry, target)
        seen_mm = np.linalg.norm(one - other) * PITCH_MM * MODEL.source_to_isocenter_mm / SOURCE_TO_DETECTOR_MM
        assert seen_mm == pytest.approx(math.dist(entry, target), rel=1e-4)


def test_en_face_looks_through_the_foramen():
    start, end = (28.0, 75.0, 12.0), (33.0, 45.0, 22.0)
    isocenter = middle_of(*SACRAL)
    views = path_views(path_of(*SACRAL), [tube(start, end)], patient_position="HFP", c_arm=MODEL)
    (view,) = of_kind(views, "en_face")
    assert view.zone_id == "Z1"
    assert view.reachable
    assert "its tube's axis" in view.reason
    one, other = pixels(view, isocenter, start, end)
    assert np.linalg.norm(one - other) < 0.5


def test_prone_is_primary_180_and_supine_0_for_a_beam_from_front_to_back():
    entry, target = (10.0, 90.0, 0.0), (10.0, 30.0, 0.0)
    prone = path_views(path_of(entry, target), [], patient_position="HFP", c_arm=MODEL).views[0]
    assert (prone.kind, prone.primary_deg, prone.secondary_deg) == ("bulls_eye", 180.0, 0.0)
    assert prone.equipment_deg == (0.0, 0.0)
    assert prone.reason == "straight down the path, detector on the entry's side"
    supine = path_views(path_of(entry, target), [], patient_position="HFS", c_arm=MODEL)
    reached, refused = of_kind(supine, "bulls_eye")
    assert (reached.primary_deg, reached.secondary_deg, reached.reachable) == (0.0, 0.0, True)
    assert "far side of the entry" in reached.reason
    assert (refused.primary_deg, refused.reachable, refused.score) == (180.0, False, 0.0)
    assert refused.reason.startswith("primary 180 beyond limit 110")


def test_feet_first_turns_the_picture_of_an_unturned_detector():
    views = path_views(path_of(*SACRAL), [], patient_position="FFP", c_arm=MODEL)
    assert {view.detector_rotation_deg for view in views.views} == {180.0}


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(PATIENT_POSITIONS),
    st.tuples(*[st.floats(-60, 60)] * 3),
    st.tuples(*[st.floats(-60, 60)] * 3),
    st.tuples(*[st.floats(-40, 40)] * 3),
)
def test_turning_the_patient_leaves_the_room_as_it_is(position, entry, target, foramen):
    """The same anatomy at the same place in the room, told in another position's LPS."""
    if math.dist(entry, target) < 20.0:
        return
    end = np.array(foramen) + np.array((12.0, 8.0, -6.0))
    low, high = np.array((-170.0, -110.0, -400.0)), np.array((180.0, 130.0, 400.0))

    def answer(position):
        rotation = lps_from_equipment(position)
        corners = np.array((low, high)) @ rotation.T
        zones = [tube(rotation @ foramen, rotation @ end), body(corners.min(axis=0), corners.max(axis=0))]
        path = path_of(rotation @ entry, rotation @ target)
        return path_views(path, zones, patient_position=position, c_arm=MODEL)

    one, other = answer("HFS"), answer(position)
    assert not one.findings[1:]
    for kind in ("bulls_eye", "en_face"):
        seen, again = (
            sorted(
                (*np.round(room_direction(view, where), 3), view.reachable)
                for view in of_kind(views, kind)
                if view.ideal_off_deg == 0
            )
            for views, where in ((one, "HFS"), (other, position))
        )
        np.testing.assert_allclose(seen, again, atol=2.1e-3)
    for views in zip(
        of_kind(one, "progression", reachable=True), of_kind(other, "progression", reachable=True), strict=True
    ):
        # where two are equally good either may be told, but never one that is worse
        assert views[0].score == pytest.approx(views[1].score, abs=0.3)


@pytest.mark.parametrize("seed", range(8))
def test_the_first_progression_view_is_the_best_of_all_reachable_angles(seed):
    """Brute force over the whole degrees of the stand's ranges with the published penalties."""
    random = np.random.default_rng(seed)
    position = PATIENT_POSITIONS[seed]
    entry, target = random.uniform(-60, 60, (2, 3))
    middle, axis = middle_of(entry, target), (target - entry) / math.dist(entry, target)
    across = np.cross(axis, random.normal(size=3))
    gap = across / np.linalg.norm(across)
    zone = zone_of(SphereShape(center_lps_mm=tuple(middle + 15.0 * gap), radius_mm=5.0), site=ZoneSite.VEIN)
    views = path_views(path_of(entry, target), [zone], patient_position=position, c_arm=MODEL)
    rotation = lps_from_equipment(position)
    grid = np.array([(p, s) for p in range(-110, 111) for s in range(-45, 46)], np.float64)
    every = directions_of(*grid.T) @ rotation.T
    score = (
        100.0
        - np.degrees(np.arcsin(np.abs(every @ axis)))
        - 0.1 * np.degrees(np.arcsin(np.abs(every[:, 2])))
        - 0.1 * np.degrees(np.arcsin(np.abs(every @ gap)))
        - 2.5 * (1.0 + every @ rotation[:, 1])
    )
    reachable = free_poses(grid, position)
    first = max(of_kind(views, "progression", reachable=True), key=lambda view: view.score)
    assert first.score >= score[reachable].max() - 0.02
    # and it is what the penalties say of that pose
    toward = directions_of(np.array([first.primary_deg]), np.array([first.secondary_deg]))[0]
    assert first.score == pytest.approx(
        100.0
        - np.degrees(np.arcsin(abs(toward @ axis)))
        - 0.1 * np.degrees(np.arcsin(abs(toward[2])))
        - 0.1 * np.degrees(np.arcsin(abs(toward @ gap)))
        - 2.5 * (1.0 + toward @ rotation[:, 1]),
        abs=0.02,
    )


def free_poses(grid, position):
    """Which poses of the stand are free of table and assumed patient; collisions have their own test."""
    couch = couch_of(None, np.zeros(3), position)
    axes = np.array([positioner_axes(primary, secondary) for primary, secondary in grid])
    return np.concatenate(
        [(separations_mm(MODEL, couch, part) >= MODEL.safety_mm).all(axis=1) for part in np.array_split(axes, 20)]
    )


def test_a_pose_beyond_the_limits_says_so_and_the_nearest_reachable_one_stands_by_itself():
    entry, target = (10.0, 60.0, -50.0), (10.0, 20.0, 14.0)  # 58 deg out of the transverse plane
    views = path_views(path_of(entry, target), [], patient_position="HFP", c_arm=MODEL)
    refused = of_kind(views, "bulls_eye", reachable=False)
    assert refused[0].reason.startswith("secondary -58 beyond caudal limit -45 (straight down the path")
    assert all(view.score == 0.0 for view in refused)
    (nearest,) = of_kind(views, "bulls_eye", reachable=True)
    grid = np.array([(p, s) for p in range(-110, 111) for s in range(-45, 46)], np.float64)
    every = directions_of(*grid[free_poses(grid, "HFP")].T) @ lps_from_equipment("HFP").T
    axis = (np.array(entry) - target) / math.dist(entry, target)
    best = np.degrees(np.arccos(np.clip(every @ axis, -1, 1))).min()
    assert nearest.ideal_off_deg <= best + 0.05
    assert f"nearest reachable: {nearest.ideal_off_deg:.0f} deg off the path's axis" in nearest.reason
    assert views.views.index(nearest) < min(views.views.index(view) for view in refused)


def test_where_no_perpendicular_view_is_reached_the_list_has_it_and_the_nearest():
    narrow = msgspec.structs.replace(MODEL, ranges_deg=(AngleRange(primary=(-20.0, 20.0), secondary=(-20.0, 20.0)),))
    views = path_views(path_of((0.0, 60.0, 0.0), (0.0, 10.0, 0.0)), [], patient_position="HFP", c_arm=narrow)
    first = of_kind(views, "progression", reachable=True)[0]
    # the corner of the range: cos(off) = sin of the angle between beam and path
    corner = math.degrees(math.asin(math.cos(math.radians(20)) ** 2))
    assert first.ideal_off_deg == pytest.approx(corner, abs=0.05)
    assert f"{corner:.0f} deg off perpendicular" in first.reason
    refused = of_kind(views, "progression", reachable=False)
    assert any("beyond its limit" in view.reason and view.ideal_off_deg == 0.0 for view in refused)


def test_a_housing_that_meets_the_table_is_named():
    zones = [body((-180.0, -120.0, -500.0), (180.0, 450.0, 500.0))]  # the path lies high above the table
    views = path_views(path_of((10.0, 90.0, 0.0), (10.0, 30.0, 0.0)), zones, patient_position="HFS", c_arm=UNLIMITED)
    refused = of_kind(views, "bulls_eye", reachable=False)
    assert {view.reason.split(" (")[0] for view in refused} == {
        "X-ray tube meets the table",
        "detector meets the table",
    }
    assert "patient_outline_assumed" not in [finding.code for finding in views.findings]


def test_a_path_along_the_body_has_no_primary_angle():
    for sign in (1.0, -1.0):
        views = path_views(
            path_of((0.0, 0.0, 40.0 * sign), (0.0, 0.0, -40.0 * sign)), [], patient_position="HFP", c_arm=MODEL
        )
        refused = of_kind(views, "bulls_eye", reachable=False)
        assert sorted((view.primary_deg, view.secondary_deg) for view in refused) == [(0.0, -90.0), (0.0, 90.0)]
        assert all("limit" in view.reason for view in refused)
        assert of_kind(views, "progression", reachable=True)[0].ideal_off_deg == 0.0


@given(st.tuples(*[st.floats(-1, 1)] * 3), st.sampled_from(PATIENT_POSITIONS))
@settings(max_examples=20, deadline=None)
def test_angles_are_in_dicoms_ranges(direction, position):
    length = math.hypot(*direction)
    if length < 1e-3:
        return
    target = 30.0 * np.array(direction) / length
    views = path_views(path_of((0.0, 0.0, 0.0), target), [], patient_position=position, c_arm=MODEL)
    for view in views.views:
        assert -180.0 < view.primary_deg <= 180.0
        assert -90.0 <= view.secondary_deg <= 90.0
        assert math.copysign(1.0, view.primary_deg) > 0 or view.primary_deg != 0.0
        assert view.reason
        assert 0.0 <= view.score <= 100.0
    reachable = [view.reachable for view in views.views]
    assert reachable == sorted(reachable, reverse=True)
    scores = [view.score for view in views.views]
    assert scores == sorted(scores, reverse=True)


def test_the_gap_to_a_zone_that_may_be_touched_does_not_count():
    zone = tube((30.0, 60.0, 0.0), (30.0, 60.0, 30.0), zone_id="Z7", site=ZoneSite.SI_JOINT)
    plain = path_views(path_of(*SACRAL), [zone], patient_position="HFP", c_arm=MODEL)
    assert any("gap to zone Z7" in view.reason for view in plain.views)
    permitted = path_of(*SACRAL, permitted_zone_ids=("Z7",))
    views = path_views(permitted, [zone], patient_position="HFP", c_arm=MODEL)
    assert not any("gap to" in view.reason for view in views.views)


def test_only_foramina_near_the_path_are_looked_through_and_an_unknown_axis_is_said():
    far = tube((90.0, 70.0, 0.0), (90.0, 50.0, 0.0), zone_id="far")
    ball = zone_of(SphereShape(center_lps_mm=(30.0, 60.0, 10.0), radius_mm=4.0), zone_id="ball")
    views = path_views(path_of(*SACRAL), [far, ball], patient_position="HFP", c_arm=MODEL)
    assert not of_kind(views, "en_face")
    (unknown,) = [finding for finding in views.findings if finding.code == "zone_axis_unknown"]
    assert "zone ball" in unknown.message


def test_what_is_assumed_is_said():
    codes = [finding.code for finding in path_views(path_of(*SACRAL), [], patient_position="HFP", c_arm=MODEL).findings]
    assert codes == ["isocenter_assumed", "patient_outline_assumed"]
    told = path_views(
        path_of(*SACRAL),
        [body((-180.0, -120.0, -500.0), (180.0, 130.0, 500.0))],
        patient_position="HFP",
        c_arm=MODEL,
        isocenter_lps_mm=(0.0, 50.0, 0.0),
    )
    assert told.findings == ()


def test_without_a_patient_position_nothing_is_called_reachable():
    views = path_views(path_of(*SACRAL), [], patient_position="", c_arm=MODEL)
    assert "unknown_patient_position" in [finding.code for finding in views.findings]
    assert not any(view.reachable for view in views.views)
    assert all("patient position unknown" in view.reason for view in views.views)
    straight = path_views(path_of(*SACRAL), [], patient_position="HFP", c_arm=MODEL)
    assert (views.views[0].primary_deg, views.views[0].secondary_deg) == (
        of_kind(straight, "bulls_eye")[0].primary_deg,
        of_kind(straight, "bulls_eye")[0].secondary_deg,
    )


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"entry": SACRAL[1]}, "zero_length"),
        ({"entry": (math.nan, 0.0, 0.0)}, "not_finite"),
        ({"isocenter_lps_mm": (math.inf, 0.0, 0.0)}, "not_finite"),
        ({"isocenter_lps_mm": (0.0, 0.0, 900.0)}, "isocenter_far"),
        ({"patient_position": "PRONE"}, "unknown_patient_position"),
    ],
)
def test_bad_input_is_refused_by_name(change, code):
    given_ = {"patient_position": "HFP", "isocenter_lps_mm": None} | change
    path = path_of(given_.pop("entry", SACRAL[0]), SACRAL[1])
    with pytest.raises(GeometryError) as refused:
        path_views(path, [], c_arm=MODEL, **given_)
    assert refused.value.code == code


def test_offsets_are_angles_between_central_rays():
    views = path_views(path_of(*SACRAL), [], patient_position="HFP", c_arm=MODEL)
    isocenter = middle_of(*SACRAL)
    here = views_with_offsets(views, tuple(matrix_of(views.views[1], isocenter).ravel()))
    assert here.views[1].off_deg == pytest.approx(0.0, abs=0.01)
    one, other = (room_direction(view, "HFP") for view in views.views[:2])
    assert here.views[0].off_deg == pytest.approx(math.degrees(math.acos(one @ other)), abs=0.01)
    assert nearest_useful_view(here) == here.views[1]
    assert view_words(here.views[1]).endswith(", 0 deg off")
    assert nearest_useful_view(views) is None
    again = views_with_offsets(here, None)
    assert again == views


def test_nobody_is_led_to_a_view_that_is_not_reachable_or_far_off_its_purpose():
    views = path_views(path_of((10.0, 60.0, -90.0), (10.0, 50.0, 14.0)), [], patient_position="HFP", c_arm=MODEL)
    far = next(view for view in views.views if view.kind == "bulls_eye" and view.reachable)
    assert far.ideal_off_deg > 20.0
    for view in views.views:
        here = views_with_offsets(views, tuple(matrix_of(view, (10.0, 55.0, -38.0)).ravel()))
        nearest = nearest_useful_view(here)
        assert nearest is not None
        assert nearest.kind == "progression"
