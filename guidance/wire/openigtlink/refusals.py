"""Refusals, counted by name and answered by STATUS (contract fine print 22)."""

from __future__ import annotations

from collections import Counter
from typing import Final

from guidance.wire.openigtlink.bodies import Refusal, Status, StatusCode

_MAXIMUM_NAMES: Final = 1000  # a peer that invents device names must not fill memory and metrics


def refusal_status(counts: Counter[tuple[str, str]], refusal: Refusal) -> Status:
    """Count a refusal and say it to the peer.

    Args:
        counts: (code, device) -> how often; of further devices only the code is counted once there are 1000.

    Returns:
        STATUS code 12, the refusal's code as error name, its running number as subcode.
    """
    key = (refusal.code, refusal.device)
    if key not in counts and len(counts) >= _MAXIMUM_NAMES:
        key = (refusal.code, "")
    counts[key] += 1
    return Status(
        device=refusal.device,
        code=StatusCode.UNKNOWN_INSTRUCTION,
        subcode=counts[key],
        error_name=refusal.code,
        text=f"{refusal.type}: {refusal.detail}",
    )
