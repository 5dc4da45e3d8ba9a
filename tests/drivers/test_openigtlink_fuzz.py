"""Both ports against seeded nonsense with right CRCs: no bug reaches the loop, and a good message behind it is read."""

from __future__ import annotations

import asyncio
import random
import struct
from typing import Any

import numpy as np
import pytest

from drivers.openigtlink_input import FluoroInput
from drivers.openigtlink_output import OverlayOutput
from guidance import kernels
from guidance.config import OpenIGTLinkSettings
from guidance.wire.openigtlink import Points, Query, Text, pack
from tests.helpers.openigtlink_peer import DEADLINE_S, RawPeer

TYPES = (
    b"IMAGE TRANSFORM POSITION POINT TRAJ STRING STATUS CAPABILITY CAPABIL POLYDATA GET_IMAGE GET_CAPABIL GET_STATUS "
    b"GET_POINT GET_TRAJ GET_POLYDATA GET_TRANS GET_TRANSFOR STT_IMAGE STP_IMAGE STT_TRAJ STT_POLYDATA RTS_IMAGE RTS_ "
    b"GET_ STT_\xff NDARRAY \xff\xfe"
).split(b" ")
DEVICES = (b"Fluoro", b"FluoroA", b"", b"\xff" * 20, b"Overlay", b"DetectorToPatient", b"x" * 20)
NUMBERS = (0, 1, 2, 3, 4, 10, 12, 100, 255, 256, 65535, 2**31, 2**32 - 1)


def ignore(*_: object) -> None:
    """A callback that hears nothing."""


def nonsense(chance: random.Random) -> bytes:
    """One message whose length and CRC are right and whose content is anything."""
    kind = chance.choice(TYPES)
    version = chance.choice((1, 1, 2, 2, 2, 3, 4))
    content = _content(chance, kind)
    body = content
    if version in (2, 3) and chance.random() < 0.9:
        index = struct.pack(">H", chance.choice((0, 0, 1, 2, 9)))
        index += struct.pack(">HHI", chance.choice((0, 1, 3)), chance.choice((3, 106, 4)), chance.choice((0, 1, 2, 99)))
        texts = bytes(chance.randrange(256) for _ in range(chance.choice((0, 2, 6))))
        sizes = (chance.choice((12, 12, 12, 14, 0)), len(index), chance.choice((len(texts), len(texts), 7)), 0)
        body = struct.pack(">HHII", *sizes) + content + index + texts
    crc = kernels.crc64(body)
    return struct.pack(">H12s20sQQQ", version, kind, chance.choice(DEVICES), 5, len(body), crc) + body


def _content(chance: random.Random, kind: bytes) -> bytes:
    shape = chance.random()
    if kind == b"IMAGE" and shape < 0.8:
        columns, rows, slices = (chance.choice((0, 1, 2, 3)) for _ in range(3))
        scalar, components = chance.choice((2, 3, 4, 5, 6, 10, 11, 13)), chance.choice((0, 1, 1, 1, 3, 4))
        size = {4: 2, 5: 2, 6: 4, 10: 4, 11: 8}.get(scalar, 1)
        pixels = bytes(columns * rows * slices * components * size + chance.choice((0, 0, 0, 1)))
        matrix = [chance.choice((0.0, 1.0, float("nan"), float("inf"), 3e38)) for _ in range(12)]
        head = (
            chance.choice((1, 1, 1, 2, 3)),
            components,
            scalar,
            chance.choice((1, 2, 2, 0)),
            chance.choice((1, 2, 7)),
        )
        whole = (columns, rows, slices)
        return struct.pack(">HBBBB3H12f3H3H", *head, *whole, *matrix, 0, 0, 0, *whole) + pixels
    if kind == b"POLYDATA" and shape < 0.8:
        return struct.pack(">10I", *(chance.choice(NUMBERS) for _ in range(10))) + bytes(chance.choice((0, 12, 24, 36)))
    sizes = {b"TRANSFORM": 48, b"POSITION": 28, b"POINT": 136, b"TRAJ": 150, b"STATUS": 31, b"STRING": 6}
    size = sizes.get(kind, 0) if shape < 0.7 else chance.randrange(200)
    return bytes(chance.randrange(256) for _ in range(size))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("port", ["input", "output"])
async def test_nonsense_with_right_crcs(port: str, seed: int) -> None:
    bugs: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: bugs.append(context))
    chance = random.Random(seed)
    settings = OpenIGTLinkSettings(input_port=0, output_port=0)
    output = OverlayOutput(settings, heartbeat=lambda: (1, "{}"), on_client=ignore, on_refused=ignore)
    source = FluoroInput(
        settings,
        on_frame=ignore,
        on_transform=ignore,
        on_plan=ignore,
        on_other=ignore,
        on_connection=ignore,
        on_refused=ignore,
        answer_query=output.answer,
    )
    await output.start()
    await source.start()
    pixels = np.zeros((4, 5, 3), np.uint8)
    output.publish_image("Overlay", timestamp_igtl=1, pixels=pixels, pixels_crc64=kernels.crc64(pixels.reshape(-1)))
    output.publish_message(Points(device="Targets"))
    output.publish_message(Text(device="Log", text="x"))
    try:
        peer = await RawPeer.connect(source.port if port == "input" else output.port)
        stream = b"".join(nonsense(chance) for _ in range(400))
        sending = asyncio.create_task(peer.send(stream + pack(Query(verb="GET", subject="STATUS", device="Last"))))
        async with asyncio.timeout(DEADLINE_S):
            while (await peer.receive()).device != "Last":
                pass
        await sending
        peer.close()
    finally:
        await source.stop()
        await output.stop()
    assert bugs == []
