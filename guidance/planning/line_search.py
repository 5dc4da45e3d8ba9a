"""The widest straight corridor through a field: many lines looked at, the best climbed from, and what is not excluded.

Work is counted, not timed: the same question has the same answer on a busy machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.kernels.corridor import LINE_NUMBERS, LineField, LineRules
from guidance.messages import F64

Progress = Callable[[float], None]

_FREE: Final = slice(2, 6)  # u, v, a, b of a line's row
_HALF: Final = slice(6, 10)
_AT_ONCE: Final = 1 << 16
_KEPT: Final = 4000  # of all lines that were looked at
_LIKE_MM: Final = 5.0  # ends nearer than this: the same corridor, seen twice
_DIRECTIONS: Final = 24
_SETS: Final = 16
_SHORTER: Final = 0.75  # a step after none was better
_CLIMBED: Final = ((64, 2.0, 0.5), (16, 0.5, 0.1), (6, 0.1, 0.02))  # how many lines, from what step to what step, mm
_LEVELS: Final = 28  # of splitting: each box 7 times in each of its 4 widths
_LOOKED_AT: Final = 256  # centre lines of boxes, per level
_CLIMBED_PER_LEVEL: Final = 2
_SMALLEST_BOX_MM: Final = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A line of a search.

    Attributes:
        line: (10,) its row.
        radius_mm: its tunnel radius; ends and narrowest place as t.
    """

    line: F64
    radius_mm: float
    start_t: float
    end_t: float
    narrowest_t: float


def best_lines(
    field: LineField,
    rules: LineRules,
    charts: F64,
    batches: Iterable[F64],
    *,
    reach_mm: float,
    most_slope: F64,
) -> list[Found]:
    """The widest lines near any that are given, widest first; none where no line has a corridor.

    Args:
        batches: lines to begin with, (N, 10) each.
        reach_mm: how far from t = 0 corridors lie; weighs angles against offsets.
        most_slope: (2, 2) least and greatest a and b.
    """
    kept, values = np.empty((0, LINE_NUMBERS)), np.empty((0, 4))
    coarse = replace(rules, step_mm=2.0 * rules.step_mm)
    for lines in batches:
        measured = field.measure(coarse, charts, lines)
        there = measured[:, 0] > rules.thin_mm
        kept, values = np.concatenate([kept, lines[there]]), np.concatenate([values, measured[there]])
        if len(values) > _KEPT:
            top = np.argsort(-values[:, 0], kind="stable")[:_KEPT]
            kept, values = kept[top], values[top]
    for count, first_mm, last_mm in _CLIMBED:
        chosen = _diverse(kept, values, charts, count)
        kept = kept[chosen]
        if len(kept) == 0:
            return []
        kept, values = climbed(
            field, rules, charts, kept, first_mm=first_mm, last_mm=last_mm, reach_mm=reach_mm, most_slope=most_slope
        )
        kept, values = kept[values[:, 0] > rules.thin_mm], values[values[:, 0] > rules.thin_mm]
    order = np.argsort(-values[:, 0], kind="stable")
    return [Found(kept[n], *values[n].tolist()) for n in order]


def climbed(
    field: LineField,
    rules: LineRules,
    charts: F64,
    lines: F64,
    *,
    first_mm: float,
    last_mm: float,
    reach_mm: float,
    most_slope: F64,
) -> tuple[F64, F64]:
    """From each line to a wider one near it; the lines, and what `measure` says of them.

    Args:
        lines: (N, 10).
        first_mm, last_mm: of the steps.
    """
    kinds = _moves(reach_mm)
    lines = lines.copy()
    values = field.measure(rules, charts, lines)
    steps = np.full(len(lines), first_mm)
    turn = 0
    while (active := np.flatnonzero(steps >= last_mm)).size:
        moves = kinds[turn % len(kinds)]  # others every time: a ridge is narrow, and a fixed set may miss it for good
        turn += 1
        tried = np.repeat(lines[active], len(moves), axis=0)
        tried[:, _FREE] += (steps[active, None, None] * moves).reshape(-1, 4)
        tried[:, 4:6] = np.clip(tried[:, 4:6], *most_slope)
        measured = field.measure(rules, charts, tried).reshape(len(active), len(moves), -1)
        choice = measured[:, :, 0].argmax(axis=1)
        won = measured[np.arange(len(active)), choice]
        better = won[:, 0] > values[active, 0] + 1e-3 * steps[active]
        rows = tried.reshape(len(active), len(moves), LINE_NUMBERS)[np.arange(len(active)), choice]
        lines[active[better]] = rows[better]
        values[active[better]] = won[better]
        steps[active[~better]] *= _SHORTER
    return lines, values


