"""Instruments in the session: each frame's findings, smoothed over time, and where the tips are in the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from guidance.case import drawable_paths
from guidance.messages import PlannedPath
from guidance.session.events import Effect, PublishNeedleTip
from guidance.session.state import InputTrack, Session
from guidance.tracking.depth import constrained_to_path, depth_of
from guidance.tracking.sightings import FoundInstrument
from guidance.tracking.track import InstrumentTrack, observe
from guidance.tracking.values import InstrumentDepth, PlacedInstrument


def with_instruments(
    before: InputTrack | None, track: InputTrack, paths: Sequence[PlannedPath], found: Sequence[FoundInstrument]
) -> InputTrack:
    """The track with what its frame shows of instruments, in the light of the frames before it.

    Args:
        before: the input's track before this frame; None for its first.
        track: with the frame.
        paths: that instruments were looked for along.
        found: of this frame.
    """
    assert track.frame is not None
    same_plan = before is not None and before.epoch == track.epoch
    known = {one.path_id: one for one in before.instruments} if before is not None and same_plan else {}
    by_path = {one.view.seen.path_id: one for one in found}
    tracks = []
    placed = {}
    for path in paths:
        one = by_path.get(path.id)
        last = known.get(path.id, InstrumentTrack(path_id=path.id))
        if one is None and not last.samples:
            continue
        if one is not None and one.placed is not None:
            placed[path.id] = one.placed
        tracks.append(
            observe(
                last,
                None if one is None else one.view.seen,
                None if one is None else _depth(path, one),
                received_ns=track.frame.received_ns,
            )
        )
    return replace(track, instruments=tuple(tracks), placed=placed)


def needle_tips(session: Session) -> tuple[Session, list[Effect]]:
    """What has changed of where the tips are: told once, and once more where a tip is not known any more."""
    tips: dict[str, tuple[PlannedPath, PlacedInstrument]] = {}
    shown: dict[str, InputTrack] = {}
    if any(track.placed for track in session.inputs.values()):
        paths = {path.id: path for path in drawable_paths(session.case)}
        for track in session.inputs.values():
            if track.silent or track.verdict.pixel_from_patient is None:
                continue
            for path_id, placed in track.placed.items():
                if path_id in paths and (path_id not in shown or _newer(track, shown[path_id])):
                    tips[path_id], shown[path_id] = (paths[path_id], placed), track
    before = session.needle_tips
    effects: list[Effect] = [
        PublishNeedleTip(path, placed, shown[path_id])
        for path_id, (path, placed) in tips.items()
        if path_id not in before or before[path_id][1] is not placed
    ]
    effects += [PublishNeedleTip(path, None, None) for path_id, (path, _) in before.items() if path_id not in tips]
    return (replace(session, needle_tips=tips), effects) if effects else (session, [])


def _newer(track: InputTrack, other: InputTrack) -> bool:
    if track.frame is None or other.frame is None:
        return other.frame is None
    return track.frame.received_ns > other.frame.received_ns


def _depth(path: PlannedPath, found: FoundInstrument) -> InstrumentDepth:
    if found.placed is not None:
        return depth_of(path, found.placed)
    view = found.view
    if found.contradiction:
        return InstrumentDepth(
            path_id=path.id,
            depth_mm=None,
            to_target_mm=None,
            off_axis_mm=None,
            angle_deg=None,
            sigma_mm=None,
            views=2,
            reason=found.contradiction,
        )
    return constrained_to_path(path, view.seen, view.pixel_from_patient, geometry_sigma_px=view.geometry_sigma_px)
