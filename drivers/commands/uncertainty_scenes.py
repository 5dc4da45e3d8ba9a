"""What `guidance bench uncertainty` tries: the model, a turning C-arm, registrations of simulated pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from drivers.commands.fault_scene import Patient, own_cbct, procedural_patient, real_patient
from drivers.commands.uncertainty_trials import (
    PITCH_MM,
    ROWS,
    SOURCE_TO_DETECTOR_MM,
    SOURCE_TO_ISOCENTER_MM,
    Paths,
    Tally,
    told_matrix,
    true_matrix,
)
from guidance.config import UncertaintySettings
from guidance.messages import F64, AcceptedRegistration, Vector3
from guidance.registration.values import Registration, RegistrationView, motion_vector, small_motion
from guidance.registration.views import register_views
from guidance.registration.volume import RegistrationVolume, registration_volume
from guidance.uncertainty.frame import STANDING, PoseRate, frame_uncertainty, pose_rate
from guidance.uncertainty.values import NUMBERS, PoseUncertainty
from simulators.flexing_gantry import FlexingGantry
from simulators.scene import Exposure, poisson_picture

_ORIGIN: Final[Vector3] = (0.0, 0.0, 0.0)
_WAYS_MM: Final = 5.0  # offsets of registration's starts, uniform
_TURNS_DEG: Final = 4.0
_OTHER_VIEWS_DEG: Final = (25.0, 60.0)
_FRAME_MS: Final = 1000.0 / 15.0
# A gantry that departs from its angles by as much, seen in the picture, as the settings' defaults say.
_SAG_MM: Final = 0.3
_DETECTOR_SHIFT_MM: Final = 0.2
_DETECTOR_TILT_DEG: Final = 0.1

Suite = Literal["exact", "sags", "jumps"]


def model_trials(poses: int, draws: int, seed: int) -> Tally:
    """The propagation alone: errors drawn from covariances with correlations, up to degrees and millimetres.

    The size of each covariance is drawn too, over two decades: it holds for 0.03 mm and for 3 mm.
    """
    rng, tally = np.random.default_rng(seed), Tally()
    for _ in range(poses):
        told = told_matrix(float(rng.uniform(-180.0, 180.0)), float(rng.uniform(-40.0, 40.0)), _ORIGIN)
        paths = Paths(rng.normal(0.0, 30.0, (1, 3)), rng.normal(0.0, 30.0, (1, 3)))
        size = 10.0 ** rng.uniform(-1.5, 0.5)
        sigmas = size * rng.uniform(0.2, 1.0, NUMBERS) * ([1.0] * 3 + [0.7] * 3 + [2.0] * 2 + [0.004])
        root = rng.normal(size=(NUMBERS, NUMBERS)) / np.sqrt(NUMBERS) * sigmas
        pivot = rng.normal(0.0, 30.0, 3)
        x, y, z = pivot.tolist()
        uncertainty = PoseUncertainty(covariance=root.T @ root, pivot_lps_mm=(x, y, z))
        for _ in range(draws):
            tally.picture(paths, told, true_matrix(told, root.T @ rng.normal(size=NUMBERS), pivot), uncertainty)
    return tally


def timing_trials(runs: int, seed: int, settings: UncertaintySettings) -> Tally:
    """A C-arm that turns and stops and a table that goes, with geometry told for another moment than the exposure's.

    Each run has a speed of its own somewhere in its sway, and its braking. What is told is off by what the settings say
    beside that.
    """
    rng, tally = np.random.default_rng(seed), Tally()
    sigmas = _told_sigmas(settings)
    for _ in range(runs):
        sway = _Sway.drawn(rng)
        moment_s = rng.uniform(0.0, sway.period_s)
        before, now = sway.told(moment_s - _FRAME_MS / 1000.0), sway.told(moment_s)
        middle = sway.isocenter_mm(moment_s)
        x, y, z = middle.tolist()
        rate = pose_rate(_flat(before), _flat(now), _FRAME_MS, (x, y, z))
        uncertainty = frame_uncertainty(settings=settings, pivot_lps_mm=(x, y, z), columns=ROWS, rate=rate)
        exposed = sway.told(moment_s + rng.normal(0.0, settings.timing_ms) / 1000.0)
        true = true_matrix(exposed, sigmas * rng.normal(size=NUMBERS), middle)
        paths = Paths(middle + rng.normal(0.0, 40.0, (1, 3)), middle + rng.normal(0.0, 40.0, (1, 3)))
        tally.picture(paths, now, true, uncertainty)
    return tally


@dataclass(frozen=True, slots=True, eq=False)
class _Sway:
    """Angles as sines of the time, up to 10 to 60 deg/s, over a table that goes."""

    start_deg: F64
    swing_deg: F64
    period_s: float
    phase: F64
    table_mm_s: F64

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> _Sway:
        start = rng.uniform((-150.0, -20.0), (150.0, 20.0))
        swing = rng.uniform(10.0, 40.0, 2) * (1.0, 0.5)
        return cls(
            start, swing, float(rng.uniform(4.0, 10.0)), rng.uniform(0.0, 2.0 * np.pi, 2), rng.normal(0.0, 15.0, 3)
        )

    def isocenter_mm(self, time_s: float) -> F64:
        middle: F64 = self.table_mm_s * time_s
        return middle

    def told(self, time_s: float) -> F64:
        primary, secondary = self.start_deg + self.swing_deg * np.sin(2.0 * np.pi * time_s / self.period_s + self.phase)
        x, y, z = self.isocenter_mm(time_s).tolist()
        return told_matrix(float(primary), float(secondary), (x, y, z))


@dataclass(frozen=True, slots=True, eq=False)
class Lying:
    """A patient to be registered, and paths in it."""

    patient: Patient
    volume: RegistrationVolume
    paths: Paths


def lying_patients() -> tuple[Lying, ...]:
    """The real pelvis CT where it is at hand, and the procedural pelvis: nothing shall be tuned to one of them."""
    real = real_patient()
    return tuple(_lying(patient) for patient in (real, procedural_patient()) if patient is not None)


def _lying(patient: Patient) -> Lying:
    cbct = own_cbct(patient)
    ends = [np.array([path[key] for path in patient.paths], float) for key in ("entry_lps_mm", "target_lps_mm")]
    return Lying(patient, registration_volume(cbct.voxels_hu, cbct.affine_lps_from_ijk), Paths(ends[0], ends[1]))


@dataclass(slots=True, eq=False)
class Registered:
    """What came of registrations.

    Attributes:
        own: bands in the very views that were registered; other: in views turned away from them.
        squares: of each accepted registration, its error's square in units of its covariance (6 where that is true).
        sigmas: errors of the six numbers over their standard deviations.
        refused: by code.
    """

    own: Tally = field(default_factory=Tally)
    other: Tally = field(default_factory=Tally)
    squares: list[float] = field(default_factory=list)
    sigmas: list[list[float]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def take(self, other: Registered) -> None:
        """Count another patient's in."""
        self.own.take(other.own)
        self.other.take(other.other)
        for name in ("squares", "sigmas", "refused"):
            getattr(self, name).extend(getattr(other, name))


