"""Words for people: a site's line, the view that would tell more, names of views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from guidance.messages import Matrix34, SiteState, SiteStatus, Vector3, Zone, ZoneKind, ZoneSide, ZoneSite

_SITE_WORDS: Final = {
    ZoneSite.FORAMEN: "foramen",
    ZoneSite.CANAL: "canal",
    ZoneSite.VENTRAL_SURFACE: "ventral surface",
    ZoneSite.SI_JOINT: "SI joint",
    ZoneSite.DISC: "disc",
    ZoneSite.VEIN: "vein",
    ZoneSite.NEEDLE_TRACK: "needle track",
    ZoneSite.SKIN: "skin",
    ZoneSite.BONE: "bone",
    ZoneSite.LESION: "lesion",
    ZoneSite.OTHER: "keep-out zone",
}
_ACROSS_DEG: Final = 45.0  # views that differ by more than this tell different things


def site_text(state: SiteState, zone: Zone) -> SiteState:
    """The state with its one line: site, side, mm, seconds, which view to check."""
    name = named(zone)
    if zone.kind is ZoneKind.TARGET:
        return replace(state, text=f"{name}: {_target_words(state)}", view_to_check="")
    check = f"; check {state.view_to_check}" if state.view_to_check else ""
    return replace(state, text=f"{name}: {_keep_out_words(state)}{check}")


def named(zone: Zone) -> str:
    """A zone's name, with its site and side where the name does not hold them."""
    name, lower = zone.name.strip() or zone.id, zone.name.lower()
    missing = []
    site = _SITE_WORDS[zone.site]
    if site not in lower:
        missing.append(site)
    if zone.side is not None and zone.side is not ZoneSide.MIDLINE and zone.side.value not in lower:
        missing.append(zone.side.value)
    return f"{name} ({', '.join(missing)})" if missing else name


def direction_of(pixel_from_patient: Matrix34 | None) -> Vector3 | None:
    """Unit vector from the source to the detector along the central ray, patient LPS; None without a matrix."""
    if pixel_from_patient is None:
        return None
    x, y, z = pixel_from_patient[8:11]
    length = math.sqrt(x * x + y * y + z * z)
    return (x / length, y / length, z / length) if length > 0.0 and math.isfinite(length) else None


def angle_deg(one: Vector3, other: Vector3) -> float:
    """Between two unit vectors, degrees, 0 to 180."""
    return math.degrees(math.acos(max(-1.0, min(1.0, sum(a * b for a, b in zip(one, other, strict=True))))))


def view_name(direction: Vector3 | None) -> str:
    """`AP`, `lateral`, `axial` or `oblique`; `` where the direction is not known. AP and PA show the same."""
    if direction is None:
        return ""
    x, y, z = (abs(part) for part in direction)
    if y >= 0.9:
        return "AP"
    if x >= 0.9:
        return "lateral"
    return "axial" if z >= 0.9 else "oblique"


def view_to_check(
    directions: Sequence[Vector3 | None],
    devices: Sequence[str],
    overlapped: str | None,
    *,
    known_in_space: bool,
) -> str:
    """Which view would tell more of a zone that cement is near to.

    Args:
        directions, devices: of the current views.
        overlapped: device of a view in which the shadows overlap; None: in none.
        known_in_space: a 3D estimate exists already.
    """
    known = [direction for direction in directions if direction is not None]
    apart = any(_across(one, other) for index, one in enumerate(known) for other in known[index + 1 :])
    if known_in_space or apart:
        if overlapped is not None and len(devices) > 1:
            others = [device for device in devices if device != overlapped]
            return f"{others[0]}, then CT or CBCT" if others else "CT or CBCT"
        return "CT or CBCT" if overlapped is not None else ""
    if not known:
        return "a second view"
    return {"AP": "the lateral view", "lateral": "the AP view"}.get(view_name(known[0]), "a view 90 deg from this one")


def _across(one: Vector3, other: Vector3) -> bool:
    angle = angle_deg(one, other)
    return min(angle, 180.0 - angle) > _ACROSS_DEG


def _keep_out_words(state: SiteState) -> str:
    distance = state.distance_mm
    if state.status is SiteStatus.CONTACT:
        return "cement has reached it" if distance is None or distance > -0.1 else f"cement is {-distance:.1f} mm in it"
    likely = f", likely {max(state.likely_mm, 0.0):.0f} mm by now" if state.likely_mm is not None else ""
    likely += f" ({state.way})" if likely and state.way else ""
    if state.status is SiteStatus.CONTACT_POSSIBLE:
        where = "" if distance is None or distance > 0.0 else f", overlaps by {-distance:.1f} mm"
        left = f", {distance:.1f} mm left in 3D" if state.in_space and distance is not None and distance > 0.0 else ""
        return f"contact possible{where}{left}{likely}"
    if distance is None or state.status is None:
        return state.reason or "not known"
    if state.status is SiteStatus.APPROACHING:
        seconds = state.time_to_contact_s
        return f"{distance:.1f} mm left{likely}" + (
            f", contact in {seconds:.1f} s or later" if seconds is not None else ""
        )
    left_mm = distance if state.clearance_left_mm is None else state.clearance_left_mm
    return f"clear, {math.floor(left_mm)} mm left"


def _target_words(state: SiteState) -> str:
    if state.status in (SiteStatus.CONTACT, SiteStatus.CONTACT_POSSIBLE):
        return "target, reached" if state.status is SiteStatus.CONTACT else "target, reached in this view"
    if state.distance_mm is None:
        return f"target, {state.reason or 'not known'}"
    return f"target, {max(state.distance_mm, 0.0):.0f} mm to go"
