"""Ink for pictures on paper and page: grey pixels, lines, text and scale bars on an RGB canvas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from guidance.messages import F64, U8
from guidance.overlay.colors import Rgb
from guidance.overlay.text import text_bitmap, wrapped

_SUBPIXEL_BITS: Final = 4
_TEXT_HEIGHT: Final = 1.5  # bitmap rows of a text, of its size
_HALO: Final[Rgb] = (0, 0, 0)


def grey_picture(values: npt.NDArray[np.float32], low: float, high: float, outside: Rgb) -> U8:
    """(rows, columns, 3) uint8 of values between black and white; NaN becomes `outside`."""
    known = np.isfinite(values)
    grey = np.clip((np.where(known, values, low) - low) / (high - low) * 255.0, 0.0, 255.0).astype(np.uint8)
    picture = np.repeat(grey[..., None], 3, axis=2)
    picture[~known] = outside
    return picture


def line(canvas: U8, points: F64, color: Rgb, *, closed: bool = False, width_px: int = 1, halo: bool = False) -> None:
    """An antialiased polyline through (N, 2) sub-pixel points; with a dark rim where it must stand out from bone."""
    fixed = np.round(points * (1 << _SUBPIXEL_BITS)).astype(np.int32).reshape(-1, 2)
    if halo:
        cv2.polylines(canvas, [fixed], closed, _HALO, width_px + 2, cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.polylines(canvas, [fixed], closed, color, width_px, cv2.LINE_AA, _SUBPIXEL_BITS)


def text(
    canvas: U8, words: str, left: float, top: float, size_px: int, color: Rgb, *, anchor: float = 0.0, halo: bool = True
) -> float:
    """Words on one line; `anchor` 0: `left` is their left edge, 0.5: their middle, 1: their right edge.

    Returns:
        Their width in px.
    """
    coverage = text_bitmap(words, size_px).coverage
    columns = coverage.shape[1]
    u, v = round(left - anchor * columns), round(top)
    if halo:
        rim = cv2.dilate(np.pad(coverage, 2), np.ones((5, 5), np.uint8))
        _blend(canvas, rim, u - 2, v - 2, _HALO, 0.6)
    _blend(canvas, coverage, u, v, color, 1.0)
    return float(columns)


def paragraph(canvas: U8, words: str, left: int, top: int, width_px: int, size_px: int, color: Rgb) -> int:
    """Words broken into lines; returns the row below the last one."""
    for one in wrapped(words, size_px, width_px):
        text(canvas, one, left, top, size_px, color, halo=False)
        top += line_height(size_px)
    return top


def line_height(size_px: int) -> int:
    """Rows from one line of text to the next."""
    return round(_TEXT_HEIGHT * size_px)


def scale_bar(canvas: U8, right: float, bottom: float, length_mm: float, pixel_mm: float, color: Rgb) -> None:
    """A bar with end strokes, its length written above."""
    left = right - length_mm / pixel_mm
    for points in (
        ((left, bottom), (right, bottom)),
        ((left, bottom - 4), (left, bottom + 4)),
        ((right, bottom - 4), (right, bottom + 4)),
    ):
        line(canvas, np.array(points), color, width_px=2, halo=True)
    text(canvas, f"{length_mm:g} mm", (left + right) / 2, bottom - 23, 12, color, anchor=0.5)


def beside(pictures: Sequence[U8], gap_px: int, color: Rgb) -> U8:
    """Pictures of one height in a row."""
    return np.concatenate(_with_gaps(pictures, gap_px, color, axis=1), axis=1)


def below(pictures: Sequence[U8], gap_px: int, color: Rgb) -> U8:
    """Pictures of one width in a column."""
    return np.concatenate(_with_gaps(pictures, gap_px, color, axis=0), axis=0)


def blank(rows: int, columns: int, color: Rgb) -> U8:
    """(rows, columns, 3) of one colour."""
    return np.full((rows, columns, 3), color, np.uint8)


def write_png(file: Path, rgb: U8) -> Path:
    """Write the picture; grey steps of 2 instead of 1, which nobody sees, save a third of the bytes.

    Raises:
        OSError: it cannot be written.
    """
    steps = np.ascontiguousarray(rgb[..., ::-1]) & np.uint8(0xFE)
    done, encoded = cv2.imencode(".png", steps, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert done, "OpenCV is built with PNG"
    file.write_bytes(encoded.tobytes())
    return file


def _with_gaps(pictures: Sequence[U8], gap_px: int, color: Rgb, axis: int) -> list[U8]:
    parts: list[U8] = []
    for picture in pictures:
        if parts:
            rows, columns = picture.shape[:2]
            parts.append(blank(gap_px, columns, color) if axis == 0 else blank(rows, gap_px, color))
        parts.append(picture)
    return parts


def _blend(canvas: U8, coverage: U8, left: int, top: int, color: Rgb, strength: float) -> None:
    rows, columns = coverage.shape
    first_row, first_column = max(0, -top), max(0, -left)
    last_row, last_column = min(rows, canvas.shape[0] - top), min(columns, canvas.shape[1] - left)
    if first_row >= last_row or first_column >= last_column:
        return
    part = coverage[first_row:last_row, first_column:last_column, None] * (strength / 255.0)
    under = canvas[top + first_row : top + last_row, left + first_column : left + last_column]
    under[:] = np.round(under * (1.0 - part) + np.array(color) * part).astype(np.uint8)
