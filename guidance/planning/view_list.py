"""The candidates of each kind of view, with the words for why each stands where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from guidance.messages import F64, Zone
from guidance.planning.reach import Reach
from guidance.planning.view_scores import OFF_AXIS_PER_DEG, PathRays, apart_deg, off_deg
from guidance.planning.zone_axes import ChannelAxis

_PERPENDICULAR_DEG: Final = 0.5
_STEEP_DEG: Final = 25.0
_LEVEL: Final = 0.17  # 10 deg: a lateral beam is neither from above nor from below
_RING: Final = 720
_REACH_UNKNOWN: Final = "patient position unknown, so whether it can be reached is unknown"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ListedView:
    """A view before it becomes an answer; `value` is its score as if it were reachable."""

    kind: Literal["bulls_eye", "progression", "en_face"]
    toward_detector: F64
    value: float
    reachable: bool
    reason: str
    off_ideal_deg: float = 0.0
    zone_id: str = ""


def bulls_eye_views(rays: PathRays, reach: Reach | None) -> list[ListedView]:
    """Down the path with the detector on the entry's side and on the far side; the nearest if neither is reached."""
    listed = []
    for axis, words in (
        (-rays.axis, "straight down the path, detector on the entry's side"),
        (rays.axis, "straight down the path, but the detector is on the far side of the entry"),
    ):
        toward = directed_through(rays.middle_lps_mm, axis, rays.isocenter_lps_mm, rays.source_to_isocenter_mm)
        if toward is None:
            continue
        value = rays.bulls_eye(toward)
        listed.append(_judged("bulls_eye", toward, value, words + _tube_words(rays, toward), reach))
    return listed + _nearest_if_none("bulls_eye", listed, rays, reach, "the path's axis")


def en_face_views(
    rays: PathRays, reach: Reach | None, zone: Zone, channel: ChannelAxis, distance_mm: float
) -> list[ListedView]:
    """Through a foramen, from the better side; the nearest reachable one if neither side is reached."""
    assert channel.direction is not None
    both = []
    for sign in (1.0, -1.0):
        toward = directed_through(
            channel.center_lps_mm, sign * channel.direction, rays.isocenter_lps_mm, rays.source_to_isocenter_mm
        )
        if toward is None:
            continue
        value = rays.en_face(toward, distance_mm)
        beside = f"{distance_mm:.0f} mm beside the path" if distance_mm > 0.0 else "which the path's axis meets"
        words = f"through {zone.name} along {channel.rests_on}, {beside}"
        both.append(_judged("en_face", toward, value, words + _tube_words(rays, toward), reach, zone.id))
    listed = sorted(both, key=lambda view: (not view.reachable, -view.value))[:1]
    return listed + _nearest_if_none("en_face", both, rays, reach, f"the channel of {zone.name}")


def progression_views(rays: PathRays, reach: Reach | None, gap_zone: str) -> list[ListedView]:
    """Across the path, and the next best well apart from it."""
    first = _progression(rays, reach, None, gap_zone)
    best = next((view for view in first if view.reachable), first[0])
    return first + _progression(rays, reach, best.toward_detector, gap_zone)


def directed_through(point_lps_mm: F64, along: F64, isocenter_lps_mm: F64, source_to_isocenter_mm: float) -> F64 | None:
    """Where the detector is, (3,) unit vector from the isocentre, when the ray through a point runs along a line.

    The source is on that line, as far from the isocentre as the C-arm says: with the isocentre beside the line the
    central ray is not parallel to it, and only so do the line's points fall on one pixel.

    Args:
        along: (3,) unit vector from source to detector.

    Returns:
        None where the isocentre is farther from the line than the source can be.
    """
    beside = isocenter_lps_mm - point_lps_mm
    along_mm = float(beside @ along)
    square = along_mm**2 - float(beside @ beside) + source_to_isocenter_mm**2
    if square <= 0.0:
        return None
    source = point_lps_mm + (along_mm - np.sqrt(square)) * along
    toward: F64 = (isocenter_lps_mm - source) / np.linalg.norm(isocenter_lps_mm - source)
    return toward


