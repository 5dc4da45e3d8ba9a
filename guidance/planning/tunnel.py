"""A corridor found on a grid, made exact on the surface itself: sub-voxel points of it instead of a sampled field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from guidance.kernels.corridor import LineField, LineRules
from guidance.kernels.distance import thread_count
from guidance.messages import F64
from guidance.planning.line_search import Found, axis_of
from guidance.planning.working_grid import F32, WorkingGrid

_AROUND_MM: Final = 8.0  # surface looked at, beyond the tunnel found on the grid
_STEP_MM: Final = 0.4  # along the axis
_CLIMBING_MM: Final = 1.0  # the same while there is something to gain
_FIRST_STEP_MM, _LAST_STEP_MM = 0.8, 0.02
_DIRECTIONS: Final = 24
_BEYOND_TIP_MM: Final = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Tunnel:
    """A straight corridor.

    Attributes:
        start_lps_mm, end_lps_mm: ends of the axis; `end` at +e0.
        radius_mm: least distance of the axis to the surface, the ends aside.
        depths_mm: (N,) of the axis at even places from start to end.
    """

    start_lps_mm: F64
    end_lps_mm: F64
    radius_mm: float
    depths_mm: F64

    @property
    def length_mm(self) -> float:
        return float(np.linalg.norm(self.end_lps_mm - self.start_lps_mm))


def exact_tunnel(
    found: Found,
    share: F32,
    grid: WorkingGrid,
    field: LineField,
    rules: LineRules,
    charts: F64,
    *,
    reach_mm: float,
    most_slope: F64,
) -> Tunnel:
    """Climb on from the grid's best line, with distances to the surface's own points.

    Args:
        share: how much of each voxel the solid fills, 0 to 1, on the grid.
        field, rules, charts, reach_mm, most_slope: those of the search.
    """
    at, along = axis_of(found.line, charts)
    surface = cKDTree(
        surface_points(share, grid, at + found.start_t * along, at + found.end_t * along, found.radius_mm + _AROUND_MM)
    )
    line, best = found.line, _measured(found.line[None], surface, field, rules, charts, _CLIMBING_MM)[0]
    directions = np.random.default_rng(3).normal(size=(_DIRECTIONS, 4))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    directions = np.concatenate([directions, np.eye(4), -np.eye(4)]) / np.array([1.0, 1.0, reach_mm, reach_mm])
    step = _FIRST_STEP_MM
    while step >= _LAST_STEP_MM:
        tried = np.repeat(line[None], len(directions), axis=0)
        tried[:, 2:6] += step * directions
        tried[:, 4:6] = np.clip(tried[:, 4:6], *most_slope)
        measured = _measured(tried, surface, field, rules, charts, _CLIMBING_MM)
        n = int(measured[:, 0].argmax())
        if measured[n, 0] > best[0] + 1e-6:
            line, best = tried[n], measured[n]
        else:
            step *= 0.5
    best = _measured(line[None], surface, field, rules, charts, _STEP_MM)[0]
    at, along = axis_of(line, charts)
    start_t, end_t = float(best[1]), float(best[2])
    if rules.tip_inside:
        start_t -= _beyond_tip(at, along, surface, float(best[0]))
    start, end = at + start_t * along, at + end_t * along
    count = max(round(float(np.linalg.norm(end - start)) / _STEP_MM), 2)
    depths = surface.query(start + np.linspace(0.0, 1.0, count)[:, None] * (end - start))[0]
    return Tunnel(start, end, float(best[0]), depths)


def surface_points(share: F32, grid: WorkingGrid, start: F64, end: F64, radius_mm: float) -> F64:
    """(N, 3) where edges of the grid cross the surface (half a voxel filled), within a radius of a segment."""
    origin, size = np.asarray(grid.origin_lps_mm), np.asarray(grid.shape_kji[::-1])
    low = np.floor((np.minimum(start, end) - radius_mm - origin) / grid.spacing_mm)
    high = np.ceil((np.maximum(start, end) + radius_mm - origin) / grid.spacing_mm) + 1
    low, high = np.clip(low, 0, size).astype(int), np.clip(high, 0, size).astype(int)
    part = share[low[2] : high[2], low[1] : high[1], low[0] : high[0]] - np.float32(0.5)
    found = []
    for axis in range(3):
        one = part[tuple(slice(None, -1) if n == axis else slice(None) for n in range(3))]
        other = part[tuple(slice(1, None) if n == axis else slice(None) for n in range(3))]
        crossing = np.nonzero((one >= 0.0) != (other >= 0.0))
        places = np.stack(crossing, axis=-1).astype(np.float64)
        places[:, axis] += one[crossing] / (one[crossing] - other[crossing])
        found.append(places[:, ::-1])
    points = origin + grid.spacing_mm * (np.concatenate(found) + low)
    along = (end - start) / np.linalg.norm(end - start)
    off = points - start
    t = np.clip(off @ along, 0.0, np.linalg.norm(end - start))
    return np.asarray(points[np.linalg.norm(off - t[:, None] * along, axis=1) <= radius_mm])


def _measured(lines: F64, surface: cKDTree, field: LineField, rules: LineRules, charts: F64, step_mm: float) -> F64:
    """As `LineField.measure`, with exact depths."""
    out = field.measure(rules, charts, lines)
    rows = np.flatnonzero(out[:, 0] >= 0.0)
    places, to_ends, ends = [], [], [0]
    for n in rows:
        at, along = axis_of(lines[n], charts)
        length = float(np.linalg.norm(along))
        start, end = out[n, 1], out[n, 2]
        t = np.linspace(start, end, max(round((end - start) * length / step_mm), 2))
        to_end = (end - t if rules.tip_inside else np.minimum(end - t, t - start)) * length
        inner = to_end >= rules.end_factor * rules.radius_mm
        places.append(at + t[inner, None] * along)
        to_ends.append(to_end[inner])
        ends.append(ends[-1] + int(inner.sum()))
        out[n, 0] = rules.widest_mm((end - start) * length)
    if ends[-1] == 0:
        return out
    depth, to_end = surface.query(np.concatenate(places), workers=thread_count())[0], np.concatenate(to_ends)
    depth[to_end < rules.end_factor * depth] = np.inf
    for n, first, last in zip(rows, ends[:-1], ends[1:], strict=True):
        out[n, 0] = depth[first:last].min(initial=out[n, 0])
    return out


def _beyond_tip(at: F64, along: F64, surface: cKDTree, radius_mm: float) -> float:
    """How far (in t) the tip may go on while its ball stays in bone."""
    t = np.arange(0.0, _BEYOND_TIP_MM, _STEP_MM)
    depth = surface.query(at - t[:, None] * along)[0]
    tight = np.flatnonzero(depth < radius_mm - 1e-6)
    return float(t[max(tight[0] - 1, 0)] if len(tight) else t[-1])
