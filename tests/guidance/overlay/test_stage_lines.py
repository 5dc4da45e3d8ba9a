"""Stages of a path, told apart without colour; bevel and side holes where the instrument has them."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from guidance.messages import PathStage, PlannedPath
from guidance.overlay.stage_lines import bevel_direction, dashes, instrument_of
from guidance.overlay.zones import PathAid
from tests.helpers.drawn import PX_PER_MM, draw, pixels_of, view

ACROSS = PlannedPath(
    id="P1", entry_lps_mm=(45, 0, 0), target_lps_mm=(-45, 0, 0), diameter_mm=8.0, label="S1", color="#00ff00"
)
RIM = round(511.5 - 4.0 * PX_PER_MM)


def drawn(stage, angles=(0, 0), aids=None, **fields):
    return draw((replace(ACROSS, stage=stage, **fields),), view(*angles), aids=aids)


def along_rim(layer):
    """Which part of the tube's upper outline is lit, the ends and their marks aside, and how wide it is."""
    columns = slice(round(511.5 - 35 * PX_PER_MM), round(511.5 + 35 * PX_PER_MM))
    near = layer[RIM - 5 : RIM + 6, columns, 3] > 60
    return near.any(axis=0).mean(), near.sum(axis=0).max() if near.any() else 0, near


def test_planned_is_what_it_was():
    plain, layer = draw((ACROSS,), view(20, 5))
    again, same = drawn(PathStage.PLANNED, (20, 5))
    np.testing.assert_array_equal(layer, same)
    np.testing.assert_array_equal(plain.strokes, again.strokes)


def test_each_stage_draws_other_pixels():
    layers = {stage: drawn(stage)[1][..., 3] > 0 for stage in PathStage}
    for one in PathStage:
        for other in PathStage:
            if one is not other:
                assert (layers[one] ^ layers[other]).sum() > 150, (one, other)


@pytest.mark.parametrize("stage", list(PathStage))
@pytest.mark.parametrize("angles", [(0, 0), (40, 20), (90, 0), (88.8, 0.5)])
def test_all_of_a_stage_has_the_paths_colour_and_the_page_gets_the_same(stage, angles):
    aids = {"P1": PathAid(side_hole_depths_mm=(5.0, 12.0, 500.0, -1.0))}
    scene, layer = drawn(stage, angles, aids=aids, bevel_deg=30.0)
    strokes, ends = scene.strokes, []
    assert (strokes[:, 5:] == (0, 255, 0)).all()
    assert len(pixels_of(layer, ACROSS.color)) > 100
    for vector in scene.vectors:
        if vector.kind == "line":
            assert vector.path_id == "P1"
            points = np.reshape(vector.points, (-1, 2))
            joined = np.concatenate((points, points[:1] if vector.closed else points[:0]))
            ends += [(*a, *b, vector.width_px / 2) for a, b in itertools.pairwise(joined)]
    np.testing.assert_allclose(np.array(ends), strokes[:, :5], atol=0.006)


def test_placed_is_dashed_around_a_solid_pin():
    lit, _, _ = along_rim(drawn(PathStage.PLACED)[1])
    assert 0.45 < lit < 0.75  # 8 of 14 px, ticks on top
    whole, _, _ = along_rim(drawn(PathStage.PLANNED)[1])
    assert whole == 1.0
    pin = drawn(PathStage.PLACED)[1][500:524, 560, 3]
    thin = drawn(PathStage.PLANNED)[1][500:524, 560, 3]
    assert pin.astype(int).sum() > 2.5 * thin.astype(int).sum()


def test_verified_has_a_whole_outline_a_pin_and_a_second_ring():
    lit, _, _ = along_rim(drawn(PathStage.VERIFIED)[1])
    assert lit == 1.0
    entry_u = round(511.5 + 45 * PX_PER_MM)
    rows = [drawn(stage)[1][512:600, entry_u + 3, 3] for stage in (PathStage.PLACED, PathStage.VERIFIED)]
    assert rows[1].astype(int).sum() > rows[0].astype(int).sum() + 200


