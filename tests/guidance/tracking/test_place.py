"""Lines and parabolas of known shadows placed in space; what cannot be told is refused by name."""

from dataclasses import replace

import numpy as np
import pytest

from guidance.tracking.place import instrument_3d
from tests.helpers.rods import view
from tests.helpers.seen_rods import AXIS, TIP, VIEWS, points_of, seen_in


def test_two_views_of_a_straight_one_are_exact():
    placed = instrument_3d([seen_in(gantry, points_of()) for gantry in VIEWS[:2]])
    assert placed.accepted
    assert placed.code == ""
    assert placed.tip_lps_mm == pytest.approx(TIP, abs=1e-4)
    assert placed.axis == pytest.approx(AXIS, abs=1e-6)
    assert placed.residual_px == pytest.approx(0.0, abs=1e-3)
    assert placed.views == 2
    assert placed.curve_lps_mm[-1] == pytest.approx(TIP, abs=1e-4)
    assert 80.0 < np.linalg.norm(placed.curve_lps_mm[0] - TIP) < 91.0


def test_a_bent_one_is_its_parabola():
    points = points_of(bend_mm=5.0, count=17)
    placed = instrument_3d([seen_in(gantry, points) for gantry in VIEWS])
    assert placed.accepted
    assert placed.tip_lps_mm == pytest.approx(TIP, abs=0.1)
    fine = points_of(bend_mm=5.0, count=2001)
    away = np.linalg.norm(placed.curve_lps_mm[:, None] - fine[None], axis=2).min(axis=1)
    assert away.max() < 0.15
    assert np.degrees(np.arccos(np.dot(placed.axis, AXIS))) < 1.0


def test_the_tip_of_one_view_is_enough_on_a_line_of_two():
    hidden = seen_in(VIEWS[1], points_of(TIP - 20.0 * AXIS), tip=False)
    placed = instrument_3d([seen_in(VIEWS[0], points_of()), hidden])
    assert placed.accepted
    assert placed.tip_lps_mm == pytest.approx(TIP, abs=1e-3)


def test_no_tip_in_any_view_is_a_line_without_tip():
    placed = instrument_3d([seen_in(gantry, points_of(), tip=False) for gantry in VIEWS[:2]])
    assert placed.accepted
    assert placed.tip_lps_mm is None
    assert placed.tip_sigma_mm is None
    assert placed.axis == pytest.approx(AXIS, abs=1e-6)


def test_its_own_sigma_is_what_noise_does():
    misses, sigmas = [], []
    for seed in range(60):
        views = [
            seen_in(gantry, points_of(), along_px=0.3 * np.random.default_rng([seed, number]).normal())
            for number, gantry in enumerate(VIEWS[:2])
        ]
        placed = instrument_3d(views)
        misses.append(np.array(placed.tip_lps_mm) - TIP)
        sigmas.append(placed.tip_covariance_mm2)
    found, told = np.cov(np.array(misses).T), np.mean(sigmas, axis=0)
    assert np.sqrt(np.trace(found)) == pytest.approx(np.sqrt(np.trace(told)), rel=0.5)


def test_geometry_that_may_be_off_widens_it():
    views = [seen_in(gantry, points_of()) for gantry in VIEWS[:2]]
    sure, unsure = instrument_3d(views), instrument_3d([replace(one, geometry_sigma_px=4.0) for one in views])
    assert unsure.tip_sigma_mm > 4.0 * sure.tip_sigma_mm
    assert unsure.axis_sigma_deg > 4.0 * sure.axis_sigma_deg


def refused(views):
    placed = instrument_3d(views)
    assert not placed.accepted
    assert placed.tip_lps_mm is None
    assert placed.axis is None
    assert placed.reason
    return placed.code


def test_what_cannot_be_told_is_refused_by_name():
    straight = points_of()
    assert refused([]) == "too_few_views"
    assert refused([seen_in(VIEWS[0], straight)]) == "too_few_views"
    assert refused([seen_in(view(180.0, 25.0), straight), seen_in(view(180.0, 20.0), straight)]) == "views_too_parallel"
    # AP and lateral both stand in the axial plane, and so does this pin.
    level = points_of(axis=np.array((-0.9, -np.sqrt(1.0 - 0.81), 0.0)), tip=np.array((20.0, 0.0, 0.0)))
    assert refused([seen_in(view(180.0, 0.0), level), seen_in(view(140.0, 0.0), level)]) == "in_plane_of_sources"
    turned = [seen_in(VIEWS[0], straight), seen_in(VIEWS[1], straight[::-1])]
    assert refused(turned) == "views_contradict"


@pytest.mark.parametrize("moved_mm", [3.0, 10.0])
def test_an_instrument_that_moved_between_the_views_is_noticed(moved_mm):
    views = [seen_in(VIEWS[0], points_of()), seen_in(VIEWS[2], points_of(TIP + moved_mm * AXIS))]
    placed = instrument_3d(views)
    assert not placed.accepted
    assert placed.code == "views_contradict"
    assert placed.residual_mm > 0.4 * moved_mm * 0.5
    assert "moved" in placed.reason
