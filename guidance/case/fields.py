"""What a path's fields may be: strict checks that name every field at fault at once."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from guidance.errors import CaseError
from guidance.messages import Vector3

# Okabe & Ito's colours (jfly.uni-koeln.de/color, 2008) stay apart for the colour-blind. Vermillion, yellow and bluish
# green are left out: the page and the overlay use them for states (withheld, degraded, trusted).
INSTRUMENT_PALETTE: Final = ("#56b4e9", "#e69f00", "#cc79a7", "#f5f5f5", "#8ddcff", "#ffc966", "#e5b5d0", "#4f8fd0")

# An operating room's coordinates stay within a few metres of the patient; what is farther off is metres given as
# micrometres, or a wrong matrix.
_LARGEST_COORDINATE_MM: Final = 5000.0
_LARGEST_DIAMETER_MM: Final = 50.0
_SHORTEST_PATH_MM: Final = 0.1
_LONGEST_TEXT: Final = 64
_COLOR: Final = re.compile(r"#[0-9a-fA-F]{6}")

REQUIRED_FIELDS: Final = ("entry_lps_mm", "target_lps_mm", "diameter_mm")
TEXT_FIELDS: Final = ("label", "instrument", "approach")
PATH_FIELDS: Final = (*REQUIRED_FIELDS, "color", *TEXT_FIELDS)


@dataclass(frozen=True, slots=True)
class FieldError:
    """A field at fault and what it must be."""

    field: str
    message: str


class BadFieldsError(CaseError):
    """Fields that cannot be accepted; `errors` names each."""

    def __init__(self, errors: Iterable[FieldError], *, what: str = "path") -> None:
        self.errors = tuple(errors)
        told = "; ".join(f"{error.field}: {error.message}" for error in self.errors)
        super().__init__(f"{what} refused: {told}", code="bad_fields")


def checked_path_fields(fields: Mapping[str, Any], *, required: Iterable[str] = REQUIRED_FIELDS) -> dict[str, Any]:
    """Turn what a client sent into path fields.

    Args:
        fields: member name -> JSON value; `entry_lps_mm` and `target_lps_mm` three numbers (mm, patient LPS),
            `diameter_mm` (0, 50], `color` `#rrggbb`, `label`, `instrument`, `approach` up to 64 characters.
            None means "default" for the optional ones.
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
                values[name] = _checked(name, value)
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


def _checked(name: str, value: object) -> object:
    if name in ("entry_lps_mm", "target_lps_mm"):
        return _vector(value)
    if name == "diameter_mm":
        diameter_mm = _number(value)
        if not 0.0 < diameter_mm <= _LARGEST_DIAMETER_MM:
            raise ValueError(f"must be greater than 0 and at most {_LARGEST_DIAMETER_MM:g} mm")
        return diameter_mm
    if name == "color":
        if not isinstance(value, str) or not _COLOR.fullmatch(value):
            raise ValueError("must be #rrggbb")
        return value
    return _text(value)


def _number(value: object) -> float:
    # bool is an int in Python, and `true` is no length.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("must be finite")
    return number


def _vector(value: object) -> Vector3:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError("must be three numbers [x, y, z] in mm, patient LPS")
    try:
        x, y, z = (_number(part) for part in value)
    except ValueError as error:
        raise ValueError(f"each of its three numbers {error}") from None
    if max(abs(x), abs(y), abs(z)) > _LARGEST_COORDINATE_MM:
        raise ValueError(f"must lie within {_LARGEST_COORDINATE_MM:g} mm of the origin")
    return x, y, z


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    text = unicodedata.normalize("NFC", value).strip()
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"must have at most {_LONGEST_TEXT} characters")
    # Control characters and lone surrogates would break the receivers' logs and the encoders.
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise ValueError("must not hold control characters")
    return text
