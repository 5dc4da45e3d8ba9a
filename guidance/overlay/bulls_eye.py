"""Aids to come to and to use a bull's-eye view: true circles, the margin's ring, and how far off useful views are."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from guidance.geometry.camera import source_of
from guidance.geometry.tube import TubeProjection
from guidance.messages import F64, Matrix34, PlannedPath
from guidance.overlay.colors import ALARM, CALM, Rgb
from guidance.overlay.pieces import Line
from guidance.overlay.stage_lines import dashes, half_width_px, ring_px
from guidance.overlay.words import Words, band_words
from guidance.overlay.zones import PathAid
from guidance.planning.answers import View
from guidance.planning.reach import directions_of
from guidance.planning.views import useful_views, view_words

DOWN_THE_PATH_DEG: Final = 3.0
"""A ray to the path's middle nearer to its axis than this looks down the path: over 100 mm it strays by 5 mm."""

_DOWN_THE_PATH_TAN: Final = math.tan(math.radians(DOWN_THE_PATH_DEG))
_NEAR_DEG: Final = 10.0
_LEAST_RING_PX: Final = 2.0
_MOST_PATHS_SAID: Final = 3
_FRAMES_KEPT: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class Aids:
    """What stays of the drawn paths' aids from frame to frame; N paths, M useful views of all of them.

    Attributes:
        aided: each drawn path with its aid.
        axis_mm, middle_mm: (N, 3) of each.
        views: the reachable ones that show what they are for.
        toward_detector: (M, 3) unit vectors, patient LPS.
        owner: (M,) whose each is.
    """

    aided: tuple[tuple[PlannedPath, PathAid], ...]
    axis_mm: F64
    middle_mm: F64
    views: tuple[View, ...]
    toward_detector: F64
    owner: npt.NDArray[np.intp]


def aids_of(aided: tuple[tuple[PlannedPath, PathAid], ...]) -> Aids:
    """Make the drawn paths' aids ready."""
    entry = np.array([path.entry_lps_mm for path, _ in aided]).reshape(-1, 3)
    target = np.array([path.target_lps_mm for path, _ in aided]).reshape(-1, 3)
    owned = [(index, view) for index, (_, aid) in enumerate(aided) for view in useful_views(aid.views)]
    return Aids(
        aided=aided,
        axis_mm=target - entry,
        middle_mm=(entry + target) / 2,
        views=tuple(view for _, view in owned),
        toward_detector=directions_of(
            np.array([view.primary_deg for _, view in owned]), np.array([view.secondary_deg for _, view in owned])
        ).reshape(-1, 3),
        owner=np.array([index for index, _ in owned], np.intp),
    )


def looks_down(aids: Aids, pixel_from_patient: F64) -> list[bool]:
    """Of each path, whether the ray to its middle runs along its axis, whichever way."""
    axis, ray = aids.axis_mm, aids.middle_mm - source_of(pixel_from_patient)
    along = (axis * ray).sum(axis=1) ** 2
    across = (axis * axis).sum(axis=1) * (ray * ray).sum(axis=1) - along
    down: list[bool] = (across < _DOWN_THE_PATH_TAN**2 * along).tolist()
    return down


