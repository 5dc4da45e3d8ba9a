"""Alerts that stay until they are acknowledged and no longer true; says nothing of what they are about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from guidance.errors import CaseError
from guidance.messages import Alert, AlertCondition, AlertPriority, SiteStatus

_PRIORITY_RANK: Final = {
    AlertPriority.NONE: 0,
    AlertPriority.LOW: 1,
    AlertPriority.MEDIUM: 2,
    AlertPriority.HIGH: 3,
}
_STATUS_RANK: Final = {
    None: 0,
    SiteStatus.CLEAR: 0,
    SiteStatus.APPROACHING: 1,
    SiteStatus.CONTACT_POSSIBLE: 2,
    SiteStatus.CONTACT: 3,
}

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertBook:
    """All alerts that are latched.

    Attributes:
        alerts: at most one of each kind and zone; the most urgent first, the newest first among equals.
        count: how many were ever raised: the newest one's number.
    """

    alerts: tuple[Alert, ...] = ()
    count: int = 0


def raised(book: AlertBook, conditions: Iterable[AlertCondition], now_ns: int) -> AlertBook:
    """Take in everything that is true now; what is not among it is no longer true.

    A condition without an alert raises one. One that is worse than its alert ever was (priority, then status) makes it
    unacknowledged and rise again under the same id; one as bad only brings its figures up to date where they are worse.
    An alert whose condition is gone stays until it is acknowledged.

    Args:
        conditions: those of `AlertPriority.NONE` are no alarms; of several of one kind and zone the worst counts.
        now_ns: server's monotonic clock.
    """
    present: dict[_Key, AlertCondition] = {}
    for condition in conditions:
        key = (condition.kind, condition.zone_id)
        if condition.priority is AlertPriority.NONE:
            continue
        if key not in present or _severity(condition) > _severity(present[key]):
            present[key] = condition
    alerts = []
    for alert in book.alerts:
        now = present.pop((alert.condition.kind, alert.condition.zone_id), None)
        if now is not None:
            alerts.append(_with(alert, now, now_ns))
        elif alert.acknowledged_by is None:
            alerts.append(alert if not alert.present else replace(alert, present=False))
    count = book.count
    for condition in present.values():
        count += 1
        alerts.append(Alert(id=f"A{count}", condition=condition, present=True, raised_ns=now_ns))
    ordered = tuple(sorted(alerts, key=_urgency))
    return book if (ordered, count) == (book.alerts, book.count) else AlertBook(alerts=ordered, count=count)


def acknowledged(book: AlertBook, alert_id: str, by: str, now_ns: int) -> AlertBook:
    """The operator knows: the alert goes as soon as its condition has gone.

    The first acknowledgement counts; a second one changes nothing.

    Args:
        by: who says so; without one it is refused.

    Raises:
        CaseError: `unknown_alert`; `bad_field`: no name.
    """
    name = by.strip()
    if not name:
        raise CaseError("an alert is acknowledged by somebody", code="bad_field", mend="say who, in `by`")
    if all(alert.id != alert_id for alert in book.alerts):
        known = ", ".join(alert.id for alert in book.alerts) or "none"
        raise CaseError(f"there is no alert {alert_id!r}", code="unknown_alert", mend=f"latched are: {known}")
    alerts = []
    for alert in book.alerts:
        if alert.id == alert_id and alert.acknowledged_by is None:
            alert = replace(alert, acknowledged_by=name, acknowledged_ns=now_ns)
            if not alert.present:
                continue
        alerts.append(alert)
    return AlertBook(alerts=tuple(sorted(alerts, key=_urgency)), count=book.count)


def newly_raised(before: AlertBook, after: AlertBook) -> tuple[Alert, ...]:
    """Alerts that spoke between two books: new ones, and those that rose again."""
    known = {alert.id: (alert.raised_ns, *_severity(alert.condition)[:2]) for alert in before.alerts}
    return tuple(
        alert for alert in after.alerts if known.get(alert.id) != (alert.raised_ns, *_severity(alert.condition)[:2])
    )


def _with(alert: Alert, now: AlertCondition, now_ns: int) -> Alert:
    """The alert as its condition, true again or still, makes it."""
    if _severity(now)[:2] > _severity(alert.condition)[:2]:
        return replace(alert, condition=now, present=True, raised_ns=now_ns, acknowledged_by=None, acknowledged_ns=None)
    if _severity(now) > _severity(alert.condition):
        return replace(alert, condition=now, present=True)
    return alert if alert.present else replace(alert, present=True)


def _severity(condition: AlertCondition) -> tuple[int, int, float]:
    """Greater is worse: priority, status, and then how near."""
    distance = condition.distance_mm
    return (
        _PRIORITY_RANK[condition.priority],
        _STATUS_RANK[condition.status],
        -distance if distance is not None else float("-inf"),
    )


def _urgency(alert: Alert) -> tuple[int, bool, int, int]:
    rank = _PRIORITY_RANK[alert.condition.priority]
    return -rank, alert.acknowledged_by is not None, -alert.raised_ns, -int(alert.id[1:])
