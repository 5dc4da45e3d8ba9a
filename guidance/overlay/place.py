"""Where paths fall on one frame: ends in px, and whether anything of them is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guidance.kernels import project_points
from guidance.messages import F64, GeometryState, GeometryVerdict, PathProjection, PlannedPath


def place_paths(
    paths: Sequence[PlannedPath], verdict: GeometryVerdict, *, rows: int, columns: int
) -> tuple[PathProjection, ...]:
    """Project the ends of every path.

    Args:
        paths: those of the active volume's frame.
        verdict: nothing is placed unless it is trusted or degraded.
        rows, columns: size of the picture.

    Returns:
        One place per path, in order; an end at or behind the source is None, and such a path is not drawn, nor is
        one that misses the picture.
    """
    drawable = verdict.state in (GeometryState.TRUSTED, GeometryState.DEGRADED)
    if not paths or not drawable or verdict.pixel_from_patient is None:
        return tuple(PathProjection(id=path.id, entry_px=None, target_px=None, drawn=False) for path in paths)
    ends = np.array([end for path in paths for end in (path.entry_lps_mm, path.target_lps_mm)], np.float64)
    matrix = np.array(verdict.pixel_from_patient, np.float64).reshape(3, 4)
    uvw = project_points(ends, matrix)
    focal_px = float(np.linalg.norm(matrix[0, :3]))
    return tuple(
        _place(path, uvw[2 * index], uvw[2 * index + 1], focal_px, rows, columns) for index, path in enumerate(paths)
    )


def _place(path: PlannedPath, entry: F64, target: F64, focal_px: float, rows: int, columns: int) -> PathProjection:
    in_front = np.isfinite(entry[0]) and np.isfinite(target[0])  # NaN at and behind the source
    radius_px = focal_px * path.diameter_mm / 2 / min(entry[2], target[2]) if in_front else 0.0
    return PathProjection(
        id=path.id,
        entry_px=_pixel(entry),
        target_px=_pixel(target),
        drawn=bool(in_front) and _meets(entry, target, radius_px, rows, columns),
    )


def _pixel(uvw: F64) -> tuple[float, float] | None:
    return (float(uvw[0]), float(uvw[1])) if np.isfinite(uvw[0]) else None


def _meets(start: F64, end: F64, margin_px: float, rows: int, columns: int) -> bool:
    # Liang-Barsky: does the segment come within the margin of the picture -0.5 .. size - 0.5?
    first, last = 0.0, 1.0
    for axis, size in ((0, columns), (1, rows)):
        low, high = -0.5 - margin_px, size - 0.5 + margin_px
        step = end[axis] - start[axis]
        if step == 0.0:
            if not low <= start[axis] <= high:
                return False
            continue
        crossings = sorted(((low - start[axis]) / step, (high - start[axis]) / step))
        first, last = max(first, crossings[0]), min(last, crossings[1])
    return bool(first <= last)
