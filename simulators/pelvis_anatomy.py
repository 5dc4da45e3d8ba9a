"""Where the procedural pelvis has what: points and radii in LPS mm, the middle of the first sacral body at 0.

Sizes are those of an adult of middle height, rounded (orders of magnitude: Gray's Anatomy; sacral slope
45 deg, hip centres 176 mm apart). x is the patient's left; only the left half is written down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.messages import F64, Vector3
from simulators.pelvis_shapes import Cup, Disc, Plate, Shape, Tube, mirrored

F32 = npt.NDArray[np.float32]

# The sacrum lies along a circle in the midsagittal plane: s runs down it, a is the depth from it, dorsal positive.
SACRAL_RADIUS_MM: Final = 90.0
SACRAL_SLOPE_DEG: Final = 45.0
_S1_MIDDLE_MM: Final = 15.0
_SACRAL_LENGTH_MM: Final = 112.0
_SMOOTH_MM: Final = 5.0
LEVEL_BORDERS_MM: Final = (30.0, 54.0, 75.0, 94.0)  # s of the foramina S1 to S4, between the bodies
BODY_MIDDLES_MM: Final = (15.0, 42.0, 64.5, 84.5, 102.0)
ENDPLATE_HALF_WIDTH_MM: Final = 25.0
DISC_HEIGHT_MM: Final = 10.0
_CANAL_DOWN_MM: Final = (-170.0, 0.0, 40.0, 80.0, 100.0)
_CANAL_DEPTH_MM: Final = (16.0, 14.0, 11.0, 8.0, 7.0)
_CANAL_RADIUS_MM: Final = (8.0, 8.0, 6.0, 3.5, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What differs between patients.

    Attributes:
        ala_slope: how steeply the upper surface of the ala falls to the side (mm per mm); 0.15 is usual, dysmorphic
            sacra reach 0.75: then no straight corridor runs through S1 from side to side.
        foramen_radii_mm: ventral foramina S1 to S4.
    """

    ala_slope: float = 0.15
    foramen_radii_mm: tuple[float, float, float, float] = (5.5, 5.0, 4.0, 3.2)


USUAL: Final = Variant()
DYSMORPHIC: Final = Variant(ala_slope=0.75, foramen_radii_mm=(7.0, 5.5, 4.0, 3.2))


def sacral_point(x_mm: float, depth_mm: float, down_mm: float) -> Vector3:
    """LPS of a place on the sacrum: to the left, dorsal of the middle circle, down it from the upper end plate."""
    y, z = _on_circle(down_mm, SACRAL_RADIUS_MM + depth_mm) - _on_circle(_S1_MIDDLE_MM, SACRAL_RADIUS_MM)
    return (x_mm, float(y), float(z))


def sacral_coordinates(points: F32) -> tuple[F32, F32, F32]:
    """(..., 3) LPS -> |x|, depth a, down s."""
    center = -_on_circle(_S1_MIDDLE_MM, SACRAL_RADIUS_MM)
    y, z = points[..., 1] - np.float32(center[0]), points[..., 2] - np.float32(center[1])
    depth = np.hypot(y, z) - np.float32(SACRAL_RADIUS_MM)
    down = (np.float32(np.radians(SACRAL_SLOPE_DEG)) - np.arctan2(z, y)) * np.float32(SACRAL_RADIUS_MM)
    return np.abs(points[..., 0]), depth, down


def _on_circle(down_mm: float, radius_mm: float) -> F64:
    angle = np.radians(SACRAL_SLOPE_DEG) - down_mm / SACRAL_RADIUS_MM
    return radius_mm * np.array([np.cos(angle), np.sin(angle)])


