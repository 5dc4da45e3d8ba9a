"""What to do now: stop in time, and the good news only where all of it is known."""

import pytest

from guidance.cement.advice import advised
from guidance.messages import AlertCondition, AlertPriority, CementState, SiteState, SiteStatus, ZoneKind, ZoneSite
from tests.helpers.cement_views import zone

NEAR, TARGET = zone("Z1", name="S1 left"), zone("Z2", ZoneSite.LESION, kind=ZoneKind.TARGET)


def site(zone_id="Z1", left_mm=6.4, status=SiteStatus.CLEAR, likely_mm=None):
    return SiteState(
        zone_id=zone_id,
        name="S1 left",
        site=ZoneSite.FORAMEN,
        side=None,
        time_to_contact_s=None,
        status=status,
        distance_mm=7.0,
        priority=AlertPriority.NONE,
        likely_mm=likely_mm,
        clearance_left_mm=left_mm,
        text="S1 left: 7 mm",
    )


def condition(priority, text="cement is in it"):
    return AlertCondition(kind="site", zone_id="Z1", priority=priority, text=text)


def told(conditions=(), sites=None, state=CementState.TRACKING, reason="", zones=(NEAR, TARGET)):
    sites = (site(), site("Z2", None, SiteStatus.CONTACT)) if sites is None else sites
    found = advised(state, reason, conditions, sites, zones)
    return found.action, found.text


def test_a_high_priority_says_stop_whatever_else_there_is():
    assert told([condition(AlertPriority.LOW, "low"), condition(AlertPriority.HIGH)]) == ("stop", "cement is in it")
    assert told([condition(AlertPriority.HIGH)], state=CementState.PAUSED, reason="no frame")[0] == "stop"


@pytest.mark.parametrize("priority", [AlertPriority.MEDIUM, AlertPriority.LOW])
def test_what_must_be_looked_at_is_caution(priority):
    assert told([condition(priority)]) == ("caution", "cement is in it")


def test_the_good_news():
    assert told() == ("clear", "6 mm left to S1 left")
    assert told([condition(AlertPriority.NONE)])[0] == "clear"
    assert told(sites=(site(likely_mm=3.2),)) == ("clear", "3 mm left to S1 left")  # by now, in a view that was left
    # Shadows that overlap while the 3D estimate knows that there is room are no contact.
    assert told(sites=(site(status=SiteStatus.CONTACT_POSSIBLE),))[0] == "clear"


@pytest.mark.parametrize(
    "changes",
    [
        {"state": CementState.PAUSED, "reason": "no frame for 2 s"},
        {"state": CementState.LOST, "reason": "black"},
        {"reason": "FluoroB: no frame for 2 s"},  # one view is missing
        {"sites": (site(left_mm=None),)},
        {"sites": (site(), site("Z3", None)), "zones": (NEAR, zone("Z3"))},
        {"zones": (TARGET,), "sites": (site("Z2", None, SiteStatus.CONTACT),)},
        {"state": CementState.IDLE},
    ],
)
def test_what_is_not_known_is_never_clear(changes):
    action, text = told(**changes)
    assert action is None
    assert text


def test_near_without_an_alarm_is_no_good_news():
    assert told(sites=(site(status=SiteStatus.APPROACHING),))[0] == "caution"
