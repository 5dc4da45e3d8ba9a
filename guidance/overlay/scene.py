"""What is drawn on one frame: paths where geometry is trusted, else only words; decides nothing about trust."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Final

import numpy as np

from guidance.config import OverlaySettings
from guidance.geometry.tube import Tubes, project_tubes, tubes_of_paths
from guidance.kernels import F32, I32
from guidance.kernels.tubes import TubePlan, label_spots, tube_strokes
from guidance.messages import F64, GeometryState, Matrix34, PlannedPath
from guidance.overlay.bulls_eye import Aids, aid_words, aids_of, bulls_eye_lines, looks_down, margin_words
from guidance.overlay.colors import ALARM, Rgb, apart_from, rgb_of
from guidance.overlay.layout import Placed, Sheet, placed_marks, placed_words, sheet_of
from guidance.overlay.path_lines import path_lines
from guidance.overlay.pieces import Line, Scene, Text, scene_of, stroked_scene, strokes_of
from guidance.overlay.stage_lines import Instrument, instrument_of, stage_lines
from guidance.overlay.text import text_bitmap
from guidance.overlay.words import ZONES_OFF, state_words, zone_words
from guidance.overlay.zone_lines import (
    Outlines,
    ZoneDrawing,
    outlines_of,
    text_boxes,
    withheld_names,
    zone_drawing_of,
    zone_labels,
    zone_lines,
)
from guidance.overlay.zones import NO_ZONES, PathAid, ZonesOnPicture
from guidance.session import InputTrack
from guidance.uncertainty.values import FrameUncertainty

_LABEL_GAP_PART: Final = 0.3  # of the text size
_NO_AID: Final = PathAid()
_ENTRY_REACH: Final = 8  # columns of the tubes' summary, see `kernels.tubes`
_BARREL: Final = 10
_STROKES: Final = 11
_NO_AIDS: Final[Mapping[str, PathAid]] = MappingProxyType({})
_FRAMES_KEPT: Final = 16  # between two frames the C-arm mostly stands still; several inputs and sizes at once


def frame_scene(
    track: InputTrack,
    paths: Sequence[PlannedPath],
    settings: OverlaySettings,
    *,
    age_ms: float,
    zones: ZonesOnPicture = NO_ZONES,
    aids: Mapping[str, PathAid] = _NO_AIDS,
    uncertainty: FrameUncertainty | None = None,
) -> Scene:
    """Everything that goes onto the track's newest frame.

    Args:
        track: an input with a frame; its verdict says whether paths may be drawn, its places which of them are.
        paths: those of the active volume's frame.
        settings: sizes for a picture of 1024 px; they scale with the picture.
        age_ms: age of the picture.
        zones: those of the active volume's frame.
        aids: by path id; a path without one is drawn from what it says itself.
        uncertainty: of the frame's geometry, the same object while nothing of it changes; what is unknown is said to
            be so. None: not asked for, as of a picture that is only drawn and never measured.
    """
    assert track.frame is not None
    verdict = track.verdict
    trusted = verdict.state in (GeometryState.TRUSTED, GeometryState.DEGRADED)
    matrix = verdict.pixel_from_patient if trusted else None
    placed = () if matrix is None else tuple([place.id for place in track.places if place.drawn])
    rows, columns = track.frame.pixels.shape
    known = tuple([aids.get(path.id) for path in paths]) if aids else ()
    drawing = _drawing_of(tuple(paths), known, placed, rows, columns, settings)
    said = state_words(
        track.state, track.liveness.why, verdict, age_ms=age_ms, paths=len(paths), drawn=len(drawing.drawn_ids)
    )
    if matrix is None:
        return scene_of((), placed_words(said, drawing.sheet).texts, ())
    outlined = None
    if settings.zones and (zones.surfaces or zones.missing):
        if zones.shown:
            outlined = zone_drawing_of(zones, drawing.sheet)
            said += zone_words(zones.missing, withheld_names(outlined, outlines_of(outlined, matrix)))
        else:
            said += ZONES_OFF
    if drawing.aids is not None:
        said += aid_words(drawing.aids, matrix, _strokes(drawing, matrix).looked_down)
    return _scene(drawing, matrix, placed_words(said, drawing.sheet), outlined)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Drawing:
    """What stays from frame to frame while plan, picture size and settings do; N drawn paths.

    Attributes:
        tubes, plan: the paths for the page's lines and for the kernel.
        colors, labels: of each.
        label_sizes: (N, 2) rows and columns.
        instruments: what each path's is.
        aids: of all paths, empty ones where planning told nothing; None without any, or switched off.
        zone_labels: the setting.
    """

    sheet: Sheet
    drawn: tuple[PlannedPath, ...]
    drawn_ids: tuple[str, ...]
    tubes: Tubes
    plan: TubePlan
    colors: tuple[Rgb, ...]
    labels: tuple[str, ...]
    label_sizes: I32
    instruments: tuple[Instrument, ...]
    aids: Aids | None
    zone_labels: bool

    @property
    def unmarked(self) -> bool:
        """Whether the kernel draws all paths; circles of a bull's-eye view aside."""
        return all(instrument.plain for instrument in self.instruments)

    @property
    def plain(self) -> bool:
        """Whether the kernel draws all of it."""
        return self.aids is None and self.unmarked


