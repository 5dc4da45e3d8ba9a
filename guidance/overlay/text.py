"""Text as coverage bitmaps; each is made once and kept, so an unchanged word costs nothing per frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from guidance.messages import U8

LONGEST_TEXT: Final = 200
_FONT: Final = "sans"  # OpenCV's own: Latin, Greek, Cyrillic, Hebrew, Arabic, Chinese, Japanese, Korean
_WEIGHT: Final = 600  # semibold stays legible on a noisy picture
_ASCENT: Final = 1.15  # of the font size, with room for accents
_DESCENT: Final = 0.35
_PLATE_PART: Final = 0.65
_TINT_STEPS: Final = 4
_PLATE_GAP: Final = 0.35  # of the font size, around the text


@dataclass(frozen=True, slots=True, eq=False)
class Bitmap:
    """A drawn text or the plate behind one.

    Attributes:
        coverage: (rows, columns) uint8, C order; 0 columns for a text without ink.
        baseline: row of the baseline.
    """

    coverage: U8
    baseline: int


@lru_cache(maxsize=1024)
def text_bitmap(text: str, size_px: int) -> Bitmap:
    """Draw a text, cut to its ink sideways.

    Args:
        text: any language; what the font lacks and what cannot be printed becomes a visible "?".
        size_px: font size, >= 1.
    """
    ascent, descent = round(_ASCENT * size_px), round(_DESCENT * size_px)
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    if len(printable) > LONGEST_TEXT:
        printable = printable[: LONGEST_TEXT - 1] + "…"
    face = cv2.FontFace(_FONT)
    width = cv2.getTextSize((1, 1), printable, (0, 0), face, size_px, _WEIGHT)[2]
    # Right-to-left text may begin at either side of the origin.
    canvas = np.zeros((ascent + descent, 3 * (width + size_px)), np.uint8)
    cv2.putText(canvas, printable, (width + size_px, ascent), (255,), face, size_px, _WEIGHT)
    inked = np.flatnonzero(canvas.any(axis=0))
    first, end = (int(inked[0]), int(inked[-1]) + 1) if inked.size else (0, 0)
    return Bitmap(np.ascontiguousarray(canvas[:, first:end]), ascent)


@dataclass(frozen=True, slots=True, eq=False)
class Tint:
    """Pixels of one colour of a text on its plate.

    Attributes:
        coverage: (rows, columns) uint8, C order.
        ink: 0 for the plate's own colour to 1 for the text's.
    """

    coverage: U8
    ink: float


@lru_cache(maxsize=1024)
def plated_tints(text: str, size_px: int) -> tuple[Tint, ...]:
    """A text on a half-transparent plate, as bitmaps of a few colours that share no pixel.

    The layer mixes nothing, so what a soft-edged letter over its plate would give is worked out here, in steps. The
    bitmaps begin `plate_gap_px(size_px)` px left of and above the text's own.
    """
    coverage = np.pad(text_bitmap(text, size_px).coverage, plate_gap_px(size_px))
    return tuple(Tint(np.asarray(cv2.LUT(coverage, of_ink), np.uint8), ink) for of_ink, ink in _tints())


@lru_cache(maxsize=1)
def _tints() -> tuple[tuple[U8, float], ...]:
    """(256,) coverage of each colour by the text's own, and that colour's ink; words change several times a second."""
    step = np.round(np.arange(256) / 255.0 * _TINT_STEPS)
    tints = []
    for number in range(_TINT_STEPS + 1):
        part = number / _TINT_STEPS
        covered = 1.0 - (1.0 - _PLATE_PART) * (1.0 - part)
        tints.append((np.where(step == number, round(255 * covered), 0).astype(np.uint8), part / covered))
    return tuple(tints)


def plate_gap_px(size_px: int) -> int:
    """How far a plate reaches around its text."""
    return max(1, round(_PLATE_GAP * size_px))


@lru_cache(maxsize=256)
def wrapped(text: str, size_px: int, width_px: int) -> tuple[str, ...]:
    """Break a text at blanks into lines that fit the width; a single word that doesn't stands alone."""
    words = text.split()
    if words and text_bitmap(" ".join(words), size_px).coverage.shape[1] <= width_px:
        return (" ".join(words),)  # what is drawn anyway; each beginning of it would be drawn for its width alone
    lines: list[str] = []
    for word in words:
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_bitmap(longer, size_px).coverage.shape[1] <= width_px:
            lines[-1] = longer
        else:
            lines.append(word)
    return tuple(lines)
