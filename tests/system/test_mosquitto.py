"""MQTT driver against a real Mosquitto: publication, last will, outage, wrong password, TLS, both versions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from drivers.mqtt import MqttPublisher
from guidance.config import MqttSettings
from guidance.messages import CArmEvent, GeometryState, InjectorReading, InputState, Severity
from guidance.wire.mqtt import AlertPayload, GeometryPayload, LatencyPayload, StatusPayload
from tests.helpers.broker import Mosquitto, Wire

STATUS = StatusPayload(ready=True, version="0.1.0", epoch=1, active_volume_id="V1")


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    await broker.start()
    yield broker
    await broker.stop()


class Suite:
    """What the callbacks got."""

    def __init__(self) -> None:
        self.readings: asyncio.Queue[InjectorReading] = asyncio.Queue()
        self.events: asyncio.Queue[CArmEvent] = asyncio.Queue()


@contextlib.asynccontextmanager
async def publisher(settings: MqttSettings, suite: Suite | None = None) -> AsyncIterator[MqttPublisher]:
    heard = suite or Suite()
    driver = MqttPublisher(settings, on_injector=heard.readings.put_nowait, on_carm_event=heard.events.put_nowait)
    await driver.start()
    try:
        yield driver
    finally:
        await driver.stop()


def settings(port: int, **members: Any) -> MqttSettings:
    return MqttSettings(**({"url": f"mqtt://127.0.0.1:{port}", "suite": "angio-1"} | members))


def alert(number: int) -> AlertPayload:
    return AlertPayload(
        id=f"a{number}", code="geometry_stale", severity=Severity.WARNING, text="alt", raised_at="2026-01-01T00:00:00Z"
    )


def geometry(frame_number: int) -> GeometryPayload:
    return GeometryPayload(
        input="Fluoro",
        state=InputState.STREAMING,
        geometry_state=GeometryState.TRUSTED,
        reason="",
        frame_number=frame_number,
        age_ms=1.0,
        pixel_from_patient=(0.0,) * 12,
        epoch=1,
    )


async def next_on(client: aiomqtt.Client, topic: str) -> aiomqtt.Message:
    async with asyncio.timeout(20):
        async for message in client.messages:
            if str(message.topic) == topic:
                return message
    raise AssertionError("the broker has gone")


async def connected(driver: MqttPublisher) -> None:
    async with asyncio.timeout(20):
        await driver.connected.wait()


async def away(driver: MqttPublisher) -> None:
    async with asyncio.timeout(20):
        await driver.away.wait()


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_everything_arrives_in_both_versions(broker: Mosquitto, version: str) -> None:
    suite = Suite()
    async with (
        publisher(settings(broker.port, version=version), suite) as driver,
        aiomqtt.Client("127.0.0.1", broker.port) as watcher,
    ):
        await watcher.subscribe("guidance/#", qos=1)
        await connected(driver)
        driver.publish_status(STATUS)
        message = await next_on(watcher, "guidance/angio-1/status")
        assert json.loads(message.payload) == {
            "state": "online",
            "ready": True,
            "reasons": [],
            "version": "0.1.0",
            "inputs": {},
            "epoch": 1,
            "active_volume_id": "V1",
            "schema_version": 1,
        }
        driver.publish_geometry(geometry(1))
        told = json.loads((await next_on(watcher, "guidance/angio-1/geometry")).payload)
        assert (told["input"], told["geometry_state"], told["schema_version"]) == ("Fluoro", "trusted", 1)
        driver.publish_latency(
            LatencyPayload(input="Fluoro", now_ms=2.0, p50_ms=2.0, p99_ms=3.0, worst_ms=4.0, frames=30, dropped=0)
        )
        assert json.loads((await next_on(watcher, "guidance/angio-1/latency")).payload)["p99_ms"] == 3.0
        driver.publish_alert(alert(1))
        message = await next_on(watcher, "guidance/angio-1/alert")
        assert (json.loads(message.payload)["id"], message.qos) == ("a1", 1)

        await watcher.publish("angio-1/injector/state", '{"volume_ml": 1.5, "running": true}', qos=1)
        await watcher.publish("angio-1/injector/state", '{"volume_ml": "viel", "running": true}', qos=1)
        await watcher.publish("angio-1/carm/event", '{"event": "exposure", "kvp": 81}', qos=1)
        async with asyncio.timeout(20):
            reading = await suite.readings.get()
            event = await suite.events.get()
        assert (reading.volume_ml, reading.flow_ml_s, reading.running) == (1.5, None, True)
        assert (event.event, event.details) == ("exposure", {"kvp": 81})
        assert (driver.statistics().received, driver.statistics().refused) == (3, 1)
    # The farewell: retained, so whoever comes later knows too.
    async with aiomqtt.Client("127.0.0.1", broker.port) as later:
        await later.subscribe("guidance/angio-1/status", qos=1)
        message = await next_on(later, "guidance/angio-1/status")
        assert (message.payload, message.retain) == (b"offline", True)


async def test_retained_reading_is_not_live(broker: Mosquitto) -> None:
    suite = Suite()
    async with aiomqtt.Client("127.0.0.1", broker.port) as injector:
        await injector.publish("angio-1/injector/state", '{"volume_ml": 9.0, "running": true}', qos=1, retain=True)
        async with publisher(settings(broker.port), suite) as driver:
            await connected(driver)
            await injector.publish("angio-1/injector/state", '{"volume_ml": 1.0, "running": true}', qos=1)
            async with asyncio.timeout(20):
                reading = await suite.readings.get()
            assert (reading.volume_ml, driver.statistics().refused) == (1.0, 1)


async def test_last_will_speaks_when_the_connection_breaks_and_status_returns(broker: Mosquitto) -> None:
    async with (
        Wire(broker.port).open() as wire,
        publisher(settings(wire.port)) as driver,
        aiomqtt.Client("127.0.0.1", broker.port) as watcher,
    ):
        await connected(driver)
        driver.publish_status(STATUS)
        await watcher.subscribe("guidance/angio-1/status", qos=1)
        assert json.loads((await next_on(watcher, "guidance/angio-1/status")).payload)["state"] == "online"
        wire.cut()
        assert (await next_on(watcher, "guidance/angio-1/status")).payload == b"offline"
        assert json.loads((await next_on(watcher, "guidance/angio-1/status")).payload)["state"] == "online"
        assert driver.statistics().connections == 2


async def test_alerts_outlive_an_outage_of_the_broker(broker: Mosquitto) -> None:
    async with Wire(broker.port).open() as wire, publisher(settings(wire.port)) as driver:
        await connected(driver)
        wire.hold()
        await broker.stop()
        await away(driver)
        for number in range(20):
            driver.publish_alert(alert(number))
            driver.publish_geometry(geometry(number))
        await broker.start()
        async with aiomqtt.Client("127.0.0.1", broker.port) as watcher:
            await watcher.subscribe("guidance/#", qos=1)
            wire.release()
            seen = [json.loads((await next_on(watcher, "guidance/angio-1/alert")).payload)["id"] for _ in range(20)]
            frame = json.loads((await next_on(watcher, "guidance/angio-1/geometry")).payload)["frame_number"]
        assert seen == [f"a{number}" for number in range(20)]
        assert frame == 19
        statistics = driver.statistics()
        assert (statistics.events_lost, statistics.states_replaced, statistics.connections) == (0, 19, 2)


async def test_wrong_password_is_said_and_tried_again(tmp_path: Path) -> None:
    right = "$7$101$"  # an entry that no password matches
    (tmp_path / "passwords").write_text(f"guidance:{right}AAAA$AAAA\n")
    (tmp_path / "password").write_text("falsch\n")
    broker = Mosquitto(tmp_path, "allow_anonymous false", f"password_file {tmp_path / 'passwords'}")
    await broker.start()
    try:
        told = settings(broker.port, username="guidance", password_file=str(tmp_path / "password"))
        async with publisher(told) as driver:
            await away(driver)
            assert "not authori" in driver.statistics().last_error.lower()
            assert not driver.connected.is_set()
    finally:
        await broker.stop()


@pytest.fixture
def certificate_files(tmp_path: Path) -> tuple[Path, Path]:
    certificate, key = tmp_path / "broker.pem", tmp_path / "broker.key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    return certificate, key


# The client library leaves the socket of a refused TLS handshake to the garbage collector, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_tls_with_the_sites_authority_and_without(tmp_path: Path, certificate_files: tuple[Path, Path]) -> None:
    certificate, key = certificate_files
    broker = Mosquitto(tmp_path, "allow_anonymous true", f"certfile {certificate}", f"keyfile {key}")
    await broker.start()
    try:
        url = f"mqtts://127.0.0.1:{broker.port}"
        async with publisher(settings(broker.port, url=url, tls_ca=str(certificate))) as driver:
            await connected(driver)
        async with publisher(settings(broker.port, url=url)) as driver:
            await away(driver)
            assert "CERTIFICATE_VERIFY_FAILED" in driver.statistics().last_error
    finally:
        await broker.stop()
