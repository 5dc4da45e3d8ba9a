"""The failure drill: a lying stream through codec, session and measuring as in the server, without socket or clock."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from drivers.commands.fault_scene import Patient, Pictures, Received, case_with, targets_lps_mm
from drivers.frame_measuring import FrameMeasuring
from guidance.config import ConsistencySettings, GeometrySettings
from guidance.messages import F64, GeometryState, TransformSample
from guidance.session import (
    DrawFrame,
    Effect,
    Event,
    FrameArrived,
    InputTrack,
    MeasureFrame,
    Planned,
    PlanWorkedOut,
    Session,
    Tick,
    TransformArrived,
    step,
    watch_key,
)
from guidance.wire.openigtlink import Decoder, Image, Transform
from guidance.wire.openigtlink.image import fluoro_frame
from simulators.carm import CArmScript, SentFrame, SimulatedCArm

LIMIT_MM: Final = 1.5  # of a path that is shown as trusted (issue 9, item 7)
# Twice the age up to which a picture is live: at 3 pictures a second one that is lost must not make paths blink.
SCREEN_AGE_S: Final = 1.0
_RUNS_TOLD: Final = 5
_NS: Final = 1_000_000_000
_UNIX_NS: Final = 1_700_000_000 * _NS
_MONOTONIC_NS: Final = 500 * _NS
_MAXIMUM_BODY: Final = 1 << 26

Group = Literal["control", "picture", "geometry", "patient", "time", "volume", "several"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DrillCase:
    """One lie, told in one view.

    Attributes:
        name: of the lie.
        group: what is wrong.
        view: where the C-arm stands.
        script: of the stream, its faults from `begins` on.
        begins, frames: index of the first wrong frame, and how many frames there are.
        cbct: what the server was sent.
        patient: who is exposed.
        delay_s: how much later than exposed the frames from `begins` on arrive.
        is_anothers: the volume is somebody else's: no place of a path on the picture is right.
    """

    name: str
    group: Group
    view: str
    script: CArmScript
    begins: int
    frames: int
    cbct: Received
    patient: Patient
    delay_s: float = 0.0
    is_anothers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownFrame:
    """What stood on the screen after one frame of the stream.

    Attributes:
        index: of the stream's frame.
        state, code, reason: of the geometry.
        check: what the picture itself said.
        drawn: a path was drawn.
        error_mm: how far the worst drawn target lay from where it truly was on that picture, at the target's depth;
            infinite for somebody else's path; None where no path was drawn.
        told_mm: the same of the place that the told geometry gives, drawn or not; None where it gave none.
        age_s: since the picture shown was exposed.
        residual_mm, smoothed_mm: as measured, raw and smoothed; None where it could not be told.
    """

    index: int
    state: GeometryState
    code: str
    reason: str
    check: str
    drawn: bool
    error_mm: float | None
    told_mm: float | None
    age_s: float
    residual_mm: float | None
    smoothed_mm: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What came of one case; `shown` has every frame from the first wrong one on, `before` those before it."""

    case: DrillCase
    before: tuple[ShownFrame, ...]
    shown: tuple[ShownFrame, ...]

    def is_wrong(self, frame: ShownFrame) -> bool:
        """A path shown as trusted that is off by more than the limit, or on a picture that is not live."""
        if frame.state is not GeometryState.TRUSTED or not frame.drawn:
            return False
        return (frame.error_mm or 0.0) > LIMIT_MM or frame.age_s > SCREEN_AGE_S

    @property
    def wrong(self) -> tuple[ShownFrame, ...]:
        return tuple(frame for frame in self.shown if self.is_wrong(frame))

    @property
    def marked(self) -> int:
        """Frames with a path that is off by more than the limit, drawn and marked as not to be trusted."""
        return sum(
            frame.state is GeometryState.DEGRADED and frame.drawn and (frame.error_mm or 0.0) > LIMIT_MM
            for frame in self.shown
        )

    @property
    def noticed(self) -> bool:
        """Something was said of it: marked, or nothing drawn."""
        return any(frame.state is not GeometryState.TRUSTED for frame in self.shown)

    @property
    def frames_to_notice(self) -> int:
        """Frames from the first wrong overlay to the first that was marked or withheld; all there are, if none was."""
        first = next((n for n, frame in enumerate(self.shown) if self.is_wrong(frame)), None)
        if first is None:
            return 0
        states = [frame.state for frame in self.shown[first:]]
        return next((n for n, state in enumerate(states) if state is not GeometryState.TRUSTED), len(states))

    @property
    def seconds_to_notice(self) -> float:
        return self.frames_to_notice / self.case.script.rate_hz

    @property
    def code(self) -> str:
        """Under which name it was noticed."""
        return next((frame.code for frame in self.shown if frame.state is not GeometryState.TRUSTED), "")

    @property
    def reason(self) -> str:
        """The first words that were said of it."""
        return next((frame.reason for frame in self.shown if frame.state is not GeometryState.TRUSTED), "")

    def error_mm(self, *states: GeometryState) -> float | None:
        """The largest error of a path that was drawn in one of these states; None where none was."""
        errors = [frame.error_mm for frame in self.shown if frame.state in states and frame.error_mm is not None]
        return max(errors, default=None)

    @property
    def meanwhile(self) -> str:
        """States in order, in words: "2 trusted, 10 withheld"."""
        runs = [(state, len(list(run))) for state, run in itertools.groupby(frame.state.value for frame in self.shown)]
        if len(runs) <= _RUNS_TOLD:
            return ", ".join(f"{count} {state}" for state, count in runs)
        counts = Counter(frame.state.value for frame in self.shown)
        return ", ".join(f"{count} {state}" for state, count in counts.items()) + ", in turn"


