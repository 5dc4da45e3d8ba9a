"""Frames of a Segmentation as pictures of 0 to 255, bit-packed, byte-wise, plain or compressed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from guidance.errors import WireError
from guidance.messages import U8
from guidance.wire.dicom_classes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    RLE_LOSSLESS,
)
from guidance.wire.dicom_pixels import raw_frames
from guidance.wire.dicom_values import integer, raw_bytes, text

_MOST_PIXELS: Final = 1 << 31  # of one object: 1024 x 1024 x 2048 frames
_RLE_HEADER_BYTES: Final = 64
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"  # inflated when the file is read
_PLAIN: Final = (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, _DEFLATED)


def stored_frames(dataset: Dataset, name: str) -> Iterator[npt.NDArray[Any]]:
    """Every frame's stored numbers, in the order of the pixel data.

    Args:
        dataset: a Segmentation with pixel data and file meta.
        name: of the object, for the errors.

    Yields:
        (rows, columns) integers; 0 and 1 where one bit is allocated.

    Raises:
        WireError: `unreadable_pixels`: the pixel data is short, broken or of an unknown kind.
    """
    rows, columns = integer(dataset, "Rows") or 0, integer(dataset, "Columns") or 0
    count = integer(dataset, "NumberOfFrames") or 1
    allocated = integer(dataset, "BitsAllocated")
    data = raw_bytes(dataset, "PixelData")
    if not data or min(rows, columns, count) < 1 or rows * columns * count > _MOST_PIXELS:
        told = f"{count} frames of {rows} x {columns} cannot be read"
        raise WireError(f"{name}: {told}", code="unreadable_pixels")
    if allocated not in (1, 8, 16):
        raise WireError(f"{name}: {allocated} bits allocated", code="unreadable_pixels", mend="1, 8 or 16")
    if allocated == 1:
        yield from _bits(dataset, data, name, rows, columns, count)
        return
    shape, found = (rows, columns), 0
    for found, frame in enumerate(raw_frames(dataset, name), 1):
        if frame.shape != shape or found > count:
            told = f"frame {found} is {frame.shape}; there should be {count} of {shape}"
            raise WireError(f"{name}: {told}", code="unreadable_pixels")
        yield frame
    if found < count:
        raise WireError(f"{name}: {found} frames of pixel data, {count} told", code="unreadable_pixels")


def _bits(dataset: Dataset, data: bytes, name: str, rows: int, columns: int, count: int) -> Iterator[U8]:
    syntax = text(dataset.file_meta, "TransferSyntaxUID") if hasattr(dataset, "file_meta") else ""
    pixels = rows * columns
    if syntax in _PLAIN:
        packed = np.frombuffer(data, np.uint8)
        if packed.size * 8 < pixels * count:
            told = f"{packed.size} bytes of pixel data, {-(-pixels * count // 8)} needed"
            raise WireError(f"{name}: {told}", code="unreadable_pixels")
        if syntax == EXPLICIT_VR_BIG_ENDIAN and dataset["PixelData"].VR == "OW":
            packed = packed[: packed.size // 2 * 2].reshape(-1, 2)[:, ::-1].ravel()
        for frame in range(count):
            yield unpacked_bits(packed, frame * pixels, pixels).reshape(rows, columns)
        return
    if syntax != RLE_LOSSLESS:
        raise WireError(
            f"{name}: one bit a pixel in transfer syntax {syntax or 'not told'}",
            code="unreadable_pixels",
            mend="send it uncompressed or RLE",
        )
    try:
        frames = list(generate_frames(data, number_of_frames=count))
    except (ValueError, TypeError) as error:
        raise WireError(f"{name}: its frames cannot be told apart: {error}", code="unreadable_pixels") from None
    if len(frames) != count:
        raise WireError(f"{name}: {len(frames)} frames of pixel data, {count} told", code="unreadable_pixels")
    for frame_data in frames:
        yield _run_length_bits(frame_data, name, pixels).reshape(rows, columns)


def unpacked_bits(packed: U8, first: int, count: int) -> U8:
    """`count` pixels of a bit stream from pixel `first` on: the lowest bit of a byte is the first pixel's.

    Frames follow each other without a gap, so that a frame may begin inside a byte.

    Source: DICOM PS3.5 section 8.1.1 and annex D.
    """
    start = first // 8
    bits = np.unpackbits(packed[start : (first + count + 7) // 8], bitorder="little")
    return bits[first - 8 * start :][:count]


def _run_length_bits(data: bytes, name: str, pixels: int) -> U8:
    """One frame of RLE: makers write packed bits, or a byte for each pixel though one bit is allocated."""
    head = np.frombuffer(data[:_RLE_HEADER_BYTES], "<u4") if len(data) >= _RLE_HEADER_BYTES else np.zeros(2, "<u4")
    if head[0] != 1:
        raise WireError(f"{name}: an RLE frame of {head[0]} segments", code="unreadable_pixels")
    plain = np.frombuffer(run_lengths(data[int(head[1]) :], pixels), np.uint8)
    if plain.size >= pixels:
        return np.minimum(plain[:pixels], np.uint8(1))
    if plain.size * 8 >= pixels:
        return unpacked_bits(plain, 0, pixels)
    raise WireError(f"{name}: an RLE frame of {plain.size} bytes is short", code="unreadable_pixels")


def run_lengths(data: bytes, most: int) -> bytes:
    """Undo the byte-wise run lengths of one RLE segment, no further than `most` bytes.

    Source: DICOM PS3.5 annex G.3.2.
    """
    plain = bytearray()
    at = 0
    while at + 1 < len(data) and len(plain) < most:
        head = data[at]
        if head < 128:
            plain += data[at + 1 : at + 2 + head]
            at += 2 + head
        elif head > 128:
            plain += data[at + 1 : at + 2] * (257 - head)
            at += 2
        else:
            at += 1
    return bytes(plain)
