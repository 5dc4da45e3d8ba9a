"""Zones' outlines as distance maps of one pose, and the cement of a frame looked up in them."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.cement.outline import distances, grid_in, outline_of, plan_of
from guidance.messages import F32, F64, U8, CementView, Matrix34, SiteInView, Zone, ZoneKind
from guidance.overlay.zones import ZonesOnPicture

NO_GEOMETRY: Final = "no geometry: where zones lie in this picture is not known"
NO_CEMENT: Final = "no new cement is seen yet"
_TOO_NEAR: Final = "too near to the X-ray source for a shadow"
_NODES: Final = 256  # of a map along the picture's longer side
_SAMPLES: Final = 600  # of a zone's shadow
_POSES_KEPT: Final = 6
_SHIFT_PX: Final = 0.5  # at 512 px: what a map may be wrong by when it is shifted instead of made anew
_MOST_FRONT: Final = 800
_FRONT_SIGMA_PX: Final = 0.5
_BILINEAR_PART: Final = 0.03  # of the maps' step
GEOMETRY_SIGMA_MM: Final = 0.7
_NO_SHADOW: Final = np.float32(1e9)  # finite, so that it can be interpolated


@dataclass(frozen=True, slots=True, eq=False)
class _Maps:
    """Of Z zones in one pose.

    Attributes:
        values: (rows * columns, Z) float32 px, node by node.
        targets: (rows, columns) px: least distance to a target; None: there is no target.
        samples: (N, 2) integer u, v of all zones' shadows, zone by zone, clipped to the picture.
        depths: (N,) float32 px: signed distance at each.
        shown: (N,) whether it lies on the picture.
        first: (Z + 1,) where each zone's begin.
        weights: (Z,) area of a sample.
        corners: (Z, 8, 2) px of the zones' boxes; NaN where there is no shadow.
    """

    values: F32
    targets: F32 | None
    samples: npt.NDArray[np.intp]
    depths: F32
    shown: npt.NDArray[np.bool_]
    first: npt.NDArray[np.intp]
    weights: F64
    corners: F64


class ZoneShadows:
    """The shadows of zones in the poses that frames come in; one thread.

    A frame costs a look-up at the front's points. A new pose costs some milliseconds for each zone, once; one that
    differs from a known one by a shift of each shadow costs nothing.

    Args:
        zones: with their surfaces; a `ZoneShadows` is of these only.
    """

    def __init__(self, zones: ZonesOnPicture) -> None:
        self.zones: tuple[Zone, ...] = tuple(zone for zone, _ in zones.surfaces)
        self._plans = tuple(plan_of(surface) for _, surface in zones.surfaces)
        self._vertices = tuple(surface.vertices_lps_mm for _, surface in zones.surfaces)
        self._boxes = np.array([_box_corners(points) for points in self._vertices]).reshape(-1, 8, 3)
        self._kept: OrderedDict[tuple[Matrix34, int, int], _Maps] = OrderedDict()

    def sites(self, view: CementView, *, geometry_sigma_mm: float = GEOMETRY_SIGMA_MM) -> tuple[SiteInView, ...]:
        """Each zone against the cement's front; nothing where cement could not be told in the frame.

        Args:
            view: of one frame.
            geometry_sigma_mm: standard deviation of where the geometry puts a zone, at the isocentre.
        """
        mask, matrix = view.mask, view.pixel_from_patient
        if not view.seen or mask is None:
            return ()
        if matrix is None:
            return tuple(SiteInView(zone_id=zone.id, distance_px=None, reason=NO_GEOMETRY) for zone in self.zones)
        if not self.zones:
            return ()
        rows, columns = mask.shape
        maps, shifts, residuals = self._maps(matrix, rows, columns)
        covered, hidden, deepest = _covered(maps, mask, view.blind, shifts)
        front = _front(view.front_px)
        if len(front) == 0:
            return tuple(
                SiteInView(zone_id=zone.id, distance_px=None, hidden=share, reason=NO_CEMENT)
                for zone, share in zip(self.zones, hidden.tolist(), strict=True)
            )
        found = _looked_up(maps, front, shifts, _step(rows, columns), _nodes(rows, columns))
        nearest = np.argmin(found, axis=0)
        least = np.minimum(found[nearest, np.arange(len(self.zones))], deepest)
        geometry_px = geometry_sigma_mm / view.mm_per_px if view.mm_per_px else 0.0
        fixed = geometry_px**2 + _FRONT_SIGMA_PX**2 + (_BILINEAR_PART * _step(rows, columns)) ** 2
        answers = []
        for index, zone in enumerate(self.zones):
            if least[index] > 0.5 * _NO_SHADOW:
                answers.append(SiteInView(zone_id=zone.id, distance_px=None, reason=_TOO_NEAR))
                continue
            u, v = front[nearest[index]].tolist()
            answers.append(
                SiteInView(
                    zone_id=zone.id,
                    distance_px=float(least[index]),
                    sigma_px=math.sqrt(fixed + float(residuals[index]) ** 2),
                    overlap_px=float(covered[index]),
                    nearest_px=(u, v),
                    speed_px_s=_speed_at(view.speed_px_s, u, v),
                    hidden=float(hidden[index]),
                )
            )
        return tuple(answers)

    def outside_px(self, view: CementView, *, margin_mm: float = 2.0) -> float | None:
        """Area of new cement farther than a margin outside every target's shadow; None: no target, or not known."""
        mask, matrix, mm_per_px = view.mask, view.pixel_from_patient, view.mm_per_px
        if not view.seen or mask is None or matrix is None or mm_per_px is None:
            return None
        if all(zone.kind is not ZoneKind.TARGET for zone in self.zones):
            return None
        rows, columns = mask.shape
        maps, shifts, _ = self._maps(matrix, rows, columns)
        if maps.targets is None:
            return None
        step = _step(rows, columns)
        own = shifts[[zone.kind is ZoneKind.TARGET for zone in self.zones]].mean(axis=0)
        du, dv = (np.rint(own / step)).astype(int).tolist()
        looked = mask[::step, ::step]
        targets = maps.targets[: looked.shape[0], : looked.shape[1]]
        if du or dv:
            targets = np.roll(targets, (dv, du), axis=(0, 1))
        return float(np.count_nonzero(looked & (targets > margin_mm / mm_per_px))) * step * step

    def _maps(self, matrix: Matrix34, rows: int, columns: int) -> tuple[_Maps, F64, F64]:
        """Maps that serve this pose, (Z, 2) shifts of each shadow in them, and (Z,) px that they are wrong by."""
        key = (matrix, rows, columns)
        known = self._kept.get(key)
        if known is not None:
            self._kept.move_to_end(key)
            return known, np.zeros((len(self.zones), 2)), np.zeros(len(self.zones))
        pixel_from_patient = np.array(matrix, np.float64).reshape(3, 4)
        corners = _projected(self._boxes, pixel_from_patient)
        most_px = _SHIFT_PX * max(rows, columns) / 512.0
        for other, maps in reversed(self._kept.items()):
            if other[1:] != (rows, columns) or not _same_unknown(maps.corners, corners):
                continue
            moved = corners - maps.corners
            shifts = moved.mean(axis=1)
            wrong = np.hypot(*(moved - shifts[:, None]).transpose(2, 0, 1)).max(axis=1)
            if np.nanmax(wrong, initial=0.0) <= most_px and np.nanmax(np.abs(shifts), initial=0.0) <= columns / 8:
                shifts, wrong = np.nan_to_num(shifts), np.nan_to_num(wrong)
                apart = np.hypot(*(shifts - shifts.mean(axis=0)).T)
                if apart.max() <= most_px:
                    # One shift for all of them is looked up four times as fast.
                    return maps, np.repeat(shifts.mean(axis=0)[None], len(shifts), axis=0), np.hypot(wrong, apart)
                return maps, shifts, wrong
        made = self._made(pixel_from_patient, corners, rows, columns)
        self._kept[key] = made
        while len(self._kept) > _POSES_KEPT:
            self._kept.popitem(last=False)
        return made, np.zeros((len(self.zones), 2)), np.zeros(len(self.zones))

    def _made(self, pixel_from_patient: F64, corners: F64, rows: int, columns: int) -> _Maps:
        step, (down, across) = _step(rows, columns), _nodes(rows, columns)
        values = np.full((down * across, len(self.zones)), _NO_SHADOW, np.float32)
        targets: F32 | None = None
        places, depths, weights, counts = [], [], [], []
        for index, zone in enumerate(self.zones):
            outline = outline_of(self._plans[index], self._vertices[index], pixel_from_patient)
            points, weight = np.empty((0, 2)), 0.0
            if outline is not None:
                away = distances(outline, step, across, down)
                values[:, index] = away.ravel()
                points, weight = grid_in(outline, _SAMPLES)
                if zone.kind is ZoneKind.TARGET:
                    targets = away if targets is None else np.minimum(targets, away)
            places.append(points)
            depths.append(_bilinear(values[:, index : index + 1], points, step, (down, across))[:, 0])
            weights.append(weight)
            counts.append(len(points))
        samples = np.rint(np.concatenate(places)).astype(np.intp)
        shown = _on_picture(samples, rows, columns)
        return _Maps(
            values=values,
            targets=targets,
            samples=samples,
            depths=np.concatenate(depths).astype(np.float32),
            shown=shown,
            first=np.concatenate(([0], np.cumsum(counts))).astype(np.intp),
            weights=np.array(weights),
            corners=corners,
        )


