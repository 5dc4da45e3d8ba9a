"""The grey window: what the sender says, and how the adaptive one follows."""

import itertools

import numpy as np
import pytest

from guidance.kernels import grey8, window_levels
from guidance.overlay.window import Window, followed_window, measured_part, told_window


def told(center, width):
    return told_window({"XRay.WindowCenter": center, "XRay.WindowWidth": width})


def test_a_told_window_is_dicoms_linear_one():
    # PS3.3 C.11.2.1.2.1, its example: center 2048, width 4096 becomes 0 for x <= 0 and 255 for x > 4095.
    assert told("2048", "4096") == Window(0.0, 4095.0)
    assert told("2048.5", "2") == Window(2047.5, 2048.5)


@pytest.mark.parametrize(
    ("center", "width"),
    [("", "100"), ("100", "wide"), ("nan", "100"), ("100", "inf"), ("100", "0"), ("100", "1"), ("100", "-50")],
)
def test_an_impossible_one_is_as_if_it_was_not_told(center, width):
    assert told(center, width) is None


# A sender's absurd numbers must not reach the kernel, which takes finite low < high only.
@pytest.mark.parametrize("center", ["-1.7e308", "-1e300", "0", "1e17", "1e300", "1.7e308"])
@pytest.mark.parametrize("width", ["1.0000000000000002", "2", "1e17", "1.7e308"])
def test_whatever_is_told_the_kernel_can_take_it(center, width):
    window = told(center, width)
    if window is not None:
        grey8(np.zeros((2, 2), np.uint16), window.low, window.high)


def test_missing_keys_tell_nothing():
    assert told_window({}) is None
    assert told_window({"XRay.WindowCenter": "5"}) is None


def test_the_adaptive_window_drifts_slowly_and_jumps_to_another_scene():
    first = followed_window(None, 100.0, 1100.0)
    assert first == Window(100.0, 1100.0)
    drifted = [first]
    for _ in range(60):
        drifted.append(followed_window(drifted[-1], 200.0, 1300.0))
    steps = [after.low - before.low for before, after in itertools.pairwise(drifted)]
    assert max(steps) <= 10.0 + 1e-9
    assert drifted[-1].low == pytest.approx(200.0, abs=1.0)
    assert followed_window(first, 5000.0, 9000.0) == Window(5000.0, 9000.0)


def test_air_beside_the_body_does_not_take_the_anatomys_grey_levels():
    body = np.random.default_rng(1).integers(2000, 6000, (512, 512)).astype(np.uint16)
    body[:, 420:] = 60000  # the open field
    low, high = window_levels(measured_part(body))
    assert 1900 < low < 2200
    assert 5800 < high < 6100


@pytest.mark.parametrize("shape", [(1, 1), (1, 4096), (4096, 1), (2, 3), (7, 5), (2048, 2048)])
def test_a_picture_of_any_size_has_a_middle(shape):
    sample = measured_part(np.full(shape, 7, np.uint16))
    assert 1 <= sample.size <= 128 * 128
    assert sample.flags.c_contiguous
    assert window_levels(sample)[0] == 7.0
