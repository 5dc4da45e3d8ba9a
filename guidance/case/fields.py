"""What a path's fields may be: strict checks that name every field at fault at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from guidance.case.values import (
    checked_color,
    checked_length_mm,
    checked_number,
    checked_text,
    checked_vector,
    checked_word,
)
from guidance.errors import CaseError
from guidance.messages import AblationSetting, PathStage, Vector3

# Okabe & Ito's colours (jfly.uni-koeln.de/color, 2008) stay apart for the colour-blind. Vermillion, yellow and bluish
# green are left out: the page and the overlay use them for states (withheld, degraded, trusted).
INSTRUMENT_PALETTE: Final = ("#56b4e9", "#e69f00", "#cc79a7", "#f5f5f5", "#8ddcff", "#ffc966", "#e5b5d0", "#4f8fd0")

LONGEST_ID: Final = 10  # an OpenIGTLink device name has 20 bytes, `NeedleTip_` takes 10
LARGEST_DIAMETER_MM: Final = 50.0
_SHORTEST_PATH_MM: Final = 0.1
_MOST_PERMISSIONS: Final = 64
_LARGEST_POWER_W: Final = 500.0
_LONGEST_ABLATION_S: Final = 7200.0

ENDS: Final = ("entry_lps_mm", "target_lps_mm")
REQUIRED_FIELDS: Final = (*ENDS, "diameter_mm")
TEXT_FIELDS: Final = ("label", "instrument", "approach")
PATH_FIELDS: Final = (
    *REQUIRED_FIELDS,
    "color",
    *TEXT_FIELDS,
    "stage",
    "permitted_zone_ids",
    "bevel_deg",
    "ablation",
)


@dataclass(frozen=True, slots=True)
class FieldError:
    """A field at fault and what it must be; a member of a member is told with a dot, `shape.radius_mm`."""

    field: str
    message: str


class BadFieldsError(CaseError):
    """Fields that cannot be accepted; `errors` names each, `what` is refused for them."""

    def __init__(self, errors: Iterable[FieldError], *, what: str = "path") -> None:
        self.errors = tuple(errors)
        self.what = what
        told = "; ".join(f"{error.field}: {error.message}" for error in self.errors)
        super().__init__(f"{what} refused: {told}", code="bad_fields")


def checked_path_fields(fields: Mapping[str, Any], *, required: Iterable[str] = REQUIRED_FIELDS) -> dict[str, Any]:
    """Turn what a client sent into path fields.

    Args:
        fields: member name -> JSON value; `entry_lps_mm` and `target_lps_mm` three numbers (mm, patient LPS),
            `diameter_mm` (0, 50], `color` `#rrggbb`, `label`, `instrument`, `approach` up to 64 characters, `stage`
            one of `PathStage`, `permitted_zone_ids` a list of texts, `bevel_deg` [-360, 360],
            `ablation` `{"power_w", "time_s"}`. None means "default" for the optional ones.
        required: names that must be there.

    Returns:
        Field name -> value, only those given; None for "default".

    Raises:
        BadFieldsError: names every missing, unknown or impossible field.
    """
    errors: list[FieldError] = []
    values: dict[str, Any] = {}
    for name in required:
        if fields.get(name) is None:
            errors.append(FieldError(name, "is required"))
    for name, value in fields.items():
        if name not in PATH_FIELDS:
            errors.append(FieldError(str(name), f"is not a field of a path; there are {', '.join(PATH_FIELDS)}"))
        elif value is None and name in REQUIRED_FIELDS:
            if name not in required:
                errors.append(FieldError(name, "cannot be removed"))
        elif value is None:
            values[name] = None
        else:
            try:
                values[name] = _CHECKS[name](value)
            except ValueError as error:
                errors.append(FieldError(name, str(error)))
    if errors:
        raise BadFieldsError(errors)
    return values


def check_ends(entry_lps_mm: Vector3, target_lps_mm: Vector3) -> None:
    """Refuse a path without a direction.

    Raises:
        BadFieldsError: entry and target are nearer than 0.1 mm.
    """
    if math.dist(entry_lps_mm, target_lps_mm) < _SHORTEST_PATH_MM:
        raise BadFieldsError(
            [FieldError("target_lps_mm", f"must be at least {_SHORTEST_PATH_MM} mm away from entry_lps_mm")]
        )


def _diameter_mm(value: object) -> float:
    return checked_length_mm(value, at_most=LARGEST_DIAMETER_MM)


def _stage(value: object) -> PathStage:
    return checked_word(value, PathStage)


def _permissions(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
        raise ValueError("must be a list of zone ids")
    if len(value) > _MOST_PERMISSIONS:
        raise ValueError(f"must have at most {_MOST_PERMISSIONS} zone ids")
    # Each once, in the order given.
    return tuple(dict.fromkeys(value))


def _bevel_deg(value: object) -> float:
    turn_deg = checked_number(value)
    if abs(turn_deg) > 360.0:
        raise ValueError("must be -360 to 360 degrees")
    return turn_deg


def _ablation(value: object) -> AblationSetting:
    if not isinstance(value, Mapping) or set(value) != {"power_w", "time_s"}:
        raise ValueError('must be {"power_w": number, "time_s": number}')
    try:
        power_w, time_s = checked_number(value["power_w"]), checked_number(value["time_s"])
    except ValueError as error:
        raise ValueError(f"each of its numbers {error}") from None
    # A cryoprobe has no power to tell; its time counts.
    if not 0.0 <= power_w <= _LARGEST_POWER_W or not 0.0 < time_s <= _LONGEST_ABLATION_S:
        raise ValueError(
            f"power_w must be 0 to {_LARGEST_POWER_W:g} W, time_s greater than 0 and at most {_LONGEST_ABLATION_S:g} s"
        )
    return AblationSetting(power_w=power_w, time_s=time_s)


_CHECKS: Final[Mapping[str, Callable[[object], Any]]] = {
    "entry_lps_mm": checked_vector,
    "target_lps_mm": checked_vector,
    "diameter_mm": _diameter_mm,
    "color": checked_color,
    "label": checked_text,
    "instrument": checked_text,
    "approach": checked_text,
    "stage": _stage,
    "permitted_zone_ids": _permissions,
    "bevel_deg": _bevel_deg,
    "ablation": _ablation,
}
