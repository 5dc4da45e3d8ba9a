"""What one value of a request may be: numbers, points, texts, colours, words; ValueError says what it must be."""

from __future__ import annotations

import math
import re
import unicodedata
from enum import StrEnum
from typing import Final, TypeVar

from guidance.messages import Vector3

LONGEST_TEXT: Final = 64

# An operating room's coordinates stay within a few metres of the patient; what is farther off is metres given as
# micrometres, or a wrong matrix.
LARGEST_COORDINATE_MM: Final = 5000.0

_COLOR: Final = re.compile(r"#[0-9a-fA-F]{6}")
_Word = TypeVar("_Word", bound=StrEnum)


def checked_number(value: object) -> float:
    """A finite number.

    Raises:
        ValueError: it is none; bool is no number, for `true` is no length.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("must be finite")
    return number


def checked_length_mm(value: object, *, at_most: float) -> float:
    """A length in (0, at_most] mm.

    Raises:
        ValueError: it is none.
    """
    length_mm = checked_number(value)
    if not 0.0 < length_mm <= at_most:
        raise ValueError(f"must be greater than 0 and at most {at_most:g} mm")
    return length_mm


def checked_vector(value: object) -> Vector3:
    """A point of patient LPS, mm.

    Raises:
        ValueError: not three finite numbers within 5 m of the origin.
    """
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError("must be three numbers [x, y, z] in mm, patient LPS")
    try:
        x, y, z = (checked_number(part) for part in value)
    except ValueError as error:
        raise ValueError(f"each of its three numbers {error}") from None
    if max(abs(x), abs(y), abs(z)) > LARGEST_COORDINATE_MM:
        raise ValueError(f"must lie within {LARGEST_COORDINATE_MM:g} mm of the origin")
    return x, y, z


def checked_color(value: object) -> str:
    """`#rrggbb`.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str) or not _COLOR.fullmatch(value):
        raise ValueError("must be #rrggbb")
    return value


def checked_text(value: object, *, longest: int = LONGEST_TEXT) -> str:
    """Text without control characters, NFC, stripped.

    Raises:
        ValueError: no text, too long, or with what would break the receivers' logs and the encoders.
    """
    if not isinstance(value, str):
        raise ValueError("must be text")
    text = unicodedata.normalize("NFC", value).strip()
    if len(text) > longest:
        raise ValueError(f"must have at most {longest} characters")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise ValueError("must not hold control characters")
    return text


def checked_word(value: object, words: type[_Word]) -> _Word:
    """One of an enumeration's words.

    Raises:
        ValueError: it is none of them.
    """
    if isinstance(value, str):
        for word in words:
            if word.value == value:
                return word
    raise ValueError(f"must be one of {', '.join(words)}")


def checked_flag(value: object) -> bool:
    """True or false.

    Raises:
        ValueError: neither.
    """
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value
