"""Distances to zones: drawn shapes and masks against closed forms, whatever grid the mask comes on."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from guidance.errors import GeometryError
from guidance.messages import MaskShape, PrismShape, SphereShape, TubeShape
from guidance.planning.distance import GridField, distance_field, field_of_occupancy
from guidance.planning.occupancy import Occupancy

RNG = np.random.default_rng(3)
ASKED = RNG.uniform(-30.0, 30.0, (3000, 3))
MASK = MaskShape(mask_id="a" * 64, shape_kji=(1, 1, 1), affine_lps_from_ijk=tuple(np.eye(4).ravel()), volume_ml=1.0)
TURNED = Rotation.from_rotvec([0.3, -0.7, 0.4]).as_matrix()
GRIDS = {
    "isotropic": np.diag([0.7, 0.7, 0.7]),
    "anisotropic": np.diag([0.5, 0.6, 1.4]),
    "mirrored": np.diag([-0.6, 0.6, -0.6]),
    "tilted": TURNED @ np.diag([0.6, 0.6, 0.9]),
    "sheared": np.array([[0.6, 0.0, 0.1], [0.0, 0.6, 0.35], [0.0, 0.0, 0.9]]),
}


def rasterised(distance, matrix: np.ndarray, half_mm: float, *, binary: bool = False) -> Occupancy:
    """Voxels of a solid given by its signed distance: their share of it, or whole ones."""
    corners = np.stack(np.meshgrid(*[[-half_mm, half_mm]] * 3), -1).reshape(-1, 3)
    reach = np.ceil(np.abs(corners @ np.linalg.inv(matrix).T).max(axis=0)).astype(int)
    i, j, k = (np.arange(-n, n + 1) for n in reach)
    ijk = np.stack(np.meshgrid(k, j, i, indexing="ij")[::-1], -1)
    signed = distance((ijk @ matrix.T).reshape(-1, 3)).reshape(ijk.shape[:3])
    step = np.abs(np.linalg.det(matrix)) ** (1 / 3)
    share = (signed < 0.0) * 1.0 if binary else np.clip(0.5 - signed / step / 4.0, 0.0, 1.0)
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = -matrix @ reach
    return Occupancy(np.round(share * 255.0).astype(np.uint8), affine)


def ball(points: np.ndarray, radius: float = 9.0) -> np.ndarray:
    return np.linalg.norm(points - [0.3, -0.2, 0.1], axis=1) - radius


def slab(points: np.ndarray) -> np.ndarray:
    normal = np.array([0.36, 0.48, 0.8])
    return np.abs(points @ normal - 0.2) - 3.0


def test_ball() -> None:
    field = distance_field(SphereShape(center_lps_mm=(1.0, 2.0, 3.0), radius_mm=4.0))
    np.testing.assert_allclose(field.distance_mm(ASKED), np.linalg.norm(ASKED - [1, 2, 3], axis=1) - 4.0)
    np.testing.assert_allclose(field.bounds_lps_mm, [[-3, -2, -1], [5, 6, 7]])
    np.testing.assert_allclose(field.distance_mm(np.array([[1.0, 2.0, 3.0]])), [-4.0])
    centre = field.nearest_mm(np.array([[1.0, 2.0, 3.0]]))
    np.testing.assert_allclose(np.linalg.norm(centre - [1, 2, 3]), 4.0)


def test_tube_has_round_ends_and_bends() -> None:
    corners = np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0], [10.0, 0.0, 0.0], [10.0, 8.0, 3.0]])
    field = distance_field(TubeShape(points_lps_mm=tuple(map(tuple, corners)), radius_mm=2.5))
    dense = np.concatenate([np.linspace(a, b, 4000) for a, b in pairwise(corners)])
    expected = np.array([np.linalg.norm(dense - point, axis=1).min() for point in ASKED[:400]]) - 2.5
    np.testing.assert_allclose(field.distance_mm(ASKED[:400]), expected, atol=1e-5)
    assert field.distance_mm(np.array([[-2.5, 0.0, 0.0], [5.0, 0.0, 0.0]])) == pytest.approx([0.0, -2.5])


@pytest.mark.parametrize("turn", [np.eye(3), TURNED], ids=["along axes", "turned"])
def test_prism_that_is_not_convex(turn: np.ndarray) -> None:
    """Against a dense sampling of its faces, edges and corners; extruded to the side that the right hand tells."""
    outline = np.array([[0, 0, 0], [12, 0, 0], [12, 10, 0], [6, 3, 0], [0, 10, 0]], np.float64)
    field = distance_field(PrismShape(polygon_lps_mm=tuple(map(tuple, outline @ turn.T)), height_mm=5.0))
    edges = np.concatenate([np.linspace(a, b, 120) for a, b in zip(outline, np.roll(outline, -1, axis=0), strict=True)])
    sides = np.concatenate([edges + np.array([0, 0, z]) for z in np.linspace(0, 5, 40)])
    x, y = (part.ravel() for part in np.meshgrid(np.linspace(0, 12, 97), np.linspace(0, 10, 81)))
    within = y <= 3 + 7 * np.abs(x - 6) / 6
    caps = np.concatenate([np.stack([x, y, np.full_like(x, z)], 1)[within] for z in (0.0, 5.0)])
    surface = np.concatenate([sides, caps])
    asked = np.random.default_rng(1).uniform([-6, -6, -6], [18, 16, 11], (300, 3))
    least = np.array([np.linalg.norm(surface - point, axis=1).min() for point in asked])
    inside = (asked[:, 2] > 0) & (asked[:, 2] < 5) & (asked[:, 0] > 0) & (asked[:, 0] < 12) & (asked[:, 1] > 0)
    inside &= asked[:, 1] < 3 + 7 * np.abs(asked[:, 0] - 6) / 6
    np.testing.assert_allclose(field.distance_mm(asked @ turn.T), np.where(inside, -least, least), atol=0.08)
    assert field.distance_mm(np.array([[3.0, 3.0, 2.5]]) @ turn.T) == pytest.approx([-21 / np.sqrt(85)])


SHAPES = [
    SphereShape(center_lps_mm=(1.0, 2.0, 3.0), radius_mm=4.0),
    TubeShape(points_lps_mm=((0, 0, 0), (10, 0, 0), (10, 8, 3)), radius_mm=2.5),
    PrismShape(polygon_lps_mm=((0, 0, 0), (12, 0, 0), (12, 10, 0), (6, 3, 0), (0, 10, 0)), height_mm=5.0),
]


@pytest.mark.parametrize("shape", SHAPES, ids=["ball", "tube", "prism"])
def test_nearest_point_of_drawn_shapes_lies_on_them_as_far_as_told(shape) -> None:
    field = distance_field(shape)
    found = field.nearest_mm(ASKED)
    np.testing.assert_allclose(field.distance_mm(found), 0.0, atol=1e-6)
    outside = field.distance_mm(ASKED) > 0.0
    told = field.distance_mm(ASKED)[outside]
    np.testing.assert_allclose(np.linalg.norm(found - ASKED, axis=1)[outside], told, atol=1e-6)


@pytest.mark.parametrize("matrix", GRIDS.values(), ids=GRIDS.keys())
def test_ball_as_a_mask_of_shares(matrix: np.ndarray) -> None:
    field = field_of_occupancy(rasterised(ball, matrix, 12.0))
    expected = ball(ASKED)
    # A straight line between voxels cuts a sphere's curve by step^2 / 8 r.
    near = np.abs(expected) < 6.0
    np.testing.assert_allclose(field.distance_mm(ASKED)[near], expected[near], atol=0.1)
    np.testing.assert_allclose(field.distance_mm(ASKED), expected, atol=0.25)
    np.testing.assert_allclose(field.bounds_lps_mm, [[-8.7, -9.2, -8.9], [9.3, 8.8, 9.1]], atol=0.05)


@pytest.mark.parametrize("matrix", GRIDS.values(), ids=GRIDS.keys())
def test_slab_tilted_against_the_grid(matrix: np.ndarray) -> None:
    field = field_of_occupancy(rasterised(slab, matrix, 24.0))
    asked = ASKED[np.linalg.norm(ASKED, axis=1) < 14.0]
    off = np.abs(field.distance_mm(asked) - slab(asked))
    # In the slab's middle both faces are as near: there the grid rounds off.
    middle = slab(asked) < -2.3
    assert off[~middle].max() < 0.05
    assert off[middle].max() < 0.3
    np.testing.assert_allclose(field.surface.nearest(asked)[1], slab(asked), atol=0.03)


@pytest.mark.parametrize("matrix", GRIDS.values(), ids=GRIDS.keys())
def test_ball_of_whole_voxels_is_right_to_half_of_one(matrix: np.ndarray) -> None:
    field = field_of_occupancy(rasterised(ball, matrix, 12.0, binary=True))
    off = field.distance_mm(ASKED) - ball(ASKED)
    longest = np.linalg.norm(matrix, axis=0).max()
    assert np.abs(off).max() < 0.6 * longest
    assert abs(off.mean()) < 0.25 * longest


def test_shell_has_an_inner_surface_and_far_points_are_exact() -> None:
    def shell(points: np.ndarray) -> np.ndarray:
        return np.maximum(ball(points), -ball(points, 5.0))

    field = field_of_occupancy(rasterised(shell, GRIDS["isotropic"], 12.0))
    near = ASKED[np.abs(shell(ASKED)) < 3.0]
    np.testing.assert_allclose(field.distance_mm(near), shell(near), atol=0.35)
    np.testing.assert_allclose(field.surface.nearest(near)[1], shell(near), atol=0.06)
    assert field.distance_mm(np.array([[0.3, -0.2, 0.1]])) == pytest.approx([5.0], abs=0.05)
    far = RNG.normal(size=(200, 3))
    far *= 400.0 / np.linalg.norm(far, axis=1, keepdims=True)
    np.testing.assert_allclose(field.distance_mm(far), ball(far), atol=0.06)
    places = field.nearest_mm(far)
    np.testing.assert_allclose(np.linalg.norm(places - far, axis=1), ball(far), atol=0.06)
    np.testing.assert_allclose(ball(places), 0.0, atol=0.06)


def test_a_turned_patient_has_the_same_distances() -> None:
    here = rasterised(slab, GRIDS["anisotropic"], 14.0)
    motion = np.eye(4)
    motion[:3, :3], motion[:3, 3] = TURNED, (120.0, -60.0, -800.0)
    there = Occupancy(here.values, motion @ here.affine_lps_from_ijk)
    moved = ASKED @ TURNED.T + motion[:3, 3]
    first, second = field_of_occupancy(here), field_of_occupancy(there)
    a, b = first.distance_mm(ASKED), second.distance_mm(moved)
    np.testing.assert_allclose(b, a, atol=0.3)
    assert np.abs(b - a).mean() < 0.03
    exact = first.surface.nearest(ASKED)[1], second.surface.nearest(moved)[1]
    np.testing.assert_allclose(*exact, atol=1e-3)


def test_one_voxel_and_an_array_without_a_rim() -> None:
    one = Occupancy(np.full((1, 1, 1), 255, np.uint8), np.diag([2.0, 2.0, 2.0, 1.0]))
    field = field_of_occupancy(one)
    np.testing.assert_allclose(field.bounds_lps_mm, [[-1, -1, -1], [1, 1, 1]])
    assert field.distance_mm(np.array([[11.0, 0.0, 0.0]])) == pytest.approx([10.0], abs=0.2)
    full = Occupancy(np.full((4, 5, 6), 255, np.uint8), np.eye(4))
    assert field_of_occupancy(full).distance_mm(np.array([[2.5, 2.0, 1.0]])) == pytest.approx([-1.5], abs=0.01)


def test_a_zone_in_a_large_volume_costs_its_own_size() -> None:
    values = np.zeros((400, 400, 400), np.uint8)
    values[200:220, 210:230, 220:240] = 255
    field = field_of_occupancy(Occupancy(values, np.diag([0.5, 0.5, 0.5, 1.0])))
    assert field.values_mm.size < 70**3
    assert field.distance_mm(np.array([[119.75 + 20.0, 109.75, 104.75]])) == pytest.approx([20.0], abs=0.1)


def test_grid_is_along_lps_and_read_only() -> None:
    field = field_of_occupancy(rasterised(ball, GRIDS["tilted"], 12.0), spacing_mm=0.5, margin_mm=3.0)
    assert isinstance(field, GridField)
    np.testing.assert_array_equal(field.affine_lps_from_ijk[:3, :3], np.eye(3) * 0.5)
    assert field.values_mm.dtype == np.float32
    assert not field.values_mm.flags.writeable
    k, j, i = 10, 12, 14
    place = field.affine_lps_from_ijk @ [i, j, k, 1.0]
    assert field.distance_mm(place[None, :3]) == pytest.approx([field.values_mm[k, j, i]], abs=1e-5)


@pytest.mark.parametrize(
    ("shape", "occupancy", "code"),
    [
        (MASK, Occupancy(np.zeros((3, 3, 3), np.uint8), np.eye(4)), "empty_zone"),
        (MASK, Occupancy(np.full((3, 3, 3), 127, np.uint8), np.eye(4)), "empty_zone"),
        (MASK, Occupancy(np.full((3, 3, 3), 255, np.uint8), np.diag([1.0, 1.0, 0.0, 1.0])), "singular_grid"),
        (MASK, Occupancy(np.full((3, 3, 3), 255, np.uint8), np.full((4, 4), np.nan)), "singular_grid"),
        (MASK, None, "no_voxels"),
        (SphereShape(center_lps_mm=(0, 0, 0), radius_mm=0.0), None, "empty_zone"),
        (SphereShape(center_lps_mm=(0, 0, float("nan")), radius_mm=1.0), None, "bad_zone"),
        (TubeShape(points_lps_mm=(), radius_mm=1.0), None, "empty_zone"),
        (PrismShape(polygon_lps_mm=((0, 0, 0), (1, 0, 0), (2, 0, 0)), height_mm=1.0), None, "empty_zone"),
        (PrismShape(polygon_lps_mm=((0, 0, 0), (1, 0, 0), (1, 1, 0)), height_mm=-1.0), None, "empty_zone"),
    ],
)
def test_what_encloses_nothing_is_refused(shape, occupancy, code: str) -> None:
    with pytest.raises(GeometryError) as told:
        distance_field(shape, occupancy)
    assert told.value.code == code


def test_a_grid_that_memory_cannot_hold_is_refused() -> None:
    with pytest.raises(GeometryError) as told:
        field_of_occupancy(Occupancy(np.full((9, 9, 9), 255, np.uint8), np.diag([9.0, 9.0, 9.0, 1.0])), spacing_mm=0.01)
    assert told.value.code == "too_large"