@dataclass(frozen=True, slots=True)
class Sacrum:
    """The sacrum's outer surface, its tunnels not taken out."""

    variant: Variant

    def distance_mm(self, points: F32) -> F32:
        """To first order: the surface's own measure over its slope."""
        # Central differences, so that left and right come out the same.
        half = np.float32(0.125)
        slope_squared = np.zeros(points.shape[:-1], np.float32)
        for axis in np.eye(3, dtype=np.float32):
            rise = self._level(points + half * axis) - self._level(points - half * axis)
            slope_squared += (rise / (2.0 * half)) ** 2
        distance: F32 = self._level(points) / np.clip(np.sqrt(slope_squared), 0.5, 3.0)
        return distance

    def _level(self, points: F32) -> F32:
        across, depth, down = sacral_coordinates(points)
        half_width = np.interp(down, [0, 15, 35, 55, 80, 110], [51, 55, 51, 39, 26, 11]).astype(np.float32)
        lateral = np.maximum(across - np.float32(ENDPLATE_HALF_WIDTH_MM), 0.0)
        top = 2.0 * np.clip(lateral / 4.0, 0.0, 1.0) + np.float32(self.variant.ala_slope) * lateral
        front = -15.0 + 0.075 * np.clip(down, 0, 110) + 0.0030 * across**2
        # The dorsal wall: laminae over the canal, median crest, falling off to the sides.
        crest = 5.0 * np.exp(-((across / 5.0) ** 2)) * (1.0 + 0.25 * np.cos(down * np.float32(0.28)))
        lateral_crest = 3.0 * np.exp(-(((across - 27.0) / 6.0) ** 2))
        back = np.interp(down, [0, 40, 80, 110], [24, 20, 13, 9]) + crest + lateral_crest - 0.0030 * across**2
        sides = (across - half_width, top - down, down - _SACRAL_LENGTH_MM, front - depth, depth - back)
        distance = sides[0]
        for side in sides[1:]:
            blend = np.maximum(_SMOOTH_MM - np.abs(distance - side), 0.0) / _SMOOTH_MM
            distance = np.maximum(distance, side) + blend * blend * (_SMOOTH_MM / 4.0)
        return distance.astype(np.float32)

    def box_mm(self) -> tuple[F64, F64]:
        """Around all of it."""
        return np.array([-62.0, -45.0, -110.0]), np.array([62.0, 62.0, 35.0])


def canal() -> Tube:
    """Spinal and sacral canal as one chain, from L2 to the hiatus."""
    downs = np.arange(-170.0, 101.0, 10.0)
    depths = np.interp(downs, _CANAL_DOWN_MM, _CANAL_DEPTH_MM)
    radii = np.interp(downs, _CANAL_DOWN_MM, _CANAL_RADIUS_MM)
    # Above the sacrum the canal goes on straight along the lumbar spine, not along the circle.
    points = [
        sacral_point(0.0, float(depth), float(down)) if down >= 0.0 else lumbar_point(0.0, float(depth), float(-down))
        for down, depth in zip(downs, depths, strict=True)
    ]
    return Tube(tuple(points), tuple(float(radius) for radius in radii))


def lumbar_point(x_mm: float, depth_mm: float, up_mm: float) -> Vector3:
    """LPS of a place above the sacrum; the spine straightens from the sacral slope to 10 deg within 40 mm."""
    at = np.asarray(sacral_point(0.0, 0.0, 0.0))
    steps = 20
    angle = np.radians(SACRAL_SLOPE_DEG)
    for n in range(steps):
        angle = np.radians(SACRAL_SLOPE_DEG - 35.0 * min((n + 0.5) / steps * up_mm / 40.0, 1.0))
        at = at + up_mm / steps * np.array([0.0, -np.sin(angle), np.cos(angle)])
    return (x_mm, float(at[1] + depth_mm * np.cos(angle)), float(at[2] + depth_mm * np.sin(angle)))


