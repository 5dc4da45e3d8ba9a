"""The lines of one path: outline at true diameter, centreline, depth ticks, entry and target marks."""

from __future__ import annotations

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
    lines += [Line(points, color, line_width_px, path_id=path_id) for points in _ticks(tube, scale)]
    if tube.entry_px is not None:
        radius = max(_ENTRY_RADIUS_PX * scale, _half_width_at_entry(tube) + _ENTRY_BEYOND_TUBE_PX * scale)
        center = np.array(tube.entry_px)
        lines.append(Line(center + radius * _circle(radius), color, line_width_px, closed=True, path_id=path_id))
        outer = radius + _ENTRY_CROSS_PX * scale
        for direction in _FOUR_WAYS:
            ray = center + np.array([[radius], [outer]]) * direction
            lines.append(Line(ray, color, line_width_px, path_id=path_id))
    if tube.target_px is not None:
        center = np.array(tube.target_px)
        diamond = center + _TARGET_RADIUS_PX * scale * _FOUR_WAYS
        lines.append(Line(diamond, color, line_width_px, closed=True, path_id=path_id))
        cross = center + _TARGET_CROSS_PX * scale * _FOUR_WAYS
        lines += [Line(cross[first::2], color, line_width_px, path_id=path_id) for first in (0, 1)]
    return lines


def entry_reach_px(tube: TubeProjection, scale: float) -> float:
    """How far the entry mark reaches from its middle."""
    radius = max(_ENTRY_RADIUS_PX * scale, _half_width_at_entry(tube) + _ENTRY_BEYOND_TUBE_PX * scale)
    return radius + _ENTRY_CROSS_PX * scale


_FOUR_WAYS: Final = np.array([(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)])


def _half_width_at_entry(tube: TubeProjection) -> float:
    # The outline's nearest point lies on the entry's rim or on a silhouette line: it bounds the tube's half width.
    reach = tube.outline_px - np.array(tube.entry_px)
    across = np.sqrt((reach * reach).sum(axis=1))
    return float(across.min())


def _ticks(tube: TubeProjection, scale: float) -> list[F64]:
    if tube.down_the_barrel or not len(tube.tick_px):
        return []
    ticks: list[F64] = []
    last: F64 | None = None
    for middle, across, half_width, depth_mm in zip(
        tube.tick_px, tube.tick_across, tube.tick_half_width_px, tube.tick_depth_mm, strict=True
    ):
        if last is not None and float(np.hypot(*(middle - last))) < _LEAST_TICK_DISTANCE_PX * scale:
            continue
        last = middle
        long = abs(depth_mm / _LONG_TICK_EVERY_MM - round(depth_mm / _LONG_TICK_EVERY_MM)) < 1e-6
        reach = half_width + scale * (_LONG_TICK_BEYOND_PX if long else _TICK_BEYOND_PX)
        ticks.append(np.stack((middle - reach * across, middle + reach * across)))
    return ticks


def _circle(radius_px: float) -> F64:
    # A chord of 24 misses a circle of 10 px by 0.09 px.
    return _unit_circle(24 if radius_px < 12.0 else 48 if radius_px < 60.0 else 96)


@lru_cache(maxsize=8)
def _unit_circle(corners: int) -> F64:
    angles = np.arange(corners) * (2.0 * np.pi / corners)
    return np.stack((np.cos(angles), np.sin(angles)), axis=1)
