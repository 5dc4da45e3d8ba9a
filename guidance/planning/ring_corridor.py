"""Corridors through the pelvic ring: trans-sacral lines, and iliosacral ones from either side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.kernels.corridor import LineField
from guidance.messages import F64, ZoneSide
from guidance.planning.corridor_problem import Asked, Best, Problem, solved
from guidance.planning.line_search import Progress, axis_of, best_lines, box_grid
from guidance.planning.line_starts import fan
from guidance.planning.pelvic_ring import PelvicRing
from guidance.planning.sacral_levels import LevelGate
from guidance.planning.signed import ShareSurface
from guidance.planning.working_grid import F32, WorkingGrid

_REACH_MM: Final = 50.0
_TILT: Final = math.tan(math.radians(20.0))  # of a trans-sacral axis off left-right
_ILIOSACRAL_SLOPES: Final = ((-0.2, -0.8), (1.2, 0.8))  # to the back, to the head, walking outwards
_BOX_MM: Final = 6.0
_ANYWHERE_MM: Final = 80.0
_HIPS_MM: Final = 2.0  # of the grid that tells whether a hip is met


@dataclass(frozen=True, slots=True, eq=False)
class RingFields:
    """What lines through a ring are measured in; all on the grid.

    Attributes:
        share: how much of each voxel the solid fills, keep-out zones cut out.
        solid_mm, left_mm, right_mm: distances to it, and to the hips.
    """

    grid: WorkingGrid
    share: F32
    solid_mm: F32
    left_mm: F32
    right_mm: F32

    def across(self, gate_mm: F32 | None) -> LineField:
        """From hip to hip."""
        return LineField(
            self.solid_mm,
            self.grid.origin_lps_mm,
            self.grid.spacing_mm,
            reach_plus_mm=self.left_mm,
            reach_minus_mm=self.right_mm,
            gate_mm=gate_mm,
        )

    def to_one_side(self, hip_mm: F32, gate_mm: F32) -> LineField:
        """From a tip in the gate out through a hip."""
        return LineField(
            self.solid_mm, self.grid.origin_lps_mm, self.grid.spacing_mm, reach_plus_mm=hip_mm, gate_mm=gate_mm
        )


def ring_fields(ring: PelvicRing, share: F32) -> RingFields | None:
    """Distances; None where keep-out zones have left nothing."""
    if not (share >= 0.5).any():
        return None
    return RingFields(
        ring.grid,
        share,
        ShareSurface(share, ring.grid).on(ring.grid),
        ring.left_hip.roughly_on(ring.grid, _HIPS_MM),
        ring.right_hip.roughly_on(ring.grid, _HIPS_MM),
    )


def in_sacrum(ring: PelvicRing, fields: RingFields, asked: Asked) -> F64 | None:
    """Where the roomiest line from ilium to ilium, of whatever level, crosses the midsagittal plane."""
    charts = _chart(ring, ring.left)
    ends = np.array([_ANYWHERE_MM, _ANYWHERE_MM, _TILT, _TILT])
    found = best_lines(
        fields.across(None),
        Asked("s1", asked.diameter_mm, asked.margin_mm, asked.length_mm).rules(asked.radius_mm),
        charts,
        fan(-ends, ends, _REACH_MM),
        reach_mm=_REACH_MM,
        most_slope=np.array([[-_TILT, -_TILT], [_TILT, _TILT]]),
    )
    return axis_of(found[0].line, charts)[0] if found else None


def through_ring(
    ring: PelvicRing,
    fields: RingFields,
    gate: LevelGate,
    asked: Asked,
    side: ZoneSide | None,
    progress: Progress | None,
) -> Best | None:
    """The roomiest corridor of a level; of both sides the roomier one where none is asked for."""
    if asked.level != "iliosacral":
        slopes = np.array([[-_TILT, -_TILT], [_TILT, _TILT]])
        problem = _problem(ring, fields, fields.across(gate.gate_mm), ring.left, gate, slopes)
        return solved(problem, asked, progress)
    best: Best | None = None
    slopes = np.array(_ILIOSACRAL_SLOPES)
    sides = [one for one in (ZoneSide.LEFT, ZoneSide.RIGHT) if side is None or side is one]
    for n, one in enumerate(sides):
        left = one is ZoneSide.LEFT
        field = fields.to_one_side(fields.left_mm if left else fields.right_mm, gate.gate_mm)
        problem = _problem(ring, fields, field, ring.left if left else -ring.left, gate, slopes)
        found = solved(problem, asked, _part_of(progress, n, len(sides)), one)
        if found is not None and (best is None or found.tunnel.radius_mm > best.tunnel.radius_mm):
            best = found
    return best


def _part_of(progress: Progress | None, n: int, count: int) -> Progress | None:
    return None if progress is None else lambda part: progress((n + part) / count)


def _problem(ring: PelvicRing, fields: RingFields, field: LineField, out: F64, gate: LevelGate, slopes: F64) -> Problem:
    low, high = np.array([*gate.low, *slopes[0]]), np.array([*gate.high, *slopes[1]])
    half = _BOX_MM / np.array([1.0, 1.0, _REACH_MM, _REACH_MM])
    return Problem(
        grid=fields.grid,
        share=fields.share,
        field=field,
        field_step_mm=fields.grid.spacing_mm,
        charts=_chart(ring, out),
        starts=lambda: fan(low, high, _REACH_MM),
        boxes=lambda _: box_grid(0, 0.0, low, high, half),
        most_slope=slopes,
        reach_mm=_REACH_MM,
    )


def _chart(ring: PelvicRing, out: F64) -> F64:
    return np.concatenate([ring.center_lps_mm, out, ring.back, ring.head])[None]
