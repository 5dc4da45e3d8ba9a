"""Tubes, balls and prisms as triangles: closed, outward, within a bound of the shape."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.messages import F64
from guidance.planning.primitives import PrimitiveField, PrismField, TubeField

I32 = npt.NDArray[np.int32]
Mesh = tuple[F64, I32]

TOLERANCE_MM: Final = 0.05
_FEWEST_AROUND, _MOST_AROUND = 12, 128


def primitive_mesh(field: PrimitiveField) -> Mesh:
    """(V, 3) points and (T, 3) triangles, within `TOLERANCE_MM`; of a bent tube one closed body for each segment."""
    if isinstance(field, PrismField):
        return _prism(field)
    points = field.points_lps_mm
    # What repeats a point adds nothing.
    kept = points[np.concatenate([[True], np.any(np.diff(points, axis=0) != 0.0, axis=1)])]
    if len(kept) == 1:
        return _capsule(kept[0], kept[0], field)
    return _joined([_capsule(start, end, field) for start, end in pairwise(kept)])


def _joined(meshes: list[Mesh]) -> Mesh:
    firsts = np.cumsum([0, *(len(points) for points, _ in meshes[:-1])])
    triangles = [faces + np.int32(first) for (_, faces), first in zip(meshes, firsts, strict=True)]
    return np.concatenate([points for points, _ in meshes]), np.concatenate(triangles)


def _capsule(start: F64, end: F64, field: TubeField) -> Mesh:
    """Rings of points along the axis, from pole to pole."""
    radius = field.radius_mm
    # A circle's polygon lies up to r (1 - cos) within it; a sphere's facets do so both ways.
    half_angle = np.arccos(np.clip(1.0 - 0.5 * TOLERANCE_MM / radius, -1.0, 1.0))
    around = int(np.clip(2 * np.ceil(0.5 * np.pi / half_angle), _FEWEST_AROUND, _MOST_AROUND))
    along = end - start
    length = float(np.linalg.norm(along))
    axis = along / length if length > 0.0 else np.array([0.0, 0.0, 1.0])
    across = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    across /= np.linalg.norm(across)
    frame = np.stack([across, np.cross(axis, across), axis])
    turns = np.arange(around) * (2.0 * np.pi / around)
    rises = np.linspace(-0.5 * np.pi, 0.5 * np.pi, around // 2 + 1 + (around // 2) % 2)
    rings: list[tuple[F64, float]] = []
    for rise in rises[1:-1]:
        ring = np.stack([np.cos(rise) * np.cos(turns), np.cos(rise) * np.sin(turns), np.full(around, np.sin(rise))], 1)
        offsets = [0.0, length] if abs(rise) < 1e-9 and length > 0.0 else [0.0 if rise < 0.0 else length]
        rings += [(ring, offset) for offset in offsets]
    local = [np.array([[0.0, 0.0, -radius]])]
    local += [radius * ring + np.array([0.0, 0.0, offset]) for ring, offset in rings]
    local.append(np.array([[0.0, 0.0, length + radius]]))
    return np.concatenate(local) @ frame + start, _rings(len(rings), around)


def _rings(rings: int, around: int) -> I32:
    """Triangles between a pole, rings and the other pole."""
    here = np.arange(around)
    beside = (here + 1) % around
    last = 1 + rings * around
    faces = [np.stack([np.zeros(around, np.int64), 1 + beside, 1 + here], axis=1)]
    for ring in range(rings - 1):
        low, high = 1 + ring * around, 1 + (ring + 1) * around
        faces.append(np.stack([low + here, low + beside, high + beside], axis=1))
        faces.append(np.stack([low + here, high + beside, high + here], axis=1))
    top = 1 + (rings - 1) * around
    faces.append(np.stack([top + here, top + beside, np.full(around, last)], axis=1))
    return np.concatenate(faces).astype(np.int32)


def _prism(field: PrismField) -> Mesh:
    flat = field.polygon_mm
    flat = flat[np.any(flat != np.roll(flat, -1, axis=0), axis=1)]
    count = len(flat)
    low = np.concatenate([flat, np.zeros((count, 1))], axis=1)
    points = np.concatenate([low, low + np.array([0.0, 0.0, field.height_mm])]) @ field.frame + field.origin_lps_mm
    cap = np.array(_ears(flat), np.int64).reshape(-1, 3)
    here = np.arange(count)
    beside = (here + 1) % count
    sides = [
        np.stack([here, beside, beside + count], axis=1),
        np.stack([here, beside + count, here + count], axis=1),
    ]
    return points, np.concatenate([cap[:, ::-1], cap + count, *sides]).astype(np.int32)


def _ears(polygon: F64) -> list[tuple[int, int, int]]:
    """Triangles of a counter-clockwise polygon.

    Source: ear clipping (Meisters, Amer Math Monthly 1975;82:648). Of an outline that crosses itself no ear may be
    left; then any corner goes, so that what comes of it is closed.
    """
    left = list(range(len(polygon)))
    found = []
    while len(left) > 3:
        chosen = next((n for n in range(len(left)) if _is_ear(polygon, left, n)), 0)
        found.append((left[chosen - 1], left[chosen], left[(chosen + 1) % len(left)]))
        del left[chosen]
    found.append((left[0], left[1], left[2]))
    return found


def _is_ear(polygon: F64, left: list[int], n: int) -> bool:
    names = (left[n - 1], left[n], left[(n + 1) % len(left)])
    a, b, c = polygon[list(names)]
    if _turn(a, b, c) <= 0.0:
        return False
    others = polygon[[name for name in left if name not in names]]
    within = (_turns(a, b, others) >= 0.0) & (_turns(b, c, others) >= 0.0) & (_turns(c, a, others) >= 0.0)
    return not bool(within.any())


def _turn(a: F64, b: F64, c: F64) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _turns(a: F64, b: F64, points: F64) -> F64:
    return np.asarray((b[0] - a[0]) * (points[:, 1] - a[1]) - (b[1] - a[1]) * (points[:, 0] - a[0]))
