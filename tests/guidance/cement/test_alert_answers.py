"""Alerts as they go out: members, order, STRING's limits."""

from __future__ import annotations

import json

from guidance.alerts.book import AlertBook, acknowledged, raised
from guidance.cement.alert_answers import acknowledged_answer, alert_answer, alert_list, alert_objects, utc_text
from guidance.messages import Alert, AlertCondition, AlertPriority, SiteStatus, ZoneSide, ZoneSite
from guidance.wire.openigtlink.outputs import MAXIMUM_TEXT_BYTES, alert_text

S = 1_000_000_000
WALL_NS = 1_790_000_000 * S


def condition(number=1, priority=AlertPriority.MEDIUM, **members):
    values = {
        "kind": "site",
        "priority": priority,
        "text": f"Neuroforamen S{number} links: 1,2 mm übrig",
        "zone_id": f"Z{number}",
        "site": ZoneSite.FORAMEN,
        "side": ZoneSide.LEFT,
        "status": SiteStatus.APPROACHING,
        "distance_mm": 1.2,
        "time_to_contact_s": 3.4,
        "view_to_check": "the lateral view",
        "frame_number": 7,
        "device": "FluoroA",
    }
    return AlertCondition(**(values | members))


def test_members_are_the_contracts():
    alert = Alert(id="A3", condition=condition(), present=True, raised_ns=2 * S)
    (told,) = alert_objects(alert_list(AlertBook(alerts=(alert,), count=3), wall_from_monotonic_ns=WALL_NS))
    assert told == {
        "id": "A3",
        "kind": "site",
        "zone_id": "Z1",
        "site": "foramen",
        "side": "left",
        "status": "approaching",
        "priority": "medium",
        "distance_mm": 1.2,
        "time_to_contact_s": 3.4,
        "view_to_check": "the lateral view",
        "frame_number": 7,
        "input": "FluoroA",
        "raised_at": "2026-09-21T14:13:22.000+00:00",
        "acknowledged_by": None,
        "acknowledged_at": None,
        "present": True,
        "text": "Neuroforamen S1 links: 1,2 mm übrig",
    }


def test_what_is_of_no_zone_has_nulls_and_no_number_is_not_finite():
    bare = AlertCondition(kind="no_reading", priority=AlertPriority.LOW, text="no reading", distance_mm=float("nan"))
    told = alert_answer(Alert(id="A1", condition=bare, present=False, raised_ns=0), wall_from_monotonic_ns=WALL_NS)
    assert (told.zone_id, told.site, told.side, told.status, told.distance_mm) == (None,) * 5
    assert (told.view_to_check, told.frame_number, told.present) == (None, None, False)


def test_times_are_utc_to_the_millisecond():
    assert utc_text(0) == "1970-01-01T00:00:00.000+00:00"
    assert utc_text(1_790_000_000_123_456_789) == "2026-09-21T14:13:20.123+00:00"


def test_string_holds_whole_alerts_the_most_urgent_first_in_ascii():
    conditions = [
        condition(number, priority)
        for number, priority in enumerate([AlertPriority.LOW] * 300 + [AlertPriority.HIGH], start=1)
    ]
    book = raised(AlertBook(), conditions, S)
    text = alert_text(alert_objects(alert_list(book, wall_from_monotonic_ns=WALL_NS)))
    assert text.isascii()
    assert MAXIMUM_TEXT_BYTES - 1000 < len(text) <= MAXIMUM_TEXT_BYTES
    told = json.loads(text)
    assert 100 < len(told) < 300
    assert (told[0]["zone_id"], told[0]["priority"]) == ("Z301", "high")
    assert told[0]["text"] == "Neuroforamen S301 links: 1,2 mm übrig"


def test_alert_that_goes_with_its_acknowledgement_is_told_as_acknowledged():
    true = raised(AlertBook(), [condition()], S)
    over = raised(true, [], 2 * S)
    for before, present in ((true, True), (over, False)):
        after = acknowledged(before, "A1", "Ada", 3 * S)
        assert bool(after.alerts) is present
        told = acknowledged_answer(before, after, "A1", by="Ada", now_ns=3 * S, wall_from_monotonic_ns=WALL_NS)
        assert (told.acknowledged_by, told.present) == ("Ada", present)
        assert told.acknowledged_at == "2026-09-21T14:13:23.000+00:00"
