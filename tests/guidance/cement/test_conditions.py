"""What must be known beside the sites: veins, tracks, borders, the injector, working time, balloons."""

from dataclasses import replace

import numpy as np
import pytest

from guidance.cement.progress import (
    CementProgress,
    started,
    with_injector,
    with_time,
)
from guidance.messages import (
    CementBody,
    InjectorReading,
    SiteInSpace,
    ThinExtension,
    TrackInView,
)
from tests.helpers.cement_progress import (
    HIGH,
    LOW,
    MEDIUM,
    SETTINGS,
    ZONES,
    followed,
    frame,
    kinds,
    px,
    running,
)
from tests.helpers.cement_views import NS, RUN, seen_at


def test_a_vein_needs_no_zone():
    vein = ThinExtension(tip_px=(3.0, 4.0), length_px=30.0, width_px=6.0, speed_px_s=24.0)
    progress = frame(running(()), seen_at(0.0, extensions=(vein,)), ())
    assert progress.conditions == ()  # one frame is none
    short = replace(vein, length_px=13.0)
    stays = frame(frame(running(()), seen_at(0.0, extensions=(short,)), ()), seen_at(0.1, extensions=(short,)), ())
    assert stays.conditions == ()  # a finger of the body's own
    longer = replace(vein, length_px=17.0)
    assert kinds(frame(stays, seen_at(0.2, extensions=(longer,)), ())) == {"vein"}
    assert kinds(frame(stays, seen_at(0.9, extensions=(longer,)), ())) == set()  # another one
    progress = frame(progress, seen_at(0.1, extensions=(vein,)), ())
    (condition,) = progress.conditions
    assert (condition.kind, condition.priority, condition.device) == ("vein", HIGH, "Fluoro")
    assert "15 mm long, 3.0 mm wide, 12 mm/s in Fluoro (AP)" in condition.text
    along = replace(vein, path_id="P1")
    twice = frame(frame(running(()), seen_at(0.0, extensions=(along,)), ()), seen_at(0.1, extensions=(along,)), ())
    assert "vein" not in kinds(twice)


@pytest.mark.parametrize(("left_mm", "priority"), [(6.0, None), (1.5, LOW), (-2.0, MEDIUM), (None, None)])
def test_a_needle_track(left_mm, priority):
    tracks = (TrackInView(path_id="P1", back_mm=30.0, left_mm=left_mm),)
    progress = frame(running(()), seen_at(0.0, tracks=tracks), ())
    assert [condition.priority for condition in progress.conditions] == ([] if priority is None else [priority])
    if priority is not None:
        assert progress.conditions[0].kind == "needle_track"
        assert "P1" in progress.conditions[0].text


def test_outside_the_plan_and_out_of_the_picture():
    seen = seen_at(0.0, out_of_picture=True)
    progress = frame(running(()), replace(seen, outside_px=100.0), ())
    assert kinds(progress) == {"out_of_picture", "outside_plan"}
    assert kinds(frame(running(()), replace(seen_at(0.0), outside_px=40.0), ())) == set()
    # Three dimensions know better than one shadow.
    inside = replace(seen_at(0.0, body=CementBody(outside_ml=0.02)), outside_px=100.0)
    assert kinds(frame(running(()), inside, ())) == set()
    outside = seen_at(0.0, body=CementBody(outside_ml=0.4))
    assert kinds(frame(running(()), outside, ())) == {"outside_plan"}


def injected(at_s, volume_ml, *, going=True):
    return InjectorReading(
        volume_ml=volume_ml,
        flow_ml_s=0.1,
        pressure_bar=20.0,
        elapsed_s=at_s,
        running=going,
        received_ns=round(at_s * NS),
    )


def test_injected_and_not_seen():
    body = CementBody(volume_low_ml=0.4, volume_high_ml=0.8)
    progress = frame(running(), seen_at(1.0, (px(9.0),), body=body))
    few = with_injector(progress, injected(1.1, 1.0), round(1.1 * NS), SETTINGS)
    assert "volume_missing" not in kinds(few)
    many = with_injector(few, injected(1.3, 1.9), round(1.3 * NS), SETTINGS)
    assert "volume_missing" not in kinds(many)  # what is new is seen late
    for number in range(20):
        many = frame(many, seen_at(1.4 + number / 5, (px(9.0),), sequence=90 + number, body=body))
    (condition,) = (each for each in many.conditions if each.kind == "volume_missing")
    assert "1.9 ml injected, at most 0.8 ml seen" in condition.text
    # Without a volume (display-processed pictures) nothing is missing that could be known.
    blind = frame(many, seen_at(5.35, (px(9.0),), sequence=199, body=CementBody(reason="display")))
    assert "volume_missing" not in kinds(blind)


@pytest.mark.parametrize(
    ("view", "missing"),
    [
        ({"area_px": 0.0}, True),
        ({"area_px": 40.0}, False),
        ({"area_px": 0.0, "blind": np.ones((8, 8), np.uint8)}, False),
        ({"area_px": 0.0, "growth_only": True}, False),
        ({"area_px": 0.0, "seen": False}, False),
    ],
)
def test_injected_and_no_picture_shows_any_though_no_volume_is_known(view, missing):
    unknown = CementBody(reason="no geometry: cement is followed in the picture only")
    progress = with_injector(
        frame(running(), seen_at(1.0, **view, body=unknown)), injected(1.1, 2.0), round(1.1 * NS), SETTINGS
    )
    for number in range(20):
        progress = frame(progress, seen_at(1.4 + number / 5, sequence=90 + number, body=unknown, **view))
    assert ("volume_missing" in kinds(progress)) is missing


