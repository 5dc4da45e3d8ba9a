"""What is said of each zone: all views and the body in 3D put together, steady enough to be read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from guidance.cement.approach import Approach, observed, time_to_contact_s
from guidance.cement.grades import STATUS_OF, Grade, Held, priority_of, stepped
from guidance.cement.looks import Look
from guidance.cement.words import site_text, view_to_check
from guidance.config import CementSettings
from guidance.messages import AlertPriority, CementBody, SiteState, SiteStatus, Zone, ZoneKind

_NO_WORD: Final = "cement is not being followed"
_SIGMAS: Final = 1.645  # one-sided 95 %
_BODY_COUNTS_S: Final = 10.0
_HALF_HIDDEN: Final = 0.5


def approaches_in_space(before: Mapping[str, Approach], body: CementBody, time_s: float) -> Mapping[str, Approach]:
    """The filters of the 3D distances; a zone that the body no longer tells of is forgotten."""
    after = {}
    for site in body.sites:
        if site.distance_mm is not None and math.isfinite(site.distance_mm):
            after[site.zone_id] = observed(before.get(site.zone_id), site.distance_mm, site.sigma_mm, time_s)
    return after


def unknown_site(zone: Zone, reason: str = _NO_WORD) -> SiteState:
    """A zone of which nothing can be said."""
    return SiteState(
        zone_id=zone.id,
        name=zone.name,
        site=zone.site,
        side=zone.side,
        distance_mm=None,
        time_to_contact_s=None,
        status=None,
        priority=AlertPriority.NONE,
        reason=reason,
        text=f"{zone.name}: {reason}",
    )


def site_state(
    zone: Zone,
    looks: Sequence[Look],
    body: CementBody,
    in_space: Mapping[str, Approach],
    held: Held,
    *,
    time_s: float,
    settings: CementSettings,
) -> tuple[SiteState, Held]:
    """One zone now.

    Args:
        looks: the current ones first.
        in_space: filters of the 3D distances.
        held: what was said before.
        time_s: since the start of the run.
    """
    space = next((site for site in body.sites if site.zone_id == zone.id and site.distance_mm is not None), None)
    solid = in_space.get(zone.id) if space is not None else None
    current = [(look, look.approaches[zone.id]) for look in looks if look.current and zone.id in look.approaches]
    former = [(look, look.approaches[zone.id]) for look in looks if not look.current and zone.id in look.approaches]
    nearest = min(current or former, key=lambda pair: pair[1].distance_mm, default=None)
    reason = _reason(zone.id, looks)
    if solid is None and nearest is None:
        nothing_yet = any(look.current and look.seen.view.area_px <= 0.0 for look in looks)
        if not nothing_yet:
            return unknown_site(zone, reason), held
        return _clear_so_far(zone), held
    overlaps = [pair for pair in (*current, *former) if pair[1].count > 1 and pair[1].distance_mm <= 0.0]
    touches = space is not None and space.touches
    told = solid if solid is not None else nearest[1] if nearest is not None else None
    assert told is not None
    grown_by = nearest[0].growth if nearest is not None else None
    # The body's edge where no view can see it moves with what is guessed there, and has no speed.
    hidden = bool(current) and all(_hidden(look, zone.id) > _HALF_HIDDEN for look, _ in current)
    time_left = None if hidden or (solid is None and not current) else time_to_contact_s(told, grown_by)
    held = stepped(held, told, time_left, touches=touches, overlaps=bool(overlaps), time_s=time_s, settings=settings)
    status: SiteStatus | None = STATUS_OF[held.grade]
    # A body whose oldest view is from long ago clears nothing: cement has grown since.
    surely = _least_mm(solid) if solid is not None and body.oldest_s <= _BODY_COUNTS_S else None
    came_there = bool(overlaps) and all(approach.began_inside for _, approach in overlaps)
    priority = AlertPriority.NONE
    if zone.kind is not ZoneKind.TARGET:
        priority = priority_of(zone.site, held.grade, left_mm=surely, came_there=came_there, settings=settings)
    clearance = _clearance_mm(surely, current, bool(overlaps))
    if status is SiteStatus.CLEAR and (not current or (hidden and solid is None)):
        status, clearance = None, None
        reason = reason or ("it cannot be seen in this view" if current else "it is not seen now")
    check = view_to_check(
        [look.direction for look in looks if look.current],
        [look.device for look in looks if look.current],
        next((look.device for look, _ in overlaps), None),
        known_in_space=solid is not None,
    )
    state = SiteState(
        zone_id=zone.id,
        name=zone.name,
        site=zone.site,
        side=zone.side,
        distance_mm=told.distance_mm,
        time_to_contact_s=0.0 if held.grade is Grade.CONTACT else time_left,
        status=status,
        priority=priority,
        clearance_left_mm=clearance,
        in_space=solid is not None,
        view_to_check=check if held.grade in (Grade.APPROACHING, Grade.NEAR, Grade.POSSIBLE) else "",
        reason=reason,
    )
    return site_text(state, zone), held


def _clearance_mm(surely_mm: float | None, current: Sequence[tuple[Look, Approach]], overlaps: bool) -> float | None:
    """What surely is left: in 3D, else in the view that shows least; no good news where shadows overlap."""
    left = surely_mm
    if left is None and not overlaps:
        left = min((_least_mm(approach) for _, approach in current), default=None)
    return left if left is not None and left > 0.0 else None


def _least_mm(approach: Approach) -> float:
    """Of a distance, with 95 %."""
    return approach.distance_mm - _SIGMAS * math.hypot(approach.sigma_mm, math.sqrt(approach.variance_mm2))


def _hidden(look: Look, zone_id: str) -> float:
    return next((site.hidden for site in look.seen.sites if site.zone_id == zone_id), 1.0)


def _reason(zone_id: str, looks: Sequence[Look]) -> str:
    for look in looks:
        for site in look.seen.sites:
            if site.zone_id == zone_id and site.reason:
                return site.reason
        if look.seen.view.pixel_from_patient is None:
            return "no geometry: distances are not known"
    if not looks:
        return "no picture yet"
    told = any(zone_id in look.approaches for look in looks)
    return "" if told else "its outline is not worked out yet"


def _clear_so_far(zone: Zone) -> SiteState:
    return SiteState(
        zone_id=zone.id,
        name=zone.name,
        site=zone.site,
        side=zone.side,
        distance_mm=None,
        time_to_contact_s=None,
        status=SiteStatus.CLEAR,
        priority=AlertPriority.NONE,
        reason="no new cement is seen yet",
        text=f"{zone.name}: no new cement is seen yet",
    )