def run_case(case: DrillCase, pictures: Pictures, consistency: ConsistencySettings | None = None) -> Outcome:
    """Stream the case's frames through the session; the same frames every time.

    Args:
        consistency: limits of the image check; None: the product's.
    """
    settings = GeometrySettings()
    drill = _Drill(case, settings, consistency or ConsistencySettings())
    carm = SimulatedCArm(case.script)
    frames: list[ShownFrame] = []
    for index in range(case.frames):
        carm.advance()
        stop = carm.stop
        exposed = pictures.exposed(case.patient, stop.gantry, case.script.exposure)
        at_ns = round(index * _NS / case.script.rate_hz)
        sent = carm.frame(exposed, _UNIX_NS + at_ns)
        delay_ns = round(case.delay_s * _NS) if index >= case.begins else 0
        frames.append(drill.take(index, sent, at_ns, at_ns + delay_ns))
    return Outcome(
        case=case,
        before=tuple(frames[: case.begins]),
        shown=tuple(frames[case.begins :]),
    )


class _Drill:
    """The server's part: one session and its measuring, with the truth of each picture kept aside."""

    def __init__(self, case: DrillCase, settings: GeometrySettings, consistency: ConsistencySettings) -> None:
        self._case = case
        self._targets = targets_lps_mm(case.patient.paths)
        self._decoder = Decoder(maximum_body_bytes=_MAXIMUM_BODY)
        self._measuring = FrameMeasuring()
        self._truth: dict[int, tuple[F64, int]] = {}
        self._exposed_ns: dict[int, int] = {}
        self._sequence = 0
        planned = case_with(case.cbct, case.patient.paths)
        self._session = Session(settings=settings, consistency=consistency, case=planned)
        if case.cbct.watch is not None:
            made = Planned(watch=(watch_key(planned), *case.cbct.watch))
            self._take(PlanWorkedOut(made), 0)
        self._on_screen: InputTrack | None = None

    def take(self, index: int, sent: SentFrame, exposed_ns: int, received_ns: int) -> ShownFrame:
        """One frame of the stream; what stands on the screen then."""
        self._exposed_ns[index] = exposed_ns
        # Bytes come in the order of the pictures: the new one's, then those of one that was kept back.
        pictures = [one for one in (sent, sent.late) if one is not None and one.pixels is not None]
        for message in self._messages(sent):
            if isinstance(message, Transform):
                matrix = np.eye(4)
                matrix[:3] = np.array(message.matrix).reshape(4, 3).T
                sample = TransformSample(
                    name=message.device,
                    matrix=matrix,
                    timestamp_igtl=message.timestamp_igtl,
                    received_ns=_MONOTONIC_NS + received_ns,
                    connection_id=1,
                )
                self._take(TransformArrived(sample), received_ns)
            else:
                self._sequence += 1
                truth = pictures.pop(0)
                assert truth.pixel_from_patient is not None
                self._truth[self._sequence] = (truth.pixel_from_patient, truth.taken)
                frame = fluoro_frame(
                    message,
                    received_ns=_MONOTONIC_NS + received_ns,
                    connection_id=1,
                    sequence=self._sequence,
                )
                self._take(FrameArrived(frame), received_ns)
        self._take(Tick(), received_ns)
        return self._shown(index, received_ns)

    def _messages(self, sent: SentFrame) -> Iterator[Image | Transform]:
        for chunk in sent.chunks:
            view = memoryview(chunk).cast("B")
            while len(view):
                room = self._decoder.next_buffer()
                count = min(len(room), len(view))
                room[:count] = view[:count]
                self._decoder.advance(count)
                view = view[count:]
                while (message := self._decoder.next_event()) is not None:
                    if isinstance(message, Image | Transform):
                        yield message

    def _take(self, event: Event, received_ns: int) -> None:
        effects: Sequence[Effect]
        self._session, effects = step(self._session, event, _MONOTONIC_NS + received_ns)
        for effect in effects:
            if isinstance(effect, MeasureFrame):
                self._take(self._measuring.measured(effect), received_ns)
            elif isinstance(effect, DrawFrame):
                self._on_screen = effect.track

    def _shown(self, index: int, received_ns: int) -> ShownFrame:
        track = self._on_screen
        if track is None or track.frame is None:
            return ShownFrame(
                index=index,
                state=GeometryState.ABSENT,
                code="no_frame",
                reason="no frame yet",
                check="",
                drawn=False,
                error_mm=None,
                told_mm=None,
                age_s=0.0,
                residual_mm=None,
                smoothed_mm=None,
            )
        truth, taken = self._truth[track.frame.sequence]
        verdict = track.verdict
        drawn = [n for n, place in enumerate(track.places) if place.drawn]
        shown = [places if (places := track.places[n].target_px) is not None else (math.inf, math.inf) for n in drawn]
        told = (
            None if track.measured_with is None else _places(np.array(track.measured_with).reshape(3, 4), self._targets)
        )
        return ShownFrame(
            index=index,
            state=verdict.state,
            code=verdict.code,
            reason=verdict.reason,
            check=verdict.check.state.value,
            drawn=bool(drawn),
            error_mm=self._off_mm(np.array(shown), truth, drawn) if drawn else None,
            told_mm=None if told is None else self._off_mm(told, truth, range(len(told))),
            age_s=(received_ns - self._exposed_ns[taken]) / _NS,
            residual_mm=verdict.check.raw_mm,
            smoothed_mm=verdict.check.residual_mm,
        )

    def _off_mm(self, places_px: F64, truth: F64, which: Sequence[int]) -> float:
        """The worst target's distance from where it truly is: px over focal length times depth."""
        if self._case.is_anothers:
            return math.inf
        targets = self._targets[list(which)]
        focal_px = math.sqrt(abs(np.linalg.det(truth[:, :3])))
        depth_mm = targets @ truth[2, :3] + truth[2, 3]
        off_px = np.linalg.norm(places_px - _places(truth, targets), axis=1)
        return float((off_px * depth_mm / focal_px).max())


def _places(matrix: F64, points_lps_mm: F64) -> F64:
    uvw = points_lps_mm @ matrix[:, :3].T + matrix[:, 3]
    return np.asarray(uvw[:, :2] / uvw[:, 2:])
