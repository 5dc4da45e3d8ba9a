"""Colours: a path's own, and those of words and marks, which no path's may meet."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

Rgb = tuple[int, int, int]

CALM: Final[Rgb] = (224, 232, 240)
NOTICE: Final[Rgb] = (255, 196, 64)
ALARM: Final[Rgb] = (255, 104, 88)
PLATE: Final[Rgb] = (12, 16, 20)


def rgb_of(color: str) -> Rgb:
    """`#rrggbb` as three bytes."""
    packed = int(color.removeprefix("#"), 16)
    return packed >> 16 & 255, packed >> 8 & 255, packed & 255


def hex_of(color: Rgb) -> str:
    """Three bytes as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def mixed(below: Rgb, above: Rgb, part: float) -> Rgb:
    """`part` of the upper colour in the lower one."""
    red, green, blue = (round(b + (a - b) * part) for a, b in zip(above, below, strict=True))
    return red, green, blue


def apart_from(color: Rgb, taken: Collection[Rgb]) -> Rgb:
    """The colour, or the next one to it that is no path's: what has a path's colour belongs to that path."""
    red, green, blue = color
    while (red, green, blue) in taken:
        blue = (blue + 1) % 256
        green = (green + 1) % 256 if blue == color[2] else green
    return red, green, blue
