"""Planes of one orientation, in any order and with gaps -> the regular grid that they stand on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.errors import GeometryError
from guidance.messages import F64

SAME_PLACE_MM: Final = 0.01  # positions are written with 2 to 6 decimals
_STRAY_STEPS: Final = 0.1  # how far a plane may stand beside its place, in steps
_STRAY_MM: Final = 0.2  # and in mm, whatever the step
_STRAY_PX: Final = 0.25  # and sideways, in pixels
_ANGLE: Final = np.deg2rad(0.1)
_ORTHOGONAL: Final = 1e-3
_PARALLEL: Final = np.cos(np.deg2rad(1.0))
_MOST_PLACES: Final = 8192  # a body at 0.25 mm
_MEND: Final = "resample the segmentation to a regular grid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """Where one frame stands: the centre of its first pixel, its directions, (row, column) spacing."""

    position_mm: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlaneStack:
    """A regular grid.

    Attributes:
        affine_lps_from_ijk: (4, 4) float64, voxel centres at integers; k rises along row x column. The third column
            is the true step, which leans where the gantry was tilted.
        places: (N,) the k of each plane, in the order that they were given; planes at one place share it.
        count: of places from the first to the last, those without a plane among them.
    """

    affine_lps_from_ijk: F64
    places: npt.NDArray[np.int64]
    count: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegularPlaces:
    """Places along one axis: `first_mm + index * step_mm`."""

    step_mm: float
    first_mm: float
    index: npt.NDArray[np.int64]


def stack_planes(
    planes: Sequence[Plane], *, declared_step_mm: float | None = None, volume_affine: F64 | None = None
) -> PlaneStack:
    """Put planes onto one regular grid.

    Only orientation and position count; a declared step is used where planes are missing between others, or where
    there is only one.

    Args:
        planes: at least one.
        declared_step_mm: Spacing Between Slices, any sign.
        volume_affine: (4, 4) `affine_lps_from_ijk` of the volume that the planes were made on, if known.

    Raises:
        GeometryError: `mixed_orientation`, `irregular_planes`, `single_slice`.

    Source: DICOM PS3.3 C.7.6.2.1.1 and C.7.6.16.2.
    """
    row, column, normal = _axes(planes)
    spacing = planes[0].spacing_mm
    if min(spacing) <= 0.0:
        raise GeometryError(f"pixel spacing {spacing[0]:g} x {spacing[1]:g} mm", code="irregular_planes", mend=_MEND)
    positions: F64 = np.array([plane.position_mm for plane in planes], dtype=np.float64)
    along: F64 = positions @ normal
    places = regular_places(
        along,
        declared_mm=declared_step_mm,
        volume_mm=None if volume_affine is None else _step_along(volume_affine, normal),
    )
    sideways = positions - along[:, None] * normal
    first, last = int(np.argmin(places.index)), int(np.argmax(places.index))
    count = int(places.index[last]) + 1
    lean = (sideways[last] - sideways[first]) / max(count - 1, 1)
    strays = np.linalg.norm(sideways - sideways[first] - places.index[:, None] * lean, axis=1)
    if strays.max() > max(_STRAY_PX * min(spacing), SAME_PLACE_MM):
        told = f"planes stand up to {strays.max():.2f} mm beside their line"
        raise GeometryError(told, code="irregular_planes", mend=_MEND)
    affine = np.eye(4)
    affine[:3, 0] = row * spacing[1]
    affine[:3, 1] = column * spacing[0]
    affine[:3, 2] = normal * places.step_mm + lean
    affine[:3, 3] = sideways[first] + places.first_mm * normal
    return PlaneStack(affine_lps_from_ijk=affine, places=places.index, count=count)


def regular_places(along_mm: F64, *, declared_mm: float | None = None, volume_mm: float | None = None) -> RegularPlaces:
    """Find the step at which places stand.

    The smallest gap is the step, unless a told one explains all gaps and does not leave every other place empty:
    a told step of half the gap everywhere is a wrong one, for no structure is missing in every second slice.

    Args:
        along_mm: (N,) places in any order; places within 0.01 mm are one.
        declared_mm, volume_mm: steps told by the object and by the volume; signs do not count.

    Raises:
        GeometryError: `irregular_planes`: no step explains the gaps; `single_slice`: one place and no told step.
    """
    ordered = np.sort(np.asarray(along_mm, dtype=np.float64))
    if not np.isfinite(ordered).all():
        raise GeometryError("a plane's position is not finite", code="irregular_planes", mend=_MEND)
    unique = ordered[np.concatenate(([True], np.diff(ordered) > SAME_PLACE_MM))]
    told = [abs(step) for step in (declared_mm, volume_mm) if step is not None and abs(step) > SAME_PLACE_MM]
    if unique.size == 1:
        if not told:
            words = "one plane alone, and nothing says how thick it is"
            raise GeometryError(words, code="single_slice", mend="add Spacing Between Slices, or a second plane")
        return RegularPlaces(step_mm=told[0], first_mm=float(unique[0]), index=np.zeros(len(along_mm), np.int64))
    gaps = np.diff(unique)
    for step in (*told, float(gaps.min())):
        counts = _counts(gaps, step)
        striped = counts is not None and gaps.size > 1 and bool(np.all(counts == counts[0])) and counts[0] > 1
        if counts is None or striped:
            continue
        index = np.concatenate(([0], np.cumsum(counts)))
        if index[-1] >= _MOST_PLACES:
            break
        # The whole span carries the step: the rounding of single positions averages out.
        best = float((unique[-1] - unique[0]) / index[-1])
        if np.abs(unique - unique[0] - index * best).max() <= min(_STRAY_STEPS * best, _STRAY_MM):
            nearest = np.rint((np.asarray(along_mm) - unique[0]) / best).astype(np.int64)
            return RegularPlaces(step_mm=best, first_mm=float(unique[0]), index=nearest)
    words = f"planes stand {gaps.min():.3f} to {gaps.max():.3f} mm apart, at no regular step"
    raise GeometryError(words, code="irregular_planes", mend=_MEND)


def _counts(gaps: F64, step_mm: float) -> npt.NDArray[np.int64] | None:
    counts = np.rint(gaps / step_mm)
    fits = bool(np.all(counts >= 1) and np.all(np.abs(gaps / step_mm - counts) <= _STRAY_STEPS))
    return counts.astype(np.int64) if fits else None


def _axes(planes: Sequence[Plane]) -> tuple[F64, F64, F64]:
    orientations: F64 = np.array([plane.orientation for plane in planes], dtype=np.float64)
    spacings: F64 = np.array([plane.spacing_mm for plane in planes], dtype=np.float64)
    row, column = orientations[0, :3], orientations[0, 3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if abs(lengths[0] - 1) > _ORTHOGONAL or abs(lengths[1] - 1) > _ORTHOGONAL or abs(row @ column) > _ORTHOGONAL:
        values = ", ".join(f"{value:g}" for value in orientations[0])
        told = f"Image Orientation ({values}) is no pair of right-angled directions"
        raise GeometryError(told, code="mixed_orientation", mend="send the object as its maker wrote it")
    if (
        np.abs(orientations - orientations[0]).max() > _ANGLE
        or np.abs(spacings - spacings[0]).max() > 1e-3 * spacings[0].max()
    ):
        told = "frames differ in orientation or pixel spacing"
        raise GeometryError(told, code="mixed_orientation", mend=_MEND)
    normal = np.cross(row, column)
    return row / lengths[0], column / lengths[1], normal / np.linalg.norm(normal)


def _step_along(affine: F64, normal: F64) -> float | None:
    """The volume's step from slice to slice along a normal; None where its slices are not parallel to the planes."""
    across = np.cross(affine[:3, 0], affine[:3, 1])
    if abs(across @ normal) < _PARALLEL * np.linalg.norm(across):
        return None
    return float(abs(affine[:3, 2] @ normal))
