"""Where a C-arm can go, and the words for why not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.geometry.positioner import (
    PATIENT_POSITIONS,
    isocenter_from_positioner,
    lps_from_equipment,
    positioner_axes,
    positioner_from_isocenter,
)
from guidance.planning.c_arms import DEFAULT_C_ARM, c_arm_library
from guidance.planning.collision import Couch
from guidance.planning.reach import directions_of, reach_of

MODEL = c_arm_library().find(DEFAULT_C_ARM)
MIDDLE = Couch((0.0, 0.0), (190.0, 120.0), True)
FREE = Couch((0.0, 0.0), (1.0, 1.0), True)
POSITIONS = st.sampled_from(PATIENT_POSITIONS)


def direction(primary, secondary):
    return -positioner_axes(primary, secondary)[1]


@given(st.floats(-180, 180), st.floats(-89, 89), POSITIONS)
def test_stand_angles_are_those_of_the_geometry_room(primary, secondary, position):
    reach = reach_of(MODEL, MIDDLE, position)
    own_primary, own_secondary = reach.equipment_deg(direction(primary, secondary)[None])
    told = isocenter_from_positioner(primary, secondary, 0.0, position)
    assert np.cos(np.radians(own_primary[0] - told[0])) == pytest.approx(1.0, abs=1e-9)
    assert own_secondary[0] == pytest.approx(told[1], abs=1e-6)


@given(st.floats(-180, 180), st.floats(-90, 90), POSITIONS)
def test_words_exactly_where_it_is_not_reachable_and_the_same_in_every_position(primary, secondary, position):
    in_room = direction(primary, secondary)
    reach = reach_of(MODEL, MIDDLE, position)
    toward = lps_from_equipment(position) @ in_room
    assert bool(reach.reachable(toward[None])[0]) == (reach.why_not(toward) == "")
    supine = reach_of(MODEL, MIDDLE, "HFS")
    assert bool(supine.reachable(in_room[None])[0]) == bool(reach.reachable(toward[None])[0])


@pytest.mark.parametrize(
    ("position", "stand", "words"),
    [
        ("HFS", (0.0, -58.0), "secondary -58 beyond caudal limit -45"),
        ("HFP", (0.0, -58.0), "secondary -58 beyond caudal limit -45"),
        ("FFS", (0.0, -58.0), "secondary 58 beyond cranial limit 45"),
        ("HFS", (130.0, 0.0), "primary 130 beyond limit 110"),
        ("HFS", (-130.0, 0.0), "primary -130 beyond limit -110"),
        ("HFP", (-130.0, 0.0), "primary 50 is -130 on the stand, beyond its limit -110"),
        ("HFS", (170.0, 50.0), "secondary 50 beyond cranial limit 45 and primary 170 beyond limit 110"),
    ],
)
def test_limits_in_an_operators_words(position, stand, words):
    told = positioner_from_isocenter(*stand, 0.0, position)
    assert reach_of(MODEL, FREE, position).why_not(direction(*told[:2])) == words


def test_collisions_in_an_operators_words():
    low = Couch((0.0, 260.0), (190.0, 120.0), False)
    assert reach_of(MODEL, low, "HFS").why_not(direction(0.0, 0.0)) == "X-ray tube meets the table"
    wide = Couch((0.0, 0.0), (440.0, 120.0), False)
    assert reach_of(MODEL, wide, "HFS").why_not(direction(90.0, 0.0)) == "X-ray tube meets the patient"
    close = Couch((0.0, 0.0), (190.0, 415.0), False)
    words = reach_of(MODEL, close, "HFS").why_not(direction(0.0, 0.0))
    assert words == "X-ray tube meets the table"
    near = Couch((0.0, -300.0), (190.0, 120.0), False)
    assert (
        reach_of(MODEL, near, "HFS").why_not(direction(0.0, 0.0))
        == "detector comes within 10 mm of the patient, less than 20 mm"
    )


def test_several_ranges_are_a_union():
    ceiling = c_arm_library().find("generic_ceiling")
    reach = reach_of(ceiling, FREE, "HFS")
    assert reach.why_not(direction(0.0, 50.0)) == ""
    assert reach.why_not(direction(100.0, 0.0)) == ""
    assert "beyond cranial limit" in reach.why_not(direction(100.0, 50.0))


def test_directions_of_are_the_geometry_rooms():
    angles = np.random.default_rng(1).uniform((-180, -90), (180, 90), (40, 2))
    for (primary, secondary), got in zip(angles, directions_of(*angles.T), strict=True):
        np.testing.assert_allclose(got, direction(primary, secondary), atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_best_is_the_best_of_all_reachable_angles(seed):
    """Brute force over the whole degrees of the stand's ranges."""
    random = np.random.default_rng(seed)
    position = PATIENT_POSITIONS[seed]
    reach = reach_of(MODEL, MIDDLE, position)
    wanted, axis = random.normal(size=(2, 3))
    wanted, axis = wanted / np.linalg.norm(wanted), axis / np.linalg.norm(axis)

    def scores(toward):
        return toward @ wanted * 60.0 - np.degrees(np.arcsin(np.abs(toward @ axis)))

    found = reach.best(scores, np.empty((0, 3)), axis)
    grid = np.array([(p, s) for p in range(-110, 111) for s in range(-45, 46)], np.float64)
    every = directions_of(*grid.T) @ lps_from_equipment(position).T
    every = every[reach.reachable(every)]
    assert scores(found[None])[0] >= scores(every).max() - 0.02
    assert reach.reachable(found[None])[0]
