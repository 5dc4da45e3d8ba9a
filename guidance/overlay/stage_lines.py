"""What each stage of a path draws beside or instead of a planned one's lines, and the marks of its instrument.

Told apart without colour: planned, thin with depth ticks; placed, the pin a thick line and what is still only planned
around it dashed; verified, the same with a whole outline and a second ring at the entry; screw in, a thick outline
with its side holes and no ticks; cemented, that and hatched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from guidance.geometry.camera import determinant
from guidance.geometry.tube import NEAREST_MM, TubeProjection
from guidance.kernels import project_points
from guidance.messages import F64, PathStage, PlannedPath, Vector3
from guidance.overlay.colors import Rgb
from guidance.overlay.path_lines import entry_radii_px, path_lines
from guidance.overlay.pieces import Line

# All sizes in px of a picture of 1024 x 1024, widths in parts of the line width.
_PIN_PART: Final = 2.0
_SCREW_PART: Final = 2.0
_HATCH_PART: Final = 0.7
_DASH_PX: Final = 14.0  # of which 8 are drawn
_DASH_DRAWN: Final = 8.0 / 14.0
_MOST_DASHES: Final = 128
_DASH_STEPS: Final = np.linspace(0.0, 1.0, 5)
_SECOND_RING_PX: Final = 4.0
_HATCH_PX: Final = 11.0
_MOST_HATCHES: Final = 64
_HOLE_PX: Final = 2.5
_HOLE_PART: Final = 0.45  # of the tube's half width
_BEVEL_PX: Final = 16.0
_BEVEL_HEAD_PX: Final = 6.0
_BEVEL_RING_PX: Final = 14.0
_LEAST_SEEN: Final = 0.3  # of the bevel's direction in the picture: an arrow shorter than that would mislead
_ALONG_BODY: Final = math.cos(math.radians(25.0))  # an axis nearer to the body's has no side towards the head


@dataclass(frozen=True, slots=True)
class Instrument:
    """What a path's instrument is beside a tube.

    Attributes:
        bevel: unit vector of the bevel's opening, LPS, across the axis; None without one.
        side_holes_lps_mm: middles of its side holes on the axis.
    """

    stage: PathStage = PathStage.PLANNED
    bevel: Vector3 | None = None
    side_holes_lps_mm: tuple[Vector3, ...] = ()

    @property
    def plain(self) -> bool:
        """A planned path without marks of its own: all of it is the kernel's."""
        return self.stage is PathStage.PLANNED and self.bevel is None


def instrument_of(path: PlannedPath, side_hole_depths_mm: tuple[float, ...] = ()) -> Instrument:
    """What is to be drawn of a path's instrument.

    Args:
        side_hole_depths_mm: from its tip; those beyond the entry are left out.
    """
    entry, target = np.array(path.entry_lps_mm), np.array(path.target_lps_mm)
    length = float(np.linalg.norm(target - entry))
    axis = (target - entry) / length
    holes = [target - depth * axis for depth in side_hole_depths_mm if 0.0 <= depth <= length]
    bevel = None if path.bevel_deg is None else bevel_direction(axis, path.bevel_deg)
    x_y_z = [(float(x), float(y), float(z)) for x, y, z in holes]
    return Instrument(path.stage, bevel, tuple(x_y_z))


def bevel_direction(axis: F64, bevel_deg: float) -> Vector3:
    """Where a bevel's opening looks, LPS: towards the head at 0, turned clockwise as seen from the hub.

    Args:
        axis: (3,) unit vector from entry to target. Within 25 deg of the body's own the opening at 0 is to the front.
    """
    reference = np.array((0.0, -1.0, 0.0)) if abs(axis[2]) > _ALONG_BODY else np.array((0.0, 0.0, 1.0))
    zero = reference - (reference @ axis) * axis
    zero /= np.linalg.norm(zero)
    turn = math.radians(bevel_deg)
    # Seen along the axis, away from the hub, the right-hand turn about it is clockwise.
    x, y, z = (math.cos(turn) * zero + math.sin(turn) * np.cross(axis, zero)).tolist()
    return x, y, z


def stage_lines(
    tube: TubeProjection,
    path: PlannedPath,
    instrument: Instrument,
    pixel_from_patient: F64,
    color: Rgb,
    *,
    line_width_px: float,
    scale: float,
) -> list[Line]:
    """Lines of a drawn tube, all in the path's colour; a plain one's are `path_lines`.

    Args:
        tube: the path's tube, with `drawn`.
        pixel_from_patient: (3, 4) that it was projected with.
        line_width_px: at this picture's size.
        scale: picture size over 1024.
    """
    lines = path_lines(tube, color, path.id, line_width_px=line_width_px, scale=scale)
    outline, centerline = lines[:2]
    stage = instrument.stage
    if stage in (PathStage.SCREW_IN, PathStage.CEMENTED):
        ticks = bool(len(tube.tick_px)) and not tube.down_the_barrel
        lines = [replace(outline, width_px=_SCREW_PART * line_width_px), *lines[3 if ticks else 2 :]]
        lines += _side_holes(tube, path, instrument, pixel_from_patient, outline, scale)
        if stage is PathStage.CEMENTED:
            lines.append(_hatching(tube, path, pixel_from_patient, outline, scale))
    elif stage in (PathStage.PLACED, PathStage.VERIFIED):
        pin = replace(centerline, width_px=_PIN_PART * line_width_px)
        if stage is PathStage.PLACED:
            outline = replace(outline, points=dashes(outline.points, scale), closed=False, apart=True)
        lines = [outline, pin, *lines[2:]]
        if stage is PathStage.VERIFIED and tube.entry_px is not None:
            radius = entry_radii_px(tube, scale)[0] + _SECOND_RING_PX * scale
            lines.append(replace(outline, points=ring_px(tube.entry_px, radius), width_px=line_width_px))
    if instrument.bevel is not None and tube.target_px is not None:
        lines += _bevel_mark(path, instrument.bevel, pixel_from_patient, outline, line_width_px, scale)
    return lines