def _step(rows: int, columns: int) -> int:
    return max(1, math.ceil(max(rows, columns) / _NODES))


def _nodes(rows: int, columns: int) -> tuple[int, int]:
    step = _step(rows, columns)
    return (rows - 1) // step + 2, (columns - 1) // step + 2


def _box_corners(points: F32) -> F64:
    low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
    picks = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    corners: F64 = low + picks * (high - low)
    return corners


def _projected(points: F64, pixel_from_patient: F64) -> F64:
    """(..., 2) px of (..., 3) points; NaN at or behind the source."""
    seen = points @ pixel_from_patient[:, :3].T + pixel_from_patient[:, 3]
    depth = np.where(seen[..., 2:] > 1.0, seen[..., 2:], np.nan)
    places: F64 = seen[..., :2] / depth
    return places


def _same_unknown(one: F64, other: F64) -> bool:
    return bool(np.array_equal(np.isnan(one), np.isnan(other)))


def _on_picture(places: npt.NDArray[np.intp], rows: int, columns: int) -> npt.NDArray[np.bool_]:
    u, v = places.T
    on: npt.NDArray[np.bool_] = (u >= 0) & (u < columns) & (v >= 0) & (v < rows)
    return on


def _front(contours: tuple[F64, ...]) -> F64:
    if not contours:
        return np.empty((0, 2))
    points = np.concatenate(contours)
    points = points[np.isfinite(points).all(axis=1)]
    return points[:: max(1, math.ceil(len(points) / _MOST_FRONT))]


