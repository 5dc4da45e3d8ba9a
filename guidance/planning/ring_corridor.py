"""Corridors through the pelvic ring: trans-sacral and iliosacral lines as boxes of a search."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from guidance.kernels.corridor import LineField
from guidance.messages import F64, ZoneSide
from guidance.planning.corridor_problem import Asked, Best, Problem, solved
from guidance.planning.distance import GridField
from guidance.planning.line_search import Progress, box_grid, widest_line
from guidance.planning.pelvic_ring import PelvicRing
from guidance.planning.sacral_levels import LevelGate
from guidance.planning.signed import grid_of, on_grid
from guidance.planning.tunnel import axis_of
from guidance.planning.working_grid import F32

_RING_REACH_MM: Final = 50.0
_TILT: Final = math.tan(math.radians(20.0))  # of a trans-sacral axis off left-right
_ILIOSACRAL_SLOPES: Final = ((-0.2, 1.2), (-0.8, 0.8))  # to the back, to the head, walking outwards
_RING_BOX_MM: Final = 4.0
_ANYWHERE_MM: Final = 80.0


def in_sacrum(ring: PelvicRing, solid: GridField, asked: Asked) -> F64 | None:
    """Where the roomiest line from ilium to ilium, of whatever level, crosses the midsagittal plane."""
    field = _ring_field(ring, solid, None)
    charts = _chart(ring, ring.left)
    ends = np.array([_ANYWHERE_MM, _ANYWHERE_MM, _TILT, _TILT])
    boxes = box_grid(0, 0.0, -ends, ends, _ring_halves())
    rules = Asked("s1", asked.diameter_mm, asked.margin_mm, asked.length_mm).rules()
    found = widest_line(field, rules, charts, boxes, tolerance_mm=0.5, reach_mm=_RING_REACH_MM)
    return None if found is None else axis_of(found.line, charts)[0]


def through_ring(
    ring: PelvicRing,
    share: F32,
    solid: GridField,
    gate: LevelGate,
    asked: Asked,
    side: ZoneSide | None,
    progress: Progress | None,
) -> Best | None:
    rules = asked.rules()
    if asked.level != "iliosacral":
        low = np.array([*gate.low, -_TILT, -_TILT])
        high = np.array([*gate.high, _TILT, _TILT])
        field = _ring_field(ring, solid, gate.gate_mm)
        boxes = box_grid(0, 0.0, low, high, _ring_halves())
        return solved(
            Problem(
                ring.grid,
                share,
                field,
                grid_of(solid).spacing_mm,
                rules,
                _chart(ring, ring.left),
                boxes,
                _RING_REACH_MM,
            ),
            progress,
        )
    (back_low, back_high), (head_low, head_high) = _ILIOSACRAL_SLOPES
    boxes = box_grid(
        0, 0.0, np.array([*gate.low, back_low, head_low]), np.array([*gate.high, back_high, head_high]), _ring_halves()
    )
    best: Best | None = None
    for one, hip, out in ((ZoneSide.LEFT, ring.left_hip, ring.left), (ZoneSide.RIGHT, ring.right_hip, -ring.left)):
        if side is not None and side is not one:
            continue
        field = LineField(
            solid.values_mm,
            grid_of(solid).origin_lps_mm,
            grid_of(solid).spacing_mm,
            reach_plus_mm=on_grid(hip, grid_of(solid)),
            gate_mm=gate.gate_mm,
        )
        found = solved(
            Problem(
                ring.grid, share, field, grid_of(solid).spacing_mm, rules, _chart(ring, out), boxes, _RING_REACH_MM
            ),
            progress,
            one,
        )
        if found is not None and (best is None or found.tunnel.radius_mm > best.tunnel.radius_mm):
            best = found
    return best


def _ring_field(ring: PelvicRing, solid: GridField, gate_mm: F32 | None) -> LineField:
    return LineField(
        solid.values_mm,
        grid_of(solid).origin_lps_mm,
        grid_of(solid).spacing_mm,
        reach_plus_mm=on_grid(ring.left_hip, grid_of(solid)),
        reach_minus_mm=on_grid(ring.right_hip, grid_of(solid)),
        gate_mm=gate_mm,
    )


def _chart(ring: PelvicRing, out: F64) -> F64:
    return np.concatenate([ring.center_lps_mm, out, ring.back, ring.head])[None]


def _ring_halves() -> F64:
    return np.array([_RING_BOX_MM, _RING_BOX_MM, _RING_BOX_MM / _RING_REACH_MM, _RING_BOX_MM / _RING_REACH_MM])
