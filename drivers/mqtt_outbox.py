"""What waits for the broker: events in order and bounded, states by topic with the newest winning."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

_NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message to publish; `key` is what a newer one of the same kind replaces, "" for events."""

    topic: str
    payload: bytes
    qos: Literal[0, 1]
    retain: bool
    key: str


class Outbox:
    """Bounded outbox of one broker connection.

    Events leave in order, each until it is acknowledged; beyond `event_limit` the oldest is given up and counted.
    A state waits at most once per key, the newest wins, and leaves no sooner than its interval after the last.

    Args:
        event_limit: events kept while the broker is away.
    """

    def __init__(self, event_limit: int) -> None:
        self.events_lost = 0
        self.states_replaced = 0
        self._event_limit = event_limit
        self._events: deque[Outgoing] = deque()
        self._states: dict[str, Outgoing] = {}
        self._interval_ns: dict[str, int] = {}
        self._earliest_ns: dict[str, int] = {}
        self._changed = asyncio.Event()

    def add_event(self, message: Outgoing) -> None:
        """Keep an event until `sent`."""
        self._events.append(message)
        # The oldest goes: the first may be on its way already, and then comes to no harm.
        if len(self._events) > self._event_limit:
            self._events.popleft()
            self.events_lost += 1
        self._changed.set()

    def set_state(self, message: Outgoing, *, interval_s: float = 0.0) -> None:
        """Keep the newest state of its key."""
        if message.key in self._states:
            self.states_replaced += 1
        self._states[message.key] = message
        self._interval_ns[message.key] = round(interval_s * _NS_PER_S)
        self._changed.set()

    def next_message(self, now_ns: int) -> Outgoing | None:
        """The message to publish now: events first, then the states whose time has come; None when there is none."""
        if self._events:
            return self._events[0]
        for key, message in self._states.items():
            if self._earliest_ns.get(key, 0) <= now_ns:
                return message
        return None

    def sent(self, message: Outgoing, now_ns: int) -> None:
        """The message has reached the broker."""
        if not message.key:
            if self._events and self._events[0] is message:
                self._events.popleft()
            return
        if self._states.get(message.key) is message:
            del self._states[message.key]
        self._earliest_ns[message.key] = now_ns + self._interval_ns[message.key]

    def has_events(self) -> bool:
        """Whether an event still waits."""
        return bool(self._events)

    async def wait(self, now_ns: int) -> None:
        """Until something new came in, or the first waiting state's time has come."""
        due_ns = min((self._earliest_ns.get(key, 0) for key in self._states), default=None)
        try:
            async with asyncio.timeout(None if due_ns is None else max(0, due_ns - now_ns) / _NS_PER_S):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()