def dashes(polygon: F64, scale: float) -> F64:
    """(2 N, 2) ends of the segments that a closed polygon is dashed with; each dash bends with it."""
    closed = np.concatenate((polygon, polygon[:1]))
    steps = np.sqrt((np.diff(closed, axis=0) ** 2).sum(axis=1))
    at = np.concatenate(([0.0], np.cumsum(steps)))
    count = min(max(round(at[-1] / (_DASH_PX * scale)), 3), _MOST_DASHES)
    places = (np.arange(count)[:, None] + _DASH_DRAWN * _DASH_STEPS) * (at[-1] / count)
    points = np.stack([np.interp(places, at, closed[:, axis]) for axis in (0, 1)], axis=-1)
    return np.stack((points[:, :-1], points[:, 1:]), axis=2).reshape(-1, 2)


def ring_px(center: tuple[float, float], radius_px: float) -> F64:
    """(N, 2) corners of a circle, whose chords miss it by less than 0.1 px up to a radius of 180 px."""
    corners = 24 if radius_px < 12.0 else 96
    angles = np.arange(corners) * (2.0 * np.pi / corners)
    return np.array(center) + radius_px * np.stack((np.cos(angles), np.sin(angles)), axis=1)


def half_width_px(path: PlannedPath, pixel_from_patient: F64, depth_mm: float) -> float:
    """Half the width of the path's tube at a depth from the source."""
    focal_px = math.sqrt(abs(determinant(pixel_from_patient)))
    return path.diameter_mm / 2 * focal_px / max(depth_mm, NEAREST_MM)


def _side_holes(
    tube: TubeProjection, path: PlannedPath, instrument: Instrument, pixel_from_patient: F64, like: Line, scale: float
) -> list[Line]:
    """A small circle at each hole; none down the barrel, where one would hide the other."""
    if not instrument.side_holes_lps_mm or tube.down_the_barrel:
        return []
    uvw = project_points(np.array(instrument.side_holes_lps_mm), pixel_from_patient)
    lines = []
    for u, v, w in uvw[uvw[:, 2] > NEAREST_MM].tolist():
        radius = max(_HOLE_PX * scale, _HOLE_PART * half_width_px(path, pixel_from_patient, w))
        lines.append(replace(like, points=ring_px((u, v), radius)[::2]))
    return lines


def _hatching(tube: TubeProjection, path: PlannedPath, pixel_from_patient: F64, like: Line, scale: float) -> Line:
    """Oblique strokes across the tube; a cross of two down the barrel."""
    start, end = tube.centerline_px
    width = half_width_px(path, pixel_from_patient, (tube.entry_depth_mm + tube.target_depth_mm) / 2)
    length = float(np.hypot(*(end - start)))
    if tube.down_the_barrel or length < 2.0 * width:
        reach = width * math.sqrt(0.5) * np.array([(-1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (1.0, -1.0)])
        return replace(like, points=(start + end) / 2 + reach, closed=False, apart=True)
    along = (end - start) / length
    across = np.array((-along[1], along[0]))
    count = min(max(int((length - width) / (_HATCH_PX * scale)), 1), _MOST_HATCHES)
    places = np.linspace(width / 2, length - width / 2, count + 2)[1:-1]
    middles = start + places[:, None] * along
    reach = width * (across + 0.5 * along)
    points = np.stack((middles - reach, middles + reach), axis=1).reshape(-1, 2)
    return replace(like, points=points, width_px=_HATCH_PART * like.width_px, closed=False, apart=True)


def _bevel_mark(
    path: PlannedPath, bevel: Vector3, pixel_from_patient: F64, like: Line, line_width_px: float, scale: float
) -> list[Line]:
    """An arrow off the tip to where the bevel opens; end on, a ring if it opens to who looks, a dashed one if not."""
    target = np.array(path.target_lps_mm)
    side = target + path.diameter_mm / 2 * np.array(bevel)
    (u, v, w), (side_u, side_v, side_w) = project_points(np.stack((target, side)), pixel_from_patient).tolist()
    width = half_width_px(path, pixel_from_patient, w)
    away = np.array((side_u - u, side_v - v))
    seen = float(np.hypot(*away)) / width
    mark = replace(like, width_px=line_width_px, closed=False, apart=False)
    if not seen >= _LEAST_SEEN:
        ring = ring_px((u, v), max(_BEVEL_RING_PX * scale, width + _BEVEL_HEAD_PX * scale))
        # The picture is seen from the detector, where w is largest.
        if side_w > w:
            return [replace(mark, points=ring, closed=True)]
        return [replace(mark, points=dashes(ring, scale), apart=True)]
    way = away / np.hypot(*away)
    across = np.array((-way[1], way[0]))
    root = np.array((u, v)) + width * seen * way
    point = root + _BEVEL_PX * scale * way
    head = point - _BEVEL_HEAD_PX * scale * way
    barb = 0.6 * _BEVEL_HEAD_PX * scale * across
    return [
        replace(mark, points=np.stack((root, point))),
        replace(mark, points=np.stack((head + barb, point, head - barb))),
    ]
