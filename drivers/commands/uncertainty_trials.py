"""Trials of uncertainty: what is told, what is true, and whether the difference lies within the band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from guidance.geometry.camera import ConeBeamCamera, decomposed, project
from guidance.geometry.detector import Detector
from guidance.geometry.positioner import CArmPose, wrap_deg
from guidance.messages import F64, Vector3
from guidance.registration.values import small_motion
from guidance.uncertainty.band import SIGMAS_95, path_bands
from guidance.uncertainty.space import half_width_mm, sphere_mm
from guidance.uncertainty.values import FrameUncertainty, PoseUncertainty

ROWS: Final = 768
PITCH_MM: Final = 0.4
SOURCE_TO_DETECTOR_MM: Final = 1195.0
SOURCE_TO_ISOCENTER_MM: Final = 750.0
LEVELS: Final = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99)
"""Predicted shares, in percent."""


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """Paths whose bands are tried; (N, 3) each."""

    entries_mm: F64
    targets_mm: F64


def told_matrix(primary_deg: float, secondary_deg: float, isocenter_lps_mm: Vector3) -> F64:
    """(3, 4) of a pose as a suite tells it."""
    return ConeBeamCamera(
        pose=CArmPose(
            primary_angle_deg=wrap_deg(primary_deg),
            secondary_angle_deg=secondary_deg,
            source_to_detector_mm=SOURCE_TO_DETECTOR_MM,
            source_to_isocenter_mm=SOURCE_TO_ISOCENTER_MM,
        ),
        detector=Detector(rows=ROWS, columns=ROWS, pitch_row_mm=PITCH_MM, pitch_column_mm=PITCH_MM),
        isocenter_lps_mm=isocenter_lps_mm,
    ).pixel_from_patient


def true_matrix(told: F64, error: F64, pivot_lps_mm: F64) -> F64:
    """(3, 4) of the truth beside what is told, exactly: no first order in it.

    Args:
        error: (9,) as in `PoseUncertainty.covariance`.
    """
    focal, (u, v) = 1.0 + error[8], told[:2, :3] @ told[2, :3]
    picture = np.array(
        ((focal, 0.0, u - focal * u + error[6]), (0.0, focal, v - focal * v + error[7]), (0.0, 0.0, 1.0))
    )
    matrix: F64 = picture @ told @ small_motion(error[:6], pivot_lps_mm)
    return matrix


@dataclass(slots=True, eq=False)
class Tally:
    """Errors of many trials beside their bands.

    Attributes:
        across: error across the path over the band's half-width; signed.
        disc: distance in the picture over the disc's radius.
        error_mm, band_mm: across, at the path's depth.
        place, along_ray: error in space over the ball's radius, and along the ray over the half-width along it.
        unknown: frames whose uncertainty is unknown.
    """

    across: list[F64] = field(default_factory=list)
    disc: list[F64] = field(default_factory=list)
    error_mm: list[F64] = field(default_factory=list)
    band_mm: list[F64] = field(default_factory=list)
    place: list[F64] = field(default_factory=list)
    along_ray: list[F64] = field(default_factory=list)
    unknown: int = 0

    def picture(self, paths: Paths, told: F64, true: F64, uncertainty: FrameUncertainty) -> None:
        """One frame: paths are drawn by `told` and lie where `true` says."""
        if not isinstance(uncertainty, PoseUncertainty):
            self.unknown += 1
            return
        bands = path_bands(paths.entries_mm, paths.targets_mm, told, uncertainty)
        count, samples = bands.across_px.shape
        parts = np.linspace(0.0, 1.0, samples)[:, None]
        points = (paths.entries_mm[:, None] + parts * (paths.targets_mm - paths.entries_mm)[:, None]).reshape(-1, 3)
        error = (project(points, true)[:, :2] - project(points, told)[:, :2]).reshape(count, samples, 2)
        normal = np.stack((-bands.way[:, 1], bands.way[:, 0]), axis=1)[:, None]
        across = (error * normal).sum(axis=2)
        per_px = bands.depth_mm / bands.focal_px
        self.across.append((across / bands.across_px).ravel())
        self.disc.append((np.hypot(error[..., 0], error[..., 1]) * per_px / bands.disc_mm).ravel())
        self.error_mm.append((np.abs(across) * per_px).ravel())
        self.band_mm.append(bands.across_mm.ravel())

    def space(self, points_mm: F64, told: F64, true: F64, uncertainty: FrameUncertainty) -> None:
        """Places in the patient as the source and the detector stand to them: what both matrices are, lens aside."""
        if not isinstance(uncertainty, PoseUncertainty):
            return
        first, second = decomposed(told), decomposed(true)
        turn = first.axes.T @ second.axes
        error = points_mm @ turn.T + first.axes.T @ (second.translation_mm - first.translation_mm) - points_mm
        self.place.append(np.linalg.norm(error, axis=1) / sphere_mm(points_mm, uncertainty))
        self.along_ray.append((error @ told[2, :3]) / half_width_mm(points_mm, told[2, :3], uncertainty))

    def take(self, other: Tally) -> None:
        """Count another's trials in."""
        for name in ("across", "disc", "error_mm", "band_mm", "place", "along_ray"):
            getattr(self, name).extend(getattr(other, name))
        self.unknown += other.unknown

    def shares(self) -> list[float | None]:
        """Observed share, percent, within the band across for each of `LEVELS`."""
        if not self.across:
            return [None] * len(LEVELS)
        sigmas = np.abs(np.concatenate(self.across)) * SIGMAS_95
        return [round(100.0 * float(np.mean(sigmas <= normal_limit(level / 100.0))), 2) for level in LEVELS]

    @property
    def coverage(self) -> float | None:
        """Percent within the 95 % band across the path."""
        return _percent(self.across)

    @property
    def coverage_disc(self) -> float | None:
        """Percent within the 95 % disc."""
        return _percent(self.disc)

    @property
    def coverage_place(self) -> float | None:
        """Percent within the 95 % ball in space."""
        return _percent(self.place)

    @property
    def coverage_depth(self) -> float | None:
        """Percent within the 95 % half-width along the ray."""
        return _percent(self.along_ray)

    @property
    def scale(self) -> float | None:
        """By what the bands would have to be multiplied to hold 95 %."""
        return float(np.percentile(np.abs(np.concatenate(self.across)), 95)) if self.across else None

    @property
    def band_median_mm(self) -> float | None:
        """Half-width across, at the path's depth."""
        return round(float(np.median(np.concatenate(self.band_mm))), 4) if self.band_mm else None

    @property
    def error_p95_mm(self) -> float | None:
        """What 95 % of the true errors across stay below."""
        return round(float(np.percentile(np.concatenate(self.error_mm), 95)), 4) if self.error_mm else None

    @property
    def samples(self) -> int:
        """Points that were tried; those of one frame err together."""
        return sum(len(one) for one in self.across)


def normal_limit(share: float) -> float:
    """Standard deviations to either side that hold a share of a normal distribution."""
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _held(middle) < share else (low, middle)
    return (low + high) / 2.0


def _held(limit: float) -> float:
    return math.erf(limit / math.sqrt(2.0))


def _percent(ratios: Sequence[F64]) -> float | None:
    return 100.0 * float(np.mean(np.abs(np.concatenate(ratios)) <= 1.0)) if ratios else None
