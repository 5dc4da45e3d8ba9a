"""A table that was moved: when it counts, what becomes of the reference, and that what is told goes on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from guidance.cement.kept_views import moved as picture_from_reference
from guidance.cement.moved_reference import MovedReference, moved, put_together
from guidance.cement.opacity import Opacity
from guidance.cement.values import CementFrame
from guidance.geometry.intensity import PixelIntensity
from guidance.messages import Matrix34
from tests.helpers.cement_views import cement_view, disc

SIZE = 64
CONTRAST = np.linspace(0.0, 6.0, 512, dtype=np.float32)
OPACITY = Opacity(contrast=CONTRAST, thickness_mm=CONTRAST * 10.0, per_mm=0.1, relative_sigma=0.05, kvp=80.0)


def pose(x_mm: float = 0.0, y_mm: float = 0.0) -> Matrix34:
    """A table shifted across the beam and along it."""
    focal, middle = 2000.0, (SIZE - 1) / 2.0
    camera = np.array([(1.0, 0.0, 0.0, x_mm), (0.0, 0.0, -1.0, 0.0), (0.0, 1.0, 0.0, 750.0 + y_mm)])
    inner = np.array([[focal, 0.0, middle], [0.0, focal, middle], [0.0, 0.0, 1.0]])
    return tuple(float(value) for value in (inner @ camera).ravel())


def frame(number: int = 0, at: Matrix34 | None = None, pixels: np.ndarray | None = None) -> CementFrame:
    return CementFrame(
        device="Fluoro",
        sequence=number,
        frame_number=number,
        received_ns=number,
        time_ns=number,
        pixels=np.random.default_rng(number).integers(900, 1100, (SIZE, SIZE), np.uint16) if pixels is None else pixels,
        intensity=PixelIntensity(),
        pose=pose() if at is None else at,
        pixel_from_patient=pose() if at is None else at,
    )


def shown(**changes):
    mask, front = disc(SIZE, (30.0, 34.0), 9.0)
    fields = {
        "size": SIZE,
        "thickness_mm": mask * np.float32(5.0),
        "blind": np.zeros_like(mask),
        "arrival_s": np.where(mask > 0, np.float32(2.0), np.float32(np.nan)),
    }
    return cement_view(mask, front, **(fields | changes))


def test_only_a_told_shift_of_what_is_seen_counts() -> None:
    assert not moved(frame(), frame(1))
    assert not moved(frame(), frame(1, pose(x_mm=0.05)))
    assert moved(frame(), frame(1, pose(x_mm=2.0)))
    assert moved(frame(), frame(1, pose(y_mm=4.0)))
    assert not moved(frame(), replace(frame(1), pose=None))


def test_a_reference_asks_for_frames_that_lie_alike_and_show_all() -> None:
    there, elsewhere = pose(x_mm=2.0), pose(x_mm=3.0)
    follower = MovedReference()
    assert [follower.add(frame(), frame(n, there), shown()) for n in range(4)] == [False] * 4
    assert not follower.add(frame(), frame(4, elsewhere), shown())
    assert [follower.add(frame(), frame(n, elsewhere), shown()) for n in range(5, 9)] == [False] * 4
    assert not follower.add(frame(), frame(9, elsewhere), shown(seen=False))
    covered = shown(blind=np.ones((SIZE, SIZE), np.uint8))
    assert not follower.add(frame(), frame(10, elsewhere), covered)
    assert [follower.add(frame(), frame(n, elsewhere), shown()) for n in range(11, 16)] == [False] * 4 + [True]


def test_the_cement_that_is_known_is_taken_off_and_all_else_becomes_the_reference() -> None:
    view, random = shown(), np.random.default_rng(2)
    share, through = 0.3, np.exp(-0.1 * 5.0)
    signal = np.where(view.mask > 0, share + (1.0 - share) * through, 1.0) * (1.0 + 0.3 * (np.arange(SIZE) > 40))
    follower = MovedReference()
    for n in range(5):
        pixels = (20_000.0 * signal * (1.0 + 0.005 * random.standard_normal(signal.shape))).astype(np.uint16)
        follower.add(frame(), frame(n, pose(x_mm=2.0), pixels), view)
    late = follower.made(view, OPACITY, share)
    assert late is not None
    inside = late.reference.valid > 0
    without = -np.log(20_000.0 * (1.0 + 0.3 * (np.arange(SIZE) > 40)) * np.ones((SIZE, 1)))
    assert np.abs(late.before.attenuation - without)[inside].max() < 0.02
    assert follower.frames == ()


def test_what_lies_over_cement_is_waited_for_a_while() -> None:
    """A hand over a part of the cement; steel that stands there is none."""
    there, blind = pose(x_mm=2.0), np.zeros((SIZE, SIZE), np.uint8)
    blind[34:, 20:40] = 1
    follower, second = MovedReference(), 1_000_000_000
    steel = np.array([(30.0, 34.0, 30.0, 64.0, 12.0)])
    times = [n * second // 2 for n in range(15)]
    frames = [replace(frame(n, there), time_ns=time_ns) for n, time_ns in enumerate(times)]
    made = [follower.add(frame(), one, shown(blind=blind)) for one in frames]
    assert made == [False] * 12 + [True] * 3
    follower = MovedReference()
    assert [follower.add(frame(), one, shown(blind=blind), (), steel) for one in frames[:5]] == [False] * 4 + [True]


def test_where_cement_may_have_come_unseen_is_blind_until_something_grows_there() -> None:
    blind = np.zeros((SIZE, SIZE), np.uint8)
    blind[30:39, 38:56] = 1  # beside the cement, and on as far as no cement comes
    follower, view = MovedReference(), shown(blind=blind, mm_per_px=0.5, motion=(4.0, 0.0, 0.0))
    for n in range(5):
        follower.add(frame(), frame(n, pose(x_mm=2.0)), view)
    assert follower.made(view, OPACITY, 0.0) is not None
    clear = shown(mm_per_px=0.5, motion=(0.0, 3.0, 0.0))
    told = follower.whole(clear).blind
    assert told is not None
    assert told[34:41, 40:44].all()
    assert not told[:, 50:].any()
    assert not told[clear.mask > 0].any()
    grown = replace(clear, mask=np.ones_like(clear.mask))
    assert not follower.whole(grown).blind.any()
    # Another move of the table makes none of it known.
    for n in range(5, 10):
        follower.add(frame(), frame(n, pose(x_mm=4.0)), clear)
    assert follower.made(clear, OPACITY, 0.0) is not None
    assert follower.whole(shown(mm_per_px=0.5, motion=(0.0, 0.0, 0.0))).blind[34:41, 40:44].all()


def test_scatter_of_a_reference_with_other_bins_is_taken_too() -> None:
    """Along the beam the table changes the size of a pixel, and with it how many of them a bin has."""
    told = []
    for share in (np.full((SIZE, SIZE), 0.3, np.float32), np.full((SIZE // 2, SIZE // 2 + 2), 0.3, np.float32)):
        follower = MovedReference()
        for n in range(5):
            follower.add(frame(), frame(n, pose(y_mm=8.0)), shown())
        late = follower.made(shown(), OPACITY, share)
        assert late is not None
        told.append(late.contrast)
    assert told[1].shape == told[0].shape
    assert np.allclose(told[1], told[0], atol=1e-6)


def test_motion_stays_against_the_first_reference_and_times_of_arrival_stay() -> None:
    first = (-8.9, 17.0, -0.9)
    follower = MovedReference()
    view = shown(motion=first)
    for n in range(5):
        follower.add(frame(), frame(n, pose(x_mm=2.0)), view)
    assert follower.whole(view) is view
    assert follower.made(view, OPACITY, 0.0) is not None
    nothing = np.full((SIZE, SIZE), np.float32(np.nan))
    second = np.roll(shown().mask, (1, 3), axis=(0, 1))
    later = replace(shown(motion=(3.0, 1.0, 0.4), arrival_s=nothing), mask=second)
    whole = follower.whole(later)
    by_matrices = picture_from_reference(later) @ picture_from_reference(view)
    assert picture_from_reference(whole) == pytest.approx(by_matrices, abs=1e-6)
    assert whole.motion == pytest.approx(put_together(first, (3.0, 1.0, 0.4)))
    assert np.all(whole.arrival_s[second > 0] == 2.0)
    assert np.isnan(whole.arrival_s[second == 0]).all()
