"""Follows cement in two planes at once: the body is made of frames of one moment."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from guidance.cement.body_shadow import BodyProjector
from guidance.cement.engine import CementEngine
from guidance.cement.space import CementSpace, cement_space, opened
from guidance.cement.tracker import CementTracker
from guidance.cement.values import CementFrame, CementScene
from guidance.config import CementSettings
from guidance.geometry.intensity import PixelIntensity
from guidance.messages import F32, CementMaterial, CementRun, CementView

SIDE_PX = 128
NS = 1_000_000_000
# Focal length 1500 px, 750 mm from the isocentre: pixels of half a millimetre there.


def _matrix(primary_deg: float) -> tuple[float, ...]:
    """Rows of a camera that turns about the patient's long axis, its middle on the isocentre."""
    turn = np.deg2rad(primary_deg)
    across = np.array((np.cos(turn), np.sin(turn), 0.0))
    depth = np.array((np.sin(turn), -np.cos(turn), 0.0))
    middle = (SIDE_PX - 1) / 2.0
    rows = np.array((1500.0 * across + middle * depth, (0.0, 0.0, -1500.0) + middle * depth, depth))
    return tuple(np.column_stack((rows, 750.0 * np.array((middle, middle, 1.0)))).ravel().tolist())


def _frame(device: str, number: int, time_s: float, radius_mm: float) -> CementFrame:
    v, u = np.mgrid[:SIDE_PX, :SIDE_PX]
    off_mm = 0.5 * np.hypot(u - 63.5, v - 63.5)
    chord_mm = 2.0 * np.sqrt(np.maximum(radius_mm**2 - off_mm**2, 0.0))
    counts = 400.0 * np.exp(-0.06 * chord_mm)
    noisy = np.random.default_rng(2 * number + (device == "FluoroB")).poisson(counts) * 10.0
    return CementFrame(
        device=device,
        sequence=number,
        frame_number=number,
        received_ns=round(time_s * NS),
        time_ns=round(time_s * NS),
        pixels=noisy.astype(np.uint16),
        intensity=PixelIntensity(),
        pixel_from_patient=_matrix(0.0 if device == "FluoroA" else 90.0),
        pose=_matrix(0.0 if device == "FluoroA" else 90.0),
        kvp=80.0,
    )


def test_slow_pairs_make_one_body_each_and_never_one_of_the_newest_and_the_last() -> None:
    """Two frames per second and plane: cement of half a second ago is no bound of a number, where its pair comes."""
    engine = CementEngine(CementSettings())
    for number in range(8):
        for device in ("FluoroA", "FluoroB"):
            engine.keep(_frame(device, number, 0.6 * number, 0.0))
    run = CementRun(
        number=1,
        material=CementMaterial(opacity_per_mm=0.06),
        started_ns=round(4.5 * NS),
        after_sequence=(("FluoroA", 7), ("FluoroB", 7)),
    )
    scene = CementScene()
    told: list[tuple[float | None, float | None, float | None]] = []
    for number in range(8, 20):
        radius_mm = 9.0 * ((number - 7) / 12.0) ** (1.0 / 3.0)
        for late_s, device in ((0.0, "FluoroA"), (0.02, "FluoroB")):
            frame = _frame(device, number, 0.6 * number + late_s, radius_mm)
            seen = engine.follow(run, frame, scene, body_now=False)
            engine.catch_up()
            told.append((seen.body.volume_ml, seen.body.volume_low_ml, seen.body.volume_high_ml))
    # The second plane's frame tells the body before it, which is that of the pair before.
    for ml, low_ml, high_ml in told[-5:]:
        assert ml is not None
        assert low_ml is not None
        assert high_ml is not None
        assert high_ml / low_ml < 2.5
    assert len({ml for ml, _, _ in told[-8:]}) <= 5


def test_a_frame_that_was_asked_for_in_a_run_that_is_over_leaves_the_one_that_goes_on_alone() -> None:
    engine = CementEngine(CementSettings())
    for number in range(8):
        for device in ("FluoroA", "FluoroB"):
            engine.keep(_frame(device, number, 0.1 * number, 0.0))
    former, run = (
        CementRun(
            number=number,
            material=CementMaterial(opacity_per_mm=0.06),
            started_ns=round(0.75 * NS),
            after_sequence=(("FluoroA", 7), ("FluoroB", 7)),
        )
        for number in (1, 2)
    )
    scene = CementScene()
    seen = None
    for number in range(8, 20):
        radius_mm = 8.0 * ((number - 7) / 12.0) ** (1.0 / 3.0)
        seen = engine.follow(run, _frame("FluoroA", number, 0.1 * number, radius_mm), scene)
        late = engine.follow(former, _frame("FluoroB", number, 0.1 * number, radius_mm), scene)
        assert (late.run, late.view.seen) == (1, False)
    assert seen is not None
    arrived = seen.view.arrival_s
    assert arrived is not None
    # What was seen first is known to have come first.
    assert np.nanmin(arrived) < 0.5
    assert np.nanmax(arrived) > 1.0


