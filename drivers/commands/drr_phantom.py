"""Ellipsoids whose line integrals have a closed form: the volume and the truth of the projector's benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.geometry.camera import source_of
from guidance.messages import F64

SPAN_MM: Final = 200.0
_SUBSAMPLES: Final = 4  # lines per voxel along y and along z


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """`value` per voxel inside, axes along LPS; values add up where ellipsoids overlap."""

    center_lps_mm: tuple[float, float, float]
    half_axes_mm: tuple[float, float, float]
    value: float


BODY: Final = (
    Ellipsoid((0.0, 0.0, 0.0), (80.0, 60.0, 85.0), 300.0),
    Ellipsoid((-30.0, 10.0, -20.0), (18.0, 14.0, 22.0), 900.0),
    Ellipsoid((35.0, -5.0, 15.0), (12.0, 16.0, 20.0), 900.0),
    Ellipsoid((0.0, -20.0, 40.0), (9.0, 9.0, 9.0), 1500.0),
    Ellipsoid((5.0, 25.0, -40.0), (20.0, 8.0, 12.0), 600.0),
    Ellipsoid((-10.0, 0.0, 30.0), (6.0, 25.0, 7.0), 700.0),
)


def affine_of(edge: int) -> F64:
    """(4, 4) affine_lps_from_ijk of a cube of `edge` voxels over SPAN_MM about the origin."""
    step_mm = SPAN_MM / edge
    affine = np.diag([step_mm, step_mm, step_mm, 1.0])
    affine[:3, 3] = -(edge - 1) / 2.0 * step_mm
    return affine


def voxels_of(edge: int, ellipsoids: tuple[Ellipsoid, ...] = BODY) -> npt.NDArray[np.float32]:
    """(edge, edge, edge) float32 [k, j, i]: each voxel by the share of it that is inside.

    Exact along i; along j and k the mean of 4 x 4 lines per voxel.
    """
    step_mm = SPAN_MM / edge
    lines_mm = ((np.arange(edge * _SUBSAMPLES) + 0.5) / _SUBSAMPLES - 0.5 * edge) * step_mm
    # Where a line enters and leaves, the voxels' share rises and falls: slopes are noted, and summed up once.
    slopes = np.zeros((edge, edge, edge + 2))
    for one in ellipsoids:
        (x, y, z), (a, b, c) = one.center_lps_mm, one.half_axes_mm
        square = 1.0 - (((lines_mm - z) / c) ** 2)[:, None] - (((lines_mm - y) / b) ** 2)[None, :]
        rows, columns = np.nonzero(square > 0.0)
        half_mm = a * np.sqrt(square[rows, columns])
        for sign, edge_mm in ((1.0, x - half_mm), (-1.0, x + half_mm)):
            place = edge_mm / step_mm + 0.5 * edge  # in voxels from the volume's face
            voxel = np.floor(place).astype(np.intp)
            part = place - voxel
            amount = sign * one.value / _SUBSAMPLES**2
            at = (rows // _SUBSAMPLES, columns // _SUBSAMPLES)
            np.add.at(slopes, (*at, voxel), amount * (1.0 - part))
            np.add.at(slopes, (*at, voxel + 1), amount * part)
    return np.cumsum(slopes, axis=2)[:, :, :edge].astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """(rows, columns) each: value times mm along each pixel's ray; whether it stays clear of every ellipsoid's rim."""

    integrals: npt.NDArray[np.float64]
    clear: npt.NDArray[np.bool_]


def truth_of(
    pixel_from_patient: F64,
    size: tuple[int, int],
    rim_mm: float,
    ellipsoids: tuple[Ellipsoid, ...] = BODY,
) -> Truth:
    """The closed form of a view.

    Args:
        rim_mm: rays that come nearer than this to being tangent to an ellipsoid are not `clear`: there a chord falls
            by many mm within a voxel, and the voxels' own blur is what every projector shows.
    """
    source = source_of(pixel_from_patient)
    u, v = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    directions = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(pixel_from_patient[:, :3]).T
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    total = np.zeros(size)
    clear = np.ones(size, np.bool_)
    for one in ellipsoids:
        start = (source - np.array(one.center_lps_mm)) / one.half_axes_mm
        way = directions / one.half_axes_mm
        a, b, c = np.einsum("ijk,ijk->ij", way, way), way @ start, start @ start - 1.0
        total += one.value * 2.0 * np.sqrt(np.maximum(b * b - a * c, 0.0)) / a
        nearest = np.sqrt(np.maximum(c + 1.0 - b * b / a, 0.0))  # to the centre, the rim at 1
        clear &= np.abs(nearest - 1.0) * min(one.half_axes_mm) > rim_mm
    return Truth(total, clear)
