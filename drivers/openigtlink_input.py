"""Fluoroscopy in: listens, dials suite servers, hands messages to callbacks; decides nothing about geometry."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import numpy as np

from drivers.openigtlink_events import ConnectionEvent, ConnectionState
from drivers.openigtlink_peer import Peer
from drivers.openigtlink_sockets import Listener, dial, end_tasks
from drivers.tasks import start_task
from guidance.config import OpenIGTLinkSettings
from guidance.errors import WireError
from guidance.messages import FluoroFrame, TransformSample
from guidance.wire.openigtlink import (
    Decoder,
    Image,
    Message,
    Points,
    Query,
    Refusal,
    Reply,
    Trajectories,
    Transform,
    fluoro_frame,
)
from guidance.wire.openigtlink.backoff import reconnect_delay_s
from guidance.wire.openigtlink.outbox import Outbox
from guidance.wire.openigtlink.ownership import DeviceOwners
from guidance.wire.openigtlink.refusals import refusal_status

_NS_PER_S = 1e9
_SWEEPS_PER_SILENCE = 4


class FluoroInput:
    """Listens on the input port and keeps a connection to every peer of `connect`.

    All callbacks are called in the event loop's thread and must return at once.

    Args:
        settings: `[openigtlink]`.
        on_frame: a picture; its pixels are a view of the receive buffer, not writable, valid as long as it is kept.
        on_transform: a TRANSFORM, numbers as on the wire.
        on_plan: (POINT or TRAJ message, connection id).
        on_other: (any other message, connection id): STATUS, STRING, POSITION, POLYDATA, CAPABILITY, RTS_, empty ones.
        on_connection: a connection came, went, fell silent.
        on_refused: (what was not taken, connection id); the peer has been told by STATUS.
        answer_query: (query, peer) answers GET_, STT_ and STP_; without it every one gets RTS_ with status 1.
        now_ns: monotonic clock.
        jitter: random number in [0, 1) for the reconnect delays.
        sleep: waits between two attempts to connect.
    """

    def __init__(
        self,
        settings: OpenIGTLinkSettings,
        *,
        on_frame: Callable[[FluoroFrame], None],
        on_transform: Callable[[TransformSample], None],
        on_plan: Callable[[Points | Trajectories, int], None],
        on_other: Callable[[Message, int], None],
        on_connection: Callable[[ConnectionEvent], None],
        on_refused: Callable[[Refusal, int], None],
        answer_query: Callable[[Query, Peer], None] | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
        jitter: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._on_frame = on_frame
        self._on_transform = on_transform
        self._on_plan = on_plan
        self._on_other = on_other
        self._on_connection = on_connection
        self._on_refused = on_refused
        self._answer_query = answer_query
        self._now_ns = now_ns
        self._jitter = jitter
        self._sleep = sleep
        silence_ns = round(settings.owner_silence_s * _NS_PER_S)
        self._picture_owners = DeviceOwners(silence_ns)
        self._transform_owners = DeviceOwners(silence_ns)  # apart: invented tool names must not take a picture's
        self._sequences: Counter[str] = Counter()
        self._connections: dict[int, _Connection] = {}
        self._last_id = 0
        self._listener = Listener(
            settings.host, settings.input_port, keep_alive_s=settings.keep_alive_s, on_socket=self._accepted
        )
        self._tasks: list[asyncio.Task[None]] = []
        self.refused: Counter[tuple[str, str]] = Counter()  # (code, device)
        self.received: Counter[str] = Counter()  # by message type

    async def start(self) -> None:
        """Listen and begin to dial.

        Raises:
            ConfigError: the port is taken or the host is not ours.
        """
        await self._listener.open("openigtlink.input_port")
        self._tasks = [start_task(self._keep_dialled(target)) for target in self._settings.connect]
        self._tasks.append(start_task(self._sweep()))

    async def stop(self) -> None:
        """Close everything; no task and no socket is left."""
        self._listener.close()
        await end_tasks(self._tasks)
        for connection in list(self._connections.values()):
            connection.peer.close("the server stops")

    @property
    def port(self) -> int:
        """Port it really listens on."""
        return self._listener.port

    def connections(self) -> list[dict[str, object]]:
        """What the status page shows of each connection."""
        now_ns = self._now_ns()
        return [
            {
                "connection_id": connection.peer.connection_id,
                "address": connection.peer.address,
                "dialled": connection.dialled,
                "devices": list(self._picture_owners.owned_by(connection.peer.connection_id)),
                "transforms": list(self._transform_owners.owned_by(connection.peer.connection_id)),
                "received_bytes": connection.peer.received_bytes,
                "unsent_answers": connection.peer.unsent_events,
                "silent": connection.silent,
                "heard_age_s": (now_ns - connection.peer.received_ns) / _NS_PER_S,
                "connected_s": (now_ns - connection.peer.opened_ns) / _NS_PER_S,
            }
            for connection in self._connections.values()
        ]

    def _accepted(self, accepted: socket.socket, address: str) -> None:
        if len(self._connections) >= self._settings.maximum_connections:
            accepted.close()
            detail = f"more than {self._settings.maximum_connections} connections"
            self._tell(0, address, ConnectionState.REFUSED, detail)
            return
        self._add(accepted, dialled=False)

    def _add(self, connected: socket.socket, *, dialled: bool) -> _Connection | None:
        self._last_id += 1
        try:
            peer = Peer(
                connected,
                connection_id=self._last_id,
                decoder=Decoder(maximum_body_bytes=self._settings.maximum_body_mib << 20),
                outbox=Outbox(),
                on_message=self._take,
                on_refusal=self._refuse,
                on_closed=self._closed,
                now_ns=self._now_ns,
                close_on_overflow=False,  # a source that never reads is no reason to lose its pictures
            )
        except OSError:  # gone between accept and here
            connected.close()
            return None
        connection = self._connections[self._last_id] = _Connection(peer, dialled)
        self._tell(self._last_id, peer.address, ConnectionState.CONNECTED, dialled=dialled)
        return connection

    def _take(self, peer: Peer, message: Message, received_ns: int) -> None:
        peer.header_version = min(message.header_version, 2)
        self.received[message.TYPE or type(message).__name__] += 1
        if isinstance(message, Image):
            self._take_image(peer, message, received_ns)
        elif isinstance(message, Transform):
            if self._transform_owners.claim(message.device, peer.connection_id, received_ns):
                self._on_transform(_transform_sample(message, peer.connection_id, received_ns))
            else:
                self._refuse_owned(peer, message)
        elif isinstance(message, Points | Trajectories):
            self._on_plan(message, peer.connection_id)
        elif isinstance(message, Query):
            if self._answer_query is None:
                peer.send(Reply(device=message.device, subject=message.wire_type.partition("_")[2], status=1))
            else:
                self._answer_query(message, peer)
        else:
            self._on_other(message, peer.connection_id)

    def _take_image(self, peer: Peer, image: Image, received_ns: int) -> None:
        try:
            frame = fluoro_frame(
                image,
                received_ns=received_ns,
                connection_id=peer.connection_id,
                sequence=self._sequences[image.device] + 1,
            )
        except WireError as error:
            self._refuse(peer, _refusal(image, error.code, str(error)))
            return
        if not self._picture_owners.claim(image.device, peer.connection_id, received_ns):
            self._refuse_owned(peer, image)
            return
        self._sequences[image.device] += 1
        self._on_frame(frame)

    def _refuse_owned(self, peer: Peer, message: Message) -> None:
        self._refuse(peer, _refusal(message, "DeviceOwned", "another connection sends under this name"), once=True)

    def _refuse(self, peer: Peer, refusal: Refusal, *, once: bool = False) -> None:
        status = refusal_status(self.refused, refusal)
        self._on_refused(refusal, peer.connection_id)
        connection = self._connections.get(peer.connection_id)
        if connection is None:
            return
        if once or refusal.kept:  # true for every frame of a stream: said once per connection
            key = (refusal.code, refusal.device, refusal.detail)
            if key in connection.said or len(connection.said) > 1000:
                return
            connection.said.add(key)
        peer.header_version = min(max(refusal.header_version, 1), 2)
        peer.send(status)

    def _closed(self, peer: Peer, reason: str) -> None:
        connection = self._connections.pop(peer.connection_id)
        self._picture_owners.forget(peer.connection_id)
        self._transform_owners.forget(peer.connection_id)
        self._tell(peer.connection_id, peer.address, ConnectionState.CLOSED, reason, dialled=connection.dialled)
        connection.closed.set()

    async def _keep_dialled(self, target: str) -> None:
        failures = 0
        while True:
            try:
                connected = await dial(target, keep_alive_s=self._settings.keep_alive_s)
            except OSError as error:  # TimeoutError is one
                failures += 1
                self._tell(0, target, ConnectionState.UNREACHABLE, error.strerror or type(error).__name__, dialled=True)
            else:
                connection = self._add(connected, dialled=True)
                if connection is not None:
                    await connection.closed.wait()
                # A server that takes connections and drops them at once is dialled ever more slowly as well.
                failures = 1 if connection is not None and connection.peer.received_bytes else failures + 1
            await self._sleep(reconnect_delay_s(failures, self._jitter()))

    async def _sweep(self) -> None:
        """Notice silence, and peers that stopped in the middle of something."""
        while True:
            await asyncio.sleep(self._settings.input_silence_s / _SWEEPS_PER_SILENCE)
            now_ns = self._now_ns()
            stall_ns = self._settings.client_stall_s * _NS_PER_S
            for connection in list(self._connections.values()):
                peer = connection.peer
                unheard_ns = now_ns - peer.received_ns
                silent = unheard_ns > self._settings.input_silence_s * _NS_PER_S
                if silent != connection.silent:
                    connection.silent = silent
                    state = ConnectionState.SILENT if silent else ConnectionState.HEARD
                    self._tell(peer.connection_id, peer.address, state, dialled=connection.dialled)
                if peer.inside_message and unheard_ns > stall_ns:
                    self._refuse(peer, Refusal(code="Stalled", device="", type="", detail="a message never ended"))
                    peer.close("stopped in the middle of a message")

    def _tell(
        self, connection_id: int, address: str, state: ConnectionState, detail: str = "", *, dialled: bool = False
    ) -> None:
        self._on_connection(
            ConnectionEvent(connection_id=connection_id, address=address, state=state, detail=detail, dialled=dialled)
        )


class _Connection:
    __slots__ = ("closed", "dialled", "peer", "said", "silent")

    def __init__(self, peer: Peer, dialled: bool) -> None:
        self.peer = peer
        self.dialled = dialled
        self.silent = False
        self.said: set[tuple[str, str, str]] = set()
        self.closed = asyncio.Event()


def _refusal(message: Message, code: str, detail: str) -> Refusal:
    return Refusal(
        code=code, device=message.device, type=message.TYPE, detail=detail, header_version=message.header_version
    )


def _transform_sample(message: Transform, connection_id: int, received_ns: int) -> TransformSample:
    matrix = np.eye(4)
    matrix[:3, :] = np.array(message.matrix, np.float64).reshape(4, 3).T
    return TransformSample(
        name=message.device,
        matrix=matrix,
        timestamp_igtl=message.timestamp_igtl,
        received_ns=received_ns,
        connection_id=connection_id,
    )
