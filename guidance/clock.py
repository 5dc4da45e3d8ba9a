"""A sender's clock against the server's monotonic one: offset and drift fitted from frame times alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

_NS_PER_S: Final = 1_000_000_000
_WINDOW: Final = 64  # blocks kept; each holds the least delayed frame of one second
_BLOCK_NS: Final = _NS_PER_S
_SOUND_AFTER: Final = 10  # seconds with frames
_MAXIMUM_DRIFT: Final = 500e-6  # quartz is within 100 ppm; beyond 500 ppm it is a step, not a drift
_STEP_NS: Final = 2 * _NS_PER_S  # a residual that large is a clock that was set
_FROZEN_AFTER: Final = 5  # frames with one and the same timestamp
_SUSPECTS_BEFORE_STEP: Final = 5  # a lone late frame was queued; several in a row mean that the clock was set back
# Where a clock was set the delay jumps once and stays; in a queue that fills it creeps, in one that drains it falls.
_JUMP_NS: Final = _NS_PER_S
_STEADY_NS: Final = 25_000_000
_WENT_ON_NS: Final = _NS_PER_S // 2  # stamps that go on so across a gap: its frames waited


def ns_from_igtl(timestamp_igtl: int) -> int:
    """Unix nanoseconds of an OpenIGTLink 32.32 fixed-point timestamp; 0 stays 0 (unused)."""
    seconds, fraction = timestamp_igtl >> 32, timestamp_igtl & 0xFFFFFFFF
    return seconds * _NS_PER_S + ((fraction * _NS_PER_S + (1 << 31)) >> 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderClock:
    """What is known of one sender's clock.

    The delay of a frame is never negative, so the least delayed frame of each second carries the offset; the
    drift is the lower envelope's slope (Zhang, Liu, Xia: clock synchronisation by convex hull, INFOCOM 2002).

    Attributes:
        floors: (sender_ns, receive minus send in ns) of the least delayed frame per second, oldest first.
        last_sender_ns: the newest timestamp; 0 while none came.
        same_count: how many frames in a row carried that very timestamp.
        last_delay_ns: receive minus send of the newest frame.
        suspects: how many frames in a row came far later than the fit expects, all after one jump of the delay.
        suspect_delay_ns: delay of the first of them.
        queued: frames come far later than the fit expects since a gap that the stamps know nothing of: they are old,
            however steadily they come.
        steps: how often the clock was set while frames came.
        backwards: how often a timestamp went backwards.
    """

    floors: tuple[tuple[int, int], ...] = ()
    last_sender_ns: int = 0
    same_count: int = 0
    last_delay_ns: int = 0
    suspects: int = 0
    suspect_delay_ns: int = 0
    queued: bool = False
    steps: int = 0
    backwards: int = 0

    @property
    def frozen(self) -> bool:
        """True when frames come but their timestamp stands."""
        return self.last_sender_ns != 0 and self.same_count >= _FROZEN_AFTER

    @property
    def sound(self) -> bool:
        """True when it has kept real time for ten seconds; only then may a lag be read from it."""
        return len(self.floors) >= _SOUND_AFTER and not self.frozen and abs(self._slope()) <= _MAXIMUM_DRIFT

    def monotonic_ns(self, sender_ns: int) -> int | None:
        """The server's monotonic time at which the sender stamped; None while the clock is unknown.

        Args:
            sender_ns: Unix nanoseconds by the sender's clock.
        """
        if not self.floors or sender_ns == 0:
            return None
        slope = self._slope()
        drift = slope if abs(slope) <= _MAXIMUM_DRIFT else 0.0
        return sender_ns + min(delay_ns + round(drift * (sender_ns - at_ns)) for at_ns, delay_ns in self.floors)

    def lag_ns(self, sender_ns: int, received_ns: int) -> int | None:
        """How much longer than the quickest frames this one was on its way; None where the clock can't tell.

        A frame that comes seconds late counts as late until several show that the clock was set: the one that waited
        longest must not pass for the freshest.
        """
        stamped_ns = self.monotonic_ns(sender_ns) if self.sound else None
        return None if stamped_ns is None else max(0, received_ns - stamped_ns)

    def _slope(self) -> float:
        # Slope of the lower envelope between the halves of the window; needs 10 s of frames to mean anything.
        if len(self.floors) < _SOUND_AFTER:
            return 0.0
        half = len(self.floors) // 2
        early = min(self.floors[:half], key=lambda floor: floor[1])
        late = min(self.floors[half:], key=lambda floor: floor[1])
        return (late[1] - early[1]) / (late[0] - early[0]) if late[0] > early[0] else 0.0


def observe(clock: SenderClock, sender_ns: int, received_ns: int) -> SenderClock:
    """Take one frame's times into the fit; a frame is flagged by the result, never discarded.

    Args:
        clock: what was known.
        sender_ns: the frame's timestamp, Unix ns; 0 = unused, which leaves the clock as it is.
        received_ns: the server's monotonic clock at the last byte.
    """
    if sender_ns == 0:
        return clock
    if sender_ns == clock.last_sender_ns:
        return replace(clock, same_count=clock.same_count + 1)
    backwards = clock.backwards + (sender_ns < clock.last_sender_ns)
    delay_ns = received_ns - sender_ns
    seen = replace(clock, last_sender_ns=sender_ns, last_delay_ns=delay_ns, same_count=1, backwards=backwards)
    expected_ns = seen.monotonic_ns(sender_ns)
    if expected_ns is not None and abs(received_ns - expected_ns) > _STEP_NS:
        if received_ns > expected_ns:
            went_on = 0 < sender_ns - clock.last_sender_ns <= _WENT_ON_NS
            jumped = abs(delay_ns - clock.last_delay_ns) > _JUMP_NS
            if went_on and (clock.queued or (jumped and clock.suspects == 0)):
                return replace(seen, queued=True)
            seen = replace(seen, queued=False)
            if clock.suspects == 0 and abs(delay_ns - clock.last_delay_ns) <= _JUMP_NS:
                return seen
            if clock.suspects == 0 or abs(delay_ns - clock.suspect_delay_ns) > _STEADY_NS:
                return replace(seen, suspects=1, suspect_delay_ns=delay_ns)
            if clock.suspects + 1 < _SUSPECTS_BEFORE_STEP:
                return replace(seen, suspects=clock.suspects + 1)
        return replace(seen, floors=((sender_ns, delay_ns),), suspects=0, queued=False, steps=clock.steps + 1)
    seen = replace(seen, suspects=0, queued=False)
    if not seen.floors:
        return replace(seen, floors=((sender_ns, delay_ns),))
    last_sender_ns, last_delay_ns = seen.floors[-1]
    if sender_ns // _BLOCK_NS == last_sender_ns // _BLOCK_NS:
        if delay_ns >= last_delay_ns:
            return seen
        return replace(seen, floors=(*seen.floors[:-1], (sender_ns, delay_ns)))
    return replace(seen, floors=(*seen.floors, (sender_ns, delay_ns))[-_WINDOW:])
