"""What the picture says in words of cement: alarms first, then what is followed and how well, then what is left."""

from __future__ import annotations

from typing import Final

from guidance.messages import Alert, AlertPriority, CementBody, CementState, SiteStatus
from guidance.overlay.cement_lines import CementOnPicture
from guidance.overlay.colors import ALARM, CALM, NOTICE
from guidance.overlay.words import Words

# IEC 60601-1-8, annex: exclamation marks tell the priority where colour cannot.
_SIGNS: Final = {AlertPriority.HIGH: "!!!", AlertPriority.MEDIUM: "!!", AlertPriority.LOW: "!", AlertPriority.NONE: ""}
_COLORS: Final = {
    AlertPriority.HIGH: ALARM,
    AlertPriority.MEDIUM: NOTICE,
    AlertPriority.LOW: NOTICE,
    AlertPriority.NONE: CALM,
}
_STOP: Final = "STOP: "  # what a high priority that is true now means for whoever injects
_BANNER_PART: Final = 1.5  # of the text size
_MOST_SAID: Final = 3


def alert_words(alerts: tuple[Alert, ...]) -> tuple[Words, ...]:
    """The most urgent that nobody has acknowledged, the first of them large; what is acknowledged and still true."""
    unseen = [alert for alert in alerts if alert.acknowledged_by is None]
    said = [
        Words(
            f"{_SIGNS[alert.condition.priority]} {_said(alert)}",
            _COLORS[alert.condition.priority],
            size_part=1.0 if number else _BANNER_PART,
        )
        for number, alert in enumerate(unseen[:_MOST_SAID])
    ]
    beyond = len(unseen) - _MOST_SAID
    if beyond > 0:
        said.append(Words(f"and {beyond} more alert{'s' if beyond > 1 else ''}", NOTICE))
    said += [
        Words(
            f"{_SIGNS[alert.condition.priority]} {alert.condition.text} (acknowledged)",
            _COLORS[alert.condition.priority],
        )
        for alert in alerts
        if alert.acknowledged_by is not None and alert.present
    ][:_MOST_SAID]
    return tuple(said)


def _said(alert: Alert) -> str:
    what = alert.condition
    if not alert.present:
        return f"{what.text} (no longer)"
    return f"{_STOP if what.priority is AlertPriority.HIGH else ''}{what.text}"


def cement_words(cement: CementOnPicture, sequence: int, *, trusted: bool) -> tuple[Words, ...]:
    """How cement is followed, how much there is, and the nearest zone that is still clear.

    Args:
        cement: what is known.
        sequence: of the frame that the words are for.
        trusted: the frame's geometry may be used now; else nothing is said in mm, nor of zones.
    """
    view = cement.seen.view if cement.seen is not None else None
    match cement.state:
        case CementState.IDLE:
            return ()
        case CementState.PAUSED:
            return (Words(_joined("CEMENT PAUSED", cement.reason), NOTICE),)
        case CementState.LOST:
            return (Words(_joined("CEMENT LOST", cement.reason), ALARM),)
        case _:
            pass
    if view is None or view.sequence != sequence:
        return (Words("CEMENT: not followed in this picture", NOTICE),)
    if not view.seen:
        return (Words(_joined("CEMENT NOT SEEN", view.reason), NOTICE),)
    mm_per_px = view.mm_per_px if trusted else None
    if cement.balloon:
        volume_ml = cement.body.balloon_ml
        volume = "volume unknown" if volume_ml is None or not trusted else f"{volume_ml:.1f} ml"
        return (Words(f"BALLOON {volume}: contrast, no cement", CALM),)
    said = [Words(f"CEMENT {_amount(view.area_px, mm_per_px, cement.body)}", CALM)]
    if mm_per_px is None:
        return (*said, Words("cement: 2D only, no geometry: no distances, no warning of zones", NOTICE))
    if view.reason:
        said.append(Words(f"cement: {view.reason}", NOTICE))
    return (*said, *_clear_words(cement))


def _amount(area_px: float, mm_per_px: float | None, body: CementBody) -> str:
    if mm_per_px is None:
        return f"{_rounded(area_px)} px"
    parts = [f"{_rounded(area_px * mm_per_px**2)} mm²"]
    low, high = body.volume_low_ml, body.volume_high_ml
    if body.volume_ml is not None:
        parts.append(f"{body.volume_ml:.1f} ml")
    if low is not None and high is not None:
        parts.append(f"({low:.1f} to {high:.1f} ml)")
    elif body.volume_ml is None:
        parts.append("volume unknown")
    return " ".join(parts)


def _clear_words(cement: CementOnPicture) -> tuple[Words, ...]:
    """The good news, where no zone is near: operators stop too early because they cannot see what is left."""
    if any(site.priority is not AlertPriority.NONE for site in cement.sites):
        return ()
    left = [
        (site.clearance_left_mm, site)
        for site in cement.sites
        if site.status is SiteStatus.CLEAR and site.clearance_left_mm is not None
    ]
    if not left:
        return ()
    nearest_mm, site = min(left, key=lambda entry: entry[0])
    return (Words(f"clear: {int(nearest_mm)} mm left to {site.name}", CALM),) if nearest_mm >= 1.0 else ()


def _rounded(value: float) -> str:
    """Two figures: a number that changes with each picture can't be read."""
    if value < 10.0:
        return f"{value:.0f}"
    step = 10.0 ** (len(str(int(value))) - 2)
    return f"{round(value / step) * step:.0f}"


def _joined(head: str, reason: str) -> str:
    return f"{head}: {reason}" if reason else head
