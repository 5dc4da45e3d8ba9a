"""Pictures against projections: locally normalised values, their agreement, and Gauss-Newton's equations of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]

# Contrast below this share of the picture's usual local contrast is noise, and is not blown up to full contrast.
_FAINT: Final = 0.3
_OUTLIER: Final = 2.0  # in robust standard deviations: half weight at 1.3 of it


@dataclass(frozen=True, slots=True, eq=False)
class LocalWindow:
    """A sliding square over the valid pixels of one picture level.

    Attributes:
        valid: (rows, columns) 0 or 1.
        side_px: of the square, odd.
        per_count: (rows, columns) one over the share of valid pixels in the square.
    """

    valid: F32
    side_px: int
    per_count: F32

    @classmethod
    def of(cls, valid: F32, radius_px: int) -> LocalWindow:
        """Square of 2 radius + 1 pixels."""
        side = 2 * radius_px + 1
        share = cv2.blur(valid, (side, side), borderType=cv2.BORDER_CONSTANT)
        return cls(valid, side, np.asarray(1.0 / np.maximum(share, np.float32(0.05)), np.float32))

    def mean(self, values: F32) -> F32:
        """Local mean of values that are 0 where invalid."""
        blurred = cv2.blur(values, (self.side_px, self.side_px), borderType=cv2.BORDER_CONSTANT)
        return np.asarray(blurred * self.per_count, np.float32)

    def detail(self, values: F32) -> F32:
        """Values less their local mean; 0 where invalid."""
        known = values * self.valid
        return np.asarray((known - self.mean(known)) * self.valid, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Normalised:
    """Locally normalised values.

    Attributes:
        values: (rows, columns) of about unit spread; 0 where invalid.
        spread: (rows, columns) by which they were divided.
        structure: (rows, columns) 0 to 1: how far above faint the local contrast is.
    """

    values: F32
    spread: F32
    structure: F32


def normalised(values: F32, window: LocalWindow) -> Normalised:
    """Less the local mean, by the local spread: exposure, offset, gain, hardening and scatter drop out."""
    detail = window.detail(values)
    variance = window.mean(detail * detail)
    usual = float((variance * window.valid).sum(dtype=np.float64) / max(float(window.valid.sum()), 1.0))
    full = variance + np.float32(_FAINT**2 * usual + 1e-20)
    spread = np.sqrt(full)
    return Normalised(detail / spread, spread, np.asarray(variance / full, np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """How well a projection agrees with a picture.

    Attributes:
        similarity: local correlation where the projection has structure, -1 to 1.
        loss: 0 to 1, robust: outliers (instruments, hands) count 1 at most.
        gain: of the projection's normalised values.
        left_over: (rows, columns) picture less gain times projection.
        weight: (rows, columns) robust weight times structure times valid.
        curvature: (rows, columns) of the robust loss, by which it really rises around its minimum; times structure.
    """

    similarity: float
    loss: float
    gain: float
    left_over: F32
    weight: F32
    curvature: F32


def agreement(picture: F32, projection: Normalised, window: LocalWindow) -> Agreement:
    """Compare normalised values; a flat or foreign projection gives similarity about 0 and loss about 1."""
    structure = projection.structure * window.valid
    seen, told = picture, projection.values
    weighted = structure * told
    cross = float(np.vdot(weighted, seen))
    own = float(np.vdot(weighted, told))
    other = float(np.vdot(structure * seen, seen))
    similarity = cross / float(np.sqrt(max(own * other, 1e-30)))
    gain = min(max(cross / max(own, 1e-30), 0.2), 2.0)
    left_over = seen - np.float32(gain) * told
    known = structure > 0.05
    spread = 1.4826 * float(np.median(np.abs(left_over[known]))) if known.any() else 1.0
    relative = (left_over / np.float32(_OUTLIER * max(spread, 1e-6))) ** 2
    share = structure / (1.0 + relative) ** 2
    curvature = share * (1.0 - 3.0 * relative) / (1.0 + relative)
    total = max(float(structure.sum()), 1e-9)
    # The loss has one fixed scale, so that poses can be held against each other.
    loss = float(np.vdot(structure, 1.0 - 1.0 / (1.0 + left_over * left_over)) / total)
    return Agreement(
        similarity, loss, gain, left_over, np.asarray(share, np.float32), np.asarray(curvature, np.float32)
    )


def equations(
    found: Agreement, slopes: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(6, 6) and (6,): normal equations of the weighted squares, from (6, rows, columns) slopes of the projection."""
    flat = slopes.reshape(len(slopes), -1)
    weighted = flat * found.weight.ravel()
    return (
        np.asarray(weighted @ flat.T, np.float64),
        np.asarray(weighted @ found.left_over.ravel(), np.float64),
    )
