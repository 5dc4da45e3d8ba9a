"""Cone projection: closed-form line integrals of ellipsoids and boxes, the NumPy twin, and the door."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from guidance.kernels.drr import EXCESS_OVER_ZERO, MaterialCurves, ProjectionVolume, cone_projection

SHEARED = np.array([[2.0, 0.3, 0.2, -45.0], [0.0, 2.2, 0.1, -40.0], [0.05, 0.0, 1.9, -38.0], [0.0, 0.0, 0.0, 1.0]])
CURVES = MaterialCurves(np.array([-900.0, 0.0, 100.0, 1500.0]), np.array([[0, 1, 1, 0.5], [0, 0, 0, 1.0]]))


def camera(primary_deg=0.0, secondary_deg=0.0, *, size=256, pitch_mm=1.2, distance_mm=750.0):
    """Design section 3, written out once more."""
    p, s = np.radians([primary_deg, secondary_deg])
    right = np.array([np.cos(p), np.sin(p), 0.0])
    toward = np.array([np.sin(p) * np.cos(s), -np.cos(p) * np.cos(s), np.sin(s)])
    up = np.array([-np.sin(p) * np.sin(s), np.cos(p) * np.sin(s), np.cos(s)])
    depth = np.append(toward, distance_mm)
    middle = (size - 1) / 2.0
    focal = 1200.0 / pitch_mm
    return np.array(
        [focal * np.append(right, 0.0) + middle * depth, -focal * np.append(up, 0.0) + middle * depth, depth]
    )


def rays(matrix, size):
    """Source and unit directions (rows, columns, 3) of a projection matrix."""
    inverse = np.linalg.inv(matrix[:, :3])
    u, v = np.meshgrid(np.arange(size), np.arange(size))
    directions = np.stack([u, v, np.ones_like(u)], axis=-1) @ inverse.T
    return -inverse @ matrix[:, 3], directions / np.linalg.norm(directions, axis=-1, keepdims=True)


def ellipsoid_chords(matrix, size, center, half_axes):
    source, directions = rays(matrix, size)
    q, d = (source - center) / half_axes, directions / half_axes
    a, b, c = (d * d).sum(-1), d @ q, q @ q - 1.0
    return 2.0 * np.sqrt(np.maximum(b * b - a * c, 0.0)) / a


def box_chords(matrix, size, low, high):
    source, directions = rays(matrix, size)
    with np.errstate(divide="ignore"):
        t = np.stack([(low - source) / directions, (high - source) / directions])
    return np.maximum(t.max(0).min(-1) - t.min(0).max(-1), 0.0)


def smooth_ellipsoid(shape, affine, center, half_axes, supersample=4):
    """Voxels of an ellipsoid of value 1000, each by its share."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    offsets = (np.arange(supersample) + 0.5) / supersample - 0.5
    share = np.zeros(shape)
    for dk in offsets:
        for dj in offsets:
            for di in offsets:
                points = np.stack([i + di, j + dj, k + dk], -1) @ affine[:3, :3].T + affine[:3, 3]
                share += (((points - center) / half_axes) ** 2).sum(-1) <= 1.0
    return np.rint(1000.0 * share / supersample**3)


@pytest.mark.parametrize(("primary", "secondary"), [(0, 0), (90, 0), (180, 12), (30, 20), (-50, -40), (5, 88)])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_an_ellipsoid_is_as_long_as_its_chords(primary, secondary, dtype):
    affine = SHEARED
    center, half_axes = affine[:3, :3] @ (24.0, 20.0, 22.0) + affine[:3, 3], np.array([26.0, 20.0, 23.0])
    voxels = smooth_ellipsoid((44, 40, 48), affine, center, half_axes).astype(dtype)
    matrix = camera(primary, secondary)
    found = cone_projection(ProjectionVolume(voxels, affine), matrix, (256, 256))[0] / 1000.0
    expected = ellipsoid_chords(matrix, 256, center, half_axes)
    # Near the rim, where the chord falls by many mm within a voxel, the voxels' blur is seen; not in the middle.
    middle = expected > 0.75 * expected.max()
    assert middle.sum() > 1000
    assert np.abs(found - expected)[middle].max() < 1.0  # half a voxel
    assert np.abs(found - expected)[middle].mean() < 0.3
    assert found.sum() == pytest.approx(expected.sum(), rel=2e-3)


