"""Output pictures that are reused: a lease returns its buffers when the last one who sends from them lets go."""

from __future__ import annotations

import weakref
from collections import deque
from typing import Final

from guidance.kernels import FrameBuffers, frame_buffers

_SPARES: Final = 4
_SIZES: Final = 3


class Lease:
    """Holds one set of buffers; whoever keeps the lease keeps the pictures."""

    __slots__ = ("__weakref__", "buffers")

    def __init__(self, buffers: FrameBuffers) -> None:
        self.buffers = buffers


class LeasePool:
    """Spare buffers per picture size; allocation happens only as receivers fall behind or the size changes.

    A lease may end in any thread: a deque's append and pop are atomic.
    """

    def __init__(self) -> None:
        self._spares: dict[tuple[int, int], deque[FrameBuffers]] = {}

    def lease(self, rows: int, columns: int) -> Lease:
        """Buffers of that size, used before where possible."""
        spares = self._spares.get((rows, columns))
        if spares is None:
            while len(self._spares) >= _SIZES:
                del self._spares[next(iter(self._spares))]
            spares = self._spares[rows, columns] = deque(maxlen=_SPARES)
        try:
            buffers = spares.pop()
        except IndexError:
            buffers = frame_buffers(rows, columns)
        lease = Lease(buffers)
        weakref.finalize(lease, spares.append, buffers).atexit = False
        return lease
