"""The injector's readings: what was delivered since the start, and what cannot be believed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.cement.injector import InjectorTrack, observed, restarted, silent_s
from guidance.messages import InjectorReading

S = 1_000_000_000


def reading(at_s, volume_ml, *, running=True, elapsed_s=None):
    return InjectorReading(
        volume_ml=volume_ml, flow_ml_s=None, pressure_bar=None, elapsed_s=elapsed_s, running=running,
        received_ns=round(at_s * S),
    )  # fmt: skip


def followed(*readings, started_s=0.0, track=None):
    track = track or InjectorTrack()
    for each in readings:
        track = observed(track, each, started_ns=round(started_s * S))
    return track


def test_what_is_delivered_since_the_start():
    assert InjectorTrack().delivered_ml is None
    track = followed(reading(1, 0.0), reading(2, 0.4), reading(3, 0.9))
    assert track.delivered_ml == pytest.approx(0.9)
    assert track.running


def test_what_was_delivered_before_the_start_does_not_count():
    idle = observed(InjectorTrack(), reading(1, 2.0), started_ns=None)
    track = followed(reading(11, 2.5), started_s=10.0, track=restarted(idle))
    assert track.delivered_ml == pytest.approx(0.5)
    # Its first word comes after the start, and it says that the injection is older.
    track = followed(reading(11, 2.5, elapsed_s=60.0), reading(12, 2.9, elapsed_s=61.0), started_s=10.0)
    assert track.delivered_ml == pytest.approx(0.4)
    track = followed(reading(12, 0.3, elapsed_s=1.5), started_s=10.0)
    assert track.delivered_ml == pytest.approx(0.3)


def test_a_new_syringe_goes_on():
    track = followed(reading(1, 1.5), reading(2, 2.0), reading(30, 0.0), reading(32, 0.5))
    assert track.delivered_ml == pytest.approx(2.5)


@pytest.mark.parametrize("volume_ml", [-0.1, -1e30, 61.0, 1e12, math.inf, math.nan])
def test_a_volume_that_cannot_be_is_refused_and_said(volume_ml):
    before = followed(reading(1, 0.5))
    after = followed(reading(2, volume_ml), track=before)
    assert after.delivered_ml == before.delivered_ml
    assert after.refused
    assert after.told_ns == 2 * S
    assert followed(reading(3, 0.6), track=after).refused == ""


def test_a_jump_is_refused_and_a_slow_rise_over_a_silence_is_not():
    assert "jumped" in followed(reading(1, 0.5), reading(1.2, 8.0)).refused
    assert followed(reading(1, 0.5), reading(21, 8.0)).delivered_ml == pytest.approx(8.0)


def test_a_reading_without_a_volume_keeps_the_last():
    track = followed(reading(1, 0.5), reading(2, None, running=False))
    assert track.delivered_ml == pytest.approx(0.5)
    assert not track.running
    assert followed(reading(1, None)).delivered_ml is None


def test_silence():
    assert silent_s(InjectorTrack(), 5 * S) is None
    assert silent_s(followed(reading(1, 0.5)), 5 * S) == pytest.approx(4.0)


@given(
    st.lists(st.tuples(st.floats(0.0, 5.0), st.none() | st.floats(allow_nan=True, allow_infinity=True)), max_size=30)
)
def test_what_is_delivered_is_never_absurd(steps):
    track, at_s = InjectorTrack(), 0.0
    for step_s, volume in steps:
        at_s += step_s
        track = observed(track, reading(at_s, volume), started_ns=0)
        assert track.delivered_ml is None or 0.0 <= track.delivered_ml <= 60.0 * (len(steps) + 1)
