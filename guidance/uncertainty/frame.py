"""The uncertainty of one frame, put together from calibration, registration and timing; measures nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from guidance.config import UncertaintySettings
from guidance.errors import GeometryError
from guidance.geometry.camera import CameraParts, decomposed
from guidance.messages import F64, AcceptedRegistration, EquipmentUncertainty, Matrix34, Vector3
from guidance.registration.values import motion_vector
from guidance.uncertainty.registered import left_of_told, likeness, taken_up
from guidance.uncertainty.values import NUMBERS, FrameUncertainty, PoseUncertainty, UncertaintyUnknown

PoseRate = tuple[float, ...]
"""Nine numbers per ms, in the order of `PoseUncertainty.covariance`, about a pivot of the frame's own."""

STANDING: Final[PoseRate] = (0.0,) * NUMBERS
_REFERENCE_COLUMNS: Final = 1024.0  # settings' px are of a picture so wide
_KEPT: Final = 64
_ROUNDING: Final = 1e-9  # part of the largest eigenvalue that a sum of covariances may be negative by


def pose_rate(before: Matrix34, after: Matrix34, interval_ms: float, pivot_lps_mm: Vector3) -> PoseRate:
    """How fast the geometry goes between two neighbouring frames; C-arm and table alike.

    Args:
        before, after: `pixel_from_patient` of both, `normalised`.
        interval_ms: between them by the sender's clock, or by ours.
        pivot_lps_mm: about which the turns of the answer turn: the one given to `frame_uncertainty`.

    Returns:
        Per ms: the small motion of the patient's points that makes the frame before into the one after, and of the
        picture. All 0 where both are the same, or where there is no interval.
    """
    if before == after or not interval_ms > 0.0:
        return STANDING
    try:
        first, second = _parts(before), _parts(after)
    except GeometryError:
        return STANDING  # a frame with such a matrix is withheld; nothing is drawn that it could be wrong about
    motion = np.eye(4)
    motion[:3, :3] = first.axes.T @ second.axes
    motion[:3, 3] = first.axes.T @ (second.translation_mm - first.translation_mm)
    rigid = motion_vector(motion, np.array(pivot_lps_mm)).tolist()
    (u, v), (u_before, v_before) = second.principal_point_px, first.principal_point_px
    picture = (u - u_before, v - v_before, second.focal_v_px / first.focal_v_px - 1.0)
    return tuple([number / interval_ms for number in (*rigid, *picture)])


def frame_uncertainty(
    *,
    settings: UncertaintySettings,
    pivot_lps_mm: Vector3,
    columns: int,
    registration: AcceptedRegistration | None = None,
    calibration: EquipmentUncertainty | None = None,
    rate: PoseRate = STANDING,
    central_ray: Vector3 | None = None,
) -> FrameUncertainty:
    """How well one frame's geometry is known.

    The three are taken as independent, so their covariances add. Of the told geometry's own error there remains what
    registration, made in other views or in this one, has not taken up (`uncertainty.registered`).

    Args:
        settings: one-sigma values of the told geometry, used without `calibration`; and of timing.
        pivot_lps_mm: the isocentre, patient LPS, where the told geometry turns about; the volume's middle where it is
            not known.
        columns: of the picture as sent.
        registration: that is in the frame's matrix.
        calibration: where the told geometry comes from a calibration table with a covariance.
        rate: from `pose_rate`, with the same pivot.
        central_ray: from source to detector, of any length, in the volume's frame: columns 0 to 2 of the third row of
            the frame's `pixel_from_patient`; None: the told geometry's error counts in full.

    Returns:
        The same object for the same arguments; unknown where a covariance is none.
    """
    alike: tuple[float, ...] = ()
    if registration is not None and registration.views and central_ray is not None:
        alike = _likeness(central_ray, registration)
    return _frame_uncertainty(settings, pivot_lps_mm, columns, registration, calibration, alike, rate)


def _likeness(central_ray: Vector3, registration: AcceptedRegistration) -> tuple[float, ...]:
    """How alike the told errors of this frame and of each registered view are, to hundredths: while it stays, nothing
    is worked out anew."""
    rotation = np.array(registration.seen_lps_from_volume_lps).reshape(4, 4)[:3, :3]
    rays = np.array([view[8:11] for view in registration.views])
    return tuple(likeness((rotation @ np.array(central_ray))[None], rays)[0].round(2).tolist())


@lru_cache(maxsize=_KEPT)
def _frame_uncertainty(
    settings: UncertaintySettings,
    pivot_lps_mm: Vector3,
    columns: int,
    registration: AcceptedRegistration | None,
    calibration: EquipmentUncertainty | None,
    alike: tuple[float, ...],
    rate: PoseRate,
) -> FrameUncertainty:
    standing = _standing(settings, pivot_lps_mm, columns, registration, calibration, alike)
    if rate == STANDING or isinstance(standing, UncertaintyUnknown):
        return standing
    moved = settings.timing_ms * np.array(rate)
    if not np.isfinite(moved).all():
        return UncertaintyUnknown(reason="the geometry's speed is not finite")
    covariance = standing.covariance + moved[:, None] * moved
    covariance.flags.writeable = False
    return PoseUncertainty(covariance=covariance, pivot_lps_mm=pivot_lps_mm)


