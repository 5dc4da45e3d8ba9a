"""The suite of `guidance bench registration`: patients, their CBCT, radiographs with all that is in the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from drivers.commands.demo_volume import find_or_fetch_pelvis
from guidance.kernels.drr import ProjectionVolume
from guidance.messages import F64
from guidance.registration.values import RegistrationView, small_motion
from guidance.registration.volume import RegistrationVolume, registration_volume
from simulators.cbct import DEFAULT_FIELD_MM, cbct_volume
from simulators.gantry import Gantry
from simulators.instruments import Cylinder
from simulators.pelvis import ProceduralPelvis
from simulators.pelvis_anatomy import DYSMORPHIC
from simulators.scene import Exposure, Scene, poisson_picture
from simulators.volumes import HuVolume, load_nifti

Angles = tuple[float, float]
Display = Literal["LIN", "LOG", "DISP", "DISP inverted"]

SHIFT_MM: Final = 10.0
TURN_DEG: Final = 8.0
"""Offsets are uniform in plus and minus this, along and about each axis."""

# Middle of the sacrum in the real CT, from its own labels; targets lie around it as paths would.
_SACRUM_LPS_MM: Final = np.array((-1.0, -82.0, 204.0))
_TARGETS_MM: Final = np.stack(
    np.meshgrid((-40.0, 0.0, 40.0), (-25.0, 0.0, 25.0), (-45.0, 0.0, 45.0), indexing="ij"), axis=-1
).reshape(-1, 3)


@dataclass(frozen=True, slots=True, eq=False)
class Patient:
    """Somebody to be registered.

    Attributes:
        name: for the table.
        whole: all of the patient, as the live pictures show it.
        cbct: what was scanned of it.
        volume: that, made ready.
        middle_lps_mm: of the sacrum.
    """

    name: str
    whole: HuVolume
    scene: ProjectionVolume
    cbct: HuVolume
    volume: RegistrationVolume
    middle_lps_mm: F64

    @property
    def targets_lps_mm(self) -> F64:
        """(N, 3) where paths lie."""
        return np.asarray(self.middle_lps_mm + _TARGETS_MM, np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """One kind of case.

    Attributes:
        name: for the table.
        patient: `pelvis`, `procedural` or `dysmorphic`.
        views: primary and secondary angles.
        photons: detected per pixel behind the patient.
        contents: of `table`, `hands`, `instruments`, `collimator`.
        display: how the picture is sent.
        kvp: tube voltage.
        zoom: electronic magnification.
    """

    name: str
    patient: str
    views: tuple[Angles, ...]
    photons: float = 250.0
    contents: tuple[str, ...] = ()
    display: Display = "LIN"
    kvp: float = 80.0
    zoom: float = 1.0


AP_LATERAL: Final = ((180.0, 0.0), (90.0, 0.0))
OBLIQUE: Final = ((180.0, 25.0), (140.0, -10.0))
_BUSY: Final = ("table", "hands", "instruments")

SETUPS: Final = (
    Setup(name="AP + lateral", patient="pelvis", views=AP_LATERAL),
    Setup(name="AP + lateral, busy, low dose", patient="pelvis", views=AP_LATERAL, photons=80.0, contents=_BUSY),
    Setup(name="40 deg apart", patient="pelvis", views=((180.0, 0.0), (140.0, 0.0))),
    Setup(name="inlet + oblique, busy", patient="pelvis", views=OBLIQUE, photons=120.0, contents=_BUSY),
    Setup(name="AP + lateral, collimated", patient="pelvis", views=AP_LATERAL, contents=("table", "collimator")),
    Setup(name="AP + lateral, 8 bit inverted", patient="pelvis", views=AP_LATERAL, display="DISP inverted"),
    Setup(name="70 deg apart, zoom 1.5, 110 kV", patient="pelvis", views=((180.0, 0.0), (110.0, 10.0)), kvp=110.0,
          zoom=1.5),
    Setup(name="AP + lateral", patient="procedural", views=AP_LATERAL),
    Setup(name="inlet + oblique, busy, low dose", patient="procedural", views=OBLIQUE, photons=80.0, contents=_BUSY),
    Setup(name="60 deg apart, collimated, 8 bit", patient="dysmorphic", views=((150.0, 0.0), (-150.0, 5.0)),
          contents=("table", "collimator"), display="DISP"),
    Setup(name="three views, busy", patient="pelvis", views=(*AP_LATERAL, (-135.0, 0.0)), contents=_BUSY),
    Setup(name="AP", patient="pelvis", views=AP_LATERAL[:1]),
    Setup(name="AP, busy, low dose", patient="pelvis", views=AP_LATERAL[:1], photons=80.0, contents=_BUSY),
    Setup(name="lateral", patient="pelvis", views=AP_LATERAL[1:]),
    Setup(name="oblique", patient="pelvis", views=((135.0, 15.0),)),
    Setup(name="AP", patient="procedural", views=AP_LATERAL[:1]),
    Setup(name="lateral, busy", patient="dysmorphic", views=AP_LATERAL[1:], contents=_BUSY),
)  # fmt: skip


@lru_cache(maxsize=4)
def patient_of(name: str, spacing_mm: float) -> tuple[Patient, str]:
    """The patient and what is said of it: the real CT is replaced by the procedural pelvis where it cannot be had."""
    said = ""
    if name == "pelvis":
        found = find_or_fetch_pelvis()
        said = found.reason
        if found.path is None:
            name = "procedural"
            said += "; the procedural pelvis stands in"
        else:
            whole, middle = load_nifti(found.path), _SACRUM_LPS_MM
    if name != "pelvis":
        anatomy = ProceduralPelvis(DYSMORPHIC) if name == "dysmorphic" else ProceduralPelvis()
        whole, middle = anatomy.volume(1.5), np.zeros(3)
    cbct = cbct_volume(whole, spacing_mm=spacing_mm, center_lps_mm=middle, field_mm=DEFAULT_FIELD_MM)
    scene = ProjectionVolume(whole.voxels_hu, whole.affine_lps_from_ijk)
    ready = registration_volume(cbct.voxels_hu, cbct.affine_lps_from_ijk)
    return Patient(name, whole, scene, cbct, ready, middle), said


@dataclass(slots=True, eq=False)
class Radiographs:
    """The noise-free pictures of one setup, and pictures with noise and offsets made from them.

    Args:
        setup: what.
        patient: who.
        seed: of isocentre and contents.
    """

    setup: Setup
    patient: Patient
    seed: int
    geometry: list[F64] = field(init=False)
    clean: list[Any] = field(init=False)
    pivot_lps_mm: F64 = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.seed, 17])
        middle = self.patient.middle_lps_mm
        isocenter = middle + rng.uniform(-12.0, 12.0, 3)
        scene = Scene(self.patient.scene, _contents(self.setup.contents, middle, rng))
        self.geometry, self.clean, self.pivot_lps_mm = [], [], isocenter
        for primary, secondary in self.setup.views:
            gantry = Gantry(
                primary_deg=primary,
                secondary_deg=secondary,
                isocenter_lps_mm=(isocenter[0], isocenter[1], isocenter[2]),
            ).zoomed(self.setup.zoom)
            matrix = gantry.pixel_from_patient()
            self.geometry.append(matrix)
            self.clean.append(scene.transmission(matrix, gantry.size, self._exposure.beam, threads=2))

    @property
    def _exposure(self) -> Exposure:
        return Exposure(kvp=self.setup.kvp, dose_photons=self.setup.photons)

    def case(self, seed: int) -> tuple[list[RegistrationView], F64]:
        """Views as told with an offset, and the true M."""
        rng = np.random.default_rng([self.seed, seed, 23])
        offset = rng.uniform(-1.0, 1.0, 6) * np.repeat((SHIFT_MM, TURN_DEG), 3)
        truth = small_motion(offset, self.pivot_lps_mm)
        told_from_true = np.linalg.inv(truth)
        views = []
        for n, (clean, matrix) in enumerate(zip(self.clean, self.geometry, strict=True)):
            pixels = poisson_picture(clean, self._exposure, seed * 16 + n)
            if "collimator" in self.setup.contents:
                _close_blades(pixels, rng)
            sent, intensity, sign = _displayed(pixels, self.setup.display)
            views.append(
                RegistrationView(
                    pixels=sent,
                    pixel_from_patient=matrix @ told_from_true,
                    intensity=intensity,
                    sign=sign,
                    name=f"view {n + 1}",
                )
            )
        return views, truth


def changed(views: Sequence[RegistrationView], change: Callable[[npt.NDArray[Any]], Any]) -> list[RegistrationView]:
    """The same geometry with other pixels."""
    return [
        RegistrationView(
            pixels=np.ascontiguousarray(change(view.pixels)),
            pixel_from_patient=view.pixel_from_patient,
            intensity=view.intensity,
            sign=view.sign,
            name=view.name,
        )
        for view in views
    ]


def _displayed(pixels: npt.NDArray[Any], display: Display) -> tuple[npt.NDArray[Any], Any, Any]:
    """As a suite would send it: linear, or windowed to 8 bits with a display curve."""
    if display == "LIN":
        return pixels, "LIN", 1
    logarithm = np.log(np.maximum(pixels, 30).astype(np.float32))
    if display == "LOG":
        return np.asarray(logarithm * 4000.0, np.uint16), "LOG", 1
    low, high = np.percentile(logarithm[::8, ::8], (0.5, 99.5))
    grey = np.clip((logarithm - low) / max(float(high - low), 1e-3), 0.0, 1.0) ** 0.8 * 255.0
    return (np.asarray(255.0 - grey, np.uint8), "DISP", -1) if display == "DISP inverted" else (
        np.asarray(grey, np.uint8), "DISP", 1
    )  # fmt: skip


def _close_blades(pixels: npt.NDArray[Any], rng: np.random.Generator) -> None:
    """Four blades, 4 to 18 % in from each side; what leaks through is 1 % with its own noise."""
    rows, columns = pixels.shape
    shares = rng.uniform(0.04, 0.18, 4)
    top, bottom = int(shares[0] * rows), rows - int(shares[1] * rows)
    left, right = int(shares[2] * columns), columns - int(shares[3] * columns)
    outside = np.ones(pixels.shape, bool)
    outside[top:bottom, left:right] = False
    leak = 90.0 + 12.0 * rng.standard_normal(int(np.count_nonzero(outside)), np.float32)
    pixels[outside] = np.maximum(leak, 0.0).astype(pixels.dtype)


def _contents(kinds: tuple[str, ...], middle: F64, rng: np.random.Generator) -> tuple[Cylinder, ...]:
    result: list[Cylinder] = []

    def rod(start: F64, end: F64, diameter_mm: float, material: str) -> None:
        result.append(
            Cylinder(
                start_lps_mm=(float(start[0]), float(start[1]), float(start[2])),
                end_lps_mm=(float(end[0]), float(end[1]), float(end[2])),
                diameter_mm=diameter_mm,
                material=material,
            )
        )

    if "instruments" in kinds:
        for diameter_mm in (2.0, 3.0, 8.0):
            tip = middle + rng.uniform(-40.0, 40.0, 3)
            axis = rng.standard_normal(3)
            rod(tip, tip + 150.0 * axis / np.linalg.norm(axis), diameter_mm, "stainless_steel")
    if "hands" in kinds:
        palm = middle + rng.uniform(-30.0, 30.0, 3) + np.array((-40.0, 120.0, -40.0))
        for finger in range(4):
            root = palm + np.array((21.0 * finger, 0.0, 0.0))
            tip = root + np.array((rng.uniform(-15.0, 15.0), 0.0, 75.0))
            rod(root, tip, 17.0, "soft_tissue")
            rod(root, tip, 7.0, "cortical_bone")
    half = np.array((0.0, 0.0, 300.0))
    if "table" in kinds:  # two foam-filled edges and a steel rail under a prone patient's front
        for x_mm in (-150.0, 150.0):
            edge = middle + np.array((x_mm, -130.0, 0.0))
            rod(edge - half, edge + half, 30.0, "soft_tissue")
        rail = middle + np.array((-210.0, -130.0, 0.0))
        rod(rail - half, rail + half, 10.0, "stainless_steel")
    return tuple(result)
