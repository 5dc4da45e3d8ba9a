"""What is asked of a corridor search, and its answer made exact: common to free corridors and those of the ring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from guidance.kernels.corridor import LineField, LineRules
from guidance.messages import F64, ZoneKind, ZoneSide, ZoneSite
from guidance.planning.bone import ZoneField, share_on
from guidance.planning.line_search import Progress, widest_line
from guidance.planning.tunnel import Tunnel, exact_tunnel
from guidance.planning.working_grid import F32, WorkingGrid, box_of

Level = Literal["free", "s1", "s2", "iliosacral"]

END_FACTOR: Final = 1.5
"""So many tunnel radii at each surface end are its end: an axis may be 48 deg off the surface's normal."""

_ASPECT: Final = 4.0  # a free corridor is at least twice as long as wide
_TOLERANCE_MM: Final = 0.15
_STEP_MM: Final = 0.5
_GRID_ERROR: Final = 0.35  # of a voxel: what a field's ridge loses between samples


@dataclass(frozen=True, slots=True)
class Asked:
    level: Level
    diameter_mm: float
    margin_mm: float
    length_mm: float

    @property
    def radius_mm(self) -> float:
        return self.diameter_mm / 2.0 + self.margin_mm

    def rules(self) -> LineRules:
        """What counts as a corridor."""
        free = self.level == "free"
        return LineRules(
            radius_mm=self.radius_mm,
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
    grid: WorkingGrid
    share: F32
    field: LineField
    field_step_mm: float
    rules: LineRules
    charts: F64
    boxes: F64
    reach_mm: float


@dataclass(frozen=True, slots=True, eq=False)
class Best:
    tunnel: Tunnel
    bound_mm: float
    grid: WorkingGrid
    side: ZoneSide | None = None


def without_keep_outs(share: F32, grid: WorkingGrid, zones: Sequence[ZoneField], *, joints_too: bool) -> F32:
    out = share
    low, high = np.asarray(grid.origin_lps_mm), box_of(grid.shape_kji, grid.affine_lps_from_ijk)[1]
    for zone, field, _ in zones:
        if zone.kind is not ZoneKind.KEEP_OUT or zone.site is ZoneSite.BONE:
            continue
        if zone.site is ZoneSite.SI_JOINT and not joints_too:
            continue
        if np.any(field.bounds_lps_mm[0] > high) or np.any(field.bounds_lps_mm[1] < low):
            continue
        out = np.minimum(out, 1.0 - share_on(field, grid))
    return out


def solved(problem: Problem, progress: Progress | None, side: ZoneSide | None = None) -> Best | None:
    found = widest_line(
        problem.field,
        problem.rules,
        problem.charts,
        problem.boxes,
        tolerance_mm=_TOLERANCE_MM,
        reach_mm=problem.reach_mm,
        progress=progress,
    )
    if found is None:
        return None
    tunnel = exact_tunnel(
        found,
        problem.share,
        problem.grid,
        problem.field,
        problem.rules,
        problem.charts,
        reach_mm=problem.reach_mm,
    )
    bound = max(found.bound_mm + _GRID_ERROR * problem.field_step_mm, tunnel.radius_mm + _TOLERANCE_MM)
    return Best(tunnel, bound, problem.grid, side)
