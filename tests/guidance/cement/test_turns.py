"""What two poses showed of the same cement tells of their scatter, also when only one of them is seen now."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from guidance.cement.fusion import BodyEstimator
from guidance.cement.kept_views import KeptViews
from guidance.cement.rays import binned
from guidance.cement.turns import Turns
from guidance.cement.weighed import OFFS, Agreement, Rays, weighed
from guidance.config import CementSettings
from guidance.messages import CementView
from tests.helpers.cement_bodies import camera, lump, ray_lengths, seen

AP, LATERAL = (180.0, 0.0), (90.0, 0.0)
STEP_S = 0.25


def radius_mm(at_s: float) -> float:
    """0.5 ml and 0.25 ml/s."""
    return 4.93 * (1.0 + at_s / 2.0) ** (1.0 / 3.0)


def view_at(at_s: float, angles: tuple[float, float], *, read: float) -> CementView:
    matrix = camera(*angles).pixel_from_patient
    body = lump(3, radius_mm=radius_mm(at_s), rough=0.0)
    lengths = read * ray_lengths((body,), matrix)
    view = seen(lengths, matrix, device="A", received_ns=round(at_s * 1e9), noise_mm=0.0, seed=0)
    return replace(view, opacity_per_mm=0.2, opacity_sigma=0.03, scatter_sigma=0.1)


def told(first_s: float, left_s: float, taken_s: float, now_s: float) -> float:
    """Volume told over true after AP, which is right, and lateral, which reads 0.7 of the truth."""
    found = BodyEstimator(None, (), CementSettings())
    for began_s, end_s, angles, read in ((first_s, left_s, AP, 1.0), (taken_s, now_s, LATERAL, 0.7)):
        for at_s in np.arange(began_s, end_s + 0.01, STEP_S):
            found.add(view_at(at_s, angles, read=read))
            body = found.body(round(at_s * 1e9))
    assert body.volume_ml is not None
    return body.volume_ml / lump(3, radius_mm=radius_mm(now_s), rough=0.0).volume_ml


def test_a_view_alone_is_held_to_what_the_other_said_before_it_was_left() -> None:
    with_turn, without = told(1.0, 3.0, 5.0, 8.0), told(3.0, 3.0, 8.0, 8.0)
    assert without < 0.9
    assert without + 0.04 < with_turn < 1.05


def test_what_came_between_two_views_is_added_by_the_rate_that_was_seen() -> None:
    turns, views = Turns(), KeptViews()
    for began_s, end_s, angles in ((1.0, 3.0, AP), (5.0, 7.0, LATERAL)):
        for at_s in np.arange(began_s, end_s + 0.01, STEP_S):
            views.add(view_at(at_s, angles, read=1.0))
            kept = views.newest
            assert kept is not None
            bins = binned(kept.view, kept.pixel_from_patient, spacing_mm=1.0, depth_mm=700.0)
            assert bins is not None
            turns.see(kept, bins)
    (found,) = turns.agreements(np.zeros(3))
    middle = len(OFFS) // 2
    assert float(found.log_second[middle] - found.log_first[middle]) == pytest.approx(0.0, abs=0.06)
    assert 0.06 < found.sigma < 0.3
    # And a view that is a tenth of a second old has grown by what it was seen to grow.
    assert turns.ahead(kept, kept.view.received_ns) == 1.0
    truth = (radius_mm(7.12) / radius_mm(7.0)) ** 3
    assert turns.ahead(kept, kept.view.received_ns + 120_000_000) == pytest.approx(truth, abs=0.01)


def test_what_poses_showed_earlier_moves_the_one_that_is_seen_now() -> None:
    contrast = np.linspace(0.1, 3.0, 300)
    rays = Rays(1.3, contrast, 0.1, 0.1, 1)
    curve = OFFS * 1.5
    alike = Agreement(0, 1, curve, curve + np.log(1.3), 0.07)
    alone, held = weighed([rays], None), weighed([rays], None, [alike])
    others = weighed([rays], None, [replace(alike, first=2, second=3)])
    assert alone.ml is not None
    assert held.ml is not None
    assert others.ml is not None
    assert alone.ml == pytest.approx(1.3, rel=0.05)
    assert held.ml < 0.95 * alone.ml
    assert others.ml == pytest.approx(alone.ml, rel=0.03)


def test_a_pause_too_long_to_say_what_came_tells_nothing() -> None:
    assert told(1.0, 3.0, 20.0, 21.0) == pytest.approx(told(3.0, 3.0, 21.0, 21.0), abs=0.02)
