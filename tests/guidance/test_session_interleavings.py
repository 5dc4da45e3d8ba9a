"""Whatever comes in whatever order: nothing is drawn by a former registration, nor by one its picture contradicts."""

from __future__ import annotations

import contextlib
from functools import cache

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guidance.case import (
    Case,
    accept_registration,
    activate_volume,
    delete_path,
    drop_registration,
    update_path,
    volume_changed,
)
from guidance.consistency.volume import WatchVolume
from guidance.errors import CaseError
from guidance.messages import FluoroFrame, GeometryState, VolumeState
from guidance.session import (
    CaseEdited,
    ConnectionClosed,
    DrawFrame,
    Event,
    FrameArrived,
    FrameMeasured,
    InputTrack,
    MeasureFrame,
    Planned,
    PlanWorkedOut,
    Session,
    Tick,
    step,
    watch_key,
    watch_of,
)
from guidance.tracking.known_metal import NO_METAL
from tests.guidance.test_session_measured import AGREES, FAR_OFF, shifted, small_volume
from tests.helpers.live_session import MS, live_frame, planned_case, ready_volume

DEVICES = ("FluoroA", "FluoroB")
ANGLES_DEG = ("0", "20")
SHIFTS_MM = (0.0, 5.0, 9.0)
DRAWN = (GeometryState.TRUSTED, GeometryState.DEGRADED)

moves = st.lists(
    st.one_of(
        st.tuples(st.just("frame"), st.sampled_from(DEVICES), st.sampled_from(ANGLES_DEG), st.booleans()),
        st.tuples(st.just("measured"), st.integers(0, 5)),
        st.tuples(st.just("patient moves"), st.sampled_from(SHIFTS_MM)),
        st.tuples(st.just("register"), st.sampled_from(SHIFTS_MM)),
        st.tuples(st.just("drop")),
        st.tuples(st.just("taken back")),
        st.tuples(st.just("path moves"), st.floats(-20.0, 20.0)),
        st.tuples(st.just("path deleted")),
        st.tuples(st.just("volume"), st.sampled_from(("v1", "v2", ""))),
        st.tuples(st.just("watch"), st.booleans()),
        st.tuples(st.just("close"), st.sampled_from((1, 2))),
        st.tuples(st.just("time"), st.sampled_from((1, 40, 600, 3000))),
        st.tuples(st.just("tick")),
    ),
    max_size=40,
)


@cache
def told_matrix(angle_deg: str) -> np.ndarray:
    """What a stream at this angle tells, without registration and watch."""
    frame = live_frame(1, 0.0, metadata={"XRay.PrimaryAngleDeg": angle_deg})
    session, _ = step(Session(case=planned_case()), FrameArrived(frame), 0)
    return np.array(session.inputs["Fluoro"].verdict.pixel_from_patient).reshape(3, 4)


@cache
def watch() -> WatchVolume:
    return small_volume()


