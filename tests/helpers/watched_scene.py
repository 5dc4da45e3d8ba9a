"""A procedural patient on simulated pictures, made once per test session, small enough to be quick."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from guidance.consistency import FrameMeasurer, WatchVolume, watch_volume
from guidance.kernels.drr import ProjectionVolume
from guidance.messages import F64
from guidance.registration.values import IDENTITY
from simulators.gantry import Gantry
from simulators.instruments import Cylinder
from simulators.pelvis import ProceduralPelvis
from simulators.scene import Exposure, Scene, poisson_picture
from simulators.volumes import HuVolume, resampled

U16 = npt.NDArray[np.uint16]
SIZE = 384
FIELD_MM = (220.0, 220.0, 170.0)
MIDDLE_LPS_MM = (0.0, 10.0, -15.0)
VIEWS = {"pa": (180.0, 0.0), "oblique": (145.0, 0.0), "lateral": (90.0, 0.0), "tilted": (-160.0, -20.0)}


@cache
def patient() -> HuVolume:
    """A pelvis with a heterogeneous inside: symmetric bones alone cannot tell a mirror."""
    volume = ProceduralPelvis().volume(3.0)
    rng = np.random.default_rng(11)
    texture = ndimage.gaussian_filter(rng.normal(size=volume.voxels_hu.shape), 1.5)
    texture *= 120.0 / texture.std()
    voxels = volume.voxels_hu + np.where(volume.voxels_hu > 150, texture, 0.0).astype(np.int16)
    return HuVolume(voxels.astype(np.int16), volume.affine_lps_from_ijk, "textured pelvis")


@cache
def watched() -> WatchVolume:
    """What a cone-beam volume of it becomes."""
    field = resampled(patient(), spacing_mm=2.0, center_lps_mm=np.array(MIDDLE_LPS_MM), size_mm=FIELD_MM)
    return watch_volume(field.voxels_hu, field.affine_lps_from_ijk)


@cache
def scene() -> Scene:
    volume = patient()
    return Scene(ProjectionVolume(volume.voxels_hu, volume.affine_lps_from_ijk))


def gantry(view: str = "oblique") -> Gantry:
    primary, secondary = VIEWS[view]
    pitch = 0.37 * 1024 / SIZE
    return Gantry(
        primary_deg=primary,
        secondary_deg=secondary,
        isocenter_lps_mm=MIDDLE_LPS_MM,
        detector_rows=SIZE,
        detector_columns=SIZE,
        pitch_row_mm=pitch,
        pitch_column_mm=pitch,
    )


def matrix(view: str = "oblique") -> F64:
    return np.ascontiguousarray(gantry(view).pixel_from_patient())


def transmission(view: str, motion: F64 = IDENTITY, instruments: tuple[Cylinder, ...] = ()) -> npt.NDArray[np.float32]:
    there = Scene(scene().volume, instruments)
    return there.transmission(matrix(view) @ motion, (SIZE, SIZE), Exposure().beam)


def taken(
    view: str = "oblique",
    motion: F64 = IDENTITY,
    *,
    seed: int = 1,
    exposure: Exposure | None = None,
    instruments: tuple[Cylinder, ...] = (),
) -> U16:
    """One picture; the patient moved by `motion`. Bins are as large as a detector of 1024 has, so is their dose."""
    return poisson_picture(
        transmission(view, motion, instruments), exposure or Exposure(dose_photons=250.0 * (1024 / SIZE) ** 2), seed
    )


@cache
def usual_picture(view: str = "oblique") -> U16:
    return taken(view)


def pivot() -> F64:
    """(3,) that the measurer's small motions turn about."""
    told = matrix()
    return np.array(FrameMeasurer(watched()).measure(usual_picture(), told).pivot_lps_mm)


def drawn_pictures(size: int = SIZE) -> dict[str, U16]:
    """What integrators send first: no X-ray picture."""
    rng = np.random.default_rng(5)
    v, u = np.indices((size, size)).astype(np.float64)
    letter = np.full((size, size), 30000.0)
    letter[size // 8 : 7 * size // 8, size // 4 : size // 4 + size // 10] = 8000.0
    letter[size // 8 : size // 8 + size // 10, size // 4 : 3 * size // 4] = 8000.0
    letter[size // 2 : size // 2 + size // 10, size // 4 : 5 * size // 8] = 8000.0
    blobs = np.full((size, size), 30000.0)
    for _ in range(40):
        x, y = rng.uniform(0, size, 2)
        blobs += rng.uniform(-15000, 15000) * np.exp(
            -((u - x) ** 2 + (v - y) ** 2) / (2 * rng.uniform(size / 60, size / 12) ** 2)
        )

    def squares(side: int) -> F64:
        return ((u // side + v // side) % 2) * 40000.0 + 5000.0

    pictures = {
        "flat": np.full((size, size), 12000.0),
        "black": np.zeros((size, size)),
        "white": np.full((size, size), 65535.0),
        "uniform noise": rng.uniform(0, 65535, (size, size)),
        "noise": 20000.0 + rng.normal(0, 2000, (size, size)),
        "quantum noise": rng.poisson(250, (size, size)) * 36.0,
        "ramp": u / size * 65535.0,
        "diagonal ramp": (u + v) / (2 * size) * 60000.0 + 1000.0,
        "spot": 60000.0 * np.exp(-((u - size / 2) ** 2 + (v - size / 2) ** 2) / (size / 2) ** 2),
        "squares": squares(8),
        "large squares": squares(64),
        "noisy squares": squares(32) / 2.0 + 10000.0 + rng.normal(0, 500, (size, size)),
        "letter": letter,
        "noisy letter": letter + rng.normal(0, 400, (size, size)),
        "blobs": blobs,
        "waves": 20000.0 + 8000.0 * np.sin(u / 20.0) * np.sin(v / 27.0),
        "clouds": 20000.0 + 3e5 * ndimage.gaussian_filter(rng.normal(size=(size, size)), 8),
        "counter": np.arange(size * size).reshape(size, size) % 65536,
        "lines": np.where((u % 64 < 3) | (v % 64 < 3), 5000.0, 30000.0),
    }
    return {name: np.clip(np.rint(picture), 0, 65535).astype(np.uint16) for name, picture in pictures.items()}
