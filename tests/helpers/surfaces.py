"""Closed surfaces for tests: as vertices and triangles, outward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guidance.kernels.reference import F32, I32


@dataclass(frozen=True, eq=False)
class Shape:
    """(V, 3) float32 mm and (T, 3) int32."""

    vertices_lps_mm: F32
    triangles: I32


def shape_of(vertices, triangles):
    return Shape(np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(triangles, np.int32))


def ball(center_mm, radius_mm, rings=24):
    """A sphere by latitude and longitude; its vertices lie on it."""
    polar = np.linspace(0.0, np.pi, rings + 1)[1:-1, None]
    turn = np.linspace(0.0, 2 * np.pi, 2 * rings, endpoint=False)[None, :]
    ones = np.ones_like(polar * turn)
    around = np.stack((np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar) * ones), -1)
    points = np.concatenate((around.reshape(-1, 3), [[0, 0, 1], [0, 0, -1]]))
    columns, top = 2 * rings, len(points) - 2
    triangles = []
    for column in range(columns):
        after = (column + 1) % columns
        triangles.append((top, column, after))
        triangles.append((top + 1, (rings - 2) * columns + after, (rings - 2) * columns + column))
        for row in range(rings - 2):
            a, b = row * columns + column, row * columns + after
            triangles += [(a, a + columns, b), (b, a + columns, b + columns)]
    return shape_of(np.asarray(center_mm) + radius_mm * points, triangles)


def ring(center_mm, radius_mm, thickness_mm, around=60, across=24):
    """A torus about z: radius of its middle line and of its tube."""
    u = np.arange(around)[:, None] * (2 * np.pi / around)
    v = np.arange(across)[None, :] * (2 * np.pi / across)
    reach = radius_mm + thickness_mm * np.cos(v)
    points = np.stack((reach * np.cos(u), reach * np.sin(u), thickness_mm * np.sin(v) + 0 * u), -1).reshape(-1, 3)
    i, j = np.arange(around)[:, None], np.arange(across)[None, :]
    a, b = i * across + j, (i + 1) % around * across + j
    c, d = (i + 1) % around * across + (j + 1) % across, i * across + (j + 1) % across
    halves = [np.stack(np.broadcast_arrays(*three), -1).reshape(-1, 3) for three in ((a, b, c), (a, c, d))]
    return shape_of(np.asarray(center_mm) + points, np.concatenate(halves))


def box(low_mm, high_mm):
    corners = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    points = np.asarray(low_mm) + np.array(corners) * (np.asarray(high_mm) - np.asarray(low_mm))
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return shape_of(points, [three for a, b, c, d in faces for three in ((a, b, c), (a, c, d))])


def together(*shapes):
    """Several components as one surface."""
    starts = np.cumsum([0, *(len(shape.vertices_lps_mm) for shape in shapes)])
    return shape_of(
        np.concatenate([shape.vertices_lps_mm for shape in shapes]),
        np.concatenate([shape.triangles + start for shape, start in zip(shapes, starts, strict=False)]),
    )


def turned(shape, rng):
    """The same, turned about the origin by a random rotation."""
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    if np.linalg.det(rotation) < 0:
        rotation[:, 0] *= -1
    return shape_of(shape.vertices_lps_mm @ rotation.T, shape.triangles)