@pytest.mark.parametrize(("primary", "secondary"), [(0, 0), (90, 0), (37, -25), (3, 87)])
def test_a_box_is_as_long_as_its_chords(primary, secondary):
    voxels = np.full((40, 40, 40), -1000, np.int16)
    voxels[10:30, 8:32, 12:28] = 1000
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    affine[:3, 3] = -29.25
    low = np.array([11.5, 7.5, 9.5]) * 1.5 - 29.25
    high = np.array([27.5, 31.5, 29.5]) * 1.5 - 29.25
    curves = MaterialCurves(np.array([-1000.0, 1000.0]), np.array([[0.0, 1.0]]))
    matrix = camera(primary, secondary)
    found = cone_projection(ProjectionVolume(voxels, affine), matrix, (256, 256), curves)[0]
    expected = box_chords(matrix, 256, low, high)
    # Rays within a voxel of an edge see its blur: they are those where the chord's slope changes.
    bend = np.abs(cv2.Laplacian(expected, cv2.CV_64F))
    steep = cv2.dilate((bend > 0.05).astype(np.uint8), np.ones((7, 7))) > 0
    smooth = (expected > 10.0) & ~steep
    assert smooth.sum() > 300
    assert np.abs(found - expected)[smooth].max() < 0.01 * expected.max()
    assert found.sum() == pytest.approx(expected.sum(), rel=2e-3)


@pytest.mark.parametrize("backend", ["native", "portable"])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize(("primary", "secondary"), [(0, 0), (90, 0), (44, 3), (30, 20), (0, 85), (-90, -30)])
def test_native_agrees_with_the_twin(backend, dtype, primary, secondary):
    rng = np.random.default_rng(1)
    voxels = rng.integers(-1000, 2000, (30, 33, 35)).astype(dtype)
    voxels[:, :9] = -1000  # whole blocks of nothing
    volume = ProjectionVolume(voxels, SHEARED)
    place = {"origin_px": (60.25, 71.5), "step_px": 6.0}
    matrix = camera(primary, secondary)
    expected = cone_projection(volume, matrix, (19, 23), CURVES, backend="reference", **place)
    found = cone_projection(volume, matrix, (19, 23), CURVES, backend=backend, **place)
    assert expected.max() > 20.0
    assert np.abs(found - expected).max() < 1e-5 * expected.max()


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("pitch_mm", [1.2, 0.1])
@pytest.mark.parametrize(("primary", "secondary", "roll"), [(0, 0, 0), (90, 0, 0), (25, -35, 40), (0, 88, 90)])
def test_dense_rays_agree_with_the_plain_loop(dtype, pitch_mm, primary, secondary, roll):
    """Neighbouring rays that share voxels take shortcuts; at the volume's last rows and columns too."""
    rng = np.random.default_rng(6)
    volume = ProjectionVolume(rng.integers(-1000, 2000, (33, 30, 37)).astype(dtype), SHEARED)
    c, s = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    turn = np.array([[c, -s, 127.5 * (1 - c + s)], [s, c, 127.5 * (1 - c - s)], [0.0, 0.0, 1.0]])
    matrix = turn @ camera(primary, secondary, pitch_mm=pitch_mm)
    expected = cone_projection(volume, matrix, (256, 250), CURVES, backend="portable")
    found = cone_projection(volume, matrix, (256, 250), CURVES)
    assert expected.max() > 20.0
    assert np.abs(found - expected).max() < 1e-5 * expected.max()


def test_a_wide_fan_within_a_tile_agrees_with_the_twin():
    """A camera so near that neighbouring rays differ by many degrees: every ray gets a main axis of its own."""
    rng = np.random.default_rng(2)
    volume = ProjectionVolume(rng.integers(0, 1000, (20, 21, 22)).astype(np.int16), SHEARED)
    matrix = np.array([[12.0, 0.0, 4.0, 100.0], [0.0, 3.0, -12.0, 90.0], [0.1, 1.0, 0.05, 60.0]])
    expected = cone_projection(volume, matrix, (24, 24), backend="reference")
    found = cone_projection(volume, matrix, (24, 24), method="rays")
    assert expected.max() > 0.0
    assert np.abs(found - expected).max() < 2e-5 * expected.max()


def test_only_what_is_in_front_of_the_source_counts():
    rng = np.random.default_rng(3)
    affine = np.eye(4)
    affine[:3, 3] = (-12.0, 0.0, -12.0)
    volume = ProjectionVolume(rng.integers(0, 1000, (24, 24, 24)).astype(np.int16), affine)
    matrix = camera(distance_mm=12.0)  # the source stands within the volume
    expected = cone_projection(volume, matrix, (16, 16), step_px=16, backend="reference")
    found = cone_projection(volume, matrix, (16, 16), step_px=16, method="rays")
    assert 2000.0 < expected.max() < 13000.0
    assert np.abs(found - expected).max() < 1e-5 * expected.max()


