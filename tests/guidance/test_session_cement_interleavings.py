"""Cement among everything else in any order: no place of a former registration or run, no zone, no alert is lost."""

from __future__ import annotations

import contextlib

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guidance.case import create_zone, delete_zone
from guidance.errors import CaseError
from guidance.messages import (
    CementMaterial,
    CementSeen,
    CementState,
    CementView,
    FluoroFrame,
    InjectorReading,
    SiteInView,
)
from guidance.session import (
    AlertAcknowledged,
    CementStarted,
    CementStopped,
    DrawFrame,
    Effect,
    Event,
    FrameArrived,
    FrameMeasured,
    InjectorTold,
    MeasureFrame,
    PublishAlerts,
    PublishCement,
    Tick,
    step,
)
from tests.guidance.test_session_interleavings import ANGLES_DEG, DEVICES, SHIFTS_MM, World
from tests.helpers.live_session import MS, live_frame

MM_PER_PX = 0.1875
PICTURE = np.full((64, 64), 7, np.uint16)
MASK = np.zeros((64, 64), np.uint8)
MASK[20:30, 20:30] = 1
MASK.setflags(write=False)
SHAPE = {"type": "sphere", "center_lps_mm": [20.0, 0.0, 0.0], "radius_mm": 5.0}
ZONE = {"name": "S1", "site": "foramen", "side": "left", "kind": "keep_out", "shape": SHAPE}

moves = st.lists(
    st.one_of(
        st.tuples(st.just("frame"), st.sampled_from(DEVICES), st.sampled_from(ANGLES_DEG), st.booleans()),
        st.tuples(st.just("stream"), st.sampled_from(DEVICES)),
        st.tuples(st.just("measured"), st.integers(0, 5)),
        st.tuples(st.just("answered late"), st.integers(0, 5)),
        st.tuples(st.just("patient moves"), st.sampled_from(SHIFTS_MM)),
        st.tuples(st.just("register"), st.sampled_from(SHIFTS_MM)),
        st.tuples(st.just("drop")),
        st.tuples(st.just("taken back")),
        st.tuples(st.just("volume"), st.sampled_from(("v1", "v2", ""))),
        st.tuples(st.just("watch"), st.booleans()),
        st.tuples(st.just("close"), st.sampled_from((1, 2))),
        st.tuples(st.just("time"), st.sampled_from((1, 40, 600, 3000))),
        st.tuples(st.just("tick")),
        st.tuples(st.just("start")),
        st.tuples(st.just("stop")),
        st.tuples(st.just("reading"), st.floats(0.0, 9.0), st.booleans()),
        st.tuples(st.just("acknowledge"), st.integers(0, 3)),
        st.tuples(st.just("zone")),
        st.tuples(st.just("zone deleted"), st.integers(0, 3)),
        st.tuples(st.just("near"), st.booleans()),
        st.tuples(st.just("sight"), st.booleans()),
    ),
    max_size=50,
)


def told_px(epoch: int, *, near: bool) -> float:
    """Distances tell by which registration they were measured."""
    return -float(20 + epoch) if near else 100.0 + 40.0 * epoch


