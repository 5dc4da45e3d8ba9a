"""Reusable receive buffers: one is used again only when no picture that lies in it is alive any more."""

from __future__ import annotations

import sys
from typing import Final

import numpy as np

from guidance.messages import U8

ALIGNMENT: Final = 64  # one cache line, and the widest vector load of any CPU the kernels run on
_GRAIN: Final = 64 * 1024


class Block:
    """One buffer: `array` is its aligned memory, `view` the same for a socket to receive into.

    Whether a picture in it is alive is told by the reference count of `_owner`, the array that owns the memory: NumPy
    makes the owner the base of every view, and of every view of a view, so a slice of a slice counts as well. A weak
    reference to the picture that was handed out would not see those. (Exact in CPython with its global lock.)
    """

    __slots__ = ("_idle_references", "_owner", "array", "in_use", "view")

    def __init__(self, capacity: int) -> None:
        self._owner = np.empty(capacity + ALIGNMENT, np.uint8)
        shift = -self._owner.ctypes.data % ALIGNMENT
        self.array: U8 = self._owner[shift : shift + capacity]
        self.view = self.array.data
        self.in_use = True
        self._idle_references = self._references()

    @property
    def has_views(self) -> bool:
        """True while an array that somebody holds lies in this memory."""
        return self._references() > self._idle_references

    def _references(self) -> int:
        return sys.getrefcount(self._owner)


class BufferPool:
    """Hands out blocks; never waits, never refuses: what it does not have it allocates.

    Args:
        keep: how many blocks it remembers; one that is forgotten lives as long as its pictures.
    """

    def __init__(self, keep: int = 12) -> None:
        self._keep = keep
        self._blocks: list[Block] = []
        self.allocated = 0

    def acquire(self, size: int) -> Block:
        """A block of at least `size` bytes that nobody uses, the most recently used first (its memory is warm)."""
        for number, block in enumerate(self._blocks):
            fits = size <= len(block.view) <= 4 * size + _GRAIN
            if fits and not block.in_use and not block.has_views:
                self._blocks.insert(0, self._blocks.pop(number))
                block.in_use = True
                return block
        block = Block(-(-size // _GRAIN) * _GRAIN)
        self.allocated += 1
        self._blocks.insert(0, block)
        del self._blocks[self._keep :]
        return block

    def release(self, block: Block) -> None:
        """Says that nothing more will be received into this block; pictures in it may live on."""
        block.in_use = False
