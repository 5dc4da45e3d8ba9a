"""Thin parts of new cement that run ahead of the rest, with or without a zone there: how a vein fills."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from guidance.messages import F32, F64, U8, CementView, Matrix34, PlannedPath, ThinExtension

# Basivertebral, sacral and iliac intraosseous veins that take cement are 1 to 4 mm wide.
_WIDEST_MM: Final = 4.4
_NARROWEST_MM: Final = 1.2  # what is narrower is an edge of something that moved
_SHORTEST_MM: Final = 4.5  # beyond where the body's disc fits
_SLENDER: Final = 2.5  # times as long as wide
_REACHES: Final = 1.5  # widths out of the rest
# At 0.1 ml/s a ball of 1 ml grows by 0.2 mm/s, and a vein of 3 mm fills at 14 mm/s.
_SLOWEST_MM_S: Final = 2.0
_AHEAD: Final = 4.0  # times as fast as the rest grows
_RUNNING_S: Final = 1.5  # a tip that came longer ago runs no more
_MOST: Final = 3  # at once; more of them are edges of what has moved
_DETACHED_MM: Final = 3.0  # from the rest: it came by a way that is not seen
# Without a body that it left it must be long: a first drop is seen in parts.
_SHORTEST_ALONE_MM: Final = 15.0
_SLENDER_ALONE: Final = 4.0
_PICTURE_MM: Final = 200.0  # width of a picture at the isocentre, where nothing tells it
_LARGEST_PX: Final = 640  # a larger picture is looked at in steps
_ALONG_PATH_DEG: Final = 15.0
_BESIDE_PATH_MM: Final = 2.0
_OFF_PLAN: Final = 0.09  # a cannula lies up to 5 deg off its plan
_END_ON: Final = 0.5  # a path of which less is seen has no direction in this view
_AHEAD_MM: Final = 4.4  # of a target: still where cement comes out
_DETACHED_TOOK_S: Final = 0.3  # what is there at once, and hangs together with nothing, is an edge of what moved


@dataclass(frozen=True, slots=True)
class _Scale:
    """What lengths are in px of the picture looked at, and how much coarser that is."""

    mm_per_px: float
    step: int


@dataclass(frozen=True, slots=True, eq=False)
class _Body:
    """The rest of the cement.

    Attributes:
        away_px: (rows, columns) distance to it.
        grows_mm_s: how fast its radius grows, were it round.
    """

    away_px: F32
    grows_mm_s: float


def thin_extensions(view: CementView, paths: Sequence[PlannedPath] = ()) -> tuple[ThinExtension, ...]:
    """What runs ahead now, the longest first.

    Thin is what a disc of 4.4 mm does not fit into; fast is four times what the rest grows by, and 2 mm/s. Arrival is
    when a place could first be told from its noise, so the rest must have been there for a second and a half.

    Args:
        view: of one frame; one without arrival times, or without any new growth, has none.
        paths: along which cement is no vein's.
    """
    mask, grown, arrival = view.mask, view.grown, view.arrival_s
    if not view.seen or mask is None or arrival is None or grown is None or not grown.any():
        return ()
    scale = _scale_of(view, mask)
    box = _box_of(mask, scale)
    if box is None:
        return ()
    looked, came = mask[box], arrival[box]
    hidden = looked if view.blind is None else view.blind[box]
    thin, rest = _parts(looked, hidden, 0.5 * _WIDEST_MM / scale.mm_per_px)
    running = (came > view.time_s - _RUNNING_S) & (thin != 0)
    if not running.any():
        return ()
    body = _body_of(rest, came, view.time_s, scale)
    count, labels = cv2.connectedComponents(thin, connectivity=8)
    found = []
    for label in np.unique(labels[running]).tolist() if count > 1 else []:
        rows, columns = np.nonzero((labels == label) & np.isfinite(came))
        points = np.column_stack((columns, rows)).astype(np.float64)
        away = None if body is None else body.away_px[rows, columns].astype(np.float64)
        extension = _extension(points, away, came[rows, columns], body, scale)
        if extension is not None:
            first = np.array((box[1].start, box[0].start), np.float64)
            found.append(_in_picture(extension, first, scale.step, _path_of(points, first, scale, view, paths)))
    if len(found) > _MOST:
        return ()
    return tuple(sorted(found, key=lambda each: -each.length_px))


def _scale_of(view: CementView, mask: U8) -> _Scale:
    step = max(1, math.ceil(max(mask.shape) / _LARGEST_PX))
    mm_per_px = view.mm_per_px if view.mm_per_px else _PICTURE_MM / mask.shape[1]
    return _Scale(mm_per_px * step, step)


def _box_of(mask: U8, scale: _Scale) -> tuple[slice, slice] | None:
    """The mask's box, with a margin in which the disc has room, in steps."""
    step = scale.step
    left, top, width, height = cv2.boundingRect(mask)
    if width == 0:
        return None
    margin = step * math.ceil(_WIDEST_MM / scale.mm_per_px + 2.0)
    return (
        slice(max(top - margin, 0), min(top + height + margin, mask.shape[0]), step),
        slice(max(left - margin, 0), min(left + width + margin, mask.shape[1]), step),
    )


