"""What lies along a path: skin, bone and its margin, the far cortex, HU about the tip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from guidance.messages import F64, PlannedPath
from guidance.planning.answers import BoneAlongTip
from guidance.planning.solid import DistanceField, frame_of
from guidance.planning.volume import PlanningVolume

# Scanners fill what they have not seen with -3024, -2000 or -1500; air in patients' volumes stays above -1300 HU.
UNSEEN_HU: Final = -1400
# Cortical bone ends near 2000 HU (Buzug, Computed Tomography, 2008); above it is metal or cement, not a patient's bone.
FOREIGN_HU: Final = 2000
_STEP_MM: Final = 0.5
_MARGIN_STEP_MM: Final = 0.25  # a field changes by no more than the step: half of it is what a neck between may be less
_SKIN_REACH_MM: Final = 300.0
_SKIN_STEP_MM: Final = 4.0
_FAR_REACH_MM: Final = 150.0
# A gap that thin is the grid's partial volume, not a way out of the bone.
_THIN_GAP_MM: Final = 0.5
# Depth along which a tunnel's end is aside, in radii: as the corridor search has it.
ENDS_ASIDE_RADII: Final = 1.5
_SAMPLE_MM: Final = 0.5
_LEAST_PART_SEEN: Final = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """A path as a line: depth 0 is the entry, `length_mm` the target."""

    entry: F64
    direction: F64
    length_mm: float

    def points_mm(self, depths_mm: F64) -> F64:
        """(N, 3) points at these depths."""
        points: F64 = self.entry + depths_mm[:, None] * self.direction
        return points


class Interval(NamedTuple):
    """A stretch of depths, mm."""

    start_mm: float
    stop_mm: float


@dataclass(frozen=True, slots=True)
class BoneWay:
    """How a path runs through bone; depths from the entry, None for what is not known.

    Attributes:
        skin_mm: where it goes through the skin; may lie before the entry.
        intervals: its stretches in bone, up to where it leaves the bone that the target is in.
    """

    skin_mm: float | None
    intervals: tuple[Interval, ...]
    skin_to_bone_mm: float | None
    bone_to_target_mm: float | None
    target_to_far_cortex_mm: float | None

    @property
    def gaps(self) -> tuple[Interval, ...]:
        """The stretches between two stretches in bone."""
        pairs = zip(self.intervals, self.intervals[1:], strict=False)
        return tuple(Interval(before.stop_mm, after.start_mm) for before, after in pairs)


def axis_of(path: PlannedPath) -> Axis:
    """The path's axis; entry and target must differ."""
    entry = np.array(path.entry_lps_mm, dtype=np.float64)
    along = np.array(path.target_lps_mm, dtype=np.float64) - entry
    length_mm = float(np.linalg.norm(along))
    return Axis(entry, along / length_mm, length_mm)


def bone_way(axis: Axis, bone: DistanceField, skin: DistanceField | None, volume: PlanningVolume | None) -> BoneWay:
    """Find skin and bone along a path.

    Args:
        bone: distance to bone's solid, marrow inside it; negative inside.
        skin: distance to the body, negative inside it; None where it is not known.
        volume: what both were made of; a surface at its rim is where the picture ends, and counts as not known.
    """
    behind, depths = _depths(-_SKIN_REACH_MM, 0.0), _depths(0.0, axis.length_mm + _FAR_REACH_MM)
    values = bone.distance_mm(np.ascontiguousarray(axis.points_mm(depths)))
    stretches = _without_thin_gaps(_inside(depths, values))
    reached = tuple(part for part in stretches if part.start_mm < axis.length_mm)
    skin_mm = _skin_depth(axis, skin, volume) if skin is not None else None
    first_mm = _first_bone(axis, bone, reached, skin_mm, behind)
    last = next((part for part in reached if part.start_mm <= axis.length_mm <= part.stop_mm), None)
    far_mm = last.stop_mm if last and last.stop_mm < depths[-1] else None
    if far_mm is not None and _at_rim(axis, far_mm, volume):
        far_mm = None
    return BoneWay(
        skin_mm=skin_mm,
        intervals=reached,
        skin_to_bone_mm=first_mm - skin_mm if first_mm is not None and skin_mm is not None else None,
        bone_to_target_mm=axis.length_mm - first_mm if first_mm is not None else None,
        target_to_far_cortex_mm=far_mm - axis.length_mm if far_mm is not None else None,
    )


