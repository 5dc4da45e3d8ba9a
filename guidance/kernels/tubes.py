"""Planned paths as strokes, and where their labels stand: the live path's kernels, all paths in one call.

Their NumPy twins, which specify them and draw the page's lines, are `geometry.tube.project_tubes` with
`overlay.path_lines.path_lines` and `overlay.labels.label_spots`; there is no fallback to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.kernels import _core
from guidance.kernels.reference import F32, I32
from guidance.messages import F64, U8

TUBE_NUMBERS: Final = 14
SUMMARY_NUMBERS: Final = 12
_STROKE_NUMBERS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TubePlan:
    """What depends on the plan only; all C order.

    Attributes:
        tubes: (N, 14) float64: entry, unit axis and two unit vectors across it (patient LPS), radius_mm, length_mm.
        tick_depth_mm: (T,) float64 depth of each tick from its entry, tube by tube.
        tick_ends: (N + 1,) int64, from 0 to T: where each tube's ticks begin and end.
        colors: (N, 3) uint8.
    """

    tubes: F64
    tick_depth_mm: F64
    tick_ends: npt.NDArray[np.int64]
    colors: U8


def tube_strokes(plan: TubePlan, pixel_from_patient: F64, *, line_width_px: float, scale: float) -> tuple[F32, F64]:
    """Draw tubes at true diameter: outline, centreline, depth ticks, marks of entry and target.

    Args:
        plan: N tubes.
        pixel_from_patient: (3, 4) float64 as trusted: w in mm along the central ray, > 0 in front of the source.
        line_width_px: at this picture's size.
        scale: picture size over 1024, > 0.

    Returns:
        Strokes, (S, 8) float32 as `compose_frame` takes them, tube by tube, within 1e-3 px of the twin's and float32's
        own grain; and the summary, (N, 12) float64, all 0 for a tube of which nothing is in front of the source: drawn
        (1), centreline u0 v0 u1 v1 from the entry's end, entry and target in front of the source (0 or 1 each), radius
        and reach of the entry's mark in px, half width in px, down the barrel (0 or 1), number of strokes.

    Raises:
        TypeError: wrong dtype, shape or memory order.
        ValueError: numbers of rows that do not fit, a matrix that is singular or not finite, a bad size.
    """
    count, ticks = len(plan.tubes), len(plan.tick_depth_mm)
    strokes = np.empty((count * _core.TUBE_STROKES + ticks, _STROKE_NUMBERS), np.float32)
    summary = np.empty((count, SUMMARY_NUMBERS), np.float64)
    drawn = _core.tube_strokes(
        plan.tubes,
        plan.tick_depth_mm,
        plan.tick_ends,
        plan.colors,
        pixel_from_patient,
        line_width_px,
        scale,
        strokes,
        summary,
    )
    return strokes[:drawn], summary


def label_spots(summary: F64, sizes: I32, boxes: I32, picture: tuple[int, int], gap_px: float) -> I32:
    """Find each tube's label a place beside its entry, off words, marks, tubes and the labels before it.

    Args:
        summary: (N, 12) float64, see `tube_strokes`.
        sizes: (N, 2) int32 rows and columns of the labels.
        boxes: (B, 4) int32 left, top, right, bottom of what stands already; right and bottom excluded.
        picture: rows and columns.
        gap_px: how far a label keeps from the entry's mark.

    Returns:
        (N, 3) int32: left, top, 1; or 0 0 0 where nothing of the centreline is on the picture.

    Raises:
        TypeError: wrong dtype, shape or memory order.
        ValueError: numbers of rows that do not fit, a gap that is not finite.
    """
    spots = np.empty((len(summary), 3), np.int32)
    _core.label_spots(summary, sizes, boxes, *picture, gap_px, spots)
    return spots