def _progression(rays: PathRays, reach: Reach | None, first: F64 | None, gap_zone: str) -> list[ListedView]:
    """The best perpendicular view; where it cannot be reached, that and the best reachable one."""

    def scores(toward: F64) -> F64:
        return rays.progression(toward, first)

    ring = _ring(rays)
    ideal = ring[int(np.argmax(scores(ring)))]
    found = None if reach is None else reach.best(scores, ring, rays.axis)
    off = 90.0 if found is None else float(rays.off_perpendicular_deg(found[None])[0])
    listed = []
    if off > _PERPENDICULAR_DEG:
        words = _progression_words(rays, ideal, first, gap_zone, 0.0)
        value = float(scores(ideal[None])[0])
        listed.append(_judged("progression", ideal, value, words, reach))
    if found is not None:
        words = _progression_words(rays, found, first, gap_zone, off)
        value = float(scores(found[None])[0])
        listed.append(_judged("progression", found, value, words, reach, off_ideal_deg=off))
    return listed


def _progression_words(rays: PathRays, toward: F64, first: F64 | None, gap_zone: str, off: float) -> str:
    ray = toward[None]
    if off <= _PERPENDICULAR_DEG:
        words = "perpendicular to the path: its full length is seen"
    else:
        shown = round(100 * float(np.cos(np.radians(off))))
        words = f"nearest reachable: {off:.0f} deg off perpendicular, {shown} % of the length is seen"
    if first is not None:
        words += f"; {apart_deg(ray, first)[0]:.0f} deg apart from the first"
    if rays.gap is not None:
        seen = round(100 * float(np.cos(np.radians(rays.gap_off_deg(ray)[0]))))
        words += f"; gap to {gap_zone} seen at {seen} % of its width"
    tilt = float(rays.tilt_deg(ray)[0])
    if tilt >= _STEEP_DEG:
        words += f"; tilted {tilt:.0f} deg along the body: a long way through it"
    return words + _tube_words(rays, toward)


def _ring(rays: PathRays) -> F64:
    """(N, 3) directions whose ray through the path's middle is perpendicular to the path."""
    about = np.cross(rays.axis, np.eye(3)[int(np.argmin(np.abs(rays.axis)))])
    about /= np.linalg.norm(about)
    other = np.cross(rays.axis, about)
    along = float((rays.isocenter_lps_mm - rays.middle_lps_mm) @ rays.axis) / rays.source_to_isocenter_mm
    angles = np.arange(_RING) * (2 * np.pi / _RING)
    around = np.cos(angles)[:, None] * about + np.sin(angles)[:, None] * other
    ring: F64 = along * rays.axis + np.sqrt(1.0 - along**2) * around
    return ring


def _judged(
    kind: Literal["bulls_eye", "progression", "en_face"],
    toward: F64,
    value: float,
    words: str,
    reach: Reach | None,
    zone_id: str = "",
    off_ideal_deg: float = 0.0,
) -> ListedView:
    if reach is None:
        reachable, reason = False, f"{words}; {_REACH_UNKNOWN}"
    else:
        why_not = reach.why_not(toward)
        reachable, reason = not why_not, f"{why_not} ({words})" if why_not else words
    return ListedView(
        kind=kind,
        toward_detector=toward,
        value=value,
        reachable=reachable,
        reason=reason,
        off_ideal_deg=off_ideal_deg,
        zone_id=zone_id,
    )


def _nearest_if_none(
    kind: Literal["bulls_eye", "en_face"],
    ideals: Sequence[ListedView],
    rays: PathRays,
    reach: Reach | None,
    of_what: str,
) -> list[ListedView]:
    """The reachable view that comes nearest to one of the ideals, where none of them is reachable."""
    if reach is None or not ideals or any(view.reachable for view in ideals):
        return []

    def scores(toward: F64) -> F64:
        best: F64 = np.max([_fallen(view, toward) for view in ideals], axis=0)
        return best

    found = reach.best(scores, np.empty((0, 3)), ideals[0].toward_detector)
    if found is None:
        return []
    ideal = max(ideals, key=lambda view: float(_fallen(view, found[None])[0]))
    off = float(off_deg(found[None], ideal.toward_detector)[0])
    words = f"nearest reachable: {off:.0f} deg off {of_what}{_tube_words(rays, found)}"
    value = float(scores(found[None])[0])
    return [_judged(kind, found, value, words, reach, ideal.zone_id, off)]


def _fallen(ideal: ListedView, toward: F64) -> F64:
    """(N,) score of views off an ideal one."""
    score: F64 = ideal.value - OFF_AXIS_PER_DEG * off_deg(toward, ideal.toward_detector)
    return score


def _tube_words(rays: PathRays, toward: F64) -> str:
    if rays.up_lps is None or float(toward @ rays.up_lps) >= -_LEVEL:
        return ""
    return "; X-ray tube above the patient"
