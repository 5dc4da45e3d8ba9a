"""What words of the command line mean as numbers; a word that means none is said in one line."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

from guidance.messages import Vector3


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not finite")
    return value


def positive(text: str) -> float:
    """A finite number above 0."""
    value = number(text)
    if value <= 0.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not greater than 0")
    return value


def not_negative(text: str) -> float:
    """A finite number, 0 or above."""
    value = number(text)
    if value < 0.0:
        raise argparse.ArgumentTypeError(f"{text!r} is less than 0")
    return value


def pixel_count(text: str) -> int:
    """A number of pixels, 1 to 65535."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels, 1 to 65535")
    return int(text)


def numbers(count: int) -> Callable[[str], tuple[float, ...]]:
    """So many finite numbers with commas between them."""

    def parse(text: str) -> tuple[float, ...]:
        parts = text.split(",")
        if len(parts) != count:
            raise argparse.ArgumentTypeError(f"{text!r} is not {count} numbers with commas between them")
        return tuple(number(part) for part in parts)

    return parse


def vector(text: str) -> Vector3:
    """x,y,z."""
    x, y, z = numbers(3)(text)
    return (x, y, z)
