"""The instrument that is seen, drawn so that it is never taken for the plan, and what is said of it.

A plan is whole lines in its path's colour with an outline. What is seen is white dashes on a dark line, no path's
colour, and its tip a bar across with an arrow head behind it; where the tip is not known there is none.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Final

import numpy as np

from guidance.messages import F64, PlannedPath
from guidance.overlay.colors import ALARM, CALM, NOTICE, Rgb, apart_from
from guidance.overlay.pieces import Line
from guidance.overlay.words import Words
from guidance.tracking.depth import depth_words
from guidance.tracking.track import InstrumentMotion, InstrumentTrack
from guidance.tracking.values import InstrumentDepth, SeenInstrument

SEEN: Final[Rgb] = (255, 255, 255)
CASING: Final[Rgb] = (16, 16, 16)

# Sizes in px of a picture of 1024 x 1024.
_DASH_PX: Final = 8.0
_GAP_PX: Final = 9.0
_MOST_DASHES: Final = 200
_LINE_PART: Final = 1.6  # of the line width
_CASING_PART: Final = 3.6
_BAR_BEYOND_PX: Final = 6.0  # beyond the instrument's edges
_HEAD_PX: Final = 11.0
_SIGMA_SAID_PX: Final = 2.0  # 95 % along the needle: shorter than that the bar itself hides it
_PAST_ALARM_MM: Final = 1.0
_OFF_AXIS_NOTICE_MM: Final = 3.0
_STATES: Final = {
    InstrumentMotion.STILL: "still",
    InstrumentMotion.ADVANCING: "advancing",
    InstrumentMotion.WITHDRAWING: "withdrawing",
}


def needle_lines(
    seen: Sequence[SeenInstrument], *, line_width_px: float, scale: float, taken: Collection[Rgb] = ()
) -> list[Line]:
    """Lines of what is seen, to be drawn over the paths.

    Args:
        seen: of this frame.
        line_width_px: at this picture's size.
        scale: picture size over 1024.
        taken: the paths' colours.
    """
    white, dark = apart_from(SEEN, taken), apart_from(CASING, taken)
    lines: list[Line] = []
    for instrument in seen:
        pieces = [_dashes(instrument.centreline_px, scale)]
        if instrument.tip_px is not None:
            pieces.append(_tip_mark(instrument, scale))
        segments = np.concatenate(pieces)
        lines.append(Line(segments, dark, _CASING_PART * line_width_px, apart=True))
        lines.append(Line(segments, white, _LINE_PART * line_width_px, apart=True))
    return lines


def needle_words(
    paths: Sequence[PlannedPath], tracks: Sequence[InstrumentTrack], *, looked_for: bool = True
) -> tuple[Words, ...]:
    """One statement per instrument that is seen or was a moment ago; nothing of paths without one.

    Args:
        paths: the plan.
        tracks: of its paths, any order; those of other paths are left out.
        looked_for: False where this frame was not searched: then that is what is said of every track.
    """
    by_id = {track.path_id: track for track in tracks}
    said: list[Words] = []
    for path in paths:
        track = by_id.get(path.id)
        if track is None or (track.seen is None and not track.samples):
            continue
        label = path.label.strip() or path.id
        if not looked_for or track.seen is None or track.depth is None:
            said.append(Words(f"{label}: instrument not seen, depth unknown", NOTICE))
            continue
        text = depth_words(path, track.depth)
        moves = _STATES.get(track.motion)
        said.append(Words(f"{text}, {moves}" if moves else text, _urgency(track.depth)))
    return tuple(said)


def _urgency(depth: InstrumentDepth) -> Rgb:
    if depth.to_target_mm is None:
        return NOTICE
    if depth.to_target_mm <= -_PAST_ALARM_MM:
        return ALARM
    off_axis = depth.off_axis_mm is not None and depth.off_axis_mm >= _OFF_AXIS_NOTICE_MM
    return NOTICE if off_axis or depth.to_target_mm < 0.0 else CALM


def _dashes(centreline_px: F64, scale: float) -> F64:
    """(2 D, 2): ends of dashes from the tip's end backwards, so that they stand still at the tip."""
    points = centreline_px[::-1]
    steps = np.sqrt((np.diff(points, axis=0) ** 2).sum(axis=1))
    along = np.concatenate(([0.0], np.cumsum(steps)))
    pitch = (_DASH_PX + _GAP_PX) * scale
    count = min(max(int(along[-1] / pitch), 1), _MOST_DASHES)
    first = pitch * np.arange(count)
    ends = np.stack((first, np.minimum(first + _DASH_PX * scale, along[-1])), axis=1).ravel()
    return np.stack([np.interp(ends, along, points[:, axis]) for axis in (0, 1)], axis=1)


def _tip_mark(instrument: SeenInstrument, scale: float) -> F64:
    """(2 S, 2): a bar across the tip, an arrow head behind it, and what the tip is uncertain by."""
    heading = instrument.centreline_px[-1] - instrument.centreline_px[-2]
    along = heading / math.hypot(*heading.tolist())
    across = np.array((-along[1], along[0]))
    tip = np.array(instrument.tip_px)
    reach = 0.5 * instrument.diameter_px + _BAR_BEYOND_PX * scale
    behind = tip - _HEAD_PX * scale * along
    pieces = [tip - reach * across, tip + reach * across, tip, behind - reach * across, tip, behind + reach * across]
    sigma = instrument.tip_sigma_px
    if sigma is not None and 2.0 * sigma > _SIGMA_SAID_PX * scale:
        pieces += [tip - 2.0 * sigma * along, tip + 2.0 * sigma * along]
    return np.array(pieces)
