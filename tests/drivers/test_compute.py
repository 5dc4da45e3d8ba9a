"""The compute thread draws a scene as it is meant: what lies under stays under."""

import threading

import numpy as np

from drivers.compute import ComputeThread, FrameJob
from guidance.messages import PlannedPath, SphereShape, Zone, ZoneKind, ZoneSite
from guidance.overlay.zones import ZonesOnPicture
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

    thread = ComputeThread(deliver, lambda measured: None, fail)
    thread.start()
    try:
        thread.submit(FrameJob(track=track, frame=track.frame, again=False, make_scene=lambda: scene))
        assert done.wait(30.0)
    finally:
        thread.stop()
    np.testing.assert_array_equal(layers[0], expected)
