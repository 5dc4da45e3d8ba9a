"""The trials of `guidance bench uncertainty` find what is right, and what is wrong, of bands that are known."""

import numpy as np
import pytest

from drivers.commands.bench_uncertainty import charts_of
from drivers.commands.uncertainty_scenes import model_trials, timing_trials
from drivers.commands.uncertainty_trials import LEVELS, Paths, Tally, normal_limit, told_matrix, true_matrix
from guidance.config import UncertaintySettings
from guidance.uncertainty.values import NUMBERS, PoseUncertainty, UncertaintyUnknown

ORIGIN = (0.0, 0.0, 0.0)


def test_the_models_95_percent_hold_95_percent():
    tally = model_trials(poses=120, draws=40, seed=7)
    assert tally.coverage == pytest.approx(95.0, abs=1.5)
    assert tally.coverage_disc == pytest.approx(95.0, abs=1.5)
    for level, share in zip(LEVELS, tally.shares(), strict=True):
        assert share == pytest.approx(level, abs=3.0)


@pytest.mark.parametrize("shift_mm", [0.01, 0.3])
def test_a_turning_c_arms_95_percent_hold_95_percent(shift_mm):
    settings = UncertaintySettings(
        shift_mm=shift_mm, turn_deg=0.005, principal_point_px=0.02, focal_relative=1e-5, timing_ms=5.0
    )
    tally = timing_trials(runs=1200, seed=11, settings=settings)
    assert tally.coverage == pytest.approx(95.0, abs=2.0)
    assert tally.unknown == 0


@pytest.mark.parametrize(("factor", "scale"), [(0.5, 2.0), (2.0, 0.5)])
def test_bands_that_are_wrong_are_found_to_be(factor, scale):
    rng, tally = np.random.default_rng(2), Tally()
    told = told_matrix(20.0, 5.0, ORIGIN)
    paths = Paths(np.array([(40.0, 0.0, 10.0)]), np.array([(-30.0, 20.0, 0.0)]))
    sigmas = np.array([0.3] * 3 + [0.1] * 3 + [0.5, 0.5, 0.001])
    wrong = PoseUncertainty(covariance=np.diag((factor * sigmas) ** 2), pivot_lps_mm=ORIGIN)
    for _ in range(1500):
        tally.picture(paths, told, true_matrix(told, sigmas * rng.normal(size=NUMBERS), np.zeros(3)), wrong)
    assert tally.scale == pytest.approx(scale, rel=0.06)
    assert (tally.coverage < 75.0) is (factor < 1.0)


def test_an_unknown_uncertainty_is_counted_and_holds_nothing():
    tally, told = Tally(), told_matrix(0.0, 0.0, ORIGIN)
    tally.picture(Paths(np.zeros((1, 3)), np.ones((1, 3))), told, told, UncertaintyUnknown(reason="why"))
    assert tally.unknown == 1
    assert tally.coverage is None
    assert tally.shares() == [None] * len(LEVELS)


def test_normal_limits():
    assert normal_limit(0.95) == pytest.approx(1.959964, abs=1e-6)
    assert normal_limit(0.5) == pytest.approx(0.674490, abs=1e-6)


def test_charts_show_every_source():
    names = ("model", "timing", "combined")
    answer = {
        "figures": {f"coverage_{name}": 95.0 for name in names},
        "series": {
            "predicted_percent": list(LEVELS),
            "observed_percent": {name: [float(level) for level in LEVELS] for name in names},
        },
    }
    charts = charts_of(answer)
    assert set(charts) == {"uncertainty-calibration", "uncertainty-coverage"}
    for svg in charts.values():
        assert svg.startswith("<svg")
        assert all(name in svg for name in names)
