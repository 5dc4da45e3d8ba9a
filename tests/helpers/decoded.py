"""What the OpenIGTLink decoder makes of a stream, and a picture to put into one."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np

from guidance.wire.openigtlink import Decoder, Message, Refusal
from tests.helpers.openigtlink_peer import image_content, message

PIXELS = np.arange(12, dtype=np.uint8).tobytes()
AFTER = message("STRING", "After", struct.pack(">HH", 3, 2) + b"ok")


def decoded_events(
    stream: bytes, chunks: Iterable[int] = (), decoder: Decoder | None = None
) -> list[Message | Refusal]:
    decoder = decoder or Decoder()
    events: list[Message | Refusal] = []
    at = 0
    for size in (*chunks, len(stream)):
        decoder.feed(stream[at : at + size])
        at += size
        while (event := decoder.next_event()) is not None:
            events.append(event)
    return events


def picture_message(**changes: object) -> bytes:
    columns, rows, pixels = changes.pop("columns", 4), changes.pop("rows", 3), changes.pop("pixels", PIXELS)
    return message("IMAGE", "Fluoro", image_content(columns, rows, pixels, **changes))
