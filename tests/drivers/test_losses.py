"""Nothing is lost silently: what is refused or dropped stays counted, also when whoever lost it has gone."""

from __future__ import annotations

import asyncio
import http.client
from pathlib import Path
from typing import Any

import pytest

from drivers.dicom_messages import LogLevel
from drivers.dicom_storage import DicomReception
from drivers.http import HttpServer
from guidance.config import DicomSettings, HttpSettings
from guidance.messages import CbctVolume
from tests.helpers.case_api import FakeCaseApi

_DEADLINE_S = 60.0


async def test_refused_requests_are_counted_by_status() -> None:
    server = HttpServer(HttpSettings(port=0), FakeCaseApi())
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
        assert dict(server.refused) == {421: 1, 403: 1, 400: 1}
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
