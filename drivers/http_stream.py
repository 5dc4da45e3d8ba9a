"""WebSocket /api/v1/stream: per frame the state as text, then header and JPEG as one binary message; newest wins."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from typing import Final

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from guidance.ports import CaseApi, LiveUpdate
from guidance.shapes import ClientStatus

# The page calls the connection lost after 1 s without a word, so a standing stream says its state four times a second.
_HEARTBEAT_S: Final = 0.25
# A page that never acknowledges (a hidden tab) still learns the state this often.
_ACKNOWLEDGE_WITHIN_S: Final = 2.0
_MAXIMUM_CLIENTS: Final = 32
_TRY_AGAIN_LATER: Final = 1013

_LENGTH: Final = struct.Struct("<I")


def picture_message(update: LiveUpdate) -> bytes:
    """Little-endian uint32 length of the header, the header's JSON, the JPEG; b"" where there is no picture."""
    if update.header is None or update.picture is None:
        return b""
    header = msgspec.json.encode(update.header)
    return b"".join((_LENGTH.pack(len(header)), header, update.picture))


class _Mailbox:
    """Holds the newest update of each device; an older one that nobody took is counted as dropped."""

    def __init__(self) -> None:
        self.dropped = 0
        self._newest: dict[str, LiveUpdate] = {}
        self._filled = asyncio.Event()

    def put(self, update: LiveUpdate) -> None:
        if self._newest.pop(update.device, None) is not None:
            self.dropped += 1
        self._newest[update.device] = update
        self._filled.set()

    async def take(self) -> LiveUpdate:
        await self._filled.wait()
        # The device that has waited longest first, so that a busy one of two cannot starve the other.
        device = next(iter(self._newest))
        update = self._newest.pop(device)
        if not self._newest:
            self._filled.clear()
        return update


class StreamEndpoint:
    """The stream's endpoint and its clients.

    With `?ack=1` one frame is in flight: the next goes out when the client has sent `{"ack": sequence}` (or any text).
    Without it the pace is the transport's. Either way a slow client loses only its own frames.
    """

    def __init__(self, api: CaseApi) -> None:
        self._api = api
        self._clients: dict[int, tuple[str, _Mailbox, list[int]]] = {}
        self._next_client = 0

    def clients(self) -> tuple[ClientStatus, ...]:
        """Who is connected, and what each has got and lost."""
        return tuple(
            ClientStatus(kind="page", peer=peer, frames=sent[0], dropped=mailbox.dropped)
            for peer, mailbox, sent in self._clients.values()
        )

    async def __call__(self, websocket: WebSocket) -> None:
        await websocket.accept()
        if len(self._clients) >= _MAXIMUM_CLIENTS:
            await websocket.close(_TRY_AGAIN_LATER, f"{_MAXIMUM_CLIENTS} pages are connected; close one")
            return
        mailbox, sent = _Mailbox(), [0]
        peer = f"{websocket.client.host}:{websocket.client.port}" if websocket.client else "unknown"
        self._next_client += 1
        client = self._next_client
        self._clients[client] = (peer, mailbox, sent)
        unsubscribe = self._api.subscribe(mailbox.put)
        acknowledged = asyncio.Event()
        paced = websocket.query_params.get("ack") == "1"
        tasks = (
            asyncio.create_task(self._send(websocket, mailbox, sent, acknowledged if paced else None)),
            asyncio.create_task(_receive(websocket, acknowledged)),
        )
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            unsubscribe()
            del self._clients[client]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(
        self, websocket: WebSocket, mailbox: _Mailbox, sent: list[int], acknowledged: asyncio.Event | None
    ) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                try:
                    async with asyncio.timeout(_HEARTBEAT_S):
                        update = await mailbox.take()
                except TimeoutError:
                    await websocket.send_text(msgspec.json.encode(self._api.geometry()).decode())
                    continue
                if acknowledged is not None:
                    acknowledged.clear()
                await websocket.send_text(msgspec.json.encode(update.state).decode())
                picture = picture_message(update)
                if not picture:
                    continue
                await websocket.send_bytes(picture)
                sent[0] += 1
                if acknowledged is not None:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_ACKNOWLEDGE_WITHIN_S):
                            await acknowledged.wait()


async def _receive(websocket: WebSocket, acknowledged: asyncio.Event) -> None:
    # Receiving is also what notices that the page has gone.
    while (await websocket.receive())["type"] != "websocket.disconnect":
        acknowledged.set()
