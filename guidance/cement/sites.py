"""What is said of each zone: all views and the body in 3D put together, steady enough to be read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from guidance.cement.approach import Approach, Growth, observed, time_to_contact_s
from guidance.cement.words import site_text, view_to_check
from guidance.config import CementSettings
from guidance.messages import (
    AlertPriority,
    CementBody,
    CementSeen,
    SiteState,
    SiteStatus,
    Vector3,
    Zone,
    ZoneKind,
    ZoneSite,
)

_NO_WORD: Final = "cement is not being followed"
_SIGMAS: Final = 1.645  # one-sided 95 %
_CALM_S: Final = 1.0  # a status falls only after so long
_LEAVING_MM: Final = 0.5  # and where the distance is above its threshold by this ...
_LEAVING_PART: Final = 0.15  # ... or by this part of it
_LEAVING_TIME: Final = 1.5  # the same for times
_BODY_COUNTS_S: Final = 10.0  # a body whose oldest view is older clears nothing: cement has grown since
_HALF_HIDDEN: Final = 0.5


class Grade(IntEnum):
    """How near cement is to a zone; the two first are `approaching`."""

    CLEAR = 0
    APPROACHING = 1
    NEAR = 2
    POSSIBLE = 3
    CONTACT = 4


class Harm(IntEnum):
    """Of cement at a site, after IEC 60601-1-8, 6.1.2: minor injury, reversible, death or irreversible injury."""

    MINOR = 0
    REVERSIBLE = 1
    IRREVERSIBLE = 2


HARM_OF: Final[Mapping[ZoneSite, Harm]] = {
    ZoneSite.FORAMEN: Harm.IRREVERSIBLE,
    ZoneSite.CANAL: Harm.IRREVERSIBLE,
    ZoneSite.VEIN: Harm.IRREVERSIBLE,
    ZoneSite.VENTRAL_SURFACE: Harm.REVERSIBLE,
    ZoneSite.DISC: Harm.REVERSIBLE,
    ZoneSite.SI_JOINT: Harm.REVERSIBLE,
    ZoneSite.OTHER: Harm.REVERSIBLE,
    ZoneSite.SKIN: Harm.MINOR,
    ZoneSite.NEEDLE_TRACK: Harm.MINOR,
    ZoneSite.BONE: Harm.MINOR,
    ZoneSite.LESION: Harm.MINOR,
}

# IEC 60601-1-8, table 1, columns delayed, prompt, immediate onset.
_PRIORITIES: Final = {
    Harm.MINOR: (AlertPriority.LOW, AlertPriority.LOW, AlertPriority.MEDIUM),
    Harm.REVERSIBLE: (AlertPriority.LOW, AlertPriority.MEDIUM, AlertPriority.HIGH),
    Harm.IRREVERSIBLE: (AlertPriority.MEDIUM, AlertPriority.HIGH, AlertPriority.HIGH),
}
_STATUS: Final = {
    Grade.CLEAR: SiteStatus.CLEAR,
    Grade.APPROACHING: SiteStatus.APPROACHING,
    Grade.NEAR: SiteStatus.APPROACHING,
    Grade.POSSIBLE: SiteStatus.CONTACT_POSSIBLE,
    Grade.CONTACT: SiteStatus.CONTACT,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """One direction that cement is or was looked at from.

    Attributes:
        device: of the input.
        direction: unit vector from the source to the detector, patient LPS; None: no geometry.
        seen: the newest frame from there in which cement could be told.
        approaches: by zone id.
        radius: of the cement, were its shadow round; None: no geometry, or no cement yet.
        current: frames come from there now.
    """

    device: str
    direction: Vector3 | None
    seen: CementSeen
    approaches: Mapping[str, Approach]
    radius: Approach | None = None
    current: bool = True

    @property
    def growth(self) -> Growth | None:
        """How fast the cement grows as a whole; None: not known."""
        return Growth(self.radius.distance_mm, self.radius.speed_mm_s) if self.radius is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A zone's grade as it is held: it rises at once and falls slowly.

    Attributes:
        grade: said now.
        calm_since_s: since when less would do; None: it would not.
    """

    grade: Grade = Grade.CLEAR
    calm_since_s: float | None = None


def approaches_of(before: Mapping[str, Approach], seen: CementSeen) -> Mapping[str, Approach]:
    """The filters of one look with its newest frame; those of zones that the frame says nothing of stay as they are."""
    mm_per_px = seen.view.mm_per_px
    if mm_per_px is None or not math.isfinite(mm_per_px):
        return before
    after = dict(before)
    for site in seen.sites:
        if site.distance_px is None or not math.isfinite(site.distance_px):
            continue
        after[site.zone_id] = observed(
            before.get(site.zone_id), site.distance_px * mm_per_px, site.sigma_px * mm_per_px, seen.view.time_s
        )
    return after


