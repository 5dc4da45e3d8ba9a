"""What the injector has delivered since cement is followed, and whether it can be believed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from guidance.messages import InjectorReading

MOST_ML: Final = 60.0  # a sacrum and both ilia take 30 ml; what is told beyond is a broken counter or another unit
_FASTEST_ML_S: Final = 5.0  # by hand, through a cannula: far less
_SLACK_ML: Final = 0.5  # that a counter may step by between two readings
_NS_PER_S: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectorTrack:
    """The injector's readings together.

    Attributes:
        reading: the newest that can be believed; None: none yet.
        told_ns: when the newest of any kind came; None: never.
        refused: words why the newest cannot be believed; "" where it can.
        base_ml: the counter's value where cement began to be followed, less what was delivered before the counter
            began anew; None: no volume told yet.
    """

    reading: InjectorReading | None = None
    told_ns: int | None = None
    refused: str = ""
    base_ml: float | None = None

    @property
    def delivered_ml(self) -> float | None:
        """Since cement is followed; None: not known."""
        if self.reading is None or self.reading.volume_ml is None or self.base_ml is None:
            return None
        return max(0.0, self.reading.volume_ml - self.base_ml)

    @property
    def running(self) -> bool:
        """The plunger moves, as far as is known."""
        return self.reading is not None and self.reading.running


def observed(track: InjectorTrack, reading: InjectorReading, *, started_ns: int | None) -> InjectorTrack:
    """Take a reading in; one that cannot be is counted as none and says why.

    Args:
        started_ns: since when cement is followed; None: it is not.
    """
    refused = _refusal(track, reading)
    told_ns = max(reading.received_ns, track.told_ns or reading.received_ns)
    if refused:
        return replace(track, told_ns=told_ns, refused=refused)
    volume, base = reading.volume_ml, track.base_ml
    if volume is None:
        known = replace(reading, volume_ml=track.reading.volume_ml) if track.reading is not None else reading
        return replace(track, reading=known, told_ns=told_ns, refused="")
    before = track.reading.volume_ml if track.reading is not None else None
    if started_ns is None:
        base = volume
    elif base is None:
        # The counter's first word after the start: what it had delivered before is not this run's.
        began_s = (reading.received_ns - started_ns) / _NS_PER_S
        earlier = reading.elapsed_s is not None and reading.elapsed_s > began_s + 1.0
        base = volume if earlier else 0.0
    elif before is not None and volume < before - _SLACK_ML / 5.0:
        base -= before  # a new syringe: the counter began anew
    return InjectorTrack(reading=reading, told_ns=told_ns, refused="", base_ml=base)


def restarted(track: InjectorTrack) -> InjectorTrack:
    """Cement begins to be followed: from here on counts what comes."""
    volume = track.reading.volume_ml if track.reading is not None else None
    return replace(track, base_ml=volume)


def silent_s(track: InjectorTrack, now_ns: int) -> float | None:
    """Seconds since a reading that can be believed; None: there was none."""
    return None if track.reading is None else max(0.0, (now_ns - track.reading.received_ns) / _NS_PER_S)


def _refusal(track: InjectorTrack, reading: InjectorReading) -> str:
    volume = reading.volume_ml
    if volume is None:
        return ""
    if not math.isfinite(volume):
        return "the injector's volume is no number"
    if volume < 0.0:
        return f"the injector tells a negative volume ({volume:.3g} ml)"
    if volume > MOST_ML:
        return f"the injector tells {volume:.4g} ml, more than can be injected"
    before = track.reading
    if before is not None and before.volume_ml is not None:
        step_s = (reading.received_ns - before.received_ns) / _NS_PER_S
        if volume - before.volume_ml > _SLACK_ML + _FASTEST_ML_S * max(step_s, 0.0):
            return f"the injector's volume jumped from {before.volume_ml:.3g} to {volume:.3g} ml"
    return ""
