"""Oblique slices: where they lie, which way up they are, and what is sampled in them."""

import numpy as np
import pytest

from guidance.planning.oblique import (
    SlicePlane,
    cross_sections,
    crosses_box,
    direction_letters,
    longitudinal_planes,
    plane_name,
    sampled_hu,
)
from guidance.planning.volume import PlanningVolume

SLOPE = np.array((3.0, -2.0, 5.0))


def sheared_volume():
    """HU = a linear function of the place in the patient; voxels anisotropic, turned and sheared."""
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.array(((1.5, 0.0, 0.4), (0.0, 2.0, 0.3), (0.0, 0.0, 3.0)))
    affine[:3, 3] = (-20.0, 30.0, 40.0)
    k, j, i = np.indices((30, 40, 50))
    places = np.stack((i, j, k), axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    return PlanningVolume(np.round(places @ SLOPE).astype(np.int16), affine), places


def test_samples_a_linear_function_where_the_volume_is_and_nothing_outside():
    volume, places = sheared_volume()
    center = places.reshape(-1, 3).mean(axis=0)
    half = np.array((20.0, 5.0, 3.0))
    plane, _ = longitudinal_planes(tuple(center + half), tuple(center - half), pixel_mm=1.0, size_px=201)
    sampled = sampled_hu(volume, plane).ravel()
    points = plane.points_lps_mm()
    known = np.isfinite(sampled)
    assert 0.02 < known.mean() < 0.9
    assert np.abs(sampled[known] - points[known] @ SLOPE).max() <= 0.51  # voxels are rounded to whole HU
    ijk = (points - volume.affine_lps_from_ijk[:3, 3]) @ np.linalg.inv(volume.affine_lps_from_ijk[:3, :3]).T
    inside = ((ijk >= 0) & (ijk <= np.array((49, 39, 29)))).all(axis=1)
    assert (inside == known).mean() > 0.999


@pytest.mark.parametrize("seed", range(6))
def test_planes_contain_the_path_and_are_never_mirrored(seed):
    entry, target = np.random.default_rng(seed).uniform(-50, 50, (2, 3))
    axis = (target - entry) / np.linalg.norm(target - entry)
    first, second = longitudinal_planes(tuple(entry), tuple(target), pixel_mm=0.5, size_px=100)
    for plane in (first, second):
        uvd = plane.pixels_of(np.array((entry, target)))
        np.testing.assert_allclose(uvd[:, 2], 0.0, atol=1e-9)
        assert np.linalg.norm(uvd[1, :2] - uvd[0, :2]) * 0.5 == pytest.approx(np.linalg.norm(target - entry))
        np.testing.assert_allclose(uvd[:, :2].mean(axis=0), 49.5, atol=1e-9)
    assert abs(first.normal @ second.normal) < 1e-9
    sections = cross_sections(tuple(entry), tuple(target), (0.0, 10.0), pixel_mm=0.5, size_px=9)
    for depth, plane in zip((0.0, 10.0), sections, strict=True):
        np.testing.assert_allclose(plane.center_lps_mm, entry + depth * axis)
        assert abs(plane.normal @ axis) == pytest.approx(1.0)
    # seen from the feet, from the front or from the patient's left: the picture's depth axis is head, back or right
    for plane in (first, second):
        main = int(np.argmax(np.abs(plane.normal)))
        assert plane.normal[main] * (-1.0, 1.0, 1.0)[main] > 0.0


@pytest.mark.parametrize(
    ("entry", "target", "letters", "names"),
    [
        ((50, 0, 0), (-50, 0, 0), (("R", "L", "H", "F"), ("R", "L", "A", "P")), ("coronal", "axial")),
        ((0, 50, 0), (0, -50, 0), (("A", "P", "H", "F"), ("R", "L", "A", "P")), ("sagittal", "axial")),
        ((0, 0, 50), (0, 0, -50), (("A", "P", "H", "F"), ("R", "L", "H", "F")), ("sagittal", "coronal")),
    ],
)
def test_slices_are_seen_as_radiologists_see_them(entry, target, letters, names):
    planes = longitudinal_planes(tuple(map(float, entry)), tuple(map(float, target)), pixel_mm=1.0, size_px=10)
    assert tuple(plane.edge_letters() for plane in planes) == letters
    assert tuple(plane_name(plane) for plane in planes) == names


def test_letters_and_names_of_oblique_directions():
    assert direction_letters(np.array((0.6, -0.8, 0.0))) == "AL"
    assert direction_letters(np.array((-0.1, 0.1, -0.99))) == "F"
    tilted = SlicePlane(
        center_lps_mm=np.zeros(3),
        right=np.array((1.0, 0.0, 0.0)),
        down=np.array((0.0, 0.9, -0.436)),
        pixel_mm=1.0,
        rows=5,
        columns=5,
    )
    assert plane_name(tilted) == "oblique axial"


def test_a_plane_meets_a_box_or_not():
    plane, _ = longitudinal_planes((10.0, 0.0, 5.0), (-10.0, 0.0, 5.0), pixel_mm=1.0, size_px=10)
    assert plane_name(plane) == "coronal"
    assert crosses_box(plane, np.array(((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))))
    assert not crosses_box(plane, np.array(((-1.0, 2.0, -1.0), (1.0, 3.0, 1.0))))
