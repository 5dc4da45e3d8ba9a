"""All paths in one view: strokes for the live picture, the same as lines for the page, and labels with their words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from guidance.geometry.tube import project_tubes
from guidance.kernels import F32, I32
from guidance.kernels.tubes import label_spots, tube_strokes
from guidance.messages import F64, Matrix34
from guidance.overlay.bands import DrawnBands, band_lines, band_strokes, drawn_bands
from guidance.overlay.bulls_eye import bulls_eye_lines, left_words, looks_down, margin_words
from guidance.overlay.colors import ALARM, apart_from
from guidance.overlay.drawing import NO_AID, Drawing
from guidance.overlay.path_lines import path_lines
from guidance.overlay.pieces import Line, Text, strokes_of
from guidance.overlay.stage_lines import stage_lines
from guidance.overlay.text import text_bitmap
from guidance.overlay.words import band_words
from guidance.uncertainty.values import FrameUncertainty, PoseUncertainty

_LABEL_GAP_PART: Final = 0.3  # of the text size
_ENTRY_REACH: Final = 8  # columns of the tubes' summary, see `kernels.tubes`
_BARREL: Final = 10
_STROKES: Final = 11
_FRAMES_KEPT: Final = 16


@dataclass(frozen=True, slots=True, eq=False)
class PathStrokes:
    """What is drawn of N paths in one view.

    Attributes:
        strokes: (S, 8) bands, then the paths.
        bands_before: how many of the strokes are bands.
        summary: (N, 12), see `kernels.tubes`.
        looked_down: which of the aided paths the view runs along; () without aids.
        bands: where they were asked for and are known.
        asked: bands were asked for.
    """

    strokes: F32
    bands_before: int
    summary: F64
    looked_down: tuple[bool, ...]
    bands: DrawnBands | None
    asked: bool

    @property
    def rings_mm(self) -> tuple[float, ...]:
        """What uncertainty takes of each path's margin, as told, to 0.1 mm; () where it is not known."""
        return () if self.bands is None else tuple([round(mm or 0.0, 1) for mm in self.bands.ring_mm])


@lru_cache(maxsize=_FRAMES_KEPT)
def path_strokes(drawing: Drawing, pixel_from_patient: Matrix34, uncertainty: FrameUncertainty | None) -> PathStrokes:
    """Draw all paths.

    Args:
        uncertainty: None where it was not asked for.
    """
    sheet, matrix = drawing.sheet, np.array(pixel_from_patient, np.float64).reshape(3, 4)
    strokes, summary = tube_strokes(drawing.plan, matrix, line_width_px=sheet.line_width_px, scale=sheet.scale)
    looked_down: tuple[bool, ...] = ()
    if drawing.aids is not None:
        barrel, along = summary[:, _BARREL].astype(bool).tolist(), looks_down(drawing.aids, matrix)
        looked_down = tuple([short or down for short, down in zip(barrel, along, strict=True)])
    bands = None
    if isinstance(uncertainty, PoseUncertainty) and drawing.drawn:
        bands = drawn_bands(drawing.tubes, matrix, uncertainty)
    if any(looked_down) or not drawing.unmarked:
        ends = np.cumsum(summary[:, _STROKES].astype(int))[:-1]
        own = np.split(strokes, ends)
        for index, lines in enumerate(_marked_lines(drawing, matrix, looked_down, bands)):
            if lines:
                kept = own[index] if drawing.instruments[index].plain else own[index][:0]
                own[index] = np.concatenate((kept, strokes_of(lines)))
                if any(looked_down[index : index + 1]):  # its label keeps off the ring
                    reach = max(_reach_px(line, summary[index, 1:3]) for line in lines)
                    summary[index, _ENTRY_REACH] = max(summary[index, _ENTRY_REACH], reach)
        strokes = np.concatenate(own)
    before = 0
    if bands is not None:
        around = band_strokes(bands, _with_band(drawing, looked_down), drawing.band_colors, **_line_sizes(drawing))
        strokes, before = np.concatenate((around, strokes)), len(around)
    strokes.flags.writeable = False
    return PathStrokes(strokes, before, summary, looked_down, bands, uncertainty is not None)


