"""The live session as one state machine: step(session, event, now_ns) -> (session, effects)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from guidance.alerts.book import acknowledged, raised
from guidance.case import Case, drawable_paths, lasting
from guidance.geometry.paired import is_geometry
from guidance.messages import GeometryState, GeometryVerdict, TransformSample
from guidance.session.cement import (
    reference_of,
    start_cement,
    stop_cement,
    with_case_zones,
    with_reading,
    with_registration,
    with_time,
)
from guidance.session.events import (
    AlertAcknowledged,
    CaseEdited,
    CementStarted,
    CementStopped,
    ConnectionClosed,
    DrawFrame,
    Effect,
    Event,
    FrameArrived,
    FrameMeasured,
    InjectorTold,
    PlanWorkedOut,
    PublishAlerts,
    PublishCement,
    PublishPlan,
    PublishZones,
    StoreCase,
    Tick,
    TransformArrived,
)
from guidance.session.frames import changes, frame_arrived, frame_measured, judged, to_be_measured
from guidance.session.instruments import needle_tips
from guidance.session.planned import path_aids, zones_on_picture
from guidance.session.state import DRAWABLE, WAITS_FOR_TRANSFORMS, InputTrack, Session

_TRANSFORMS_KEPT: Final = 64  # per connection and name; at 30/s two seconds, far more than half a frame interval
_SCREEN_AGES: Final = 2  # at 3 pictures a second one that is lost leaves 667 ms; paths must not blink for that


def step(session: Session, event: Event, now_ns: int) -> tuple[Session, list[Effect]]:
    """Take one event in.

    Args:
        session: what was known.
        event: what happened.
        now_ns: the server's monotonic clock.

    Returns:
        What is known now, and what the shell must do, in this order.
    """
    before = session
    session, effects = _stepped(session, event, now_ns)
    effects += _redrawn_of_cement(before, session, event, effects)
    session, tips = needle_tips(session)
    session, told = _cement_told(before, session, now_ns)
    # What a frame says of cement is told before anything that is drawn of it.
    return session, told + effects + tips


def _redrawn_of_cement(before: Session, session: Session, event: Event, effects: list[Effect]) -> list[Effect]:
    """What stands on the screens says how cement is followed: drawn again where that has changed without a frame."""
    state = session.cement.state
    if isinstance(event, FrameArrived | FrameMeasured | CementStarted) or state is before.cement.state:
        return []
    done = {effect.track.device for effect in effects if isinstance(effect, DrawFrame)}
    return [
        DrawFrame(track, again=True)
        for device, track in session.inputs.items()
        if track.frame is not None and device not in done
    ]


def _cement_told(before: Session, session: Session, now_ns: int) -> tuple[Session, list[Effect]]:
    """What others must hear of cement and of alerts after one event."""
    effects: list[Effect] = []
    if session.cement is not before.cement:
        alerts = raised(session.alerts, session.cement.conditions, now_ns)
        session = replace(session, alerts=alerts)
        effects.append(PublishCement(session.cement))
    if session.alerts is not before.alerts:
        effects.append(PublishAlerts(before.alerts, session.alerts))
    return session, effects


def _stepped(session: Session, event: Event, now_ns: int) -> tuple[Session, list[Effect]]:
    match event:
        case FrameArrived(frame):
            return frame_arrived(session, frame, now_ns)
        case FrameMeasured():
            return frame_measured(session, event, now_ns)
        case TransformArrived(sample):
            return _transform_arrived(session, sample, now_ns)
        case CaseEdited(edited):
            return _case_edited(session, edited, now_ns)
        case PlanWorkedOut(planned):
            session, effects, changed = _with_planning(replace(session, planned=planned))
            session, redrawn = _judged_again(session, now_ns, redraw=True) if changed else (session, [])
            return session, effects + redrawn
        case CementStarted(material=material, work_ends_ns=work_ends_ns):
            return start_cement(session, material, now_ns, work_ends_ns=work_ends_ns), []
        case CementStopped():
            return stop_cement(session), []
        case InjectorTold(reading):
            return with_reading(session, reading, now_ns), []
        case AlertAcknowledged(alert_id, by):
            return replace(session, alerts=acknowledged(session.alerts, alert_id, by, now_ns)), []
        case ConnectionClosed(connection_id):
            gone = [track for track in session.inputs.values() if track.connection_id == connection_id]
            kept = {key: samples for key, samples in session.transforms.items() if key[0] != connection_id}
            return _silenced(replace(session, transforms=kept), gone, "its connection closed")
        case Tick():
            # What was drawn while the picture was new must not stay on it until the stream counts as silent.
            session, effects = _judged_again(
                session, now_ns, older_than_ms=_SCREEN_AGES * session.settings.maximum_age_ms
            )
            late = [
                track
                for track in session.inputs.values()
                if track.frame is not None and now_ns - track.frame.received_ns > session.silence_ns
            ]
            session, silenced = _silenced(session, late, f"no frame for {session.silence_ns / 1e9:g} s")
            return with_time(session, now_ns), effects + silenced


def may_be_shown(session: Session, track: InputTrack, now_ns: int) -> bool:
    """Whether what was judged of a picture still holds: one with paths on it may have grown too old on its way out.

    Where it does not, the next tick judges the picture anew and has it drawn without them.
    """
    return not _drawable(track) or track.age_ms(now_ns) <= session.settings.maximum_age_ms


def _drawable(track: InputTrack) -> bool:
    return track.verdict.state in DRAWABLE


def _judged_again(
    session: Session, now_ns: int, *, older_than_ms: float = 0.0, redraw: bool = False
) -> tuple[Session, list[Effect]]:
    """Judge the pictures on the screens anew; drawn again are those that gain or lose their paths.

    Args:
        older_than_ms: only pictures older than this that have paths on them.
        redraw: draw all others that have paths on them as well, because these are other ones now.
    """
    inputs = dict(session.inputs)
    effects: list[Effect] = []
    for device, track in session.inputs.items():
        if track.frame is None or track.silent or _is_measured_now(session, track):
            continue
        if older_than_ms and not (_drawable(track) and track.age_ms(now_ns) > older_than_ms):
            continue
        after = judged(session, track, now_ns)
        if _drawable(after) is not _drawable(track) or (redraw and _drawable(after)):
            inputs[device] = after
            effects += [DrawFrame(after, again=True), *changes(track, after)]
    return replace(session, inputs=inputs), effects


def _transform_arrived(session: Session, sample: TransformSample, now_ns: int) -> tuple[Session, list[Effect]]:
    if not is_geometry(sample.name):
        return session, []
    key = (sample.connection_id, sample.name)
    samples = (*session.transforms.get(key, ()), sample)[-_TRANSFORMS_KEPT:]
    session = replace(session, transforms={**session.transforms, key: samples})
    inputs = dict(session.inputs)
    effects: list[Effect] = []
    for device, track in session.inputs.items():
        # A sender may send the picture first: its transforms, when they come, are for the picture of that very time.
        waits = track.frame is not None and track.verdict.code in WAITS_FOR_TRANSFORMS and not track.silent
        waits = waits and device not in session.pending
        if waits and sample.timestamp_igtl and track.frame and track.frame.timestamp_igtl == sample.timestamp_igtl:
            after = replace(judged(session, track, now_ns), told_late=True)
            wanted = to_be_measured(session, after)
            if wanted is not None:
                session = replace(session, pending={**session.pending, device: after})
                effects.append(wanted)
            elif after.verdict.state is not track.verdict.state:
                inputs[device] = after
                effects += [
                    DrawFrame(after, again=True, reference=reference_of(session, after)),
                    *changes(track, after),
                ]
    return replace(session, inputs=inputs), effects


def _case_edited(session: Session, case: Case, now_ns: int) -> tuple[Session, list[Effect]]:
    before = session.case
    session = replace(session, case=case)
    effects: list[Effect] = []
    if lasting(case) != lasting(before):
        effects.append(StoreCase(case))
    paths_changed = drawable_paths(case) != drawable_paths(before)
    if paths_changed:
        effects.append(PublishPlan(case))
    session, planning_effects, planning_changed = _with_planning(session)
    session = with_case_zones(session, now_ns)
    effects += planning_effects
    if case.epoch != before.epoch:
        session = with_registration(session, now_ns)
        # What was drawn under the former registration must not stay on anyone's screen.
        inputs = dict(session.inputs)
        for device, track in session.inputs.items():
            if track.frame is not None and not track.silent and not _is_measured_now(session, track):
                inputs[device] = judged(session, track, now_ns)
                effects += [DrawFrame(inputs[device], again=True), *changes(track, inputs[device])]
        return replace(session, inputs=inputs), effects
    session, redrawn = _judged_again(session, now_ns, redraw=paths_changed or planning_changed)
    return session, effects + redrawn


def _is_measured_now(session: Session, track: InputTrack) -> bool:
    """Whether this very picture, shown without paths while its geometry was not told, is just held against the volume:
    it is judged anew when that is done."""
    waiting = session.pending.get(track.device)
    return waiting is not None and waiting.frame is track.frame


def _with_planning(session: Session) -> tuple[Session, list[Effect], bool]:
    """What of the results of planning goes onto the picture now, and whether that has changed."""
    zones = zones_on_picture(session.case, session.planned, session.zones)
    aids = path_aids(session.case, session.planned)
    effects: list[Effect] = [] if zones is session.zones else [PublishZones(zones)]
    changed = bool(effects) or aids != session.aids
    return replace(session, zones=zones, aids=aids), effects, changed


def _silenced(session: Session, tracks: list[InputTrack], why: str) -> tuple[Session, list[Effect]]:
    inputs = dict(session.inputs)
    effects: list[Effect] = []
    gone = {track.device for track in tracks}
    session = replace(session, pending={name: track for name, track in session.pending.items() if name not in gone})
    for track in tracks:
        if track.silent:
            continue
        # The last picture stays on receivers' screens: it is published once more, without paths and with the reason.
        verdict = GeometryVerdict(state=GeometryState.WITHHELD, reason=f"not live: {why}", code="silent")
        places = tuple(replace(place, entry_px=None, target_px=None, drawn=False) for place in track.places)
        after = replace(track, silent=True, verdict=verdict, places=places)
        inputs[track.device] = after
        if track.frame is not None:
            effects.append(DrawFrame(after, again=True))
        effects += changes(track, after)
    return replace(session, inputs=inputs), effects
