"""New cement in one view: found, measured, and told apart from everything else that changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from drivers.commands.cement_speed_scene import PER_MM, SpeedScene
from guidance.cement.opacity import Opacity
from guidance.cement.reference import ReferencePicture, reference_picture
from guidance.cement.tracker import REASONS, CementTracker
from guidance.cement.values import CementFrame
from guidance.config import CementSettings
from guidance.geometry.intensity import PixelIntensity
from guidance.messages import F32, U8, CementView
from guidance.tracking.values import SeenInstrument

SCENE = SpeedScene(side=256, before=10, frames=24, photons=60.0)  # as many photons per pixel as at 512
STARTED_NS = 1_000_000_000_000


@pytest.fixture(scope="module")
def frames() -> list[CementFrame]:
    return list(SCENE.pictures())


@pytest.fixture(scope="module")
def reference(frames: list[CementFrame]) -> ReferencePicture:
    return reference_picture(frames[: SCENE.before])


def opacity() -> Opacity:
    contrast = np.linspace(0.0, 6.0, 512, dtype=np.float32)
    return Opacity(
        contrast=contrast, thickness_mm=contrast / np.float32(PER_MM), per_mm=PER_MM, relative_sigma=0.05, kvp=80.0
    )


def tracker(reference: ReferencePicture, **changes: Any) -> CementTracker:
    told = {"opacity": opacity(), "scatter": None, "settings": CementSettings(), "started_ns": STARTED_NS}
    return CementTracker(reference, **(told | changes))


def follow(of: CementTracker, frames: Sequence[CementFrame], **told: Any) -> list[CementView]:
    return [of.follow(frame, **told) for frame in frames]


def changed(frame: CementFrame, pixels: np.ndarray) -> CementFrame:
    return replace(frame, pixels=pixels)


def dice(a: U8, b: U8) -> float:
    return float(2.0 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))


def still(frames: list[CementFrame], count: int, scene: SpeedScene = SCENE) -> list[CementFrame]:
    """More frames without cement."""
    quiet = list(replace(scene, before=scene.before + count, frames=1).pictures())[:count]
    return [replace(n, time_ns=frames[SCENE.before].time_ns + round(k / 15 * 1e9)) for k, n in enumerate(quiet)]


def test_growing_cement_is_found_and_measured(frames: list[CementFrame], reference: ReferencePicture) -> None:
    views = follow(tracker(reference), frames[SCENE.before :])
    assert all(view.seen and view.code == "" for view in views)
    for number in (8, 16, 23):
        view = views[number]
        truth = SCENE.open_mask(number)
        assert view.mask is not None
        assert view.thickness_mm is not None
        assert dice(view.mask, truth) > 0.93
        assert view.area_px == pytest.approx(np.count_nonzero(truth), rel=0.1)
        assert view.area_px == pytest.approx(np.count_nonzero(view.mask), rel=0.02)
    last = views[-1]
    true_sum = float(SCENE.thickness_mm(23).sum())
    assert last.thickness_sum_mm_px == pytest.approx(true_sum, rel=0.1)
    assert last.thickness_sigma_mm_px is not None
    assert abs((last.thickness_sum_mm_px or 0.0) - true_sum) < 3.0 * last.thickness_sigma_mm_px
    assert last.thickness_mm is not None
    assert last.thickness_sum_mm_px == pytest.approx(float(last.thickness_mm.sum()), rel=1e-4)
    assert not last.out_of_picture
    # 40 px at 512 in 24 frames at 15 frames/s: 12.5 px/s here.
    assert last.front_speed_px_s == pytest.approx(12.5, rel=0.35)


def test_times_growth_and_outline_hang_together(frames: list[CementFrame], reference: ReferencePicture) -> None:
    views = follow(tracker(reference, settings=CementSettings(growth_frames=4)), frames[SCENE.before :])
    last = views[-1]
    assert last.mask is not None
    assert last.grown is not None
    assert last.arrival_s is not None
    assert last.blind is not None
    inside = last.mask > 0
    assert np.isfinite(last.arrival_s[inside]).all()
    assert np.isnan(last.arrival_s[~inside]).all()
    assert not last.grown[~inside].any()
    recent = last.time_s - 3.5 / 15.0
    np.testing.assert_array_equal(last.grown[inside] > 0, last.arrival_s[inside] > recent)
    outline = max(last.front_px, key=len)
    drawn = np.zeros(last.mask.shape, np.uint8)
    cv2.fillPoly(drawn, [np.rint(outline).astype(np.int32)], 1)
    assert dice(drawn, last.mask) > 0.95
    after = np.roll(outline, -1, axis=0)
    assert np.sum(outline[:, 0] * after[:, 1] - after[:, 0] * outline[:, 1]) > 0.0
    for array in (last.mask, last.blind, last.arrival_s, last.grown):
        assert not array.flags.writeable


def test_nothing_is_found_where_nothing_grows(frames: list[CementFrame], reference: ReferencePicture) -> None:
    for seed_photons in (60.0, 15.0, 240.0):
        scene = replace(SCENE, photons=seed_photons)
        quiet = list(replace(scene, before=50, frames=1).pictures())[:50]
        view = follow(tracker(reference_picture(quiet[:10])), quiet[10:])[-1]
        assert view.mask is not None
        assert np.count_nonzero(view.mask) == 0
        assert view.front_px == ()
        assert view.area_px == 0.0


def test_one_millimetre_is_found_at_clinical_dose() -> None:
    """2.5 % contrast in pixels with 6 % of noise each."""
    scene = replace(SCENE, frames=2, before=40)
    quiet = list(scene.pictures())[:40]
    layer = np.zeros((256, 256), np.float32)
    cv2.circle(layer, (150, 120), 14, 1.0, -1)
    shadow = np.exp(-0.025 * cv2.GaussianBlur(layer, (0, 0), 0.7))
    of = tracker(reference_picture(quiet[:12]), opacity=replace(opacity(), per_mm=0.025))
    table = replace(opacity(), thickness_mm=opacity().contrast / np.float32(0.025), per_mm=0.025)
    of.set_opacity(table)
    follow(of, quiet[12:16])
    views = follow(of, [changed(n, (n.pixels * shadow).astype(np.uint16)) for n in quiet[16:]])
    assert views[-1].mask is not None
    assert dice(views[-1].mask, (layer > 0).astype(np.uint8)) > 0.55


def test_exposure_changes_are_taken_out(frames: list[CementFrame], reference: ReferencePicture) -> None:
    of = tracker(reference)
    follow(of, frames[SCENE.before : -4])
    brighter = [changed(n, (n.pixels * 1.35).astype(np.uint16)) for n in frames[-4:]]
    views = follow(of, brighter)
    assert views[0].gain == pytest.approx(1.35, rel=0.01)
    assert views[-1].mask is not None
    assert dice(views[-1].mask, SCENE.open_mask(23)) > 0.93


def test_another_voltage_changes_contrast(frames: list[CementFrame], reference: ReferencePicture) -> None:
    of = tracker(reference)
    quiet = still(frames, 12)
    follow(of, quiet[:4])
    level = np.log(9000.0)
    softer = [changed(n, np.exp(level + 0.2 + 0.94 * (np.log(n.pixels) - level)).astype(np.uint16)) for n in quiet[4:]]
    views = follow(of, [replace(n, kvp=90.0) for n in softer])
    assert views[-1].mask is not None
    assert np.count_nonzero(views[-1].mask) == 0


@pytest.mark.parametrize(
    ("code", "spoil"),
    [
        ("frame_size_changed", lambda n: changed(n, np.ascontiguousarray(n.pixels[:200]))),
        ("scalar_type_changed", lambda n: changed(n, n.pixels.astype(np.float32))),
        ("saturated", lambda n: changed(n, np.full_like(n.pixels, 65535))),
        ("black", lambda n: changed(n, np.zeros_like(n.pixels))),
        ("picture_changed", lambda n: changed(n, np.ascontiguousarray(n.pixels[::-1, ::-1].T))),
        ("intensity_changed", lambda n: replace(n, intensity=PixelIntensity(relationship="DISP"))),
    ],
)
def test_a_frame_without_sight_says_why_and_loses_nothing(
    code: str, spoil: Any, frames: list[CementFrame], reference: ReferencePicture
) -> None:
    of = tracker(reference)
    before = follow(of, frames[SCENE.before : -3])[-1]
    view = of.follow(spoil(frames[-3]))
    assert (view.seen, view.code, view.reason) == (False, code, REASONS[code])
    assert view.mask is None
    assert view.front_px == ()
    after = follow(of, frames[-2:])[-1]
    assert after.seen
    assert after.area_px > before.area_px
    assert after.mask is not None
    assert dice(after.mask, SCENE.open_mask(23)) > 0.9


def test_a_hand_from_the_border_is_not_cement(frames: list[CementFrame], reference: ReferencePicture) -> None:
    of = tracker(reference)
    follow(of, frames[SCENE.before : -10])
    views = []
    for number, frame in enumerate(frames[-10:]):
        hand = np.zeros((256, 256), np.float32)
        reach = 40 + 8 * number if number < 6 else 0
        if reach:
            cv2.ellipse(hand, (128, 256), (60, reach), 0.0, 0.0, 360.0, 0.25, -1)
        shadow = np.exp(-cv2.GaussianBlur(hand, (0, 0), 3.0))
        views.append(of.follow(changed(frame, (frame.pixels * shadow).astype(np.uint16))))
    covered = views[5]
    assert covered.seen
    assert covered.mask is not None
    assert covered.blind is not None
    assert np.count_nonzero(covered.mask[215:]) == 0
    assert covered.blind[235, 128] == 1
    last = views[-1]
    assert last.mask is not None
    assert last.blind is not None
    assert dice(last.mask, SCENE.open_mask(23)) > 0.9
    assert last.blind[235, 128] == 0


def test_a_needle_that_is_withdrawn_is_not_cement(frames: list[CementFrame]) -> None:
    quiet = still(frames, 30, replace(SCENE, move_px=0.0))

    def needle(of: list[CementFrame], tip: int) -> list[CementFrame]:
        layer = np.zeros((256, 256), np.float32)
        cv2.line(layer, (200, 0), (200, tip), 1.5, 7)
        shadow = np.exp(-cv2.GaussianBlur(layer, (0, 0), 0.7))
        return [changed(n, np.maximum(n.pixels * shadow, 1).astype(np.uint16)) for n in of]

    of = tracker(reference_picture(needle(quiet[:8], 150)))
    follow(of, needle(quiet[8:14], 150))
    views = [of.follow(needle([n], 150 - 8 * k)[0]) for k, n in enumerate(quiet[14:])]
    for view in views:
        assert view.mask is not None
        assert np.count_nonzero(view.mask) == 0
    assert views[-1].mask is not None
    assert views[5].blind is not None
    assert views[5].blind[130, 200] == 1


def test_what_lies_in_a_cannula_or_under_an_instrument_does_not_count(
    frames: list[CementFrame], reference: ReferencePicture
) -> None:
    of = tracker(reference)
    capsule = np.array([[140.0, 0.0, 150.0, 128.0, 12.0]])
    view = follow(of, frames[SCENE.before :], cannula_px=capsule)[-1]
    assert view.mask is not None
    assert view.blind is not None
    assert view.mask[124, 150] == 0
    assert view.blind[124, 150] == 1
    assert view.mask[135, 170] == 1
    seen = SeenInstrument(
        path_id="P1",
        centreline_px=np.array([[153.0, 60.0], [153.0, 126.0]]),
        tip_px=(153.0, 126.0),
        tip_sigma_px=1.0,
        tip_unknown="",
        sigma_px=0.2,
        diameter_px=8.0,
        contrast=1.0,
        score=0.9,
        bend_px=0.0,
    )
    follow_up = tracker(reference)
    follow(follow_up, frames[SCENE.before : -8])
    under = follow(follow_up, frames[-8:], instruments=(seen,))[-1]
    assert under.mask is not None
    assert under.blind is not None
    assert under.blind[100, 153] == 1
    assert under.mask[100, 153] == 0


def test_display_pictures_have_a_front_and_no_thickness(frames: list[CementFrame]) -> None:
    shown = [
        replace(
            n,
            pixels=np.clip(60.0 * (np.log(n.pixels) - 7.0), 0, 255).astype(np.uint8),
            intensity=PixelIntensity(relationship="DISP"),
        )
        for n in frames
    ]
    view = follow(tracker(reference_picture(shown[: SCENE.before])), shown[SCENE.before :])[-1]
    assert view.seen
    assert view.mask is not None
    assert dice(view.mask, SCENE.open_mask(23)) > 0.85
    assert (view.thickness_mm, view.thickness_sum_mm_px, view.thickness_sigma_mm_px) == (None, None, None)


def test_in_display_pictures_little_contrast_is_no_cement(frames: list[CementFrame]) -> None:
    """It may come from the display's curve: of another exposure, or of scatter that falls."""
    rows, columns = np.mgrid[0:256, 0:256]
    there = np.hypot(rows - 150.0, columns - 90.0) < 18.0

    def told(contrast: float) -> bool:
        def displayed(frame: CementFrame, more: float) -> CementFrame:
            numbers = 3000.0 * (np.log(frame.pixels) - more * there)
            return replace(frame, pixels=numbers.astype(np.uint16), intensity=PixelIntensity(relationship="DISP"))

        before = [displayed(frame, 0.0) for frame in frames[: SCENE.before]]
        after = [
            replace(displayed(frame, contrast), time_ns=now.time_ns, sequence=now.sequence)
            for frame, now in zip(frames[: SCENE.before], frames[SCENE.before :], strict=False)
        ]
        view = follow(tracker(reference_picture(before)), after)[-1]
        assert view.mask is not None
        return bool(view.mask[there].mean() > 0.5)

    assert not told(0.03)


