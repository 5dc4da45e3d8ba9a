"""Where words and marks stand on a picture: state at the top left, disclaimer below, marks at the edges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from guidance.config import OverlaySettings
from guidance.messages import Matrix34
from guidance.overlay.colors import CALM, PLATE, Rgb, apart_from
from guidance.overlay.labels import Box
from guidance.overlay.orientation import orientation_marks
from guidance.overlay.pieces import Text
from guidance.overlay.text import plate_gap_px, text_bitmap, wrapped
from guidance.overlay.words import DISCLAIMER, Words

_REFERENCE_PX: Final = 1024.0  # settings are meant for a picture of this size
_SMALLEST_SCALE: Final = 0.7
_LEAST_TEXT_PX: Final = 11
_MARK_PART: Final = 1.5  # of the text size
_DISCLAIMER_PART: Final = 0.75


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sheet:
    """One picture's sizes and colours.

    Attributes:
        rows, columns: of the picture.
        scale: picture size over 1024.
        size_px, line_width_px: of text and lines, at this picture's size.
        margin: px between words and the picture's edge.
        taken: the paths' colours, which nothing else may have.
        plate: colour behind words and marks.
    """

    rows: int
    columns: int
    scale: float
    size_px: int
    line_width_px: float
    margin: int
    taken: frozenset[Rgb]
    plate: Rgb


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Texts with their plates' boxes."""

    texts: tuple[Text, ...]
    boxes: tuple[Box, ...]


@lru_cache(maxsize=64)
def sheet_of(shape: tuple[int, int], settings: OverlaySettings, taken: frozenset[Rgb]) -> Sheet:
    """Sizes for a picture of (rows, columns); settings are meant for 1024 px. Equal ones are one and the same."""
    rows, columns = shape
    scale = max(min(rows, columns) / _REFERENCE_PX, _SMALLEST_SCALE)
    size_px = max(round(settings.text_height_px * scale), _LEAST_TEXT_PX)
    return Sheet(
        rows=rows,
        columns=columns,
        scale=scale,
        size_px=size_px,
        line_width_px=settings.line_width_px * scale,
        margin=round(0.75 * size_px),
        taken=taken,
        plate=apart_from(PLATE, taken),
    )


@lru_cache(maxsize=64)
def placed_words(words: tuple[Words, ...], sheet: Sheet) -> Placed:
    """State at the top left, line by line; what this is not at the bottom left."""
    texts = []
    width = sheet.columns - 2 * sheet.margin
    top = sheet.margin
    for statement in words:
        size = round(statement.size_part * sheet.size_px)
        for line in wrapped(statement.text, size, width):
            texts.append(_plated(line, sheet.margin, top, size, statement.color, sheet))
            top += _plated_height(line, size)
    small = max(round(_DISCLAIMER_PART * sheet.size_px), _LEAST_TEXT_PX)
    bottom = sheet.rows - sheet.margin + plate_gap_px(small)
    for line in reversed(wrapped(DISCLAIMER, small, width)):
        bottom -= _plated_height(line, small)
        texts.append(_plated(line, sheet.margin, bottom + plate_gap_px(small), small, CALM, sheet))
    return Placed(tuple(texts), tuple(_plated_box(text) for text in texts))


@lru_cache(maxsize=32)
def placed_marks(pixel_from_patient: Matrix34, sheet: Sheet, words: Placed) -> Placed:
    """R and L and their like at the picture's edges; drawn in towards the middle where words stand."""
    size, color = round(_MARK_PART * sheet.size_px), apart_from(CALM, sheet.taken)
    gap = plate_gap_px(size)
    middle_u, middle_v = sheet.columns / 2, sheet.rows / 2
    texts: list[Text] = []
    boxes = list(words.boxes)
    for mark in orientation_marks(pixel_from_patient, sheet.rows, sheet.columns):
        height, width = text_bitmap(mark.letter, size).coverage.shape
        du, dv = mark.direction
        # From the middle to the edge of the rectangle in which the letter's middle may lie.
        room_u = max(middle_u - sheet.margin - width / 2, 0.0)
        room_v = max(middle_v - sheet.margin - height / 2, 0.0)
        reach = min(room_u / max(abs(du), 1e-9), room_v / max(abs(dv), 1e-9))
        while reach > 0.0:
            left = round(middle_u + reach * du - width / 2)
            top = round(middle_v + reach * dv - height / 2)
            box = (left - gap, top - gap, left + width + gap, top + height + gap)
            if not _meets(box, boxes):
                boxes.append(box)
                texts.append(Text(mark.letter, left, top, size, color, plate=sheet.plate, apart=sheet.taken))
                break
            reach -= size / 2
    return Placed(tuple(texts), tuple(boxes[len(words.boxes) :]))


def _plated(text: str, left: int, top: int, size_px: int, color: Rgb, sheet: Sheet) -> Text:
    own = apart_from(color, sheet.taken)
    return Text(text, left, top, size_px, own, plate=sheet.plate, apart=sheet.taken)


def _plated_height(text: str, size_px: int) -> int:
    height: int = text_bitmap(text, size_px).coverage.shape[0]
    return height + 2 * plate_gap_px(size_px)


def _plated_box(text: Text) -> Box:
    gap = plate_gap_px(text.size_px)
    height, width = text_bitmap(text.text, text.size_px).coverage.shape
    return text.left - gap, text.top - gap, text.left + width + gap, text.top + height + gap


def _meets(box: Box, boxes: list[Box]) -> bool:
    left, top, right, bottom = box
    return any(left < other[2] and other[0] < right and top < other[3] and other[1] < bottom for other in boxes)
