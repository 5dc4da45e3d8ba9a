"""Where cement is put: the cannula's tip and way, what is near, and the ways that cement can take out of the bone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from guidance.messages import F32, F64, Vector3
from simulators.cement.grown import LeakKind
from simulators.pelvis import ProceduralPelvis
from simulators.pelvis_anatomy import sacral_point
from simulators.pelvis_shapes import Tube

Inside = Callable[[F32], F32]  # (..., 3) LPS mm -> (...,) distance, negative within


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Way:
    """A way out of the bone: a channel through the cortex, and what it opens into.

    Attributes:
        kind, name: what leaks, and how its site is called.
        channel: from within the marrow outwards.
        speed: of the front in the channel, relative to usual marrow.
        into: distance to the space behind, negative in it; None: the channel ends blind.
        into_speed: there.
        zone_name: of the zone that it goes into; "" for none.
    """

    kind: LeakKind
    name: str
    channel: Tube
    speed: float
    into: Inside | None = None
    into_speed: float = 1.0
    zone_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """One place for cement in one patient.

    Attributes:
        name: for people.
        tip_lps_mm, hub_lps_mm: of the cannula.
        entry_lps_mm: where it goes into the bone.
        zone_bodies: what POST /zones takes.
        ways: by what leaks.
    """

    name: str
    tip_lps_mm: Vector3
    hub_lps_mm: Vector3
    entry_lps_mm: Vector3
    zone_bodies: tuple[Mapping[str, Any], ...]
    ways: tuple[Way, ...]

    def ways_of(self, kind: LeakKind) -> tuple[Way, ...]:
        return tuple(way for way in self.ways if way.kind == kind)


def sacral_ala(pelvis: ProceduralPelvis, side: str) -> Place:
    """Sacroplasty from behind, beside the first foramen."""
    sign = 1.0 if side == "left" else -1.0

    def at(x: float, depth: float, down: float) -> Vector3:
        place = np.add(sacral_point(sign * x, depth, down), pelvis.origin_lps_mm)
        return (float(place[0]), float(place[1]), float(place[2]))

    foramina = {
        level: Tube(tube.points_lps_mm, tube.radii_mm)
        for level in ("S1", "S2")
        for tube in (pelvis.foramina[f"{level} ventral {side}"],)
    }
    bodies = [tube_body(f"{level} foramen {side}", "foramen", side, tube) for level, tube in foramina.items()]
    bodies.append(tube_body("sacral canal", "canal", "midline", _part(pelvis.canal, at(0, 12, 15), 60.0)))
    ways = (
        Way(
            kind="foramen",
            name=f"S1 foramen {side}",
            channel=Tube((at(30, -2, 24), at(24, -2, 27), at(17, -2, 30)), (2.2, 2.0, 2.0)),
            speed=2.0,
            into=foramina["S1"].distance_mm,
            into_speed=2.0,
            zone_name=f"S1 foramen {side}",
        ),
    )
    return Place(
        name=f"sacral ala {side}",
        tip_lps_mm=at(34, -1, 20),
        hub_lps_mm=at(40, 115, 12),
        entry_lps_mm=at(35, 16, 18.5),
        zone_bodies=tuple(bodies),
        ways=ways,
    )


def tube_body(name: str, site: str, side: str | None, tube: Tube) -> dict[str, Any]:
    """What POST /zones takes for a tube of its middle radius."""
    return {
        "name": name,
        "site": site,
        "side": side,
        "kind": "keep_out",
        "shape": {
            "type": "tube",
            "points_lps_mm": [[round(float(value), 2) for value in point] for point in tube.points_lps_mm],
            "radius_mm": round(float(np.mean(tube.radii_mm)), 2),
        },
    }


def _part(tube: Tube, near_lps_mm: Vector3, reach_mm: float) -> Tube:
    """What of a chain lies near a place."""
    apart: F64 = np.linalg.norm(np.subtract(tube.points_lps_mm, near_lps_mm), axis=1)
    kept = np.flatnonzero(apart <= reach_mm)
    return Tube(tuple(tube.points_lps_mm[n] for n in kept), tuple(tube.radii_mm[n] for n in kept))
