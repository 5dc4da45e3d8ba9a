"""The demonstration's injection: it waits for the server to follow, and tells what the server said."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import threading
import urllib.error

import aiomqtt
import pytest

import simulators.suite
from drivers.commands.demo_cement import Injection, inject, look
from guidance.config import MqttSettings
from simulators.cement.demo import BRAND, demo_injection
from simulators.cement.looks import Shot
from simulators.cement.stream import CementStream
from simulators.demo_paths import demo_paths
from simulators.demo_zones import demo_zones
from simulators.pelvis import ProceduralPelvis
from simulators.suite import SimulatedSuite, SuitePlan
from tests.helpers.broker import Mosquitto

WITHIN_S = 60
ALERTS = {"items": [{"id": "A1", "text": "S1 foramen left: 3 mm left"}]}
CEMENT = {
    "volume_ml": 1.24,
    "volume_low_ml": 1.0,
    "volume_high_ml": 1.5,
    "sites": [{"distance_mm": 8.0}, {"distance_mm": 3.2}, {"distance_mm": None}],
}


class Server:
    """Answers as the server would, and notes what it was asked."""

    def __init__(self, refusal=None):
        self.asked = []
        self.started = threading.Event()
        self._refusal = refusal

    def call(self, method, path, body=None):
        self.asked.append((method, path, body))
        if path == "/api/v1/cement/start":
            self.started.set()
            if self._refusal is not None:
                text = io.BytesIO(json.dumps({"detail": self._refusal}).encode())
                raise urllib.error.HTTPError(path, 409, "Conflict", {}, text)
        return {"/api/v1/alerts": ALERTS, "/api/v1/cement": CEMENT}.get(path)


@pytest.fixture(scope="module")
def plan():
    volume = ProceduralPelvis().volume(3.0, center_lps_mm=(34.0, 0.0, -10.0), size_mm=(90.0, 90.0, 90.0))
    zones = demo_zones("procedural")
    return volume, demo_paths("procedural"), demo_injection("procedural", volume, zones)


@contextlib.asynccontextmanager
async def injecting(plan, server, injection, mqtt):
    """An injection in the making, to a receiver that swallows all."""

    async def swallow(reader, writer):
        while await reader.read(1 << 20):
            pass
        writer.close()

    receiver = await asyncio.start_server(swallow, "127.0.0.1", 0)
    volume, paths, cement = plan
    address = receiver.sockets[0].getsockname()[:2]
    suite = SimulatedSuite(SuitePlan(volume=volume, paths=paths, cement=cement, openigtlink=address))
    running = asyncio.create_task(inject(server, suite, injection, mqtt))
    try:
        yield running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        receiver.close()
        await receiver.wait_closed()


def few_shots():
    """Three frames before the start, then on and on."""
    for n in itertools.count():
        yield Shot(view_index=0, t_s=(n - 3) / 15.0, frame_index=n)


@pytest.fixture
def begun(monkeypatch):
    """Set when cement may flow; the reference is of a few frames."""
    event = asyncio.Event()
    run = CementStream.run

    async def watched(self, *, hold=False):
        assert hold
        watching = asyncio.create_task(self.begun.wait())
        watching.add_done_callback(lambda _: event.set())
        return await run(self, hold=hold)

    monkeypatch.setattr(CementStream, "run", watched)
    monkeypatch.setattr(simulators.suite, "demo_shots", few_shots)
    return event


async def test_the_server_follows_before_any_cement_flows(plan, begun):
    server, injection = Server(), Injection()
    async with injecting(plan, server, injection, MqttSettings()), asyncio.timeout(WITHIN_S):
        assert await look(server, injection) == []
        await begun.wait()
        assert server.asked[0][:2] == ("POST", "/api/v1/cement/start")
        assert server.asked[0][2]["brand"] == BRAND
        assert injection.followed
        assert await look(server, injection) == ["S1 foramen left: 3 mm left"]
        assert await look(server, injection) == []
    assert injection.words() == "cement 1.2 ml (1.0 to 1.5 ml) 3.2 mm to go 1 alerts"
    summary = injection.summary(plan[2])
    assert (summary["followed"], summary["volume_ml"], summary["volume_true_ml"]) == (True, 1.24, 0.0)
    assert 10.0 < summary["contact_true_s"] < 30.0
    assert [alert["text"] for alert in summary["alerts"]] == ["S1 foramen left: 3 mm left"]


async def test_what_the_server_refuses_is_said_in_its_words_and_cement_flows_all_the_same(plan, begun):
    server, injection = Server(refusal="no reference"), Injection()
    async with injecting(plan, server, injection, MqttSettings()), asyncio.timeout(WITHIN_S):
        await begun.wait()
    assert (injection.followed, injection.why_not) == (False, "no reference")
    assert await look(server, injection) == []


async def test_with_a_broker_the_injector_tells_its_readings(plan, begun, tmp_path):
    broker = Mosquitto(tmp_path)
    await broker.start()
    try:
        settings = MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}", suite="demo")
        async with aiomqtt.Client("127.0.0.1", broker.port) as watcher:
            await watcher.subscribe("demo/injector/state")
            async with injecting(plan, Server(), Injection(), settings), asyncio.timeout(WITHIN_S):
                message = await anext(aiter(watcher.messages))
                assert begun.is_set()
        assert json.loads(message.payload)["running"]
    finally:
        await broker.stop()


def test_before_it_has_begun_there_is_nothing_to_say():
    assert Injection().words() == ""
