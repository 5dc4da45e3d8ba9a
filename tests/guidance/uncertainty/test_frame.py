"""A frame's uncertainty put together: every source by itself, against exact motions, and what is no covariance."""

import numpy as np
import pytest

from guidance.config import UncertaintySettings
from guidance.geometry.camera import project
from guidance.messages import AcceptedRegistration, EquipmentUncertainty
from guidance.registration.values import small_motion
from guidance.uncertainty.band import band_mm, path_bands, picture_covariance_px
from guidance.uncertainty.frame import STANDING, frame_uncertainty, pose_rate
from guidance.uncertainty.registered import likeness
from guidance.uncertainty.space import half_width_mm, place_covariance_mm2, sphere_mm
from guidance.uncertainty.values import PoseUncertainty, UncertaintyUnknown
from tests.helpers.drawn import view

ORIGIN = (0.0, 0.0, 0.0)
EXACT = UncertaintySettings(shift_mm=0.0, turn_deg=0.0, principal_point_px=0.0, focal_relative=0.0, timing_ms=0.0)


def matrix_of(*angles, **options):
    return np.array(view(*angles, **options)).reshape(3, 4)


def registered(covariance, *, motion=None, pivot=ORIGIN, views=()):
    matrix = np.eye(4) if motion is None else motion
    return AcceptedRegistration(
        seen_lps_from_volume_lps=tuple(matrix.ravel().tolist()),
        pivot_lps_mm=pivot,
        covariance=tuple(np.asarray(covariance, float).ravel().tolist()),
        views=tuple(views),
    )


def uncertainty_of(settings=EXACT, *, pivot=ORIGIN, columns=1024, **parts):
    found = frame_uncertainty(settings=settings, pivot_lps_mm=pivot, columns=columns, **parts)
    assert isinstance(found, PoseUncertainty)
    return found


def test_told_geometry_is_what_the_settings_say():
    settings = UncertaintySettings(shift_mm=0.3, turn_deg=0.1, principal_point_px=2.0, focal_relative=0.001)
    covariance = uncertainty_of(settings, columns=512).covariance
    np.testing.assert_allclose(
        np.sqrt(np.diag(covariance)), [0.3, 0.3, 0.3, 0.1, 0.1, 0.1, 1.0, 1.0, 0.001], rtol=1e-12
    )
    assert np.count_nonzero(covariance) == 9


def test_the_same_arguments_give_the_same_object():
    one = registered(np.eye(6))
    again = uncertainty_of(UncertaintySettings(), registration=registered(np.eye(6)))
    assert uncertainty_of(UncertaintySettings(), registration=one) is again


def test_a_registration_about_another_pivot_moves_points_as_its_own_motion_does():
    """Samples of the very small motion that `small_motion` makes after M, seen through the matrix with M in it."""
    rng = np.random.default_rng(3)
    motion = small_motion(np.array((6.0, -9.0, 4.0, 12.0, -20.0, 7.0)), np.array((5.0, 8.0, -3.0)))
    pivot, root = np.array((35.0, -20.0, 50.0)), rng.normal(size=(6, 6)) * 1e-3
    told = matrix_of(30, 12)
    through = told @ motion
    points = rng.normal(0, 40, (4, 3))
    uncertainty = uncertainty_of(
        registration=registered(root.T @ root, motion=motion, pivot=tuple(pivot)), pivot=(-11.0, 3.0, 60.0)
    )
    bands = band_mm(points, through, uncertainty)
    seen = np.column_stack((points, np.ones(4))) @ motion.T
    samples = np.empty((4000, 4, 2))
    for sample in samples:
        uvw = (seen @ small_motion(root.T @ rng.normal(size=6), pivot).T) @ told.T
        sample[:] = uvw[:, :2] / uvw[:, 2:]
    uvw = seen @ told.T
    error_mm = np.linalg.norm(samples - uvw[:, :2] / uvw[:, 2:], axis=2) * uvw[:, 2] / 4000.0
    np.testing.assert_allclose(np.quantile(error_mm, 0.95, axis=0), bands, rtol=0.06)


