"""What to do now, from what is true now: the server recommends, it never drives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from guidance.messages import AlertCondition, AlertPriority, CementState, SiteState, SiteStatus, Zone, ZoneKind

Action = Literal["stop", "caution", "clear"]

_ACTIONS: Final[dict[AlertPriority, Action]] = {
    AlertPriority.HIGH: "stop",
    AlertPriority.MEDIUM: "caution",
    AlertPriority.LOW: "caution",
}
_RANK: Final = (AlertPriority.LOW, AlertPriority.MEDIUM, AlertPriority.HIGH)
_NOT_FOLLOWED: Final = "cement is not followed"
_NO_ZONE: Final = "there is no zone to be clear of"


@dataclass(frozen=True, slots=True)
class Advice:
    """A recommendation.

    Attributes:
        action: `stop` injecting, `caution` (something is near, or must be looked at), `clear` (every zone has room
            left, surely); None: not known, `text` says why.
        text: one line.
    """

    action: Action | None
    text: str


def advised(
    state: CementState,
    reason: str,
    conditions: Sequence[AlertCondition],
    sites: Sequence[SiteState],
    zones: Sequence[Zone],
) -> Advice:
    """What to do.

    Clear is only said where all of it is known: cement is followed in all views now, nothing is wrong, and what is left
    to each zone that must not be hit is known with its uncertainty taken off.

    Args:
        state, reason: how cement is followed.
        conditions: what is true now.
        sites: of all zones.
        zones: which of them are targets.
    """
    if state is CementState.IDLE:
        return Advice(None, reason or _NOT_FOLLOWED)
    alarming = [one for one in conditions if one.priority in _ACTIONS]
    if alarming:
        worst = max(alarming, key=lambda one: _RANK.index(one.priority))
        return Advice(_ACTIONS[worst.priority], worst.text)
    if state is not CementState.TRACKING or reason:
        return Advice(None, reason or f"cement is {state.value}")
    targets = {zone.id for zone in zones if zone.kind is ZoneKind.TARGET}
    kept = [site for site in sites if site.zone_id not in targets]
    if not kept:
        return Advice(None, _NO_ZONE)
    unknown = next((site for site in kept if site.clearance_left_mm is None), None)
    if unknown is not None:
        return Advice(None, unknown.text or unknown.reason)
    nearest = min(kept, key=_left_mm)
    if any(site.status not in (SiteStatus.CLEAR, SiteStatus.CONTACT_POSSIBLE) for site in kept):
        return Advice("caution", nearest.text)
    return Advice("clear", f"{int(_left_mm(nearest))} mm left to {nearest.name}")


def _left_mm(site: SiteState) -> float:
    """By now, where the view that showed it was left."""
    left_mm = max(site.clearance_left_mm or 0.0, 0.0)
    return left_mm if site.likely_mm is None else min(left_mm, max(site.likely_mm, 0.0))