def _parts(mask: U8, hidden: U8, radius_px: float) -> tuple[U8, U8]:
    """Where a disc of the radius does not fit in, and where it does; it may lie over what is hidden.

    Cement beside a cannula looks thin, for the rest of it is not seen.
    """
    padded = cv2.copyMakeBorder(((mask | hidden) != 0).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)
    core = (depth > radius_px).astype(np.uint8)
    if core.any():
        # A corner of the rest is no extension: what is within a pixel of where the disc fits counts as rest.
        thick = cv2.distanceTransform(1 - core, cv2.DIST_L2, 5) <= radius_px + 1.0
    else:
        thick = np.zeros(padded.shape, np.bool_)
    inner = (slice(1, -1), slice(1, -1))
    there = mask != 0
    rest = thick[inner] & there
    return (there & ~rest).astype(np.uint8), rest.astype(np.uint8)


def _body_of(rest: U8, came: F32, time_s: float, scale: _Scale) -> _Body | None:
    """The rest, where it is there long enough to be told from a first drop that is not yet seen whole."""
    there = rest != 0
    now = np.count_nonzero(there)
    before = np.count_nonzero(there & ~(came > time_s - _RUNNING_S))
    if before == 0:
        return None
    grows_px = (math.sqrt(now / math.pi) - math.sqrt(before / math.pi)) / _RUNNING_S
    away = cv2.distanceTransform(1 - rest, cv2.DIST_L2, 5)
    return _Body(away, grows_px * scale.mm_per_px)


def _extension(points: F64, away_px: F64 | None, came: F32, body: _Body | None, scale: _Scale) -> ThinExtension | None:
    """One part, in px of the picture looked at; None where it is too short, too wide, too slow, or there at once.

    What lies along the body's rim is as long as the rim, and does not reach out.
    """
    _, along = _axis(points)
    extent = float(along.max() - along.min()) + 1.0
    width = len(points) / extent
    detached = away_px is None or float(away_px.min()) * scale.mm_per_px > _DETACHED_MM
    if float(along @ (came - came.mean())) < 0.0:
        along = -along  # its tip is where cement came last
    place = along if detached or away_px is None else away_px
    reach = extent if detached else float(place.max())
    shortest_mm, slender = (_SHORTEST_MM, _SLENDER) if body is not None else (_SHORTEST_ALONE_MM, _SLENDER_ALONE)
    if reach * scale.mm_per_px < shortest_mm or reach < _REACHES * width or extent < slender * width:
        return None
    if width * scale.mm_per_px < _NARROWEST_MM:
        return None
    near, far = np.percentile(place, (25.0, 75.0))
    first, last = place <= near, place >= far
    took_s = float(np.median(came[last]) - np.median(came[first]))
    if took_s <= 0.0 or (detached and took_s < _DETACHED_TOOK_S):
        return None  # what is there all at once has not run: it had not been told before
    speed = float(place[last].mean() - place[first].mean()) / took_s
    if speed * scale.mm_per_px < max(_SLOWEST_MM_S, _AHEAD * (body.grows_mm_s if body is not None else 0.0)):
        return None
    u, v = points[np.argmax(place)].tolist()
    return ThinExtension(tip_px=(u, v), length_px=extent, width_px=width, speed_px_s=speed)


def _axis(points: F64) -> tuple[F64, F64]:
    """Direction of greatest extent, and each point's place along it."""
    around = points - points.mean(axis=0)
    _, directions = np.linalg.eigh(around.T @ around)
    axis: F64 = directions[:, -1]
    return axis, around @ axis


