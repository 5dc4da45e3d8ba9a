"""Output pictures that are reused: a lease returns its buffers when the last one who sends from them lets go."""

from __future__ import annotations

import weakref
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.kernels import dirty_shape
from guidance.messages import U8

_SPARES: Final = 4


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class OverlayBuffers:
    """One frame's pictures.

    Attributes:
        rgb: (rows, columns, 3) uint8, burned in.
        layer: (rows, columns, 4) uint8, straight alpha.
        dirty: tiles of `layer` that carry something from its last use.
    """

    rgb: U8
    layer: U8
    dirty: U8


class Lease:
    """Holds one `OverlayBuffers`; whoever keeps the lease keeps the pictures."""

    __slots__ = ("__weakref__", "buffers")

    def __init__(self, buffers: OverlayBuffers) -> None:
        self.buffers = buffers


class BufferPool:
    """Spare buffers per picture size; thread-safe, for a deque's append and pop are atomic."""

    def __init__(self) -> None:
        self._spares: dict[tuple[int, int], deque[OverlayBuffers]] = {}

    def lease(self, rows: int, columns: int) -> Lease:
        """Buffers of that size, used before where possible; allocation happens only as readers fall behind."""
        shape = (rows, columns)
        if shape not in self._spares:
            # A stream that changes its size does not come back soon: forget what it used before.
            self._spares = {key: spares for key, spares in self._spares.items() if len(self._spares) < _SPARES}
            self._spares[shape] = deque(maxlen=_SPARES)
        spares = self._spares[shape]
        try:
            buffers = spares.pop()
        except IndexError:
            buffers = OverlayBuffers(
                np.zeros((rows, columns, 3), np.uint8),
                np.zeros((rows, columns, 4), np.uint8),
                np.zeros(dirty_shape(rows, columns), np.uint8),
            )
        lease = Lease(buffers)
        weakref.finalize(lease, spares.append, buffers).atexit = False
        return lease