@lru_cache(maxsize=_KEPT)
def _standing(
    settings: UncertaintySettings,
    pivot_lps_mm: Vector3,
    columns: int,
    registration: AcceptedRegistration | None,
    calibration: EquipmentUncertainty | None,
    alike: tuple[float, ...],
) -> FrameUncertainty:
    pivot = np.array(pivot_lps_mm)
    seen_lps_from_volume_lps = np.eye(4)
    if registration is not None:
        seen_lps_from_volume_lps = np.array(registration.seen_lps_from_volume_lps).reshape(4, 4)
    told = _told(settings, columns) if calibration is None else _calibrated(calibration)
    if told is None:
        return UncertaintyUnknown(reason="the calibration's covariance cannot be used")
    isocenter = pivot_lps_mm
    if calibration is not None and calibration.isocenter_lps_mm is not None:
        isocenter = calibration.isocenter_lps_mm
    if alike and registration is not None:
        told = left_of_told(told, *_of_views(registration.views, registration.pivot_lps_mm, isocenter), alike)
    covariance = _before_motion(told, np.array(isocenter), seen_lps_from_volume_lps, pivot)
    if registration is not None:
        own = _covariance(registration.covariance, 6)
        if own is None:
            return UncertaintyUnknown(reason="the registration's covariance cannot be used")
        whole = np.zeros((NUMBERS, NUMBERS))
        whole[:6, :6] = own
        covariance += _before_motion(whole, np.array(registration.pivot_lps_mm), seen_lps_from_volume_lps, pivot)
    if not np.isfinite(covariance).all():
        return UncertaintyUnknown(reason="the covariance is not finite")
    if not covariance.any():
        return UncertaintyUnknown(reason="nothing is told of the geometry's accuracy")
    covariance.flags.writeable = False
    return PoseUncertainty(covariance=covariance, pivot_lps_mm=pivot_lps_mm)


@lru_cache(maxsize=8)
def _of_views(
    views: tuple[Matrix34, ...], middle_lps_mm: Vector3, pivot_lps_mm: Vector3
) -> tuple[tuple[F64, ...], F64]:
    matrices = [np.array(view).reshape(3, 4) for view in views]
    rays = np.array([matrix[2, :3] for matrix in matrices])
    motions = taken_up(matrices, np.array(middle_lps_mm), np.array(pivot_lps_mm))
    return tuple(motions), likeness(rays, rays)


@lru_cache(maxsize=_KEPT)
def _parts(matrix: Matrix34) -> CameraParts:
    return decomposed(np.array(matrix).reshape(3, 4))


def transported(from_pivot_mm: F64, to_pivot_mm: F64) -> F64:
    """(9, 9) that writes a small motion about one pivot as the same one about another.

    Turns stay; the shift takes up what the turn does to the new pivot: s' = s + turn x (to - from).
    """
    x, y, z = np.radians(to_pivot_mm - from_pivot_mm).tolist()
    matrix = np.eye(NUMBERS)
    matrix[:3, 3:6] = ((0.0, z, -y), (-z, 0.0, x), (y, -x, 0.0))
    return matrix


def _before_motion(covariance: F64, pivot_mm: F64, seen_lps_from_volume_lps: F64, to_pivot_mm: F64) -> F64:
    """What is known of small motions after M about a pivot, as one of small motions before M about another."""
    rotation = seen_lps_from_volume_lps[:3, :3]
    turned = np.eye(NUMBERS)
    turned[:3, :3] = turned[3:6, 3:6] = rotation.T
    volume_pivot = rotation.T @ (pivot_mm - seen_lps_from_volume_lps[:3, 3])
    whole = transported(volume_pivot, to_pivot_mm) @ turned
    result: F64 = whole @ covariance @ whole.T
    return result


def _told(settings: UncertaintySettings, columns: int) -> F64:
    principal_px = settings.principal_point_px * columns / _REFERENCE_COLUMNS
    shifts, turns = (settings.shift_mm,) * 3, (settings.turn_deg,) * 3
    sigmas = np.array((*shifts, *turns, principal_px, principal_px, settings.focal_relative))
    covariance: F64 = np.diag(sigmas * sigmas)
    return covariance


def _calibrated(calibration: EquipmentUncertainty) -> F64 | None:
    covariance = _covariance(calibration.covariance, NUMBERS)
    if covariance is None:
        return None
    turned = np.eye(NUMBERS)
    turned[:3, :3] = turned[3:6, 3:6] = np.array(calibration.lps_from_equipment).reshape(3, 3)
    result: F64 = turned @ covariance @ turned.T
    return result


def _covariance(numbers: Sequence[float], size: int) -> F64 | None:
    """(size, size); None where the numbers are no covariance."""
    if len(numbers) != size * size:
        return None
    matrix = np.array(numbers, np.float64).reshape(size, size)
    if not np.isfinite(matrix).all():
        return None
    matrix = (matrix + matrix.T) / 2.0
    eigenvalues = np.linalg.eigvalsh(matrix)
    # All zeros would say that it is known exactly, which nothing is.
    if not eigenvalues[-1] > 0.0 or eigenvalues[0] < -_ROUNDING * eigenvalues[-1]:
        return None
    return matrix
