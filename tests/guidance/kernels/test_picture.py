"""Grey window, its robust limits and the page's grey picture, on every pixel type, beside the twin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from guidance import kernels

TYPES = [np.uint8, np.int8, np.uint16, np.int16, np.float32]
PICTURES = st.sampled_from(TYPES).flatmap(
    lambda dtype: arrays(dtype, st.tuples(st.integers(1, 40), st.integers(1, 70)))
)


@given(pixels=PICTURES)
def test_levels_agree_with_the_twin(pixels):
    low, high = kernels.window_levels(pixels)
    assert (low, high) == kernels.window_levels(pixels, backend="reference")
    assert np.isfinite([low, high]).all()
    assert low < high


@given(pixels=PICTURES, low=st.floats(-1e5, 1e5), width=st.floats(1e-3, 1e6), step=st.integers(1, 5))
def test_grey_agrees_with_the_twin_to_the_bit(pixels, low, width, step):
    expected = kernels.grey8(pixels, low, low + width, step=step, backend="reference")
    np.testing.assert_array_equal(kernels.grey8(pixels, low, low + width, step=step), expected)


@pytest.mark.parametrize("shape", [(700, 500), (128, 129), (3, 2000)])
@pytest.mark.parametrize("dtype", TYPES)
def test_levels_of_large_pictures_agree_with_the_twin(shape, dtype):
    pixels = (np.random.default_rng(5).normal(0, 60, shape)).astype(dtype)
    assert kernels.window_levels(pixels) == kernels.window_levels(pixels, backend="reference")


def test_levels_ignore_a_few_extreme_pixels():
    pixels = np.tile(np.arange(1000, 2024, dtype=np.uint16), (1024, 1))
    spoiled = pixels.copy()
    spoiled[::97, ::89] = 65535
    low, high = kernels.window_levels(spoiled)
    assert 1000 <= low < 1020
    assert 2000 < high <= 2024


@pytest.mark.parametrize("value", [0.0, -7.0, 3e38, -3e38])
def test_levels_of_a_flat_picture_are_a_window(value):
    low, high = kernels.window_levels(np.full((9, 9), value, np.float32))
    assert low < high


def test_levels_where_nothing_is_finite():
    assert kernels.window_levels(np.full((9, 9), np.nan, np.float32)) == (0.0, 1.0)


def test_eight_bit_unsigned_stay_as_they_are():
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert kernels.window_levels(pixels) == (0.0, 255.0)
    np.testing.assert_array_equal(kernels.grey8(pixels, 100.0, 101.0), pixels)


def test_window_ends_are_black_and_white_and_nan_is_black():
    pixels = np.array([[-np.inf, -1.0, 0.0, 1.0, 2.0, np.inf, np.nan]], np.float32)
    assert kernels.grey8(pixels, 0.0, 2.0).tolist() == [[0, 0, 0, 128, 255, 255, 0]]


def test_blocks_become_their_mean_and_the_rest_is_dropped():
    pixels = np.array([[0, 10, 9], [20, 31, 9], [7, 7, 7]], np.uint8)
    assert kernels.grey8(pixels, 0.0, 255.0, step=2).tolist() == [[15]]


def test_pixels_cut_out_of_a_message_may_lie_at_odd_addresses():
    pixels = np.arange(35, dtype=np.uint16).reshape(5, 7)
    body = b"x" + pixels.tobytes()
    odd = np.frombuffer(body, np.uint8)[1:].view(np.uint16).reshape(5, 7)
    np.testing.assert_array_equal(kernels.grey8(odd, 0.0, 34.0), kernels.grey8(pixels, 0.0, 34.0))


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), ">u2"),
        np.zeros((4, 8), np.uint16)[:, ::2],
        np.zeros((4, 4), np.int32),
        np.zeros((4, 4), np.float64),
        np.zeros(4, np.uint16),
        np.zeros((4, 5), np.uint16).T,
    ],
    ids=["big-endian", "strided", "int32", "float64", "one-dimensional", "column-order"],
)
def test_another_array_is_a_type_error(pixels):
    with pytest.raises(TypeError):
        kernels.window_levels(pixels)


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (np.nan, 1.0), (0.0, np.inf)])
def test_an_impossible_window_is_refused(low, high):
    with pytest.raises(ValueError, match="finite low < high"):
        kernels.grey8(np.zeros((2, 2), np.uint16), low, high)


def test_a_step_out_of_range_is_refused():
    with pytest.raises(ValueError, match="step"):
        kernels.grey8(np.zeros((70, 70), np.uint16), 0.0, 1.0, step=65)
