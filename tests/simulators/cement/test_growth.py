"""Growth of cement: the volume is what was injected, nothing passes closed bone, truth is what the voxels say."""

from __future__ import annotations

import numpy as np
import pytest

from simulators.cement.arrival import arrival
from simulators.cement.case import CementCase
from simulators.cement.course import grown


@pytest.fixture(scope="module")
def leaking():
    return grown(CementCase(seed=1, leaks=("foramen",)))


@pytest.fixture(scope="module")
def tight():
    return grown(CementCase(seed=1))


def test_a_front_in_a_plain_medium_is_a_ball():
    speed = np.ones((41, 41, 41), np.float32)
    starts = np.zeros(speed.shape, bool)
    starts[20, 20, 20] = True
    k, j, i = np.mgrid[:41, :41, :41] - 20.0
    apart = 0.5 * np.sqrt(k * k + j * j + i * i)
    found = arrival(speed, 0.5, starts)
    # First order: late by the logarithm of the distance near a point source (Sethian & Vladimirsky 2000).
    assert np.abs(found - apart).max() < 0.9
    assert np.abs(found - apart)[:, 20, 20].max() < 1e-5


def test_volume_is_what_was_injected_at_every_time(leaking, tight):
    for grown_cement in (leaking, tight):
        for t_s in np.linspace(0.0, grown_cement.duration_s, 30):
            assert grown_cement.volume_ml(t_s) == pytest.approx(grown_cement.injection.injected_ml(t_s), abs=2e-4)
            share = grown_cement.share_at(t_s)
            assert share.sum(dtype=float) * grown_cement.voxel_ml == pytest.approx(grown_cement.volume_ml(t_s))
            assert sum(grown_cement.site_ml(t_s).values()) == pytest.approx(grown_cement.volume_ml(t_s))


def test_cement_only_comes_and_arrival_is_half_full(leaking):
    before = leaking.share_at(0.0)
    for t_s in np.linspace(1.0, leaking.duration_s, 12):
        now = leaking.share_at(t_s)
        assert (now >= before - 1e-6).all()
        assert (now <= leaking.capacity + 1e-6).all()
        half = now >= 0.5 * leaking.capacity - 1e-3
        assert (half[leaking.arrival_s <= t_s - 1e-3]).all()
        before = now


def test_what_leaks_is_what_was_opened(leaking, tight):
    (leak,) = leaking.leaks
    zone = next(zone for zone in leaking.zones if zone.id == leak.zone_id)
    assert zone.name == "S1 foramen left"
    assert 1.0 < leak.onset_s <= leaking.zone_truth[zone.id].contact_s < leaking.duration_s
    assert leaking.zone_distance_mm(zone.id, leak.onset_s) > 0.0 > leaking.zone_distance_mm(zone.id, 24.0)
    assert leaking.site_ml(24.0)["S1 foramen left"] > 0.02
    assert tight.leaks == ()
    assert all(truth.contact_s == np.inf for truth in tight.zone_truth.values())
