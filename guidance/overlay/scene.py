"""What is drawn on one frame: paths where geometry is trusted, else only words; decides nothing about trust."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from guidance.config import OverlaySettings
from guidance.geometry.tube import TubeProjection, project_tubes, tubes_of_paths
from guidance.messages import GeometryState, GeometryVerdict, PlannedPath
from guidance.overlay.colors import CALM, PLATE, Rgb, apart_from, rgb_of
from guidance.overlay.orientation import orientation_marks
from guidance.overlay.path_lines import entry_reach_px, path_lines
from guidance.overlay.pieces import Line, Scene, Text, scene_of
from guidance.overlay.text import plate_gap_px, text_bitmap, wrapped
from guidance.overlay.words import DISCLAIMER, Words, state_words
from guidance.session import InputTrack

_REFERENCE_PX: Final = 1024.0  # settings are meant for a picture of this size
_SMALLEST_SCALE: Final = 0.6
_LEAST_TEXT_PX: Final = 10
_MARK_PART: Final = 1.5  # of the text size
_DISCLAIMER_PART: Final = 0.75
_LABEL_TURNS_DEG: Final = (0.0, 45.0, -45.0, 90.0, -90.0, 135.0, -135.0, 180.0)

Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom excluded


def frame_scene(track: InputTrack, paths: Sequence[PlannedPath], settings: OverlaySettings, *, age_ms: float) -> Scene:
    """Everything that goes onto the track's newest frame.

    Args:
        track: an input with a frame; its verdict says whether paths may be drawn, its places which of them are.
        paths: those of the active volume's frame.
        settings: sizes for a picture of 1024 px; they scale with the picture.
        age_ms: age of the picture.
    """
    assert track.frame is not None
    rows, columns = track.frame.pixels.shape
    drawn_ids = {place.id for place in track.places if place.drawn}
    taken = frozenset(rgb_of(path.color) for path in paths)
    layout = _Layout(rows, columns, settings, taken)
    tubes = _drawn_tubes(track.verdict, [path for path in paths if path.id in drawn_ids], settings.depth_tick_mm)
    words = state_words(
        track.state, track.liveness.why, track.verdict, age_ms=age_ms, paths=len(paths), drawn=len(tubes)
    )
    layout.add_words(words)
    if track.verdict.pixel_from_patient is not None and _drawable(track.verdict):
        layout.add_marks(track.verdict.pixel_from_patient)
    for path, tube in tubes:
        layout.add_path(path, tube)
    return scene_of(layout.lines, layout.texts, [path.id for path, _ in tubes])


def _drawable(verdict: GeometryVerdict) -> bool:
    return verdict.state in (GeometryState.TRUSTED, GeometryState.DEGRADED)


def _drawn_tubes(
    verdict: GeometryVerdict, paths: list[PlannedPath], tick_mm: float
) -> list[tuple[PlannedPath, TubeProjection]]:
    if not paths or not _drawable(verdict) or verdict.pixel_from_patient is None:
        return []
    matrix = np.array(verdict.pixel_from_patient, np.float64).reshape(3, 4)
    projections = project_tubes(tubes_of_paths(tuple(paths), tick_mm), matrix)
    return [(path, tube) for path, tube in zip(paths, projections, strict=True) if tube.drawn]


class _Layout:
    """Places pieces so that words, marks and labels do not cover each other."""

    def __init__(self, rows: int, columns: int, settings: OverlaySettings, taken: frozenset[Rgb]) -> None:
        self.rows, self.columns = rows, columns
        self.scale = max(min(rows, columns) / _REFERENCE_PX, _SMALLEST_SCALE)
        self.size_px = max(round(settings.text_height_px * self.scale), _LEAST_TEXT_PX)
        self.line_width_px = settings.line_width_px * self.scale
        self.taken = taken
        self.plate = apart_from(PLATE, taken)
        self.margin = round(0.75 * self.size_px)
        self.lines: list[Line] = []
        self.texts: list[Text] = []
        self.boxes: list[Box] = []

    def add_words(self, words: Sequence[Words]) -> None:
        """State at the top left, line by line; what this is not at the bottom left."""
        gap = plate_gap_px(self.size_px)
        top = self.margin
        for statement in words:
            for line in wrapped(statement.text, self.size_px, self.columns - 2 * self.margin):
                self._add_text(line, self.margin, top, self.size_px, statement.color)
                top += text_bitmap(line, self.size_px).coverage.shape[0] + 2 * gap
        small = max(round(_DISCLAIMER_PART * self.size_px), _LEAST_TEXT_PX)
        lines = wrapped(DISCLAIMER, small, self.columns - 2 * self.margin)
        for above, line in enumerate(reversed(lines)):
            height = text_bitmap(line, small).coverage.shape[0] + 2 * plate_gap_px(small)
            self._add_text(line, self.margin, self.rows - self.margin - (above + 1) * height, small, CALM)

    def add_marks(self, pixel_from_patient: tuple[float, ...]) -> None:
        """R and L and their like at the picture's edges."""
        size = round(_MARK_PART * self.size_px)
        for mark in orientation_marks(pixel_from_patient, self.rows, self.columns):
            coverage = text_bitmap(mark.letter, size).coverage
            height, width = coverage.shape
            du, dv = mark.direction
            # From the middle to the edge of the rectangle in which the letter's middle may lie.
            room_u = max(self.columns / 2 - self.margin - width / 2, 0.0)
            room_v = max(self.rows / 2 - self.margin - height / 2, 0.0)
            reach = min(room_u / max(abs(du), 1e-9), room_v / max(abs(dv), 1e-9))
            left = round(self.columns / 2 + reach * du - width / 2)
            top = round(self.rows / 2 + reach * dv - height / 2)
            self._add_text(mark.letter, left, top, size, CALM)

    def add_path(self, path: PlannedPath, tube: TubeProjection) -> None:
        """All of a path, in its colour."""
        color = rgb_of(path.color)
        self.lines += path_lines(tube, color, path.id, line_width_px=self.line_width_px, scale=self.scale)
        label = path.label.strip() or path.id
        spot = self._label_spot(tube, label)
        if spot is None:
            return
        left, top = spot
        height, width = text_bitmap(label, self.size_px).coverage.shape
        self.boxes.append((left, top, left + width, top + height))
        self.texts.append(Text(label, left, top, self.size_px, color, path_id=path.id))

    def _label_spot(self, tube: TubeProjection, label: str) -> tuple[int, int] | None:
        """Beside the entry, away from the target; at the middle of what is seen where the entry is not."""
        height, width = text_bitmap(label, self.size_px).coverage.shape
        start, end = tube.centerline_px
        anchor, reach = start, 2.0 * self.margin
        if tube.entry_px is not None and self._inside(tube.entry_px[0], tube.entry_px[1]):
            reach = entry_reach_px(tube, self.scale) + 0.3 * self.size_px
        else:
            seen = [point for point in np.linspace(start, end, 33) if self._inside(point[0], point[1])]
            if not seen:
                return None
            anchor = seen[len(seen) // 2]
        away = start - end
        heading = math.atan2(away[1], away[0]) if tube.entry_px is None or not tube.down_the_barrel else -math.pi / 4
        best: tuple[int, int] | None = None
        least = math.inf
        for ring in (1.0, 1.7, 2.4):
            for turn in _LABEL_TURNS_DEG:
                angle = heading + math.radians(turn)
                # The label's box touches the circle of the mark with the side that is turned to it.
                u = anchor[0] + (ring * reach + width / 2) * math.cos(angle)
                v = anchor[1] + (ring * reach + height / 2) * math.sin(angle)
                left = min(max(round(u - width / 2), 0), max(self.columns - width, 0))
                top = min(max(round(v - height / 2), 0), max(self.rows - height, 0))
                box = (left, top, left + width, top + height)
                covered = sum(_common_area(box, other) for other in self.boxes)
                moved = abs(left - (u - width / 2)) + abs(top - (v - height / 2))
                cost = covered + moved * self.size_px
                if cost < least:
                    best, least = (left, top), cost
                if covered == 0 and moved <= 2.0:
                    return left, top
        return best

    def _inside(self, u: float, v: float) -> bool:
        return -0.5 <= u <= self.columns - 0.5 and -0.5 <= v <= self.rows - 0.5

    def _add_text(self, text: str, left: int, top: int, size_px: int, color: Rgb) -> None:
        gap = plate_gap_px(size_px)
        height, width = text_bitmap(text, size_px).coverage.shape
        self.boxes.append((left - gap, top - gap, left + width + gap, top + height + gap))
        self.texts.append(Text(text, left, top, size_px, apart_from(color, self.taken), plate=self.plate))


def _common_area(a: Box, b: Box) -> int:
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