def test_a_pause_is_told_and_survived(frames: list[CementFrame], reference: ReferencePicture) -> None:
    of = tracker(reference)
    before = follow(of, frames[SCENE.before : -8])[-1]
    late = [replace(n, time_ns=n.time_ns + 6_000_000_000) for n in frames[-3:]]
    views = follow(of, late)
    assert before.unseen_s == 0.0
    assert views[0].unseen_s == pytest.approx(6.0 + 6 / 15.0, abs=0.01)
    assert views[0].code == "unseen_before"
    assert views[1].unseen_s == 0.0
    assert views[1].code == ""
    assert views[-1].mask is not None
    assert dice(views[-1].mask, SCENE.open_mask(23)) > 0.9


def test_cement_that_was_there_before_the_first_picture_of_a_pose(frames: list[CementFrame]) -> None:
    """The pose is first seen with cement in it; what 3D knows of it counts, and growth is added."""
    begun = reference_picture(frames[SCENE.before + 8 : SCENE.before + 13])
    known: F32 = SCENE.thickness_mm(12)
    of = tracker(begun, known_mm=known)
    views = follow(of, frames[SCENE.before + 13 :])
    assert views[0].unseen_s == pytest.approx(12 / 15.0, abs=0.01)
    assert views[-1].mask is not None
    assert dice(views[-1].mask, SCENE.open_mask(23)) > 0.85


