"""Scores of cement against shapes whose answer is known on paper."""

import numpy as np
import pytest

from drivers.commands.cement_scoring import (
    LATE_S,
    Raised,
    ZoneTruth,
    along_contours_px,
    crossings_px,
    dice,
    front_distances_mm,
    in_time,
    leak_warned,
    relative_error,
    site_verdict,
    warned,
    warns,
)
from guidance.messages import AlertCondition, AlertPriority, SiteStatus, ZoneSite


def circle(radius, middle=(40.0, 30.0), count=400):
    turn = np.linspace(0.0, 2.0 * np.pi, count, endpoint=False)
    return np.stack((middle[0] + radius * np.cos(turn), middle[1] + radius * np.sin(turn)), axis=1)


def alert(**changes):
    values = {
        "at_s": 1.0,
        "kind": "site",
        "zone_id": "Z1",
        "site": ZoneSite.FORAMEN,
        "priority": AlertPriority.HIGH,
        "status": SiteStatus.CONTACT_POSSIBLE,
        "warned_s": 2.0,
    }
    return Raised(**(values | changes))


def zone(**changes):
    values = {"zone_id": "Z1", "site": ZoneSite.FORAMEN, "first_contact_s": None, "nearest_mm": 20.0}
    return ZoneTruth(**(values | {"overlaps_s": None} | changes))


def test_dice_of_squares_that_overlap_by_half():
    a, b = np.zeros((20, 20), np.uint8), np.zeros((20, 20), bool)
    a[5:15, 0:10] = 1
    b[5:15, 5:15] = True
    assert dice(a, b) == 0.5
    assert dice(a, a) == 1.0
    assert dice(np.zeros((3, 3)), np.zeros((3, 3))) == 1.0
    assert dice(a, np.zeros_like(a)) == 0.0


def test_the_level_of_a_cone_is_a_circle_to_a_hundredth_of_a_pixel():
    v, u = np.mgrid[0:60, 0:80].astype(np.float32)
    field = 25.0 - np.hypot(u - 40.2, v - 30.7)
    points = crossings_px(field.astype(np.float32), 10.0)
    assert np.abs(np.hypot(points[:, 0] - 40.2, points[:, 1] - 30.7) - 15.0).max() < 0.01
    assert len(points) > 80
    assert len(crossings_px(np.zeros((5, 5), np.float32), 0.5)) == 0


def test_concentric_fronts_are_their_radii_apart_both_ways():
    away = front_distances_mm(circle(12.0), circle(10.0), 0.5)
    assert len(away) == 200
    assert away == pytest.approx(1.0, abs=0.01)
    assert len(front_distances_mm(np.zeros((0, 2)), circle(10.0), 0.5)) == 0


def test_a_missed_leak_weighs_although_the_main_body_is_exact():
    body, leak = circle(10.0), circle(2.0, (70.0, 30.0), 80)
    away = front_distances_mm(body, np.concatenate((body, leak)), 1.0)
    assert (away[:100] < 1e-9).all()
    assert np.count_nonzero(away[100:] > 10.0) == pytest.approx(100 * 80 / 480, abs=1)
    ghost = front_distances_mm(np.concatenate((body, leak)), body, 1.0)
    assert np.count_nonzero(ghost[:100] > 10.0) == pytest.approx(100 * 80 / 480, abs=1)


def test_points_along_contours_are_close_and_closed():
    square = np.array([(0.0, 0.0), (10.0, 0.0), (10.0, 4.0), (0.0, 4.0)])
    points = along_contours_px([square, np.zeros((0, 2))])
    assert len(points) == 2 * (20 + 8)
    assert any(np.allclose(point, (0.0, 2.0)) for point in points)


def test_a_zone_is_warned_of_by_its_own_alert():
    alerts = [alert(warned_s=None), alert(zone_id="Z2", warned_s=0.5), alert(warned_s=4.0), alert(warned_s=3.0)]
    assert warned(alerts, zone()) == 3.0
    assert warned([], zone()) is None


def test_the_hint_that_one_view_cannot_tell_is_no_warning():
    def said(priority, status):
        return warns(AlertCondition(kind="site", priority=priority, text="", status=status))

    assert not said(AlertPriority.LOW, SiteStatus.CONTACT_POSSIBLE)
    assert said(AlertPriority.MEDIUM, SiteStatus.CONTACT_POSSIBLE)
    assert said(AlertPriority.LOW, SiteStatus.APPROACHING)
    assert said(AlertPriority.LOW, None)


def test_a_warning_is_in_time_a_second_after_the_contact_or_two_frames_after_a_tenth_of_a_millilitre():
    assert in_time(5.0, 5.0 - LATE_S)
    assert not in_time(5.1, 5.0 - LATE_S)
    assert not in_time(None, 5.0, 9.0)
    assert in_time(8.9, 5.0, 9.0)
    assert in_time(5.5, 5.0, 4.0)


def test_a_leak_without_a_zone_counts_by_its_look_after_it_began():
    early, late = (alert(kind="vein", zone_id="", site=None, warned_s=time) for time in (1.0, 7.0))
    assert leak_warned([early], "vein", 5.0) is None
    assert leak_warned([early, late], "vein", 5.0) == 7.0
    assert leak_warned([late], "needle_track", 5.0) is None
    assert leak_warned([alert(kind="vein", warned_s=6.0)], "vein", 5.0) is None


@pytest.mark.parametrize(
    ("truth", "status", "verdict"),
    [
        pytest.param(zone(first_contact_s=3.0, nearest_mm=0.0), SiteStatus.CONTACT, "true", id="contact"),
        pytest.param(zone(nearest_mm=6.0), SiteStatus.CONTACT_POSSIBLE, "true", id="near"),
        pytest.param(zone(nearest_mm=9.0), SiteStatus.APPROACHING, "false", id="far"),
        pytest.param(zone(overlaps_s=1.0), SiteStatus.CONTACT_POSSIBLE, "projected", id="shadows overlap"),
        pytest.param(zone(overlaps_s=1.0), SiteStatus.CONTACT, "false", id="shadows overlap, contact claimed"),
        pytest.param(None, SiteStatus.CONTACT, "false", id="no such zone"),
    ],
)
def test_an_alert_without_a_reason_is_false(truth, status, verdict):
    assert site_verdict(alert(status=status), truth, near_mm=5.0) == verdict


def test_relative_error_of_what_was_told():
    assert relative_error(1.1, 1.0) == pytest.approx(0.1)
    assert relative_error(None, 1.0) is None
    assert relative_error(1.0, 0.0) is None
