"""A straight instrument of true diameter as the cone beam shows it: exact silhouette, centreline, depth ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.errors import GeometryError
from guidance.geometry.camera import source_of
from guidance.messages import F64, PlannedPath, Vector3

# No instrument is ever this near to the source; what would be is cut off before the projection grows without bound.
NEAREST_MM: Final = 10.0
# A polygon's chord may miss its ellipse by this much.
_CHORD_PX: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tubes:
    """Paths made ready for projection; depends on the plan only, so it is built once and used for every frame.

    Attributes:
        entry_lps_mm, target_lps_mm, axis, side, other_side: (N, 3); unit axis from entry to target, and two unit
            vectors that make a right-handed frame with it.
        radius_mm, length_mm: (N,), > 0.
        tick_lps_mm: (T, 3) points on the axes each `tick_mm` from the entry, ends aside.
        tick_tube: (T,) whose tube's.
        tick_depth_mm: (T,) depth from the entry.
    """

    entry_lps_mm: F64
    target_lps_mm: F64
    axis: F64
    side: F64
    other_side: F64
    radius_mm: F64
    length_mm: F64
    tick_lps_mm: F64
    tick_tube: npt.NDArray[np.int64]
    tick_depth_mm: F64


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
    return Tubes(
        entry_lps_mm=entry,
        target_lps_mm=target,
        axis=axis,
        side=side,
        other_side=np.cross(axis, side),
        radius_mm=diameter / 2.0,
        length_mm=length,
        tick_lps_mm=entry[tick_tube] + tick_depth[:, None] * axis[tick_tube],
        tick_tube=tick_tube,
        tick_depth_mm=tick_depth,
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
        N projections, in order. Exact but for the rims' chords (0.05 px).
    """
    if not len(tubes.length_mm):
        return []
    left, right = pixel_from_patient[:, :3], pixel_from_patient[:, 3]
    source = source_of(pixel_from_patient)
    ends = np.stack((tubes.entry_lps_mm, tubes.target_lps_mm))
    ends_uvw = ends @ left.T + right
    start_mm, stop_mm = _visible_part(tubes, left[2], ends_uvw[:, :, 2])
    visible = stop_mm > start_mm
    starts = tubes.entry_lps_mm + start_mm[:, None] * tubes.axis
    lengths = np.where(visible, stop_mm - start_mm, 1.0)

    focal_px = math.sqrt(abs(float(np.linalg.det(left))))
    nearest_w = np.maximum(np.minimum(ends_uvw[0, :, 2], ends_uvw[1, :, 2]), NEAREST_MM)
    radius_px = tubes.radius_mm * focal_px / nearest_w
    outlines = _outlines(tubes, source, starts, lengths, left, right, float(radius_px.max()))

    lines = np.stack((starts, starts + lengths[:, None] * tubes.axis)) @ left.T + right
    with np.errstate(divide="ignore", invalid="ignore"):
        lines = lines[:, :, :2] / lines[:, :, 2:]
    ticks = _ticks(tubes, left, right, focal_px)
    across_mm = np.abs(lines[1] - lines[0]).max(axis=1)
    results = []
    for index in range(len(lengths)):
        if not visible[index]:
            results.append(_not_drawn(float(ends_uvw[0, index, 2]), float(ends_uvw[1, index, 2])))
            continue
        own = (tubes.tick_tube == index) & (ticks[2] > NEAREST_MM)
        centerline = lines[:, index]
        results.append(
            TubeProjection(
                drawn=True,
                outline_px=outlines[index],
                centerline_px=centerline,
                entry_px=_pixel(centerline[0]) if start_mm[index] == 0.0 else None,
                target_px=_pixel(centerline[1]) if stop_mm[index] == tubes.length_mm[index] else None,
                entry_depth_mm=float(ends_uvw[0, index, 2]),
                target_depth_mm=float(ends_uvw[1, index, 2]),
                tick_px=ticks[0][own],
                tick_across=ticks[1][own],
                tick_half_width_px=tubes.radius_mm[index] * focal_px / ticks[2][own],
                tick_depth_mm=tubes.tick_depth_mm[own],
                down_the_barrel=bool(across_mm[index] < 2.0 * radius_px[index]),
            )
        )
    return results


def tube_outline(
    entry_lps_mm: Vector3, target_lps_mm: Vector3, diameter_mm: float, pixel_from_patient: F64
) -> list[F64]:
    """Shadow of one tube: closed (K, 2) polygons in px; [] where it is behind the source. See `project_tubes`."""
    projection = project_tubes(tubes([entry_lps_mm], [target_lps_mm], [diameter_mm]), pixel_from_patient)[0]
    return [projection.outline_px] if projection.drawn else []