def test_scatter_makes_the_same_contrast_thicker(frames: list[CementFrame], reference: ReferencePicture) -> None:
    growing = frames[SCENE.before : SCENE.before + 8]
    plain = follow(tracker(reference), growing)[-1]
    half = np.full((16, 16), 0.4, np.float32)
    scattered = follow(tracker(reference, scatter=half), growing)[-1]
    assert plain.thickness_mm is not None
    assert scattered.thickness_mm is not None
    # -ln((exp(-0.05 t) - 0.4) / 0.6) / 0.05 at the middle.
    middle = (slice(124, 133), slice(150, 158))
    measured = float(plain.thickness_mm[middle].mean())
    expected = -np.log((np.exp(-PER_MM * measured) - 0.4) / 0.6) / PER_MM
    assert float(scattered.thickness_mm[middle].mean()) == pytest.approx(expected, rel=0.15)


def test_no_map_is_allocated_per_frame_and_none_is_written_that_is_held(
    frames: list[CementFrame], reference: ReferencePicture
) -> None:
    of = tracker(reference)
    held = of.follow(frames[SCENE.before + 20])
    assert held.mask is not None
    first = of.follow(frames[SCENE.before + 21])
    kept = first.blind
    assert kept is not None
    copy = kept.copy()
    addresses = set()
    for frame in frames[SCENE.before :]:
        view = of.follow(frame)
        assert view.mask is not None
        addresses.add(view.mask.ctypes.data)
    assert len(addresses) <= 2
    assert held.mask.ctypes.data not in addresses
    np.testing.assert_array_equal(kept, copy)


