"""A balloon is followed, told apart from cement once it is gone, and leaves a cavity where cement is expected."""

from dataclasses import replace

import numpy as np
import pytest

from guidance.cement.balloon import BalloonFollower, BalloonState
from guidance.cement.fusion import BodyEstimator
from guidance.config import CementSettings
from tests.helpers.cement_bodies import Lump, camera, lump, ray_lengths, seen
from tests.helpers.cement_zones import fields, tube

AP, LATERAL = camera(180.0).pixel_from_patient, camera(90.0).pixel_from_patient
SECOND = 1_000_000_000
FULL_MM = 8.0


def ball(radius_mm):
    return lump(0, radius_mm=radius_mm, rough=0.0, share=1.0)


def view_of(body, matrix, *, at_s=0.0, device="FluoroA"):
    return seen(ray_lengths((body,), matrix), matrix, device=device, received_ns=round(at_s * SECOND), noise_mm=0.05)


def nothing():
    return Lump(ball(2.0).share * np.float32(0.0), ball(2.0).first_lps_mm)


@pytest.mark.parametrize("told", [True, False])
def test_it_fills_empties_and_is_gone(told):
    follower = BalloonFollower(told=told)
    states = [
        follower.follow(view_of(ball(radius), AP, at_s=n))
        for n, radius in enumerate((3.0, 6.0, FULL_MM, FULL_MM, 6.0, 6.0, 5.5, 5.0))
    ]
    assert states[3] is (BalloonState.FILLED if told else BalloonState.NONE)
    assert states[-1] is (BalloonState.EMPTYING if told else BalloonState.NONE)
    empty = [follower.follow(view_of(nothing(), AP, at_s=9 + n)) for n in range(4)]
    assert empty[-1] is BalloonState.GONE
    assert follower.follow(view_of(ball(6.0), AP, at_s=20)) is BalloonState.GONE  # cement, now


def test_one_bad_frame_empties_no_balloon():
    follower = BalloonFollower(told=True)
    for n in range(3):
        follower.follow(view_of(ball(FULL_MM), AP, at_s=n))
    follower.follow(view_of(nothing(), AP, at_s=3))
    assert follower.follow(view_of(ball(FULL_MM), AP, at_s=4)) is BalloonState.FILLED


def test_a_hand_over_it_is_no_emptying():
    follower = BalloonFollower(told=True)
    follower.follow(view_of(ball(FULL_MM), AP))
    for n in range(6):
        view = view_of(nothing(), AP, at_s=1.0 + n)
        follower.follow(replace(view, blind=np.ones_like(view.blind)))
    assert follower.state is BalloonState.FILLED


def test_frames_that_do_not_see_change_nothing():
    follower = BalloonFollower(told=True)
    follower.follow(view_of(ball(FULL_MM), AP))
    for _ in range(6):
        follower.follow(replace(view_of(nothing(), AP), seen=False))
    assert follower.state is BalloonState.FILLED


def test_cement_that_only_grows_is_never_a_balloon():
    follower = BalloonFollower()
    for n, radius in enumerate((2.0, 4.0, 6.0, 7.0, 7.0, 7.0)):
        assert follower.follow(view_of(ball(radius), AP, at_s=n)) is BalloonState.NONE


@pytest.mark.parametrize("opacity", [0.5, 1.0])
def test_its_volume_is_told_and_no_zone_is_touched(opacity):
    """Contrast has not the cement's opacity: the outlines tell the volume."""
    through = tube(1, (0.0, -25.0, 0.0), (0.0, 20.0, 0.0))
    found = BodyEstimator(None, fields(through), CementSettings())
    found.follow_balloon(True)
    for matrix, device in ((AP, "A"), (LATERAL, "B")):
        view = view_of(ball(FULL_MM), matrix, device=device)
        found.add(replace(view, thickness_mm=view.thickness_mm * np.float32(opacity)))
    told = found.body(0)
    assert told.balloon_ml == pytest.approx(ball(FULL_MM).volume_ml, rel=0.1)
    assert told.volume_ml == 0.0
    assert not told.sites[0].touches
    assert "balloon" in told.reason


@pytest.mark.parametrize("views", [((AP, "A"),), ((AP, "A"), (LATERAL, "B"))])
def test_where_no_thickness_is_told_nobody_says_that_there_is_no_cement_in_the_balloons_shadow(views):
    found = BodyEstimator(None, (), CementSettings())
    found.follow_balloon(True)
    for matrix, device in views:
        view = view_of(ball(FULL_MM), matrix, device=device)
        found.add(replace(view, thickness_mm=None, thickness_sum_mm_px=None))
    told = found.body(0)
    assert (told.volume_ml, told.volume_low_ml, told.volume_high_ml) == (None, None, None)
    assert "balloon" in told.reason


