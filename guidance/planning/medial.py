"""An instrument's solid as the balls inscribed in it: exact signed clearance to any distance field."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from guidance.messages import F64
from guidance.planning.solid import (
    Cylinder,
    CylinderField,
    DistanceField,
    Solid,
    cylinder_distance_mm,
    frame_of,
    line_of,
)

# The least distance is proven to this bound, then polished: see `least_distance`.
PROOF_MM: Final = 0.05
_PROOF_PART: Final = 0.003  # of the distance, where that is more: what is 60 mm away need not be known to 0.05 mm
# Trilinear interpolation of an exact distance grid may change a little faster than 1 mm per mm.
_LIPSCHITZ: Final = 1.1
_AXIS_STEP_MM: Final = 1.0
_POLISH_LEVELS: Final = 3
_MOST_LEVELS: Final = 14
_MOST_CELLS: Final = 3_000
_NONE: Final = np.empty(0, dtype=np.intp)
_NO_HEIGHTS: Final = np.empty(0)


class Least(NamedTuple):
    """Where a solid comes nearest to a zone: the inscribed ball that does, and its signed distance."""

    distance_mm: float
    center_lps_mm: F64
    radius_mm: float


# One patch of a medial surface, all linear in u but for the ball's radius:
# centre = origin + axis * (z0 + z1 u) + (rho0 + rho1 u) * (cos v * across + sin v * along),
# ball's radius = h0 + h1 u + k sqrt(1 - u^2 / c2).
class _Patch(NamedTuple):
    origin: F64
    frame: F64  # rows: axis, across, along
    first_u: float
    last_u: float
    rings: int  # cells along u
    spokes: int  # cells along v; 1 for a line on the axis
    numbers: tuple[float, float, float, float, float, float, float, float]  # z0 z1 rho0 rho1 h0 h1 k c2


@dataclass(frozen=True, slots=True, eq=False)
class Balls:
    """Solids prepared for `least_distance`: made once per path, used for every zone.

    Source: Blum (1967), medial axis: every point of a solid lies in a ball inscribed in it and centred on its medial
    surface, so that the least of field(centre) - radius over that surface is the distance of the solid's surface where
    they are apart, and minus the deepest common ball where they are not. It is continuous and changes sign at contact.
    For a cylinder that surface is its axis and one cone at each flat end, for a spheroid a part of its axis (prolate)
    or of its equator's disc (oblate).
    """

    origins: F64
    frames: F64
    numbers: F64
    cells: F64  # (N, 5) patch, u, v, half width in u, half width in v
    centers: F64
    radii: F64
    reaches: F64
    turned: F64
    ranges: F64  # (P, 2) first and last u of each patch


def balls_of(solids: Sequence[Solid]) -> Balls:
    """Prepare solids; an empty sequence gives balls that `least_distance` must not be asked of."""
    patches = [patch for solid in solids for patch in _patches(solid)]
    cells = np.concatenate([_coarse(index, patch) for index, patch in enumerate(patches)] or [np.empty((0, 5))])
    origins = np.array([patch.origin for patch in patches], dtype=np.float64).reshape(-1, 3)
    frames = np.array([patch.frame for patch in patches], dtype=np.float64).reshape(-1, 3, 3)
    numbers = np.array([patch.numbers for patch in patches], dtype=np.float64).reshape(-1, 8)
    ranges = np.array([(patch.first_u, patch.last_u) for patch in patches], dtype=np.float64).reshape(-1, 2)
    return Balls(origins, frames, numbers, cells, *_place(origins, frames, numbers, cells), ranges)


def least_distance(balls: Balls, field: DistanceField) -> Least:
    """`least_distances` to one zone."""
    return least_distances(balls, [field])[0]


def least_distances(balls: Balls, fields: Sequence[DistanceField]) -> list[Least]:
    """Signed distances of the solids' surface to each zone's.

    Branch and bound over the medial surface: a cell is dropped only when no point in it can beat the best by more than
    `PROOF_MM`; then the best cells are refined further, so that the error left is far below that. Where a zone's face
    lies along the instrument's whole face, more cells stay open than are kept: there samples are about 0.1 mm apart.
    All zones go through each level together, for the arrays of one are too short to be fast.

    Args:
        balls: of one solid at least.
        fields: signed distances, negative inside, changing by at most 1.1 mm per mm.
    """
    if not fields:
        return []
    best = _searched(balls, fields)
    for _ in range(_POLISH_LEVELS):
        best = _polished(balls, fields, best)
    return [Least(float(value), center, float(radius)) for value, center, radius, _, _ in best]


class _Best(NamedTuple):
    value_mm: float
    center: F64
    radius_mm: float
    cell: F64
    turned_mm: float


def _searched(balls: Balls, fields: Sequence[DistanceField]) -> list[_Best]:
    """The best ball for each zone, proven as far as `least_distances` says."""
    cells, centers, radii = balls.cells, balls.centers, balls.radii
    reaches, turned = balls.reaches, balls.turned
    slices = [slice(0, len(cells))] * len(fields)
    best: dict[int, _Best] = {}
    for _ in range(_MOST_LEVELS):
        chosen: list[npt.NDArray[np.intp]] = []
        heights = _heights(fields, slices, centers)
        for index, part in enumerate(slices):
            if part.start == part.stop:
                chosen.append(_NONE)
                continue
            values = heights[index] - radii[part]
            lowest = int(np.argmin(values))
            if index not in best or values[lowest] < best[index].value_mm:
                at = part.start + lowest
                best[index] = _Best(float(values[lowest]), centers[at], float(radii[at]), cells[at], float(turned[at]))
            chosen.append(_still_open(values, reaches[part], best[index].value_mm) + part.start)
        sizes = [5 * len(keep) for keep in chosen]
        ends = np.cumsum(sizes).tolist()
        if ends[-1] == 0:
            break
        slices = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
        kept = np.concatenate(chosen)
        cells = _split(cells[kept], turned[kept])
        centers, radii, reaches, turned = _place(balls.origins, balls.frames, balls.numbers, cells)
    return [best[index] for index in range(len(fields))]


def _polished(balls: Balls, fields: Sequence[DistanceField], best: Sequence[_Best]) -> list[_Best]:
    """A finer look about the best ball of each zone, beyond its cell on all sides."""
    cells = np.array([found.cell for found in best])
    turned = np.array([found.turned_mm for found in best])
    cells[:, 3:] *= 2.0
    cells = _split(_split(cells, turned), np.repeat(turned, 5))
    patches = cells[:, 0].astype(np.intp)
    low, high = balls.ranges[patches].T
    cells[:, 1] = np.clip(cells[:, 1], low, high)
    cells[:, 3] = np.minimum(cells[:, 3], high - cells[:, 1])
    centers, radii, _, turned = _place(balls.origins, balls.frames, balls.numbers, cells)
    count = len(cells) // len(fields)
    slices = [slice(count * index, count * (index + 1)) for index in range(len(fields))]
    values = np.concatenate(_heights(fields, slices, centers)) - radii
    lowest = values.reshape(len(fields), count).argmin(axis=1) + count * np.arange(len(fields))
    return [
        _Best(float(values[at]), centers[at], float(radii[at]), cells[at], float(turned[at]))
        if values[at] < found.value_mm
        else found._replace(cell=np.concatenate([found.cell[:3], found.cell[3:] / 3.0]))
        for at, found in zip(lowest.tolist(), best, strict=True)
    ]


def _heights(fields: Sequence[DistanceField], slices: Sequence[slice], centers: F64) -> list[F64]:
    """Each field at its part of the points."""
    parts = [centers[part] for part in slices]
    if not all(isinstance(field, CylinderField) for field in fields):
        return [
            field.distance_mm(part) if len(part) else _NO_HEIGHTS for field, part in zip(fields, parts, strict=True)
        ]
    # Cylinders are all of one form: one pass over all of them.
    counts = [len(part) for part in parts]
    entry, axis = (np.repeat([getattr(field, name) for field in fields], counts, axis=0) for name in ("entry", "axis"))
    length_mm, radius_mm = (
        np.repeat([getattr(field, name) for field in fields], counts) for name in ("length_mm", "radius_mm")
    )
    values = cylinder_distance_mm(np.concatenate(parts), entry, axis, length_mm, radius_mm)
    return np.split(values, np.cumsum(counts)[:-1])


def _still_open(values: F64, reaches: F64, best_mm: float) -> npt.NDArray[np.intp]:
    """Cells that may beat the best by more than the proof, the most promising where they are too many."""
    lowest = values - reaches
    proof_mm = max(PROOF_MM, _PROOF_PART * best_mm)
    keep: npt.NDArray[np.intp] = np.flatnonzero((lowest < best_mm - proof_mm) & (reaches > 0.5 * proof_mm))
    return keep[_smallest(lowest[keep], _MOST_CELLS)] if len(keep) > _MOST_CELLS else keep


def _patches(solid: Solid) -> list[_Patch]:
    if isinstance(solid, Cylinder):
        return _cylinder_patches(solid)
    frame = frame_of(np.array(solid.axis, dtype=np.float64))
    center = np.array(solid.center_lps_mm, dtype=np.float64)
    a, b = solid.semi_axial_mm, solid.semi_transverse_mm
    c2 = abs(a * a - b * b)
    if c2 < 1e-9 * a * a:
        return [_Patch(center, frame, 0.0, 0.0, 1, 1, (0.0, 0.0, 0.0, 0.0, min(a, b), 0.0, 0.0, math.inf))]
    if a > b:
        half = c2 / a
        rings = math.ceil(2.0 * half / _AXIS_STEP_MM)
        return [_Patch(center, frame, -half, half, rings, 1, (0.0, 1.0, 0.0, 0.0, 0.0, 0.0, b, c2))]
    return [_Patch(center, frame, 0.0, c2 / b, *_grid(c2 / b), (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, a, c2))]


def _cylinder_patches(cylinder: Cylinder) -> list[_Patch]:
    entry, axis, length_mm = line_of(cylinder)
    radius_mm = cylinder.radius_mm
    reach_mm = min(radius_mm, 0.5 * length_mm)
    patches = [
        _Patch(origin, frame_of(direction), 0.0, reach_mm, *_grid(radius_mm), (0, 1, radius_mm, -1, 0, 1, 0, math.inf))
        for origin, direction in ((entry, axis), (entry + axis * length_mm, -axis))
    ]
    frame = frame_of(axis)
    if length_mm >= 2.0 * radius_mm:
        last = length_mm - radius_mm
        rings = max(1, math.ceil((last - radius_mm) / _AXIS_STEP_MM))
        patches.append(_Patch(entry, frame, radius_mm, last, rings, 1, (0, 1, 0, 0, radius_mm, 0, 0, math.inf)))
    else:
        middle = entry + axis * reach_mm
        across_mm = radius_mm - reach_mm
        patches.append(_Patch(middle, frame, 0.0, across_mm, *_grid(across_mm), (0, 0, 0, 1, reach_mm, 0, 0, math.inf)))
    return patches


def _grid(radius_mm: float) -> tuple[int, int]:
    """Cells along the radius and round it, some 3 mm each: most zones are nowhere near an instrument's ends."""
    return max(1, math.ceil(radius_mm / 3.0)), max(6, math.ceil(2.0 * math.pi * radius_mm / 3.0))


