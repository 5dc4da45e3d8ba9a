"""What the outlines of a body hold, one of them old."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from guidance.cement.fusion import BodyEstimator
from guidance.config import CementSettings
from tests.helpers.cement_bodies import camera, lump, ray_lengths, seen


@pytest.mark.parametrize("before", [0.7, 0.85])
def test_what_an_old_outline_leaves_open_is_not_taken_for_cement(before: float) -> None:
    errors = []
    for seed in range(4):
        body, earlier = lump(seed, radius_mm=9.0), lump(seed, radius_mm=before * 9.0)
        found = BodyEstimator(None, (), CementSettings())
        for n, (angles, shown, at_ns) in enumerate((((180.0, 0.0), earlier, 0), ((90.0, 0.0), body, 3_000_000_000))):
            matrix = camera(*angles).pixel_from_patient
            view = seen(ray_lengths((shown,), matrix), matrix, device="AB"[n], received_ns=at_ns, noise_mm=0.1, seed=n)
            found.add(replace(view, opacity_per_mm=0.08, opacity_sigma=0.05, scatter_sigma=0.15))
        told = found.body(3_000_000_000)
        assert told.volume_ml is not None
        assert told.volume_low_ml is not None
        assert told.volume_high_ml is not None
        assert told.volume_low_ml <= body.volume_ml <= told.volume_high_ml
        errors.append(told.volume_ml / body.volume_ml - 1.0)
    assert abs(float(np.mean(errors))) < 0.05
