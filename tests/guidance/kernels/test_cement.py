"""The cement tracker's kernels against NumPy, SciPy and closed forms."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import ndimage

from guidance.kernels.cement import Aligner, FrameScale, bin_frame, contours, grid_of, warp
from guidance.kernels.cement_maps import MapRing
from guidance.kernels.cement_tracker import Look, NativeTracker
from guidance.messages import F32, F64


def scale(side: int, **changes: object) -> FrameScale:
    numbers = {
        "step": 1,
        "rows": side,
        "columns": side,
        "logarithm": True,
        "toward": -1.0,
        "base": 0.0,
        "sign": 1.0,
        "bits": 0,
        "low": 0.0,
        "high": 65535.0,
        "field_px": (0, 0, side - 1, side - 1),
    }
    return FrameScale(**(numbers | changes))


def structure(side: int = 128, seed: int = 3) -> F32:
    """Smooth anatomy with edges, attenuation about 0."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal((side, side)), 6.0)
    edges = ndimage.gaussian_filter((rng.standard_normal((side // 8, side // 8)) > 0.7).repeat(8, 0).repeat(8, 1), 1.0)
    return np.asarray(smooth / smooth.std() * 0.2 + edges * 0.3, np.float32)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_bins_are_logarithms_of_means(kind: type, step: int) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(1, 250, (48, 48)).astype(kind)
    side = 48 // step // 2 * 2
    attenuation, valid, saturated, black = bin_frame(
        pixels, scale(side, step=step, high=255.0, field_px=(0, 0, 47, 47))
    )
    used = pixels[: side * step, : side * step].astype(np.float64)
    means = used.reshape(side, step, side, step).mean(axis=(1, 3))
    assert valid.all()
    assert (saturated, black) == (0.0, 0.0)
    np.testing.assert_allclose(attenuation, -np.log(means), atol=2e-6)


def test_what_is_no_measurement_is_not_valid() -> None:
    pixels = np.full((40, 40), 1000, np.uint16)
    pixels[0, 0], pixels[0, 5], pixels[10, 10] = 0, 4095, 5000
    attenuation, valid, saturated, black = bin_frame(pixels, scale(40, high=4095.0))
    assert [valid[0, 0], valid[0, 5], valid[10, 10], valid[20, 20]] == [0, 0, 0, 1]
    assert attenuation[10, 10] == 0.0
    assert saturated == pytest.approx(2 / 1600)
    assert black == pytest.approx(1 / 1600)
    masked, all_valid, _, _ = bin_frame(pixels | np.uint16(0x8000), scale(40, high=8000.0, bits=0x7FFF))
    assert all_valid[10, 10] == 1
    assert masked[20, 20] == pytest.approx(-np.log(1000.0), abs=1e-6)
    floats = pixels.astype(np.float32)
    floats[3, 3] = np.nan
    assert bin_frame(floats, scale(40))[1][3, 3] == 0


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_bins_with_a_pixel_that_is_no_measurement_are_not_valid(kind: type, step: int) -> None:
    """Blades, saturation, negative numbers and graphics in high bits, of every type and parity, against NumPy."""
    rng = np.random.default_rng(step)
    least, most = (-100, 120) if np.dtype(kind).kind == "i" else (0, 240)
    numbers = rng.integers(least + 2, most - 1, (52, 60)).astype(kind)
    numbers[rng.random(numbers.shape) < 0.02] = least
    numbers[rng.random(numbers.shape) < 0.01] = most
    wide = np.dtype(kind).itemsize == 2 and least == 0
    graphics = np.where(rng.random(numbers.shape) < 0.1, 0x7000, 0) if wide else np.zeros(numbers.shape, np.int64)
    field = (5, 3, 50, 44)
    rows, columns = 52 // step // 2 * 2, 60 // step // 2 * 2
    told = scale(
        rows,
        columns=columns,
        step=step,
        low=float(least),
        high=float(most),
        base=-300.0,
        bits=0x0FFF if wide else 0,
        field_px=field,
    )
    attenuation, valid, saturated, black = bin_frame((numbers + graphics).astype(kind), told)

    inside = np.zeros(numbers.shape, np.bool_)
    inside[field[1] : field[3] + 1, field[0] : field[2] + 1] = True
    inside[rows * step :], inside[:, columns * step :] = False, False
    good = inside & (numbers > least) & (numbers < most)
    grid = (rows, step, columns, step)
    whole = good[: rows * step, : columns * step].reshape(grid).all(axis=(1, 3))
    mean = numbers[: rows * step, : columns * step].astype(np.float64).reshape(grid).mean(axis=(1, 3))
    np.testing.assert_array_equal(valid > 0, whole)
    np.testing.assert_allclose(attenuation, np.where(whole, -np.log(mean + 300.0), 0.0), atol=2e-6)
    full = [inside[r * step : (r + 1) * step].any(axis=1).all() for r in range(rows)]  # rows of bins that are looked at
    used = inside & np.pad(np.repeat(full, step), (0, 52 - rows * step))[:, None]
    pixels = np.count_nonzero(inside)
    assert saturated == pytest.approx(np.count_nonzero(used & (numbers >= most)) / pixels)
    assert black == pytest.approx(np.count_nonzero(used & (numbers <= least)) / pixels)


def test_field_and_inverted_and_display_numbers() -> None:
    pixels = np.full((40, 40), 100, np.uint8)
    _, valid, _, _ = bin_frame(pixels, scale(40, field_px=(4, 6, 30, 33)))
    expected = np.zeros((40, 40), np.uint8)
    expected[6:34, 4:31] = 1
    np.testing.assert_array_equal(valid, expected)
    inverted, _, _, _ = bin_frame(pixels, scale(40, base=255.0, sign=-1.0))
    assert inverted[0, 0] == pytest.approx(-np.log(155.0), abs=1e-6)
    shown, _, _, _ = bin_frame(pixels, scale(40, logarithm=False, toward=-0.01))
    assert shown[0, 0] == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("du", "dv", "turn"), [(0.0, 0.0, 0.0), (1.3, -2.4, 0.0), (-3.7, 0.5, 0.02), (2.0, 1.0, -0.15)]
)
def test_warp_is_keys_cubic(du: float, dv: float, turn: float) -> None:
    frame = structure(96)
    moved, valid = warp(frame, np.ones(frame.shape, np.uint8), du, dv, turn)
    middle = 95 / 2.0
    v, u = np.indices(frame.shape) - middle
    x, y = np.cos(turn) * u - np.sin(turn) * v + middle + du, np.sin(turn) * u + np.cos(turn) * v + middle + dv
    expected = keys_cubic(frame.astype(np.float64), x, y)
    inside = valid > 0
    assert inside.sum() > 0.6 * inside.size
    np.testing.assert_allclose(moved[inside], expected[inside], atol=2e-5)
    whole = (x >= 1.01) & (x < 92.99) & (y >= 1.01) & (y < 92.99)
    assert inside[whole].all()


def keys_cubic(frame: F64, x: F64, y: F64) -> F64:
    """Sixteen neighbours, a = -1/2, written out."""
    column, row = np.floor(x + 1e-9).astype(int), np.floor(y).astype(int)
    weights = []
    for f in (x - column, y - row):
        weights.append(
            (
                0.5 * (-(f**3) + 2 * f**2 - f),
                0.5 * (3 * f**3 - 5 * f**2 + 2),
                0.5 * (-3 * f**3 + 4 * f**2 + f),
                0.5 * (f**3 - f**2),
            )
        )
    total = np.zeros_like(x)
    for n in range(4):
        for m in range(4):
            at = frame[np.clip(row + n - 1, 0, 95), np.clip(column + m - 1, 0, 95)]
            total += weights[1][n] * weights[0][m] * at
    return total


@pytest.mark.parametrize(
    ("du", "dv", "turn"), [(0.0, 0.0, 0.0), (0.37, -1.21, 0.004), (3.4, 2.2, -0.02), (-14.0, 22.0, 0.0)]
)
def test_motion_and_exposure_are_found(du: float, dv: float, turn: float) -> None:
    side = 256
    rng = np.random.default_rng(5)
    whole = structure(side + 96)
    reference = np.ascontiguousarray(whole[48:-48, 48:-48])
    middle = (side - 1) / 2.0
    v, u = np.indices((side, side)) - middle
    # The frame shows at W(x) what the reference has at x.
    x = np.cos(turn) * (u - du) + np.sin(turn) * (v - dv) + middle
    y = -np.sin(turn) * (u - du) + np.cos(turn) * (v - dv) + middle
    frame = ndimage.map_coordinates(whole, [y + 48, x + 48], order=3)
    level = reference.mean()
    frame = frame + 0.2 + 0.05 * (frame - level) + 0.06 * rng.standard_normal(frame.shape)
    ones = np.ones((side, side), np.uint8)
    aligner = Aligner(reference, ones, np.full((side, side), 0.06**2, np.float32))
    fit = aligner.fit(frame.astype(np.float32), ones)
    assert (fit.du, fit.dv) == pytest.approx((du, dv), abs=0.05)
    assert fit.turn == pytest.approx(turn, abs=5e-4)
    assert fit.offset == pytest.approx(0.2, abs=0.004)
    assert fit.slope == pytest.approx(0.05, abs=0.012)  # blocks of 8 px lose contrast between pixels
    assert fit.share > 0.9


def test_another_picture_does_not_agree() -> None:
    ones = np.ones((256, 256), np.uint8)
    aligner = Aligner(structure(256), ones, np.full((256, 256), 0.01**2, np.float32))
    assert aligner.fit(structure(256, seed=9), ones).share < 0.5


def test_contours_of_a_disc_with_a_hole() -> None:
    v, u = np.indices((80, 90), np.float32)
    outer = 30.0 - np.hypot(u - 40.3, v - 38.6)
    inner = np.hypot(u - 44.1, v - 36.2) - 9.0
    lines, area = contours(np.asarray(np.minimum(outer, inner), np.float32))
    assert len(lines) == 2
    areas = sorted(signed_area(line) for line in lines)
    assert areas[1] == pytest.approx(np.pi * 30.0**2, rel=2e-3)
    assert areas[0] == pytest.approx(-np.pi * 9.0**2, rel=5e-3)
    assert area == pytest.approx(sum(areas), abs=1e-6)
    largest = max(lines, key=len)
    assert np.abs(np.hypot(largest[:, 0] - 40.3, largest[:, 1] - 38.6) - 30.0).max() < 0.03


def test_contours_close_at_the_border_and_at_saddles() -> None:
    rng = np.random.default_rng(2)
    field = rng.standard_normal((24, 31)).astype(np.float32)
    lines, area = contours(field)
    assert area == pytest.approx(sum(signed_area(line) for line in lines), rel=1e-6)
    # Lines that close have as many points on every edge of the grid as the field changes sign.
    changes = np.count_nonzero((field[:, 1:] > 0) != (field[:, :-1] > 0))
    changes += np.count_nonzero((field[1:] > 0) != (field[:-1] > 0))
    border = sum(np.count_nonzero(edge > 0) for edge in (field[0], field[-1], field[:, 0], field[:, -1]))
    assert sum(len(line) for line in lines) == changes + border
    lines, area = contours(np.full((4, 5), 1.0, np.float32))
    assert len(lines) == 1
    assert area == pytest.approx(4.0 * 5.0 - 0.5)  # each corner is cut
    assert contours(np.full((4, 5), -1.0, np.float32)) == ((), 0.0)


def signed_area(line: F64) -> float:
    after = np.roll(line, -1, axis=0)
    return float(np.sum(line[:, 0] * after[:, 1] - after[:, 0] * line[:, 1]) / 2.0)


def test_working_grid() -> None:
    assert grid_of(256, 320) == (1, 256, 320)
    assert grid_of(512, 512) == (2, 256, 256)
    assert grid_of(1024, 1024) == (3, 340, 340)  # no scale is told: fewer, for time's sake
    assert grid_of(2048, 2048) == (5, 408, 408)
    assert grid_of(1023, 700) == (3, 340, 232)
    assert grid_of(1024, 1024, mm_per_px=0.3) == (2, 512, 512)
    assert grid_of(2048, 2048, mm_per_px=0.15) == (4, 512, 512)
    assert grid_of(512, 512, mm_per_px=0.19) == (2, 256, 256)
    assert grid_of(1024, 1024, mm_per_px=0.095) == (4, 256, 256)
    assert grid_of(1024, 1024, mm_per_px=0.19) == (2, 512, 512)
    assert grid_of(512, 512, mm_per_px=0.4) == (2, 256, 256)
    assert grid_of(1024, 1024, mm_per_px=1e-6) == (5, 204, 204)  # a wrong scale leaves a picture
    assert grid_of(1024, 1024, 2, mm_per_px=0.095) == (2, 512, 512)


def test_maps_are_used_again_only_when_nobody_holds_them() -> None:
    ring = MapRing(32, 32)
    first = ring.acquire()
    address = first.mask.ctypes.data
    piece = first.mask[3:5]
    del first
    assert ring.acquire().mask.ctypes.data != address
    assert ring.allocated == 2
    del piece
    for _ in range(20):
        ring.acquire()
    assert ring.allocated == 2


def test_frames_do_not_wait_for_memory_of_maps() -> None:
    """Not even the first ones: what is told of a frame is held while the next one is looked at."""
    side = 256
    numbers = np.random.default_rng(5).normal(1000.0, 30.0, (4, side, side)).astype(np.uint16)
    known = np.ones((side, side), np.uint8)
    reference = np.full((side, side), -np.log(1000.0), np.float32)
    variance = np.full((side, side), 0.03**2, np.float32)
    tracker = NativeTracker(
        reference,
        known,
        variance,
        np.zeros_like(reference),
        reference_frames=12.0,
        step=1,
        picture=(side, side),
    )
    told = scale(side)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        held = None
        for number, pixels in enumerate(numbers):
            held = tracker.follow(pixels, told, Look(time_s=number / 15.0, least_contrast=0.02))
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert held is not None
    assert held.code == ""
    assert peak < side * side  # one map of bytes


@pytest.mark.parametrize("more", [0, 5])
def test_where_cement_is_expected_less_of_it_will_do_in_pictures_with_columns_left_over_too(more: int) -> None:
    rng = np.random.default_rng(5)
    v, u = np.mgrid[:256, :256]
    disc = np.hypot(u - 100.0, v - 150.0) <= 14.0
    before = structure().repeat(2, 0).repeat(2, 1)

    def frame(contrast: float) -> np.ndarray:
        numbers = rng.normal(10_000.0 * np.exp(-before - contrast * disc), 300.0).astype(np.uint16)
        return np.ascontiguousarray(np.pad(numbers, ((0, 0), (0, more)), mode="edge"))

    told = scale(128, step=2, field_px=(0, 0, 255 + more, 255))
    reference = np.mean([bin_frame(frame(0.0), told)[0] for _ in range(12)], axis=0, dtype=np.float32)
    expected = np.pad(disc.astype(np.uint8), ((0, 0), (0, more)))
    trackers = [
        NativeTracker(
            reference,
            np.ones(reference.shape, np.uint8),
            np.full_like(reference, 0.015**2),
            np.zeros_like(reference),
            reference_frames=12.0,
            step=2,
            picture=(256, 256 + more),
        )
        for _ in range(2)
    ]
    area = [0, 0]
    for number in range(12):
        pixels = frame(0.016 if number > 3 else 0.0)
        for n, (tracker, where) in enumerate(zip(trackers, (None, expected), strict=True)):
            look = Look(time_s=number / 10.0, least_contrast=0.001, memory_frames=4.0, expected=where)
            area[n] = int(np.count_nonzero(tracker.follow(pixels, told, look).mask[:, :256] & disc))
    assert area[0] == 0
    assert area[1] > 0.7 * np.count_nonzero(disc)


def test_lines_of_no_length_of_no_width_and_beyond_all_numbers_are_no_steel() -> None:
    side = 64
    reference = structure(side)
    tracker = NativeTracker(
        reference,
        np.ones_like(reference, np.uint8),
        np.full_like(reference, 1e-4),
        np.zeros_like(reference),
        reference_frames=12.0,
        step=1,
        picture=(side, side),
    )
    for line in (
        (20.0, 20.0, 20.0, 20.0, 3.0),
        (10.0, 10.0, 50.0, 50.0, -1e4),
        (10.0, 10.0, 50.0, 50.0, 1e300),
        (-1e308, 10.0, 1e308, 50.0, 3.0),
        (1e12, 1e12, 2e12, 2e12, 3.0),
    ):
        assert not tracker.steel(np.array([line]))
