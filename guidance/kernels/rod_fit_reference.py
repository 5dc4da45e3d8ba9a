"""Low curves fitted so that outliers do not pull: what the rods' native kernel computes, in plain NumPy."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from guidance.kernels.rod_values import Curve
from guidance.messages import F64

_FIT_ROUNDS: Final = 4
_OUTLIER: Final = 2.0  # of the median miss: from there on a point counts less
_STRAIGHT_PX: Final = 0.5  # a bend smaller than this is not told from noise
_BEND_GAIN: Final = 1.6  # by which a curve must fit better than a line
LEAST_SIGMA_PX: Final = 0.04


def robust_polynomial(z: F64, y: F64, weight: F64, degree: int, *, least: float) -> tuple[F64, F64]:
    """Weighted least squares with outliers weighed down.

    Args:
        z, y, weight: (N,) float64, N >= 2; z within [-1, 1].
        degree: 1 to 3.
        least: a miss up to this is no outlier.

    Returns:
        (degree + 1,) coefficients, lowest power first, and (N,) what each point misses the polynomial by.

    Source: Huber, Robust Statistics, 1981 (here with the weight squared, which takes far outliers out altogether).
    """
    basis = z ** np.arange(degree + 1)[:, None]
    share, coefficients, miss = weight, np.zeros(degree + 1), y
    for turn in range(_FIT_ROUNDS):
        weighted = basis * share
        normal = weighted @ basis.T
        normal.flat[:: degree + 2] += 1e-9 * float(np.trace(normal)) + 1e-12
        coefficients = np.asarray(np.linalg.solve(normal, weighted @ y), np.float64)
        miss = y - coefficients @ basis
        if turn + 1 < _FIT_ROUNDS:
            size = np.abs(miss)
            limit = max(_OUTLIER * float(np.sort(size)[len(size) // 2]), least)
            share = weight * np.minimum(1.0, limit / np.maximum(size, 1e-12)) ** 2
    return coefficients, miss


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
    return Curve(coefficients=tuple(coefficients.tolist()), middle=middle, half=half), miss


def middle_of(values: F64) -> float:
    """The upper median."""
    return float(np.partition(values, len(values) // 2)[len(values) // 2])


def spread_of(miss: F64) -> float:
    """Standard deviation from the median deviation, for what has outliers."""
    return 1.4826 * middle_of(np.abs(miss)) + 1e-6


def line_or_curve(x: F64, y: F64, weight: F64, width: float) -> tuple[Curve, float]:
    """The straight line, unless a low curve fits clearly better; and its middle's standard deviation."""
    line, miss = robust_fit(x, y, weight, 1, least_px=0.02 * width)
    straight = spread_of(miss)
    if len(x) >= 6:
        curve, miss = robust_fit(x, y, weight, 3 if len(x) >= 12 else 2, least_px=0.02 * width)
        curved = spread_of(miss)
        bow = curve.y(x) - line.y(x)
        if straight > _BEND_GAIN * curved and float(bow.max() - bow.min()) > _STRAIGHT_PX:
            return curve, max(curved * math.sqrt(4.0 / len(x)), LEAST_SIGMA_PX)
    return line, max(straight * math.sqrt(2.0 / len(x)), LEAST_SIGMA_PX)
