"""Exact clearance of a solid: closed forms, dense sampling, scipy's distance transform, rigid motion, Lipschitz."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from scipy.spatial.transform import Rotation

from guidance.messages import F64
from guidance.planning.medial import balls_of, least_distance, least_distances
from guidance.planning.solid import Cylinder, CylinderField, DistanceField, Spheroid
from tests.helpers.closed_fields import Ball, HalfSpace, Moved, Rod, Slab

R = 3.65
SCREW = Cylinder((0.0, 0.0, 0.0), (100.0, 0.0, 0.0), R)
TOLERANCE_MM = 2e-3


def distance(solid: Cylinder | Spheroid, field: DistanceField) -> float:
    return least_distance(balls_of([solid]), field).distance_mm


def surface_points(cylinder: Cylinder, step_mm: float) -> F64:
    """Points on the cylinder's surface, both flat ends included."""
    entry, target = np.array(cylinder.entry_lps_mm), np.array(cylinder.target_lps_mm)
    length = float(np.linalg.norm(target - entry))
    axis = (target - entry) / length
    across = np.linalg.svd(axis[None, :])[2][1:]
    turns = np.linspace(0.0, 2.0 * math.pi, max(24, math.ceil(2 * math.pi * cylinder.radius_mm / step_mm)), False)
    ring = np.cos(turns)[:, None] * across[0] + np.sin(turns)[:, None] * across[1]
    depths = np.linspace(0.0, length, math.ceil(length / step_mm) + 1)
    side = entry + depths[:, None, None] * axis + cylinder.radius_mm * ring
    radii = np.linspace(0.0, cylinder.radius_mm, math.ceil(cylinder.radius_mm / step_mm) + 1)
    disc = radii[:, None, None] * ring
    return np.concatenate([part.reshape(-1, 3) for part in (side, entry + disc, target + disc)])


@pytest.mark.parametrize(
    ("field", "expected_mm"),
    [
        pytest.param(Ball((50.0, 20.0, 0.0), 5.0), 20.0 - 5.0 - R, id="ball-abeam"),
        pytest.param(Ball((110.0, 0.0, 0.0), 4.0), 6.0, id="ball-beyond-the-tip"),
        pytest.param(Ball((-7.0, 1.0, 1.0), 4.0), 3.0, id="ball-before-the-entry"),
        pytest.param(Ball((110.0, 10.0, 0.0), 5.0), math.hypot(10.0, 10.0 - R) - 5.0, id="ball-off-the-rim"),
        pytest.param(Ball((50.0, 0.0, 0.0), 5.0), -5.0 - R, id="ball-on-the-axis"),
        pytest.param(Ball((50.0, 3.0, 0.0), 0.1), -0.1 - (R - 3.0), id="tiny-ball-inside"),
        pytest.param(Ball((99.8, 3.3, 0.0), 0.01), -0.01 - 0.2, id="tiny-ball-in-the-corner"),
        pytest.param(Ball((100.0, R, 0.0), 1.0), -1.0, id="ball-on-the-rim"),
        pytest.param(Rod((0.0, 10.0, 0.0), (100.0, 10.0, 0.0), 3.0), 7.0 - R, id="rod-alongside"),
        pytest.param(Rod((50.0, -50.0, 9.0), (50.0, 50.0, 9.0), 3.0), 6.0 - R, id="rod-across"),
        pytest.param(Rod((30.0, -50.0, 0.0), (30.0, 50.0, 0.0), 3.0), -3.0 - R, id="rod-through"),
        pytest.param(Slab((1.0, 0.0, 0.0), 120.0, 5.0), 15.0, id="wall-facing-the-tip"),
        pytest.param(Slab((0.0, 1.0, 0.0), 20.0, 5.0), 15.0 - R, id="wall-alongside"),
        pytest.param(Slab((1.0, 1.0, 0.0), 40.0, 2.0), -2.0 - R, id="tilted-wall-pierced"),
    ],
)
def test_closed_forms(field: DistanceField, expected_mm: float) -> None:
    assert distance(SCREW, field) == pytest.approx(expected_mm, abs=TOLERANCE_MM)


