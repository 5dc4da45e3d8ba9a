"""The procedural pelvis: what its voxels show is what its closed forms say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from simulators.pelvis import CORTEX_MM, ProceduralPelvis
from simulators.pelvis_anatomy import DYSMORPHIC, sacral_coordinates, sacral_point
from simulators.pelvis_corridors import axis_clearance_mm, corridors

PELVIS = ProceduralPelvis()
SPACING_MM = 0.8


@pytest.fixture(scope="module")
def sacrum():
    """The sacrum and its neighbours, and a function that reads CT values at LPS places."""
    volume = PELVIS.volume(SPACING_MM, center_lps_mm=(0.0, 5.0, -25.0), size_mm=(150.0, 110.0, 120.0))

    def at(points):
        ijk = (np.asarray(points) - volume.affine_lps_from_ijk[:3, 3]) / SPACING_MM
        return ndimage.map_coordinates(volume.voxels_hu, ijk.T[::-1], order=1, mode="nearest", output=float)

    return volume, at


@pytest.fixture(scope="module")
def usual():
    return corridors(PELVIS)


def along(tube, count=40):
    """Places on a tube's centre-line."""
    points = np.asarray(tube.points_lps_mm)
    part = np.linspace(0.0, len(points) - 1.0, count)
    return np.stack([np.interp(part, np.arange(len(points)), points[:, n]) for n in range(3)], axis=1)


def test_sacral_coordinates_and_places_are_inverse():
    for place in [(0.0, 0.0, 15.0), (20.0, -12.0, 3.0), (-30.0, 18.0, 70.0)]:
        across, depth, down = sacral_coordinates(np.array([sacral_point(*place)], np.float32))
        assert (across[0], depth[0], down[0]) == pytest.approx((abs(place[0]), *place[1:]), abs=1e-3)
    assert sacral_point(0.0, 0.0, 15.0) == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)


def test_foramina_and_canal_are_free_of_bone(sacrum):
    _, at = sacrum
    assert len(PELVIS.foramina) == 16
    for name, tube in PELVIS.foramina.items():
        assert at(along(tube)).max() < 150.0, name
    inside = along(PELVIS.canal)
    inside = inside[(inside[:, 2] > -75) & (inside[:, 2] < 20)]
    assert at(inside).max() < 150.0


def test_a_foramens_wall_lies_at_its_radius(sacrum):
    """Outwards from the middle of the ventral S1 foramen: cortex begins at the told radius, within half a voxel."""
    _, at = sacrum
    tube = PELVIS.foramina["S1 ventral left"]
    start, radius = np.asarray(tube.points_lps_mm[1]), tube.radii_mm[1]
    leg = np.subtract(tube.points_lps_mm[2], tube.points_lps_mm[1])
    down = np.subtract(sacral_point(20.0, -8.0, 31.0), sacral_point(20.0, -8.0, 29.0))
    outward = down - (down @ leg) / (leg @ leg) * leg
    outward /= np.linalg.norm(outward)
    found = []
    for part in (0.1, 0.15, 0.2):
        begin = start + part * leg
        told = radius + part * (tube.radii_mm[2] - radius)
        distances = np.arange(0.0, told + 4.0, 0.1)
        for sign in (-1.0, 1.0):
            values = at(begin + sign * distances[:, None] * outward)
            found.append(distances[np.argmax(values > 600.0)] - told)
    assert np.abs(found).max() < 0.5 * SPACING_MM + 0.25


def test_cortex_is_as_thick_as_told(sacrum):
    """Into the first body from in front, in the midline: dense from the surface to the told depth."""
    _, at = sacrum
    depths = np.arange(-20.0, -4.0, 0.05)
    points = np.array([sacral_point(0.0, depth, 18.0) for depth in depths])
    values, distance = at(points), PELVIS.sacrum_distance_mm(points)
    surface = depths[np.argmax(distance < 0.0)]
    dense = depths[values > 740.0]  # half-way between cancellous and cortical
    assert dense.min() == pytest.approx(surface, abs=0.5)
    assert dense.max() - dense.min() == pytest.approx(CORTEX_MM["sacrum"], abs=0.5)
    assert at(points[distance < -4.0]) == pytest.approx(230.0, abs=2.0)


def test_the_joint_is_a_gap_between_two_bones(sacrum):
    _, at = sacrum
    line = np.array([sacral_point(x, 5.0, 20.0) for x in np.arange(30.0, 74.0, 0.2)])
    values = at(line)
    sacral, iliac = PELVIS.sacrum_distance_mm(line) < -1.0, PELVIS.hip_distance_mm(line) < -1.0
    assert sacral.any()
    assert iliac.any()
    between = slice(np.flatnonzero(sacral)[-1], np.flatnonzero(iliac)[0])
    assert values[between].min() < 300.0
    assert values[sacral].min() > 200.0


def test_it_is_symmetric_and_moves_as_a_whole():
    plain = PELVIS.volume(6.0)
    difference = plain.voxels_hu.astype(int) - plain.voxels_hu[:, :, ::-1]
    assert np.abs(difference).max() <= 40  # where left and right laminae meet, their fillet has an order
    moved = ProceduralPelvis(origin_lps_mm=(10.0, -20.0, 300.0)).volume(6.0)
    assert np.array_equal(plain.voxels_hu, moved.voxels_hu)
    assert moved.affine_lps_from_ijk[:3, 3] - plain.affine_lps_from_ijk[:3, 3] == pytest.approx((10, -20, 300))
    assert plain.voxels_hu.min() == -1000
    assert plain.voxels_hu.max() > 500


def test_voxel_size_changes_the_grid_not_the_bone():
    """Partial voxels keep the mass."""
    made = [PELVIS.volume(mm, center_lps_mm=(0, 5, -25), size_mm=(120.0, 100.0, 108.0)) for mm in (2.0, 1.0)]
    mass = [float((each.voxels_hu + 1000.0).sum()) * mm**3 for each, mm in zip(made, (2.0, 1.0), strict=True)]
    assert mass[0] == pytest.approx(mass[1], rel=0.005)


def test_usual_anatomy_has_its_corridors_and_the_dysmorphic_lacks_s1(usual):
    dysmorphic = corridors(ProceduralPelvis(DYSMORPHIC))
    assert all(corridor.exists for corridor in usual.values())
    assert not dysmorphic["S1 transsacral"].exists
    assert dysmorphic["S2 transsacral"].exists
    for corridor in usual.values():
        assert np.linalg.norm(np.subtract(corridor.target_lps_mm, corridor.entry_lps_mm)) > 60.0


@pytest.mark.parametrize("name", ["S1 transsacral", "S2 transsacral"])
def test_a_corridors_voxels_are_bone_across_the_sacrum(sacrum, usual, name):
    _, at = sacrum
    corridor = usual[name]
    x = np.arange(-36.0, 36.1, 0.5)
    axis = np.column_stack([x, np.full_like(x, corridor.entry_lps_mm[1]), np.full_like(x, corridor.entry_lps_mm[2])])
    for angle in np.linspace(0.0, 2.0 * np.pi, 8, endpoint=False):
        around = 0.85 * corridor.radius_mm * np.array([0.0, np.cos(angle), np.sin(angle)])
        assert at(axis + around).min() > 200.0
    assert axis_clearance_mm(PELVIS, axis[0], axis[-1]) >= corridor.radius_mm - 0.2
