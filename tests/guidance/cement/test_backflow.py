"""Cement on its way out along a path: seen in the views, or told by the cannula that is drawn back while it flows."""

from dataclasses import replace

import pytest

from guidance.cement.progress import with_injector
from guidance.messages import InjectorReading, TrackInView, ZoneSite
from tests.helpers.cement_progress import (
    APPROACHING,
    CLEAR,
    LOW,
    MEDIUM,
    NONE,
    POSSIBLE,
    SETTINGS,
    frame,
    kinds,
    px,
    running,
    site_of,
)
from tests.helpers.cement_views import AP, LATERAL, NS, seen_at, zone

TRACK = zone("Z1", ZoneSite.NEEDLE_TRACK, name="needle track")
SKIN = zone("Z2", ZoneSite.SKIN, name="skin")
ZONES = (TRACK, SKIN)
EXIT_MM, TRACK_MM, SKIN_MM = 25.0, 28.0, 110.0


def injecting(progress, *, running_on=True, at_s=0.0):
    reading = InjectorReading(
        volume_ml=1.0, flow_ml_s=0.2 if running_on else 0.0, pressure_bar=None, elapsed_s=1.0, running=running_on,
        received_ns=round(at_s * NS),
    )  # fmt: skip
    return with_injector(progress, reading, round(at_s * NS), SETTINGS)


def shown(time_s, *, tip_mm=None, column_mm=6.0, cloud=False, track_px_mm=22.0, view=AP, **fields):
    track = TrackInView(
        path_id="P1", back_mm=column_mm, left_mm=EXIT_MM - column_mm, exit_mm=EXIT_MM,
        shown_mm=column_mm, cloud=cloud, tip_mm=tip_mm,
    )  # fmt: skip
    sites = (
        px(track_px_mm, "Z1", path_id="P1", path_mm=TRACK_MM),
        px(104.0, "Z2", path_id="P1", path_mm=SKIN_MM, hidden=1.0),
    )
    return seen_at(time_s, sites, tracks=(track,), pixel_from_patient=view, **fields)


def drawn(*, mm_s, until_s=4.0, from_s=3.0, running_on=True, farthest_mm=200.0, column_mm=6.0):
    """A cannula whose end is drawn back from a time on; cement that is seen stays where it is."""
    progress = injecting(running(ZONES), running_on=running_on)
    for number in range(round(until_s * 15)):
        time_s = number / 15
        tip_mm = min(max(time_s - from_s, 0.0) * mm_s, farthest_mm)
        progress = frame(progress, shown(time_s, tip_mm=tip_mm, column_mm=column_mm), ZONES)
    return progress


def test_a_cannula_drawn_back_while_cement_flows_warns_of_its_track_and_of_the_skin():
    progress = drawn(mm_s=20.0)
    track, skin = site_of(progress), site_of(progress, "Z2")
    assert (track.status, track.priority) == (APPROACHING, LOW)
    assert (skin.status, skin.priority) == (APPROACHING, LOW)
    assert track.likely_mm == pytest.approx(TRACK_MM - 20.0 * 14 / 15, abs=1.0)
    assert skin.time_to_contact_s == pytest.approx((SKIN_MM - 20.0 * 14 / 15) / 20.0, abs=0.3)
    assert "drawn back" in track.text
    assert "drawn back" in skin.text
    assert skin.view_to_check == "the skin itself"
    assert skin.distance_mm == pytest.approx(104.0)  # what was measured stays what it is


def test_without_a_marked_zone_the_cannula_that_leaves_the_bone_is_told_too():
    assert "needle_track" in kinds(drawn(mm_s=20.0, until_s=4.2))
    assert "needle_track" not in kinds(drawn(mm_s=20.0, until_s=4.2, running_on=False))
    assert "needle_track" not in kinds(drawn(mm_s=6.0, farthest_mm=12.0, until_s=6.0))


def test_no_cement_comes_while_the_injector_stands():
    progress = drawn(mm_s=20.0, running_on=False)
    assert (site_of(progress).status, site_of(progress).priority) == (CLEAR, NONE)
    assert site_of(progress, "Z2").priority is NONE


def test_an_end_that_cement_hides_is_not_drawn():
    """Slowly, and then as fast as a first drop hides it."""
    assert site_of(drawn(mm_s=1.5, from_s=0.0, until_s=10.0)).status is CLEAR
    assert site_of(drawn(mm_s=20.0, farthest_mm=8.0, column_mm=8.0)).status is CLEAR


