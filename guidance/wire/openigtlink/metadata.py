"""Metadata of version 2 messages: bytes <-> mapping of texts; says which entries it could not keep."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from guidance.errors import WireError

CHARSET_ASCII: Final = 3  # IANA MIBenum
CHARSET_UTF8: Final = 106
_COUNT: Final = struct.Struct(">H")
_ENTRY: Final = struct.Struct(">HHI")  # KEY_SIZE VALUE_ENCODING VALUE_SIZE

Problem = tuple[str, str]  # (code, key)


def pack_metadata(metadata: Mapping[str, str]) -> tuple[bytes, bytes]:
    """Write the index (with its count, always there) and the keys and values.

    Raises:
        WireError: `Metadata`: a key that is empty or not ASCII, or more entries than the index can hold (8191).
    """
    if 2 + len(metadata) * _ENTRY.size > 0xFFFF:
        raise WireError(f"{len(metadata)} metadata entries", code="Metadata", mend="at most 8191 fit")
    index, values = [_COUNT.pack(len(metadata))], [b""]
    for key, value in metadata.items():
        key_bytes = _key_bytes(key)
        value_bytes = value.encode("utf-8")
        charset = CHARSET_ASCII if len(value_bytes) == len(value) else CHARSET_UTF8
        index.append(_ENTRY.pack(len(key_bytes), charset, len(value_bytes)))
        values += (key_bytes, value_bytes)
    return b"".join(index), b"".join(values)


def parse_metadata(index: bytes, values: bytes) -> tuple[dict[str, str], tuple[Problem, ...]]:
    """Read the metadata of one message.

    Args:
        index: METADATA_HEADER_SIZE bytes; empty means none.
        values: METADATA_SIZE bytes.

    Returns:
        The entries that could be kept, and what was wrong with others: `MetadataKey` (not ASCII, dropped),
        `MetadataCharset` (value in another charset than 3 or 106, or not valid in it, dropped),
        `MetadataTwice` (the last one is kept).

    Raises:
        WireError: `Metadata`: index and sizes contradict each other, so no entry can be believed.
    """
    if not index:
        return {}, ()
    count = _COUNT.unpack_from(index)[0] if len(index) >= _COUNT.size else 0xFFFF
    if _COUNT.size + count * _ENTRY.size > len(index):
        raise WireError(f"{count} metadata entries in an index of {len(index)} bytes", code="Metadata")
    entries: dict[str, str] = {}
    problems: list[Problem] = []
    position = 0
    for number in range(count):
        key_size, charset, value_size = _ENTRY.unpack_from(index, _COUNT.size + number * _ENTRY.size)
        key_end = position + key_size
        if key_end + value_size > len(values):
            raise WireError(f"metadata entry {number} ends behind the metadata", code="Metadata")
        key = values[position:key_end].decode("ascii", "backslashreplace")
        value_bytes = values[key_end : key_end + value_size]
        position = key_end + value_size
        if not values[key_end - key_size : key_end].isascii():
            problems.append(("MetadataKey", key))
            continue
        try:
            value = decode_text(value_bytes, charset)
        except WireError:
            problems.append(("MetadataCharset", key))
            continue
        if key in entries:
            problems.append(("MetadataTwice", key))
        entries[key] = value
    return entries, tuple(problems)


def decode_text(text: bytes, charset: int) -> str:
    """Text in charset 3 or 106; both as UTF-8, because senders label UTF-8 as ASCII (OpenIGTLinkIO's default).

    Raises:
        WireError: `Charset`: another charset, or bytes that are not UTF-8.
    """
    if charset not in (CHARSET_ASCII, CHARSET_UTF8):
        raise WireError(f"charset {charset}", code="Charset", mend="send US-ASCII (3) or UTF-8 (106)")
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        raise WireError("text is not UTF-8", code="Charset", mend="send US-ASCII (3) or UTF-8 (106)") from None


@lru_cache(maxsize=1024)  # the same few dozen keys go out with every frame
def _key_bytes(key: str) -> bytes:
    if not key or not key.isascii() or len(key) > 0xFFFF:
        raise WireError(f"metadata key {key!r}", code="Metadata", mend="keys are ASCII and not empty")
    return key.encode("ascii")
