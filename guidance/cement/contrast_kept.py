"""How much of a predicted contrast a picture shows: fine structure against fine structure, metal and movement aside."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from guidance.messages import F32, F64

# In bins of a picture of 128: a volume's voxels are coarser than a picture's pixels, so both are blurred first; what is
# wider than the second is not compared: thickness that the volume does not hold, and the field of scatter itself.
_FINE_BINS: Final = 3.0
_WIDE_BINS: Final = 7.0
_LEAST_CONTRAST: Final = 0.005  # of fine structure: less is noise
_LEAST_CORRELATION: Final = 0.6  # of picture and prediction: with less they are not of one place
# Deviations, 95 % efficient on Gaussian noise (Holland & Welsch, Commun Stat A6, 1977).
_TUKEY: Final = 4.7
_CAUCHY: Final = 2.385
_ROUNDS: Final = 5
_METAL_SIGMAS: Final = 4.0
_METAL_ROUNDS: Final = 3  # each narrows the scale that the next is judged by
_NEIGHBOURS: Final = 60.0  # bins that are wrong together
_SHIFT_ROUNDS: Final = 4
_MOST_SHIFT_BINS: Final = 4.0  # some mm: the patient has moved since, or breathes


class ContrastKept:
    """One picture beside its prediction.

    Args:
        signal: (R, C) mean of each bin, scatter in it.
        weight: (R, C) share of the bin that is picture.
        contrast: (R, C) predicted log attenuation.
        blur_bins: standard deviation of how much less sharp the prediction is than the picture.
        complete: all that the picture shows is in the prediction.
    """

    def __init__(
        self, signal: F32, weight: F32, contrast: F32, blur_bins: float = 0.0, *, complete: bool = True
    ) -> None:
        self._complete = complete
        used = (weight > 0.9) & (signal > 0.0) & np.isfinite(contrast)
        shown = -np.log(np.where(used, np.maximum(signal, np.float32(1e-9)), np.float32(1.0)))
        told = np.where(np.isfinite(contrast), contrast, np.float32(0.0)).astype(np.float32)
        self._shown, self._sharper = shown, [float(np.hypot(bins, blur_bins)) for bins in (_FINE_BINS, _WIDE_BINS)]
        self._count(_without_metal(shown - told, used), used)
        told = self._in_place(told)
        self._count(_without_metal(shown - told, used), used)
        self._told: F64 = self._structure(told, [_FINE_BINS, _WIDE_BINS])

    def _count(self, used: npt.NDArray[np.bool_], inside: npt.NDArray[np.bool_]) -> None:
        self._weight = used.astype(np.float32)
        around = _blurred(self._weight, _FINE_BINS)
        # Beside a border the blurs see one side only; what is strange is filled from around it.
        self._used = inside & (_blurred(inside.astype(np.float32), _FINE_BINS) > 0.9) & (around > 0.5)

    def of(self, scatter_share: F32) -> tuple[float, float, float]:
        """Shown over predicted contrast if so much of the signal is scatter.

        Args:
            scatter_share: (R, C) in [0, 1).

        Returns:
            The ratio, its standard deviation as a share (inf where nothing can be told), and what of the predicted
            structure is shown otherwise, as a share.
        """
        if np.count_nonzero(self._used) < 4.0 * _NEIGHBOURS:
            return 1.0, float("inf"), 1.0
        x, y = self._told, self._structure(self._shown - np.log1p(-scatter_share), self._sharper)
        robust = np.ones_like(x)
        slope, scale = 1.0, 0.0
        for _ in range(_ROUNDS):
            xx, yy, xy = (float(np.sum(robust * a * b)) for a, b in ((x, x), (y, y), (x, y)))
            if xx <= 0.0 or yy <= 0.0 or xy <= 0.0:
                return 1.0, float("inf"), 1.0
            # Both sides are in error: the geometric mean of the two regressions. Where the prediction lacks a part of
            # the body the error is the picture's.
            slope = float(np.sqrt(yy / xx)) if self._complete else xy / xx
            correlation = xy / float(np.sqrt(xx * yy))
            off = y - slope * x
            scale = 1.4826 * float(np.median(np.abs(off))) + 1e-9
            robust = np.clip(1.0 - (off / (_TUKEY * scale)) ** 2, 0.0, None) ** 2
        if correlation < _LEAST_CORRELATION or float(np.sqrt(xx / np.sum(robust))) < _LEAST_CONTRAST:
            return 1.0, float("inf"), 1.0
        independent = max(float(np.sum(robust)) / _NEIGHBOURS, 2.0)
        sigma = float(np.sqrt((1.0 - correlation**2) / independent) / correlation)
        return slope, sigma, scale / max(slope * float(np.sqrt(xx / np.sum(robust))), 1e-9)

    def _in_place(self, told: F32) -> F32:
        """The prediction where the picture shows it: what lies beside its place would look like less contrast."""
        if np.count_nonzero(self._used) < 4.0 * _NEIGHBOURS:
            return told
        seen = self._structure(self._shown, self._sharper)
        shift, moved = np.zeros(2), told
        for _ in range(_SHIFT_ROUNDS):
            parts = [moved, *(np.asarray(part, np.float32) for part in np.gradient(moved))]
            x = np.stack([self._structure(part, [_FINE_BINS, _WIDE_BINS]) for part in parts], axis=1)
            off = seen - x[:, 0] * (float(seen @ x[:, 0]) / max(float(x[:, 0] @ x[:, 0]), 1e-12))
            weight = 1.0 / (1.0 + (off / (_CAUCHY * 1.4826 * float(np.median(np.abs(off))) + 1e-9)) ** 2)
            scale, down, right = np.linalg.lstsq(x * weight[:, None] ** 0.5, seen * weight**0.5, rcond=None)[0]
            if not scale > 0.0:
                return told
            shift = np.clip(shift - np.array([down, right]) / scale, -_MOST_SHIFT_BINS, _MOST_SHIFT_BINS)
            matrix = np.array([[1.0, 0.0, shift[1]], [0.0, 1.0, shift[0]]])
            moved = np.asarray(
                cv2.warpAffine(told, matrix, told.shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
                np.float32,
            )
        return moved

    def _structure(self, values: npt.NDArray[np.float32], widths: list[float]) -> F64:
        fine, wide = (
            _blurred(values * self._weight, bins) / np.maximum(_blurred(self._weight, bins), np.float32(1e-6))
            for bins in widths
        )
        return np.asarray((fine - wide)[self._used], np.float64)


def _without_metal(off: npt.NDArray[np.float32], used: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    for _ in range(_METAL_ROUNDS):
        used = used & ~_strange(off, used)
    return used


def _strange(off: npt.NDArray[np.float32], used: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Where a picture has what the volume has not (a cannula, a clip): bins far off all others, and those beside."""
    if not used.any():
        return ~used
    weight = used.astype(np.float32)
    around = np.maximum(_blurred(weight, _WIDE_BINS), np.float32(1e-6))
    left = off - _blurred(off * weight, _WIDE_BINS) / around
    scale = 1.4826 * float(np.median(np.abs(left[used]))) + 1e-6
    far = (used & (np.abs(left) > _METAL_SIGMAS * scale)).astype(np.uint8)
    return np.asarray(cv2.dilate(far, np.ones((3, 3), np.uint8)) > 0, np.bool_)


def _blurred(values: npt.NDArray[np.float32], bins: float) -> F32:
    blurred = cv2.GaussianBlur(np.asarray(values, np.float32), (0, 0), bins, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(blurred, np.float32)
