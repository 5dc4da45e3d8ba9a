"""Figures of cement in 3D over known lumps: `python tests/measure_cement_body.py [LUMPS]`, for docs/decisions/0024."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from guidance.cement.fusion import BodyEstimator
from guidance.cement.interval import LEAST_ML
from guidance.config import CementSettings
from tests.helpers.cement_bodies import STEP_MM, Lump, camera, lump, ray_lengths, seen
from tests.helpers.cement_zones import fields, tube

_BESIDE = ((16.0, -25.0, -6.0), (14.0, 25.0, 6.0)), ((-15.0, 2.0, -30.0), (-14.0, 4.0, 30.0))
_SETTINGS = {  # second direction, thickness over truth in each view, how much smaller the body was in the older one
    "both planes": ((90.0, 0.0), (1.0, 1.0), 1.0),
    "60 degrees apart": ((120.0, 0.0), (1.0, 1.0), 1.0),
    "in turn, half the volume since": ((90.0, 0.0), (1.0, 1.0), 0.8),
    "thickness 0.75 of the truth": ((90.0, 0.0), (0.75, 0.75), 1.0),
    "thickness 1.25 of the truth": ((90.0, 0.0), (1.25, 1.25), 1.0),
    "thickness 1.0 and 0.7 of the truth": ((90.0, 0.0), (1.0, 0.7), 1.0),
}


def main(count: int) -> None:
    print(f"{count} lumps of 0.3 to 8 ml, 512 px, 0.15 mm of noise a pixel")
    for name, (second, gains, before) in _SETTINGS.items():
        rows = [_one(seed, second, gains, before) for seed in range(count)]
        volume = np.array([row[0] for row in rows])
        inside = np.mean([row[1] for row in rows])
        far = np.concatenate([row[2] for row in rows])
        spent = np.array([row[3] for row in rows]) * 1e3
        print(
            f"{name}: volume median {100 * np.median(np.abs(volume)):.1f} %, worst {100 * np.abs(volume).max():.1f} %, "
            f"mean {100 * volume.mean():+.1f} %, in the interval {100 * inside:.0f} %; distance {far.mean():+.2f} mm "
            f"sd {far.std():.2f}, worst {far.max():+.1f}; CPU {np.median(spent):.1f} ms, worst {spent.max():.1f}"
        )


def _one(
    seed: int, second: tuple[float, float], gains: Sequence[float], before: float
) -> tuple[float, bool, np.ndarray, float]:
    radius = float(np.random.default_rng(seed).uniform(4.5, 12.0))
    body = lump(seed, radius_mm=radius)
    earlier = body if before == 1.0 else lump(seed, radius_mm=before * radius)
    zones = [tube(n, *ends, radius_mm=3.0) for n, ends in enumerate(_BESIDE)]
    found = BodyEstimator(None, fields(*zones), CementSettings())
    spent = 0.0
    places = (((180.0, 0.0), earlier, 0), (second, body, 0 if before == 1.0 else 3_000_000_000))
    for _ in range(2):
        for n, (angles, shown, at_ns) in enumerate(places):
            matrix = camera(*angles).pixel_from_patient
            lengths = ray_lengths((shown,), matrix)
            found.add(
                seen(lengths, matrix, device="AB"[n], received_ns=at_ns, noise_mm=0.15, seed=seed + n, gain=gains[n])
            )
        began = time.thread_time()
        told = found.body(places[-1][2])
        spent = time.thread_time() - began
    assert told.volume_ml is not None
    assert told.volume_low_ml is not None
    assert told.volume_high_ml is not None
    true = [_nearest_mm(body, zone) for zone in zones]
    errors = [one.distance_mm - mm for one, mm in zip(told.sites, true, strict=True) if one.distance_mm is not None]
    holds = told.volume_low_ml <= body.volume_ml <= told.volume_high_ml
    return told.volume_ml / max(body.volume_ml, LEAST_ML) - 1.0, holds, np.array(errors), spent


def _nearest_mm(body: Lump, zone: object) -> float:
    points = body.points[body.shares > 0.42]
    return float(fields(zone)[0].field.distance_mm(points).min()) - 0.5 * STEP_MM


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 24)
