"""What is said of each zone: all views and the body in 3D put together, steady enough to be read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from guidance.cement.approach import Approach, observed, time_to_contact_s, way_since_mm
from guidance.cement.backflow import on_the_way
from guidance.cement.grades import STATUS_OF, Grade, Held, priority_of, stepped
from guidance.cement.looks import Look
from guidance.cement.words import site_text, view_name, view_to_check
from guidance.config import CementSettings
from guidance.messages import AlertPriority, CementBody, SiteState, SiteStatus, Zone, ZoneKind, ZoneSite

_NO_WORD: Final = "cement is not being followed"
_SIGMAS: Final = 1.645  # one-sided 95 %
_BODY_COUNTS_S: Final = 10.0
_HALF_HIDDEN: Final = 0.5
_UNSEEN_S: Final = 1.0  # since when a view shows what was, and not what is
_ON_TRACK_MM: Final = 10.0  # outside the bone: cement that leaves the picture there is on its way to the skin
_NEARER_MM: Final = 0.5  # than was seen: cement has likely come nearer
_RANK: Final = (AlertPriority.NONE, AlertPriority.LOW, AlertPriority.MEDIUM, AlertPriority.HIGH)
_DRAWN: Final = "the cannula is drawn back while cement flows"
_ALONG: Final = "along the path"


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
    flowing: bool = True,
) -> tuple[SiteState, Held]:
    """One zone now.

    Args:
        looks: the current ones first.
        in_space: filters of the 3D distances.
        held: what was said before.
        time_s: since the start of the run.
        flowing: cement comes, as far as is known.
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
    likely_mm, unseen = _likely_mm(zone.id, looks, solid, time_s if flowing else -math.inf)
    way = on_the_way(
        [site for look in looks for site in look.seen.sites if site.zone_id == zone.id],
        [look.backflows for look in looks if look.current],
        [look.backflows for look in looks if not look.current],
        time_s=time_s,
        flowing=flowing,
    )
    if way is not None:
        if likely_mm is None or way.distance_mm < likely_mm:
            likely_mm = way.distance_mm
        if way.seconds is not None and (time_left is None or way.seconds < time_left):
            time_left = way.seconds
    to_skin = zone.site is ZoneSite.SKIN and any(_leaves_on_track(look) for look in looks)
    if to_skin:
        likely_mm, unseen = 0.0, None
    held = stepped(
        held,
        told,
        time_left,
        likely_mm=likely_mm,
        touches=touches,
        overlaps=bool(overlaps),
        time_s=time_s,
        settings=settings,
    )
    status: SiteStatus | None = STATUS_OF[held.grade]
    # A body whose oldest view is from long ago clears nothing: cement has grown since.
    surely = _least_mm(solid) if solid is not None and body.oldest_s <= _BODY_COUNTS_S else None
    seen_mm = told.distance_mm if surely is None else min(told.distance_mm, surely)
    if surely is not None and likely_mm is not None:
        surely = min(surely, likely_mm)
    came_there = bool(overlaps) and all(approach.began_inside for _, approach in overlaps)
    priority = AlertPriority.NONE
    if zone.kind is not ZoneKind.TARGET:
        priority = priority_of(
            zone.site,
            held.grade,
            left_mm=surely,
            likely_mm=likely_mm if surely is not None else _reach_left_mm(zone.id, current or former, likely_mm),
            came_there=came_there,
            settings=settings,
        )
        if way is not None and held.grade is Grade.POSSIBLE and way.distance_mm < settings.approaching_mm:
            priority = max(priority, AlertPriority.MEDIUM, key=_RANK.index)  # near by both
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
    by_way = way is not None and way.distance_mm == likely_mm
    nearer = (
        likely_mm is not None
        and (unseen is not None or to_skin or by_way)
        and likely_mm < told.distance_mm - _NEARER_MM
    )
    seen_near = seen_mm < settings.near_mm or (time_left is not None and time_left < settings.near_s)
    if nearer and not seen_near and held.grade is not Grade.CONTACT and priority is AlertPriority.HIGH:
        priority = AlertPriority.MEDIUM  # nobody has seen it there
    if to_skin or (by_way and zone.site is ZoneSite.SKIN):
        check = "the skin itself"
    elif nearer and unseen is not None:
        name = view_name(unseen.direction)
        check = f"the {name} view" if name else check
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
        likely_mm=likely_mm if nearer else None,
        view_to_check=check if held.grade in (Grade.APPROACHING, Grade.NEAR, Grade.POSSIBLE) else "",
        reason=reason,
        way="" if way is None or not by_way else _DRAWN if way.drawn else _ALONG,
    )
    return site_text(state, zone), held


def _leaves_on_track(look: Look) -> bool:
    """Whether cement goes out of the picture along a path, back from the bone."""
    back = (track.left_mm for track in look.seen.tracks if track.left_mm is not None)
    return look.current and look.seen.leaves_along_path and min(back, default=0.0) <= -_ON_TRACK_MM


def _likely_mm(
    zone_id: str, looks: Sequence[Look], solid: Approach | None, time_s: float
) -> tuple[float | None, Look | None]:
    """What is likely left in 3D, mm, and the look whose cement has gone farthest unseen; None: nothing has.

    The way from the cement to a zone is at least as long as its shadow in any view. What a view showed when it was left
    has gone on since as fast as it went; a body made with it is as old as it is. Without a view that shows the zone now
    nothing is likely: it is not known.

    Args:
        solid: the 3D distance; None: not known.
        time_s: now.
    """
    found, fresh = [], False
    for look in looks:
        approach = look.approaches.get(zone_id)
        if approach is None or _hidden(look, zone_id) > _HALF_HIDDEN:
            continue
        unseen_s = time_s - approach.at_s
        way_mm = way_since_mm(approach, look.growth, unseen_s) if unseen_s > _UNSEEN_S else 0.0
        found.append((approach.distance_mm - way_mm, way_mm, look))
        fresh = fresh or unseen_s <= _UNSEEN_S
    if not fresh:
        return (None if solid is None else solid.distance_mm), None
    least_mm = max(left_mm for left_mm, _, _ in found)
    _, way_mm, unseen = max(found, key=lambda each: each[1])
    if solid is None:
        return (least_mm if len(found) > 1 else None), (unseen if way_mm > 0.0 else None)
    return max(solid.distance_mm - way_mm, min(least_mm, solid.distance_mm)), (unseen if way_mm > 0.0 else None)


def _reach_left_mm(zone_id: str, pairs: Sequence[tuple[Look, Approach]], likely_mm: float | None) -> float | None:
    """What may be left where shadows overlap and no other view tells more; None: not known."""
    reach = [site.reach_left_mm for look, _ in pairs for site in look.seen.sites if site.zone_id == zone_id]
    known = [mm for mm in (*reach, likely_mm) if mm is not None]
    return min(known, default=None)


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
