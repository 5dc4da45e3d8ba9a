"""The committed table against published numbers, and what a beam does against the simulator's own tube."""

from __future__ import annotations

import numpy as np
import pytest

from guidance.cement.beam import detected_beam, linear_per_mm, materials, mixture_per_mm
from simulators.xray import beam, density_g_cm3, mass_attenuation_cm2_g

_ENERGIES = np.arange(16.0, 141.0, 2.0)


@pytest.mark.parametrize(
    ("material", "kev", "cm2_g", "g_cm3"),
    [
        # NIST Standard Reference Database 126 (Hubbell & Seltzer 1995), tables 3 and 4.
        pytest.param("water", 60, 0.2059, 1.0, id="water-60"),
        pytest.param("water", 30, 0.3756, 1.0, id="water-30"),
        pytest.param("pmma", 60, 0.1924, 1.18, id="pmma-60"),
        pytest.param("cortical_bone", 60, 0.3148, 1.92, id="bone-60"),
        pytest.param("cortical_bone", 100, 0.1855, 1.92, id="bone-100"),
        pytest.param("aluminium", 60, 0.2778, 2.699, id="aluminium-60"),
        pytest.param("copper", 60, 1.593, 8.96, id="copper-60"),
    ],
)
def test_attenuation_is_nists(material: str, kev: int, cm2_g: float, g_cm3: float) -> None:
    at = int(np.argmin(np.abs(_ENERGIES - kev)))
    assert linear_per_mm(material)[at] * 10.0 == pytest.approx(cm2_g * g_cm3, rel=0.03)


def test_edges_are_where_the_opacifiers_have_them() -> None:
    for material, edge_kev in (("barium_sulphate", 37.44), ("zirconium_dioxide", 18.0)):
        curve = linear_per_mm(material)
        above = int(np.argmax(np.diff(curve) > 0.0)) + 1
        assert _ENERGIES[above] == pytest.approx(edge_kev, abs=2.0)


def test_beam_hardens_as_the_tubes_own_package_says() -> None:
    # spekpy 2.5.4: Spek(kvp=80, th=12).filter('Al', 3).filter('Cu', 0.1), mean energy of its fluence 48.4 keV.
    thin = detected_beam(80.0, 3.0, 0.1, 0.0)
    screen = -np.expm1(-linear_per_mm("caesium_iodide") * 0.75 * 0.55)
    fluence = thin.weights / _ENERGIES / screen
    assert float(np.sum(fluence * _ENERGIES) / np.sum(fluence)) == pytest.approx(48.4, abs=0.4)
    thick = detected_beam(80.0, 3.0, 0.1, 200.0)
    assert thick.weights @ _ENERGIES > thin.weights @ _ENERGIES + 5.0


@pytest.mark.parametrize("kvp", [60.0, 80.0, 95.0, 110.0])
@pytest.mark.parametrize("material", ["cement_baso4_10", "cement_baso4_30", "cement_zro2_45"])
def test_another_model_of_the_tube_gives_nearly_the_same(kvp: float, material: str) -> None:
    parts = {
        "cement_baso4_10": {"barium_sulphate": 10.0, "pmma": 90.0},
        "cement_baso4_30": {"barium_sulphate": 30.0, "pmma": 70.0},
        "cement_zro2_45": {"zirconium_dioxide": 45.0, "pmma": 55.0},
    }[material]
    ours = detected_beam(kvp, 3.0, 0.1, 200.0).contrast(mixture_per_mm(parts, None), np.array([4.0]))[0]
    tube = beam(kvp, 3.0, 0.1)
    water, cement = (
        np.array([mass_attenuation_cm2_g(name, float(kev)) for kev in tube.energies_kev])
        for name in ("water", material)
    )
    weights = tube.weights * np.exp(-water * 20.0)
    theirs = -np.log(np.sum(weights * np.exp(-cement * density_g_cm3(material) * 0.4)) / np.sum(weights))
    assert ours == pytest.approx(theirs, rel=0.05)


def test_a_mixtures_density_is_of_volumes_that_add() -> None:
    half = mixture_per_mm({"water": 50.0, "barium_sulphate": 50.0}, None)
    by_hand = (linear_per_mm("water") * 4.49 + linear_per_mm("barium_sulphate")) / 5.49
    np.testing.assert_allclose(half, by_hand, rtol=1e-12)
    np.testing.assert_allclose(mixture_per_mm({"water": 1.0}, 2.0), 2.0 * linear_per_mm("water"), rtol=1e-12)


def test_voltage_out_of_range_is_the_nearest_in_range() -> None:
    np.testing.assert_array_equal(
        detected_beam(10.0, 3.0, 0.1, 0.0).weights, detected_beam(40.0, 3.0, 0.1, 0.0).weights
    )
    assert detected_beam(400.0, 3.0, 0.1, 0.0).kvp == 140.0
    assert "pmma" in materials()
