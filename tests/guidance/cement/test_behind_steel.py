"""Thickness where cement lies around a cannula that stands: next to nothing of the primary arrives behind its steel."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from drivers.commands.cement_speed_scene import PER_MM, SpeedScene
from guidance.cement.opacity import Opacity
from guidance.cement.reference import reference_picture
from guidance.cement.standing_steel import steel_lines
from guidance.cement.tracker import CementTracker
from guidance.cement.values import CementFrame
from guidance.config import CementSettings
from guidance.messages import F32, CementView
from tests.helpers.seen_rods import straight_steel

SIDE, BEFORE, QUIET, FRAMES, WAY_PX = 256, 10, 4, 40, 12
STEEL, CEMENT_MM, WIDE_PX = 2.5, 8.0, 40
ENTRY, TIP, OUT = (200, 0), (180, 150), (190, 75)  # of the cannula; cement lies around it from its tip to there
LEVEL, PHOTONS, SCATTER, FALLEN = 9000.0, 1000.0, 0.5, 0.06


def way(begin: tuple[int, int], end: tuple[int, int], width_px: int) -> F32:
    layer = np.zeros((SIDE, SIDE), np.float32)
    cv2.line(layer, begin, end, 1.0, width_px)
    return np.asarray(cv2.GaussianBlur(layer, (0, 0), 0.8), np.float32)


def scattered(cement: F32 | None) -> F32:
    """Share of the open beam: flat, and a little less around cement, which keeps primary from what is behind it."""
    fallen = 0.0 if cement is None else FALLEN * cv2.GaussianBlur(cement, (0, 0), 12.0)
    return np.full((SIDE, SIDE), SCATTER, np.float32) * np.asarray(1.0 - fallen, np.float32)


def frames(primary: F32, scatter: F32, first: int, count: int) -> list[CementFrame]:
    random = np.random.default_rng(first)
    like = next(SpeedScene(side=SIDE, before=1, frames=1).pictures())
    signal = primary + scatter
    made = []
    for number in range(first, first + count):
        counts = LEVEL * (signal + random.standard_normal(signal.shape) * np.sqrt(signal / PHOTONS))
        time_ns = round(1e9 * number / 15.0)
        pixels = np.clip(counts, 1.0, 65000.0).astype(np.uint16)
        made.append(replace(like, sequence=number, received_ns=time_ns, time_ns=time_ns, pixels=pixels))
    return made


def last_view(*, steel: bool) -> CementView:
    v, u = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    body = 0.3 * np.sin(u / 9.0) * np.sin(v / 11.0) + (STEEL * way(ENTRY, TIP, WAY_PX) if steel else 0.0)
    before = np.asarray(SCATTER * np.exp(-body), np.float32)
    contrast = np.linspace(0.0, 6.0, 512, dtype=np.float32)
    tracker = CementTracker(
        reference_picture(frames(before, scattered(None), 0, BEFORE)),
        opacity=Opacity(
            contrast=contrast, thickness_mm=contrast / np.float32(PER_MM), per_mm=PER_MM, relative_sigma=0.05, kvp=80.0
        ),
        scatter=scattered(None) / (before + scattered(None)),
        settings=CementSettings(),
        started_ns=0,
    )
    seen = straight_steel(ENTRY, TIP, WAY_PX)
    told = []
    for number in range(QUIET + FRAMES):
        # From the tip back along the cannula.
        share = min(max(number - QUIET + 1, 0) / (FRAMES - 10), 1.0)
        back = (round(TIP[0] + share * (OUT[0] - TIP[0])), round(TIP[1] + share * (OUT[1] - TIP[1])))
        cement = way(back, TIP, WIDE_PX) if share > 0.0 else np.zeros((SIDE, SIDE), np.float32)
        now = np.asarray(before * np.exp(-PER_MM * CEMENT_MM * cement), np.float32)
        told.append(tracker.follow(frames(now, scattered(cement), BEFORE + number, 1)[0]))
        tracker.note_steel(steel_lines([seen], (), None))
    return told[-1]


def test_thickness_behind_steel_is_that_beside_it() -> None:
    shaft = way(ENTRY, TIP, WAY_PX - 3) * (way(OUT, TIP, WIDE_PX - 8) > 0.9) > 0.9
    beside = (way(OUT, TIP, WIDE_PX - 6) > 0.9) & (way(ENTRY, TIP, WAY_PX + 6) < 0.1)
    for steel in (False, True):
        view = last_view(steel=steel)
        assert view.mask is not None
        assert view.thickness_mm is not None
        assert np.count_nonzero(view.mask[shaft]) > 0.95 * np.count_nonzero(shaft)
        there, around = (float(np.mean(view.thickness_mm[part])) for part in (shaft, beside))
        assert abs(around / CEMENT_MM - 1.0) < 0.15, steel
        assert abs(there / around - 1.0) < 0.12, steel
