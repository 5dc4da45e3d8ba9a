"""Cement that has grown: where it is at which time, exactly, and what it has touched by then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from guidance.messages import F32, F64, U8, PlannedPath, Vector3, Zone
from simulators.cement.injection import CannulaScript, InjectionCurve
from simulators.instruments import Cylinder

LeakKind = Literal[
    "foramen",
    "canal",
    "ventral_surface",
    "si_joint",
    "disc",
    "vein",
    "needle_track",
    "skin",
    "soft_tissue",
    "joint",
]
NEVER_S: Final = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Cement that went where it must not.

    Attributes:
        kind: what it is.
        label: its number in `GrownCement.site_of`.
        onset_s: when the first cement left the bone there, `NEVER_S` where it was possible and did not happen.
        tenth_ml_s: when 0.1 ml was outside there; `NEVER_S`.
        zone_id: of the zone that it goes into; "" where no zone marks it.
    """

    kind: LeakKind
    label: int
    onset_s: float
    tenth_ml_s: float
    zone_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balloon:
    """A balloon full of contrast that makes a cavity before the cement.

    Attributes:
        center_lps_mm: its middle.
        times_s, radii_mm: how large it is, straight between the corners; 0: not there.
    """

    center_lps_mm: Vector3
    times_s: tuple[float, ...]
    radii_mm: tuple[float, ...]

    def radius_at(self, t_s: float) -> float:
        return float(np.interp(t_s, self.times_s, self.radii_mm))


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneTruth:
    """How near the cement came to a zone.

    Attributes:
        times_s: rising; each the time of a new least distance.
        distances_mm: least distance of the cement to the zone's surface from then on, negative inside; falls.
        contact_s: first time that cement is in the zone; `NEVER_S`.
    """

    times_s: F64
    distances_mm: F64
    contact_s: float

    def distance_at(self, t_s: float) -> float:
        """inf before there is any cement."""
        n = int(np.searchsorted(self.times_s, t_s, side="right"))
        return float(self.distances_mm[n - 1]) if n else float("inf")


@dataclass(frozen=True, kw_only=True, eq=False)
class GrownCement:
    """The whole course of one injection; all arrays `[k, j, i]` on one grid, read-only.

    Attributes:
        affine_lps_from_ijk: (4, 4) of the grid, voxel centres at integers.
        arrival_s: when a voxel is half full; inf: never.
        level, crossing: when it is half full, and how long it takes to fill, in the front's own measure, which turns
            into time by the volume: at each time the cement holds exactly what was injected.
        capacity: share of a voxel that cement takes when it is full; the rest is bone.
        site_of: what a voxel belongs to, an index of `site_names`; 0 is where cement shall be.
        levels, levels_ml: rising; the volume of all that lies below a level.
        injection, cannula: scripts.
        metal: other steel that stands still, there from before the start.
        old_cement: share of old cement from before the start; None: none.
        balloon: before the cement; None: none.
        zone_bodies, zones: what POST /zones takes, and the same as values; ids are `Z1`, `Z2`, ... in this order.
        paths: along which the cannula lies, as planned.
        zone_truth: by zone id.
        leaks: every kind that was possible here.
        duration_s: length of the whole scene; cement may have stopped before.
        brand: of the library of cements.
    """

    affine_lps_from_ijk: F64
    arrival_s: F32
    level: F32
    crossing: F32
    capacity: F32
    site_of: U8
    site_names: tuple[str, ...]
    levels: F64
    levels_ml: F64
    injection: InjectionCurve
    cannula: CannulaScript
    zone_bodies: tuple[Mapping[str, Any], ...]
    zones: tuple[Zone, ...]
    paths: tuple[PlannedPath, ...]
    zone_truth: Mapping[str, ZoneTruth]
    leaks: tuple[Leak, ...]
    duration_s: float
    brand: str
    metal: tuple[Cylinder, ...] = ()
    old_cement: F32 | None = None
    balloon: Balloon | None = None

    @property
    def voxel_ml(self) -> float:
        return float(abs(np.linalg.det(self.affine_lps_from_ijk[:3, :3]))) / 1000.0

    def level_at(self, t_s: float) -> float:
        """How far the front is."""
        return float(np.interp(self.injection.injected_ml(t_s), self.levels_ml, self.levels))

    def share_at(self, t_s: float) -> F32:
        """`[k, j, i]` float32: share of each voxel that is cement, 0 to `capacity`."""
        share = np.zeros(self.level.shape, np.float32)
        share[self._reached] = self._shares(t_s)
        return share

    def volume_ml(self, t_s: float) -> float:
        """Cement in the patient, the cannula's lumen aside."""
        return float(self._shares(t_s).sum(dtype=np.float64)) * self.voxel_ml

    def site_ml(self, t_s: float) -> dict[str, float]:
        """The same by site; a name that is borne by several is their sum."""
        by_label = np.bincount(self.site_of[self._reached], self._shares(t_s), len(self.site_names)) * self.voxel_ml
        answer: dict[str, float] = dict.fromkeys(self.site_names, 0.0)
        for name, volume in zip(self.site_names, by_label, strict=True):
            answer[name] += float(volume)
        return answer

    def zone_distance_mm(self, zone_id: str, t_s: float) -> float:
        """Least distance of the cement to a zone's surface, negative inside; inf before there is any."""
        return self.zone_truth[zone_id].distance_at(t_s)

    def lumen_filled(self, t_s: float) -> float:
        """Share of the cannula's length, from the hub, that is full of cement."""
        dead_ml = self.injection.dead_ml
        return 1.0 if dead_ml <= 0.0 else min(self.injection.injector_ml(t_s) / dead_ml, 1.0)

    @cached_property
    def _reached(self) -> tuple[NDArray[np.intp], ...]:
        return np.nonzero(np.isfinite(self.level))

    @cached_property
    def _ramps(self) -> tuple[F32, F32, F32]:
        """Level, 1 / crossing and capacity of what is ever reached."""
        where = self._reached
        slopes = np.asarray(1.0 / self.crossing[where], np.float32)
        return self.level[where], slopes, self.capacity[where]

    def _shares(self, t_s: float) -> F32:
        levels, slopes, capacities = self._ramps
        filled: F32 = (np.float32(self.level_at(t_s)) - levels) * slopes
        filled += np.float32(0.5)
        np.clip(filled, 0.0, 1.0, out=filled)
        filled *= capacities
        return filled
