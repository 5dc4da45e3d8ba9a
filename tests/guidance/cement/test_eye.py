"""One input's eye: how large a pixel is where it looks."""

from __future__ import annotations

import numpy as np
import pytest

from guidance.cement.eye import mm_per_px_of
from guidance.cement.values import CementFrame
from guidance.geometry.intensity import PixelIntensity

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
