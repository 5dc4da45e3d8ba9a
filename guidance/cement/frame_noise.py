"""Noise of one frame's bins: by what frames of one place differ, or by what neighbours differ."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.messages import F32, F64, U8

_LEVELS: Final = 12
_SAMPLE: Final = 20_000  # bins that tell the noise
_LEAST_SIGMA: Final = 1e-4
_IMMERKAER: Final = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)  # CVIU 64(2), 1996
_MEDIAN_SHARE: Final = 0.6745


def noise_by_density(mean: F32, spread: F32, whole: npt.NDArray[np.bool_], valid: U8, frames: int) -> F32:
    """(R, C) of one frame. Variance = a exp(attenuation) + b, a and b not negative: photons, and what else there is."""
    if np.count_nonzero(whole) < 16 * _LEVELS:
        return one_frame_variance(mean, valid)
    step = max(np.count_nonzero(whole) // _SAMPLE, 1)
    dense = mean[whole][::step]
    level = float(np.median(dense))
    x = np.exp(np.clip(dense - level, -6.0, 6.0)).astype(np.float64)
    order = np.argsort(x)
    values = spread[whole][::step][order].astype(np.float64)
    chunks = np.array_split(np.arange(len(order)), _LEVELS)
    # Medians, as what moved between the frames is no noise; of chi-squared values they lie below the mean (Wilson &
    # Hilferty, PNAS 17, 1931).
    freedom = max(frames - 1, 1)
    means = np.array([np.median(values[c]) for c in chunks]) / (1.0 - 2.0 / (9.0 * freedom)) ** 3
    places = np.array([x[order][c].mean() for c in chunks])
    a, b = _line(places, means)
    variance = a * np.exp(np.clip(mean - level, -6.0, 6.0)) + b
    return np.asarray(np.maximum(variance, _LEAST_SIGMA**2), np.float32)


def _line(x: F64, y: F64) -> tuple[float, float]:
    """Non-negative a, b of y = a x + b with errors in proportion to y."""
    weight = 1.0 / np.maximum(y, 1e-12)
    a, b = np.linalg.lstsq(np.stack([x, np.ones_like(x)], axis=1) * weight[:, None], y * weight, rcond=None)[0]
    if a < 0.0:
        return 0.0, float(np.mean(y))
    if b < 0.0:
        return float(np.sum(weight**2 * x * y) / np.sum(weight**2 * x * x)), 0.0
    return float(a), float(b)


def one_frame_variance(layer: F32, valid: U8) -> F32:
    """From what differs between neighbours, where there is one frame only."""
    if not valid.any() or min(layer.shape) < 3:
        return np.full(layer.shape, _LEAST_SIGMA**2, np.float32)
    inner = sum(
        _IMMERKAER[r, c] * layer[r : layer.shape[0] - 2 + r, c : layer.shape[1] - 2 + c]
        for r in range(3)
        for c in range(3)
    )
    sizes = np.abs(np.asarray(inner))[valid[1:-1, 1:-1] > 0]
    sigma = float(np.median(sizes)) / (6.0 * _MEDIAN_SHARE) if sizes.size else 0.0
    level = float(np.median(layer[valid > 0]))
    variance = sigma**2 * np.exp(np.clip(layer - level, -3.0, 3.0))
    return np.asarray(np.maximum(variance, _LEAST_SIGMA**2), np.float32)
