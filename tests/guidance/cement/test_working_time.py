"""The clock from mixing: published times at their temperature, and never a reading that nobody knows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.cement.profiles import Cement, Phases, cement_library
from guidance.cement.working_time import phases_at, working_time

THIRTY = cement_library().find("baso4_30")
assert THIRTY is not None


@pytest.mark.parametrize(
    ("mixed_s", "phase"),
    [(0.0, "liquid"), (300.0, "liquid"), (310.0, "doughy"), (420.0, "ended"), (700.0, "ended"), (721.0, "set")],
)
def test_phases_follow_one_another(mixed_s: float, phase: str) -> None:
    # Lai et al. 2012: liquid 5.1 min, end of handling 8.5 (SD 0.8) min at 22 degrees; 95 % early is 6.7 min.
    assert working_time(THIRTY, mixed_s=mixed_s, temperature_c=22.0).phase == phase


def test_the_end_is_told_early_and_never_below_nothing() -> None:
    reading = working_time(THIRTY, mixed_s=100.0, temperature_c=22.0)
    assert reading.end_s == pytest.approx(510.0)
    assert reading.left_s == pytest.approx(510.0 - 100.0, abs=120.0)
    assert reading.left_s is not None
    assert reading.left_s < 410.0 - 60.0
    assert working_time(THIRTY, mixed_s=5000.0, temperature_c=22.0).left_s == 0.0


def test_a_warm_room_is_faster() -> None:
    cold, usual, warm = (
        working_time(THIRTY, mixed_s=0.0, temperature_c=degrees).left_s for degrees in (18.0, 22.0, 26.0)
    )
    assert cold is not None
    assert usual is not None
    assert warm is not None
    assert cold > usual > warm
    # Koh et al. 2015: 534 s at 20 and 381 s at 28 degrees; 5 % per degree says 0.66 for 0.71.
    ratio = phases_at(THIRTY.phases, 28.0).set_s / phases_at(THIRTY.phases, 20.0).set_s
    assert ratio == pytest.approx(381.0 / 534.0, rel=0.1)


def test_far_from_what_was_measured_the_end_is_less_sure() -> None:
    assert phases_at(THIRTY.phases, 30.0).spread > phases_at(THIRTY.phases, 22.0).spread


def test_between_two_temperatures_it_is_between() -> None:
    phases = (
        Phases(temperature_c=18.0, dough_s=400.0, end_s=800.0, set_s=1200.0),
        Phases(temperature_c=26.0, dough_s=200.0, end_s=400.0, set_s=600.0),
    )
    assert phases_at(phases, 22.0).end_s == pytest.approx((800.0 * 400.0) ** 0.5)
    assert phases_at(phases[::-1], 26.0).dough_s == pytest.approx(200.0)


@pytest.mark.parametrize(
    ("cement", "mixed_s", "temperature_c", "word"),
    [
        pytest.param(None, 10.0, 20.0, "brand", id="no-brand"),
        pytest.param(THIRTY, None, 20.0, "mixing", id="no-mixing"),
        pytest.param(THIRTY, -5.0, 20.0, "mixing", id="in-the-future"),
        pytest.param(THIRTY, float("nan"), 20.0, "mixing", id="nan"),
        pytest.param(THIRTY, 10.0, 90.0, "degrees", id="oven"),
        pytest.param(THIRTY, 10.0, float("nan"), "degrees", id="no-temperature"),
        pytest.param(Cement(id="x", name="x", source="x"), 10.0, 20.0, "instructions", id="no-phases"),
    ],
)
def test_unknown_stays_unknown(cement: Cement | None, mixed_s: float | None, temperature_c: float, word: str) -> None:
    reading = working_time(cement, mixed_s=mixed_s, temperature_c=temperature_c)
    assert reading.phase == "unknown"
    assert reading.left_s is None
    assert word in reading.reason


@given(st.floats(0.0, 4000.0), st.floats(0.0, 4000.0), st.floats(5.0, 40.0))
def test_the_clock_never_runs_back(first_s: float, later_s: float, temperature_c: float) -> None:
    order = ["liquid", "doughy", "ended", "set"]
    one, two = sorted((first_s, later_s))
    before = working_time(THIRTY, mixed_s=one, temperature_c=temperature_c)
    after = working_time(THIRTY, mixed_s=two, temperature_c=temperature_c)
    assert order.index(before.phase) <= order.index(after.phase)
    assert before.left_s is not None
    assert after.left_s is not None
    assert before.left_s >= after.left_s