def _in_picture(extension: ThinExtension, first: F64, step: int, path_id: str) -> ThinExtension:
    u, v = extension.tip_px
    return ThinExtension(
        tip_px=(float(first[0] + step * u), float(first[1] + step * v)),
        length_px=extension.length_px * step,
        width_px=extension.width_px * step,
        speed_px_s=extension.speed_px_s * step,
        path_id=path_id,
    )


def _path_of(points: F64, first: F64, scale: _Scale, view: CementView, paths: Sequence[PlannedPath]) -> str:
    """The path that the points lie along; "" for none."""
    matrix = view.pixel_from_patient
    if matrix is None:
        return ""
    places = first + scale.step * points
    axis, _ = _axis(places)
    for path in paths:
        ends = ends_px(path, matrix)
        if ends is not None and _lies_along(places, axis, path, ends, scale.mm_per_px / scale.step):
            return path.id
    return ""


def _lies_along(places: F64, axis: F64, path: PlannedPath, ends: F64, mm_per_px: float) -> bool:
    """Whether points lie along a path, or along the cannula that lies about where it was planned.

    Args:
        places: (N, 2) px of the picture.
        axis: of the points.
        ends: (2, 2) px of target and entry.
    """
    along = ends[1] - ends[0]
    length = float(np.hypot(*along))
    if length < 1.0:
        return False
    unit = along / length
    back_mm = ((places - ends[0]) @ unit) * mm_per_px
    beside_mm = np.abs((places - ends[0]) @ np.array((-unit[1], unit[0]))) * mm_per_px
    reach_mm = 0.5 * path.diameter_mm + _BESIDE_PATH_MM
    straight = abs(float(axis @ unit)) >= math.cos(math.radians(_ALONG_PATH_DEG))
    if straight and float(np.percentile(beside_mm, 90.0)) <= reach_mm:
        return True
    path_mm = float(np.linalg.norm(np.subtract(path.entry_lps_mm, path.target_lps_mm)))
    if not straight and length * mm_per_px >= _END_ON * path_mm:
        return False
    behind = float(np.percentile(back_mm, 10.0)) >= -_AHEAD_MM
    return behind and float(np.percentile(beside_mm - _OFF_PLAN * np.maximum(back_mm, 0.0), 90.0)) <= reach_mm


def leaves_along_path(view: CementView, paths: Sequence[PlannedPath]) -> bool:
    """Whether cement that reaches the border of what is seen does so along a path only: its cannula, its track."""
    mask, matrix = view.mask, view.pixel_from_patient
    if not view.out_of_picture or mask is None or matrix is None or not view.mm_per_px:
        return False
    off = np.pad((view.blind if view.blind is not None else np.zeros_like(mask)) != 0, 1, constant_values=True)
    near = cv2.dilate(off.astype(np.uint8), np.ones((5, 5), np.uint8))[1:-1, 1:-1]
    rows, columns = np.nonzero((near != 0) & (mask != 0))
    left = np.column_stack((columns, rows)).astype(np.float64)
    for path in paths:
        ends = ends_px(path, matrix)
        if ends is None or float(np.hypot(*(ends[1] - ends[0]))) < 1.0:
            continue
        unit = (ends[1] - ends[0]) / np.hypot(*(ends[1] - ends[0]))
        back_mm = ((left - ends[0]) @ unit) * view.mm_per_px
        beside_mm = np.abs((left - ends[0]) @ np.array((-unit[1], unit[0]))) * view.mm_per_px
        reach_mm = 0.5 * path.diameter_mm + _BESIDE_PATH_MM + _OFF_PLAN * np.maximum(back_mm, 0.0)
        left = left[(back_mm < -_AHEAD_MM) | (beside_mm > reach_mm)]
    return len(rows) > 0 and len(left) == 0


def ends_px(path: PlannedPath, pixel_from_patient: Matrix34) -> npt.NDArray[np.float64] | None:
    """(2, 2) u, v of a path's target and entry; None where one is at or behind the source."""
    matrix = np.array(pixel_from_patient).reshape(3, 4)
    ends = np.array((path.target_lps_mm, path.entry_lps_mm)) @ matrix[:, :3].T + matrix[:, 3]
    return ends[:, :2] / ends[:, 2:] if np.isfinite(ends).all() and ends[:, 2].min() > 1.0 else None
