"""The lines of one path: outline at true diameter, centreline, depth ticks, entry and target marks.

What the page draws, and the specification of `kernels.tubes.tube_strokes`, which draws the live picture's.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np

from guidance.geometry.tube import TubeProjection
from guidance.messages import F64
from guidance.overlay.colors import Rgb
from guidance.overlay.pieces import Line

# All sizes in px of a picture of 1024 x 1024; they grow and shrink with the picture.
_CENTERLINE_PART: Final = 0.7  # of the line width: the outline is what must be read
_TICK_BEYOND_PX: Final = 3.0
_LONG_TICK_BEYOND_PX: Final = 8.0
_LONG_TICK_EVERY_MM: Final = 50.0
_LEAST_TICK_DISTANCE_PX: Final = 5.0
_ENTRY_RADIUS_PX: Final = 7.0
_ENTRY_BEYOND_TUBE_PX: Final = 4.0
_ENTRY_CROSS_PX: Final = 6.0
_TARGET_RADIUS_PX: Final = 9.0
_TARGET_CROSS_PX: Final = 4.0


def path_lines(tube: TubeProjection, color: Rgb, path_id: str, *, line_width_px: float, scale: float) -> list[Line]:
    """Lines of a drawn tube, all in the path's colour.

    The entry is an open circle, wider than the tube, with four rays outwards; the target a diamond with a cross in
    its middle. Ticks cross the centreline, longer each 50 mm; they are left out down the barrel, and where they
    would stand nearer to each other than 5 px (of 1024).

    Args:
        tube: a tube with `drawn`.
        line_width_px: at this picture's size.
        scale: picture size over 1024.
    """
    lines = [
        Line(tube.outline_px, color, line_width_px, closed=True, path_id=path_id),
        Line(tube.centerline_px, color, _CENTERLINE_PART * line_width_px, path_id=path_id),
    ]
    ticks = _ticks(tube, scale)
    if len(ticks):
        lines.append(Line(ticks, color, line_width_px, apart=True, path_id=path_id))
    if tube.entry_px is not None:
        center = np.array(tube.entry_px)
        radius, outer = entry_radii_px(tube, scale)
        rays = center + np.stack((radius * _FOUR_WAYS, outer * _FOUR_WAYS), axis=1).reshape(-1, 2)
        lines.append(Line(center + radius * _circle(radius), color, line_width_px, closed=True, path_id=path_id))
        lines.append(Line(rays, color, line_width_px, apart=True, path_id=path_id))
    if tube.target_px is not None:
        center = np.array(tube.target_px)
        cross = center + _TARGET_CROSS_PX * scale * _FOUR_WAYS[[0, 2, 1, 3]]
        diamond = center + _TARGET_RADIUS_PX * scale * _FOUR_WAYS
        lines.append(Line(diamond, color, line_width_px, closed=True, path_id=path_id))
        lines.append(Line(cross, color, line_width_px, apart=True, path_id=path_id))
    return lines


def entry_radii_px(tube: TubeProjection, scale: float) -> tuple[float, float]:
    """Radius of the entry mark's circle, and how far its rays reach; 0 where the entry is not on the picture's side."""
    if tube.entry_px is None:
        return 0.0, 0.0
    # The outline's nearest point lies on the entry's rim or on a silhouette line: it bounds the tube's half width.
    reach = tube.outline_px - np.array(tube.entry_px)
    half_width = math.sqrt(float((reach * reach).sum(axis=1).min()))
    radius = max(_ENTRY_RADIUS_PX * scale, half_width + _ENTRY_BEYOND_TUBE_PX * scale)
    return radius, radius + _ENTRY_CROSS_PX * scale


_FOUR_WAYS: Final = np.array([(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)])


def _ticks(tube: TubeProjection, scale: float) -> F64:
    """(2 T, 2): the ends of each tick after each other."""
    if tube.down_the_barrel or not len(tube.tick_px):
        return np.zeros((0, 2))
    along = tube.tick_px - tube.tick_px[0]
    distance = np.sqrt((along * along).sum(axis=1))
    kept = _spread(distance.tolist(), _LEAST_TICK_DISTANCE_PX * scale)
    middle, depth_mm = tube.tick_px[kept], tube.tick_depth_mm[kept]
    beyond = np.where(
        np.abs(np.remainder(depth_mm + _LONG_TICK_EVERY_MM / 2, _LONG_TICK_EVERY_MM) - _LONG_TICK_EVERY_MM / 2) < 1e-6,
        _LONG_TICK_BEYOND_PX,
        _TICK_BEYOND_PX,
    )
    reach = (tube.tick_half_width_px[kept] + scale * beyond)[:, None] * tube.tick_across[kept]
    return np.stack((middle - reach, middle + reach), axis=1).reshape(-1, 2)


def _spread(distances: list[float], least: float) -> list[int]:
    """Indices that leave out what lies nearer than `least` behind the one taken before."""
    kept = [0]
    for index, distance in enumerate(distances):
        if distance - distances[kept[-1]] >= least:
            kept.append(index)
    return kept


def _circle(radius_px: float) -> F64:
    # A chord of 24 misses a circle of 10 px by 0.09 px.
    return _unit_circle(24 if radius_px < 12.0 else 48 if radius_px < 60.0 else 96)


@lru_cache(maxsize=8)
def _unit_circle(corners: int) -> F64:
    angles = np.arange(corners) * (2.0 * np.pi / corners)
    return np.stack((np.cos(angles), np.sin(angles)), axis=1)
