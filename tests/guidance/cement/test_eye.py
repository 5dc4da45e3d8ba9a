"""One input's eye: how large a pixel is where it looks, and what a view that is new is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from guidance.cement.engine import CementEngine
from guidance.cement.eye import mm_per_px_of
from guidance.cement.values import CementFrame, CementScene
from guidance.config import CementSettings
from guidance.geometry.intensity import PixelIntensity
from guidance.messages import CementMaterial, CementRun, CementView

MATRIX = (4000.0, 0.0, 511.5, 511.5 * 750.0, 0.0, 4000.0, 511.5, 511.5 * 750.0, 0.0, 0.0, 1.0, 750.0)


def test_a_pixel_is_told_at_the_isocentres_depth_and_without_geometry_not_at_all() -> None:
    def frame(**changes: object) -> CementFrame:
        values = {
            "device": "Fluoro",
            "sequence": 1,
            "frame_number": 1,
            "received_ns": 0,
            "time_ns": 0,
            "pixels": np.zeros((1024, 1024), np.uint16),
            "intensity": PixelIntensity(),
        }
        return CementFrame(**(values | changes))

    assert mm_per_px_of(frame()) is None
    assert mm_per_px_of(frame(pixel_from_patient=MATRIX)) == pytest.approx(750.0 / 4000.0)
    scaled = tuple(2.0 * value for value in MATRIX)
    assert mm_per_px_of(frame(pixel_from_patient=scaled)) == pytest.approx(750.0 / 4000.0)
    nearer = frame(pixel_from_patient=MATRIX, isocenter_lps_mm=(0.0, 0.0, -50.0))
    assert mm_per_px_of(nearer) == pytest.approx(700.0 / 4000.0)


SIDE, NS = 128, 1_000_000_000


def camera(primary_deg: float) -> tuple[float, ...]:
    """1500 px of focal length, 750 mm from the isocentre: pixels of half a millimetre there."""
    turn, middle = np.deg2rad(primary_deg), (SIDE - 1) / 2.0
    across, depth = np.array((np.cos(turn), np.sin(turn), 0.0)), np.array((np.sin(turn), -np.cos(turn), 0.0))
    rows = np.array((1500.0 * across + middle * depth, (0.0, 0.0, -1500.0) + middle * depth, depth))
    return tuple(np.column_stack((rows, 750.0 * np.array((middle, middle, 1.0)))).ravel().tolist())


def picture(number: int, primary_deg: float, hand_px: int | None = None) -> CementFrame:
    """A patient, 10 frames a second; a hand reaches from the left border to a column."""
    dense = cv2.GaussianBlur(np.random.default_rng(1).standard_normal((SIDE, SIDE)), (0, 0), 4.0) * 1.5
    dense[:, : 0 if hand_px is None else hand_px] += 0.4
    counts = np.random.default_rng(100 + number).poisson(400.0 * np.exp(-dense)) * 10
    return CementFrame(
        device="Fluoro",
        sequence=number,
        frame_number=number,
        received_ns=number * NS // 10,
        time_ns=number * NS // 10,
        pixels=counts.clip(1, 65535).astype(np.uint16),
        intensity=PixelIntensity(),
        pixel_from_patient=camera(primary_deg),
        pose=camera(primary_deg),
        kvp=80.0,
    )


def followed(hand_px: Sequence[int | None]) -> list[CementView]:
    """A view first looked at after the start, with a hand in it or without."""
    engine = CementEngine(CementSettings())
    for number in range(8):
        engine.keep(picture(number, 90.0))
    run = CementRun(
        number=1,
        material=CementMaterial(opacity_per_mm=0.06),
        started_ns=round(0.75 * NS),
        after_sequence=(("Fluoro", 7),),
    )
    frames = [picture(8 + n, 0.0, hand) for n, hand in enumerate(hand_px)]
    return [engine.follow(run, frame, CementScene()).view for frame in frames]


@pytest.mark.parametrize("left_px", [24, 70])
def test_a_new_view_is_compared_with_frames_in_which_nothing_moves(left_px: int) -> None:
    """A hand in its first frames would be in what is compared with, and bright where it was."""
    views = followed([left_px, left_px, left_px + 4, left_px + 16, left_px + 16, *[None] * 10])
    assert not any(view.seen for view in views[:9])
    assert all(view.seen for view in views[12:])
    assert "moves" in views[6].reason
    last = views[-1]
    assert last.mask is not None
    assert last.blind is not None
    assert not last.mask.any()
    assert last.blind[8:-8, 8:-8].mean() < 0.02


def test_what_moves_in_a_new_view_for_long_is_blind_there() -> None:
    views = followed([24 + 12 * (n % 2) for n in range(45)])
    assert not views[30].seen
    last = views[-1]
    assert last.seen
    assert last.blind is not None
    assert last.mask is not None
    assert last.blind[:, 26:34].mean() > 0.9
    assert last.blind[8:-8, 60:-8].mean() < 0.02
    assert not last.mask[:, 60:].any()