@pytest.mark.parametrize("told", [True, False])
def test_what_comes_after_it_is_cement_and_expected_in_its_cavity(told):
    found = BodyEstimator(None, (), CementSettings())
    found.follow_balloon(told)
    for n, radius in enumerate((4.0, FULL_MM, FULL_MM)):
        found.add(view_of(ball(radius), AP, at_s=n))
        found.add(view_of(ball(radius), LATERAL, at_s=n, device="FluoroB"))
        found.body(n * SECOND)
    for n in range(5):
        found.add(view_of(nothing(), AP, at_s=4 + n))
        found.add(view_of(nothing(), LATERAL, at_s=4 + n, device="FluoroB"))
        empty = found.body((4 + n) * SECOND)
    assert empty.volume_ml == 0.0
    assert empty.balloon_ml == pytest.approx(ball(FULL_MM).volume_ml, rel=0.15)
    expected = found.expected(view_of(nothing(), AP, at_s=9))
    shadow = ray_lengths((ball(FULL_MM),), AP) > 0.5
    assert np.count_nonzero(expected.astype(bool) & shadow) > 0.9 * np.count_nonzero(shadow)
    elsewhere = camera(140.0).pixel_from_patient
    other = found.expected(view_of(nothing(), elsewhere, at_s=9))
    shadow = ray_lengths((ball(FULL_MM),), elsewhere) > 0.5
    both = np.count_nonzero(other.astype(bool) & shadow)
    assert 2.0 * both / (np.count_nonzero(other) + np.count_nonzero(shadow)) > 0.9
    cement = lump(3, radius_mm=5.0)
    found.add(view_of(cement, AP, at_s=10))
    found.add(view_of(cement, LATERAL, at_s=10, device="FluoroB"))
    assert found.body(10 * SECOND).volume_ml == pytest.approx(cement.volume_ml, rel=0.12)


def test_without_a_balloon_nothing_is_expected_anywhere():
    found = BodyEstimator(None, (), CementSettings())
    view = view_of(ball(5.0), AP)
    found.add(view)
    assert found.expected(view) is None


def test_a_view_that_is_lost_for_some_frames_empties_no_balloon():
    follower = BalloonFollower(told=True)
    follower.follow(view_of(ball(FULL_MM), AP))
    for n in range(6):
        follower.follow(view_of(nothing(), AP, at_s=1.0 + 0.1 * n))
    assert follower.follow(view_of(ball(FULL_MM), AP, at_s=1.8)) is BalloonState.FILLED


def test_cement_that_comes_after_it_emptied_while_nobody_looked_is_no_balloon():
    """Full when a view was left; another view, new, and the first one again show cement that comes."""
    follower = BalloonFollower(told=True)
    for n in range(4):
        follower.follow(view_of(ball(FULL_MM), LATERAL, at_s=n))
    states = [
        follower.follow(view_of(ball(3.0 * (1.0 + n) ** (1 / 3)), AP, at_s=8 + 0.5 * n, device="FluoroB"))
        for n in range(8)
    ]
    assert states[0] is BalloonState.FILLED
    assert states[3] is BalloonState.EMPTYING
    assert states[-1] is BalloonState.GONE


def test_what_is_left_in_a_balloon_that_empties_may_be_cement():
    found = BodyEstimator(None, (), CementSettings())
    found.follow_balloon(True)
    for n, radius in enumerate((FULL_MM, FULL_MM, 5.0, 5.0, 5.0, 5.0)):
        for device, matrix in (("FluoroA", AP), ("FluoroB", LATERAL)):
            found.add(view_of(ball(radius), matrix, at_s=n, device=device))
        told = found.body(n * SECOND)
        if n == 1:
            assert told.volume_ml == 0.0
    assert told.volume_ml is None
    assert told.volume_low_ml == 0.0
    assert told.volume_high_ml > 4.0 / 3.0 * np.pi * 5.0**3 / 1000.0


def test_cement_that_a_blade_hid_and_that_is_seen_again_makes_no_balloon_of_what_none_was_told_of():
    follower = BalloonFollower(told=False)
    for n, radius in enumerate((6.0, FULL_MM, 5.0, 5.0, 5.0, 5.0, 7.0, 7.5, FULL_MM, FULL_MM, 9.0)):
        assert follower.follow(view_of(ball(radius), AP, at_s=n)) is BalloonState.NONE
