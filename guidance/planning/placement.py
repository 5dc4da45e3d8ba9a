"""Whether a path can have been planned on a volume at all: refuses what misses it and what runs out of the body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from guidance.case import BadFieldsError, Case, FieldError, drawable_paths
from guidance.errors import CaseError
from guidance.messages import F64, PlanItem, Vector3
from guidance.planning.volume import HuProbe

_BALL_MM: Final = 2.0
# Between air (-1000 HU) and fat (-100 HU) with room for noise and partial volume on both sides.
_AIR_BELOW_HU: Final = -700.0
_TISSUE_ABOVE_HU: Final = -300.0
_STEP_MM: Final = 1.0


def check_placement(entry_lps_mm: Vector3, target_lps_mm: Vector3, volume: HuProbe) -> None:
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


def check_moved(before: Case, after: Case, volume: HuProbe | None) -> None:
    """Put the paths that an edit has made or moved through `check_placement`.

    Args:
        volume: the active one, None where its voxels are not there: then nothing is known against any path.

    Raises:
        BadFieldsError: a path that cannot be.
    """
    if volume is None or after.active_volume_id != before.active_volume_id:
        return
    known = {path.id: (path.entry_lps_mm, path.target_lps_mm) for path in before.paths}
    for path in drawable_paths(after):
        ends = (path.entry_lps_mm, path.target_lps_mm)
        if known.get(path.id) != ends:
            check_placement(*ends, volume)


def placed_items(items: Sequence[PlanItem], volume: HuProbe | None) -> tuple[list[PlanItem], list[CaseError]]:
    """The items of a plan that the volume lets through, and why not the others."""
    placed: list[PlanItem] = []
    refused: list[CaseError] = []
    for item in items:
        ends = (item.entry_lps_mm, item.target_lps_mm)
        try:
            # What is no number, or has no length, is for the case's own checks to name.
            if volume is not None and np.isfinite(ends).all() and ends[0] != ends[1]:
                check_placement(*ends, volume)
            placed.append(item)
        except BadFieldsError as error:
            refused.append(BadFieldsError(error.errors, what=f"path {item.name!r} of the plan"))
    return placed, refused


def _meets_grid(entry: F64, target: F64, volume: HuProbe) -> bool:
    """Whether the segment comes into the volume's box, -0.5 to N - 0.5 along each index (Liang and Barsky, 1984)."""
    start, end = volume.ijk_of(np.stack((entry, target)))
    first, last = 0.0, 1.0
    for begin, way, count in zip(start, end - start, volume.shape_kji[::-1], strict=True):
        low, high = -0.5 - begin, count - 0.5 - begin
        if abs(way) < 1e-12:
            if low > 0.0 or high < 0.0:
                return False
            continue
        crossings = sorted((low / way, high / way))
        first, last = max(first, crossings[0]), min(last, crossings[1])
    return bool(first <= last)


def _only_air_behind(entry: F64, target: F64, volume: HuProbe) -> bool:
    axis = (target - entry) / np.linalg.norm(target - entry)
    reach_mm = float(np.abs(volume.affine_lps_from_ijk[:3, :3]).sum(axis=0) @ np.array(volume.shape_kji[::-1]))
    behind = target + np.arange(0.0, reach_mm, _STEP_MM)[:, None] * axis
    values = volume.hu_at(behind)
    return bool((values[~np.isnan(values)] < _TISSUE_ABOVE_HU).all())


def _mean_hu(center: F64, volume: HuProbe) -> float | None:
    """Mean of a small ball; None where it lies outside the volume."""
    steps = np.arange(-_BALL_MM, _BALL_MM + 0.5, 1.0)
    ball = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    ball = ball[(ball * ball).sum(axis=1) <= _BALL_MM**2]
    values = volume.hu_at(center + ball)
    return None if np.isnan(values).all() else float(np.nanmean(values))
