"""The lattice that cement is put together on: coarser for a larger body, and the zones' distances on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from guidance.cement.rays import BinnedView, enclosed_box
from guidance.cement.zone_fields import Lattice, ZoneDistances, ZoneField
from guidance.planning.working_grid import WorkingGrid

_SPACINGS_MM: Final = (1.0, 1.5, 2.0, 3.0)
_MOST_VOXELS: Final = 250_000
_REACH_OF_GROWTH: Final = 3.0  # where an older view makes cement e^-3 times as likely, the box ends
_NEAR_MM, _FAR_MM = 200.0, 2000.0  # from the source: nobody is nearer, no detector farther


class BodyLattice:
    """Its spacing never becomes finer.

    Args:
        fields: of the zones.

    Attributes:
        distances: of the zones, at the spacing of now.
    """

    def __init__(self, fields: Sequence[ZoneField]) -> None:
        self._level = 0
        self.set_fields(fields)

    def set_fields(self, fields: Sequence[ZoneField]) -> None:
        """Other zones from now on."""
        self._fields = tuple(fields)
        self.distances = ZoneDistances(self._fields, self.spacing_mm)

    @property
    def spacing_mm(self) -> float:
        """Of the lattice as it is now."""
        return _SPACINGS_MM[self._level]

    def box(self, views: Sequence[BinnedView], ahead_mm: Sequence[float | None]) -> tuple[Lattice, WorkingGrid] | None:
        """First lattice point and grid of what is looked at; coarser from now on where it would be too much.

        Args:
            views: that show cement.
            ahead_mm: of each, how far cement may have gone since it; None: it is of now.

        Returns:
            None where the views have no place in common.
        """
        margins_mm = [0.0 if mm is None else _REACH_OF_GROWTH * mm for mm in ahead_mm]
        corners = enclosed_box(views, margins_mm, near_mm=_NEAR_MM, far_mm=_FAR_MM)
        if corners is None:
            return None
        while True:
            low = np.floor(corners[0] / self.spacing_mm).astype(np.intp) - 1
            high = np.ceil(corners[1] / self.spacing_mm).astype(np.intp) + 2
            if np.prod((high - low).astype(np.float64)) <= _MOST_VOXELS or self._level == len(_SPACINGS_MM) - 1:
                break
            self._level += 1
            self.distances = ZoneDistances(self._fields, self.spacing_mm)
        i, j, k = (int(n) for n in high - low)
        x, y, z = (float(n) * self.spacing_mm for n in low)
        return low, WorkingGrid((x, y, z), self.spacing_mm, (k, j, i))
