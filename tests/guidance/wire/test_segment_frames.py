"""Bits and run lengths of segmentation frames against independent packers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.pixels.decoders.rle import _rle_decode_segment
from pydicom.pixels.utils import pack_bits
from pydicom.uid import RLELossless

from guidance.errors import WireError
from guidance.wire.segment_frames import run_lengths, stored_frames, unpacked_bits
from tests.helpers.dicom_segmentations import AXIAL, segment, segmentation


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.randoms(use_true_random=False))
def test_frames_begin_inside_bytes(rows: int, columns: int, count: int, random: object) -> None:
    bits = np.array([[[random.getrandbits(1) for _ in range(columns)] for _ in range(rows)] for _ in range(count)])
    dataset = segmentation(
        [(1, (0.0, 0.0, float(k)), frame) for k, frame in enumerate(bits)], [segment(1, "x")], orientation=AXIAL
    )
    assert dataset.PixelData[: -(-bits.size // 8)] == pack_bits(bits.astype(np.uint8).ravel(), pad=False)
    np.testing.assert_array_equal(list(stored_frames(dataset, "x")), bits)


@given(st.binary(min_size=4, max_size=40), st.integers(0, 100), st.integers(0, 200))
def test_any_window_of_a_bit_stream(data: bytes, first: int, count: int) -> None:
    whole = [data[place // 8] >> (place % 8) & 1 for place in range(8 * len(data))]
    assert unpacked_bits(np.frombuffer(data, np.uint8), first, count).tolist() == whole[first : first + count]


@given(st.lists(st.tuples(st.booleans(), st.binary(min_size=2, max_size=128)), max_size=20))
def test_run_lengths_of_any_runs(parts: list[tuple[bool, bytes]]) -> None:
    packed, plain = b"", b""
    for literal, content in parts:
        if literal:
            packed += bytes([len(content) - 1]) + content
            plain += content
        else:
            packed += bytes([257 - len(content)]) + content[:1]
            plain += content[:1] * len(content)
    assert run_lengths(packed, 1 << 20) == plain == _rle_decode_segment(packed)


def test_another_number_of_frames_than_told_is_refused() -> None:
    pixels = np.full((8, 8), 7, np.uint8)
    dataset = segmentation([(1, (0.0, 0.0, float(k)), pixels) for k in range(3)], [segment(1, "x")], kind="FRACTIONAL")
    dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    for told in (2, 4):
        dataset.NumberOfFrames = told
        with pytest.raises(WireError) as caught:
            list(stored_frames(dataset, "x"))
        assert caught.value.code == "unreadable_pixels"


@given(st.binary(max_size=400), st.integers(0, 300))
def test_damaged_run_lengths_end(data: bytes, most: int) -> None:
    assert len(run_lengths(data, most)) <= most + 128