def _coarse(index: int, patch: _Patch) -> F64:
    half_u = 0.5 * (patch.last_u - patch.first_u) / patch.rings
    half_v = math.pi / patch.spokes if patch.spokes > 1 else 0.0
    u = patch.first_u + half_u * (2.0 * np.arange(patch.rings) + 1.0)
    v = half_v * (2.0 * np.arange(patch.spokes) + 1.0)
    cells = np.empty((patch.rings * patch.spokes, 5))
    cells[:, 0] = index
    cells[:, 1] = np.repeat(u, patch.spokes)
    cells[:, 2] = np.tile(v, patch.rings)
    cells[:, 3] = half_u
    cells[:, 4] = half_v
    return cells


def _place(origins: F64, frames: F64, numbers: F64, cells: F64) -> tuple[F64, F64, F64, F64]:
    """Balls of the cells' middles, how much field - radius may change within each, and how far a turn moves it."""
    patch = cells[:, 0].astype(np.intp)
    u, v, half_u, half_v = cells[:, 1], cells[:, 2], cells[:, 3], cells[:, 4]
    z0, z1, rho0, rho1, h0, h1, k, c2 = numbers[patch].T
    u = u + np.where(h1 > 0.0, half_u, 0.0)
    rho = rho0 + rho1 * u
    local = np.stack([z0 + z1 * u, rho * np.cos(v), rho * np.sin(v)], axis=1)
    centers: F64 = origins[patch] + np.einsum("ni,nij->nj", local, frames[patch])
    radii: F64 = h0 + h1 * u + k * np.sqrt(np.maximum(1.0 - u * u / c2, 0.0))
    # Along its medial surface a spheroid's ball grows by at most 1 mm per mm.
    growth = np.where(k > 0.0, 1.0, 0.0)
    turned = np.abs(rho) + 2.0 * np.abs(rho1) * half_u
    reaches: F64 = half_u * (_LIPSCHITZ * np.hypot(z1, rho1) + growth) + _LIPSCHITZ * turned * half_v
    # A cone's cell is sampled where its balls are largest: from there they shrink while they move, which takes back
    # some of what moving may bring nearer.
    cone = h1 > 0.0
    reaches = np.where(cone, 2.0 * half_u * (_LIPSCHITZ * math.sqrt(2.0) - 1.0) + _LIPSCHITZ * turned * half_v, reaches)
    return np.ascontiguousarray(centers), radii, reaches, turned


_FIFTHS: Final = np.array([-0.8, -0.4, 0.0, 0.4, 0.8])


def _split(cells: F64, turned_mm: F64) -> F64:
    """Five parts of each cell, across the side that leaves more open; the middle stays a sample."""
    around = turned_mm * cells[:, 4] > 2.0 * cells[:, 3]
    parts = np.repeat(cells, 5, axis=0)
    column = np.repeat(np.where(around, 2, 1), 5)
    rows = np.arange(len(parts))
    half = parts[rows, column + 2]
    parts[rows, column] += np.tile(_FIFTHS, len(cells)) * half
    parts[rows, column + 2] = half / 5.0
    return parts


def _smallest(values: F64, count: int) -> npt.NDArray[np.intp]:
    if len(values) <= count:
        return np.arange(len(values))
    return np.argpartition(values, count)[:count]
