"""The simulated injector against a real Mosquitto, heard by the server's own driver; a stop, an outage."""

from __future__ import annotations

import asyncio
import contextlib
import json

import aiomqtt
import pytest

from drivers.mqtt import MqttPublisher
from guidance.config import MqttSettings
from guidance.errors import ConfigError
from simulators.cement.injection import InjectionCurve
from simulators.injector import InjectorFault, SimulatedInjector, fault_time
from simulators.injector_stream import InjectorStream, ended
from tests.helpers.broker import Mosquitto, Wire

CURVE = InjectionCurve(times_s=(0.0, 600.0), volumes_ml=(0.0, 60.0))
WITHIN_S = 20


@pytest.fixture
async def broker(tmp_path):
    broker = Mosquitto(tmp_path)
    await broker.start()
    yield broker
    await broker.stop()


@contextlib.asynccontextmanager
async def streaming(stream, **told):
    running = asyncio.create_task(stream.run(**told))
    try:
        async with asyncio.timeout(WITHIN_S):
            await stream.connected.wait()
        yield running
    finally:
        await ended(running)


async def readings(client):
    async for message in client.messages:
        yield json.loads(message.payload)


async def test_the_servers_driver_hears_it(broker):
    heard = asyncio.Queue()
    driver = MqttPublisher(
        MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}", suite="angio-1"),
        on_injector=heard.put_nowait,
        on_carm_event=lambda _: None,
    )
    await driver.start()
    try:
        async with asyncio.timeout(WITHIN_S):
            await driver.connected.wait()
        stream = InjectorStream(SimulatedInjector(CURVE), f"mqtt://127.0.0.1:{broker.port}", "angio-1", rate_hz=50.0)
        async with asyncio.timeout(WITHIN_S):
            report = await stream.run(readings=5)
            got = [await heard.get() for _ in range(5)]
        assert report.readings == 5
        assert [reading.running for reading in got] == [True] * 5
        volumes = [reading.volume_ml for reading in got]
        assert volumes == sorted(volumes)
        assert all(reading.flow_ml_s == 0.1 for reading in got)
    finally:
        await driver.stop()


async def test_a_garbled_reading_is_refused_by_the_driver_and_counted(broker):
    heard = asyncio.Queue()
    driver = MqttPublisher(
        MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}"), on_injector=heard.put_nowait, on_carm_event=lambda _: None
    )
    await driver.start()
    try:
        async with asyncio.timeout(WITHIN_S):
            await driver.connected.wait()
        url = f"mqtt://127.0.0.1:{broker.port}"
        async with asyncio.timeout(WITHIN_S):
            await InjectorStream(SimulatedInjector(CURVE, [fault_time("garbled@0-600")]), url).run(readings=2)
            await InjectorStream(SimulatedInjector(CURVE), url).run(readings=1)
            assert (await heard.get()).volume_ml >= 0.0
        assert (driver.statistics().received, driver.statistics().refused) == (3, 2)
    finally:
        await driver.stop()


async def test_an_operators_stop_is_obeyed_at_once_and_said(broker):
    stream = InjectorStream(SimulatedInjector(CURVE), f"mqtt://127.0.0.1:{broker.port}", rate_hz=50.0)
    async with aiomqtt.Client("127.0.0.1", broker.port) as operator:
        await operator.subscribe("suite/injector/state")
        async with streaming(stream), asyncio.timeout(WITHIN_S):
            states = readings(operator)
            assert (await anext(states))["running"]
            await operator.publish("suite/injector/command", '{"command": "faster"}', qos=1)
            await operator.publish("suite/injector/command", '{"command": "stop"}', qos=1)
            await stream.stopped.wait()
            stopped = [told async for told in until_still(states)]
    assert len({told["volume_ml"] for told in stopped}) == 1
    assert stopped[0]["flow_ml_s"] == 0.0
    assert (stream.report.commands, stream.report.refused_commands) == (2, 1)


async def until_still(states):
    """Readings after the injector has stopped, a few of them."""
    seen = 0
    async for told in states:
        if not told["running"]:
            yield told
            seen += 1
        if seen == 5:
            return


async def test_a_stop_left_on_the_broker_stops_nobody(broker):
    async with aiomqtt.Client("127.0.0.1", broker.port) as somebody:
        await somebody.publish("suite/injector/command", '{"command": "stop"}', qos=1, retain=True)
    stream = InjectorStream(SimulatedInjector(CURVE), f"mqtt://127.0.0.1:{broker.port}", rate_hz=50.0)
    async with streaming(stream), asyncio.timeout(WITHIN_S):
        await stream.heard.wait()
    assert (stream.report.refused_commands, stream.report.stopped_s) == (1, None)


async def test_it_comes_back_after_an_outage_and_its_clock_went_on(broker):
    injector = SimulatedInjector(CURVE)
    async with Wire(broker.port).open() as wire, aiomqtt.Client("127.0.0.1", broker.port) as watcher:
        await watcher.subscribe("suite/injector/state")
        stream = InjectorStream(injector, f"mqtt://127.0.0.1:{wire.port}", rate_hz=50.0)
        async with streaming(stream), asyncio.timeout(WITHIN_S):
            states = readings(watcher)
            before = await anext(states)
            wire.cut()
            while stream.report.connections < 2:
                await anext(states)
            after = await anext(states)
    assert after["elapsed_s"] > before["elapsed_s"]
    assert after["volume_ml"] > before["volume_ml"]


async def test_silence_is_counted(broker):
    injector = SimulatedInjector(CURVE, [fault_time(f"{InjectorFault.SILENT}@0-600")])
    async with asyncio.timeout(WITHIN_S):
        report = await InjectorStream(injector, f"mqtt://127.0.0.1:{broker.port}", rate_hz=50.0).run(readings=4)
    assert (report.readings, report.silent) == (0, 4)


@pytest.mark.parametrize("url", ["", "127.0.0.1:1883", "http://host", "mqtt://", "mqtt://host:99999"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ConfigError) as caught:
        InjectorStream(SimulatedInjector(CURVE), url)
    assert caught.value.code == "bad_address"
