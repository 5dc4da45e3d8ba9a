"""Growth of cement: the volume is what was injected, nothing passes closed bone, truth is what the voxels say."""

from __future__ import annotations

import numpy as np
import pytest

from guidance.errors import ConfigError
from simulators.cement.arrival import arrival
from simulators.cement.case import CementCase
from simulators.cement.course import grown
from simulators.cement.growth import Phase, Surroundings, grow
from simulators.cement.injection import CannulaScript, InjectionCurve
from simulators.cement.medium import bone_medium
from simulators.volumes import HuVolume


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


def block(marrow_hu, size=30):
    """A cube of marrow in 2 mm of cortex, in soft tissue, 1 mm voxels, its middle at 0."""
    voxels = np.full((size,) * 3, 40, np.int16)
    voxels[6:-6, 6:-6, 6:-6] = 1300
    voxels[8:-8, 8:-8, 8:-8] = marrow_hu
    affine = np.eye(4)
    affine[:3, 3] = -(size - 1) / 2.0
    return HuVolume(voxels, affine, "block")


def grown_in(volume, total_ml):
    medium = bone_medium(volume, (0.2, 0.2, 0.2), spacing_mm=0.7, half_mm=(14.0, 14.0, 14.0), seed=1)
    return grow(
        medium,
        (Phase(start_s=0.0, speed=medium.speed, tip_lps_mm=np.array([0.2, 0.2, 0.2])),),
        InjectionCurve(times_s=(0.0, 10.0), volumes_ml=(0.0, total_ml)),
        CannulaScript(hub_lps_mm=(0.0, 80.0, 0.0), tip_lps_mm=(0.2, 1.7, 0.2)),
        Surroundings(zone_bodies=(), zones=(), paths=()),
        (),
        duration_s=10.0,
        brand="baso4_30",
    )


def test_a_closed_box_takes_what_it_holds_and_no_more():
    assert grown_in(block(230), 1.0).volume_ml(10.0) == pytest.approx(1.0, abs=1e-4)
    with pytest.raises(ConfigError, match="have room") as caught:
        grown_in(block(230), 4.0)
    assert caught.value.code == "no_room"


@pytest.mark.parametrize("marrow_hu", [-1000, 20, 900])
def test_a_tip_that_is_not_in_marrow_is_refused(marrow_hu):
    with pytest.raises(ConfigError) as caught:
        grown_in(block(marrow_hu), 1.0)
    assert caught.value.code == "not_in_bone"
    assert caught.value.mend


def test_the_rest_of_a_voxel_is_bone():
    """Denser marrow takes less: the same volume needs more room."""
    thin, dense = (np.isfinite(grown_in(block(hu), 0.9).arrival_s).sum() for hu in (120, 420))
    assert dense / thin == pytest.approx((1.0 - 120 / 1600) / (1.0 - 420 / 1600), rel=0.06)