@pytest.mark.parametrize("tilt_deg", [0.0, 5.0, 30.0, 60.0, 85.0, 90.0])
@pytest.mark.parametrize("offset_mm", [-40.0, -5.0, 20.0])
def test_half_space_is_the_support_function(tilt_deg: float, offset_mm: float) -> None:
    """Least height of a cylinder over a plane: its lower end, less r sin of the angle between axis and normal."""
    tilt = math.radians(tilt_deg)
    field = HalfSpace((math.cos(tilt), math.sin(tilt), 0.0), offset_mm)
    expected_mm = 0.0 - R * math.sin(tilt) - offset_mm
    assert distance(SCREW, field) == pytest.approx(expected_mm, abs=TOLERANCE_MM)


@pytest.mark.parametrize("length_mm", [1.0, 3.0, 7.3, 8.0])
def test_shorter_than_thick(length_mm: float) -> None:
    disc = Cylinder((0.0, 0.0, 0.0), (0.0, 0.0, length_mm), R)
    assert distance(disc, Ball((20.0, 0.0, 0.5 * length_mm), 2.0)) == pytest.approx(18.0 - R, abs=TOLERANCE_MM)
    assert distance(disc, Ball((1.0, 1.0, length_mm + 9.0), 2.0)) == pytest.approx(7.0, abs=TOLERANCE_MM)
    depth_mm = min(0.5 * length_mm, R)
    assert distance(disc, Ball((0.0, 0.0, 0.5 * length_mm), 2.0)) == pytest.approx(-2.0 - depth_mm, abs=TOLERANCE_MM)


@pytest.mark.parametrize(
    ("other", "expected_mm"),
    [
        pytest.param(Cylinder((50, -40, 12), (50, 40, 12), 2.0), 10.0 - R, id="crossed"),
        pytest.param(Cylinder((10, 12, 0), (80, 12, 0), 2.0), 10.0 - R, id="parallel"),
        pytest.param(Cylinder((105, 0, 0), (150, 0, 0), 2.0), 5.0, id="end-to-end"),
        pytest.param(Cylinder((105, 10, 0), (150, 10, 0), 2.0), math.hypot(5.0, 8.0 - R), id="rim-to-rim"),
        pytest.param(Cylinder((40, 0, 6), (40, 0, 60), 2.0), 6.0 - R, id="end-to-side"),
        pytest.param(Cylinder((-10, 0, 0), (110, 0, 0), 2.0), -2.0 - R, id="coaxial"),
    ],
)
def test_cylinder_to_cylinder(other: Cylinder, expected_mm: float) -> None:
    assert distance(SCREW, CylinderField.of(other)) == pytest.approx(expected_mm, abs=TOLERANCE_MM)
    assert distance(other, CylinderField.of(SCREW)) == pytest.approx(expected_mm, abs=TOLERANCE_MM)


def test_cylinder_field_against_a_fine_grid() -> None:
    cylinder = Cylinder((-4.0, -3.0, -6.0), (5.0, 4.0, 6.0), 2.5)
    step_mm = 0.5
    steps = np.arange(-12.0, 12.0 + 0.5 * step_mm, step_mm)
    points = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)
    field = CylinderField.of(cylinder)
    values = field.distance_mm(points.reshape(-1, 3)).reshape(points.shape[:3])
    inside = values < 0.0
    outer = distance_transform_edt(~inside, sampling=step_mm)
    inner = distance_transform_edt(inside, sampling=step_mm)
    assert np.abs(values[~inside] - outer[~inside]).max() < 1.2 * step_mm
    assert np.abs(-values[inside] - inner[inside]).max() < 1.2 * step_mm
    nearest = field.nearest_mm(points.reshape(-1, 3))
    assert np.abs(field.distance_mm(nearest)).max() < 1e-9
    gaps = np.linalg.norm(nearest - points.reshape(-1, 3), axis=1)
    assert gaps == pytest.approx(np.abs(values.ravel()), abs=1e-9)


