"""An instrument over time: noise goes, jumps wait, motion is told."""

import numpy as np
import pytest

from guidance.tracking.track import InstrumentMotion, InstrumentTrack, observe
from tests.helpers.seen_rods import VIEWS, points_of, seen_in, told

SEEN = seen_in(VIEWS[0], points_of()).seen
FRAME_NS = 66_000_000


def followed(depths, *, start_ns=10**9, sigma_mm=0.2, track=None):
    track = track or InstrumentTrack(path_id="P1")
    for number, depth in enumerate(depths):
        found = None if depth is None else told(depth_mm=depth, to_target_mm=60.0 - depth, sigma_mm=sigma_mm)
        seen = None if depth is None else SEEN
        track = observe(track, seen, found, received_ns=start_ns + number * FRAME_NS)
    return track


def test_standing_still_the_noise_goes():
    rng = np.random.default_rng(1)
    track = followed(30.0 + rng.normal(0.0, 0.2, 30))
    assert track.motion is InstrumentMotion.STILL
    assert track.speed_mm_s == 0.0
    assert track.depth.depth_mm == pytest.approx(30.0, abs=0.15)
    assert track.depth.to_target_mm == pytest.approx(60.0 - track.depth.depth_mm)


@pytest.mark.parametrize(("speed", "motion"), [(5.0, "advancing"), (-5.0, "withdrawing")])
def test_moving_it_does_not_lag(speed, motion):
    rng = np.random.default_rng(2)
    truth = 30.0 + speed * np.arange(30) * FRAME_NS * 1e-9
    track = followed(truth + rng.normal(0.0, 0.1, 30), sigma_mm=0.1)
    assert track.motion == motion
    assert track.speed_mm_s == pytest.approx(speed, abs=0.5)
    assert track.depth.depth_mm == pytest.approx(truth[-1], abs=0.2)


def test_one_wrong_finding_is_never_told():
    track = followed([30.0] * 10)
    track = followed([45.0], track=track, start_ns=10**9 + 10 * FRAME_NS)
    assert track.depth.depth_mm is None
    assert track.depth.to_target_mm is None
    assert "jumped" in track.depth.reason
    track = followed([30.0], track=track, start_ns=10**9 + 11 * FRAME_NS)
    assert track.depth.depth_mm == pytest.approx(30.0)
    assert track.jumps == 1


def test_a_confirmed_jump_is_where_it_is_now():
    track = followed([30.0] * 10 + [40.0, 40.1])
    assert track.depth.depth_mm == pytest.approx(40.1, abs=0.1)
    assert track.jumps == 1


def test_not_found_is_not_told():
    track = followed([30.0] * 10 + [None])
    assert track.seen is None
    assert track.depth is None
    assert track.samples


def test_time_that_runs_backwards_or_long_gaps_begin_anew():
    track = followed([30.0] * 10)
    for received_ns in (5, 10**10):
        fresh = observe(track, SEEN, told(depth_mm=50.0, to_target_mm=10.0), received_ns=received_ns)
        assert fresh.depth.depth_mm == 50.0
        assert len(fresh.samples) == 1
        assert fresh.motion is InstrumentMotion.UNKNOWN
