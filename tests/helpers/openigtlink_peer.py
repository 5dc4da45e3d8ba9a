"""The other end of an OpenIGTLink wire, with struct tables and CRC of its own: shares no code with our codec."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

DEADLINE_S = 20.0


def crc64(data: bytes) -> int:
    """CRC-64/ECMA-182, bit by bit from its definition; for short messages."""
    crc = 0
    for byte in data:
        crc ^= byte << 56
        for _ in range(8):
            crc = (crc << 1) ^ 0x142F0E1EBA9EA3693 if crc >> 63 else crc << 1
    return crc


def crc64_fast(data: bytes) -> int:
    """The same by a table of 256 entries, for pictures."""
    crc = 0
    for byte in data:
        crc = ((crc << 8) & 0xFFFFFFFFFFFFFFFF) ^ _TABLE[(crc >> 56) ^ byte]
    return crc


_TABLE = [crc64(bytes([number])) for number in range(256)]


def message(
    type_name: str,
    device: str,
    content: bytes,
    *,
    version: int = 2,
    timestamp: int = 0,
    metadata: Mapping[str, str] | None = None,
    message_id: int = 0,
    crc: int | None = None,
    extended: bytes | None = None,
    tail: bytes | None = None,
) -> bytes:
    """A whole message by the public tables (header.md); `crc`, `extended` and `tail` replace what would be right."""
    body = content
    if version >= 2:
        entries = metadata or {}
        index = struct.pack(">H", len(entries))
        texts = b""
        for key, value in entries.items():
            encoded = value.encode()
            index += struct.pack(">HHI", len(key), 3 if value.isascii() else 106, len(encoded))
            texts += key.encode() + encoded
        if extended is None:
            extended = struct.pack(">HHII", 12, len(index), len(texts), message_id)
        body = extended + content + (index + texts if tail is None else tail)
    return header(type_name, device, body, version=version, timestamp=timestamp, crc=crc) + body


def header(
    type_name: str,
    device: str,
    body: bytes,
    *,
    version: int = 2,
    timestamp: int = 0,
    crc: int | None = None,
    size: int | None = None,
) -> bytes:
    """The 58 bytes before a body; `crc` and `size` replace what would be right."""
    return struct.pack(
        ">H12s20sQQQ",
        version,
        type_name.encode(),
        device.encode(),
        timestamp,
        len(body) if size is None else size,
        crc64_fast(body) if crc is None else crc,
    )


def image_content(
    columns: int,
    rows: int,
    pixels: bytes,
    *,
    scalar: int = 3,
    components: int = 1,
    endian: int = 2,
    slices: int = 1,
    image_version: int = 1,
    sub_offset: tuple[int, int, int] = (0, 0, 0),
    sub_size: tuple[int, int, int] | None = None,
    matrix: tuple[float, ...] = (0.5, 0, 0, 0, 0.25, 0, 0, 0, 1, 0, 0, 0),
    coordinates: int = 1,
) -> bytes:
    """Content of an IMAGE (image.md)."""
    size = (columns, rows, slices)
    return (
        struct.pack(">HBBBB3H", image_version, components, scalar, endian, coordinates, *size)
        + struct.pack(">12f", *matrix)
        + struct.pack(">3H3H", *sub_offset, *(sub_size or size))
        + pixels
    )


@dataclass(frozen=True)
class Received:
    """One message as it came, split by hand."""

    version: int
    type: str
    device: str
    timestamp: int
    content: bytes
    metadata: dict[str, str] = field(default_factory=dict)

    def status(self) -> tuple[int, str, str]:
        """(code, error name, text) of a STATUS."""
        code, _, name = struct.unpack_from(">Hq20s", self.content)
        assert self.content.endswith(b"\0")
        return code, name.rstrip(b"\0").decode(), self.content[30:-1].decode()

    def text(self) -> str:
        """Text of a STRING."""
        _, length = struct.unpack_from(">HH", self.content)
        assert len(self.content) == 4 + length
        return self.content[4:].decode()


class RawPeer:
    """A blocking-free raw client for asyncio tests; every wait has a deadline."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def connect(cls, port: int, *, receive_buffer: int | None = None, host: str = "127.0.0.1") -> RawPeer:
        connection = socket.socket()
        connection.setblocking(False)
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(connection, (host, port)), DEADLINE_S)
        return cls(connection)

    async def send(self, data: bytes) -> None:
        await asyncio.wait_for(self._loop.sock_sendall(self.socket, data), DEADLINE_S)

    async def receive(self, *, check_crc: bool = True) -> Received:
        """The next message.

        Raises:
            EOFError: closed by the other side.
        """
        head = await self._exactly(58)
        version, type_name, device, timestamp, size, crc = struct.unpack(">H12s20sQQQ", head)
        body = await self._exactly(size)
        if check_crc:
            assert crc64_fast(body) == crc
        content, metadata = body, {}
        if version >= 2:
            assert len(body) >= 14, "an empty body makes upstream receivers lose their place"
            skip, index_size, texts_size, _ = struct.unpack_from(">HHII", body)
            texts_at = len(body) - texts_size
            index_at = texts_at - index_size
            content = body[skip:index_at]
            for number in range(struct.unpack_from(">H", body, index_at)[0]):
                key_size, _, value_size = struct.unpack_from(">HHI", body, index_at + 2 + 8 * number)
                key = body[texts_at : texts_at + key_size].decode()
                texts_at += key_size
                metadata[key] = body[texts_at : texts_at + value_size].decode()
                texts_at += value_size
        return Received(
            version, type_name.rstrip(b"\0").decode(), device.rstrip(b"\0").decode(), timestamp, content, metadata
        )

    async def receive_type(self, *types: str, check_crc: bool = True) -> Received:
        """The next message of one of these types; others are skipped."""
        while True:
            received = await self.receive(check_crc=check_crc)
            if received.type in types:
                return received

    async def closed_by_other_side(self) -> bool:
        """Read until the connection ends."""
        try:
            while await asyncio.wait_for(self._loop.sock_recv(self.socket, 1 << 20), DEADLINE_S):
                pass
        except ConnectionError:
            pass
        return True

    def close(self) -> None:
        self.socket.close()

    async def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = await asyncio.wait_for(self._loop.sock_recv(self.socket, size - len(data)), DEADLINE_S)
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)
