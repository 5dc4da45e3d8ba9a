"""Nothing is lost silently: what is refused or dropped stays counted, also when whoever lost it has gone."""

from __future__ import annotations

import asyncio
import errno
import http.client
from pathlib import Path
from typing import Any

import pytest

from drivers.dicom_messages import LogLevel
from drivers.dicom_storage import DicomReception
from drivers.http import HttpServer
from drivers.http_connections import BoundedProtocol
from drivers.server import GuidanceServer
from guidance.config import DicomSettings, HttpSettings, settings_from_text
from guidance.messages import CbctVolume
from tests.helpers.case_api import FakeCaseApi
from tests.helpers.cement import FakeCementApi
from tests.helpers.planning_api import FakePlanningApi
from tests.helpers.registration_api import FakeRegistrationApi

_DEADLINE_S = 60.0


async def test_refused_requests_are_counted_by_status() -> None:
    server = HttpServer(HttpSettings(port=0), FakeCaseApi(), FakePlanningApi(), FakeRegistrationApi(), FakeCementApi())
    await server.start()

    def ask(path: str, **headers: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_DEADLINE_S)
        connection.request("POST", path, b"{", {"Content-Type": "application/json", **headers})
        status = connection.getresponse().status
        connection.close()
        return status

    try:
        assert await asyncio.to_thread(ask, "/api/v1/paths", Host="evil.example") == 421
        assert await asyncio.to_thread(ask, "/api/v1/paths", Origin="http://evil.example") == 403
        assert await asyncio.to_thread(ask, "/api/v1/paths") == 400
        assert dict(server.refused) == {"http_421": 1, "http_403": 1, "http_400": 1}
    finally:
        await server.stop()


async def test_an_error_in_what_reception_tells_is_not_swallowed(tmp_path: Path) -> None:
    """Reception would seem to go on, and no volume would ever come again."""
    told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.set_result(context.get("exception")))

    def on_count(code: str, amount: int) -> None:
        raise RuntimeError("a bug")

    def on_log(level: LogLevel, text: str) -> None:
        pass

    def on_volume(volume: CbctVolume) -> None:
        pass

    reception = DicomReception(DicomSettings(port=0), tmp_path, on_volume=on_volume, on_count=on_count, on_log=on_log)
    await reception.start()
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", reception.port)
        writer.close()  # counted: a connection without an association
        await writer.wait_closed()
        error = await asyncio.wait_for(told, _DEADLINE_S)
    finally:
        await reception.stop()
    with pytest.raises(RuntimeError, match="a bug"):
        raise error


async def _closed_by_server(reader: asyncio.StreamReader) -> bool:
    try:
        return not await asyncio.wait_for(reader.read(), _DEADLINE_S)
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET /api/v1/paths HTTP/1.1\r\nHost: local", id="half-a-header"),
        pytest.param(
            b"POST /api/v1/paths HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{",
            id="half-a-body",
        ),
    ],
)
async def test_a_request_that_does_not_come_in_is_given_up(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "patience_s", 0.05)
    server = HttpServer(HttpSettings(port=0), FakeCaseApi(), FakePlanningApi(), FakeRegistrationApi(), FakeCementApi())
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(begun)
        assert await _closed_by_server(reader)
        writer.close()
        assert server.refused["http_slow_request"] == 1
    finally:
        await server.stop()


async def test_more_connections_than_allowed_are_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "maximum_connections", 2)
    server = HttpServer(HttpSettings(port=0), FakeCaseApi(), FakePlanningApi(), FakeRegistrationApi(), FakeCementApi())
    await server.start()
    try:
        kept = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        assert await _closed_by_server(kept[2][0])
        assert server.refused["http_too_many_connections"] == 1
        kept[0][1].write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await asyncio.wait_for(kept[0][0].readline(), _DEADLINE_S) == b"HTTP/1.1 200 OK\r\n"
        for _, writer in kept:
            writer.close()
    finally:
        await server.stop()


async def test_a_page_that_stays_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedProtocol, "patience_s", 0.02)
    server = HttpServer(HttpSettings(port=0), FakeCaseApi(), FakePlanningApi(), FakeRegistrationApi(), FakeCementApi())
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        # Four words of a standing stream a second: it has outlived the patience many times.
        for _ in range(3):
            assert await asyncio.wait_for(reader.readuntil(b"}"), _DEADLINE_S)
        assert not server.refused
        writer.close()
    finally:
        await server.stop()


async def test_no_file_descriptor_left_is_no_bug_that_ends_the_server(tmp_path: Path) -> None:
    settings = settings_from_text(
        "",
        {
            "GUIDANCE_HTTP_PORT": "0",
            "GUIDANCE_OPENIGTLINK_INPUT_PORT": "0",
            "GUIDANCE_OPENIGTLINK_OUTPUT_PORT": "0",
            "GUIDANCE_DICOM_ENABLED": "false",
            "GUIDANCE_DATA_DIR": str(tmp_path),
        },
    )
    server = GuidanceServer(settings)
    await server.start()
    try:
        failed = asyncio.create_task(server.failed())
        loop = asyncio.get_running_loop()
        # What asyncio says of a listener when accept fails.
        full = OSError(errno.EMFILE, "Too many open files")
        loop.call_exception_handler({"message": "socket.accept() out of system resource", "exception": full})
        await asyncio.sleep(0)
        assert not failed.done()
        assert server.status().counters["out_of_file_descriptors"] == 1
        loop.call_exception_handler({"message": "a callback failed", "exception": KeyError("a bug")})
        assert "a bug" in await asyncio.wait_for(failed, _DEADLINE_S)
    finally:
        await server.stop()
