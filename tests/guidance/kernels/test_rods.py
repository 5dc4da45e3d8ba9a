"""Rods along a strip: the native kernel against its twin, whose parts are held against what they stand for."""

from dataclasses import replace

import numpy as np
import pytest

from guidance.kernels import rod_reference
from guidance.kernels.rod_fit_reference import robust_polynomial
from guidance.kernels.rod_profile_reference import OFFSETS, width_of
from guidance.kernels.rod_values import Curve, MetalMask, PictureReading, TipState
from guidance.kernels.rods import rods_along
from guidance.tracking.strip import strip_of
from simulators.instruments import Cylinder
from tests.helpers.rods import path, picture, rod_beside, view

BOUNDS = (0.0, 0.0, 1023.0, 1023.0)
READING = PictureReading(logarithm=True, sign=1, bounds=BOUNDS)
BACKENDS = [rods_along, rod_reference.rods_along]


def scene(diameter=2.8, *, pose=(180.0, 25.0), photons=100.0, others=(), **rod):
    gantry, planned = view(*pose), path(diameter)
    rods = rod_beside(planned, **({"depth_mm": 45.0, "aside_mm": (1.0, -1.5)} | rod))
    strip = strip_of(planned, gantry.pixel_from_patient(), gantry.size)
    return picture(gantry, [*rods, *others], photons=photons, seed=4), strip


def same(native, twin):
    assert len(native) == len(twin)
    for one, other in zip(native, twin, strict=True):
        assert one.tip is other.tip
        assert one.goes_on is other.goes_on
        assert one.curve.straight is other.curve.straight
        # The native kernel's places are float32.
        ends = np.linspace(one.start_px, one.end_px, 9)
        assert one.curve.y(ends) == pytest.approx(other.curve.y(ends), abs=0.01)
        for name in ("start_px", "end_px", "width_px", "bend_px"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), abs=0.01), name
        for name in ("tip_sigma_px", "sigma_px", "contrast", "score"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=0.01), name


@pytest.mark.parametrize(
    ("diameter", "options"),
    [
        (1.6, {"pose": (150.0, 0.0), "photons": 30.0}),
        (2.0, {"material": "titanium", "turn_deg": 6.0}),
        (2.0, {"bend_mm": 5.0}),
        (2.413, {"bore_mm": 1.803}),
        (2.8, {"pose": (-160.0, -30.0), "bend_mm": 3.0, "photons": 1000.0}),
        (5.0, {"turn_deg": -4.0}),
        (7.3, {"bore_mm": 2.9, "material": "titanium"}),
    ],
)
def test_a_rod_is_the_twins(diameter, options):
    pixels, strip = scene(diameter, **options)
    native = rods_along(pixels, READING, strip, None, least=0.1 * diameter)
    assert len(native) >= 1
    same(native, rod_reference.rods_along(pixels, READING, strip, None, least=0.1 * diameter))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("sign", [1, -1])
def test_types_signs_and_values_without_a_unit_are_the_twins(dtype, sign):
    pixels, strip = scene()
    grey = np.log(np.maximum(pixels, 1.0)) * 12.0
    pixels = np.ascontiguousarray(sign * (grey - (60.0 if dtype is np.int8 or sign < 0 else 0.0)), dtype)
    if sign < 0 and np.issubdtype(dtype, np.unsignedinteger):
        pixels = (255 - grey).astype(dtype)
    reading = replace(READING, logarithm=False, sign=sign)
    native = rods_along(pixels, reading, strip, None, least=0.0, least_of_range=0.06)
    assert len(native) >= 1
    same(native, rod_reference.rods_along(pixels, reading, strip, None, least=0.0, least_of_range=0.06))


def metal_across(share):
    """A mask with a band across the picture."""
    cells = np.zeros((256, 256), np.uint8)
    cells[:, int(share * 256) : int(share * 256) + 20] = 1
    return MetalMask(cells)


@pytest.mark.parametrize("share", [0.2, 0.35, 0.45, 0.5, 0.55, 0.6, 0.7, 0.9])
def test_known_metal_is_the_twins(share):
    pixels, strip = scene()
    metal = metal_across(share)
    native = rods_along(pixels, READING, strip, metal, least=0.2)
    same(native, rod_reference.rods_along(pixels, READING, strip, metal, least=0.2))


