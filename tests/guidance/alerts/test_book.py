"""Alerts latch: gone only when acknowledged and no longer true, and again when it gets worse."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.alerts.book import AlertBook, acknowledged, newly_raised, raised
from guidance.errors import CaseError
from guidance.messages import AlertCondition, AlertPriority, SiteStatus

LOW, MEDIUM, HIGH = AlertPriority.LOW, AlertPriority.MEDIUM, AlertPriority.HIGH


def site(zone_id="Z1", priority=LOW, status=SiteStatus.APPROACHING, distance_mm=4.0, **fields):
    return AlertCondition(
        kind="site", priority=priority, text="", zone_id=zone_id, status=status, distance_mm=distance_mm, **fields
    )


def only(book):
    (alert,) = book.alerts
    return alert


def test_a_condition_raises_one_alert_and_keeps_it():
    book = raised(AlertBook(), [site()], 10)
    assert (only(book).id, only(book).raised_ns, only(book).present) == ("A1", 10, True)
    assert raised(book, [site()], 20) is book


def test_it_latches():
    book = raised(raised(AlertBook(), [site()], 10), [], 20)
    assert (only(book).present, only(book).raised_ns) == (False, 10)
    again = raised(book, [site()], 30)
    assert (only(again).id, only(again).present, only(again).raised_ns) == ("A1", True, 10)


def test_acknowledged_and_gone_it_goes():
    book = acknowledged(raised(AlertBook(), [site()], 10), "A1", " Dr. Ö ", 15)
    assert (only(book).acknowledged_by, only(book).acknowledged_ns) == ("Dr. Ö", 15)
    assert raised(book, [site()], 20) is book
    assert raised(book, [], 30).alerts == ()
    gone_first = acknowledged(raised(raised(AlertBook(), [site()], 10), [], 20), "A1", "me", 25)
    assert gone_first.alerts == ()


def test_another_one_later_is_another_alert():
    book = raised(acknowledged(raised(AlertBook(), [site()], 10), "A1", "me", 15), [], 20)
    assert only(raised(book, [site()], 30)).id == "A2"


@pytest.mark.parametrize(
    "worse",
    [
        pytest.param(site(priority=MEDIUM), id="priority"),
        pytest.param(site(status=SiteStatus.CONTACT_POSSIBLE), id="status"),
    ],
)
def test_worse_after_an_acknowledgement_it_rises_again(worse):
    book = acknowledged(raised(AlertBook(), [site()], 10), "A1", "me", 15)
    after = raised(book, [worse], 20)
    alert = only(after)
    assert (alert.id, alert.raised_ns, alert.acknowledged_by, alert.acknowledged_ns) == ("A1", 20, None, None)
    assert newly_raised(book, after) == (alert,)
    # Back at what it was, it is still the worst that is told.
    assert only(raised(after, [site()], 30)).condition == worse


def test_nearer_is_brought_up_to_date_without_speaking_again():
    book = acknowledged(raised(AlertBook(), [site()], 10), "A1", "me", 15)
    after = raised(book, [site(distance_mm=3.1)], 20)
    assert only(after).condition.distance_mm == 3.1
    assert (only(after).acknowledged_by, only(after).raised_ns) == ("me", 10)
    assert newly_raised(book, after) == ()
    assert only(raised(after, [site(distance_mm=4.5)], 30)).condition.distance_mm == 3.1


def test_what_speaks():
    book = raised(AlertBook(), [site("Z1")], 10)
    after = raised(book, [site("Z1"), site("Z2")], 20)
    assert [alert.condition.zone_id for alert in newly_raised(book, after)] == ["Z2"]
    assert newly_raised(after, after) == ()


def test_order_is_by_urgency():
    conditions = [
        site("Z1"),
        site("Z2", MEDIUM),
        AlertCondition(kind="vein", priority=HIGH, text=""),
        AlertCondition(kind="no_reading", priority=LOW, text=""),
    ]
    book = raised(AlertBook(), conditions, 10)
    assert [alert.condition.kind + alert.condition.zone_id for alert in book.alerts] == [
        "vein", "siteZ2", "no_reading", "siteZ1",
    ]  # fmt: skip
    book = acknowledged(book, book.alerts[2].id, "me", 20)
    assert [alert.condition.kind for alert in book.alerts] == ["vein", "site", "site", "no_reading"]


def test_no_alarm_is_no_alert_and_of_two_the_worst_counts():
    assert raised(AlertBook(), [site(priority=AlertPriority.NONE)], 10) == AlertBook()
    book = raised(AlertBook(), [site(), site(priority=HIGH), site(priority=MEDIUM)], 10)
    assert only(book).condition.priority is HIGH


def test_unknown_and_nameless():
    book = raised(AlertBook(), [site()], 10)
    with pytest.raises(CaseError, match="A1") as caught:
        acknowledged(book, "A7", "me", 20)
    assert caught.value.code == "unknown_alert"
    with pytest.raises(CaseError) as caught:
        acknowledged(book, "A1", "  ", 20)
    assert caught.value.code == "bad_field"
    first = acknowledged(book, "A1", "first", 20)
    assert only(acknowledged(first, "A1", "second", 30)).acknowledged_by == "first"


conditions = st.builds(
    site,
    zone_id=st.sampled_from(["Z1", "Z2", "Z3"]),
    priority=st.sampled_from(list(AlertPriority)),
    status=st.sampled_from([*SiteStatus, None]),
    distance_mm=st.none() | st.floats(-5.0, 9.0),
)
steps = st.lists(st.lists(conditions, max_size=4) | st.sampled_from(["A1", "A2", "A3"]), max_size=25)


@given(steps)
def test_nothing_that_was_not_acknowledged_is_ever_lost(steps):
    book, raised_keys = AlertBook(), {}
    for now, step in enumerate(steps):
        if isinstance(step, str):
            if any(alert.id == step for alert in book.alerts):
                book = acknowledged(book, step, "me", now)
                raised_keys = {key: each for key, each in raised_keys.items() if each != step}
        else:
            before = book
            book = raised(book, step, now)
            true_now = {each.zone_id for each in step if each.priority is not AlertPriority.NONE}
            held = {alert.condition.zone_id: alert for alert in book.alerts}
            assert true_now <= held.keys()
            assert {zone_id for zone_id, alert in held.items() if alert.present} == true_now
            raised_keys.update({alert.condition.zone_id: alert.id for alert in newly_raised(before, book)})
        held_ids = {alert.id for alert in book.alerts}
        assert set(raised_keys.values()) <= held_ids
        assert len({(alert.condition.kind, alert.condition.zone_id) for alert in book.alerts}) == len(book.alerts)
        assert len(held_ids) == len(book.alerts)


def test_an_alert_is_never_of_another_condition():
    book = raised(AlertBook(), [site("Z1"), replace(site("Z1"), kind="vein")], 10)
    assert len(book.alerts) == 2