def test_cement_that_came_before_a_pose_is_seen_again_is_told_in_the_first_frame(
    frames: list[CementFrame], reference: ReferencePicture
) -> None:
    of = tracker(reference)
    late = [replace(n, time_ns=n.time_ns + 7_000_000_000) for n in frames[-2:]]
    first, second = follow(of, late)
    assert first.unseen_s == pytest.approx(7.0 + 23 / 15.0, abs=0.01)
    assert first.mask is not None
    assert second.mask is not None
    assert dice(first.mask, SCENE.open_mask(22)) > 0.9
    assert dice(second.mask, SCENE.open_mask(23)) > 0.9


def test_the_front_of_thick_cement_is_where_it_is_half_a_millimetre_thick() -> None:
    """Steep edges: a ball of 14 mm, whose chord goes from nothing to 4 mm within a pixel, and a layer beside it."""
    scene = replace(SCENE, move_px=0.0, before=44, frames=1)
    quiet = list(scene.pictures())[:44]
    v, u = np.indices((256, 256), np.float32)
    ball = 0.8 * np.sqrt(np.maximum(17.5**2 - (u - 150.0) ** 2 - (v - 120.0) ** 2, 0.0))
    of = tracker(reference_picture(quiet[:12]))
    follow(of, quiet[12:16])
    pictures = [changed(n, (n.pixels * np.exp(-PER_MM * ball)).astype(np.uint16)) for n in quiet[16:30]]
    view = follow(of, pictures)[-1]
    truth = (ball > 0.5).astype(np.uint8)
    assert view.mask is not None
    assert view.area_px == pytest.approx(np.count_nonzero(truth), rel=0.04)
    assert dice(view.mask, truth) > 0.975
    beside = ((np.abs(v - 120.0) < 7.0) & (u > 150.0) & (u < 195.0)).astype(np.float32)
    layered = np.exp(-PER_MM * (ball + 2.5 * beside))
    view = follow(of, [changed(n, (n.pixels * layered).astype(np.uint16)) for n in quiet[30:]])[-1]
    assert view.mask is not None
    assert np.count_nonzero(view.mask[115:126, 150:194]) > 0.98 * 11 * 44