def test_one_view_leaves_depth_open_in_space_and_not_in_its_picture():
    along_ray = matrix_of(0, 0)[2, :3]
    covariance = np.diag((0.01, 0.01, 0.01, 0.001, 0.001, 0.001))
    covariance[:3, :3] += 25.0 * np.outer(along_ray, along_ray)
    uncertainty = uncertainty_of(registration=registered(covariance))
    points = np.array([(20.0, 5.0, -15.0), (0.0, 0.0, 0.0)])
    assert band_mm(points, matrix_of(0, 0), uncertainty).max() < 0.6
    assert band_mm(points, matrix_of(90, 0), uncertainty).min() > 9.0
    assert half_width_mm(points, along_ray, uncertainty).min() > 9.0
    assert half_width_mm(points, np.array((1.0, 0.0, 0.0)), uncertainty).max() < 0.3
    assert sphere_mm(points, uncertainty).min() > 9.0


def test_calibration_takes_the_settings_place_in_the_equipments_axes():
    covariance = np.diag((4.0, 0.0, 0.0, 0.0, 0.0, 0.09, 0.0, 0.0, 0.0))  # x of the equipment, and turns about its z
    turned = np.array(((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)))
    calibration = EquipmentUncertainty(
        covariance=tuple(covariance.ravel().tolist()), lps_from_equipment=tuple(turned.ravel().tolist())
    )
    found = uncertainty_of(UncertaintySettings(), calibration=calibration)
    np.testing.assert_allclose(np.diag(found.covariance), [0, 4.0, 0, 0, 0, 0.09, 0, 0, 0], atol=1e-12)


def test_calibration_turns_about_the_isocentre_where_it_is_now():
    covariance = np.zeros((9, 9))
    covariance[3, 3] = 0.04  # turns about x
    calibration = EquipmentUncertainty(
        covariance=tuple(covariance.ravel().tolist()),
        lps_from_equipment=tuple(np.eye(3).ravel().tolist()),
        isocenter_lps_mm=(0.0, 0.0, 150.0),
    )
    found = uncertainty_of(calibration=calibration)
    assert band_mm(np.array([(0.0, 40.0, 150.0)]), matrix_of(0, 0), found) == pytest.approx(
        1.96 * np.radians(0.2) * 40.0, rel=1e-3
    )
    assert band_mm(np.array([(0.0, 0.0, 150.0)]), matrix_of(0, 0), found) < 1e-6


def test_sources_add_in_squares():
    told = UncertaintySettings(principal_point_px=0.0, focal_relative=0.0, timing_ms=0.0)
    point, matrix = np.array([(10.0, 20.0, 30.0)]), matrix_of(10, 5)
    alone = [
        band_mm(point, matrix, uncertainty_of(told)),
        band_mm(point, matrix, uncertainty_of(registration=registered(np.diag((0.2, 0.2, 0.2, 0, 0, 0))))),
    ]
    both = band_mm(point, matrix, uncertainty_of(told, registration=registered(np.diag((0.2, 0.2, 0.2, 0, 0, 0)))))
    np.testing.assert_allclose(both**2, alone[0] ** 2 + alone[1] ** 2, rtol=1e-3)


@pytest.mark.parametrize(
    "covariance",
    [
        np.zeros((6, 6)),
        np.full((6, 6), np.nan),
        np.diag((1, 1, 1, 1, 1, -0.1)),
        np.diag((1, 1, 1, 1, 1, np.inf)),
        np.eye(5),
    ],
)
def test_what_is_no_covariance_is_unknown_and_never_zero(covariance):
    found = frame_uncertainty(
        settings=UncertaintySettings(), pivot_lps_mm=ORIGIN, columns=1024, registration=registered(covariance)
    )
    assert isinstance(found, UncertaintyUnknown)
    assert "registration" in found.reason


def test_settings_that_say_nothing_are_unknown_too():
    found = frame_uncertainty(settings=EXACT, pivot_lps_mm=ORIGIN, columns=1024)
    assert isinstance(found, UncertaintyUnknown)


def test_a_calibration_without_numbers_is_unknown():
    for numbers in ((), (0.0,) * 81, (float("nan"),) * 81):
        calibration = EquipmentUncertainty(covariance=numbers, lps_from_equipment=(1.0, 0, 0, 0, 1, 0, 0, 0, 1))
        found = frame_uncertainty(
            settings=UncertaintySettings(), pivot_lps_mm=ORIGIN, columns=1024, calibration=calibration
        )
        assert isinstance(found, UncertaintyUnknown)


def test_a_c_arm_that_stands_has_no_rate():
    assert pose_rate(view(12, 3), view(12, 3), 33.0, ORIGIN) == STANDING
    assert pose_rate(view(12, 3), view(13, 3), 0.0, ORIGIN) == STANDING
    standing = uncertainty_of(UncertaintySettings(timing_ms=50.0))
    assert standing is uncertainty_of(UncertaintySettings(timing_ms=50.0), rate=STANDING)


