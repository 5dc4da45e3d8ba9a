"""The procedural pelvis: a CT at any voxel size; foramina, canal, cortex and corridors in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from guidance.messages import F64, Vector3
from simulators.pelvis_anatomy import (
    USUAL,
    Sacrum,
    Variant,
    canal,
    foramina,
    left_femur,
    left_hip,
    left_socket,
    lumbar,
    residual_disc,
)
from simulators.pelvis_shapes import F32, Grid, Shape, Tube, mirrored, smooth_union
from simulators.volumes import I16, HuVolume

L5_UP_MM: Final = 24.0  # middle of its body above the sacrum's end plate: disc and half a body
_HIGHER_UP_MM: Final = {"L4": 62.0, "L3": 100.0, "L2": 138.0}
JOINT_GAP_MM: Final = 2.5
CORTEX_MM: Final = {"sacrum": 1.5, "hip": 2.0, "lumbar": 1.2, "femur": 3.0}
# CT values in HU.
_AIR, _FAT, _MUSCLE, _NERVE, _CANCELLOUS, _CORTEX = -1000.0, -90.0, 55.0, 10.0, 230.0, 1250.0
_FAT_LAYER_MM: Final = 22.0
_BODY_MIDDLE_Y_MM: Final = -12.0
_BODY_HALF_WIDTH_MM, _BODY_HALF_DEPTH_MM = 178.0, 112.0
_FILLET_MM: Final = 4.0
_FAR_MM: Final = 1e3
_SLAB: Final = 16  # slices made at once
_REACH_MM: Final = _FILLET_MM + 4.0


@dataclass(frozen=True, slots=True)
class _Bone:
    shapes: tuple[Shape, ...]
    holes: tuple[Shape, ...]
    cortex_mm: float
    fillet_mm: float

    def distance_mm(self, points: F32) -> F32:
        """Distance to the bone's surface, tunnels taken out; negative in bone, 1e3 far from it."""
        distance = np.full(points.shape[:-1], _FAR_MM, np.float32)
        for shape in self.shapes:
            distance = smooth_union(distance, shape.distance_mm(points), self.fillet_mm)
        for hole in self.holes:
            distance = np.maximum(distance, -hole.distance_mm(points))
        return distance

    def on_grid(self, grid: Grid) -> F32:
        """The same on a grid, looked at only where each shape is."""
        distance = np.full((len(grid.z), len(grid.y), len(grid.x)), _FAR_MM, np.float32)
        for shape in self.shapes:
            low, high = shape.box_mm()
            if (part := grid.part(low - _REACH_MM, high + _REACH_MM)) is not None:
                distance[part] = smooth_union(distance[part], shape.distance_mm(grid.points(part)), self.fillet_mm)
        for hole in self.holes:
            low, high = hole.box_mm()
            if (part := grid.part(low - _REACH_MM, high + _REACH_MM)) is not None:
                near = distance[part] < _REACH_MM
                block = distance[part]
                block[near] = np.maximum(block[near], -hole.distance_mm(grid.points(part)[near]))
        return distance


class _Grown:
    """A shape and a layer around it, for the joint's gap."""

    def __init__(self, shape: Shape, layer_mm: float) -> None:
        self._shape, self._layer = shape, layer_mm

    def distance_mm(self, points: F32) -> F32:
        return self._shape.distance_mm(points) - np.float32(self._layer)

    def box_mm(self) -> tuple[F64, F64]:
        low, high = self._shape.box_mm()
        return low - self._layer, high + self._layer


