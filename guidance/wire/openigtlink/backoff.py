"""How long to wait before dialling a peer again."""

from __future__ import annotations

from typing import Final

FIRST_S: Final = 0.2
LONGEST_S: Final = 5.0  # a suite that comes back is seen within one breath of the operator


def reconnect_delay_s(failures: int, jitter: float) -> float:
    """Doubling with every failure, spread so that many clients of one server don't come at once.

    Args:
        failures: in a row, from 1.
        jitter: random number in [0, 1).

    Returns:
        Between half of and the whole of `FIRST_S * 2**(failures - 1)`, at most `LONGEST_S`.
    """
    whole = min(LONGEST_S, FIRST_S * 2.0 ** min(failures - 1, 16))
    return whole * (0.5 + 0.5 * jitter)
