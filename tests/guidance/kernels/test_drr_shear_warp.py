"""Shear-warp: the closed form, the rays' pictures, any matrix, regions, empty space, and when it steps back."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from drivers.commands.bench_drr import matrix_of
from drivers.commands.drr_phantom import SPAN_MM, Ellipsoid, affine_of, truth_of, voxels_of
from guidance.kernels.drr import MaterialCurves, ProjectionVolume, cone_projection, projection_method

EDGE = 96
VIEWS_DEG = [(0, 0), (20, 15), (45, 10), (90, 0), (-35, -25), (180, 12), (5, 85), (135, 40)]
CURVES = MaterialCurves(np.array([-900.0, 0.0, 100.0, 1500.0]), np.array([[0, 1, 1, 0.5], [0, 0, 0, 1.0]]))


@pytest.fixture(scope="module")
def phantom():
    return np.rint(voxels_of(EDGE)).astype(np.int16)


def smooth_noise(shape, seed, dtype=np.int16, sigma=1.2):
    """A volume without edges that falls to air (0) within 5 voxels of its faces."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    values = np.clip(noise / noise.std() * 300.0 + 500.0, 0.0, 2000.0)
    for axis, size in enumerate(shape):
        depth = np.minimum(np.arange(size), np.arange(size)[::-1])
        fade = np.sin(np.pi / 2.0 * np.clip((depth + 0.5) / 5.0, 0.0, 1.0)) ** 2
        values = values * np.expand_dims(fade, [other for other in range(3) if other != axis])
    return np.rint(values).astype(dtype)


def rms_percent(difference, largest):
    return 100.0 * np.sqrt(np.mean(np.square(difference, dtype=np.float64))) / largest


@pytest.mark.parametrize("view_deg", VIEWS_DEG)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("size", [96, 200])
def test_it_is_as_near_to_the_closed_form_as_the_rays(phantom, view_deg, dtype, size):
    volume = ProjectionVolume(phantom.astype(dtype), affine_of(EDGE), air=0)
    matrix = matrix_of(view_deg, size)
    assert projection_method(volume, matrix, (size, size)).method == "shear_warp"
    truth = truth_of(matrix, (size, size), 1.5 * SPAN_MM / EDGE)
    largest = truth.integrals.max()
    error = cone_projection(volume, matrix, (size, size))[0] - truth.integrals
    rays = cone_projection(volume, matrix, (size, size), method="rays")[0] - truth.integrals
    assert rms_percent(error, largest) < rms_percent(rays, largest) + 0.08
    assert rms_percent(error, largest) < 0.75
    assert np.abs(error[truth.clear]).max() < 0.025 * largest
    assert error.sum() == pytest.approx(0.0, abs=1e-3 * truth.integrals.sum())


def test_one_ellipsoid_is_as_long_as_its_chords_from_every_side():
    ball = (Ellipsoid((10.0, -20.0, 5.0), (60.0, 45.0, 70.0), 1000.0),)
    volume = ProjectionVolume(voxels_of(64, ball), affine_of(64), air=0)
    for primary in range(-180, 180, 20):
        matrix = matrix_of((primary, primary / 3.0), 64)
        truth = truth_of(matrix, (64, 64), 2.0 * SPAN_MM / 64, ball)
        found = cone_projection(volume, matrix, (64, 64))[0]
        assert np.abs(found - truth.integrals)[truth.clear].max() < 0.016 * truth.integrals.max()  # 2 mm; voxels: 3.1
        assert found.sum() == pytest.approx(truth.integrals.sum(), rel=2e-3)


