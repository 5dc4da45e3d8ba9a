"""The failure drill: a lying stream through codec, session and measuring as in the server, without socket or clock."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from drivers.commands.fault_outcome import DrillCase, Outcome, ShownFrame
from drivers.commands.fault_scene import Pictures, case_with, targets_lps_mm
from drivers.frame_measuring import FrameMeasuring
from guidance.cement.engine import CementEngine
from guidance.config import CementSettings, ConsistencySettings, GeometrySettings
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
from simulators.carm import SentFrame, SimulatedCArm

_NS: Final = 1_000_000_000
_UNIX_NS: Final = 1_700_000_000 * _NS
_MONOTONIC_NS: Final = 500 * _NS
_MAXIMUM_BODY: Final = 1 << 26


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
        before=tuple(frames[: case.begins - case.settles]),
        shown=tuple(frames[case.begins :]),
    )


class _Drill:
    """The server's part: one session and its measuring, with the truth of each picture kept aside."""

    def __init__(self, case: DrillCase, settings: GeometrySettings, consistency: ConsistencySettings) -> None:
        self._case = case
        self._targets = targets_lps_mm(case.patient.paths)
        self._decoder = Decoder(maximum_body_bytes=_MAXIMUM_BODY)
        self._measuring = FrameMeasuring(CementEngine(CementSettings()))
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
