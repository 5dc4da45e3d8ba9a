"""Stored pixel values -> int16 HU: decoding, padding to air, rescale. Bits beyond the stored ones never pass."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import iter_pixels

from guidance.errors import WireError
from guidance.geometry.volume_resample import AIR_HU, I16
from guidance.geometry.volume_slices import SliceDescription
from guidance.kernels import crc64
from guidance.wire.dicom_classes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    JPEG_2000_LOSSLESS,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    JPEG_LS_NEAR_LOSSLESS,
    RLE_LOSSLESS,
)
from guidance.wire.dicom_instance import Calibration, Instance
from guidance.wire.dicom_values import integer

PADDING_BELOW_HU: Final = -1500
"""At and below this nothing is measured: makers write -1500, -2000 or -3024 where there is no picture, often untagged.
Noise in air reaches -1200 and stays as it is, or the mean of air would rise."""

TISSUE_HU: Final = -300
"""At the field's edge: above is patient (fat is -100), below is air, clothes or foam."""

_DECODERS: Final = {
    RLE_LOSSLESS: "pylibjpeg",
    JPEG_LS_LOSSLESS: "pyjpegls",
    JPEG_LS_NEAR_LOSSLESS: "pyjpegls",
    JPEG_2000_LOSSLESS: "pylibjpeg",
    JPEG_LOSSLESS: "gdcm",
    JPEG_LOSSLESS_SV1: "gdcm",
}
"""Which of pydicom's plugins decodes what. GDCM does it all, but ends the process (SIGSEGV, seen with 3.2.6) where
header and code stream disagree or the stream is damaged; so it gets only what nothing else decodes, and after
`_check_lossless_jpeg`. What still ends the process is remembered by the driver and not decoded again."""

_START_OF_LOSSLESS_FRAME: Final = 0xC3
_HUFFMAN_TABLE: Final = 0xC4
_START_OF_SCAN: Final = 0xDA
_KNOWN_MARKERS: Final = frozenset(
    {_START_OF_LOSSLESS_FRAME, _HUFFMAN_TABLE, _START_OF_SCAN, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)}
)

