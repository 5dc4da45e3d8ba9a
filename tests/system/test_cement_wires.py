"""Cement at every wire of the running server: each frame's map, alerts, MQTT, an injector that tells nonsense."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiomqtt
import numpy as np
import pytest

from drivers.server import GuidanceServer
from tests.helpers.broker import Mosquitto
from tests.helpers.openigtlink_peer import message
from tests.helpers.server_suite import PATIENCE_S, Suite, server_settings

SIDE_PX = 256
OPACITY_PER_MM = 0.06
DEPTH_MM = 8.0
INJECTOR = "angio-1/injector/state"
NO_GEOMETRY: dict[str, str | None] = {
    "FrameOfReferenceUID": None,
    "ImagerPixelSpacingMm": None,
    "SourceToDetectorMm": None,
    "SourceToIsocenterMm": None,
    "PrimaryAngleDeg": None,
    "SecondaryAngleDeg": None,
    "IsocenterLpsMm": None,
}
_V, _U = np.mgrid[:SIDE_PX, :SIDE_PX]
_TEXTURE = 1.0 + 0.25 * np.sin(_U / 9.0) * np.cos(_V / 13.0) + 0.1 * np.sin(_U / 3.1 + _V / 4.7)


def picture(number: int, radius_px: float) -> Any:
    """A noisy texture with a plate of cement, 8 mm thick, of that radius in the middle, and as much scatter as rays."""
    inside = np.hypot(_U - 127.5, _V - 127.5) <= radius_px
    primary = _TEXTURE * np.exp(-OPACITY_PER_MM * DEPTH_MM * inside)
    counts = np.random.default_rng(number).poisson(800.0 * (primary + 1.0))
    return np.clip(counts * 4.0, 0, 65535).astype("<u2")


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def suite(broker: Mosquitto, tmp_path: Path) -> AsyncIterator[Suite]:
    settings = server_settings(
        tmp_path / "data",
        GUIDANCE_MQTT_URL=f"mqtt://127.0.0.1:{broker.port}",
        GUIDANCE_MQTT_SUITE="angio-1",
        GUIDANCE_OPENIGTLINK_INPUT_SILENCE_S="60",
        GUIDANCE_CEMENT_GAP_S="30",  # on a busy machine a picture waits for the test's next question
    )
    server = GuidanceServer(settings)
    await server.start()
    suite = Suite(server)
    await suite.connect()
    yield suite
    suite.into.close()
    suite.out.close()
    await server.stop()


class Heard:
    """What the broker passed on, newest last, and a way to wait for it."""

    def __init__(self) -> None:
        self.cement: list[dict[str, Any]] = []
        self.alerts: list[dict[str, Any]] = []
        self._changed = asyncio.Event()

    async def listen(self, client: aiomqtt.Client) -> None:
        async for said in client.messages:
            assert isinstance(said.payload, bytes)
            kind = str(said.topic).rpartition("/")[2]
            if kind in ("cement", "alert"):
                (self.cement if kind == "cement" else self.alerts).append(json.loads(said.payload))
                self._changed.set()

    async def until(self, true: Any) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not true():
                self._changed.clear()
                await self._changed.wait()


async def thickness(suite: Suite, number: int) -> tuple[Any, Any]:
    """The map of a frame, as (message, float32 array)."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            received = await suite.out.receive_type("IMAGE", check_crc=True)
            if received.device == "CementThickness" and received.metadata["XRay.FrameNumber"] == str(number):
                break
    _, components, scalar_type, endian, _, columns, rows, _ = struct.unpack_from(">HBBBB3H", received.content)
    assert (components, scalar_type) == (1, 10)
    dtype = "<f4" if endian == 2 else ">f4"
    return received, np.frombuffer(received.content, dtype, offset=72).reshape(rows, columns)


