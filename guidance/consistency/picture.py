"""A live picture in coarse bins at several resolutions, and whether what it shows is of an X-ray picture's kind."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.kernels.watch import Grid, Shown, bin_picture, picture_layer
from guidance.messages import Pixels

F32 = npt.NDArray[np.float32]
Collimator = tuple[int, int, int, int]

BINS: Final = 128
MEAN_RADIUS: Final = 3  # bins; what varies more slowly is tissue outside the volume, scatter, exposure
CONTRAST_RADIUS: Final = 6
FLOOR: Final = 1.0

# What bones in soft tissue show at every dose and view, and test pictures do not: contrast that grows with scale by a
# factor between those of noise (1/2) and of a smooth shape (more than 2.4), present nearly everywhere, in varying
# strength, above the noise. Measured: docs/decisions/0017-frame-check.md.
_GROWTH: Final = (1.2, 2.4)
_EVENNESS: Final = (0.3, 0.94)
_LEAST_SNR: Final = 1.5
_MOST_BLANK: Final = 0.2
_BLANK: Final = 0.05  # of the usual contrast
_LEAST_VALID: Final = 0.2
_LOG_CONTRAST: Final = (0.008, 0.3)  # of 5 mm wide structure, in natural logarithms, for pictures that are linear
_METAL: Final = 15.0  # times the median high-passed value; bones reach 10 in one bin of 500
_METAL_ROUNDS: Final = 2  # what is masked first hid what lies beside it


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A picture at one resolution.

    Attributes:
        attenuation, valid: relative attenuation; 0 where nothing can be compared.
        shown: made comparable.
    """

    grid: Grid
    attenuation: F32
    valid: F32
    shown: Shown


class SeenPicture:
    """One picture at the resolutions that are asked for; the finest has 64 to 128 bins along the longer side.

    Args:
        pixels: (rows, columns), C order.
        logarithm: numbers are proportional to what the detector got.
        bright: more X-ray gives higher values.
        collimator_px: left, top, right, bottom of what is exposed; None: all of it.
    """

    def __init__(self, pixels: Pixels, *, logarithm: bool, bright: bool, collimator_px: Collimator | None) -> None:
        grid = grid_of(pixels.shape)
        attenuation, valid, _ = bin_picture(pixels, grid, logarithm=logarithm, bright=bright)
        if collimator_px is not None:
            left, top, right, bottom = (n / grid.step for n in collimator_px)
            valid[: max(0, math.ceil(top))] = 0.0
            valid[max(0, math.floor(bottom)) :] = 0.0
            valid[:, : max(0, math.ceil(left))] = 0.0
            valid[:, max(0, math.floor(right)) :] = 0.0
        self._logarithm = logarithm
        self._layers = [_layer(grid, attenuation, valid, metal_rounds=_METAL_ROUNDS)]

    def layer(self, level: int) -> Layer:
        """The picture in bins 2^level times as wide as the finest."""
        while len(self._layers) <= level:
            finer = self._layers[-1]
            grid = halved(finer.grid)
            weight = _mean_of_four(finer.valid, grid)
            attenuation = _mean_of_four(finer.attenuation * finer.valid, grid)
            attenuation /= np.maximum(weight, np.float32(0.25))
            self._layers.append(_layer(grid, attenuation, (weight >= 0.5).astype(np.float32), metal_rounds=0))
        return self._layers[level]

    def shows(self, weight: F32) -> float:
        """Share of where structure is predicted that shows contrast above the noise, 0 to 1.

        Args:
            weight: (rows, columns) of the finest layer, how much the prediction counts.
        """
        shown = self._layers[0].shown
        total = float(weight.sum())
        if total <= 0.0:
            return 0.0
        above = shown.contrast > max(_LEAST_SNR * shown.noise, _BLANK * shown.whole, 1e-6)
        return float(np.vdot(weight, shown.core * above)) / total

    def xray_like(self) -> bool:
        """The picture's structure is of the kind that bones in soft tissue show."""
        shown = [self.layer(level).shown for level in range(3)]
        finest = shown[0]
        inside = finest.core > 0.0
        if inside.mean() < _LEAST_VALID or not all(layer.whole > 0.0 for layer in shown):
            return False
        growth = [coarser.whole / finer.whole for finer, coarser in pairwise(shown)]
        low, high = _LOG_CONTRAST
        return (
            all(_GROWTH[0] <= ratio <= _GROWTH[1] for ratio in growth)
            and _EVENNESS[0] <= finest.usual / finest.whole <= _EVENNESS[1]
            and finest.usual >= _LEAST_SNR * finest.noise
            and float((finest.contrast[inside] < _BLANK * finest.whole).mean()) <= _MOST_BLANK
            and (not self._logarithm or low <= finest.whole <= high)
        )


def grid_of(shape: tuple[int, ...]) -> Grid:
    """The finest bins of a picture of (rows, columns)."""
    step = max(1, math.ceil(max(shape) / BINS))
    return Grid(rows=shape[0] // step, columns=shape[1] // step, step=step)


def halved(grid: Grid) -> Grid:
    """Bins twice as wide."""
    return Grid(rows=grid.rows // 2, columns=grid.columns // 2, step=grid.step * 2)


def _mean_of_four(picture: F32, grid: Grid) -> F32:
    cut = picture[: 2 * grid.rows, : 2 * grid.columns]
    mean: F32 = np.float32(0.25) * (cut[::2, ::2] + cut[1::2, ::2] + cut[::2, 1::2] + cut[1::2, 1::2])
    return mean


def _layer(grid: Grid, attenuation: F32, valid: F32, *, metal_rounds: int) -> Layer:
    shown = picture_layer(
        attenuation,
        valid,
        mean_radius=MEAN_RADIUS,
        contrast_radius=CONTRAST_RADIUS,
        floor=FLOOR,
        metal=_METAL,
        rounds=metal_rounds,
    )
    return Layer(grid, attenuation, valid, shown)