def test_clearance_against_a_distance_transform_of_an_odd_zone() -> None:
    """Independent: a zone of three bodies as voxels, scipy's transform of it, read at all voxels of the cylinder."""
    step_mm = 0.5
    size = np.array([160, 100, 100])
    points = np.moveaxis(np.indices(tuple(size)), 0, -1) * step_mm
    flat = points.reshape(-1, 3).astype(np.float64)
    bodies = (Ball((60.0, 40.0, 40.0), 6.0), Rod((10.0, 45.0, 10.0), (70.0, 45.0, 20.0), 3.0), Ball((30, 8, 40), 5.0))
    zone = np.min([body.distance_mm(flat) for body in bodies], axis=0).reshape(tuple(size)) < 0.0
    transform = distance_transform_edt(~zone, sampling=step_mm)
    generator = np.random.default_rng(7)
    for _ in range(6):
        entry, target = generator.uniform([5, 5, 5], [15, 45, 45]), generator.uniform([60, 5, 5], [75, 45, 45])
        cylinder = Cylinder(tuple(entry), tuple(target), 2.0)
        within = CylinderField.of(cylinder).distance_mm(flat).reshape(tuple(size)) <= 0.0
        expected_mm = float(transform[within].min())
        got_mm = min(least.distance_mm for least in least_distances(balls_of([cylinder]), bodies))
        assert (got_mm <= 0.0) == (expected_mm == 0.0) or abs(got_mm) < step_mm
        if expected_mm > 0.0:
            assert got_mm == pytest.approx(expected_mm, abs=1.5 * step_mm)


point = st.tuples(*[st.floats(-40.0, 40.0)] * 3)


@settings(max_examples=60, deadline=None)
@given(point, point, st.floats(0.5, 5.0), point, point, st.floats(0.5, 8.0))
def test_against_dense_sampling_of_the_surface(
    entry: tuple[float, float, float],
    target: tuple[float, float, float],
    radius_mm: float,
    start: tuple[float, float, float],
    stop: tuple[float, float, float],
    rod_mm: float,
) -> None:
    if math.dist(entry, target) < 1.0 or math.dist(start, stop) < 0.1:
        return
    cylinder, rod = Cylinder(entry, target, radius_mm), Rod(start, stop, rod_mm)
    sampled_mm = float(rod.distance_mm(surface_points(cylinder, 0.4)).min())
    got_mm = distance(cylinder, rod)
    assert got_mm <= sampled_mm + TOLERANCE_MM
    if got_mm > 0.0:
        assert got_mm >= sampled_mm - 0.4
    assert not (got_mm > TOLERANCE_MM and sampled_mm < 0.0)


@settings(max_examples=40, deadline=None)
@given(point, point, point, point, st.floats(-180.0, 180.0), point)
def test_rigid_motion_changes_nothing(
    entry: tuple[float, float, float],
    target: tuple[float, float, float],
    center: tuple[float, float, float],
    turn_axis: tuple[float, float, float],
    turn_deg: float,
    shift: tuple[float, float, float],
) -> None:
    if math.dist(entry, target) < 1.0 or math.hypot(*turn_axis) < 1.0:
        return
    unit = np.array(turn_axis) / math.hypot(*turn_axis)
    rotation = Rotation.from_rotvec(unit * math.radians(turn_deg)).as_matrix()
    body = Rod(center, (center[0] + 10.0, center[1], center[2] + 5.0), 4.0)
    moved_ends = (np.array([entry, target]) @ rotation.T + np.array(shift)).tolist()
    moved = Cylinder(tuple(moved_ends[0]), tuple(moved_ends[1]), 3.0)
    before_mm = distance(Cylinder(entry, target, 3.0), body)
    after_mm = distance(moved, Moved(body, rotation, np.array(shift)))
    assert after_mm == pytest.approx(before_mm, abs=0.02)


