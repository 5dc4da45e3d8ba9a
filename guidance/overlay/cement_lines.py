"""Cement on the picture: its front, what has just come, and how near it is to what it must not reach.

It is in pixels of the very frame that it was seen in, so it is drawn without geometry too. Nothing tells by colour
alone: what has just come is a thick line, and a zone's status has a mark (ring, diamond, crossed square).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np

from guidance.alerts.book import AlertBook
from guidance.cement.progress import CementProgress
from guidance.messages import (
    F64,
    Alert,
    AlertPriority,
    CementBody,
    CementSeen,
    CementState,
    CementView,
    SiteInView,
    SiteState,
    SiteStatus,
    ZoneKind,
)
from guidance.overlay.colors import ALARM, NOTICE, Rgb, apart_from
from guidance.overlay.layout import Sheet
from guidance.overlay.pieces import Line, Text
from guidance.overlay.text import plate_gap_px, text_bitmap

FRONT: Final[Rgb] = (64, 240, 255)
CASING: Final[Rgb] = (8, 24, 28)

_FRONT_PART: Final = 1.6  # of the line width
_CASING_PART: Final = 3.2
_GROWTH_PART: Final = 3.8
_STRAIGHT_PX: Final = 0.5  # how far a drawn front may lie off the contour, which noise moves by as much
_GROWTH_STEP_PX: Final = 3.0
_MOST_POINTS: Final = 600  # of one contour
_MARK_PX: Final = 8.0  # of a picture of 1024 px
_LABEL_PART: Final = 0.85
_LEAST_LABEL_PX: Final = 11
_MOST_MARKS: Final = 6
_LONGEST_NAME: Final = 18
_RING: Final = np.stack((np.cos(np.linspace(0, 2 * np.pi, 17)), np.sin(np.linspace(0, 2 * np.pi, 17))), axis=1)
_DIAMOND: Final = np.array([(0.0, -1.2), (1.2, 0.0), (0.0, 1.2), (-1.2, 0.0), (0.0, -1.2)])
_SQUARE: Final = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0)])
_CROSS: Final = np.array([(-1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (1.0, -1.0)])
_MARKED: Final = {SiteStatus.CONTACT: 3, SiteStatus.CONTACT_POSSIBLE: 2, SiteStatus.APPROACHING: 1}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CementOnPicture:
    """What is known of cement when a frame of one input is drawn.

    Attributes:
        state, reason: of following it.
        seen: of the input's newest followed frame; drawn only on that very frame.
        sites: every zone that cement must not reach.
        body: what all views say together.
        alerts: latched, the most urgent first.
        balloon: what flows is contrast in a balloon, as the operator has told.
    """

    state: CementState
    reason: str = ""
    seen: CementSeen | None = None
    sites: tuple[SiteState, ...] = ()
    body: CementBody = field(default_factory=CementBody)
    alerts: tuple[Alert, ...] = ()
    balloon: bool = False


def cement_on_picture(known: CementProgress, book: AlertBook, device: str) -> CementOnPicture | None:
    """What a frame of this input is drawn with; None while nothing is followed and no alert is latched."""
    if known.run is None and not book.alerts:
        return None
    spared = {zone.id for zone in known.zones if zone.kind is ZoneKind.KEEP_OUT}
    return CementOnPicture(
        state=known.state,
        reason=known.reason,
        seen=known.seen.get(device),
        sites=tuple(site for site in known.sites if site.zone_id in spared),
        body=known.body,
        alerts=book.alerts,
        balloon=known.run is not None and known.run.material.balloon,
    )


@dataclass(frozen=True, slots=True, eq=False)
class CementPieces:
    """Lines and labels in px of the frame."""

    lines: tuple[Line, ...]
    texts: tuple[Text, ...]


NO_PIECES: Final = CementPieces((), ())


def cement_pieces(cement: CementOnPicture, sequence: int, sheet: Sheet, *, trusted: bool) -> CementPieces:
    """What is drawn of the cement on one frame; nothing on any other frame than the one that it was seen in.

    Args:
        cement: what is known.
        sequence: of the frame that is drawn.
        sheet: its sizes.
        trusted: the frame's geometry may be used now; else the front alone is drawn, for where zones are is not known.
    """
    seen = cement.seen
    if cement.state is CementState.IDLE or seen is None or seen.view.sequence != sequence or not seen.view.seen:
        return NO_PIECES
    lines = _front_lines(seen.view, sheet)
    if not trusted:
        return CementPieces(tuple(lines), ())
    marks, texts = _marks(seen.sites, cement.sites, sheet)
    return CementPieces((*lines, *marks), texts)


def _front_lines(view: CementView, sheet: Sheet) -> list[Line]:
    color, dark = apart_from(FRONT, sheet.taken), apart_from(CASING, sheet.taken)
    width = sheet.line_width_px
    contours = [contour for contour in view.front_px if len(contour) >= 3]
    shown = [_straightened(contour) for contour in contours]
    lines = [Line(points, dark, _CASING_PART * width, closed=True, cement=True) for points in shown]
    grown = [_grown(contour, view) for contour in contours] if view.grown is not None else []
    new = [segments for segments in grown if len(segments)]
    if new:
        lines.append(Line(np.concatenate(new), color, _GROWTH_PART * width, apart=True, cement=True))
    lines += [Line(points, color, _FRONT_PART * width, closed=True, cement=True) for points in shown]
    return lines


def _straightened(contour: F64) -> F64:
    """The contour with as few points as tell it apart from itself by no more than half a pixel."""
    points = contour.astype(np.float32)
    kept: F64 = cv2.approxPolyDP(points, _STRAIGHT_PX, True).reshape(-1, 2).astype(np.float64)
    if len(kept) < 3:
        kept = contour[:: max(1, len(contour) // 8)].astype(np.float64)
    step = -(-len(kept) // _MOST_POINTS)
    return kept[::step]


def _grown(contour: F64, view: CementView) -> F64:
    """(2 S, 2): the contour's segments along pixels that are new."""
    assert view.grown is not None
    rows, columns = view.grown.shape
    lengths = np.hypot(*(contour - np.roll(contour, 1, axis=0)).T)
    step = max(1, round(_GROWTH_STEP_PX / max(float(np.median(lengths)), 1e-3)), -(-len(contour) // _MOST_POINTS))
    points = contour[::step]
    if len(points) < 2:
        return np.empty((0, 2))
    left, top = np.floor(points).astype(np.intp).T
    new = np.zeros(len(points), bool)
    # The contour runs between a pixel with cement and one without: one of the four around tells.
    for dv in (0, 1):
        for du in (0, 1):
            new |= view.grown[np.clip(top + dv, 0, rows - 1), np.clip(left + du, 0, columns - 1)] != 0
    following = np.roll(np.arange(len(points)), -1)
    both = np.flatnonzero(new & new[following])
    return np.stack((points[both], points[following[both]]), axis=1).reshape(-1, 2).astype(np.float64)


def _marks(
    in_view: tuple[SiteInView, ...], sites: tuple[SiteState, ...], sheet: Sheet
) -> tuple[list[Line], tuple[Text, ...]]:
    by_id = {site.zone_id: site for site in sites}
    near: list[tuple[int, float, SiteInView, SiteState]] = []
    for seen in in_view:
        site = by_id.get(seen.zone_id)
        if (
            site is None
            or site.priority is AlertPriority.NONE
            or site.status not in _MARKED
            or seen.nearest_px is None
            or seen.distance_px is None
            or not np.isfinite((*seen.nearest_px, seen.distance_px)).all()
        ):
            continue
        near.append((-_MARKED[site.status], seen.distance_px, seen, site))
    near.sort(key=lambda entry: entry[:2])
    size = max(round(_LABEL_PART * sheet.size_px), _LEAST_LABEL_PX)
    reach = _MARK_PX * sheet.scale
    beside = 1.6 * reach + plate_gap_px(size)
    lines: list[Line] = []
    texts: list[Text] = []
    taken: list[tuple[float, float, float, float]] = []
    for _, _, seen, site in near[:_MOST_MARKS]:
        assert seen.nearest_px is not None
        color = apart_from(ALARM if site.priority is AlertPriority.HIGH else NOTICE, sheet.taken)
        at = np.array(seen.nearest_px)
        lines += _mark(site, at, reach, color, sheet)
        text = f"{_short(site.name)} {_distance(site)}"
        height, width = text_bitmap(text, size).coverage.shape
        left, top = at[0] + beside, at[1] - height / 2
        if left + width > sheet.columns:
            left = at[0] - beside - width
        left = min(max(left, 0.0), max(sheet.columns - width, 0.0))
        for other in taken:  # the more urgent one stays where it is
            if left < other[2] and left + width > other[0] and top < other[3] and top + height > other[1]:
                top = other[3]
        top = min(max(top, 0.0), max(sheet.rows - height, 0.0))
        taken.append((left, top, left + width, top + height))
        texts.append(
            Text(
                text,
                round(left),
                round(top),
                size,
                color,
                plate=sheet.plate,
                apart=sheet.taken,
                zone_id=site.zone_id,
            )
        )
    return lines, tuple(texts)


def _mark(site: SiteState, at: F64, reach: float, color: Rgb, sheet: Sheet) -> list[Line]:
    assert site.status is not None
    dark = apart_from(CASING, sheet.taken)
    outlines = {SiteStatus.APPROACHING: _RING, SiteStatus.CONTACT_POSSIBLE: _DIAMOND, SiteStatus.CONTACT: _SQUARE}
    shape = at + reach * outlines[site.status]
    parts = [np.stack((shape[:-1], shape[1:]), axis=1).reshape(-1, 2)]
    if site.status is SiteStatus.CONTACT:
        parts.append(at + reach * _CROSS)
    segments = np.concatenate(parts)
    width = sheet.line_width_px
    return [
        Line(segments, dark, _CASING_PART * width, apart=True, zone_id=site.zone_id),
        Line(segments, color, _FRONT_PART * width, apart=True, zone_id=site.zone_id),
    ]


def _distance(site: SiteState) -> str:
    if site.status is SiteStatus.CONTACT:
        return "CONTACT"
    if site.status is SiteStatus.CONTACT_POSSIBLE:
        return "contact possible"
    return "near" if site.distance_mm is None else f"{site.distance_mm:.1f} mm"


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
