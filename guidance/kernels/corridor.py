"""Straight lines through a distance field: tunnel radii and proven bounds of boxes of lines, native and parallel.

A line is `point + w e0 + u e1 + v e2 + t (e0 + a e1 + b e2)` in a chart (point, e0, e1, e2: 12 numbers, orthonormal);
a row of lines is chart, w, u, v, a, b and the half widths of u, v, a, b of the box around it (0 for a line).
The twin that specifies `measure` is in `tests/guidance/kernels/test_corridor.py`; there is no fallback to it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.kernels import _core
from guidance.messages import F64, Vector3

F32 = npt.NDArray[np.float32]

LINE_NUMBERS: Final = 10
CHART_NUMBERS: Final = 12
_TUNNEL_NUMBERS: Final = 4
_MOST_THREADS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRules:
    """What counts as a corridor; mm.

    Attributes:
        radius_mm: asked tunnel radius.
        end_factor: so many tunnel radii at a surface end are its end, not its side.
        length_mm: shortest corridor.
        aspect: length over tunnel radius, at least; 0: any.
        center_mm: the corridor's middle is within +-center_mm (along e0) of t = 0; 0: anywhere. For bounds only.
        step_mm: sampling along the line.
        thin_mm: where the axis is nearer to the surface than this, a corridor ends; at least `step_mm`, else bounds
            of lines through thin places never become tight.
        tip_inside: from t = 0 along +e0 only; the end at t = 0 is a tip in bone.
    """

    radius_mm: float
    end_factor: float
    length_mm: float
    aspect: float
    center_mm: float
    step_mm: float
    thin_mm: float
    tip_inside: bool = False

    def widest_mm(self, length_mm: float) -> float:
        """Largest tunnel radius of a corridor of that length: its ends take no more than all of it."""
        by_ends = length_mm / ((1.0 if self.tip_inside else 2.0) * max(self.end_factor, 0.01))
        return min(by_ends, length_mm / self.aspect) if self.aspect > 0.0 else by_ends

    def numbers(self) -> tuple[float, ...]:
        """As the native code takes them."""
        return (
            self.radius_mm,
            self.end_factor,
            self.length_mm,
            self.aspect,
            self.center_mm,
            self.step_mm,
            self.thin_mm,
            float(self.tip_inside),
        )


class LineField:
    """Where lines may run; holds the arrays, changes nothing.

    Args:
        solid_mm: `[k, j, i]` float32, C order: signed distance to the solid's surface on an isotropic grid along LPS,
            negative inside; right to |d(p) - d(q)| <= |p - q|.
        origin_lps_mm: of voxel (0, 0, 0).
        spacing_mm: > 0.
        reach_plus_mm, reach_minus_mm: same grid: what a corridor must meet (<= 0) along +e0 and along -e0.
        gate_mm: same grid: the line's point at t = 0 must lie in it (<= 0).

    Raises:
        TypeError: wrong dtype or memory order.
        ValueError: shapes that differ, a spacing or origin that is no number.
    """

    def __init__(
        self,
        solid_mm: F32,
        origin_lps_mm: Vector3,
        spacing_mm: float,
        *,
        reach_plus_mm: F32 | None = None,
        reach_minus_mm: F32 | None = None,
        gate_mm: F32 | None = None,
    ) -> None:
        self._lines = _core.CorridorLines(solid_mm, origin_lps_mm, spacing_mm, reach_plus_mm, reach_minus_mm, gate_mm)
        self._threads = max(1, min(os.cpu_count() or 1, _MOST_THREADS))

    def measure(self, rules: LineRules, charts: F64, lines: F64) -> F64:
        """Tunnel radius of each line.

        It is the largest r such that the solid is at least r deep along the axis, but within `end_factor * max(r,
        radius_mm)` of its surface ends; at most `LineRules.widest_mm`.

        Args:
            charts: (C, 12) float64.
            lines: (N, 10) float64; half widths are not looked at.

        Returns:
            (N, 4) float64: radius in mm (-1: no corridor), t of both ends, t of the narrowest place.
        """
        out = np.empty((len(lines), _TUNNEL_NUMBERS), np.float64)
        self._lines.measure(rules.numbers(), charts, lines, self._threads, out)
        return out

    def bound(self, rules: LineRules, charts: F64, lines: F64, cutoff_mm: float) -> F64:
        """What no line of each box exceeds.

        Returns:
            (N,) float64: largest tunnel radius possible; -1 where that is `cutoff_mm` or less.
        """
        out = np.empty((len(lines), 1), np.float64)
        self._lines.bound(rules.numbers(), charts, lines, cutoff_mm, self._threads, out)
        return out[:, 0]
