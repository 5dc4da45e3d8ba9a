"""Thickness of cement that slowly grows, told when it is there: noise is averaged over time, growth is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from drivers.commands.cement_speed_scene import PER_MM, SpeedScene
from guidance.cement.opacity import Opacity
from guidance.cement.reference import reference_picture
from guidance.cement.tracker import CementTracker
from guidance.cement.values import CementFrame
from guidance.config import CementSettings
from guidance.messages import F32

RATE_HZ, MM_S, FRAMES, BEFORE = 15.0, 0.8, 30, 10
SCENE = SpeedScene(side=256, before=BEFORE + FRAMES, frames=1, photons=60.0)


def lump_mm(number: int) -> F32:
    v, u = np.mgrid[:256, :256]
    away = np.hypot(u - 128.0, v - 128.0) / 40.0
    return np.asarray(np.sqrt(np.clip(1.0 - away**2, 0.0, None)) * (2.0 + MM_S * number / RATE_HZ), np.float32)


def tracker_after(frames: list[CementFrame]) -> CementTracker:
    contrast = np.linspace(0.0, 6.0, 512, dtype=np.float32)
    opacity = Opacity(
        contrast=contrast, thickness_mm=contrast / np.float32(PER_MM), per_mm=PER_MM, relative_sigma=0.05, kvp=80.0
    )
    return CementTracker(
        reference_picture(frames), opacity=opacity, scatter=None, settings=CementSettings(), started_ns=0
    )


def test_slow_growth_is_told_within_a_fifth_of_a_second() -> None:
    quiet = list(SCENE.pictures())[: BEFORE + FRAMES]
    tracker = tracker_after(quiet[:BEFORE])
    late_s = []
    for number in range(FRAMES):
        view = tracker.follow(_with(quiet[BEFORE + number], lump_mm(number)))
        if number >= FRAMES // 2:
            assert view.thickness_mm is not None
            core = lump_mm(number) > 1.5
            missing_mm = float(np.mean(lump_mm(number)[core] - view.thickness_mm[core]))
            late_s.append(missing_mm / (float(np.mean(lump_mm(number)[core] / lump_mm(number).max())) * MM_S))
    # The mean of 9 frames is 0.27 to 0.53 s late.
    assert abs(float(np.mean(late_s))) < 0.2


def test_a_fast_front_takes_its_thickness_with_it() -> None:
    scene = SpeedScene(side=256, before=BEFORE, frames=17, photons=60.0)
    frames = list(scene.pictures())
    tracker = tracker_after(frames[:BEFORE])
    views = [tracker.follow(frame) for frame in frames[BEFORE:]]
    for number in (12, 16):
        told, true = views[number].thickness_sum_mm_px, float(scene.thickness_mm(number).sum())
        assert told is not None
        assert 0.92 < told / true < 1.05  # of the mean of some frames: 0.85 to 0.88


def _with(frame: CementFrame, thickness_mm: F32) -> CementFrame:
    through = np.exp(-PER_MM * thickness_mm)
    return replace(frame, pixels=np.rint(frame.pixels * through).astype(frame.pixels.dtype))