_NATIVE: Final = {IMPLICIT_VR_LITTLE_ENDIAN: "<", EXPLICIT_VR_LITTLE_ENDIAN: "<", EXPLICIT_VR_BIG_ENDIAN: ">"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredValues:
    """How pixel values are stored.

    Attributes:
        bits_stored: significant bits, 1 to 16; what stands above them is no picture (old overlays, sign copies).
        is_signed: Pixel Representation is 1.
        padding: (lowest, highest) stored value that means "no picture", or None.
    """

    bits_stored: int
    is_signed: bool
    padding: tuple[int, int] | None = None


def decode_slices(dataset: Dataset, instance: Instance) -> Iterator[tuple[SliceDescription, I16]]:
    """Decode the pictures of an instance that belong into a volume.

    Args:
        dataset: the instance's data set with pixel data and file meta.
        instance: what `read_instance` made of it.

    Yields:
        The slice with digest and edge set, and its voxels, (rows, columns) int16 HU.

    Raises:
        WireError: `unreadable_pixels`: the pixel data is short, broken, coloured or of an unknown kind.
    """
    wanted = {one.frame: (one, scale) for one, scale in zip(instance.slices, instance.calibrations, strict=True)}
    stored = _stored_values(dataset, instance.name)
    for frame, raw in enumerate(raw_frames(dataset, instance.name)):
        if frame in wanted:
            one, scale = wanted.pop(frame)
            if scale is None or raw.shape != (one.rows, one.columns):
                raise WireError(f"{instance.name}: a picture of {raw.shape}", code="unreadable_pixels")
            hu, padding = to_hu(raw, stored, scale)
            digest = f"{crc64(hu.ravel().view(np.uint8)):016x}"
            yield replace(one, digest=digest, edge_tissue=edge_tissue(hu, padding)), hu
        if not wanted:
            return
    raise WireError(f"{instance.name}: {len(wanted)} pictures are not in its pixel data", code="unreadable_pixels")


def to_hu(raw: npt.NDArray[Any], stored: StoredValues, scale: Calibration) -> tuple[I16, npt.NDArray[np.bool_] | None]:
    """Stored values to HU.

    Padding becomes `AIR_HU`: tagged padding, also where tag and values differ in sign (63536 for -2000); what is at
    or below `PADDING_BELOW_HU`; and what lands above int16, which only a wrapped negative value does. Fractions are
    rounded to the nearest HU.

    Args:
        raw: (rows, columns), 8- or 16-bit integers as decoded.

    Returns:
        (rows, columns) int16 HU, and where padding stood, or None if nowhere.
    """
    native = raw.astype(raw.dtype.newbyteorder("="), copy=False)
    hu_of, is_padding = _tables(native.dtype, stored, scale)
    bits = native.view(f"u{native.dtype.itemsize}")
    if native.dtype.itemsize == 2 and _is_shift(native, hu_of, is_padding, scale):
        # Both wrap at 16 bits, and every sum is known to fit.
        return native.view(np.int16) + np.int16(scale.intercept), None
    hu = hu_of[bits]
    padding = is_padding[bits]
    return hu, padding if padding.any() else None


def _is_shift(native: npt.NDArray[Any], hu_of: I16, is_padding: npt.NDArray[np.bool_], scale: Calibration) -> bool:
    """Whether all values between the picture's least and largest just move by a whole number: the usual case."""
    if scale.slope != 1 or scale.intercept != int(scale.intercept) or abs(scale.intercept) > np.iinfo(np.int16).max:
        return False
    low, high = int(native.min()), int(native.max())
    between = np.arange(low, high + 1)
    patterns = between & 0xFFFF
    return not is_padding[patterns].any() and bool(np.all(hu_of[patterns] == between + int(scale.intercept)))


@lru_cache(maxsize=64)
def _tables(kind: np.dtype[Any], stored: StoredValues, scale: Calibration) -> tuple[I16, npt.NDArray[np.bool_]]:
    """HU and padding for every bit pattern: one look-up per voxel instead of a dozen passes over the picture."""
    bits = 8 * kind.itemsize
    wide = np.arange(1 << bits).astype(f"u{kind.itemsize}").view(kind).astype(np.int64)
    padding = np.zeros(wide.shape, dtype=np.bool_)
    if stored.padding is not None:
        padding |= (wide >= stored.padding[0]) & (wide <= stored.padding[1])
    spare = bits - stored.bits_stored
    if spare > 0:
        if not stored.is_signed:
            # All spare bits set is a negative number in an unsigned field: padding, never a dense voxel.
            padding |= (wide >> stored.bits_stored) == (1 << spare) - 1
        wide &= (1 << stored.bits_stored) - 1
        if stored.is_signed:
            sign = 1 << (stored.bits_stored - 1)
            wide = (wide ^ sign) - sign
    hu = np.rint(wide * scale.slope + scale.intercept)
    padding |= (hu <= PADDING_BELOW_HU) | (hu > np.iinfo(np.int16).max)
    hu[padding] = AIR_HU
    return hu.astype(np.int16), padding


def edge_tissue(hu: I16, padding: npt.NDArray[np.bool_] | None) -> float:
    """Share of the field's edge that shows tissue: the picture's frame, or the rim of the reconstructed circle."""
    if padding is not None and padding.mean() > 0.05:
        inside = (~padding).astype(np.uint8)
        rim = (inside != 0) & (cv2.erode(inside, np.ones((5, 5), np.uint8), borderValue=0) == 0)
        edge = hu[rim]
    else:
        edge = np.concatenate((hu[0], hu[-1], hu[:, 0], hu[:, -1]))
    return float((edge > TISSUE_HU).mean()) if edge.size else 0.0


def _stored_values(dataset: Dataset, name: str) -> StoredValues:
    allocated, bits = integer(dataset, "BitsAllocated"), integer(dataset, "BitsStored")
    samples, sign = integer(dataset, "SamplesPerPixel"), integer(dataset, "PixelRepresentation")
    if samples != 1 or allocated not in (8, 16) or bits is None or not 1 <= bits <= allocated or sign not in (0, 1):
        words = f"{samples} samples per pixel, {allocated} bits allocated, {bits} stored, representation {sign}"
        raise WireError(f"{name}: {words}", code="unreadable_pixels")
    value = _wrapped(integer(dataset, "PixelPaddingValue"), allocated, signed=sign == 1)
    limit = _wrapped(integer(dataset, "PixelPaddingRangeLimit"), allocated, signed=sign == 1)
    padding = (
        None
        if value is None
        else (min(value, value if limit is None else limit), max(value, value if limit is None else limit))
    )
    return StoredValues(bits_stored=bits, is_signed=sign == 1, padding=padding)


def _wrapped(value: int | None, bits: int, *, signed: bool) -> int | None:
    """The padding value in the range of the pixels: it is often written with the other sign rule."""
    if value is None:
        return None
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def raw_frames(dataset: Dataset, name: str) -> Iterator[npt.NDArray[Any]]:
    """Every picture's stored values, decoded and nothing more; 8 or 16 bits allocated.

    Raises:
        WireError: `unreadable_pixels`.
    """
    syntax = str(getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", ""))
    rows, columns = integer(dataset, "Rows"), integer(dataset, "Columns")
    if "PixelData" not in dataset or rows is None or columns is None:
        raise WireError(f"{name} has no pixel data", code="unreadable_pixels")
    if syntax in _NATIVE and integer(dataset, "BitsAllocated") == 16:
        yield from _native_frames(dataset, name, rows * columns, (rows, columns), _NATIVE[syntax])
        return
    if _DECODERS.get(syntax) == "gdcm":
        _check_lossless_jpeg(dataset, name)
    try:
        # raw: no palette, no colour conversion, no rescale; the decoder still mends a code stream's own sign
        yield from iter_pixels(dataset, raw=True, decoding_plugin=_DECODERS.get(syntax, ""))
    except BaseException as error:  # third-party decoders on broken streams raise what they like
        # The RLE decoder is written in Rust: where it panics, what comes is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise WireError(f"{name}: its pixels do not decode: {error}", code="unreadable_pixels") from None


def _native_frames(
    dataset: Dataset, name: str, count: int, shape: tuple[int, int], byte_order: str
) -> Iterator[npt.NDArray[Any]]:
    frames = integer(dataset, "NumberOfFrames") or 1
    kind = "i2" if integer(dataset, "PixelRepresentation") == 1 else "u2"
    data = dataset.PixelData
    if len(data) < 2 * count * frames:
        words = f"{len(data)} bytes of pixel data, {2 * count * frames} needed"
        raise WireError(f"{name}: {words}", code="unreadable_pixels")
    for frame in range(frames):
        yield np.frombuffer(data, dtype=f"{byte_order}{kind}", count=count, offset=2 * count * frame).reshape(shape)


def _check_lossless_jpeg(dataset: Dataset, name: str) -> None:
    """Compare every frame's own size with the header before a decoder that trusts the header sees it."""
    shape = integer(dataset, "Rows"), integer(dataset, "Columns")
    allocated, samples = integer(dataset, "BitsAllocated") or 0, integer(dataset, "SamplesPerPixel")
    try:
        frames = list(generate_frames(dataset.PixelData, number_of_frames=integer(dataset, "NumberOfFrames") or 1))
    except (ValueError, TypeError, struct.error) as error:
        raise WireError(f"{name}: its frames cannot be told apart: {error}", code="unreadable_pixels") from None
    for frame in frames:
        found = _lossless_jpeg_header(frame)
        if found is None or found[1:3] != shape or found[3] != samples or not allocated - 8 < found[0] <= allocated:
            raise WireError(f"{name}: header and JPEG code stream disagree: {found}", code="unreadable_pixels")


def _lossless_jpeg_header(frame: bytes) -> tuple[int, int, int, int] | None:
    """(precision, rows, columns, components) of a process 14 code stream (ITU-T T.81, B.2.2); None if it is none."""
    found: tuple[int, int, int, int] | None = None
    has_table = False
    at = 2 if frame[:2] == b"\xff\xd8" else len(frame)
    while at + 10 <= len(frame) and frame[at] == 0xFF and frame[at + 1] in _KNOWN_MARKERS:
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker == _START_OF_SCAN:
            return found if has_table else None
        if marker == _START_OF_LOSSLESS_FRAME:
            precision, rows, columns, components = struct.unpack_from(">BHHB", frame, at + 4)
            found = (precision, rows, columns, components)
        has_table = has_table or marker == _HUFFMAN_TABLE
        at += 2 + max(length, 2)
    return None
