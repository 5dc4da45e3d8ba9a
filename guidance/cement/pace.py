"""How the frames of one pose come: their usual interval, gaps between them, and how long nothing was seen."""

from __future__ import annotations

from typing import Final

_MEMORY_S: Final = 0.6  # longest averaging of what does not change ...
_LEAST_MEMORY, _MOST_MEMORY = 4.0, 16.0  # ... in frames
_GAP_FRAMES: Final = 3.0
_NS: Final = 1e9


class Pace:
    """Times are on the frames' clock.

    Args:
        gap_s: longer without a frame is a pause.
        seen_until_ns: of the reference's last frame.
        unseen_s: before the first frame, where it is known; else 0.

    Attributes:
        unseen_s: how long nothing was seen before the next frame that is told; 0: no pause.
    """

    def __init__(self, gap_s: float, seen_until_ns: int, unseen_s: float) -> None:
        self.unseen_s = unseen_s
        self._gap_s, self._seen_until_ns = gap_s, seen_until_ns
        self._last_ns: int | None = None
        self._interval_s = 0.0

    @property
    def memory_frames(self) -> float:
        """Over how many frames what does not change is averaged at the most."""
        if self._interval_s <= 0.0:
            return _LEAST_MEMORY
        return min(max(_MEMORY_S / self._interval_s, _LEAST_MEMORY), _MOST_MEMORY)

    def pause(self, now_ns: int) -> None:
        """Nothing was seen until now, the time of the frame that comes next."""
        self.unseen_s = max(now_ns - (self._last_ns or self._seen_until_ns), 0) / _NS
        self._last_ns = None

    def note(self, time_ns: int) -> bool:
        """Take a frame's time; whether it comes after a pause that nobody has told of."""
        paused = False
        if self._last_ns is None:
            late_s = (time_ns - self._seen_until_ns) / _NS
            paused = late_s > self._gap_s and self.unseen_s == 0.0  # cement may have come since the reference
        else:
            passed_s, usual_s = (time_ns - self._last_ns) / _NS, self._interval_s
            paused = usual_s > 0.0 and passed_s > max(self._gap_s, _GAP_FRAMES * usual_s)
            if not paused and passed_s > 0.0:
                self._interval_s = (
                    passed_s if usual_s == 0.0 else usual_s + 0.2 * (min(passed_s, 2 * usual_s) - usual_s)
                )
        if paused:
            self.pause(time_ns)
        self._last_ns = time_ns
        return paused
