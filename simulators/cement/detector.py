"""The simulated detector: automatic exposure, photons, screen blur, afterglow, read-out; by its seed the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
U16 = npt.NDArray[np.uint16]

NOMINAL_PHOTONS_PER_MM2: Final = 2800.0
"""About 250 detected photons on a pixel of 0.3 mm: fluoroscopy behind a pelvis."""
_FEW_PHOTONS: Final = 6.0  # below, the continuous approximation of Poisson's law shows
_GLOW_S: Final = 0.06  # half a second after a frame nothing of it is left


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """What becomes of the X-rays that arrive.

    Attributes:
        photons_per_mm2: detected behind the patient per frame, at `level`.
        level: value that automatic exposure control holds in the middle of the field.
        largest: value of a saturated pixel.
        focal_blur_px: standard deviation of the spread before photons are counted (focal spot, movement).
        screen_blur_px: and after (light in the screen): noise of neighbours is related.
        electronic_noise: standard deviation of the read-out, detector values.
        lag: share of a frame's charge that is read with the next one at 30 frames/s; fades in longer pauses.
        control: exponent of the exposure's correction from frame to frame; 0: fixed exposure, 1: at once.
        seed: of the noise.
    """

    photons_per_mm2: float = NOMINAL_PHOTONS_PER_MM2
    level: float = 9000.0
    largest: int = 65535
    focal_blur_px: float = 0.55
    screen_blur_px: float = 0.45
    electronic_noise: float = 12.0
    lag: float = 0.04
    control: float = 0.25
    seed: int = 1


class DetectorRun:
    """One detector's frames in order: it remembers its exposure and its afterglow.

    Args:
        detector: which.
        pixel_area_mm2: of one element.
        number: of the plane, so that two planes have noise of their own.
    """

    def __init__(self, detector: Detector, pixel_area_mm2: float, number: int = 0) -> None:
        self._detector = detector
        self._photons_per_value = detector.photons_per_mm2 * pixel_area_mm2 / detector.level
        self._number = number
        self._glow: F32 | None = None
        self._field = np.zeros(0, np.float32)
        self._at_s = 0.0
        self.exposure: float | None = None

    def forget(self) -> None:
        """Begin afresh: the next frame is exposed as its own picture asks, and nothing glows on."""
        self._glow, self.exposure = None, None

    def expose(self, arriving: F32) -> float:
        """Set and return the factor that makes detector values of what arrives.

        Args:
            arriving: (rows, columns) share of the open beam that reaches each pixel, primary and scatter.
        """
        wanted = self._wanted(arriving)
        if self.exposure is None:
            self.exposure = wanted
        else:
            self.exposure *= (wanted / self.exposure) ** self._detector.control
        return self.exposure

    def step(self, arriving: F32, missed: float) -> float:
        """At a step of the tube voltage the generator corrects at once, and misses by this factor."""
        self.exposure = self._wanted(arriving) * missed
        return self.exposure

    def read(self, arriving: F32, frame_index: int, t_s: float) -> U16:
        """One picture.

        Args:
            arriving: as for `expose`, which is asked first; not altered.
            frame_index: of the noise.
            t_s: for the afterglow.
        """
        detector = self._detector
        exposure = self.exposure if self.exposure is not None else self.expose(arriving)
        photons = _blurred(arriving * np.float32(exposure * self._photons_per_value), detector.focal_blur_px)
        rng = np.random.default_rng([detector.seed, self._number, frame_index])
        values = _counted(photons, rng) * np.float32(1.0 / self._photons_per_value)
        values = _blurred(values, detector.screen_blur_px)
        if detector.lag > 0.0:
            if self._glow is not None:
                pause_s = max(t_s - self._at_s - 1.0 / 30.0, 0.0)
                glow = np.float32(detector.lag * np.exp(-pause_s / _GLOW_S))
                values += glow * (self._glow - values)
            self._glow, self._at_s = values.copy(), t_s
        if detector.electronic_noise > 0.0:
            values += self._read_out(values.shape, rng)
        picture: U16 = np.clip(values + np.float32(0.5), 0.0, float(detector.largest)).astype(np.uint16)
        return picture

    def _read_out(self, shape: tuple[int, int], rng: np.random.Generator) -> F32:
        """Noise of the amplifiers: a piece of one field, another each time, for quantum noise hides it anyway."""
        count = shape[0] * shape[1]
        if self._field.size < 2 * count:
            own = np.random.default_rng([self._detector.seed, self._number, 0xE1EC])
            self._field = own.standard_normal(2 * count, np.float32) * np.float32(self._detector.electronic_noise)
        start = int(rng.integers(0, self._field.size - count))
        return self._field[start : start + count].reshape(shape)

    def _wanted(self, arriving: F32) -> float:
        rows, columns = arriving.shape
        field = arriving[rows // 4 : -(-3 * rows // 4) : 4, columns // 4 : -(-3 * columns // 4) : 4]
        return self._detector.level / max(float(np.median(field)), 1e-9)


def _blurred(values: F32, sigma_px: float) -> F32:
    if sigma_px <= 0.0:
        return values
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE), np.float32)


def _counted(mean: F32, rng: np.random.Generator) -> F32:
    """Poisson's law: exact where photons are few; else its first three moments (Cornish and Fisher 1938)."""
    normal = rng.standard_normal(mean.shape, np.float32)
    counts: F32 = np.sqrt(mean) * normal
    normal *= normal
    normal -= np.float32(1.0)
    normal *= np.float32(1.0 / 6.0)
    counts += normal
    counts += mean
    few = mean < _FEW_PHOTONS
    if np.any(few):
        counts[few] = rng.poisson(mean[few])
    return np.maximum(np.rint(counts), np.float32(0.0))
