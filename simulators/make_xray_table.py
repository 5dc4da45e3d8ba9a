"""Writes simulators/xray_table.json from the package xraydb: `python -m simulators.make_xray_table`.

Run once, by hand, where the `oracle` extra is installed; the simulator itself reads only the committed table.
"""

from __future__ import annotations

import importlib
import json
import re
from math import pi
from pathlib import Path
from typing import Any, Final

import numpy as np

from guidance.messages import F64

xraydb: Any = importlib.import_module("xraydb")  # only in the `oracle` extra, so not known to every type check

ENERGIES_KEV: Final = np.arange(20, 141, 2)

# Mass fractions in per cent and g/cm3. Tissues, air: ICRU Report 44; 316L: ASTM F138 middle values.
COMPOSITIONS: Final[dict[str, tuple[dict[str, float], float]]] = {
    "soft_tissue": (
        {"H": 10.2, "C": 14.3, "N": 3.4, "O": 70.8, "Na": 0.2, "P": 0.3, "S": 0.3, "Cl": 0.2, "K": 0.3},
        1.06,
    ),
    "water": ({"H": 11.19, "O": 88.81}, 1.0),
    "cortical_bone": (
        {"H": 3.4, "C": 15.5, "N": 4.2, "O": 43.5, "Na": 0.1, "Mg": 0.2, "P": 10.3, "S": 0.3, "Ca": 22.5},
        1.92,
    ),
    "pmma": ({"C": 59.98, "H": 8.05, "O": 31.96}, 1.18),
    # 70 % PMMA and 30 % barium sulphate by mass, as vertebroplasty cements are mixed.
    "bone_cement": ({"C": 41.99, "H": 5.64, "O": 30.60, "Ba": 17.65, "S": 4.12}, 1.45),
    # PMMA with that much of a radiopacifier by mass: 10 and 30 % barium sulphate (4.50 g/cm3), 45 % zirconium dioxide
    # (5.68 g/cm3); volumes add, without pores.
    "cement_baso4_10": ({"C": 53.98, "H": 7.25, "O": 31.51, "Ba": 5.884, "S": 1.374}, 1.274),
    "cement_baso4_30": ({"C": 41.99, "H": 5.64, "O": 30.60, "Ba": 17.65, "S": 4.12}, 1.515),
    "cement_zro2_45": ({"C": 32.99, "H": 4.43, "O": 29.27, "Zr": 33.31}, 1.834),
    # 150 mg iodine in a ml, as balloons are filled.
    "contrast_medium": ({"I": 12.9, "H": 9.5, "C": 4.0, "O": 73.6}, 1.16),
    "stainless_steel": ({"Fe": 65.0, "Cr": 17.5, "Ni": 14.0, "Mo": 2.5, "Mn": 1.0}, 7.95),
    "titanium": ({"Ti": 100.0}, 4.506),
    "aluminium": ({"Al": 100.0}, 2.699),
    "copper": ({"Cu": 100.0}, 8.96),
    "caesium_iodide": ({"Cs": 51.15, "I": 48.85}, 4.51),
    "air": ({"C": 0.0124, "N": 75.5268, "O": 23.1781, "Ar": 1.2827}, 0.001205),
}


def main() -> None:
    """Write the table beside this module."""
    materials = {
        name: {
            "density_g_cm3": density,
            "mass_attenuation_cm2_g": [float(f"{value:.5g}") for value in _mass_attenuation(parts, "total")],
        }
        for name, (parts, density) in COMPOSITIONS.items()
    }
    lines = xraydb.xray_lines("W", initial_level="K")
    total = sum(line.intensity for line in lines.values())
    table = {
        "source": f"xraydb {xraydb.__version__}, Elam, Ravel and Sieber (2002); made by simulators.make_xray_table",
        "energies_kev": [int(energy) for energy in ENERGIES_KEV],
        "materials": materials,
        "air_mass_energy_transfer_cm2_g": [float(f"{value:.5g}") for value in _air_energy_transfer()],
        "tungsten_k_lines": [
            {"energy_kev": round(line.energy / 1e3, 3), "fraction": round(line.intensity / total, 4)}
            for line in lines.values()
        ],
    }
    path = Path(__file__).with_name("xray_table.json")
    path.write_text(re.sub(r",\s+(?=[-\d])", ", ", json.dumps(table, indent=1)) + "\n", encoding="utf-8")
    print(path)


def _mass_attenuation(parts: dict[str, float], kind: str) -> F64:
    total = sum(parts.values())
    energies_ev = ENERGIES_KEV * 1e3
    summed: F64 = sum(
        (fraction / total * xraydb.mu_elam(element, energies_ev, kind=kind) for element, fraction in parts.items()),
        start=np.zeros(len(energies_ev)),
    )
    return summed


def _air_energy_transfer() -> F64:
    """Photoelectric effect gives all of the photon's energy, Compton scatter the recoil electron's mean share."""
    air = COMPOSITIONS["air"][0]
    return _mass_attenuation(air, "photo") + _mass_attenuation(air, "incoh") * _recoil_share(ENERGIES_KEV / 510.999)


def _recoil_share(alpha: F64) -> F64:
    """Mean share of the energy that a free electron takes; integral over the Klein-Nishina cross-section."""
    cosine = np.linspace(-1.0, 1.0, 4001)
    ratio = 1.0 / (1.0 + alpha[:, None] * (1.0 - cosine))
    cross_section = pi * ratio**2 * (ratio + 1.0 / ratio - 1.0 + cosine**2)
    share = (cross_section * (1.0 - ratio)).sum(axis=1) / cross_section.sum(axis=1)
    return np.asarray(share)


if __name__ == "__main__":
    main()
