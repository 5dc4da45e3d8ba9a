"""What is drawn on one frame: paths where geometry is trusted, else only words; decides nothing about trust."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from guidance.config import OverlaySettings
from guidance.geometry.tube import TubeProjection, project_tubes, tubes_of_paths
from guidance.messages import GeometryState, Matrix34, PlannedPath
from guidance.overlay.colors import CALM, PLATE, Rgb, apart_from, rgb_of
from guidance.overlay.labels import Box, Obstacles, label_spot, tube_disks
from guidance.overlay.orientation import orientation_marks
from guidance.overlay.path_lines import entry_radii_px, path_lines
from guidance.overlay.pieces import Line, Scene, Text, scene_of
from guidance.overlay.text import plate_gap_px, text_bitmap, wrapped
from guidance.overlay.words import DISCLAIMER, Words, state_words
from guidance.session import InputTrack

_REFERENCE_PX: Final = 1024.0  # settings are meant for a picture of this size
_SMALLEST_SCALE: Final = 0.7
_LEAST_TEXT_PX: Final = 11
_MARK_PART: Final = 1.5  # of the text size
_DISCLAIMER_PART: Final = 0.75
_LABEL_GAP_PART: Final = 0.3


def frame_scene(track: InputTrack, paths: Sequence[PlannedPath], settings: OverlaySettings, *, age_ms: float) -> Scene:
    """Everything that goes onto the track's newest frame.

    Args:
        track: an input with a frame; its verdict says whether paths may be drawn, its places which of them are.
        paths: those of the active volume's frame.
        settings: sizes for a picture of 1024 px; they scale with the picture.
        age_ms: age of the picture.
    """
    assert track.frame is not None
    verdict = track.verdict
    trusted = verdict.state in (GeometryState.TRUSTED, GeometryState.DEGRADED)
    matrix = verdict.pixel_from_patient if trusted else None
    placed = {place.id for place in track.places if place.drawn}
    drawn = tuple(path for path in paths if path.id in placed) if matrix is not None else ()
    layout = _Layout(track.frame.pixels.shape, settings, frozenset(rgb_of(path.color) for path in paths))
    layout.add_words(
        state_words(track.state, track.liveness.why, verdict, age_ms=age_ms, paths=len(paths), drawn=len(drawn))
    )
    if matrix is None:
        return scene_of((), layout.texts, ())
    layout.add_marks(matrix)
    lines, labels = _path_pieces(drawn, matrix, layout.style, tuple(layout.boxes))
    return scene_of(lines, [*labels, *layout.texts], [path.id for path in drawn])


@dataclass(frozen=True, slots=True)
class _Style:
    """Sizes at one picture's size."""

    rows: int
    columns: int
    scale: float
    size_px: int
    line_width_px: float
    tick_mm: float


@lru_cache(maxsize=32)
def _path_pieces(
    paths: tuple[PlannedPath, ...], pixel_from_patient: Matrix34, style: _Style, boxes: tuple[Box, ...]
) -> tuple[tuple[Line, ...], tuple[Text, ...]]:
    """Lines and labels of the drawn paths; kept, since between two frames the C-arm mostly stands still."""
    if not paths:
        return (), ()
    matrix = np.array(pixel_from_patient, np.float64).reshape(3, 4)
    tubes = project_tubes(tubes_of_paths(paths, style.tick_mm), matrix)
    drawn = [(path, tube) for path, tube in zip(paths, tubes, strict=True) if tube.drawn]
    lines = [
        line
        for path, tube in drawn
        for line in path_lines(tube, rgb_of(path.color), path.id, line_width_px=style.line_width_px, scale=style.scale)
    ]
    return tuple(lines), _labels(drawn, style, boxes)


