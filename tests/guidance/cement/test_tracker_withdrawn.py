"""A cannula that is pulled back: the steel that goes and the cement that fills its way take each other away."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from drivers.commands.cement_speed_scene import PER_MM, SpeedScene
from guidance.cement.opacity import Opacity
from guidance.cement.reference import reference_picture
from guidance.cement.standing_steel import steel_lines
from guidance.cement.tracker import CementTracker
from guidance.cement.values import CementFrame
from guidance.config import CementSettings
from guidance.messages import F32, CementView, PlannedPath
from guidance.tracking.values import SeenInstrument
from tests.helpers.seen_rods import straight_steel

SIDE, BEFORE, STANDS, FRAMES, WAY_PX = 256, 10, 4, 16, 7
STEEL, CEMENT_MM, THIN_MM = 1.2, 8.0, 2.0
ENTRY, TIP, BACK = (200, 0), (180, 150), (188, 90)  # of the cannula, and where its tip is after it was pulled back
LEVEL, PHOTONS = 9000.0, 240.0


def way(begin: tuple[int, int], end: tuple[int, int]) -> F32:
    layer = np.zeros((SIDE, SIDE), np.float32)
    cv2.line(layer, begin, end, 1.0, WAY_PX)
    return np.asarray(cv2.GaussianBlur(layer, (0, 0), 0.7), np.float32)


def left_way() -> npt.NDArray[np.bool_]:
    """Middle of what the steel has left."""
    core: npt.NDArray[np.bool_] = cv2.erode((way(BACK, TIP) > 0.9).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    core &= cv2.dilate(way(ENTRY, BACK), np.ones((9, 9), np.uint8)) <= 0.1
    return core


def instrument() -> SeenInstrument:
    return straight_steel(ENTRY, TIP, WAY_PX)


def followed(filled_mm: float, *, known: bool = True, told: bool = True) -> list[CementView]:
    """Pulled back after some frames; what its way then holds; whether a line is told, and capsules over it."""
    quiet = patient()
    contrast = np.linspace(0.0, 6.0, 512, dtype=np.float32)
    standing = STEEL * way(ENTRY, TIP)
    pulled = np.maximum(STEEL * way(ENTRY, BACK), PER_MM * filled_mm * way(BACK, TIP))
    tracker = CementTracker(
        reference_picture([shadowed(frame, standing) for frame in quiet[:BEFORE]]),
        opacity=Opacity(
            contrast=contrast, thickness_mm=contrast / np.float32(PER_MM), per_mm=PER_MM, relative_sigma=0.05, kvp=80.0
        ),
        scatter=None,
        settings=CementSettings(),
        started_ns=0,
    )
    views = []
    lumen = np.array([[*ENTRY, *TIP, 0.6 * WAY_PX]], np.float64)
    for number, frame in enumerate(quiet[BEFORE:]):
        now = shadowed(frame, standing if number < STANDS else pulled)
        views.append(tracker.follow(now, [instrument()] if told and number >= STANDS else [], lumen if told else None))
        if known:
            tracker.note_steel(steel_lines([instrument()], (), None))
    return views


def patient() -> list[CementFrame]:
    """Soft tissue that gets thicker, a bone's cortex across the cannula's way, and a round bone."""
    random = np.random.default_rng(5)
    v, u = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    attenuation = (
        0.002 * u + 0.4 * np.exp(-(((v - 60.0 - 0.2 * u) / 4.0) ** 2)) + 0.6 * (np.hypot(u - 60, v - 180) < 30)
    )
    signal = np.exp(-cv2.GaussianBlur(attenuation.astype(np.float32), (0, 0), 1.0))
    like = next(SpeedScene(side=SIDE, before=1, frames=1).pictures())
    made = []
    for number in range(BEFORE + FRAMES):
        counts = LEVEL * (signal + random.standard_normal(signal.shape) * np.sqrt(signal / PHOTONS))
        time_ns = round(1e9 * number / 15.0)
        pixels = np.clip(counts, 1.0, 65000.0).astype(np.uint16)
        made.append(replace(like, sequence=number, received_ns=time_ns, time_ns=time_ns, pixels=pixels))
    return made


def shadowed(frame: CementFrame, attenuation: F32) -> CementFrame:
    return replace(frame, pixels=np.maximum(frame.pixels * np.exp(-attenuation), 1.0).astype(frame.pixels.dtype))


@pytest.mark.parametrize("told", [False, True], ids=["nothing told of it", "told as a cannula that still stands"])
def test_cement_that_fills_the_way_is_seen(told: bool) -> None:
    last = followed(CEMENT_MM, told=told)[-1]
    assert last.mask is not None
    assert last.thickness_mm is not None
    core = left_way()
    assert np.count_nonzero(last.mask[core]) > 0.9 * np.count_nonzero(core)
    assert float(np.median(last.thickness_mm[core])) == pytest.approx(CEMENT_MM, rel=0.25)
    beside = cv2.dilate(way(BACK, TIP), np.ones((9, 9), np.uint8)) < 0.1
    assert np.count_nonzero(last.mask[beside]) < 20


def test_cement_too_thin_to_be_told_from_bone_is_not_said_to_be_absent() -> None:
    last = followed(THIN_MM)[-1]
    assert last.mask is not None
    assert last.blind is not None
    core = left_way()
    assert np.count_nonzero((last.mask | last.blind)[core]) > 0.9 * np.count_nonzero(core)


def test_a_way_that_stays_empty_is_no_cement() -> None:
    for view in followed(0.0):
        assert view.mask is not None
        assert np.count_nonzero(view.mask) < 10


def test_steel_that_stands_stays_told_as_what_it_is() -> None:
    views = followed(0.0)[:STANDS]
    for view in views:
        assert view.blind is not None
        assert view.blind[75, 190] == 1


def test_where_paths_may_have_steel_along_them() -> None:
    path = PlannedPath(
        id="P2", entry_lps_mm=(0.0, 0.0, 0.0), target_lps_mm=(60.0, 0.0, 0.0), diameter_mm=3.0, label="ala"
    )
    matrix = np.array([[1000.0, 0.0, 0.0, 256.0 * 500.0], [0.0, 1000.0, 0.0, 256.0 * 500.0], [0.0, 0.0, 1.0, 500.0]])
    (path_id, line), (seen_id, seen) = steel_lines([instrument()], (path,), matrix)[::-1]
    # 2 px per mm at 500 mm; from 40 mm outside of the entry to the target.
    assert (path_id, seen_id) == ("P2", "P1")
    assert line == pytest.approx([176.0, 256.0, 376.0, 256.0, 3.0])
    assert seen == pytest.approx([*ENTRY, *TIP, 0.5 * WAY_PX])
    assert [path_id for path_id, _ in steel_lines([instrument()], (path,), None)] == ["P1"]
    behind = matrix.copy()
    behind[2, 3] = -500.0
    assert steel_lines([], (path,), behind) == []
