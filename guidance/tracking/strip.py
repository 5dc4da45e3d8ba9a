"""The strip of a picture along a planned path: where an instrument is looked for, and at what width."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.geometry.camera import source_of
from guidance.kernels.rod_values import RodStrip
from guidance.messages import F64, PlannedPath

ASIDE_MM: Final = 12.0  # how far beside its path an instrument is looked for, at the path's depth
BEFORE_MM: Final = 40.0  # along the path before its entry: what is outside the bone and already seen
BEYOND_MM: Final = 25.0  # past the target
_COLUMNS_PER_WIDTH: Final = 9.0
_ROW_PITCH: Final = 3.0  # columns: a track that moves one column a row runs at 18 deg to its path
_SAMPLES_PER_WIDTH: Final = 16.0
_LEAST_LENGTH_WIDTHS: Final = 3.0  # a shorter shadow of the path is a view down its barrel
_NEAREST_MM: Final = 50.0  # from the source: nearer nothing of a patient is


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strip(RodStrip):
    """The strip along a path's shadow.

    Attributes:
        path: whose it is.
        entry_px, target_px: x of the path's ends.
    """

    path: PlannedPath
    entry_px: float
    target_px: float


def strip_of(path: PlannedPath, pixel_from_patient: F64, size: tuple[int, int]) -> Strip | str:
    """The strip along a path's shadow, or why there is none.

    Args:
        path: the plan.
        pixel_from_patient: (3, 4) as trusted, w in mm along the central ray, > 0 in front of the source.
        size: (rows, columns) of the picture.
    """
    # Scalars: on so few numbers array operations take ten times as long.
    axis = tuple(b - a for a, b in zip(path.entry_lps_mm, path.target_lps_mm, strict=True))
    length_mm = math.hypot(*axis)
    matrix = pixel_from_patient.tolist()
    uv: list[tuple[float, float]] = []
    depths_mm: list[float] = []
    for place_mm in (-BEFORE_MM, 0.0, length_mm, length_mm + BEYOND_MM):
        point = [at + place_mm / length_mm * step for at, step in zip(path.entry_lps_mm, axis, strict=True)]
        u, v, w = (row[0] * point[0] + row[1] * point[1] + row[2] * point[2] + row[3] for row in matrix)
        if w < _NEAREST_MM:
            return "the path reaches the X-ray source"
        uv.append((u / w, v / w))
        depths_mm.append(w)
    focal_px = math.sqrt(abs(float(np.linalg.det(pixel_from_patient[:, :3]))))
    px_per_mm = [focal_px / depth for depth in depths_mm]
    chord_px = math.dist(uv[1], uv[2])
    widths = [path.diameter_mm * scale for scale in px_per_mm]
    if chord_px < _LEAST_LENGTH_WIDTHS * max(widths):
        return "the view runs along the path"
    along = ((uv[2][0] - uv[1][0]) / chord_px, (uv[2][1] - uv[1][1]) / chord_px)
    x = [(u - uv[0][0]) * along[0] + (v - uv[0][1]) * along[1] for u, v in uv]
    aside_px = ASIDE_MM * math.fsum(px_per_mm) / 4.0 + max(widths)
    if _misses(uv, aside_px, size):
        return "the path is outside the picture"
    ray = [at - source for at, source in zip(path.target_lps_mm, source_of(pixel_from_patient).tolist(), strict=True)]
    width_px = math.fsum(widths) / 4.0
    column_px = max(1.0, width_px / _COLUMNS_PER_WIDTH)
    row_px = _ROW_PITCH * column_px
    spacing_px = max(1.0, width_px / _SAMPLES_PER_WIDTH)
    return Strip(
        path=path,
        origin_px=uv[0],
        along=along,
        length_px=x[3],
        aside_px=aside_px,
        width_px=(widths[0], widths[3]),
        diameter_mm=path.diameter_mm,
        entry_px=x[1],
        target_px=x[2],
        column_px=column_px,
        row_px=row_px,
        bins=(max(1, round(row_px / spacing_px)), max(1, round(column_px / spacing_px))),
        end_on=abs(math.fsum(a * b for a, b in zip(axis, ray, strict=True))) / (length_mm * math.hypot(*ray)),
    )


def _misses(uv: list[tuple[float, float]], reach_px: float, size: tuple[int, int]) -> bool:
    return any(
        max(places) + reach_px < 0.0 or min(places) - reach_px > count - 1
        for places, count in zip(zip(*uv, strict=True), reversed(size), strict=True)
    )