class World:
    """A server's session, a patient who truly lies somewhere, and a compute thread that answers in any order."""

    def __init__(self) -> None:
        case = volume_changed(planned_case(), ready_volume(id="v2", series_instance_uid="1.2.3.9"))
        self.session = Session(case=case)
        self.now_ns = 1_000_000_000
        self.number = 0
        self.true_mm = 0.0
        self.truth: dict[int, float] = {}  # by sequence: where the patient lay
        self.asked: list[MeasureFrame] = []
        self.held_against: set[int] = set()  # sequences of the frames that were
        self.earlier: list[Case] = [case]
        self.newest: dict[str, int] = {}
        self.take(PlanWorkedOut(Planned(watch=(watch_key(case), watch(), NO_METAL))))

    def take(self, event: Event) -> None:
        self.session, effects = step(self.session, event, self.now_ns)
        for effect in effects:
            if isinstance(effect, MeasureFrame):
                self.asked.append(effect)
            elif isinstance(effect, DrawFrame):
                self.check_shown(effect.track)
        for device, track in self.session.inputs.items():
            assert track.frame is not None
            assert track.frame.sequence >= self.newest.get(device, 0)
            self.newest[device] = track.frame.sequence
            self.check_shown(track)
        for device, track in self.session.pending.items():
            # Whoever waits to be measured has been asked for: else it would wait for ever.
            assert any(one.track.device == device and one.track.frame is track.frame for one in self.asked)

    def check_shown(self, track: InputTrack) -> None:
        if track.frame is not None and track.measured_with is not None:
            self.held_against.add(track.frame.sequence)
        if track.verdict.state not in DRAWN:
            assert track.verdict.pixel_from_patient is None
            assert not any(place.drawn for place in track.places)
            return
        assert track.frame is not None
        case = self.session.case
        motion = np.eye(4)
        if case.registration is not None:
            motion = np.array(case.registration.seen_lps_from_volume_lps).reshape(4, 4)
        told = told_matrix(track.frame.metadata["XRay.PrimaryAngleDeg"])
        shown = np.array(track.verdict.pixel_from_patient).reshape(3, 4)
        np.testing.assert_allclose(shown, told @ motion, rtol=1e-9, atol=1e-9)
        watched = watch_of(case, self.session.planned) is not None
        if watched and track.frame.sequence in self.held_against:
            # A picture that was held against the volume before is not shown by what it was never held against.
            assert abs(motion[0, 3] - self.truth[track.frame.sequence]) < 1e-9

    def edit(self, case: Case) -> None:
        self.earlier.append(self.session.case)
        self.take(CaseEdited(case))

    def move(self, kind: str, *values: object) -> None:
        case = self.session.case
        match kind, values:
            case "frame", (str(device), str(angle), bool(live)):
                self.number += 1
                self.truth[self.number] = self.true_mm
                self.take(FrameArrived(self.frame(device, angle, live)))
            case "measured", (int(index),) if self.asked:
                asked = self.asked.pop(index % len(self.asked))
                self.take(self.answer(asked))
            case "patient moves", (float(shift),):
                self.true_mm = shift
            case "register", (float(shift),):
                self.edit(accept_registration(case, shifted(shift)))
            case "drop", _:
                self.edit(drop_registration(case))
            case "taken back", _:
                self.take(CaseEdited(self.earlier[-1]))  # as where the audit could not be written
            case "path moves", (float(z),) if case.paths:
                self.edit(update_path(case, case.paths[0].id, {"entry_lps_mm": [50.0, 0.0, z]})[0])
            case "path deleted", _ if case.paths:
                self.edit(delete_path(case, case.paths[0].id))
            case "volume", (str(volume),):
                if volume:
                    self.edit(activate_volume(volume_changed(case, ready_volume(id=volume)), volume))
                else:
                    self.edit(volume_changed(case, ready_volume(state=VolumeState.REFUSED)))
            case "watch", (bool(there),):
                key = watch_key(case)
                self.take(PlanWorkedOut(Planned(watch=(key, watch(), NO_METAL) if there else None)))
            case "close", (int(connection),):
                self.take(ConnectionClosed(connection))
            case "time", (int(ms),):
                self.now_ns += ms * MS
            case "tick", _:
                self.take(Tick())

    def frame(self, device: str, angle_deg: str, live: bool) -> FluoroFrame:
        return live_frame(
            self.number,
            self.now_ns / MS,
            device=device,
            connection_id=1 + DEVICES.index(device),
            metadata={"XRay.PrimaryAngleDeg": angle_deg, "XRay.Live": "1" if live else "0"},
        )

    def answer(self, asked: MeasureFrame) -> FrameMeasured:
        """What holding the picture against the volume at the asked matrix shows."""
        frame = asked.track.frame
        assert frame is not None
        motion = np.eye(4)
        motion[0, 3] = self.truth[frame.sequence]
        true = told_matrix(frame.metadata["XRay.PrimaryAngleDeg"]) @ motion
        agrees = np.allclose(true, np.array(asked.pixel_from_patient).reshape(3, 4), rtol=1e-9, atol=1e-9)
        return FrameMeasured(
            track=asked.track,
            pixel_from_patient=asked.pixel_from_patient,
            watch=asked.watch,
            measurement=AGREES if agrees else FAR_OFF,
        )


@settings(max_examples=500, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(moves)
def test_nothing_is_drawn_by_a_former_or_a_contradicted_registration(happening: list[tuple[object, ...]]) -> None:
    world = World()
    for kind, *values in happening:
        with contextlib.suppress(CaseError):  # an edit that is refused changes nothing
            world.move(str(kind), *values)
    while world.asked:
        world.move("measured", 0)
    assert world.session.pending == {}
