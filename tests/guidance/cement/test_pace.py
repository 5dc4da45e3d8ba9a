"""When a pause counts as one, how long nothing was seen, and how long what does not change is averaged."""

import pytest

from guidance.cement.pace import Pace

SECOND = 1_000_000_000
GAP_S = 1.0


def paced(*, rate_hz: float, frames: int) -> Pace:
    """Frames at a steady rate; the reference ends when the first of them comes."""
    pace = Pace(GAP_S, 10 * SECOND, 0.0)
    for number in range(frames):
        assert not pace.note(10 * SECOND + round(number / rate_hz * SECOND))
    return pace


@pytest.mark.parametrize(
    ("rate_hz", "frames"),
    [(30.0, 16.0), (10.0, 6.0), (3.0, 4.0)],  # 0.6 s, but 4 to 16 frames
)
def test_what_does_not_change_is_averaged_over_more_frames_where_they_come_fast(rate_hz: float, frames: float) -> None:
    assert paced(rate_hz=rate_hz, frames=40).memory_frames == pytest.approx(frames, rel=1e-6)


def test_first_frames_are_averaged_over_the_fewest() -> None:
    assert paced(rate_hz=30.0, frames=1).memory_frames == 4.0


@pytest.mark.parametrize(("rate_hz", "silent_s", "pause"), [(10.0, 0.9, False), (10.0, 1.1, True), (2.0, 1.4, False)])
def test_silence_is_a_pause_where_it_is_longer_than_the_gap_and_three_frames(
    rate_hz: float, silent_s: float, pause: bool
) -> None:
    pace = paced(rate_hz=rate_hz, frames=20)
    assert pace.note(10 * SECOND + round((19 / rate_hz + silent_s) * SECOND)) is pause
    assert pace.unseen_s == pytest.approx(silent_s if pause else 0.0)


def test_a_first_frame_long_after_the_reference_comes_after_a_pause() -> None:
    pace = Pace(GAP_S, 10 * SECOND, 0.0)
    assert pace.note(14 * SECOND)
    assert pace.unseen_s == 4.0


def test_a_pause_that_was_told_is_no_second_one() -> None:
    pace = paced(rate_hz=10.0, frames=20)
    pace.pause(20 * SECOND)
    assert pace.unseen_s == pytest.approx(8.1)
    assert not pace.note(20 * SECOND)
    assert pace.unseen_s == pytest.approx(8.1)
