"""3D/3D registration: known motions of scans with noise, shading, metal and other fields of view; what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from guidance.errors import GeometryError
from guidance.registration.values import IDENTITY, motion_vector, small_motion
from guidance.registration.volume_levels import edge_points, levelled_volume, reduced_by_means, thinned
from guidance.registration.volume_verdict import inverted_covariance, moved_covariance
from guidance.registration.volumes import VolumeRegistration, register_volumes
from simulators.pelvis import ProceduralPelvis
from simulators.rescan import Modality, Rod, rescan
from simulators.volumes import HuVolume

CENTER = np.array([0.0, -5.0, -10.0])
MOTION = small_motion(np.array([9.0, -6.0, 7.0, 6.0, -5.0, 7.0]), CENTER)
UP = np.array([0.0, 0.0, 60.0])
TARGETS = CENTER + np.random.default_rng(4).uniform(-40.0, 40.0, (30, 3))
GOOD = Modality(spacing_mm=(1.2, 1.2, 1.2), size=(120, 120, 100), is_cylinder=True)
POOR = replace(
    GOOD, spacing_mm=(1.1, 1.1, 1.4), size=(130, 130, 85), grid_turn_deg=5.0, scale=0.85, offset_hu=60.0,
    cupping_hu=-120.0, noise_hu=70.0,
)  # fmt: skip
RODS = (Rod(start_lps_mm=(-40, 0, -5), end_lps_mm=(45, 5, -10), radius_mm=3.65),)


@pytest.fixture(scope="module")
def pelvis() -> HuVolume:
    return ProceduralPelvis().volume(1.6, size_mm=(280.0, 200.0, 240.0))


@pytest.fixture(scope="module")
def first(pelvis) -> HuVolume:
    return scan(pelvis, GOOD)


def scan(patient: HuVolume, modality: Modality, motion=IDENTITY, *, rods=(), center=CENTER, seed=1) -> HuVolume:
    return rescan(patient, modality, scan_from_patient=motion, center_lps_mm=center, rods=rods, seed=seed)


def register(fixed: HuVolume, moving: HuVolume, **other) -> VolumeRegistration:
    return register_volumes(
        fixed.voxels_hu, fixed.affine_lps_from_ijk, moving.voxels_hu, moving.affine_lps_from_ijk, **other
    )


def carried(points: np.ndarray, motion: np.ndarray) -> np.ndarray:
    return points @ motion[:3, :3].T + motion[:3, 3]


def error_mm(found: VolumeRegistration, moved: np.ndarray = MOTION) -> float:
    """Worst distance of targets that went into the second scan and came back."""
    back = carried(carried(TARGETS, moved), found.fixed_lps_from_moving_lps)
    return float(np.linalg.norm(back - TARGETS, axis=1).max())


def placed(volume: HuVolume, change: np.ndarray) -> HuVolume:
    """The same voxels elsewhere; `change` need not be rigid."""
    return HuVolume(volume.voxels_hu, change @ volume.affine_lps_from_ijk, "placed")


@pytest.mark.parametrize(
    ("fixed", "moving", "fixed_rods", "moving_rods", "start"),
    [
        pytest.param(GOOD, GOOD, (), (), IDENTITY, id="second-cbct"),
        pytest.param(GOOD, POOR, (), (), IDENTITY, id="poor-cbct"),
        pytest.param(GOOD, replace(POOR, streak_hu=250.0), (), RODS, IDENTITY, id="metal-in-the-second"),
        pytest.param(replace(GOOD, streak_hu=250.0), POOR, RODS, (), IDENTITY, id="metal-in-the-first"),
        pytest.param(GOOD, replace(POOR, size=(90, 90, 65)), (), (), IDENTITY, id="small-field"),
        # The larger one is the moving one here: inside, the smaller is sampled, and the answer turned round.
        pytest.param(replace(POOR, size=(90, 90, 65)), GOOD, (), (), IDENTITY, id="large-on-small"),
        pytest.param(GOOD, POOR, (), (), None, id="no-shared-frame"),
    ],
)
def test_a_known_motion_is_found(pelvis, fixed, moving, fixed_rods, moving_rods, start):
    found = register(
        scan(pelvis, fixed, rods=fixed_rods, seed=2), scan(pelvis, moving, MOTION, rods=moving_rods), start=start
    )
    assert found.accepted, found.reason
    assert found.code == ""
    assert error_mm(found) < 0.3
    # What it says of itself is true: six squared normalised errors; 99.9 % of honest ones are below 22.5.
    estimate = found.estimate
    off = motion_vector(np.linalg.inv(MOTION) @ np.linalg.inv(found.fixed_lps_from_moving_lps), estimate.pivot_lps_mm)
    assert off @ np.linalg.solve(estimate.covariance, off) < 22.5
    assert found.captured is not None
    assert found.captured >= 0.75
    assert found.residual_mm is not None
    assert found.residual_mm < 0.6


def test_far_off_and_upside_down_is_found(pelvis, first):
    """A patient position told wrongly, and a table that went 150 mm: no start helps."""
    moved = small_motion(np.array([150.0, -60.0, 40.0, 0.0, 0.0, 180.0]), CENTER)
    found = register(first, scan(pelvis, POOR, moved), start=IDENTITY)
    assert found.accepted, found.reason
    assert error_mm(found, moved) < 0.3


def test_both_ways_are_each_others_inverse(pelvis, first):
    second = scan(pelvis, POOR, MOTION)
    there, back = register(first, second, start=IDENTITY), register(second, first, start=IDENTITY)
    round_trip = there.fixed_lps_from_moving_lps @ back.fixed_lps_from_moving_lps
    assert np.linalg.norm(carried(TARGETS, round_trip) - TARGETS, axis=1).max() < 0.3


def test_the_same_twice(first, pelvis):
    second = scan(pelvis, POOR, MOTION)
    one, two = register(first, second), register(first, second, threads=2)
    np.testing.assert_array_equal(one.fixed_lps_from_moving_lps, two.fixed_lps_from_moving_lps)


def test_the_covariance_turns_about_the_asked_pivot(first, pelvis):
    second = scan(pelvis, POOR, MOTION)
    usual = register(first, second, start=IDENTITY)
    target = CENTER + np.array([60.0, 0.0, 0.0])
    asked = register(first, second, start=IDENTITY, pivot_lps_mm=target)
    np.testing.assert_array_equal(asked.estimate.pivot_lps_mm, target)
    assert np.trace(asked.estimate.covariance[:3, :3]) > np.trace(usual.estimate.covariance[:3, :3])
    np.testing.assert_allclose(asked.estimate.covariance[3:, 3:], usual.estimate.covariance[3:, 3:])


def _stretched(factor: float) -> np.ndarray:
    change = np.diag([factor, factor, factor, 1.0])
    change[:3, 3] = CENTER * (1.0 - factor)
    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_stretched(1.04), id="four-percent-larger"),
        pytest.param(_stretched(0.96), id="four-percent-smaller"),
    ],
)
def test_another_shape_is_refused(change, pelvis, first):
    found = register(first, placed(scan(pelvis, POOR), change), start=IDENTITY)
    assert not found.accepted
    assert found.code == "not_the_same"
    assert found.reason


def test_another_part_is_refused(pelvis):
    low = scan(pelvis, replace(GOOD, size=(120, 120, 40)), center=CENTER - UP)
    high = scan(pelvis, replace(POOR, size=(120, 120, 30)), center=CENTER + UP)
    assert not register(low, high, start=IDENTITY).accepted


@pytest.mark.parametrize("kind", ["flat", "noise", "air"])
def test_nothing_to_see_is_refused(kind, first):
    shape = (50, 60, 70)
    random = np.random.default_rng(0)
    voxels = {
        "flat": np.zeros(shape),
        "noise": random.normal(0.0, 100.0, shape),
        "air": np.full(shape, -1024.0),
    }[kind].astype(np.int16)
    empty = HuVolume(voxels, np.diag([2.0, 2.0, 2.0, 1.0]), kind)
    for fixed, moving in ((first, empty), (empty, first), (empty, empty)):
        found = register(fixed, moving)
        assert not found.accepted
        assert found.code == "no_structure"
        assert np.isnan(found.estimate.covariance).all()


@pytest.mark.parametrize(
    ("voxels", "affine"),
    [
        (np.zeros((3, 50, 50), np.int16), np.eye(4)),
        (np.zeros((50, 50), np.int16), np.eye(4)),
        (np.zeros((50, 50, 50), np.int16), np.zeros((4, 4))),
        (np.zeros((50, 50, 50), np.int16), np.full((4, 4), np.nan)),
    ],
)
def test_no_volume_is_an_error(voxels, affine, first):
    with pytest.raises(GeometryError) as raised:
        register_volumes(first.voxels_hu, first.affine_lps_from_ijk, voxels, affine)
    assert raised.value.code == "bad_volume"


def test_not_a_number_is_left_out(pelvis, first):
    second = scan(pelvis, POOR, MOTION)
    voxels = second.voxels_hu.astype(np.float32)
    voxels[:, 60:70] = np.nan
    found = register_volumes(
        first.voxels_hu, first.affine_lps_from_ijk, voxels, second.affine_lps_from_ijk, start=IDENTITY
    )
    assert found.accepted, found.reason
    assert error_mm(found) < 0.3


def test_block_means_stay_where_they_were():
    """A ramp along LPS is the same ramp after reduction, on a turned, anisotropic, left-handed grid."""
    affine = small_motion(np.array([3.0, -40.0, 7.0, 20.0, -30.0, 10.0]), np.zeros(3)) @ np.diag([0.5, -0.6, 1.1, 1.0])
    kji = np.stack(np.meshgrid(np.arange(30), np.arange(41), np.arange(50), indexing="ij"), axis=-1)
    normal = np.array([0.3, -0.5, 0.8])
    ramp = (carried(kji[..., ::-1].reshape(-1, 3).astype(float), affine) @ normal).reshape(30, 41, 50)
    means, grid = reduced_by_means(ramp.astype(np.float32), affine, 2.0)
    assert means.shape == (15, 13, 12)
    places = np.stack(np.meshgrid(*map(np.arange, means.shape), indexing="ij"), axis=-1)[..., ::-1]
    expected = (carried(places.reshape(-1, 3).astype(float), grid) @ normal).reshape(means.shape)
    np.testing.assert_allclose(means, expected, atol=1e-4)


def test_edges_have_the_gradient_of_their_place(first):
    """Along its gradient a value rises by as much as the gradient says."""
    level = levelled_volume(first.voxels_hu, first.affine_lps_from_ijk).levels[-1]
    points = edge_points(level, 2000)
    assert len(points.lps_mm) == 2000
    size = np.linalg.norm(points.gradient, axis=1, keepdims=True)
    step = 0.6 * points.gradient / size
    rise = level.at(points.lps_mm + step) - level.at(points.lps_mm - step)
    ok = np.isfinite(rise)
    assert ok.mean() > 0.9
    assert np.median(rise[ok] / (1.2 * size[ok, 0])) == pytest.approx(1.0, abs=0.1)
    few = thinned(points, 300)
    assert len(few.lps_mm) == 300
    assert few.blocks == points.blocks


def test_covariances_move_and_turn_round_as_motions_do():
    """A small motion told about another pivot, or inverted, is the vector that the covariance's change makes of it."""
    vector = np.array([0.02, -0.01, 0.03, 0.02, -0.03, 0.01])
    pivot, other = np.array([10.0, -20.0, 30.0]), np.array([-25.0, 40.0, 5.0])
    elsewhere = motion_vector(small_motion(vector, pivot), other)
    np.testing.assert_allclose(
        moved_covariance(np.outer(vector, vector), pivot, other), np.outer(elsewhere, elsewhere), atol=1e-6
    )
    motion = small_motion(np.array([9.0, -60.0, 7.0, 30.0, -50.0, 70.0]), CENTER)
    inverse = np.linalg.inv(motion)
    changed = np.linalg.inv(small_motion(vector, pivot) @ motion) @ motion
    image = carried(pivot[None], inverse)[0]
    np.testing.assert_allclose(
        inverted_covariance(np.outer(vector, vector), inverse),
        np.outer(*[motion_vector(changed, image)] * 2),
        atol=1e-6,
    )
