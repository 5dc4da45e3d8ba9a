"""Poses from triples of beads, thousands at once: weak perspective in closed form, brought to perspective in rounds."""

from __future__ import annotations

from typing import Final

import numpy as np

from guidance.messages import F64

_ROUNDS: Final = 3


def poses_of_triples(model_mm: F64, rays: F64) -> tuple[F64, F64]:
    """Both poses of each pair of a triple of points and a triple of rays.

    Args:
        model_mm: (H, 3, 3) three points each.
        rays: (H, 3, 2) x / z, y / z of the rays that they are seen along, in a right-handed camera with z forward.

    Returns:
        rotations (2 H, 3, 3) and translations (2 H, 3) with ray ~ R x + t; NaN where there is none.

    Source: T. D. Alter, IEEE PAMI 16, 1994 (three points under weak perspective); DeMenthon & Davis, IJCV 15, 1995
        (from weak to full perspective by scaling each ray with its depth).
    """
    edges = np.stack((model_mm[:, 1] - model_mm[:, 0], model_mm[:, 2] - model_mm[:, 0]), axis=1)
    own = _frame(edges[:, 0], edges[:, 1])
    sides = (_square(edges[:, 0]), _square(edges[:, 1]), _square(edges[:, 1] - edges[:, 0]))
    rotations, translations = [], []
    for sign in (1.0, -1.0):
        deeper = np.zeros(rays.shape[:2])  # depth of each point beyond the first, over the first's
        for _ in range(_ROUNDS):
            flat = rays * (1.0 + deeper)[:, :, None]
            rotation, scale = _turned(flat, sides, own, sign)
            depth = 1.0 / scale
            behind = np.einsum("hj,hkj->hk", rotation[:, 2], edges)
            deeper = np.column_stack((np.zeros(len(depth)), behind / depth[:, None]))
        first = np.column_stack((rays[:, 0], np.ones(len(depth)))) * depth[:, None]
        rotations.append(rotation)
        translations.append(first - np.einsum("hij,hj->hi", rotation, model_mm[:, 0]))
    return np.concatenate(rotations), np.concatenate(translations)


def _turned(flat: F64, sides: tuple[F64, F64, F64], own: F64, sign: float) -> tuple[F64, F64]:
    """Rotation and scale (picture per mm) under weak perspective; one of the two mirror images in depth."""
    one, two = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    seen = (_square(one), _square(two), _square(two - one))
    a = _heron(*sides)
    b = (
        seen[0] * (-sides[0] + sides[1] + sides[2])
        + seen[1] * (sides[0] - sides[1] + sides[2])
        + seen[2] * (sides[0] + sides[1] - sides[2])
    )
    c = _heron(*seen)
    with np.errstate(invalid="ignore", divide="ignore"):
        square = (b + np.sqrt(np.maximum(b * b - a * c, 0.0))) / a
        up_one = sign * np.sqrt(np.maximum(square * sides[0] - seen[0], 0.0))
        up_two = sign * np.sqrt(np.maximum(square * sides[1] - seen[1], 0.0))
        same = seen[0] + seen[1] - seen[2] <= square * (sides[0] + sides[1] - sides[2])
        up_two = np.where(same, up_two, -up_two)
        frame = _frame(np.column_stack((one, up_one)), np.column_stack((two, up_two)))
        rotation: F64 = frame @ own.transpose(0, 2, 1)
        return rotation, np.sqrt(square)


def _heron(a: F64, b: F64, c: F64) -> F64:
    """16 times the square of a triangle's area, from the squares of its sides."""
    area: F64 = 2.0 * (a * b + b * c + c * a) - (a * a + b * b + c * c)
    return area


def _square(vectors: F64) -> F64:
    squares: F64 = np.einsum("hi,hi->h", vectors, vectors)
    return squares


def _frame(one: F64, two: F64) -> F64:
    """(H, 3, 3) columns: along the first, in the plane, normal."""
    with np.errstate(invalid="ignore", divide="ignore"):
        first = one / np.linalg.norm(one, axis=1, keepdims=True)
        normal = np.cross(one, two)
        normal = normal / np.linalg.norm(normal, axis=1, keepdims=True)
        frame: F64 = np.stack((first, np.cross(normal, first), normal), axis=2)
        return frame