def registration_trials(
    lying: Lying,
    cases: int,
    views: int,
    seed: int,
    *,
    settings: UncertaintySettings,
    suite: Suite = "exact",
) -> Registered:
    """Registrations of simulated pictures by the product's own code, with the covariance that they tell.

    Args:
        views: of each registration; 1 (front or side) or 2.
        settings: as told to the product.
        suite: `exact`: what is told is true, and the product knows that; `sags`: a gantry whose departures from its
            angles vary smoothly, of the size that the settings say; `jumps`: errors as large, but of each view by
            itself, which is as bad for what a registration in one view can do for another as it can be. In the
            last two the C-arm turns in the other views.
    """
    rng, result = np.random.default_rng([seed, views]), Registered()
    told_settings = _exact(settings) if suite == "exact" else settings
    isocenter = lying.patient.middle_lps_mm
    for case in range(cases):
        way = np.concatenate((rng.uniform(-_WAYS_MM, _WAYS_MM, 3), rng.uniform(-_TURNS_DEG, _TURNS_DEG, 3)))
        motion = small_motion(way, np.array(isocenter))
        first_deg = rng.uniform(150.0, 210.0) if views > 1 or case % 2 else rng.uniform(60.0, 120.0)
        angles = [(first_deg - 85.0 * number, float(rng.uniform(-10.0, 10.0))) for number in range(views)]
        truth = _Truth(rng, suite, settings, isocenter)
        told = [told_matrix(*one, isocenter) for one in angles]
        true = [truth.matrix(*one) @ motion for one in angles]
        pictures = [exposed(lying.patient, matrix, ROWS, int(rng.integers(1 << 31))) for matrix in true]
        found = register_views(
            lying.volume,
            [
                RegistrationView(pixels=pixels, pixel_from_patient=matrix)
                for pixels, matrix in zip(pictures, told, strict=True)
            ],
        )
        if not found.accepted:
            result.refused.append(found.code)
            continue
        _judge(result, lying, found, motion, list(zip(told, true, strict=True)), told_settings, suite)
        moved = found.estimate.seen_lps_from_volume_lps
        accepted = accepted_of(found, told)
        for away_deg in _OTHER_VIEWS_DEG:
            side = float(rng.choice((-1.0, 1.0)))
            place = (angles[0][0] + side * away_deg, angles[0][1])
            other = told_matrix(*place, isocenter)
            rate, late = (STANDING, np.eye(4)) if suite == "exact" else turning(rng, settings, isocenter)
            uncertainty = _uncertainty(told_settings, accepted, other @ moved, isocenter, rate)
            result.other.picture(lying.paths, other @ moved, truth.matrix(*place) @ late @ motion, uncertainty)
    return result


def accepted_of(found: Registration, told: Sequence[F64]) -> AcceptedRegistration:
    """A registration as the case keeps it."""
    estimate = found.estimate
    x, y, z = estimate.pivot_lps_mm.tolist()
    return AcceptedRegistration(
        seen_lps_from_volume_lps=tuple(estimate.seen_lps_from_volume_lps.ravel().tolist()),
        pivot_lps_mm=(x, y, z),
        covariance=tuple(estimate.covariance.ravel().tolist()),
        residual_px=found.residual_px,
        views=tuple(_flat(matrix) for matrix in told),
    )


