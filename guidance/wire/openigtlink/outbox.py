"""What waits for one client: pictures, newest wins; events, never dropped. No socket, no clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

PictureKey = tuple[str, str]  # (type, device)


@dataclass(frozen=True, slots=True, eq=False)
class OutgoingPicture:
    """A picture on its way to any number of clients.

    Attributes:
        parts: buffers in wire order; the pixels are sent from where they lie.
        lease: kept as long as somebody sends from the buffers; whoever reuses them watches it.
        is_picture: False for events.
    """

    parts: tuple[memoryview, ...]
    lease: object = None
    is_picture: bool = True


@dataclass(slots=True)
class _Slot:
    picture: OutgoingPicture
    due_ns: int
    limited: bool


class Outbox:
    """Bounded: one picture per key, and as many events as the limits say.

    Args:
        minimum_interval_ns: least time between two pictures of one key; 0 for no limit.
        maximum_events, maximum_event_bytes: beyond them `offer_event` says no, and the client must be closed.
    """

    def __init__(
        self, *, minimum_interval_ns: int = 0, maximum_events: int = 1000, maximum_event_bytes: int = 8 << 20
    ) -> None:
        self._minimum_interval_ns = minimum_interval_ns
        self._maximum_events = maximum_events
        self._maximum_event_bytes = maximum_event_bytes
        self._events: deque[bytes] = deque()
        self._event_bytes = 0
        self._slots: dict[PictureKey, _Slot] = {}
        self._taken_ns: dict[PictureKey, int] = {}
        self.dropped: dict[PictureKey, int] = {}
        self.rate_limited: dict[PictureKey, int] = {}

    def offer_event(self, message: bytes) -> bool:
        """Queue an event; False: full, nothing was queued."""
        if len(self._events) >= self._maximum_events or self._event_bytes + len(message) > self._maximum_event_bytes:
            return False
        self._events.append(message)
        self._event_bytes += len(message)
        return True

    def offer_picture(self, key: PictureKey, picture: OutgoingPicture, now_ns: int) -> None:
        """Queue a picture; one of the same key that still waits is dropped for it and counted."""
        waiting = self._slots.get(key)
        if waiting is not None:
            # One interval past its time it waits for the client, no longer for the limit.
            limited = waiting.limited and now_ns - waiting.due_ns < self._minimum_interval_ns
            counter = self.rate_limited if limited else self.dropped
            counter[key] = counter.get(key, 0) + 1
            waiting.picture = picture  # keeps its place in the queue, so that no key starves another
            return
        due_ns = now_ns
        if self._minimum_interval_ns and key in self._taken_ns:
            due_ns = max(now_ns, self._taken_ns[key] + self._minimum_interval_ns)
        self._slots[key] = _Slot(picture, due_ns, limited=due_ns > now_ns)

    def take(self, now_ns: int) -> OutgoingPicture | None:
        """The next to send: all waiting events as one, else the first picture that is due."""
        if self._events:
            events = b"".join(self._events)
            self._events.clear()
            self._event_bytes = 0
            return OutgoingPicture((memoryview(events),), is_picture=False)
        for key, slot in self._slots.items():
            if slot.due_ns <= now_ns:
                del self._slots[key]
                self._taken_ns[key] = now_ns
                return slot.picture
        return None

    def due_ns(self) -> int | None:
        """When the next picture may go that must not go yet; None if none waits."""
        return min((slot.due_ns for slot in self._slots.values()), default=None)

    def discard_pictures(self, type_name: str) -> None:
        """Forget waiting pictures of a type (the client has stopped it)."""
        self._slots = {key: slot for key, slot in self._slots.items() if key[0] != type_name}

    @property
    def waiting_events(self) -> int:
        return len(self._events)

    @property
    def waiting_pictures(self) -> int:
        return len(self._slots)
