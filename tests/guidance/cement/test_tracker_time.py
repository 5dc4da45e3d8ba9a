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


def test_slow_growth_is_told_within_a_fifth_of_a_second() -> None:
    quiet = list(SCENE.pictures())[: BEFORE + FRAMES]
    contrast = np.linspace(0.0, 6.0, 512, dtype=np.float32)
    opacity = Opacity(
        contrast=contrast, thickness_mm=contrast / np.float32(PER_MM), per_mm=PER_MM, relative_sigma=0.05, kvp=80.0
    )
    tracker = CementTracker(
        reference_picture(quiet[:BEFORE]), opacity=opacity, scatter=None, settings=CementSettings(), started_ns=0
    )
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


def _with(frame: CementFrame, thickness_mm: F32) -> CementFrame:
    through = np.exp(-PER_MM * thickness_mm)
    return replace(frame, pixels=np.rint(frame.pixels * through).astype(frame.pixels.dtype))
