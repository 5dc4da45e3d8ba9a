"""Cement in real time: the frames on the wire are the pictures, and growth waits until somebody follows it."""

from __future__ import annotations

import asyncio
import itertools
import socket

import numpy as np
import pytest

from guidance.errors import ConfigError
from guidance.kernels.drr import ProjectionVolume
from guidance.wire.openigtlink import Decoder, Image
from simulators.cement.demo import RATE_HZ, REFERENCE_FRAMES, demo_injection, demo_shots
from simulators.cement.imaging import CementImaging, CementTechnique, ImagedView
from simulators.cement.injection import InjectionCurve
from simulators.cement.looks import Shot
from simulators.cement.stream import CementStream
from simulators.demo_zones import demo_zones
from simulators.gantry import Gantry
from simulators.injector import SimulatedInjector
from simulators.pelvis import ProceduralPelvis
from simulators.suite import SimulatedSuite, SuitePlan
from tests.helpers.grown_ball import grown_ball, water_block

WITHIN_S = 20
SMALL = Gantry(detector_rows=48, detector_columns=64, pitch_row_mm=2.5, pitch_column_mm=2.5)
SHOTS = tuple(
    Shot(view_index=n % 2, t_s=t_s, frame_index=n // 2) for n, t_s in enumerate((-0.02, -0.01, 0.0, 0.01, 0.02, 0.03))
)


def imaging():
    block = water_block()
    views = [ImagedView(gantry=SMALL, device="FluoroA"), ImagedView(gantry=SMALL, device="FluoroB")]
    volume = ProjectionVolume(block.voxels_hu, block.affine_lps_from_ijk)
    return CementImaging(volume, grown_ball(duration_s=0.04), CementTechnique(rate_hz=200.0), views)


class Heard:
    """Who listens: what came so far."""

    def __init__(self, address):
        self._socket = socket.create_connection(address)
        self._socket.setblocking(False)
        self._decoder = Decoder()

    async def images(self, count):
        loop, found = asyncio.get_running_loop(), []
        async with asyncio.timeout(WITHIN_S):
            while True:
                while len(found) < count and (event := self._decoder.next_event()) is not None:
                    assert isinstance(event, Image)
                    found.append((event, np.array(event.pixels)))
                if len(found) == count:
                    return found
                received = await loop.sock_recv_into(self._socket, self._decoder.next_buffer())
                assert received, "the stream has ended"
                self._decoder.advance(received)

    def close(self):
        self._socket.close()


@pytest.fixture
async def listening():
    """Starts a stream that listens, and ends it."""
    running, heard = [], []

    async def start(stream, **told):
        running.append(asyncio.create_task(stream.run(**told)))
        async with asyncio.timeout(WITHIN_S):
            await stream.peers.listening.wait()
        heard.append(Heard(stream.peers.address))
        return running[-1], heard[-1]

    yield start
    for each in heard:
        each.close()
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_what_is_on_the_wire_is_what_was_taken(listening):
    stream = CementStream(imaging(), SHOTS, listen=("127.0.0.1", 0))
    running, heard = await listening(stream)
    got = await heard.images(len(SHOTS))
    report = await running
    assert (report.frames, report.connections, report.dropped) == (6, 1, 0)
    again = imaging()
    for (image, pixels), shot in zip(got, SHOTS, strict=True):
        picture = again.picture(shot.view_index, shot.t_s, shot.frame_index)
        np.testing.assert_array_equal(pixels, picture.pixels)
        assert (image.device, image.metadata) == (picture.device, dict(picture.metadata))
    assert [image.metadata["XRay.FrameNumber"] for image, _ in got] == ["1", "1", "2", "2", "3", "3"]
    stamps = [image.timestamp_igtl for image, _ in got]
    assert stamps == sorted(set(stamps))


async def test_growth_waits_until_it_is_let_go_and_frames_go_on(listening):
    stream = CementStream(imaging(), SHOTS, listen=("127.0.0.1", 0))
    running, heard = await listening(stream, hold=True)
    before = await heard.images(12)
    assert stream.reference_taken.is_set()
    assert stream.last.volume_ml == 0.0
    assert [image.device for image, _ in before[2:]] == ["FluoroB"] * 10
    numbers = [int(image.metadata["XRay.FrameNumber"]) for image, _ in before[1:]]
    assert numbers == list(range(1, 12))
    stream.begun.set()
    await running
    after = stream.last
    assert after.volume_ml == pytest.approx(1.5, rel=0.05)
    assert int(after.metadata["XRay.FrameNumber"]) > 12


async def test_a_stopped_injector_stops_the_growth_and_not_the_frames(listening):
    injector = SimulatedInjector(InjectionCurve(times_s=(0.0, 0.04), volumes_ml=(0.0, 2.0)))
    injector.command(b'{"command": "stop"}', 0.01)
    stream = CementStream(imaging(), SHOTS, listen=("127.0.0.1", 0), growth=injector.given_s)
    running, heard = await listening(stream)
    await heard.images(len(SHOTS))
    await running
    assert stream.last.t_s == 0.03
    assert stream.last.volume_ml == pytest.approx(0.5, rel=0.05)


def test_the_demonstrations_shots_are_a_reference_of_both_places_then_ap_with_looks_from_the_side():
    shots = list(itertools.islice(demo_shots(), 1000))
    before = [shot for shot in shots if shot.t_s < -1e-9]
    assert [shot.view_index for shot in before] == [1] * REFERENCE_FRAMES + [0] * REFERENCE_FRAMES
    times = np.array([shot.t_s for shot in shots])
    steps = np.diff(times)
    assert np.allclose(steps[steps < 1.0], 1.0 / RATE_HZ)
    assert (steps > 0.0).all()
    for view in (0, 1):
        indices = [shot.frame_index for shot in shots if shot.view_index == view]
        assert indices == list(range(len(indices)))
    assert {shot.view_index for shot in shots if shot.t_s > 0.0} == {0, 1}


@pytest.fixture(scope="module")
def pelvis():
    return ProceduralPelvis().volume(2.0, center_lps_mm=(34.0, 0.0, -10.0), size_mm=(90.0, 90.0, 90.0))


def test_the_demonstrations_cement_gets_into_the_foramen_in_good_time_and_nowhere_else(pelvis):
    zones = demo_zones("procedural")
    grown = demo_injection("procedural", pelvis, zones)
    assert grown is not None
    marked = {zone.id: zone for zone in grown.zones}
    touched = {name: truth.contact_s for name, truth in grown.zone_truth.items() if np.isfinite(truth.contact_s)}
    assert [marked[name].site for name in touched] == ["foramen"]
    assert 10.0 < min(touched.values()) < 30.0
    assert len(grown.zones) == len(zones)


def test_nobody_has_looked_where_cement_could_go_in_another_volume(pelvis):
    assert demo_injection("other", pelvis, []) is None


async def test_a_suite_without_cement_says_so(pelvis):
    path = {"entry_lps_mm": [0, 50, 0], "target_lps_mm": [0, 0, 0]}
    suite = SimulatedSuite(SuitePlan(volume=pelvis, paths=[path]))
    with pytest.raises(ConfigError, match="injects nothing"):
        await suite.injection()
