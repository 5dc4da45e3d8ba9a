"""Where a label stands: beside its path's entry, off words, marks and other paths as far as there is room.

The specification of `kernels.tubes.label_spots`, which places the live picture's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.geometry.tube import TubeProjection
from guidance.messages import F64

_TURNS_RAD: Final = tuple(math.radians(turn) for turn in (0.0, 45.0, -45.0, 90.0, -90.0, 135.0, -135.0, 180.0))
_RINGS: Final = (1.0, 1.7, 2.4)
_SAMPLES: Final = 24
_PARTS: Final = np.linspace(0.0, 1.0, _SAMPLES)[:, None]
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


def label_spots(
    tubes: Sequence[tuple[TubeProjection, float]],
    sizes: Sequence[tuple[int, int]],
    boxes: Sequence[Box],
    picture: tuple[int, int],
    gap_px: float,
) -> list[tuple[int, int] | None]:
    """Left and top of each label, one after the other; None where nothing of the path is on the picture.

    Args:
        tubes: tube and the reach of its entry mark in px.
        sizes, picture: (rows, columns) of the labels and of the picture.
        boxes: words and marks.
        gap_px: how far a label keeps from the entry's mark.
    """
    obstacles = Obstacles(list(boxes), tube_disks([(tube, reach) for tube, reach in tubes if tube.drawn]))
    spots: list[tuple[int, int] | None] = []
    for (tube, reach), (height, width) in zip(tubes, sizes, strict=True):
        spot = label_spot(tube, reach + gap_px, (height, width), picture, obstacles) if tube.drawn else None
        if spot is not None:
            obstacles.boxes.append((*spot, spot[0] + width, spot[1] + height))
        spots.append(spot)
    return spots


def tube_disks(tubes: Sequence[tuple[TubeProjection, float]]) -> F64:
    """(25 N, 3): samples along each drawn tube's centreline, as wide as the tube, and its entry mark.

    Args:
        tubes: tube and the reach of its entry mark in px.
    """
    disks = np.empty((len(tubes), _SAMPLES + 1, 3))
    for number, (tube, entry_radius_px) in enumerate(tubes):
        start, end = tube.centerline_px
        disks[number, :_SAMPLES, :2] = start + _PARTS * (end - start)
        disks[number, _SAMPLES, :2] = start
        widths = tube.tick_half_width_px
        disks[number, :_SAMPLES, 2] = widths[len(widths) // 2] if len(widths) else entry_radius_px / 2
        disks[number, _SAMPLES, 2] = entry_radius_px
    return disks.reshape(-1, 3)


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
    away_u, away_v = (start - end).tolist()
    heading = -math.pi / 4 if tube.down_the_barrel else math.atan2(away_v, away_u)
    best: tuple[int, int] | None = None
    least = math.inf
    for ring in _RINGS:
        for turn in _TURNS_RAD:
            u = anchor[0] + (ring * reach_px + width / 2) * math.cos(heading + turn) - width / 2
            v = anchor[1] + (ring * reach_px + height / 2) * math.sin(heading + turn) - height / 2
            left = min(max(round(u), 0), max(columns - width, 0))
            top = min(max(round(v), 0), max(rows - height, 0))
            cost = _MOVE_COST_PX * max(abs(left - u) + abs(top - v) - 1.0, 0.0)
            cost += _covered(left, top, width, height, obstacles)
            if cost < least:
                best, least = (left, top), cost
            if cost == 0.0:  # nearest to the entry, straight away from the target: none can be better
                return best
    return best


def _covered(left: int, top: int, width: int, height: int, obstacles: Obstacles) -> float:
    """What a label there would hide, in px^2."""
    cost = 0.0
    for box in obstacles.boxes:
        common_u = min(box[2], left + width) - max(box[0], left)
        common_v = min(box[3], top + height) - max(box[1], top)
        if common_u > 0 and common_v > 0:
            cost += common_u * common_v
    disks = obstacles.disks
    beside_u = np.abs(disks[:, 0] - (left + width / 2)) - width / 2
    beside_v = np.abs(disks[:, 1] - (top + height / 2)) - height / 2
    return cost + _POINT_COST_PX * int(np.count_nonzero(np.maximum(beside_u, beside_v) < disks[:, 2]))


def _anchor(start: F64, end: F64, rows: int, columns: int) -> tuple[float, float] | None:
    """The centreline's entry end; where that is off the picture, the middle of what is on it."""
    u, v = start.tolist()
    if -0.5 <= u <= columns - 0.5 and -0.5 <= v <= rows - 0.5:
        return u, v
    points = start + np.linspace(0.0, 1.0, 33)[:, None] * (end - start)
    limits = np.array([columns, rows]) - 0.5
    inside = np.flatnonzero(((points >= -0.5) & (points <= limits)).all(axis=1))
    if not inside.size:
        return None
    u, v = points[inside[len(inside) // 2]].tolist()
    return u, v
