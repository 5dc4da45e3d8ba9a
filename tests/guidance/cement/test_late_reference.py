"""A view first looked at with cement in it: drawn pictures of a known body, with a ball of cement and a shaft."""

from __future__ import annotations

import zlib
from functools import cache

import cv2
import numpy as np
import pytest

from guidance.cement.body_shadow import BodyProjector
from guidance.cement.kept_views import KeptView, KeptViews
from guidance.cement.late_reference import LateReference, late_reference
from guidance.cement.opacity import Opacity
from guidance.cement.predicted_picture import PREDICTED_BINS
from guidance.cement.reference import reference_picture
from guidance.cement.scatter import Scatter
from guidance.cement.space import CementSpace, OpenSpace, opened
from guidance.cement.values import CementFrame
from guidance.geometry.intensity import PixelIntensity
from guidance.kernels.rod_values import METAL_STEP, MetalMask
from guidance.messages import F32, F64, CementView
from guidance.tracking.values import SeenInstrument
from tests.helpers.cement_views import cement_view

SIDE, SIZE, MM = 120, 256, 0.4  # volume in mm; picture; mm of a pixel at the middle
BALL_MM, DISTANCE_MM = 9.0, 750.0
BALL = np.array([4.0, 0.0, 6.0])
ADDED = 0.5  # log contrast of the ball's middle
GAIN = 0.7  # scatter takes so much of the contrast


@cache
def body() -> tuple[OpenSpace, BodyProjector]:
    random = np.random.default_rng(3)
    hu = np.full((SIDE, SIDE, SIDE), 54.0)
    for _ in range(40):
        k, j, i = random.integers(5, SIDE - 25, 3)
        size = random.integers(4, 20, 3)
        hu[k : k + size[0], j : j + size[1], i : i + size[2]] = random.uniform(400.0, 1300.0)
    packed = zlib.compress(np.clip((hu + 1024.0) / 16.0 + 0.5, 0.0, 255.0).astype(np.uint8).tobytes(), 1)
    first = -(SIDE - 1.0) / 2.0
    space = opened(
        CementSpace(
            tissue=packed,
            hu_code=packed,
            shape_kji=(SIDE, SIDE, SIDE),
            spacing_mm=1.0,
            origin_lps_mm=(first, first, first),
        )
    )
    return space, BodyProjector(space)


def matrix(lateral: bool = False) -> F64:
    focal, middle = DISTANCE_MM / MM, (SIZE - 1) / 2.0
    ahead, right = ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0)) if lateral else ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    camera = np.array([(*right, 0.0), (0.0, 0.0, -1.0, 0.0), (*ahead, DISTANCE_MM)])
    return np.asarray(np.array([[focal, 0.0, middle], [0.0, focal, middle], [0.0, 0.0, 1.0]]) @ camera)


def place(pixel_from_patient: F64, point: F64) -> tuple[float, float]:
    u, v, w = pixel_from_patient @ np.append(point, 1.0)
    return float(u / w), float(v / w)


def ball(pixel_from_patient: F64) -> F32:
    """Length of rays in it, 1 at its middle."""
    u, v = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    middle = place(pixel_from_patient, BALL)
    away = np.hypot(u - middle[0], v - middle[1]) * MM
    return np.asarray(np.sqrt(np.clip(1.0 - (away / BALL_MM) ** 2, 0.0, None)), np.float32)


def lateral_view(age_s: float = 0.0, speed_px_s: float | None = None) -> KeptView:
    views = KeptViews()
    view: CementView = cement_view(
        (ball(matrix(lateral=True)) > 0.0).astype(np.uint8),
        pixel_from_patient=tuple(matrix(lateral=True).ravel()),
        mm_per_px=MM,
        motion=(0.0, 0.0, 0.0),
        received_ns=-round(age_s * 1e9),
        front_speed_px_s=speed_px_s,
    )
    assert views.add(view)
    assert views.newest is not None
    return views.newest