class CementWorld(World):
    """The world with a tracker in its compute thread, whose distances tell what they were measured by."""

    def __init__(self) -> None:
        self.near, self.sight = False, True
        self.told: list[FrameMeasured] = []  # answers, to come once more
        self.counted: set[tuple[str, int]] = set()  # frames whose geometry was told
        super().__init__()

    def take(self, event: Event) -> None:
        before = self.session
        super().take(event)
        _, effects = step(before, event, self.now_ns)  # the same again: it is a pure function
        self.check_told(event, before.cement.state, effects)
        cement, case = self.session.cement, self.session.case
        assert [site.zone_id for site in cement.sites] == [zone.id for zone in case.zones]
        gone = {alert.id for alert in before.alerts.alerts if alert.acknowledged_by is None} - {
            alert.id for alert in self.session.alerts.alerts
        }
        assert not gone or isinstance(event, AlertAcknowledged)
        if cement.run is None:
            assert cement.state is CementState.IDLE
            assert not cement.conditions
            assert not cement.inputs
            assert all(track.cement is None for track in self.session.inputs.values())
            assert all(site.distance_mm is None and site.status is None for site in cement.sites)
            assert not any(alert.present for alert in self.session.alerts.alerts)
            return
        assert all(seen.run == cement.run.number for seen in cement.seen.values())
        self.check_places()
        if isinstance(event, Tick) and cement.state is CementState.TRACKING and cement.inputs:
            gap_ns = self.session.cement_settings.gap_s * 1e9
            longest = max(max(gap_ns, 3 * each.interval_ns) for each in cement.inputs.values())
            newest = max(seen.view.received_ns for seen in cement.seen.values() if seen.view.seen)
            assert self.now_ns - newest <= longest
        present = {(each.kind, each.zone_id) for each in cement.conditions if each.priority.value != "none"}
        latched = {(each.condition.kind, each.condition.zone_id) for each in self.session.alerts.alerts}
        assert present <= latched

    def check_told(self, event: Event, state: CementState, effects: list[Effect]) -> None:
        kinds = [type(effect) for effect in effects]
        if self.session.cement.state is not state:
            assert PublishCement in kinds
            if not isinstance(event, CementStarted | FrameArrived | FrameMeasured):
                drawn = {effect.track.device for effect in effects if isinstance(effect, DrawFrame)}
                assert drawn == set(self.session.inputs)
        if DrawFrame in kinds:
            first = kinds.index(DrawFrame)
            assert all(kinds.index(kind) < first for kind in (PublishCement, PublishAlerts) if kind in kinds)

    def check_places(self) -> None:
        """What is known of places is of the registration that holds now, and of frames with geometry."""
        cement, epoch = self.session.cement, self.session.case.epoch
        wanted = [told_px(epoch, near=near) for near in (False, True)]
        for look in cement.looks:
            for site in look.seen.sites:
                assert site.distance_px is None or site.distance_px in wanted
            for approach in look.approaches.values():
                low, high = sorted(MM_PER_PX * px for px in wanted)
                assert low - 1.0 <= approach.distance_mm <= high + 1.0
                assert approach.count <= len([1 for device, _ in self.counted if device == look.device])

    def move(self, kind: str, *values: object) -> None:
        case = self.session.case
        match kind, values:
            case "stream", (str(device),):
                for _ in range(6):
                    self.move("time", 40)
                    self.move("frame", device, "0", True)
                    while self.asked:
                        self.move("measured", 0)
            case "measured", (int(index),) if self.asked:
                answer = self.answer(self.asked.pop(index % len(self.asked)))
                self.told = [*self.told[-5:], answer]
                self.take(answer)
            case "answered late", (int(index),) if self.told:
                self.take(self.told[index % len(self.told)])
            case "start", _:
                self.take(CementStarted(material=CementMaterial(opacity_per_mm=0.06)))
            case "stop", _:
                self.take(CementStopped())
            case "reading", (float(volume_ml), bool(running)):
                told = InjectorReading(
                    volume_ml=volume_ml,
                    flow_ml_s=None,
                    pressure_bar=None,
                    elapsed_s=None,
                    running=running,
                    received_ns=self.now_ns,
                )
                self.take(InjectorTold(told))
            case "acknowledge", (int(index),):
                alerts = self.session.alerts.alerts
                self.take(AlertAcknowledged(alerts[index % len(alerts)].id if alerts else "A9", "nurse"))
            case "zone", _:
                self.edit(create_zone(case, ZONE)[0])
            case "zone deleted", (int(index),) if case.zones:
                self.edit(delete_zone(case, case.zones[index % len(case.zones)].id))
            case "near", (bool(near),):
                self.near = near
            case "sight", (bool(sight),):
                self.sight = sight
            case _:
                super().move(kind, *values)

    def frame(self, device: str, angle_deg: str, live: bool) -> FluoroFrame:
        return live_frame(
            self.number,
            self.now_ns / MS,
            device=device,
            connection_id=1 + DEVICES.index(device),
            pixels=PICTURE,
            metadata={
                "XRay.PrimaryAngleDeg": angle_deg,
                "XRay.Live": "1" if live else "0",
                "XRay.IsocenterProjectionPx": "511.5 511.5",
            },
        )

    def answer(self, asked: MeasureFrame) -> FrameMeasured:
        wanted = asked.cement
        cement = None
        if wanted is not None:
            frame = wanted.frame
            known = frame.pixel_from_patient is not None
            if known and self.sight:
                self.counted.add((frame.device, frame.sequence))
            view = CementView(
                device=frame.device,
                sequence=frame.sequence,
                frame_number=frame.frame_number,
                received_ns=frame.received_ns,
                time_s=(frame.time_ns - wanted.run.started_ns) / 1e9,
                seen=self.sight,
                code="" if self.sight else "black",
                reason="" if self.sight else "the picture is black",
                pixel_from_patient=frame.pixel_from_patient,
                mm_per_px=MM_PER_PX if known else None,
                mask=MASK if self.sight else None,
                area_px=100.0,
            )
            distance = told_px(wanted.scene.epoch, near=self.near) if known else None
            sites = tuple(
                SiteInView(zone_id=zone.id, distance_px=distance, sigma_px=1.0) for zone in self.session.case.zones
            )
            cement = CementSeen(run=wanted.run.number, view=view, sites=sites if self.sight else ())
        if asked.watch is None:
            return FrameMeasured(
                track=asked.track,
                pixel_from_patient=asked.pixel_from_patient,
                watch=None,
                measurement=None,
                cement=cement,
            )
        held = super().answer(asked)
        return FrameMeasured(
            track=held.track,
            pixel_from_patient=held.pixel_from_patient,
            watch=held.watch,
            measurement=held.measurement,
            cement=cement,
        )


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(moves)
def test_cement_among_everything_else(happening: list[tuple[object, ...]]) -> None:
    world = CementWorld()
    for opening in (("zone",), ("stream", DEVICES[0]), ("start",), ("stream", DEVICES[0])):
        world.move(*opening)
    for kind, *values in happening:
        with contextlib.suppress(CaseError):  # what is refused changes nothing
            world.move(str(kind), *values)
    while world.asked:
        world.move("measured", 0)
    assert world.session.pending == {}