@dataclass(frozen=True, slots=True, eq=False)
class _PathStrokes:
    """What is drawn of the paths in one view; `looked_down`: which of the aided ones the view runs along."""

    strokes: F32
    summary: F64
    looked_down: tuple[bool, ...] = ()


@lru_cache(maxsize=_FRAMES_KEPT)
def _drawing_of(
    paths: tuple[PlannedPath, ...],
    known: tuple[PathAid | None, ...],
    placed: tuple[str, ...],
    rows: int,
    columns: int,
    settings: OverlaySettings,
) -> _Drawing:
    sheet = sheet_of((rows, columns), settings, frozenset(rgb_of(path.color) for path in paths))
    drawn = tuple(path for path in paths if path.id in placed)
    aid_of = {path.id: aid for path, aid in zip(paths, known, strict=True) if aid} if known else {}
    tubes = tubes_of_paths(drawn, settings.depth_tick_mm)
    colors = tuple(rgb_of(path.color) for path in drawn)
    labels = tuple(path.label.strip() or path.id for path in drawn)
    sizes = [text_bitmap(label, sheet.size_px).coverage.shape for label in labels]
    return _Drawing(
        sheet=sheet,
        drawn=drawn,
        drawn_ids=tuple(path.id for path in drawn),
        tubes=tubes,
        plan=TubePlan(
            tubes=tubes.numbers,
            tick_depth_mm=tubes.tick_depth_mm,
            tick_ends=np.array(tubes.tick_ends, np.int64),
            colors=np.array(colors, np.uint8).reshape(-1, 3),
        ),
        colors=colors,
        labels=labels,
        label_sizes=np.array(sizes, np.int32).reshape(-1, 2),
        instruments=tuple(instrument_of(path, aid_of.get(path.id, _NO_AID).side_hole_depths_mm) for path in drawn),
        aids=aids_of(tuple((path, aid_of.get(path.id, _NO_AID)) for path in drawn))
        if aid_of and settings.view_aids
        else None,
        zone_labels=settings.zone_labels,
    )


@lru_cache(maxsize=_FRAMES_KEPT)
def _scene(drawing: _Drawing, pixel_from_patient: Matrix34, words: Placed, outlined: ZoneDrawing | None) -> Scene:
    marks = placed_marks(pixel_from_patient, drawing.sheet, words)
    paths = _strokes(drawing, pixel_from_patient)
    strokes, summary = paths.strokes, paths.summary
    boxes = np.array(words.boxes + marks.boxes, np.int32).reshape(-1, 4)
    labels = _labels(drawing, paths, boxes)
    make_lines = partial(_lines, drawing, pixel_from_patient)
    texts = labels + words.texts + marks.texts
    if outlined is None:
        return stroked_scene(strokes, make_lines, texts, drawing.drawn_ids)
    outlines = outlines_of(outlined, pixel_from_patient)
    both = np.concatenate((outlines.strokes, strokes))
    both.flags.writeable = False
    if drawing.zone_labels:
        taken = np.concatenate((boxes, text_boxes(labels)))
        texts = zone_labels(outlined, outlines, taken, summary) + texts
    under_and_over = partial(_lines_over_zones, outlined, outlines, make_lines)
    return stroked_scene(both, under_and_over, texts, drawing.drawn_ids, under=len(outlines.strokes))