def radius_of(before: Approach | None, seen: CementSeen) -> Approach | None:
    """The radius's filter with the newest frame."""
    mm_per_px, area_px = seen.view.mm_per_px, seen.view.area_px
    if mm_per_px is None or not (math.isfinite(mm_per_px) and math.isfinite(area_px)) or area_px <= 0.0:
        return before
    return observed(before, math.sqrt(area_px / math.pi) * mm_per_px, 0.0, seen.view.time_s)


def approaches_in_space(before: Mapping[str, Approach], body: CementBody, time_s: float) -> Mapping[str, Approach]:
    """The same for the 3D estimate; a zone that it no longer tells of is forgotten."""
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
    time_left = None if solid is None and not current else time_to_contact_s(told, grown_by)
    now = _grade(told, time_left, touches, bool(overlaps), held.grade, settings)
    held = _held(held, now, time_s)
    status: SiteStatus | None = _STATUS[held.grade]
    cleared = solid is not None and body.oldest_s <= _BODY_COUNTS_S
    priority = _priority(zone, held.grade, solid if cleared else None, overlaps, settings)
    clearance = _clearance_mm(current, solid if cleared else None, overlaps)
    hidden = solid is None and all(_hidden(look, zone.id) > _HALF_HIDDEN for look, _ in current)
    if status is SiteStatus.CLEAR and (hidden or not current):
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


def _grade(
    told: Approach,
    time_left: float | None,
    touches: bool,
    overlaps: bool,
    held: Grade,
    settings: CementSettings,
) -> Grade:
    """What is true now; a grade that is held has the wider thresholds."""
    if touches:
        return Grade.CONTACT
    if overlaps:
        return Grade.POSSIBLE
    if told.count < 2:
        return Grade.CLEAR
    if held >= Grade.POSSIBLE and told.distance_mm < _LEAVING_MM:
        return Grade.POSSIBLE
    for grade, near_mm, near_s in (
        (Grade.NEAR, settings.near_mm, settings.near_s),
        (Grade.APPROACHING, settings.approaching_mm, settings.approaching_s),
    ):
        if held >= grade:
            near_mm, near_s = max(near_mm + _LEAVING_MM, near_mm * (1.0 + _LEAVING_PART)), near_s * _LEAVING_TIME
        if told.distance_mm < near_mm or (time_left is not None and time_left < near_s):
            return grade
    return Grade.CLEAR


def _held(held: Held, now: Grade, time_s: float) -> Held:
    if now >= held.grade:
        return Held(grade=now)
    since = held.calm_since_s if held.calm_since_s is not None else time_s
    return Held(grade=now) if time_s - since >= _CALM_S else Held(grade=held.grade, calm_since_s=since)


def _priority(
    zone: Zone,
    grade: Grade,
    solid: Approach | None,
    overlaps: Sequence[tuple[Look, Approach]],
    settings: CementSettings,
) -> AlertPriority:
    """After IEC 60601-1-8, table 1: what harm, and how soon."""
    if zone.kind is ZoneKind.TARGET or grade is Grade.CLEAR:
        return AlertPriority.NONE
    delayed, prompt, immediate = _PRIORITIES[HARM_OF[zone.site]]
    if grade is Grade.CONTACT:
        return immediate
    if grade is Grade.POSSIBLE and solid is not None:
        left_mm = solid.distance_mm - _SIGMAS * math.hypot(solid.sigma_mm, math.sqrt(solid.variance_mm2))
        if left_mm >= settings.approaching_mm:
            return AlertPriority.NONE  # one view overlaps, and in 3D it is clear
        if left_mm >= settings.near_mm:
            return delayed
        return prompt
    if grade is Grade.POSSIBLE and overlaps and all(approach.began_inside for _, approach in overlaps):
        return AlertPriority.LOW  # the cement came in the zone's shadow: this view cannot tell
    return prompt if grade in (Grade.NEAR, Grade.POSSIBLE) else delayed


def _clearance_mm(
    current: Sequence[tuple[Look, Approach]], solid: Approach | None, overlaps: Sequence[object]
) -> float | None:
    """What surely is left: a distance in 3D is no less than its projection, so the 3D one, else the one view's."""
    told = solid if solid is not None else None
    if told is None and len(current) == 1 and not overlaps:
        told = current[0][1]
    if told is None and current and not overlaps:
        told = min((approach for _, approach in current), key=lambda approach: approach.distance_mm)
    if told is None:
        return None
    left = told.distance_mm - _SIGMAS * math.hypot(told.sigma_mm, math.sqrt(told.variance_mm2))
    return left if left > 0.0 else None


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
