"""The X-ray beam as the detector sees it behind a patient; from a committed table of tube spectra and attenuations."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Final

import numpy as np

from guidance.messages import F64

KVP_RANGE: Final = (40.0, 140.0)
# Columnar caesium iodide fills about three quarters of the screen's thickness (Zhao et al., Med Phys 31, 2004).
_SCREEN_MM: Final = 0.55
_SCREEN_PACKING: Final = 0.75
_CT_KEV: Final = 70.0  # mean energy of a CT beam of 120 kVp within a body, at which HU of bone are what they are


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DetectedBeam:
    """One technique with its patient.

    Attributes:
        kvp: tube voltage.
        weights: (Q,) float64, share of the detector's signal per energy bin of the table; sums to 1.
    """

    kvp: float
    weights: F64

    def contrast(self, linear_per_mm: F64, thickness_mm: F64) -> F64:
        """Log contrast of something more in the beam.

        Args:
            linear_per_mm: (Q,) what it attenuates, less what it takes the place of.
            thickness_mm: (N,).

        Returns:
            (N,) -ln of the share of the signal that is left.
        """
        left = np.exp(-np.multiply.outer(thickness_mm, linear_per_mm)) @ self.weights
        return np.asarray(-np.log(left), np.float64)

    def mean_per_mm(self, linear_per_mm: F64) -> float:
        """The contrast of the first millimetre's beginning: (Q,) weighted by the signal."""
        return float(self.weights @ linear_per_mm)


@lru_cache(maxsize=128)
def detected_beam(kvp: float, filtration_mm_al: float, filtration_mm_cu: float, water_mm: float) -> DetectedBeam:
    """Tungsten tube, filters, patient, and an energy-integrating caesium iodide screen.

    Args:
        kvp: clipped to 40 to 140.
        filtration_mm_al, filtration_mm_cu: inherent and added.
        water_mm: what the patient in front weighs in water.

    Source: guidance/cement/data/beam.toml names the packages that the numbers are from.
    """
    table = _table()
    kvp = float(np.clip(kvp, *KVP_RANGE))
    after = int(np.clip(np.searchsorted(table.tube_kvp, kvp, side="right"), 1, len(table.tube_kvp) - 1))
    low, high = table.tube_kvp[after - 1], table.tube_kvp[after]
    share = (kvp - low) / (high - low)
    fluence = (1.0 - share) * table.fluence[after - 1] + share * table.fluence[after]
    passed = np.exp(
        -linear_per_mm("aluminium") * filtration_mm_al
        - linear_per_mm("copper") * filtration_mm_cu
        - linear_per_mm("water") * water_mm
    )
    absorbed = -np.expm1(-linear_per_mm("caesium_iodide") * _SCREEN_PACKING * _SCREEN_MM)
    signal = fluence * passed * absorbed * table.energies_kev
    return DetectedBeam(kvp=kvp, weights=signal / signal.sum())


def linear_per_mm(material: str) -> F64:
    """(Q,) linear attenuation of a pure material at its own density."""
    table = _table()
    return table.mass_cm2_g[material] * (table.density_g_cm3[material] / 10.0)


def mixture_per_mm(parts: Mapping[str, float], density_g_cm3: float | None) -> F64:
    """(Q,) linear attenuation of a mixture.

    Args:
        parts: material -> weight share; they need not sum to 1.
        density_g_cm3: None: volumes add, without pores.
    """
    table = _table()
    total = sum(parts.values())
    mass = sum((share / total * table.mass_cm2_g[name] for name, share in parts.items()), start=np.zeros(1))
    volume = sum(share / total / table.density_g_cm3[name] for name, share in parts.items())
    return np.asarray(mass * ((density_g_cm3 or 1.0 / volume) / 10.0))


def materials() -> tuple[str, ...]:
    """Names of the table."""
    return tuple(_table().density_g_cm3)


def bone_log_per_hu_mm(beam: DetectedBeam) -> float:
    """Log attenuation of 1 mm of bone per HU above the soft tissue that it takes the place of.

    A voxel is taken as soft tissue and cortical bone mixed, HU as told by a CT beam of 70 keV mean energy.
    """
    table = _table()
    more = linear_per_mm("cortical_bone") - linear_per_mm("soft_tissue")
    at_ct = int(np.argmin(np.abs(table.energies_kev - _CT_KEV)))
    hu_of_cortical = 1000.0 * more[at_ct] / linear_per_mm("water")[at_ct]
    return float(beam.mean_per_mm(more) / hu_of_cortical)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Table:
    energies_kev: F64
    density_g_cm3: dict[str, float]
    mass_cm2_g: dict[str, F64]
    tube_kvp: F64
    fluence: F64


@lru_cache(maxsize=1)
def _table() -> _Table:
    file = resources.files("guidance.cement") / "data" / "beam.toml"
    table: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    entries = table["material"]
    return _Table(
        energies_kev=np.array(table["energies_kev"], np.float64),
        density_g_cm3={name: entry["density_g_cm3"] for name, entry in entries.items()},
        mass_cm2_g={name: np.array(entry["mass_attenuation_cm2_g"], np.float64) for name, entry in entries.items()},
        tube_kvp=np.array([tube["kvp"] for tube in table["tube"]], np.float64),
        fluence=np.array([tube["fluence"] for tube in table["tube"]], np.float64),
    )
