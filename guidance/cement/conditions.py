"""All that the operator must know now, from what is known of the cement; keeps nothing but how long each is so."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from guidance.cement.injector import InjectorTrack, silent_s
from guidance.cement.looks import Look, ThinRun
from guidance.cement.words import view_name
from guidance.config import CementSettings
from guidance.messages import (
    AlertCondition,
    AlertKind,
    AlertPriority,
    CementBody,
    CementState,
    SiteState,
    TrackInView,
    Zone,
)

OUTSIDE_ML: Final = 0.1  # cement outside the plan that is told of
OUTSIDE_BONE_ML: Final = 0.015  # the same of bone: half of what a vessel of 3 mm holds on 4 mm
OUTSIDE_MM2: Final = 15.0  # the same in one view: a ball of 0.1 ml has a shadow of 26 mm^2
_OUT_SOON_S: Final = 1.0  # a drawn cannula is out of the bone by then
_WORK_ENDS_S: Final = 60.0
_VEIN_FRAMES: Final = 2
_LONG_MM: Final = 9.0
_LONGER_MM: Final = 1.5
_LONGER_SHARE: Final = 1.3
_MISSING_S: Final = 3.0  # that cement must be missing for: what is new is thin, and seen late
_LEAST_BALLOON_ML: Final = 0.5
_MARKED: Final = 0.5  # of what is outside the bone: it is in marked zones
_LOST: Final = 0.7  # of the most that was in a balloon


def site_conditions(
    sites: Sequence[SiteState], zones: Mapping[str, Zone], frame_number: int | None, device: str
) -> list[AlertCondition]:
    """One for each site that is an alarm."""
    return [
        AlertCondition(
            kind="site",
            priority=site.priority,
            text=site.text,
            zone_id=site.zone_id,
            site=site.site,
            side=site.side,
            status=site.status,
            distance_mm=site.distance_mm,
            time_to_contact_s=site.time_to_contact_s,
            view_to_check=site.view_to_check,
            frame_number=frame_number,
            device=device,
        )
        for site in sites
        if site.priority is not AlertPriority.NONE and site.zone_id in zones
    ]


def view_conditions(
    looks: Sequence[Look],
    body: CementBody,
    settings: CementSettings,
    *,
    balloon: bool = False,
    flowing: bool = False,
    outside_bone_ml: float | None = None,
    in_zones_ml: float = 0.0,
    target_id: str = "",
) -> list[AlertCondition]:
    """What the current views show beside the zones: veins, needle tracks, cement outside the plan, at the border.

    Args:
        balloon: what is followed is contrast in a balloon: it can only leave the picture.
        flowing: cement comes, as far as is known.
        outside_bone_ml: so much cement has been outside the bone for two estimates; None: none.
        in_zones_ml: of it at most, in marked zones.
        target_id: of the planned region, which cement outside it is told of; another alarm than outside the bone.
    """
    found: list[AlertCondition] = []
    for look in looks:
        if not look.current:
            continue
        drawn = _drawn(look, settings) if flowing else None
        flows = (None, None) if balloon else (_vein(look), _track(look, looks, settings) or drawn)
        found += [condition for condition in (*flows, _border(look)) if condition]
    if not balloon:
        found += [
            each
            for each in (_outside_bone(outside_bone_ml, in_zones_ml), _outside(looks, body, target_id))
            if each is not None
        ]
    return found


def injector_conditions(
    track: InjectorTrack,
    body: CementBody,
    state: CementState,
    now_ns: int,
    settings: CementSettings,
    *,
    missing_since_ns: int | None = None,
) -> list[AlertCondition]:
    """Readings that do not come or cannot be, and cement that was injected and is not seen.

    Args:
        missing_since_ns: since when `is_missing`; None: it is not.
    """
    if state is CementState.IDLE:
        return []
    found = []
    silence = silent_s(track, now_ns)
    if track.refused:
        found.append(_condition("no_reading", AlertPriority.LOW, f"no injector reading: {track.refused}"))
    elif track.running and silence is not None and silence > settings.injector_silence_s:
        text = f"no injector reading for {silence:.0f} s; it was running"
        found.append(_condition("no_reading", AlertPriority.LOW, text))
    delivered, most = track.delivered_ml, body.volume_high_ml
    missing_s = (now_ns - missing_since_ns) / 1e9 if missing_since_ns is not None else 0.0
    if missing_s >= _MISSING_S and delivered is not None and most is not None:
        text = (
            f"{delivered:.1f} ml injected, at most {most:.1f} ml seen: where is the rest? "
            "Check outside the picture and the lungs"
        )
        found.append(_condition("volume_missing", AlertPriority.MEDIUM, text))
    return found


def is_missing(track: InjectorTrack, body: CementBody, settings: CementSettings) -> bool:
    """Whether far more was injected than can be seen; unknown is no."""
    delivered, most = track.delivered_ml, body.volume_high_ml
    if delivered is None or most is None:
        return False
    missing = delivered - most
    return missing > settings.missing_ml and missing > settings.missing_share * delivered


def state_conditions(
    state: CementState, reason: str, bad_s: float, injecting: bool, settings: CementSettings
) -> list[AlertCondition]:
    """Cement that cannot be followed; worse while more of it comes."""
    if state is CementState.LOST and bad_s >= settings.gap_s:
        priority = AlertPriority.HIGH if injecting else AlertPriority.MEDIUM
        return [_condition("tracking_lost", priority, f"cement is not followed: {reason}")]
    if state is CementState.PAUSED and injecting:
        text = "the injector runs and no picture comes: cement is not seen"
        return [_condition("tracking_lost", AlertPriority.HIGH, text)]
    return []


def balloon_conditions(body: CementBody, most_ml: float) -> list[AlertCondition]:
    """A balloon that loses contrast: it is let down, or it has burst.

    Args:
        most_ml: that was in it.
    """
    if body.balloon_ml is None or most_ml < _LEAST_BALLOON_ML or body.balloon_ml > _LOST * most_ml:
        return []
    text = f"the balloon holds {body.balloon_ml:.1f} ml of {most_ml:.1f} ml: let down, or burst"
    return [_condition("balloon", AlertPriority.LOW, text)]


def work_conditions(left_s: float | None) -> list[AlertCondition]:
    """The cement's working time."""
    if left_s is None or left_s > _WORK_ENDS_S:
        return []
    if left_s > 0.0:
        return [_condition("working_time", AlertPriority.LOW, f"{left_s:.0f} s of the cement's working time left")]
    return [_condition("working_time", AlertPriority.MEDIUM, "the cement's working time is over")]


