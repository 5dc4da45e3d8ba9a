"""Bands against closed forms, against Monte Carlo with motions that are not small, and what must not change them."""

import math

import numpy as np
import pytest
from scipy import integrate

from guidance.config import UncertaintySettings
from guidance.geometry.camera import project
from guidance.registration.values import small_motion
from guidance.uncertainty.band import SIGMAS_95, band_mm, disc_radius, path_bands, picture_covariance_px
from guidance.uncertainty.frame import frame_uncertainty
from guidance.uncertainty.values import PoseUncertainty
from tests.helpers.drawn import view

FOCAL_PX = 1200.0 / 0.3
ORIGIN = (0.0, 0.0, 0.0)


def matrix_of(*angles, **options):
    return np.array(view(*angles, **options)).reshape(3, 4)


def of_sigmas(*sigmas, pivot=ORIGIN):
    return PoseUncertainty(covariance=np.diag(np.square(np.array(sigmas, float))), pivot_lps_mm=pivot)


def only(index, sigma, pivot=ORIGIN):
    return of_sigmas(*(sigma if number == index else 0.0 for number in range(9)), pivot=pivot)


def band_of(entry, target, matrix, uncertainty):
    return path_bands(np.array([entry], float), np.array([target], float), matrix, uncertainty)


# At 0/0 the patient's left is +u, the head -v, the back towards the source: w = 750 - y.
@pytest.mark.parametrize("depth_mm", [600.0, 750.0, 900.0])
def test_a_shift_along_u_is_seen_as_sigma_times_focal_over_depth(depth_mm):
    y = 750.0 - depth_mm
    point = np.array([(0.0, y, 0.0)])
    covariance = picture_covariance_px(point, matrix_of(), only(0, 0.8))[0]
    np.testing.assert_allclose(covariance, [[(0.8 * FOCAL_PX / depth_mm) ** 2, 0.0], [0.0, 0.0]], atol=1e-9)
    bands = band_of((0, y, -30), (0, y, 30), matrix_of(), only(0, 0.8))  # along the body: u is across
    np.testing.assert_allclose(bands.across_mm, SIGMAS_95 * 0.8, rtol=1e-9)
    np.testing.assert_allclose(bands.across_px, SIGMAS_95 * 0.8 * FOCAL_PX / depth_mm, rtol=1e-9)
    np.testing.assert_allclose(bands.along_px, 0.0, atol=1e-9)
    # A band in one direction only holds 95 % in 1.96 sigma.
    np.testing.assert_allclose(band_mm(point, matrix_of(), only(0, 0.8)), 1.95996 * 0.8, rtol=1e-9)


def test_a_shift_along_the_path_widens_its_ends_and_not_its_sides():
    bands = band_of((40, 0, 0), (-40, 0, 0), matrix_of(), only(0, 1.0))
    np.testing.assert_allclose(bands.across_px, 0.0, atol=1e-9)
    np.testing.assert_allclose(bands.along_px, SIGMAS_95 * FOCAL_PX / 750.0, rtol=1e-9)


def test_depth_that_is_not_known_does_not_blow_the_band_up():
    # 5 mm towards the source: a point on the central ray does not move at all, one 40 mm off it by 5 * 40 / 750 mm.
    bands = band_of((0, 0, 40), (0, 0, -40), matrix_of(), only(1, 5.0))
    np.testing.assert_allclose(bands.across_mm, 0.0, atol=1e-9)
    off = band_mm(np.array([(40.0, 0, 0), (0.0, 0, 0)]), matrix_of(), only(1, 5.0))
    np.testing.assert_allclose(off, [1.95996 * 5.0 * 40.0 / 750.0, 0.0], atol=1e-9)


@pytest.mark.parametrize("angles", [(0, 0), (33, -12), (180, 20)])
def test_a_turn_about_the_paths_own_axis_gives_nothing(angles):
    entry, target = np.array((40.0, 13.0, -20.0)), np.array((-25.0, 40.0, 10.0))
    axis = (target - entry) / np.linalg.norm(target - entry)
    covariance = np.zeros((9, 9))
    covariance[3:6, 3:6] = 4.0 * np.outer(axis, axis)
    about = PoseUncertainty(covariance=covariance, pivot_lps_mm=tuple(entry + 17.0 * axis))
    bands = band_of(entry, target, matrix_of(*angles), about)
    assert np.abs(bands.across_px).max() < 1e-6
    assert np.abs(bands.disc_mm).max() < 1e-6


