"""What a registration leaves of the told geometry's own error: in its own views, in others, and along their rays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from guidance.messages import F64
from guidance.uncertainty.band import picture_jacobian
from guidance.uncertainty.values import NUMBERS

# Of the told geometry's variance, what all views of a suite have in common, and over how many degrees the rest of it
# stays alike, as a simulated gantry that sags has it: errors of views 15, 25, 40, 60 and 90 deg apart correlate by
# 0.95, 0.89, 0.74, 0.50 and 0.20 there, by 0.95, 0.87, 0.71, 0.49 and 0.28 here (docs/uncertainty.md).
_COMMON: Final = 0.2
_ALIKE_DEG: Final = 60.0
# Bone by which a registration finds its pose lies in about such a cube, half its edge.
_REACH_MM: Final = 60.0
_CORNERS: Final = np.array(np.meshgrid(*[(-1.0, 1.0)] * 3)).reshape(3, -1).T * _REACH_MM
_LEAST_INFORMATION: Final = 1e-9  # of the best known direction: where views tell nothing, nothing is taken up


def likeness(rays: F64, others: F64) -> F64:
    """(N, M) correlation of the told geometry's errors in views with central rays (N, 3) and (M, 3)."""
    unit = rays / np.sqrt((rays * rays).sum(axis=1))[:, None]
    unit_others = others / np.sqrt((others * others).sum(axis=1))[:, None]
    apart_deg = np.degrees(np.arccos(np.clip(unit @ unit_others.T, -1.0, 1.0)))
    alike: F64 = _COMMON + (1.0 - _COMMON) * np.exp(-((apart_deg / _ALIKE_DEG) ** 2))
    return alike


def taken_up(views: Sequence[F64], middle_mm: F64, pivot_mm: F64) -> list[F64]:
    """(9, 9) for each view: what its error makes of the pose that registration finds, about the same pivot.

    Registration finds the rigid motion that makes its pictures fit. What is wrong with the geometry told for them, a
    focal length that is none, shows there as a motion, too: a depth that is none.

    Args:
        views: (3, 4) as told.
        middle_mm: of what the registration looks at.
        pivot_mm: of the errors and of the motion.
    """
    points = middle_mm + _CORNERS
    jacobians = []
    for matrix in views:
        uvw = points @ matrix[:, :3].T + matrix[:, 3]
        # In mm at the middle, so that views of different zoom weigh alike.
        scale = float(uvw[:, 2].mean()) / float(np.linalg.norm(matrix[0, :3]))
        jacobians.append(scale * picture_jacobian(points, uvw, matrix, pivot_mm).reshape(-1, NUMBERS))
    information = sum((one[:, :6].T @ one[:, :6] for one in jacobians), np.zeros((6, 6)))
    unit = 1.0 / np.sqrt(np.maximum(np.diag(information), 1e-300))
    inverse = unit[:, None] * np.linalg.pinv(unit[:, None] * information * unit, rcond=_LEAST_INFORMATION) * unit
    found = []
    for one in jacobians:
        whole = np.zeros((NUMBERS, NUMBERS))
        whole[:6] = inverse @ one[:, :6].T @ one
        found.append(whole)
    return found


def left_of_told(told: F64, motions: Sequence[F64], among: F64, alike: Sequence[float]) -> F64:
    """(9, 9) covariance of a frame's told error less what registration has taken up of its own views' errors.

    Args:
        told: (9, 9) of any view's error, about the pivot of `motions`.
        motions: of `taken_up`, N of them.
        among: (N, N) correlation of their errors with each other.
        alike: N correlations of this frame's error with theirs.
    """
    left = told.copy()
    for one, correlation, row in zip(motions, alike, among, strict=True):
        moved = one @ told
        left -= correlation * (moved + moved.T)
        for other, between in zip(motions, row, strict=True):
            left += between * moved @ other.T
    result: F64 = (left + left.T) / 2.0
    return result