def test_readings_that_stop_while_it_runs():
    progress = with_injector(followed([9.0] * 3), injected(0.3, 0.1), round(0.3 * NS), SETTINGS)
    assert "no_reading" not in kinds(with_time(progress, 3 * NS, SETTINGS))
    assert "no_reading" in kinds(with_time(progress, 4 * NS, SETTINGS))
    ended = with_injector(followed([9.0] * 3), injected(0.3, 0.1, going=False), round(0.3 * NS), SETTINGS)
    assert "no_reading" not in kinds(with_time(ended, 9 * NS, SETTINGS))
    assert "no_reading" not in kinds(with_time(followed([9.0] * 3), 9 * NS, SETTINGS))  # there is no injector


@pytest.mark.parametrize("volume_ml", [-3.0, 1e9, float("nan")])
def test_readings_that_cannot_be(volume_ml):
    progress = with_injector(followed([9.0] * 3), injected(0.3, volume_ml), round(0.3 * NS), SETTINGS)
    assert kinds(progress) == {"no_reading"}
    assert kinds(with_injector(progress, injected(0.4, 0.1), round(0.4 * NS), SETTINGS)) == set()


def test_cement_flows_and_nobody_looks():
    progress = with_injector(followed([9.0] * 3), injected(0.3, 0.1), round(0.3 * NS), SETTINGS)
    paused = with_time(progress, NS, SETTINGS)
    (condition,) = paused.conditions
    assert (condition.kind, condition.priority) == ("tracking_lost", HIGH)


def test_what_was_injected_before_the_start_is_not_missing():
    before = with_injector(CementProgress(), injected(5.0, 3.0), 5 * NS, SETTINGS)
    progress = started(before, replace(RUN, started_ns=6 * NS), ZONES)
    progress = frame(progress, seen_at(6.2, (px(9.0),), body=CementBody(volume_low_ml=0.0, volume_high_ml=0.1)))
    progress = with_injector(progress, injected(6.3, 3.2), round(6.3 * NS), SETTINGS)
    assert progress.injector.delivered_ml == pytest.approx(0.2)
    assert "volume_missing" not in kinds(progress)


def test_the_working_time():
    progress = running((), work_ends_ns=100 * NS)
    assert with_time(progress, 30 * NS, SETTINGS).conditions == ()
    (soon,) = with_time(progress, 50 * NS, SETTINGS).conditions
    assert (soon.kind, soon.priority, "50 s" in soon.text) == ("working_time", LOW, True)
    (over,) = with_time(progress, 101 * NS, SETTINGS).conditions
    assert over.priority is MEDIUM


def test_a_balloon_is_no_cement():
    inflating = replace(RUN, material=replace(RUN.material, balloon=True))
    progress = started(CementProgress(), inflating, ())
    vein = ThinExtension(tip_px=(3.0, 4.0), length_px=30.0, width_px=6.0, speed_px_s=24.0)
    full = seen_at(0.0, body=CementBody(balloon_ml=3.0, volume_high_ml=0.0), extensions=(vein,))
    progress = frame(progress, replace(full, outside_px=500.0), ())
    assert progress.conditions == ()
    progress = with_injector(progress, injected(0.05, 3.0), NS // 20, SETTINGS)
    assert progress.conditions == ()
    progress = frame(progress, seen_at(0.1, body=CementBody(balloon_ml=2.5)), ())
    assert progress.conditions == ()
    progress = frame(progress, seen_at(0.2, body=CementBody(balloon_ml=1.0)), ())
    (condition,) = progress.conditions
    assert (condition.kind, condition.priority) == ("balloon", LOW)
    assert "1.0 ml of 3.0 ml" in condition.text


def test_cement_outside_the_bone_needs_no_zone_and_two_estimates():
    def outside(progress, time_s, ml, **fields):
        return frame(progress, replace(seen_at(time_s, **fields), outside_bone_ml=ml))

    once = outside(running(), 0.0, 0.05)
    assert kinds(once) == set()
    assert kinds(outside(once, 0.1, 0.0)) == set()
    (condition,) = outside(outside(once, 0.15, 0.05), 0.3, 0.05).conditions
    assert (condition.kind, condition.priority, condition.zone_id) == ("outside_plan", MEDIUM, "")
    assert "0.05 ml of cement outside the bone" in condition.text
    assert kinds(outside(outside(running(), 0.0, 0.01), 0.3, 0.01)) == set()
    # A marked zone tells where it is.
    there = CementBody(sites=(SiteInSpace(zone_id="Z1", distance_mm=-2.0, inside_ml=0.04, touches=True),))
    marked = outside(outside(running(), 0.0, 0.05, body=there), 0.3, 0.05, body=there)
    assert {each.priority for each in marked.conditions if each.kind == "outside_plan"} == {LOW}


def test_outside_the_plan_does_not_mute_outside_the_bone():
    body = CementBody(outside_ml=0.4)
    progress = running()
    for time_s in (0.0, 0.3):
        progress = frame(progress, replace(seen_at(time_s, body=body), outside_bone_ml=0.05))
    told = {each.zone_id: each.priority for each in progress.conditions if each.kind == "outside_plan"}
    assert told == {"Z3": LOW, "": MEDIUM}  # Z3 is the target


def test_what_leaves_the_picture_along_a_path_is_the_tracks_alarm():
    seen = seen_at(0.0, out_of_picture=True)
    assert kinds(frame(running(()), seen, ())) == {"out_of_picture"}
    assert kinds(frame(running(()), replace(seen, leaves_along_path=True), ())) == set()
