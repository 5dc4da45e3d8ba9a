"""2D/3D registration of a body that is nobody's: errors, equivariance, what it must refuse, and by which name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from guidance.registration.values import IDENTITY, RegistrationView, motion_vector, small_motion
from guidance.registration.views import register_views
from guidance.registration.volume import registration_volume
from tests.guidance.registration.phantom import body, middle_of, radiographs, seen_error_mm, target_error_mm

PAIR = ((0.0, 0.0), (90.0, 0.0))
OBLIQUE = ((25.0, 15.0), (-20.0, -5.0))
FAR = (9.0, -8.0, 7.0, -6.0, 7.5, -5.0)


@pytest.fixture(scope="module")
def patient():
    hu, affine = body()
    return hu, affine, registration_volume(hu, affine)


@pytest.fixture(scope="module")
def pair(patient):
    hu, affine, _ = patient
    return radiographs(hu, affine, PAIR, FAR)


@pytest.mark.parametrize(
    ("angles", "offset"),
    [
        pytest.param(PAIR, FAR, id="at right angles"),
        pytest.param(OBLIQUE, (-10.0, 10.0, 10.0, 8.0, -8.0, 8.0), id="45 deg apart, from the corner"),
        pytest.param((*PAIR, (45.0, 0.0)), (-7.0, -9.0, 3.0, 8.0, 2.0, -7.0), id="three"),
    ],
)
def test_views_give_the_pose(patient, angles, offset):
    hu, affine, volume = patient
    views, truth = radiographs(hu, affine, angles, offset)
    done = []
    found = register_views(volume, views, progress=done.append)
    assert found.accepted, found.reason
    assert found.code == ""
    assert target_error_mm(found, truth, affine) < 0.5
    assert found.residual_mm < 0.8
    assert found.captured >= 0.75
    assert done == sorted(done)
    assert done[-1] == 1.0


def test_one_view_is_right_as_seen_and_says_that_depth_is_not(patient):
    hu, affine, volume = patient
    views, truth = radiographs(hu, affine, PAIR[:1], FAR)
    found = register_views(volume, views)
    assert found.accepted, found.reason
    assert seen_error_mm(found, truth, affine, views[0]) < 0.7
    sigma = np.sqrt(np.diag(found.estimate.covariance))
    assert sigma[1] > 4.0 * max(sigma[0], sigma[2])  # y is along the rays of an AP view
    error = motion_vector(found.estimate.seen_lps_from_volume_lps @ np.linalg.inv(truth), found.estimate.pivot_lps_mm)
    assert abs(error[1]) < 4.0 * sigma[1]


def shown(pixels):
    return np.clip(np.log(pixels + 1.0) * 25.0, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("change", "intensity", "sign"),
    [
        pytest.param(shown, "DISP", 1, id="display"),
        pytest.param(
            lambda p: 255 - np.clip(np.log(p + 1.0) * 25.0, 0, 255).astype(np.uint8), "DISP", -1, id="inverted"
        ),
        pytest.param(lambda p: np.log(p + 1.0).astype(np.float32), "LOG", 1, id="log"),
        pytest.param(lambda p: p / 65535.0, "LIN", 1, id="float64"),
        pytest.param(lambda p: (p // 24).astype(np.uint8), "LIN", 1, id="8 bit"),
        pytest.param(lambda p: 255 - shown(p), "LIN", 1, id="sign not told"),
    ],
)
def test_any_display_of_the_picture_gives_the_pose(patient, pair, change, intensity, sign):
    _, affine, volume = patient
    views, truth = pair
    shown = [replace(view, pixels=change(view.pixels), intensity=intensity, sign=sign) for view in views]
    found = register_views(volume, shown)
    assert found.accepted, found.reason
    assert target_error_mm(found, truth, affine) < 0.6


def test_turning_the_patients_frame_turns_the_answer(patient, pair):
    hu, affine, volume = patient
    views, _ = pair
    pivot = middle_of(affine)
    plain = register_views(volume, views, pivot_lps_mm=pivot)
    turned = small_motion(np.array((40.0, -25.0, 60.0, 20.0, 50.0, -35.0)), np.zeros(3))
    back = np.linalg.inv(turned)
    moved = register_views(
        registration_volume(hu, turned @ affine),
        [replace(view, pixel_from_patient=view.pixel_from_patient @ back) for view in views],
        pivot_lps_mm=turned[:3, :3] @ pivot + turned[:3, 3],
    )
    assert moved.accepted
    again = back @ moved.estimate.seen_lps_from_volume_lps @ turned
    error = motion_vector(again @ np.linalg.inv(plain.estimate.seen_lps_from_volume_lps), pivot)
    assert np.abs(error[:3]).max() < 0.1
    assert np.abs(error[3:]).max() < 0.1


@pytest.mark.parametrize("more", [{"fov_flip": True}, {"fov_rotation_deg": 90}, {"detector_rotation_deg": 33.0}])
def test_a_flip_or_turn_that_the_geometry_tells_is_no_matter(patient, more):
    hu, affine, volume = patient
    views, truth = radiographs(hu, affine, PAIR, FAR, **more)
    found = register_views(volume, views)
    assert found.accepted, found.reason
    assert target_error_mm(found, truth, affine) < 0.5


def test_a_start_is_searched_around(patient, pair):
    _, affine, volume = patient
    views, truth = pair
    start = small_motion(np.array((60.0, 0.0, -40.0, 0.0, 25.0, 0.0)), middle_of(affine))
    told = [replace(view, pixel_from_patient=view.pixel_from_patient @ np.linalg.inv(start)) for view in views]
    found = register_views(volume, told, start=start)
    assert found.accepted, found.reason
    assert target_error_mm(found, start @ truth, affine) < 0.5


def test_instruments_and_saturation_in_the_way(patient, pair):
    _, affine, volume = patient
    views, truth = pair
    shown = []
    for view in views:
        pixels = view.pixels.copy()
        v, u = np.mgrid[0 : pixels.shape[0], 0 : pixels.shape[1]]
        for offset, width in ((-60.0, 5.0), (40.0, 9.0), (110.0, 14.0)):
            pixels[np.abs((u - 192) * 0.6 + (v - 192) * 0.8 - offset) < width] = 8
        pixels[:40, 300:] = 65535
        shown.append(replace(view, pixels=pixels))
    found = register_views(volume, shown)
    assert found.accepted, found.reason
    assert target_error_mm(found, truth, affine) < 0.7


def test_covariance_is_about_what_the_error_is(patient):
    hu, affine, volume = patient
    ratios = []
    for seed in range(3):
        offset = np.random.default_rng(seed).uniform(-1.0, 1.0, 6) * (6.0, 6.0, 6.0, 5.0, 5.0, 5.0)
        views, truth = radiographs(hu, affine, OBLIQUE, offset, seed=seed)
        estimate = register_views(volume, views).estimate
        error = motion_vector(estimate.seen_lps_from_volume_lps @ np.linalg.inv(truth), estimate.pivot_lps_mm)
        ratios.append(np.sqrt(error @ np.linalg.solve(estimate.covariance, error) / 6.0))
    assert 0.15 < np.median(ratios) < 2.0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(lambda p: p[:, ::-1], "picture_mirrored", id="mirrored"),
        pytest.param(lambda p: p[::-1], "picture_mirrored", id="mirrored top to bottom"),
        pytest.param(lambda p: p[::-1, ::-1], "picture_turned", id="turned by 180 deg"),
        pytest.param(lambda p: np.rot90(p), "picture_turned", id="turned by 90 deg"),
        pytest.param(lambda p: p.T, "picture_mirrored", id="transposed"),
    ],
)
def test_a_picture_that_its_geometry_belies_is_refused_by_name(patient, pair, change, code):
    _, _, volume = patient
    views = [replace(view, pixels=np.ascontiguousarray(change(view.pixels))) for view in pair[0]]
    found = register_views(volume, views)
    assert not found.accepted
    assert found.code == code


def test_one_mirrored_picture_alone_is_refused(patient, pair):
    mirrored = replace(pair[0][0], pixels=np.ascontiguousarray(pair[0][0].pixels[:, ::-1]))
    found = register_views(patient[2], [mirrored])
    assert not found.accepted
    assert found.code == "picture_mirrored"


def test_one_mirrored_picture_of_two_is_refused(patient, pair):
    first, second = pair[0]
    found = register_views(patient[2], [first, replace(second, pixels=np.ascontiguousarray(second.pixels[:, ::-1]))])
    assert not found.accepted
    assert found.code == "picture_mirrored"
    assert "view 2" in found.reason


@pytest.mark.parametrize(("seed", "count"), [(11, 1), (12, 2), (13, 1)])
def test_another_patient_is_refused(pair, seed, count):
    found = register_views(registration_volume(*body(seed)), pair[0][:count])
    assert not found.accepted
    assert found.code in ("no_agreement", "views_disagree", "no_structure")


def test_noise_and_ramps_are_refused(patient, pair):
    rng = np.random.default_rng(1)
    shape = pair[0][0].pixels.shape
    for pixels in (
        rng.poisson(900.0, shape).astype(np.uint16),
        np.broadcast_to(np.arange(shape[1], dtype=np.uint16), shape).copy(),
        rng.integers(0, 65536, shape, dtype=np.uint16),
    ):
        found = register_views(patient[2], [replace(view, pixels=pixels) for view in pair[0]])
        assert not found.accepted


def test_moved_by_more_than_is_searched_is_refused(patient):
    hu, affine, volume = patient
    views, _ = radiographs(hu, affine, PAIR, (0.0, 0.0, 0.0, 30.0, 30.0, -30.0))
    assert not register_views(volume, views).accepted


def flat(view: RegistrationView) -> RegistrationView:
    return replace(view, pixels=np.full_like(view.pixels, 900))


def shifted(view: RegistrationView) -> RegistrationView:
    matrix = view.pixel_from_patient.copy()
    matrix[0, 3] += 4.0e5
    return replace(view, pixel_from_patient=matrix)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        pytest.param(lambda v: [], "no_views", id="none"),
        pytest.param(lambda v: v * 5, "too_many_views", id="ten"),
        pytest.param(lambda v: [v[0], flat(v[1])], "no_structure", id="flat"),
        pytest.param(lambda v: [replace(v[0], pixel_from_patient=np.full((3, 4), np.inf))], "bad_geometry", id="inf"),
        pytest.param(lambda v: [replace(v[0], pixels=np.zeros((4, 4), np.uint8))], "bad_picture", id="tiny"),
        pytest.param(lambda v: [replace(v[0], pixels=v[0].pixels.astype(bool))], "bad_picture", id="bool"),
        pytest.param(lambda v: [shifted(one) for one in v], "volume_not_in_picture", id="beside the picture"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_by_name(patient, pair, spoil, code):
    found = register_views(patient[2], spoil(list(pair[0])))
    assert not found.accepted
    assert found.code == code
    assert np.array_equal(found.estimate.seen_lps_from_volume_lps, IDENTITY)


@pytest.mark.parametrize(
    "start", [np.full((4, 4), np.nan), np.diag((1.0, 1.0, -1.0, 1.0)), np.zeros((4, 4)), np.eye(3)]
)
def test_a_start_that_is_no_motion_is_refused(patient, pair, start):
    assert register_views(patient[2], pair[0], start=start).code == "bad_start"


def test_pictures_are_never_altered(patient, pair):
    before = [view.pixels.copy() for view in pair[0]]
    for view in pair[0]:
        view.pixels.flags.writeable = False
    register_views(patient[2], pair[0])
    for view, pixels in zip(pair[0], before, strict=True):
        view.pixels.flags.writeable = True
        assert np.array_equal(view.pixels, pixels)