def _visible_part(tubes: Tubes, depth_direction: F64, ends_w: F64) -> tuple[F64, F64]:
    """(start, stop) mm along each axis between which the whole cross-section is at least `NEAREST_MM` deep."""
    per_mm = tubes.axis @ depth_direction
    margin = NEAREST_MM + tubes.radius_mm * np.sqrt(np.maximum(1.0 - per_mm * per_mm, 0.0))
    start, stop = np.zeros_like(tubes.length_mm), tubes.length_mm.copy()
    if (ends_w >= margin).all():
        return start, stop
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = (margin - ends_w[0]) / per_mm
    near_entry, near_target = ends_w[0] < margin, ends_w[1] < margin
    start = np.where(near_entry, crossing, start)
    stop = np.where(near_target, crossing, stop)
    hidden = near_entry & near_target
    return np.where(hidden, 0.0, start), np.where(hidden, 0.0, stop)


def _outlines(
    tubes: Tubes, source: F64, starts: F64, lengths: F64, left: F64, right: F64, radius_px: float
) -> list[F64]:
    to_source = source - starts
    along = (to_source * tubes.axis).sum(axis=1)
    x = (to_source * tubes.side).sum(axis=1)
    y = (to_source * tubes.other_side).sum(axis=1)
    off_axis = np.hypot(x, y)
    towards = np.arctan2(y, x)
    barrel = off_axis <= tubes.radius_mm
    half = np.arccos(np.minimum(tubes.radius_mm / np.maximum(off_axis, 1e-12), 1.0))
    half = np.where(barrel, math.pi / 2.0, half)
    entry_seen, target_seen = along < 0.0, along > lengths
    # Down the barrel the nearer disc hides all the rest: both arcs are halves of its rim.
    offset_a = np.where(barrel & target_seen, lengths, 0.0)
    offset_b = np.where(barrel & entry_seen, 0.0, lengths)
    sweep_a = np.where(entry_seen & ~barrel, 2.0 * half - 2.0 * math.pi, 2.0 * half)
    sweep_b = np.where((target_seen & ~barrel) | barrel, 2.0 * math.pi - 2.0 * half, -2.0 * half)
    step = 2.0 * math.acos(max(1.0 - _CHORD_PX / max(radius_px, _CHORD_PX), 0.0))
    count = min(max(math.ceil(float(np.maximum(np.abs(sweep_a), np.abs(sweep_b)).max()) / step), 4), 96) + 1
    part = np.linspace(0.0, 1.0, count)
    angles = np.concatenate(
        (
            (towards - half)[:, None] + sweep_a[:, None] * part,
            (towards + half)[:, None] + sweep_b[:, None] * part,
        ),
        axis=1,
    )
    offsets = np.repeat(np.stack((offset_a, offset_b), axis=1), count, axis=1)
    radius = tubes.radius_mm[:, None]
    # Everything linear is projected once per tube; the rim is a sum of projected vectors.
    base = starts @ left.T + right
    axis, side, other = tubes.axis @ left.T, tubes.side @ left.T, tubes.other_side @ left.T
    points = (
        base[:, None, :]
        + offsets[:, :, None] * axis[:, None, :]
        + (radius * np.cos(angles))[:, :, None] * side[:, None, :]
        + (radius * np.sin(angles))[:, :, None] * other[:, None, :]
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return list(points[:, :, :2] / points[:, :, 2:])


def _ticks(tubes: Tubes, left: F64, right: F64, focal_px: float) -> tuple[F64, F64, F64]:
    """Pixels, unit vectors across the centreline, and w of all ticks."""
    points = tubes.tick_lps_mm @ left.T + right
    w = points[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = points[:, :2] / w[:, None]
    # d(u, v)/dt along the axis, times w.
    axis = (tubes.axis @ left.T)[tubes.tick_tube]
    direction = axis[:, :2] - pixels * axis[:, 2:]
    size = np.sqrt((direction * direction).sum(axis=1))
    safe = np.where(size > 1e-9 * focal_px, size, 1.0)
    across = np.stack((-direction[:, 1], direction[:, 0]), axis=1) / safe[:, None]
    across[size <= 1e-9 * focal_px] = (1.0, 0.0)
    return pixels, across, w


def _pixel(uv: F64) -> tuple[float, float]:
    u, v = uv.tolist()
    return (u, v)


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
