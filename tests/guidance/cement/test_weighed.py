"""The volume that fits each view's rays, the other view and the outlines, with scatter left open in either."""

from dataclasses import replace

import numpy as np
import pytest

from guidance.cement.fusion import BodyEstimator
from guidance.cement.rays import binned
from guidance.cement.weighed import Rays, Solid, grown_by, rays_of, weighed
from guidance.config import CementSettings
from tests.helpers.cement_bodies import camera, lump, ray_lengths, seen

AP, LATERAL = camera(180.0).pixel_from_patient, camera(90.0).pixel_from_patient
THIN, THICK = np.linspace(0.02, 0.5, 400), np.linspace(0.1, 3.5, 400)


def told_with(share, true_share, contrast):
    """Log contrast that is read where so much of the signal is taken for scatter, of what truly is."""
    signal = true_share + (1.0 - true_share) * np.exp(-contrast)
    return -np.log((signal - share) / (1.0 - share))


@pytest.mark.parametrize(("share", "true_share"), [(0.5, 0.53), (0.5, 0.5), (0.3, 0.29), (0.0, 0.3)])
@pytest.mark.parametrize("contrast", [THIN, THICK])
def test_the_true_share_of_scatter_gives_the_true_volume(share, true_share, contrast):
    read = told_with(share, true_share, contrast)
    rays = Rays(float(read.sum()), read, 0.1, 0.1)
    grown = np.exp(grown_by(rays, np.log((1.0 - np.array([share])) / (1.0 - true_share))))
    assert grown * read.sum() == pytest.approx([contrast.sum()], rel=0.01)


def test_a_ray_that_is_thicker_than_can_be_only_counts_as_very_thick():
    rays = Rays(1.0, np.array([0.1, 4.0]), 0.1, 0.1)
    grown = grown_by(rays, np.array([-0.3, 0.0, 0.3]))
    assert np.isfinite(grown).all()
    assert (np.diff(grown) > 0.0).all()


def test_thin_rays_hold_to_their_thickness_and_thick_ones_to_the_outlines():
    solid = Solid(3.0, 3.3, 0.09)
    thin, thick = (weighed([Rays(2.0, rays, 0.08, 0.1)] * 2, solid) for rays in (THIN, THICK))
    assert 2.0 < thin.ml < thick.ml < 3.0
    assert thick.ml > 2.6
    for told in (thin, thick):
        assert told.low_ml < 2.3
        assert told.high_ml > 2.9


def test_the_view_with_thin_rays_tells_the_volume_where_both_differ():
    told = weighed([Rays(2.0, THIN, 0.08, 0.05), Rays(1.3, THICK, 0.08, 0.05)], None)
    assert told.ml == pytest.approx(2.0, rel=0.12)
    assert told.low_ml < 2.0 < told.high_ml


def test_outlines_that_hold_much_more_are_doubted():
    """Cement mixed with marrow does not fill its outlines."""
    told = weighed([Rays(1.0, THIN, 0.08, 0.05)] * 2, Solid(4.0, 4.4, 0.09))
    assert told.ml < 2.0
    assert told.low_ml < 1.1


def test_the_same_views_tell_the_same():
    views = [Rays(2.0, THIN, 0.08, 0.05), Rays(1.9, THICK, 0.1, 0.05)]
    assert weighed(views, Solid(2.0, 2.2, 0.1)) == weighed(views, Solid(2.0, 2.2, 0.1))


def seen_by_both(body, per_mm, off=0.0, scatter_sigma=0.08):
    """Both planes with scatter told wrong: the primary's share is e^-off of what was taken; 2 % are read at least."""
    found = BodyEstimator(None, (), CementSettings())
    for number, (matrix, device) in enumerate(((AP, "A"), (LATERAL, "B"))):
        contrast = ray_lengths((body,), matrix) * per_mm
        read = -np.log(np.maximum(1.0 - (1.0 - np.exp(-contrast)) * np.exp(-off), 0.02)) / per_mm
        view = seen(read.astype(np.float32), matrix, device=device, noise_mm=0.15, seed=number)
        found.add(replace(view, opacity_per_mm=per_mm, opacity_sigma=0.06, scatter_sigma=scatter_sigma))
    return found.body(0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("per_mm", [0.07, 0.2])
def test_right_thickness_tells_the_volume(seed, per_mm):
    body = lump(seed, radius_mm=6.0 + seed)
    told = seen_by_both(body, per_mm)
    assert told.volume_ml == pytest.approx(body.volume_ml, rel=0.08)
    assert told.volume_low_ml < body.volume_ml < told.volume_high_ml


@pytest.mark.parametrize("off", [0.06, 0.12])
@pytest.mark.parametrize("seed", range(3))
def test_scatter_told_too_low_does_not_lose_thick_dense_cement(seed, off):
    """What is read of it is 0.6 to 0.85 of the truth; what is told is within 15 %."""
    body = lump(seed, radius_mm=9.0)
    told = seen_by_both(body, 0.25, off)
    assert told.volume_ml == pytest.approx(body.volume_ml, rel=0.15)
    assert told.volume_low_ml < body.volume_ml < told.volume_high_ml


@pytest.mark.parametrize("off", [-0.2, 0.3])
def test_scatter_that_is_only_guessed_leaves_the_truth_within_the_interval(off):
    body = lump(2, radius_mm=8.0)
    told = seen_by_both(body, 0.12, off, scatter_sigma=0.3)
    assert told.volume_ml == pytest.approx(body.volume_ml, rel=0.2)
    assert told.volume_low_ml < body.volume_ml < told.volume_high_ml


def test_a_view_that_tells_no_opacity_has_no_rays():
    view = seen(ray_lengths((lump(1, radius_mm=6.0),), AP), AP)
    bins = binned(view, AP, spacing_mm=1.0, depth_mm=750.0)
    assert rays_of(bins, 1.0) is None
    told = replace(view, opacity_per_mm=0.1, scatter_sigma=0.0)
    bins = binned(told, AP, spacing_mm=1.0, depth_mm=750.0)
    assert rays_of(bins, 1.0) is not None
    assert rays_of(bins, 0.0) is None
    assert rays_of(binned(replace(told, scatter_sigma=np.inf), AP, spacing_mm=1.0, depth_mm=750.0), 1.0) is None
