"""What is said of a zone that not all views show now, or that one view alone lies over."""

from dataclasses import replace

import pytest

from guidance.cement.progress import with_injector
from guidance.messages import CementBody, InjectorReading, SiteInSpace, TrackInView, ZoneSite
from tests.helpers.cement_progress import (
    APPROACHING,
    CLEAR,
    DISC,
    FORAMEN,
    HIGH,
    LOW,
    MEDIUM,
    NONE,
    POSSIBLE,
    SETTINGS,
    followed,
    frame,
    px,
    running,
    site_of,
)
from tests.helpers.cement_views import AP, LATERAL, NS, seen_at, zone

SKIN = zone("Z4", ZoneSite.SKIN, name="skin")


def in_space(distance_mm, zone_id="Z1", *, age_s=0.0):
    site = SiteInSpace(zone_id=zone_id, distance_mm=distance_mm, sigma_mm=0.6)
    return CementBody(views=("AP", "lateral"), sites=(site,), oldest_s=age_s)


def turned(*, lateral_mm, space_mm, until_s, zone_id="Z1", stopped=False, speed_mm_s=1.5, hidden=0.0):
    """Two seconds in AP, in which the front comes nearer from 13 mm, and then the lateral view."""
    progress = followed([13.0 - speed_mm_s * number / 15 for number in range(31)], zone_id=zone_id)
    if stopped:
        reading = InjectorReading(
            volume_ml=1.0, flow_ml_s=0.0, pressure_bar=None, elapsed_s=2.0, running=False, received_ns=2 * NS
        )
        progress = with_injector(progress, reading, 2 * NS, SETTINGS)
    for number in range(60, int(until_s * 15)):
        time_s = number / 15
        body = in_space(space_mm, zone_id, age_s=time_s - 2.0)
        seen = seen_at(time_s, (px(lateral_mm, zone_id, hidden=hidden),), pixel_from_patient=LATERAL, body=body)
        progress = frame(progress, seen)
    return progress


def test_what_the_other_view_showed_has_gone_on_since():
    """10 mm at 1.5 mm/s when AP was left; in the lateral view the zone always lay over the cement."""
    early = site_of(turned(lateral_mm=-3.0, space_mm=10.5, until_s=4.5))
    assert (early.status, early.priority) == (POSSIBLE, NONE)
    late = site_of(turned(lateral_mm=-3.0, space_mm=10.5, until_s=8.0))
    assert (late.status, late.priority) == (POSSIBLE, MEDIUM)  # high is what somebody has seen
    assert late.distance_mm == pytest.approx(10.5, abs=0.1)  # what was measured stays what it is
    assert late.likely_mm == pytest.approx(10.0 - 1.5 * 6.0, abs=1.0)
    assert late.view_to_check == "the AP view"
    assert "likely" in late.text
    assert late.clearance_left_mm is None or late.clearance_left_mm <= late.likely_mm


def test_a_view_that_shows_it_far_off_now_denies_it():
    site = site_of(turned(lateral_mm=9.0, space_mm=10.5, until_s=7.0))
    assert (site.status, site.priority) == (CLEAR, NONE)


def test_of_a_zone_that_no_view_shows_now_nothing_is_likely():
    site = site_of(turned(lateral_mm=-3.0, space_mm=10.5, until_s=8.0, hidden=0.8))
    assert (site.priority, site.likely_mm) == (NONE, None)


def test_no_cement_comes_while_the_injector_stands():
    site = site_of(turned(lateral_mm=-3.0, space_mm=10.5, until_s=7.0, stopped=True))
    assert (site.priority, site.likely_mm) == (NONE, None)


def test_near_in_3d_and_over_it_in_a_view_is_more_than_either():
    body = in_space(4.0, "Z2")
    near = followed([8.0] * 20, zone_id="Z2", body=body)
    assert (site_of(near, "Z2").status, site_of(near, "Z2").priority) == (APPROACHING, LOW)
    over = followed([-3.0] * 20, zone_id="Z2", body=body)
    assert (site_of(over, "Z2").status, site_of(over, "Z2").priority) == (POSSIBLE, MEDIUM)
    far = followed([-3.0] * 20, zone_id="Z2", body=in_space(8.0, "Z2"))
    assert site_of(far, "Z2").priority is NONE


@pytest.mark.parametrize(("known", "reach_mm", "priority"), [
    (FORAMEN, None, LOW),
    (FORAMEN, 7.0, LOW),
    (FORAMEN, 4.0, MEDIUM),
    (DISC, 4.0, MEDIUM),
    (zone("Z1", ZoneSite.NEEDLE_TRACK), 4.0, LOW),
])  # fmt: skip
def test_one_view_that_cannot_tell_warns_once_cement_has_gone_as_far(known, reach_mm, priority):
    progress = running((known,))
    for number in range(20):
        site = px(-3.0, known.id, reach_left_mm=reach_mm)
        progress = frame(progress, seen_at(number / 15, (site,)), (known,))
    assert (site_of(progress, known.id).status, site_of(progress, known.id).priority) == (POSSIBLE, priority)


@pytest.mark.parametrize(
    ("left_mm", "leaves", "told"), [(-20.0, True, True), (-20.0, False, False), (-3.0, True, False)]
)
def test_the_skin_that_no_picture_shows(left_mm, leaves, told):
    """Cement that goes out of the picture along its track is on its way there."""
    progress = running((SKIN,))
    for number in range(20):
        track = TrackInView(path_id="P1", back_mm=40.0, left_mm=left_mm)
        seen = seen_at(
            number / 15, (px(50.0, "Z4", hidden=1.0),), tracks=(track,), body=in_space(52.0, "Z4"),
            pixel_from_patient=AP, out_of_picture=True,
        )  # fmt: skip
        progress = frame(progress, replace(seen, leaves_along_path=leaves), (SKIN,))
    site = site_of(progress, "Z4")
    assert (site.status is APPROACHING) == told
    assert site.priority is (LOW if told else NONE)
    assert not told or site.view_to_check == "the skin itself"
    assert HIGH is not site.priority


@pytest.mark.parametrize(("space_mm", "priority"), [(1.5, MEDIUM), (3.5, LOW), (8.0, NONE)])
def test_minor_harm_that_both_show_as_good_as_there_is_more_than_a_hint(space_mm, priority):
    """Low would be no more than what one view says that cannot tell."""
    progress = running((SKIN,))
    for number in range(20):
        seen = seen_at(number / 15, (px(-3.0, "Z4"),), body=in_space(space_mm, "Z4"))
        progress = frame(progress, seen, (SKIN,))
    assert (site_of(progress, "Z4").status, site_of(progress, "Z4").priority) == (POSSIBLE, priority)
