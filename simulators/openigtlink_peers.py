"""The sockets of a simulated sender: dials a server or listens, sends to every peer, hears what they say."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from guidance.wire.openigtlink import Decoder, Refusal, Status

_RETRY_S = 0.5
_SEND_TIMEOUT_S = 5.0


@dataclass(slots=True)
class StreamReport:
    """What was sent, and what the peers answered."""

    frames: int = 0
    silent: int = 0
    late: int = 0
    connections: int = 0
    dropped: int = 0
    worst_late_ms: float = 0.0
    refusals: dict[str, int] = field(default_factory=dict)


class Peers:
    """All who are connected.

    Args:
        report: where to count.
        connect: (host, port) of a server to dial, again and again until it answers; None: listen instead.
        listen: (host, port) to listen on; port 0 takes any free one.
    """

    def __init__(
        self,
        report: StreamReport,
        *,
        connect: tuple[str, int] | None = None,
        listen: tuple[str, int] | None = None,
    ) -> None:
        self.address: tuple[str, int] | None = None
        self.listening = asyncio.Event()
        self.connected = asyncio.Event()
        self._report = report
        self._connect, self._listen = connect, listen
        self._peers: set[socket.socket] = set()

    async def run(self) -> None:
        """Never ends by itself; OSError where a port can't be had."""
        await (self._dial() if self._connect else self._accept())

    async def send(self, chunks: Sequence[Any], *, hang_up: bool = False) -> None:
        """To every peer, at the pace of the slowest; one that takes nothing for long is dropped and counted."""
        await asyncio.gather(*(self._send(peer, chunks, hang_up) for peer in list(self._peers)))

    async def _send(self, peer: socket.socket, chunks: Sequence[Any], hang_up: bool) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_SEND_TIMEOUT_S):
                for chunk in chunks:
                    await loop.sock_sendall(peer, chunk)
        except (OSError, TimeoutError):
            self._report.dropped += 1
            self._drop(peer)
            return
        if hang_up:
            self._drop(peer)

    def _drop(self, peer: socket.socket) -> None:
        self._peers.discard(peer)
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_RDWR)

    async def _dial(self) -> None:
        assert self._connect is not None
        loop = asyncio.get_running_loop()
        while True:
            try:
                family, kind, protocol, _, address = (await loop.getaddrinfo(*self._connect, type=socket.SOCK_STREAM))[
                    0
                ]
                peer = socket.socket(family, kind, protocol)
                peer.setblocking(False)
                await loop.sock_connect(peer, address)
            except OSError:
                await asyncio.sleep(_RETRY_S)
                continue
            await self._serve(peer)

    async def _accept(self) -> None:
        assert self._listen is not None
        loop = asyncio.get_running_loop()
        with socket.create_server(self._listen) as listener:
            listener.setblocking(False)
            self.address = listener.getsockname()[:2]
            self.listening.set()
            async with asyncio.TaskGroup() as group:
                while True:
                    peer, _ = await loop.sock_accept(listener)
                    peer.setblocking(False)
                    group.create_task(self._serve(peer))

    async def _serve(self, peer: socket.socket) -> None:
        """Read what the peer says until it goes: status messages are counted, the rest is swallowed."""
        loop = asyncio.get_running_loop()
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._report.connections += 1
        self._peers.add(peer)
        self.connected.set()
        decoder = Decoder()
        try:
            while (count := await loop.sock_recv_into(peer, decoder.next_buffer())) > 0:
                decoder.advance(count)
                while (message := decoder.next_event()) is not None:
                    self._heard(message)
        except OSError:
            pass
        finally:
            self._peers.discard(peer)
            peer.close()

    def _heard(self, message: object) -> None:
        if isinstance(message, Status) and message.code == 12:
            self._report.refusals[message.error_name] = self._report.refusals.get(message.error_name, 0) + 1
        elif isinstance(message, Refusal):
            self._report.refusals["unreadable"] = self._report.refusals.get("unreadable", 0) + 1
