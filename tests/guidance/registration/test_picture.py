"""Preparing pictures: values to line integrals, and everything that is no picture masked."""

from __future__ import annotations

import numpy as np
import pytest

from guidance.errors import GeometryError
from guidance.registration.picture import LEVEL_PIXEL_MM, prepared
from guidance.registration.values import RegistrationView

MATRIX = np.array([[2000.0, 0.0, 127.5, 95625.0], [0.0, 2000.0, 127.5, 95625.0], [0.0, 0.0, 1.0, 750.0]])
PIVOT = np.zeros(3)


def lengths(size=256):
    """Line integrals with structure everywhere, 0 to about 4."""
    v, u = np.mgrid[0:size, 0:size].astype(np.float32)
    return 2.0 + np.sin(u / 9.0) * np.cos(v / 13.0) + 0.003 * u


def view_of(pixels, **more):
    return RegistrationView(pixels=pixels, pixel_from_patient=MATRIX, name="Fluoro", **more)


def finest(view):
    return prepared(view, PIVOT).levels[-1]


@pytest.mark.parametrize(
    ("pixels", "more"),
    [
        (np.exp(-lengths()) * 60000.0, {}),
        (np.rint(np.exp(-lengths()) * 60000.0).astype(np.uint16), {}),
        (np.exp(-lengths()).astype(np.float32), {}),
        (-lengths() * 1000.0, {"intensity": "LOG"}),
        ((lengths() * 60.0).astype(np.uint8), {"intensity": "DISP", "sign": -1}),
    ],
)
def test_values_become_line_integrals(pixels, more):
    level = finest(view_of(pixels, **more))
    step = level.step_px
    true = lengths().reshape(256 // step, step, 256 // step, step).mean(axis=(1, 3))
    ok = level.valid > 0
    assert ok.mean() > 0.9
    assert np.corrcoef(level.integrals[ok], true[ok])[0, 1] > 0.999


def test_levels_have_their_size_at_the_pivot():
    ready = prepared(view_of(np.exp(-lengths())), PIVOT)
    assert ready.pixel_mm == pytest.approx(750.0 / 2000.0)
    for level, wanted in zip(ready.levels, LEVEL_PIXEL_MM, strict=True):
        assert level.pixel_mm == pytest.approx(wanted, rel=0.35)
    assert np.allclose(ready.across_mm, [[1, 0, 0], [0, 1, 0]], atol=1e-9)
    assert np.allclose(ready.depth, [0, 0, 1])


def masked(pixels, **more):
    level = finest(view_of(pixels, **more))
    return level.valid == 0.0, level.step_px


def test_overlay_planes_in_high_bits_are_masked():
    pixels = np.rint(np.exp(-lengths()) * 3000.0).astype(np.uint16)
    pixels[40:60, 100:180] |= 1 << 14
    out, step = masked(pixels)
    assert out[44 // step : 56 // step, 108 // step : 172 // step].all()
    assert out.mean() < 0.1


def test_saturation_and_dead_pixels_are_masked():
    pixels = np.rint(np.exp(-lengths()) * 60000.0).astype(np.uint16)
    pixels[100:140, 100:140] = 65535
    pixels[200:220, 30:60] = 0
    out, step = masked(pixels)
    assert out[104 // step : 136 // step, 104 // step : 136 // step].all()
    assert out[204 // step : 216 // step, 36 // step : 54 // step].all()
    assert out.mean() < 0.1


def test_blades_are_found_without_being_told():
    rng = np.random.default_rng(3)
    pixels = rng.poisson(np.exp(-lengths()) * 20000.0).astype(np.uint16)
    pixels[:, :48] = rng.poisson(60.0, (256, 48))
    pixels[216:] = rng.poisson(60.0, (40, 256))
    out, step = masked(pixels)
    assert out[:, : 40 // step].mean() > 0.9
    assert out[224 // step :].mean() > 0.9
    assert out[16 // step : 200 // step, 72 // step :].mean() < 0.1


def test_what_the_caller_masks_stays_masked():
    valid = np.ones((256, 256), bool)
    valid[100:160, 60:120] = False
    out, step = masked(np.exp(-lengths()), valid=valid)
    assert out[108 // step : 152 // step, 68 // step : 112 // step].all()


def test_not_finite_values_are_masked():
    pixels = np.exp(-lengths()).astype(np.float32)
    pixels[50:90, 50:90], pixels[150:170, 150:170] = np.nan, np.inf
    out, step = masked(pixels)
    assert out[56 // step : 84 // step, 56 // step : 84 // step].all()
    assert np.isfinite(finest(view_of(pixels)).integrals).all()


@pytest.mark.parametrize(
    ("view", "code"),
    [
        (view_of(np.zeros((256, 256, 3), np.uint8)), "bad_picture"),
        (view_of(np.zeros((8, 8), np.uint8)), "bad_picture"),
        (view_of(np.zeros((256, 256), np.complex64)), "bad_picture"),
        (view_of(np.zeros((256, 256), np.uint8), valid=np.ones((2, 2), bool)), "bad_picture"),
        (view_of(np.full((256, 256), 77, np.uint8)), "no_structure"),
        (view_of(np.full((256, 256), np.nan)), "no_structure"),
        (view_of(np.exp(-lengths()), valid=np.zeros((256, 256), bool)), "no_structure"),
    ],
)
def test_no_picture_is_refused_by_name(view, code):
    with pytest.raises(GeometryError) as caught:
        prepared(view, PIVOT)
    assert caught.value.code == code
    assert "Fluoro" in str(caught.value)


@pytest.mark.parametrize(
    ("matrix", "code"),
    [
        (np.full((3, 4), np.nan), "bad_geometry"),
        (np.zeros((3, 4)), "bad_geometry"),
        (np.eye(4), "bad_geometry"),
        (MATRIX @ np.diag((1.0, 0.0, 1.0, 1.0)), "bad_geometry"),
        (MATRIX - np.array([[0], [0], [1]]) * (0, 0, 0, 2000.0), "pivot_behind_source"),
    ],
)
def test_no_camera_is_refused_by_name(matrix, code):
    with pytest.raises(GeometryError) as caught:
        prepared(RegistrationView(pixels=np.exp(-lengths()), pixel_from_patient=matrix), PIVOT)
    assert caught.value.code == code
