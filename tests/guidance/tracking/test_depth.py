"""Depth against the plan, exact in 3D and by assumption in one view; and what the operator reads."""

import math
from dataclasses import replace

import numpy as np
import pytest

from guidance.tracking.depth import constrained_to_path, depth_of, depth_words
from guidance.tracking.place import instrument_3d
from tests.helpers.rods import view
from tests.helpers.seen_rods import PLAN, seen_in, told

ENTRY, TARGET = np.array(PLAN.entry_lps_mm), np.array(PLAN.target_lps_mm)
LENGTH = float(np.linalg.norm(TARGET - ENTRY))
WAY = (TARGET - ENTRY) / LENGTH


def line(depth_mm, aside=(0.0, 0.0, 0.0)):
    tip = ENTRY + depth_mm * WAY + np.array(aside)
    return np.array([tip - 80.0 * WAY, tip])


@pytest.mark.parametrize("depth_mm", [-5.0, 0.0, 40.0, LENGTH, LENGTH + 4.0])
@pytest.mark.parametrize("pose", [(180.0, 25.0), (150.0, 0.0), (-160.0, -30.0)])
def test_one_view_is_exact_on_the_plan(depth_mm, pose):
    gantry = view(*pose)
    one = seen_in(gantry, line(depth_mm))
    depth = constrained_to_path(PLAN, one.seen, gantry.pixel_from_patient())
    assert depth.assumed
    assert depth.depth_mm == pytest.approx(depth_mm, abs=1e-6)
    assert depth.to_target_mm == pytest.approx(LENGTH - depth_mm, abs=1e-6)
    assert depth.off_axis_mm == pytest.approx(0.0, abs=1e-6)
    assert depth.angle_deg == pytest.approx(0.0, abs=1e-6)
    assert 0.0 < depth.sigma_mm < 0.3


def test_one_view_sees_what_lies_beside_the_plan():
    gantry = view(180.0, 25.0)
    matrix = gantry.pixel_from_patient()
    source = -np.linalg.solve(matrix[:, :3], matrix[:, 3])
    ray = ENTRY + 40.0 * WAY - source
    seen_across = np.cross(WAY, ray / np.linalg.norm(ray))
    seen_across /= np.linalg.norm(seen_across)
    depth = constrained_to_path(PLAN, seen_in(gantry, line(40.0, 3.0 * seen_across)).seen, matrix)
    assert depth.off_axis_mm == pytest.approx(3.0, abs=0.06)
    assert depth.depth_mm == pytest.approx(40.0, abs=0.5)


def test_down_the_barrel_and_without_tip_it_is_unknown():
    gantry = view(180.0, 25.0)
    matrix = gantry.pixel_from_patient()
    source = -np.linalg.solve(matrix[:, :3], matrix[:, 3])
    down = replace(PLAN, entry_lps_mm=tuple(TARGET - 60.0 * (TARGET - source) / np.linalg.norm(TARGET - source)))
    one = seen_in(gantry, line(40.0))
    assert constrained_to_path(down, one.seen, matrix).reason == "the view runs along the path"
    hidden = constrained_to_path(PLAN, seen_in(gantry, line(40.0), tip=False).seen, matrix)
    assert hidden.depth_mm is None
    assert depth_words(PLAN, hidden) == "S1 left: depth unknown, its tip is outside the picture"


def test_two_views_need_no_assumption():
    aside = 2.5 * np.cross(WAY, (0.0, 0.0, 1.0)) / np.linalg.norm(np.cross(WAY, (0.0, 0.0, 1.0)))
    placed = instrument_3d([seen_in(view(180.0, s), line(30.0, aside)) for s in (25.0, -25.0)])
    depth = depth_of(PLAN, placed)
    assert not depth.assumed
    assert depth.depth_mm == pytest.approx(30.0, abs=1e-3)
    assert depth.off_axis_mm == pytest.approx(2.5, abs=1e-3)
    assert depth.angle_deg == pytest.approx(0.0, abs=1e-3)
    assert math.isfinite(depth.sigma_mm)
    assert depth_of(PLAN, instrument_3d([])).reason == "one view does not tell its depth"


@pytest.mark.parametrize(
    ("depth", "words"),
    [
        (told(), "S1 left: 23.4 mm to target"),
        (told(to_target_mm=-1.2), "S1 left: past target by 1.2 mm"),
        (told(to_target_mm=-0.04), "S1 left: 0.0 mm to target"),
        (told(off_axis_mm=1.26), "S1 left: 23.4 mm to target, 1.3 mm off axis"),
        (told(sigma_mm=0.6), "S1 left: 23.4 mm to target (+-1.2)"),
        (
            told(views=1, off_axis_mm=2.0),
            "S1 left: 23.4 mm to target, 2.0 mm off axis in this view, if on the planned path",
        ),
        (told(to_target_mm=None, depth_mm=None), "S1 left: depth unknown, not seen"),
    ],
)
def test_words(depth, words):
    assert depth_words(PLAN, depth) == words


def test_a_path_without_a_label_is_called_by_its_id():
    assert depth_words(replace(PLAN, label=" "), told()) == "P1: 23.4 mm to target"
