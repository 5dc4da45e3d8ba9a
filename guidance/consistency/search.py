"""Where the motion is that a picture shows: fine steps from a near start, else coarse to fine from far away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.consistency.displacement import displaced_mm
from guidance.consistency.picture import SeenPicture
from guidance.consistency.prediction import Prediction
from guidance.kernels.watch import Fit, best_shift, fit_motion
from guidance.messages import F64
from guidance.registration.values import motion_vector, small_motion

AROUND_MM: Final = 30.0 * np.vstack((np.zeros(3), np.eye(3), -np.eye(3)))
_PRIOR: Final = np.array([1.0 / 30.0**2] * 3 + [1.0 / 10.0**2] * 3)  # mm, deg: holds what a view does not show
_REACH: Final = 6  # coarsest bins, about 36 mm at the isocentre
_COARSEST: Final = 2
_LINEAR_MM: Final = 0.8  # a longer step is followed by another from where it led
_SETTLED: Final = 0.75  # similarity below which a turn may hide behind a short step
_LINEAR_UNSETTLED_MM: Final = 0.25
_MORE_STEPS: Final = 3
_WORTH: Final = 0.3  # similarity below which a step leads nowhere
_LEAST_GAIN: Final = 0.1
_LONGEST_STEP: Final = 20.0  # mm or deg
# Neighbouring bins' differences go together (smoothing, bones outside the volume): so many count as one. Measured.
_CORRELATED: Final = 8.0


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A motion and how well the picture agrees with it.

    Attributes:
        motion: (6,) of the told pose, about the pivot.
        covariance: (6, 6).
        similarity: -1 to 1; 0 where light and dark are exchanged.
        similarity_told: without any motion; None where the last step did not begin there.
        weight: what of the prediction was compared, bins.
        step_mm: how far the last step displaced the surroundings of the pivot.
    """

    motion: F64
    covariance: F64
    similarity: float
    similarity_told: float | None
    weight: float
    step_mm: float


class MotionSearch:
    """Finds the motion of one volume on pictures.

    Args:
        prediction: of that volume.
    """

    def __init__(self, prediction: Prediction) -> None:
        self._prediction = prediction

    def near(self, seen: SeenPicture, told: F64, start: F64) -> Found:
        """One step from a start, and more from where it led as long as they are long."""
        found = self.step(seen, told, start, 0)
        for _ in range(_MORE_STEPS):
            far = found.step_mm > (_LINEAR_MM if found.similarity >= _SETTLED else _LINEAR_UNSETTLED_MM)
            if found.similarity <= _WORTH or not far:
                break
            again = self.step(seen, told, found.motion, 0)
            if again.similarity <= found.similarity:
                break
            found = again
        return found

    def far(self, seen: SeenPicture, told: F64) -> Found:
        """From the best whole-bin shift at the coarsest resolution down to the finest."""
        layer = seen.layer(_COARSEST)
        template = self._prediction.template(told, np.zeros(6), layer.grid)
        columns, rows, _ = best_shift(layer.shown.normalised, layer.shown.core, template[0], template[1], reach=_REACH)
        motion = self._in_plane(told, columns * layer.grid.step, rows * layer.grid.step)
        for level in (2, 2, 1):
            motion = self.step(seen, told, motion, level).motion
        return self.near(seen, told, motion)

    def step(self, seen: SeenPicture, told: F64, start: F64, level: int) -> Found:
        """One robust Gauss-Newton step from a start."""
        layer = seen.layer(level)
        pivot = self._prediction.pivot_lps_mm
        fit = fit_motion(
            layer.shown.normalised, layer.shown.core, self._prediction.template(told, start, layer.grid), _PRIOR
        )
        gain = float(fit.parameters[0])
        update = fit.parameters[1:] / max(gain, _LEAST_GAIN)
        update *= min(1.0, _LONGEST_STEP / (1e-9 + float(np.abs(update).max())))
        return Found(
            motion=motion_vector(small_motion(start, pivot) @ small_motion(update, pivot), pivot),
            covariance=_covariance(fit, max(gain, _LEAST_GAIN)),
            similarity=fit.similarity if gain > 0.0 else 0.0,
            similarity_told=None if start.any() else fit.similarity_told,
            weight=fit.plain_weight,
            step_mm=displaced_mm(update, told, pivot, pivot + AROUND_MM),
        )

    def _in_plane(self, told: F64, du_px: float, dv_px: float) -> F64:
        """The shift along the picture by which the pivot is seen so many px off."""
        pivot = self._prediction.pivot_lps_mm
        depth = self._prediction.depth_mm(told)
        at = (told[:2, :3] @ pivot + told[:2, 3]) / depth
        rows = (told[:2, :3] - at[:, None] * told[2, :3]) / depth
        return np.concatenate((np.linalg.pinv(rows) @ (du_px, dv_px), np.zeros(3)))


def _covariance(fit: Fit, gain: float) -> F64:
    variance = max(fit.variance, 1e-9)
    normal = fit.normal + np.diag(np.concatenate(((1e-6,), _PRIOR * variance * _CORRELATED)))
    return np.asarray(np.linalg.inv(normal)[1:, 1:] * (variance * _CORRELATED / gain**2), np.float64)