def foramina(variant: Variant) -> dict[str, Tube]:
    """`S1 ventral left` ... `S4 dorsal right`: from the canal's wall out of the bone."""
    tubes: dict[str, Tube] = {}
    for level, down in enumerate(LEVEL_BORDERS_MM):
        radius = variant.foramen_radii_mm[level]
        side_mm = (21.0, 18.0, 15.5, 13.5)[level]
        depth = float(np.interp(down, _CANAL_DOWN_MM, _CANAL_DEPTH_MM))
        root = (5.0, depth - 2.0, down - 3.0)
        ventral = (root, (side_mm - 4.0, 1.0, down), (side_mm + 3.0, -24.0, down + 2.0))
        dorsal = (root, (side_mm - 2.0, depth, down), (side_mm + 1.0, 34.0 - 3.0 * level, down + 1.0))
        for name, chain, radii in (
            ("ventral", ventral, (radius - 0.5, radius, radius + 1.0)),
            ("dorsal", dorsal, (0.6 * radius,) * 3),
        ):
            left = Tube(tuple(sacral_point(*place) for place in chain), radii)
            tubes[f"S{level + 1} {name} left"] = left
            right = mirrored(left)
            assert isinstance(right, Tube)
            tubes[f"S{level + 1} {name} right"] = right
    return tubes


HIP_CENTER: Final[Vector3] = (88.0, -28.0, -98.0)

# name: x, y, z, radius
_HIP: Final[dict[str, tuple[float, float, float, float]]] = {
    "asis": (122, -72, -18, 6.5),
    "crest_front": (132, -48, 18, 5.5),
    "crest_top": (128, -12, 42, 6.5),
    "crest_back": (102, 22, 50, 5.0),
    "crest_psis": (70, 52, 30, 6.0),
    "psis": (40, 62, -6, 7.5),
    "piis": (40, 52, -36, 7.5),
    "aiis": (104, -60, -52, 7.5),
    "roof": (94, -30, -66, 11.0),
    "arcuate": (70, -8, -42, 6.5),
    "joint_top": (58, 10, 2, 9.0),
    "joint_low": (48, 38, -36, 9.0),
    "notch": (62, 24, -56, 7.5),
    "fossa": (106, -24, -4, 2.6),
    "wing": (80, 26, 12, 4.5),
    "wall": (63, -10, -90, 3.5),
    "spine": (50, 16, -100, 4.0),
    "ischium": (70, 4, -112, 11.0),
    "tuber": (58, 6, -148, 12.0),
    "tuber_low": (48, -8, -154, 9.0),
    "ramus": (28, -38, -140, 5.5),
    "pubis_low": (9, -56, -130, 6.0),
    "pubis_top": (11, -66, -106, 7.5),
    "pubis_arm": (48, -60, -82, 6.5),
    "front_column": (76, -50, -76, 10.0),
    "back_column": (86, 2, -76, 11.0),
}
_HIP_PLATES: Final = (
    ("asis", "crest_front", "fossa"),
    ("crest_front", "crest_top", "fossa"),
    ("crest_top", "crest_back", "fossa"),
    ("crest_back", "wing", "fossa"),
    ("wing", "joint_top", "fossa"),
    ("joint_top", "arcuate", "fossa"),
    ("arcuate", "roof", "fossa"),
    ("roof", "aiis", "fossa"),
    ("aiis", "asis", "fossa"),
    ("crest_back", "crest_psis", "wing"),
    ("crest_psis", "psis", "wing"),
    ("psis", "joint_top", "wing"),
    ("psis", "piis", "joint_low"),
    ("psis", "joint_low", "joint_top"),
    ("joint_low", "arcuate", "joint_top"),
    ("joint_low", "notch", "arcuate"),
    ("notch", "roof", "arcuate"),
    ("arcuate", "front_column", "wall"),
    ("notch", "arcuate", "wall"),
    ("notch", "spine", "wall"),
    ("spine", "ischium", "wall"),
)
_HIP_TUBES: Final = (
    ("roof", "aiis"),
    ("notch", "back_column", "ischium", "tuber", "tuber_low", "ramus", "pubis_low", "pubis_top", "pubis_arm"),
    ("pubis_arm", "front_column", "roof", "back_column"),
    ("arcuate", "front_column"),
)


