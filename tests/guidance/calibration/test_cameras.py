"""One view's camera and all views' bundle, against OpenCV, SciPy and differences."""

import cv2
import numpy as np
import pytest
from scipy import optimize
from scipy.spatial.transform import Rotation

from guidance.calibration.bundle import adjusted
from guidance.calibration.bundle_problem import LabelledView
from guidance.calibration.dlt import camera_of, projection_of
from guidance.calibration.phantom import built_in_phantom
from guidance.calibration.view_camera import NUMBERS, ViewCamera, fitted, shadows_of, slopes_of
from guidance.errors import GeometryError
from guidance.geometry.camera import project

PHANTOM = built_in_phantom()
RADII = PHANTOM.diameters_mm / 2.0
MIRROR = np.diag((-1.0, 1.0, 1.0))


def camera_at(seed, focal=(3990.0, 3990.0)) -> ViewCamera:
    rng = np.random.default_rng(seed)
    return ViewCamera(
        focal_px=focal,
        principal_px=tuple(511.5 + rng.uniform(-30, 30, 2)),
        rotation=MIRROR @ Rotation.random(random_state=seed).as_matrix(),
        translation_mm=np.array((*rng.uniform(-10, 10, 2), rng.uniform(720, 780))),
    )


def as_points(camera, points) -> np.ndarray:
    """(N, 2) of points, not balls: what OpenCV's cameras know."""
    return project(points, camera.matrix)[:, :2]


@pytest.mark.parametrize("focal", [(3990.0, 3990.0), (4100.0, 3900.0)])
def test_dlt_gives_the_matrix_of_exact_places(focal):
    camera = camera_at(1, focal)
    matrix = projection_of(PHANTOM.points_mm, as_points(camera, PHANTOM.points_mm))
    np.testing.assert_allclose(matrix, camera.matrix, rtol=1e-6, atol=1e-5)
    found = camera_of(matrix, focal[0] / focal[1])
    np.testing.assert_allclose(found.matrix, camera.matrix, rtol=1e-6, atol=1e-4)


def test_dlt_refuses_what_has_no_answer():
    camera = camera_at(2)
    flat = PHANTOM.points_mm * (1, 1, 0)
    with pytest.raises(GeometryError, match="plane"):
        projection_of(flat, as_points(camera, flat))
    with pytest.raises(GeometryError, match="5 beads"):
        projection_of(PHANTOM.points_mm[:5], np.zeros((5, 2)))
    places = as_points(camera, PHANTOM.points_mm) * (-1, 1) + (1023, 0)
    with pytest.raises(GeometryError) as refusal:
        camera_of(projection_of(PHANTOM.points_mm, places), 1.0)
    assert refusal.value.code == "mirrored_picture"


