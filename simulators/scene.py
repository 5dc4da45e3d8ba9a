"""What the X-rays go through and what the detector then shows: pure, and by its seed always the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from guidance.kernels.drr import MaterialCurves, ProjectionVolume, cone_projection
from guidance.messages import F64
from simulators.instruments import Cylinder, add_chords
from simulators.xray import Beam, beam, density_g_cm3

F32 = npt.NDArray[np.float32]
U16 = npt.NDArray[np.uint16]

MATERIALS: Final = ("soft_tissue", "cortical_bone", "titanium")
# g/cm3 of each at a CT value: water at 0, soft tissue to 100, then mixed with cortical bone (1.92 g/cm3 at 1500 HU
# for a 120 kV scan), denser than that only enamel, then metal. Below -950: air with its noise, padding, foam.
TISSUE_CURVES: Final = MaterialCurves(
    np.array([-950.0, 0.0, 100.0, 1500.0, 2200.0, 12000.0]),
    np.array(
        [
            [0.0, 1.0, 1.06, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 1.92, 2.6, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.0, 4.506],
        ]
    ),
)
_CM_PER_MM: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """Technique and detector.

    Attributes:
        kvp: tube voltage.
        dose_photons: detected photons per pixel behind the patient, what automatic exposure control holds.
        level: detector value that it holds there; the open field may saturate at 65535.
        blur_px: standard deviation of the detector's spread, in pixels (screen and focal spot).
        electronic_noise: standard deviation of the read-out, detector values.
    """

    kvp: float = 80.0
    dose_photons: float = 250.0
    level: float = 9000.0
    blur_px: float = 0.7
    electronic_noise: float = 12.0

    @property
    def beam(self) -> Beam:
        return beam(self.kvp)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A patient's volume and what was put into it.

    Attributes:
        volume: CT values, LPS.
        instruments: solid things at known places, exact in every projection.
    """

    volume: ProjectionVolume
    instruments: tuple[Cylinder, ...] = ()

    def transmission(
        self,
        pixel_from_patient: F64,
        size: tuple[int, int],
        technique: Beam,
        *,
        step_px: float = 1.0,
        threads: int = 1,
    ) -> F32:
        """(rows, columns) float32: share of the signal behind the patient, without noise or blur.

        Args:
            size: (rows, columns) of the answer, which is binned by `step_px` where that is a whole number > 1.
        """
        origin = ((step_px - 1.0) / 2.0,) * 2
        paths = cone_projection(
            self.volume, pixel_from_patient, size, TISSUE_CURVES, origin_px=origin, step_px=step_px, threads=threads
        )
        layers = {name: paths[n] * np.float32(_CM_PER_MM) for n, name in enumerate(MATERIALS)}
        binned = np.array([[1.0, 0.0, -origin[0]], [0.0, 1.0, -origin[1]], [0.0, 0.0, step_px]])
        for instrument in self.instruments:
            thickness = np.zeros(size, np.float32)
            add_chords(instrument, binned @ pixel_from_patient, thickness)
            layer = layers.setdefault(instrument.material, np.zeros(size, np.float32))
            layer += thickness * np.float32(density_g_cm3(instrument.material) * _CM_PER_MM)
            # What it displaced; where there was less than that on the ray it stays at nothing.
            layers["soft_tissue"] -= np.minimum(thickness * np.float32(_CM_PER_MM), layers["soft_tissue"])
        return technique.transmission(layers)


@dataclass(frozen=True, slots=True, eq=False)
class Exposed:
    """A noise-free picture with its noise's strength.

    Attributes:
        level: (rows, columns) uint16, expected detector value.
        noise: (rows, columns) uint8, standard deviation of its noise in units of `NOISE_UNIT`.
        photons_per_mm2: at the detector without a patient, per frame.
    """

    level: U16
    noise: npt.NDArray[np.uint8]
    photons_per_mm2: float


NOISE_UNIT: Final = 8.0


def expose(transmission: F32, exposure: Exposure, pixel_area_mm2: float) -> Exposed:
    """Automatic exposure control, screen blur, saturation; noise of Poisson's variance for every pixel.

    Args:
        transmission: of `Scene.transmission`.
        pixel_area_mm2: area of one detector element.
    """
    # The controlled field is the middle half of the picture; its median is held, so air beside the body is left out.
    rows, columns = transmission.shape
    field = transmission[rows // 4 : -(-3 * rows // 4), columns // 4 : -(-3 * columns // 4)]
    middle = float(np.median(field[::8, ::8]))
    blurred = cv2.GaussianBlur(transmission, (0, 0), exposure.blur_px) if exposure.blur_px > 0.0 else transmission
    relative = blurred * np.float32(1.0 / middle)
    level = np.minimum(relative * np.float32(exposure.level), 65535.0)
    variance = relative * np.float32(exposure.level**2 / exposure.dose_photons) + exposure.electronic_noise**2
    noise = np.minimum(np.sqrt(variance) * np.float32(1.0 / NOISE_UNIT) + 0.5, 255.0).astype(np.uint8)
    return Exposed(
        (level + 0.5).astype(np.uint16),
        noise,
        photons_per_mm2=exposure.dose_photons / middle / pixel_area_mm2,
    )


def poisson_picture(transmission: F32, exposure: Exposure, seed: int) -> U16:
    """One picture with exact Poisson statistics; slower than `NoiseFields`, for single shots and for tests."""
    rng = np.random.default_rng(seed)
    exposed = expose(transmission, exposure, 1.0)
    photons = rng.poisson(exposed.level.astype(np.float64) * (exposure.dose_photons / exposure.level))
    signal = photons * (exposure.level / exposure.dose_photons)
    signal += rng.normal(0.0, exposure.electronic_noise, signal.shape)
    picture: U16 = np.clip(np.rint(signal), 0, 65535).astype(np.uint16)
    return picture


class NoiseFields:
    """Quantum noise at stream rate: slices of one seeded field of normal deviates, another slice every frame.

    Poisson's variance with a normal shape; with 100 photons per pixel and more the difference is not seen.
    """

    _SCALE: Final = 32  # int8 holds +-4 standard deviations

    def __init__(self, seed: int, pixels: int) -> None:
        rng = np.random.default_rng([seed, 0x0A11])
        count = 2 * pixels + 4096
        self._field = np.clip(np.rint(rng.standard_normal(count, np.float32) * self._SCALE), -127, 127).astype(np.int8)
        self._starts = np.random.default_rng([seed, 0x57A7])
        self._seed = seed

    def apply(self, exposed: Exposed, frame_index: int, out: U16 | None = None) -> U16:
        """The picture of one frame; the same index gives the same noise."""
        shape = exposed.level.shape
        count = exposed.level.size
        start = int(np.random.default_rng([self._seed, frame_index]).integers(0, len(self._field) - count + 1))
        field = self._field[start : start + count].reshape(shape)
        spread: Any = cv2.multiply(exposed.noise, field, scale=NOISE_UNIT / self._SCALE, dtype=cv2.CV_16S)
        picture: U16 = np.asarray(cv2.add(exposed.level, spread, dst=out, dtype=cv2.CV_16U), np.uint16)
        return picture
