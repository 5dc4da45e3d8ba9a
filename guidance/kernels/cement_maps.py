"""Maps that a frame's cement is told in: reused, and only when nobody holds them any more."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from guidance.messages import F32, U8


class Maps:
    """One set of maps; used again only when nobody holds any of them."""

    __slots__ = ("_idle", "arrival", "blind", "box", "grown", "mask", "speed", "thickness")

    def __init__(self, rows: int, columns: int) -> None:
        shape = (rows, columns)
        # Filled, not zeros by the system: its pages would come one by one while frames wait.
        self.mask: U8 = np.full(shape, 0, np.uint8)
        self.blind: U8 = np.full(shape, 1, np.uint8)
        self.grown: U8 = np.full(shape, 0, np.uint8)
        self.thickness: F32 = np.full(shape, 0.0, np.float32)
        self.arrival: F32 = np.full(shape, np.nan, np.float32)
        self.speed: F32 = np.full(shape, np.nan, np.float32)
        self.box = np.array([0, 0, -1, -1], np.int32)
        self._idle = self._references()

    def _references(self) -> int:
        return (
            sys.getrefcount(self.mask)
            + sys.getrefcount(self.blind)
            + sys.getrefcount(self.grown)
            + sys.getrefcount(self.thickness)
            + sys.getrefcount(self.arrival)
            + sys.getrefcount(self.speed)
        )

    @property
    def held(self) -> bool:
        """True while somebody holds one of the maps, or a view of it (exact in CPython with its global lock)."""
        return self._references() > self._idle


def read_only(owner: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A read-only view: whoever holds it holds its owner's memory."""
    view = owner.view()
    view.flags.writeable = False
    return view


class MapRing:
    """Maps that are reused: none is allocated per frame while few are held.

    Args:
        rows, columns: of the pictures.
        keep: sets it remembers; one that is forgotten lives as long as its maps.
    """

    def __init__(self, rows: int, columns: int, keep: int = 6) -> None:
        self._shape, self._keep = (rows, columns), keep
        self._sets: list[Maps] = []
        self.allocated = 0

    def prepare(self, count: int) -> None:
        """Have some sets at least, so that frames need not wait for their memory: 40 ms for two of 2048 x 2048."""
        while len(self._sets) < min(count, self._keep):
            self._sets.append(Maps(*self._shape))
            self.allocated += 1

    def forget(self) -> None:
        """Keep no set: of large pictures each is tens of MB."""
        self._sets = []

    def acquire(self) -> Maps:
        """A set that nobody holds, the most recently used first (its memory is warm)."""
        for number, maps in enumerate(self._sets):
            if not maps.held:
                self._sets.insert(0, self._sets.pop(number))
                return maps
        maps = Maps(*self._shape)
        self.allocated += 1
        self._sets.insert(0, maps)
        del self._sets[self._keep :]
        return maps
