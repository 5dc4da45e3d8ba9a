"""Bone corridors of the procedural pelvis: the roomiest straight lines, from the same closed forms as its voxels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np

from guidance.messages import F64, Vector3
from simulators.pelvis import ProceduralPelvis
from simulators.pelvis_anatomy import BODY_MIDDLES_MM, sacral_point

SMALLEST_RADIUS_MM: Final = 3.65  # of a corridor that still counts as one: a 7.3 mm screw
_STEP_MM: Final = 1.0
_ENDS_MM: Final = 8.0  # of the sacrum's own width left out at each joint face
_FREE_MM: Final = 400.0
_HALF_WIDTH_MM: Final = {"S1": 52.0, "S2": 46.0}
_ILIOSACRAL_ANGLES_DEG: Final = ((15.0, 25.0, 35.0), (-25.0, -15.0, -5.0))  # dorsal of the side, caudal of level


@dataclass(frozen=True, slots=True, kw_only=True)
class Corridor:
    """A straight way through bone.

    Attributes:
        name: `S1 transsacral`, `S2 transsacral`, `S1 iliosacral left`, `S1 iliosacral right`.
        entry_lps_mm, target_lps_mm: ends of its axis; the entry lies on the outer surface of the ilium.
        radius_mm: least distance from the axis to any surface or tunnel of the sacrum, the joint faces aside.
        exists: whether `SMALLEST_RADIUS_MM` fits.
    """

    name: str
    entry_lps_mm: Vector3
    target_lps_mm: Vector3
    radius_mm: float

    @property
    def exists(self) -> bool:
        return self.radius_mm >= SMALLEST_RADIUS_MM


def corridors(pelvis: ProceduralPelvis) -> dict[str, Corridor]:
    """Every corridor by name; one that is too narrow is there too, with its radius."""
    found = [
        _transsacral(pelvis, "S1", BODY_MIDDLES_MM[0]),
        _transsacral(pelvis, "S2", BODY_MIDDLES_MM[1]),
        _iliosacral(pelvis, "left", 1.0),
        _iliosacral(pelvis, "right", -1.0),
    ]
    return {corridor.name: corridor for corridor in found}


def axis_clearance_mm(pelvis: ProceduralPelvis, start_lps_mm: F64, end_lps_mm: F64) -> float:
    """Least distance to the sacrum's surface and tunnels over a segment; negative where it leaves the bone."""
    count = max(int(np.linalg.norm(end_lps_mm - start_lps_mm) / _STEP_MM), 2)
    part = np.linspace(0.0, 1.0, count)[:, None]
    return float((-pelvis.sacrum_distance_mm(start_lps_mm + part * (end_lps_mm - start_lps_mm))).min())


def _transsacral(pelvis: ProceduralPelvis, level: str, middle_mm: float) -> Corridor:
    reach = _HALF_WIDTH_MM[level] - _ENDS_MM
    best, place = -_FREE_MM, np.zeros(3)
    for depth, down in product(np.arange(-13.0, 8.1, 1.0), np.arange(middle_mm - 10.0, middle_mm + 14.1, 1.0)):
        at = np.asarray(sacral_point(0.0, float(depth), float(down))) + pelvis.origin_lps_mm
        # Mirror-symmetric, so half of it is enough.
        room = axis_clearance_mm(pelvis, at, at + reach * np.eye(3)[0])
        if room > best:
            best, place = room, at
    left = _out_of_bone(pelvis, place, np.array([1.0, 0.0, 0.0]))
    right = _out_of_bone(pelvis, place, np.array([-1.0, 0.0, 0.0]))
    return Corridor(name=f"{level} transsacral", entry_lps_mm=left, target_lps_mm=right, radius_mm=best)


def _iliosacral(pelvis: ProceduralPelvis, side: str, sign: float) -> Corridor:
    best, entry, target = -_FREE_MM, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    ends = product(np.arange(-12.0, 1.1, 4.0), np.arange(8.0, 22.1, 3.0))
    for (depth, down), dorsal, caudal in product(ends, *_ILIOSACRAL_ANGLES_DEG):
        at = np.asarray(sacral_point(-4.0 * sign, float(depth), float(down))) + pelvis.origin_lps_mm
        a, c = np.radians([dorsal, caudal])
        direction = np.array([sign * np.cos(a) * np.cos(c), np.sin(a) * np.cos(c), np.sin(c)])
        room = axis_clearance_mm(pelvis, at, at + direction * (_HALF_WIDTH_MM["S1"] - _ENDS_MM))
        if room > best:
            best, entry = room, _out_of_bone(pelvis, at, direction)
            target = (float(at[0]), float(at[1]), float(at[2]))
    return Corridor(name=f"S1 iliosacral {side}", entry_lps_mm=entry, target_lps_mm=target, radius_mm=best)


def _out_of_bone(pelvis: ProceduralPelvis, start: F64, direction: F64) -> Vector3:
    """Where a line from the sacrum leaves the hip bone behind the joint; the iliac wing further out is not drilled."""
    along = np.arange(0.0, 140.0, 0.5)
    inside = pelvis.hip_distance_mm(start + along[:, None] * direction) < 0.0
    begin = int(np.argmax(inside))
    outside_again = np.flatnonzero(~inside[begin:])
    end = begin + int(outside_again[0]) if inside.any() and len(outside_again) else len(along) - 1
    x, y, z = (start + along[end] * direction).tolist()
    return (x, y, z)
