"""The frame check's kernels against their NumPy twins and against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from guidance.kernels import watch_reference as reference
from guidance.kernels.watch import (
    Grid,
    WatchProjector,
    best_shift,
    bin_picture,
    fit_motion,
    motion_template,
    picture_layer,
)
from guidance.messages import F64
from guidance.registration.values import small_motion
from simulators.gantry import Gantry

SPACING_MM = 3.0
GRID = Grid(rows=64, columns=64, step=8)


def blobs(count: int = 40, size: int = 40) -> tuple[np.ndarray, F64]:
    """Smooth balls at random places, and the affine that puts the middle at the origin."""
    rng = np.random.default_rng(7)
    middle = (size - 1) / 2.0
    k, j, i = np.indices((size, size, size)) - middle
    values = np.zeros((size, size, size))
    for x, y, z in rng.uniform(-12.0, 12.0, (count, 3)):
        values += 800.0 * np.exp(-((i - x) ** 2 + (j - y) ** 2 + (k - z) ** 2) / (2.0 * 1.6**2))
    affine = np.diag((SPACING_MM, SPACING_MM, SPACING_MM, 1.0))
    affine[:3, 3] = -middle * SPACING_MM
    return np.rint(values).astype(np.int16), affine


def matrix(primary: float = 0.0, secondary: float = 0.0) -> F64:
    gantry = Gantry(
        primary_deg=primary,
        secondary_deg=secondary,
        detector_rows=512,
        detector_columns=512,
        pitch_row_mm=0.5,
        pitch_column_mm=0.5,
    )
    return np.ascontiguousarray(gantry.pixel_from_patient())


@pytest.mark.parametrize(("primary", "secondary"), [(0, 0), (40, 0), (90, 10), (-130, 25), (10, 80)])
def test_projection_and_its_moment_are_those_of_fine_samples(primary: float, secondary: float) -> None:
    voxels, affine = blobs()
    told = matrix(primary, secondary)
    sums, moments = WatchProjector(voxels, affine).project(told, GRID, 750.0)
    rows, columns = (n.ravel() for n in np.meshgrid(range(4, 60, 7), range(4, 60, 7), indexing="ij"))
    uv = np.stack((columns, rows), axis=1) * GRID.step + GRID.origin_px
    steps = np.arange(750.0 - 130.0, 750.0 + 130.0, 0.5)
    expected, expected_moments = reference.project(voxels, affine, told, uv, 750.0, steps)
    assert np.abs(sums[rows, columns] - expected).max() < 0.05 * expected.max()
    assert np.sqrt(np.mean((sums[rows, columns] - expected) ** 2)) < 0.015 * expected.max()
    scale = np.abs(expected_moments).max()
    assert np.sqrt(np.mean((moments[rows, columns] - expected_moments) ** 2)) < 0.05 * scale


def test_a_volume_behind_the_source_and_a_source_in_the_volume_give_nothing() -> None:
    voxels, affine = blobs()
    projector = WatchProjector(voxels, affine)
    away = matrix()
    away[:, 3] += away[:, :3] @ np.array((0.0, 2000.0, 0.0))
    assert not projector.project(away, GRID, 750.0)[0].any()
    inside = matrix()
    inside[:, 3] += inside[:, :3] @ np.array((0.0, 750.0, 0.0))
    assert not projector.project(inside, GRID, 750.0)[0].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize(("rows", "columns", "step"), [(64, 64, 8), (70, 101, 3), (40, 37, 1), (300, 200, 70)])
def test_bins_are_means_of_whole_bins(dtype: type, rows: int, columns: int, step: int) -> None:
    pixels = np.random.default_rng(3).integers(1, 120, (rows, columns)).astype(dtype)
    grid = Grid(rows=rows // step, columns=columns // step, step=step)
    attenuation, valid, _ = bin_picture(pixels, grid, logarithm=True, bright=True)
    assert valid.all()
    np.testing.assert_allclose(np.exp(-attenuation), reference.bins(pixels, step), rtol=2e-5)
    plain, _, _ = bin_picture(pixels, grid, logarithm=False, bright=False)
    spread = float(pixels.max()) - float(pixels.min())
    expected = (reference.bins(pixels, step) - float(pixels.min())) / spread
    np.testing.assert_allclose(plain, expected, atol=1e-5)


def test_saturated_black_and_not_finite_bins_do_not_count() -> None:
    pixels = np.random.default_rng(4).uniform(1000.0, 3000.0, (128, 128)).astype(np.float32)
    pixels[:16, :32] = 4095.0
    pixels[-16:] = 0.0
    pixels[40, 40] = np.nan
    pixels[60, 60] = np.inf
    grid = Grid(rows=16, columns=16, step=8)
    attenuation, valid, plateau = bin_picture(pixels, grid, logarithm=True, bright=True)
    expected = np.ones((16, 16))
    expected[:2, :4] = expected[-2:] = expected[5, 5] = expected[7, 7] = 0.0
    np.testing.assert_array_equal(valid, expected)
    assert np.isfinite(attenuation).all()
    assert plateau == pytest.approx((8 + 32) / 256)


def test_a_layer_is_the_twins_and_leaves_metal_out() -> None:
    rng = np.random.default_rng(5)
    picture = rng.normal(size=(40, 50)).astype(np.float32).cumsum(axis=0).cumsum(axis=1) * np.float32(0.01)
    valid = np.ones_like(picture)
    valid[:, :6] = 0.0
    keep = valid.copy()
    shown = picture_layer(picture, valid, mean_radius=3, contrast_radius=6, floor=1.0, metal=1e9, rounds=2)
    np.testing.assert_array_equal(valid, keep)
    high = reference.high_pass(picture.astype(np.float64), keep.astype(np.float64), 3)
    whole = float(np.sqrt((high**2).sum() / keep.sum()))
    expected, contrast = reference.normalised(high, keep.astype(np.float64), 6, whole**2)
    assert shown.whole == pytest.approx(whole, rel=1e-3)
    np.testing.assert_allclose(shown.normalised, expected, atol=2e-3)
    np.testing.assert_allclose(shown.contrast, contrast, atol=2e-3 * whole)
    assert not shown.core[:, 6].any()
    assert shown.core[:, 7].all()
    picture[20, 20:30] += 100.0
    picture_layer(picture, valid, mean_radius=3, contrast_radius=6, floor=1.0, metal=15.0, rounds=2)
    assert not valid[19:22, 19:31].any()
    assert valid[5, 20:30].all()


def test_the_template_says_what_small_motions_do() -> None:
    voxels, affine = blobs()
    projector, told, pivot = WatchProjector(voxels, affine), matrix(25.0, 10.0), np.array((4.0, -3.0, 5.0))
    depth = float(told[2, :3] @ pivot + told[2, 3])

    def made(vector: F64) -> np.ndarray:
        moved = np.ascontiguousarray(told @ small_motion(vector, pivot))
        sums, moments = projector.project(moved, GRID, depth)
        return motion_template(
            sums, moments, moved, pivot, GRID, depth, mean_radius=3, contrast_radius=6, floor=1000.0
        )[0]

    base = made(np.zeros(6))
    for n, size in enumerate((0.4, 0.4, 0.4, 0.4, 0.4, 0.4)):
        step = np.zeros(6)
        step[n] = size
        change = (made(step)[1] - made(-step)[1]) / (2.0 * size)
        inner = np.s_[8:-8, 8:-8]
        likeness = np.corrcoef(change[inner].ravel(), base[2 + n][inner].ravel())[0, 1]
        assert likeness > 0.93, (n, likeness)
        slope = float((change[inner] * base[2 + n][inner]).sum() / (base[2 + n][inner] ** 2).sum())
        assert 0.85 < slope < 1.15, (n, slope)


def test_the_fit_is_the_twins_and_finds_the_motion() -> None:
    voxels, affine = blobs()
    projector, told, pivot = WatchProjector(voxels, affine), matrix(25.0, 10.0), np.zeros(3)
    truth = np.array((0.5, -0.4, 0.6, 0.3, -0.2, 0.4))
    parts = []
    for vector in (np.zeros(6), truth):
        moved = np.ascontiguousarray(told @ small_motion(vector, pivot))
        sums, moments = projector.project(moved, GRID, 750.0)
        parts.append(
            motion_template(sums, moments, moved, pivot, GRID, 750.0, mean_radius=3, contrast_radius=6, floor=1.0)[0]
        )
    template, seen = parts[0], parts[1][1]
    seen = seen + np.random.default_rng(1).normal(0.0, 0.05, seen.shape).astype(np.float32)
    valid = np.ones_like(seen)
    prior = np.array([1e-3] * 3 + [1e-2] * 3)
    fit = fit_motion(seen, valid, template, prior, rounds=4, cut=1.5)
    counts = template[0].ravel() > 0.05
    expected, likeness = reference.fit(
        seen.ravel()[counts].astype(np.float64),
        template[0].ravel()[counts].astype(np.float64),
        template[1:].reshape(7, -1)[:, counts].astype(np.float64),
        prior,
        rounds=4,
        cut=1.5,
    )
    np.testing.assert_allclose(fit.parameters, expected, atol=0.04)
    assert fit.similarity == pytest.approx(likeness, abs=0.01)
    # Along the view one picture shows little; across it and in turns it shows all.
    view = told[2, :3]
    off = fit.parameters[1:] / fit.parameters[0] - truth
    assert np.linalg.norm(off[:3] - view * (view @ off[:3])) < 0.15
    assert np.abs(off[3:]).max() < 0.25


def test_the_best_shift_is_found_with_its_sign() -> None:
    picture = np.random.default_rng(2).normal(size=(32, 40)).astype(np.float32)
    moved = np.roll(picture, (2, -3), axis=(0, 1))
    ones = np.ones_like(picture)
    columns, rows, agreement = best_shift(moved, ones, ones, picture, reach=4)
    assert (columns, rows) == (-3, 2)
    assert agreement > 0.99


def test_wrong_shapes_and_types_are_refused_at_the_door() -> None:
    with pytest.raises(TypeError, match="uint8"):
        bin_picture(np.zeros((64, 64), np.float64), Grid(rows=8, columns=8, step=8), logarithm=True, bright=True)
    with pytest.raises(ValueError, match="rows / step"):
        bin_picture(np.zeros((64, 64), np.uint8), Grid(rows=9, columns=8, step=8), logarithm=True, bright=True)
    with pytest.raises(ValueError, match="finite"):
        WatchProjector(np.zeros((2, 2, 2), np.int16), np.full((4, 4), np.nan))
    with pytest.raises(ValueError, match="empty"):
        WatchProjector(np.zeros((0, 2, 2), np.int16), np.eye(4))
