"""Rotation vectors: three small numbers for a turn, and back."""

from __future__ import annotations

import math

import numpy as np

from guidance.messages import F64


def rotation_of(turn_rad: F64) -> F64:
    """(3, 3): turns by the length of `turn_rad` (3,), in rad, about its direction (Rodrigues' formula)."""
    x, y, z = turn_rad.tolist()
    angle = math.sqrt(x * x + y * y + z * z)
    cross = np.array(((0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0)))
    sine = math.sin(angle) / angle if angle > 1e-12 else 1.0
    half = math.sin(angle / 2.0) / angle if angle > 1e-12 else 0.5
    rotation: F64 = np.eye(3) + sine * cross + 2.0 * half * half * (cross @ cross)
    return rotation


def turn_of(rotation: F64) -> F64:
    """(3,) rad: inverse of `rotation_of` for turns below 180 deg."""
    sine = np.array((rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]))
    length = math.sqrt(float(sine @ sine))
    angle = math.atan2(length, float(rotation[0, 0] + rotation[1, 1] + rotation[2, 2]) - 1.0)
    turn: F64 = sine / 2.0 if length < 1e-12 else sine * (angle / length)
    return turn


def nearest_rotation(matrix: F64) -> F64:
    """(3, 3): the proper rotation nearest to a matrix (least squares, by singular values)."""
    left, _, right = np.linalg.svd(matrix)
    sign = np.diag((1.0, 1.0, float(np.linalg.det(left @ right))))
    rotation: F64 = left @ sign @ right
    return rotation
