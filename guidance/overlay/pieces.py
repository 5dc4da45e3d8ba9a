"""What a scene is made of, lines and texts, and what becomes of them: strokes and sprites, and the page's vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from guidance.kernels import F32, I32, SPRITE_NUMBERS, STROKE_NUMBERS
from guidance.messages import F64, U8
from guidance.overlay.colors import Rgb, apart_from, hex_of, mixed
from guidance.overlay.text import plate_gap_px, plated_tints, text_bitmap
from guidance.shapes import OverlayVector


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A polyline, or several separate segments.

    Attributes:
        points: (N, 2) px (u, v), N >= 2.
        width_px: full width.
        closed: the last point joins the first.
        apart: points 0-1, 2-3, ... are segments of their own; N is even.
        path_id, zone_id: whose it is; "" for what belongs to no path and no zone.
        cement: seen in the picture itself, so it holds without geometry too.
    """

    points: F64
    color: Rgb
    width_px: float
    closed: bool = False
    apart: bool = False
    path_id: str = ""
    zone_id: str = ""
    cement: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """A text on one line.

    Attributes:
        left, top: pixel of the bitmap's corner.
        size_px: font size.
        plate: colour of the plate behind it; None without.
        apart: colours that the shades between text and plate must not meet.
        path_id, zone_id: whose it is; "" for what belongs to no path and no zone.
    """

    text: str
    left: int
    top: int
    size_px: int
    color: Rgb
    plate: Rgb | None = None
    apart: frozenset[Rgb] = frozenset()
    path_id: str = ""
    zone_id: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """All that is drawn on one frame.

    Attributes:
        texts: the words, marks and labels.
        make_lines: the lines that the strokes were made from, or their specification's: worked out only when asked
            for, since the live picture needs none.
        strokes: (N, 8) float32, see `kernels.compose_frame`.
        sprites, sprite_table: (B,) uint8 and (M, 8) int32, see there.
        drawn_ids: ids of the paths that are on the picture.
        under: how many strokes, from the first, lie under all the others (`kernels.compose_frame`).
    """

    texts: tuple[Text, ...]
    make_lines: Callable[[], tuple[Line, ...]]
    strokes: F32
    sprites: U8
    sprite_table: I32
    drawn_ids: tuple[str, ...]
    under: int = 0

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines as pieces; made when asked for."""
        return self.make_lines()

    @property
    def vectors(self) -> tuple[OverlayVector, ...]:
        """The same pieces for the page; made when asked for."""
        lines = [vector for line in self.lines for vector in _line_vectors(line)]
        return tuple(lines + [_text_vector(text) for text in self.texts])


def scene_of(lines: Sequence[Line], texts: Sequence[Text], drawn_ids: Sequence[str]) -> Scene:
    """Make pieces ready for the kernels; later pieces win where coverage is equal."""
    pieces = tuple(lines)
    return stroked_scene(strokes_of(pieces), lambda: pieces, tuple(texts), tuple(drawn_ids))


def stroked_scene(
    strokes: F32,
    make_lines: Callable[[], tuple[Line, ...]],
    texts: tuple[Text, ...],
    drawn_ids: tuple[str, ...],
    *,
    under: int = 0,
) -> Scene:
    """The same for lines that are strokes already; see `Scene`."""
    sprites, sprite_table = _sprites(texts)
    return Scene(texts, make_lines, strokes, sprites, sprite_table, drawn_ids, under)


def with_lines(scene: Scene, lines: Sequence[Line]) -> Scene:
    """The scene with lines over all of its own."""
    added = tuple(lines)
    strokes = np.concatenate((scene.strokes, strokes_of(added)))
    strokes.flags.writeable = False
    return replace(scene, strokes=strokes, make_lines=lambda: (*scene.lines, *added))


def with_texts(scene: Scene, texts: Sequence[Text]) -> Scene:
    """The scene with texts over all of its own."""
    added = tuple(texts)
    sprites, table = _sprites(added)
    table = table.copy()
    table[:, 0] += scene.sprites.size
    return replace(
        scene,
        texts=scene.texts + added,
        sprites=np.concatenate((scene.sprites, sprites)),
        sprite_table=np.concatenate((scene.sprite_table, table)),
    )


def strokes_of(lines: Sequence[Line]) -> F32:
    """(N, 8) float32 of all lines in order; read-only."""
    strokes = np.concatenate([_strokes(line) for line in lines] or [np.zeros((0, STROKE_NUMBERS), np.float32)])
    strokes.flags.writeable = False
    return strokes


def _strokes(line: Line) -> F32:
    points = line.points
    if line.apart:
        points = points.reshape(-1, 4)
    strokes = np.empty((len(points) - (0 if line.apart or line.closed else 1), STROKE_NUMBERS), np.float32)
    if line.apart:
        strokes[:, :4] = points
    else:
        strokes[:, :2] = points[: len(strokes)]
        strokes[: len(points) - 1, 2:4] = points[1:]
        if line.closed:
            strokes[-1, 2:4] = points[0]
    strokes[:, 4:] = (line.width_px / 2, *line.color)
    return strokes


def _sprites(texts: tuple[Text, ...]) -> tuple[U8, I32]:
    bitmaps, table, owners = _sprites_at_origin(
        tuple((text.text, text.size_px, text.color, text.plate, text.apart) for text in texts)
    )
    if not texts:
        return bitmaps, table
    table = table.copy()
    table[:, 3:5] += np.array([(text.left, text.top) for text in texts], np.int32)[owners]
    return bitmaps, table


_Look = tuple[str, int, Rgb, Rgb | None, frozenset[Rgb]]


@lru_cache(maxsize=64)
def _sprites_at_origin(looks: tuple[_Look, ...]) -> tuple[U8, I32, npt.NDArray[np.intp]]:
    """Bitmaps, table with every text at (0, 0), and whose each entry is: as the C-arm turns, texts only move."""
    entries: list[tuple[int, ...]] = []
    bitmaps: list[U8] = []
    owners: list[int] = []
    offset = 0
    for owner, (text, size_px, color, plate, apart) in enumerate(looks):
        if plate is None:
            layers = [(text_bitmap(text, size_px).coverage, 0, color)]
        else:
            gap = plate_gap_px(size_px)
            layers = [
                (tint.coverage, gap, apart_from(mixed(plate, color, tint.ink), apart))
                for tint in plated_tints(text, size_px)
            ]
        for coverage, gap, tint_color in layers:
            entries.append((offset, *coverage.shape, -gap, -gap, *tint_color))
            bitmaps.append(coverage.reshape(-1))
            owners.append(owner)
            offset += coverage.size
    table = np.array(entries, np.int32).reshape(-1, SPRITE_NUMBERS)
    return np.concatenate(bitmaps or [np.zeros(0, np.uint8)]), table, np.array(owners, np.intp)


def _line_vectors(line: Line) -> list[OverlayVector]:
    return [
        OverlayVector(
            kind="line",
            color=hex_of(line.color),
            points=tuple(points),
            width_px=round(line.width_px, 2),
            closed=line.closed,
            path_id=line.path_id,
            zone_id=line.zone_id,
            cement=line.cement,
        )
        for points in (np.round(part, 2).reshape(-1).tolist() for part in _parts(line))
    ]


def _parts(line: Line) -> list[F64]:
    """The line as polylines: segments that stand apart, those joined that go on where the one before ends."""
    if not line.apart:
        return [line.points]
    segments = line.points.reshape(-1, 2, 2)
    begins = np.flatnonzero((segments[1:, 0] != segments[:-1, 1]).any(axis=1)) + 1
    return [np.concatenate((chain[:1, 0], chain[:, 1])) for chain in np.split(segments, begins)]


def _text_vector(text: Text) -> OverlayVector:
    bitmap = text_bitmap(text.text, text.size_px)
    return OverlayVector(
        kind="text",
        color=hex_of(text.color),
        points=(float(text.left), float(text.top + bitmap.baseline)),
        width_px=float(bitmap.coverage.shape[1]),
        text=text.text,
        size_px=float(text.size_px),
        path_id=text.path_id,
        zone_id=text.zone_id,
    )
