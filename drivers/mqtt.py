"""Publishes states and events to the site's broker and hears injector and C-arm; the broker may come and go."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiomqtt
import structlog

from drivers.mqtt_outbox import Outbox, Outgoing
from drivers.tasks import end_all, start_task
from guidance.config import MqttSettings
from guidance.errors import ConfigError, WireError
from guidance.messages import CArmEvent, InjectorReading
from guidance.wire.mqtt import (
    OFFLINE,
    AlertPayload,
    CementPayload,
    GeometryPayload,
    LatencyPayload,
    StatusPayload,
    decode_carm_event,
    decode_injector_state,
    encode,
    topics,
)

_log = structlog.get_logger("mqtt")

_GEOMETRY_INTERVAL_S: Final = 0.2
_LATENCY_INTERVAL_S: Final = 1.0
_FIRST_RETRY_S: Final = 0.5
_LAST_RETRY_S: Final = 30.0
_ANSWER_WITHIN_S: Final = 5.0
_FAREWELL_WITHIN_S: Final = 1.0
_INCOMING_LIMIT: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttStatistics:
    """Counts since start; `last_error` is why the broker is away, "" while connected."""

    connected: bool
    connections: int
    published: int
    events_lost: int
    states_replaced: int
    received: int
    refused: int
    last_error: str


class MqttPublisher:
    """The connection to the broker; off while `settings.url` is empty: then everything it is given is ignored.

    Args:
        settings: broker, suite name, credentials, TLS.
        on_injector: called in the event loop with every injector reading.
        on_carm_event: called in the event loop with every C-arm event.

    Raises:
        ConfigError: suite name, password file, certificate or URL that cannot be used.
    """

    def __init__(
        self,
        settings: MqttSettings,
        *,
        on_injector: Callable[[InjectorReading], None],
        on_carm_event: Callable[[CArmEvent], None],
    ) -> None:
        self.connected = asyncio.Event()
        self.away = asyncio.Event()  # set once an attempt or a connection has failed, until the next one stands
        self._settings = settings
        self._topics = topics(settings.suite)
        self._on_injector = on_injector
        self._on_carm_event = on_carm_event
        self._outbox = Outbox(settings.outbox_limit)
        self._status: Outgoing | None = None
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._connections = self._published = self._received = self._refused = 0
        self._last_error = ""
        self._host, self._port, self._tls = _address(settings)
        self._password = _password(settings)

    async def start(self) -> None:
        """Begin to connect; returns at once, for the broker may be away."""
        if self._settings.url:
            self._running = start_task(self._run(), name="mqtt")

    async def stop(self) -> None:
        """Say `offline` and disconnect, within a second or two."""
        if self._running is None:
            return
        self._stopping.set()
        await self._running
        self._running = None

    @property
    def on(self) -> bool:
        """Whether a broker is configured: without one nothing need be made for it."""
        return bool(self._settings.url)

    def publish_status(self, payload: StatusPayload) -> None:
        """Retained; said again after every reconnection."""
        if self._settings.url:
            content = encode(payload)
            self._status = Outgoing(topic=self._topics.status, payload=content, qos=1, retain=True, key="status")
            self._outbox.set_state(self._status)

    def publish_geometry(self, payload: GeometryPayload) -> None:
        """At most 5 a second per input, the newest wins."""
        self._set_state(self._topics.geometry, encode(payload), f"geometry {payload.input}", _GEOMETRY_INTERVAL_S)

    def publish_latency(self, payload: LatencyPayload) -> None:
        """At most 1 a second per input, the newest wins."""
        self._set_state(self._topics.latency, encode(payload), f"latency {payload.input}", _LATENCY_INTERVAL_S)

    def publish_cement(self, payload: CementPayload) -> None:
        """With every followed frame; the newest wins where the broker takes longer."""
        self._set_state(self._topics.cement, encode(payload), "cement", 0.0)

    def publish_alert(self, payload: AlertPayload) -> None:
        """QoS 1, in order; kept while the broker is away, at most `outbox_limit`."""
        if self._settings.url:
            self._outbox.add_event(
                Outgoing(topic=self._topics.alert, payload=encode(payload), qos=1, retain=False, key="")
            )

    def statistics(self) -> MqttStatistics:
        """What has happened so far."""
        return MqttStatistics(
            connected=self.connected.is_set(),
            connections=self._connections,
            published=self._published,
            events_lost=self._outbox.events_lost,
            states_replaced=self._outbox.states_replaced,
            received=self._received,
            refused=self._refused,
            last_error=self._last_error,
        )

    def _set_state(self, topic: str, payload: bytes, key: str, interval_s: float) -> None:
        if self._settings.url:
            message = Outgoing(topic=topic, payload=payload, qos=0, retain=False, key=key)
            self._outbox.set_state(message, interval_s=interval_s)

    async def _run(self) -> None:
        retry_s = _FIRST_RETRY_S
        while not self._stopping.is_set():
            connections = self._connections
            try:
                await self._connection()
            except (aiomqtt.MqttError, OSError) as error:
                if str(error) != self._last_error:
                    _log.warning("broker away", host=self._host, port=self._port, reason=str(error))
                self._last_error = str(error)
                self.connected.clear()
                self.away.set()
            else:
                self.connected.clear()
            retry_s = _FIRST_RETRY_S if self._connections > connections else min(2.0 * retry_s, _LAST_RETRY_S)
            # Jitter, so that a site's clients do not all come back at the same moment.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(retry_s * random.uniform(0.5, 1.0)):
                    await self._stopping.wait()

    async def _connection(self) -> None:
        settings = self._settings
        will = aiomqtt.Will(self._topics.status, OFFLINE, qos=1, retain=True)
        client = aiomqtt.Client(
            self._host,
            self._port,
            username=settings.username or None,
            password=self._password,
            protocol=aiomqtt.ProtocolVersion.V5 if settings.version == "5" else aiomqtt.ProtocolVersion.V311,
            will=will,
            keepalive=settings.keep_alive_s,
            tls_context=self._tls,
            timeout=_ANSWER_WITHIN_S,
            max_queued_incoming_messages=_INCOMING_LIMIT,
        )
        async with client:
            for topic in (self._topics.injector_state, self._topics.carm_event):
                await client.subscribe(topic, qos=1)
            self._connections += 1
            self._last_error = ""
            # The broker may hold our last will, or nothing at all.
            if self._status is not None:
                self._outbox.set_state(self._status)
            self.away.clear()
            self.connected.set()
            _log.info("broker connected", host=self._host, port=self._port)
            tasks = (
                asyncio.create_task(self._send(client)),
                asyncio.create_task(self._receive(client)),
                asyncio.create_task(self._stopping.wait()),
            )
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                await end_all(tasks)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL_WITHIN_S):
                    await self._send_events(client)
                    await client.publish(self._topics.status, OFFLINE, qos=1, retain=True)

    async def _send(self, client: aiomqtt.Client) -> None:
        while True:
            message = self._outbox.next_message(time.monotonic_ns())
            if message is None:
                await self._outbox.wait(time.monotonic_ns())
            else:
                await self._publish(client, message)

    async def _send_events(self, client: aiomqtt.Client) -> None:
        while self._outbox.has_events():
            message = self._outbox.next_message(time.monotonic_ns())
            if message is not None:
                await self._publish(client, message)

    async def _publish(self, client: aiomqtt.Client, message: Outgoing) -> None:
        # One after the other: hundreds of QoS 1 publications at once time out in the client library.
        await client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)
        self._outbox.sent(message, time.monotonic_ns())
        self._published += 1

    async def _receive(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            received_ns = time.monotonic_ns()
            payload = message.payload if isinstance(message.payload, bytes) else str(message.payload).encode()
            self._received += 1
            try:
                if message.retain:
                    # Nobody knows how old a retained reading is, and an old one must not count as live.
                    raise WireError("a retained message", code="retained_reading", mend="publish it without retain")
                if str(message.topic) == self._topics.injector_state:
                    self._on_injector(decode_injector_state(payload, received_ns))
                else:
                    self._on_carm_event(decode_carm_event(payload, received_ns))
            except WireError as error:
                self._refused += 1
                _log.warning("message refused", topic=str(message.topic), code=error.code, reason=str(error))


def _address(settings: MqttSettings) -> tuple[str, int, ssl.SSLContext | None]:
    if not settings.url:
        return "", 0, None
    mend = "write mqtt://host:1883 or mqtts://host:8883"
    try:
        url = urlsplit(settings.url)
        host, port, secure = url.hostname, url.port, url.scheme == "mqtts"
    except ValueError as error:
        raise ConfigError(f"mqtt.url = {settings.url!r}: {error}", code="bad_setting", mend=mend) from None
    if not host or url.scheme not in ("mqtt", "mqtts"):
        raise ConfigError(f"mqtt.url = {settings.url!r} names no broker", code="bad_setting", mend=mend)
    if not secure:
        return host, port or 1883, None
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca or None)
        if settings.tls_certificate:
            context.load_cert_chain(settings.tls_certificate, settings.tls_key or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"mqtt: a TLS file can't be used: {error}",
            code="bad_certificate",
            mend="mend mqtt.tls_ca, mqtt.tls_certificate or mqtt.tls_key (PEM)",
        ) from None
    return host, port or 8883, context


def _password(settings: MqttSettings) -> str | None:
    if not settings.password_file or not settings.url:
        return None
    try:
        return Path(settings.password_file).expanduser().read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"mqtt.password_file {settings.password_file}: {error}", code="unreadable_file", mend="mend path or rights"
        ) from None