def test_a_cannula_that_left_the_picture_is_not_forgotten():
    progress = drawn(mm_s=20.0, until_s=4.5)
    for number in range(68, 120):
        progress = frame(progress, shown(number / 15), ZONES)
    assert site_of(progress).priority is LOW


def both(columns_mm, *, clouds=(False, False), track_px_mm=22.0, frames=30):
    """Two planes, each with its column along the path."""
    progress = injecting(running(ZONES))
    for number in range(frames):
        for device, view, column_mm, cloud in zip(("A", "B"), (AP, LATERAL), columns_mm, clouds, strict=True):
            seen = shown(
                number / 15, column_mm=column_mm, cloud=cloud, view=view, device=device, track_px_mm=track_px_mm
            )
            progress = frame(progress, seen, ZONES)
    return progress


def test_no_more_cement_is_on_a_path_than_any_view_shows():
    near = site_of(both((24.0, 27.0)))
    assert (near.status, near.priority) == (APPROACHING, LOW)
    assert near.likely_mm == pytest.approx(TRACK_MM - 24.0, abs=0.3)
    assert "along the path" in near.text
    assert site_of(both((12.0, 27.0))).status is CLEAR


def test_over_it_in_a_view_and_near_along_the_path_is_more_than_either():
    over = site_of(both((25.0, 27.0), track_px_mm=-1.0))
    assert (over.status, over.priority) == (POSSIBLE, MEDIUM)
    far = site_of(both((12.0, 27.0), track_px_mm=-1.0))
    assert (far.status, far.priority) == (POSSIBLE, LOW)


def test_a_cloud_in_all_views_tells_nothing_of_a_path():
    assert site_of(both((26.0, 27.0), clouds=(True, True))).status is CLEAR
    assert site_of(both((26.0, 27.0), clouds=(True, False))).status is APPROACHING


def test_what_one_view_alone_shows_on_a_path_may_lie_before_or_behind_it():
    progress = injecting(running(ZONES))
    for number in range(30):
        progress = frame(progress, shown(number / 15, column_mm=12.0 + 0.5 * number), ZONES)
    site = site_of(progress)
    assert (site.status, site.time_to_contact_s) == (CLEAR, None)


def test_a_cannula_drawn_back_a_little_and_placed_anew_warns_of_nothing():
    progress = drawn(mm_s=6.0, farthest_mm=12.0, until_s=6.0)
    assert (site_of(progress).status, site_of(progress, "Z2").priority) == (CLEAR, NONE)


def test_a_zone_on_no_path_is_told_as_before():
    progress = running(ZONES)
    for number in range(30):
        seen = shown(number / 15, column_mm=27.0)
        sites = tuple(replace(site, path_id="", path_mm=None) for site in seen.sites)
        progress = frame(progress, replace(seen, sites=sites), ZONES)
    assert site_of(progress).status is CLEAR


def track_alert_after_a_turn(*, ap_mm, age_s, lateral_mm=19.0):
    """The lateral view was left with cement far from the bone's end; in AP the column seems to reach beyond it."""
    progress = injecting(running(ZONES))
    for number in range(20):
        progress = frame(progress, shown(number / 15, column_mm=lateral_mm, view=LATERAL), ZONES)
    for number in range(10):
        time_s = 19 / 15 + age_s + number / 15
        progress = frame(progress, shown(time_s, column_mm=ap_mm), ZONES)
    return "needle_track" in kinds(progress)


def test_a_view_left_a_moment_ago_denies_a_column_that_another_shows():
    assert not track_alert_after_a_turn(ap_mm=27.0, age_s=1.0, lateral_mm=8.0)
    assert track_alert_after_a_turn(ap_mm=27.0, age_s=1.0, lateral_mm=24.0)
    assert track_alert_after_a_turn(ap_mm=27.0, age_s=9.0, lateral_mm=8.0)


@pytest.mark.parametrize(("lateral_mm", "status"), [(24.0, APPROACHING), (12.0, CLEAR)])
def test_what_a_view_showed_before_it_was_left_counts_for_the_other(lateral_mm, status):
    progress = injecting(running(ZONES))
    for number in range(20):
        progress = frame(progress, shown(number / 15, column_mm=lateral_mm, view=LATERAL), ZONES)
    assert site_of(progress).status is CLEAR
    for number in range(60, 75):
        progress = frame(progress, shown(number / 15, column_mm=26.0), ZONES)
    assert site_of(progress).status is status
