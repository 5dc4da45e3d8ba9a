"""What one pose tells of scatter that holds for all others of a room: how wide it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.messages import F64

_LEAST_CHANCE: Final = 0.01  # of a width: what one picture tells may be wrong


@dataclass(slots=True, eq=False)
class ScatterRoom:
    """How wide scatter is, by the poses whose body the volume holds whole: grid and air gap are the same in all.

    Attributes:
        logs: (widths,) logarithm of how likely each is; None before such a pose was seen.
    """

    logs: F64 | None = None

    def learn(self, chances: F64) -> None:
        """(widths,) of the newest pose that tells."""
        self.logs = np.log(np.maximum(chances, _LEAST_CHANCE))
