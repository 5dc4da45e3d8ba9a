"""Where cement is put: the cannula's way, what is near, and the ways that cement can take out of the bone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.messages import F32, Vector3
from simulators.cement.grown import LeakKind
from simulators.cement.zone_bodies import Body
from simulators.pelvis_shapes import Tube

Inside = Callable[[F32], F32]  # (..., 3) LPS mm -> (...,) distance, negative within

# Speeds of the front relative to the marrow round the tip.
VEIN_SPEED: Final = (12.0, 28.0)  # cement in a vein runs away: some mm to two cm in a second
BEHIND_SPEED: Final = 2.5  # in loose tissue behind a breach


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Way:
    """A way out of the bone: a channel through the cortex, and what it opens into.

    Attributes:
        kind, name: what leaks, and how its site is called.
        channel: through the cortex outwards; a fissure runs from the tip to its begin.
        into: distance to the space behind, negative in it; None: the channel ends blind.
        into_hu: bone denser than that keeps out what is behind.
        zone_name: of the zone that it goes into; "" for none.
    """

    kind: LeakKind
    name: str
    channel: Tube
    into: Inside | None = None
    into_hu: float = 300.0
    zone_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """One place for cement in one patient.

    Attributes:
        name: for people.
        tip_lps_mm, hub_lps_mm: of the cannula.
        entry_lps_mm: where it goes into the bone.
        zone_bodies: what POST /zones takes.
        ways: by what leaks, the needle's own track aside.
    """

    name: str
    tip_lps_mm: Vector3
    hub_lps_mm: Vector3
    entry_lps_mm: Vector3
    zone_bodies: tuple[Body, ...]
    ways: tuple[Way, ...]

    @property
    def axis(self) -> tuple[float, float, float]:
        """Unit vector of the cannula, inwards."""
        along = np.subtract(self.tip_lps_mm, self.hub_lps_mm)
        x, y, z = (float(value) for value in along / np.linalg.norm(along))
        return (x, y, z)

    @property
    def depth_mm(self) -> float:
        """Of the tip in the bone."""
        return float(np.linalg.norm(np.subtract(self.tip_lps_mm, self.entry_lps_mm)))

    def ways_of(self, kind: LeakKind) -> tuple[Way, ...]:
        """All that leak in this way."""
        return tuple(way for way in self.ways if way.kind == kind)


def near(*distances: Inside) -> Inside:
    """What lies within all of them; the later are asked only where the earlier hold."""

    def distance(points: F32) -> F32:
        found = distances[0](points)
        for other in distances[1:]:
            within = found <= 0.0
            found[within] = np.maximum(found[within], other(points[within]))
        return found

    return distance


def shell(outer: Inside, thickness_mm: float) -> Inside:
    """The layer just within a surface."""

    def distance(points: F32) -> F32:
        depth = outer(points)
        layer: F32 = np.maximum(depth, -depth - np.float32(thickness_mm))
        return layer

    return distance


def ball(center_lps_mm: Vector3, radius_mm: float) -> Inside:
    """Within a distance of a place."""
    center = np.asarray(center_lps_mm, np.float32)

    def distance(points: F32) -> F32:
        apart: F32 = np.linalg.norm(points - center, axis=-1).astype(np.float32) - np.float32(radius_mm)
        return apart

    return distance


def chain(points: list[Vector3], radius_mm: float) -> Tube:
    """A channel of one radius."""
    return Tube(tuple(points), (radius_mm,) * len(points))
