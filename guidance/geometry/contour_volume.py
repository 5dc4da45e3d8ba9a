"""Closed contours on parallel planes -> voxels that say how much of each belongs to what the contours enclose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.errors import GeometryError
from guidance.geometry.contour_area import covered
from guidance.geometry.plane_stack import regular_places
from guidance.messages import F64, U8
from guidance.planning.occupancy import SURFACE_LEVEL, Occupancy

PIXEL_MM: Final = 0.5  # finer than the contours of a 0.5 mm CT, for edges are kept as parts of a pixel
_MOST_PIXELS: Final = 1024  # along a side; larger structures get larger pixels
_MOST_VOXELS: Final = 1 << 28
_REFINEMENTS: Final = 4
_FINEST_MM: Final = 0.1
_SOLID: Final = 0.9  # of the area, in pixels that are more than half covered
_FLAT_MM: Final = 0.05  # coordinates are written with 2 decimals or more
_NOT_FLAT_MM: Final = 0.5
_PARALLEL: Final = np.cos(np.deg2rad(1.0))
_MOST_PAIRS: Final = 4_000_000  # of edges held against each other; above, areas decide
_TOUCHING: Final = 0.02  # of the smaller contour's area: less in common is drawing, more than 98 % is a hole
_MEND: Final = "draw it on parallel planes of equal distance"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contour:
    """One closed contour.

    Attributes:
        points_mm: (N, 3) float64, patient LPS, N >= 3; the last is joined to the first.
        exclusive: what two contours of a plane have in common is outside, whatever they look like.
        thickness_mm: of the slab that it stands for, where it is told.
    """

    points_mm: F64
    exclusive: bool = False
    thickness_mm: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ContourVolume:
    """Attributes:
    occupancy: with an empty rim; (i, j, k) run along the planes' u and v and their normal.
    overlapping_planes: on so many planes contours lie partly over each other and were taken together.
    missing_mm: places along the normal, in mm from the origin, where no contour is though some are on both sides.
    """

    occupancy: Occupancy
    overlapping_planes: int
    missing_mm: tuple[float, ...]


def fill_contours(
    contours: Sequence[Contour], *, volume_affine: F64 | None = None, step_mm: float | None = None
) -> ContourVolume:
    """Fill contours.

    Each stands for the slab of half a step to both sides of its plane. A contour inside another is a hole, one inside
    that an island; a keyhole (out and back along one cut) is a hole, too. Contours that lie partly over each other
    are taken together.

    Args:
        contours: at least one.
        volume_affine: `affine_lps_from_ijk` of the volume that they were drawn on, if known: gives the directions of
            the pixels, their size where it is finer, and the step where the planes do not tell it.
        step_mm: of other structures of the same file, for one that has a single plane.

    Raises:
        GeometryError: `irregular_planes`, `single_slice`, `not_planar`, `empty_zone`.

    Source: DICOM PS3.3 C.8.8.6.
    """
    if not all(np.isfinite(contour.points_mm).all() for contour in contours):
        raise GeometryError("a contour's point is not finite", code="not_planar", mend=_MEND)
    u, v, normal = _directions(contours, volume_affine)
    along: F64 = np.array([float(np.mean(contour.points_mm @ normal)) for contour in contours])
    volume_step, pixel_mm = None, PIXEL_MM
    if volume_affine is not None and _is_parallel(volume_affine, normal):
        volume_step = float(abs(volume_affine[:3, 2] @ normal))
        pixel_mm = min(pixel_mm, *(float(np.linalg.norm(volume_affine[:3, axis])) for axis in (0, 1)))
    thickness = next((one.thickness_mm for one in contours if one.thickness_mm), None)
    places = regular_places(along, declared_mm=thickness or volume_step or step_mm, volume_mm=volume_step)
    flat = [np.stack([contour.points_mm @ u, contour.points_mm @ v], axis=1) for contour in contours]
    low: F64 = np.min([part.min(axis=0) for part in flat], axis=0)
    size: F64 = np.max([part.max(axis=0) for part in flat], axis=0) - low
    pixel_mm = max(pixel_mm, float(size.max()) / _MOST_PIXELS)
    count = int(places.index.max()) + 1
    for _ in range(_REFINEMENTS):
        values, overlapping = _filled(
            contours, [(part - low) / pixel_mm for part in flat], size / pixel_mm, places.index
        )
        # Where much of a structure is less than half of its pixels, as of a wire or a joint's gap, they are too large.
        is_solid = (values > SURFACE_LEVEL).sum() >= _SOLID * values.sum(dtype=np.int64) / 255.0
        if is_solid or pixel_mm < _FINEST_MM or 4 * values.size > _MOST_VOXELS:
            break
        pixel_mm /= 2.0
    if not (values > SURFACE_LEVEL).any():
        raise GeometryError("the contours enclose nothing", code="empty_zone", mend="draw it anew")
    affine = np.eye(4)
    affine[:3, :3] = np.stack([u * pixel_mm, v * pixel_mm, normal * places.step_mm], axis=1)
    affine[:3, 3] = u * (low[0] - pixel_mm) + v * (low[1] - pixel_mm) + normal * (places.first_mm - places.step_mm)
    missing = sorted(set(range(count)) - set(places.index.tolist()))
    return ContourVolume(
        occupancy=Occupancy(values, affine),
        overlapping_planes=overlapping,
        missing_mm=tuple(places.first_mm + place * places.step_mm for place in missing),
    )


def _filled(
    contours: Sequence[Contour], flat: Sequence[F64], size_px: F64, index: npt.NDArray[np.int64]
) -> tuple[U8, int]:
    """The planes with an empty rim, and on how many of them contours lie partly over each other."""
    columns, rows = (int(count) for count in np.ceil(size_px).astype(int) + 1)
    count = int(index.max()) + 1
    if rows * columns * count > _MOST_VOXELS:
        raise GeometryError(f"contours span {count} planes", code="irregular_planes", mend=_MEND)
    values = np.zeros((count + 2, rows + 2, columns + 2), np.uint8)
    overlapping = 0
    for place in np.unique(index).tolist():
        here = np.flatnonzero(index == place).tolist()
        parts = [flat[one] for one in here]
        exclusive = any(contours[one].exclusive for one in here)
        together = not exclusive and _lie_partly_over_each_other(parts, (rows, columns))
        overlapping += together
        area = covered(parts, (rows, columns), even_odd=not together)
        values[place + 1, 1:-1, 1:-1] = np.rint(area * 255.0)
    return values, overlapping


def _directions(contours: Sequence[Contour], volume_affine: F64 | None) -> tuple[F64, F64, F64]:
    """Two directions in the planes and their normal: the volume's or an axis of the patient where it fits."""
    centered = [contour.points_mm - contour.points_mm.mean(axis=0) for contour in contours]
    _, extents, axes = np.linalg.svd(np.concatenate(centered), full_matrices=False)
    if extents[1] < 1e-6 * max(extents[0], 1e-12):
        raise GeometryError("the contours enclose nothing", code="empty_zone", mend="draw it anew")
    candidates: list[tuple[F64, F64 | None]] = []
    if volume_affine is not None:
        across = np.cross(volume_affine[:3, 0], volume_affine[:3, 1])
        candidates.append((across / np.linalg.norm(across), volume_affine[:3, 0]))
    candidates += [(axis, None) for axis in np.eye(3)[::-1]]
    best: F64 = axes[2] * (1.0 if axes[2][np.argmax(np.abs(axes[2]))] > 0 else -1.0)
    candidates.append((best, None))
    for normal, along in candidates:
        spread = max(float(np.abs(part @ normal).max()) for part in centered)
        if spread <= (_FLAT_MM if normal is not best else _NOT_FLAT_MM):
            first: F64 = np.eye(3)[np.argmin(np.abs(normal))] if along is None else along
            if along is None and abs(normal[0]) < 0.9:
                first = np.eye(3)[0]
            u = first - normal * (first @ normal)
            u = u / np.linalg.norm(u)
            return u, np.cross(normal, u), normal
    told = f"the contours leave their common plane by {spread:.1f} mm"
    raise GeometryError(told, code="not_planar", mend=_MEND)


