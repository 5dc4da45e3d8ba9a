"""Which way a foramen is looked through, and what the answer rests on."""

import numpy as np
import pytest

from guidance.messages import MaskShape, PrismShape, SphereShape, TubeShape, Zone, ZoneKind, ZoneSite
from guidance.planning.distance import distance_field
from guidance.planning.occupancy import Occupancy
from guidance.planning.zone_axes import channel_axis


def axis_of(shape, level="", occupancy=None):
    zone = Zone(id="Z1", name="foramen", site=ZoneSite.FORAMEN, kind=ZoneKind.KEEP_OUT, shape=shape, level=level)
    return channel_axis(zone, distance_field(shape, occupancy))


def ellipsoid(half_axes, rotation, level=""):
    """A mask of 1 mm voxels with principal axes = columns of `rotation`."""
    affine = np.eye(4)
    affine[:3, 3] = (-20.0, -15.0, 10.0)
    k, j, i = np.indices((41, 41, 41))
    points = np.stack((i, j, k), axis=-1) - 20.0
    inside = (((points @ rotation) / half_axes) ** 2).sum(axis=-1) <= 1.0
    occupancy = Occupancy(np.where(inside, 255, 0).astype(np.uint8), affine)
    shape = MaskShape(
        mask_id="0" * 64, shape_kji=(41, 41, 41), affine_lps_from_ijk=tuple(affine.ravel()), volume_ml=1.0
    )
    return axis_of(shape, level, occupancy)


def angle_deg(one, other):
    return np.degrees(np.arccos(min(abs(float(one @ other)) / np.linalg.norm(other), 1.0)))


def turn(seed):
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return rotation


def test_a_tube_is_looked_through_along_its_axis():
    axis = axis_of(TubeShape(points_lps_mm=((0.0, 0.0, 0.0), (3.0, 4.0, 0.0), (6.0, 8.0, 0.0)), radius_mm=4.0))
    np.testing.assert_allclose(axis.direction, (0.6, 0.8, 0.0), atol=1e-12)
    np.testing.assert_allclose(axis.center_lps_mm, (3.0, 4.0, 0.0), atol=1e-12)
    assert axis.rests_on == "its tube's axis"


def test_a_prism_is_looked_through_along_its_extrusion():
    square = ((0.0, 0.0, 5.0), (10.0, 0.0, 5.0), (10.0, 10.0, 5.0), (0.0, 10.0, 5.0))
    axis = axis_of(PrismShape(polygon_lps_mm=square, height_mm=6.0))
    np.testing.assert_allclose(axis.direction, (0.0, 0.0, 1.0), atol=1e-12)
    np.testing.assert_allclose(axis.center_lps_mm, (5.0, 5.0, 8.0), atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_a_mask_without_a_level_is_looked_through_along_its_shortest_axis(seed):
    rotation = turn(seed)
    axis = ellipsoid(np.array((4.0, 8.0, 13.0)), rotation)
    assert angle_deg(axis.direction, rotation[:, 0]) < 2.0
    assert "shortest" in axis.rests_on
    np.testing.assert_allclose(axis.center_lps_mm, (0.0, 5.0, 30.0), atol=0.3)


def test_a_level_says_which_way_the_channel_runs():
    half_axes = np.array((5.0, 14.0, 8.0))  # longest front-back, as a sacral channel is
    sacral = ellipsoid(half_axes, np.eye(3), level="S1")
    assert angle_deg(sacral.direction, np.array((0.0, 1.0, 0.0))) < 1.0
    assert "front-back" in sacral.rests_on
    lumbar = ellipsoid(half_axes, np.eye(3), level="L5")
    assert angle_deg(lumbar.direction, np.array((1.0, 0.0, 0.0))) < 1.0
    assert "left-right" in lumbar.rests_on


@pytest.mark.parametrize(
    ("axis", "says"),
    [
        (lambda: ellipsoid(np.array((8.0, 8.5, 13.0)), turn(0)), "too round"),
        (lambda: axis_of(SphereShape(center_lps_mm=(1.0, 2.0, 3.0), radius_mm=5.0)), "ball"),
        (
            lambda: axis_of(
                TubeShape(points_lps_mm=((0.0, 0.0, 0.0), (20.0, 0.0, 0.0), (20.0, 20.0, 0.0)), radius_mm=3.0)
            ),
            "bent",
        ),
        (lambda: axis_of(TubeShape(points_lps_mm=((1.0, 0.0, 0.0),), radius_mm=3.0)), "one point"),
    ],
)
def test_what_the_shape_does_not_say_is_unknown(axis, says):
    unknown = axis()
    assert unknown.direction is None
    assert says in unknown.rests_on
