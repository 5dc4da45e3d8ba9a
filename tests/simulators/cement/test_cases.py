"""Cases: told by their seeds, tuning apart from scoring, every factor there; frames in order, references before 0."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from simulators.cement.case import CementCase
from simulators.cement.cases import case_of, scoring_cases, shots_of, tuning_cases
from simulators.cement.looks import REFERENCE_FRAMES, motion_of
from simulators.cement.patients import PATIENTS
from simulators.cement.pelvis_places import PLACES


def test_tuning_and_scoring_share_no_seed():
    tuning, scoring = ({case.seed for case in cases(400)} for cases in (tuning_cases, scoring_cases))
    assert len(tuning) == len(scoring) == 400
    assert not tuning & scoring
    with pytest.raises(ValueError, match="seeds"):
        tuning_cases(10**6)


def test_a_seed_tells_its_case_whatever_else_is_asked_for():
    few, many = {case.seed: case for case in scoring_cases(30)}, {case.seed: case for case in scoring_cases(240)}
    assert all(many[seed] == case for seed, case in few.items())
    assert all(case_of(seed) == case for seed, case in few.items())


def test_every_place_has_the_ways_that_its_cases_ask_for():
    ways = {name: {way.kind for way in make(PATIENTS["usual"]).ways} for name, make in PLACES.items()}
    for case in (*tuning_cases(240), *scoring_cases(240)):
        assert set(case.leaks) <= ways[case.place] | {"needle_track", "skin"}, case.name
        assert ("skin" in case.leaks) <= (case.withdraw_s is not None)


def test_240_scoring_cases_hold_enough_of_everything():
    cases = scoring_cases(240)
    nominal = [case for case in cases if case.dose == 1.0]
    assert 100 <= len(nominal) <= 160
    assert {case.dose for case in cases} == {0.25, 0.5, 1.0, 2.0, 4.0}
    assert {case.rate_hz for case in cases} == {3.0, 4.0, 7.5, 15.0, 30.0}
    assert {case.patient for case in cases} == set(PATIENTS)
    kinds = Counter(kind for case in cases for kind in case.leaks)
    assert min(kinds[kind] for kind in ("foramen", "canal", "vein")) >= 32
    assert min(kinds.values()) >= 8
    assert 50 <= sum(not case.leaks for case in cases) <= 100
    for what in ("withdraw_s", "pause_s", "balloon_s", "kvp_step_s", "move_s", "pan_s", "blades_s", "hand_s"):
        assert sum(getattr(case, what) is not None for case in cases) >= 5, what
    for what in ("metal", "old_cement", "blades", "shutter", "vein_marked", "target_marked"):
        assert 5 <= sum(getattr(case, what) for case in cases) <= 235, what
    assert max(len(shots_of(case)) for case in cases) < 1500


def test_leak_dose_and_rate_are_drawn_apart():
    """No dose or rate belongs to tight cases alone: their share is the same within chance."""
    cases = tuning_cases(600)
    tight = np.array([not case.leaks for case in cases])
    for values in (np.array([case.dose for case in cases]), np.array([case.rate_hz for case in cases])):
        for value in np.unique(values):
            own = values == value
            spread = np.sqrt(tight.mean() * (1.0 - tight.mean()) / own.sum())
            assert abs(tight[own].mean() - tight.mean()) < 4.0 * spread


@pytest.mark.parametrize("views", ["biplane", "ap_lateral", "lateral_then_ap", "ap", "lateral"])
def test_frames_come_in_order_with_their_reference_before_the_start(views):
    case = CementCase(seed=1, views=views, rate_hz=10.0, duration_s=20.0)
    shots = shots_of(case)
    times = [shot.t_s for shot in shots]
    assert times == sorted(times)
    assert len(set(times)) == len(times)
    assert max(times) < 20.1
    for index in {shot.view_index for shot in shots}:
        own = [shot for shot in shots if shot.view_index == index]
        assert [shot.frame_index for shot in own] == list(range(len(own)))
        before = [shot for shot in own if shot.t_s < 0.0]
        has_reference = not (views == "lateral_then_ap" and index == 1)
        assert len(before) == (REFERENCE_FRAMES if has_reference else 0)
        steps = np.diff([shot.t_s for shot in own])
        assert np.median(steps) == pytest.approx(0.1, abs=1e-5)
    if views in ("ap_lateral", "lateral_then_ap"):
        # One plane: never two places within the time that the C-arm needs from one to the other.
        turns = [after.t_s - first.t_s for first, after in pairwise(shots) if first.view_index != after.view_index]
        assert len(turns) >= 2
        assert min(turns) > 1.5


def test_a_patient_that_moves_stays_where_they_went():
    case = CementCase(seed=3, breath_mm=0.0, move_s=5.0)
    motion = motion_of(case)
    assert motion.at(4.9) == pytest.approx((0.0,) * 6)
    assert np.abs(motion.at(6.1)).max() > 0.5
    assert motion.at(6.1) == pytest.approx(motion.at(20.0))
    assert motion_of(replace(case, move_s=None)).at(20.0) == pytest.approx((0.0,) * 6)
