"""WebSocket /api/v1/stream: per frame the state as text, then header and JPEG as one binary message; newest wins."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from dataclasses import replace
from typing import Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from guidance.ports import CaseApi, CementApi, LiveUpdate
from guidance.shapes import ClientStatus, GeometryAnswer, LiveState
from guidance.wire.json_text import json_text

# The page calls the connection lost after 1 s without a word, so a standing stream says its state four times a second.
_HEARTBEAT_S: Final = 0.25
# An acknowledgement that was lost must not stop the pictures for good.
_ACKNOWLEDGE_WITHIN_S: Final = 2.0
_MAXIMUM_CLIENTS: Final = 32
_TRY_AGAIN_LATER: Final = 1013

_LENGTH: Final = struct.Struct("<I")


def picture_message(update: LiveUpdate) -> bytes:
    """Little-endian uint32 length of the header, the header's JSON, the JPEG; b"" where there is no picture."""
    if update.header is None or update.picture is None:
        return b""
    header = json_text(update.header)
    return b"".join((_LENGTH.pack(len(header)), header, update.picture))


class _Mailbox:
    """Holds the newest update of each device; a picture that a newer one replaced is counted as dropped."""

    def __init__(self) -> None:
        self.dropped = 0
        self.sent = 0
        self.wake = asyncio.Event()
        self.in_flight_since: float | None = None
        self._newest: dict[str, LiveUpdate] = {}
        self._turns: dict[str, int] = {}  # device -> number of the picture that it had last

    def put(self, update: LiveUpdate) -> None:
        waiting = self._newest.pop(update.device, None)
        if waiting is not None and waiting.picture is not None:
            if update.picture is None:
                # A newer state does not make the picture that waits a lost one.
                update = replace(update, header=waiting.header, picture=waiting.picture)
            else:
                self.dropped += 1
        self._newest[update.device] = update
        self.wake.set()

    def acknowledge(self) -> None:
        self.in_flight_since = None
        self.wake.set()

    def take(self) -> LiveUpdate | None:
        if self.in_flight_since is not None or not self._newest:
            return None
        # The device whose last picture is the oldest first: of two planes that send together none starves the other.
        device = min(self._newest, key=lambda waiting: self._turns.get(waiting, 0))
        update = self._newest.pop(device)
        if update.picture is not None:
            self._turns[device] = max(self._turns.values(), default=0) + 1
        return update


class StreamEndpoint:
    """The stream's endpoint and its clients.

    With `?ack=1` one frame is in flight: the next goes out when the client has sent `{"ack": sequence}` (or any text).
    Without it the pace is the transport's. Either way a slow client loses only its own frames.
    """

    def __init__(self, api: CaseApi, cement: CementApi) -> None:
        self._api = api
        self._cement = cement
        self._clients: dict[int, tuple[str, _Mailbox]] = {}
        self._next_client = 0
        self._dropped = 0  # of pages that are gone

    def clients(self) -> tuple[ClientStatus, ...]:
        """Who is connected, and what each has got and lost."""
        return tuple(
            ClientStatus(kind="page", peer=peer, frames=mailbox.sent, dropped=mailbox.dropped)
            for peer, mailbox in self._clients.values()
        )

    @property
    def dropped_pictures(self) -> int:
        """Pictures that gave way to newer ones, all pages since the start."""
        return self._dropped + sum(mailbox.dropped for _, mailbox in self._clients.values())

    async def __call__(self, websocket: WebSocket) -> None:
        await websocket.accept()
        if len(self._clients) >= _MAXIMUM_CLIENTS:
            await websocket.close(_TRY_AGAIN_LATER, f"{_MAXIMUM_CLIENTS} pages are connected; close one")
            return
        mailbox = _Mailbox()
        self._next_client += 1
        client = self._next_client
        self._clients[client] = (_peer(websocket), mailbox)
        unsubscribe = self._api.subscribe(mailbox.put)
        paced = websocket.query_params.get("ack") == "1"
        tasks = (
            asyncio.create_task(self._send(websocket, mailbox, paced)),
            asyncio.create_task(_receive(websocket, mailbox)),
        )
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            unsubscribe()
            del self._clients[client]
            self._dropped += mailbox.dropped
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, websocket: WebSocket, mailbox: _Mailbox, paced: bool) -> None:
        clock = asyncio.get_running_loop().time
        said = clock()
        # RuntimeError is Starlette's word for a send after the close.
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                since = mailbox.in_flight_since
                if since is not None and clock() - since > _ACKNOWLEDGE_WITHIN_S:
                    mailbox.in_flight_since = None
                mailbox.wake.clear()
                update = mailbox.take()
                if update is None and clock() < said + _HEARTBEAT_S:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout_at(said + _HEARTBEAT_S):
                            await mailbox.wake.wait()
                    continue
                state = self._api.geometry() if update is None else update.state
                await websocket.send_text(json_text(self._with_cement(state)).decode())
                said = clock()
                picture = b"" if update is None else picture_message(update)
                if picture:
                    if paced:
                        mailbox.in_flight_since = said
                    await websocket.send_bytes(picture)
                    mailbox.sent += 1

    def _with_cement(self, state: GeometryAnswer) -> LiveState:
        # As it is now, not as it was with the picture: an alert must not wait for a slow page.
        return LiveState(inputs=state.inputs, cement=self._cement.cement(), alerts=self._cement.alerts().items)


async def _receive(websocket: WebSocket, mailbox: _Mailbox) -> None:
    # Receiving is also what notices that the page has gone.
    while (await websocket.receive())["type"] != "websocket.disconnect":
        mailbox.acknowledge()


def _peer(websocket: WebSocket) -> str:
    return f"{websocket.client.host}:{websocket.client.port}" if websocket.client else "unknown"
