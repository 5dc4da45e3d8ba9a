"""Cannulas as far as they lie in the patient now: cement in their lumen is not in the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.messages import F64, PlannedPath
from guidance.tracking.values import SeenInstrument

_TIP_MM: Final = 1.0  # cement stands at the opening: the last of it counts
_KEPT_NS: Final = 1_500_000_000  # an instrument may be missed in some frames; after that it is out
_STEPS: Final = 200


@dataclass(frozen=True, slots=True, eq=False)
class Cannula:
    """A straight tube.

    Attributes:
        hub_lps_mm, tip_lps_mm: (3,) ends of its axis.
        radius_mm: outer.
    """

    hub_lps_mm: F64
    tip_lps_mm: F64
    radius_mm: float

    def holds(self, points_lps_mm: F64, *, around_mm: float = 0.0) -> npt.NDArray[np.bool_]:
        """(N,) which of (N, 3) points lie in it, its last millimetre aside.

        Args:
            points_lps_mm: (N, 3).
            around_mm: so near to its wall is in it too.
        """
        along = self.tip_lps_mm - self.hub_lps_mm
        length = float(np.linalg.norm(along))
        if length <= _TIP_MM:
            return np.zeros(len(points_lps_mm), np.bool_)
        along = along / length
        off = points_lps_mm - self.hub_lps_mm
        foot = off @ along
        away2 = np.einsum("ij,ij->i", off, off) - foot**2
        held: npt.NDArray[np.bool_] = (away2 <= (self.radius_mm + around_mm) ** 2) & (foot <= length - _TIP_MM)
        return held


class Cannulas:
    """Which planned paths have an instrument in them, and how far in it is."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Cannula, int]] = {}

    def see(
        self,
        paths: Sequence[PlannedPath],
        instruments: Sequence[SeenInstrument],
        pixel_from_patient: F64,
        received_ns: int,
    ) -> None:
        """What one frame shows of them."""
        by_id = {path.id: path for path in paths}
        for seen in instruments:
            path = by_id.get(seen.path_id)
            if path is not None:
                self._seen[path.id] = (_cannula(path, seen, pixel_from_patient), received_ns)

    def now(self, now_ns: int) -> tuple[Cannula, ...]:
        """Those that were seen lately."""
        return tuple(one for one, seen_ns in self._seen.values() if now_ns - seen_ns <= _KEPT_NS)


def _cannula(path: PlannedPath, seen: SeenInstrument, pixel_from_patient: F64) -> Cannula:
    entry, target = np.asarray(path.entry_lps_mm), np.asarray(path.target_lps_mm)
    tip = target
    if seen.tip_px is not None:
        # Where along the planned axis, and a little on, the tip's pixel is nearest.
        parts = np.linspace(0.0, 1.3, _STEPS)
        places = entry + parts[:, None] * (target - entry)
        u, v, w = pixel_from_patient[:, :3] @ places.T + pixel_from_patient[:, 3:]
        front = w > 1.0
        if front.any():
            depth = np.where(front, w, 1.0)
            miss = np.where(front, np.hypot(u / depth - seen.tip_px[0], v / depth - seen.tip_px[1]), np.inf)
            tip = places[int(np.argmin(miss))]
    return Cannula(entry, tip, path.diameter_mm / 2.0)
