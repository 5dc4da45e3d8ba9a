"""The roomiest corridor from any surface of bone to any other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy import ndimage

from guidance.kernels.corridor import LineField, LineRules
from guidance.messages import F64, ZoneSite
from guidance.planning.bone import BoneModel, ZoneField, propose_bone, union_of, working_spacing_mm
from guidance.planning.corridor_problem import END_FACTOR, Asked, Best, Problem, solved, without_keep_outs
from guidance.planning.line_search import Progress, box_grid
from guidance.planning.line_starts import free_charts, lines_through
from guidance.planning.occupancy import Occupancy
from guidance.planning.signed import ShareSurface
from guidance.planning.volume import PlanningVolume
from guidance.planning.working_grid import F32, MOST_SEARCHED_VOXELS, WorkingGrid, box_of, grid_over, onto_grid

_FINEST_MM: Final = 1.0
_BOX_MM: Final = 6.0
_SLOPE_HALF: Final = 0.25
_SLOPES: Final = np.array([[-1.02, -1.02], [1.02, 1.02]])
_REACH_MM: Final = 40.0
_HALVINGS: Final = 7
_SURFACE_VOXELS: Final = 1.5


def free_corridor(
    volume: PlanningVolume,
    zones: Sequence[ZoneField],
    asked: Asked,
    bone: BoneModel | None,
    progress: Progress | None,
) -> Best | None:
    """See `guidance.planning.corridor.search_corridor`; None where nothing is solid, or no line is long enough."""
    whole, grid = _working(bone.solid if bone is not None else _solid_of(volume, zones))
    share = without_keep_outs(whole, grid, zones, joints_too=True)
    if not (share >= 0.5).any():
        return None
    solid_mm = ShareSurface(share, grid).on(grid)
    ceiling = _ceiling_mm(-solid_mm, grid, asked)
    if ceiling is None:
        return None

    outside = None if share is whole or np.array_equal(share, whole) else _outside_mm(whole, grid)

    def boxes(rules: LineRules) -> F64:
        return _boxes(grid, 2.0 * rules.center_mm)

    problem = Problem(
        grid=grid,
        share=share,
        field=LineField(solid_mm, grid.origin_lps_mm, grid.spacing_mm, reach_plus_mm=outside, reach_minus_mm=outside),
        field_step_mm=grid.spacing_mm,
        charts=free_charts(grid),
        starts=lambda: lines_through(-solid_mm, grid, 0.1 * ceiling),
        boxes=boxes,
        most_slope=_SLOPES,
        reach_mm=_REACH_MM,
        ceiling_mm=ceiling,
    )
    return solved(problem, asked, progress)


def _outside_mm(whole: F32, grid: WorkingGrid) -> F32:
    """Where a corridor may end, 0 or less: at bone's own surface, not at the wall of a zone cut out of it."""
    return np.ascontiguousarray(-ShareSurface(whole, grid).on(grid) - _SURFACE_VOXELS * grid.spacing_mm, np.float32)


def _solid_of(volume: PlanningVolume, zones: Sequence[ZoneField]) -> Occupancy:
    bones = [entry for entry in zones if entry[0].site is ZoneSite.BONE]
    if bones:
        return union_of(bones, spacing_mm=max(working_spacing_mm(volume.affine_lps_from_ijk), _FINEST_MM))
    return propose_bone(volume.voxels_hu, volume.affine_lps_from_ijk)


def _working(solid: Occupancy) -> tuple[F32, WorkingGrid]:
    """The solid with a rim of nothing, no finer than the search looks."""
    affine, (k, j, i) = solid.affine_lps_from_ijk, solid.values.shape
    own = WorkingGrid((float(affine[0, 3]), float(affine[1, 3]), float(affine[2, 3])), float(affine[0, 0]), (k, j, i))
    low, high = box_of(own.shape_kji, own.affine_lps_from_ijk)
    grid = grid_over(low, high, max(own.spacing_mm, _FINEST_MM), most_voxels=MOST_SEARCHED_VOXELS)
    if grid.spacing_mm == own.spacing_mm:
        return solid.values.astype(np.float32) / np.float32(255.0), own
    return onto_grid(solid.values, affine, grid, outside=0.0) / np.float32(255.0), grid


def _ceiling_mm(depth_mm: F32, grid: WorkingGrid, asked: Asked) -> float | None:
    """A radius that no corridor exceeds: what is as deep as it has a part as long as a corridor's middle.

    None: no part of the solid is as long as the shortest corridor.
    """
    if not _holds(depth_mm > 0.0, grid, asked.length_mm):
        return None
    rules = asked.rules(0.0)
    low, high = 0.0, float(depth_mm.max())
    for _ in range(_HALVINGS):
        radius = (low + high) / 2.0
        middle_mm = max(asked.length_mm, rules.aspect * radius) - 2.0 * END_FACTOR * radius
        if _holds(depth_mm >= radius, grid, middle_mm):
            low = radius
        else:
            high = radius
    return high


def _holds(mask: np.ndarray, grid: WorkingGrid, length_mm: float) -> bool:
    """Whether one connected part has room for a segment of that length."""
    labels, count = ndimage.label(mask, np.ones((3, 3, 3), np.int8))
    if count == 0:
        return False
    boxes = [part for part in ndimage.find_objects(labels) if part is not None]
    longest = max(math.hypot(*(side.stop - side.start for side in part)) for part in boxes)
    return longest * grid.spacing_mm + 2.0 * grid.spacing_mm >= length_mm


def _boxes(grid: WorkingGrid, plane_mm: float) -> F64:
    """Planes across x, y and z, so dense that every corridor has its middle near one of them."""
    half = grid.spacing_mm * (np.array(grid.shape_kji[::-1]) - 1) / 2.0
    boxes = []
    for axis in range(3):
        across = np.roll(half, -axis)
        count = max(math.ceil(2.0 * across[0] / plane_mm), 1)
        ends = np.array([across[1], across[2], 1.0, 1.0])
        halves = np.array([_BOX_MM, _BOX_MM, _SLOPE_HALF, _SLOPE_HALF])
        for n in range(count):
            boxes.append(box_grid(axis, (n + 0.5 - count / 2.0) * 2.0 * across[0] / count, -ends, ends, halves))
    return np.concatenate(boxes)
