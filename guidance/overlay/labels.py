"""Where a label stands: beside its path's entry, off words, marks and other paths as far as there is room."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.geometry.tube import TubeProjection
from guidance.messages import F64

_TURNS_DEG: Final = (0.0, 45.0, -45.0, 90.0, -90.0, 135.0, -135.0, 180.0)
_RINGS: Final = (1.0, 1.7, 2.4)
_SAMPLES: Final = 24
_POINT_COST_PX: Final = 100.0  # what a point of a tube under a label weighs, in px^2 of overlap
_MOVE_COST_PX: Final = 20.0  # what a px weighs by which the picture's edge pushes the label

Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom excluded


@dataclass(frozen=True, slots=True, eq=False)
class Obstacles:
    """What labels keep off.

    Attributes:
        boxes: words, marks and labels that stand already.
        disks: (N, 3) u, v and radius in px: samples of the tubes and of their marks.
    """

    boxes: list[Box]
    disks: F64


def tube_disks(tube: TubeProjection, entry_radius_px: float) -> F64:
    """(25, 3): samples along a drawn tube's centreline, as wide as the tube, and the entry mark."""
    start, end = tube.centerline_px
    along = start + np.linspace(0.0, 1.0, _SAMPLES)[:, None] * (end - start)
    half_width = float(tube.tick_half_width_px.mean()) if len(tube.tick_px) else entry_radius_px / 2
    disks = np.concatenate((along, start[None]))
    return np.column_stack((disks, np.append(np.full(_SAMPLES, half_width), entry_radius_px)))


def label_spot(
    tube: TubeProjection, reach_px: float, size: tuple[int, int], picture: tuple[int, int], obstacles: Obstacles
) -> tuple[int, int] | None:
    """Left and top of a label; None where nothing of the path's centreline is on the picture.

    Args:
        tube: a drawn tube.
        reach_px: how far the label keeps from the entry.
        size, picture: (rows, columns) of the label and of the picture.
        obstacles: what it keeps off.
    """
    (height, width), (rows, columns) = size, picture
    start, end = tube.centerline_px
    anchor = _anchor(start, end, rows, columns)
    if anchor is None:
        return None
    away = start - end
    heading = -math.pi / 4 if tube.down_the_barrel else math.atan2(away[1], away[0])
    angles = heading + np.radians(np.tile(_TURNS_DEG, len(_RINGS)))
    rings = np.repeat(_RINGS, len(_TURNS_DEG))
    u = anchor[0] + (rings * reach_px + width / 2) * np.cos(angles)
    v = anchor[1] + (rings * reach_px + height / 2) * np.sin(angles)
    left = np.clip(np.round(u - width / 2), 0, max(columns - width, 0))
    top = np.clip(np.round(v - height / 2), 0, max(rows - height, 0))
    cost = _MOVE_COST_PX * np.maximum(np.abs(left - (u - width / 2)) + np.abs(top - (v - height / 2)) - 1.0, 0.0)
    if obstacles.boxes:
        boxes = np.array(obstacles.boxes, np.float64).T[:, :, None]
        common_u = np.minimum(boxes[2], left + width) - np.maximum(boxes[0], left)
        common_v = np.minimum(boxes[3], top + height) - np.maximum(boxes[1], top)
        cost += (np.maximum(common_u, 0.0) * np.maximum(common_v, 0.0)).sum(axis=0)
    disk_u, disk_v, radius = obstacles.disks.T[:, :, None]
    beside = np.maximum(
        np.abs(disk_u - (left + width / 2)) - width / 2, np.abs(disk_v - (top + height / 2)) - height / 2
    )
    cost += _POINT_COST_PX * (beside < radius).sum(axis=0)
    best = int(np.argmin(cost))  # the first of equals: nearest to the entry, straight away from the target
    return int(left[best]), int(top[best])


def _anchor(start: F64, end: F64, rows: int, columns: int) -> F64 | None:
    """The centreline's entry end; where that is off the picture, the middle of what is on it."""
    points = start + np.linspace(0.0, 1.0, 33)[:, None] * (end - start)
    limits = np.array([columns, rows]) - 0.5
    inside = np.flatnonzero(((points >= -0.5) & (points <= limits)).all(axis=1))
    if not inside.size:
        return None
    anchor: F64 = points[0 if inside[0] == 0 else inside[len(inside) // 2]]
    return anchor
