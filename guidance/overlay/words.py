"""What the picture says in words about its own state; when no path is drawn, why."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from guidance.messages import CheckState, GeometryState, GeometryVerdict, ImageCheck, InputState
from guidance.overlay.colors import ALARM, CALM, NOTICE, Rgb

_MOST_NAMES: Final = 4
DISCLAIMER: Final = "RESEARCH USE ONLY, NOT FOR CLINICAL USE"


@dataclass(frozen=True, slots=True)
class Words:
    """One statement and how urgent its colour is; `size_part` of the usual text size."""

    text: str
    color: Rgb
    size_part: float = 1.0


def state_words(
    state: InputState, why_held: str, verdict: GeometryVerdict, *, age_ms: float, paths: int, drawn: int
) -> tuple[Words, ...]:
    """Statements, most important first.

    Args:
        state: of the input.
        why_held: words for a held frame; "" while live.
        age_ms: age of the picture, shown for what is not live.
        paths, drawn: how many paths there are, and how many of them are on the picture.
    """
    words = [_input_words(state, why_held, age_ms)]
    if verdict.state is GeometryState.ABSENT:
        words.append(Words(_joined("NO GEOMETRY", verdict.reason), NOTICE))
    elif verdict.state is GeometryState.WITHHELD:
        words.append(Words(_joined("PATHS WITHHELD", verdict.reason), ALARM))
    else:
        if verdict.state is GeometryState.DEGRADED:
            words.append(Words(_joined("DEGRADED", verdict.reason), NOTICE))
        words += check_words(verdict.check)
        outside = paths - drawn
        if outside > 0:
            words.append(Words(f"{outside} of {paths} paths outside the picture", NOTICE))
    return tuple(words)


def check_words(check: ImageCheck) -> tuple[Words, ...]:
    """What the picture itself says, where it can or could say something; what contradicts is the verdict's to tell."""
    match check.state:
        case CheckState.UNCHECKED:
            return (Words("geometry not verified by the picture", NOTICE),)
        case CheckState.CANNOT_TELL:
            return (Words(f"geometry {check.reason or 'not verified'}", NOTICE),)
        case CheckState.AGREES if check.residual_mm is not None:
            breathing = "" if check.breathing_mm is None else f", breathing {check.breathing_mm:.1f} mm"
            return (Words(f"verified by the picture to {_told_mm(check.residual_mm)} mm{breathing}", CALM),)
        case _:
            return ()


# A picture without outlines must not be taken for one without anything to hit.
ZONES_OFF: Final = (Words("zones switched off", NOTICE),)
CEMENT_OFF: Final = (Words("cement is followed, and not drawn", NOTICE),)


def zone_words(missing: tuple[str, ...], too_near: tuple[str, ...] = ()) -> tuple[Words, ...]:
    """Which zones should be on the picture and are not.

    Args:
        missing: names of those without a surface yet.
        too_near: names of those of which some is at or behind the X-ray source.
    """
    said = (("no surface yet", missing), ("they reach the X-ray source", too_near))
    return tuple(Words(f"zones not shown, {why}: {_listed(names)}", NOTICE) for why, names in said if names)


def band_words(half_width_mm: float | None) -> str:
    """How far off what is drawn may lie; None: not known."""
    return "uncertainty unknown" if half_width_mm is None else f"±{half_width_mm:.1f} mm (95 %)"


def unknown_words(reason: str) -> tuple[Words, ...]:
    """No band is drawn, which must not be taken for none that is needed."""
    return (Words(f"uncertainty unknown: {reason}", NOTICE),)


def _input_words(state: InputState, why_held: str, age_ms: float) -> Words:
    age_s = f"{max(age_ms, 0.0) / 1000.0:.1f} s"
    if state is InputState.SILENT:
        return Words(f"NO SIGNAL {age_s}", ALARM)
    if state is InputState.HELD:
        return Words(_joined(f"HELD {age_s}", why_held), NOTICE)
    if state is InputState.FROZEN_CLOCK:
        return Words("LIVE, sender's clock stands still", NOTICE)
    return Words("LIVE", CALM)


def _told_mm(residual_mm: float) -> str:
    """To 0.5 mm, at least 0.5: what changes with each picture can't be read."""
    return f"{max(math.ceil(2.0 * residual_mm), 1) / 2.0:.1f}"


def _joined(head: str, reason: str) -> str:
    return f"{head}: {reason}" if reason else head


def _listed(names: tuple[str, ...]) -> str:
    beyond = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {beyond} more" if beyond > 0 else "")