def bone_margin_mm(
    axis: Axis, way: BoneWay, bone: DistanceField, radius_mm: float, joints: Sequence[Interval]
) -> float | None:
    """Least distance of the shaft's surface to bone's surface along its way through bone; negative where it leaves it.

    It is that of the widest tunnel about the axis, as the corridor search has it: bone is at least the tunnel's radius
    deep everywhere but within `ENDS_ASIDE_RADII` of its radii (the shaft's, where that is more) of the way's ends, and
    of a joint's gap, where crossing the surface is what the path is for.

    Args:
        way: of the same axis and bone.
        joints: those of `way.gaps` that are a joint's, crossed by intent, and no way out of the bone.

    Returns:
        None where nothing of the way is left between its ends.
    """
    if not way.intervals:
        return None
    first_mm = way.intervals[0].start_mm
    last_mm = min(axis.length_mm, way.intervals[-1].stop_mm)
    depths = np.linspace(first_mm, last_mm, max(2, math.ceil((last_mm - first_mm) / _MARGIN_STEP_MM) + 1))
    to_end_mm = depths - first_mm
    if way.intervals[-1].stop_mm <= axis.length_mm:
        to_end_mm = np.minimum(to_end_mm, last_mm - depths)
    for gap in joints:
        to_end_mm = np.minimum(to_end_mm, np.maximum(gap.start_mm - depths, depths - gap.stop_mm))
    # What is nearer to an end than the shaft's own end is aside in any case.
    kept = to_end_mm >= ENDS_ASIDE_RADII * radius_mm
    if not kept.any():
        return None
    deep_mm = -bone.distance_mm(np.ascontiguousarray(axis.points_mm(depths[kept])))
    return _widest_tunnel_mm(deep_mm, to_end_mm[kept] / ENDS_ASIDE_RADII, radius_mm) - radius_mm


def _widest_tunnel_mm(deep_mm: F64, counts_up_to_mm: F64, radius_mm: float) -> float:
    """Largest r such that all places that count for it are at least r deep.

    Args:
        deep_mm: (N,) depth in bone.
        counts_up_to_mm: (N,) radius up to which a place counts, and is no end of the tunnel.
        radius_mm: below it all places count.
    """
    order = np.argsort(counts_up_to_mm)
    steps = counts_up_to_mm[order]
    # Least depth of all that count for a tunnel of that radius: a tunnel wider than a step leaves that place aside.
    least = np.minimum.accumulate(deep_mm[order][::-1])[::-1]
    if least[0] <= radius_mm:
        return float(least[0])
    before = np.concatenate(([0.0], steps[:-1]))
    reached = np.minimum(steps, least)
    return float(reached[least > before].max())


def tip_bone(
    axis: Axis, radius_mm: float, volume: PlanningVolume, *, tip_length_mm: float, preserved_hu: float
) -> BoneAlongTip | None:
    """HU of the voxels within the cross-section along the last `tip_length_mm`.

    Preserved where mean HU and half of the samples reach `preserved_hu`; None where a tenth or more of the samples are
    unseen, or metal or cement, which would pass for bone.

    Returns:
        None where the volume holds nothing of it.
    """
    length_mm = min(tip_length_mm, axis.length_mm)
    count = max(2, math.ceil(length_mm / _SAMPLE_MM) + 1)
    depths = np.linspace(axis.length_mm - length_mm, axis.length_mm, count)
    offsets = _disc(axis.direction, radius_mm)
    points = (axis.points_mm(depths)[:, None, :] + offsets[None, :, :]).reshape(-1, 3)
    values, seen = hu_at(volume, points)
    if not seen.any():
        return None
    patient = values[seen]
    own = seen & (values <= FOREIGN_HU)
    known = float(own.mean()) >= _LEAST_PART_SEEN
    mean_hu, bone_part = float(patient.mean()), float((patient >= preserved_hu).mean())
    return BoneAlongTip(
        length_mm=length_mm,
        mean_hu=mean_hu,
        sd_hu=float(patient.std()),
        lowest_hu=float(patient.min()),
        bone_part=bone_part,
        preserved=(mean_hu >= preserved_hu and bone_part >= 0.5) if known else None,
    )


def part_seen(axis: Axis, volume: PlanningVolume) -> float:
    """Part of the axis from entry to target that the volume has seen, 0 to 1."""
    count = max(2, math.ceil(axis.length_mm / _SAMPLE_MM) + 1)
    _, seen = hu_at(volume, axis.points_mm(np.linspace(0.0, axis.length_mm, count)))
    return float(seen.mean())


def hu_at(volume: PlanningVolume, points_lps_mm: F64) -> tuple[F64, npt.NDArray[np.bool_]]:
    """HU of the voxels that (N, 3) points lie in, and whether they were seen: within the volume, and not padding."""
    lps_from_ijk = volume.affine_lps_from_ijk
    indices = np.rint((points_lps_mm - lps_from_ijk[:3, 3]) @ np.linalg.inv(lps_from_ijk[:3, :3]).T)
    size_kji = volume.voxels_hu.shape
    size = np.array(size_kji[::-1])
    within = ((indices >= 0) & (indices < size)).all(axis=1)
    i, j, k = np.clip(indices, 0, size - 1).astype(np.intp).T
    values = volume.voxels_hu[k, j, i].astype(np.float64)
    return values, within & (values > UNSEEN_HU)


