"""A frame's way through the session: taken in, judged by what is told, held against the volume, judged by that too."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Final

from guidance.case import drawable_paths
from guidance.clock import SenderClock, ns_from_igtl
from guidance.clock import observe as observe_clock
from guidance.consistency.measurement import Measurement
from guidance.consistency.track import ConsistencyTrack, judged_with_check
from guidance.consistency.track import observe as observe_consistency
from guidance.geometry.trust import judge
from guidance.liveness import FrameFacts, whole_number
from guidance.liveness import observe as observe_liveness
from guidance.messages import UNCHECKED, FluoroFrame, GeometryState, GeometryVerdict
from guidance.overlay.place import place_paths
from guidance.session.cement import (
    cement_asked,
    live_frames_here,
    pose_of,
    reference_of,
    seen_in,
    taken_ns,
    with_seen,
)
from guidance.session.events import DrawFrame, Effect, FrameMeasured, InputChanged, MeasureFrame
from guidance.session.instruments import with_instruments
from guidance.session.planned import watch_of
from guidance.session.state import DRAWABLE, NS_PER_MS, InputTrack, Session, active_volume, central_ray_of, pivot_of
from guidance.uncertainty.frame import STANDING, frame_uncertainty, pose_rate

_NS_PER_S: Final = 1_000_000_000
_LONGEST_INTERVAL_NS: Final = _NS_PER_S // 3  # the slowest stream has 3 frames/s: what is longer is a pause
_SHORT_PAUSE_NS: Final = _NS_PER_S // 10
_INTERVAL_WEIGHT: Final = 0.2


def frame_arrived(session: Session, frame: FluoroFrame, now_ns: int) -> tuple[Session, list[Effect]]:
    """Take a frame in; where it can be held against the volume, that is done before anything else is known of it."""
    before = session.pending.get(frame.device) or session.inputs.get(frame.device)
    track = before or InputTrack(device=frame.device)
    if track.connection_id != frame.connection_id:
        # Another sender, or the same one started anew: nothing of the former's clock and run holds.
        liveness = replace(track.liveness, recent=frozenset(), older=frozenset())
        track = replace(track, clock=SenderClock(), interval_ns=0, liveness=liveness)
    rows, columns = frame.pixels.shape
    sender_ns = ns_from_igtl(frame.timestamp_igtl)
    clock = observe_clock(track.clock, sender_ns, frame.received_ns)
    stated = frame.metadata.get("XRay.Live", "").strip()
    facts = FrameFacts(
        received_ns=frame.received_ns,
        stated_live={"1": True, "0": False}.get(stated),
        frame_number=whole_number(frame.metadata.get("XRay.FrameNumber")),
        pulse_number=whole_number(frame.metadata.get("XRay.PulseNumber")),
        pixels_crc64=frame.pixels_crc64,
        rows=rows,
        columns=columns,
    )
    track = replace(
        track,
        connection_id=frame.connection_id,
        interval_ns=_interval_ns(track, frame),
        frame=frame,
        frames=track.frames + 1,
        liveness=observe_liveness(track.liveness, facts),
        clock=clock,
        silent=False,
        check=UNCHECKED,
        measured_with=None,
        outdated=False,
        instruments=(),
        placed={},
        cement=None,
        pose_before=pose_of(before),
        told_late=False,
        told_late_before=before is not None and before.told_late,
    )
    track = judged(session, track, now_ns)
    track = _with_rate(session, before, track)
    track = replace(track, live_frames=live_frames_here(before, track), taken_ns=taken_ns(before, track))
    wanted = to_be_measured(session, track)
    if wanted is not None:
        return replace(session, pending={**session.pending, frame.device: track}), [wanted]
    return _settled(session, track, now_ns)


def frame_measured(session: Session, event: FrameMeasured, now_ns: int) -> tuple[Session, list[Effect]]:
    """A frame was held against the volume: it is judged by that too, and drawn."""
    measured = event.track
    waiting = session.pending.get(measured.device)
    if waiting is None or measured.frame is None or waiting.frame is None:
        return _cement_of_silenced(session, event, now_ns), []  # its input was silenced meanwhile
    if waiting.connection_id != measured.connection_id or measured.frame.sequence > waiting.frame.sequence:
        return session, []
    if waiting.frame.sequence == measured.frame.sequence:
        pending = {device: track for device, track in session.pending.items() if device != measured.device}
        session = replace(session, pending=pending)
    before = session.inputs.get(measured.device)
    # A picture whose geometry came after it is shown already, without paths.
    shown = before is not None and before.frame is measured.frame and before.measured_with is None
    newest = before.frame.sequence if before is not None and before.frame is not None else -1
    if newest >= measured.frame.sequence and not shown:
        return session, []  # a later frame needed no measuring and is shown already
    track = judged(session, measured, now_ns)
    if pose_of(measured) is None and pose_of(track) is not None:
        track = replace(track, told_late=True)
    again = to_be_measured(session, track)
    if again is not None and (again.pixel_from_patient, again.watch) != (event.pixel_from_patient, event.watch):
        # Registration or volume changed while it was measured: what was found is about another place.
        return replace(session, pending={**session.pending, measured.device: waiting}), [again]
    if again is not None and event.measurement is not None:
        track = _checked(session, _observed(session, before, track, event, event.measurement))
    track = replace(track, cement=seen_in(session, track, event.cement, epoch=measured.epoch))
    return _settled(session, track, now_ns, again=shown)


def _cement_of_silenced(session: Session, event: FrameMeasured, now_ns: int) -> Session:
    """What a frame shows of cement is not lost because its input fell silent while it was worked on."""
    measured, silenced = event.track, session.inputs.get(event.track.device)
    if silenced is None or not silenced.silent or silenced.connection_id != measured.connection_id:
        return session
    seen = seen_in(session, replace(measured, verdict=silenced.verdict), event.cement, epoch=measured.epoch)
    return with_seen(session, replace(measured, cement=seen), now_ns)


def judged(session: Session, track: InputTrack, now_ns: int) -> InputTrack:
    """The track with what its newest frame may be used for as of now."""
    frame = track.frame
    if frame is None:
        return track
    if track.epoch != session.case.epoch:
        # What pictures said was about another registration.
        track = replace(
            track,
            consistency=ConsistencyTrack(),
            check=UNCHECKED,
            outdated=track.outdated or track.measured_with is not None,
            followed_with=None,
            measured_with=None,
            instruments=(),
            placed={},
        )
    verdict = _told_verdict(session, track, frame, now_ns)
    held_against = to_be_measured(session, replace(track, verdict=verdict)) if track.outdated else None
    if verdict.state in DRAWABLE and held_against is not None and held_against.watch is not None:
        # It may contradict the registration of now as well as it agreed with the former, or the other way round.
        verdict = GeometryVerdict(
            state=GeometryState.WITHHELD,
            reason="the registration has changed: the next picture is held against it first",
            code="registration_changed",
        )
    if verdict.pixel_from_patient is not None and verdict.pixel_from_patient == track.measured_with:
        verdict = judged_with_check(verdict, track.check)
    track = replace(track, epoch=session.case.epoch)
    return _with_uncertainty(session, _with_verdict(session, track, verdict))


def _checked(session: Session, track: InputTrack) -> InputTrack:
    """The track, judged by what is told of its frame just now, with what the picture says of that."""
    verdict = judged_with_check(track.verdict, track.check)
    if verdict.pixel_from_patient == track.verdict.pixel_from_patient:
        return replace(track, verdict=verdict)  # places and uncertainty are of the matrix, which stands
    return _with_uncertainty(session, _with_verdict(session, track, verdict))


def _with_verdict(session: Session, track: InputTrack, verdict: GeometryVerdict) -> InputTrack:
    assert track.frame is not None
    rows, columns = track.frame.pixels.shape
    places = place_paths(drawable_paths(session.case), verdict, rows=rows, columns=columns)
    return replace(track, verdict=verdict, places=places)


def _with_uncertainty(session: Session, track: InputTrack) -> InputTrack:
    frame, verdict = track.frame, track.verdict
    assert frame is not None
    if verdict.pixel_from_patient is None:
        return replace(track, uncertainty=None)
    uncertainty = frame_uncertainty(
        settings=session.uncertainty,
        pivot_lps_mm=pivot_of(active_volume(session)),
        columns=frame.pixels.shape[1],
        registration=session.case.registration,
        calibration=verdict.calibration,
        rate=track.rate,
        central_ray=central_ray_of(verdict.pixel_from_patient),
    )
    return replace(track, uncertainty=uncertainty)


def changes(before: InputTrack | None, after: InputTrack) -> list[Effect]:
    """That an input's state, its geometry's state or the reason changed."""
    if before is not None and (before.state, before.verdict.state, before.verdict.code) == (
        after.state,
        after.verdict.state,
        after.verdict.code,
    ):
        return []
    return [InputChanged(before, after)]


def _told_verdict(session: Session, track: InputTrack, frame: FluoroFrame, now_ns: int) -> GeometryVerdict:
    lag_ns = track.clock.lag_ns(ns_from_igtl(frame.timestamp_igtl), frame.received_ns) or 0
    verdict = judge(
        frame,
        volume=active_volume(session),
        settings=session.settings,
        shared_frame_confirmed=session.case.shared_frame_confirmed,
        held=track.liveness.held,
        age_ms=track.age_ms(now_ns) + lag_ns / NS_PER_MS,
        transforms=itertools.chain.from_iterable(session.transforms.values()),
        frame_interval_ms=track.interval_ns / NS_PER_MS,
        transform_frame=session.transform_frame,
        calibration=session.calibration,
        registration=session.case.registration,
    )
    if verdict.code == "held":
        words = f"HELD for {track.age_ms(now_ns) / 1000:.1f} s: {track.liveness.why}"
        verdict = replace(verdict, reason=words)
    position, (epoch, told) = _patient_position(frame), session.told_position
    if verdict.state in DRAWABLE and position and epoch == session.case.epoch and position != told:
        return GeometryVerdict(
            state=GeometryState.WITHHELD,
            reason=f"patient position is {position} now and was {told} in this registration: take a new CBCT",
            code="patient_position_changed",
        )
    return verdict


def _with_rate(session: Session, before: InputTrack | None, track: InputTrack) -> InputTrack:
    """The track with how fast its geometry goes; what is told for one moment is the less true the faster it is."""
    last = before.verdict.pixel_from_patient if before is not None else None
    matrix = track.verdict.pixel_from_patient
    rate = STANDING
    if last is not None and matrix is not None and last != matrix and before is not None and before.frame is not None:
        assert track.frame is not None
        gap_ns = track.frame.received_ns - before.frame.received_ns
        if not track.clock.frozen:
            sent_ns = ns_from_igtl(track.frame.timestamp_igtl) - ns_from_igtl(before.frame.timestamp_igtl)
            gap_ns = sent_ns if sent_ns > 0 else gap_ns
        # Frames that the network held up come in a burst: nothing has moved faster for that.
        interval_ms = max(gap_ns, track.interval_ns / 2) / NS_PER_MS
        rate = pose_rate(last, matrix, interval_ms, pivot_of(active_volume(session)))
    return track if rate == track.rate else _with_uncertainty(session, replace(track, rate=rate))


def to_be_measured(session: Session, track: InputTrack) -> MeasureFrame | None:
    """What must be measured of a frame before it is shown; None where nothing can be, or need be."""
    watched, matrix = watch_of(session.case, session.planned), track.verdict.pixel_from_patient
    cement = cement_asked(session, track)
    if watched is None or matrix is None or not session.consistency.enabled:
        return None if cement is None else MeasureFrame(track, matrix, None, (), None, cement)
    watch, metal = watched
    instruments = metal if session.tracking.instruments else None
    return MeasureFrame(track, matrix, watch, drawable_paths(session.case), instruments, cement)


def _observed(
    session: Session, before: InputTrack | None, track: InputTrack, event: FrameMeasured, measurement: Measurement
) -> InputTrack:
    """The track with what measuring its frame says, in the light of the frames before it."""
    assert track.frame is not None
    history = before.consistency if before is not None and before.epoch == track.epoch else ConsistencyTrack()
    last = before.followed_with if before is not None else None
    consistency = observe_consistency(
        history,
        measurement,
        received_ns=track.frame.received_ns,
        moved=last is None or last != event.pixel_from_patient,
        settings=session.consistency,
    )
    track = replace(
        track,
        consistency=consistency,
        check=consistency.check,
        measured_with=event.pixel_from_patient,
        followed_with=event.pixel_from_patient,
    )
    paths = drawable_paths(session.case) if session.tracking.instruments else ()
    return with_instruments(before, track, paths, event.found)


def _settled(session: Session, track: InputTrack, now_ns: int, *, again: bool = False) -> tuple[Session, list[Effect]]:
    """The frame counts as its input's newest and is drawn."""
    frame, before = track.frame, session.inputs.get(track.device)
    assert frame is not None
    position = _patient_position(frame)
    if position and track.verdict.state in DRAWABLE and session.told_position[0] != session.case.epoch:
        session = replace(session, told_position=(session.case.epoch, position))
    session = with_seen(replace(session, inputs={**session.inputs, track.device: track}), track, now_ns)
    reference = reference_of(session, track) if not again or track.told_late else None
    return session, [DrawFrame(track, again=again, reference=reference), *changes(before, track)]


def _interval_ns(track: InputTrack, frame: FluoroFrame) -> int:
    if track.frame is None or track.silent:
        return track.interval_ns
    gap_ns = min(frame.received_ns - track.frame.received_ns, _LONGEST_INTERVAL_NS)
    if track.interval_ns == 0:
        return gap_ns
    # One pause must not widen what counts as a picture's own transform.
    gap_ns = min(gap_ns, max(2 * track.interval_ns, _SHORT_PAUSE_NS))
    return round(track.interval_ns + _INTERVAL_WEIGHT * (gap_ns - track.interval_ns))


def _patient_position(frame: FluoroFrame) -> str:
    return frame.metadata.get("XRay.PatientPosition", "").strip()
