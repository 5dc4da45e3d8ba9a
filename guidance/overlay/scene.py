"""What is drawn on one frame: paths where geometry is trusted, else only words; decides nothing about trust."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Final

import numpy as np

from guidance.config import OverlaySettings
from guidance.messages import CementState, GeometryState, Matrix34, PlannedPath
from guidance.overlay.bulls_eye import aid_words
from guidance.overlay.cement_lines import NO_PIECES, CementOnPicture, CementPieces, cement_pieces
from guidance.overlay.cement_words import alert_words, cement_words
from guidance.overlay.drawing import Drawing, drawing_of
from guidance.overlay.layout import Placed, placed_marks, placed_words
from guidance.overlay.needle_lines import needle_lines, needle_words
from guidance.overlay.path_strokes import all_lines, path_labels, path_strokes
from guidance.overlay.pieces import Line, Scene, scene_of, stroked_scene, with_lines, with_texts
from guidance.overlay.words import CEMENT_OFF, ZONES_OFF, Words, state_words, unknown_words, zone_words
from guidance.overlay.zone_lines import (
    Outlines,
    ZoneDrawing,
    outlines_of,
    text_boxes,
    withheld_names,
    zone_drawing_of,
    zone_labels,
    zone_lines,
)
from guidance.overlay.zones import NO_ZONES, PathAid, ZonesOnPicture
from guidance.session import InputTrack
from guidance.uncertainty.values import FrameUncertainty, UncertaintyUnknown

_NO_AIDS: Final[Mapping[str, PathAid]] = MappingProxyType({})
_FRAMES_KEPT: Final = 16  # between two frames the C-arm mostly stands still; several inputs and sizes at once


def frame_scene(
    track: InputTrack,
    paths: Sequence[PlannedPath],
    settings: OverlaySettings,
    *,
    age_ms: float,
    zones: ZonesOnPicture = NO_ZONES,
    aids: Mapping[str, PathAid] = _NO_AIDS,
    uncertainty: FrameUncertainty | None = None,
    cement: CementOnPicture | None = None,
) -> Scene:
    """Everything that goes onto the track's newest frame.

    Args:
        track: an input with a frame; its verdict says whether paths may be drawn, its places which of them are.
        paths: those of the active volume's frame.
        settings: sizes for a picture of 1024 px; they scale with the picture.
        age_ms: age of the picture.
        zones: those of the active volume's frame.
        aids: by path id; a path without one is drawn from what it says itself.
        uncertainty: of the frame's geometry, the same object while nothing of it changes; what is unknown is said to
            be so. None: not asked for, as of a picture that is only drawn and never measured.
        cement: what is known of cement; None: it is not followed, and no alert of it is latched.
    """
    assert track.frame is not None
    verdict = track.verdict
    trusted = verdict.state in (GeometryState.TRUSTED, GeometryState.DEGRADED)
    matrix = verdict.pixel_from_patient if trusted else None
    placed = () if matrix is None else tuple([place.id for place in track.places if place.drawn])
    rows, columns = track.frame.pixels.shape
    known = tuple([aids.get(path.id) for path in paths]) if aids else ()
    drawing = drawing_of(tuple(paths), known, placed, rows, columns, settings)
    said = state_words(
        track.state, track.liveness.why, verdict, age_ms=age_ms, paths=len(paths), drawn=len(drawing.drawn_ids)
    )
    pieces = NO_PIECES
    if cement is not None:
        # What must be acted on stands first, and large; what is followed last.
        said = alert_words(cement.alerts) + said
        if settings.cement:
            pieces = cement_pieces(cement, track.frame.sequence, drawing.sheet, trusted=matrix is not None)
    if matrix is None:
        said += _cement_words(cement, track.frame.sequence, settings, trusted=False)
        return _with_cement(scene_of((), placed_words(said, drawing.sheet).texts, ()), pieces)
    outlined = None
    if settings.zones and (zones.surfaces or zones.missing):
        if zones.shown:
            outlined = zone_drawing_of(zones, drawing.sheet)
            said += zone_words(zones.missing, withheld_names(outlined, outlines_of(outlined, matrix)))
        else:
            said += ZONES_OFF
    asked = uncertainty if settings.bands and drawing.drawn else None
    if isinstance(asked, UncertaintyUnknown):
        said += unknown_words(asked.reason)
    if drawing.aids is not None:
        strokes = path_strokes(drawing, matrix, asked)
        said += aid_words(drawing.aids, matrix, strokes.looked_down, strokes.rings_mm)
    said += needle_words(paths, track.instruments)
    said += _cement_words(cement, track.frame.sequence, settings, trusted=True)
    scene = _scene(drawing, matrix, asked, placed_words(said, drawing.sheet), outlined)
    seen = [instrument.seen for instrument in track.instruments if instrument.seen is not None]
    if seen:
        sheet = drawing.sheet
        lines = needle_lines(seen, line_width_px=sheet.line_width_px, scale=sheet.scale, taken=sheet.taken)
        scene = with_lines(scene, lines)
    return _with_cement(scene, pieces)


def _cement_words(
    cement: CementOnPicture | None, sequence: int, settings: OverlaySettings, *, trusted: bool
) -> tuple[Words, ...]:
    if cement is None or cement.state is CementState.IDLE:
        return ()
    return cement_words(cement, sequence, trusted=trusted) if settings.cement else CEMENT_OFF


def _with_cement(scene: Scene, pieces: CementPieces) -> Scene:
    if pieces.lines:
        scene = with_lines(scene, pieces.lines)
    return with_texts(scene, pieces.texts) if pieces.texts else scene


@lru_cache(maxsize=_FRAMES_KEPT)
def _scene(
    drawing: Drawing,
    pixel_from_patient: Matrix34,
    uncertainty: FrameUncertainty | None,
    words: Placed,
    outlined: ZoneDrawing | None,
) -> Scene:
    marks = placed_marks(pixel_from_patient, drawing.sheet, words)
    paths = path_strokes(drawing, pixel_from_patient, uncertainty)
    boxes = np.array(words.boxes + marks.boxes, np.int32).reshape(-1, 4)
    labels = path_labels(drawing, paths, boxes)
    make_lines = partial(all_lines, drawing, pixel_from_patient, uncertainty)
    texts = labels + words.texts + marks.texts
    if outlined is None:
        # Bands are drawn first and paths over them. Where nothing else lies under, the pass that clears it away around
        # what is above (0.2 ms) would change next to nothing: a band keeps off its path's lines.
        return stroked_scene(paths.strokes, make_lines, texts, drawing.drawn_ids)
    outlines = outlines_of(outlined, pixel_from_patient)
    both = np.concatenate((outlines.strokes, paths.strokes))
    both.flags.writeable = False
    if drawing.zone_labels:
        taken = np.concatenate((boxes, text_boxes(labels)))
        texts = zone_labels(outlined, outlines, taken, paths.summary) + texts
    under_and_over = partial(_lines_over_zones, outlined, outlines, make_lines)
    under = len(outlines.strokes) + paths.bands_before
    return stroked_scene(both, under_and_over, texts, drawing.drawn_ids, under=under)


def _lines_over_zones(
    outlined: ZoneDrawing, outlines: Outlines, make_lines: Callable[[], tuple[Line, ...]]
) -> tuple[Line, ...]:
    return (*zone_lines(outlined, outlines), *make_lines())
