"""Pictures of growing cement: physics against closed forms, truth against geometry, the same again by its seed."""

from __future__ import annotations

import numpy as np
import pytest

from guidance.kernels.drr import ProjectionVolume
from simulators.cement.base import BasePictures
from simulators.cement.detector import Detector, DetectorRun
from simulators.gantry import Gantry
from simulators.xray import beam, density_g_cm3, mass_attenuation_cm2_g

GANTRY = Gantry(detector_rows=128, detector_columns=128, pitch_row_mm=1.2, pitch_column_mm=1.2)


@pytest.fixture(scope="module")
def water() -> ProjectionVolume:
    """20 cm of water."""
    voxels = np.full((50, 50, 50), 0, np.int16)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -98.0
    return ProjectionVolume(voxels, affine)


def test_a_layer_of_cement_takes_away_what_the_table_says(water):
    layers = BasePictures(water, (), np.zeros(3)).layers(GANTRY, GANTRY.pixel_from_patient())
    tube = beam(80.0)
    before = layers.transmission(tube)
    density = density_g_cm3("cement_baso4_30")
    region = slice(60, 70), slice(50, 80)
    layers.add(region, "cement_baso4_30", np.full((10, 30), 0.2 * density, np.float32), displaces=True)
    after = layers.transmission(tube)
    untouched = np.ones((128, 128), np.bool_)
    untouched[region] = False
    np.testing.assert_array_equal(before[untouched], after[untouched])
    # The middle ray: 20 cm of water with 2 mm of it replaced, energy by energy.
    water_cm = 20.0
    expected = np.array(
        [
            sum(
                weight
                * np.exp(
                    -mass_attenuation_cm2_g("soft_tissue", energy) * (water_cm - 0.2 * replaced)
                    - mass_attenuation_cm2_g("cement_baso4_30", energy) * density * 0.2 * replaced
                )
                for energy, weight in zip(tube.energies_kev, tube.weights, strict=True)
            )
            for replaced in (0.0, 1.0)
        ]
    )
    contrast = np.log(before[64, 64] / after[64, 64])
    assert contrast == pytest.approx(np.log(expected[0] / expected[1]), rel=0.02)
    assert 0.2 < contrast / 2.0 < 0.3


def test_photons_have_the_variance_of_poisson_and_the_blur_of_the_screen():
    detector = Detector(electronic_noise=0.0, lag=0.0, screen_blur_px=0.0, focal_blur_px=0.0, level=1000.0)
    for photons in (2.0, 40.0, 400.0):
        run = DetectorRun(detector, photons / detector.photons_per_mm2)
        flat = np.full((300, 300), 0.01, np.float32)
        run.expose(flat)
        values = run.read(flat, 0, 0.0) / (1000.0 / photons)
        assert values.mean() == pytest.approx(photons, rel=0.01)
        assert values.var() == pytest.approx(photons, rel=0.03)
        skew = np.mean((values - values.mean()) ** 3) / values.std() ** 3
        assert skew == pytest.approx(1.0 / np.sqrt(photons), abs=0.05)