def excluded(
    field: LineField,
    rules: LineRules,
    charts: F64,
    boxes: F64,
    best: Found | None,
    *,
    tolerance_mm: float,
    reach_mm: float,
    most_bounds: int,
    most_slope: F64,
    ceiling_mm: float = math.inf,
    progress: Progress | None = None,
) -> tuple[Found | None, float]:
    """Split boxes of lines until none can hold one wider than the best by the tolerance, or the work is done.

    Args:
        boxes: (N, 10), as `LineField.bound` takes them: all lines that count.
        best: the best line known; a better one that is met takes its place.
        most_bounds: how many boxes may be bounded in all, those given aside.
        ceiling_mm: known before; where no less can be shown, it stops.
        progress: called with 0 to 1; what it raises ends the search.

    Returns:
        The best line, and the radius that no line exceeds.
    """
    weights = np.array([1.0, 1.0, reach_mm, reach_mm])
    radius = best.radius_mm if best is not None else rules.thin_mm
    given_up, at_once = 0.0, most_bounds // _LEVELS
    for level in range(_LEVELS):
        widths = _bounds(field, rules, charts, boxes, radius + tolerance_mm)
        order = np.argsort(-widths, kind="stable")
        order = order[widths[order] >= 0.0]
        boxes, widths = boxes[order], widths[order]
        measured = field.measure(rules, charts, boxes[:_LOOKED_AT])
        top = np.argsort(-measured[:, 0], kind="stable")[:_CLIMBED_PER_LEVEL]
        top = top[measured[top, 0] > 0.75 * radius]
        if len(top):
            lines, values = climbed(
                field, rules, charts, boxes[top], first_mm=1.0, last_mm=0.05, reach_mm=reach_mm, most_slope=most_slope
            )
            n = int(values[:, 0].argmax())
            if values[n, 0] > radius:
                best = Found(lines[n], *values[n].tolist())
                radius = best.radius_mm
        wider = widths > radius + tolerance_mm
        boxes, widths = boxes[wider], widths[wider]
        if 2 * len(boxes) > at_once:
            # Too many to go on with: the widest are, so that what is given up is as narrow as can be.
            given_up = max(given_up, float(widths[at_once // 2]))
            boxes, widths = boxes[: at_once // 2], widths[: at_once // 2]
        if given_up >= ceiling_mm or len(boxes) == 0 or float((boxes[:, _HALF] * weights).max()) < _SMALLEST_BOX_MM:
            break
        boxes = _split(boxes, weights)
        if progress is not None:
            progress((level + 1) / _LEVELS)
    return best, max(radius + tolerance_mm, given_up, float(widths.max(initial=0.0)))


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


def batches_of(lines: F64) -> Iterable[F64]:
    """Lines in parts that fit into memory many times."""
    for first in range(0, len(lines), _AT_ONCE):
        yield np.ascontiguousarray(lines[first : first + _AT_ONCE])


def axis_of(line: F64, charts: F64) -> tuple[F64, F64]:
    """Point at t = 0 and direction per t of a line's row."""
    chart = charts[int(line[0])].reshape(4, 3)
    at = chart[0] + line[1] * chart[1] + line[2] * chart[2] + line[3] * chart[3]
    return at, chart[1] + line[4] * chart[2] + line[5] * chart[3]


def _ends_of(lines: F64, values: F64, charts: F64) -> F64:
    """(N, 6) both ends of corridors, that of the greater x (then y, then z) first."""
    chart = charts[lines[:, 0].astype(int)].reshape(-1, 4, 3)
    at = chart[:, 0] + np.einsum("nm,nmd->nd", lines[:, 1:4], chart[:, 1:])
    along = chart[:, 1] + np.einsum("nm,nmd->nd", lines[:, 4:6], chart[:, 2:])
    turned = along @ np.array([1.0, 1e-3, 1e-6]) > 0.0
    ends = np.stack([at + values[:, n, None] * along for n in (1, 2)], axis=1)
    ends[turned] = ends[turned][:, ::-1]
    return np.asarray(ends.reshape(-1, 6))


def _diverse(lines: F64, values: F64, charts: F64, most: int) -> npt.NDArray[np.intp]:
    """The widest, none of which runs like a wider one of them."""
    ends = _ends_of(lines, values, charts)
    order = np.argsort(-values[:, 0], kind="stable")
    open_ = np.ones(len(lines), np.bool_)
    chosen = []
    for n in order:
        if open_[n]:
            chosen.append(n)
            if len(chosen) == most:
                break
            open_ &= np.abs(ends - ends[n]).max(axis=1) > _LIKE_MM
    return np.array(chosen, np.intp)


def _moves(reach_mm: float) -> list[F64]:
    """(M, 4) changes of u, v, a, b that move a line by 1 mm within its reach, all directions alike; several sets."""
    random = np.random.default_rng(7)
    sets = []
    for _ in range(_SETS):
        directions = random.normal(size=(_DIRECTIONS, 4))
        directions /= np.linalg.norm(directions, axis=1)[:, None]
        sets.append(np.concatenate([directions, np.eye(4), -np.eye(4)]) / np.array([1.0, 1.0, reach_mm, reach_mm]))
    return sets


def _bounds(field: LineField, rules: LineRules, charts: F64, boxes: F64, cutoff: float) -> F64:
    parts = [field.bound(rules, charts, batch, cutoff) for batch in batches_of(boxes)]
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
