"""Strips and ridges: the native kernels against their twins, and against what a ridge is."""

import numpy as np
import pytest

from guidance.kernels.ridge import FLANK_PARTS, ridge_response, ridge_tracks, sample_strip


def strip_with_ridges(seed=1):
    strip = np.random.default_rng(seed).normal(0.0, 0.2, (200, 160)).astype(np.float32)
    for row in range(40, 170):
        strip[row, 60 + row // 8 : 69 + row // 8] += 1.0
    for row in range(100):
        strip[row, 120 - row // 5 : 129 - row // 5] += 0.7
    strip[90:95] = np.nan
    return strip


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("bins", [(1, 1), (3, 2)])
@pytest.mark.parametrize("logarithm", [True, False])
def test_samples_are_the_twins(dtype, bins, logarithm):
    pixels = (np.random.default_rng(2).random((300, 400)) * 120.0).astype(dtype)
    starts = np.stack([np.linspace(-20.0, 390.0, 90), np.linspace(-5.0, 290.0, 90)], axis=1)
    steps = np.tile((0.6, -0.8), (90, 1))
    request = {"bins": bins, "bounds": (5.0, 0.0, 380.0, 280.0), "logarithm": logarithm, "sign": -1}
    native = sample_strip(pixels, starts, steps, 80, **request)
    twin = sample_strip(pixels, starts, steps, 80, **request, backend="reference")
    assert native.shape == (90 // bins[0], 80 // bins[1])
    assert np.array_equal(np.isnan(native), np.isnan(twin))
    assert 0 < np.isnan(native).sum() < native.size
    # Places are kept to 1e-4 px, and neighbouring pixels differ by up to 120 here.
    assert np.nanmax(np.abs(native - twin)) < (1e-3 if logarithm else 0.03)


def test_what_is_not_finite_is_not_known():
    pixels = np.full((40, 40), 100.0, np.float32)
    pixels[20, 20], pixels[10, 10] = np.nan, np.inf
    starts = np.stack([np.zeros(40), np.arange(40.0)], axis=1)
    steps = np.tile((1.0, 0.0), (40, 1))
    values = sample_strip(pixels, starts, steps, 40, bounds=(0.0, 0.0, 39.0, 39.0), logarithm=True, sign=1)
    assert np.isnan(values[20, 20])
    assert np.isnan(values[10, 10])
    assert np.isnan(values).sum() <= 8
    assert values[5, 5] == pytest.approx(-np.log(100.0), abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_tracks_are_the_twins(seed):
    strip = strip_with_ridges(seed)
    width = np.linspace(8.0, 10.0, 200)
    unknown = np.zeros(strip.shape, bool)
    unknown[20:60, 100:130] = True
    for mask in (None, unknown):
        native = ridge_tracks(strip, width, least=0.1, most=3, unknown=mask)
        twin = ridge_tracks(strip, width, least=0.1, most=3, unknown=mask, backend="reference")
        assert native.threshold == pytest.approx(twin.threshold, rel=1e-6)
        assert native.scores == pytest.approx(twin.scores, rel=1e-5)
        assert np.array_equal(native.columns, twin.columns)


def test_both_ridges_are_followed_across_a_gap():
    tracks = ridge_tracks(strip_with_ridges(), np.full(200, 9.0), least=0.1, most=3)
    first, second = tracks.columns[:2]
    rows = np.arange(45, 165)
    assert np.abs(first[rows] - (64 + rows // 8)).max() <= 2
    rows = np.arange(5, 95)
    assert np.abs(second[rows] - (124 - rows // 5)).max() <= 2
    assert tracks.scores[0] > tracks.scores[1] > 50.0


def test_an_edge_has_no_response():
    strip = np.zeros((20, 80), np.float32)
    strip[:, 40:] = 1.0
    response = ridge_response(strip, np.full(20, 9.0))
    assert np.nanmax(response) <= 1e-6
    assert len(ridge_tracks(strip, np.full(20, 9.0), least=0.1, most=3).columns) == 0


def test_a_ridge_gives_its_height():
    strip = np.zeros((20, 81), np.float32)
    strip[:, 36:45] = 1.0  # 9 columns about 40
    response = ridge_response(strip, np.full(20, 9.0))
    assert response[10, 40] == pytest.approx(1.0)
    assert np.isnan(response[10, int(FLANK_PARTS[1] * 9.0) - 1])


def test_wrong_arrays_are_refused():
    strip = np.zeros((20, 80), np.float32)
    with pytest.raises(TypeError):
        ridge_tracks(strip.astype(np.float64), np.full(20, 9.0), least=0.1, most=3)
    with pytest.raises(ValueError, match="one width"):
        ridge_tracks(strip, np.full(19, 9.0), least=0.1, most=3)
    with pytest.raises(ValueError, match="finite"):
        ridge_tracks(strip, np.full(20, np.nan), least=0.1, most=3)
    with pytest.raises(ValueError, match="finite"):
        sample_strip(
            np.zeros((9, 9), np.uint8),
            np.array([[np.nan, 0.0]]),
            np.ones((1, 2)),
            4,
            bounds=(0.0, 0.0, 8.0, 8.0),
            logarithm=True,
            sign=1,
        )
