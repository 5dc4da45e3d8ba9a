"""Writes guidance/cement/data/beam.toml from xraydb and spekpy: `python -m simulators.make_cement_table`.

Run once, by hand, where the `oracle` extra is installed; the server itself reads only the committed table. What the
simulated suite is made of has a table of its own (`make_xray_table`), with another model of the tube.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np

from guidance.messages import F64

xraydb: Any = importlib.import_module("xraydb")  # both only in the `oracle` extra, so not known to every type check
spekpy: Any = importlib.import_module("spekpy")

BIN_KEV: Final = 2.0
ENERGIES_KEV: Final = np.arange(16.0, 141.0, BIN_KEV)  # middles; what is softer no patient lets through
TUBE_KVP: Final = range(40, 141, 5)
ANODE_DEG: Final = 12.0
_FINE: Final = 40  # steps within a bin: an absorption edge is averaged, not sampled

# Mass fractions in per cent and g/cm3. Compounds by their formula, densities CRC Handbook (97th ed., section 4);
# tissues ICRU Report 44; PMMA ICRU Report 37.
COMPOSITIONS: Final[dict[str, tuple[dict[str, float], float]]] = {
    "pmma": ({"C": 59.98, "H": 8.05, "O": 31.96}, 1.18),
    "barium_sulphate": ({"Ba": 58.84, "S": 13.74, "O": 27.42}, 4.49),
    "zirconium_dioxide": ({"Zr": 74.03, "O": 25.97}, 5.68),
    "strontium_hydroxyapatite": ({"Sr": 58.99, "P": 12.51, "O": 28.0, "H": 0.14}, 4.2),
    "hydroxyapatite": ({"Ca": 39.89, "P": 18.50, "O": 41.41, "H": 0.20}, 3.16),
    "tricalcium_phosphate": ({"Ca": 38.76, "P": 19.97, "O": 41.27}, 2.86),
    "barium_glass": ({"Si": 23.4, "Ba": 22.4, "Ca": 7.1, "P": 2.2, "O": 44.9}, 2.9),
    "tantalum": ({"Ta": 100.0}, 16.65),
    "tungsten": ({"W": 100.0}, 19.3),
    "iodine": ({"I": 100.0}, 4.93),
    "water": ({"H": 11.19, "O": 88.81}, 1.0),
    "soft_tissue": (
        {"H": 10.2, "C": 14.3, "N": 3.4, "O": 70.8, "Na": 0.2, "P": 0.3, "S": 0.3, "Cl": 0.2, "K": 0.3},
        1.06,
    ),
    "cortical_bone": (
        {"H": 3.4, "C": 15.5, "N": 4.2, "O": 43.5, "Na": 0.1, "Mg": 0.2, "P": 10.3, "S": 0.3, "Ca": 22.5},
        1.92,
    ),
    "aluminium": ({"Al": 100.0}, 2.699),
    "copper": ({"Cu": 100.0}, 8.96),
    "caesium_iodide": ({"Cs": 51.15, "I": 48.85}, 4.51),
}


def main() -> None:
    """Write the table into the package that reads it."""
    lines = [
        "# Made by `python -m simulators.make_cement_table`; not edited by hand.",
        f'source = "xraydb {xraydb.__version__} (Elam, Ravel and Sieber 2002): total mass attenuation; '
        f'spekpy {spekpy.__version__} (Poludniowski et al. 2021): fluence of an unfiltered tungsten tube"',
        f"energies_kev = {_numbers(ENERGIES_KEV)}",
        f"anode_deg = {ANODE_DEG}",
    ]
    for name, (parts, density) in COMPOSITIONS.items():
        lines += [
            "",
            f"[material.{name}]",
            f"density_g_cm3 = {density}",
            f"mass_attenuation_cm2_g = {_numbers(_mass_attenuation(parts))}",
        ]
    for kvp in TUBE_KVP:
        lines += ["", "[[tube]]", f"kvp = {kvp}", f"fluence = {_numbers(_fluence(kvp))}"]
    path = Path(__file__).parents[1] / "guidance" / "cement" / "data" / "beam.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(path)


def _mass_attenuation(parts: dict[str, float]) -> F64:
    """cm2/g, mean over each bin."""
    offsets = (np.arange(_FINE) + 0.5) / _FINE - 0.5
    energies_ev = ((ENERGIES_KEV[:, None] + offsets * BIN_KEV) * 1e3).ravel()
    total = sum(parts.values())
    fine = sum(
        (share / total * xraydb.mu_elam(element, energies_ev, kind="total") for element, share in parts.items()),
        start=np.zeros(len(energies_ev)),
    )
    return np.asarray(fine.reshape(-1, _FINE).mean(axis=1))


def _fluence(kvp: int) -> F64:
    """Photons per bin of the bare tube (1 mm of aluminium keeps the softest from mattering), the largest bin 1."""
    tube = spekpy.Spek(kvp=kvp, th=ANODE_DEG, dk=BIN_KEV / 4.0)
    energies_kev, per_kev = tube.get_spectrum(diff=True)
    bins = np.floor((energies_kev - (ENERGIES_KEV[0] - BIN_KEV / 2.0)) / BIN_KEV).astype(int)
    inside = (bins >= 0) & (bins < len(ENERGIES_KEV))
    summed = np.bincount(bins[inside], weights=per_kev[inside], minlength=len(ENERGIES_KEV))
    return np.asarray(summed / summed.max())


def _numbers(values: Iterable[float]) -> str:
    return "[" + ", ".join(f"{float(value):.5g}" for value in values) + "]"


if __name__ == "__main__":
    main()
