"""One view's nine numbers: where source and detector are and how they are turned; and their best fit to beads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.calibration.detection import sphere_offset_px
from guidance.geometry.rotations import rotation_of
from guidance.messages import F64

NUMBERS: Final = 9
POSE: Final = (0, 1, 2, 3, 4, 5)
ALL: Final = tuple(range(NUMBERS))
_ROUNDS: Final = 40
_HUBER: Final = 2.5  # sigmas up to which a bead counts in full


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ViewCamera:
    """Pixel ~ K (R x + t): square to the told pixel ratio, no skew, which with a turned detector is all there is.

    Attributes:
        focal_px: (fu, fv): source to detector plane over pitch.
        principal_px: (u0, v0): foot of the perpendicular from the source on the detector.
        rotation: (3, 3) rows along u, along v, to the detector; determinant -1 for a picture seen from the detector.
        translation_mm: (3,).
    """

    focal_px: tuple[float, float]
    principal_px: tuple[float, float]
    rotation: F64
    translation_mm: F64

    @property
    def matrix(self) -> F64:
        """(3, 4), w in mm along the perpendicular."""
        (focal_u, focal_v), (u0, v0) = self.focal_px, self.principal_px
        calibration = np.array(((focal_u, 0.0, u0), (0.0, focal_v, v0), (0.0, 0.0, 1.0)))
        matrix: F64 = calibration @ np.column_stack((self.rotation, self.translation_mm))
        return matrix

    def seen(self, points_mm: F64) -> F64:
        """(N, 3) in the camera's axes."""
        seen: F64 = points_mm @ self.rotation.T + self.translation_mm
        return seen

    def moved(self, step: F64) -> ViewCamera:
        """The camera nine small numbers further: turn rad (before the picture), shift mm, u0, v0 px, log focal."""
        grown = float(np.exp(step[8]))
        return ViewCamera(
            focal_px=(self.focal_px[0] * grown, self.focal_px[1] * grown),
            principal_px=(self.principal_px[0] + float(step[6]), self.principal_px[1] + float(step[7])),
            rotation=rotation_of(step[:3]) @ self.rotation,
            translation_mm=rotation_of(step[:3]) @ self.translation_mm + step[3:6],
        )


def shadows_of(camera: ViewCamera, points_mm: F64, radii_mm: F64) -> F64:
    """(N, 2) px where the shadows' centres of balls lie; NaN behind the source."""
    seen = camera.seen(points_mm)
    depth = np.where(seen[:, 2] > 1.0, seen[:, 2], np.nan)
    tangent = seen[:, :2] / depth[:, None]
    distance = np.linalg.norm(seen, axis=1)
    focal = np.array(camera.focal_px)
    beside = sphere_offset_px(depth / distance, tangent, radii_mm / distance, focal)
    shadows: F64 = tangent * focal + camera.principal_px + beside
    return shadows


def slopes_of(camera: ViewCamera, points_mm: F64) -> tuple[F64, F64]:
    """Derivatives of the shadows' places: by the camera's nine (N, 2, 9), by the points (N, 2, 3).

    The ellipse's offset, some thousandths of a pixel, is taken as constant.
    """
    seen = camera.seen(points_mm)
    inverse = 1.0 / seen[:, 2]
    tangent = seen[:, :2] * inverse[:, None]
    focal = np.array(camera.focal_px)
    by_seen = np.zeros((len(points_mm), 2, 3))
    by_seen[:, 0, 0] = by_seen[:, 1, 1] = inverse
    by_seen[:, :, 2] = -tangent * inverse[:, None]
    by_seen *= focal[None, :, None]
    by_camera = np.zeros((len(points_mm), 2, NUMBERS))
    # moved(): seen' = turn (R x + t) + shift, so a turn acts on what is seen.
    x, y, z = seen.T
    nothing = np.zeros_like(x)
    turned = np.array(((nothing, z, -y), (-z, nothing, x), (y, -x, nothing))).transpose(2, 0, 1)
    by_camera[:, :, :3] = by_seen @ turned
    by_camera[:, :, 3:6] = by_seen
    by_camera[:, 0, 6] = by_camera[:, 1, 7] = 1.0
    by_camera[:, :, 8] = tangent * focal
    return by_camera, by_seen @ camera.rotation


def fitted(
    camera: ViewCamera, points_mm: F64, radii_mm: F64, places_px: F64, sigma_px: F64, free: Sequence[int] = ALL
) -> tuple[ViewCamera, F64]:
    """Best camera for labelled shadows (Levenberg-Marquardt, Huber's loss).

    Args:
        camera: where to begin.
        places_px: (N, 2) measured.
        sigma_px: (N,).
        free: which of the nine may change.

    Returns:
        The camera and its residuals, (N, 2) px, measured less predicted.
    """
    columns = list(free)
    damping = 1e-4
    residual = places_px - shadows_of(camera, points_mm, radii_mm)
    cost = _cost(residual, sigma_px)
    for _ in range(_ROUNDS):
        slopes = slopes_of(camera, points_mm)[0][:, :, columns]
        weight = huber_weights(residual, sigma_px) / sigma_px**2
        normal = np.einsum("nij,n,nik->jk", slopes, weight, slopes)
        gradient = np.einsum("nij,n,ni->j", slopes, weight, residual)
        if not np.isfinite(normal).all():
            break
        scale = np.sqrt(np.maximum(np.diag(normal), 1e-30))
        scaled = normal / np.outer(scale, scale) + damping * np.eye(len(columns))
        step = np.zeros(NUMBERS)
        step[columns] = np.linalg.solve(scaled, gradient / scale) / scale
        if np.abs(step[:3]).max() > 0.5 or abs(step[8]) > 0.5:
            damping = max(damping, 1e-3) * 10.0
            if damping > 1e6:
                break
            continue
        trial = camera.moved(step)
        trial_residual = places_px - shadows_of(trial, points_mm, radii_mm)
        trial_cost = _cost(trial_residual, sigma_px)
        if trial_cost <= cost:
            done = cost - trial_cost < 1e-9 * cost
            camera, residual, cost, damping = trial, trial_residual, trial_cost, damping * 0.2
            if done:
                break
        else:
            damping = max(damping, 1e-7) * 10.0
            if damping > 1e6:
                break
    return camera, residual


def huber_weights(residual_px: F64, sigma_px: F64) -> F64:
    """(N,) in (0, 1] from the length of each residual in sigmas; 0 where it is not finite."""
    size = np.linalg.norm(residual_px, axis=1) / sigma_px
    size = np.where(np.isfinite(size), size, np.inf)
    weights: F64 = np.minimum(1.0, _HUBER / np.maximum(size, 1e-12))
    return weights


def _cost(residual_px: F64, sigma_px: F64) -> float:
    size = np.linalg.norm(residual_px, axis=1) / sigma_px
    if not np.isfinite(size).all():
        return np.inf
    return float(np.where(size <= _HUBER, size * size, 2.0 * _HUBER * size - _HUBER**2).sum())
