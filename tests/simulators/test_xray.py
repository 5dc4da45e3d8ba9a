"""Attenuation against NIST's printed tables, the beam against its own full spectrum."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from guidance.errors import ConfigError
from simulators import xray
from simulators.xray import beam, density_g_cm3, mass_attenuation_cm2_g

# Hubbell and Seltzer, NISTIR 5632, tables 3 and 4: mu/rho in cm2/g.
NIST = [
    ("water", 30, 0.3756),
    ("water", 60, 0.2059),
    ("water", 100, 0.1707),
    ("cortical_bone", 30, 1.331),
    ("cortical_bone", 60, 0.3148),
    ("cortical_bone", 100, 0.1855),
    ("soft_tissue", 60, 0.2048),
    ("pmma", 60, 0.1924),
    ("aluminium", 60, 0.2778),
    ("copper", 60, 1.593),
    ("titanium", 60, 0.7661),
]


@pytest.mark.parametrize(("material", "energy", "expected"), NIST)
def test_mass_attenuation_is_nists(material, energy, expected):
    assert mass_attenuation_cm2_g(material, energy) == pytest.approx(expected, rel=0.02)


def test_unknown_material_is_named():
    with pytest.raises(ConfigError, match="unobtainium"):
        density_g_cm3("unobtainium")


@pytest.mark.parametrize("kvp", [39.0, 141.0])
def test_voltage_out_of_range_is_refused(kvp):
    with pytest.raises(ConfigError, match="kV"):
        beam(kvp)


@pytest.mark.parametrize("kvp", [60.0, 80.0, 110.0])
def test_few_energies_stand_for_the_whole_spectrum(kvp, monkeypatch):
    coarse = beam(kvp)
    monkeypatch.setattr(xray, "_QUADRATURE", 10_000)
    fine = beam.__wrapped__(kvp)
    thick = {
        "soft_tissue": np.linspace(0.0, 30.0, 16, dtype=np.float32),
        "cortical_bone": np.linspace(0.0, 4.0, 16, dtype=np.float32),
    }
    ratio = coarse.transmission(thick) / fine.transmission(thick)
    assert np.abs(ratio - 1.0).max() < 0.03
    assert fine.transmission(thick)[-1] < 0.01


def test_a_beam_hardens():
    technique = beam(80.0)
    through = technique.transmission({"water": np.array([0.0, 1.0, 20.0, 21.0], np.float32)})
    assert through[0] == pytest.approx(1.0)
    first, later = -np.log(through[1]), -np.log(through[3] / through[2])
    assert 0.20 < later < first < 0.30  # per cm of water at 80 kV


def test_more_voltage_goes_further():
    water = {"water": np.array([20.0], np.float32)}
    assert beam(60.0).transmission(water)[0] < beam(80.0).transmission(water)[0] < beam(120.0).transmission(water)[0]


def test_kerma_per_photon_is_of_the_right_size():
    """IEC 62220-1: RQA5 (70 kV, 21 mm Al) brings 30174 photons per mm2 and uGy; a softer beam somewhat fewer."""
    per_ugy = 1e-3 / beam(70.0, aluminium_mm=23.5, copper_mm=0.0).kerma_mgy_per_photon_mm2
    detected = 0.85  # 186 mg/cm2 of CsI stop so many of some 52 keV (mu/rho 10 cm2/g, NIST)
    assert per_ugy == pytest.approx(30174 * detected, rel=0.1)


@pytest.mark.oracle
def test_the_committed_table_is_what_xraydb_gives():
    pytest.importorskip("xraydb")
    made = importlib.import_module("simulators.make_xray_table")
    for name, (parts, _) in made.COMPOSITIONS.items():
        now = made._mass_attenuation(parts, "total")
        kept = xray._table()["materials"][name]["mass_attenuation_cm2_g"]
        assert kept == pytest.approx(now, rel=1e-4)
