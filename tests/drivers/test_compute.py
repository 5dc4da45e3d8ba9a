"""The compute thread draws a scene as it is meant; what no frame waits for is done between frames."""

import contextlib
import queue
import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from drivers.compute import ComputeThread, FrameJob
from guidance.cement.engine import CementEngine
from guidance.config import CementSettings
from guidance.consistency import watch_volume
from guidance.consistency.measurement import Measurement
from guidance.messages import PlannedPath, SphereShape, Zone, ZoneKind, ZoneSite
from guidance.overlay.pieces import Scene
from guidance.overlay.zones import ZonesOnPicture
from guidance.session import FrameMeasured, MeasureFrame
from guidance.tracking.known_metal import NO_METAL
from tests.helpers.drawn import draw, track_of, view
from tests.helpers.surfaces import ball

PATH = PlannedPath(id="P1", entry_lps_mm=(45, 3, 5), target_lps_mm=(-45, 0, -9), diameter_mm=6.0, color="#00ff00")
ZONE = Zone(
    id="Z1",
    name="canal",
    site=ZoneSite.CANAL,
    kind=ZoneKind.KEEP_OUT,
    shape=SphereShape(center_lps_mm=(0.0, 0.0, 0.0), radius_mm=20.0),
)


def test_zones_lie_under_the_paths_of_a_composed_frame() -> None:
    scene, expected = draw((PATH,), view(12), zones=ZonesOnPicture(((ZONE, ball((0, 0, 0), 20.0)),)))
    assert scene.under
    track = track_of((PATH,), view(12))
    done = threading.Event()
    layers = []

    def deliver(composed) -> None:
        layers.append(composed.lease.buffers.layer.copy())
        done.set()

    def fail(error: BaseException) -> None:
        layers.append(error)
        done.set()

    thread = ComputeThread(deliver, lambda measured: None, fail, CementEngine(CementSettings()))
    thread.start()
    try:
        thread.submit(FrameJob(track=track, frame=track.frame, again=False, make_scene=lambda: scene))
        assert done.wait(30.0)
    finally:
        thread.stop()
    np.testing.assert_array_equal(layers[0], expected)


class Measuring:
    """Stands in for what measures; notes what it is asked, and holds on until it may go on."""

    def __init__(self) -> None:
        self.calls: queue.Queue[tuple[str, int]] = queue.Queue()
        self.go_on = threading.Semaphore(0)

    def measured(self, asked: MeasureFrame) -> FrameMeasured:
        self.calls.put(("measured", asked.track.frames))
        assert self.go_on.acquire(timeout=30.0)
        return FrameMeasured(
            track=asked.track,
            pixel_from_patient=asked.pixel_from_patient,
            watch=asked.watch,
            measurement=Measurement(picture_shows=0.0, projection_shows=0.0, xray_like=False),
        )

    def catch_up(self) -> None:
        self.calls.put(("caught up", 0))

    def look_around(self, asked: MeasureFrame) -> None:
        self.calls.put(("around", asked.track.frames))


@contextlib.contextmanager
def measuring() -> Iterator[tuple[ComputeThread, Measuring]]:
    cement = CementEngine(CementSettings())
    thread = ComputeThread(lambda composed: None, lambda measured: None, lambda error: None, cement)
    work = Measuring()
    thread._measuring = work  # its methods are all that is called
    thread.start()
    try:
        yield thread, work
    finally:
        work.go_on.release()
        thread.stop()


def asked(frames: int) -> MeasureFrame:
    track = replace(track_of((PATH,), view(12)), frames=frames)
    watch = watch_volume(np.zeros((20, 20, 20), np.int16), np.diag([5.0, 5.0, 5.0, 1.0]))
    return MeasureFrame(track, tuple(view(12)), watch, (PATH,), NO_METAL)


def test_every_fourth_frame_is_searched_along_all_paths_once_no_frame_waits_for_it() -> None:
    with measuring() as (thread, work):
        thread.measure(asked(4))
        assert work.calls.get(timeout=30.0) == ("measured", 4)
        thread.measure(asked(5))  # waits already when the search could begin
        work.go_on.release()
        assert work.calls.get(timeout=30.0) == ("measured", 5)
        scene = draw((PATH,), view(12))[0]
        track = asked(4).track
        assert track.frame is not None
        # The search never comes between a frame's measuring and its drawing.
        thread.submit(FrameJob(track=track, frame=track.frame, again=False, make_scene=lambda: scene))
        work.go_on.release()
        assert {work.calls.get(timeout=30.0) for _ in range(2)} == {("caught up", 0), ("around", 4)}


def test_what_cement_is_in_3d_is_worked_out_when_no_frame_waits() -> None:
    with measuring() as (thread, work):
        scene = draw((PATH,), view(12))[0]
        track = asked(5).track
        assert track.frame is not None
        begun, go_on = threading.Event(), threading.Event()

        def held_up() -> Scene:
            begun.set()
            assert go_on.wait(30.0)
            return scene

        thread.submit(FrameJob(track=track, frame=track.frame, again=False, make_scene=held_up))
        assert begun.wait(30.0)
        thread.measure(asked(6))  # waits already when the first is drawn
        go_on.set()
        assert work.calls.get(timeout=30.0) == ("measured", 6)
        work.go_on.release()
        assert work.calls.get(timeout=30.0) == ("caught up", 0)


def test_where_a_frame_always_waits_it_is_worked_out_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.compute._OVERDUE_NS", -1)
    with measuring() as (thread, work):
        scene = draw((PATH,), view(12))[0]
        track = asked(5).track
        assert track.frame is not None

        def at_once() -> Scene:
            thread.measure(asked(6))
            return scene

        thread.submit(FrameJob(track=track, frame=track.frame, again=False, make_scene=at_once))
        assert work.calls.get(timeout=30.0) == ("caught up", 0)
        assert work.calls.get(timeout=30.0) == ("measured", 6)


def test_where_a_frame_always_waits_all_paths_are_still_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.compute._OVERDUE_NS", -1)
    with measuring() as (thread, work):
        thread.measure(asked(4))
        assert work.calls.get(timeout=30.0) == ("measured", 4)
        thread.measure(asked(5))
        work.go_on.release()
        assert work.calls.get(timeout=30.0) == ("around", 4)
        assert work.calls.get(timeout=30.0) == ("measured", 5)