def test_a_screw_is_thick_without_ticks_and_with_its_holes():
    aids = {"P1": PathAid(side_hole_depths_mm=(10.0, 20.0))}
    scene, layer = drawn(PathStage.SCREW_IN, aids=aids)
    lit, width, near = along_rim(layer)
    assert lit == 1.0
    assert 3 <= width <= 4
    assert np.ptp(near.sum(axis=0)) <= 1  # no tick crosses it
    assert not layer[512, 560, 3]  # no centreline
    holes = [line for line in scene.lines if line.closed and len(line.points) == 12]
    middles = [line.points.mean(axis=0) for line in holes]
    expected = [(511.5 + (-45 + depth) * PX_PER_MM, 511.5) for depth in (10.0, 20.0)]
    np.testing.assert_allclose(middles, expected, atol=0.01)
    assert not [line for line in drawn(PathStage.VERIFIED, aids=aids)[0].lines if len(line.points) == 12]


def test_cemented_is_a_hatched_screw():
    screw, cement = (drawn(stage)[1][490:534, 300:700, 3] > 0 for stage in (PathStage.SCREW_IN, PathStage.CEMENTED))
    assert cement.sum() > 2 * max(screw.sum(), 300)
    down = drawn(PathStage.CEMENTED, (90, 0))[1]
    assert down[511, 511, 3] > 0  # crossed


@pytest.mark.parametrize(
    ("axis", "bevel_deg", "expected"),
    [
        # Looking from the patient's left to the right: up is the head, on the right hand lies the back.
        pytest.param((-1, 0, 0), 0.0, (0, 0, 1), id="head"),
        pytest.param((-1, 0, 0), 90.0, (0, 1, 0), id="clockwise"),
        pytest.param((-1, 0, 0), -90.0, (0, -1, 0), id="anticlockwise"),
        # From the back to the front of a prone patient, head up: on the right hand lies the patient's right side.
        pytest.param((0, -1, 0), 90.0, (-1, 0, 0), id="from the back"),
        pytest.param((0, 0, -1), 0.0, (0, -1, 0), id="along the body, to the front"),
        pytest.param((0, 0.2, -0.98), 180.0, (0, 0.98, 0.2), id="nearly along the body"),
    ],
)
def test_the_bevels_direction(axis, bevel_deg, expected):
    axis = np.array(axis) / np.linalg.norm(axis)
    found = np.array(bevel_direction(axis, bevel_deg))
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert abs(found @ axis) < 1e-12


def test_the_bevels_mark_points_where_it_opens():
    def mark(bevel_deg, angles=(0, 0)):
        scene, _ = drawn(PathStage.PLANNED, angles, bevel_deg=bevel_deg)
        without, _ = drawn(PathStage.PLANNED, angles)
        return scene.lines[len(without.lines) :]

    tip = np.array((511.5 - 45 * PX_PER_MM, 511.5))
    up, down = mark(0.0)[0].points, mark(180.0)[0].points
    np.testing.assert_allclose(up - tip, [(0, -4 * PX_PER_MM), (0, -4 * PX_PER_MM - 16)], atol=0.01)
    np.testing.assert_allclose(down - tip, [(0, 4 * PX_PER_MM), (0, 4 * PX_PER_MM + 16)], atol=0.01)
    # At 90 deg it opens to the back, away from a detector in front: a dashed ring; turned to it, a whole one.
    (away,) = mark(90.0)
    (towards,) = mark(270.0)
    assert (away.apart, towards.closed) == (True, True)
    for ring in (away, towards):
        np.testing.assert_allclose((ring.points.min(axis=0) + ring.points.max(axis=0)) / 2, tip, atol=1.5)
    # From behind the same bevel opens to who looks.
    assert mark(90.0, (180, 0))[0].closed


def test_holes_off_the_instrument_are_left_out():
    assert len(instrument_of(ACROSS, (0.0, 90.0, 90.1, -0.1)).side_holes_lps_mm) == 2


def test_dashes_bend_with_their_line_and_are_no_more_than_can_be_drawn():
    circle = 40.0 * np.stack((np.cos(np.arange(96) * np.pi / 48), np.sin(np.arange(96) * np.pi / 48)), axis=1)
    ends = dashes(circle, 1.0).reshape(-1, 2, 2)
    length = np.hypot(*(ends[:, 1] - ends[:, 0]).T).sum()
    assert length == pytest.approx(2 * np.pi * 40.0 * 8 / 14, rel=0.01)
    assert np.abs(np.hypot(*ends.reshape(-1, 2).T) - 40.0).max() < 0.1
    assert len(dashes(1e6 * circle, 1.0)) == 2 * 4 * 128
    assert np.isfinite(dashes(np.zeros((4, 2)), 1.0)).all()