def look_at(random, affine, shape, *, distance, spread):
    """A camera at a random place round the volume, its detector tilted, flipped, skewed and scaled at random."""
    middle = affine @ np.append((np.array(shape[::-1]) - 1.0) / 2.0, 1.0)
    reach = np.linalg.norm(affine[:3, :3] @ (np.array(shape[::-1]) / 2.0))
    toward = random.normal(size=3)
    toward /= np.linalg.norm(toward)
    right = np.cross(toward, random.normal(size=3))
    right /= np.linalg.norm(right)
    axes = np.array([right, np.cross(toward, right), toward])
    source = middle[:3] - distance * reach * toward
    focal = 48.0 * distance / spread
    intrinsics = np.array(
        [
            [focal * random.choice([-1.0, 1.0]), random.uniform(-0.2, 0.2) * focal, 32.0 + random.uniform(-15, 15)],
            [0.0, focal * random.uniform(0.6, 1.6), 32.0 + random.uniform(-15, 15)],
            [0.0, 0.0, 1.0],
        ]
    )
    tilt = np.eye(3) + random.uniform(-0.1, 0.1, (3, 3))
    return random.choice([1e-6, 1.0, 3e4]) * tilt @ intrinsics @ np.column_stack((axes, -axes @ source))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    distance=st.floats(1.6, 12.0),
    spread=st.floats(0.3, 1.2),
    whole_numbers=st.booleans(),
)
def test_any_camera_and_any_volume_give_the_rays_picture(seed, distance, spread, whole_numbers):
    """Sheared and anisotropic voxels, skewed and mirrored detectors, any direction."""
    random = np.random.default_rng(seed)
    shape = tuple(int(n) for n in random.integers(12, 40, 3))
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(random.normal(size=(3, 3)))[0] @ np.diag(random.uniform(0.8, 2.4, 3))
    affine[:3, :3] += random.uniform(-0.15, 0.15, (3, 3))
    affine[:3, 3] = random.uniform(-100.0, 100.0, 3)
    voxels = smooth_noise(shape, seed, np.int16 if whole_numbers else np.float32, sigma=2.5)
    volume = ProjectionVolume(voxels, affine, air=0)
    matrix = look_at(random, affine, shape, distance=distance, spread=spread)
    rays = cone_projection(volume, matrix, (64, 70), method="rays")[0]
    found = cone_projection(volume, matrix, (64, 70))[0]
    chosen = projection_method(volume, matrix, (64, 70))
    assert chosen.reason
    if chosen.method == "rays":
        assert np.array_equal(found, rays)
        return
    assert np.isfinite(found).all()
    # A picture that shows but a faint edge is held against what the volume's thin side would give.
    thin_mm = (np.linalg.norm(affine[:3, :3], axis=0) * shape[::-1]).min()
    largest = max(rays.max(), 0.2 * float(voxels.max()) * thin_mm)
    assert rms_percent(found - rays, largest) < 1.0
    assert abs(found.mean() - rays.mean()) < 6e-3 * largest


@pytest.mark.parametrize("view_deg", VIEWS_DEG)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("backend", ["avx2", "portable"])
def test_every_instruction_set_gives_the_same_picture(phantom, view_deg, dtype, backend):
    volume = ProjectionVolume(phantom.astype(dtype), affine_of(EDGE), air=0)
    matrix = matrix_of(view_deg, 77)
    best = cone_projection(volume, matrix, (77, 61), method="shear_warp")
    plain = cone_projection(volume, matrix, (77, 61), method="shear_warp", backend=backend)
    assert np.abs(plain - best).max() < 1e-5 * best.max()


def test_the_largest_values_of_int16_do_not_overflow():
    random = np.random.default_rng(7)
    voxels = random.choice(np.array([-32768, 32767], np.int16), (20, 22, 24))
    matrix = matrix_of((20.0, 15.0), 64)
    whole = ProjectionVolume(voxels, affine_of(20), air=-32768)
    real = ProjectionVolume(voxels.astype(np.float32), affine_of(20), air=-32768)
    curves = MaterialCurves(np.array([-32768.0]), np.zeros((1, 1)))
    found = cone_projection(whole, matrix, (64, 64), curves, method="shear_warp")
    expected = cone_projection(real, matrix, (64, 64), curves, method="shear_warp")
    assert np.abs(found - expected).max() < 1e-4 * expected.max()


@pytest.mark.parametrize("view_deg", [(0, 0), (70, -20), (90, 0)])
def test_a_region_or_every_nth_pixel_is_cut_out_of_the_whole(phantom, view_deg):
    volume = ProjectionVolume(phantom, affine_of(EDGE), air=0)
    matrix = matrix_of(view_deg, 160)
    whole = cone_projection(volume, matrix, (160, 160))[0]
    region = cone_projection(volume, matrix, (37, 53), origin_px=(60, 50))[0]
    assert np.abs(region - whole[50:87, 60:113]).max() < 1e-4 * whole.max()
    coarse = cone_projection(volume, matrix, (40, 40), origin_px=(1, 2), step_px=4.0, method="shear_warp")[0]
    assert np.abs(coarse - whole[2::4, 1::4]).max() < 1e-4 * whole.max()
    between = cone_projection(volume, matrix, (160, 160), origin_px=(0.5, 0.0))[0]
    assert rms_percent(between[:, :-1] - (whole[:, :-1] + whole[:, 1:]) / 2.0, whole.max()) < 0.5


