"""OpenIGTLink's fixed header, its extended header and its time stamps: bytes <-> values, never a body."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from guidance.errors import WireError

HEADER: Final = struct.Struct(">H12s20sQQQ")  # V TYPE DEVICE_NAME TIME_STAMP BODY_SIZE CRC64 (protocol: header.md)
HEADER_BYTES: Final = HEADER.size  # 58
EXTENDED_HEADER: Final = struct.Struct(">HHII")  # EXT_HEADER_SIZE METADATA_HEADER_SIZE METADATA_SIZE MESSAGE_ID
EXTENDED_HEADER_BYTES: Final = EXTENDED_HEADER.size  # 12 in header.md and in all code; v3_proposal.md's 14 is a slip
READABLE_VERSIONS: Final = (1, 2, 3)  # protocol 3 has header version 2: a 3 is read like a 2 and never sent
SENT_VERSIONS: Final = (1, 2)
_NS_PER_S: Final = 1_000_000_000
_PRINTABLE: Final = bytes(byte if 0x20 <= byte < 0x7F else ord("?") for byte in range(256))


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The 58 bytes before every body.

    Attributes:
        version: header version as on the wire.
        type: message type, at most 12 ASCII characters.
        device: device name, at most 20 ASCII characters.
        timestamp_igtl: 32.32 fixed point seconds since 1970; 0 = unused.
        body_size: bytes that follow.
        crc64: CRC-64/ECMA-182 of the body.
    """

    version: int
    type: str
    device: str
    timestamp_igtl: int
    body_size: int
    crc64: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedHeader:
    """The first bytes of a version 2 body; sizes in bytes."""

    size: int
    metadata_header_size: int
    metadata_size: int
    message_id: int


def parse_header(buffer: bytes | memoryview, offset: int = 0) -> Header:
    """Read 58 bytes; any bytes are a header, so this cannot fail."""
    version, type_bytes, device_bytes, timestamp, body_size, crc = HEADER.unpack_from(buffer, offset)
    return Header(
        version=version,
        type=name_text(type_bytes),
        device=name_text(device_bytes),
        timestamp_igtl=timestamp,
        body_size=body_size,
        crc64=crc,
    )


def pack_header(header: Header) -> bytes:
    """Write 58 bytes.

    Raises:
        WireError: version 3 or unknown (never sent), or a name that does not fit its field.
    """
    if header.version not in SENT_VERSIONS:
        raise WireError(f"header version {header.version} is never sent", code="Version", mend="send 1 or 2")
    return HEADER.pack(
        header.version,
        fixed_name(header.type, 12),
        fixed_name(header.device, 20),
        header.timestamp_igtl,
        header.body_size,
        header.crc64,
    )


def parse_extended_header(buffer: bytes | memoryview, offset: int, body_size: int) -> ExtendedHeader:
    """Read and check the extended header at the start of a version 2 body.

    Raises:
        WireError: `ExtendedHeader`: shorter than 12 bytes, or sizes that do not fit into the body.
    """
    if body_size < EXTENDED_HEADER_BYTES:
        raise WireError(f"a version 2 body of {body_size} bytes has no extended header", code="ExtendedHeader")
    size, metadata_header_size, metadata_size, message_id = EXTENDED_HEADER.unpack_from(buffer, offset)
    if size < EXTENDED_HEADER_BYTES or size + metadata_header_size + metadata_size > body_size:
        raise WireError(
            f"extended header {size}, metadata {metadata_header_size} + {metadata_size} bytes in a body of {body_size}",
            code="ExtendedHeader",
        )
    return ExtendedHeader(
        size=size,
        metadata_header_size=metadata_header_size,
        metadata_size=metadata_size,
        message_id=message_id,
    )


def name_text(field: bytes) -> str:
    """Text of a NUL-padded ASCII field; every byte that is not printable ASCII becomes `?`, so it fits back in."""
    return field.split(b"\0", 1)[0].translate(_PRINTABLE).decode("ascii")


def fixed_name(text: str, size: int) -> bytes:
    """NUL-padded ASCII field of `size` bytes.

    Raises:
        WireError: `Name`: not ASCII, or longer than the field.
    """
    if not text.isascii() or len(text) > size:
        raise WireError(f"{text!r} does not fit a field of {size} ASCII characters", code="Name", mend="shorten it")
    return text.encode("ascii").ljust(size, b"\0")


def timestamp_from_unix_ns(unix_ns: int) -> int:
    """32.32 fixed point seconds from Unix nanoseconds (rounded to nearest); 0 stays 0, unused."""
    seconds, fraction_ns = divmod(unix_ns, _NS_PER_S)
    return (seconds << 32) + ((fraction_ns << 32) + _NS_PER_S // 2) // _NS_PER_S


def unix_ns_from_timestamp(timestamp_igtl: int) -> int:
    """Unix nanoseconds from 32.32 fixed point seconds (rounded to nearest); 0 stays 0, unused."""
    seconds, fraction = timestamp_igtl >> 32, timestamp_igtl & 0xFFFFFFFF
    return seconds * _NS_PER_S + ((fraction * _NS_PER_S + (1 << 31)) >> 32)
