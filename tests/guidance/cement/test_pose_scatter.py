"""Scatter of a pose from its frames: blades are used where they tell something, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from guidance.cement.pose_scatter import scatter_of_pose
from guidance.cement.reference import reference_picture
from guidance.cement.values import CementFrame
from guidance.geometry.intensity import PixelIntensity
from guidance.messages import F32

SIZE = 160
BOX = (30, 24, 140, 130)
# An isocentre 750 mm from the source, 1.0 mm per pixel at a detector 1150 mm away.
MATRIX = (1150.0, 79.5, 0.0, 79.5 * 750, 0.0, 79.5, -1150.0, 79.5 * 750, 0.0, 1.0, 0.0, 750.0)


def _counts(ratio: float) -> F32:
    u = np.linspace(-1.0, 1.0, SIZE)
    inside = np.zeros((SIZE, SIZE))
    inside[BOX[1] : BOX[3] + 1, BOX[0] : BOX[2] + 1] = 1.0
    body = 3000.0 * np.exp(-0.4 * np.sin(9.0 * u)[None, :] * np.cos(7.0 * u)[:, None])
    away = np.hypot(u[None, :], u[:, None])
    return np.asarray(inside * body + ratio * 2500.0 * np.exp(-(away**2) / 0.8), np.float32)


def _frames(counts: F32, *, relationship: str = "LIN", geometry: bool = True) -> list[CementFrame]:
    random = np.random.default_rng(2)
    frames = []
    for number in range(6):
        noisy = counts + random.normal(0.0, 0.02, counts.shape) * np.sqrt(np.maximum(counts, 0.0) * 50.0)
        frames.append(
            CementFrame(
                device="Fluoro",
                sequence=number,
                frame_number=number,
                received_ns=number,
                time_ns=number * 100_000_000,
                pixels=np.clip(noisy, 0.0, 65535.0).astype(np.uint16),
                intensity=PixelIntensity(relationship=relationship),
                collimator_px=BOX,
                kvp=80.0,
                pixel_from_patient=MATRIX if geometry else None,
            )
        )
    return frames


@pytest.mark.parametrize("geometry", [True, False])
def test_more_behind_the_blades_is_more_scatter(geometry: bool) -> None:
    found = []
    for ratio in (0.1, 0.3, 0.6):
        frames = _frames(_counts(ratio), geometry=geometry)
        scatter = scatter_of_pose(reference_picture(frames), frames, None)
        assert scatter is not None
        assert "blades" in scatter.sources
        found.append(scatter.ratio)
    assert found == sorted(found)
    assert found[0] < 0.2
    assert found[2] > 2.0 * found[0]


def test_a_display_shutter_tells_nothing() -> None:
    counts = _counts(0.3)
    frames = _frames(counts)
    for frame in frames:
        frame.pixels[: BOX[1]] = frame.pixels[BOX[3] + 1 :] = 7
        frame.pixels[:, : BOX[0]] = frame.pixels[:, BOX[2] + 1 :] = 7
    scatter = scatter_of_pose(reference_picture(frames), frames, None)
    assert scatter is not None
    assert "blades" not in scatter.sources


def test_a_display_processed_picture_has_no_counts() -> None:
    frames = _frames(_counts(0.3), relationship="DISP")
    assert scatter_of_pose(reference_picture(frames), frames, None) is None
