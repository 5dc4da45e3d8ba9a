"""One OpenIGTLink connection: from the socket to the decoder, from the outbox to the socket, no copies between."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from drivers.openigtlink_sockets import address_text
from guidance.wire.openigtlink import Decoder, Message, Refusal, pack
from guidance.wire.openigtlink.outbox import Outbox, OutgoingPicture, PictureKey

READ_BUDGET_BYTES: Final = 4 << 20  # then other connections have their turn,
READ_BUDGET_MESSAGES: Final = 64  # as they have after so many messages
FAREWELL_S: Final = 1.0  # so long a peer that is closed for its fault can still read why
_NS_PER_S: Final = 1e9

OnMessage = Callable[["Peer", Message, int], None]
OnRefusal = Callable[["Peer", Refusal], None]
OnClosed = Callable[["Peer", str], None]


class Peer:
    """Owns one connected, non-blocking socket; everything happens in the event loop's thread.

    It reads with `recv_into` until the kernel has no more, because each turn through the event loop costs more than a
    read, and writes with `sendmsg` straight from the published buffers, at once and not in the loop's next turn.

    Args:
        connection_id: the driver's running number.
        outbox: what waits to be sent.
        header_version: of what is sent to this peer; may change.
        close_on_overflow: what a full event queue means: the connection is closed, or (False) the event is not sent
            and counted, because what the peer sends us is worth more than what it does not read.
        on_message: (peer, message, monotonic ns when its last byte was in).
        on_refusal: what could not be taken.
        on_closed: once, with the reason in words.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        connection_id: int,
        decoder: Decoder,
        outbox: Outbox,
        on_message: OnMessage,
        on_refusal: OnRefusal,
        on_closed: OnClosed,
        now_ns: Callable[[], int],
        header_version: int = 2,
        close_on_overflow: bool = True,
    ) -> None:
        self.connection_id = connection_id
        self.address = address_text(connection.getpeername())
        self.header_version = header_version
        self.outbox = outbox
        self.closed = False
        self.received_bytes = self.sent_bytes = self.sent_pictures = self.unsent_events = 0
        self.opened_ns = self.received_ns = now_ns()
        self.first_byte_ns: int | None = None
        self._close_on_overflow = close_on_overflow
        self._socket = connection
        self._decoder = decoder
        self._on_message = on_message
        self._on_refusal = on_refusal
        self._on_closed = on_closed
        self._now_ns = now_ns
        self._loop = asyncio.get_running_loop()
        self._parts: list[memoryview] = []
        self._sending: OutgoingPicture | None = None
        self._blocked_ns: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._farewell: asyncio.TimerHandle | None = None
        self._reason = ""
        self._losing = False
        self._loop.add_reader(connection.fileno(), self._read)

    def send(self, message: Message) -> bool:
        """Queue one message and try to send it; False: the event queue is full, or the connection closed."""
        return self.send_event(pack(message, self.header_version))

    def send_event(self, message: bytes) -> bool:
        """The same with packed bytes."""
        if self.closed or self._farewell is not None:
            return False
        if not self.outbox.offer_event(message):
            self.unsent_events += 1
            if self._close_on_overflow:
                self.close("event queue overflow")
            return False
        self.flush()
        return True

    def send_picture(self, key: PictureKey, picture: OutgoingPicture) -> int | None:
        """Queue a picture, newest wins, and try to send it.

        Returns:
            Monotonic ns when its first byte was out, None when it has to wait.
        """
        if self.closed or self._farewell is not None:
            return None
        self.outbox.offer_picture(key, picture, self._now_ns())
        self.first_byte_ns = None
        self.flush(picture)
        return self.first_byte_ns

    def flush(self, awaited: OutgoingPicture | None = None) -> None:
        """Send what the kernel takes; `awaited` is the picture whose first byte is timed."""
        if self._blocked_ns is not None:
            return  # the loop calls when the socket is writable again
        while not self.closed:
            if not self._parts and not self._take(awaited):
                return
            if not self._send(awaited):
                return

    def close(self, reason: str) -> None:
        """Close at once; what waits is dropped, leases are let go."""
        if self.closed:
            return
        self.closed = True
        for timer in (self._timer, self._farewell):
            if timer is not None:
                timer.cancel()
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        self._parts = []
        self._sending = None
        self._on_closed(self, self._reason or reason)

    def close_with_farewell(self, reason: str) -> None:
        """Take nothing more, let the peer read what was said, then close (a close with unread input resets)."""
        if self.closed or self._farewell is not None:
            return
        self._reason = reason
        self._farewell = self._loop.call_later(FAREWELL_S, self.close, reason)
        if not self._parts:
            self._shut()

    def blocked_ns(self, now_ns: int) -> int:
        """How long the peer has taken nothing of what is being sent."""
        return 0 if self._blocked_ns is None else now_ns - self._blocked_ns

    @property
    def inside_message(self) -> bool:
        """True while part of an incoming message is missing."""
        return self._decoder.inside_message

    def _read(self) -> None:
        budget, messages = READ_BUDGET_BYTES, READ_BUDGET_MESSAGES
        while budget > 0 and messages > 0 and not self.closed:
            saying_farewell = self._farewell is not None
            buffer = memoryview(bytearray(1 << 16)) if saying_farewell else self._decoder.next_buffer()
            try:
                count = self._socket.recv_into(buffer)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._lost(error.strerror or type(error).__name__)
                return
            if count == 0:
                self._lost("closed by the peer")
                return
            budget -= count
            if saying_farewell:
                continue
            self.received_ns = self._now_ns()
            self.received_bytes += count
            self._decoder.advance(count)
            messages -= self._hand_out()

    def _hand_out(self) -> int:
        count = 0
        while not self.closed and (event := self._decoder.next_event()) is not None:
            count += 1
            if isinstance(event, Refusal):
                self._on_refusal(self, event)
                if event.fatal:
                    self.close_with_farewell(f"{event.code}: {event.detail}")
                    break
            else:
                self._on_message(self, event, self.received_ns)
        return count

    def _lost(self, reason: str) -> None:
        if self._losing:  # the answer to what was refused could not be sent either
            return
        self._losing = True
        refusal = None if self._farewell is not None else self._decoder.end()
        if refusal is not None:
            self._on_refusal(self, refusal)
        self.close(reason)

    def _take(self, awaited: OutgoingPicture | None) -> bool:
        now_ns = self._now_ns()
        picture = self.outbox.take(now_ns)
        if picture is None:
            self._sending = None
            if self._farewell is not None:
                self._shut()
            else:
                self._wake_at(self.outbox.due_ns(), now_ns)
            return False
        self._sending = picture
        self._parts = list(picture.parts)
        return True

    def _send(self, awaited: OutgoingPicture | None) -> bool:
        # The kernel sends the first segment as soon as it is full and copies megabytes after that, so the time before
        # the call is nearer to the first byte's than the time after it (20 us against 1 ms for 3 MiB on loopback).
        began_ns = self._now_ns()
        try:
            count = self._socket.sendmsg(self._parts)
        except (BlockingIOError, InterruptedError):
            count = 0
        except OSError as error:
            self._lost(error.strerror or type(error).__name__)
            return False
        if count and self._sending is awaited and self.first_byte_ns is None:
            self.first_byte_ns = began_ns
        self.sent_bytes += count
        self._drop_sent(count)
        if not self._parts:
            self.sent_pictures += self._sending is not None and self._sending.is_picture
            return True
        self._blocked_ns = began_ns
        self._loop.add_writer(self._socket.fileno(), self._writable)
        return False

    def _writable(self) -> None:
        self._loop.remove_writer(self._socket.fileno())
        self._blocked_ns = None
        self.flush()

    def _drop_sent(self, count: int) -> None:
        while self._parts and count >= len(self._parts[0]):
            count -= len(self._parts.pop(0))
        if count:
            self._parts[0] = self._parts[0][count:]

    def _wake_at(self, due_ns: int | None, now_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due_ns is not None:
            self._timer = self._loop.call_later(max(0, due_ns - now_ns) / _NS_PER_S, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.flush()

    def _shut(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.close(self._reason)
