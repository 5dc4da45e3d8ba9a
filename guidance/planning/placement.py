"""Whether a path can have been planned on a volume at all: refuses what misses it and what runs out of the body."""

from __future__ import annotations

from typing import Final

import numpy as np

from guidance.case.fields import BadFieldsError, FieldError
from guidance.messages import F64, Vector3
from guidance.planning.volume import PlanningVolume

_BALL_MM: Final = 2.0
# Between air (-1000 HU) and fat (-100 HU) with room for noise and partial volume on both sides.
_AIR_BELOW_HU: Final = -700.0
_TISSUE_ABOVE_HU: Final = -300.0
_STEP_MM: Final = 1.0


def check_placement(entry_lps_mm: Vector3, target_lps_mm: Vector3, volume: PlanningVolume) -> None:
    """Refuse a path that no part of the volume sees, and one whose ends are swapped against the skin.

    A path may begin outside: a CBCT often does not reach the skin. Swapped means: it begins in tissue and ends in
    air, and nothing but air comes behind its target up to the volume's end.

    Raises:
        BadFieldsError: names `entry_lps_mm` and `target_lps_mm`, with the mend.
    """
    entry, target = np.array(entry_lps_mm), np.array(target_lps_mm)
    if not _meets_grid(entry, target, volume):
        raise BadFieldsError(
            [
                FieldError(name, "lies outside the active volume, and so does the whole path; give mm in its LPS frame")
                for name in ("entry_lps_mm", "target_lps_mm")
            ]
        )
    entry_hu, target_hu = _mean_hu(entry, volume), _mean_hu(target, volume)
    if entry_hu is None or target_hu is None:
        return
    if entry_hu > _TISSUE_ABOVE_HU and target_hu < _AIR_BELOW_HU and _only_air_behind(entry, target, volume):
        message = "lies outside the body and entry_lps_mm inside it; swap the two"
        raise BadFieldsError([FieldError("target_lps_mm", message)])


def _meets_grid(entry: F64, target: F64, volume: PlanningVolume) -> bool:
    """Whether the segment comes into the volume's box, -0.5 to N - 0.5 along each index (Liang and Barsky, 1984)."""
    ijk_from_lps = np.linalg.inv(volume.affine_lps_from_ijk)
    start, end = (ijk_from_lps[:3, :3] @ point + ijk_from_lps[:3, 3] for point in (entry, target))
    first, last = 0.0, 1.0
    for begin, way, count in zip(start, end - start, volume.voxels_hu.shape[::-1], strict=True):
        low, high = -0.5 - begin, count - 0.5 - begin
        if abs(way) < 1e-12:
            if low > 0.0 or high < 0.0:
                return False
            continue
        crossings = sorted((low / way, high / way))
        first, last = max(first, crossings[0]), min(last, crossings[1])
    return bool(first <= last)


def _only_air_behind(entry: F64, target: F64, volume: PlanningVolume) -> bool:
    axis = (target - entry) / np.linalg.norm(target - entry)
    reach_mm = float(np.abs(volume.affine_lps_from_ijk[:3, :3]).sum(axis=0) @ np.array(volume.voxels_hu.shape[::-1]))
    behind = target + np.arange(0.0, reach_mm, _STEP_MM)[:, None] * axis
    values = _hu_at(behind, volume)
    return bool((values[~np.isnan(values)] < _TISSUE_ABOVE_HU).all())


def _mean_hu(center: F64, volume: PlanningVolume) -> float | None:
    """Mean of a small ball; None where it lies outside the volume."""
    steps = np.arange(-_BALL_MM, _BALL_MM + 0.5, 1.0)
    ball = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    ball = ball[(ball * ball).sum(axis=1) <= _BALL_MM**2]
    values = _hu_at(center + ball, volume)
    return None if np.isnan(values).all() else float(np.nanmean(values))


def _hu_at(points_lps_mm: F64, volume: PlanningVolume) -> F64:
    """(N,) nearest voxels; NaN outside."""
    ijk_from_lps = np.linalg.inv(volume.affine_lps_from_ijk)
    index = np.rint(points_lps_mm @ ijk_from_lps[:3, :3].T + ijk_from_lps[:3, 3]).astype(np.int64)
    count = np.array(volume.voxels_hu.shape[::-1])
    inside = ((index >= 0) & (index < count)).all(axis=1)
    values = np.full(len(index), np.nan)
    i, j, k = index[inside].T
    values[inside] = volume.voxels_hu[k, j, i]
    return values
