"""The C-arm's sockets: dials and listens, pyigtl reads it, a peer that goes is let go, refusals are counted."""

from __future__ import annotations

import asyncio

import numpy as np
import pyigtl
import pytest

from guidance.wire.openigtlink import Decoder, Image, Status, pack
from simulators.carm import CArmScript, Stop, sweep
from simulators.carm_stream import CArmStream, PictureCache, biplane
from simulators.gantry import Gantry
from simulators.scene import Exposure

SMALL = Gantry(detector_rows=48, detector_columns=64, pitch_row_mm=2.5, pitch_column_mm=2.5)
SCRIPT = CArmScript(stops=(Stop(gantry=SMALL, frames=4),), rate_hz=100.0)
PATIENCE_S = 20.0


async def read_images(reader: asyncio.StreamReader, count: int) -> list[Image]:
    decoder, images = Decoder(), []
    while len(images) < count:
        data = await reader.read(65536)
        if not data:
            break
        view = memoryview(data)
        while len(view):
            room = decoder.next_buffer()
            taken = min(len(room), len(view))
            room[:taken] = view[:taken]
            decoder.advance(taken)
            view = view[taken:]
            while (event := decoder.next_event()) is not None:
                assert isinstance(event, Image)
                images.append(event)
    return images


async def test_it_dials_a_server_and_counts_its_refusals(block_scene):
    received: asyncio.Queue[list[Image]] = asyncio.Queue()

    async def serve(reader, writer):
        writer.write(pack(Status(device="Guidance", code=12, error_name="ScalarType")))
        await received.put(await read_images(reader, 6))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    stream = CArmStream(block_scene, [SCRIPT], connect=server.sockets[0].getsockname()[:2])
    async with asyncio.timeout(PATIENCE_S):
        running = asyncio.create_task(stream.run())
        images = await received.get()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    server.close()
    await server.wait_closed()
    assert [image.metadata["XRay.FrameNumber"] for image in images] == list("123456")
    stamps = [image.timestamp_igtl for image in images]
    assert stamps == sorted(set(stamps))
    assert stream.report.refusals == {"ScalarType": 1}


async def test_it_dials_again_after_a_hang_up(block_scene):
    connections: asyncio.Queue[int] = asyncio.Queue()

    async def serve(reader, writer):
        await reader.read(100)
        await connections.put(1)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    stream = CArmStream(block_scene, [SCRIPT], connect=server.sockets[0].getsockname()[:2])
    async with asyncio.timeout(PATIENCE_S):
        running = asyncio.create_task(stream.run())
        for _ in range(2):
            await connections.get()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    server.close()
    await server.wait_closed()
    assert stream.report.connections >= 2


async def test_pyigtl_reads_it_as_a_server(block_scene):
    stream = CArmStream(block_scene, [SCRIPT], listen=("127.0.0.1", 0))
    async with asyncio.timeout(PATIENCE_S):
        running = asyncio.create_task(stream.run())
        await stream.listening.wait()
        client = await asyncio.to_thread(pyigtl.OpenIGTLinkClient, *stream.address)
        try:
            message = await asyncio.to_thread(client.wait_for_message, "Fluoro", timeout=PATIENCE_S)
        finally:
            await asyncio.to_thread(client.stop)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert message.image.shape == (1, 48, 64)
    assert message.image.dtype == np.uint16
    assert message.metadata["XRay.KVp"] == "80"


async def test_a_number_of_frames_and_then_the_end(block_scene):
    stream = CArmStream(block_scene, biplane(SCRIPT, SMALL), listen=("127.0.0.1", 0))
    async with asyncio.timeout(PATIENCE_S):
        running = asyncio.create_task(stream.run(frames=5, render_ahead=True))
        await stream.listening.wait()
        reader, writer = await asyncio.open_connection(*stream.address)
        images = await read_images(reader, 10)
        report = await running
        writer.close()
    assert [image.device for image in images] == ["FluoroA", "FluoroB"] * 5
    assert (report.frames, report.connections) == (10, 1)


async def test_moving_waits_for_the_picture_but_the_stream_does_not(block_scene):
    """Every frame that is sent shows the pose that its metadata tell."""
    there = Gantry(primary_deg=60, detector_rows=48, detector_columns=64, pitch_row_mm=2.5, pitch_column_mm=2.5)
    stops = (Stop(gantry=SMALL, frames=1), *sweep(SMALL, there, poses=3, frames_each=1), Stop(gantry=there, frames=1))
    stream = CArmStream(block_scene, [CArmScript(stops=stops, rate_hz=100.0)], listen=("127.0.0.1", 0))
    async with asyncio.timeout(PATIENCE_S):
        running = asyncio.create_task(stream.run(frames=60))
        await stream.listening.wait()
        reader, writer = await asyncio.open_connection(*stream.address)
        images = await read_images(reader, 60)
        await running
        writer.close()
    angles = [float(image.metadata["XRay.PrimaryAngleDeg"]) for image in images]
    assert set(angles) == {0.0, 15.0, 30.0, 45.0, 60.0}
    assert angles[:1] == [0.0]
    by_angle = {angle: image.pixels.astype(float) for angle, image in zip(angles, images, strict=True)}
    assert np.abs(by_angle[0.0] - by_angle[60.0]).mean() > 100.0


async def test_the_cache_forgets_the_longest_unused(block_scene):
    cache = PictureCache(block_scene, limit_bytes=2 * 3 * 48 * 64)
    gantries = [Gantry(primary_deg=p, detector_rows=48, detector_columns=64) for p in (0, 10, 20)]
    for gantry in gantries:
        await cache.wait(gantry, Exposure())
    assert cache.get(gantries[2], Exposure()) is not None
    assert cache.get(gantries[1], Exposure()) is not None
    assert cache.get(gantries[0], Exposure()) is None
    await cache.close()


@pytest.mark.parametrize("listen", [("127.0.0.1", 1), ("203.0.113.1", 0)])
async def test_a_port_that_cannot_be_had_is_an_error(block_scene, listen):
    if listen[1] == 1:
        occupied = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        listen = occupied.sockets[0].getsockname()[:2]
    stream = CArmStream(block_scene, [SCRIPT], listen=listen)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(OSError, match=r"address|assign"):
            await stream.run(frames=1)
    if listen[0] == "127.0.0.1":
        occupied.close()
        await occupied.wait_closed()
