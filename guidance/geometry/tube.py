"""A straight instrument of true diameter as the cone beam shows it: exact silhouette, centreline, depth ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.errors import GeometryError
from guidance.geometry.camera import determinant, source_of
from guidance.messages import F64, PlannedPath, Vector3

# No instrument is ever this near to the source; what would be is cut off before the projection grows without bound.
NEAREST_MM: Final = 10.0
_SAFE_MM: Final = 1.0  # divisor for what is behind and not drawn; all that is drawn is deeper
# A polygon's chord may miss its ellipse by this much.
_CHORD_PX: Final = 0.05
# Enough for a rim of 45 px radius; a larger one is all of the picture.
_MOST_CHORDS: Final = 96


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tubes:
    """Paths made ready for projection; depends on the plan only, so it is built once and used for every frame.

    Attributes:
        frames: (N, 3, 3) rows: unit axis from entry to target and two unit vectors that make a right-handed frame.
        entry_lps_mm: (N, 3).
        radius_mm, length_mm: (N,), > 0.
        homogeneous: (5 N + T, 4) all that is projected, one matrix product a frame: entries, targets, axes, the
            two side vectors of each, then the ticks, points with 1 and directions with 0 at the end.
        numbers: (N, 14) the same tubes for `kernels.tubes`: entry, frame, radius_mm, length_mm.
        tick_depth_mm: (T,) depth of each tick from its entry, ends aside; tube by tube.
        tick_tube: (T,) whose tube's.
        tick_ends: (N + 1,) where each tube's ticks begin and end.
    """

    frames: F64
    entry_lps_mm: F64
    radius_mm: F64
    length_mm: F64
    homogeneous: F64
    numbers: F64
    tick_depth_mm: F64
    tick_tube: npt.NDArray[np.int64]
    tick_ends: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TubeProjection:
    """One tube on one picture; px are (u, v).

    Attributes:
        drawn: False where nothing of it is in front of the source; then all else is empty or None.
        outline_px: (K, 2) closed polygon (last point joins the first): the tube's shadow, convex.
        centerline_px: (2, 2) from the entry's end to the target's, as far as it is in front of the source.
        entry_px, target_px: None where that end is behind the source's plane or nearer than `NEAREST_MM`.
        entry_depth_mm, target_depth_mm: w, mm from the source along the central ray; may be negative.
        tick_px: (T, 2) where each depth tick's middle falls.
        tick_across: (T, 2) unit vector across the centreline at the tick.
        tick_half_width_px: (T,) the tube's half width there.
        tick_depth_mm: (T,) depth from the entry.
        down_the_barrel: the view runs along the axis (bull's-eye): the centreline is shorter than the tube is wide,
            so ticks say nothing.
    """

    drawn: bool
    outline_px: F64
    centerline_px: F64
    entry_px: tuple[float, float] | None
    target_px: tuple[float, float] | None
    entry_depth_mm: float
    target_depth_mm: float
    tick_px: F64
    tick_across: F64
    tick_half_width_px: F64
    tick_depth_mm: F64
    down_the_barrel: bool


@lru_cache(maxsize=64)
def tubes_of_paths(paths: tuple[PlannedPath, ...], tick_mm: float) -> Tubes:
    """Paths as tubes, in order; see `tubes`."""
    return tubes(
        [path.entry_lps_mm for path in paths],
        [path.target_lps_mm for path in paths],
        [path.diameter_mm for path in paths],
        tick_mm=tick_mm,
    )


def tubes(entries: list[Vector3], targets: list[Vector3], diameters_mm: list[float], *, tick_mm: float = 10.0) -> Tubes:
    """Make tubes ready for projection.

    Args:
        entries, targets: ends of the axes, patient LPS mm, not the same point.
        diameters_mm: > 0.
        tick_mm: distance of depth ticks, > 0.

    Raises:
        GeometryError: `bad_path` for a path without length or width, or with a number that is not finite.
    """
    entry = np.array(entries, dtype=np.float64).reshape(-1, 3)
    target = np.array(targets, dtype=np.float64).reshape(-1, 3)
    diameter = np.array(diameters_mm, dtype=np.float64)
    along = target - entry
    length = np.sqrt((along * along).sum(axis=1))
    if not (np.isfinite(length).all() and (length > 1e-6).all() and (diameter > 0.0).all()):
        raise GeometryError("a path has no length or no width", code="bad_path", mend="entry, target and diameter")
    axis = along / length[:, None]
    # The coordinate axis that is least along the tube gives a well-conditioned perpendicular.
    side = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis), axis=1)])
    side /= np.sqrt((side * side).sum(axis=1))[:, None]
    counts = np.maximum(np.ceil(length / tick_mm - 1e-9).astype(np.int64) - 1, 0)
    tick_tube = np.repeat(np.arange(len(length)), counts)
    tick_depth = np.concatenate([np.arange(1, count + 1) * tick_mm for count in counts] or [np.zeros(0)])
    other = np.cross(axis, side)
    points = np.concatenate(
        (entry, target, axis, side, other, entry[tick_tube] + tick_depth[:, None] * axis[tick_tube])
    )
    is_point = np.repeat((1.0, 1.0, 0.0, 0.0, 0.0), len(length))
    radius = diameter / 2.0
    return Tubes(
        frames=np.stack((axis, side, other), axis=1),
        entry_lps_mm=entry,
        radius_mm=radius,
        length_mm=length,
        homogeneous=np.column_stack((points, np.concatenate((is_point, np.ones(len(tick_depth)))))),
        numbers=np.ascontiguousarray(np.column_stack((entry, axis, side, other, radius, length))),
        tick_depth_mm=tick_depth,
        tick_tube=tick_tube,
        tick_ends=(0, *np.cumsum(counts).tolist()),
    )


def project_tubes(tubes: Tubes, pixel_from_patient: F64) -> list[TubeProjection]:
    """Project tubes.

    A tube is the convex hull of its two end discs, and a projection keeps convexity where w > 0, so its shadow is
    bounded by the two silhouette lines (where a plane through source and line touches the cylinder) and by one arc
    of each disc's rim: the far arc where the disc's outer face is seen, else the near one.

    Args:
        tubes: N tubes.
        pixel_from_patient: (3, 4) as trusted: w in mm along the central ray, > 0 in front of the source.

    Returns:
        N projections, in order. Exact but for the rims' chords (0.05 px for rims up to some hundred px).
    """
    count = len(tubes.length_mm)
    if not count:
        return []
    uvw = tubes.homogeneous @ pixel_from_patient.T
    entry, target, vectors, ticks = uvw[:count], uvw[count : 2 * count], uvw[2 * count : 5 * count], uvw[5 * count :]
    focal_px = math.sqrt(abs(determinant(pixel_from_patient)))
    entry_w, target_w = entry[:, 2], target[:, 2]
    start_mm, stop_mm = _visible_part(tubes, vectors[:count, 2], entry_w, target_w)
    nearest_w = np.maximum(np.minimum(entry_w, target_w), NEAREST_MM)
    radius_px = tubes.radius_mm * focal_px / nearest_w
    to_source = source_of(pixel_from_patient) - tubes.entry_lps_mm
    outlines = _outlines(tubes, to_source, start_mm, stop_mm, entry, vectors, float(radius_px.max()))
    lines = np.empty((2, count, 3))
    lines[0] = entry + start_mm[:, None] * vectors[:count]
    lines[1] = entry + stop_mm[:, None] * vectors[:count]
    lines[:, :, :2] /= np.maximum(lines[:, :, 2:], _SAFE_MM)
    across = _across(ticks, vectors[tubes.tick_tube])
    tick_half_width = (tubes.radius_mm * focal_px)[tubes.tick_tube] / np.maximum(ticks[:, 2], _SAFE_MM)
    tick_uv = ticks[:, :2] / np.maximum(ticks[:, 2:], _SAFE_MM)
    # Plain floats: reading single elements out of arrays costs more than all the arithmetic on four paths.
    ends, starts, stops = lines.tolist(), start_mm.tolist(), stop_mm.tolist()
    depths, lengths = uvw[: 2 * count, 2].tolist(), tubes.length_mm.tolist()
    results = []
    for index, radius in enumerate(radius_px.tolist()):
        start, stop, entry_depth, target_depth = starts[index], stops[index], depths[index], depths[count + index]
        if not stop > start:
            results.append(_not_drawn(entry_depth, target_depth))
            continue
        (u0, v0, _), (u1, v1, _) = ends[0][index], ends[1][index]
        own: slice | npt.NDArray[np.int64] = slice(tubes.tick_ends[index], tubes.tick_ends[index + 1])
        if min(entry_depth, target_depth) < 2.0 * NEAREST_MM:
            own = np.flatnonzero((tubes.tick_tube == index) & (ticks[:, 2] > NEAREST_MM))
        results.append(
            TubeProjection(
                drawn=True,
                outline_px=outlines[index],
                centerline_px=lines[:, index, :2],
                entry_px=(u0, v0) if start == 0.0 else None,
                target_px=(u1, v1) if stop == lengths[index] else None,
                entry_depth_mm=entry_depth,
                target_depth_mm=target_depth,
                tick_px=tick_uv[own],
                tick_across=across[own],
                tick_half_width_px=tick_half_width[own],
                tick_depth_mm=tubes.tick_depth_mm[own],
                down_the_barrel=math.hypot(u1 - u0, v1 - v0) < 2.0 * radius,
            )
        )
    return results


def tube_outline(
    entry_lps_mm: Vector3, target_lps_mm: Vector3, diameter_mm: float, pixel_from_patient: F64
) -> list[F64]:
    """Shadow of one tube: closed (K, 2) polygons in px; [] where it is behind the source. See `project_tubes`."""
    projection = project_tubes(tubes([entry_lps_mm], [target_lps_mm], [diameter_mm]), pixel_from_patient)[0]
    return [projection.outline_px] if projection.drawn else []


def _visible_part(tubes: Tubes, depth_per_mm: F64, entry_w: F64, target_w: F64) -> tuple[F64, F64]:
    """(start, stop) mm along each axis between which the whole cross-section is at least `NEAREST_MM` deep."""
    start, stop = np.zeros_like(tubes.length_mm), tubes.length_mm
    if min(float(entry_w.min()), float(target_w.min())) > NEAREST_MM + float(tubes.radius_mm.max()):
        return start, stop
    margin = NEAREST_MM + tubes.radius_mm * np.sqrt(np.maximum(1.0 - depth_per_mm * depth_per_mm, 0.0))
    near_entry, near_target = entry_w < margin, target_w < margin
    # Where one end is near and the other is not, the axis does change its depth.
    crossing = (margin - entry_w) / np.where(near_entry != near_target, depth_per_mm, 1.0)
    start = np.where(near_entry, crossing, start)
    stop = np.where(near_target, crossing, stop)
    hidden = near_entry & near_target
    return np.where(hidden, 0.0, start), np.where(hidden, 0.0, stop)


def _outlines(
    tubes: Tubes, to_source: F64, start_mm: F64, stop_mm: F64, entry: F64, vectors: F64, radius_px: float
) -> F64:
    count = len(start_mm)
    along, x, y = (tubes.frames @ to_source[:, :, None])[:, :, 0].T
    off_axis = np.hypot(x, y)
    towards = np.arctan2(y, x)
    barrel = off_axis <= tubes.radius_mm
    entry_seen, target_seen = along < start_mm, along > stop_mm
    half = np.arccos(np.minimum(tubes.radius_mm / np.maximum(off_axis, 1e-12), 1.0))
    turn = 2.0 * math.pi
    sweep_a = 2.0 * half - turn * entry_seen
    sweep_b = turn * target_seen - 2.0 * half
    offset_a, offset_b = start_mm, stop_mm
    if barrel.any():
        # Down the barrel the nearer disc hides all the rest: both arcs are halves of its rim.
        half = np.where(barrel, math.pi / 2.0, half)
        sweep_a, sweep_b = np.where(barrel, math.pi, sweep_a), np.where(barrel, math.pi, sweep_b)
        offset_a = np.where(barrel & target_seen, stop_mm, start_mm)
        offset_b = np.where(barrel & entry_seen, start_mm, stop_mm)
    step = 2.0 * math.acos(max(1.0 - _CHORD_PX / max(radius_px, _CHORD_PX), 0.0))
    widest = max(float(np.abs(sweep_a).max()), float(np.abs(sweep_b).max()))
    chords = min(max(math.ceil(widest / step), 4), _MOST_CHORDS)
    part = np.arange(chords + 1) / chords
    # A rim point is entry + offset axis + radius (cos side + sin other side); all four are projected already.
    weights = np.empty((count, 4, 2 * chords + 2))
    weights[:, 0] = 1.0
    weights[:, 1, : chords + 1] = offset_a[:, None]
    weights[:, 1, chords + 1 :] = offset_b[:, None]
    angles = weights[:, 3]
    np.multiply(sweep_a[:, None], part, out=angles[:, : chords + 1])
    np.multiply(sweep_b[:, None], part, out=angles[:, chords + 1 :])
    angles[:, : chords + 1] += (towards - half)[:, None]
    angles[:, chords + 1 :] += (towards + half)[:, None]
    np.cos(angles, out=weights[:, 2])
    np.sin(angles, out=angles)
    weights[:, 2:] *= tubes.radius_mm[:, None, None]
    # (N, 3 of u w / v w / w, 4 of entry / axis / side / other side)
    basis = np.concatenate((entry, vectors)).reshape(4, count, 3).transpose(1, 2, 0)
    points = basis @ weights
    pixels: F64 = points[:, :2] / np.maximum(points[:, 2:], _SAFE_MM)
    return pixels.transpose(0, 2, 1)


def _across(ticks: F64, axis: F64) -> F64:
    """(T, 2): unit vectors across the projected axes at projected points; (1, 0) where an axis is seen end on."""
    # d(u, v)/dt along the axis, times w squared: only its direction is used.
    du = axis[:, 0] * ticks[:, 2] - ticks[:, 0] * axis[:, 2]
    dv = axis[:, 1] * ticks[:, 2] - ticks[:, 1] * axis[:, 2]
    size = np.hypot(du, dv)
    end_on = size < 1e-6
    if end_on.any():
        du, dv, size = np.where(end_on, 0.0, du), np.where(end_on, -1.0, dv), np.where(end_on, 1.0, size)
    across: F64 = np.stack((-dv, du), axis=1) / size[:, None]
    return across


def _not_drawn(entry_depth_mm: float, target_depth_mm: float) -> TubeProjection:
    nothing = np.zeros((0, 2))
    return TubeProjection(
        drawn=False,
        outline_px=nothing,
        centerline_px=nothing,
        entry_px=None,
        target_px=None,
        entry_depth_mm=entry_depth_mm,
        target_depth_mm=target_depth_mm,
        tick_px=nothing,
        tick_across=nothing,
        tick_half_width_px=np.zeros(0),
        tick_depth_mm=np.zeros(0),
        down_the_barrel=False,
    )
