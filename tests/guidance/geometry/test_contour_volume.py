"""Contours to voxels against closed forms: areas, holes, keyholes, any plane, faults by name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.errors import GeometryError
from guidance.geometry.contour_area import covered
from guidance.geometry.contour_volume import Contour, ContourVolume, fill_contours

TURN = np.linspace(0.0, 2 * np.pi, 180, endpoint=False)
ROTATED = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
SHAPE = (40, 50)


def circle(u: float, v: float, radius: float) -> np.ndarray:
    return np.stack([u + radius * np.cos(TURN), v + radius * np.sin(TURN)], axis=1)


def area(contour: np.ndarray) -> float:
    following = np.roll(contour, -1, axis=0)
    return abs(float(np.sum(contour[:, 0] * following[:, 1] - following[:, 0] * contour[:, 1]))) / 2


def slab(flat: np.ndarray, height: float, rotation: np.ndarray = np.eye(3)) -> Contour:
    points = np.column_stack([flat, np.full(len(flat), height)])
    return Contour(points_mm=points @ rotation.T + np.array((5.0, -7.0, 90.0)))


def volume_mm3(filled: ContourVolume) -> float:
    occupancy = filled.occupancy
    return float(occupancy.values.sum() / 255 * abs(np.linalg.det(occupancy.affine_lps_from_ijk[:3, :3])))


def center(filled: ContourVolume) -> np.ndarray:
    occupancy = filled.occupancy
    places = np.argwhere(occupancy.values)
    weights = occupancy.values[tuple(places.T)].astype(float)
    ijk = (places[:, ::-1] * weights[:, None]).sum(axis=0) / weights.sum()
    return occupancy.affine_lps_from_ijk[:3, :3] @ ijk + occupancy.affine_lps_from_ijk[:3, 3]


def test_a_rectangle_covers_its_pixels_exactly() -> None:
    rectangle = np.array([[1.25, 0.5], [4.5, 0.5], [4.5, 3.5], [1.25, 3.5]])
    got = covered([rectangle], (6, 7), even_odd=True)
    want = np.zeros((6, 7))
    want[1:4, 1:5] = 1.0
    want[1:4, 1] = 0.25
    np.testing.assert_allclose(got, want, atol=1e-12)


@given(st.lists(st.tuples(st.floats(0.5, 39), st.floats(0.5, 29)), min_size=3, max_size=12))
def test_a_star_shaped_contour_has_its_own_area_whichever_way_round(corners: list[tuple[float, float]]) -> None:
    points = np.array(corners)
    middle = points.mean(axis=0)
    turns = np.arctan2(*(points - middle).T[::-1])
    contour = points[np.argsort(turns)]
    for even_odd in (True, False):
        for one in (contour, contour[::-1]):
            got = covered([one], (32, 42), even_odd=even_odd)
            # corners inside a sampled line err by less than its height along the row
            assert got.sum() == pytest.approx(area(contour), abs=0.02 * len(points) + 0.02 * area(contour))
            assert got.min() >= 0.0
            assert got.max() <= 1.0


def test_the_edge_of_a_disc_is_kept_below_a_pixel() -> None:
    got = covered([circle(20.3, 15.7, 11.2)], SHAPE, even_odd=True)
    assert got.sum() == pytest.approx(area(circle(20.3, 15.7, 11.2)), rel=1e-4)
    v, u = np.indices(SHAPE)
    assert (got * u).sum() / got.sum() == pytest.approx(20.3, abs=1e-3)
    assert (got * v).sum() / got.sum() == pytest.approx(15.7, abs=1e-3)


@pytest.mark.parametrize("turned", [False, True])
def test_hole_and_island_by_exclusion(turned: bool) -> None:
    rings = [circle(25, 20, 15), circle(25, 20, 10), circle(25, 20, 5)]
    if turned:
        rings[1] = rings[1][::-1]
    got = covered(rings, SHAPE, even_odd=True)
    assert got.sum() == pytest.approx(area(rings[0]) - area(rings[1]) + area(rings[2]), rel=1e-3)


@pytest.mark.parametrize("inner_turn", [1, -1])
def test_a_keyhole_is_a_hole(inner_turn: int) -> None:
    outer, inner = circle(25, 20, 15), circle(25, 20, 6)[::inner_turn]
    start = int(np.argmin(np.abs(inner[:, 1] - 20) + (inner[:, 0] < 25) * 100))
    inner = np.roll(inner, -start, axis=0)
    keyhole = np.concatenate([outer, outer[:1], inner, inner[:1]])
    filled = fill_contours([slab(keyhole, z) for z in (0.0, 1.0, 2.0)])
    assert volume_mm3(filled) == pytest.approx(3 * (area(outer) - area(inner)), rel=2e-3)
    assert filled.overlapping_planes == 0


@pytest.mark.parametrize("rotation", [np.eye(3), ROTATED], ids=["axial", "oblique"])
@pytest.mark.parametrize("step", [0.8, 3.0])
def test_a_cylinder_has_its_volume_and_place_on_any_plane(rotation: np.ndarray, step: float) -> None:
    heights = step * np.array((2, 0, 3, 1, 4))
    filled = fill_contours([slab(circle(3, -4, 9.3), height, rotation) for height in heights])
    assert volume_mm3(filled) == pytest.approx(area(circle(0, 0, 9.3)) * 5 * step, rel=1e-3)
    want = rotation @ np.array((3.0, -4.0, 2 * step)) + np.array((5.0, -7.0, 90.0))
    np.testing.assert_allclose(center(filled), want, atol=2e-3)
    occupancy = filled.occupancy
    assert np.linalg.det(occupancy.affine_lps_from_ijk[:3, :3]) > 0
    assert not occupancy.values[[0, -1]].any()
    assert filled.missing_mm == ()


def test_holes_stay_and_what_overlaps_is_taken_together_and_told() -> None:
    hole = [slab(circle(0, 0, 12), z) for z in (0.0, 1.0)] + [slab(circle(1, 0, 5), z) for z in (0.0, 1.0)]
    filled = fill_contours(hole)
    assert volume_mm3(filled) == pytest.approx(2 * (area(circle(0, 0, 12)) - area(circle(0, 0, 5))), rel=2e-3)
    assert filled.overlapping_planes == 0
    overlapping = [slab(circle(u, 0, 8), z) for z in (0.0, 1.0) for u in (-5, 5)]
    lens = 2 * 64 * np.arccos(5 / 8) - 5 * np.sqrt(4 * 64 - 100)
    filled = fill_contours(overlapping)
    assert volume_mm3(filled) == pytest.approx(2 * (2 * np.pi * 64 - lens), rel=2e-3)
    assert filled.overlapping_planes == 2
    exclusive = [Contour(points_mm=one.points_mm, exclusive=True) for one in overlapping]
    assert volume_mm3(fill_contours(exclusive)) == pytest.approx(2 * (2 * np.pi * 64 - 2 * lens), rel=2e-3)


def test_two_parts_side_by_side_are_both_kept() -> None:
    filled = fill_contours([slab(circle(u, 0, 5), z) for z in (0.0, 1.0) for u in (-10, 10)])
    assert volume_mm3(filled) == pytest.approx(4 * area(circle(0, 0, 5)), rel=2e-3)


def test_sparse_planes_are_thick_and_a_missing_one_is_told() -> None:
    volume = np.diag([0.6, 0.6, 1.0, 1.0])
    sparse = fill_contours([slab(circle(0, 0, 5), z) for z in (0.0, 3.0, 6.0)], volume_affine=volume)
    assert volume_mm3(sparse) == pytest.approx(9 * area(circle(0, 0, 5)), rel=2e-3)
    gap = fill_contours([slab(circle(0, 0, 5), z) for z in (0.0, 1.0, 3.0)], volume_affine=volume)
    assert volume_mm3(gap) == pytest.approx(3 * area(circle(0, 0, 5)), rel=2e-3)
    np.testing.assert_allclose(gap.missing_mm, [92.0])


@pytest.mark.parametrize(
    ("told", "thickness"),
    [
        pytest.param({"volume_affine": np.diag([0.6, 0.6, 2.0, 1.0])}, 2.0, id="of the volume"),
        pytest.param({"step_mm": 1.5}, 1.5, id="of the other structures"),
    ],
)
def test_one_plane_takes_a_told_thickness(told: dict[str, object], thickness: float) -> None:
    filled = fill_contours([slab(circle(0, 0, 5), 0.0)], **told)
    assert volume_mm3(filled) == pytest.approx(thickness * area(circle(0, 0, 5)), rel=2e-3)


def test_the_volumes_directions_and_finer_pixels_are_used() -> None:
    tilted = np.eye(4)
    tilted[:3, :3] = ROTATED @ np.diag([0.3, 0.4, 1.0])
    filled = fill_contours([slab(circle(0, 0, 5), z, ROTATED) for z in (0.0, 1.0)], volume_affine=tilted)
    np.testing.assert_allclose(filled.occupancy.affine_lps_from_ijk[:3, 0], 0.3 * ROTATED[:, 0], atol=1e-12)


def bent() -> Contour:
    points = slab(circle(0, 0, 10), 0.0).points_mm.copy()
    points[:, 2] += 2 * np.sin(2 * TURN)
    return Contour(points_mm=points)


@pytest.mark.parametrize(
    ("contours", "code"),
    [
        pytest.param([slab(circle(0, 0, 5), z) for z in (0.0, 1.0, 2.4)], "irregular_planes", id="irregular"),
        pytest.param([slab(circle(0, 0, 5), 0.0)], "single_slice", id="one plane"),
        pytest.param([bent(), bent()], "not_planar", id="bent"),
        pytest.param(
            [slab(circle(0, 0, 5), 0.0), slab(circle(0, 0, 5), 0.0, ROTATED)], "not_planar", id="planes not parallel"
        ),
        pytest.param(
            [slab(np.array([[0.0, 0.0], [5.0, 0.0], [9.0, 0.0]]), z) for z in (0.0, 1.0)], "empty_zone", id="line"
        ),
        pytest.param([slab(np.zeros((4, 2)), z) for z in (0.0, 1.0)], "empty_zone", id="a point"),
        pytest.param([slab(circle(0, 0, 5), 0.0), slab(circle(0, 0, 5), np.nan)], "not_planar", id="not finite"),
    ],
)
def test_what_is_refused_is_named(contours: list[Contour], code: str) -> None:
    with pytest.raises(GeometryError) as caught:
        fill_contours(contours)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "flat",
    [
        pytest.param(circle(0, 0, 0.4), id="a wire"),
        pytest.param(np.array([[0.0, 0.1], [60.0, 0.1], [60.0, 0.45], [0.0, 0.45]]), id="a joint's gap"),
    ],
)
def test_what_is_thinner_than_a_pixel_keeps_its_surface(flat: np.ndarray) -> None:
    filled = fill_contours([slab(flat, z) for z in (0.0, 1.0, 2.0)])
    # an edge along the rows may lie half a sampled line, 1/32 pixel, beside its place
    assert volume_mm3(filled) == pytest.approx(3 * area(flat), rel=0.03)
    solid = (filled.occupancy.values > 127).sum() * abs(np.linalg.det(filled.occupancy.affine_lps_from_ijk[:3, :3]))
    assert solid >= 0.8 * 3 * area(flat)
