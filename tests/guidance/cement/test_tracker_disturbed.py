"""What changes the whole picture while cement comes: blades that close in, a patient who turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from drivers.commands.cement_speed_scene import PER_MM, SpeedScene
from guidance.cement.opacity import Opacity
from guidance.cement.reference import reference_picture
from guidance.cement.tracker import CementTracker
from guidance.cement.values import CementFrame
from guidance.config import CementSettings
from guidance.messages import F32, CementView
from simulators.cement.field import Hand, hand_layers

SIDE, BEFORE, CHANGE, FRAMES = 256, 10, 10, 24
PHOTONS = 240.0
LEVEL = 9000.0
STARTED_NS = 1_000_000_000_000


def transmission(seed: int) -> F32:
    scene = SpeedScene(side=SIDE, before=1, frames=1, move_px=0.0, photons=1e7, seed=seed)
    return np.asarray(next(scene.pictures()).pixels / LEVEL, np.float32)


def thickness_mm(number: int) -> F32:
    return SpeedScene(side=SIDE, frames=FRAMES, move_px=0.0).thickness_mm(number)


def frames_of(
    mean: Callable[[int], F32], field: Callable[[int], tuple[int, int, int, int] | None]
) -> list[CementFrame]:
    """mean: signal of frame `number`, of the open beam."""
    random = np.random.default_rng(11)
    like = next(SpeedScene(side=SIDE, before=1, frames=1).pictures())
    made = []
    for number in range(-BEFORE, FRAMES):
        signal = mean(number)
        counts = LEVEL * (signal + random.standard_normal(signal.shape) * np.sqrt(signal / PHOTONS))
        time_ns = STARTED_NS + round(1e9 * number / 15.0)
        made.append(
            replace(
                like,
                sequence=number + BEFORE,
                frame_number=number + BEFORE,
                received_ns=time_ns,
                time_ns=time_ns,
                collimator_px=field(number),
                pixels=np.clip(counts, 1.0, 65000.0).astype(np.uint16),
            )
        )
    return made


def followed(frames: list[CementFrame], scatter: F32 | None = None) -> list[CementView]:
    contrast = np.linspace(0.0, 6.0, 512, dtype=np.float32)
    opacity = Opacity(
        contrast=contrast, thickness_mm=contrast / np.float32(PER_MM), per_mm=PER_MM, relative_sigma=0.05, kvp=80.0
    )
    tracker = CementTracker(
        reference_picture(frames[:BEFORE]),
        opacity=opacity,
        scatter=scatter,
        settings=CementSettings(),
        started_ns=STARTED_NS,
    )
    return [tracker.follow(frame) for frame in frames[BEFORE:]]


def found(view: CementView, number: int) -> tuple[float, int]:
    """Share of the true shadow that is told, and pixels told that lie more than 3 px beside it."""
    assert view.mask is not None
    true = (thickness_mm(number) > 0.5).astype(np.uint8)
    beside = cv2.dilate(true, np.ones((7, 7), np.uint8)) == 0
    return float(np.count_nonzero(view.mask & true)) / float(true.sum()), int(np.count_nonzero(view.mask[beside]))


def scattered(primary: F32) -> F32:
    """Neither the width nor the form that the tracker counts on."""
    wide = cv2.blur(
        cv2.blur(primary, (91, 91), borderType=cv2.BORDER_CONSTANT), (91, 91), borderType=cv2.BORDER_CONSTANT
    )
    return np.asarray(0.7 * wide + 0.04, np.float32)


def with_blades(
    closed: range, gain: float, narrow: tuple[int, int, int, int] = (35, 30, 225, 230), *, told: bool = True
) -> list[CementView]:
    """What is told where the blades are closed in these frames."""
    open_beam = transmission(7)
    lit = np.zeros_like(open_beam)
    lit[narrow[1] : narrow[3] + 1, narrow[0] : narrow[2] + 1] = 1.0

    def mean(number: int) -> F32:
        primary = open_beam * np.exp(-PER_MM * thickness_mm(number))
        if number in closed:
            return np.asarray(gain * (primary * lit + scattered(open_beam * lit)), np.float32)
        return np.asarray(primary + scattered(open_beam), np.float32)

    share = np.asarray(scattered(open_beam) / (open_beam + scattered(open_beam)), np.float32)
    return followed(frames_of(mean, lambda number: narrow if number in closed and told else None), share)


@pytest.mark.parametrize("closed", [range(CHANGE, FRAMES), range(6, 12)], ids=["closed", "closed and opened again"])
def test_blades_that_move_change_scatter_and_make_no_cement(closed: range) -> None:
    views, steady = with_blades(closed, 1.2), with_blades(range(0), 1.0)
    for number in range(closed.start, FRAMES):
        assert views[number].seen
        part, beside = found(views[number], number)
        assert part > 0.8
        assert beside < 10
        assert np.hypot(*views[number].motion[:2]) < 0.2
    told, usual = views[-1].thickness_sum_mm_px, steady[-1].thickness_sum_mm_px
    assert told is not None
    assert usual is not None
    assert told == pytest.approx(usual, rel=0.12)


def test_blades_that_nobody_tells_of_are_seen_and_the_field_between_them_is_followed() -> None:
    views = with_blades(range(CHANGE, FRAMES), 1.2, (45, 40, 210, 215), told=False)
    for number in range(CHANGE, CHANGE + 3):
        assert views[number].seen
        part, beside = found(views[number], number)
        assert part > 0.8
        assert beside < 25
        blind = views[number].blind
        assert blind is not None
        assert blind[:38].all()
        assert blind[218:].all()
        assert blind[:, :43].all()
        assert blind[:, 213:].all()


def test_bones_at_other_depths_of_a_patient_who_turned_are_no_cement() -> None:
    near, far = transmission(7), transmission(21)

    def mean(number: int) -> F32:
        part = float(np.clip((number - CHANGE) / 3.0, 0.0, 1.0))
        shift = np.array([[1.0, 0.0, 2.5 * part], [0.0, 1.0, -1.5 * part]])
        moved = cv2.warpAffine(far, shift, far.shape[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        return np.asarray(near * moved * np.exp(-PER_MM * thickness_mm(number)), np.float32)

    views = followed(frames_of(mean, lambda _: None))
    for number in range(CHANGE, FRAMES):
        assert views[number].seen
        part, beside = found(views[number], number)
        assert part > 0.8
        assert beside < 150
    # They lie still again: compared with how they look since then, thin cement beside bones is told as well.
    assert found(views[-1], FRAMES - 1)[0] > 0.9


def test_metal_at_another_voltage_is_no_cement() -> None:
    # What comes from behind it is scatter, which the voltage changes otherwise than what the body lets through.
    bar = np.zeros((SIDE, SIDE), bool)
    bar[170:188, 60:200] = True
    open_beam = np.where(bar, np.exp(-4.0), 1.0) * transmission(7)
    scatter = scattered(transmission(7))

    def mean(number: int) -> F32:
        primary = open_beam * np.exp(-PER_MM * thickness_mm(number))
        if number < CHANGE:
            return np.asarray(primary + scatter, np.float32)
        return np.asarray(1.3 * (primary**0.85 + scatter), np.float32)

    views = followed(frames_of(mean, lambda _: None), np.asarray(scatter / (open_beam + scatter), np.float32))
    for number in range(CHANGE, FRAMES):
        mask, blind = views[number].mask, views[number].blind
        assert mask is not None
        assert blind is not None
        assert found(views[number], number)[0] > 0.8
        assert not mask[bar].any()
        if number > CHANGE:
            assert blind[bar].mean() > 0.8  # and what comes in front of it is not said to be absent


def test_after_a_hand_over_the_cement_the_picture_is_that_of_the_reference_again() -> None:
    """It lies over half of the picture while exposure is regulated; what is left must not pull the fit away."""
    scene = SpeedScene(side=SIDE, before=BEFORE, frames=44, move_px=8.0, photons=60.0)
    frames, comes, stays, size = list(scene.pictures()), 16, 18, 0.924
    wrist = np.array([97.4, 130.6])
    gain, spoiled = 1.0, list[CementFrame]()
    for number, frame in enumerate(frames[BEFORE:]):
        signal = np.asarray(frame.pixels, np.float64)
        after = number - comes
        if 0 <= after < stays:
            out = max(0.0, (3 - after) / 2.0, (after - 14) / 2.0)
            place = wrist + out * np.array([21.4, -27.5])
            hand = Hand(times_s=(0.0, 1.0), places_px=((place[0], place[1]),) * 2, turn_deg=-46.5)
            layers = hand_layers(hand, 0.0, (SIDE, SIDE), hand.magnification / size)
            assert layers is not None
            region, flesh, bone = layers
            shadow = np.zeros((SIDE, SIDE), np.float32)
            shadow[region] = 0.156 * flesh + 0.167 * bone
            signal = signal * np.exp(-cv2.GaussianBlur(shadow, (0, 0), 1.0))
        gain += 0.33 * (float(frame.pixels.mean() / signal.mean()) - gain)
        spoiled.append(replace(frame, pixels=np.clip(gain * signal, 1.0, 65000.0).astype(np.uint16)))
    views = followed([*frames[:BEFORE], *spoiled])
    for number in range(comes + stays + 2, 44):
        mask = views[number].mask
        assert mask is not None
        beside = cv2.dilate(scene.open_mask(number), np.ones((9, 9), np.uint8)) == 0
        assert np.count_nonzero(mask[beside]) < 0.01 * np.count_nonzero(beside)
