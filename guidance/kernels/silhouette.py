"""Zone surfaces as outlines of their shadows: the live path's kernel, all zones in one call."""

from __future__ import annotations

from typing import Protocol

from guidance.kernels.reference import F32, I32


class Surface(Protocol):
    """What a zone's surface must tell (`planning.surface.ZoneSurface` does)."""

    @property
    def vertices_lps_mm(self) -> F32:
        """(V, 3) float32, C order, finite."""

    @property
    def triangles(self) -> I32:
        """(T, 3) int32, C order: vertex numbers, counter-clockwise seen from outside."""
