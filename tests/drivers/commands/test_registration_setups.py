"""The registration suite tells what it claims: geometry off by exactly the true M, pictures as their display says."""

from __future__ import annotations

import numpy as np
import pytest

from drivers.commands.bench_registration import charts_of
from drivers.commands.registration_setups import (
    AP_LATERAL,
    SETUPS,
    SHIFT_MM,
    TURN_DEG,
    Radiographs,
    Setup,
    patient_of,
)
from guidance.registration.values import motion_vector


@pytest.fixture(scope="module")
def pictures():
    patient, said = patient_of("dysmorphic", 2.0)
    assert said == ""
    setup = Setup(name="x", patient="dysmorphic", views=AP_LATERAL, contents=("collimator",), display="DISP inverted")
    return Radiographs(setup, patient, 5)


def test_told_geometry_is_off_by_the_true_motion(pictures):
    views, truth = pictures.case(3)
    for view, matrix in zip(views, pictures.geometry, strict=True):
        assert np.allclose(view.pixel_from_patient @ truth, matrix, atol=1e-6 * np.abs(matrix).max())
    offset = motion_vector(truth, pictures.pivot_lps_mm)
    assert np.abs(offset[:3]).max() <= SHIFT_MM
    assert np.abs(offset[3:]).max() <= TURN_DEG + 1e-9
    assert np.abs(offset).max() > 2.0


def test_cases_differ_and_repeat(pictures):
    first, again, other = (pictures.case(seed)[0][0].pixels for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_inverted_display_is_told(pictures):
    view = pictures.case(1)[0][0]
    assert (view.intensity, view.sign, view.pixels.dtype) == ("DISP", -1, np.uint8)


def test_suite_covers_what_it_must():
    assert {len(setup.views) for setup in SETUPS} == {1, 2, 3}
    assert {"table", "hands", "instruments", "collimator"} <= {kind for setup in SETUPS for kind in setup.contents}
    assert len({setup.patient for setup in SETUPS}) >= 3
    assert min(setup.photons for setup in SETUPS) < 100.0


def test_charts_are_drawn_even_of_nothing():
    names = ("two_views_tre_mm", "one_view_projected_mm", "two_views_sigmas", "one_view_sigmas")
    errors = {name: [] for name in (*names, "two_views_offset_mm", "two_views_all_tre_mm")}
    charts = charts_of({"series": {"errors": errors}})
    assert all(text.startswith("<svg") for text in charts.values())