def left_hip() -> tuple[Tube | Plate | Cup, ...]:
    """Ilium, ischium and pubis of the left side; the sacroiliac joint's gap is still to be cut."""

    def at(name: str) -> Vector3:
        x, y, z, _ = _HIP[name]
        return (x, y, z)

    def radius(name: str) -> float:
        return _HIP[name][3]

    plates = tuple(Plate((at(a), at(b), at(c)), (radius(a), radius(b), radius(c))) for a, b, c in _HIP_PLATES)
    tubes = tuple(Tube(tuple(map(at, chain)), tuple(map(radius, chain))) for chain in _HIP_TUBES)
    return (*plates, *tubes, Cup(HIP_CENTER, 33.0, 0.0, (0.78, -0.3, -0.55), 10.0))


def left_socket() -> Tube:
    """The joint space that is hollow in the acetabulum: a ball, and the way out of it."""
    x, y, z = HIP_CENTER
    return Tube((HIP_CENTER, (x + 24.0, y - 9.0, z - 17.0)), (26.0, 27.0))


def left_femur() -> tuple[Tube, ...]:
    """Head, neck, greater trochanter and a piece of the shaft."""
    x, y, z = HIP_CENTER
    return (
        Tube((HIP_CENTER, (x + 2.0, y, z - 1.0)), (23.5, 23.0)),
        Tube((HIP_CENTER, (x + 36.0, y + 4.0, z - 24.0)), (14.0, 15.0)),
        Tube(((x + 44.0, y + 12.0, z - 12.0), (x + 46.0, y + 6.0, z - 34.0)), (12.0, 15.0)),
        Tube(((x + 38.0, y + 4.0, z - 30.0), (x + 30.0, y + 6.0, z - 130.0)), (16.0, 14.0)),
    )


def lumbar(level_up_mm: float) -> tuple[Shape, ...]:
    """One lumbar vertebra with its body's middle so far above the sacrum's end plate."""
    low, high = np.asarray(lumbar_point(0, 0, level_up_mm - 5)), np.asarray(lumbar_point(0, 0, level_up_mm + 5))
    axis = (0.0, float(high[1] - low[1]), float(high[2] - low[2]))
    body = Disc(lumbar_point(0, -1.0, level_up_mm), 25.5, 17.5, 13.5, axis, 0.12)
    parts: list[Shape] = [
        body,
        Tube((lumbar_point(0, 25, level_up_mm - 3), lumbar_point(0, 46, level_up_mm - 12)), (4, 5)),
    ]
    for side in (-1.0, 1.0):
        parts += [
            Tube(
                (lumbar_point(side * 15, 10, level_up_mm + 4), lumbar_point(side * 17, 22, level_up_mm + 2)), (5.5, 5.5)
            ),
            Tube(
                (lumbar_point(side * 17, 19, level_up_mm + 3), lumbar_point(side * 42, 21, level_up_mm + 6)), (4.5, 3.5)
            ),
            Tube((lumbar_point(side * 17, 25, level_up_mm - 2), lumbar_point(0, 28, level_up_mm - 6)), (4.5, 4)),
            Tube(
                (lumbar_point(side * 18, 24, level_up_mm + 12), lumbar_point(side * 19, 27, level_up_mm - 15)), (5, 6)
            ),
        ]
    return tuple(parts)


def residual_disc() -> Disc:
    """What is left of the disc between the first two sacral bodies."""
    low, high = sacral_point(0, 0, LEVEL_BORDERS_MM[0] + 5), sacral_point(0, 0, LEVEL_BORDERS_MM[0] - 5)
    axis = (0.0, high[1] - low[1], high[2] - low[2])
    return Disc(sacral_point(0.0, -4.0, LEVEL_BORDERS_MM[0]), 13.0, 6.0, 1.8, axis, 0.0)