def _looked_up(maps: _Maps, points: F64, shifts: F64, step: int, nodes: tuple[int, int]) -> F32:
    """(N, Z) signed distances of points to the shadows."""
    if not shifts.any():
        return _bilinear(maps.values, points, step, nodes)
    if (shifts == shifts[0]).all():
        return _bilinear(maps.values, points - shifts[0], step, nodes)
    columns = [
        _bilinear(maps.values[:, index : index + 1], points - shift, step, nodes) for index, shift in enumerate(shifts)
    ]
    return np.concatenate(columns, axis=1)


def _bilinear(values: F32, points: F64, step: int, nodes: tuple[int, int]) -> F32:
    """(N, Z) between the nodes; off the map what its border tells, plus the way there."""
    down, across = nodes
    column = np.clip(points[:, 0] / step, 0.0, across - 1.0)
    row = np.clip(points[:, 1] / step, 0.0, down - 1.0)
    off = np.hypot(points[:, 0] - column * step, points[:, 1] - row * step)
    left = np.minimum(column.astype(np.intp), across - 2)
    top = np.minimum(row.astype(np.intp), down - 2)
    part_u, part_v = (column - left)[:, None].astype(np.float32), (row - top)[:, None].astype(np.float32)
    node = top * across + left
    upper = values[node] * (1 - part_u) + values[node + 1] * part_u
    lower = values[node + across] * (1 - part_u) + values[node + across + 1] * part_u
    found: F32 = upper * (1 - part_v) + lower * part_v + off[:, None].astype(np.float32)
    return found


def _covered(maps: _Maps, mask: U8, blind: U8 | None, shifts: F64) -> tuple[F64, F64, F64]:
    """(Z,) area of each zone's shadow under cement, share of it that is hidden, and how deep in it cement is."""
    zones = len(maps.weights)
    area, hidden, deepest = np.zeros(zones), np.ones(zones), np.full(zones, np.inf)
    if len(maps.samples) == 0:
        return area, hidden, deepest
    rows, columns = mask.shape
    places, shown = maps.samples, maps.shown
    if shifts.any():
        places = places + np.repeat(np.rint(shifts).astype(np.intp), np.diff(maps.first), axis=0)
        shown = _on_picture(places, rows, columns)
    u, v = np.clip(places[:, 0], 0, columns - 1), np.clip(places[:, 1], 0, rows - 1)
    under = (mask[v, u] != 0) & shown
    unseen = ~shown if blind is None else ~shown | ((blind[v, u] != 0) & ~under)
    depths = np.where(under, maps.depths, np.float32(np.inf))
    there = np.flatnonzero(np.diff(maps.first) > 0)
    first = maps.first[there]
    counts = np.diff(maps.first)[there]
    area[there] = np.add.reduceat(under, first, dtype=np.int64) * maps.weights[there]
    hidden[there] = np.add.reduceat(unseen, first, dtype=np.int64) / counts
    deepest[there] = np.minimum.reduceat(depths, first)
    return area, hidden, deepest


def _speed_at(speed_px_s: F32 | None, u: float, v: float) -> float | None:
    """Of the front within a pixel of a point; None where it is not known."""
    if speed_px_s is None:
        return None
    rows, columns = speed_px_s.shape
    row, column = min(max(round(v), 0), rows - 1), min(max(round(u), 0), columns - 1)
    near = speed_px_s[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
    known = near[np.isfinite(near)]
    return float(known.max()) if known.size else None
