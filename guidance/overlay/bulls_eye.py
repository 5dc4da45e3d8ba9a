"""Aids to come to and to use a bull's-eye view: true circles, the margin's ring, and how far off useful views are."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np

from guidance.geometry.camera import source_of
from guidance.geometry.tube import TubeProjection
from guidance.messages import F64, Matrix34, PlannedPath
from guidance.overlay.colors import ALARM, CALM, Rgb
from guidance.overlay.pieces import Line
from guidance.overlay.stage_lines import dashes, half_width_px, ring_px
from guidance.overlay.words import Words
from guidance.overlay.zones import PathAid
from guidance.planning.answers import Views
from guidance.planning.views import nearest_useful_view, view_words, views_with_offsets

DOWN_THE_PATH_DEG: Final = 3.0
"""A ray to the path's middle nearer to its axis than this looks down the path: over 100 mm it strays by 5 mm."""

_LEAST_RING_PX: Final = 2.0
_MOST_PATHS_SAID: Final = 3
_FRAMES_KEPT: Final = 64


def looks_down(path: PlannedPath, pixel_from_patient: F64) -> bool:
    """Whether the ray to the path's middle runs along its axis, whichever way."""
    entry, target = np.array(path.entry_lps_mm), np.array(path.target_lps_mm)
    axis, ray = target - entry, (entry + target) / 2 - source_of(pixel_from_patient)
    return math.atan2(float(np.linalg.norm(np.cross(axis, ray))), abs(float(axis @ ray))) < math.radians(
        DOWN_THE_PATH_DEG
    )


def bulls_eye_lines(
    tube: TubeProjection,
    path: PlannedPath,
    aid: PathAid,
    pixel_from_patient: F64,
    color: Rgb,
    alarm: Rgb,
    *,
    line_width_px: float,
    scale: float,
) -> list[Line]:
    """Entry and target as circles at true size, and the margin's ring, dashed, at the depth where it is tighter.

    Args:
        tube: the path's tube in a view that looks down it.
        aid: without a known margin there is no ring.
        color: the path's.
        alarm: of the ring where the margin is negative: then it lies inside the instrument.
        line_width_px: at this picture's size.
        scale: picture size over 1024.
    """
    ends = [
        (end, depth, half_width_px(path, pixel_from_patient, depth))
        for end, depth in ((tube.entry_px, tube.entry_depth_mm), (tube.target_px, tube.target_depth_mm))
        if end is not None
    ]
    lines = [Line(ring_px(end, width), color, line_width_px, closed=True, path_id=path.id) for end, _, width in ends]
    if aid.margin_mm is None or not ends:
        return lines
    end, _, width = max(ends, key=lambda each: each[1])  # deeper is smaller: there the same margin looks tighter
    radius_mm = path.diameter_mm / 2
    radius_px = max(width * (radius_mm + aid.margin_mm) / radius_mm, _LEAST_RING_PX)
    ring = Line(ring_px(end, radius_px), color, line_width_px, apart=True, path_id=path.id)
    if aid.margin_mm < 0.0:
        ring = replace(ring, color=alarm, path_id="")
    return [*lines, replace(ring, points=dashes(ring.points, scale))]


def margin_words(label: str, aid: PathAid) -> str:
    """A path's label in its bull's-eye view."""
    return label if aid.margin_mm is None else f"{label} margin {aid.margin_mm:.1f} mm"


@lru_cache(maxsize=_FRAMES_KEPT)
def aid_words(
    aided: tuple[tuple[PlannedPath, PathAid], ...], pixel_from_patient: Matrix34, looked_down: tuple[bool, ...]
) -> tuple[Words, ...]:
    """What does not fit; and for paths that the view does not look down, the nearest useful view and how far off it is.

    Args:
        aided: drawn paths with their aids; the first three are spoken of, and all of those that do not fit.
        looked_down: of each.
    """
    said, hints = [], []
    for (path, aid), down in zip(aided, looked_down, strict=True):
        label = path.label.strip() or path.id
        if down:
            if aid.margin_mm is not None and aid.margin_mm < 0.0:
                said.append(Words(f"{label}: MARGIN {aid.margin_mm:.1f} mm, it does not fit", ALARM))
            continue
        views = Views(path_id=path.id, c_arm="", patient_position="", views=aid.views)
        view = nearest_useful_view(views_with_offsets(views, pixel_from_patient))
        if view is not None:
            hints.append(Words(f"{label}: {view_words(view)}", CALM))
    return (*said, *hints[:_MOST_PATHS_SAID])
