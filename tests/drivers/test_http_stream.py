"""The live stream: message format, newest wins, acknowledgement, slow pages, foreign pages, heartbeat, closing."""

from __future__ import annotations

import asyncio
import itertools
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from drivers.http import HttpServer
from drivers.http_stream import StreamEndpoint
from guidance.config import HttpSettings
from guidance.messages import GeometryState, InputState
from guidance.ports import LiveUpdate
from guidance.shapes import GeometryAnswer, OverlayVector, PictureHeader
from tests.helpers.case_api import FakeCaseApi, input_geometry
from tests.helpers.cement import FakeCementApi
from tests.helpers.planning_api import FakePlanningApi
from tests.helpers.registration_api import FakeRegistrationApi

JPEG = b"\xff\xd8 a picture \xff\xd9"


@pytest.fixture
def api() -> FakeCaseApi:
    return FakeCaseApi()


@pytest.fixture
async def server(api: FakeCaseApi) -> AsyncIterator[HttpServer]:
    server = HttpServer(HttpSettings(port=0), api, FakePlanningApi(), FakeRegistrationApi(), FakeCementApi())
    await server.start()
    yield server
    await server.stop()


def update(sequence: int, device: str = "Fluoro", picture: bytes = JPEG) -> LiveUpdate:
    header = PictureHeader(
        device=device,
        sequence=sequence,
        frame_number=sequence + 100,
        width=1024,
        height=768,
        scale=0.5,
        age_ms=4.0,
        latency_ms=2.5,
        state=InputState.STREAMING,
        geometry_state=GeometryState.TRUSTED,
        reason="",
        epoch=1,
        overlay=(OverlayVector(kind="line", color="#56b4e9", points=(1.0, 2.0, 3.0, 4.0), path_id="P1"),),
    )
    state = GeometryAnswer(inputs={device: input_geometry(frame_number=sequence + 100)})
    return LiveUpdate(device=device, state=state, header=header, picture=picture)


def page(server: HttpServer, query: str = "", **options: Any) -> connect:
    return connect(f"ws://127.0.0.1:{server.port}/api/v1/stream{query}", proxy=None, **options)


async def next_picture(websocket: ClientConnection) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """(state, header, JPEG) of the next frame; heartbeats without a picture are passed over."""
    state: dict[str, Any] = {}
    async with asyncio.timeout(20):
        while True:
            message = await websocket.recv()
            if isinstance(message, bytes):
                (length,) = struct.unpack_from("<I", message)
                return state, json.loads(message[4 : 4 + length]), message[4 + length :]
            state = json.loads(message)


async def read_to_the_end(websocket: ClientConnection) -> None:
    while True:
        await websocket.recv()


async def test_state_then_header_and_picture(server: HttpServer, api: FakeCaseApi) -> None:
    async with page(server) as websocket:
        await api.wait_for_subscribers(1)
        api.deliver(update(7))
        state, header, picture = await next_picture(websocket)
        assert state["inputs"]["Fluoro"]["frame_number"] == header["frame_number"] == 107
        assert (header["device"], header["sequence"], header["scale"]) == ("Fluoro", 7, 0.5)
        assert header["overlay"][0]["points"] == [1.0, 2.0, 3.0, 4.0]
        assert picture == JPEG
        assert [client.frames for client in server.clients()] == [1]
    await api.wait_for_subscribers(0)
    assert server.clients() == ()


async def test_one_frame_in_flight_until_it_is_acknowledged(server: HttpServer, api: FakeCaseApi) -> None:
    async with page(server, "?ack=1") as websocket:
        await api.wait_for_subscribers(1)
        api.deliver(update(1))
        assert (await next_picture(websocket))[1]["sequence"] == 1
        for sequence in range(2, 6):
            api.deliver(update(sequence))
        await websocket.send('{"ack": 1}')
        assert (await next_picture(websocket))[1]["sequence"] == 5
        assert server.clients()[0].dropped == 3


async def test_state_goes_on_while_a_picture_is_in_flight(server: HttpServer, api: FakeCaseApi) -> None:
    async with page(server, "?ack=1") as websocket:
        await api.wait_for_subscribers(1)
        api.deliver(update(1))
        await next_picture(websocket)
        # Frames keep coming; that alone must not put the heartbeat off.
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(20):
            frames = tasks.create_task(deliver_forever(api))
            api.inputs = {"Fluoro": input_geometry(frame_number=4711)}
            assert json.loads(await websocket.recv())["inputs"]["Fluoro"]["frame_number"] == 4711
            frames.cancel()


async def deliver_forever(api: FakeCaseApi) -> None:
    for sequence in itertools.count(2):
        api.deliver(update(sequence))
        await asyncio.sleep(0.01)


