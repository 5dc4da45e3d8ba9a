"""A zone's surface as triangles, for outlines on the live picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.messages import ZoneShape
from guidance.planning.distance import distance_field
from guidance.planning.grid_field import GridField
from guidance.planning.occupancy import Occupancy

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]

MOST_TRIANGLES: Final = 6000


@dataclass(frozen=True, slots=True, eq=False)
class ZoneSurface:
    """A closed surface; outward by the right hand.

    Attributes:
        vertices_lps_mm: (V, 3) float32, C order.
        triangles: (T, 3) int32, C order.
    """

    vertices_lps_mm: F32
    triangles: I32


def surface_of_shape(
    shape: ZoneShape, occupancy: Occupancy | None = None, *, most_triangles: int = MOST_TRIANGLES
) -> ZoneSurface:
    """Tessellate a zone.

    Raises:
        GeometryError: as `distance_field`.
    """
    field = distance_field(shape, occupancy)
    low, high = field.bounds_lps_mm
    if isinstance(field, GridField):
        inside, step, first = field.values_mm < 0.0, field.spacing_mm, field.affine_lps_from_ijk[:3, 3]
    else:
        step = max(float((high - low).max()) / 48.0, 0.05)
        first = low - 2 * step
        sides = [np.arange(a, b + 3 * step, step) for a, b in zip(first, high, strict=True)]
        grid = np.stack(np.meshgrid(*sides[::-1], indexing="ij")[::-1], axis=-1)
        inside = field.distance_mm(grid.reshape(-1, 3)).reshape(grid.shape[:3]) < 0.0
    return _blocks(inside, step, first)


def _blocks(inside: npt.NDArray[np.bool_], step: float, first: npt.NDArray[np.float64]) -> ZoneSurface:
    quads = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        padded = inside.transpose(2, 1, 0)
        for sign in (1, -1):
            beyond = np.roll(padded, -sign, axis=axis)
            cells = np.argwhere(padded & ~beyond)
            corner = np.zeros(3)
            corner[axis] = 0.5 * sign
            around = []
            for a, b in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))[::sign]:
                place = corner.copy()
                place[u], place[v] = a, b
                around.append(cells + place)
            quads.append(np.stack(around, axis=1))
    corners = np.concatenate(quads).reshape(-1, 3)
    unique, index = np.unique(np.round(corners * 2).astype(np.int64), axis=0, return_inverse=True)
    square = index.reshape(-1, 4)
    triangles = np.concatenate([square[:, [0, 1, 2]], square[:, [0, 2, 3]]]).astype(np.int32)
    return ZoneSurface((unique / 2.0 * step + first).astype(np.float32), np.ascontiguousarray(triangles))
