"""What a small motion means for the points that count: displacement on the picture, in px and in mm at their depth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.geometry.camera import source_of
from guidance.messages import F64
from guidance.registration.values import small_motion

_LEAST_DEPTH_MM: Final = 1.0


@dataclass(frozen=True, slots=True)
class Displacement:
    """Of several points.

    Attributes:
        px, mm: root mean square over the points; mm across the ray at each point's depth.
        sigma_mm: standard deviation of `mm`.
        worst_px, worst_mm, worst_sigma_mm: of the point that is displaced most.
        pivot_mm: of the pivot, along u and v.
    """

    px: float
    mm: float
    sigma_mm: float
    worst_px: float
    worst_mm: float
    worst_sigma_mm: float
    pivot_mm: tuple[float, float]


def displacement_of(
    motion: F64, covariance: F64, pixel_from_patient: F64, pivot_lps_mm: F64, points_lps_mm: F64
) -> Displacement:
    """Where points are seen after a motion, against where they are told.

    Args:
        motion, covariance: (6,), (6, 6) of a small motion about the pivot, mm and deg.
        points_lps_mm: (N, 3); those behind the source are left out.
    """
    points = np.vstack((pivot_lps_mm, points_lps_mm))
    moved = small_motion(motion, pivot_lps_mm)
    before = points @ pixel_from_patient[:, :3].T + pixel_from_patient[:, 3]
    after = (points @ moved[:3, :3].T + moved[:3, 3]) @ pixel_from_patient[:, :3].T + pixel_from_patient[:, 3]
    counts = (before[:, 2] > _LEAST_DEPTH_MM) & (after[:, 2] > _LEAST_DEPTH_MM)
    if not counts[0]:
        return Displacement(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, (0.0, 0.0))
    points, before, after = points[counts], before[counts], after[counts]
    depth = before[:, 2]
    at = before[:, :2] / depth[:, None]
    px = after[:, :2] / after[:, 2:] - at
    # mm per px along u and v: depth over the two focal lengths.
    focal = _focal_lengths(pixel_from_patient)
    mm = px * depth[:, None] / focal
    many = slice(1, None) if len(points) > 1 else slice(None)
    squares_px, squares_mm = (px[many] ** 2).sum(axis=1), (mm[many] ** 2).sum(axis=1)
    worst = int(np.argmax(squares_mm))
    change = _change(points[many], at[many], depth[many], pixel_from_patient, pivot_lps_mm, focal)
    return Displacement(
        px=math.sqrt(float(squares_px.mean())),
        mm=math.sqrt(float(squares_mm.mean())),
        sigma_mm=_sigma_mm(change, motion, covariance),
        worst_px=math.sqrt(float(squares_px[worst])),
        worst_mm=math.sqrt(float(squares_mm[worst])),
        worst_sigma_mm=_sigma_mm(change[2 * worst : 2 * worst + 2], motion, covariance),
        pivot_mm=(float(mm[0, 0]), float(mm[0, 1])),
    )


def displaced_mm(motion: F64, pixel_from_patient: F64, pivot_lps_mm: F64, points_lps_mm: F64) -> float:
    """Root mean square displacement across the rays, to first order in the motion; all points in front of the source.

    Args:
        motion: (6,) small motion about the pivot.
        points_lps_mm: (N, 3).
    """
    x, y, z = (motion[3:] * (math.pi / 180.0)).tolist()
    turn = np.array(((0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0)))
    shift = motion[:3] + (points_lps_mm - pivot_lps_mm) @ turn.T
    along = pixel_from_patient[2, :3]
    rays = points_lps_mm - source_of(pixel_from_patient)
    depth = rays @ along
    across = shift - rays * ((shift @ along) / depth)[:, None]
    return math.sqrt(float((across * across).sum()) / len(across))


def _sigma_mm(change: F64, motion: F64, covariance: F64) -> float:
    """Of the root mean square over the rows' points: along the motion where there is one, else over all directions."""
    size = change.T @ change
    count = change.shape[0] / 2.0
    free = float((size * covariance).sum()) / change.shape[0]
    along = size @ motion
    square = float(motion @ along)
    directed = float(along @ covariance @ along) / (square * count) if square > 1e-18 else 0.0
    return math.sqrt(max(free, directed, 0.0))


def _focal_lengths(pixel_from_patient: F64) -> F64:
    """(2,) px, along u and v."""
    axis = pixel_from_patient[2, :3]
    rows = pixel_from_patient[:2, :3]
    across = rows - (rows @ axis)[:, None] * axis / float(axis @ axis)
    return np.asarray(np.linalg.norm(across, axis=1))


def _change(points: F64, at: F64, depth: F64, matrix: F64, pivot: F64, focal: F64) -> F64:
    """(2 N, 6): mm at the points' depth per mm and per deg of the motion."""
    rows = (matrix[None, :2, :3] - at[:, :, None] * matrix[None, 2:3, :3]) / focal[None, :, None]  # (N, 2, 3)
    x, y, z = (points - pivot).T[:, :, None]
    a, b, c = rows[:, :, 0], rows[:, :, 1], rows[:, :, 2]
    # row . (e x arm) = e . (arm x row); written out, for np.cross takes longer than all the rest
    turns = np.stack((y * c - z * b, z * a - x * c, x * b - y * a), axis=2) * (np.pi / 180.0)
    return np.concatenate((rows, turns), axis=2).reshape(-1, 6)
