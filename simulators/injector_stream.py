"""The broker's end of a simulated injector: tells its state at a beat, hears a stop; the broker may come and go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import aiomqtt

from guidance.errors import ConfigError
from guidance.wire.mqtt import topics
from simulators.injector import SimulatedInjector

RATE_HZ: Final = 5.0
_CANCEL_AGAIN_S: Final = 0.05
_RETRY_S: Final = 0.5
_ANSWER_WITHIN_S: Final = 5.0


@dataclass(slots=True)
class InjectorReport:
    """What was said and heard."""

    readings: int = 0
    silent: int = 0
    connections: int = 0
    commands: int = 0
    refused_commands: int = 0
    volume_ml: float = 0.0
    stopped_s: float | None = None


class InjectorStream:
    """Runs an injector against a broker.

    Args:
        injector: which.
        url: `mqtt://host:port`.
        suite: name in the topics.
        rate_hz: readings per second.
        report: where to count; None: a new one.

    Raises:
        ConfigError: no such URL, or a suite's name that can't be in a topic.
    """

    def __init__(
        self,
        injector: SimulatedInjector,
        url: str,
        suite: str = "suite",
        *,
        rate_hz: float = RATE_HZ,
        report: InjectorReport | None = None,
    ) -> None:
        self.report = report or InjectorReport()
        self.connected = asyncio.Event()
        self.heard = asyncio.Event()  # any command, obeyed or not
        self.stopped = asyncio.Event()
        self._injector = injector
        self._host, self._port = _address(url)
        self._state_topic = topics(suite).injector_state
        self.command_topic = f"{suite}/injector/command"
        self._interval_s = 1.0 / rate_hz
        self._begun_s = 0.0

    async def run(
        self, *, clock: Callable[[], float] = time.monotonic, readings: int | None = None, seconds: float | None = None
    ) -> InjectorReport:
        """Tell and listen until cancelled.

        Args:
            clock: seconds; the injector's time 0 is now.
            readings, seconds: end after so many, or so long; None: never.
        """
        self._begun_s = clock()
        while not self._over(clock, readings, seconds):
            try:
                async with aiomqtt.Client(self._host, self._port, timeout=_ANSWER_WITHIN_S) as client:
                    await self._connection(client, clock, readings, seconds)
            except aiomqtt.MqttError:
                self.connected.clear()
                await asyncio.sleep(_RETRY_S)
        return self.report

    def _over(self, clock: Callable[[], float], readings: int | None, seconds: float | None) -> bool:
        told = self.report.readings + self.report.silent
        return (readings is not None and told >= readings) or (
            seconds is not None and clock() - self._begun_s >= seconds
        )

    async def _connection(
        self, client: aiomqtt.Client, clock: Callable[[], float], readings: int | None, seconds: float | None
    ) -> None:
        await client.subscribe(self.command_topic, qos=1)
        self.report.connections += 1
        self.connected.set()
        listening = asyncio.create_task(self._listen(client, clock))
        try:
            due_s = clock()
            while not self._over(clock, readings, seconds) and not listening.done():
                await self._tell(client, clock() - self._begun_s)
                due_s += self._interval_s
                await asyncio.wait({listening}, timeout=max(0.0, due_s - clock()))
            if listening.done():
                listening.result()
        finally:
            await ended(listening)

    async def _tell(self, client: aiomqtt.Client, t_s: float) -> None:
        payload = self._injector.reading(t_s)
        self.report.volume_ml = self._injector.volume_ml(t_s)
        if payload is None:
            self.report.silent += 1
            return
        await client.publish(self._state_topic, payload, qos=0)
        self.report.readings += 1

    async def _listen(self, client: aiomqtt.Client, clock: Callable[[], float]) -> None:
        async for message in client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else b""
            self.report.commands += 1
            t_s = clock() - self._begun_s
            # A stop that somebody left on the broker is for another patient.
            if not message.retain and self._injector.command(payload, t_s):
                self.report.stopped_s = self._injector.stopped_s
                self.stopped.set()
                await self._tell(client, t_s)
            else:
                self.report.refused_commands += 1
            self.heard.set()


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancel until it has ended; how is nobody's business any more.

    Once is not enough: before Python 3.12 `asyncio.wait_for`, which MQTT's client awaits the broker with, swallows a
    cancellation that comes in the same turn of the loop as its answer.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_AGAIN_S)
    await asyncio.gather(task, return_exceptions=True)


def _address(url: str) -> tuple[str, int]:
    mend = "write mqtt://host:1883"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{url!r}: {error}", code="bad_address", mend=mend) from None
    if parts.scheme != "mqtt" or not host:
        raise ConfigError(f"{url!r} names no broker", code="bad_address", mend=mend)
    return host, port or 1883