async def latched(suite: Suite, count: int) -> list[dict[str, Any]]:
    """The next STRING Alert with so many alerts."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            received = await suite.out.receive_type("STRING", check_crc=True)
            assert received.device == "Alert"
            told: list[dict[str, Any]] = json.loads(received.content[4:])
            if len(told) == count:
                return told


async def test_what_goes_out_of_every_wire(broker: Mosquitto, suite: Suite) -> None:
    heard = Heard()
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.subscribe("guidance/angio-1/#", qos=1)
        listening = asyncio.create_task(heard.listen(client))
        try:
            await _followed(suite, heard)
            await _told_nonsense(suite, heard, client)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def _followed(suite: Suite, heard: Heard) -> None:
    for number in range(1, 9):
        await suite.frame(number, pixels=picture(number, 0.0), **NO_GEOMETRY)
        await suite.until("GET", "/api/v1/geometry", _is_at(number))
    await suite.call("POST", "/api/v1/cement/start", {"opacity_per_mm": OPACITY_PER_MM})
    for number in range(9, 29):
        radius_px = min(2.0 * (number - 9), 24.0)
        await suite.frame(number, pixels=picture(number, radius_px), **NO_GEOMETRY)
        received, depth_mm = await thickness(suite, number)
        # The state of a frame is told before its map.
        told = await suite.call("GET", "/api/v1/cement")
        assert told["frame_number"] >= number
        assert received.timestamp == (1_700_000_000 << 32) + (number << 27)
        assert received.metadata["Guidance.Input"] == "Fluoro"
        assert depth_mm.shape == (SIDE_PX, SIDE_PX)
    assert (told["state"], told["dimensions"], told["area_mm2"]) == ("tracking", "2d", None)
    shadow = np.hypot(_U - 127.5, _V - 127.5) <= 24.0
    assert told["inputs"]["Fluoro"]["area_px"] == pytest.approx(np.count_nonzero(shadow), rel=0.25)
    deep = np.hypot(_U - 127.5, _V - 127.5) <= 12.0
    assert np.median(depth_mm[deep]) == pytest.approx(DEPTH_MM, rel=0.5)  # nothing tells how much scatter there is
    assert np.count_nonzero(depth_mm[~shadow] > 0.0) < 0.02 * depth_mm.size
    front = await suite.call("GET", "/api/v1/cement/inputs/Fluoro")
    outer = max((np.array(contour).reshape(-1, 2) for contour in front["front_px"]), key=len)
    assert np.median(np.abs(np.hypot(*(outer - 127.5).T) - 24.5)) < 2.5
    await heard.until(lambda: heard.cement and heard.cement[-1]["frame_number"] == 28)
    assert heard.cement[-1]["inputs"]["Fluoro"]["area_px"] == told["inputs"]["Fluoro"]["area_px"]
    assert heard.cement[-1]["schema_version"] == 1


async def _told_nonsense(suite: Suite, heard: Heard, client: aiomqtt.Client) -> None:
    await client.publish(INJECTOR, json.dumps({"running": True, "volume_ml": -3.0}), qos=1)
    await heard.until(lambda: any(alert["code"] == "cement_no_reading" for alert in heard.alerts))
    [alert] = [alert for alert in heard.alerts if alert["code"] == "cement_no_reading"]
    assert (alert["priority"], alert["present"], alert["acknowledged_by"]) == ("low", True, None)
    assert "negative" in alert["text"]
    told = await suite.call("GET", "/api/v1/cement")
    assert told["injected_ml"] is None
    assert "negative" in told["injector"]["refused"]
    [said] = await latched(suite, 1)
    assert (said["id"], said["text"]) == (alert["id"], alert["text"])
    await latched(suite, 1)  # and again within a second or so, for 3D Slicer keeps only the newest of a tick
    seen = await suite.call("POST", f"/api/v1/alerts/{alert['id']}/acknowledge", {"by": "Dr. Jörg"})
    assert seen["acknowledged_by"] == "Dr. Jörg"
    await heard.until(lambda: heard.alerts[-1]["acknowledged_by"] == "Dr. Jörg")
    await client.publish(INJECTOR, json.dumps({"running": True, "volume_ml": 0.2}), qos=1)
    await heard.until(lambda: heard.alerts[-1]["present"] is False)
    assert await latched(suite, 0) == []
    assert (await suite.call("GET", "/api/v1/alerts"))["items"] == []
    stopped = await suite.call("POST", "/api/v1/cement/stop")
    assert stopped["state"] == "idle"
    await heard.until(lambda: heard.cement[-1]["state"] == "idle")
    await suite.out.send(message("GET_IMAGE", "CementThickness", b"", version=1))
    refused = await suite.out.receive_type("RTS_IMAGE")
    assert refused.content[:1] == b"\x01"  # no map of cement that is no longer followed


def _is_at(number: int) -> Any:
    return lambda told: told["inputs"].get("Fluoro", {}).get("frame_number") == number