def test_each_reason_for_no_tip_is_told_by_both():
    told = {backend: set() for backend in BACKENDS}
    crossing = Cylinder(start_lps_mm=(30.0, -30.0, -60.0), end_lps_mm=(20.0, 20.0, 60.0), diameter_mm=3.5)
    for number in range(24):
        pixels, strip = scene(others=(crossing,) if number % 2 else ())
        edge = 300.0 + 20.0 * number
        for reading, metal in (
            (READING, metal_across(number / 24.0)),
            (replace(READING, bounds=(edge, 0.0, 1023.0, 1023.0)), None),
            (replace(READING, bounds=(0.0, 0.0, edge, 1023.0)), None),
        ):
            for backend in BACKENDS[:1] if number % 6 else BACKENDS:
                told[backend] |= {rod.tip for rod in backend(pixels, reading, strip, metal, least=0.2)}
    assert {TipState.KNOWN, TipState.OUTSIDE, TipState.HIDDEN, TipState.BESIDE_METAL} <= told[rods_along]
    assert told[rod_reference.rods_along] <= told[rods_along]


@pytest.mark.parametrize("seed", range(3))
def test_noise_and_open_air_are_no_rods(seed):
    _, strip = scene()
    rng = np.random.default_rng(seed)
    noise = rng.poisson(200.0, (1024, 1024)).astype(np.uint16)
    flooded = noise.copy()
    flooded[:, 400:] = 4095
    holes = noise.astype(np.float32)
    holes[rng.random(holes.shape) < 0.001] = np.nan
    for pixels in (noise, flooded, holes, np.full((1024, 1024), np.nan, np.float32), np.zeros((2, 2), np.uint8)):
        reading = replace(READING, bounds=(0.0, 0.0, pixels.shape[1] - 1.0, pixels.shape[0] - 1.0))
        for backend in BACKENDS:
            assert backend(pixels, reading, strip, None, least=0.2) == []


def test_what_cannot_be_is_refused():
    pixels, strip = scene()
    for change in ({"width_px": (np.nan, 3.0)}, {"length_px": -1.0}, {"width_px": (0.0, 3.0)}, {"bins": (0, 1)}):
        with pytest.raises(ValueError, match="strip"):
            rods_along(pixels, READING, replace(strip, **change), None, least=0.1)
    with pytest.raises(ValueError, match="least"):
        rods_along(pixels, READING, strip, None, least=np.nan)
    with pytest.raises(ValueError, match="bounds"):
        rods_along(pixels, replace(READING, bounds=(np.nan, 0.0, 9.0, 9.0)), strip, None, least=0.1)
    with pytest.raises(ValueError, match="cells"):
        rods_along(pixels, READING, strip, MetalMask(np.zeros((0, 4), np.uint8)), least=0.1)
    with pytest.raises(TypeError):
        rods_along(pixels.astype(np.float64), READING, strip, None, least=0.1)
    with pytest.raises(TypeError):
        rods_along(pixels.T[::2], READING, strip, None, least=0.1)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_outliers_do_not_pull(degree):
    rng = np.random.default_rng(degree)
    z = np.linspace(-1.0, 1.0, 60)
    truth = np.array([3.0, -2.0, 1.5, 0.7])[: degree + 1]
    y = np.polynomial.polynomial.polyval(z, truth) + rng.normal(0.0, 0.01, 60)
    y[10:20] += 5.0
    found, misses = robust_polynomial(z, y, rng.uniform(0.5, 1.0, 60), degree, least=0.02)
    assert found == pytest.approx(truth, abs=0.05)
    assert np.abs(misses[10:20]).min() > 4.5


@pytest.mark.parametrize("coefficients", [(1.0, 2.0), (1.0, 2.0, -3.0), (1.0, 2.0, -3.0, 0.5)])
def test_a_curve_goes_on_along_its_tangent(coefficients):
    curve = Curve(coefficients=coefficients, middle=10.0, half=4.0)
    x = np.array([-5.0, 6.0, 9.0, 14.0, 30.0])
    assert [curve.y_at(place) for place in x] == pytest.approx(curve.y(x), abs=1e-12)
    assert curve.y(np.array([11.0]))[0] == pytest.approx(np.polynomial.polynomial.polyval(0.25, coefficients))
    beyond = curve.y(np.array([14.0, 18.0, 22.0]))
    assert np.diff(beyond) == pytest.approx(np.full(2, 4.0 * curve.slope(np.array([14.0]))[0]))


@pytest.mark.parametrize("part", [0.6, 1.0, 1.5])
def test_a_solid_rods_profile_gives_its_width(part):
    chord = np.sqrt(np.maximum(0.25 * part**2 - OFFSETS**2, 0.0))
    assert width_of(chord) == pytest.approx(part, rel=0.08)
    assert np.isnan(width_of(-chord))