def test_a_turn_about_the_central_ray_moves_by_the_arm():
    # 1 deg about the ray: a point 50 mm off it goes 50 * pi / 180 mm, across the arm.
    bands = band_of((50, 0, 0), (100, 0, 0), matrix_of(), only(4, 1.0))
    arms = np.linspace(50, 100, bands.across_mm.shape[1])
    np.testing.assert_allclose(bands.across_mm[0], SIGMAS_95 * arms * math.pi / 180.0, rtol=1e-9)


def test_the_pictures_own_parts():
    point = np.array([(30.0, 0.0, -10.0)])
    u, v = 30.0 * FOCAL_PX / 750.0, 10.0 * FOCAL_PX / 750.0
    np.testing.assert_allclose(
        picture_covariance_px(point, matrix_of(), of_sigmas(0, 0, 0, 0, 0, 0, 1.5, 0.5, 0))[0], np.diag((2.25, 0.25)),
        atol=1e-12,
    )  # fmt: skip
    np.testing.assert_allclose(
        picture_covariance_px(point, matrix_of(), only(8, 0.01))[0], 1e-4 * np.outer((u, v), (u, v)), rtol=1e-6
    )


@pytest.mark.parametrize("ratio", [0.0, 0.05, 0.3, 0.55, 0.8, 1.0])
def test_the_disc_holds_95_percent(ratio):
    radius = float(disc_radius(np.array(ratio**2), np.array(1.0), np.array(0.0), np.array(1.0), np.array(1.0)))
    if ratio == 0.0:
        held = math.erf(radius / math.sqrt(2.0))
    else:
        held, _ = integrate.quad(
            lambda t: math.exp(-((radius * math.sin(t)) ** 2) / 2) / math.sqrt(2 * math.pi)
            * math.erf(radius * math.cos(t) / (ratio * math.sqrt(2))) * radius * math.cos(t),
            -math.pi / 2, math.pi / 2,
        )  # fmt: skip
    assert held == pytest.approx(0.95, abs=6e-4)


def test_correlations_count():
    # Shift and turn that always cancel at one point: nothing is left of them there, and twice as much elsewhere.
    arm_mm, turn_deg = 60.0, 0.5
    vector = np.zeros(9)
    vector[4], vector[2] = turn_deg, math.radians(turn_deg) * arm_mm  # about y: z = -turn * x, back up by the shift
    covariance = np.outer(vector, vector)
    uncertainty = PoseUncertainty(covariance=covariance, pivot_lps_mm=ORIGIN)
    cancelled, doubled = band_mm(np.array([(arm_mm, 0, 0), (-arm_mm, 0, 0)]), matrix_of(), uncertainty)
    assert cancelled < 1e-6
    assert doubled == pytest.approx(1.95996 * 2 * math.radians(turn_deg) * arm_mm, rel=1e-6)


def test_a_path_behind_the_source_has_no_band():
    entries, targets = np.array([(0.0, 0, 0), (0.0, 0, 0)]), np.array([(0.0, 900.0, 50.0), (0.0, 0, 50.0)])
    bands = path_bands(entries, targets, matrix_of(), only(0, 1.0))
    assert bands.known == (False, True)
    assert np.isfinite(bands.across_mm[1]).all()
    assert np.isnan(band_mm(targets, matrix_of(), only(0, 1.0))).tolist() == [True, False]


def test_pixels_that_are_not_square_leave_the_mm_as_they_are():
    square, high = matrix_of(20, 10), matrix_of(20, 10)
    high[1] /= 2.0  # rows twice as high
    uncertainty = of_sigmas(0.5, 0.3, 0.4, 0.2, 0.1, 0.3, 0, 0, 0.002)
    path = (40, 20, -30), (-30, 10, 25)
    np.testing.assert_allclose(
        band_of(*path, high, uncertainty).across_mm, band_of(*path, square, uncertainty).across_mm, rtol=1e-9
    )
    np.testing.assert_allclose(
        band_of(*path, high, uncertainty).disc_mm, band_of(*path, square, uncertainty).disc_mm, rtol=1e-9
    )


@pytest.mark.parametrize(("roll_deg", "flip", "size"), [(90.0, False, 1024), (17.0, True, 1024), (0.0, False, 512)])
def test_turn_flip_and_size_of_the_picture_leave_the_mm_as_they_are(roll_deg, flip, size):
    entry, target = (40, 20, -30), (-30, 10, 25)
    settings = UncertaintySettings()
    first = band_of(
        entry, target, matrix_of(15, 5), frame_uncertainty(settings=settings, pivot_lps_mm=ORIGIN, columns=1024)
    )
    other = band_of(
        entry, target, matrix_of(15, 5, roll_deg=roll_deg, flip=flip, size=size),
        frame_uncertainty(settings=settings, pivot_lps_mm=ORIGIN, columns=size),
    )  # fmt: skip
    # The principal point's share is so many px of 1024, whose mm differ by the half pixel of the middle only.
    np.testing.assert_allclose(other.across_mm, first.across_mm, rtol=1e-3)