def test_pictures_of_all_sizes_one_after_the_other(phantom):
    """The grid's memory is kept from call to call: nothing of a larger picture may show in a smaller one."""
    volume = ProjectionVolume(phantom, affine_of(EDGE), air=0)
    small = ProjectionVolume(np.full((5, 5, 5), 100, np.int16), affine_of(5), air=0)
    for rows, columns in [(1, 1), (1, 7), (3, 1), (64, 64), (5, 66), (63, 65), (2, 300), (0, 5), (5, 0)]:
        matrix = matrix_of((20, 15), 64)
        first = cone_projection(volume, matrix, (rows, columns), method="shear_warp")
        cone_projection(small, matrix, (100, 100), method="shear_warp")
        again = cone_projection(volume, matrix, (rows, columns), method="shear_warp")
        assert first.shape == (1, rows, columns)
        assert np.array_equal(first, again)


def test_threads_do_not_change_a_bit(phantom):
    volume = ProjectionVolume(phantom, affine_of(EDGE), air=0)
    one = cone_projection(volume, matrix_of((20, 15), 200), (200, 180))
    for threads in (2, 5, 64):
        assert np.array_equal(one, cone_projection(volume, matrix_of((20, 15), 200), (200, 180), threads=threads))


def test_callers_at_once_get_each_their_own(phantom):
    """Different thresholds, sizes and axes of one volume from several threads, its caches cold."""
    jobs = [
        (MaterialCurves(np.array([knot]), np.zeros((1, 1))), view, size)
        for knot in (0.0, 400.0, 1000.0)
        for view in ((0, 0), (90, 0), (0, 88))
        for size in (48, 90)
    ]

    def project(volume, job):
        curves, view, size = job
        return cone_projection(volume, matrix_of(view, size), (size, size), curves)

    alone = [project(ProjectionVolume(phantom, affine_of(EDGE), air=0), job) for job in jobs]
    shared = ProjectionVolume(phantom, affine_of(EDGE), air=0)
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda job: project(shared, job), jobs * 3))
    for found, expected in zip(together, alone * 3, strict=True):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_empty_space_is_skipped_and_nothing_else(dtype):
    random = np.random.default_rng(8)
    for _ in range(12):
        voxels = np.full((50, 60, 70), -1000, dtype)
        for _ in range(3):
            low = random.integers(0, 45, 3)
            part = tuple(slice(n, n + random.integers(1, 9)) for n in low)
            voxels[part] = 800
        volume = ProjectionVolume(voxels, affine_of(60))
        curves = MaterialCurves(np.array([-1000.0]), np.zeros((1, 1)))  # even air's neighbours count
        matrix = matrix_of(tuple(random.uniform(-60.0, 60.0, 2)), 80)
        found = cone_projection(volume, matrix, (80, 80), curves, method="shear_warp")[0]
        rays = cone_projection(volume, matrix, (80, 80), curves, method="rays")[0]
        # Sharp cubes of a few voxels: the mass tells whether one is cut, the picture where.
        assert found.sum() == pytest.approx(rays.sum(), rel=0.02)
        assert rms_percent(found - rays, rays.max()) < 3.0
    nothing = ProjectionVolume(np.zeros((40, 40, 40), dtype), affine_of(40), air=0)
    out = np.full((1, 30, 31), np.nan, np.float32)
    cone_projection(nothing, matrix_of((0, 0), 31), (30, 31), method="shear_warp", out=out)
    assert (out == 0.0).all()


def test_a_threshold_counts_what_lies_above_it(phantom):
    volume = ProjectionVolume(phantom, affine_of(EDGE), air=0)
    matrix = matrix_of((10, 5), 96)
    for knot in (1000.0, 0.0, 250.0, 1e5):
        curves = MaterialCurves(np.array([knot]), np.zeros((1, 1)))
        rays = cone_projection(volume, matrix, (96, 96), curves, method="rays")[0]
        found = cone_projection(volume, matrix, (96, 96), curves)[0]
        if knot == 1e5:
            assert found.max() == rays.max() == 0.0
            continue
        assert rms_percent(found - rays, rays.max()) < 0.5
        assert found.sum() == pytest.approx(rays.sum(), rel=6e-3)  # above 1000, two small spots are left


