"""One sheet of slices of a planned path: two along it, a series across it; instrument and zones at true size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from drivers.commands.picture_ink import (
    below,
    beside,
    blank,
    grey_picture,
    line,
    line_height,
    scale_bar,
    text,
)
from guidance.kernels import F32
from guidance.messages import F64, U8, PlannedPath, Zone, ZoneKind, ZoneSite
from guidance.overlay.colors import Rgb, rgb_of
from guidance.overlay.words import DISCLAIMER
from guidance.planning.distance import DistanceField
from guidance.planning.oblique import (
    SlicePlane,
    cross_sections,
    crosses_box,
    longitudinal_planes,
    plane_name,
    sampled_hu,
)
from guidance.planning.solid import Spheroid
from guidance.planning.volume import PlanningVolume

FieldOfZone = tuple[Zone, DistanceField]
_Slice = tuple[U8, frozenset[str]]  # its pixels, and the ids of the zones outlined on it

_BONE_WINDOW_HU: Final = (-400.0, 1100.0)  # level 350, width 1500
_LARGE_PX: Final = 500
_SECTIONS: Final = 8
_GAP_PX: Final = 8
_SMALL_PX: Final = (2 * _LARGE_PX + _GAP_PX - (_SECTIONS - 1) * _GAP_PX) // _SECTIONS
_SECTION_MM: Final = 56.0
_AROUND_MM: Final = 55.0  # anatomy that is shown beyond a path's ends
_LEAST_FIELD_MM: Final = 150.0
_TICK_MM: Final = 10.0
_FAR_MM: Final = 50.0
_FINER: Final = 4  # a zone's distance is brought onto a finer grid before its outline is taken
_ANGLES: Final = np.linspace(0.0, 2 * np.pi, 96, endpoint=False)
_CIRCLE: Final = np.column_stack((np.cos(_ANGLES), np.sin(_ANGLES)))
_BACKGROUND: Final[Rgb] = (16, 18, 22)
_OUTSIDE: Final[Rgb] = (28, 32, 40)
_INK: Final[Rgb] = (226, 232, 240)
_FAINT: Final[Rgb] = (150, 160, 172)
_MARK: Final[Rgb] = (255, 214, 102)


def slice_sheet(
    volume: PlanningVolume,
    path: PlannedPath,
    zones: Sequence[FieldOfZone],
    *,
    instrument: str = "",
    widened: Spheroid | None = None,
) -> U8:
    """The sheet, (rows, columns, 3) RGB.

    Args:
        zones: outlined where a slice meets them; keep-out zones are also measured on the sections.
        instrument: what the heading calls it; "" takes the path's own word.
        widened: what it freezes, burns or fills beyond its shaft: outlined too.
    """
    entry, target = np.array(path.entry_lps_mm), np.array(path.target_lps_mm)
    length_mm = float(np.linalg.norm(target - entry))
    field_mm = max(length_mm + 2 * _AROUND_MM, _LEAST_FIELD_MM)
    along = [
        _along(volume, plane, path, zones, widened)
        for plane in longitudinal_planes(
            path.entry_lps_mm, path.target_lps_mm, pixel_mm=field_mm / _LARGE_PX, size_px=_LARGE_PX
        )
    ]
    depths = _section_depths(path, length_mm, zones)
    planes = cross_sections(
        path.entry_lps_mm, path.target_lps_mm, depths, pixel_mm=_SECTION_MM / _SMALL_PX, size_px=_SMALL_PX
    )
    across = [
        _across(volume, plane, depth, path, zones, widened, with_bar=number == 0)
        for number, (plane, depth) in enumerate(zip(planes, depths, strict=True))
    ]
    whole = beside([canvas for canvas, _ in along], _GAP_PX, _BACKGROUND)
    width_px = whole.shape[1]
    series = blank(across[0][0].shape[0], width_px, _BACKGROUND)
    row = beside([canvas for canvas, _ in across], _GAP_PX, _BACKGROUND)
    series[:, : row.shape[1]] = row
    outlined = frozenset[str]().union(*(ids for _, ids in (*along, *across)))
    legend = _legend(path, [zone for zone, _ in zones if zone.id in outlined], width_px)
    heading = _heading(path, instrument or path.instrument or "instrument", length_mm, width_px)
    sheet = below([heading, whole, series, legend], _GAP_PX, _BACKGROUND)
    framed = blank(sheet.shape[0] + 2 * _GAP_PX, sheet.shape[1] + 2 * _GAP_PX, _BACKGROUND)
    framed[_GAP_PX:-_GAP_PX, _GAP_PX:-_GAP_PX] = sheet
    return framed


def _section_depths(path: PlannedPath, length_mm: float, zones: Sequence[FieldOfZone]) -> list[float]:
    """Evenly from entry to target; the one nearest to the narrowest place is moved there."""
    depths: list[float] = np.linspace(0.0, length_mm, _SECTIONS).tolist()
    kept_out = [field for zone, field in zones if _is_kept_out(zone, path) and zone.site is not ZoneSite.OTHER]
    if kept_out:
        along = np.linspace(0.0, 1.0, max(round(length_mm), 2))
        ends = np.array((path.entry_lps_mm, path.target_lps_mm))
        points = ends[0] + along[:, None] * (ends[1] - ends[0])
        narrowest = length_mm * along[int(np.argmin(np.min([field.distance_mm(points) for field in kept_out], axis=0)))]
        depths[int(np.argmin(np.abs(np.array(depths) - narrowest)))] = float(narrowest)
    return depths


def _along(
    volume: PlanningVolume,
    plane: SlicePlane,
    path: PlannedPath,
    zones: Sequence[FieldOfZone],
    widened: Spheroid | None,
) -> _Slice:
    canvas = grey_picture(sampled_hu(volume, plane), *_BONE_WINDOW_HU, _OUTSIDE)
    outlined = _draw_zones(canvas, plane, zones)
    color = rgb_of(path.color)
    entry, target = plane.pixels_of(np.array((path.entry_lps_mm, path.target_lps_mm)))[:, :2]
    axis = (target - entry) / np.linalg.norm(target - entry)
    side = np.array((-axis[1], axis[0]))
    radius = side * path.diameter_mm / 2 / plane.pixel_mm
    outline = np.array((entry + radius, target + radius, target - radius, entry - radius))
    line(canvas, outline, color, closed=True, halo=True)
    if widened is not None:
        center = plane.pixels_of(np.array((widened.center_lps_mm,)))[0, :2]
        half = np.array((widened.semi_axial_mm, widened.semi_transverse_mm)) / plane.pixel_mm
        line(canvas, center + _CIRCLE * half @ np.array((axis, side)), color, closed=True, halo=True)
    length_px = float(np.linalg.norm(target - entry))
    step_px = _TICK_MM / plane.pixel_mm
    for number in range(1, int(length_px / step_px + 1e-9) + 1):
        foot = entry + axis * number * step_px + radius
        reach = side * (9.0 if number % 5 == 0 else 5.0)
        line(canvas, np.array((foot, foot + reach)), color, halo=True)
        if number % 5 == 0 and number * step_px < length_px - 12:
            at = foot + side * 20.0
            text(canvas, f"{number * _TICK_MM:g}", at[0], at[1] - 9, 12, color, anchor=0.5)
    for end, words, outwards in ((entry, "entry", -axis), (target, "target", axis)):
        at = end + outwards * 22.0
        text(canvas, words, at[0], at[1] - 9, 12, color, anchor=0.5 - 0.5 * float(outwards[0]))
    _draw_letters(canvas, plane, 17)
    text(canvas, f"{plane_name(plane)}, along the path", 10, 8, 13, _INK)
    scale_bar(canvas, _LARGE_PX - 16, _LARGE_PX - 16, 20.0, plane.pixel_mm, _INK)
    return canvas, outlined


def _across(
    volume: PlanningVolume,
    plane: SlicePlane,
    depth_mm: float,
    path: PlannedPath,
    zones: Sequence[FieldOfZone],
    widened: Spheroid | None,
    *,
    with_bar: bool,
) -> _Slice:
    canvas = grey_picture(sampled_hu(volume, plane), *_BONE_WINDOW_HU, _OUTSIDE)
    outlined = _draw_zones(canvas, plane, zones)
    middle = np.array(((plane.columns - 1) / 2, (plane.rows - 1) / 2))
    for radius_mm in (path.diameter_mm / 2, _radius_mm(widened, plane.center_lps_mm)):
        if radius_mm > 0.0:
            line(canvas, middle + _CIRCLE * radius_mm / plane.pixel_mm, rgb_of(path.color), closed=True, halo=True)
    _draw_letters(canvas, plane, 11)
    if with_bar:
        scale_bar(canvas, _SMALL_PX - 14, _SMALL_PX - 22, 10.0, plane.pixel_mm, _INK)
    words = blank(3 * line_height(11), plane.columns, _BACKGROUND)
    text(words, f"depth {depth_mm:.0f} mm", plane.columns / 2, 0, 12, _INK, anchor=0.5, halo=False)
    nearest = _nearest(plane, max(path.diameter_mm / 2, _radius_mm(widened, plane.center_lps_mm)), path, zones)
    if nearest is not None:
        name, distance_mm, color = nearest
        top = line_height(12)
        for words_line in (f"{distance_mm:.1f} mm to" if distance_mm > 0.0 else "reaches into", name):
            shown = words_line if len(words_line) <= 20 else words_line[:19] + "…"
            text(words, shown, plane.columns / 2, top, 11, color, anchor=0.5, halo=False)
            top += line_height(10)
    return np.concatenate((canvas, words)), outlined


def _radius_mm(widened: Spheroid | None, on_axis_lps_mm: F64) -> float:
    """Of the spheroid's section there; 0 where it does not reach."""
    if widened is None:
        return 0.0
    away = math.dist(on_axis_lps_mm, widened.center_lps_mm) / widened.semi_axial_mm
    return widened.semi_transverse_mm * math.sqrt(max(1.0 - away**2, 0.0))


