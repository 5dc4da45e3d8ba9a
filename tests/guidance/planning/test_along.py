"""Skin, bone, far cortex and HU along a path, on bodies whose lengths are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from guidance.messages import PlannedPath, Vector3
from guidance.planning.along import axis_of, bone_margin_mm, bone_way, crossed, hu_at, part_seen, tip_bone
from guidance.planning.volume import PlanningVolume
from tests.helpers.closed_fields import Ball, Either, HalfSpace, Rod, Slab


def path(entry: Vector3, target: Vector3, diameter_mm: float = 6.0) -> PlannedPath:
    return PlannedPath(id="A", entry_lps_mm=entry, target_lps_mm=target, diameter_mm=diameter_mm)


BODY = HalfSpace((0.0, 1.0, 0.0), 100.0)  # all in front of y = 100
BONE = Slab((0.0, 1.0, 0.0), 30.0, 25.0)  # from y = 55 down to y = 5


@pytest.mark.parametrize("entry_y", [140.0, 100.0, 80.0, 56.0, 50.0])
@pytest.mark.parametrize("tilt_deg", [0.0, 40.0])
def test_lengths_do_not_depend_on_where_the_entry_was_drawn(entry_y: float, tilt_deg: float) -> None:
    slant = 1.0 / math.cos(math.radians(tilt_deg))
    aside = math.tan(math.radians(tilt_deg))
    drawn = path((aside * (20.0 - entry_y), entry_y, 3.0), (0.0, 20.0, 3.0))
    way = bone_way(axis_of(drawn), BONE, BODY, None)
    assert way.skin_to_bone_mm == pytest.approx(45.0 * slant, abs=0.01)
    assert way.bone_to_target_mm == pytest.approx(35.0 * slant, abs=0.01)
    assert way.target_to_far_cortex_mm == pytest.approx(15.0 * slant, abs=0.01)


def test_a_target_beyond_the_bone_has_no_far_cortex() -> None:
    way = bone_way(axis_of(path((0, 80, 0), (0, 0, 0))), BONE, BODY, None)
    assert way.target_to_far_cortex_mm is None
    assert way.bone_to_target_mm == pytest.approx(55.0, abs=0.01)


def test_without_skin_or_bone_nothing_is_made_up() -> None:
    way = bone_way(axis_of(path((0, 80, 0), (0, 20, 0))), BONE, None, None)
    assert way.skin_to_bone_mm is None
    assert way.bone_to_target_mm == pytest.approx(35.0, abs=0.01)
    missed = bone_way(axis_of(path((0, 90, 0), (0, 60, 0))), BONE, BODY, None)
    assert (missed.intervals, missed.bone_to_target_mm, missed.target_to_far_cortex_mm) == ((), None, None)


def grid(fill: int, size: int = 60, step_mm: float = 2.0) -> PlanningVolume:
    affine = np.diag([step_mm, step_mm, step_mm, 1.0])
    affine[:3, 3] = -0.5 * step_mm * (size - 1)
    return PlanningVolume(voxels_hu=np.full((size, size, size), fill, np.int16), affine_lps_from_ijk=affine)


def test_a_surface_at_the_volumes_rim_is_the_pictures_end_not_the_patients() -> None:
    volume = grid(40)  # reaches from -59 to 59
    cut_bone = Slab((0.0, 1.0, 0.0), -20.0, 39.0)  # ends at y = -59
    cut_body = HalfSpace((0.0, 1.0, 0.0), 59.0)
    way = bone_way(axis_of(path((0, 50, 0), (0, -30, 0))), cut_bone, cut_body, volume)
    assert way.skin_to_bone_mm is None
    assert way.target_to_far_cortex_mm is None
    assert way.bone_to_target_mm == pytest.approx(49.0, abs=0.01)


def test_margin_in_a_tunnel_of_known_width() -> None:
    """Off the tunnel's axis by 3 mm: 10 - 3 - 3 to the near wall."""
    tunnel = Rod((-60.0, 0.0, 0.0), (60.0, 0.0, 0.0), 10.0)
    inside = axis_of(path((-40.0, 3.0, 0.0), (40.0, 3.0, 0.0)))
    way = bone_way(inside, tunnel, None, None)
    assert bone_margin_mm(inside, way, tunnel, 3.0, []) == pytest.approx(4.0, abs=1e-6)
    tilted = axis_of(path((-40.0, -4.0, 0.0), (40.0, 8.0, 0.0)))
    slope = math.hypot(80.0, 12.0)
    way = bone_way(tilted, tunnel, None, None)
    expected_mm = 10.0 - 8.0 - 3.0
    assert way.intervals[0].stop_mm > slope
    assert bone_margin_mm(tilted, way, tunnel, 3.0, []) == pytest.approx(expected_mm, abs=0.01)


