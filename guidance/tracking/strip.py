"""The strip of a picture along a planned path: where an instrument is looked for, and at what width."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.geometry.camera import source_of
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
class Strip:
    """A straight strip: x runs along the path's shadow in px from `origin_px`, y across it.

    Attributes:
        path: whose it is.
        origin_px, along, across: u, v; unit vectors.
        length_px: from the strip's first end to its last.
        aside_px: half its width.
        width_px: (2,) of the path's own shadow at both ends.
        entry_px, target_px: x of the path's ends.
        column_px, row_px: pitch of its coarse samples.
        bins: fine samples per coarse one, (along, across).
        end_on: sine of the angle by which the path is turned towards the source at its target, 0 to 1.
    """

    path: PlannedPath
    origin_px: F64
    along: F64
    across: F64
    length_px: float
    aside_px: float
    width_px: tuple[float, float]
    entry_px: float
    target_px: float
    column_px: float
    row_px: float
    bins: tuple[int, int]
    end_on: float

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of its coarse samples."""
        return max(int(self.length_px / self.row_px), 1), 2 * int(self.aside_px / self.column_px) + 1

    def width_at(self, x_px: F64) -> F64:
        """Width of the path's shadow at places along the strip, px."""
        first, last = self.width_px
        return first + (last - first) * x_px / self.length_px

    def points(self, x_px: F64, y_px: F64) -> F64:
        """(N, 2) u, v of places in the strip."""
        return self.origin_px + x_px[:, None] * self.along + y_px[:, None] * self.across


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
        origin_px=uv[0],
        along=along,
        across=np.array((-along[1], along[0])),
        length_px=float(x[3]),
        aside_px=aside_px,
        width_px=(float(widths[0]), float(widths[3])),
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
