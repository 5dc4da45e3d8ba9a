"""Zone surfaces as outlines of their shadows: the live path's kernel, all zones in one call.

What it finds is specified by a filled drawing of all projected triangles and that drawing's border, outer ones and
holes; `tests/guidance/kernels/test_silhouette.py` holds it against that. There is no fallback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final, Protocol

import numpy as np

from guidance.kernels import _core
from guidance.kernels.reference import F32, I32
from guidance.messages import F64, U8

OUTLINE_NUMBERS: Final = 8
_SURFACES_KEPT: Final = 128


class Surface(Protocol):
    """What a zone's surface must tell; `planning.surface.ZoneSurface` does. One is the same only as itself."""

    def __hash__(self) -> int: ...

    @property
    def vertices_lps_mm(self) -> F32:
        """(V, 3) float32, C order, finite."""

    @property
    def triangles(self) -> I32:
        """(T, 3) int32, C order: vertices of each triangle."""


class OutlineState(IntEnum):
    """What became of a zone on a picture; `TOO_NEAR`: some of it is less than 10 mm in front of the source."""

    NOTHING = 0
    DRAWN = 1
    TOO_NEAR = 2


class Column(IntEnum):
    """Columns of the summary; `DEPTH` is that of the zone's middle, mm from the source along the central ray."""

    STATE = 0
    DEPTH = 1
    FIRST_STROKE = 2
    STROKES = 3
    LEFT = 4
    TOP = 5
    RIGHT = 6
    BOTTOM = 7


@dataclass(frozen=True, slots=True, eq=False)
class SilhouettePlan:
    """What depends on the zones only.

    Attributes:
        meshes: their surfaces made ready.
        colors: (Z, 3) uint8.
    """

    meshes: tuple[_core.ShadowMesh, ...]
    colors: U8


@lru_cache(maxsize=_SURFACES_KEPT)
def shadow_mesh(surface: Surface) -> _core.ShadowMesh:
    """A surface made ready: a millisecond for five thousand triangles, once; whoever has a thread to spare calls it
    before the live one needs it.

    Args:
        surface: best closed; any triangles will do, whichever way round: the shadow is that of all of them.

    Raises:
        TypeError: wrong dtype, shape or memory order.
        ValueError: a vertex that is not finite, a triangle of vertices that there are not.
    """
    return _core.ShadowMesh(surface.vertices_lps_mm, surface.triangles)


def silhouette_plan(surfaces: Sequence[Surface], colors: Sequence[tuple[int, int, int]]) -> SilhouettePlan:
    """Zones made ready, with the colour of each."""
    return SilhouettePlan(
        tuple(shadow_mesh(surface) for surface in surfaces), np.array(colors, np.uint8).reshape(-1, 3)
    )


def silhouette_strokes(
    plan: SilhouettePlan, pixel_from_patient: F64, *, line_width_px: float, picture: tuple[int, int]
) -> F32:
    """The strokes of `silhouettes` alone."""
    return silhouettes(plan, pixel_from_patient, line_width_px=line_width_px, picture=picture)[0]


def silhouettes(
    plan: SilhouettePlan, pixel_from_patient: F64, *, line_width_px: float, picture: tuple[int, int]
) -> tuple[F32, F64]:
    """Outline the shadow of each zone: its outer border and its holes, no folds inside, as far as the picture goes.

    Args:
        plan: Z zones.
        pixel_from_patient: (3, 4) float64 as trusted: w in mm along the central ray, > 0 in front of the source.
        line_width_px: at this picture's size.
        picture: rows and columns; what lies off it is left out.

    Returns:
        Strokes, (S, 8) float32 as `compose_frame` takes them: zone by zone, the farthest from the detector first (a
        radiograph is seen from there), outline by outline, end to end with the shadow on the left where v runs up,
        within 0.1 px of the surface's own outline; of a surface so rough that its contour has more than a thousand
        edges, openings less than a pixel high may be missing. And the summary, (Z, 8) float64 in the plan's order, see
        `Column`: state, depth, strokes, and the box in px that they lie in.

    Raises:
        TypeError: wrong dtype, shape or memory order.
        ValueError: a matrix that is singular or not finite, a bad width, a colour missing.

    Source: the winding number of a closed surface's contour edges counts its sheets over a pixel (Appel, "The notion
        of quantitative invisibility and the machine rendering of solids", 1967, for the principle).
    """
    summary = np.empty((len(plan.meshes), OUTLINE_NUMBERS), np.float64)
    strokes = _core.silhouette_strokes(
        list(plan.meshes), plan.colors, pixel_from_patient, line_width_px, *picture, summary
    )
    return strokes, summary