def told(
    added: F32,
    *,
    shift_px: float = 0.0,
    instruments: tuple[SeenInstrument, ...] = (),
    other: KeptView | None = None,
    metal: MetalMask | None = None,
) -> LateReference | None:
    """What is found in frames of the body with so much more log contrast in them."""
    space, projector = body()
    predicted = projector.shadow(matrix(), SIZE, SIZE, bins=PREDICTED_BINS)
    assert predicted is not None
    shown = cv2.resize(predicted.contrast, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    shown = cv2.warpAffine(shown, np.array([[1.0, 0.0, shift_px], [0.0, 1.0, 0.0]]), (SIZE, SIZE), borderMode=1)
    wide = 0.3 * np.sin(np.linspace(0.0, 3.0, SIZE))[None, :]  # of what the volume does not hold
    mean = 40_000.0 * np.exp(-(GAIN * (shown - shown.min()) + wide + added))
    random = np.random.default_rng(5)
    frames = [
        CementFrame(
            device="Fluoro",
            sequence=number,
            frame_number=number,
            received_ns=number,
            time_ns=number,
            pixels=np.clip(mean * (1.0 + 0.02 * random.standard_normal(mean.shape)), 1, 65535).astype(np.uint16),
            intensity=PixelIntensity(),
            pixel_from_patient=tuple(matrix().ravel()),
        )
        for number in range(5)
    ]
    views = (lateral_view() if other is None else other,)
    return late_reference(reference_picture(frames), predicted, space, views, (), instruments, metal)


def shaft(angle_deg: float = 90.0) -> tuple[F32, SeenInstrument]:
    """A rod of steel of 2 mm from above to the ball's middle."""
    tip = np.array(place(matrix(), BALL))
    back = np.array([np.cos(np.deg2rad(angle_deg)), -np.sin(np.deg2rad(angle_deg))])
    marks = np.zeros((SIZE, SIZE), np.uint8)
    end = tip + 400.0 * back
    cv2.line(marks, tuple(np.rint(tip).astype(int)), tuple(np.rint(end).astype(int)), (1,), thickness=5)
    seen = SeenInstrument(
        path_id="P1",
        centreline_px=np.stack([tip + 90.0 * back, tip]),
        tip_px=(float(tip[0]), float(tip[1])),
        tip_sigma_px=0.5,
        tip_unknown="",
        sigma_px=0.2,
        diameter_px=5.0,
        contrast=0.9,
        score=0.9,
        bend_px=0.0,
    )
    return np.float32(0.9) * marks, seen


def share_found(late: LateReference, true: F32) -> tuple[float, float]:
    """Dice of what was found, and the sum of contrast over the true one within the ball."""
    found, there = late.contrast > 0.0, true > 0.05
    dice = 2.0 * np.count_nonzero(found & there) / (np.count_nonzero(found) + np.count_nonzero(there))
    return float(dice), float(late.contrast.sum() / true.sum())


@pytest.mark.parametrize("shift_px", [0.0, 6.0])
def test_cement_is_told_from_a_body_that_the_volume_predicts_wherever_the_patient_lies(shift_px: float) -> None:
    true = np.float32(ADDED) * ball(matrix())
    late = told(true, shift_px=shift_px)
    assert late is not None
    dice, total = share_found(late, true)
    assert dice > 0.93
    assert total == pytest.approx(1.0, abs=0.1)


def test_where_there_is_no_cement_none_is_told() -> None:
    late = told(np.zeros((SIZE, SIZE), np.float32))
    assert late is not None
    assert not late.contrast.any()
    assert np.array_equal(late.before.attenuation, late.reference.attenuation)


def test_what_lies_where_the_other_view_has_no_cement_is_none() -> None:
    lower = np.float32(ADDED) * np.roll(ball(matrix()), 80, axis=0)
    late = told(lower)
    assert late is not None
    assert not late.contrast.any()


def test_cement_that_has_gone_on_since_the_other_view_was_left_is_told() -> None:
    """12 mm below what that showed: as far as the front goes in the meantime."""
    true = np.float32(ADDED) * np.maximum(ball(matrix()), np.roll(ball(matrix()), 30, axis=0))
    for age_s, speed_px_s in ((10.0, None), (3.0, 4.0 / MM)):
        late = told(true, other=lateral_view(age_s, speed_px_s))
        assert late is not None
        dice, total = share_found(late, true)
        assert dice > 0.93
        assert total == pytest.approx(1.0, abs=0.1)


def test_what_cannot_have_come_since_but_hangs_together_with_cement_is_unknown() -> None:
    """It is cement that is faster than any, or something over it: never what the patient looked like before."""
    true = np.float32(ADDED) * np.maximum(ball(matrix()), np.roll(ball(matrix()), 30, axis=0))
    late = told(true)
    assert late is not None
    there = true > 0.2
    assert np.all((late.contrast > 0.0)[there] | (late.reference.valid == 0)[there])
    assert 0.1 < np.mean(late.reference.valid[there] == 0) < 0.7


def test_metal_of_the_volume_is_no_cement_and_what_lies_over_it_is_unknown() -> None:
    true = np.float32(ADDED) * ball(matrix())
    u, v = (round(number) for number in place(matrix(), BALL))
    plate = np.zeros((SIZE, SIZE), np.float32)
    cv2.circle(plate, (u + 30, v), 26, (1.2,), -1)  # beyond what the volume predicts of it
    cells = cv2.dilate((plate[::METAL_STEP, ::METAL_STEP] > 0.0).astype(np.uint8), np.ones((3, 3), np.uint8))
    late = told(true + plate, metal=MetalMask(np.ascontiguousarray(cells, np.uint8)))
    assert late is not None
    over = plate > 0.0
    assert not (late.contrast[over] > 0.0).any()
    assert (late.reference.valid[over & (true > 0.0)] == 0).all()
    assert np.mean((late.contrast > 0.0)[(true > 0.3) & (cv2.dilate(plate, np.ones((17, 17))) == 0.0)]) > 0.95


def test_another_picture_tells_nothing() -> None:
    random = np.random.default_rng(8)
    other = cv2.GaussianBlur(random.standard_normal((SIZE, SIZE)), (0, 0), 4.0)
    assert told((other / other.std()).astype(np.float32)) is None


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("angle_deg", [90.0, 52.0])
def test_a_shaft_is_no_cement_and_cement_goes_on_before_and_behind_it(seen: bool, angle_deg: float) -> None:
    steel, instrument = shaft(angle_deg)
    true = np.float32(ADDED) * ball(matrix())
    late = told(true + steel, instruments=(instrument,) if seen else ())
    assert late is not None
    dice, total = share_found(late, true)
    assert dice > 0.88
    assert total == pytest.approx(1.0, abs=0.2)


def test_a_thickness_goes_with_scatter_and_without_an_opacity_the_picture_is_that_without_cement() -> None:
    late = told(np.float32(ADDED) * ball(matrix()))
    assert late is not None
    contrast = np.linspace(0.0, 6.0, 512, dtype=np.float32)
    opacity = Opacity(contrast=contrast, thickness_mm=contrast * 10.0, per_mm=0.1, relative_sigma=0.05, kvp=80.0)
    share = np.full(late.contrast.shape, 0.3, np.float32)
    scatter = Scatter(share=share, counts=share, sigma=0.0, primary_sigma=0.0, ratio=0.4, sources=())
    reference, thickness = late.told(opacity, scatter)
    assert reference is late.reference
    primary = (np.exp(-late.contrast) - 0.3) / 0.7
    assert thickness == pytest.approx(-10.0 * np.log(primary), abs=0.05)
    before, marks = late.told(None, scatter)
    assert np.array_equal(before.attenuation, late.reference.attenuation - late.contrast)
    assert np.array_equal(marks > 0.0, late.contrast > 0.0)
