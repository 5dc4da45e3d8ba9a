"""Low curves y(x) fitted so that outliers do not pull, straight on beyond where they were fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guidance.kernels.ridge import robust_polynomial
from guidance.messages import F64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """A polynomial of degree 1 to 3 in z = (x - middle) / half, px.

    Attributes:
        coefficients: lowest power first.
        middle, half: of the x that it was fitted to; beyond z = +-1 it goes on along its tangent.
    """

    coefficients: F64
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
        return _horner(self.coefficients[1:] * np.arange(1.0, len(self.coefficients)), z)


def robust_fit(x: F64, y: F64, weight: F64, degree: int, *, least_px: float) -> tuple[Curve, F64]:
    """Weighted least squares, outliers weighed down.

    Args:
        x, y, weight: (N,), N >= 2, x not all equal.
        degree: 1 to 3; less where there are too few points.
        least_px: a miss up to this is no outlier.

    Returns:
        The curve and (N,) what each point misses it by.
    """
    degree = max(min(degree, len(x) - 2), 1)
    low, high = float(x.min()), float(x.max())
    middle, half = 0.5 * (low + high), max(0.5 * (high - low), 0.5)
    coefficients, miss = robust_polynomial((x - middle) / half, y, weight, degree, least=least_px)
    return Curve(coefficients=coefficients, middle=middle, half=half), miss


def middle_of(values: F64) -> float:
    """The upper median."""
    return float(np.partition(values, len(values) // 2)[len(values) // 2])


def spread_of(miss: F64) -> float:
    """Standard deviation from the median deviation, for what has outliers."""
    return 1.4826 * middle_of(np.abs(miss)) + 1e-6


def _horner(coefficients: F64, z: F64) -> F64:
    value = np.full_like(z, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * z + coefficient
    return value
