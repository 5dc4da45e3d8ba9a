"""The widest straight corridor through a field: branch and bound over boxes of lines, so that its answer is proven."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.kernels.corridor import LINE_NUMBERS, LineField, LineRules
from guidance.messages import F64

Progress = Callable[[float], None]

_FREE: Final = slice(2, 6)  # u, v, a, b of a line's row
_HALF: Final = slice(6, 10)
_MOST_BOXES: Final = 400_000  # at a time
_MOST_BOUNDS: Final = 4_000_000  # in all: some 10 s on two cores
_BEAM, _BEAM_LEVELS = 6_000, 8
_MOST_LEVELS: Final = 80
_AT_ONCE: Final = 1 << 17
_LOOKED_AT: Final = 384  # centre lines measured per level
_POLISHED: Final = 12
_SMALLEST_BOX_MM: Final = 0.01
_DIRECTIONS: Final = 40


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The best line of a search.

    Attributes:
        line: (10,) its row.
        radius_mm: its tunnel radius; ends and narrowest place as t.
        bound_mm: no line that was asked for has a larger one.
    """

    line: F64
    radius_mm: float
    start_t: float
    end_t: float
    narrowest_t: float
    bound_mm: float


def widest_line(
    field: LineField,
    rules: LineRules,
    charts: F64,
    boxes: F64,
    *,
    tolerance_mm: float,
    reach_mm: float,
    progress: Progress | None = None,
) -> Found | None:
    """Search boxes of lines for the one with the widest tunnel.

    Args:
        charts, boxes: as `LineField.bound` takes them.
        tolerance_mm: the answer is that near to the best there is, unless the work grows too much: `bound_mm` says so.
        reach_mm: how far from t = 0 corridors lie; weighs angles against offsets when boxes are split.
        progress: called with 0 to 1; what it raises ends the search.

    Returns:
        None: no line at all has a corridor wider than the rules' `thin_mm` and the tolerance.
    """
    weights = np.array([1.0, 1.0, reach_mm, reach_mm])
    size = float((boxes[:, _HALF] * weights).max(initial=_SMALLEST_BOX_MM))
    total = max(np.log2(size / (0.5 * tolerance_mm)), 1.0) * 4.0
    best: F64 | None = None
    tunnel = np.array([rules.thin_mm, 0.0, 0.0, 0.0])
    given_up, bounded = 0.0, 0
    for level in range(_MOST_LEVELS):
        cutoff = float(tunnel[0]) + tolerance_mm
        widths = _bounds(field, rules, charts, boxes, cutoff)
        bounded += len(boxes)
        boxes, widths = boxes[widths >= 0.0], widths[widths >= 0.0]
        if len(boxes) == 0:
            break
        order = np.argsort(-widths, kind="stable")
        starts = boxes[order[:_LOOKED_AT]]
        measured = field.measure(rules, charts, starts)
        top = np.argsort(-measured[:, 0], kind="stable")[:_POLISHED]
        top = top[measured[top, 0] > 0.0]
        if len(top):
            line, found = polished(field, rules, charts, starts[top], step_mm=2.0, reach_mm=reach_mm, limits=boxes)
            if found[0] > tunnel[0]:
                best, tunnel = line, found
                order = order[widths[order] > tunnel[0] + tolerance_mm]
        small = (boxes[order, _HALF] * weights).max(axis=1) < _SMALLEST_BOX_MM
        if len(order) > _MOST_BOXES:
            small |= np.arange(len(order)) >= _MOST_BOXES
        if small.any():
            given_up = max(given_up, float(widths[order[small]].max()))
            order = order[~small]
        if bounded > _MOST_BOUNDS:
            # Too much room to prove the best: only the most promising boxes go on.
            given_up = max(given_up, float(widths[order].max(initial=0.0)))
            order = order[:_BEAM] if bounded <= _MOST_BOUNDS + _BEAM_LEVELS * _BEAM else order[:0]
        boxes = _split(boxes[order], weights)
        if progress is not None:
            progress(min((level + 1) / total, 0.99))
    if best is None:
        return None
    bound = max(float(tunnel[0]) + tolerance_mm, given_up)
    radius, start, end, narrowest = (float(number) for number in tunnel)
    return Found(best, radius, start, end, narrowest, bound)


