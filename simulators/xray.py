"""X-ray physics of the simulated suite: tube spectrum, attenuation, detector signal; from a committed table.

Scatter, heel effect, beam hardening within the detector and afterglow are not modelled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from guidance.errors import ConfigError
from guidance.messages import F64

F32 = npt.NDArray[np.float32]

_TUNGSTEN_K_EDGE_KEV: Final = 69.525
# Share of K lines in the unfiltered fluence above 20 keV is about 10 % at 100 kVp and rises with (U/U_K - 1)^1.63
# (Green and Cosslett, J. Phys. D 1, 1968).
_LINE_SHARE_AT_100_KVP: Final = 0.10
_LINE_EXPONENT: Final = 1.63
_CSI_MM: Final = 0.55
_CSI_PACKING: Final = 0.75  # columnar caesium iodide fills about three quarters
_QUADRATURE: Final = 10
_MGY_PER_KEV_G: Final = 1.602176634e-16 * 1e6  # keV/g to J/kg (1.602e-13 Gy) to mGy


@dataclass(frozen=True, slots=True, eq=False)
class Beam:
    """One technique: what the detector sees of the tube's photons.

    Attributes:
        kvp: peak tube voltage.
        energies_kev: (Q,) float64, representative energies.
        weights: (Q,) float64, share of the detector's signal without a patient; sums to 1.
        photon_energy_kev: mean energy of a detected photon without a patient.
        kerma_mgy_per_photon_mm2: air kerma per photon per mm2 at the same place.
    """

    kvp: float
    energies_kev: F64
    weights: F64
    photon_energy_kev: float
    kerma_mgy_per_photon_mm2: float

    def transmission(self, areal_density_g_cm2: Mapping[str, F32]) -> F32:
        """Share of the signal that gets through.

        Args:
            areal_density_g_cm2: material of the table -> path integral of density, all of one shape.

        Returns:
            float32 of the same shape, in (0, 1].
        """
        shape = next(iter(areal_density_g_cm2.values())).shape
        total = np.zeros(shape, np.float32)
        for energy, weight in zip(self.energies_kev, self.weights, strict=True):
            exponent = np.zeros(shape, np.float32)
            for name, thickness in areal_density_g_cm2.items():
                exponent -= np.float32(mass_attenuation_cm2_g(name, float(energy))) * thickness
            total += np.float32(weight) * np.exp(exponent)
        return total


def mass_attenuation_cm2_g(material: str, energy_kev: float) -> float:
    """Total mass attenuation coefficient; log-log interpolation of the table.

    Raises:
        ConfigError: unknown material.
    """
    table = _table()
    if material not in table["materials"]:
        raise ConfigError(
            f"no attenuation is known of {material!r}",
            code="unknown_material",
            mend=f"one of {', '.join(table['materials'])}",
        )
    values = table["materials"][material]["mass_attenuation_cm2_g"]
    return float(np.exp(np.interp(np.log(energy_kev), np.log(table["energies_kev"]), np.log(values))))


def density_g_cm3(material: str) -> float:
    """The material's usual density; ConfigError if it is unknown."""
    mass_attenuation_cm2_g(material, 60.0)
    return float(_table()["materials"][material]["density_g_cm3"])


@lru_cache(maxsize=32)
def beam(kvp: float = 80.0, aluminium_mm: float = 3.0, copper_mm: float = 0.3) -> Beam:
    """Kramers' bremsstrahlung with tungsten's K lines through the filters, seen by an energy-integrating CsI screen.

    Args:
        kvp: 40 to 140.
        aluminium_mm, copper_mm: inherent and added filtration.

    Raises:
        ConfigError: kvp out of range.

    Source: H. A. Kramers, Phil. Mag. 46, 1923 (N(E) ~ (E0 - E) / E).
    """
    if not 40.0 <= kvp <= 140.0:
        raise ConfigError(f"tube voltage of {kvp} kV", code="bad_tube_voltage", mend="40 to 140 kV")
    energies = np.arange(20.5, kvp, 1.0)
    fluence = (kvp - energies) / energies
    if kvp > _TUNGSTEN_K_EDGE_KEV:
        reach = (kvp / _TUNGSTEN_K_EDGE_KEV - 1.0) / (100.0 / _TUNGSTEN_K_EDGE_KEV - 1.0)
        in_lines = fluence.sum() * _LINE_SHARE_AT_100_KVP * reach**_LINE_EXPONENT
        for line in _table()["tungsten_k_lines"]:
            fluence[int(line["energy_kev"] - 20.0)] += in_lines * line["fraction"]
    fluence *= np.exp(-_curve("aluminium", energies) * density_g_cm3("aluminium") * aluminium_mm / 10.0)
    fluence *= np.exp(-_curve("copper", energies) * density_g_cm3("copper") * copper_mm / 10.0)
    screen_g_cm2 = density_g_cm3("caesium_iodide") * _CSI_PACKING * _CSI_MM / 10.0
    detected = fluence * -np.expm1(-_curve("caesium_iodide", energies) * screen_g_cm2)
    transfer = np.interp(energies, _table()["energies_kev"], _table()["air_mass_energy_transfer_cm2_g"])
    kerma_mgy = float(np.sum(fluence * energies * transfer)) * 100.0 * _MGY_PER_KEV_G  # 100 mm2 in a cm2
    signal = detected * energies
    middles, weights = _quadrature(energies, signal)
    return Beam(
        kvp=kvp,
        energies_kev=middles,
        weights=weights,
        photon_energy_kev=float(signal.sum() / detected.sum()),
        kerma_mgy_per_photon_mm2=kerma_mgy / float(detected.sum()),
    )


def _quadrature(energies: F64, signal: F64) -> tuple[F64, F64]:
    """Few energies that stand for all: slices of equal signal, each at its mean; thin at the ends, where it bends."""
    cumulated = np.cumsum(signal) / signal.sum()
    slices = np.minimum((cumulated * _QUADRATURE).astype(int), _QUADRATURE - 1)
    kept = [n for n in range(_QUADRATURE) if np.any(slices == n)]
    means = np.array([np.average(energies[slices == n], weights=signal[slices == n]) for n in kept])
    weights = np.array([signal[slices == n].sum() for n in kept])
    return means, weights / weights.sum()


def _curve(material: str, energies_kev: F64) -> F64:
    return np.array([mass_attenuation_cm2_g(material, float(energy)) for energy in energies_kev])


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(files("simulators").joinpath("xray_table.json").read_text(encoding="utf-8"))
    return table
