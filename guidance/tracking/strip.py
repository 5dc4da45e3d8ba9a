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
    entry, target = np.array(path.entry_lps_mm, np.float64), np.array(path.target_lps_mm, np.float64)
    axis = target - entry
    length_mm = math.sqrt(float(axis @ axis))
    places_mm = np.array((-BEFORE_MM, 0.0, length_mm, length_mm + BEYOND_MM))
    points = entry + places_mm[:, None] * (axis / length_mm)
    homogeneous = points @ pixel_from_patient[:, :3].T + pixel_from_patient[:, 3]
    if float(homogeneous[:, 2].min()) < _NEAREST_MM:
        return "the path reaches the X-ray source"
    uv = homogeneous[:, :2] / homogeneous[:, 2:]
    focal_px = math.sqrt(abs(float(np.linalg.det(pixel_from_patient[:, :3]))))
    px_per_mm = focal_px / homogeneous[:, 2]
    chord = uv[2] - uv[1]
    chord_px = math.sqrt(float(chord @ chord))
    widths = path.diameter_mm * px_per_mm
    if chord_px < _LEAST_LENGTH_WIDTHS * float(widths.max()):
        return "the view runs along the path"
    along = chord / chord_px
    x = (uv - uv[0]) @ along
    aside_px = ASIDE_MM * float(px_per_mm.mean()) + float(widths.max())
    if _misses(uv, aside_px, size):
        return "the path is outside the picture"
    ray = target - source_of(pixel_from_patient)
    column_px = max(1.0, float(widths.mean()) / _COLUMNS_PER_WIDTH)
    row_px = _ROW_PITCH * column_px
    spacing_px = max(1.0, float(widths.mean()) / _SAMPLES_PER_WIDTH)
    return Strip(
        path=path,
        origin_px=(float(uv[0, 0]), float(uv[0, 1])),
        along=(float(along[0]), float(along[1])),
        length_px=float(x[3]),
        aside_px=aside_px,
        width_px=(float(widths[0]), float(widths[3])),
        diameter_mm=path.diameter_mm,
        entry_px=float(x[1]),
        target_px=float(x[2]),
        column_px=column_px,
        row_px=row_px,
        bins=(max(1, round(row_px / spacing_px)), max(1, round(column_px / spacing_px))),
        end_on=abs(float(axis @ ray)) / (length_mm * math.sqrt(float(ray @ ray))),
    )


def _misses(uv: F64, reach_px: float, size: tuple[int, int]) -> bool:
    rows, columns = size
    low, high = uv.min(axis=0) - reach_px, uv.max(axis=0) + reach_px
    return bool(high[0] < 0.0 or high[1] < 0.0 or low[0] > columns - 1 or low[1] > rows - 1)