def polished(
    field: LineField,
    rules: LineRules,
    charts: F64,
    lines: F64,
    *,
    step_mm: float,
    reach_mm: float,
    limits: F64 | None = None,
) -> tuple[F64, F64]:
    """Climb from each line to a wider one near it; the best line and what `measure` says of it.

    Args:
        lines: (N, 10), all with a corridor.
        step_mm: of the first steps; the last are 0.01 mm.
        limits: boxes of the search: slopes do not leave their range.
    """
    directions = np.random.default_rng(7).normal(size=(_DIRECTIONS, 4))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    directions = np.concatenate([directions, np.eye(4), -np.eye(4)]) / np.array([1.0, 1.0, reach_mm, reach_mm])
    low, high = np.full(4, -np.inf), np.full(4, np.inf)
    if limits is not None:
        low[2:] = (limits[:, 4:6] - limits[:, 8:10]).min(axis=0)
        high[2:] = (limits[:, 4:6] + limits[:, 8:10]).max(axis=0)
    lines = lines.copy()
    values = field.measure(rules, charts, lines)
    steps = np.full(len(lines), step_mm)
    while (active := np.flatnonzero(steps >= 0.01)).size:
        tried = np.repeat(lines[active], len(directions), axis=0)
        moves = steps[active, None, None] * directions
        tried[:, _FREE] = np.clip(tried[:, _FREE] + moves.reshape(-1, 4), low, high)
        measured = field.measure(rules, charts, tried).reshape(len(active), len(directions), -1)
        choice = measured[:, :, 0].argmax(axis=1)
        won = measured[np.arange(len(active)), choice]
        better = won[:, 0] > values[active, 0] + 1e-9
        rows = tried.reshape(len(active), len(directions), LINE_NUMBERS)[np.arange(len(active)), choice]
        lines[active[better]] = rows[better]
        values[active[better]] = won[better]
        steps[active[~better]] *= 0.5
    n = int(values[:, 0].argmax())
    return lines[n], values[n]


def box_grid(chart: int, w: float, low: F64, high: F64, half: F64) -> F64:
    """Boxes that tile a range of u, v, a, b with half widths of at most `half`: (N, 10)."""
    counts = np.maximum(np.ceil((high - low) / (2.0 * half) - 1e-9).astype(int), 1)
    widths = (high - low) / counts
    axes = [low[n] + widths[n] * (np.arange(counts[n]) + 0.5) for n in range(4)]
    centers = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 4)
    boxes = np.empty((len(centers), LINE_NUMBERS))
    boxes[:, 0], boxes[:, 1] = chart, w
    boxes[:, _FREE] = centers
    boxes[:, _HALF] = widths / 2.0
    return boxes


def finer(rules: LineRules, step_mm: float) -> LineRules:
    """The same rules, sampled more finely."""
    return replace(rules, step_mm=step_mm)


def _bounds(field: LineField, rules: LineRules, charts: F64, boxes: F64, cutoff: float) -> F64:
    parts = [
        field.bound(rules, charts, np.ascontiguousarray(boxes[first : first + _AT_ONCE]), cutoff)
        for first in range(0, len(boxes), _AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _split(boxes: F64, weights: F64) -> F64:
    """Halve each box where it is widest."""
    axis = (boxes[:, _HALF] * weights).argmax(axis=1)
    rows: npt.NDArray[np.intp] = np.arange(len(boxes))
    lower = boxes.copy()
    lower[rows, 6 + axis] *= 0.5
    upper = lower.copy()
    lower[rows, 2 + axis] -= lower[rows, 6 + axis]
    upper[rows, 2 + axis] += upper[rows, 6 + axis]
    return np.concatenate([lower, upper])