def _labels(drawn: list[tuple[PlannedPath, TubeProjection]], style: _Style, boxes: tuple[Box, ...]) -> tuple[Text, ...]:
    if not drawn:
        return ()
    reaches = [entry_radii_px(tube, style.scale)[1] for _, tube in drawn]
    disks = tube_disks([(tube, reach) for (_, tube), reach in zip(drawn, reaches, strict=True)])
    obstacles = Obstacles(list(boxes), disks)
    labels = []
    for (path, tube), reach in zip(drawn, reaches, strict=True):
        label = path.label.strip() or path.id
        height, width = text_bitmap(label, style.size_px).coverage.shape
        gap = reach + _LABEL_GAP_PART * style.size_px
        spot = label_spot(tube, gap, (height, width), (style.rows, style.columns), obstacles)
        if spot is None:
            continue
        left, top = spot
        obstacles.boxes.append((left, top, left + width, top + height))
        labels.append(Text(label, left, top, style.size_px, rgb_of(path.color), path_id=path.id))
    return tuple(labels)


class _Layout:
    """Words and marks, so that they do not cover each other."""

    def __init__(self, shape: tuple[int, ...], settings: OverlaySettings, taken: frozenset[Rgb]) -> None:
        rows, columns = shape
        scale = max(min(rows, columns) / _REFERENCE_PX, _SMALLEST_SCALE)
        self.style = _Style(
            rows=rows,
            columns=columns,
            scale=scale,
            size_px=max(round(settings.text_height_px * scale), _LEAST_TEXT_PX),
            line_width_px=settings.line_width_px * scale,
            tick_mm=settings.depth_tick_mm,
        )
        self.taken = taken
        self.plate = apart_from(PLATE, taken)
        self.margin = round(0.75 * self.style.size_px)
        self.texts: list[Text] = []
        self.boxes: list[Box] = []

    def add_words(self, words: Sequence[Words]) -> None:
        """State at the top left, line by line; what this is not at the bottom left."""
        size, width = self.style.size_px, self.style.columns - 2 * self.margin
        top = self.margin
        for statement in words:
            for line in wrapped(statement.text, size, width):
                self._add_text(line, self.margin, top, size, statement.color)
                top += _plated_height(line, size)
        small = max(round(_DISCLAIMER_PART * size), _LEAST_TEXT_PX)
        bottom = self.style.rows - self.margin + plate_gap_px(small)
        for line in reversed(wrapped(DISCLAIMER, small, width)):
            bottom -= _plated_height(line, small)
            self._add_text(line, self.margin, bottom + plate_gap_px(small), small, CALM)

    def add_marks(self, pixel_from_patient: Matrix34) -> None:
        """R and L and their like at the picture's edges; drawn in towards the middle where words stand."""
        size = round(_MARK_PART * self.style.size_px)
        rows, columns = self.style.rows, self.style.columns
        for mark in orientation_marks(pixel_from_patient, rows, columns):
            height, width = text_bitmap(mark.letter, size).coverage.shape
            du, dv = mark.direction
            # From the middle to the edge of the rectangle in which the letter's middle may lie.
            room_u = max(columns / 2 - self.margin - width / 2, 0.0)
            room_v = max(rows / 2 - self.margin - height / 2, 0.0)
            reach = min(room_u / max(abs(du), 1e-9), room_v / max(abs(dv), 1e-9))
            while reach > 0.0:
                left = round(columns / 2 + reach * du - width / 2)
                top = round(rows / 2 + reach * dv - height / 2)
                place = _plated_box(mark.letter, left, top, size)
                if not any(_overlap(place, box) for box in self.boxes):
                    self._add_text(mark.letter, left, top, size, CALM)
                    break
                reach -= size / 2

    def _add_text(self, text: str, left: int, top: int, size_px: int, color: Rgb) -> None:
        self.boxes.append(_plated_box(text, left, top, size_px))
        own = apart_from(color, self.taken)
        self.texts.append(Text(text, left, top, size_px, own, plate=self.plate, apart=self.taken))


def _plated_height(text: str, size_px: int) -> int:
    height: int = text_bitmap(text, size_px).coverage.shape[0]
    return height + 2 * plate_gap_px(size_px)


def _plated_box(text: str, left: int, top: int, size_px: int) -> Box:
    gap = plate_gap_px(size_px)
    height, width = text_bitmap(text, size_px).coverage.shape
    return left - gap, top - gap, left + width + gap, top + height + gap


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
