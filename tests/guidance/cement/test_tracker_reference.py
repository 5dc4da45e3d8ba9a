"""Pictures before the cement: kept by pose, put together, and what their numbers mean."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from drivers.commands.cement_speed_scene import SpeedScene
from guidance.cement.picture_scale import field_of, open_field, scale_of, wider
from guidance.cement.reference import LEAST_FRAMES, MOST_FRAMES, ReferenceFrames, reference_picture, same_pose
from guidance.cement.tracker import CementTracker
from guidance.cement.values import CementFrame
from guidance.config import CementSettings
from guidance.errors import CaseError
from guidance.geometry.intensity import PixelIntensity
from guidance.kernels.cement import bin_frame
from simulators.gantry import Gantry

SCENE = SpeedScene(side=256, before=12, frames=1, photons=60.0)


@pytest.fixture(scope="module")
def frames() -> list[CementFrame]:
    return list(SCENE.pictures())[:12]


def posed(frame: CementFrame, primary_deg: float, table_x_mm: float = 0.0) -> CementFrame:
    gantry = Gantry(
        primary_deg=primary_deg,
        secondary_deg=0.0,
        detector_rows=256,
        detector_columns=256,
        pitch_row_mm=0.8,
        pitch_column_mm=0.8,
        table_mm=(table_x_mm, 0.0, 0.0),
    )
    return replace(frame, pixel_from_patient=tuple(gantry.pixel_from_patient().ravel()))


def test_the_last_frames_of_each_pose_are_kept(frames: list[CementFrame]) -> None:
    kept = ReferenceFrames()
    for number in range(3 * MOST_FRAMES):
        kept.add(posed(frames[number % 12], 0.0 if number % 2 else 90.0))
    assert [len(n) for n in kept.poses("Fluoro")] == [MOST_FRAMES, MOST_FRAMES]
    assert len(kept.of(posed(frames[0], 90.3))) == MOST_FRAMES
    assert kept.of(posed(frames[0], 45.0)) == ()
    assert kept.poses("FluoroB") == ()
    kept.clear()
    assert kept.poses("Fluoro") == ()


def test_memory_is_bounded(frames: list[CementFrame]) -> None:
    kept = ReferenceFrames()
    large = replace(frames[0], pixels=np.zeros((4096, 4096), np.uint16))  # 32 MiB each
    for _ in range(20):
        kept.add(large)
    assert [len(n) for n in kept.poses("Fluoro")] == [LEAST_FRAMES]
    for primary in range(0, 180, 10):
        kept.add(posed(frames[0], float(primary)))
    assert len(kept.poses("Fluoro")) == 4


def test_what_one_pose_is(frames: list[CementFrame]) -> None:
    here = posed(frames[0], 0.0)
    assert same_pose(here, posed(frames[1], 0.5))
    assert same_pose(here, posed(frames[1], 0.0, table_x_mm=10.0))
    assert not same_pose(here, posed(frames[1], 5.0))
    assert not same_pose(here, posed(frames[1], 0.0, table_x_mm=60.0))
    assert not same_pose(here, frames[1])
    assert same_pose(frames[0], frames[1])
    assert not same_pose(frames[0], replace(frames[1], pixels=frames[1].pixels.astype(np.float32)))


def test_mean_and_noise_of_a_reference(frames: list[CementFrame]) -> None:
    reference = reference_picture(frames)
    newest = replace(SCENE, photons=1e9)
    clean = list(newest.pictures())[11]
    inside = (slice(12, -12), slice(12, -12))
    off = reference.attenuation + np.log(clean.pixels)
    assert reference.frames == 12
    assert abs(float(np.median(off[inside]))) < 0.01
    photons = 60.0 * 4.0 * clean.pixels / 9000.0
    smooth = np.median(np.sqrt(reference.variance * photons)[inside])
    assert smooth == pytest.approx(1.0, abs=0.12)
    assert float(np.std(off[inside])) < 0.45 * float(np.sqrt(np.mean(1.0 / photons)))


@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_few_frames_are_no_reference(count: int, frames: list[CementFrame]) -> None:
    with pytest.raises(CaseError) as error:
        reference_picture(frames[:count])
    assert error.value.code == "no_reference"


def test_nothing_to_see_is_no_reference(frames: list[CementFrame]) -> None:
    for value in (0, 65535):
        dead = [replace(n, pixels=np.full_like(n.pixels, value)) for n in frames]
        with pytest.raises(CaseError) as error:
            reference_picture(dead)
        assert error.value.code == "no_reference"


def test_one_frame_may_be_a_reference_where_it_is_asked_for(frames: list[CementFrame]) -> None:
    reference = reference_picture(frames[:1], least=1)
    assert reference.frames == 1
    photons = 60.0 * 4.0 * frames[0].pixels / 9000.0
    assert np.median(np.sqrt(reference.variance * photons)) == pytest.approx(1.0, abs=0.3)


def test_overlay_planes_in_high_bits_are_not_picture(frames: list[CementFrame]) -> None:
    """DICOM PS3.5 8.1.2: 12 bits stored of 16, graphics in bit 15 (retired)."""
    graphics = np.zeros((256, 256), np.uint8)
    cv2.putText(graphics, "L 12:30", (20, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1, 2)
    drawn = [replace(n, pixels=(n.pixels // 4) | (graphics.astype(np.uint16) << 15)) for n in frames]
    plain = [replace(n, pixels=n.pixels // 4) for n in frames]
    scale = scale_of(drawn)
    assert scale.bits & 0x8FFF == 0x0FFF
    ours, theirs = reference_picture(drawn), reference_picture(plain)
    np.testing.assert_allclose(ours.attenuation, theirs.attenuation, atol=1e-6)
    view = CementTracker(ours, opacity=None, scatter=None, settings=CementSettings(), started_ns=0).follow(drawn[0])
    assert view.seen
    bright = frames[0].pixels.copy()
    bright[100:110, 100:110] = 50_000  # real numbers beyond the others are no graphics
    assert scale_of([replace(frames[0], pixels=bright)]).bits == 0


def test_graphics_in_the_shadow_of_blades_are_no_picture_either(frames: list[CementFrame]) -> None:
    columns = np.arange(256.0)
    through = np.clip(0.02 * 2.0 ** (columns - 20.0), 0.02, 1.0)  # a blade's blurred edge
    through = np.minimum(through, through[::-1])
    noise = np.random.default_rng(4).poisson(3.0, (256, 256))  # behind it there is little, and that is noise
    bladed = np.minimum(np.outer(through, through) * (frames[-1].pixels // 16) + noise, 4000).astype(np.uint16)
    bladed[[16, -16], 16:-16] |= np.uint16(0x9000)
    bladed[128, 64:192] |= np.uint16(0x9000)
    assert scale_of([replace(frames[-1], pixels=bladed)]).bits == 0x0FFF


def test_another_exposure_may_need_bits_that_no_picture_had_at_first(frames: list[CementFrame]) -> None:
    dark = (frames[-1].pixels // 40).astype(np.uint16)
    assert dark.max() < 1024
    graphics = np.zeros((256, 256), np.uint16)
    graphics[128, 64:192] = 0x9000
    scale = scale_of([replace(frames[-1], pixels=dark | graphics)])
    brighter = np.asarray((4 * dark) | graphics, np.uint16)
    assert int((4 * dark).max()) > 1024
    wide = wider(scale, brighter)
    assert wide is not None
    _, seen, _, _ = bin_frame(brighter, wide)
    assert seen.all()


@pytest.mark.parametrize("side", range(4))
def test_blades_with_much_scatter_behind_them_are_found_by_their_straight_edge(
    frames: list[CementFrame], side: int
) -> None:
    places = np.arange(256.0)
    through = np.rot90(np.where(places[:, None] > 225.0, 0.35, 1.0) * np.ones(256), -side)
    u, v = np.meshgrid(places - 127.5, places - 127.5)
    closed = np.where(np.hypot(u, v) > 125.0, 0.0, cv2.GaussianBlur(through, (0, 0), 1.0) * frames[0].pixels)
    bladed = replace(frames[0], pixels=closed.astype(np.uint16))
    opened = np.rot90(open_field(bladed.pixels, scale_of([bladed])), side)
    assert not opened[224:].any()
    assert opened[40:216, 100:156].all()


def test_a_body_that_ends_in_the_picture_is_no_blade(frames: list[CementFrame]) -> None:
    places = np.arange(256.0)
    skin = 200.0 + 12.0 * np.sin(places / 40.0)  # beyond it there is more, before it less
    flank = np.where(places[:, None] > skin, 1.0, 0.3) * np.ones(256)
    for turns in range(4):
        body = np.ascontiguousarray(np.rot90(flank, turns) * (frames[0].pixels // 2 + 1000)).astype(np.uint16)
        frame = replace(frames[0], pixels=body)
        assert open_field(frame.pixels, scale_of([frame])).all()
        dense = np.ascontiguousarray(np.rot90(1.3 - flank, turns) * (frames[0].pixels // 2 + 1000)).astype(np.uint16)
        frame = replace(frames[0], pixels=dense)
        assert open_field(frame.pixels, scale_of([frame])).all()


def test_blades_and_shutters_are_found(frames: list[CementFrame]) -> None:
    closed = frames[0].pixels.astype(np.float32)
    closed[:, :40] *= 0.02
    closed[230:] *= 0.02
    closed[100:110, 120:130] = 30.0  # steel in the middle
    bladed = replace(frames[0], pixels=np.maximum(closed, 1).astype(np.uint16))
    field = open_field(bladed.pixels, scale_of([bladed]))
    assert field[:, :38].sum() == 0
    assert field[232:].sum() == 0
    assert field[60:220, 50:240].all()
    v, u = np.indices((256, 256)) - 127.5
    shutter = replace(frames[0], pixels=np.where(np.hypot(u, v) < 110, frames[0].pixels, 0).astype(np.uint16))
    field = open_field(shutter.pixels, scale_of([shutter]))
    assert field[128, 30:220].all()
    assert field[:16, :16].sum() == 0


def test_the_told_field_and_its_nonsense(frames: list[CementFrame]) -> None:
    assert field_of(replace(frames[0], collimator_px=(10, 20, 200, 210))) == (10, 20, 200, 210)
    assert field_of(replace(frames[0], collimator_px=(-5, -5, 900, 900))) == (0, 0, 255, 255)
    assert field_of(replace(frames[0], collimator_px=(200, 20, 10, 210))) == (0, 0, 255, 255)


def test_a_range_that_grows_is_not_saturation(frames: list[CementFrame]) -> None:
    dim = [replace(n, pixels=n.pixels // 8) for n in frames]
    scale = scale_of(dim)
    wide = wider(scale, frames[0].pixels)
    assert wide is not None
    assert wide.high > frames[0].pixels.max()
    assert wider(scale, dim[0].pixels) is None
    view = CementTracker(
        reference_picture(dim), opacity=None, scatter=None, settings=CementSettings(), started_ns=0
    ).follow(frames[-1])
    assert view.seen
    assert view.gain == pytest.approx(8.0, rel=0.02)


@pytest.mark.parametrize(("relationship", "sign"), [("LIN", -1), ("LOG", 1), ("LOG", -1), ("DISP", 1)])
def test_denser_is_more_whatever_the_numbers_mean(relationship: str, sign: int, frames: list[CementFrame]) -> None:
    values = frames[0].pixels.astype(np.float64)
    shown = values if relationship == "LIN" else 6000.0 * np.log(values)
    shown = 65535.0 - shown if sign < 0 else shown
    frame = replace(
        frames[0],
        pixels=np.clip(shown, 1, 65534).astype(np.uint16),
        intensity=PixelIntensity(relationship=relationship, sign=sign),
    )
    attenuation = reference_picture([frame], least=1).attenuation
    assert np.corrcoef(attenuation.ravel(), -np.log(values).ravel())[0, 1] > 0.999
