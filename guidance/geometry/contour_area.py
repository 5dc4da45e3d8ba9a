"""Closed plane contours -> how much of each pixel they cover, exact along rows and sampled between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.messages import F64

_LINES: Final = 16  # sampled in each row: a straight edge is exact, a corner errs by less than 1/32 of a pixel's height
_MOST_CROSSINGS: Final = 2_000_000  # told at once, so that long contours do not need memory for all lines together


def covered(contours: Sequence[F64], shape: tuple[int, int], *, even_odd: bool) -> F64:
    """Area that contours cover of each pixel.

    Args:
        contours: each (N, 2) float64, (u, v) in pixels, closed by itself; pixel centres at integers.
        shape: (rows, columns).
        even_odd: a point inside an even number of contours is outside (holes by XOR and by keyhole); else it is
            inside where any contour is.

    Returns:
        (rows, columns) float64, 0 to 1.
    """
    rows, columns = shape
    starts, ends, turns = _edges(contours)
    area = np.zeros((rows, columns + 1))
    # An edge crosses the lines from its lower end to before its upper end; line n stands at (n + 1/2) / _LINES - 1/2.
    low, high = np.minimum(starts[:, 1], ends[:, 1]), np.maximum(starts[:, 1], ends[:, 1])
    from_line = np.clip(np.ceil((low + 0.5) * _LINES - 0.5), 0, rows * _LINES).astype(np.int64)
    to_line = np.clip(np.ceil((high + 0.5) * _LINES - 0.5), 0, rows * _LINES).astype(np.int64)
    parts = max(1, -(-int((to_line - from_line).sum()) // _MOST_CROSSINGS))
    step = max(_LINES, rows // parts * _LINES)
    for first in range(0, rows * _LINES, step):
        begin, end = np.maximum(from_line, first), np.minimum(to_line, first + step)
        counts = np.maximum(end - begin, 0)
        edge = np.repeat(np.arange(counts.size), counts)
        if not edge.size:
            continue
        line = np.arange(edge.size) - np.repeat(np.cumsum(counts) - counts, counts) + begin[edge]
        part = ((line + 0.5) / _LINES - 0.5 - starts[edge, 1]) / (ends[edge, 1] - starts[edge, 1])
        u = starts[edge, 0] + part * (ends[edge, 0] - starts[edge, 0])
        winding = np.where(ends[edge, 1] > starts[edge, 1], 1, -1) * turns[edge]
        order = np.lexsort((u, line))
        _add_spans(area, u[order], line[order], winding[order], even_odd=even_odd)
    return np.clip(np.cumsum(area, axis=1)[:, :columns], 0.0, 1.0)


def _edges(contours: Sequence[F64]) -> tuple[F64, F64, npt.NDArray[np.int64]]:
    """Start and end of every edge, and the sense of its contour: all turn the same way round after it."""
    starts, ends, turns = [], [], []
    for contour in contours:
        following = np.roll(contour, -1, axis=0)
        twice_area = float(np.sum(contour[:, 0] * following[:, 1] - following[:, 0] * contour[:, 1]))
        starts.append(contour)
        ends.append(following)
        turns.append(np.full(len(contour), 1 if twice_area >= 0 else -1, np.int64))
    return np.concatenate(starts), np.concatenate(ends), np.concatenate(turns)


def _add_spans(
    area: F64,
    u: F64,
    line: npt.NDArray[np.int64],
    winding: npt.NDArray[np.int64],
    *,
    even_odd: bool,
) -> None:
    """Add what lies between crossings, sorted by line and u, as differences along the rows."""
    new_line = np.concatenate(([True], line[1:] != line[:-1]))
    begin = np.maximum.accumulate(np.where(new_line, np.arange(line.size), 0))
    if even_odd:
        rank = np.arange(line.size) - begin
        change = np.where(rank % 2 == 0, 1.0, -1.0)
    else:
        total = np.cumsum(winding)
        depth = total - (total[begin] - winding[begin])
        before = depth - winding
        change = (depth != 0).astype(np.float64) - (before != 0).astype(np.float64)
    # From u on to the right everything is covered: the pixel that u lies in by what is left of it, the next in full.
    columns = area.shape[1]
    place = np.clip(u + 0.5, 0.0, columns - 1)
    pixel = np.minimum(place.astype(np.int64), columns - 2)
    left = pixel + 1.0 - place
    row = line // _LINES
    np.add.at(area, (row, pixel), change * left / _LINES)
    np.add.at(area, (row, pixel + 1), change * (1.0 - left) / _LINES)
