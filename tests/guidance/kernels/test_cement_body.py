"""Cement in 3D from thickness along rays: the native fit against its NumPy twin and against known bodies."""

import numpy as np
import pytest

from guidance.kernels.cement_body import BodyFitter, RayView
from tests.helpers.cement_bodies import camera, lump, ray_lengths

SPACING_MM = 1.5
FIRST = np.array([-21.0, -21.0, -21.0])
SHAPE = (28, 29, 30)


def ray_view(body, primary_deg, *, lower=False, beyond=0.0, step=4, crop=(40, 88), secondary_deg=0.0):
    matrix = camera(primary_deg, secondary_deg).pixel_from_patient
    lengths = ray_lengths((body,), matrix)
    rows = lengths.shape[0] // step
    bins = lengths.reshape(rows, step, rows, step).mean(axis=(1, 3))[crop[0] : crop[1], crop[0] : crop[1]]
    middle = (step - 1) / 2.0 + crop[0] * step
    to_bins = np.array([[1 / step, 0, -middle / step], [0, 1 / step, -middle / step], [0, 0, 1.0]])
    return RayView(
        bin_from_patient=to_bins @ matrix,
        thickness_mm=np.ascontiguousarray(bins, np.float32),
        valid=np.ones(bins.shape, np.uint8),
        reach=(np.ones if lower else lambda shape, kind: (bins > 0.2).astype(kind))(bins.shape, np.float32),
        beyond=beyond,
        lower=lower,
    )


def fitted(views, backend="native", prior=None, counted=None, **changes):
    prior = np.full(SHAPE, 0.8, np.float32) if prior is None else prior
    counted = np.ones(SHAPE, np.uint8) if counted is None else counted
    return BodyFitter(backend=backend).fit(prior, counted, FIRST, SPACING_MM, views, **changes)


@pytest.mark.parametrize("case", ["two", "three", "older", "cut", "blind", "uneven"])
def test_native_and_twin_agree(case):
    body = lump(3, radius_mm=7.0)
    views = [ray_view(body, 180.0), ray_view(body, 95.0, secondary_deg=10.0)]
    prior, counted = np.full(SHAPE, 0.8, np.float32), np.ones(SHAPE, np.uint8)
    if case == "three":
        views.insert(0, ray_view(body, 140.0))
    elif case == "older":
        views[0] = ray_view(lump(3, radius_mm=5.0), 180.0, lower=True, beyond=0.001)
    elif case == "cut":
        views[0] = ray_view(body, 180.0, lower=True, beyond=0.5, crop=(60, 70))
    elif case == "blind":
        views[0].valid[20:26] = 0
    elif case == "uneven":
        prior[:, 10:] *= 0.2
        prior[:3] = 0.0
        counted[:14] = 0
    native, twin = (fitted(views, backend, prior, counted) for backend in ("native", "reference"))
    assert twin.share.sum() > 50.0
    np.testing.assert_array_equal(native.possible, twin.possible)
    np.testing.assert_allclose(native.share, twin.share, atol=1e-3)
    np.testing.assert_allclose(native.volumes_mm3, twin.volumes_mm3, rtol=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_the_volume_of_a_known_body_comes_out_of_either_view(seed):
    body = lump(seed, radius_mm=6.0, center_lps_mm=(3.0, -2.0, 1.0))
    found = fitted([ray_view(body, 180.0), ray_view(body, 90.0)])
    np.testing.assert_allclose(found.volumes_mm3 / 1000.0, body.volume_ml, rtol=0.02)
    assert found.share.sum() * SPACING_MM**3 / 1000.0 == pytest.approx(body.volume_ml, rel=0.03)


def test_a_ball_is_found_where_it_is():
    body = lump(0, radius_mm=8.0, rough=0.0, center_lps_mm=(2.0, 1.0, -3.0))
    found = fitted([ray_view(body, 180.0), ray_view(body, 90.0)])
    k, j, i = np.indices(SHAPE)
    points = np.stack([i, j, k], axis=-1) * SPACING_MM + FIRST
    middle = (found.share[..., None] * points).sum(axis=(0, 1, 2)) / found.share.sum()
    np.testing.assert_allclose(middle, (2.0, 1.0, -3.0), atol=0.15)
    away = np.linalg.norm(points - (2.0, 1.0, -3.0), axis=-1)
    inside, outside = found.share[away < 6.5], found.share[away > 9.5]
    assert inside.min() > 0.42 > outside.max()


def test_what_is_not_counted_is_in_the_body_but_not_in_the_volumes():
    body = lump(0, radius_mm=8.0, rough=0.0)
    counted = np.ones(SHAPE, np.uint8)
    counted[:, :, :14] = 0  # what lies left of the ball's middle slab
    views = [ray_view(body, 180.0), ray_view(body, 90.0)]
    whole, half = fitted(views), fitted(views, counted=counted)
    np.testing.assert_array_equal(whole.share, half.share)
    # Half of the ball, and half of a slab of 1.5 mm through its middle.
    part = 0.5 + 0.5 * 1.5 * np.pi * 8.0**2 / (4.0 / 3.0 * np.pi * 8.0**3)
    assert half.volumes_mm3.sum() == pytest.approx(part * whole.volumes_mm3.sum(), rel=0.03)


def test_an_older_view_holds_only_what_was_there():
    """Cement grew since the first view: the second's thickness comes out in full all the same."""
    old, new = lump(2, radius_mm=4.0), lump(2, radius_mm=7.0)
    found = fitted([ray_view(old, 180.0, lower=True, beyond=1.0), ray_view(new, 90.0)])
    assert found.volumes_mm3[1] / 1000.0 == pytest.approx(new.volume_ml, rel=0.02)
    assert found.share.sum() * SPACING_MM**3 / 1000.0 == pytest.approx(new.volume_ml, rel=0.03)


def test_where_a_view_is_blind_the_other_tells():
    body = lump(1, radius_mm=7.0)
    views = [ray_view(body, 180.0), ray_view(body, 90.0)]
    views[0].valid[:, 20:26] = 0
    views[0].thickness_mm[:, 20:26] = 0.0
    found = fitted(views)
    np.testing.assert_allclose(found.volumes_mm3 / 1000.0, body.volume_ml, rtol=0.03)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"counted": np.ones((2, 2, 2), np.uint8)}, ValueError),
        ({"prior": np.ones(SHAPE)}, TypeError),
        ({"rounds": -1}, ValueError),
    ],
)
def test_what_does_not_fit_is_refused(change, error):
    with pytest.raises(error):
        fitted([ray_view(lump(0, radius_mm=3.0), 180.0)], **change)


def test_a_matrix_without_a_source_is_refused():
    view = ray_view(lump(0, radius_mm=3.0), 180.0)
    view.bin_from_patient[:] = 0.0
    with pytest.raises(ValueError, match="source"):
        fitted([view])
