"""Tissue on a coarse grid, from procedural and from broken volumes; distances of a lattice to zones."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from guidance.cement.space import CementSpace, Tissue, cement_space, opened, room_for_cement
from guidance.cement.zone_fields import FAR_MM, ZoneDistances, zone_fields
from guidance.errors import GeometryError
from guidance.messages import MaskShape
from guidance.overlay.zones import ZonesOnPicture
from guidance.planning.distance import distance_field
from guidance.planning.surface import surface_of_shape
from guidance.planning.working_grid import WorkingGrid
from simulators.pelvis import ProceduralPelvis
from tests.helpers.cement_zones import fields, target, tube


@pytest.fixture(scope="module")
def pelvis():
    made = ProceduralPelvis()
    volume = made.volume(1.5, center_lps_mm=(0.0, 0.0, 0.0), size_mm=(150.0, 120.0, 110.0))
    return made, volume, opened(cement_space(volume.voxels_hu, volume.affine_lps_from_ijk))


def test_marrow_foramina_and_cortex_of_a_pelvis_are_told_apart(pelvis):
    made, _, space = pelvis
    marrow = np.array([(0.0, -8.0, 0.0), (25.0, 0.0, 0.0), (-25.0, 0.0, 0.0)])
    assert (made.sacrum_distance_mm(marrow) < -3.0).all()
    assert (space.at(marrow) == Tissue.CANCELLOUS).all()
    foramen = np.array(made.foramina["S1 ventral left"].points_lps_mm)
    assert np.mean(space.at(foramen) == Tissue.SOFT) > 0.6
    around = np.random.default_rng(3).uniform((-45.0, -30.0, -30.0), (45.0, 30.0, 30.0), (40_000, 3))
    distance = made.sacrum_distance_mm(around)
    tissue = space.at(around)
    deep, far = distance < -3.0, (distance > 3.0) & (made.hip_distance_mm(around) > 3.0)
    assert np.mean(np.isin(tissue[deep], (Tissue.CANCELLOUS, Tissue.CORTICAL))) > 0.97
    assert np.mean(np.isin(tissue[far], (Tissue.SOFT, Tissue.AIR))) > 0.9


def test_points_off_the_grid_are_outside(pelvis):
    _, _, space = pelvis
    beyond = np.array([(1e4, 0.0, 0.0), (np.nan, 0.0, 0.0), (np.inf, 0.0, 0.0)])
    assert (space.at(beyond) == Tissue.OUTSIDE).all()
    assert np.isnan(space.hu_at(beyond)).all()
    grid = WorkingGrid((1e4, 0.0, 0.0), 1.0, (3, 3, 3))
    assert (space.on(grid) == Tissue.OUTSIDE).all()


def test_a_grid_is_looked_up_as_its_points_are(pelvis):
    _, _, space = pelvis
    grid = WorkingGrid((-83.0, 11.0, -4.0), 1.0, (7, 9, 60))
    points = grid.points(0, 7)
    np.testing.assert_array_equal(space.on(grid).ravel(), space.at(points))
    known = ~np.isnan(space.hu_at(points))
    np.testing.assert_array_equal(space.hu_on(grid).ravel()[known], space.hu_at(points)[known])


def test_it_goes_through_bytes(pelvis):
    _, volume, space = pelvis
    sent = msgspec.msgpack.encode(cement_space(volume.voxels_hu, volume.affine_lps_from_ijk))
    assert len(sent) < 2_000_000
    back = opened(msgspec.msgpack.decode(sent, type=CementSpace))
    np.testing.assert_array_equal(back.tissue, space.tissue)


def test_a_feet_first_sheared_volume_has_the_same_tissue(pelvis):
    _, volume, space = pelvis
    turned = np.ascontiguousarray(volume.voxels_hu[::-1, ::-1])
    affine = volume.affine_lps_from_ijk.copy()
    last = np.array([0, turned.shape[1] - 1, turned.shape[0] - 1])
    affine[:3, 3] += affine[:3, :3] @ last
    affine[:3, 1:3] *= -1.0
    other = opened(cement_space(turned, affine))
    points = np.random.default_rng(1).uniform(-40.0, 40.0, (5000, 3))
    assert np.mean(space.at(points) == other.at(points)) > 0.97


@pytest.mark.parametrize(
    "values",
    [np.full((4, 5, 6), -1024, np.int16), np.full((4, 5, 6), np.nan), np.full((4, 5, 6), 3000.0, np.float32)],
)
def test_volumes_without_bone_say_so(values):
    made = cement_space(values, np.diag([2.0, 2.0, 2.0, 1.0]))
    assert "bone" in made.bone
    assert opened(made).tissue.size > 0


@pytest.mark.parametrize(
    ("values", "affine"),
    [
        (np.zeros((4, 4, 4), np.int16), np.zeros((4, 4))),
        (np.zeros((4, 4, 4), np.int16), np.full((4, 4), np.nan)),
        (np.zeros((0, 4, 4), np.int16), np.eye(4)),
        (np.zeros((4, 4), np.int16), np.eye(4)),
    ],
)
def test_what_is_no_volume_is_refused(values, affine):
    with pytest.raises(GeometryError) as caught:
        cement_space(values, affine)
    assert caught.value.code == "singular_grid"


def test_damaged_bytes_are_refused(pelvis):
    _, volume, _ = pelvis
    made = cement_space(volume.voxels_hu[:20, :20, :20], volume.affine_lps_from_ijk)
    for broken in (msgspec.structs.replace(made, tissue=b"no"), msgspec.structs.replace(made, shape_kji=(1, 2, 3))):
        with pytest.raises(GeometryError) as caught:
            opened(broken)
        assert caught.value.code == "bad_space"


def test_cement_has_room_in_marrow_little_in_cortex_none_in_air():
    tissue = np.array([[[Tissue.OUTSIDE, Tissue.AIR, Tissue.SOFT, Tissue.CANCELLOUS, Tissue.CORTICAL]]], np.uint8)
    hu = np.array([[[-1024.0, -900.0, 40.0, 200.0, 1300.0]]], np.float32)
    outside, air, soft, marrow, cortex = room_for_cement(tissue, hu).ravel()
    assert outside == air == 0.0
    assert 0.0 < soft < marrow <= 1.0
    assert 0.0 < cortex < marrow


def lattice(zones, first, shape, spacing_mm=1.0):
    distances = ZoneDistances(fields(*zones), spacing_mm)
    chosen = np.zeros(shape, np.bool_)
    chosen[::2, 1::3] = True
    return distances, chosen, distances.places(np.array(first), chosen)


def test_lattice_distances_are_the_closed_forms():
    zones = (tube(1, (0.0, 0.0, 0.0), (10.0, 5.0, 0.0)), target(2, (5.0, 5.0, 5.0), 4.0))
    first, shape = (-12, -7, 3), (9, 15, 20)
    distances, chosen, places = lattice(zones, first, shape)
    points = (np.argwhere(chosen)[:, ::-1] + first).astype(float)
    for number, one in enumerate(zones):
        np.testing.assert_allclose(
            distances.at(number, places), distance_field(one.shape).distance_mm(points), atol=1e-5
        )


def test_boxes_that_move_and_grow_keep_what_is_known():
    zones = (tube(1, (0.0, 0.0, 0.0), (10.0, 5.0, 0.0)),)
    distances = ZoneDistances(fields(*zones), 1.5)
    field = distance_field(zones[0].shape)
    for first, shape in (
        ((0, 0, 0), (3, 4, 5)),
        ((-6, 2, -3), (8, 8, 8)),
        ((-2, -9, 1), (4, 12, 6)),
        ((1, 1, 1), (2, 2, 2)),
    ):
        chosen = np.ones(shape, np.bool_)
        points = (np.argwhere(chosen)[:, ::-1] + first) * 1.5
        found = distances.at(0, distances.places(np.array(first), chosen, chosen))
        np.testing.assert_allclose(found, field.distance_mm(points), atol=1e-5)


def test_far_away_the_distance_is_never_too_large():
    zones = (tube(1, (0.0, 0.0, 0.0), (10.0, 5.0, 0.0)),)
    distances, chosen, places = lattice(zones, (-90, -80, -70), (160, 20, 20))
    points = (np.argwhere(chosen)[:, ::-1] + (-90, -80, -70)).astype(float)
    true, told = distance_field(zones[0].shape).distance_mm(points), distances.at(0, places)
    assert (told <= true + 1e-4).all()
    near = told < FAR_MM
    np.testing.assert_allclose(told[near & (true < FAR_MM)], true[near & (true < FAR_MM)], atol=1e-4)


def test_a_mask_is_measured_to_by_its_surface():
    ball = target(1, (3.0, 4.0, 5.0), 6.0)
    mask = MaskShape(mask_id="0" * 64, shape_kji=(1, 1, 1), affine_lps_from_ijk=tuple(np.eye(4).ravel()), volume_ml=0.9)
    (of_ball,) = fields(ball)
    surface_zone = replace(ball, shape=mask)
    made = fields_of_surface(surface_zone, ball)
    points = np.random.default_rng(0).uniform(-10.0, 15.0, (500, 3))
    np.testing.assert_allclose(made.field.distance_mm(points), of_ball.field.distance_mm(points), atol=0.08)


def fields_of_surface(surface_zone, drawn):
    (made,) = zone_fields(ZonesOnPicture(surfaces=((surface_zone, surface_of_shape(drawn.shape)),)))
    return made
