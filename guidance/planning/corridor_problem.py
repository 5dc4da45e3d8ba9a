"""What is asked of a corridor search, and its answer made exact: common to free corridors and those of the ring."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal

import numpy as np

from guidance.kernels.corridor import LineField, LineRules
from guidance.messages import F64, ZoneKind, ZoneSide, ZoneSite
from guidance.planning.bone import ZoneField, share_in
from guidance.planning.line_search import Found, Progress, best_lines, excluded
from guidance.planning.tunnel import Tunnel, exact_tunnel
from guidance.planning.working_grid import F32, WorkingGrid

Level = Literal["free", "s1", "s2", "iliosacral"]

END_FACTOR: Final = 1.5
"""So many tunnel radii at each surface end are its end: an axis may be 48 deg off the surface's normal."""

_ASPECT: Final = 4.0  # a free corridor is at least twice as long as wide
_TOLERANCE_MM: Final = 0.25
_STEP_MM: Final = 0.5
_GRID_ERROR: Final = 0.35  # of a voxel: what a field's ridge loses between samples
_MOST_BOUNDS: Final = 250_000  # some 2 s on one core
_EXACT: Final = 2  # lines of each kind that are climbed on from on the surface itself
_UPRIGHT: Final = 0.8  # of the end's length: what a depth of a few mm on the grid may be off
_ROUNDS: Final = 4
_CONSISTENT_MM: Final = 0.02
_FOUND, _PROVEN = 0.4, 0.95  # of the work