def test_slopes_are_the_differences():
    camera = camera_at(3)
    by_camera, by_point = slopes_of(camera, PHANTOM.points_mm)
    still = np.zeros(len(RADII))  # the ellipse's offset is taken as constant
    for n in range(NUMBERS):
        step = 1e-5 * np.eye(NUMBERS)[n]
        there, back = (shadows_of(camera.moved(sign * step), PHANTOM.points_mm, still) for sign in (1, -1))
        np.testing.assert_allclose(by_camera[:, :, n], (there - back) / 2e-5, rtol=1e-5, atol=1e-4)
    for n in range(3):
        step = 1e-4 * np.eye(3)[n]
        there, back = (shadows_of(camera, PHANTOM.points_mm + sign * step, still) for sign in (1, -1))
        np.testing.assert_allclose(by_point[:, :, n], (there - back) / 2e-4, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_one_view_is_opencvs(seed):
    """cv2.calibrateCamera on the same correspondences: the same least squares, so the same camera."""
    camera = camera_at(seed)
    rng = np.random.default_rng(seed)
    places = as_points(camera, PHANTOM.points_mm) + rng.normal(0, 0.05, (48, 2))
    points_only = np.full(48, 1e-9)
    start = camera_of(projection_of(PHANTOM.points_mm, places), 1.0)
    # Sigmas so large that Huber's loss is the plain square everywhere.
    ours, residual = fitted(start, PHANTOM.points_mm, points_only, places, np.full(48, 1.0))
    flags = cv2.CALIB_USE_INTRINSIC_GUESS | cv2.CALIB_FIX_ASPECT_RATIO | cv2.CALIB_ZERO_TANGENT_DIST
    flags |= cv2.CALIB_FIX_K1 | cv2.CALIB_FIX_K2 | cv2.CALIB_FIX_K3
    rms, intrinsics, _, turns, shifts = cv2.calibrateCamera(
        [PHANTOM.points_mm.astype(np.float32)],
        [(places * (-1, 1) + (1023, 0)).astype(np.float32).reshape(-1, 1, 2)],
        (1024, 1024),
        np.array(((3990.0, 0, 511.5), (0, 3990.0, 511.5), (0, 0, 1))),
        np.zeros(5),
        flags=flags,
        criteria=(cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 200, 1e-14),
    )
    flip = np.array(((-1.0, 0, 1023.0), (0, 1, 0), (0, 0, 1)))
    theirs = flip @ intrinsics @ np.column_stack((cv2.Rodrigues(turns[0])[0], shifts[0].ravel()))
    assert np.sqrt(np.mean(residual**2)) <= rms / np.sqrt(2) + 1e-4
    away = project(PHANTOM.points_mm, theirs)[:, :2] - as_points(ours, PHANTOM.points_mm)
    assert np.abs(away).max() < 2e-3


def test_the_pose_alone_is_opencvs():
    camera = camera_at(8)
    places = as_points(camera, PHANTOM.points_mm) + np.random.default_rng(8).normal(0, 0.05, (48, 2))
    start = ViewCamera(
        focal_px=camera.focal_px,
        principal_px=camera.principal_px,
        rotation=Rotation.from_rotvec((0.01, -0.02, 0.015)).as_matrix() @ camera.rotation,
        translation_mm=camera.translation_mm + np.array((1.0, -2.0, 5.0)),
    )
    ours, _ = fitted(start, PHANTOM.points_mm, np.full(48, 1e-9), places, np.full(48, 1.0), range(6))
    intrinsics = np.array(
        (
            (camera.focal_px[0], 0, 1023 - camera.principal_px[0]),
            (0, camera.focal_px[1], camera.principal_px[1]),
            (0, 0, 1),
        )
    )
    _, turn, shift = cv2.solvePnP(PHANTOM.points_mm, places * (-1, 1) + (1023, 0), intrinsics, None)
    turn, shift = cv2.solvePnPRefineLM(PHANTOM.points_mm, places * (-1, 1) + (1023, 0), intrinsics, None, turn, shift)
    np.testing.assert_allclose(MIRROR @ ours.rotation, cv2.Rodrigues(turn)[0], atol=2e-6)
    np.testing.assert_allclose(MIRROR @ ours.translation_mm, shift.ravel(), atol=2e-3)


def some_views(count, seed, noise_px=0.02, outliers=0) -> tuple[list[LabelledView], list[ViewCamera], np.ndarray]:
    rng = np.random.default_rng(seed)
    true_mm = PHANTOM.points_mm + rng.normal(0, PHANTOM.tolerance_mm, PHANTOM.points_mm.shape)
    views, cameras = [], []
    for n in range(count):
        camera = camera_at(100 * seed + n)
        beads = np.sort(rng.permutation(48)[:40])
        places = shadows_of(camera, true_mm[beads], RADII[beads]) + rng.normal(0, noise_px, (40, 2))
        places[:outliers] += rng.uniform(1, 6, (outliers, 2)) * rng.choice((-1, 1), (outliers, 2))
        start = camera_of(projection_of(PHANTOM.points_mm[beads], places), 1.0)
        views.append(LabelledView(camera=start, beads=beads, places_px=places, sigma_px=np.full(40, noise_px)))
        cameras.append(camera)
    return views, cameras, true_mm


def test_the_bundle_is_scipys_minimum():
    """The whole problem with all unknowns side by side, dense, by least_squares with differences."""
    views, _, _ = some_views(2, 5)
    ours = adjusted(views, PHANTOM.points_mm, RADII, PHANTOM.tolerance_mm)
    sigma = ours.sigma_unit * views[0].sigma_px[0]

    def residuals(unknown):
        points = ours.points_mm + unknown[18:].reshape(-1, 3)
        rows = [((points - PHANTOM.points_mm) / PHANTOM.tolerance_mm).ravel()]
        for n, view in enumerate(views):
            camera = ours.cameras[n].moved(unknown[9 * n : 9 * n + 9])
            rows.append(((view.places_px - shadows_of(camera, points[view.beads], RADII[view.beads])) / sigma).ravel())
        return np.concatenate(rows)

    found = optimize.least_squares(residuals, np.zeros(18 + 144), x_scale="jac", max_nfev=5)
    # Huber's loss weighs a few residuals beyond 2.5 sigma less, so the two minima differ by a fraction of a sigma.
    deviation = np.sqrt(np.concatenate([np.diag(one) for one in ours.covariances]))
    assert np.abs(found.x[:18] / deviation).max() < 0.5
    assert 2.0 * found.cost <= float(residuals(np.zeros(162)) @ residuals(np.zeros(162))) + 1e-6
    # Covariance: the inverse of the whole normal matrix, its blocks the views' marginals.
    normal = found.jac.T @ found.jac
    scale = np.sqrt(np.diag(normal))
    whole = np.linalg.inv(normal / np.outer(scale, scale)) / np.outer(scale, scale)
    for n, one in enumerate(ours.covariances):
        ratio = np.sqrt(np.diag(one) / np.diag(whole)[9 * n : 9 * n + 9])
        np.testing.assert_allclose(ratio, 1.0, atol=0.12)


def test_outliers_are_given_up_and_named():
    views, cameras, true_mm = some_views(8, 6, outliers=3)
    found = adjusted(views, PHANTOM.points_mm, RADII, PHANTOM.tolerance_mm)
    for view, inlier, ours, true in zip(views, found.inliers, found.cameras, cameras, strict=True):
        assert not inlier[:3].any()
        assert inlier[3:].mean() > 0.9
        away = as_points(ours, true_mm[view.beads]) - as_points(true, true_mm[view.beads])
        assert np.abs(away).max() < 0.12


def test_beads_are_found_where_they_really_are():
    views, _, true_mm = some_views(12, 7)
    found = adjusted(views, PHANTOM.points_mm, RADII, PHANTOM.tolerance_mm)
    told = np.sqrt(np.mean((PHANTOM.points_mm - true_mm) ** 2))
    assert np.sqrt(np.mean((found.points_mm - true_mm) ** 2)) < 0.5 * told
    assert 0.8 < found.sigma_unit < 1.2


def test_a_shared_focal_length_is_one_and_known_better():
    views, _, _ = some_views(6, 9)
    free = adjusted(views, PHANTOM.points_mm, RADII, PHANTOM.tolerance_mm)
    one = adjusted(views, PHANTOM.points_mm, RADII, PHANTOM.tolerance_mm, share_focal=True)
    focal = [camera.focal_px[0] for camera in one.cameras]
    np.testing.assert_allclose(np.diff(focal), 0.0, atol=1e-6)
    assert np.ptp([camera.focal_px[0] for camera in free.cameras]) > 0.1
    for alone, shared in zip(free.covariances, one.covariances, strict=True):
        assert shared[8, 8] < 0.6 * alone[8, 8]
    assert abs(focal[0] / 3990.0 - 1.0) < 4.0 * np.sqrt(one.covariances[0][8, 8])


def test_covariances_hold_what_they_say():
    """Mean of squared errors over covariance: 9 for nine numbers; over independent suites."""
    squares = []
    for seed in range(20, 28):
        views, cameras, _ = some_views(3, seed)
        found = adjusted(views, PHANTOM.points_mm, RADII, PHANTOM.tolerance_mm)
        for ours, true, covariance in zip(found.cameras, cameras, found.covariances, strict=True):
            turn = Rotation.from_matrix(true.rotation @ ours.rotation.T)
            shift = true.translation_mm - turn.apply(ours.translation_mm)
            principal = np.subtract(true.principal_px, ours.principal_px)
            error = np.concatenate((turn.as_rotvec(), shift, principal, [np.log(true.focal_px[0] / ours.focal_px[0])]))
            squares.append(error @ np.linalg.solve(covariance, error))
    assert 6.5 < np.mean(squares) < 11.5
    assert np.mean(np.array(squares) < 16.92) >= 0.87