def _vein(look: Look) -> AlertCondition | None:
    thin = next((extension for extension in look.seen.extensions if not extension.path_id), None)
    if thin is None or look.thin is None or not _runs(look.thin, look.seen.view.mm_per_px):
        return None
    mm, view = look.seen.view.mm_per_px, view_name(look.direction)
    how = (
        f"{thin.length_px * mm:.0f} mm long, {thin.width_px * mm:.1f} mm wide, {thin.speed_px_s * mm:.0f} mm/s"
        if mm is not None
        else f"{thin.length_px:.0f} px long, {thin.width_px:.0f} px wide"
    )
    where = f" in {look.device}" + (f" ({view})" if view else "")
    return _condition(
        "vein", AlertPriority.HIGH, f"cement may run in a vein: thin and fast, {how}{where}; pause", look=look
    )


def _runs(thin: ThinRun, mm_per_px: float | None) -> bool:
    """Whether it is long, or gets longer: a finger of the body's own stays as long as it is."""
    if thin.frames < _VEIN_FRAMES:
        return False
    if mm_per_px is None:
        return thin.longest_px > _LONGER_SHARE * thin.first_px
    longer_mm = (thin.longest_px - thin.first_px) * mm_per_px
    return thin.longest_px * mm_per_px >= _LONG_MM or longer_mm >= _LONGER_MM