class ProceduralPelvis:
    """L2 to L5, sacrum, both hips and femora in soft tissue; LPS mm, the middle of the first sacral body at `origin`.

    Args:
        variant: `USUAL` or `DYSMORPHIC` of `pelvis_anatomy`, or one of your own.
        origin_lps_mm: moves all of it.
    """

    def __init__(self, variant: Variant = USUAL, origin_lps_mm: Vector3 = (0.0, 0.0, 0.0)) -> None:
        self.variant = variant
        self.origin_lps_mm = origin_lps_mm

    @cached_property
    def canal(self) -> Tube:
        """Centre-line and radii of the spinal and sacral canal."""
        return self._moved(canal())

    @cached_property
    def foramina(self) -> dict[str, Tube]:
        """`S1 ventral left` ... `S4 dorsal right`: centre-lines and radii, from the canal outwards."""
        return {name: self._moved(tube) for name, tube in foramina(self.variant).items()}

    def sacrum_distance_mm(self, points_lps_mm: F64) -> F64:
        """Distance to the sacrum's surface, tunnels taken out, to first order; negative in bone."""
        return self._bones["sacrum"].distance_mm(self._local(points_lps_mm)).astype(np.float64)

    def hip_distance_mm(self, points_lps_mm: F64) -> F64:
        """Distance to the nearer hip bone's surface, the same way."""
        local = self._local(points_lps_mm)
        return np.minimum(
            self._bones["left hip"].distance_mm(local), self._bones["right hip"].distance_mm(local)
        ).astype(np.float64)

    def volume(
        self,
        spacing_mm: float = 1.0,
        *,
        center_lps_mm: Vector3 | None = None,
        size_mm: tuple[float, float, float] = (380.0, 250.0, 340.0),
    ) -> HuVolume:
        """A CT of it.

        Args:
            spacing_mm: edge of a voxel.
            center_lps_mm: middle of the grid; None: such that all of the pelvis is in it.
            size_mm: of the grid along x, y, z.
        """
        local_middle = np.array([0.0, -12.0, -30.0]) if center_lps_mm is None else self._local_point(center_lps_mm)
        count = np.maximum(np.rint(np.asarray(size_mm) / spacing_mm), 1).astype(int)
        first = local_middle - (count - 1) / 2.0 * spacing_mm
        x, y, z = (np.asarray(first[n] + spacing_mm * np.arange(count[n]), np.float32) for n in range(3))
        voxels = np.empty(count[::-1], np.int16)
        for start in range(0, int(count[2]), _SLAB):
            voxels[start : start + _SLAB] = self._hounsfield(Grid(x, y, z[start : start + _SLAB]), spacing_mm)
        affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
        affine[:3, 3] = first + self.origin_lps_mm
        kind = "procedural pelvis" if self.variant == USUAL else "procedural pelvis, dysmorphic"
        return HuVolume(voxels, affine, f"{kind}, {spacing_mm:g} mm")

    @cached_property
    def _bones(self) -> dict[str, _Bone]:
        sacrum = Sacrum(self.variant)
        tunnels = (canal(), *foramina(self.variant).values())
        hip, femur = left_hip(), left_femur()
        other_hip = tuple(mirrored(shape) for shape in hip)
        other_femur = tuple(mirrored(shape) for shape in femur)
        gap = _Grown(sacrum, JOINT_GAP_MM)
        return {
            "sacrum": _Bone((sacrum,), (*tunnels, residual_disc()), CORTEX_MM["sacrum"], 0.0),
            "left hip": _Bone(hip, (gap, left_socket()), CORTEX_MM["hip"], _FILLET_MM),
            "right hip": _Bone(other_hip, (gap, mirrored(left_socket())), CORTEX_MM["hip"], _FILLET_MM),
            "L5": _Bone(lumbar(L5_UP_MM), (canal(),), CORTEX_MM["lumbar"], _FILLET_MM),
            **{
                name: _Bone(lumbar(up_mm), (canal(),), CORTEX_MM["lumbar"], _FILLET_MM)
                for name, up_mm in _HIGHER_UP_MM.items()
            },
            "left femur": _Bone(femur, (), CORTEX_MM["femur"], _FILLET_MM),
            "right femur": _Bone(other_femur, (), CORTEX_MM["femur"], _FILLET_MM),
        }

    def _hounsfield(self, grid: Grid, spacing_mm: float) -> I16:
        # A superellipse: flanks rounder than a box, back flatter than an ellipse.
        x, y = np.abs(grid.x / _BODY_HALF_WIDTH_MM), np.abs((grid.y - _BODY_MIDDLE_Y_MM) / _BODY_HALF_DEPTH_MM)
        radius = (y[:, None] ** 2.6 + x[None, :] ** 2.6) ** (1.0 / 2.6)
        skin = np.asarray((radius - 1.0) * _BODY_HALF_DEPTH_MM, np.float32)
        outline = np.full(skin.shape, _AIR, np.float32)
        _fill(outline, skin, _FAT, spacing_mm)
        _fill(outline, skin + np.float32(_FAT_LAYER_MM), _MUSCLE, spacing_mm)
        values = np.repeat(outline[None], len(grid.z), axis=0)
        for tunnel in (canal(), *foramina(self.variant).values()):
            low, high = tunnel.box_mm()
            if (part := grid.part(low - spacing_mm, high + spacing_mm)) is not None:
                _fill(values[part], tunnel.distance_mm(grid.points(part)), _NERVE, spacing_mm)
        for bone in self._bones.values():
            distance = bone.on_grid(grid)
            near = distance < spacing_mm
            part_values = values[near]
            _fill(part_values, distance[near], _CORTEX, spacing_mm)
            _fill(part_values, distance[near] + np.float32(bone.cortex_mm), _CANCELLOUS, spacing_mm)
            values[near] = part_values
        return np.rint(values).astype(np.int16)

    def _moved(self, tube: Tube) -> Tube:
        dx, dy, dz = self.origin_lps_mm
        return Tube(tuple((x + dx, y + dy, z + dz) for x, y, z in tube.points_lps_mm), tube.radii_mm)

    def _local(self, points_lps_mm: F64) -> F32:
        return np.asarray(points_lps_mm - np.asarray(self.origin_lps_mm), np.float32)

    def _local_point(self, point_lps_mm: Vector3) -> F64:
        return np.subtract(point_lps_mm, self.origin_lps_mm)


def _fill(values: F32, distance_mm: F32, value_hu: float, spacing_mm: float) -> None:
    """Inside becomes `value_hu`; a voxel on the surface gets its share."""
    share = np.clip(0.5 - distance_mm / np.float32(spacing_mm), 0.0, 1.0)
    values += share * (np.float32(value_hu) - values)
