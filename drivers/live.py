"""The live case: feeds events to the session, carries out its effects, answers what HTTP asks."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

import numpy as np
import structlog

from drivers.audit_log import AuditLog
from drivers.case_store import CaseStore
from drivers.planning_volume import probe_of
from guidance import case as case_room
from guidance.alerts.book import AlertBook
from guidance.case import AuditPage, Author, Case, drawable_paths
from guidance.cement.progress import CementProgress
from guidance.errors import CaseError
from guidance.geometry.paired import is_geometry
from guidance.messages import CbctVolume, CementMaterial, FluoroFrame, InjectorReading, PlanItem, TransformSample
from guidance.overlay.zones import ZonesOnPicture
from guidance.planning.placement import check_moved, placed_items
from guidance.ports import LiveUpdate
from guidance.session import (
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
    InputChanged,
    InputTrack,
    MeasureFrame,
    Planned,
    PlanWorkedOut,
    PublishAlerts,
    PublishCement,
    PublishNeedleTip,
    PublishPlan,
    PublishZones,
    Session,
    StoreCase,
    Tick,
    TransformArrived,
    active_volume,
    may_be_shown,
    step,
)
from guidance.shapes import GeometryAnswer, InputGeometry, InstrumentSeen, LatencyFigures, PathPlace
from guidance.tracking.depth import depth_words

_NS_PER_MS: Final = 1e6
_STORE_AGAIN_NS: Final = 1_000_000_000
_LATENCIES_KEPT: Final = 1800  # a minute at 30/s

_OWN: Final = Author(via="server")

_Told = TypeVar("_Told")
_log = structlog.get_logger("live")


class LiveCase:
    """The session and its shell; everything runs in the event loop's thread.

    Args:
        session: where to begin.
        store: keeps the case.
        audit: keeps a line of every change.
        undo_steps: changes of the plan that can be taken back.
        draw: has a frame drawn and published.
        measure: has a frame held against the volume; `on_measured` takes the answer.
        publish_plan: tells receivers the new paths.
        publish_zones: tells receivers the new zones.
        publish_needle_tip: tells receivers where an instrument's tip is.
        publish_cement: tells receivers what is known of cement.
        publish_alerts: tells receivers the latched alerts, as they were and as they are.
        input_changed: told of every change of an input's state.
        case_changed: told after every change of the case.
    """

    def __init__(
        self,
        session: Session,
        store: CaseStore,
        audit: AuditLog,
        *,
        undo_steps: int,
        draw: Callable[[DrawFrame, Session], None],
        measure: Callable[[MeasureFrame], None],
        publish_plan: Callable[[Case], None],
        publish_zones: Callable[[ZonesOnPicture], None],
        publish_needle_tip: Callable[[PublishNeedleTip], None],
        publish_cement: Callable[[CementProgress], None],
        publish_alerts: Callable[[AlertBook, AlertBook], None],
        input_changed: Callable[[InputTrack | None, InputTrack], None],
        case_changed: Callable[[], None],
    ) -> None:
        self._session = session
        self._store = store
        self._audit = audit
        self._undo_steps = undo_steps
        self._draw = draw
        self._measure = measure
        self._publish_plan = publish_plan
        self._publish_zones = publish_zones
        self._publish_needle_tip = publish_needle_tip
        self._publish_cement = publish_cement
        self._publish_alerts = publish_alerts
        self._input_changed = input_changed
        self._case_changed = case_changed
        self._subscribers: dict[int, Callable[[LiveUpdate], None]] = {}
        self._next_subscriber = 0
        self._latency_ms: deque[float] = deque(maxlen=_LATENCIES_KEPT)
        self._worst_ms: float | None = None
        self._unstored_since_ns: int | None = None
        self.counters: Counter[str] = Counter()

    @property
    def session(self) -> Session:
        """What is known now."""
        return self._session

    # What comes in

    def on_frame(self, frame: FluoroFrame) -> None:
        """A fluoroscopy frame is in."""
        self._step(FrameArrived(frame))

    def on_measured(self, measured: FrameMeasured) -> None:
        """A frame was held against the volume."""
        self._step(measured)

    def on_transform(self, sample: TransformSample) -> None:
        """A TRANSFORM is in."""
        if not is_geometry(sample.name):
            self.counters["transform_ignored"] += 1
        self._step(TransformArrived(sample))

    def on_connection_closed(self, connection_id: int) -> None:
        """An input connection has ended."""
        self._step(ConnectionClosed(connection_id))

    def on_tick(self) -> None:
        """Time has passed."""
        self._step(Tick())
        if self._unstored_since_ns is not None and time.monotonic_ns() - self._unstored_since_ns > _STORE_AGAIN_NS:
            self._store_or_note(self._session.case)

    def on_volume(self, volume: CbctVolume) -> None:
        """A volume is new or has changed: true at once, and stored as soon as the disk takes it.

        A volume that was refused must not go on carrying the overlay because the disk is full.
        """
        before = self._session.case
        self._record(before, case_room.volume_changed(before, volume), _OWN, must_be_stored=False)
        for finding in volume.findings:
            _log.warning("volume finding", volume=volume.id, state=volume.state.value, code=finding.code)

    def on_plan(self, items: Sequence[PlanItem], author: Author) -> None:
        """A plan came by OpenIGTLink; what is refused of it is counted and logged."""
        before = self._session.case
        with probe_of(active_volume(self._session)) as probe:
            placed, refused = placed_items(items, probe)
        case, _, faults = case_room.paths_from_plan(before, placed)
        for error in [*refused, *faults]:
            self._refuse_plan(error)
        try:
            self._record(before, case, author)
        except CaseError as error:
            self._refuse_plan(error)

    def on_planned(self, planned: Planned) -> None:
        """Planning has worked something out."""
        self._step(PlanWorkedOut(planned))

    def start_cement(self, material: CementMaterial, *, work_ends_ns: int | None) -> None:
        """Follow cement from now on; CaseError as `guidance.session.cement.start_cement`."""
        self._step(CementStarted(material=material, work_ends_ns=work_ends_ns))

    def stop_cement(self) -> None:
        """Follow it no longer."""
        self._step(CementStopped())

    def on_injector(self, reading: InjectorReading) -> None:
        """The injector has told something."""
        self._step(InjectorTold(reading))

    def acknowledge_alert(self, alert_id: str, by: str) -> None:
        """Somebody has seen an alert; CaseError `unknown_alert`."""
        self._step(AlertAcknowledged(alert_id, by))

    def may_be_shown(self, track: InputTrack) -> bool:
        """Whether what was drawn of a frame still holds when it is about to go out."""
        return may_be_shown(self._session, track, time.monotonic_ns())

    def on_published(self, latency_ms: float) -> None:
        """A frame's overlay has begun to go out."""
        self._latency_ms.append(latency_ms)
        self._worst_ms = latency_ms if self._worst_ms is None else max(self._worst_ms, latency_ms)

    # What HTTP asks (guidance.ports.CaseApi)

    def case(self) -> Case:
        return self._session.case

    def edit(self, change: Callable[[Case], tuple[Case, _Told]], *, author: Author) -> _Told:
        before = self._session.case
        after, told = change(before)
        if after.history.count != before.history.count:
            # What was let through once may come back: an undo must not get stuck because a newer volume is smaller.
            self._record(before, after, author)
            return told
        with probe_of(active_volume(self._session)) as probe:
            check_moved(before, after, probe)
        self._record(before, after, author)
        return told

    def audit(self, *, before: int | None = None, limit: int = 100) -> AuditPage:
        return self._audit.page(before=before, limit=limit)

    def geometry(self) -> GeometryAnswer:
        now_ns = time.monotonic_ns()
        return GeometryAnswer(
            inputs={
                device: _input_geometry(self._session.case, track, now_ns)
                for device, track in self._session.inputs.items()
            }
        )

    def latency(self) -> LatencyFigures:
        """Latency of the last minute of frames."""
        if not self._latency_ms:
            return LatencyFigures(now=None, p50=None, p99=None, worst=None)
        p50, p99 = np.percentile(np.fromiter(self._latency_ms, np.float64), (50, 99))
        return LatencyFigures(now=self._latency_ms[-1], p50=float(p50), p99=float(p99), worst=self._worst_ms)

    def subscribe(self, deliver: Callable[[LiveUpdate], None]) -> Callable[[], None]:
        key = self._next_subscriber = self._next_subscriber + 1
        self._subscribers[key] = deliver
        return lambda: self._subscribers.pop(key, None) and None

    @property
    def watched(self) -> bool:
        """True while somebody looks at the page."""
        return bool(self._subscribers)

    def deliver(self, update: LiveUpdate) -> None:
        """Give an update to every page."""
        for subscriber in list(self._subscribers.values()):
            subscriber(update)

    # The session

    def _refuse_plan(self, error: CaseError) -> None:
        self.counters[f"plan_{error.code}"] += 1
        _log.warning("plan refused", error=str(error))

    def _record(self, before: Case, after: Case, author: Author, *, must_be_stored: bool = True) -> None:
        """Make a change true: stored, then in the audit, or not at all where it must be stored."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        after, line = case_room.record(before, after, author=author, at=at, most_edits=self._undo_steps)
        self._step(CaseEdited(after), must_be_stored=must_be_stored)
        if line is None:
            return
        try:
            self._audit.append(line)
        except OSError as error:
            self.counters["audit_not_written"] += 1
            _log.error("audit", error=f"cannot be written: {error.strerror or error}")
            if must_be_stored:
                self._step(CaseEdited(before), must_be_stored=False)
                raise CaseError(
                    "the audit cannot be written", code="not_stored", mend="make room on the disk"
                ) from None

    def _step(self, event: Event, *, must_be_stored: bool = True) -> None:
        before = self._session
        self._session, effects = step(before, event, time.monotonic_ns())
        for effect in effects:
            if not isinstance(effect, StoreCase):
                self._carry_out(effect)
            elif not self._store_or_note(effect.case) and must_be_stored:
                # What could not be stored has not happened: nobody may plan on it. Storing is the first effect.
                self._session = before
                raise CaseError("the case cannot be stored", code="not_stored", mend="make room on the disk")
        if self._session.case is not before.case:
            self._case_changed()

    def _store_or_note(self, case: Case) -> bool:
        try:
            self._store.save(case)
        except OSError as error:
            self.counters["case_not_stored"] += 1
            self._unstored_since_ns = time.monotonic_ns()
            _log.error("case", error=f"cannot be stored: {error.strerror or error}")
            return False
        self._unstored_since_ns = None
        return True

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case DrawFrame():
                self._draw(effect, self._session)
            case MeasureFrame():
                self._measure(effect)
            case PublishPlan(case):
                self._publish_plan(case)
            case PublishZones(zones):
                self._publish_zones(zones)
            case PublishNeedleTip():
                self._publish_needle_tip(effect)
            case PublishCement(cement):
                self._publish_cement(cement)
            case PublishAlerts(alerts_before, alerts_after):
                self._publish_alerts(alerts_before, alerts_after)
            case InputChanged(before, after):
                self.counters[f"geometry_{after.verdict.code or after.verdict.state.value}"] += 1
                self._input_changed(before, after)


def _input_geometry(case: Case, track: InputTrack, now_ns: int) -> InputGeometry:
    return InputGeometry(
        state=track.state,
        geometry_state=track.verdict.state,
        reason=track.verdict.reason,
        frame_number=track.frame_number,
        age_ms=round(track.age_ms(now_ns), 3) if track.frame else None,
        pixel_from_patient=track.verdict.pixel_from_patient,
        paths=tuple(
            PathPlace(id=place.id, entry_px=place.entry_px, target_px=place.target_px, drawn=place.drawn)
            for place in track.places
        ),
        check=track.verdict.check,
        instruments=tuple(
            InstrumentSeen(
                path_id=path.id,
                to_target_mm=one.depth.to_target_mm,
                off_axis_mm=one.depth.off_axis_mm,
                assumed=one.depth.assumed,
                text=depth_words(path, one.depth),
            )
            for path in drawable_paths(case)
            for one in track.instruments
            if one.path_id == path.id and one.depth is not None and track.verdict.pixel_from_patient is not None
        ),
    )
