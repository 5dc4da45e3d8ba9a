"""Slices through a volume in any direction: where they lie, how a reader is used to seeing them, what is in them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import ndimage

from guidance.kernels import F32
from guidance.messages import F64, Vector3
from guidance.planning.volume import PlanningVolume

_LEAST_LETTER: Final = 0.4  # part of a direction that a letter is told for: two letters up to 66 deg apart
_LETTERS: Final = (("L", "R"), ("P", "A"), ("H", "F"))
_STEEP: Final = 0.8  # an axis nearer than 37 deg to head-feet: the body's own axis does not turn a plane about it well
# What is down and what is right on the screen for a plane across x (sagittal), y (coronal), z (axial), as radiologists
# look at them: sagittal with the front on the left, coronal and axial with the patient's left on the right.
_DOWN: Final = ((0.0, 0.0, -1.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))
_RIGHT: Final = ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (1.0, 0.0, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlicePlane:
    """A rectangle of square pixels in the patient.

    Attributes:
        center_lps_mm: (3,) middle of the rectangle.
        right, down: (3,) perpendicular unit vectors, LPS, along rows and columns.
        pixel_mm: > 0.
        rows, columns: size.
    """

    center_lps_mm: F64
    right: F64
    down: F64
    pixel_mm: float
    rows: int
    columns: int

    @property
    def normal(self) -> F64:
        """(3,) unit vector away from the reader."""
        return np.cross(self.right, self.down)

    def points_lps_mm(self) -> F64:
        """(rows * columns, 3), row by row."""
        v, u = np.indices((self.rows, self.columns), dtype=np.float64)
        u, v = (u - (self.columns - 1) / 2) * self.pixel_mm, (v - (self.rows - 1) / 2) * self.pixel_mm
        points: F64 = self.center_lps_mm + u.reshape(-1, 1) * self.right + v.reshape(-1, 1) * self.down
        return points

    def pixels_of(self, points_lps_mm: F64) -> F64:
        """(N, 3): u, v in px and how far behind the plane in mm, of (N, 3) points."""
        away = points_lps_mm - self.center_lps_mm
        return np.column_stack(
            (
                away @ self.right / self.pixel_mm + (self.columns - 1) / 2,
                away @ self.down / self.pixel_mm + (self.rows - 1) / 2,
                away @ self.normal,
            )
        )

    def edge_letters(self) -> tuple[str, str, str, str]:
        """What of the patient is at the left, right, top and bottom edge: `R`, `LA`, ..."""
        return (
            direction_letters(-self.right),
            direction_letters(self.right),
            direction_letters(-self.down),
            direction_letters(self.down),
        )


def direction_letters(direction: F64) -> str:
    """`L`, `PH`, ...: sides of the patient that a unit vector points to, the main one first."""
    order = np.argsort(-np.abs(direction), kind="stable")
    return "".join(
        _LETTERS[axis][int(direction[axis] < 0.0)] for axis in order.tolist() if abs(direction[axis]) >= _LEAST_LETTER
    )


def plane_name(plane: SlicePlane) -> str:
    """`axial`, `coronal` or `sagittal`, with `oblique` where it is more than 5 deg off."""
    normal = np.abs(plane.normal)
    name = ("sagittal", "coronal", "axial")[int(np.argmax(normal))]
    return name if normal.max() > np.cos(np.radians(5.0)) else f"oblique {name}"


def longitudinal_planes(
    entry_lps_mm: Vector3, target_lps_mm: Vector3, *, pixel_mm: float, size_px: int
) -> tuple[SlicePlane, SlicePlane]:
    """Two planes that contain a path and are perpendicular to each other, about its middle.

    The first contains the direction nearest to head-feet (for a path along the body: front-back), the second is
    across it.
    """
    entry, target = np.array(entry_lps_mm), np.array(target_lps_mm)
    axis = (target - entry) / np.linalg.norm(target - entry)
    wanted = np.array((0.0, 1.0, 0.0) if abs(axis[2]) > _STEEP else (0.0, 0.0, 1.0))
    along = wanted - (wanted @ axis) * axis
    along /= np.linalg.norm(along)
    middle = (entry + target) / 2
    first = _facing(middle, np.cross(axis, along), pixel_mm, size_px)
    return first, _facing(middle, along, pixel_mm, size_px)


def cross_sections(
    entry_lps_mm: Vector3, target_lps_mm: Vector3, depths_mm: Sequence[float], *, pixel_mm: float, size_px: int
) -> tuple[SlicePlane, ...]:
    """Planes across a path, each about the axis at its depth from the entry."""
    entry, target = np.array(entry_lps_mm), np.array(target_lps_mm)
    axis = (target - entry) / np.linalg.norm(target - entry)
    return tuple(_facing(entry + depth * axis, axis, pixel_mm, size_px) for depth in depths_mm)


def sampled_hu(volume: PlanningVolume, plane: SlicePlane) -> F32:
    """(rows, columns) HU, trilinear; NaN outside the volume."""
    ijk_from_lps = np.linalg.inv(volume.affine_lps_from_ijk)
    ijk = plane.points_lps_mm() @ ijk_from_lps[:3, :3].T + ijk_from_lps[:3, 3]
    sampled = ndimage.map_coordinates(
        volume.voxels_hu, ijk[:, ::-1].T, order=1, mode="constant", cval=np.nan, output=np.float32
    )
    pixels: F32 = sampled.reshape(plane.rows, plane.columns)
    return pixels


def crosses_box(plane: SlicePlane, box_lps_mm: F64) -> bool:
    """Whether a plane (endless) meets a (2, 3) box."""
    corners = np.array(list(itertools.product(*box_lps_mm.T)))
    behind = (corners - plane.center_lps_mm) @ plane.normal
    return bool(behind.min() <= 0.0 <= behind.max())


def _facing(center: F64, normal: F64, pixel_mm: float, size_px: int) -> SlicePlane:
    """The plane across a direction, turned as a reader expects it."""
    main = int(np.argmax(np.abs(normal)))
    down = np.array(_DOWN[main]) - (np.array(_DOWN[main]) @ normal) * normal
    down /= np.linalg.norm(down)
    right = np.cross(down, normal)
    if right @ np.array(_RIGHT[main]) < 0.0:
        right = -right
    return SlicePlane(center_lps_mm=center, right=right, down=down, pixel_mm=pixel_mm, rows=size_px, columns=size_px)