def test_turning_patient_and_c_arm_together_leaves_everything_as_it_is():
    rng = np.random.default_rng(4)
    root = rng.normal(size=(9, 9)) * ([0.5] * 3 + [0.3] * 3 + [1.0, 1.0, 0.002])
    covariance, pivot = root.T @ root, np.array((12.0, -30.0, 8.0))
    entry, target = np.array((40.0, 13.0, -20.0)), np.array((-25.0, 40.0, 10.0))
    matrix = matrix_of(25, -8)
    turned = small_motion(np.array((5.0, -3.0, 7.0, 30.0, -50.0, 20.0)), np.zeros(3))
    both = np.eye(9)
    both[:3, :3] = both[3:6, 3:6] = turned[:3, :3]

    def moved(point):
        return turned[:3, :3] @ point + turned[:3, 3]

    before = band_of(entry, target, matrix, PoseUncertainty(covariance=covariance, pivot_lps_mm=tuple(pivot)))
    after = band_of(
        moved(entry), moved(target), matrix @ np.linalg.inv(turned),
        PoseUncertainty(covariance=both @ covariance @ both.T, pivot_lps_mm=tuple(moved(pivot))),
    )  # fmt: skip
    np.testing.assert_allclose(after.across_mm, before.across_mm, rtol=1e-9)
    np.testing.assert_allclose(after.disc_mm, before.disc_mm, rtol=1e-9)
    np.testing.assert_allclose(after.along_px, before.along_px, rtol=1e-9)


def test_the_jacobian_is_the_projections_own():
    """Central differences of the exact motion, over many poses and all nine numbers."""
    rng = np.random.default_rng(8)
    worst = 0.0
    for _ in range(40):
        matrix = matrix_of(*rng.uniform((-180, -40), (180, 40)), roll_deg=float(rng.uniform(-180, 180)))
        points, pivot = rng.normal(0, 40, (5, 3)), rng.normal(0, 40, 3)
        for number in range(9):
            step = np.zeros(9)
            step[number] = 1e-4
            told = picture_covariance_px(points, matrix, only(number, 1.0, tuple(pivot)))
            slope = (seen(points, matrix, step, pivot) - seen(points, matrix, -step, pivot)) / 2e-4
            worst = max(worst, np.abs(told - slope[:, :, None] * slope[:, None, :]).max() / max(told.max(), 1.0))
    assert worst < 1e-5


def seen(points, matrix, vector, pivot):
    """(N, 2) where points are seen when the nine numbers are true: exact, nothing of `guidance.uncertainty` in it."""
    moved = points @ small_motion(vector[:6], pivot)[:3, :3].T + small_motion(vector[:6], pivot)[:3, 3]
    uv = project(moved, matrix)[:, :2]
    principal = matrix[:2, :3] @ matrix[2, :3]
    return principal + vector[6:8] + (1.0 + vector[8]) * (uv - principal)


def test_95_percent_hold_95_percent_of_motions_that_are_not_small():
    """Many poses, paths and covariances with correlations; turns of degrees and shifts of millimetres."""
    rng = np.random.default_rng(12)
    inside_across, inside_along, inside_disc = [], [], []
    for _ in range(60):
        matrix = matrix_of(*rng.uniform((-180, -40), (180, 40)), roll_deg=float(rng.uniform(-180, 180)))
        entry, target, pivot = rng.normal(0, 30, (3, 3))
        root = rng.normal(size=(9, 9)) / 3.0 * ([2.0] * 3 + [2.0] * 3 + [3.0, 3.0, 0.01])
        bands = band_of(entry, target, matrix, PoseUncertainty(covariance=root.T @ root, pivot_lps_mm=tuple(pivot)))
        points = np.linspace(entry, target, bands.across_px.shape[1])
        drawn = project(points, matrix)[:, :2]
        way = bands.way[0]
        across_way = np.array((-way[1], way[0]))
        for _ in range(60):
            error = seen(points, matrix, root.T @ rng.normal(size=9), pivot) - drawn
            inside_across.append(np.abs(error @ across_way) <= bands.across_px[0])
            inside_along.append(np.abs(error @ way) <= bands.along_px[0])
            per_px = bands.depth_mm[0] / FOCAL_PX
            inside_disc.append(np.hypot(*error.T) * per_px <= bands.disc_mm[0])
    for inside in (inside_across, inside_along, inside_disc):
        assert np.mean(inside) == pytest.approx(0.95, abs=0.02)