def _is_parallel(affine: F64, normal: F64) -> bool:
    across = np.cross(affine[:3, 0], affine[:3, 1])
    return bool(abs(across @ normal) >= _PARALLEL * np.linalg.norm(across))


def _lie_partly_over_each_other(parts: Sequence[F64], shape: tuple[int, int]) -> bool:
    for one, other in combinations(parts, 2):
        if not _boxes_meet(one, other) or not _cross(one, other):
            continue
        first, second = (float(covered([part], shape, even_odd=True).sum()) for part in (one, other))
        common = first + second - float(covered([one, other], shape, even_odd=False).sum())
        if _TOUCHING * min(first, second) < common < (1.0 - _TOUCHING) * min(first, second):
            return True
    return False


def _cross(one: F64, other: F64) -> bool:
    """Whether any edges of two contours cross or touch; by far the most pairs of contours do not."""
    ours = _edges_near(one, other)
    theirs = _edges_near(other, one)
    if ours.shape[0] * theirs.shape[0] > _MOST_PAIRS:
        return True
    a, b, c, d = ours[:, None, 0], ours[:, None, 1], theirs[None, :, 0], theirs[None, :, 1]
    apart: npt.NDArray[np.bool_] = (_turn(a, b, c) * _turn(a, b, d) > 0) | (_turn(c, d, a) * _turn(c, d, b) > 0)
    return not apart.all()


def _edges_near(contour: F64, other: F64) -> F64:
    """(N, 2, 2) start and end of the edges whose boxes meet the other contour's box."""
    edges = np.stack([contour, np.roll(contour, -1, axis=0)], axis=1)
    starts_before = np.all(edges.min(axis=1) <= other.max(axis=0), axis=1)
    ends_behind = np.all(edges.max(axis=1) >= other.min(axis=0), axis=1)
    return np.asarray(edges[starts_before & ends_behind], dtype=np.float64)


def _turn(a: F64, b: F64, c: F64) -> F64:
    """Twice the signed area of triangles."""
    ab, ac = b - a, c - a
    return np.asarray(ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0], dtype=np.float64)


def _boxes_meet(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> bool:
    return bool(np.all(one.min(axis=0) <= other.max(axis=0)) and np.all(other.min(axis=0) <= one.max(axis=0)))
