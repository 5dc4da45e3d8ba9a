"""How near cement is to a zone in four steps that do not flicker, and how urgent that is (IEC 60601-1-8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from guidance.cement.approach import Approach
from guidance.config import CementSettings
from guidance.messages import AlertPriority, SiteStatus, ZoneSite

_CALM_S: Final = 1.0  # a status falls only after so long
_LEAVING_MM: Final = 0.5  # and where the distance is above its threshold by this ...
_LEAVING_PART: Final = 0.15  # ... or by this part of it
_LEAVING_TIME: Final = 1.5  # the same for times
_SOON_S: Final = 0.3  # that a time to contact must have been short for
_TOUCHING_S: Final = 0.15  # that the 3D estimate must have touched for: two of its updates


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
STATUS_OF: Final = {
    Grade.CLEAR: SiteStatus.CLEAR,
    Grade.APPROACHING: SiteStatus.APPROACHING,
    Grade.NEAR: SiteStatus.APPROACHING,
    Grade.POSSIBLE: SiteStatus.CONTACT_POSSIBLE,
    Grade.CONTACT: SiteStatus.CONTACT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A zone's grade as it is held: it rises at once and falls slowly.

    Attributes:
        grade: said now.
        calm_since_s: since when less would do; None: it would not.
        soon_since_s: since when the time to contact has been short; None: it is not.
        touching_since_s: since when the 3D estimate touches; None: it does not.
    """

    grade: Grade = Grade.CLEAR
    calm_since_s: float | None = None
    soon_since_s: float | None = None
    touching_since_s: float | None = None


def stepped(
    held: Held,
    told: Approach,
    time_left_s: float | None,
    *,
    likely_mm: float | None = None,
    touches: bool,
    overlaps: bool,
    time_s: float,
    settings: CementSettings,
) -> Held:
    """The grade with what is true now: what is nearer counts at once, what is farther after a second.

    A short time to contact, and a contact in 3D, must have held for some tenths of a second.

    Args:
        told: the distance that is told.
        time_left_s: to contact; None: not known, or none.
        likely_mm: what is left by now, where not all views are new; None: what is told.
        touches: the 3D estimate does.
        overlaps: shadows do, in any view.
        time_s: since the start of the run.
    """
    soon = time_left_s is not None and time_left_s < _LEAVING_TIME * settings.approaching_s
    soon_since_s = _since(held.soon_since_s, soon, time_s)
    touching_since_s = _since(held.touching_since_s, touches, time_s)
    sure_s = time_left_s if soon_since_s is not None and time_s - soon_since_s >= _SOON_S else None
    if touching_since_s is not None and time_s - touching_since_s >= _TOUCHING_S:
        now = Grade.CONTACT
    elif overlaps or touches:
        now = Grade.POSSIBLE
    else:
        near = told if likely_mm is None or likely_mm >= told.distance_mm else replace(told, distance_mm=likely_mm)
        now = _grade(near, sure_s, held.grade, settings)
    calm_since_s = _since(held.calm_since_s, now < held.grade, time_s)
    calm = calm_since_s is not None and time_s - calm_since_s >= _CALM_S
    return Held(
        grade=now if calm or now >= held.grade else held.grade,
        calm_since_s=None if calm else calm_since_s,
        soon_since_s=soon_since_s,
        touching_since_s=touching_since_s,
    )


def _since(before_s: float | None, true: bool, time_s: float) -> float | None:
    if not true:
        return None
    return before_s if before_s is not None else time_s


def _grade(told: Approach, time_left_s: float | None, held: Grade, settings: CementSettings) -> Grade:
    """By the distance and the time alone; a grade that is held has the wider limits."""
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
        if told.distance_mm < near_mm or (time_left_s is not None and time_left_s < near_s):
            return grade
    return Grade.CLEAR


def priority_of(
    site: ZoneSite,
    grade: Grade,
    *,
    left_mm: float | None,
    came_there: bool,
    settings: CementSettings,
    likely_mm: float | None = None,
) -> AlertPriority:
    """After IEC 60601-1-8, table 1: what harm, and how soon.

    Args:
        left_mm: what is left in 3D at least; None: not known.
        likely_mm: what is likely left in 3D, or may be left by what one view shows; None: not known.
        came_there: the cement came in the zone's shadow, it did not run there.
    """
    if grade is Grade.CLEAR:
        return AlertPriority.NONE
    delayed, prompt, immediate = _PRIORITIES[HARM_OF[site]]
    if grade is Grade.CONTACT:
        return immediate
    if grade is Grade.POSSIBLE and left_mm is not None:
        if left_mm >= settings.approaching_mm:
            return AlertPriority.NONE  # one view overlaps, and in 3D it is clear
        if left_mm < settings.near_mm and prompt is not AlertPriority.LOW:
            return prompt
        # Near by both, the shadow and the distance: more urgent than by either.
        together = likely_mm is not None and likely_mm < settings.approaching_mm
        if prompt is AlertPriority.LOW and likely_mm is not None and likely_mm < settings.near_mm:
            return immediate
        return prompt if together and delayed is AlertPriority.LOW else delayed
    if grade is Grade.POSSIBLE and came_there:
        # This view cannot tell; it can that cement has gone so far that it may be there.
        far = likely_mm is not None and likely_mm < settings.approaching_mm
        return AlertPriority.MEDIUM if far and prompt is not AlertPriority.LOW else AlertPriority.LOW
    return prompt if grade in (Grade.NEAR, Grade.POSSIBLE) else delayed
