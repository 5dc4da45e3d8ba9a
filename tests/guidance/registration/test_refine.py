"""The measure and its slopes: against plain differences, against exposure, against outliers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from guidance.registration.certainty import settled
from guidance.registration.measure import LocalWindow, agreement, normalised
from guidance.registration.picture import prepared
from guidance.registration.refine import judged, problem_of, refined, slopes_of
from guidance.registration.values import motion_vector, small_motion
from guidance.registration.volume import registration_volume
from tests.guidance.registration.phantom import body, middle_of, radiographs

PAIR = ((0.0, 0.0), (75.0, 10.0))


@pytest.fixture(scope="module")
def case():
    hu, affine = body()
    views, truth = radiographs(hu, affine, PAIR, (2.0, -1.5, 1.0, 1.5, -1.0, 2.0))
    pivot = middle_of(affine)
    return problem_of(registration_volume(hu, affine), [prepared(view, pivot) for view in views], pivot), truth


def test_normalised_values_forget_gain_offset_and_slow_change():
    rng = np.random.default_rng(0)
    picture = rng.standard_normal((80, 90)).astype(np.float32)
    window = LocalWindow.of(np.ones((80, 90), np.float32), 6)
    ramp = np.linspace(0.0, 3.0, 90, dtype=np.float32)
    a, b = normalised(picture, window).values, normalised(7.0 * picture + ramp - 40.0, window).values
    assert np.abs(a - b)[8:-8, 8:-8].max() < 0.05


def test_an_outlier_counts_no_more_than_its_area():
    rng = np.random.default_rng(1)
    told = normalised(
        rng.standard_normal((90, 90)).astype(np.float32), LocalWindow.of(np.ones((90, 90), np.float32), 6)
    )
    window = LocalWindow.of(np.ones((90, 90), np.float32), 6)
    seen = told.values.copy()
    seen[30:36] = 50.0
    found = agreement(seen, told, window)
    assert found.loss < 0.25
    assert found.weight[30:36].max() < 0.01 * found.weight[60:].max()


@pytest.mark.parametrize("view", [0, 1])
def test_slopes_are_those_of_plain_differences(case, view):
    problem, truth = case
    _, found, told = judged(problem, truth, 1)
    slopes = slopes_of(problem, view, 1, truth, found[view], told[view].spread)
    here = problem.levels[view][1]
    size = 0.7  # mm and deg
    for n in range(6):
        ends = []
        for sign in (-1.0, 1.0):
            vector = np.zeros(6)
            vector[n] = sign * size
            motion = small_motion(vector, problem.pivot_lps_mm) @ truth
            ends.append(here.window.detail(problem.projection(view, 1, motion)))
        plain = (ends[1] - ends[0]) / (2.0 * size) * found[view].gain / told[view].spread
        assert np.corrcoef(slopes[n].ravel(), plain.ravel())[0, 1] > 0.95
        assert np.sqrt(np.mean(slopes[n] ** 2)) == pytest.approx(np.sqrt(np.mean(plain**2)), rel=0.06)


def test_refining_ends_at_the_truth_and_its_covariance_says_how_well(case):
    problem, truth = case
    pose = refined(problem, refined(problem, np.eye(4), 0, 6).motion, 1, 4)
    pose = refined(problem, pose.motion, 2, 4)
    error = motion_vector(pose.motion @ np.linalg.inv(truth), problem.pivot_lps_mm)
    assert np.abs(error[:3]).max() < 0.3
    assert np.abs(error[3:]).max() < 0.3
    pose, covariance = settled(problem, pose.motion, 2)
    error = motion_vector(pose.motion @ np.linalg.inv(truth), problem.pivot_lps_mm)
    assert np.allclose(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() > 0.0
    assert np.sqrt(error @ np.linalg.solve(covariance, error) / 6.0) < 3.0


@pytest.mark.parametrize("blur_voxels", [0.0, 0.5, 0.8])
def test_a_volume_that_blurs_bone_is_told_apart_and_what_stays_is_in_the_covariance(blur_voxels):
    """One view, where blurred bone above a threshold is larger and looks nearer."""
    normalised_errors, before_mm, after_mm = [], [], []
    for seed in (1, 4, 7):
        hu, affine = body(seed)
        views, truth = radiographs(hu, affine, PAIR[:1], (1.0, -1.0, 0.5, 0.5, -0.5, 1.0), seed=seed)
        pivot = middle_of(affine)
        volume = registration_volume(ndimage.gaussian_filter(hu.astype(np.float32), blur_voxels), affine)
        problem = problem_of(volume, [prepared(view, pivot) for view in views], pivot)
        start = small_motion(np.array((1.0, -1.0, 1.0, 0.5, -0.5, 0.5)), pivot) @ truth
        plain = refined(problem, refined(problem, start, 1, 4).motion, 2, 4)
        pose, covariance = settled(problem, plain.motion, 2)
        across = problem.views[0].across_mm
        for one, seen_mm in ((plain, before_mm), (pose, after_mm)):
            error = motion_vector(one.motion @ np.linalg.inv(truth), pivot)
            seen_mm.append(float(np.linalg.norm(across @ error[:3])))
        normalised_errors.append(float(np.sqrt(error @ np.linalg.solve(covariance, error) / 6.0)))
    assert 0.4 < np.mean(normalised_errors) < 1.7
    assert np.mean(after_mm) < (0.8 if blur_voxels > 0.7 else 1.1) * np.mean(before_mm)


def test_what_voxels_hide_is_in_the_covariance_whatever_their_axes(case):
    problem, truth = case
    pose = refined(problem, truth, 2, 2)
    _, fine = settled(problem, pose.motion, 2)
    steps = np.array(((0.0, 3.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 2.0)))
    _, coarse = settled(replace(problem, volume=replace(problem.volume, voxel_lps_mm=steps)), pose.motion, 2)
    more = (coarse - fine)[:3, :3] - 0.025**2 * (steps @ steps.T - 4.0 * np.eye(3))
    assert np.abs(more).max() < 1e-6
    assert np.linalg.eigvalsh(coarse).min() > 0.0
