"""How fast a distance shrinks: 95 % early, calm in noise, quick in jumps."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.cement.approach import LONGEST_UNSEEN_S, Approach, Growth, observed, time_to_contact_s, way_since_mm

SIGMA_MM = 0.2


def followed(distances, *, rate_hz=15.0, sigma_mm=SIGMA_MM):
    approach = None
    for number, distance in enumerate(distances):
        approach = observed(approach, float(distance), sigma_mm, number / rate_hz)
    return approach


@pytest.mark.parametrize("rate_hz", [3.0, 7.5, 15.0, 30.0])
@pytest.mark.parametrize("speed_mm_s", [0.6, 2.0, 6.0])
def test_a_steady_front_is_told_early_and_not_far_too_early(rate_hz, speed_mm_s):
    random = np.random.default_rng(17)
    early, shares = 0, []
    runs = 150
    for _ in range(runs):
        times = np.arange(0.0, 3.0, 1.0 / rate_hz)
        truth = 6.0 + speed_mm_s * (times[-1] - times)
        approach = followed(truth + random.normal(0.0, 0.2, len(times)), rate_hz=rate_hz)
        told, left = time_to_contact_s(approach), truth[-1] / speed_mm_s
        if told is None:
            continue
        early += told <= left
        shares.append(told / left)
    assert len(shares) >= 0.9 * runs
    assert early >= 0.93 * len(shares)
    assert np.median(shares) > 0.45


def ball(seconds, *, rate_hz=15.0, gap_mm=6.0):
    """Distances to an outline, and radii, of cement that comes steadily: 0.15 ml/s."""
    times = np.arange(1, seconds * rate_hz) / rate_hz
    radii = 10.0 * (0.75 / np.pi * 0.15 * times) ** (1 / 3)
    return radii[-1] + gap_mm - radii, radii, times


def test_a_growing_ball_slows_down():
    """At the speed that it has after 3 s, 6 mm would take 9 s; they take 31 s."""
    distances, radii, times = ball(3.0)
    approach, radius = followed(distances), followed(radii, sigma_mm=0.0)
    end_s = np.pi * 4 / 3 * ((radii[-1] + 6.0) / 10.0) ** 3 / 0.15
    told = time_to_contact_s(approach, Growth(radius.distance_mm, radius.speed_mm_s))
    assert time_to_contact_s(approach) < 0.4 * (end_s - times[-1])
    assert 0.4 * (end_s - times[-1]) < told < end_s - times[-1]


def test_a_front_that_runs_ahead_of_the_body_keeps_its_speed():
    approach = followed([6.0 + 3.0 * (2.0 - number / 15) for number in range(31)])
    straight = time_to_contact_s(approach)
    assert time_to_contact_s(approach, Growth(8.0, 0.4)) == pytest.approx(straight)
    assert time_to_contact_s(approach, Growth(8.0, 2.9)) > 1.2 * straight


def test_the_first_second_tells_no_time():
    assert time_to_contact_s(followed([9.0 - 0.4 * number for number in range(14)])) is None
    assert time_to_contact_s(followed([9.0 - 0.4 * number for number in range(17)])) is not None


def test_a_front_that_stands_still_has_no_time():
    random = np.random.default_rng(3)
    told = [time_to_contact_s(followed(4.0 + random.normal(0.0, 0.25, 45))) for _ in range(200)]
    assert sum(time is not None for time in told) <= 0.06 * len(told)


def test_a_front_that_goes_away_has_no_time():
    assert time_to_contact_s(followed(3.0 + 0.1 * np.arange(40))) is None


def test_at_the_outline_no_time_is_left():
    assert time_to_contact_s(followed([0.5, 0.2, -0.1, -0.4, -0.8])) == 0.0


def test_one_wild_frame_changes_nothing_and_two_do():
    steady = [8.0] * 20
    one = followed([*steady, 0.5])
    assert one.distance_mm == pytest.approx(8.0, abs=0.2)
    assert followed([*steady, 0.5, 8.0]).distance_mm == pytest.approx(8.0, abs=0.2)
    assert followed([*steady, 0.5, 0.4]).distance_mm == pytest.approx(0.4, abs=0.01)
    # Two wild ones on different sides are no jump.
    assert followed([*steady, 0.5, 15.0]).distance_mm == pytest.approx(8.0, abs=0.3)


def test_a_jump_tells_no_speed_at_first():
    """Something far off appears and grows towards the zone: its speed counts after 0.3 s."""
    jumped = [20.0] * 20 + [9.0 - 0.4 * number for number in range(12)]
    assert time_to_contact_s(followed(jumped[:23])) is None
    assert time_to_contact_s(followed(jumped[:30])) is not None


def test_far_off_there_is_no_time():
    assert time_to_contact_s(followed([100.0 - 1.0 * number for number in range(30)])) is None


def test_time_that_does_not_go_on_is_left_out():
    before = followed([5.0, 4.9, 4.8])
    assert observed(before, 1.0, SIGMA_MM, before.at_s) is before
    assert observed(before, 1.0, SIGMA_MM, before.at_s - 3.0) is before


def test_after_a_pause_the_speed_is_not_known():
    approach = observed(followed([5.0 - 0.2 * number for number in range(20)]), 1.2, SIGMA_MM, 30.0)
    assert approach.distance_mm == 1.2
    assert time_to_contact_s(approach) is None
    # What came meanwhile is seen little by little: that is no speed, for a second.
    for number in range(1, 13):
        approach = observed(approach, 1.2 - 0.05 * number, SIGMA_MM, 30.0 + number / 15)
        assert time_to_contact_s(approach) is None


def test_what_was_there_from_the_start_is_known():
    assert followed([-1.0, -1.0, -1.2, -1.3]).began_inside
    # Within the first second it came there; later it ran there.
    assert followed([3.0 - 0.4 * number for number in range(12)]).began_inside
    assert not followed([3.0 - 0.15 * number for number in range(30)]).began_inside


numbers = st.floats(-50.0, 50.0)


@given(st.lists(numbers, min_size=1, max_size=40), st.floats(0.0, 5.0), st.sampled_from([0.5, 3.0, 30.0]))
def test_it_never_breaks(distances, sigma_mm, rate_hz):
    approach = followed(distances, rate_hz=rate_hz, sigma_mm=sigma_mm)
    numbers = (approach.distance_mm, approach.speed_mm_s, approach.variance_mm2, approach.variance_mm2_s2)
    assert all(math.isfinite(number) for number in numbers)
    assert approach.variance_mm2 >= 0.0
    assert approach.variance_mm2_s2 >= 0.0
    told = time_to_contact_s(approach)
    assert told is None or (math.isfinite(told) and told >= 0.0)


@given(st.floats(0.5, 20.0), st.floats(0.1, 10.0), st.floats(0.0, 3.0), st.floats(0.0, 3.0))
def test_more_uncertainty_never_gives_more_time(distance, closing, sigma, more):
    def told(sigma_mm):
        approach = Approach(
            distance_mm=distance, speed_mm_s=-closing, variance_mm2_s2=(0.2 * closing) ** 2, at_s=3.0, since_s=0.0,
            sigma_mm=sigma_mm, count=9,
        )  # fmt: skip
        return time_to_contact_s(approach)

    assert told(sigma + more) <= told(sigma) + 1e-9
    assert told(sigma) <= distance / closing + 1e-9


@pytest.mark.parametrize("unseen_s", [1.0, 4.0, 10.0])
def test_cement_that_nobody_looks_at_goes_on_as_it_went(unseen_s):
    distances, radii, times = ball(3.0)
    approach, radius = followed(distances), followed(radii, sigma_mm=0.0)
    growth = Growth(radius.distance_mm, radius.speed_mm_s)
    true_mm = 10.0 * (0.75 / np.pi * 0.15 * (times[-1] + unseen_s)) ** (1 / 3) - radii[-1]
    assert way_since_mm(approach, growth, unseen_s) == pytest.approx(true_mm, rel=0.25)
    ahead = followed([30.0 - 3.0 * number / 15 for number in range(31)])
    assert way_since_mm(ahead, growth, unseen_s) == pytest.approx(3.0 * unseen_s, rel=0.05)


def test_what_did_not_come_nearer_is_not_said_to_have():
    assert way_since_mm(followed([8.0] * 20), None, 5.0) == 0.0
    assert way_since_mm(followed([8.0 + 0.1 * number for number in range(20)]), None, 5.0) == 0.0
    assert way_since_mm(followed([8.0]), None, 5.0) == 0.0
    runs = followed([30.0 - 0.2 * number for number in range(20)])
    assert way_since_mm(runs, None, 1e6) == way_since_mm(runs, None, LONGEST_UNSEEN_S)
    assert way_since_mm(runs, None, -1.0) == 0.0