@lru_cache(maxsize=_FRAMES_KEPT)
def _strokes(drawing: _Drawing, pixel_from_patient: Matrix34) -> _PathStrokes:
    sheet, matrix = drawing.sheet, np.array(pixel_from_patient, np.float64).reshape(3, 4)
    strokes, summary = tube_strokes(drawing.plan, matrix, line_width_px=sheet.line_width_px, scale=sheet.scale)
    looked_down: tuple[bool, ...] = ()
    if not drawing.plain:
        barrel = summary[:, _BARREL].astype(bool).tolist()
        if drawing.aids is not None:
            along = looks_down(drawing.aids, matrix)
            looked_down = tuple([short or down for short, down in zip(barrel, along, strict=True)])
        if drawing.unmarked and not any(looked_down):
            strokes.flags.writeable = False
            return _PathStrokes(strokes, summary, looked_down)
        ends = np.cumsum(summary[:, _STROKES].astype(int))[:-1]
        own = np.split(strokes, ends)
        for index, lines in enumerate(_marked_lines(drawing, matrix, looked_down)):
            if lines:
                kept = own[index] if drawing.instruments[index].plain else own[index][:0]
                own[index] = np.concatenate((kept, strokes_of(lines)))
                if any(looked_down[index : index + 1]):  # its label keeps off the ring
                    reach = max(_reach_px(line, summary[index, 1:3]) for line in lines)
                    summary[index, _ENTRY_REACH] = max(summary[index, _ENTRY_REACH], reach)
        strokes = np.concatenate(own)
    strokes.flags.writeable = False
    return _PathStrokes(strokes, summary, looked_down)


def _marked_lines(drawing: _Drawing, matrix: F64, looked_down: tuple[bool, ...]) -> list[list[Line]]:
    """Of each path: all lines of one that the kernel does not draw, and the circles of one that the view runs along."""
    sheet = drawing.sheet
    found = []
    for index, tube in enumerate(project_tubes(drawing.tubes, matrix)):
        path, color, instrument = drawing.drawn[index], drawing.colors[index], drawing.instruments[index]
        lines: list[Line] = []
        if tube.drawn and not instrument.plain:
            lines += stage_lines(
                tube, path, instrument, matrix, color, line_width_px=sheet.line_width_px, scale=sheet.scale
            )
        if tube.drawn and any(looked_down[index : index + 1]):
            alarm = apart_from(ALARM, sheet.taken)
            aid = drawing.aids.aided[index][1] if drawing.aids is not None else _NO_AID
            lines += bulls_eye_lines(
                tube, path, aid, matrix, color, alarm, line_width_px=sheet.line_width_px, scale=sheet.scale
            )
        found.append(lines)
    return found


def _lines(drawing: _Drawing, pixel_from_patient: Matrix34) -> tuple[Line, ...]:
    sheet, matrix = drawing.sheet, np.array(pixel_from_patient, np.float64).reshape(3, 4)
    looked_down = _strokes(drawing, pixel_from_patient).looked_down
    marked = [[]] * len(drawing.drawn) if drawing.plain else _marked_lines(drawing, matrix, looked_down)
    lines: list[Line] = []
    for index, tube in enumerate(project_tubes(drawing.tubes, matrix)):
        if tube.drawn and drawing.instruments[index].plain:
            color, path_id = drawing.colors[index], drawing.drawn_ids[index]
            lines += path_lines(tube, color, path_id, line_width_px=sheet.line_width_px, scale=sheet.scale)
        lines += marked[index]
    return tuple(lines)


def _reach_px(line: Line, center: F64) -> float:
    return float(np.sqrt(((line.points - center) ** 2).sum(axis=1).max()))


def _lines_over_zones(
    outlined: ZoneDrawing, outlines: Outlines, make_lines: Callable[[], tuple[Line, ...]]
) -> tuple[Line, ...]:
    return (*zone_lines(outlined, outlines), *make_lines())


def _labels(drawing: _Drawing, paths: _PathStrokes, boxes: I32) -> tuple[Text, ...]:
    sheet = drawing.sheet
    gap_px = _LABEL_GAP_PART * sheet.size_px
    labels, sizes = drawing.labels, drawing.label_sizes
    if any(paths.looked_down) and drawing.aids is not None:
        told = zip(labels, drawing.aids.aided, paths.looked_down, strict=True)
        labels = tuple(margin_words(label, aid) if down else label for label, (_, aid), down in told)
        sizes = np.array([text_bitmap(label, sheet.size_px).coverage.shape for label in labels], np.int32)
    spots = label_spots(paths.summary, sizes, boxes, (sheet.rows, sheet.columns), gap_px).tolist()
    named = zip(spots, labels, drawing.colors, drawing.drawn_ids, strict=True)
    return tuple(
        Text(label, left, top, sheet.size_px, color, path_id=path_id)
        for (left, top, on_picture), label, color, path_id in named
        if on_picture
    )