@dataclass(frozen=True, slots=True)
class Asked:
    level: Level
    diameter_mm: float
    margin_mm: float
    length_mm: float

    @property
    def radius_mm(self) -> float:
        return self.diameter_mm / 2.0 + self.margin_mm

    def rules(self, radius_mm: float) -> LineRules:
        """What counts as a corridor, its ends those of a tunnel of that radius."""
        free = self.level == "free"
        return LineRules(
            radius_mm=radius_mm,
            end_factor=END_FACTOR,
            length_mm=self.length_mm if free else 0.0,
            aspect=_ASPECT if free else 0.0,
            center_mm=self.length_mm / 8.0 if free else 0.0,
            step_mm=_STEP_MM,
            thin_mm=_STEP_MM,
            tip_inside=self.level == "iliosacral",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A search that is ready to go.

    Attributes:
        grid, share: how much of each voxel the solid fills.
        field: distances to its surface, and what must be reached.
        field_step_mm: of the field's grid.
        charts: (C, 12) of all lines.
        starts: lines to begin with.
        boxes: of all lines that count, for rules that tell the shortest corridor.
        most_slope: (2, 2) least and greatest slopes.
        reach_mm: how far from t = 0 corridors lie, nearly.
        ceiling_mm: no tunnel is wider, as far as is known before.
    """

    grid: WorkingGrid
    share: F32
    field: LineField
    field_step_mm: float
    charts: F64
    starts: Callable[[], Iterable[F64]]
    boxes: Callable[[LineRules], F64]
    most_slope: F64
    reach_mm: float
    ceiling_mm: float = math.inf


@dataclass(frozen=True, slots=True, eq=False)
class Best:
    """The answer of a search.

    Attributes:
        tunnel: the roomiest.
        bound_mm: no tunnel has a larger radius.
    """

    tunnel: Tunnel
    bound_mm: float
    side: ZoneSide | None = None


def without_keep_outs(share: F32, grid: WorkingGrid, zones: Sequence[ZoneField], *, joints_too: bool) -> F32:
    """A solid less the keep-out zones that reach into its grid."""
    out = share.copy()
    for zone in zones:
        kind, site = zone[0].kind, zone[0].site
        if kind is ZoneKind.KEEP_OUT and site is not ZoneSite.BONE and (joints_too or site is not ZoneSite.SI_JOINT):
            block, filled = share_in(zone, grid)
            out[block] = np.minimum(out[block], 1.0 - filled)
    return out


def solved(problem: Problem, asked: Asked, progress: Progress | None, side: ZoneSide | None = None) -> Best | None:
    """The roomiest corridor of a problem; None where no line has one.

    Ends are measured with the asked radius; where that does not fit, with the one that does, so that asking for the
    largest diameter that was told finds it.
    """
    tell = progress if progress is not None else _nobody
    rules = asked.rules(min(asked.radius_mm, problem.ceiling_mm))
    lines, firm = _lines(problem, rules, problem.starts)
    for _ in range(_ROUNDS):
        if not lines or lines[0].radius_mm >= rules.radius_mm - _CONSISTENT_MM:
            break
        rules = asked.rules(lines[0].radius_mm)
        lines, firm = _lines(problem, rules, partial(_again, (*lines, *firm)))
    tell(_FOUND)
    best, bound = _proven(problem, rules, lines[0] if lines else None, tell)
    if best is None:
        return None
    known = [best, *(line for line in lines if line is not lines[0])][:_EXACT] + firm[:_EXACT]
    tunnel = max((_exact(problem, rules, line) for line in known), key=lambda one: one.radius_mm)
    bound = max(bound + _GRID_ERROR * problem.field_step_mm, tunnel.radius_mm + _TOLERANCE_MM)
    if tunnel.radius_mm < asked.radius_mm <= bound and _asked_is_excluded(problem, asked):
        bound = max(asked.radius_mm, tunnel.radius_mm + _TOLERANCE_MM)
    tell(1.0)
    return Best(tunnel, bound, side)


def _again(lines: Sequence[Found]) -> list[F64]:
    return [np.array([line.line for line in lines])]


def _nobody(_: float) -> None:
    """Nobody is told."""


def _lines(problem: Problem, rules: LineRules, starts: Callable[[], Iterable[F64]]) -> tuple[list[Found], list[Found]]:
    """The widest lines; and those whose ends are so upright that no error of the grid turns an end into a side."""
    upright = replace(rules, end_factor=_UPRIGHT * rules.end_factor)

    def best(which: LineRules, batches: Iterable[F64]) -> list[Found]:
        return best_lines(
            problem.field, which, problem.charts, batches, reach_mm=problem.reach_mm, most_slope=problem.most_slope
        )

    firm = best(upright, starts())
    return best(rules, [np.array([line.line for line in firm])] if firm else starts()), firm


def _proven(problem: Problem, rules: LineRules, best: Found | None, tell: Progress) -> tuple[Found | None, float]:
    """The best line, maybe a better one than was known, and what no line exceeds on the grid."""
    radius = best.radius_mm if best is not None else rules.thin_mm
    if radius + _TOLERANCE_MM >= problem.ceiling_mm:
        return best, problem.ceiling_mm
    least = max(rules.length_mm, rules.aspect * radius)
    known = replace(rules, length_mm=least, center_mm=least / 8.0 if rules.center_mm > 0.0 else 0.0)
    boxes = problem.boxes(known)
    if len(boxes) > _MOST_BOUNDS and math.isfinite(problem.ceiling_mm):
        return best, problem.ceiling_mm  # too much room: bounds would not come below what is known
    best, excluded_mm = excluded(
        problem.field,
        known,
        problem.charts,
        boxes,
        best,
        tolerance_mm=_TOLERANCE_MM,
        reach_mm=problem.reach_mm,
        most_bounds=_MOST_BOUNDS,
        most_slope=problem.most_slope,
        ceiling_mm=problem.ceiling_mm,
        progress=lambda part: tell(_FOUND + (_PROVEN - _FOUND) * part),
    )
    return best, min(problem.ceiling_mm, excluded_mm)


def _asked_is_excluded(problem: Problem, asked: Asked) -> bool:
    """Whether no line of the grid, the error of which is allowed for, has room for what is asked."""
    rules = asked.rules(asked.radius_mm)
    least = asked.radius_mm - _GRID_ERROR * problem.field_step_mm - _TOLERANCE_MM
    if asked.radius_mm > problem.ceiling_mm + _GRID_ERROR * problem.field_step_mm:
        return True
    length = max(rules.length_mm, rules.aspect * asked.radius_mm)
    rules = replace(rules, length_mm=length, center_mm=length / 8.0 if rules.center_mm > 0.0 else 0.0)
    boxes = problem.boxes(rules)
    if least <= rules.thin_mm or len(boxes) > _MOST_BOUNDS:
        return False
    nothing = Found(boxes[0], least, 0.0, 0.0, 0.0)
    found, bound = excluded(
        problem.field,
        rules,
        problem.charts,
        boxes,
        nothing,
        tolerance_mm=_TOLERANCE_MM,
        reach_mm=problem.reach_mm,
        most_bounds=_MOST_BOUNDS,
        most_slope=problem.most_slope,
    )
    return found is nothing and bound <= least + _TOLERANCE_MM


def _exact(problem: Problem, rules: LineRules, line: Found) -> Tunnel:
    return exact_tunnel(
        line,
        problem.share,
        problem.grid,
        problem.field,
        rules,
        problem.charts,
        reach_mm=problem.reach_mm,
        most_slope=problem.most_slope,
    )
