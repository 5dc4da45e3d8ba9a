"""Streams for `guidance bench consistency`: true and moved patients on simulated pictures, real and procedural."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from drivers.commands.demo_volume import find_or_fetch_pelvis
from guidance.consistency import FrameMeasurer, WatchVolume, watch_volume
from guidance.kernels.drr import ProjectionVolume
from guidance.messages import F64
from guidance.registration.values import IDENTITY, small_motion
from simulators.gantry import Gantry
from simulators.instruments import Cylinder
from simulators.pelvis import ProceduralPelvis
from simulators.scene import Exposure, Scene, poisson_picture
from simulators.volumes import HuVolume, load_nifti, resampled

SIZE: Final = 384  # three pixels a bin: as many bins as any larger picture has, in a ninth of the time
PITCH_MM: Final = 0.37  # of 1024 pixels
FIELD_MM: Final = (220.0, 220.0, 170.0)
SPACING_MM: Final = 1.0
# As seen from behind (prone patients), from the side, and between.
VIEWS: Final = ((180.0, 0.0), (145.0, 0.0), (90.0, 0.0), (-160.0, -20.0), (-90.0, 10.0), (170.0, 25.0))
_DOSE_PER_PIXEL: Final = 250.0  # of a picture of 1024
_BREATHS_PER_MIN: Final = 15.0
_PHASES: Final = 16


@dataclass(frozen=True, slots=True, eq=False)
class Patient:
    """Someone on the table.

    Attributes:
        name: for people.
        scene: all of the body.
        watch: what was made of the cone-beam volume, which holds a part of it.
        middle_lps_mm: isocentre, and middle of that volume.
        pivot_lps_mm: middle of its structure.
    """

    name: str
    scene: Scene
    watch: WatchVolume
    middle_lps_mm: F64
    pivot_lps_mm: F64

    def gantry(self, view: tuple[float, float], size: int = SIZE) -> Gantry:
        x, y, z = self.middle_lps_mm.tolist()
        pitch = PITCH_MM * 1024 / size
        return Gantry(
            primary_deg=view[0],
            secondary_deg=view[1],
            isocenter_lps_mm=(x, y, z),
            detector_rows=size,
            detector_columns=size,
            pitch_row_mm=pitch,
            pitch_column_mm=pitch,
        )

    def picture(
        self,
        gantry: Gantry,
        seed: int,
        motion: F64 = IDENTITY,
        *,
        dose: float = 1.0,
        level: float = 9000.0,
        kvp: float = 80.0,
        instruments: tuple[Cylinder, ...] = (),
    ) -> npt.NDArray[np.uint16]:
        """What the detector shows; `dose` times the usual one in every bin."""
        per_pixel = _DOSE_PER_PIXEL * dose * (1024 / gantry.detector_columns) ** 2
        exposure = Exposure(kvp=kvp, dose_photons=per_pixel, level=level)
        there = Scene(self.scene.volume, instruments)
        return poisson_picture(
            there.transmission(gantry.pixel_from_patient() @ motion, gantry.size, exposure.beam), exposure, seed
        )


def patients() -> tuple[list[Patient], list[str]]:
    """The real pelvis, where it can be had, and the procedural one; and in words what is missing."""
    found, missing = find_or_fetch_pelvis(), []
    volumes = []
    if found.path is not None:
        volumes.append(("real CT", load_nifti(found.path)))
    else:
        missing.append(found.reason)
    volumes.append(("procedural", ProceduralPelvis().volume(2.0)))
    return [_patient(name, volume) for name, volume in volumes], missing


def _patient(name: str, volume: HuVolume) -> Patient:
    middle = volume.center_lps_mm
    field = resampled(volume, spacing_mm=SPACING_MM, center_lps_mm=middle, size_mm=FIELD_MM)
    watch = watch_volume(field.voxels_hu, field.affine_lps_from_ijk)
    pivot = FrameMeasurer(watch).pivot_lps_mm
    return Patient(name, Scene(ProjectionVolume(volume.voxels_hu, volume.affine_lps_from_ijk)), watch, middle, pivot)


def across(gantry: Gantry, along_deg: float, size_mm: float, pivot_lps_mm: F64) -> F64:
    """The motion of the patient by so much across the central ray."""
    right, down, _ = gantry.axes_lps()
    turn = np.radians(along_deg)
    shift = size_mm * (np.cos(turn) * right + np.sin(turn) * down)
    return small_motion(np.concatenate((shift, np.zeros(3))), pivot_lps_mm)


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A picture of a stream with the geometry that is told for it, and how far its patient truly is."""

    pixels: npt.NDArray[np.uint16]
    told: F64
    seconds: float
    true_mm: float = 0.0


