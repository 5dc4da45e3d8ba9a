"""Overlay out: serves any number of clients, each with a sender of its own; decides nothing about what is shown."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from drivers.openigtlink_events import ConnectionEvent, ConnectionState
from drivers.openigtlink_peer import Peer
from drivers.openigtlink_sockets import Listener, end_tasks
from drivers.openigtlink_streams import Streams
from drivers.tasks import start_task
from guidance.config import OpenIGTLinkSettings
from guidance.messages import EMPTY_METADATA, Pixels
from guidance.wire.openigtlink import BufferPool, Decoder, Message, Query, Refusal, Status, Text, timestamp_from_unix_ns
from guidance.wire.openigtlink.outbox import Outbox
from guidance.wire.openigtlink.outputs import ALERT_DEVICE, NO_ALERTS, STATUS_DEVICE, UNASKED, alert_text
from guidance.wire.openigtlink.published import PublishedPicture
from guidance.wire.openigtlink.refusals import refusal_status

_NS_PER_S = 1e9
_ALERT_INTERVAL_S = 1.0


class OverlayOutput:
    """Listens on the output port and publishes to all who are connected.

    All calls and callbacks are in the event loop's thread.

    Args:
        settings: `[openigtlink]`.
        heartbeat: (STATUS code, state as JSON text); asked every `heartbeat_s` and for GET_STATUS.
        on_client: a client came or went.
        on_refused: (what a client sent and was not taken, client id); the client has been told by STATUS.
        now_ns: monotonic clock.
        wall_ns: Unix clock, for the headers of what is not made from a frame.
    """

    def __init__(
        self,
        settings: OpenIGTLinkSettings,
        *,
        heartbeat: Callable[[], tuple[int, str]],
        on_client: Callable[[ConnectionEvent], None],
        on_refused: Callable[[Refusal, int], None],
        now_ns: Callable[[], int] = time.monotonic_ns,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._settings = settings
        self._heartbeat = heartbeat
        self._on_client = on_client
        self._on_refused = on_refused
        self._now_ns = now_ns
        self._wall_ns = wall_ns
        self._clients: dict[int, Peer] = {}
        self._streams = Streams(heartbeat=heartbeat, wall_ns=wall_ns)
        self._alerts = NO_ALERTS
        self._last_id = 0
        self._listener = Listener(
            settings.host, settings.output_port, keep_alive_s=settings.keep_alive_s, on_socket=self._accepted
        )
        self._tasks: list[asyncio.Task[None]] = []
        self.closed: Counter[str] = Counter()  # by reason
        self.refused: Counter[tuple[str, str]] = Counter()  # (code, device)
        self.dropped = 0  # pictures of clients that are gone

    async def start(self) -> None:
        """Listen; heartbeats and repeated alerts begin.

        Raises:
            ConfigError: the port is taken or the host is not ours.
        """
        await self._listener.open("openigtlink.output_port")
        self._tasks = [
            start_task(self._beat()),
            start_task(self._repeat_alerts()),
            start_task(self._sweep()),
        ]

    async def stop(self) -> None:
        """Close everything; no task and no socket is left."""
        self._listener.close()
        await end_tasks(self._tasks)
        for peer in list(self._clients.values()):
            peer.close("the server stops")

    @property
    def port(self) -> int:
        """Port it really listens on."""
        return self._listener.port

    def publish_image(
        self,
        device: str,
        *,
        timestamp_igtl: int,
        pixels: Pixels,
        pixels_crc64: int,
        pixel_pitch_mm: tuple[float, float] | None = None,
        metadata: Mapping[str, str] = EMPTY_METADATA,
        lease: object = None,
    ) -> int | None:
        """Send a picture to every client that takes IMAGE, at once.

        Args:
            device: `Overlay`, `OverlayLayer`, ... (`guidance.wire.openigtlink.outputs`).
            timestamp_igtl: header timestamp of the frame it was made from.
            pixels: (rows, columns[, components]), C order, native byte order; not copied and not to be changed while
                the lease is held.
            pixels_crc64: CRC-64 of their bytes.
            lease: any object; let go when no client sends from the pixels and no GET_IMAGE can ask for them.

        Returns:
            Monotonic ns when the first byte was out to the first client; None if none could take it now.
        """
        picture = PublishedPicture(
            device=device,
            timestamp_igtl=timestamp_igtl,
            pixels=pixels,
            pixels_crc64=pixels_crc64,
            pixel_pitch_mm=pixel_pitch_mm,
            metadata=metadata,
            lease=lease,
        )
        return self._streams.publish_picture(picture)

    def publish_message(self, message: Message) -> None:
        """Send POINT, POLYDATA, TRAJ, TRANSFORM, STRING or STATUS to every client that takes it; GET_ answers it.

        TRANSFORM: newest wins. All others are events: a client whose queue overflows is closed and counted.
        """
        self._streams.publish(message, keep=True)

    def withdraw(self, type_name: str, device: str) -> None:
        """Answer no query with this any more (a path or an input is gone)."""
        self._streams.withdraw(type_name, device)

    def set_alerts(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        """All latched alerts, the most important first; sent if changed, and every second while there are any."""
        text = alert_text(alerts)
        if text != self._alerts:
            self._alerts = text
            self._publish_alerts()

    def clients(self) -> list[dict[str, object]]:
        """What the status page shows of each client."""
        now_ns = self._now_ns()
        return [
            {
                "client_id": peer.connection_id,
                "address": peer.address,
                "header_version": peer.header_version,
                "connected_s": (now_ns - peer.opened_ns) / _NS_PER_S,
                "sent_pictures": peer.sent_pictures,
                "sent_bytes": peer.sent_bytes,
                "dropped": {f"{kind} {device}": count for (kind, device), count in peer.outbox.dropped.items()},
                "rate_limited": {
                    f"{kind} {device}": count for (kind, device), count in peer.outbox.rate_limited.items()
                },
                "waiting_events": peer.outbox.waiting_events,
                "waiting_pictures": peer.outbox.waiting_pictures,
                "blocked_s": peer.blocked_ns(now_ns) / _NS_PER_S,
                "takes": self._streams.takes(peer),
            }
            for peer in self._clients.values()
        ]

    def client_pictures(self) -> list[tuple[str, int, int]]:
        """(address, pictures sent, pictures that gave way to newer ones) of each client."""
        return [
            (peer.address, peer.sent_pictures, sum(peer.outbox.dropped.values())) for peer in self._clients.values()
        ]

    @property
    def dropped_pictures(self) -> int:
        """Pictures that gave way to newer ones, all clients since the start."""
        return self.dropped + sum(sum(peer.outbox.dropped.values()) for peer in self._clients.values())

    def answer(self, query: Query, peer: Peer) -> None:
        """Answer a GET_, STT_ or STP_ of any peer, also of the input port; the answer has the query's device name."""
        self._streams.answer(query, peer)

    def _accepted(self, accepted: socket.socket, address: str) -> None:
        host = address.rpartition(":")[0]
        if len(self._clients) >= self._settings.maximum_connections:
            accepted.close()
            self.closed["more connections than allowed"] += 1
            self._tell(0, address, ConnectionState.REFUSED, "more connections than allowed")
            return
        self._last_id += 1
        rate_hz = self._settings.output_rate_hz
        try:
            peer = Peer(
                accepted,
                connection_id=self._last_id,
                decoder=Decoder(maximum_body_bytes=self._settings.maximum_body_mib << 20, pool=BufferPool(keep=2)),
                outbox=Outbox(minimum_interval_ns=round(_NS_PER_S / rate_hz) if rate_hz else 0),
                on_message=self._take,
                on_refusal=self._refuse,
                on_closed=self._gone,
                now_ns=self._now_ns,
                header_version=1 if host in self._settings.version_1_clients else 2,
            )
        except OSError:  # gone between accept and here
            accepted.close()
            return
        self._clients[self._last_id] = peer
        self._tell(self._last_id, peer.address, ConnectionState.CONNECTED)
        asks_not = UNASKED | {"TRAJ"} if host in self._settings.trajectory_clients else UNASKED
        self._streams.add(peer, asks_not)
        if self._alerts != NO_ALERTS:
            peer.send(self._alert_message())

    def _take(self, peer: Peer, message: Message, received_ns: int) -> None:
        if isinstance(message, Query):
            self.answer(message, peer)
        # All else is swallowed: 3D Slicer greets with a STATUS and expects no answer.

    def _refuse(self, peer: Peer, refusal: Refusal) -> None:
        status = refusal_status(self.refused, refusal)
        self._on_refused(refusal, peer.connection_id)
        peer.send(status)

    def _gone(self, peer: Peer, reason: str) -> None:
        del self._clients[peer.connection_id]
        self._streams.remove(peer)
        self.dropped += sum(peer.outbox.dropped.values())
        self.closed[reason] += 1
        self._tell(peer.connection_id, peer.address, ConnectionState.CLOSED, reason)

    async def _beat(self) -> None:
        while True:
            code, text = self._heartbeat()
            now = timestamp_from_unix_ns(self._wall_ns())
            status = Status(device=STATUS_DEVICE, timestamp_igtl=now, code=code, text=text)
            self._streams.publish(status, keep=False)
            await asyncio.sleep(self._settings.heartbeat_s)

    async def _repeat_alerts(self) -> None:
        while True:
            await asyncio.sleep(_ALERT_INTERVAL_S)
            if self._alerts != NO_ALERTS:
                self._publish_alerts()

    def _publish_alerts(self) -> None:
        self._streams.publish(self._alert_message(), keep=False)

    def _alert_message(self) -> Text:
        now = timestamp_from_unix_ns(self._wall_ns())
        return Text(device=ALERT_DEVICE, timestamp_igtl=now, text=self._alerts)

    async def _sweep(self) -> None:
        """Close clients that take nothing."""
        stall_s = self._settings.client_stall_s
        while True:
            await asyncio.sleep(min(1.0, stall_s / 4))
            now_ns = self._now_ns()
            for peer in list(self._clients.values()):
                if peer.blocked_ns(now_ns) > stall_s * _NS_PER_S:
                    peer.close("has taken nothing")

    def _tell(self, client_id: int, address: str, state: ConnectionState, detail: str = "") -> None:
        self._on_client(ConnectionEvent(connection_id=client_id, address=address, state=state, detail=detail))