def _is_kept_out(zone: Zone, path: PlannedPath) -> bool:
    return zone.kind is ZoneKind.KEEP_OUT and zone.id not in path.permitted_zone_ids


def _nearest(
    plane: SlicePlane, radius_mm: float, path: PlannedPath, zones: Sequence[FieldOfZone]
) -> tuple[str, float, Rgb] | None:
    """The keep-out zone nearest to the instrument's section there, and how near; None without one within 50 mm.

    Zones of a named site come before other ones: a muscle on the way says nothing of the foramen beside it.
    """
    rim = plane.center_lps_mm + _CIRCLE * radius_mm @ np.array((plane.right, plane.down))
    points = np.vstack((rim, plane.center_lps_mm))
    found = []
    for zone, field in zones:
        if _is_kept_out(zone, path):
            distance_mm = float(field.distance_mm(points).min())
            if distance_mm < _FAR_MM:
                found.append((zone.site is ZoneSite.OTHER, distance_mm, zone))
    if not found:
        return None
    _, distance_mm, zone = min(found, key=lambda one: one[:2])
    return zone.name, distance_mm, rgb_of(zone.color)


def _draw_zones(canvas: U8, plane: SlicePlane, zones: Sequence[FieldOfZone]) -> frozenset[str]:
    """Outline them; the ids of those that the slice meets."""
    points = None
    outlined = []
    for zone, field in zones:
        if not crosses_box(plane, field.bounds_lps_mm):
            continue
        if points is None:
            points = plane.points_lps_mm()
        low, high = field.bounds_lps_mm - np.array(((4.0,), (-4.0,)))
        near = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))
        distance = np.full(len(points), 100.0, np.float32)
        distance[near] = field.distance_mm(np.ascontiguousarray(points[near]))
        for outline in _outlines(distance.reshape(plane.rows, plane.columns)):
            line(canvas, outline, rgb_of(zone.color), closed=True)
            outlined.append(zone.id)
    return frozenset(outlined)


