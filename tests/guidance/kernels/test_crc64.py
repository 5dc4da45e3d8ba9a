"""CRC-64/ECMA-182: check value, long division as the oracle, every variant of this processor against the twin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance import kernels

CRCS = st.integers(0, 2**64 - 1)


def remainder_by_long_division(data: bytes, crc: int) -> int:
    """What the definition says: the message, with the initial value added to its front, times x^64 modulo P."""
    divisor = (1 << 64) | 0x42F0E1EBA9EA3693
    number = (int.from_bytes(data, "big") << 64) ^ (crc << (8 * len(data)))
    while number.bit_length() > 64:
        number ^= divisor << (number.bit_length() - 65)
    return number


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_check_value_of_the_catalogue(backend):
    assert kernels.crc64(b"123456789", backend=backend) == 0x6C40DF5F0B497347


@pytest.mark.parametrize("variant", kernels.crc64_variants())
def test_check_value_of_every_variant(variant):
    assert kernels.crc64_with(variant, np.frombuffer(b"123456789", np.uint8)) == 0x6C40DF5F0B497347


@given(data=st.binary(max_size=300), crc=CRCS)
def test_twin_is_the_remainder_of_a_long_division(data, crc):
    assert kernels.crc64(data, crc, backend="reference") == remainder_by_long_division(data, crc)


# Sizes around the strides (16, 64, 128, 256) and their multiples, at every alignment.
@given(
    size=st.one_of(st.integers(0, 40), st.integers(110, 140), st.integers(240, 270), st.integers(500, 1300)),
    offset=st.integers(0, 63),
    crc=CRCS,
    seed=st.integers(0, 2**32 - 1),
)
def test_every_variant_agrees_with_the_twin(size, offset, crc, seed):
    data = np.random.default_rng(seed).integers(0, 256, size + offset, dtype=np.uint8)[offset:]
    expected = kernels.crc64(data, crc, backend="reference")
    assert {variant: kernels.crc64_with(variant, data, crc) for variant in kernels.crc64_variants()} == dict.fromkeys(
        kernels.crc64_variants(), expected
    )
    assert kernels.crc64(data, crc) == expected


@given(data=st.binary(max_size=2000), cut=st.integers(0, 2000))
def test_any_split_gives_the_same_crc_one_after_the_other_or_combined(data, cut):
    first, second = data[:cut], data[cut:]
    whole = kernels.crc64(data)
    assert kernels.crc64(second, kernels.crc64(first)) == whole
    for backend in ("native", "reference"):
        assert kernels.crc64_combine(kernels.crc64(first), kernels.crc64(second), len(second), backend=backend) == whole


@given(crc=CRCS, length=st.integers(0, 3000))
def test_zeros_need_not_be_read(crc, length):
    assert kernels.crc64_zeros(crc, length) == kernels.crc64(bytes(length), crc)


def test_zeros_beyond_any_memory():
    half = 2**40 + 3
    assert kernels.crc64_zeros(kernels.crc64_zeros(7, half), half) == kernels.crc64_zeros(7, 2 * half)


@pytest.mark.parametrize("data", [b"abc", bytearray(b"abc"), memoryview(b"xabc")[1:], np.array([97, 98, 99], np.uint8)])
def test_any_contiguous_buffer_is_taken(data):
    assert kernels.crc64(data) == remainder_by_long_division(b"abc", 0)


@pytest.mark.parametrize(
    "data",
    [np.zeros(4, np.int8), np.zeros(4, np.uint16), np.zeros((2, 2), np.uint8), np.zeros(8, np.uint8)[::2]],
    ids=["int8", "uint16", "two-dimensional", "strided"],
)
def test_another_array_is_a_type_error(data):
    with pytest.raises(TypeError):
        kernels.crc64(data)


def test_a_variant_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no such CRC variant"):
        kernels.crc64_with("abacus", np.zeros(1, np.uint8))


def test_the_portable_variant_is_always_there():
    assert kernels.crc64_variants()[-1] == "slicing"
