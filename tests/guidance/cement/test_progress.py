"""What the session knows of the cement: states, sites, conditions, frame by frame; time is passed in."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.cement.progress import (
    CementProgress,
    stopped,
    with_injector,
    with_time,
    with_zones,
)
from guidance.messages import (
    CementBody,
    CementState,
    InjectorReading,
    SiteInSpace,
    SiteInView,
    SphereShape,
    ZoneSide,
    ZoneSite,
)
from tests.helpers.cement_progress import (
    APPROACHING,
    CLEAR,
    CONTACT,
    DISC,
    FORAMEN,
    HIGH,
    LOW,
    MEDIUM,
    NONE,
    POSSIBLE,
    SETTINGS,
    TARGET,
    ZONES,
    followed,
    frame,
    kinds,
    px,
    running,
    site_of,
)
from tests.helpers.cement_views import AP, LATERAL, NS, seen_at, zone

# States


def test_idle_knows_every_zone_and_nothing_of_it():
    progress = with_zones(CementProgress(), ZONES, now_ns=0, settings=SETTINGS)
    assert progress.state is CementState.IDLE
    assert [site.zone_id for site in progress.sites] == ["Z1", "Z2", "Z3"]
    assert all(site.status is None and site.reason for site in progress.sites)
    assert progress.conditions == ()
    assert (progress.frame_number, progress.area_mm2, progress.front_speed_mm_s) == (None, None, None)


def test_started_stopped():
    progress = followed([8.0] * 5)
    assert progress.state is CementState.TRACKING
    assert progress.frame_number == 5
    idle = stopped(progress)
    assert (idle.state, idle.run, idle.conditions, dict(idle.inputs)) == (CementState.IDLE, None, (), {})
    assert frame(idle, seen_at(9.0, (px(1.0),))) is idle


def test_frames_of_another_run_or_older_ones_change_nothing():
    progress = followed([8.0] * 5)
    assert frame(progress, seen_at(0.4, (px(-3.0),), run=2)) is progress
    assert frame(progress, seen_at(0.4, (px(-3.0),), sequence=5)) is progress


def test_a_gap_pauses_and_the_first_good_frame_goes_on():
    progress = followed([8.0] * 5)
    last_ns = progress.newest.view.received_ns
    assert with_time(progress, last_ns + int(0.4 * NS), SETTINGS).state is CementState.TRACKING
    paused = with_time(progress, last_ns + int(0.6 * NS), SETTINGS)
    assert paused.state is CementState.PAUSED
    assert "no frame for 0.6 s" in paused.reason
    assert site_of(paused).status is None  # nobody looks: clear is not known
    assert frame(paused, seen_at(3.0, (px(8.0),))).state is CementState.TRACKING


def test_slow_pulses_are_no_gap():
    progress = running()
    for number in range(4):
        progress = frame(progress, seen_at(number / 3, (px(8.0),), sequence=number + 1), rate_hz=3.0)
    last_ns = progress.newest.view.received_ns
    assert with_time(progress, last_ns + int(0.9 * NS), SETTINGS).state is CementState.TRACKING
    assert with_time(progress, last_ns + int(1.1 * NS), SETTINGS).state is CementState.PAUSED


def test_no_frame_after_the_start_is_a_pause_too():
    assert with_time(running(), NS // 4, SETTINGS).state is CementState.TRACKING
    assert with_time(running(), NS, SETTINGS).state is CementState.PAUSED


@pytest.mark.parametrize(
    "code",
    [
        "frame_size_changed", "scalar_type_changed", "saturated", "black", "motion_too_large", "picture_changed",
        "covered", "no_reference",
    ],
)  # fmt: skip
def test_a_bad_frame_is_said_and_the_next_good_one_goes_on(code):
    progress = followed([8.0] * 5)
    bad = frame(progress, seen_at(0.4, seen=False, code=code, reason=f"because {code}"))
    assert (bad.state, bad.reason) == (CementState.LOST, f"because {code}")
    assert "tracking_lost" not in kinds(bad)  # one frame is no alarm
    assert bad.frame_number == 5
    worse = bad
    for number in range(20):
        worse = frame(worse, seen_at(0.5 + number / 15, seen=False, code=code, reason=f"because {code}"))
    lost = next(condition for condition in worse.conditions if condition.kind == "tracking_lost")
    assert (lost.priority, code in lost.text) == (MEDIUM, True)
    good = frame(worse, seen_at(2.0, (px(7.9),)))
    assert (good.state, good.reason) == (CementState.TRACKING, "")
    assert site_of(good).distance_mm == pytest.approx(7.9, abs=0.2)
    assert "tracking_lost" not in kinds(good)


@pytest.mark.parametrize("going", [True, False])
def test_while_nothing_is_seen_and_cement_flows_there_may_be_more_than_what_was_seen(going):
    body = CementBody(views=("A", "B"), volume_ml=1.0, volume_low_ml=0.8, volume_high_ml=1.3)
    progress = frame(followed([8.0] * 5), seen_at(0.4, (px(8.0),), body=body))
    reading = InjectorReading(
        volume_ml=1.1, flow_ml_s=0.1, pressure_bar=None, elapsed_s=0.4, running=going, received_ns=round(0.4 * NS)
    )
    progress = with_injector(progress, reading, round(0.4 * NS), SETTINGS)
    hidden = progress
    for number in range(30):
        hidden = frame(hidden, seen_at(0.5 + number / 15, seen=False, code="covered", reason="a hand", body=body))
    told = hidden.body
    assert (told.volume_ml, told.volume_low_ml, told.volume_high_ml) == (
        (None, 0.8, None) if going else (1.0, 0.8, 1.3)
    )
    assert ("at least" in told.reason) is going
    assert frame(hidden, seen_at(3.0, (px(8.0),), body=body)).body is body


def test_one_of_two_inputs_is_enough_and_what_the_other_lacks_is_said():
    progress = followed([8.0] * 5, device="FluoroA")
    progress = frame(progress, seen_at(0.3, device="FluoroB", seen=False, code="black", reason="black"))
    assert progress.state is CementState.TRACKING
    assert progress.reason == "FluoroB: black"


# Sites


def test_a_front_far_off_is_clear_and_the_good_news_are_told():
    site = site_of(followed([9.0] * 30))
    assert (site.status, site.priority) == (CLEAR, NONE)
    assert site.distance_mm == pytest.approx(9.0, abs=0.1)
    assert 8.0 < site.clearance_left_mm < 9.0
    assert site.text == "S1 foramen left: clear, 8 mm left"
    assert site.time_to_contact_s is None


def test_three_levels_on_the_way_to_contact():
    progress, told = running(), []
    for number in range(105):
        time_s = number / 15
        progress = frame(progress, seen_at(time_s, (px(10.0 - 2.0 * time_s), px(20.0 - 2.0 * time_s, "Z2"))))
        site = site_of(progress)
        told.append((site.status, site.priority))
        if site.status is not CLEAR and len(told) > 20:
            truth_s = max(5.0 - time_s, 0.0)
            assert site.time_to_contact_s is not None
            assert site.time_to_contact_s <= truth_s + 0.05
    levels = list(dict.fromkeys(told))
    assert levels == [(CLEAR, NONE), (APPROACHING, MEDIUM), (APPROACHING, HIGH), (POSSIBLE, HIGH)]
    first = told.index((APPROACHING, MEDIUM)) / 15
    assert 0.3 <= first <= 2.6  # five seconds or five millimetres before
    (condition,) = (each for each in progress.conditions if each.zone_id == "Z1")
    assert (condition.kind, condition.site, condition.side) == ("site", ZoneSite.FORAMEN, ZoneSide.LEFT)
    assert condition.view_to_check == "the lateral view"
    assert "check the lateral view" in condition.text


def test_noise_does_not_flicker():
    random = np.random.default_rng(5)
    for mean_mm in (5.0, 2.0):
        progress, changes, before = running(), 0, None
        for number in range(300):
            progress = frame(progress, seen_at(number / 15, (px(mean_mm + random.normal(0.0, 0.35)),)))
            now = (site_of(progress).status, site_of(progress).priority)
            changes += before is not None and now != before
            before = now
        assert changes <= 2


def test_a_front_that_goes_back_is_let_go_after_a_while():
    progress = followed([4.0] * 20)
    assert site_of(progress).status is APPROACHING
    progress = followed([9.0] * 10, progress=progress, start_s=20 / 15)
    assert site_of(progress).status is APPROACHING
    progress = followed([9.0] * 15, progress=progress, start_s=30 / 15)
    assert site_of(progress).status is CLEAR


def test_a_leak_that_appears_counts_on_its_second_frame():
    progress = followed([9.0] * 20)
    progress = followed([-1.5], progress=progress, start_s=20 / 15)
    assert site_of(progress).status is CLEAR
    progress = followed([-1.6], progress=progress, start_s=21 / 15)
    assert (site_of(progress).status, site_of(progress).priority) == (POSSIBLE, HIGH)
    assert site_of(progress).time_to_contact_s == 0.0


def test_contact_is_of_the_body_and_not_of_one_view():
    overlap = (px(-2.0),)
    progress = followed([-2.0] * 5)
    assert site_of(progress).status is POSSIBLE
    touching = CementBody(
        views=("A", "B"),
        volume_ml=1.0,
        sites=(SiteInSpace(zone_id="Z1", distance_mm=-0.8, sigma_mm=0.3, touches=True),),
    )
    progress = frame(progress, seen_at(0.5, overlap, body=touching))
    assert site_of(progress).status is POSSIBLE  # one update of the body is none
    progress = frame(progress, seen_at(0.7, overlap, body=touching))
    site = site_of(progress)
    assert (site.status, site.priority, site.in_space) == (CONTACT, HIGH, True)
    assert site.distance_mm == pytest.approx(-0.8)
    assert site.time_to_contact_s == 0.0
    assert site.text == "S1 foramen left: cement is 0.8 mm in it"


def test_one_view_overlaps_and_in_space_it_is_clear():
    clear = CementBody(views=("A", "B"), sites=(SiteInSpace(zone_id="Z1", distance_mm=9.0, sigma_mm=0.8),))
    progress = running()
    for number in range(10):
        progress = frame(progress, seen_at(number / 15, (px(-2.0),), body=clear))
    site = site_of(progress)
    assert (site.status, site.priority) == (POSSIBLE, NONE)
    assert site.distance_mm == pytest.approx(9.0, abs=0.1)
    assert site.clearance_left_mm > 6.0
    assert "9.0 mm left in 3D" in site.text
    assert "site" not in kinds(progress)
    # A body with a view from long ago clears nothing.
    progress = frame(progress, seen_at(1.0, (px(-2.0),), body=replace(clear, oldest_s=30.0)))
    assert site_of(progress).priority is not NONE


def test_cement_that_came_in_a_zones_shadow_is_a_lesser_alarm_than_cement_that_went_there():
    born = followed([-3.0] * 10)
    assert (site_of(born).status, site_of(born).priority) == (POSSIBLE, LOW)
    went = followed([1.0] * 20 + [0.5, 0.0, -0.5, -1.0, -1.5, -2.0])
    assert (site_of(went).status, site_of(went).priority) == (POSSIBLE, HIGH)


def test_overlap_in_a_view_that_was_left_still_counts():
    progress = followed([1.0] * 5 + [0.0, -1.0, -2.0, -2.0])
    progress = followed([6.0] * 10, progress=progress, start_s=3.0, pixel_from_patient=LATERAL)
    site = site_of(progress)
    assert site.status is POSSIBLE
    assert len(progress.looks) == 2
    # Back in the first view it is free again: then it is.
    progress = followed([6.0] * 40, progress=progress, start_s=6.0)
    assert site_of(progress).status is CLEAR


def test_a_zone_that_cannot_be_seen_is_not_clear():
    progress = running()
    for number in range(5):
        progress = frame(progress, seen_at(number / 15, (px(9.0, hidden=0.9), px(9.0, "Z2"))))
    assert site_of(progress).status is None
    assert site_of(progress).clearance_left_mm is None
    assert "cannot be seen" in site_of(progress).reason
    assert site_of(progress, "Z2").status is CLEAR
    # And one that cement is near to is told of all the same.
    for number in range(5, 10):
        progress = frame(progress, seen_at(number / 15, (px(3.0, hidden=0.9),)))
    assert site_of(progress).status is APPROACHING


def test_no_geometry_no_distance():
    unknown = SiteInView(zone_id="Z1", distance_px=None, reason="no geometry")
    progress = frame(running(), seen_at(0.0, (unknown,), pixel_from_patient=None, mm_per_px=None))
    site = site_of(progress)
    assert (site.distance_mm, site.status, site.reason) == (None, None, "no geometry")
    assert progress.area_mm2 is None
    assert progress.state is CementState.TRACKING


def test_before_the_first_cement_all_is_clear():
    none_yet = SiteInView(zone_id="Z1", distance_px=None, reason="no new cement is seen yet")
    site = site_of(frame(running(), seen_at(0.0, (none_yet,), area_px=0.0)))
    assert (site.status, site.distance_mm, site.clearance_left_mm) == (CLEAR, None, None)


def test_a_target_is_reached_and_no_alarm():
    progress = followed([1.0] * 5 + [-1.0] * 10, zone_id="Z3")
    site = site_of(progress, "Z3")
    assert (site.status, site.priority) == (POSSIBLE, NONE)
    assert "target, reached" in site.text
    assert "site" not in kinds(progress)


@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), -float("inf")])
def test_garbage_distances_are_unknown(garbage):
    progress = frame(running(), seen_at(0.0, (SiteInView(zone_id="Z1", distance_px=garbage),)))
    assert site_of(progress).distance_mm is None
    body = CementBody(sites=(SiteInSpace(zone_id="Z1", distance_mm=garbage),))
    assert site_of(frame(running(), seen_at(0.0, (), body=body))).distance_mm is None


def test_biplane_tells_the_least_of_both_views_and_of_the_newest_pair():
    progress = running()
    for number in range(10):
        time_s = number / 15
        a = seen_at(time_s, (px(8.0),), device="FluoroA", frame_number=100 + number)
        b = seen_at(
            time_s + 0.01, (px(6.0),), device="FluoroB", sequence=number + 1, frame_number=100 + number,
            pixel_from_patient=LATERAL, area_px=200.0, front_speed_px_s=4.0,
        )  # fmt: skip
        progress = frame(frame(progress, a), b)
    assert progress.frame_number == 109
    half = frame(progress, seen_at(0.7, (px(8.0),), device="FluoroA", frame_number=110))
    assert half.frame_number == 109  # the other one of this pair has not come yet
    assert set(progress.seen) == {"FluoroA", "FluoroB"}
    assert site_of(progress).distance_mm == pytest.approx(6.0, abs=0.1)
    assert progress.area_mm2 == pytest.approx(50.0)
    assert progress.front_speed_mm_s == pytest.approx(2.0)


def test_zones_may_change_at_any_time():
    progress = followed([-2.0] * 8)
    moved = replace(FORAMEN, shape=SphereShape(center_lps_mm=(9.0, 0.0, 0.0), radius_mm=5.0))
    new = zone("Z9", ZoneSite.CANAL)
    after = with_zones(progress, (moved, DISC, new), now_ns=NS, settings=SETTINGS)
    assert [site.zone_id for site in after.sites] == ["Z1", "Z2", "Z9"]
    assert site_of(after).status is not POSSIBLE
    renamed = with_zones(progress, (replace(FORAMEN, name="other"), DISC, TARGET), now_ns=NS, settings=SETTINGS)
    assert site_of(renamed).status is POSSIBLE
    assert with_zones(progress, ZONES, now_ns=NS, settings=SETTINGS) is progress


distances = st.one_of(st.none(), st.floats(-30.0, 60.0), st.just(float("nan")))
matrices = st.sampled_from([AP, LATERAL, None])
frames = st.tuples(
    st.floats(0.001, 2.0), distances, st.booleans(), matrices, st.sampled_from(["A", "B"]), st.booleans()
)


@given(st.lists(frames, max_size=25))
def test_whatever_comes_every_zone_is_told_and_unknown_has_a_reason(steps):
    progress, time_s = running(), 0.0
    for number, (step_s, distance, good, matrix, device, gap) in enumerate(steps):
        time_s += step_s
        site = SiteInView(zone_id="Z1", distance_px=distance, reason="" if distance is not None else "why")
        why = "" if good else "black"
        geometry = {"pixel_from_patient": matrix, "mm_per_px": None if matrix is None else 0.5}
        seen = seen_at(
            time_s,
            (site,) if good else (),
            sequence=number + 1,
            device=device,
            seen=good,
            code=why,
            reason=why,
            **geometry,
        )
        progress = frame(progress, seen)
        if gap:
            progress = with_time(progress, round((time_s + 0.7) * NS), SETTINGS)
        assert [each.zone_id for each in progress.sites] == ["Z1", "Z2", "Z3"]
        for each in progress.sites:
            assert each.distance_mm is None or np.isfinite(each.distance_mm)
            assert each.distance_mm is not None or each.reason
            assert each.status is not None or each.reason
            assert each.text.startswith(("S1 foramen left: ", "L5/S1 disc: ", "lesion: "))
            assert each.priority is NONE or each.status not in (None, CLEAR)
        if progress.state is not CementState.TRACKING:
            assert progress.reason


def test_a_frame_without_geometry_leaves_no_reason_behind_once_geometry_is_told():
    nowhere = (SiteInView(zone_id="Z1", distance_px=None, reason="no geometry"),)
    progress = frame(running(), seen_at(0.0, nowhere, pixel_from_patient=None, mm_per_px=None))
    assert site_of(progress).reason
    progress = followed([9.0] * 8, progress=progress, start_s=0.1)
    assert site_of(progress).distance_mm == pytest.approx(9.0, abs=0.2)
    assert site_of(progress).reason == ""
