"""Is a frame live? Its own word, number, pulse and content are checked; any repeat, of a run too, makes it held."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

_LARGEST_NUMBER: Final = 2**63 - 1
_REMEMBERED: Final = 1024  # frames at least; a C-arm that shows its last run again has half a minute of it


_Seen = tuple[int, int, int, int]  # frame number, checksum, rows, columns


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFacts:
    """What of one frame bears on its liveness.

    Attributes:
        received_ns: server's monotonic clock.
        stated_live: `XRay.Live`; None where the sender says nothing.
        frame_number: `XRay.FrameNumber`; None if absent or not a whole number.
        pulse_number: `XRay.PulseNumber`; None if absent.
        pixels_crc64: checksum of the pixels alone.
        rows, columns: size, so that equal checksums of different pictures don't meet.
    """

    received_ns: int
    stated_live: bool | None
    frame_number: int | None
    pulse_number: int | None
    pixels_crc64: int
    rows: int
    columns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """What one input's frames have shown so far.

    Attributes:
        last: facts of the newest frame; None before the first.
        held: the newest frame is held or repeated.
        why: words for `held`; "" while live.
        live_ns: when the newest live picture came; of a held one, when its content was first seen.
        runs: how often the frame number went backwards (a new run began).
        repeats: how many frames counted as held.
        recent, older: (number, content) of the frames before, the newest `_REMEMBERED` to twice as many.
    """

    last: FrameFacts | None = None
    held: bool = False
    why: str = ""
    live_ns: int = 0
    runs: int = 0
    repeats: int = 0
    recent: frozenset[_Seen] = frozenset()
    older: frozenset[_Seen] = frozenset()

    def age_ns(self, now_ns: int) -> int:
        """How old the picture on the screen is, by the server's monotonic clock."""
        return max(0, now_ns - self.live_ns)


def observe(liveness: Liveness, facts: FrameFacts) -> Liveness:
    """Take one frame in.

    A frame that is held keeps the age of the picture it repeats; one that says it is held but shows a new
    picture has the age of its own arrival.
    """
    last = liveness.last
    same_content = last is not None and _content(last) == _content(facts)
    why = _why_held(last, facts, same_content) or _why_replayed(liveness, facts)
    backwards = (
        last is not None
        and last.frame_number is not None
        and facts.frame_number is not None
        and facts.frame_number < last.frame_number
    )
    keeps_age = bool(why) and last is not None and (same_content or _same_number(last, facts))
    recent, older = _remembered(liveness, facts)
    return replace(
        liveness,
        recent=recent,
        older=older,
        last=facts,
        held=bool(why),
        why=why,
        live_ns=liveness.live_ns if keeps_age else facts.received_ns,
        runs=liveness.runs + backwards,
        repeats=liveness.repeats + bool(why),
    )


def whole_number(text: str | None) -> int | None:
    """A frame or pulse number from its metadata text; None where it is missing, empty or not a whole number."""
    text = (text or "").strip()
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        return None
    number = int(text)
    return number if number <= _LARGEST_NUMBER else None


def _content(facts: FrameFacts) -> tuple[int, int, int]:
    return facts.pixels_crc64, facts.rows, facts.columns


def _same_number(last: FrameFacts, facts: FrameFacts) -> bool:
    return facts.frame_number is not None and facts.frame_number == last.frame_number


def _why_held(last: FrameFacts | None, facts: FrameFacts, same_content: bool) -> str:
    if facts.stated_live is False:
        return "the sender says that the picture is held"
    if last is None:
        return ""
    if same_content:
        return "the same picture came again"
    if _same_number(last, facts):
        return f"frame number {facts.frame_number} came again"
    if facts.pulse_number is not None and facts.pulse_number == last.pulse_number:
        return f"pulse number {facts.pulse_number} came again"
    return ""


def _seen(facts: FrameFacts) -> _Seen | None:
    return None if facts.frame_number is None else (facts.frame_number, *_content(facts))


def _why_replayed(liveness: Liveness, facts: FrameFacts) -> str:
    # Noise makes every exposure another picture. A picture alone may come again from a simple source that cycles
    # through a few; with the very number that it had before, it is an old run that is shown again.
    seen = _seen(facts)
    if seen is not None and (seen in liveness.recent or seen in liveness.older):
        return f"frame {facts.frame_number} came again with its old picture: a run is shown again"
    return ""


def _remembered(liveness: Liveness, facts: FrameFacts) -> tuple[frozenset[_Seen], frozenset[_Seen]]:
    seen = _seen(facts)
    if seen is None or seen in liveness.recent:
        return liveness.recent, liveness.older
    if len(liveness.recent) >= _REMEMBERED:
        return frozenset((seen,)), liveness.recent
    return liveness.recent | {seen}, liveness.older