def all_lines(drawing: Drawing, pixel_from_patient: Matrix34, uncertainty: FrameUncertainty | None) -> tuple[Line, ...]:
    """The same strokes as lines, for the page."""
    sheet, matrix = drawing.sheet, np.array(pixel_from_patient, np.float64).reshape(3, 4)
    strokes = path_strokes(drawing, pixel_from_patient, uncertainty)
    looked_down, bands = strokes.looked_down, strokes.bands
    plain = drawing.plain and not any(looked_down)
    marked = [[]] * len(drawing.drawn) if plain else _marked_lines(drawing, matrix, looked_down, bands)
    lines: list[Line] = []
    if bands is not None:
        lines += band_lines(bands, _with_band(drawing, looked_down), drawing.band_colors, **_line_sizes(drawing))
    for index, tube in enumerate(project_tubes(drawing.tubes, matrix)):
        if tube.drawn and drawing.instruments[index].plain:
            color, path_id = drawing.colors[index], drawing.drawn_ids[index]
            lines += path_lines(tube, color, path_id, line_width_px=sheet.line_width_px, scale=sheet.scale)
        lines += marked[index]
    return tuple(lines)


def path_labels(drawing: Drawing, paths: PathStrokes, boxes: I32) -> tuple[Text, ...]:
    """Each path's label with its margin and its band.

    Args:
        boxes: (B, 4) of what stands already.
    """
    sheet = drawing.sheet
    gap_px = _LABEL_GAP_PART * sheet.size_px
    labels, sizes = drawing.labels, drawing.label_sizes
    if paths.bands is not None or any(paths.looked_down):
        labels = _told_labels(drawing, paths)
        sizes = _sizes(labels, sheet.size_px)
    spots = label_spots(paths.summary, sizes, boxes, (sheet.rows, sheet.columns), gap_px).tolist()
    named = zip(spots, labels, drawing.colors, drawing.drawn_ids, strict=True)
    return tuple(
        Text(label, left, top, sheet.size_px, color, path_id=path_id)
        for (left, top, on_picture), label, color, path_id in named
        if on_picture
    )


def _told_labels(drawing: Drawing, paths: PathStrokes) -> tuple[str, ...]:
    told = []
    for index, label in enumerate(drawing.labels):
        if any(paths.looked_down[index : index + 1]) and drawing.aids is not None:
            aid = drawing.aids.aided[index][1]
            ring_mm = paths.bands.ring_mm[index] if paths.bands is not None else None
            told.append(left_words(label, aid, ring_mm) if paths.asked else margin_words(label, aid))
        elif paths.bands is not None:
            told.append(f"{label}  {band_words(paths.bands.told_mm[index])}")
        else:
            told.append(label)
    return tuple(told)


@lru_cache(maxsize=64)
def _sizes(labels: tuple[str, ...], size_px: int) -> I32:
    return np.array([text_bitmap(label, size_px).coverage.shape for label in labels], np.int32).reshape(-1, 2)


def _with_band(drawing: Drawing, looked_down: tuple[bool, ...]) -> list[bool]:
    """Of each path, whether its band is drawn: not where a margin's ring has it taken off already."""
    if drawing.aids is None:
        return [True] * len(drawing.drawn)
    aided = zip(looked_down, drawing.aids.aided, strict=True)
    return [not (down and aid.margin_mm is not None) for down, (_, aid) in aided]


def _line_sizes(drawing: Drawing) -> dict[str, float]:
    return {"line_width_px": drawing.sheet.line_width_px, "scale": drawing.sheet.scale}


def _marked_lines(
    drawing: Drawing, matrix: F64, looked_down: tuple[bool, ...], bands: DrawnBands | None
) -> list[list[Line]]:
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
            lines += bulls_eye_lines(
                tube,
                path,
                drawing.aids.aided[index][1] if drawing.aids is not None else NO_AID,
                matrix,
                color,
                alarm,
                line_width_px=sheet.line_width_px,
                scale=sheet.scale,
                band_mm=(bands.ring_mm[index] or 0.0) if bands is not None else 0.0,
            )
        found.append(lines)
    return found


def _reach_px(line: Line, center: F64) -> float:
    return float(np.sqrt(((line.points - center) ** 2).sum(axis=1).max()))
