"""Thickness from contrast: exact where it is told, hardening, monotone, and as unsure as what it rests on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.cement.beam import detected_beam, linear_per_mm, mixture_per_mm
from guidance.cement.opacity import LARGEST_CONTRAST
from guidance.cement.profiles import cement_library
from guidance.errors import CaseError
from guidance.messages.cement import CementMaterial

LIBRARY = cement_library()
BRANDS = ["baso4_10", "baso4_30", "zro2_45"]


@pytest.mark.parametrize("brand", BRANDS)
@pytest.mark.parametrize("kvp", [60.0, 80.0, 120.0])
def test_a_layer_reads_as_thick_as_it_is(brand: str, kvp: float) -> None:
    share = {"baso4_10": ("barium_sulphate", 10.0), "baso4_30": ("barium_sulphate", 30.0)}.get(
        brand, ("zirconium_dioxide", 45.0)
    )
    linear = mixture_per_mm({share[0]: share[1], "pmma": 100.0 - share[1]}, None)
    beam = detected_beam(kvp, 3.0, 0.1, 220.0)
    thick = np.array([0.3, 1.0, 3.0, 8.0, 15.0])
    before, after = beam.weights.sum(), []
    for mm in thick:
        left = beam.weights * np.exp(-mm * linear) * np.exp(mm * linear_per_mm("soft_tissue"))
        after.append(-np.log(left.sum() / before))
    opacity = LIBRARY.opacity(CementMaterial(brand=brand), kvp=kvp, water_mm=220.0)
    np.testing.assert_allclose(opacity.thickness_of(np.array(after)), thick, rtol=0.01)


@given(st.floats(0.005, 5.0), st.sampled_from([None, 50.0, 80.0, 125.0]), st.floats(0.0, 450.0))
def test_a_told_opacity_is_that_of_thin_cement(per_mm: float, kvp: float | None, water_mm: float) -> None:
    opacity = LIBRARY.opacity(CementMaterial(opacity_per_mm=per_mm), kvp=kvp, water_mm=water_mm)
    assert opacity.per_mm == pytest.approx(per_mm, rel=0.01)
    thin = 0.02 * min(1.0, 0.1 / per_mm)
    assert opacity.contrast_of(thin) == pytest.approx(per_mm * thin, rel=0.05)
    assert (np.diff(opacity.thickness_mm) > 0.0).all()
    np.testing.assert_allclose(np.diff(opacity.contrast), opacity.step, rtol=1e-3)
    assert opacity.contrast[-1] <= LARGEST_CONTRAST + 1e-5
    thick = opacity.thickness_of(np.linspace(0.0, float(opacity.contrast[-1]), 50))
    np.testing.assert_allclose(opacity.contrast_of(thick), np.linspace(0.0, opacity.contrast[-1], 50), atol=2e-3)


def test_thick_cement_lets_the_hard_part_through() -> None:
    opacity = LIBRARY.opacity(CementMaterial(opacity_per_mm=0.1), kvp=80.0)
    linear_mm = 1.0 / opacity.per_mm
    assert linear_mm * 1.03 < opacity.thickness_of(1.0) < linear_mm * 1.25


def test_noise_about_nothing_stays_without_bias() -> None:
    opacity = LIBRARY.opacity(CementMaterial(brand="baso4_30"), kvp=80.0)
    noise = np.random.default_rng(3).normal(0.0, 0.004, 20_000)
    assert abs(float(np.mean(opacity.thickness_of(noise)))) < 3.0 * 0.004 / opacity.per_mm / np.sqrt(20_000) + 1e-4


def test_softer_beams_see_more_and_filters_and_patients_less() -> None:
    material = CementMaterial(brand="baso4_30")
    at = [LIBRARY.opacity(material, kvp=kvp, water_mm=200.0).per_mm for kvp in (60.0, 80.0, 100.0, 120.0)]
    assert at == sorted(at, reverse=True)
    base = LIBRARY.opacity(material, kvp=80.0, water_mm=200.0).per_mm
    assert LIBRARY.opacity(material, kvp=80.0, water_mm=350.0).per_mm < base
    assert LIBRARY.opacity(material, kvp=80.0, water_mm=200.0, filtration_mm_cu=0.6).per_mm < base


def test_what_is_not_told_widens_the_uncertainty() -> None:
    material = CementMaterial(brand="baso4_30")
    told = LIBRARY.opacity(material, kvp=80.0, water_mm=200.0).relative_sigma
    no_water = LIBRARY.opacity(material, kvp=80.0).relative_sigma
    no_voltage = LIBRARY.opacity(material).relative_sigma
    wedge = LIBRARY.opacity(CementMaterial(opacity_per_mm=0.3), kvp=80.0, water_mm=200.0).relative_sigma
    assert 0.02 < wedge < told < no_water < no_voltage < 0.3


@pytest.mark.parametrize("kvp", [0.0, -5.0, 500.0, float("nan"), float("inf")])
def test_a_voltage_that_cannot_be_is_none(kvp: float) -> None:
    material = CementMaterial(brand="baso4_30")
    np.testing.assert_array_equal(
        LIBRARY.opacity(material, kvp=kvp).thickness_mm, LIBRARY.opacity(material, kvp=None).thickness_mm
    )


@pytest.mark.parametrize("water_mm", [-10.0, float("nan"), float("inf"), 5000.0])
def test_a_patient_that_cannot_be_is_not_known(water_mm: float) -> None:
    opacity = LIBRARY.opacity(CementMaterial(brand="baso4_30"), kvp=80.0, water_mm=water_mm)
    assert np.isfinite(opacity.thickness_mm).all()
    assert opacity.per_mm == LIBRARY.opacity(CementMaterial(brand="baso4_30"), kvp=80.0).per_mm


def test_tables_are_read_only() -> None:
    opacity = LIBRARY.opacity(CementMaterial(brand="baso4_30"))
    with pytest.raises(ValueError, match="read-only"):
        opacity.thickness_mm[0] = 1.0


@pytest.mark.parametrize(
    ("material", "code", "word"),
    [
        pytest.param(CementMaterial(brand="plaster"), "unknown_brand", "baso4_30", id="brand"),
        pytest.param(CementMaterial(), "no_opacity", "opacity_per_mm", id="nothing"),
        pytest.param(CementMaterial(opacity_per_mm=0.0), "bad_opacity", "per mm", id="zero"),
        pytest.param(CementMaterial(opacity_per_mm=-0.1), "bad_opacity", "per mm", id="negative"),
        pytest.param(CementMaterial(opacity_per_mm=float("nan")), "bad_opacity", "per mm", id="nan"),
        pytest.param(CementMaterial(opacity_per_mm=50.0), "bad_opacity", "per mm", id="huge"),
        pytest.param(CementMaterial(brand="x", opacity_per_mm=0.1), "unknown_brand", "zro2_45", id="brand-beside"),
    ],
)
def test_refused(material: CementMaterial, code: str, word: str) -> None:
    with pytest.raises(CaseError) as caught:
        LIBRARY.opacity(material)
    assert caught.value.code == code
    assert word in str(caught.value)
