"""What planning hands to the live picture: zones with their surfaces, and each path's margin and views; values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from guidance.kernels.silhouette import Surface
from guidance.messages import Zone
from guidance.planning.answers import View


@dataclass(frozen=True, slots=True, eq=False)
class ZonesOnPicture:
    """The zones of the active frame, as far as they can be drawn; the same object while nothing of it changes.

    Attributes:
        surfaces: zones that have a surface; those of them with `shown` are outlined.
        missing: names of zones that should be shown and have no surface yet.
        shown: the operator's switch for all of them.
    """

    surfaces: tuple[tuple[Zone, Surface], ...] = ()
    missing: tuple[str, ...] = ()
    shown: bool = True


NO_ZONES: Final = ZonesOnPicture()


@dataclass(frozen=True, slots=True)
class PathAid:
    """What planning knows of a path beside its ends; what is not known is not drawn.

    Attributes:
        margin_mm: `Clearance.margin_mm`: what is left all round the instrument, negative where it is not; None: not
            known.
        side_hole_depths_mm: of the instrument's side holes, from its tip.
        views: of `Views`, best first; their `off_deg` is not read, for it is as old as the answer.
    """

    margin_mm: float | None = None
    side_hole_depths_mm: tuple[float, ...] = ()
    views: tuple[View, ...] = ()
