"""One zone's shadow on a picture of any size: its outline as short segments, what lies in it, and distances to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from guidance.kernels.silhouette import Column, OutlineState, SilhouettePlan, Surface, silhouette_plan, silhouettes
from guidance.messages import F32, F64

_LARGEST_PX: Final = 400.0  # that an outline is worked out at; 0.1 px of it are 0.1 mm of a zone 400 mm large
_FINEST: Final = 4.0
_MARGIN_PX: Final = 3.0
_NEAREST_MM: Final = 10.0  # in front of the source: nearer than that there is no shadow (`kernels.silhouette`)
_FAR_PICTURES: Final = 1.0  # an outline farther off the picture than this many picture sizes is brought that near
_NEIGHBOURS: Final = 4
_BAND: Final = 12  # steps from the outline within which distances are exact


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """Where a zone's shadow ends.

    Attributes:
        starts, ends: (S, 2) float64 u, v of segments with the shadow on the left where v runs up.
        box: least u, v and greatest u, v.
    """

    starts: F64
    ends: F64
    box: tuple[float, float, float, float]


def plan_of(surface: Surface) -> SilhouettePlan:
    """What an outline is made with; the costly part is kept by the kernel."""
    return silhouette_plan([surface], [(0, 0, 0)])


def outline_of(plan: SilhouettePlan, vertices_lps_mm: F32, pixel_from_patient: F64) -> Outline | None:
    """The whole outline, on the picture and off it; None where some of it is at or behind the source."""
    points = vertices_lps_mm.astype(np.float64) @ pixel_from_patient[:, :3].T + pixel_from_patient[:, 3]
    if len(points) == 0 or not np.isfinite(points).all() or points[:, 2].min() < _NEAREST_MM:
        return None
    places = points[:, :2] / points[:, 2:]
    low, high = places.min(axis=0), places.max(axis=0)
    scale = min(_FINEST, _LARGEST_PX / max(float((high - low).max()), 1.0))
    first = low - _MARGIN_PX / scale
    moved = pixel_from_patient.copy()
    moved[:2] = scale * (pixel_from_patient[:2] - first[:, None] * pixel_from_patient[2])
    size = np.ceil(scale * (high - first) + _MARGIN_PX).astype(int)
    strokes, summary = silhouettes(plan, moved, line_width_px=1.0, picture=(int(size[1]) + 1, int(size[0]) + 1))
    if summary[0, Column.STATE] != OutlineState.DRAWN or len(strokes) == 0:
        return None
    ends = strokes[:, :4].astype(np.float64).reshape(-1, 2, 2) / scale + first
    return Outline(ends[:, 0], ends[:, 1], (float(low[0]), float(low[1]), float(high[0]), float(high[1])))


def inside(outline: Outline, u0: float, v0: float, step: float, columns: int, rows: int) -> npt.NDArray[np.bool_]:
    """Which points of a grid lie in the shadow: (rows, columns), first point at (u0, v0).

    Source: winding number, summed along rows from the left.
    """
    (u1, v1), (u2, v2) = outline.starts.T, outline.ends.T
    first = np.ceil((np.minimum(v1, v2) - v0) / step).astype(np.intp)
    last = np.ceil((np.maximum(v1, v2) - v0) / step).astype(np.intp)
    first, last = np.clip(first, 0, rows), np.clip(last, 0, rows)
    counts = last - first
    which = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts) + first[which]
    part = (v0 + step * row - v1[which]) / (v2[which] - v1[which])
    crossing = u1[which] + part * (u2[which] - u1[which])
    column = np.clip(np.ceil((crossing - u0) / step), 0, columns).astype(np.intp)
    turns = np.zeros((rows, columns + 1), np.int32)
    np.add.at(turns, (row, column), np.where(v2[which] > v1[which], 1, -1))
    within: npt.NDArray[np.bool_] = np.cumsum(turns, axis=1)[:, :columns] != 0
    return within


def distances(outline: Outline, step: float, columns: int, rows: int) -> F32:
    """Signed distances at the points (u, v) = step * (column, row): (rows, columns) px, negative inside.

    Exact to some hundredths of a pixel near the outline and to a part of the step far off.
    """
    starts, ends = _short_segments(outline, step, columns, rows)
    middles = np.rint(0.5 * (starts + ends) / step).astype(np.intp)
    low = np.minimum(middles.min(axis=0), 0)
    high = np.maximum(middles.max(axis=0) + 1, (columns, rows))
    canvas = np.ones((high - low)[::-1], np.uint8)
    index = np.zeros(canvas.shape, np.int32)
    places = middles - low
    canvas[places[:, 1], places[:, 0]] = 0
    index[places[:, 1], places[:, 0]] = np.arange(len(middles))
    _, labels = cv2.distanceTransformWithLabels(canvas, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    of_label = np.zeros(int(labels.max()) + 1, np.int32)
    of_label[labels[canvas == 0]] = index[canvas == 0]
    own = (slice(-int(low[1]), rows - int(low[1])), slice(-int(low[0]), columns - int(low[0])))
    nearest = of_label[labels[own]].ravel()
    node = np.arange(len(nearest))
    squared = _squared_distances(node, columns, step, nearest, starts, ends)
    close = node[squared < (_BAND * step) ** 2]
    for offset in range(-_NEIGHBOURS, _NEIGHBOURS + 1):
        if offset:
            other = _squared_distances(close, columns, step, (nearest[close] + offset) % len(starts), starts, ends)
            squared[close] = np.minimum(squared[close], other)
    away = np.sqrt(squared).reshape(rows, columns)
    away[inside(outline, 0.0, 0.0, step, columns, rows)] *= -1.0
    return away


def _squared_distances(
    node: npt.NDArray[np.intp], columns: int, step: float, which: npt.NDArray[np.int32], starts: F64, ends: F64
) -> F32:
    """Of grid points, told by their number, to one segment each; differences are small enough for float32."""
    row, column = np.divmod(node, columns)
    (start_u, start_v), (end_u, end_v) = starts.T, ends.T
    along_u, along_v = (end_u - start_u).astype(np.float32), (end_v - start_v).astype(np.float32)
    per_length = (1.0 / np.maximum(along_u * along_u + along_v * along_v, 1e-9)).astype(np.float32)
    from_u = (step * column - start_u[which]).astype(np.float32)
    from_v = (step * row - start_v[which]).astype(np.float32)
    along_u, along_v = along_u[which], along_v[which]
    part = np.clip((from_u * along_u + from_v * along_v) * per_length[which], 0.0, 1.0)
    squared: F32 = (from_u - part * along_u) ** 2 + (from_v - part * along_v) ** 2
    return squared


def _short_segments(outline: Outline, step: float, columns: int, rows: int) -> tuple[F64, F64]:
    """No longer than a step, so that the nearest one's neighbours hold the nearest point."""
    far_u, far_v = _FAR_PICTURES * columns * step, _FAR_PICTURES * rows * step
    bounds = np.array([(-far_u, -far_v), (columns * step + far_u, rows * step + far_v)])
    starts, ends = np.clip(outline.starts, *bounds), np.clip(outline.ends, *bounds)
    counts = np.maximum(np.ceil(np.hypot(*(ends - starts).T) / step).astype(np.intp), 1)
    which = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    along = (ends - starts)[which] / counts[which, None]
    first = starts[which] + place[:, None] * along
    return first, first + along


def grid_in(outline: Outline, most_points: int) -> tuple[F64, float]:
    """Points spread evenly over the shadow: (N, 2) u, v and the area in px^2 that each stands for."""
    left, top, right, bottom = outline.box
    step = max(math.sqrt(max((right - left) * (bottom - top), 1e-6) / most_points), 1e-3)
    columns = max(int((right - left) / step) + 1, 1)
    rows = max(int((bottom - top) / step) + 1, 1)
    u0, v0 = left + 0.5 * step, top + 0.5 * step
    row, column = np.nonzero(inside(outline, u0, v0, step, columns, rows))
    return np.column_stack((u0 + step * column, v0 + step * row)), step * step
