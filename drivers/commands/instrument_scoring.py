"""How far what was found in a simulated picture is off what was put there."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from drivers.commands.instrument_scene import Patient, Placed
from guidance.messages import F64, PlannedPath
from guidance.tracking.depth import constrained_to_path
from guidance.tracking.values import SeenInstrument

_LEAST_SEEN_MM: Final = 15.0  # of an instrument in the strip's reach: less than that need not be found
_WITHIN_MM: Final = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One instrument near a patient's path, in two views."""

    patient: Patient
    path: PlannedPath
    placed: Placed
    dose: float
    poses: tuple[tuple[float, float], tuple[float, float]]
    seed: int


def seen_error_mm(seen: SeenInstrument, placed: Placed, matrix: F64) -> float | None:
    """The tip's error in the picture, mm at its depth; None without a tip."""
    if seen.tip_px is None:
        return None
    tip = matrix[:, :3] @ np.array(placed.tip_lps_mm) + matrix[:, 3]
    off = np.array(seen.tip_px) - tip[:2] / tip[2]
    return float(np.linalg.norm(off)) * _mm_per_px(float(tip[2]), matrix)


def aside_mm(seen: SeenInstrument, placed: Placed, matrix: F64) -> float:
    """The most that the centreline lies off the instrument's own, its tip aside, mm at its depth."""
    homogeneous = _points(placed) @ matrix[:, :3].T + matrix[:, 3]
    uv = homogeneous[:, :2] / homogeneous[:, 2:]
    away = np.linalg.norm(seen.centreline_px[:, None] - uv[None], axis=2).min(axis=1)
    return float(away[:-1].max()) * _mm_per_px(float(homogeneous[0, 2]), matrix)


def _mm_per_px(depth_mm: float, matrix: F64) -> float:
    return depth_mm / math.sqrt(abs(float(np.linalg.det(matrix[:, :3]))))


def _points(placed: Placed) -> F64:
    """(N, 3): its middle, each 0.25 mm from the tip back."""
    back = np.arange(0.0, placed.length_mm, 0.25)[:, None]
    bow = 4.0 * placed.bend_mm / placed.length_mm**2 * back * back
    points: F64 = np.array(placed.tip_lps_mm) - back * np.array(placed.axis) + bow * np.array(placed.side)
    return points


def depth_error_mm(case: Case, seen: SeenInstrument, matrix: F64) -> list[float]:
    """Depth along the plan from one view, of an instrument taken to its foot on the plan; nothing where not told."""
    entry, target = np.array(case.path.entry_lps_mm), np.array(case.path.target_lps_mm)
    way = (target - entry) / np.linalg.norm(target - entry)
    true_mm = float((np.array(case.placed.tip_lps_mm) - entry) @ way)
    depth = constrained_to_path(case.path, seen, matrix).depth_mm
    return [] if depth is None else [abs(depth - true_mm)]


def should_be_seen(case: Case, matrix: F64) -> bool:
    """Whether enough of the instrument lies near its path, in the picture and not end on."""
    points = _points(case.placed)
    entry, target = np.array(case.path.entry_lps_mm), np.array(case.path.target_lps_mm)
    way = (target - entry) / np.linalg.norm(target - entry)
    along = (points - entry) @ way
    near = np.linalg.norm(points - entry - along[:, None] * way, axis=1) < _WITHIN_MM
    near &= along > -30.0
    homogeneous = points @ matrix[:, :3].T + matrix[:, 3]
    uv = homogeneous[:, :2] / homogeneous[:, 2:]
    inside = ((uv > 10.0) & (uv < 1013.0)).all(axis=1) & near
    if int(inside.sum()) < 2:
        return False
    shown = uv[inside]
    length_mm = float(np.linalg.norm(shown[-1] - shown[0])) * _mm_per_px(float(homogeneous[0, 2]), matrix)
    return length_mm > max(_LEAST_SEEN_MM, 4.0 * case.placed.kind.diameter_mm)


def middle_of(path: PlannedPath) -> F64:
    """(3,) where the path's middle is, mm."""
    middle: F64 = 0.5 * (np.array(path.entry_lps_mm) + np.array(path.target_lps_mm))
    return middle


def angle_deg(poses: Iterable[tuple[float, float]]) -> float:
    """Between the central rays of two poses."""
    rays = []
    for primary, secondary in np.radians(list(poses)):
        rays.append(
            (math.sin(primary) * math.cos(secondary), -math.cos(primary) * math.cos(secondary), math.sin(secondary))
        )
    return math.degrees(math.acos(float(np.clip(np.dot(rays[0], rays[1]), -1.0, 1.0))))
