"""What an injector has given at which time, and the cannula that it goes through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from guidance.messages import F64, Vector3
from simulators.instruments import Cylinder


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectionCurve:
    """Volume over time, straight between the corners.

    Attributes:
        times_s: rising, from 0.
        volumes_ml: what has left the injector by then; never falls.
        dead_ml: what fills the cannula before the first cement leaves its tip; 0: it was full at the start.
    """

    times_s: tuple[float, ...]
    volumes_ml: tuple[float, ...]
    dead_ml: float = 0.0

    def injector_ml(self, t_s: float) -> float:
        """What the injector's display says."""
        return float(np.interp(t_s, self.times_s, self.volumes_ml))

    def injected_ml(self, t_s: float) -> float:
        """What has left the cannula's tip."""
        return max(self.injector_ml(t_s) - self.dead_ml, 0.0)

    def flow_ml_s(self, t_s: float) -> float:
        """Of the injector, of the piece that begins at or before this time; 0 outside the curve."""
        if not self.times_s[0] <= t_s < self.times_s[-1]:
            return 0.0
        n = int(np.searchsorted(self.times_s, t_s, side="right")) - 1
        return (self.volumes_ml[n + 1] - self.volumes_ml[n]) / (self.times_s[n + 1] - self.times_s[n])

    def times_of(self, injected_ml: F64) -> F64:
        """(N,) first time at which so much has left the tip; inf: never."""
        times, volumes = np.asarray(self.times_s), np.asarray(self.volumes_ml) - self.dead_ml
        wanted = np.asarray(injected_ml, np.float64)
        # The first corner that holds the volume, and the way from the one before it: at a pause this is its begin.
        n = np.clip(np.searchsorted(volumes, wanted, side="left"), 1, len(volumes) - 1)
        rise = np.maximum(volumes[n] - volumes[n - 1], 1e-12)
        part = np.clip((wanted - volumes[n - 1]) / rise, 0.0, 1.0)
        found = times[n - 1] + part * (times[n] - times[n - 1])
        return np.where(wanted > volumes[-1] + 1e-9, np.inf, found)


@dataclass(frozen=True, slots=True, kw_only=True)
class CannulaScript:
    """A cannula, and how it is pulled back.

    Attributes:
        hub_lps_mm: outer end at the start.
        tip_lps_mm: inner end at the start, where cement comes out.
        diameter_mm: outer.
        lumen_mm: inner diameter.
        times_s, back_mm: how far it has been pulled back along its axis, straight between the corners.
    """

    hub_lps_mm: Vector3
    tip_lps_mm: Vector3
    diameter_mm: float = 3.0
    lumen_mm: float = 2.0
    times_s: tuple[float, ...] = (0.0,)
    back_mm: tuple[float, ...] = (0.0,)

    @property
    def axis(self) -> F64:
        """(3,) unit, from the hub to the tip."""
        along = np.subtract(self.tip_lps_mm, self.hub_lps_mm)
        return np.asarray(along / np.linalg.norm(along), np.float64)

    def tip_at(self, t_s: float) -> F64:
        """(3,) LPS mm."""
        return np.asarray(self.tip_lps_mm) - float(np.interp(t_s, self.times_s, self.back_mm)) * self.axis

    def cylinder_at(self, t_s: float) -> Cylinder:
        """Its steel."""
        back = float(np.interp(t_s, self.times_s, self.back_mm)) * self.axis
        start, end = np.asarray(self.hub_lps_mm) - back, np.asarray(self.tip_lps_mm) - back
        return Cylinder(
            start_lps_mm=(float(start[0]), float(start[1]), float(start[2])),
            end_lps_mm=(float(end[0]), float(end[1]), float(end[2])),
            diameter_mm=self.diameter_mm,
            bore_mm=self.lumen_mm,
        )
