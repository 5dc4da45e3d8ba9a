"""A view first seen with cement in it is compared with frames in which nothing moves, and over which nothing lies."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from guidance.cement.late_reference import LateReference
from guidance.cement.reference import LEAST_FRAMES, ReferencePicture
from guidance.cement.values import CementFrame

_MOVES: Final = 0.02  # of the picture: a finger is more
_ALIKE: Final = 0.8  # a view and what the volume predicts of it: 0.92 and more; with a hand over it less than 0.7
_WAITS_NS: Final = 4_000_000_000  # for what moves in a new view, or lies over it, to go away
_TRIES_NS: Final = 400_000_000  # a reference takes as long as some frames


class NewView:
    """The first frames of one pose that was first looked at after the start; one thread.

    Attributes:
        reason: why there is no reference yet, in words; "": one can be made.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._since_ns: int | None = None
        self._tried_ns: int | None = None

    def taken(self, frames: tuple[CementFrame, ...], frame: CementFrame) -> tuple[CementFrame, ...]:
        """The newest frames with one more; `reason` says whether to make a reference of them."""
        self._since_ns = frame.time_ns if self._since_ns is None else self._since_ns
        frames = (*frames, frame)[-LEAST_FRAMES:]
        if len(frames) < LEAST_FRAMES:
            self.reason = f"a new view: {len(frames)} of {LEAST_FRAMES} frames to compare with"
        elif self._tried_ns is None or frame.time_ns - self._tried_ns >= _TRIES_NS:
            self.reason = ""
        return frames

    def still(self, reference: ReferencePicture, now_ns: int) -> ReferencePicture | None:
        """The reference, where nothing moves in it; what goes on moving for long is blind in it; None: wait."""
        changed = reference.changed
        share = 0.0 if changed is None else float(changed.mean())
        if changed is None or share <= _MOVES:
            return reference
        if share >= 1.0 or self._waits(now_ns):
            self._not_yet("a new view in which something moves: nothing to compare with yet", now_ns)
            return None
        return replace(reference, valid=np.ascontiguousarray(reference.valid & (1 - changed)))

    def bare(self, late: LateReference | None, now_ns: int) -> bool:
        """Whether nothing lies over it that the volume does not have, or it has been waited for long enough."""
        if covers(late) and self._waits(now_ns):
            self._not_yet("a new view with something over it that the volume does not have", now_ns)
            return False
        return True

    def _waits(self, now_ns: int) -> bool:
        return self._since_ns is not None and now_ns - self._since_ns < _WAITS_NS

    def _not_yet(self, reason: str, now_ns: int) -> None:
        self.reason, self._tried_ns = reason, now_ns


def covers(late: LateReference | None) -> bool:
    """Whether something lies over a view, that can hide any amount of cement."""
    return late is not None and late.alike < _ALIKE