def bulls_eye_lines(
    tube: TubeProjection,
    path: PlannedPath,
    aid: PathAid,
    pixel_from_patient: F64,
    color: Rgb,
    alarm: Rgb,
    *,
    line_width_px: float,
    scale: float,
    band_mm: float = 0.0,
) -> list[Line]:
    """Entry and target as circles at true size, and the ring of what is left, dashed, at the depth where it is tighter.

    The ring's radius is the instrument's and the margin, less the band there: so far the instrument may be seen off
    its path and is still, with 95 %, within its margin.

    Args:
        tube: the path's tube in a view that looks down it.
        aid: without a known margin there is no ring.
        color: the path's.
        alarm: of the ring where nothing is left: then it lies inside the instrument.
        line_width_px: at this picture's size.
        scale: picture size over 1024.
        band_mm: what uncertainty takes of the margin at the deeper end.
    """
    ends = [
        (end, depth, half_width_px(path, pixel_from_patient, depth))
        for end, depth in ((tube.entry_px, tube.entry_depth_mm), (tube.target_px, tube.target_depth_mm))
        if end is not None
    ]
    lines = [Line(ring_px(end, width), color, line_width_px, closed=True, path_id=path.id) for end, _, width in ends]
    if aid.margin_mm is None or not ends:
        return lines
    end, _, width = max(ends, key=lambda each: each[1])  # deeper is smaller: there the same margin looks tighter
    radius_mm = path.diameter_mm / 2
    left_mm = aid.margin_mm - band_mm
    radius_px = max(width * (radius_mm + left_mm) / radius_mm, _LEAST_RING_PX)
    ring = Line(ring_px(end, radius_px), color, line_width_px, apart=True, path_id=path.id)
    if left_mm < 0.0:
        ring = replace(ring, color=alarm, path_id="")
    return [*lines, replace(ring, points=dashes(ring.points, scale))]


def margin_words(label: str, aid: PathAid) -> str:
    """A path's label in its bull's-eye view."""
    return label if aid.margin_mm is None else f"{label} margin {aid.margin_mm:.1f} mm"


def left_words(label: str, aid: PathAid, band_mm: float | None) -> str:
    """The same where it was asked how far off the overlay may be: margin, and what of it is left; None: not known."""
    if band_mm is None:
        return f"{margin_words(label, aid)}, {band_words(None)}"
    if aid.margin_mm is None:
        return f"{label}  {band_words(band_mm)}"
    return f"{margin_words(label, aid)}, {aid.margin_mm - band_mm:.1f} mm remains  {band_words(band_mm)}"


@lru_cache(maxsize=_FRAMES_KEPT)
def aid_words(
    aids: Aids, pixel_from_patient: Matrix34, looked_down: tuple[bool, ...], bands_mm: tuple[float, ...] = ()
) -> tuple[Words, ...]:
    """What does not fit; and for paths that the view does not look down, the nearest useful view and how far off it is.

    Args:
        aids: the first three paths are spoken of, and all of those that do not fit.
        looked_down: of each path.
        bands_mm: what uncertainty takes of each path's margin, 0 where it is not known; () where it was not asked for.
    """
    central = np.array(pixel_from_patient[8:11])
    cosines = aids.toward_detector @ (central / np.linalg.norm(central))
    said: list[Words] = []
    hints: list[Words] = []
    for index, ((path, aid), down) in enumerate(zip(aids.aided, looked_down, strict=True)):
        label = path.label.strip() or path.id
        own = np.flatnonzero(aids.owner == index)
        if down and aid.margin_mm is not None and aid.margin_mm < 0.0:
            said.append(Words(f"{label}: MARGIN {aid.margin_mm:.1f} mm, it does not fit", ALARM))
        elif down and aid.margin_mm is not None and bands_mm and aid.margin_mm < bands_mm[index]:
            unsure = f"the overlay may be off by more, {band_words(bands_mm[index])}"
            said.append(Words(f"{label}: MARGIN {aid.margin_mm:.1f} mm, {unsure}", ALARM))
        elif not down and len(own) and len(hints) < _MOST_PATHS_SAID:
            best = own[np.argmax(cosines[own])]
            off_deg = math.degrees(math.acos(min(max(float(cosines[best]), -1.0), 1.0)))
            view = msgspec.structs.replace(aids.views[best], off_deg=_told_deg(off_deg))
            hints.append(Words(f"{label}: {view_words(view)}", CALM))
    return (*said, *hints)


def _told_deg(off_deg: float) -> float:
    """To 5 deg where far off: a number that changes with each picture can't be read, and costs its letters anew."""
    return round(off_deg) if off_deg < _NEAR_DEG else 5.0 * round(off_deg / 5.0)