def clean_streams(patient: Patient, frames: int) -> Iterator[tuple[str, list[Shot]]]:
    """Streams in which nothing is wrong: no frame of them may raise anything."""
    for view in VIEWS[:: max(1, len(VIEWS) // 3)]:
        gantry = patient.gantry(view)
        told = gantry.pixel_from_patient()
        yield "still", [Shot(patient.picture(gantry, n), told, n / 15.0) for n in range(frames)]
        needle = _needle(patient.pivot_lps_mm, gantry)
        hand = _hand(patient.pivot_lps_mm, gantry)
        for name, things in (("needle comes in", needle), ("hand comes in", hand)):
            pictures = [patient.picture(gantry, n, instruments=things[: max(0, n - 1)]) for n in range(frames)]
            yield name, [Shot(picture, told, n / 15.0) for n, picture in enumerate(pictures)]
        exposures = [(1.0, 9000.0, 80.0), (0.06, 9000.0, 80.0), (1.0, 3000.0, 65.0), (4.0, 30000.0, 110.0)]
        yield (
            "exposure changes",
            [
                Shot(patient.picture(gantry, n, dose=dose, level=level, kvp=kvp), told, n / 15.0)
                for n, (dose, level, kvp) in enumerate(exposures)
            ],
        )
        yield "collimator closes", [_collimated(Shot(patient.picture(gantry, n), told, n / 15.0), n) for n in range(5)]
        turned = [
            replace(gantry, primary_deg=(view[0] + 4.0 * n + 180.0) % 360.0 - 180.0, secondary_deg=view[1] + 0.5 * n)
            for n in range(frames)
        ]
        yield "C-arm turns", [_told(patient, place, n) for n, place in enumerate(turned)]
        panned = [replace(gantry, table_mm=(3.0 * n, 0.0, -4.0 * n)) for n in range(frames)]
        yield "table pans", [_told(patient, place, n) for n, place in enumerate(panned)]


def breathing(patient: Patient, peak_to_peak_mm: float, seconds: float, rate_hz: float = 8.0) -> list[Shot]:
    """A patient who breathes, 15 a minute, seen from behind; along the body and a little across."""
    gantry = patient.gantry(VIEWS[0])
    told = gantry.pixel_from_patient()
    pictures = []
    for phase in range(_PHASES):
        off = peak_to_peak_mm / 2.0 * np.sin(2.0 * np.pi * phase / _PHASES)
        pictures.append((patient.picture(gantry, phase, across(gantry, 80.0, off, patient.pivot_lps_mm)), off))
    shots = []
    for n in range(int(seconds * rate_hz)):
        at = n / rate_hz
        picture, off = pictures[int(at * _BREATHS_PER_MIN / 60.0 * _PHASES) % _PHASES]
        shots.append(Shot(picture, told, at, abs(off)))
    return shots


def _told(patient: Patient, gantry: Gantry, n: int) -> Shot:
    return Shot(patient.picture(gantry, n), gantry.pixel_from_patient(), n / 15.0)


def _collimated(shot: Shot, n: int) -> Shot:
    pixels = shot.pixels.copy()
    side = 18 * n
    if side:
        pixels[:side] = pixels[-side:] = 0
        pixels[:, :side] = pixels[:, -side:] = 0
    return replace(shot, pixels=pixels)


def _needle(middle: F64, gantry: Gantry) -> tuple[Cylinder, ...]:
    """Steel needles and a wide cannula from the side, one more each time."""
    right, down, toward = gantry.axes_lps()
    found = []
    for n, diameter in enumerate((2.0, 4.0, 3.0, 6.0, 8.0, 3.0)):
        tip = middle + (8.0 * n - 20.0) * right + (6.0 * n - 10.0) * down
        found.append(_cylinder(tip, tip + 90.0 * right - (20.0 - 9.0 * n) * down + 40.0 * toward, diameter))
    return tuple(found)


def _hand(middle: F64, gantry: Gantry) -> tuple[Cylinder, ...]:
    """Fingers: flesh around bone, above the patient."""
    right, down, toward = gantry.axes_lps()
    found = []
    for n in range(4):
        tip = middle + (12.0 * n - 60.0) * right + (-55.0 + 19.0 * n) * down + 130.0 * toward
        end = tip - 100.0 * right + (14.0 * n - 20.0) * down
        found += [_cylinder(tip, end, 18.0, "soft_tissue"), _cylinder(tip, end, 8.0, "cortical_bone")]
    return tuple(found)


def _cylinder(start: F64, end: F64, diameter_mm: float, material: str = "stainless_steel") -> Cylinder:
    (sx, sy, sz), (ex, ey, ez) = start.tolist(), end.tolist()
    return Cylinder(start_lps_mm=(sx, sy, sz), end_lps_mm=(ex, ey, ez), diameter_mm=diameter_mm, material=material)
