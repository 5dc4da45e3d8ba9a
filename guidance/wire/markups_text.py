"""What markups cannot hold by themselves, as words in a point's description: `d=3.2 mm; instrument=needle_11g`.

3D Slicer shows descriptions in its table of points and keeps them when it saves a file anew; members of its JSON that
it does not know are lost then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_LENGTH: Final = re.compile(
    r"(?<!\w)(d|diameter|durchmesser|r|radius|h|height)\s*[=:]\s*(-?\d+(?:[.,]\d+)?(?:e[+-]?\d+)?)\s*([a-zµ]*)"
    r"|[øØ⌀]\s*=?\s*(\d+(?:[.,]\d+)?)\s*([a-zµ]*)",
    re.IGNORECASE,
)
_KEYS: Final = {"diameter": "d", "durchmesser": "d", "radius": "r", "height": "h"}
_PAIR: Final = re.compile(r"\s*([a-z]+)\s*=\s*(.*?)\s*")
_ESCAPES: Final = (("%", "%25"), (";", "%3B"), ("\n", "%0A"), ("\r", "%0D"))


def words_of(pairs: Mapping[str, object]) -> str:
    """Pairs as one line, numbers as mm; empty values are left out."""
    return "; ".join(f"{key}={_plain(value)}" for key, value in pairs.items() if value not in ("", None))


def pairs_of(*texts: str) -> dict[str, str]:
    """The `key=value` pairs of texts, divided by semicolons; the first text that has a key tells it."""
    found: dict[str, str] = {}
    for text in texts:
        for part in re.split(r"[;\n]", text):
            pair = _PAIR.fullmatch(part)
            if pair and pair.group(2):
                value = pair.group(2)
                for plain, escaped in reversed(_ESCAPES):
                    value = value.replace(escaped, plain)
                found.setdefault(pair.group(1).lower(), value)
    return found


def lengths_of(*texts: str) -> dict[str, float]:
    """The lengths in texts, in mm, by `d` (diameter, Ø), `r` (radius), `h` (height); the first text tells.

    Raises:
        ValueError: a length in another unit than mm, or not greater than 0.
    """
    found: dict[str, float] = {}
    for text in texts:
        for key, number, unit, bare, bare_unit in _LENGTH.findall(text):
            plain = _KEYS.get(key.lower(), key.lower()) or "d"
            value = float((number or bare).replace(",", "."))
            if (unit or bare_unit).lower() not in ("", "mm") or value <= 0.0:
                raise ValueError(f"{text!r}: {plain} must be in mm and greater than 0")
            found.setdefault(plain, value)
    return found


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value!r} mm"  # repr is the shortest text that gives the same float again
    text = str(value)
    for plain, escaped in _ESCAPES:
        text = text.replace(plain, escaped)
    return text
