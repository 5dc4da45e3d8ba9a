"""Alerts as HTTP, MQTT, OpenIGTLink's STRING and the page tell them (contract 5.4); values only."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from guidance.alerts.book import AlertBook
from guidance.messages import Alert, AlertKind, AlertPriority, SiteStatus, ZoneSide, ZoneSite
from guidance.registration.answers import finite

_NS_PER_S: Final = 1e9


class AlertAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A latched alert: it stays until somebody has acknowledged it and its condition is gone.

    Attributes:
        kind: what it is of: a zone's site, or one of the others.
        zone_id, site, side, status: null where it is of no zone.
        priority: after IEC 60601-1-8.
        distance_mm, time_to_contact_s: at its worst since it was raised; null where not known.
        view_to_check: which view tells more, in words; null where none does.
        frame_number, input: of the frame in which it was at its worst.
        raised_at, acknowledged_at: UTC, for people.
        present: its condition is true now.
        text: one line for people.
    """

    id: str
    kind: AlertKind
    zone_id: str | None
    site: ZoneSite | None
    side: ZoneSide | None
    status: SiteStatus | None
    priority: AlertPriority
    distance_mm: float | None
    time_to_contact_s: float | None
    view_to_check: str | None
    frame_number: int | None
    input: str
    raised_at: str
    acknowledged_by: str | None
    acknowledged_at: str | None
    present: bool
    text: str


class AlertList(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of GET /alerts: all latched ones, the most important first."""

    items: tuple[AlertAnswer, ...]


def alert_answer(alert: Alert, *, wall_from_monotonic_ns: int) -> AlertAnswer:
    """One alert.

    Args:
        alert: as it is held.
        wall_from_monotonic_ns: what makes Unix time of the server's monotonic clock; the same number for as long as
            the server runs, so that what is told of an alert does not change by itself.
    """
    what = alert.condition
    return AlertAnswer(
        id=alert.id,
        kind=what.kind,
        zone_id=what.zone_id or None,
        site=what.site,
        side=what.side,
        status=what.status,
        priority=what.priority,
        distance_mm=finite(what.distance_mm),
        time_to_contact_s=finite(what.time_to_contact_s),
        view_to_check=what.view_to_check or None,
        frame_number=what.frame_number,
        input=what.device,
        raised_at=utc_text(alert.raised_ns + wall_from_monotonic_ns),
        acknowledged_by=alert.acknowledged_by,
        acknowledged_at=None
        if alert.acknowledged_ns is None
        else utc_text(alert.acknowledged_ns + wall_from_monotonic_ns),
        present=alert.present,
        text=what.text,
    )


def alert_list(book: AlertBook, *, wall_from_monotonic_ns: int) -> AlertList:
    """All latched alerts in the book's order; arguments as of `alert_answer`."""
    return AlertList(
        items=tuple(alert_answer(alert, wall_from_monotonic_ns=wall_from_monotonic_ns) for alert in book.alerts)
    )


def acknowledged_answer(
    before: AlertBook, after: AlertBook, alert_id: str, *, by: str, now_ns: int, wall_from_monotonic_ns: int
) -> AlertAnswer:
    """An alert as it is once somebody has seen it, also where it went with that.

    Args:
        before, after: the book without and with the acknowledgement.
        by, now_ns: of the acknowledgement.
    """
    held = {alert.id: alert for alert in (*before.alerts, *after.alerts)}[alert_id]
    if held.acknowledged_by is None:
        held = replace(held, acknowledged_by=by, acknowledged_ns=now_ns)
    return alert_answer(held, wall_from_monotonic_ns=wall_from_monotonic_ns)


def alert_objects(told: AlertList) -> list[dict[str, Any]]:
    """The same as JSON objects, for STRING `Alert` (`guidance.wire.openigtlink.outputs.alert_text`)."""
    return [msgspec.to_builtins(alert) for alert in told.items]


def utc_text(unix_ns: int) -> str:
    """Unix ns as UTC, to the millisecond, for people."""
    return datetime.fromtimestamp(unix_ns / _NS_PER_S, UTC).isoformat(timespec="milliseconds")