def _track(look: Look, looks: Sequence[Look], settings: CementSettings) -> AlertCondition | None:
    lefts = [(_track_left_mm(track, look, looks), track.path_id) for track in look.seen.tracks]
    known = [(left, path_id) for left, path_id in lefts if left is not None]
    left, path_id = min(known, default=(math.inf, ""))
    if left >= settings.near_mm:
        return None
    how = f"{left:.1f} mm before it leaves the bone" if left > 0.0 else f"{-left:.1f} mm outside the bone"
    priority = AlertPriority.LOW if left > 0.0 else AlertPriority.MEDIUM
    text = f"cement comes back along path {path_id}: {how} in {look.device}"
    return _condition("needle_track", priority, text, look=look, distance_mm=left)


def _track_left_mm(track: TrackInView, look: Look, looks: Sequence[Look]) -> float | None:
    """What the body or this view tells; no more cement is on a path than any view shows, or showed a moment ago."""
    if track.left_mm is None or track.exit_mm is None:
        return track.left_mm
    flows = [one.backflows[track.path_id] for one in looks if track.path_id in one.backflows]
    shown = [one.column_left_mm(track.exit_mm, look.seen.view.time_s) for one in flows]
    return max([track.left_mm, *(left for left in shown if left is not None)])


def _drawn(look: Look, settings: CementSettings) -> AlertCondition | None:
    """Where the cannula's end is, cement comes out: drawn out of the bone it comes along the track."""
    for path_id, one in look.backflows.items():
        left = None if one.exit_mm is None else one.tip_left(one.exit_mm, look.seen.view.time_s)
        if left is None or not (left[0] < settings.near_mm or (left[1] is not None and left[1] < _OUT_SOON_S)):
            continue
        how = f"{left[0]:.0f} mm before it leaves the bone" if left[0] > 0.0 else "out of the bone"
        text = f"the cannula of path {path_id} is drawn back while cement flows: its end is {how} in {look.device}"
        return _condition("needle_track", AlertPriority.LOW, text, look=look, distance_mm=left[0])
    return None


def _border(look: Look) -> AlertCondition | None:
    if not look.seen.view.out_of_picture or look.seen.leaves_along_path:
        return None  # along a path it is the cannula's, or the needle track's alarm
    text = f"cement reaches the border of what {look.device} shows: open the collimator or move the table"
    return _condition("out_of_picture", AlertPriority.MEDIUM, text, look=look)


def is_outside_bone(outside_ml: float | None) -> bool:
    """Whether more cement is outside the bone than the estimate may be wrong by; unknown is no."""
    return outside_ml is not None and outside_ml >= OUTSIDE_BONE_ML


def _outside_bone(outside_ml: float | None, in_zones_ml: float) -> AlertCondition | None:
    """Medium, unless a marked zone tells where it is."""
    if outside_ml is None:
        return None
    priority = AlertPriority.LOW if in_zones_ml >= _MARKED * outside_ml else AlertPriority.MEDIUM
    return _condition("outside_plan", priority, f"{outside_ml:.2f} ml of cement outside the bone; check both views")


def _outside(looks: Sequence[Look], body: CementBody, target_id: str) -> AlertCondition | None:
    if body.outside_ml is not None:
        if body.outside_ml < OUTSIDE_ML:
            return None
        text = f"{body.outside_ml:.1f} ml of cement outside the planned region"
        return _condition("outside_plan", AlertPriority.LOW, text, zone_id=target_id)
    for look in looks:
        area, mm = look.seen.outside_px, look.seen.view.mm_per_px
        if look.current and area is not None and mm is not None and area * mm * mm >= OUTSIDE_MM2:
            text = f"cement outside the planned region: {area * mm * mm:.0f} mm² in {look.device}"
            return _condition("outside_plan", AlertPriority.LOW, text, look=look, zone_id=target_id)
    return None


def _condition(
    kind: AlertKind,
    priority: AlertPriority,
    text: str,
    *,
    look: Look | None = None,
    distance_mm: float | None = None,
    zone_id: str = "",
) -> AlertCondition:
    view = look.seen.view if look is not None else None
    return AlertCondition(
        kind=kind,
        priority=priority,
        text=text,
        zone_id=zone_id,
        distance_mm=distance_mm,
        frame_number=view.frame_number if view is not None else None,
        device=view.device if view is not None else "",
    )
