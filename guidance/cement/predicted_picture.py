"""A picture beside what a volume predicts of it, bin by bin."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from guidance.cement.body_shadow import BodyShadow
from guidance.cement.reference import ReferencePicture
from guidance.kernels.cement import Aligner, warp
from guidance.messages import F32

PREDICTED_BINS: Final = 256
"""Along the longer side of a prediction that is compared with a picture bin by bin."""
_MM_OF_MISSING: Final = 0.02  # log contrast of a millimetre of soft tissue that the volume does not hold
_MOST_MISSING_MM: Final = 60.0
_FINE: Final = 0.0025  # of the longer side: noise is smoothed by that
_WIDE: Final = 0.09  # what is wider is not predicted: thickness beyond the volume, scatter
_WIDE_STEP: Final = 4  # bins: what is wide is worked out in coarse ones
_ROUNDS: Final = 6
_CUT: Final = 2.0  # deviations at which a bin's weight is a half
_STRANGE: Final = 5.0  # deviations: cement, steel; not compared
_MEDIAN: Final = 1.4826  # of Gaussian noise: standard deviation over the median deviation
_GAINS: Final = (0.2, 1.3)  # of contrast shown over contrast predicted: scatter takes some off
_CORRELATES: Final = 0.5  # with less it is not of this place
_STEEP: Final = 0.25  # bins by which an edge is displaced to count as much as noise, squared
_MEDIAN_SQUARE: Final = 0.455  # of white noise: the median of its square
_FARTHER: Final = 1.6  # bones farthest from where most lie, against the middle
_LEAST_BINS: Final = 64  # that are steep: of fewer the median is noise


class PictureComparison:
    """A picture beside what a volume predicts of it; scale of contrast and what is wide are fitted to the picture.

    Args:
        reference: the picture.
        body: predicted, in `PREDICTED_BINS`.
        missing_mm: (R, C) how much of each ray the volume does not hold.

    Attributes:
        left: (R, C) what the picture shows beyond it.
        sigma: (R, C) how far they differ without cement.
        known: (R, C) where they can be compared.
        alike: how alike both are, 1: but for the contrast's scale the same.
        agrees: the prediction is one of this picture.
    """

    def __init__(self, reference: ReferencePicture, body: BodyShadow, missing_mm: F32) -> None:
        rows, columns = reference.attenuation.shape
        side = max(rows, columns)
        self._size = side
        predicted = cv2.resize(body.contrast, (columns, rows), interpolation=cv2.INTER_LINEAR)
        predicted = np.asarray(predicted + np.float32(_MM_OF_MISSING) * missing_mm, np.float32)
        everywhere = np.ones((rows, columns), np.uint8)
        valid = reference.valid > 0
        middle = np.float32(np.median(reference.attenuation[valid])) if valid.any() else np.float32(0.0)
        known = np.where(valid, reference.attenuation, middle)
        self._shown = cv2.GaussianBlur(known, (0, 0), _FINE * side)
        compared = valid & (missing_mm < _MOST_MISSING_MM)
        compared &= cv2.erode(everywhere * compared, np.ones((3, 3), np.uint8), borderValue=1) > 0
        gain, spread, weight, _ = self._fitted(predicted, compared)
        # Where the patient lies now: the prediction is moved there.
        like = np.float32(gain) * predicted
        like = np.asarray(like + self._wide(self._shown - like, weight), np.float32)
        variance = np.full(like.shape, max(spread, 1e-3) ** 2, np.float32)
        aligner = Aligner(np.ascontiguousarray(self._shown), np.ascontiguousarray(compared, np.uint8), variance)
        fit = aligner.fit(np.ascontiguousarray(like, np.float32), everywhere)
        moved, there = warp(predicted, everywhere, fit.du, fit.dv, fit.turn)
        compared &= there > 0
        gain, spread, weight, correlation = self._fitted(moved, compared)
        self.alike = correlation
        self.agrees = _GAINS[0] < gain < _GAINS[1] and correlation > _CORRELATES
        like = np.asarray(np.float32(gain) * moved, np.float32)
        like = np.asarray(like + self._wide(self._shown - like, weight), np.float32)
        self.known: npt.NDArray[np.bool_] = compared
        self.left: F32 = np.where(compared, known - like, np.float32(0.0))
        self._smooth: F32 = np.where(compared, self._shown - like, np.float32(0.0))
        self.sigma: F32 = self._sigma(like, spread, weight)

    @property
    def deviations(self) -> F32:
        """(R, C) what is left, noise smoothed, over sigma."""
        return np.asarray(self._smooth / self.sigma, np.float32)

    def _fitted(self, predicted: F32, compared: npt.NDArray[np.bool_]) -> tuple[float, float, F32, float]:
        """Gain, what is left over (standard deviation), each bin's weight, and how alike both are."""
        weight = compared.astype(np.float32)
        gain, spread, correlation = 1.0, 1.0, 0.0
        for _ in range(_ROUNDS):
            told = predicted - self._wide(predicted, weight)
            shown = self._shown - self._wide(self._shown, weight)
            xx, xy, yy = (float(np.vdot(a * weight, b)) for a, b in ((told, told), (told, shown), (shown, shown)))
            if not (xx > 0.0 and yy > 0.0):
                return 0.0, 1.0, weight, 0.0
            gain, correlation = xy / xx, xy / float(np.sqrt(xx * yy))
            off = shown - np.float32(gain) * told
            spread = _MEDIAN * float(np.median(np.abs(off[compared]))) + 1e-6
            strange = (np.abs(off) > _STRANGE * spread).astype(np.uint8)
            strange = cv2.dilate(strange, np.ones((5, 5), np.uint8))
            weight = (compared & (strange == 0)) / (1.0 + (off / (_CUT * spread)) ** 2)
            weight = weight.astype(np.float32)
        return gain, spread, weight, correlation

    def _wide(self, values: F32, weight: F32) -> F32:
        rows, columns = values.shape
        size = (max(1, columns // _WIDE_STEP), max(1, rows // _WIDE_STEP))
        sums = [
            cv2.GaussianBlur(
                cv2.resize(n, size, interpolation=cv2.INTER_AREA),
                (0, 0),
                _WIDE * self._size / _WIDE_STEP,
                borderType=cv2.BORDER_CONSTANT,
            )
            for n in (np.asarray(values * weight, np.float32), weight)
        ]
        return np.asarray(cv2.resize(sums[0] / np.maximum(sums[1], np.float32(1e-4)), (columns, rows)), np.float32)

    def _sigma(self, like: F32, spread: float, weight: F32) -> F32:
        """Beside edges it is more: the patient has turned by a little, or lies nearer."""
        slopes_v, slopes_u = np.gradient(like)
        square = np.asarray(slopes_u**2 + slopes_v**2, np.float32)
        steep = (self._smooth < 0.0) & (weight > 0.0) & (_STEEP * square > spread**2)
        displaced = 0.0
        if np.count_nonzero(steep) > _LEAST_BINS:
            found = (self._smooth[steep] ** 2 - _MEDIAN_SQUARE * spread**2) / square[steep]
            displaced = _FARTHER**2 * max(float(np.median(found)), 0.0) / _MEDIAN_SQUARE
        around = cv2.dilate(square, np.ones((5, 5), np.uint8))
        return np.asarray(np.sqrt(spread**2 + displaced * around), np.float32)