def test_maps_of_a_view_that_was_left_and_of_a_run_that_is_over_are_given_back() -> None:
    engine, run = _started()
    maps: list[weakref.ref[object]] = []

    def follow(number: int, matrix: tuple[float, ...]) -> None:
        frame = replace(_frame("FluoroA", number, 0.1 * number, 4.0), pixel_from_patient=matrix, pose=matrix)
        mask = engine.follow(run, frame, CementScene()).view.mask
        if mask is not None and mask.base is not None:
            maps.append(weakref.ref(mask.base))

    def living() -> int:
        gc.collect()
        return len({id(each()) for each in maps if each() is not None})

    for number in range(8, 16):
        follow(number, _matrix(0.0))
    assert maps
    for number in range(16, 30):
        follow(number, _matrix(60.0))
    for number in range(30, 40):
        follow(number, _matrix(0.0))
    # The newest of each direction is kept for the body, and a few sets are in use.
    assert living() <= 6
    engine.keep(_frame("FluoroA", 40, 4.0, 4.0))
    assert living() == 0


def _started() -> tuple[CementEngine, CementRun]:
    """One plane before any cement, and a start."""
    engine = CementEngine(CementSettings())
    for number in range(8):
        engine.keep(_frame("FluoroA", number, 0.1 * number, 0.0))
    run = CementRun(
        number=1,
        material=CementMaterial(opacity_per_mm=0.06),
        started_ns=round(0.8 * NS),
        after_sequence=(("FluoroA", 7),),
    )
    return engine, run


def test_a_hand_that_lies_there_after_a_pause_is_not_cement_and_nothing_is_lost_by_it() -> None:
    engine, run = _started()
    for number in range(8, 24):
        before = engine.follow(run, _frame("FluoroA", number, 0.1 * number, 0.4 * (number - 8)), CementScene()).view
    assert before.seen
    assert before.area_px > 0.0
    seen = []
    for number in range(24, 30):
        frame = _frame("FluoroA", number, 4.0 + 0.1 * number, 6.0)
        pixels = frame.pixels.copy()
        pixels[:, 8:70] = pixels[:, 8:70] * 0.65  # from border to border, within the field
        seen.append(engine.follow(run, replace(frame, pixels=pixels), CementScene()).view)
    assert all(not view.seen or view.area_px < 3.0 * before.area_px for view in seen)
    for number in range(30, 40):
        after = engine.follow(run, _frame("FluoroA", number, 4.0 + 0.1 * number, 6.0), CementScene()).view
    assert after.seen
    assert 0.7 * before.area_px < after.area_px < 1.4 * before.area_px


def test_much_cement_at_once_is_cement() -> None:
    """A recording may begin late: a lump in the first frame can be."""
    engine, run = _started()
    for number in range(8, 14):
        view = engine.follow(run, _frame("FluoroA", number, 0.1 * number, 5.0), CementScene()).view
    assert view.seen
    assert view.area_px > 0.8 * np.pi * 10.0**2


def test_more_than_can_have_flowed_is_told_as_something_over_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, run = _started()
    follow = CementTracker.follow

    def mistaken(*asked: Any, **how: Any) -> CementView:
        view = follow(*asked, **how)
        return replace(view, area_px=0.5 * SIDE_PX**2) if view.sequence in (20, 21) else view

    monkeypatch.setattr(CementTracker, "follow", mistaken)
    views = [
        engine.follow(run, _frame("FluoroA", number, 0.1 * number, 0.4 * (number - 8)), CementScene()).view
        for number in range(8, 24)
    ]
    assert [view.sequence for view in views if not view.seen] == [20, 21]
    assert {view.code for view in views if not view.seen} == {"covered"}


