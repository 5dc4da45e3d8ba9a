"""What a scene is made of, lines and texts, and what becomes of them: strokes and sprites, and the page's vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from guidance.kernels import F32, I32, SPRITE_NUMBERS, STROKE_NUMBERS
from guidance.messages import F64, U8
from guidance.overlay.colors import Rgb, hex_of
from guidance.overlay.text import plate_bitmap, plate_gap_px, text_bitmap
from guidance.shapes import OverlayVector


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A polyline.

    Attributes:
        points: (N, 2) px (u, v), N >= 2.
        width_px: full width.
        closed: the last point joins the first.
        path_id: whose it is; "" for what belongs to no path.
    """

    points: F64
    color: Rgb
    width_px: float
    closed: bool = False
    path_id: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A text on one line.

    Attributes:
        left, top: pixel of the bitmap's corner.
        size_px: font size.
        plate: colour of the plate behind it; None without.
        path_id: whose it is; "" for what belongs to no path.
    """

    text: str
    left: int
    top: int
    size_px: int
    color: Rgb
    plate: Rgb | None = None
    path_id: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """All that is drawn on one frame.

    Attributes:
        lines, texts: the pieces.
        strokes: (N, 8) float32, see `kernels.compose_frame`.
        sprites, sprite_table: (B,) uint8 and (M, 8) int32, see there.
        drawn_ids: ids of the paths that are on the picture.
    """

    lines: tuple[Line, ...]
    texts: tuple[Text, ...]
    strokes: F32
    sprites: U8
    sprite_table: I32
    drawn_ids: tuple[str, ...]

    @property
    def vectors(self) -> tuple[OverlayVector, ...]:
        """The same pieces for the page; made when asked for."""
        return tuple([_line_vector(line) for line in self.lines] + [_text_vector(text) for text in self.texts])


def scene_of(lines: Sequence[Line], texts: Sequence[Text], drawn_ids: Sequence[str]) -> Scene:
    """Make pieces ready for the kernels; later pieces win where coverage is equal."""
    sprites, sprite_table = _sprites(tuple(texts))
    return Scene(tuple(lines), tuple(texts), _strokes(lines), sprites, sprite_table, tuple(drawn_ids))


def _strokes(lines: Sequence[Line]) -> F32:
    counts = [len(line.points) - (0 if line.closed else 1) for line in lines]
    strokes = np.empty((sum(counts), STROKE_NUMBERS), np.float32)
    start = 0
    for line, count in zip(lines, counts, strict=True):
        own = strokes[start : start + count]
        own[:, :2] = line.points[:count]
        own[: len(line.points) - 1, 2:4] = line.points[1:]
        if line.closed:
            own[-1, 2:4] = line.points[0]
        own[:, 4] = line.width_px / 2
        own[:, 5:] = line.color
        start += count
    return strokes


@lru_cache(maxsize=64)
def _sprites(texts: tuple[Text, ...]) -> tuple[U8, I32]:
    entries: list[tuple[int, ...]] = []
    bitmaps: list[U8] = []
    offset = 0
    for text in texts:
        gap = plate_gap_px(text.size_px)
        ink = text_bitmap(text.text, text.size_px).coverage
        layers = [(ink, text.left, text.top, text.color)]
        if text.plate is not None:
            plate = plate_bitmap(text.text, text.size_px).coverage
            layers.insert(0, (plate, text.left - gap, text.top - gap, text.plate))
        for coverage, left, top, color in layers:
            entries.append((offset, *coverage.shape, left, top, *color))
            bitmaps.append(coverage.reshape(-1))
            offset += coverage.size
    table = np.array(entries, np.int32).reshape(-1, SPRITE_NUMBERS)
    return np.concatenate(bitmaps or [np.zeros(0, np.uint8)]), table


def _line_vector(line: Line) -> OverlayVector:
    return OverlayVector(
        kind="line",
        color=hex_of(line.color),
        points=tuple(np.round(line.points, 2).reshape(-1).tolist()),
        width_px=round(line.width_px, 2),
        closed=line.closed,
        path_id=line.path_id,
    )


def _text_vector(text: Text) -> OverlayVector:
    baseline = text.top + text_bitmap(text.text, text.size_px).baseline
    return OverlayVector(
        kind="text",
        color=hex_of(text.color),
        points=(float(text.left), float(baseline)),
        text=text.text,
        size_px=float(text.size_px),
        path_id=text.path_id,
    )
