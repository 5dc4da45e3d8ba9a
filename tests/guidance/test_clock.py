"""The sender clock's fit: offset found under jitter, drift followed, a frozen or set clock told apart."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.clock import SenderClock, ns_from_igtl, observe

_S = 1_000_000_000
_FRAME = _S // 30


def _run(
    clock: SenderClock, frames: int, *, offset_ns: int, drift: float, seed: int, start_ns: int = 10**18
) -> SenderClock:
    jitter = random.Random(seed)
    for index in range(frames):
        sender_ns = start_ns + index * _FRAME
        delay_ns = int(jitter.expovariate(1 / 3e6))
        clock = observe(clock, sender_ns, round(sender_ns + offset_ns + drift * index * _FRAME) + delay_ns)
    return clock


@pytest.mark.parametrize("drift", [0.0, 50e-6, -50e-6])
def test_offset_and_drift_are_found_under_jitter(drift: float) -> None:
    frames = 30 * 60
    clock = _run(SenderClock(), frames, offset_ns=-(10**18) + 5 * _S, drift=drift, seed=1)
    last_ns = 10**18 + (frames - 1) * _FRAME
    truth_ns = 5 * _S + (frames - 1) * _FRAME + drift * (frames - 1) * _FRAME
    found_ns = clock.monotonic_ns(last_ns)
    assert found_ns is not None
    assert abs(found_ns - truth_ns) < 1e6
    assert clock.sound
    assert clock.steps == 0


def test_a_standing_timestamp_is_a_frozen_clock_and_recovers() -> None:
    clock = observe(SenderClock(), 10**18, 5)
    for index in range(4):
        assert not clock.frozen
        clock = observe(clock, 10**18, 10 + index)
    assert clock.frozen
    assert not clock.sound
    assert not observe(clock, 10**18 + _FRAME, 5 + _FRAME).frozen


def test_one_late_frame_is_no_step_but_a_set_clock_is() -> None:
    clock = _run(SenderClock(), 60, offset_ns=0, drift=0.0, seed=2)
    sender_ns = 10**18 + 60 * _FRAME
    late = observe(clock, sender_ns, sender_ns + 4 * _S)
    assert late.steps == 0
    assert late.monotonic_ns(sender_ns) == pytest.approx(sender_ns, abs=2e6)
    back = clock
    for index in range(6):
        back = observe(back, sender_ns - 4 * _S + index * _FRAME, sender_ns + index * _FRAME)
    assert back.steps == 1
    ahead = observe(clock, sender_ns + 3600 * _S, sender_ns)
    assert ahead.steps == 1


def test_a_stream_that_goes_on_behind_a_gap_is_old_however_steadily_it_comes() -> None:
    clock = _run(SenderClock(), 30 * 12, offset_ns=0, drift=0.0, seed=5)
    first_ns = 10**18 + 30 * 12 * _FRAME
    for index in range(30 * 90):
        sender_ns = first_ns + index * _FRAME
        clock = observe(clock, sender_ns, sender_ns + 5 * _S)
        assert clock.lag_ns(sender_ns, sender_ns + 5 * _S) == pytest.approx(5 * _S, abs=1e8)
    caught_up_ns = first_ns + 30 * 95 * _FRAME
    clock = observe(clock, caught_up_ns, caught_up_ns)
    assert clock.lag_ns(caught_up_ns, caught_up_ns) == pytest.approx(0, abs=2e7)
    assert clock.steps == 0


def test_a_clock_that_is_set_back_while_frames_wait_is_a_set_clock() -> None:
    clock = _run(SenderClock(), 30 * 12, offset_ns=0, drift=0.0, seed=6)
    sender_ns = 10**18 + 30 * 12 * _FRAME
    clock = observe(clock, sender_ns, sender_ns + 5 * _S)
    for index in range(8):
        clock = observe(clock, sender_ns - 9 * _S + index * _FRAME, sender_ns + 6 * _S + index * _FRAME)
    assert clock.steps == 1


def test_a_queue_on_the_way_is_a_lag_once_the_clock_has_proved_sound() -> None:
    clock = _run(SenderClock(), 30 * 12, offset_ns=0, drift=0.0, seed=3)
    sender_ns = 10**18 + 30 * 12 * _FRAME
    assert clock.lag_ns(sender_ns, sender_ns + 700_000_000) == pytest.approx(700_000_000, abs=5e6)


@pytest.mark.parametrize("pace", [0.2, 3.0])
def test_timestamps_that_keep_no_real_time_give_no_lag(pace: float) -> None:
    clock = SenderClock()
    for index in range(30 * 20):
        sender_ns = 10**18 + round(index * _FRAME * pace)
        clock = observe(clock, sender_ns, index * _FRAME)
        assert clock.lag_ns(sender_ns, index * _FRAME) is None


def test_unused_timestamps_leave_the_clock_unknown() -> None:
    clock = observe(SenderClock(), 0, 1)
    assert clock == SenderClock()
    assert clock.monotonic_ns(5) is None


@given(seconds=st.integers(0, 2**32 - 1), fraction=st.integers(0, 2**32 - 1))
def test_fixed_point_timestamps_become_nanoseconds(seconds: int, fraction: int) -> None:
    ns = ns_from_igtl(seconds << 32 | fraction)
    assert abs(ns - (seconds * _S + fraction * _S / 2**32)) <= max(1.0, seconds * _S * 2**-52)