async def test_newer_state_keeps_the_picture_that_waits(server: HttpServer, api: FakeCaseApi) -> None:
    async with page(server, "?ack=1") as websocket:
        await api.wait_for_subscribers(1)
        api.deliver(update(1))
        await next_picture(websocket)
        api.deliver(update(2))
        held = GeometryAnswer(inputs={"Fluoro": input_geometry(state=InputState.HELD)})
        api.deliver(LiveUpdate(device="Fluoro", state=held))
        await websocket.send("{}")
        state, header, _ = await next_picture(websocket)
        assert (state["inputs"]["Fluoro"]["state"], header["sequence"]) == ("held", 2)
        assert server.clients()[0].dropped == 0


async def test_client_that_never_acknowledges_gets_frames_too(server: HttpServer, api: FakeCaseApi) -> None:
    async with page(server) as websocket:
        await api.wait_for_subscribers(1)
        for sequence in range(3):
            api.deliver(update(sequence))
            assert (await next_picture(websocket))[1]["sequence"] == sequence


async def test_two_devices_do_not_replace_each_other(server: HttpServer, api: FakeCaseApi) -> None:
    async with page(server) as websocket:
        await api.wait_for_subscribers(1)
        api.deliver(update(1, "FluoroA"))
        api.deliver(update(1, "FluoroB"))
        seen = {(await next_picture(websocket))[1]["device"] for _ in range(2)}
        assert seen == {"FluoroA", "FluoroB"}


async def test_a_slow_page_sees_both_planes_in_turn(server: HttpServer, api: FakeCaseApi) -> None:
    seen: list[str] = []
    async with page(server, "?ack=1") as websocket:
        await api.wait_for_subscribers(1)
        # Both planes send together, again and again, while one picture is on its way to the page.
        for sequence in range(1, 9):
            for device in ("FluoroA", "FluoroB"):
                api.deliver(update(sequence, device))
            _, header, _ = await next_picture(websocket)
            seen.append(header["device"])
            for device in ("FluoroA", "FluoroB"):
                api.deliver(update(100 + sequence, device))
            await websocket.send(json.dumps({"ack": header["sequence"]}))
    assert seen == ["FluoroA", "FluoroB"] * 4


async def test_slow_page_loses_its_own_frames_only(server: HttpServer, api: FakeCaseApi) -> None:
    large = bytes(2_000_000)
    async with page(server, max_queue=1, max_size=None) as slow, page(server, max_size=None) as quick:
        await api.wait_for_subscribers(2)
        # The slow one does not read: its frames fill the socket, then its mailbox keeps only the newest.
        for sequence in range(30):
            api.deliver(update(sequence, picture=large))
            assert (await next_picture(quick))[1]["sequence"] == sequence
        by_frames = sorted(server.clients(), key=lambda client: client.frames)
        assert (by_frames[1].frames, by_frames[1].dropped) == (30, 0)
        assert by_frames[0].dropped > 0
        assert by_frames[0].frames < 30
        slow.transport.abort()


async def test_standing_stream_says_its_state(server: HttpServer, api: FakeCaseApi) -> None:
    api.inputs = {"Fluoro": input_geometry(state=InputState.SILENT, age_ms=5000.0)}
    async with page(server) as websocket, asyncio.timeout(20):
        told = json.loads(await websocket.recv())
        assert told["inputs"]["Fluoro"]["state"] == "silent"


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_foreign_page_is_kept_out(server: HttpServer, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        async with page(server, additional_headers=headers):
            pass


async def test_so_many_pages_and_no_more(server: HttpServer, api: FakeCaseApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.http_stream._MAXIMUM_CLIENTS", 1)
    async with page(server):
        await api.wait_for_subscribers(1)
        async with page(server) as second:
            with pytest.raises(ConnectionClosed, match="1013"):
                await second.recv()


async def test_stop_closes_pages_at_once(api: FakeCaseApi) -> None:
    server = HttpServer(HttpSettings(port=0), api, FakePlanningApi(), FakeRegistrationApi(), FakeCementApi())
    await server.start()
    async with page(server) as websocket:
        await api.wait_for_subscribers(1)
        async with asyncio.timeout(5):
            await server.stop()
            with pytest.raises(ConnectionClosed):
                await read_to_the_end(websocket)
    assert api.subscribers == []


async def test_stop_does_not_wait_for_a_page_that_reads_nothing(api: FakeCaseApi) -> None:
    server = HttpServer(HttpSettings(port=0), api, FakePlanningApi(), FakeRegistrationApi(), FakeCementApi())
    await server.start()
    async with page(server, max_queue=1, max_size=None) as stuck:
        await api.wait_for_subscribers(1)
        for sequence in range(10):
            api.deliver(update(sequence, picture=bytes(4_000_000)))
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await server.stop()
        stuck.transport.abort()
    await api.wait_for_subscribers(0)


def test_no_client_before_anyone_came(api: FakeCaseApi) -> None:
    assert StreamEndpoint(api, FakeCementApi()).clients() == ()
