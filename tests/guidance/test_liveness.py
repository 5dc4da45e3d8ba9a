"""A held or repeated frame never counts as live, whatever the sender says."""

from __future__ import annotations

from typing import Any

import pytest

from guidance.liveness import FrameFacts, Liveness, observe, whole_number


def _facts(ms: int, **changes: Any) -> FrameFacts:
    values: dict[str, Any] = {
        "received_ns": ms * 1_000_000,
        "stated_live": None,
        "frame_number": None,
        "pulse_number": None,
        "pixels_crc64": ms,
        "rows": 4,
        "columns": 4,
    }
    return FrameFacts(**(values | changes))


@pytest.mark.parametrize(
    ("first", "second", "held"),
    [
        pytest.param({}, {}, False, id="new-content-nothing-stated"),
        pytest.param(
            {"stated_live": True, "frame_number": 1}, {"stated_live": True, "frame_number": 2}, False, id="live"
        ),
        pytest.param({"stated_live": True}, {"stated_live": False}, True, id="sender-says-held"),
        pytest.param({"pixels_crc64": 7}, {"pixels_crc64": 7}, True, id="content-repeats"),
        pytest.param(
            {"pixels_crc64": 7, "stated_live": True, "frame_number": 1},
            {"pixels_crc64": 7, "stated_live": True, "frame_number": 2},
            True,
            id="content-repeats-against-the-senders-word",
        ),
        pytest.param({"frame_number": 5}, {"frame_number": 5}, True, id="number-repeats"),
        pytest.param({"pulse_number": 5}, {"pulse_number": 5}, True, id="pulse-repeats"),
        pytest.param({"frame_number": 5}, {"frame_number": 4}, False, id="number-goes-backwards-new-run"),
        pytest.param({"pixels_crc64": 7}, {"pixels_crc64": 7, "rows": 5}, False, id="another-size"),
    ],
)
def test_second_frame(first: dict[str, Any], second: dict[str, Any], held: bool) -> None:
    liveness = observe(observe(Liveness(), _facts(10, **first)), _facts(40, **second))
    assert liveness.held is held
    assert bool(liveness.why) is held


def test_age_of_a_held_picture_counts_from_its_first_sight() -> None:
    liveness = observe(Liveness(), _facts(10, pixels_crc64=7))
    for ms in (40, 70, 100):
        liveness = observe(liveness, _facts(ms, pixels_crc64=7))
    assert liveness.age_ns(110 * 1_000_000) == 100 * 1_000_000
    assert liveness.repeats == 3
    assert observe(liveness, _facts(130)).age_ns(131 * 1_000_000) == 1_000_000


def test_a_new_run_is_counted() -> None:
    liveness = observe(observe(Liveness(), _facts(10, frame_number=9)), _facts(40, frame_number=0))
    assert (liveness.runs, liveness.held) == (1, False)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", None),
        ("-1", None),
        ("1.0", None),
        ("", None),
        (None, None),
        ("٣", None),
        ("x", None),
        ("1" * 400, None),
    ],
)
def test_frame_numbers_are_whole_and_bounded(text: str | None, number: int | None) -> None:
    assert whole_number(text) == number
