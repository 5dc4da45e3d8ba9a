"""The roomiest corridor from any surface of bone to any other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from guidance.kernels.corridor import LineField
from guidance.messages import F64, ZoneSite
from guidance.planning.bone import BoneModel, ZoneField, propose_bone, union_of, working_spacing_mm
from guidance.planning.corridor_problem import Asked, Best, Problem, solved, without_keep_outs
from guidance.planning.line_search import Progress, box_grid
from guidance.planning.occupancy import Occupancy
from guidance.planning.signed import field_of_share, grid_of
from guidance.planning.volume import PlanningVolume
from guidance.planning.working_grid import WorkingGrid, box_of

_FREE_BOX_MM: Final = 4.0
_FREE_SLOPE_HALF: Final = 0.25


def free_corridor(
    volume: PlanningVolume,
    zones: Sequence[ZoneField],
    asked: Asked,
    bone: BoneModel | None,
    progress: Progress | None,
) -> Best | None:
    solid = bone.solid if bone is not None else _solid_of(volume, zones)
    grid = _grid_of(solid)
    share = without_keep_outs(solid.values.astype(np.float32) / np.float32(255.0), grid, zones, joints_too=True)
    if not (share >= 0.5).any():
        return None
    rules = asked.rules()
    solid_mm = field_of_share(share, grid)
    field = LineField(solid_mm.values_mm, grid_of(solid_mm).origin_lps_mm, grid_of(solid_mm).spacing_mm)
    charts, boxes = _free_boxes(grid, 2.0 * rules.center_mm)
    return solved(
        Problem(grid, share, field, grid_of(solid_mm).spacing_mm, rules, charts, boxes, asked.length_mm), progress
    )


def _solid_of(volume: PlanningVolume, zones: Sequence[ZoneField]) -> Occupancy:
    bones = [field for zone, field, _ in zones if zone.site is ZoneSite.BONE]
    if bones:
        return union_of(bones, spacing_mm=working_spacing_mm(volume.affine_lps_from_ijk))
    return propose_bone(volume.voxels_hu, volume.affine_lps_from_ijk)


def _grid_of(solid: Occupancy) -> WorkingGrid:
    affine, (k, j, i) = solid.affine_lps_from_ijk, solid.values.shape
    return WorkingGrid((float(affine[0, 3]), float(affine[1, 3]), float(affine[2, 3])), float(affine[0, 0]), (k, j, i))


def _free_boxes(grid: WorkingGrid, plane_mm: float) -> tuple[F64, F64]:
    """Planes across x, y and z, so dense that every corridor has its middle near one of them."""
    low, high = box_of(grid.shape_kji, grid.affine_lps_from_ijk)
    middle, half = (low + high) / 2.0, (high - low) / 2.0
    charts, boxes = [], []
    for axis in range(3):
        turned = np.roll(np.eye(3), -axis, axis=0)  # e0, e1, e2
        charts.append(np.concatenate([middle, *turned]))
        across = np.roll(half, -axis)
        count = max(math.ceil(2.0 * across[0] / plane_mm), 1)
        ends = np.array([across[1], across[2], 1.0, 1.0])
        halves = np.array([_FREE_BOX_MM, _FREE_BOX_MM, _FREE_SLOPE_HALF, _FREE_SLOPE_HALF])
        for n in range(count):
            boxes.append(box_grid(axis, (n + 0.5 - count / 2.0) * 2.0 * across[0] / count, -ends, ends, halves))
    return np.array(charts), np.concatenate(boxes)