def test_a_turning_c_arm_is_as_uncertain_as_it_goes_in_the_timing():
    # 30 deg/s about the patient's length, 10 ms: 0.3 deg; a point 50 mm towards the detector goes 0.26 mm across.
    rate = pose_rate(view(0, 0), view(1, 0), 1000.0 / 30.0, ORIGIN)
    np.testing.assert_allclose(rate, [0, 0, 0, 0, 0, -0.03, 0, 0, 0], atol=1e-9)  # patient against the C-arm's turn
    settings = UncertaintySettings(
        shift_mm=1e-9, turn_deg=1e-9, principal_point_px=0.0, focal_relative=0.0, timing_ms=10.0
    )
    uncertainty = uncertainty_of(settings, rate=rate)
    front = np.array([(0.0, -50.0, 0.0)])
    np.testing.assert_allclose(band_mm(front, matrix_of(1, 0), uncertainty), 1.96 * np.radians(0.3) * 50.0, rtol=2e-3)
    bands = path_bands(np.array([(0.0, 0, -40)]), np.array([(0.0, 0, 40)]), matrix_of(1, 0), uncertainty)
    assert bands.across_mm.max() < 1e-6  # on the axis of the turn nothing moves


def test_the_rate_is_the_motion_from_frame_to_frame_about_any_pivot():
    """Told matrices of two poses with the table moved between them: the rate carries the one into the other."""
    after = matrix_of(21, 9)
    after[:, 3] -= after[:, :3] @ np.array((3.0, -1.0, 2.0))
    pivot = np.array((20.0, 30.0, -40.0))
    rate = np.array(pose_rate(view(20, 10), tuple(after.ravel().tolist()), 40.0, tuple(pivot)))
    carried = matrix_of(20, 10) @ small_motion(40.0 * rate[:6], pivot)
    np.testing.assert_allclose(carried, after, atol=1e-6)
    np.testing.assert_allclose(rate[6:], 0.0, atol=1e-9)


def left(views, angles, *, settings=UncertaintySettings(timing_ms=0.0), noise=1e-6):
    made = registered(np.eye(6) * noise**2, views=views)
    ray = tuple(matrix_of(*angles)[2, :3].tolist())
    return uncertainty_of(settings, registration=made, central_ray=ray)


def test_in_its_own_picture_registration_leaves_nothing_of_what_the_geometry_told_wrongly():
    point = np.array([(10.0, -5.0, 20.0)])
    bare = band_mm(point, matrix_of(0, 0), uncertainty_of(UncertaintySettings()))
    assert band_mm(point, matrix_of(0, 0), left([view(0, 0)], (0, 0))) < 0.1 * bare
    # Further away less and less of it is known, in the end worse than without.
    wider = [float(band_mm(point, matrix_of(a, 0), left([view(0, 0)], (a, 0)))[0]) for a in (0, 10, 30, 60, 90)]
    assert wider == sorted(wider)
    assert wider[1] < 0.5 * bare < bare < wider[-1]
    # Without its views, or without this one, nothing is taken off.
    unknown = uncertainty_of(UncertaintySettings(), registration=registered(np.eye(6) * 1e-12))
    np.testing.assert_allclose(band_mm(point, matrix_of(0, 0), unknown), bare, rtol=1e-6)


def test_a_focal_length_that_is_none_becomes_a_depth_that_is_none():
    settings = UncertaintySettings(
        shift_mm=0.0, turn_deg=0.0, principal_point_px=0.0, focal_relative=0.002, timing_ms=0
    )
    found = left([view(0, 0)], (0, 0), settings=settings)
    depth = half_width_mm(np.zeros((1, 3)), matrix_of(0, 0)[2, :3], found)
    assert depth == pytest.approx(1.96 * 0.002 * 750.0, rel=0.05)
    assert band_mm(np.array([(50.0, 0.0, 30.0)]), matrix_of(0, 0), found) < 0.03