def test_several_materials_keep_the_rays_unless_asked(phantom):
    voxels = phantom - np.int16(1000)
    volume = ProjectionVolume(voxels, affine_of(EDGE))
    matrix = matrix_of((20, 15), 96)
    assert projection_method(volume, matrix, (96, 96), CURVES).method == "rays"
    rays = cone_projection(volume, matrix, (96, 96), CURVES)
    assert np.array_equal(rays, cone_projection(volume, matrix, (96, 96), CURVES, method="rays"))
    assert projection_method(volume, matrix, (96, 96), CURVES, method="shear_warp").method == "shear_warp"
    fast = cone_projection(volume, matrix, (96, 96), CURVES, method="shear_warp")
    plain = cone_projection(volume, matrix, (96, 96), CURVES, method="shear_warp", backend="portable")
    for found, exact, same in zip(fast, rays, plain, strict=True):
        assert rms_percent(found - exact, exact.max()) < 0.5
        assert np.abs(found - same).max() < 1e-4 * exact.max()


def test_few_pixels_go_by_rays(phantom):
    volume = ProjectionVolume(phantom, affine_of(EDGE), air=0)
    chosen = projection_method(volume, matrix_of((0, 0), 12), (12, 12))
    assert chosen.method == "rays"
    assert "few" in chosen.reason


def test_rays_that_share_no_axis_go_by_rays():
    """An extreme fan from near the volume's corner: along every axis some ray leans by more than 58 deg."""
    voxels = smooth_noise((40, 40, 40), 9)
    affine = affine_of(40)
    volume = ProjectionVolume(voxels, affine, air=0)
    corner = affine[:3, 3] - 20.0
    axes = np.linalg.qr(np.column_stack((np.ones(3), [1.0, -1.0, 0.0], [1.0, 1.0, -2.0])))[0].T
    toward = axes[0] * np.sign(axes[0].sum())
    rows = np.array([axes[1], axes[2], toward])
    intrinsics = np.array([[20.0, 0.0, 39.5], [0.0, 20.0, 39.5], [0.0, 0.0, 1.0]])
    matrix = intrinsics @ np.column_stack((rows, -rows @ corner))
    chosen = projection_method(volume, matrix, (80, 80))
    assert chosen.method == "rays"
    assert "oblique" in chosen.reason
    found = cone_projection(volume, matrix, (80, 80))
    assert found.max() > 0.0
    assert np.array_equal(found, cone_projection(volume, matrix, (80, 80), method="rays"))
    with pytest.raises(ValueError, match="oblique"):
        cone_projection(volume, matrix, (80, 80), method="shear_warp")


@pytest.mark.parametrize("depth_mm", [2.0, 30.0, 90.0, 110.0, 140.0])
def test_a_source_within_or_near_the_volume(depth_mm):
    """Only what lies in front of the source counts, however near it is; a narrow beam, so that the axis is shared."""
    volume = ProjectionVolume(smooth_noise((50, 50, 50), 10, sigma=2.0), affine_of(50), air=0)
    axes = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    intrinsics = np.array([[90.0, 0.0, 39.5], [0.0, 90.0, 39.5], [0.0, 0.0, 1.0]])
    matrix = intrinsics @ np.column_stack((axes, -axes @ np.array([3.0, -depth_mm, 7.0])))
    rays = cone_projection(volume, matrix, (80, 80), method="rays")[0]
    found = cone_projection(volume, matrix, (80, 80), method="shear_warp")[0]
    assert rays.max() > 0.0
    assert rms_percent(found - rays, rays.max()) < 0.6


def test_nearly_parallel_rays():
    volume = ProjectionVolume(smooth_noise((40, 40, 40), 11), affine_of(40), air=0)
    matrix = matrix_of((12, 7), 64)
    far = matrix.copy()
    direction = matrix[2, :3]
    far[2, :3] = direction * 1e-7  # the source 7.5e9 mm away, the same picture size
    far[2, 3] = 750.0
    far[0] += 31.5 * (far[2] - matrix[2])
    far[1] += 31.5 * (far[2] - matrix[2])
    rays = cone_projection(volume, far, (64, 64), method="rays")[0]
    found = cone_projection(volume, far, (64, 64), method="shear_warp")[0]
    assert rays.max() > 0.0
    assert rms_percent(found - rays, rays.max()) < 0.5


