"""Isosurface, nearest points, distance grid and simplification against closed forms, brute force and scipy."""

from itertools import product

import numpy as np
import pytest
from scipy import ndimage

from guidance.kernels.distance import GridValues, NearestSurface, isosurface, simplified

LEVEL = 127.5


def closed(triangles: np.ndarray) -> bool:
    """Every edge is run through as often one way as the other."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]).astype(np.int64)
    return np.array_equal(np.sort(edges @ [1 << 32, 1]), np.sort(edges @ [1, 1 << 32]))


def volume(points: np.ndarray, triangles: np.ndarray) -> float:
    a, b, c = (points[triangles[:, n]] for n in range(3))
    return float((a * np.cross(b, c)).sum() / 6.0)


def blobs(seed: int, size: int = 24) -> np.ndarray:
    """Random smooth solids that also touch the array's border."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size + 2, size + 4)), 2.0)
    return np.clip(noise / noise.std() * 120.0 + 110.0, 0, 255).astype(np.uint8)


def brute_force(points: np.ndarray, vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unsigned distance by a dense minimisation: plane, edges and corners of every triangle on their own."""
    a, b, c = (vertices[triangles[:, n]] for n in range(3))
    least = np.full(len(points), np.inf)
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    for n, point in enumerate(points):
        height = ((point - a) * normal).sum(axis=1)
        foot = point - height[:, None] * normal
        within = np.ones(len(a), bool)
        for start, end in ((a, b), (b, c), (c, a)):
            within &= (np.cross(end - start, foot - start) * normal).sum(axis=1) >= 0.0
            part = np.clip(((point - start) * (end - start)).sum(1) / ((end - start) ** 2).sum(1), 0.0, 1.0)
            least[n] = min(least[n], np.linalg.norm(point - start - part[:, None] * (end - start), axis=1).min())
        if within.any():
            least[n] = min(least[n], np.abs(height[within]).min())
    return least


def test_every_pattern_of_a_cell_is_closed_and_outward() -> None:
    for bits in range(1, 256):
        cell = np.array([255 * (bits >> n & 1) for n in range(8)], np.uint8).reshape(2, 2, 2)
        points, triangles = isosurface(cell, np.eye(4), LEVEL)
        assert closed(triangles), bits
        assert volume(points, triangles) > 0.0, bits


@pytest.mark.parametrize("seed", range(4))
def test_surface_is_closed_outward_and_separates_inside_from_outside(seed: int) -> None:
    values = blobs(seed)
    points, triangles = isosurface(values, np.eye(4), LEVEL)
    assert closed(triangles)
    centres = np.stack(np.meshgrid(*(np.arange(n) for n in values.shape), indexing="ij"), -1).reshape(-1, 3)[:, ::-1]
    centres = centres[::7].astype(np.float64)
    _, signed = NearestSurface(points, triangles).nearest(centres)
    inside = values.transpose(2, 1, 0)[tuple(centres.astype(int).T)] > LEVEL
    np.testing.assert_array_equal(signed < 0.0, inside)


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_affine_grids_keep_their_volume_and_outside(mirror: float) -> None:
    affine = np.array([[0.7 * mirror, 0.1, 0.3, -40.0], [0.0, 0.8, -0.2, 7.0], [0.1, 0.0, 2.0, 900.0], [0, 0, 0, 1.0]])
    values = blobs(5)
    plain, moved = isosurface(values, np.eye(4), LEVEL), isosurface(values, affine, LEVEL)
    stretched = abs(np.linalg.det(affine)) * volume(*plain)
    assert volume(*moved) == pytest.approx(stretched, rel=1e-9)


def test_nothing_above_the_level_is_an_empty_surface() -> None:
    points, triangles = isosurface(np.full((3, 3, 3), 127, np.uint8), np.eye(4), LEVEL)
    assert len(points) == len(triangles) == 0


def test_full_array_ends_half_a_voxel_beyond_its_centres() -> None:
    points, _ = isosurface(np.full((2, 3, 4), 255, np.uint8), np.eye(4), LEVEL)
    np.testing.assert_allclose(points.min(axis=0), -0.5)
    np.testing.assert_allclose(points.max(axis=0), [3.5, 2.5, 1.5])


def test_nearest_against_brute_force() -> None:
    points, triangles = isosurface(blobs(9, 12), np.diag([0.5, 0.6, 1.5, 1.0]), LEVEL)
    rng = np.random.default_rng(2)
    asked = np.concatenate([rng.uniform(-4, 16, (150, 3)), rng.uniform(-300, 300, (50, 3))])
    places, signed = NearestSurface(points, triangles).nearest(asked)
    expected = brute_force(asked, points, triangles)
    np.testing.assert_allclose(np.abs(signed), expected, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(places - asked, axis=1), expected, atol=1e-4)


def test_nearest_of_what_is_no_point_is_no_number() -> None:
    points, triangles = isosurface(np.full((2, 2, 2), 255, np.uint8), np.eye(4), LEVEL)
    places, signed = NearestSurface(points, triangles).nearest(np.array([[np.nan, 0.0, 0.0], [0.0, np.inf, 0.0]]))
    assert np.isnan(places).all()
    assert np.isnan(signed).all()


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("threads", [1, 3])
def test_grid_against_the_surface_itself(seed: int, threads: int) -> None:
    values, spacing = blobs(seed), 0.8
    affine = np.diag([spacing, spacing, spacing, 1.0])
    points, triangles = isosurface(values, affine, LEVEL)
    surface = NearestSurface(points, triangles)
    grid = surface.on_grid(
        values,
        affine,
        LEVEL,
        0.5 * spacing,
        origin_lps_mm=(-12.0, -11.2, -12.8),
        spacing_mm=spacing,
        shape_kji=(53, 54, 57),
        threads=threads,
    )
    k, j, i = np.indices(grid.values_mm.shape).reshape(3, -1)
    places = np.stack([i, j, k], axis=1) * spacing + np.array(grid.origin_lps_mm)
    pick = np.random.default_rng(0).choice(len(places), 4000, replace=False)
    _, exact = surface.nearest(places[pick])
    found = grid.values_mm.reshape(-1)[pick].astype(np.float64)
    np.testing.assert_array_equal(found < 0.0, exact < 0.0)
    near = np.abs(exact) < 2.0 * spacing
    np.testing.assert_allclose(found[near], exact[near], atol=1e-4)
    # What is found is a point of the surface, so it is never nearer; and not a tenth of a voxel farther.
    beyond = np.abs(found) - np.abs(exact)
    assert beyond.min() > -1e-4
    assert beyond.max() < 0.1 * spacing


def test_large_grids_go_by_lines_and_agree() -> None:
    """More points than are handed on from neighbour to neighbour: of a tilted mask, and of the mask's own grid."""
    values = blobs(4)
    for turn, shift in ((np.eye(3), 0.0), (np.array([[0.8, 0.6, 0.0], [-0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]), 0.3)):
        affine = np.eye(4)
        affine[:3, :3] = turn
        points, triangles = isosurface(values, affine, LEVEL)
        surface = NearestSurface(points, triangles)
        grid = surface.on_grid(
            values,
            affine,
            LEVEL,
            0.5,
            origin_lps_mm=(-60.0 + shift, -60.0, -60.0),
            spacing_mm=1.0,
            shape_kji=(120, 130, 140),
        )
        pick = np.random.default_rng(0).choice(grid.values_mm.size, 3000, replace=False)
        k, j, i = np.unravel_index(pick, grid.values_mm.shape)
        _, exact = surface.nearest(np.stack([i, j, k], axis=1) + np.array(grid.origin_lps_mm))
        found = grid.values_mm.reshape(-1)[pick].astype(np.float64)
        np.testing.assert_array_equal(found < 0.0, exact < 0.0)
        np.testing.assert_allclose(found, exact, atol=0.05 if shift == 0.0 else 0.6)
        assert np.abs(found - exact).mean() < 0.12


def test_grid_against_scipys_distance_transform() -> None:
    """Of whole voxels: from a voxel's centre to the other side's nearest centre, less the half voxel between."""
    solid = ndimage.binary_opening(blobs(8, 40) > LEVEL, iterations=2)
    values = np.where(solid, 255, 0).astype(np.uint8)
    points, triangles = isosurface(values, np.eye(4), LEVEL)
    grid = NearestSurface(points, triangles).on_grid(
        values, np.eye(4), LEVEL, 0.5, origin_lps_mm=(0.0, 0.0, 0.0), spacing_mm=1.0, shape_kji=values.shape
    )
    padded = np.pad(solid, 1)
    inner = ndimage.distance_transform_edt(padded)[1:-1, 1:-1, 1:-1]
    outer = ndimage.distance_transform_edt(~solid)
    expected = np.where(solid, 0.5 - inner, outer - 0.5)
    # From centre to centre a diagonal neighbour is sqrt(3) away, and half of that to the surface between, not the half
    # side that is taken off: at most (sqrt(3) - 1) / 2 apart, and where a stair's tip is cut, half a side more.
    difference = np.abs(grid.values_mm - expected)
    assert difference.max() < 0.5 * np.sqrt(3.0)
    assert difference.mean() < 0.25
    assert np.array_equal(grid.values_mm < 0.0, solid)


def test_sampling_is_trilinear_then_coarse_then_exact() -> None:
    values = np.full((4, 4, 4), 255, np.uint8)
    points, triangles = isosurface(values, np.eye(4), LEVEL)
    surface = NearestSurface(points, triangles)
    rng = np.random.default_rng(4)

    def steep(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) + 9.0 * np.indices(shape).sum(axis=0)).astype(np.float32)

    inner = GridValues(steep(5, 6, 7), (-1.0, -2.0, -3.0), 0.5)
    outer = GridValues(steep(4, 4, 4), (-10.0, -10.0, -10.0), 5.0)
    asked = rng.uniform((-1.0, -2.0, -3.0), (2.0, 0.5, -1.0), (200, 3))
    asked[0], asked[1] = (-1.0, -2.0, -3.0), (2.0, 0.5, -1.0)
    at = ((asked - np.array(inner.origin_lps_mm)) / 0.5)[:, ::-1].T
    expected = ndimage.map_coordinates(inner.values_mm.astype(np.float64), at, order=1, mode="nearest")
    np.testing.assert_allclose(surface.sample(inner, outer, asked), expected, atol=1e-5)
    beside = rng.uniform(-10.0, 5.0, (200, 3))
    beside = beside[np.any((beside < [-1, -2, -3]) | (beside > [2.0, 0.5, -1.0]), axis=1)]
    at = ((beside + 10.0) / 5.0)[:, ::-1].T
    expected = ndimage.map_coordinates(outer.values_mm.astype(np.float64), at, order=1)
    np.testing.assert_allclose(surface.sample(inner, outer, beside), expected, atol=1e-5)
    far = np.array([[203.5, 1.0, 1.0], [np.nan, 0.0, 0.0]])
    # Where the grid is flat two places are as near, and the surface itself is asked.
    flat = GridValues(np.full((5, 6, 7), -0.5, np.float32), inner.origin_lps_mm, inner.spacing_mm)
    assert surface.sample(flat, outer, np.array([[1.0, 0.2, -1.5]])) == pytest.approx([-1.0], abs=1e-4)
    found = surface.sample(inner, outer, far)
    assert found[0] == pytest.approx(200.0, abs=1e-4)
    assert np.isnan(found[1])


@pytest.mark.parametrize("seed", range(4))
def test_simplified_surfaces_stay_closed_with_their_parts_and_holes(seed: int) -> None:
    points, triangles = isosurface(blobs(seed, 32), np.eye(4), LEVEL)
    made = simplified(points, triangles, most_triangles=0, deviation_mm=0.1, smoothing=0, smoothing_mm=0.0)
    assert closed(made[1])
    assert len(made[1]) < 0.5 * len(triangles)
    # Euler's number counts parts and holes.
    assert euler(*made) == euler(points, triangles)
    assert volume(*made) == pytest.approx(volume(points, triangles), rel=0.02)


def euler(points: np.ndarray, triangles: np.ndarray) -> int:
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    return len(np.unique(triangles)) - len(np.unique(edges, axis=0)) + len(triangles)


def test_flat_faces_of_a_block_become_few_triangles() -> None:
    points, triangles = isosurface(np.full((20, 20, 20), 255, np.uint8), np.eye(4), LEVEL)
    made = simplified(points, triangles, most_triangles=0, deviation_mm=1e-3, smoothing=0, smoothing_mm=0.0)
    assert len(made[1]) < 200
    _, away = NearestSurface(points, triangles).nearest(made[0])
    assert np.abs(away).max() < 0.05


def test_smoothing_keeps_its_bound() -> None:
    points, triangles = isosurface(np.where(blobs(1) > 127, 255, 0).astype(np.uint8), np.eye(4), LEVEL)
    made, _ = simplified(points, triangles, most_triangles=10**9, deviation_mm=0.0, smoothing=10, smoothing_mm=0.2)
    _, away = NearestSurface(points, triangles).nearest(made)
    assert 0.05 < np.abs(away).max() <= 0.2001


def test_doors_refuse_what_does_not_fit() -> None:
    values = np.full((3, 3, 3), 255, np.uint8)
    points, triangles = isosurface(values, np.eye(4), LEVEL)
    with pytest.raises(ValueError, match="name points"):
        NearestSurface(points, triangles + 1000)
    with pytest.raises(ValueError, match="needs a triangle"):
        NearestSurface(points, triangles[:0])
    with pytest.raises(ValueError, match="finite"):
        NearestSurface(points * np.nan, triangles)
    with pytest.raises(TypeError):
        isosurface(values.astype(np.float32), np.eye(4), LEVEL)
    with pytest.raises(ValueError, match="finite"):
        isosurface(values, np.full((4, 4), np.nan), LEVEL)
    surface = NearestSurface(points, triangles)
    for shape, spacing, threads in (((1, 3, 3), 1.0, 1), ((3, 3, 3), 0.0, 1), ((3, 3, 3), 1.0, 65)):
        with pytest.raises(ValueError, match=r"must be|needs two"):
            surface.on_grid(
                values,
                np.eye(4),
                LEVEL,
                0.5,
                origin_lps_mm=(0, 0, 0),
                spacing_mm=spacing,
                shape_kji=shape,
                threads=threads,
            )


def test_single_voxels_in_all_places_of_a_small_array_are_octahedra() -> None:
    for place in product(range(2), range(2), range(2)):
        values = np.zeros((2, 2, 2), np.uint8)
        values[place] = 255
        points, triangles = isosurface(values, np.eye(4), LEVEL)
        assert len(triangles) == 8
        assert volume(points, triangles) == pytest.approx(1.0 / 6.0)