def _outlines(distance: F32) -> list[F64]:
    """Where a (rows, columns) distance is 0, as closed lines in px."""
    left, top, width, height = cv2.boundingRect((distance < 2.0).astype(np.uint8))
    if width == 0:
        return []
    part = distance[top : top + height, left : left + width]
    finer = cv2.resize(part, None, fx=_FINER, fy=_FINER, interpolation=cv2.INTER_LINEAR)
    found, _ = cv2.findContours((finer < 0.0).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    shift = 0.5 / _FINER - 0.5  # pixel centres are at integers in both grids
    return [one[:, 0].astype(np.float64) / _FINER + shift + np.array((left, top)) for one in found if len(one) > 4]


def _draw_letters(canvas: U8, plane: SlicePlane, size_px: int) -> None:
    left, right, top, bottom = plane.edge_letters()
    rows, columns = canvas.shape[:2]
    middle_v, up = rows / 2 - 0.75 * size_px, 0.35 * size_px
    text(canvas, left, up + 3, middle_v, size_px, _MARK)
    text(canvas, right, columns - up - 3, middle_v, size_px, _MARK, anchor=1.0)
    text(canvas, top, columns / 2, up - 2, size_px, _MARK, anchor=0.5)
    text(canvas, bottom, columns / 2, rows - up - 1.3 * size_px, size_px, _MARK, anchor=0.5)


def _heading(path: PlannedPath, instrument: str, length_mm: float, width_px: int) -> U8:
    canvas = blank(2 * line_height(15), width_px, _BACKGROUND)
    name = path.label.strip() or path.id
    shown = text(canvas, name, 2, 0, 17, rgb_of(path.color), halo=False)
    ends = " to ".join(
        "(" + ", ".join(f"{value:.1f}" for value in end) + ")" for end in (path.entry_lps_mm, path.target_lps_mm)
    )
    text(
        canvas,
        f"{instrument}, {path.diameter_mm:g} mm wide, {length_mm:.1f} mm long",
        shown + 16,
        2,
        15,
        _INK,
        halo=False,
    )
    text(canvas, f"entry to target {ends} mm, patient LPS; bone window; outlines at true size", 2, line_height(17), 12,
         _FAINT, halo=False)  # fmt: skip
    text(canvas, DISCLAIMER, width_px - 2, 3, 12, _FAINT, anchor=1.0, halo=False)
    return canvas


def _legend(path: PlannedPath, zones: Sequence[Zone], width_px: int) -> U8:
    """Zones' names in their colours, as many lines as it takes."""
    canvas = blank((len(zones) + 1) * line_height(12), width_px, _BACKGROUND)
    left, top = 2.0, 0
    for zone in zones:
        color = rgb_of(zone.color)
        permitted = " (may be crossed)" if zone.id in path.permitted_zone_ids else ""
        words = f"{zone.name}{permitted}"
        needed = 18 + 8 * len(words)
        if left + needed > width_px and left > 2.0:
            left, top = 2.0, top + line_height(12)
        line(canvas, np.array(((left, top + 9.0), (left + 12.0, top + 9.0))), color, width_px=2)
        left += 18 + text(canvas, words, left + 17, top, 12, color, halo=False) + 18
    used = top + line_height(12) if zones else 1
    return canvas[:used]
