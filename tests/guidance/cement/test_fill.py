"""What the outlines of a body hold, one of them old; cement around a cannula."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from guidance.cement.fill import solid_of
from guidance.cement.fusion import BodyEstimator
from guidance.cement.touching import Body
from guidance.config import CementSettings
from guidance.messages import PlannedPath
from tests.helpers.cement_bodies import STEP_MM, Lump, camera, lump, ray_lengths, rod_along, seen


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


def test_cement_that_flows_back_around_the_cannula_counts() -> None:
    path = PlannedPath(id="P1", entry_lps_mm=(0.5, 50.0, 0.5), target_lps_mm=(0.5, 4.0, 0.5), diameter_mm=3.0)
    body, sleeve = lump(3, radius_mm=5.0), _sleeve(around_y_mm=(4.0, 25.0), inner_mm=1.5, outer_mm=3.0)
    found = BodyEstimator(None, (), CementSettings(), paths=(path,))
    for n, angles in enumerate(((180.0, 0.0), (90.0, 0.0))):
        matrix = camera(*angles).pixel_from_patient
        rod = rod_along(path, matrix, diameter_px=6.0)
        view = seen(ray_lengths((body, sleeve), matrix), matrix, device="AB"[n], received_ns=0, noise_mm=0.0, seed=n)
        found.add(view, (rod,) if n else ())
    told = found.body(0).volume_ml
    assert told is not None
    assert 0.96 < told / (body.volume_ml + sleeve.volume_ml) < 1.1


def _sleeve(*, around_y_mm: tuple[float, float], inner_mm: float, outer_mm: float) -> Lump:
    across = np.arange(-outer_mm - 1.0, outer_mm + 1.0, STEP_MM)
    along = np.arange(*around_y_mm, STEP_MM)
    z, _, x = np.meshgrid(across, along, across, indexing="ij")
    away = np.hypot(z, x)
    inside = (away > inner_mm) & (away <= outer_mm)
    return Lump(0.85 * inside.astype(np.float32), np.array([across[0] + 0.5, along[0], across[0] + 0.5]))


def test_little_cement_has_a_rim_that_is_not_seen_and_much_has_bays() -> None:
    held = []
    for side in (6, 16):
        share = np.zeros((side + 4,) * 3, np.float32)
        share[2:-2, 2:-2, 2:-2] = 1.0
        body = Body(share, np.ones(share.shape, np.uint8), np.zeros(3, np.intp), 1.0)
        now, older = solid_of(body, None), solid_of(body, None, ahead=1.1)
        assert now is not None
        assert older is not None
        assert older.ml == pytest.approx(1.1 * now.ml)
        held.append(now.most_ml / (side**3 / 1000.0))
    assert 1.05 < held[0] < 1.25
    assert 0.9 < held[1] < 0.98


def test_rays_that_ask_for_more_than_both_outlines_can_hold_are_not_believed() -> None:
    """A picture without scatter where the volume makes one expect a quarter: 2.5 times the thickness."""
    body = lump(0, radius_mm=9.0, rough=0.0, share=1.0)
    found = BodyEstimator(None, (), CementSettings())
    for n, angles in enumerate(((180.0, 0.0), (90.0, 0.0))):
        matrix = camera(*angles).pixel_from_patient
        view = seen(2.5 * ray_lengths((body,), matrix), matrix, device="AB"[n], received_ns=0, noise_mm=0.1, seed=n)
        found.add(replace(view, opacity_per_mm=0.08, opacity_sigma=0.03, scatter_sigma=0.1))
    told = found.body(0)
    assert told.volume_ml is not None
    assert told.volume_low_ml is not None
    assert told.volume_high_ml is not None
    assert 0.8 < told.volume_ml / body.volume_ml < 1.15
    assert told.volume_low_ml < body.volume_ml < told.volume_high_ml < 1.7 * body.volume_ml


def test_where_no_view_shows_all_of_it_there_is_no_number_but_a_least() -> None:
    """Both were first looked at with cement in them: growth only."""
    body = lump(0, radius_mm=9.0)
    found = BodyEstimator(None, (), CementSettings())
    for n, angles in enumerate(((180.0, 0.0), (90.0, 0.0))):
        matrix = camera(*angles).pixel_from_patient
        view = seen(ray_lengths((body,), matrix), matrix, device="AB"[n], received_ns=0, noise_mm=0.1, seed=n)
        found.add(replace(view, opacity_per_mm=0.08, scatter_sigma=0.1, growth_only=True))
    told = found.body(0)
    assert told.volume_ml is None
    assert told.volume_high_ml is None
    assert told.volume_low_ml is not None
    assert 0.5 * body.volume_ml < told.volume_low_ml < body.volume_ml
    assert told.reason
