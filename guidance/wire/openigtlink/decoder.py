"""A byte stream to messages, whatever the chunking; big bodies are received where their pixels stay."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from guidance.errors import WireError
from guidance.wire.openigtlink.bodies import Empty, Image, Message, Refusal
from guidance.wire.openigtlink.content import is_known_type, parse_content
from guidance.wire.openigtlink.header import (
    EXTENDED_HEADER_BYTES,
    HEADER_BYTES,
    READABLE_VERSIONS,
    ExtendedHeader,
    Header,
    parse_extended_header,
    parse_header,
)
from guidance.wire.openigtlink.image import IMAGE_HEADER_BYTES, parse_image_header
from guidance.wire.openigtlink.metadata import parse_metadata
from guidance.wire.openigtlink.pool import ALIGNMENT, Block, BufferPool
from guidance.wire.openigtlink.running_crc import RunningCrc

# Where a header is awaited, so much is received at once: a header and the start of its body come in one call, no more
# than this is ever moved when the message turns out to be another one than the last, and no more than 282 small
# messages are read in one go.
HEADER_WINDOW_BYTES: Final = 16 * 1024
BODY_WINDOW_BYTES: Final = 512 * 1024  # received piece by piece, so that the CRC runs over what is still in the cache
_NO_EXTENDED_HEADER: Final = ExtendedHeader(size=0, metadata_header_size=0, metadata_size=0, message_id=0)


class Decoder:
    """Turns a byte stream into messages.

    Use: `n = socket.recv_into(decoder.next_buffer())`, `decoder.advance(n)`, then `next_event()` until None.

    Args:
        maximum_body_bytes: largest BODY_SIZE; above it the stream is given up (`Refusal.fatal`).
        maximum_other_bytes: largest body of a type other than IMAGE; a larger one is skipped (`BodyLength`), because
            parsing it would stop everything else.
        pool: where pictures are received; one per connection.
    """

    def __init__(
        self,
        *,
        maximum_body_bytes: int = 64 << 20,
        maximum_other_bytes: int = 1 << 20,
        pool: BufferPool | None = None,
    ) -> None:
        self._maximum_body_bytes = maximum_body_bytes
        self._maximum_other_bytes = maximum_other_bytes
        self._pool = pool or BufferPool()
        self._events: deque[Message | Refusal] = deque()
        self._block: Block | None = None
        self._start = 0  # of the message that is being received, in the block
        self._filled = 0
        self._header: Header | None = None
        self._skipping = 0
        self._scratch = memoryview(bytearray(HEADER_WINDOW_BYTES))
        self._fatal: WireError | None = None
        self._image_bytes = 0  # of the last picture's message: the next one is probably as long
        self._lead = _lead(2)
        self._crc = RunningCrc()

    def next_buffer(self) -> memoryview:
        """Where the next bytes belong; never empty.

        Raises:
            WireError: `BodySize`: the stream was given up.
        """
        if self._fatal is not None:
            raise self._fatal
        if self._skipping:
            return self._scratch[: self._skipping]
        if self._header is not None:
            assert self._block is not None
            return self._block.view[self._filled : min(self._end, self._filled + BODY_WINDOW_BYTES)]
        if self._block is None:
            self._block = self._pool.acquire(self._lead + max(self._image_bytes, HEADER_WINDOW_BYTES))
            self._start = self._filled = self._lead
        elif self._start == self._filled:
            self._start = self._filled = self._lead
        elif len(self._block.view) - self._start < HEADER_WINDOW_BYTES:
            self._move(self._lead, HEADER_WINDOW_BYTES)
        return self._block.view[self._filled : self._filled + HEADER_WINDOW_BYTES]

    def advance(self, received: int) -> None:
        """Say that `received` bytes were written at the start of the last `next_buffer()`."""
        if self._skipping:
            self._skipping -= received
            return
        self._filled += received
        while self._fatal is None and self._step():
            pass

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Copy bytes in; for tests and for callers without a socket of their own."""
        rest = memoryview(data)
        while rest and self._fatal is None:
            window = self.next_buffer()
            count = min(len(window), len(rest))
            window[:count] = rest[:count]
            self.advance(count)
            rest = rest[count:]

    def next_event(self) -> Message | Refusal | None:
        """The next message or refusal in the order of the stream, or None when more bytes are needed."""
        return self._events.popleft() if self._events else None

    def end(self) -> Refusal | None:
        """End of the stream: a `Truncated` refusal if it is inside a message."""
        if self._fatal is not None or not self.inside_message:
            return None
        header = self._header or Header(version=2, type="", device="", timestamp_igtl=0, body_size=0, crc64=0)
        return _refusal(header, "Truncated", "the stream ended inside a message")

    @property
    def inside_message(self) -> bool:
        """True while part of a message has come and the rest has not."""
        return bool(self._skipping or self._header or self._filled > self._start)

    @property
    def _end(self) -> int:
        assert self._header is not None
        return self._start + HEADER_BYTES + self._header.body_size

    def _step(self) -> bool:
        """Do one thing with what is there; False when more bytes are needed."""
        assert self._block is not None
        if self._header is None:
            if self._filled - self._start < HEADER_BYTES:
                return False
            self._take_header(parse_header(self._block.view, self._start))
            return True
        until = min(self._filled, self._end)
        self._crc.update(self._block, until)
        if self._filled < self._end:
            return False
        self._take_message(self._header)
        self._start = self._end
        self._header = None
        if self._block.has_views:  # the picture stays; what came behind it moves on
            if self._filled > self._start:
                self._move(self._lead, HEADER_WINDOW_BYTES)
            else:
                self._pool.release(self._block)
                self._block = None
                self._start = self._filled = 0
                return False
        return True

    def _take_header(self, header: Header) -> None:
        refused = self._unreadable(header)
        if refused is not None:
            self._events.append(refused)
            if refused.fatal:
                self._fatal = WireError(refused.detail, code=refused.code, mend="the connection is closed")
                return
            there = min(self._filled - self._start - HEADER_BYTES, header.body_size)
            self._start += HEADER_BYTES + there
            self._skipping = header.body_size - there
            return
        total = HEADER_BYTES + header.body_size
        lead = self._start
        if header.type == Image.TYPE:
            lead = self._lead = _lead(header.version)
            self._image_bytes = total
        assert self._block is not None
        if (self._start - lead) % ALIGNMENT or self._start + total > len(self._block.view):
            self._move(self._lead, total)
        self._header = header
        self._crc.begin(header, self._start + HEADER_BYTES)

    def _unreadable(self, header: Header) -> Refusal | None:
        code = detail = ""
        if header.body_size > self._maximum_body_bytes:
            code, detail = "BodySize", f"a body of {header.body_size} bytes, at most {self._maximum_body_bytes}"
        elif header.version not in READABLE_VERSIONS:
            code, detail = "Version", f"header version {header.version}"
        elif header.type != Image.TYPE and not is_known_type(header.type):
            code, detail = "UnknownType", f"type {header.type!r}"
        elif header.type != Image.TYPE and header.body_size > self._maximum_other_bytes:
            code, detail = "BodyLength", f"{header.body_size} bytes of {header.type}"
        if not code:
            return None
        return _refusal(header, code, detail, fatal=code == "BodySize")

    def _take_message(self, header: Header) -> None:
        try:
            if self._crc.of_body() != header.crc64:
                raise WireError("the CRC does not fit the body", code="Crc")
            self._events.append(self._parsed(header))
        except WireError as error:
            self._events.append(_refusal(header, error.code, str(error)))

    def _parsed(self, header: Header) -> Message:
        assert self._block is not None
        view, body, end = self._block.view, self._start + HEADER_BYTES, self._end
        extended = _NO_EXTENDED_HEADER
        if header.version >= 2 and header.body_size:
            extended = parse_extended_header(view, body, header.body_size)
        index_at = end - extended.metadata_header_size - extended.metadata_size
        values_at = end - extended.metadata_size
        metadata, problems = parse_metadata(bytes(view[index_at:values_at]), bytes(view[values_at:end]))
        for code, key in problems:
            self._events.append(_refusal(header, code, f"metadata {key!r}", kept=True))
        common: dict[str, Any] = {
            "device": header.device,
            "timestamp_igtl": header.timestamp_igtl,
            "metadata": metadata,
            "header_version": header.version,
            "message_id": extended.message_id,
        }
        content_at = body + extended.size
        if header.type != Image.TYPE:
            return parse_content(header.type, bytes(view[content_at:index_at]), common)
        if content_at == index_at:
            return Empty(type=header.type, **common)
        if index_at - content_at < IMAGE_HEADER_BYTES:
            raise WireError(f"IMAGE of {index_at - content_at} bytes", code="BodyLength", mend="it has at least 72")
        pixels_at = content_at + IMAGE_HEADER_BYTES
        layout = parse_image_header(view, content_at, index_at - pixels_at)
        raw = self._block.array[pixels_at:index_at]
        if pixels_at % layout.dtype.itemsize:  # an extended header longer than ours: rare, and worth one copy
            raw = raw.copy()
        pixels = raw.view(layout.dtype).reshape(layout.shape)
        if layout.swapped:
            pixels.byteswap(inplace=True)
        pixels.flags.writeable = False
        return Image(
            pixels=pixels,
            components=layout.components,
            matrix=layout.matrix,
            coordinate_system=layout.coordinate_system,
            pixels_crc64=self._crc.of_pixels(),
            **common,
        )

    def _move(self, to: int, total: int) -> None:
        """Bring what has come of the present message to offset `to` of a block that holds all of it."""
        assert self._block is not None
        old, start, filled = self._block, self._start, self._filled
        block = self._pool.acquire(to + total + HEADER_WINDOW_BYTES)
        block.array[to : to + filled - start] = old.array[start:filled]
        self._pool.release(old)
        self._block, self._start, self._filled = block, to, to + filled - start


def _refusal(header: Header, code: str, detail: str, *, kept: bool = False, fatal: bool = False) -> Refusal:
    return Refusal(
        code=code,
        device=header.device,
        type=header.type,
        detail=detail,
        kept=kept,
        fatal=fatal,
        header_version=header.version,
    )


def _lead(header_version: int) -> int:
    """Offset in a block at which an IMAGE message begins, so that its first pixel is aligned."""
    before = HEADER_BYTES + (EXTENDED_HEADER_BYTES if header_version >= 2 else 0) + IMAGE_HEADER_BYTES
    return -before % ALIGNMENT
