"""What is asked of a corridor search, and its answer made exact: common to free corridors and those of the ring."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
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
_MOST_BOUNDS: Final = 600_000  # some 2 s on two cores
_EXACT: Final = 3  # lines that are climbed on from on the surface itself
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

    Ends are measured with the asked radius; where that does not fit, with the one that does.
    """
    rules = asked.rules(min(asked.radius_mm, problem.ceiling_mm))
    lines = best_lines(
        problem.field,
        rules,
        problem.charts,
        problem.starts(),
        reach_mm=problem.reach_mm,
        most_slope=problem.most_slope,
    )
    if progress is not None:
        progress(_FOUND)
    if lines and lines[0].radius_mm < rules.radius_mm:
        rules, lines = _with_own_ends(problem, asked, lines)
    best = lines[0] if lines else None
    bound = problem.ceiling_mm
    if best is None or best.radius_mm + _TOLERANCE_MM < bound:
        least = max(rules.length_mm, rules.aspect * best.radius_mm) if best is not None else rules.length_mm
        known = replace(rules, length_mm=least, center_mm=least / 8.0 if rules.center_mm > 0.0 else 0.0)
        best, excluded_mm = excluded(
            problem.field,
            known,
            problem.charts,
            problem.boxes(known),
            best,
            tolerance_mm=_TOLERANCE_MM,
            reach_mm=problem.reach_mm,
            most_bounds=_MOST_BOUNDS,
            most_slope=problem.most_slope,
            progress=None if progress is None else lambda part: progress(_FOUND + (_PROVEN - _FOUND) * part),
        )
        bound = min(bound, excluded_mm)
    if best is None:
        return None
    others = [line for line in lines[: _EXACT - 1] if line.radius_mm > best.radius_mm - _GRID_ERROR]
    tunnels = [
        exact_tunnel(
            line,
            problem.share,
            problem.grid,
            problem.field,
            rules,
            problem.charts,
            reach_mm=problem.reach_mm,
            most_slope=problem.most_slope,
        )
        for line in (best, *(line for line in others if line is not best))
    ]
    tunnel = max(tunnels, key=lambda one: one.radius_mm)
    return Best(tunnel, max(bound + _GRID_ERROR * problem.field_step_mm, tunnel.radius_mm + _TOLERANCE_MM), side)


def _with_own_ends(problem: Problem, asked: Asked, lines: list[Found]) -> tuple[LineRules, list[Found]]:
    """The asked radius fits nowhere: ends are those of the radius that does, so that asking for it finds it."""
    rules = asked.rules(lines[0].radius_mm)
    for _ in range(_ROUNDS):
        rules = asked.rules(lines[0].radius_mm)
        lines = best_lines(
            problem.field,
            rules,
            problem.charts,
            [np.array([line.line for line in lines])],
            reach_mm=problem.reach_mm,
            most_slope=problem.most_slope,
        )
        if not lines or lines[0].radius_mm >= rules.radius_mm - _CONSISTENT_MM:
            break
    return rules, lines
