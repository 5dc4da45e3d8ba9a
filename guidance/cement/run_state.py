"""Whether cement is followed: of all inputs of a run together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from guidance.cement.looks import InputProgress
from guidance.config import CementSettings
from guidance.messages import CementBody, CementRun, CementState

_NS_PER_S: Final = 1e9
_MORE_MAY_BE_THERE: Final = "cement is not seen and may have gone on: there is at least what was seen last"


def state_of(
    run: CementRun, inputs: Mapping[str, InputProgress], now_ns: int, settings: CementSettings
) -> tuple[CementState, str]:
    """One input that is followed is enough, and what the others lack is said.

    Args:
        run: that is going on.
        inputs: by device, as of now.
        now_ns: server's monotonic clock.
        settings: how long a gap is none yet.

    Returns:
        the state, and what is missing in words; "" where nothing is.
    """
    if not inputs:
        waited_s = (now_ns - run.started_ns) / _NS_PER_S
        if waited_s > settings.gap_s:
            return CementState.PAUSED, f"no frame for {waited_s:.1f} s"
        return CementState.TRACKING, "no frame yet"
    reasons, good, bad = [], 0, 0
    for device, each in sorted(inputs.items()):
        where = f"{device}: " if len(inputs) > 1 else ""
        if not each.current:
            silent = (now_ns - each.seen.view.received_ns) / _NS_PER_S
            reasons.append(f"{where}no frame for {silent:.1f} s")
        elif not each.seen.view.seen:
            bad += 1
            reasons.append(f"{where}{each.seen.view.reason or each.seen.view.code or 'cement cannot be told'}")
        else:
            good += 1
            if each.seen.view.reason:
                reasons.append(f"{where}{each.seen.view.reason}")
    state = CementState.TRACKING if good else CementState.LOST if bad else CementState.PAUSED
    return state, "; ".join(reasons)


def at_least(body: CementBody) -> CementBody:
    """While cement flows and nothing is seen there is as much as there was, or more."""
    if body.volume_high_ml is None:
        return body
    return replace(body, volume_ml=None, volume_high_ml=None, reason=_MORE_MAY_BE_THERE)