class _Truth:
    """Where a suite's views really are, against what they are told to be."""

    def __init__(
        self, rng: np.random.Generator, suite: Suite, settings: UncertaintySettings, isocenter: Vector3
    ) -> None:
        self._rng, self._suite, self._isocenter = rng, suite, isocenter
        self._sigmas = _told_sigmas(settings)
        shift_u, shift_v = rng.normal(0.0, _DETECTOR_SHIFT_MM, 2).tolist()
        tilt_u, tilt_v, roll = rng.normal(0.0, _DETECTOR_TILT_DEG, 3).tolist()
        self._gantry = FlexingGantry(
            source_to_detector_mm=SOURCE_TO_DETECTOR_MM,
            source_to_isocenter_mm=SOURCE_TO_ISOCENTER_MM,
            rows=ROWS,
            columns=ROWS,
            pitch_mm=PITCH_MM,
            detector_shift_mm=(shift_u, shift_v),
            detector_tilt_deg=(tilt_u, tilt_v, roll),
            sag_mm=_SAG_MM,
            seed=int(rng.integers(1 << 31)),
        )

    def matrix(self, primary_deg: float, secondary_deg: float) -> F64:
        """(3, 4), volume's points where they were at the CBCT -> pixel."""
        told = told_matrix(primary_deg, secondary_deg, self._isocenter)
        if self._suite == "exact":
            return told
        if self._suite == "jumps":
            return true_matrix(told, self._sigmas * self._rng.normal(size=NUMBERS), np.array(self._isocenter))
        # The patient lies supine, head first: the equipment's axes are the patient's.
        matrix = self._gantry.pixel_from_equipment(primary_deg, secondary_deg)
        matrix[:, 3] -= matrix[:, :3] @ np.array(self._isocenter)
        return matrix


def _judge(
    result: Registered,
    lying: Lying,
    found: Registration,
    motion: F64,
    views: Sequence[tuple[F64, F64]],
    settings: UncertaintySettings,
    suite: Suite,
) -> None:
    estimate, isocenter = found.estimate, lying.patient.middle_lps_mm
    moved = estimate.seen_lps_from_volume_lps
    error = motion_vector(motion @ np.linalg.inv(moved), estimate.pivot_lps_mm)
    result.squares.append(float(error @ np.linalg.solve(estimate.covariance, error)))
    result.sigmas.append((error / np.sqrt(np.diag(estimate.covariance))).tolist())
    accepted = accepted_of(found, [told for told, _ in views])
    for told, true in views:
        through = told @ moved
        uncertainty = _uncertainty(settings, accepted, through, isocenter, STANDING)
        result.own.picture(lying.paths, through, true, uncertainty)
        if suite == "exact":  # else part of a turn looks like a principal point, and neither is true by itself
            result.own.space(lying.paths.targets_mm, through, true, uncertainty)


def _uncertainty(
    settings: UncertaintySettings,
    accepted: AcceptedRegistration,
    through: F64,
    isocenter: Vector3,
    rate: PoseRate,
) -> PoseUncertainty:
    x, y, z = through[2, :3].tolist()
    found = frame_uncertainty(
        settings=settings,
        pivot_lps_mm=isocenter,
        columns=ROWS,
        registration=accepted,
        rate=rate,
        central_ray=(x, y, z),
    )
    assert isinstance(found, PoseUncertainty)
    return found


def turning(rng: np.random.Generator, settings: UncertaintySettings, isocenter: Vector3) -> tuple[PoseRate, F64]:
    """A rate of the C-arm, and what it does within the error of the timing as a motion of the patient before it."""
    rate = np.zeros(NUMBERS)
    rate[3:6] = rng.normal(0.0, 0.012, 3)  # deg per ms: 12 deg/s
    late = small_motion(rng.normal(0.0, settings.timing_ms) * rate[:6], np.array(isocenter))
    return tuple(rate.tolist()), late


def _told_sigmas(settings: UncertaintySettings) -> F64:
    principal_px = settings.principal_point_px * ROWS / 1024.0
    return np.array([settings.shift_mm] * 3 + [settings.turn_deg] * 3 + [principal_px] * 2 + [settings.focal_relative])


def _exact(settings: UncertaintySettings) -> UncertaintySettings:
    return UncertaintySettings(
        shift_mm=0.0, turn_deg=0.0, principal_point_px=0.0, focal_relative=0.0, timing_ms=settings.timing_ms
    )


def exposed(
    patient: Patient, pixel_from_patient: F64, size: int, seed: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    """A picture of `size` x `size` pixels with its noise."""
    exposure = Exposure()
    transmission = patient.scene.transmission(pixel_from_patient, (size, size), exposure.beam)
    return poisson_picture(transmission, exposure, seed)


def _flat(matrix: F64) -> tuple[float, ...]:
    return tuple(matrix.ravel().tolist())