def crossed(axis: Axis, field: DistanceField, *, step_mm: float = _STEP_MM) -> tuple[Interval, ...]:
    """The stretches between entry and target that lie within a zone."""
    depths = np.linspace(0.0, axis.length_mm, max(2, math.ceil(axis.length_mm / step_mm) + 1))
    return _inside(depths, field.distance_mm(np.ascontiguousarray(axis.points_mm(depths))))


def _depths(first_mm: float, last_mm: float) -> F64:
    return np.linspace(first_mm, last_mm, max(2, math.ceil((last_mm - first_mm) / _STEP_MM) + 1))


def _inside(depths: F64, values: F64) -> tuple[Interval, ...]:
    """Stretches where values are negative, their ends interpolated."""
    inside = values < 0.0
    changes = np.flatnonzero(inside[1:] != inside[:-1])
    low, high = values[changes], values[changes + 1]
    crossings = depths[changes] + low / (low - high) * (depths[changes + 1] - depths[changes])
    ends = [float(depth) for depth in crossings]
    if len(inside) and inside[0]:
        ends.insert(0, float(depths[0]))
    if len(inside) and inside[-1]:
        ends.append(float(depths[-1]))
    return tuple(Interval(start, stop) for start, stop in zip(ends[::2], ends[1::2], strict=True))


def _without_thin_gaps(parts: tuple[Interval, ...]) -> tuple[Interval, ...]:
    joined: list[Interval] = []
    for part in parts:
        if joined and part.start_mm - joined[-1].stop_mm < _THIN_GAP_MM:
            joined[-1] = Interval(joined[-1].start_mm, part.stop_mm)
        else:
            joined.append(part)
    return tuple(joined)


def _skin_depth(axis: Axis, skin: DistanceField, volume: PlanningVolume | None) -> float | None:
    """Where the path goes in: the last way in at or before the entry, or the first after it."""
    count = math.ceil((axis.length_mm + _SKIN_REACH_MM) / _SKIN_STEP_MM) + 1
    # Entry and target are samples, so that which side they are on is never interpolated.
    depths = np.union1d(np.linspace(-_SKIN_REACH_MM, axis.length_mm, count), [0.0])
    parts = _inside(depths, skin.distance_mm(np.ascontiguousarray(axis.points_mm(depths))))
    holding = [part for part in parts if part.start_mm <= 0.0 <= part.stop_mm]
    ahead = [part for part in parts if part.start_mm > 0.0]
    part = next(iter(holding or ahead), None)
    if part is None or part.start_mm <= depths[0]:
        return None
    around = np.linspace(part.start_mm - _SKIN_STEP_MM, part.start_mm + _SKIN_STEP_MM, 33)
    fine = [found.start_mm for found in _inside(around, skin.distance_mm(np.ascontiguousarray(axis.points_mm(around))))]
    skin_mm = min(fine, key=lambda depth_mm: abs(depth_mm - part.start_mm), default=part.start_mm)
    return None if _at_rim(axis, skin_mm, volume) else skin_mm


def _first_bone(
    axis: Axis, bone: DistanceField, reached: tuple[Interval, ...], skin_mm: float | None, before: F64
) -> float | None:
    """Depth of the first bone: before an entry that lies in bone, that bone's surface."""
    if not reached:
        return None
    if reached[0].start_mm > 0.0:
        return reached[0].start_mm
    values = bone.distance_mm(np.ascontiguousarray(axis.points_mm(before)))
    outside = np.flatnonzero(values >= 0.0)
    if len(outside) == 0:
        return None
    behind = _inside(before[outside[-1] :], values[outside[-1] :])
    first_mm = behind[0].start_mm if behind else reached[0].start_mm
    return None if skin_mm is not None and first_mm < skin_mm else first_mm


def _at_rim(axis: Axis, depth_mm: float, volume: PlanningVolume | None) -> bool:
    """Within one and a half voxels of where the volume ends."""
    if volume is None:
        return False
    lps_from_ijk = volume.affine_lps_from_ijk
    point = axis.points_mm(np.array([depth_mm]))[0]
    index = np.linalg.solve(lps_from_ijk[:3, :3], point - lps_from_ijk[:3, 3])
    size = np.array(volume.voxels_hu.shape[::-1])
    return bool(((index < 1.0) | (index > size - 2.0)).any())


def _disc(direction: F64, radius_mm: float) -> F64:
    """Offsets across `direction` that fill the cross-section."""
    _, across, along = frame_of(direction)
    rings = max(1, math.ceil(radius_mm / _SAMPLE_MM))
    grid = np.linspace(-radius_mm, radius_mm, 2 * rings + 1)
    a, b = np.meshgrid(grid, grid)
    kept = a**2 + b**2 <= radius_mm**2 * (1.0 + 1e-9)
    offsets: F64 = a[kept][:, None] * across + b[kept][:, None] * along
    return offsets