def test_a_region_is_cut_out_of_the_whole():
    rng = np.random.default_rng(4)
    volume = ProjectionVolume(rng.integers(-1000, 1000, (20, 20, 20)).astype(np.int16), SHEARED)
    whole = cone_projection(volume, camera(), (256, 256), CURVES)
    part = cone_projection(volume, camera(), (37, 53), CURVES, origin_px=(100, 90))
    np.testing.assert_allclose(part, whole[:, 90:127, 100:153], rtol=2e-5, atol=1e-3)


def test_threads_do_not_change_a_bit():
    rng = np.random.default_rng(5)
    volume = ProjectionVolume(rng.integers(-1000, 1000, (20, 20, 20)).astype(np.int16), SHEARED)
    one = cone_projection(volume, camera(20, 10), (200, 180), CURVES)
    out = np.full_like(one, np.nan)
    assert cone_projection(volume, camera(20, 10), (200, 180), CURVES, threads=4, out=out) is out
    assert np.array_equal(one, out)


def test_scale_of_the_matrix_is_free_but_not_its_sign():
    volume = ProjectionVolume(np.full((10, 10, 10), 500, np.int16), SHEARED)
    once = cone_projection(volume, camera(), (64, 64), step_px=4)
    np.testing.assert_allclose(cone_projection(volume, 7.5 * camera(), (64, 64), step_px=4), once, rtol=1e-5)
    assert once.max() > 0.0
    assert cone_projection(volume, -camera(), (64, 64), step_px=4).max() == 0.0


def test_curves_give_each_material_its_share():
    assert CURVES.of(np.array([-2000.0, -450.0, 50.0, 800.0, 9000.0])) == pytest.approx(
        np.array([[0.0, 0.5, 1.0, 0.75, 0.5], [0.0, 0.0, 0.0, 0.5, 1.0]])
    )
    values = np.linspace(-1500.0, 3000.0, 91)
    summed = CURVES.coefficients() @ np.maximum(values - CURVES.knots[:, None], 0.0)
    assert summed == pytest.approx(CURVES.of(values), abs=1e-5)
    assert EXCESS_OVER_ZERO.of(np.array([-5.0, 7.0])) == pytest.approx(np.array([[0.0, 7.0]]))


@pytest.mark.parametrize(
    ("knots", "amounts"),
    [([], [[]]), ([1.0, 1.0], [[0, 1]]), ([0.0, 1.0], [[1, 1]]), (list(range(9)), [[0] * 9]), ([0.0, 1.0], [[0]])],
)
def test_curves_without_sense_are_refused(knots, amounts):
    with pytest.raises(ValueError, match=r"knots|amounts"):
        MaterialCurves(np.array(knots, float), np.array(amounts, float))


def test_the_door_checks():
    good = np.zeros((4, 4, 4), np.int16)
    for affine in (np.zeros((4, 4)), np.eye(3), np.eye(4) * np.nan):
        with pytest.raises(ValueError, match="affine"):
            ProjectionVolume(good, affine)
    for bad in (good.astype(np.uint16), good.transpose(2, 1, 0)[:, ::2], good[0]):
        with pytest.raises(TypeError):
            ProjectionVolume(bad, np.eye(4))
    with pytest.raises(ValueError, match="empty"):
        ProjectionVolume(np.zeros((0, 4, 4), np.int16), np.eye(4))
    volume = ProjectionVolume(good, np.eye(4))
    singular = camera().copy()
    singular[0] = singular[1]
    for matrix in (singular, camera() * np.nan, camera()[:2]):
        with pytest.raises(ValueError, match="pixel_from_patient"):
            cone_projection(volume, matrix, (4, 4))
    with pytest.raises(ValueError, match="shape"):
        cone_projection(volume, camera(), (4, 4), out=np.zeros((2, 4, 4), np.float32))
    with pytest.raises(ValueError, match="air"):
        cone_projection(ProjectionVolume(good, np.eye(4), air=10), camera(), (4, 4))
    for wrong in ({"threads": 0}, {"step_px": 0.0}, {"step_px": np.nan}):
        with pytest.raises(ValueError, match=r"threads|step_px"):
            cone_projection(volume, camera(), (4, 4), **wrong)
