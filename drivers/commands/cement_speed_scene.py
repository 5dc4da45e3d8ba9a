"""A stream of frames in which a ball of cement grows: what the tracker's speed is measured with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from guidance.cement.values import CementFrame
from guidance.geometry.intensity import PixelIntensity
from guidance.messages import F32, U8

PER_MM: Final = 0.05
"""Contrast of a millimetre of this cement."""
RATE_HZ: Final = 15.0
_PHOTONS_PER_512: Final = 250.0  # of a pixel, where the picture has 512 of them; the dose is that of the field
_LEVEL: Final = 9000.0
_FIELD_PX: Final = 512.0
_NOISES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedScene:
    """Pictures of one size.

    Attributes:
        side: rows and columns.
        before: frames without cement.
        frames: frames with it.
        move_px: amplitude of the patient's motion, pixels of a picture of 512.
        photons: per pixel of a picture of 512.
        seed: of anatomy and noise.
    """

    side: int
    before: int = 12
    frames: int = 40
    move_px: float = 1.5
    photons: float = _PHOTONS_PER_512
    seed: int = 7

    def thickness_mm(self, number: int) -> F32:
        """(side, side) of cement along the rays in frame `number`, counted from the first with cement; 0 before."""
        scale = self.side / _FIELD_PX
        radius = 0.0 if number < 0 else (8.0 + 40.0 * (number + 1) / self.frames) * scale
        du, dv = self._shift(number)
        v, u = np.indices((self.side, self.side), np.float32)
        middle = self.side / 2.0
        square = radius**2 - (u - middle - 0.1 * self.side - du) ** 2 - (v - middle - dv) ** 2
        return np.asarray(0.4 / scale * np.sqrt(np.maximum(square, 0.0)), np.float32)

    def pictures(self) -> Iterator[CementFrame]:
        """All frames, uint16; those before the cement have negative times."""
        rng = np.random.default_rng(self.seed)
        anatomy = self._anatomy(rng)
        photons = self.photons * (_FIELD_PX / self.side) ** 2
        noises = [
            cv2.GaussianBlur(rng.standard_normal((self.side, self.side), np.float32), (0, 0), 0.5) / np.float32(0.6)
            for _ in range(_NOISES)
        ]
        for number in range(-self.before, self.frames):
            du, dv = self._shift(number)
            moved = cv2.warpAffine(
                anatomy,
                np.array([[1.0, 0.0, du], [0.0, 1.0, dv]]),
                anatomy.shape[::-1],
                flags=cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REFLECT,
            )
            mean = np.exp(-moved - PER_MM * self.thickness_mm(number))
            noise = np.roll(noises[number % _NOISES], (31 * number, 17 * number), (0, 1))
            counts = _LEVEL * (mean + noise * np.sqrt(mean / photons))
            yield self._frame(number, np.clip(counts, 1.0, 65000.0).astype(np.uint16))

    def open_mask(self, number: int, least_mm: float = 0.5) -> U8:
        """Where cement is thicker than that."""
        return (self.thickness_mm(number) > least_mm).astype(np.uint8)

    def _shift(self, number: int) -> tuple[float, float]:
        scale = self.move_px * self.side / _FIELD_PX
        return 0.3 * scale * float(np.sin(0.31 * number)), scale * float(np.sin(0.25 * number))

    def _anatomy(self, rng: np.random.Generator) -> F32:
        """Attenuation: a body, bones with edges, a steel rod."""
        side = self.side
        small = rng.standard_normal((24, 24)).astype(np.float32)
        body = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC) * np.float32(0.12)
        bones = np.zeros((side, side), np.float32)
        for _ in range(14):
            middle = tuple(int(x) for x in rng.uniform(0.05 * side, 0.95 * side, 2))
            axes = tuple(int(x) for x in rng.uniform(0.03 * side, 0.16 * side, 2))
            piece = np.zeros_like(bones)
            cv2.ellipse(piece, middle, axes, float(rng.uniform(0.0, 180.0)), 0.0, 360.0, 0.25, -1)
            bones += piece
        cv2.line(bones, (0, side // 5), (side // 2, side // 3), 1.2, max(side // 60, 2))
        return np.asarray(cv2.GaussianBlur(body + bones, (0, 0), max(0.8 * side / _FIELD_PX, 0.8)), np.float32)

    def _frame(self, number: int, pixels: npt.NDArray[Any]) -> CementFrame:
        sequence = number + self.before
        time_ns = round(1e9 * (1000.0 + number / RATE_HZ))
        return CementFrame(
            device="Fluoro",
            sequence=sequence,
            frame_number=sequence,
            received_ns=time_ns,
            time_ns=time_ns,
            pixels=pixels,
            intensity=PixelIntensity(),
        )