def test_the_ends_of_the_way_are_aside() -> None:
    """Square through a wall of 50 mm: a tunnel of radius 50 / 3 leaves 1.5 of its radii aside at both faces."""
    through = axis_of(path((0, 80, 0), (0, -20, 0)))
    way = bone_way(through, BONE, None, None)
    assert bone_margin_mm(through, way, BONE, 3.0, []) == pytest.approx(50.0 / 3.0 - 3.0, abs=0.01)
    thin = Slab((0.0, 1.0, 0.0), 30.0, 4.0)
    assert bone_margin_mm(through, bone_way(through, thin, None, None), thin, 3.0, []) is None


def test_leaving_the_bone_is_a_negative_margin_but_for_a_joint_that_may_be_crossed() -> None:
    """Two walls with a gap of 4 mm: on the middle of the gap the bone is 2 mm away, the shaft's surface 2 + 3."""
    bones = Either((Slab((1.0, 0.0, 0.0), -22.0, 20.0), Slab((1.0, 0.0, 0.0), 22.0, 20.0)))
    across = axis_of(path((-60, 0, 0), (30, 0, 0)))
    way = bone_way(across, bones, None, None)
    assert len(way.intervals) == 2
    assert bone_margin_mm(across, way, bones, 3.0, []) == pytest.approx(-5.0, abs=0.01)
    (gap,) = way.gaps
    assert (gap.start_mm, gap.stop_mm) == pytest.approx((58.0, 62.0), abs=0.01)
    # The target lies 12 mm in front of the second wall's far face; a tip in bone is no end of the tunnel.
    assert bone_margin_mm(across, way, bones, 3.0, [gap]) == pytest.approx(12.0 - 3.0, abs=0.01)


def test_hu_about_the_tip_is_what_lies_within_the_cross_section() -> None:
    volume = grid(40, size=80, step_mm=1.0)
    volume.voxels_hu[:, :, 50:] = 300  # x from 10.5: i = 50 is x = 10.5
    drawn = axis_of(path((-30.0, 0.0, 0.0), (30.0, 0.0, 0.0)))
    tip = tip_bone(drawn, 3.0, volume, tip_length_mm=15.0, preserved_hu=150.0)
    assert tip is not None
    assert (tip.mean_hu, tip.sd_hu, tip.lowest_hu, tip.bone_part, tip.preserved) == (300.0, 0.0, 300.0, 1.0, True)
    longer = tip_bone(drawn, 3.0, volume, tip_length_mm=40.0, preserved_hu=150.0)
    assert longer is not None
    assert longer.bone_part == pytest.approx(0.5, abs=0.02)
    assert longer.mean_hu == pytest.approx(170.0, abs=5.0)


def test_a_lytic_tip_is_not_preserved_and_metal_is_not_judged() -> None:
    drawn = axis_of(path((-30.0, 0.0, 0.0), (10.0, 0.0, 0.0)))
    lytic = tip_bone(drawn, 3.0, grid(40), tip_length_mm=20.0, preserved_hu=150.0)
    assert lytic is not None
    assert lytic.preserved is False
    metal = grid(300)
    metal.voxels_hu[:, 28:32, 28:32] = 3000
    judged = tip_bone(drawn, 3.0, metal, tip_length_mm=20.0, preserved_hu=150.0)
    assert judged is not None
    assert judged.preserved is None
    far = axis_of(path((500.0, 0.0, 0.0), (540.0, 0.0, 0.0)))
    assert tip_bone(far, 3.0, metal, tip_length_mm=20.0, preserved_hu=150.0) is None


@pytest.mark.parametrize("padding", [-1500, -2000, -3024])
def test_padding_counts_as_not_seen(padding: int) -> None:
    volume = grid(40)
    volume.voxels_hu[:, :, :30] = padding  # x < 0
    assert part_seen(axis_of(path((-40.0, 0, 0), (40.0, 0, 0))), volume) == pytest.approx(0.5, abs=0.02)
    assert part_seen(axis_of(path((0.5, 0, 0), (140.0, 0, 0))), volume) == pytest.approx(59.5 / 139.5, abs=0.02)


def test_voxels_are_found_on_a_sheared_turned_grid() -> None:
    generator = np.random.default_rng(5)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0.0, -1.5, 0.2], [2.0, 0.1, 0.0], [0.0, 0.3, 1.1]])
    affine[:3, 3] = (10.0, -20.0, 30.0)
    voxels = generator.integers(-1000, 1000, (9, 8, 7)).astype(np.int16)
    volume = PlanningVolume(voxels_hu=voxels, affine_lps_from_ijk=affine)
    k, j, i = generator.integers(0, 7, 20), generator.integers(0, 8, 20), generator.integers(0, 7, 20)
    points = np.stack([i, j, k], axis=1) @ affine[:3, :3].T + affine[:3, 3]
    values, seen = hu_at(volume, points)
    assert seen.all()
    assert (values == voxels[k, j, i]).all()


def test_crossed_stretches() -> None:
    drawn = axis_of(path((-50.0, 0, 0), (50.0, 0, 0)))
    (part,) = crossed(drawn, Ball((10.0, 6.0, 0.0), 10.0))
    assert (part.start_mm, part.stop_mm) == pytest.approx((52.0, 68.0), abs=0.02)
    assert crossed(drawn, Ball((10.0, 16.0, 0.0), 10.0)) == ()
