"""Cement that comes back along a planned path: beside the cannula, or in its track when it is withdrawn."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.cement.extension import ends_px
from guidance.cement.space import OpenSpace, Tissue
from guidance.cement.zone_fields import zone_fields
from guidance.messages import F64, U8, CementBody, CementView, PlannedPath, TrackInView, ZoneSite
from guidance.overlay.zones import ZonesOnPicture
from guidance.tracking.values import SeenInstrument

_STEP_MM: Final = 1.0
_LONGEST_MM: Final = 250.0
_BEYOND_MM: Final = 40.0  # a path may be planned from the bone on: the track goes on to the skin
_BESIDE_MM: Final = 1.2  # from the instrument's surface: cement that comes back has no other way
_ACROSS: Final = (-1.0, -0.5, 0.0, 0.5, 1.0)
_FAR: Final = np.array((-1.0, 1.0))
_GAP_MM: Final = 3.0  # that cement may be hidden or missing for, and be the same column
_AROUND_TARGET_MM: Final = 8.0  # within which the column must begin
_MARROW_GAP_MM: Final = 6.0  # of soft voxels within bone: a lesion
_LEAST_IN_PLANE: Final = 0.5  # a path seen from less aside does not show where along it cement is
_HALF_FULL: Final = 0.35
_CLOUD_MM: Final = 4.0  # cement that reaches so far to both sides of a path is no column along it ...
_CLOUD_OVER_MM: Final = 6.0  # ... if it does over the last of the column
_END_SEEN_MM: Final = 3.0  # beyond a column's end: where that is hidden, cement may have gone on
_ON_THE_WAY: Final = frozenset({ZoneSite.NEEDLE_TRACK, ZoneSite.SKIN})  # a path is planned clear of all others
_OFF_PLAN: Final = 0.09  # a cannula lies up to 5 deg off its plan
_FARTHEST_MM: Final = 150.0  # from the entry to the skin


def path_tracks(
    view: CementView,
    paths: Sequence[PlannedPath],
    exits_mm: Mapping[str, float | None],
    body: CementBody | None = None,
    instruments: Sequence[SeenInstrument] = (),
) -> tuple[TrackInView, ...]:
    """How far cement comes back along each path; worst first, nothing of paths along which there is none.

    Where the body is known in 3D, it is looked at; else the shadow, in which what lies before or behind the path
    counts as on it: a warning that another view may deny.

    Args:
        view: of one frame.
        paths: planned; the target is where cement comes out.
        exits_mm: by path id, where each leaves the bone, from its target; see `bone_exit_mm`.
        body: what is known of the cement in 3D.
        instruments: seen in this frame: where one ends cement comes out.
    """
    mask, matrix, mm_per_px = view.mask, view.pixel_from_patient, view.mm_per_px
    if not view.seen or mask is None or matrix is None or mm_per_px is None or view.area_px <= 0.0:
        return ()
    tips = {one.path_id: one.tip_px for one in instruments if one.tip_px is not None}
    found = []
    for planned in paths:
        if not 1.0 <= _length_mm(planned) <= _LONGEST_MM:
            continue
        path = _outwards(planned)
        length_mm = _length_mm(path)
        exit_mm, left_mm, shown_mm, cloud = exits_mm.get(path.id), None, None, False
        shown = _covered_in_view(path, length_mm, view, mask, mm_per_px)
        if shown is not None:
            covered, beside = shown
            shown_mm = _column_mm(covered)
            last = slice(max(int((shown_mm - _CLOUD_OVER_MM) / _STEP_MM), 0), int(shown_mm / _STEP_MM))
            cloud = bool(beside[last].any()) and float(beside[last].mean()) > 0.5
        solid = body is not None and body.occupancy is not None and body.affine_lps_from_ijk is not None
        if body is not None and solid:
            back_mm = _column_mm(_covered_in_space(path, length_mm, body))
        elif shown_mm is not None:
            back_mm = shown_mm
        else:
            continue
        if exit_mm is not None and (solid or not cloud):
            left_mm = exit_mm - back_mm  # a cloud lies before or behind the path as well: this view cannot tell
        tip_px = tips.get(path.id)
        tip_mm = None if tip_px is None else tip_back_mm(planned, np.array(matrix).reshape(3, 4), tip_px)
        if shown is not None and shown_mm is not None and not _end_seen(shown[0], shown_mm):
            shown_mm = None
        if back_mm <= 0.0 and tip_mm is None:
            continue
        found.append(
            TrackInView(
                path_id=path.id,
                back_mm=back_mm,
                left_mm=left_mm,
                exit_mm=exit_mm,
                shown_mm=shown_mm,
                cloud=cloud,
                tip_mm=tip_mm,
            )
        )
    return tuple(sorted(found, key=lambda each: (each.left_mm is None, each.left_mm or 0.0, -each.back_mm)))


def bone_exit_mm(path: PlannedPath, space: OpenSpace) -> float | None:
    """How far from its target towards its entry and on a path lies in bone; None: its target does not lie in bone."""
    if not 1.0 <= _length_mm(path) <= _LONGEST_MM:
        return None
    path = _outwards(path)
    length_mm = _length_mm(path)
    target, entry = np.array(path.target_lps_mm), np.array(path.entry_lps_mm)
    depths = np.arange(0.0, length_mm, _STEP_MM)
    tissue = space.at(target + depths[:, None] * (entry - target) / length_mm)
    bone = np.isin(tissue, (Tissue.CANCELLOUS, Tissue.CORTICAL, Tissue.METAL))
    places = depths[bone]
    if len(places) == 0 or places[0] > _MARROW_GAP_MM:
        return None
    gaps = np.flatnonzero(np.diff(places) > _MARROW_GAP_MM)
    return float(places[gaps[0]] if len(gaps) else places[-1]) + 0.5 * _STEP_MM


def zones_on_paths(zones: ZonesOnPicture, paths: Sequence[PlannedPath]) -> Mapping[str, tuple[str, float]]:
    """Of each needle track and skin: the path whose way out goes into it, and how far from its target, mm."""
    surfaces = tuple(pair for pair in zones.surfaces if pair[0].site in _ON_THE_WAY)
    fields = zone_fields(ZonesOnPicture(surfaces=surfaces))
    found: dict[str, tuple[str, float]] = {}
    for path in paths:
        if not 1.0 <= _length_mm(path) <= _LONGEST_MM:
            continue
        target, entry = np.array(path.target_lps_mm), np.array(path.entry_lps_mm)
        depths = np.arange(0.0, _length_mm(path) + _FARTHEST_MM, _STEP_MM)
        points = target + depths[:, None] * (entry - target) / _length_mm(path)
        for one in fields:
            if one.field is None:
                continue
            away_mm = one.field.distance_mm(points)
            # One that the plan misses by no more than the cannula lies off it is on its way all the same.
            inside = np.flatnonzero(away_mm <= (0.0 if away_mm.min() <= 0.0 else _OFF_PLAN * depths))
            if len(inside) and (one.zone.id not in found or depths[inside[0]] < found[one.zone.id][1]):
                found[one.zone.id] = (path.id, float(depths[inside[0]]))
    return found


def tip_back_mm(path: PlannedPath, pixel_from_patient: F64, tip_px: tuple[float, float]) -> float | None:
    """How far from a path's target outwards the place on it lies that is seen nearest to a pixel, along its shadow.

    Args:
        pixel_from_patient: (3, 4).

    Returns:
        mm, negative beyond the target; None where the view looks along the path.
    """
    target, entry = np.array(path.target_lps_mm), np.array(path.entry_lps_mm)
    at = pixel_from_patient[:, :3] @ target + pixel_from_patient[:, 3]
    step = pixel_from_patient[:, :3] @ ((entry - target) / np.linalg.norm(entry - target))
    if at[2] <= 1.0:
        return None
    across = step[:2] / at[2] - at[:2] * step[2] / at[2] ** 2  # px per mm at the target
    shown = float(np.hypot(*across))
    if shown * at[2] < _LEAST_IN_PLANE * float(np.linalg.norm(pixel_from_patient[0, :3])):
        return None
    way = across / shown
    place = float(way @ np.array(tip_px))
    return float((way @ at[:2] - place * at[2]) / (place * step[2] - way @ step[:2]))


def _outwards(path: PlannedPath) -> PlannedPath:
    """The path and its line on beyond the entry."""
    target, entry = np.array(path.target_lps_mm), np.array(path.entry_lps_mm)
    x, y, z = (entry + _BEYOND_MM * (entry - target) / np.linalg.norm(entry - target)).tolist()
    return replace(path, entry_lps_mm=(x, y, z))


def _length_mm(path: PlannedPath) -> float:
    return float(np.linalg.norm(np.subtract(path.entry_lps_mm, path.target_lps_mm)))


def _covered_in_view(
    path: PlannedPath, length_mm: float, view: CementView, mask: U8, mm_per_px: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]] | None:
    """Per mm from the target: 1 cement, 0 none, NaN cannot be seen; and whether cement lies far to both sides.

    None where the view looks along the path.
    """
    assert view.pixel_from_patient is not None
    ends = ends_px(path, view.pixel_from_patient)
    if ends is None:
        return None
    along = ends[1] - ends[0]
    shown_px = float(np.hypot(*along))
    if shown_px * mm_per_px < _LEAST_IN_PLANE * length_mm:
        return None
    count = int(length_mm / _STEP_MM) + 1
    reach_px = (0.5 * path.diameter_mm + _BESIDE_MM) / mm_per_px
    aside = np.array((-along[1], along[0])) / shown_px
    depths = np.linspace(0.0, 1.0, count)
    across_px = np.array((*(part * reach_px for part in _ACROSS), *(_FAR * (reach_px + _CLOUD_MM / mm_per_px))))
    places = ends[0] + depths[:, None, None] * along + across_px[None, :, None] * aside
    column, row = np.rint(places[..., 0]).astype(np.intp), np.rint(places[..., 1]).astype(np.intp)
    on = (column >= 0) & (column < mask.shape[1]) & (row >= 0) & (row < mask.shape[0])
    column, row = np.clip(column, 0, mask.shape[1] - 1), np.clip(row, 0, mask.shape[0] - 1)
    cement = on & (mask[row, column] != 0)
    hidden = ~on if view.blind is None else ~on | ((view.blind[row, column] != 0) & ~cement)
    near = slice(0, len(_ACROSS))
    known = np.count_nonzero(~hidden[:, near], axis=1)
    share = np.count_nonzero(cement[:, near], axis=1) / np.maximum(known, 1)
    return np.where(known == 0, np.nan, (share >= 0.5).astype(np.float64)), cement[:, len(_ACROSS) :].all(axis=1)


def _covered_in_space(path: PlannedPath, length_mm: float, body: CementBody) -> npt.NDArray[np.float64]:
    """The same by the 3D estimate: 1 where it fills a part of the ring around the path."""
    occupancy, affine = body.occupancy, body.affine_lps_from_ijk
    assert occupancy is not None
    assert affine is not None
    target, entry = np.array(path.target_lps_mm), np.array(path.entry_lps_mm)
    unit = (entry - target) / length_mm
    other = np.cross(unit, np.eye(3)[np.argmin(np.abs(unit))])
    other /= np.linalg.norm(other)
    third = np.cross(unit, other)
    turns = np.linspace(0.0, 2.0 * np.pi, 8, endpoint=False)
    ring = np.cos(turns)[:, None] * other + np.sin(turns)[:, None] * third
    ring = np.concatenate((np.zeros((1, 3)), (0.5 * path.diameter_mm + 0.5 * _BESIDE_MM) * ring))
    depths = np.arange(0.0, length_mm, _STEP_MM)
    points = (target + depths[:, None] * unit)[:, None] + ring
    inverse = np.linalg.inv(affine)
    index = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.intp)
    size = np.array(occupancy.shape[::-1])
    on = ((index >= 0) & (index < size)).all(axis=-1)
    i, j, k = np.moveaxis(np.clip(index, 0, size - 1), -1, 0)
    filled = np.where(on, occupancy[k, j, i], 0.0)
    covered: npt.NDArray[np.float64] = np.where(filled.mean(axis=1) >= _HALF_FULL, 1.0, 0.0)
    return covered


def _column_mm(covered: npt.NDArray[np.float64]) -> float:
    """How far a column of cement that begins near the target reaches; 0: there is none."""
    places = np.flatnonzero(covered == 1.0) * _STEP_MM
    if len(places) == 0 or places[0] > _AROUND_TARGET_MM:
        return 0.0
    for before, after in itertools.pairwise(places):
        between = covered[int(before / _STEP_MM) + 1 : int(after / _STEP_MM)]
        missing_mm = np.count_nonzero(between == 0.0) * _STEP_MM
        if missing_mm > _GAP_MM:
            return float(before) + _STEP_MM
    return float(places[-1]) + _STEP_MM


def _end_seen(covered: npt.NDArray[np.float64], column_mm: float) -> bool:
    """Whether the view shows that there is none beyond a column's end."""
    first = int(column_mm / _STEP_MM)
    beyond = covered[first : first + int(_END_SEEN_MM / _STEP_MM)]
    return bool((beyond == 0.0).any())
