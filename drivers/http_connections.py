"""Bounds on HTTP connections: how many there may be, and how long a request may take to come in."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# Pages, probes and programs of one suite are a dozen; file descriptors that HTTP takes are missing to the live path.
MAXIMUM_CONNECTIONS: Final = 128
PATIENCE_S: Final = 5.0


class BoundedProtocol(H11Protocol):
    """Uvicorn's HTTP/1.1, which by itself waits for ever for a request to begin or to go on.

    A request has one to two times `PATIENCE_S` to come in whole. Class attributes, because uvicorn makes the objects.
    """

    maximum_connections = MAXIMUM_CONNECTIONS
    patience_s = PATIENCE_S
    closed: Counter[str]  # of one listener; set by `bounded_protocol`

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        # Asyncio sets this only where a socket names its protocol, and a listener's does not. Without it an answer's
        # body waits for the acknowledgement of its head: 40 ms of each answer of a drag.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._awaited: object = None
        self._look = self.loop.call_later(self.patience_s, self._lose_patience)
        if len(self.connections) > self.maximum_connections:
            self.closed["http_too_many_connections"] += 1
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._look.cancel()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._look.cancel()
        super().handle_websocket_upgrade(event)

    def _lose_patience(self) -> None:
        waits = self.cycle is None or self.cycle.response_complete or self.conn.their_state is h11.SEND_BODY
        # The same request is awaited as at the last look; False where none is.
        awaited: Any = (self.cycle,) if waits else False
        if waits and awaited == self._awaited:
            self.closed["http_slow_request"] += 1
            self.transport.abort()
            return
        self._awaited = awaited
        self._look = self.loop.call_later(self.patience_s, self._lose_patience)


def bounded_protocol() -> type[BoundedProtocol]:
    """A class of its own for one listener, so that its counts are its own."""
    return type("ListenersProtocol", (BoundedProtocol,), {"closed": Counter()})
