"""Where rods are looked for in a picture, and what is told of one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.messages import F64

Bools = npt.NDArray[np.bool_]

METAL_STEP: Final = 4  # px to a cell of a metal mask


class TipState(IntEnum):
    """Whether a rod's end is its tip, and why not."""

    KNOWN = 0
    UNCLEAR = 1
    OUTSIDE = 2
    HIDDEN = 3
    BESIDE_METAL = 4
    OVER_METAL = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureReading:
    """How a picture's numbers are to be read.

    Attributes:
        logarithm: whether thickness is their logarithm.
        sign: 1 where more X-ray gives higher values, else -1.
        bounds: left, top, right, bottom px within which the picture shows anything.
    """

    logarithm: bool
    sign: int
    bounds: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RodStrip:
    """A straight strip: x runs along a plan's shadow in px from `origin_px`, y across it.

    Attributes:
        origin_px, along: u, v; unit vector.
        length_px: from the strip's first end to its last.
        aside_px: half its width.
        width_px: (2,) of the plan's own shadow at both ends.
        diameter_mm: of the plan.
        column_px, row_px: pitch of its coarse samples.
        bins: fine samples per coarse one, (along, across).
        end_on: sine of the angle by which the plan is turned towards the source at its target, 0 to 1.
    """

    origin_px: tuple[float, float]
    along: tuple[float, float]
    length_px: float
    aside_px: float
    width_px: tuple[float, float]
    diameter_mm: float
    column_px: float
    row_px: float
    bins: tuple[int, int]
    end_on: float

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of its coarse samples."""
        return max(int(self.length_px / self.row_px), 1), 2 * int(self.aside_px / self.column_px) + 1

    def width_at(self, x_px: F64) -> F64:
        """Width of the plan's shadow at places along the strip, px."""
        first, last = self.width_px
        return first + (last - first) * x_px / self.length_px

    def point(self, x_px: float, y_px: float) -> tuple[float, float]:
        """u, v of one place in the strip."""
        (u, v), (along_u, along_v) = self.origin_px, self.along
        return u + x_px * along_u - y_px * along_v, v + x_px * along_v + y_px * along_u

    def points(self, x_px: F64, y_px: F64) -> F64:
        """(N, 2) u, v of places in the strip."""
        (u, v), (along_u, along_v) = self.origin_px, self.along
        return np.stack((u + x_px * along_u - y_px * along_v, v + x_px * along_v + y_px * along_u), axis=-1)


@dataclass(frozen=True, slots=True, eq=False)
class MetalMask:
    """Where known metal is in a picture, at a quarter of its resolution."""

    cells: npt.NDArray[np.uint8]

    def covers(self, uv: F64) -> Bools:
        """Whether places (..., 2) u, v px lie on known metal."""
        rows, columns = self.cells.shape
        u = np.clip(np.rint(uv[..., 0] / METAL_STEP), 0, columns - 1).astype(np.intp)
        v = np.clip(np.rint(uv[..., 1] / METAL_STEP), 0, rows - 1).astype(np.intp)
        covered: Bools = self.cells[v, u] != 0
        return covered


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """A polynomial of degree 1 to 3 in z = (x - middle) / half, px.

    Attributes:
        coefficients: lowest power first.
        middle, half: of the x that it was fitted to; beyond z = +-1 it goes on along its tangent.
    """

    coefficients: tuple[float, ...]
    middle: float
    half: float

    @property
    def straight(self) -> bool:
        """Whether it is a line."""
        return len(self.coefficients) <= 2

    def y(self, x: F64) -> F64:
        """(N,) px."""
        z = (x - self.middle) / self.half
        held = z if self.straight else np.clip(z, -1.0, 1.0)
        value = _horner(self.coefficients, held)
        if self.straight:
            return value
        return value + self._slope(held) * (z - held)

    def y_at(self, x: float) -> float:
        """At one place, px: array operations on so few numbers take ten times as long."""
        z = (x - self.middle) / self.half
        held = z if self.straight else min(max(z, -1.0), 1.0)
        value = slope = 0.0
        for coefficient in reversed(self.coefficients):
            slope = slope * held + value
            value = value * held + coefficient
        return value + slope * (z - held)

    def slope(self, x: F64) -> F64:
        """(N,) dy/dx."""
        z = (x - self.middle) / self.half
        return self._slope(np.clip(z, -1.0, 1.0)) / self.half

    @property
    def sharpest(self) -> float:
        """Largest second derivative along it, 1/px."""
        if self.straight:
            return 0.0
        squared, cubed = self.coefficients[2], self.coefficients[3] if len(self.coefficients) > 3 else 0.0
        return float(2.0 * abs(squared) + 6.0 * abs(cubed)) / self.half**2

    def _slope(self, z: F64) -> F64:
        return _horner(tuple(power * share for power, share in enumerate(self.coefficients))[1:], z)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rod:
    """A rod in strip coordinates (px).

    Attributes:
        start_px, end_px: x of its ends; `end_px` is the tip where `tip` is `KNOWN`, else the end of what is seen.
        tip_sigma_px: standard deviation of the tip along it.
        sigma_px: of its centreline's middle across it.
        contrast: what it usually takes away, in the strip's units.
        score: 0 to 1, correlation of its profile with a rod's.
        bend_px: how far its middle lies off the chord between its ends.
        goes_on: whether nothing is known of the picture just before its start, so that it may come from farther.
    """

    curve: Curve
    start_px: float
    end_px: float
    tip: TipState
    tip_sigma_px: float
    sigma_px: float
    width_px: float
    contrast: float
    score: float
    bend_px: float
    goes_on: bool


def _horner(coefficients: tuple[float, ...], z: F64) -> F64:
    value = np.full_like(z, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * z + coefficient
    return value