def test_cement_that_is_four_times_as_thick_at_once_has_something_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hand that comes in darkens what is known to be cement first: 1 ml does not become 4 in a tenth of a second."""
    engine, run = _started()
    follow = CementTracker.follow

    def darkened(*asked: Any, **how: Any) -> CementView:
        view = follow(*asked, **how)
        sum_mm_px = 16_000.0 if view.sequence in (20, 21) else 4_000.0
        return replace(view, thickness_sum_mm_px=sum_mm_px, mm_per_px=0.5)

    monkeypatch.setattr(CementTracker, "follow", darkened)
    views = [
        engine.follow(run, _frame("FluoroA", number, 0.1 * number, 0.4 * (number - 8)), CementScene()).view
        for number in range(8, 24)
    ]
    assert [view.sequence for view in views if not view.seen] == [20, 21]


def test_a_pose_seen_again_for_the_first_time_tells_what_may_have_come_since() -> None:
    """Its geometry may still be the former's, so that it is not in the body, which is 2.5 s old."""
    engine, run = _started()
    for number in range(8, 24):
        radius_mm = 6.0 * ((number - 7) / 16.0) ** (1.0 / 3.0)
        before = engine.follow(run, _frame("FluoroA", number, 0.1 * number, radius_mm), CementScene()).body
    assert before.volume_high_ml is not None
    assert " old" not in before.reason
    frame = replace(_frame("FluoroA", 24, 4.8, 8.0), steady=False)
    told = engine.follow(run, frame, CementScene()).body
    assert told.volume_low_ml == before.volume_low_ml
    assert told.volume_high_ml is not None
    came_ml = 4.0 / 3.0 * np.pi * (8.0**3 - 6.0**3) / 1000.0
    assert before.volume_high_ml + came_ml < told.volume_high_ml < before.volume_high_ml + 3.5 * came_ml
    assert "2.5 s old" in told.reason


def _body() -> tuple[CementSpace, F32]:
    """A block of soft tissue with bars of bone in it, and the log attenuation that a picture of it shows."""
    hu = np.full((60, 60, 60), 40.0)
    hu[:, 20:40, 8:52:9] = 900.0
    hu[6:54:9, 20:40, :] = 900.0
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -59.0
    space = cement_space(hu.astype(np.int16), affine)
    matrix = np.array(_matrix(0.0)).reshape(3, 4)
    shadow = BodyProjector(opened(space)).shadow(matrix, SIDE_PX, SIDE_PX, kvp=80.0)
    assert shadow is not None
    return space, np.asarray(cv2.resize(shadow.contrast, (SIDE_PX, SIDE_PX)), np.float32)


def _of_body(number: int, attenuation: F32, radius_mm: float) -> CementFrame:
    frame = _frame("FluoroA", number, 0.1 * number, 0.0)
    v, u = np.mgrid[:SIDE_PX, :SIDE_PX]
    off_mm = 0.5 * np.hypot(u - 63.5, v - 63.5)
    through = attenuation - np.median(attenuation) + 0.12 * np.sqrt(np.maximum(radius_mm**2 - off_mm**2, 0.0))
    counts = np.random.default_rng(number).poisson(1500.0 * np.exp(-through) + 600.0)
    return replace(frame, pixels=np.clip(counts * 4.0, 0, 65535).astype(np.uint16))


@pytest.mark.parametrize("flows_from", [10, 18])
def test_a_volume_that_is_known_after_the_start_tells_the_scatter_of_what_shows_no_cement_yet(flows_from: int) -> None:
    space, attenuation = _body()
    run = CementRun(
        number=1,
        material=CementMaterial(opacity_per_mm=0.06),
        started_ns=round(0.95 * NS),
        after_sequence=(("FluoroA", 9),),
    )
    views = []
    for known_from in (10, 16):
        engine = CementEngine(CementSettings())
        for number in range(10):
            engine.keep(_of_body(number, attenuation, 0.0))
        told = []
        for number in range(10, 30):
            scene = CementScene(space=space if number >= known_from else None)
            radius_mm = min(max(number - flows_from, 0), 8.0)
            told.append(engine.follow(run, _of_body(number, attenuation, radius_mm), scene).view)
        views.append(told)
    at_once, late = views
    assert at_once[-1].scatter_sigma < 0.3 <= late[0].scatter_sigma
    assert late[-1].area_px == pytest.approx(at_once[-1].area_px, rel=0.05)
    if flows_from > 16:
        assert late[-1].scatter_sigma == at_once[-1].scatter_sigma
        assert late[-1].thickness_sum_mm_px == pytest.approx(at_once[-1].thickness_sum_mm_px, rel=0.05)
    else:
        # What has been seen is not forgotten for it: when it came is known.
        arrived = late[-1].arrival_s
        assert arrived is not None
        assert np.nanmin(arrived) < 0.5
