"""Zones on one picture: their outlines as strokes and as the page's lines, and their names where there is room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from guidance.kernels import F32, I32
from guidance.kernels.silhouette import Column, OutlineState, SilhouettePlan, silhouette_plan, silhouettes
from guidance.messages import F64, Matrix34
from guidance.overlay.colors import Rgb, apart_from, rgb_of
from guidance.overlay.layout import Sheet
from guidance.overlay.pieces import Line, Text
from guidance.overlay.text import text_bitmap
from guidance.overlay.zones import ZonesOnPicture

_LABEL_PART: Final = 0.75  # of the text size: zones are context, paths are what is followed
_LEAST_LABEL_PX: Final = 11
_LABEL_GAP_PX: Final = 4.0  # of a picture of 1024 px
_LONGEST_NAME: Final = 24
_TUBE_SAMPLES: Final = 24
_FRAMES_KEPT: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ZoneDrawing:
    """What stays from frame to frame while zones, picture size and settings do; Z zones that are to be shown.

    Attributes:
        ids, names: of each.
        colors: of each, none of them a path's.
        label_sizes: (Z, 2) rows and columns.
    """

    sheet: Sheet
    plan: SilhouettePlan
    ids: tuple[str, ...]
    names: tuple[str, ...]
    colors: tuple[Rgb, ...]
    labels: tuple[str, ...]
    label_sizes: I32
    label_px: int


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """Strokes and summary of `kernels.silhouette.silhouettes`; read-only."""

    strokes: F32
    summary: F64


@lru_cache(maxsize=_FRAMES_KEPT)
def zone_drawing_of(zones: ZonesOnPicture, sheet: Sheet) -> ZoneDrawing:
    """The zones with `shown`, made ready for a picture of the sheet's size; the switches are the caller's."""
    shown = [(zone, surface) for zone, surface in zones.surfaces if zone.shown]
    colors = tuple(apart_from(rgb_of(zone.color), sheet.taken) for zone, _ in shown)
    label_px = max(round(_LABEL_PART * sheet.size_px), _LEAST_LABEL_PX)
    labels = tuple(_short(zone.name.strip() or zone.id) for zone, _ in shown)
    sizes = [text_bitmap(label, label_px).coverage.shape for label in labels]
    return ZoneDrawing(
        sheet=sheet,
        plan=silhouette_plan([surface for _, surface in shown], colors),
        ids=tuple(zone.id for zone, _ in shown),
        names=tuple(zone.name.strip() or zone.id for zone, _ in shown),
        colors=colors,
        labels=labels,
        label_sizes=np.array(sizes, np.int32).reshape(-1, 2),
        label_px=label_px,
    )


@lru_cache(maxsize=_FRAMES_KEPT)
def outlines_of(drawing: ZoneDrawing, pixel_from_patient: Matrix34) -> Outlines:
    """The outlines of all zones in one view, the farthest first."""
    sheet, matrix = drawing.sheet, np.array(pixel_from_patient, np.float64).reshape(3, 4)
    strokes, summary = silhouettes(
        drawing.plan, matrix, line_width_px=sheet.line_width_px, picture=(sheet.rows, sheet.columns)
    )
    strokes.flags.writeable = summary.flags.writeable = False
    return Outlines(strokes, summary)


def withheld_names(drawing: ZoneDrawing, outlines: Outlines) -> tuple[str, ...]:
    """Names of the zones that are not drawn because some of them is at or behind the source: what is there is wrong."""
    too_near = outlines.summary[:, Column.STATE] == OutlineState.TOO_NEAR
    return tuple(name for name, near in zip(drawing.names, too_near.tolist(), strict=True) if near)


def zone_lines(drawing: ZoneDrawing, outlines: Outlines) -> list[Line]:
    """The same outlines as polylines, in the order of the strokes."""
    lines = []
    for index in np.argsort(outlines.summary[:, Column.FIRST_STROKE], kind="stable").tolist():
        first, count = outlines.summary[index, [Column.FIRST_STROKE, Column.STROKES]].astype(int).tolist()
        own = outlines.strokes[first : first + count].astype(np.float64)
        begins = np.flatnonzero((own[1:, :2] != own[:-1, 2:4]).any(axis=1)) + 1
        for chain in np.split(own, begins) if count else []:
            closed = len(chain) > 2 and bool((chain[0, :2] == chain[-1, 2:4]).all())
            points = chain[:, :2] if closed else np.concatenate((chain[:, :2], chain[-1:, 2:4]))
            lines.append(
                Line(points, drawing.colors[index], drawing.sheet.line_width_px, closed, zone_id=drawing.ids[index])
            )
    return lines


def zone_labels(drawing: ZoneDrawing, outlines: Outlines, boxes: I32, tubes: F64) -> tuple[Text, ...]:
    """Names beside their outlines, where they hide nothing; the others are left out.

    Args:
        boxes: (B, 4) left, top, right, bottom of words, marks and paths' labels.
        tubes: (N, 12) the paths' summary, see `kernels.tubes.tube_strokes`.
    """
    sheet = drawing.sheet
    taken = np.concatenate((boxes.astype(np.float64).reshape(-1, 4), _tube_boxes(tubes)))
    gap = _LABEL_GAP_PX * sheet.scale
    texts = []
    for index, row in enumerate(outlines.summary):
        if row[Column.STATE] != OutlineState.DRAWN:
            continue
        height, width = drawing.label_sizes[index].tolist()
        spots = np.round(_spots(row[Column.LEFT : Column.BOTTOM + 1].tolist(), height, width, gap))
        found = np.column_stack((spots, spots + np.array((width, height))))
        inside = (found[:, :2] >= 0).all(axis=1) & (found[:, 2:] <= (sheet.columns, sheet.rows)).all(axis=1)
        hides = (
            (found[:, None, 0] < taken[None, :, 2])
            & (found[:, None, 2] > taken[None, :, 0])
            & (found[:, None, 1] < taken[None, :, 3])
            & (found[:, None, 3] > taken[None, :, 1])
        ).any(axis=1)
        free = np.flatnonzero(inside & ~hides)
        if free.size:
            box = found[free[0]]
            taken = np.concatenate((taken, box[None]))
            left, top = box[:2].astype(int).tolist()
            texts.append(
                Text(
                    drawing.labels[index],
                    left,
                    top,
                    drawing.label_px,
                    drawing.colors[index],
                    zone_id=drawing.ids[index],
                )
            )
    return tuple(texts)


def text_boxes(texts: Sequence[Text]) -> I32:
    """(N, 4) left, top, right, bottom of texts without a plate."""
    boxes = []
    for text in texts:
        height, width = text_bitmap(text.text, text.size_px).coverage.shape
        boxes.append((text.left, text.top, text.left + width, text.top + height))
    return np.array(boxes, np.int32).reshape(-1, 4)


def _spots(box: Sequence[float], height: int, width: int, gap: float) -> F64:
    """(8, 2) left and top of a label around a box: right, left, above, below, and the corners."""
    left, top, right, bottom = box
    middle_u, middle_v = (left + right - width) / 2, (top + bottom - height) / 2
    before_u, before_v, after_u, after_v = left - gap - width, top - gap - height, right + gap, bottom + gap
    return np.array(
        [
            (after_u, middle_v),
            (before_u, middle_v),
            (middle_u, before_v),
            (middle_u, after_v),
            (after_u, before_v),
            (after_u, after_v),
            (before_u, before_v),
            (before_u, after_v),
        ]
    )


def _tube_boxes(summary: F64) -> F64:
    """(24 N, 4) boxes along each drawn tube's centreline, as wide as the tube or its entry's mark."""
    drawn = summary[summary[:, 0] > 0]
    parts = np.linspace(0.0, 1.0, _TUBE_SAMPLES)[None, :, None]
    points = drawn[:, None, 1:3] + parts * (drawn[:, 3:5] - drawn[:, 1:3])[:, None]
    reach = np.repeat(drawn[:, 9:10], _TUBE_SAMPLES, axis=1)
    reach[:, 0] = np.maximum(reach[:, 0], drawn[:, 8])
    boxes: F64 = np.concatenate((points - reach[..., None], points + reach[..., None]), axis=2).reshape(-1, 4)
    return boxes


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
