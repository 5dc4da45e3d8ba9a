"""The OpenIGTLink output driver under test: served, published to, and what it told of its clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import numpy as np

from drivers.openigtlink_events import ConnectionEvent, ConnectionState
from drivers.openigtlink_output import OverlayOutput
from guidance import kernels
from guidance.config import OpenIGTLinkSettings
from guidance.wire.openigtlink import (
    Point,
    Points,
    PolyData,
    Refusal,
    Trajectories,
    Trajectory,
)
from tests.helpers.openigtlink_peer import DEADLINE_S, Received

TIMESTAMP = 0x5F0000007FFFFFFF
LINE = PolyData(device="Paths", points_ras_mm=np.zeros((2, 3), np.float32), lines=((0, 1),))
TARGETS = Points(device="Targets", points=(Point(name="S1 entry", position_ras_mm=(1.0, 2.0, 3.0)),))
PATHS = Trajectories(
    device="Paths", trajectories=(Trajectory(entry_ras_mm=(1.0, 2.0, 3.0), target_ras_mm=(4.0, 5.0, 6.0)),)
)


def ignore(*_: object) -> None:
    """A callback that hears nothing."""


class Lease:
    """Stands for the pool's buffers."""


class Clients:
    """What the driver told of its clients, and a way to wait for it."""

    def __init__(self) -> None:
        self.events: list[ConnectionEvent] = []
        self.refused: list[Refusal] = []
        self._changed = asyncio.Event()

    def on_client(self, event: ConnectionEvent) -> None:
        self.events.append(event)
        self._changed.set()

    def on_refused(self, refusal: Refusal, _client_id: int) -> None:
        self.refused.append(refusal)

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not true():
                self._changed.clear()
                await self._changed.wait()

    async def connected(self, count: int) -> None:
        await self.until(lambda: sum(event.state is ConnectionState.CONNECTED for event in self.events) == count)

    async def closed(self, count: int) -> None:
        await self.until(lambda: sum(event.state is ConnectionState.CLOSED for event in self.events) == count)


@asynccontextmanager
async def serving(clients: Clients, **changes: Any) -> AsyncIterator[OverlayOutput]:
    arguments = {key: changes.pop(key) for key in ("now_ns", "wall_ns", "heartbeat") if key in changes}
    changes.setdefault("heartbeat_s", 3600.0)  # the first one comes at the start, before any client
    settings = msgspec.structs.replace(OpenIGTLinkSettings(output_port=0), **changes)
    arguments.setdefault("heartbeat", lambda: (1, '{"state": "ready"}'))
    driver = OverlayOutput(settings, on_client=clients.on_client, on_refused=clients.on_refused, **arguments)
    before, bugs = asyncio.all_tasks(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: bugs.append(context))
    await driver.start()
    await asyncio.sleep(0)  # the first heartbeat, to nobody
    try:
        yield driver
    finally:
        await driver.stop()
        assert asyncio.all_tasks() <= before
        assert bugs == []


def publish(driver: OverlayOutput, number: int = 0, *, size: int = 8, device: str = "Overlay", **fields: Any) -> Any:
    pixels = np.full((size, size + 1, 3), number % 256, np.uint8)
    fields.setdefault("metadata", {"XRay.FrameNumber": str(number)})
    return driver.publish_image(
        device,
        timestamp_igtl=fields.pop("timestamp_igtl", TIMESTAMP + number),
        pixels=pixels,
        pixels_crc64=kernels.crc64(pixels.reshape(-1)),
        **fields,
    )


def first_pixel(picture: Received) -> int:
    return picture.content[72]