def test_what_a_registration_leaves_is_what_a_fit_to_the_wrongly_told_views_leaves():
    """Samples: each view's geometry is wrong on its own, M is fitted to corners of a cube, a third view is drawn."""
    rng = np.random.default_rng(5)
    settings = UncertaintySettings(timing_ms=0.0)
    angles = [(10.0, 0.0), (95.0, 5.0)]
    own = [matrix_of(*one) for one in angles]
    cube = np.array(np.meshgrid(*[(-60.0, 60.0)] * 3)).reshape(3, -1).T
    sigmas = np.array([0.3] * 3 + [0.1] * 3 + [1.0] * 2 + [0.001])
    third, points = matrix_of(10.0, 0.0), np.array([(20.0, -30.0, 10.0), (-30.0, 15.0, -25.0)])
    rays = np.array([matrix[2, :3] for matrix in (*own, third)])
    alike = np.linalg.cholesky(likeness(rays, rays) + 1e-9 * np.eye(3))
    slopes = [numeric_slopes(matrix, cube) for matrix in own]
    errors = []
    for _ in range(1500):
        lies = alike @ (rng.normal(size=(3, 9)) * sigmas)
        wanted = np.concatenate([slope @ lie for slope, lie in zip(slopes, lies, strict=False)])
        fitted = np.linalg.lstsq(np.concatenate([slope[:, :6] for slope in slopes]), wanted, rcond=None)[0]
        rest = lies[2] - np.concatenate((fitted, np.zeros(3)))
        errors.append((numeric_slopes(third, points) @ rest).reshape(-1, 2))
    found = left([view(*one) for one in angles], (10.0, 0.0), settings=settings)
    spread = np.einsum("snu,snv->nuv", np.array(errors), np.array(errors)) / len(errors)
    told = picture_covariance_px(points, third, found)
    np.testing.assert_allclose(np.sqrt(np.einsum("nuu->nu", told)), np.sqrt(np.einsum("nuu->nu", spread)), rtol=0.08)


def numeric_slopes(matrix, points):
    """(2 N, 9) by differences of the exact motion and the exact picture."""
    columns = []
    for number in range(9):
        step = np.zeros(9)
        step[number] = 1e-4
        columns.append(((seen(points, matrix, step) - seen(points, matrix, -step)) / 2e-4).ravel())
    return np.array(columns).T


def seen(points, matrix, vector):
    motion = small_motion(vector[:6], np.zeros(3))
    uv = project(points @ motion[:3, :3].T + motion[:3, 3], matrix)[:, :2]
    principal = matrix[:2, :3] @ matrix[2, :3]
    return principal + vector[6:8] + (1.0 + vector[8]) * (uv - principal)


def test_the_views_of_a_registration_are_told_in_the_frame_of_what_is_seen():
    motion = small_motion(np.array((0.0, 0.0, 0.0, 0.0, 0.0, 25.0)), np.zeros(3))
    made = registered(np.eye(6) * 1e-12, motion=motion, views=[view(40, 0)])
    through = matrix_of(40, 0) @ motion

    def band(ray):
        found = uncertainty_of(UncertaintySettings(), registration=made, central_ray=tuple(ray.tolist()))
        return float(band_mm(np.zeros((1, 3)), through, found)[0])

    assert band(through[2, :3]) < 0.05
    assert band(matrix_of(40, 0)[2, :3]) > 0.2


@pytest.mark.parametrize("variances", [(1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0.3, 0.1), (1, 0.01, 0.01)])
def test_a_ball_holds_95_percent(variances):
    covariance = np.zeros((9, 9))
    covariance[:3, :3] = np.diag(variances)
    radius = sphere_mm(np.zeros((1, 3)), PoseUncertainty(covariance=covariance, pivot_lps_mm=ORIGIN))[0]
    samples = np.random.default_rng(1).normal(size=(100_000, 3)) * np.sqrt(variances)
    assert np.mean(np.linalg.norm(samples, axis=1) < radius) == pytest.approx(0.95, abs=0.005)


def test_places_move_as_the_motion_does():
    rng = np.random.default_rng(6)
    pivot, points = np.array((3.0, -20.0, 11.0)), rng.normal(0, 50, (3, 3))
    for number in range(6):
        step = np.zeros(6)
        step[number] = 1e-4
        covariance = np.zeros((9, 9))
        covariance[number, number] = 1.0
        told = place_covariance_mm2(points, PoseUncertainty(covariance=covariance, pivot_lps_mm=tuple(pivot)))
        moved = points @ small_motion(step, pivot)[:3, :3].T + small_motion(step, pivot)[:3, 3]
        slope = (moved - points) / 1e-4
        np.testing.assert_allclose(told, slope[:, :, None] * slope[:, None, :], atol=1e-5)
