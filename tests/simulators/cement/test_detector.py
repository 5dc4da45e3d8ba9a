"""The simulated detector: Poisson's law, spread, afterglow, exposure control; and scatter's field."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulators.cement.detector import Detector, DetectorRun
from simulators.cement.scatter import ScatterModel, scatter_field

PLAIN = Detector(electronic_noise=0.0, lag=0.0, screen_blur_px=0.0, focal_blur_px=0.0, level=1000.0)
FLAT = np.full((300, 300), 0.01, np.float32)


def run_of(detector, photons=400.0):
    return DetectorRun(detector, photons / detector.photons_per_mm2)


@pytest.mark.parametrize("photons", [2.0, 40.0, 400.0])
def test_photons_have_the_mean_variance_and_skew_of_poisson(photons):
    run = run_of(PLAIN, photons)
    run.expose(FLAT)
    values = run.read(FLAT, 0, 0.0) / (1000.0 / photons)
    assert values.mean() == pytest.approx(photons, rel=0.01)
    assert values.var() == pytest.approx(photons, rel=0.03)
    skew = np.mean((values - values.mean()) ** 3) / values.std() ** 3
    assert skew == pytest.approx(1.0 / np.sqrt(photons), abs=0.05)


def test_four_times_the_dose_halves_the_noise():
    noise = []
    for photons in (200.0, 800.0):
        run = run_of(PLAIN, photons)
        run.expose(FLAT)
        values = run.read(FLAT, 0, 0.0)
        noise.append(values.std() / values.mean())
    assert noise[0] / noise[1] == pytest.approx(2.0, rel=0.03)
    assert noise[0] == pytest.approx(1.0 / np.sqrt(200.0), rel=0.03)


def test_light_in_the_screen_makes_neighbours_noise_related():
    values = [run_of(replace(PLAIN, screen_blur_px=sigma)).read(FLAT, 0, 0.0).astype(float) for sigma in (0.0, 0.5)]
    related = [np.corrcoef(each[:, 1:].ravel(), each[:, :-1].ravel())[0, 1] for each in values]
    assert abs(related[0]) < 0.02
    assert 0.1 < related[1] < 0.4


def test_what_was_bright_glows_on_and_fades():
    detector = replace(PLAIN, lag=0.05, photons_per_mm2=1e9, control=0.0)
    bright = FLAT.copy()
    bright[:, :150] *= 2.0
    run = DetectorRun(detector, 1.0)
    run.expose(FLAT)
    run.read(bright, 0, 0.0)
    after = run.read(FLAT, 1, 1.0 / 30.0)
    assert after[:, :150].mean() == pytest.approx(1000.0 + 0.05 * 1000.0, rel=2e-3)
    assert after[:, 150:].mean() == pytest.approx(1000.0, rel=2e-3)
    run.read(bright, 2, 2.0 / 30.0)
    assert run.read(FLAT, 3, 2.0)[:, :150].mean() == pytest.approx(1000.0, rel=2e-3)


def test_exposure_goes_to_the_level_by_steps_and_begins_afresh_when_told():
    run = run_of(replace(PLAIN, control=0.5))
    first = run.expose(FLAT)
    assert first == pytest.approx(1000.0 / 0.01)
    darker = FLAT * np.float32(0.25)
    assert run.expose(darker) == pytest.approx(2.0 * first)
    assert run.expose(darker) == pytest.approx(2.0 * np.sqrt(2.0) * first)
    run.forget()
    assert run.expose(darker) == pytest.approx(4.0 * first)


def test_an_open_field_saturates_and_a_black_one_is_black():
    run = run_of(replace(PLAIN, largest=4095))
    beside = FLAT.copy()
    beside[:20] = 1.0
    beside[-20:] = 0.0
    run.expose(beside)
    picture = run.read(beside, 0, 0.0)
    assert (picture[:20] == 4095).all()
    assert (picture[-20:] == 0).all()


def test_scatter_is_wide_grows_with_the_patient_and_falls_towards_the_edge():
    model = ScatterModel()
    primary = np.full((256, 256), 0.01, np.float32)
    fields = [
        scatter_field(primary, np.full((32, 32), water_mm, np.float32), 1.2, model) for water_mm in (0.0, 100.0, 200.0)
    ]
    assert not fields[0].any()
    ratios = [field[128, 128] / 0.01 for field in fields]
    assert 0.4 * ratios[2] < ratios[1] < 0.5 * ratios[2]
    assert ratios[2] == pytest.approx(0.8, rel=0.1)
    assert fields[2][128, 0] == pytest.approx(0.5 * fields[2][128, 128], rel=0.1)
    capped = scatter_field(primary, np.full((32, 32), 900.0, np.float32), 1.2, model)
    assert capped[128, 128] / 0.01 <= 1.1


def test_a_dark_spot_hardly_changes_scatter():
    primary = np.full((256, 256), 0.01, np.float32)
    water = np.full((32, 32), 200.0, np.float32)
    before = scatter_field(primary, water, 1.2, ScatterModel())
    primary[120:130, 120:130] *= 0.3
    after = scatter_field(primary, water, 1.2, ScatterModel())
    assert 0.0 < 1.0 - after[125, 125] / before[125, 125] < 0.05
