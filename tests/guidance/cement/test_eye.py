"""One input's eye: which pose it looks from, and what does not count as cement in it."""

from __future__ import annotations

import numpy as np
import pytest

from guidance.cement.eye import lumen_px, mm_per_px_of
from guidance.cement.values import CementFrame
from guidance.geometry.intensity import PixelIntensity
from guidance.messages import F64
from guidance.tracking.values import SeenInstrument

MATRIX = (4000.0, 0.0, 511.5, 511.5 * 750.0, 0.0, 4000.0, 511.5, 511.5 * 750.0, 0.0, 0.0, 1.0, 750.0)


def seen(line: F64, tip: tuple[float, float] | None) -> SeenInstrument:
    return SeenInstrument(
        path_id="P1",
        centreline_px=line,
        tip_px=tip,
        tip_sigma_px=0.5,
        tip_unknown="",
        sigma_px=0.2,
        diameter_px=10.0,
        contrast=0.5,
        score=0.9,
        bend_px=0.0,
    )


def test_a_lumen_goes_from_the_tip_back_out_of_the_picture() -> None:
    capsules = lumen_px(seen(np.array([(100.0, 200.0), (300.0, 200.0)]), (290.0, 200.0)), 1000.0)
    assert capsules[0, :4].tolist() == pytest.approx([-900.0, 200.0, 100.0, 200.0])
    assert capsules[1, :4].tolist() == pytest.approx([100.0, 200.0, 290.0, 200.0])
    assert (capsules[:, 4] == 6.0).all()


def test_a_bent_lumen_follows_its_centreline() -> None:
    line = np.array([(100.0, 100.0), (200.0, 110.0), (300.0, 140.0)])
    capsules = lumen_px(seen(line, None), 500.0)
    assert len(capsules) == 3
    assert capsules[2, 2:4].tolist() == [300.0, 140.0]


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
