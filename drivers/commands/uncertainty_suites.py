"""Simulated suites, calibrated by the product itself, for `guidance bench uncertainty`: the table, then all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from drivers.commands.calibrate import measured
from drivers.commands.calibrate_simulated import grid_deg, simulated_set
from drivers.commands.uncertainty_scenes import Lying, Registered, accepted_of, exposed, turning
from drivers.commands.uncertainty_trials import Paths, Tally
from guidance.calibration.phantom import built_in_phantom
from guidance.calibration.suite import calibrated_suite
from guidance.config import UncertaintySettings
from guidance.geometry.calibration_table import CalibrationTable
from guidance.messages import F64, AcceptedRegistration, EquipmentUncertainty
from guidance.registration.values import RegistrationView, small_motion
from guidance.registration.views import register_views
from guidance.uncertainty.frame import STANDING, PoseRate, frame_uncertainty
from guidance.uncertainty.values import FrameUncertainty
from simulators.flexing_gantry import FlexingGantry

_STEP_DEG: Final = 14.0
_PRIMARY_DEG: Final = 28.0
_SECONDARY_DEG: Final = 14.0
_EYE: Final = tuple(np.eye(3).ravel().tolist())


@dataclass(frozen=True, slots=True, eq=False)
class Suite:
    """A gantry that sags, and the table that came of calibrating it."""

    gantry: FlexingGantry
    table: CalibrationTable

    def told(self, primary_deg: float, secondary_deg: float) -> F64:
        """(3, 4), equipment's axes and isocentre."""
        return self.table.pixel_from_equipment(
            primary_deg=primary_deg,
            secondary_deg=secondary_deg,
            detector_rotation_deg=0.0,
            source_to_detector_mm=self.gantry.source_to_detector_mm,
            rows=self.gantry.rows,
            columns=self.gantry.columns,
        )

    def true(self, primary_deg: float, secondary_deg: float) -> F64:
        """The same of another approach than the one that was calibrated."""
        return self.gantry.pixel_from_equipment(primary_deg, secondary_deg, approach=1)

    def calibration(self, primary_deg: float, secondary_deg: float) -> EquipmentUncertainty:
        """What the table says of itself."""
        covariance = self.table.covariance_at(
            primary_deg=primary_deg,
            secondary_deg=secondary_deg,
            detector_rotation_deg=0.0,
            source_to_detector_mm=self.gantry.source_to_detector_mm,
        )
        assert covariance is not None
        return EquipmentUncertainty(covariance=tuple(covariance.ravel().tolist()), lps_from_equipment=_EYE)


def calibrated_suites(count: int, seed: int) -> list[Suite]:
    """Each from 15 simulated pictures of the built-in phantom, by the product's own calibration."""
    phantom, suites = built_in_phantom(), []
    for number in range(count):
        poses = grid_deg(_STEP_DEG, _PRIMARY_DEG, _SECONDARY_DEG)
        made = simulated_set(phantom, seed=seed + number, poses_deg=poses)
        views = measured(phantom, list(made.pictures))
        done = calibrated_suite(phantom, views, equipment_from_phantom=made.equipment_from_phantom)
        suites.append(Suite(made.gantry, done.table))
    return suites


def calibration_trials(suites: Sequence[Suite], poses: int, seed: int) -> Tally:
    """Paths about the isocentre in views between the calibrated ones, standing."""
    rng, tally = np.random.default_rng(seed), Tally()
    for suite in suites:
        for _ in range(poses):
            place = _place(rng)
            paths = Paths(rng.normal(0.0, 30.0, (1, 3)), rng.normal(0.0, 30.0, (1, 3)))
            uncertainty = frame_uncertainty(
                settings=UncertaintySettings(),
                pivot_lps_mm=(0.0, 0.0, 0.0),
                columns=suite.gantry.columns,
                calibration=suite.calibration(*place),
            )
            tally.picture(paths, suite.told(*place), suite.true(*place), uncertainty)
    return tally


def combined_trials(
    suites: Sequence[Suite], lying: Lying, cases: int, seed: int, settings: UncertaintySettings
) -> Registered:
    """All at once: told by the calibration table, registered in two views by the product, C-arm turning in others.

    Args:
        cases: registrations for each suite.
    """
    rng, result = np.random.default_rng(seed), Registered()
    isocenter = np.array(lying.patient.middle_lps_mm)
    for suite in suites:
        for _ in range(cases):
            way = np.concatenate((rng.uniform(-5.0, 5.0, 3), rng.uniform(-4.0, 4.0, 3)))
            motion = small_motion(way, isocenter)
            places = [(float(rng.uniform(-28.0, -20.0)), 0.0), (float(rng.uniform(20.0, 28.0)), 0.0)]
            told = [_of_patient(suite.told(*place), isocenter) for place in places]
            true = [_of_patient(suite.true(*place), isocenter) @ motion for place in places]
            size = suite.gantry.rows
            pictures = [exposed(lying.patient, matrix, size, int(rng.integers(1 << 31))) for matrix in true]
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
            moved, accepted = found.estimate.seen_lps_from_volume_lps, accepted_of(found, told)
            for place, matrix, truth in zip(places, told, true, strict=True):
                uncertainty = _uncertainty(suite, lying, settings, accepted, place, matrix @ moved, STANDING)
                result.own.picture(lying.paths, matrix @ moved, truth, uncertainty)
            for _ in range(4):
                place = _place(rng)
                rate, late = turning(rng, settings, lying.patient.middle_lps_mm)
                through = _of_patient(suite.told(*place), isocenter) @ moved
                truth = _of_patient(suite.true(*place), isocenter) @ late @ motion
                uncertainty = _uncertainty(suite, lying, settings, accepted, place, through, rate)
                result.other.picture(lying.paths, through, truth, uncertainty)
    return result


def _place(rng: np.random.Generator) -> tuple[float, float]:
    return float(rng.uniform(-_PRIMARY_DEG, _PRIMARY_DEG)), float(rng.uniform(-_SECONDARY_DEG, _SECONDARY_DEG))


def _of_patient(pixel_from_equipment: F64, isocenter_lps_mm: F64) -> F64:
    """The patient lies supine, head first: the equipment's axes are the patient's."""
    matrix = pixel_from_equipment.copy()
    matrix[:, 3] -= matrix[:, :3] @ isocenter_lps_mm
    return matrix


def _uncertainty(
    suite: Suite,
    lying: Lying,
    settings: UncertaintySettings,
    accepted: AcceptedRegistration,
    place: tuple[float, float],
    through: F64,
    rate: PoseRate,
) -> FrameUncertainty:
    x, y, z = through[2, :3].tolist()
    return frame_uncertainty(
        settings=settings,
        pivot_lps_mm=lying.patient.middle_lps_mm,
        columns=suite.gantry.columns,
        registration=accepted,
        calibration=suite.calibration(*place),
        rate=rate,
        central_ray=(x, y, z),
    )