def test_behind_the_source_and_beside_the_picture_is_nothing():
    volume = ProjectionVolume(smooth_noise((30, 30, 30), 12), affine_of(30), air=0)
    matrix = matrix_of((20, 15), 64)
    for seen, place in [(-matrix, {}), (matrix, {"origin_px": (5000.0, 0.0)}), (matrix, {"origin_px": (0.0, -900.0)})]:
        out = np.full((1, 64, 64), np.nan, np.float32)
        cone_projection(volume, seen, (64, 64), out=out, **place)
        assert (out == 0.0).all()


def test_voxels_must_be_finite():
    for wrong in (np.nan, np.inf, -np.inf):
        voxels = np.zeros((6, 7, 8), np.float32)
        voxels[3, 4, 5] = wrong
        with pytest.raises(ValueError, match="finite"):
            ProjectionVolume(voxels, np.eye(4))


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("factors", [(1, 1, 1), (2, 2, 2), (3, 2, 5), (4, 4, 4), (40, 1, 256)])
def test_a_reduced_volume_holds_the_means_of_boxes(dtype, factors):
    voxels = np.random.default_rng(13).integers(-1000, 3000, (17, 21, 26)).astype(dtype)
    affine = affine_of(20) @ np.array([[1, 0.1, 0, 3], [0, 1.5, 0, 4], [0, 0, 0.7, 5], [0, 0, 0, 1]])
    reduced = ProjectionVolume(voxels, affine).reduced(factors)
    padding = [(0, -size % factor) for size, factor in zip(voxels.shape, factors, strict=True)]
    padded = np.pad(voxels.astype(np.float64), padding, constant_values=-1024)
    split = [n for size, factor in zip(padded.shape, factors, strict=True) for n in (size // factor, factor)]
    means = padded.reshape(split).mean(axis=(1, 3, 5))
    expected = np.rint(means) if dtype == np.int16 else means
    assert reduced.voxels.dtype == dtype
    np.testing.assert_allclose(reduced.voxels, expected, rtol=1e-6, atol=1e-3)
    # The first box's middle in the frame of the whole.
    middle = affine @ np.append((np.array(factors[::-1]) - 1.0) / 2.0, 1.0)
    assert reduced.affine_lps_from_ijk @ (0.0, 0.0, 0.0, 1.0) == pytest.approx(middle)
    assert reduced.affine_lps_from_ijk[:3, :3] == pytest.approx(affine[:3, :3] * factors[::-1])


def test_a_reduced_volume_casts_the_same_shadow(phantom):
    volume = ProjectionVolume(phantom, affine_of(EDGE), air=0)
    matrix = matrix_of((20, 15), 32)
    truth = truth_of(matrix, (32, 32), 3.0 * SPAN_MM / EDGE * 2).integrals
    whole = cone_projection(volume, matrix, (32, 32), method="shear_warp")[0]
    half = cone_projection(volume.reduced(2), matrix, (32, 32), method="shear_warp")[0]
    assert volume.reduced(2) is volume.reduced((2, 2, 2))
    assert half.sum() == pytest.approx(whole.sum(), rel=5e-3)
    assert rms_percent(half - truth, truth.max()) < 1.5
    for wrong in (0, -1, 257, (1, 2, 0)):
        with pytest.raises(ValueError, match="factors"):
            volume.reduced(wrong)


def test_the_resolution_suits_the_pixels():
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[:3, 3] = (-31.5, -31.5, -31.5)
    volume = ProjectionVolume(np.zeros((22, 64, 64), np.int16), affine)
    # 320 mm over 64 px at 1200 mm is 3.1 mm at the isocentre.
    assert volume.for_pixels(matrix_of((0, 0), 64)).shape_kji == (22, 32, 32)
    assert volume.for_pixels(matrix_of((0, 0), 64), step_px=2.0).shape_kji == (11, 16, 16)
    assert volume.for_pixels(matrix_of((0, 0), 512)) is volume
    assert volume.for_pixels(1e-3 * matrix_of((0, 0), 512)) is volume
    with pytest.raises(ValueError, match="in front"):
        volume.for_pixels(-matrix_of((0, 0), 64))


def test_no_step_where_the_main_axis_changes(phantom):
    """A search that turns the camera through 45 deg must not see the picture jump there."""
    volume = ProjectionVolume(phantom, affine_of(EDGE), air=0)
    pictures = [
        cone_projection(volume, matrix_of((angle, 5.0), 96), (96, 96))[0] for angle in np.linspace(41.0, 49.0, 65)
    ]
    steps = [rms_percent(b - a, b.max()) for a, b in itertools.pairwise(pictures)]
    assert max(steps) < 1.25 * np.median(steps)
