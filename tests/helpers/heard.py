"""What the OpenIGTLink input driver told, for tests that wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from drivers.openigtlink_events import ConnectionEvent, ConnectionState
from guidance.messages import FluoroFrame, TransformSample
from guidance.wire.openigtlink import Message, Points, Refusal, Trajectories
from tests.helpers.openigtlink_peer import DEADLINE_S


class Heard:
    """What the driver told, and a way to wait for it."""

    def __init__(self) -> None:
        self.frames: list[FluoroFrame] = []
        self.transforms: list[TransformSample] = []
        self.plans: list[Points | Trajectories] = []
        self.others: list[Message] = []
        self.connections: list[ConnectionEvent] = []
        self.refused: list[Refusal] = []
        self._changed = asyncio.Event()

    def hear(self, items: list[Any]) -> Callable[..., None]:
        def take(item: Any, _connection_id: int = 0) -> None:
            items.append(item)
            self._changed.set()

        return take

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not true():
                self._changed.clear()
                await self._changed.wait()

    def states(self) -> list[ConnectionState]:
        return [event.state for event in self.connections]
