"""What the detector shows: the same by seed, noise of the right strength, pins dark."""

from __future__ import annotations

import numpy as np
import pytest

from simulators.gantry import Gantry
from simulators.instruments import Cylinder
from simulators.scene import NOISE_UNIT, Exposure, NoiseFields, Scene, expose, poisson_picture
from simulators.xray import beam, mass_attenuation_cm2_g

GANTRY = Gantry(detector_rows=128, detector_columns=128, pitch_row_mm=1.8, pitch_column_mm=1.8)


@pytest.fixture(scope="module")
def transmission(block_scene):
    return block_scene.transmission(GANTRY.pixel_from_patient(), GANTRY.size, beam(80.0))


def test_water_attenuates_as_the_beam_says(transmission):
    """Below the bone's shadow there are 96 mm of water, a little more where the ray is oblique."""
    expected = beam(80.0).transmission({"soft_tissue": np.array([9.6], np.float32)})[0]
    assert transmission[100, 64] == pytest.approx(expected, rel=0.05)
    assert transmission[64, 0] == pytest.approx(1.0)


def test_bone_is_darker_and_where_it_lies(transmission):
    """Voxels 14..19 of 4 mm: x from -4 to 20 mm, to the left of the patient, on the picture's right."""
    row = transmission[64]
    edges = np.flatnonzero(row < 0.75 * row[50])
    u = GANTRY.project(np.array([[-4.0, -18.0, 2.0], [20.0, -18.0, 2.0]]))[:, 0]
    assert (edges.min(), edges.max()) == pytest.approx(u, abs=1.6)


def test_binned_rendering_is_the_mean_of_blocks(block_scene, transmission):
    binned = block_scene.transmission(GANTRY.pixel_from_patient(), (64, 64), beam(80.0), step_px=2)
    blocks = transmission.reshape(64, 2, 64, 2).mean(axis=(1, 3))
    assert np.abs(binned - blocks).mean() < 0.002
    assert np.median(np.abs(binned / blocks - 1.0)) < 0.003


def test_a_steel_pin_is_nearly_black(block_scene):
    pin = Cylinder(start_lps_mm=(-30, 0, 0), end_lps_mm=(30, 0, 0), diameter_mm=4.0)
    with_pin = Scene(block_scene.volume, (pin,)).transmission(GANTRY.pixel_from_patient(), GANTRY.size, beam(80.0))
    without = block_scene.transmission(GANTRY.pixel_from_patient(), GANTRY.size, beam(80.0))
    u, v = np.rint(GANTRY.project(np.zeros((1, 3)))[0, :2]).astype(int)
    hardest = np.exp(-mass_attenuation_cm2_g("stainless_steel", 80.0) * 7.95 * 0.4)
    assert with_pin[v, u - 20] < hardest * without[v, u - 20]
    away = with_pin[v + 10] / without[v + 10]
    assert np.array_equal(away, np.ones_like(away))


def test_exposure_control_holds_the_middle_and_the_open_field_saturates(transmission):
    exposure = Exposure(dose_photons=200.0, level=8000.0)
    exposed = expose(transmission, exposure, 3.24)
    assert np.median(exposed.level[32:96, 32:96]) == pytest.approx(8000.0, rel=0.02)
    assert exposed.level[64, 0] == min(65535, round(8000.0 / float(np.median(transmission[32:96:8, 32:96:8]))))
    assert exposed.photons_per_mm2 == pytest.approx(200.0 / float(np.median(transmission[32:96:8, 32:96:8])) / 3.24)


def test_noise_is_as_strong_as_quanta_are(transmission):
    exposure = Exposure(dose_photons=100.0, level=5000.0, electronic_noise=0.0)
    exposed = expose(transmission, exposure, 3.24)
    fields = NoiseFields(7, transmission.size)
    pictures = np.stack([fields.apply(exposed, n) for n in range(300)]).astype(float)
    exact = np.stack([poisson_picture(transmission, exposure, n) for n in range(300)]).astype(float)
    shaded = exposed.level < 20000
    photons = exposed.level[shaded] * (100.0 / 5000.0)
    expected = np.sqrt(photons) * 50.0
    for stack in (pictures, exact):
        assert np.median(stack.std(axis=0)[shaded] / expected) == pytest.approx(1.0, abs=0.05)
        assert np.median(stack.mean(axis=0)[shaded] / exposed.level[shaded]) == pytest.approx(1.0, abs=0.005)
    assert exposed.noise.max() * NOISE_UNIT < 255 * NOISE_UNIT


def test_the_same_seed_gives_the_same_pictures(transmission):
    exposed = expose(transmission, Exposure(), 3.24)
    first, again = NoiseFields(3, transmission.size), NoiseFields(3, transmission.size)
    assert np.array_equal(first.apply(exposed, 5), again.apply(exposed, 5))
    assert not np.array_equal(first.apply(exposed, 5), first.apply(exposed, 6))
    assert not np.array_equal(first.apply(exposed, 5), NoiseFields(4, transmission.size).apply(exposed, 5))