@settings(max_examples=40, deadline=None)
@given(point, point, point, point)
def test_lipschitz_in_the_ends(
    entry: tuple[float, float, float],
    target: tuple[float, float, float],
    center: tuple[float, float, float],
    push: tuple[float, float, float],
) -> None:
    """A point of the cylinder moves by no more than an end does, and by the turn of the rim."""
    length_mm = math.dist(entry, target)
    if length_mm < 20.0 or math.hypot(*push) < 1e-3:
        return
    body, radius_mm = Ball(center, 5.0), 3.0
    step = np.array(push) / 100.0
    pushed_mm = float(np.linalg.norm(step))
    moved = Cylinder(entry, tuple((np.array(target) + step).tolist()), radius_mm)
    change_mm = distance(moved, body) - distance(Cylinder(entry, target, radius_mm), body)
    assert abs(change_mm) <= 2.0 * pushed_mm * (1.0 + radius_mm / (length_mm - pushed_mm)) + 0.02


def spheroid_points(spheroid: Spheroid, count: int) -> F64:
    a, b = spheroid.semi_axial_mm, spheroid.semi_transverse_mm
    generator = np.random.default_rng(3)
    units = generator.normal(size=(count, 3))
    units /= np.linalg.norm(units, axis=1)[:, None]
    axis = np.array(spheroid.axis)
    across = np.linalg.svd(axis[None, :])[2][1:]
    center = np.array(spheroid.center_lps_mm)
    return center + a * units[:, :1] * axis + b * (units[:, 1:2] * across[0] + units[:, 2:] * across[1])


@pytest.mark.parametrize(("a", "b"), [(20.0, 12.0), (12.0, 20.0), (15.0, 15.0), (20.0, 19.999)])
def test_spheroid_on_its_axes_and_against_sampling(a: float, b: float) -> None:
    axis = (0.6, 0.0, 0.8)
    ice = Spheroid((1.0, 2.0, 3.0), axis, a, b)
    along = np.array([1.0, 2.0, 3.0]) + (a + 9.0) * np.array(axis)
    across = np.array([1.0, 2.0, 3.0]) + (b + 9.0) * np.array([0.0, 1.0, 0.0])
    assert distance(ice, Ball(tuple(along), 4.0)) == pytest.approx(5.0, abs=TOLERANCE_MM)
    assert distance(ice, Ball(tuple(across), 4.0)) == pytest.approx(5.0, abs=TOLERANCE_MM)
    assert distance(ice, Ball((1.0, 2.0, 3.0), 1.0)) == pytest.approx(-1.0 - min(a, b), abs=TOLERANCE_MM)
    oblique = Ball((30.0, 20.0, 10.0), 4.0)
    sampled_mm = float(oblique.distance_mm(spheroid_points(ice, 40_000)).min())
    assert sampled_mm - 0.2 <= distance(ice, oblique) <= sampled_mm + TOLERANCE_MM
    off_axis = np.array([1.0, 2.0, 3.0]) + 0.6 * b * np.array([0.0, 1.0, 0.0])
    assert distance(ice, Ball(tuple(off_axis), 0.1)) < -0.1


def test_several_solids_are_their_union() -> None:
    field = Ball((50.0, 30.0, 0.0), 2.0)
    near = Spheroid((50.0, 10.0, 0.0), (1.0, 0.0, 0.0), 8.0, 8.0)
    assert distance(SCREW, field) == pytest.approx(28.0 - R, abs=TOLERANCE_MM)
    both = least_distance(balls_of([SCREW, near]), field)
    assert both.distance_mm == pytest.approx(10.0, abs=TOLERANCE_MM)
