"""A radiograph out of a file (PNG, TIFF, NPY, DICOM) -> its values as they were stored; never scaled for display."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from guidance.errors import WireError
from guidance.geometry.intensity import PixelIntensity
from guidance.messages import Pixels
from guidance.wire.tiff_header import check_tiff
from guidance.wire.xray_picture import read_xray_picture

MAXIMUM_PIXELS: Final = 1 << 26
"""More than any detector has (8192 x 8192); a file of a few bytes may claim a picture of any size."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_TIFF: Final = (b"II*\0", b"MM\0*")
_NPY: Final = b"\x93NUMPY"
_PALETTE: Final = 3
_FRAME_TYPES: Final = ("u1", "i1", "u2", "i2", "f4")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PictureFile:
    """A radiograph as stored.

    Attributes:
        pixels: (rows, columns) uint8, int8, uint16, int16 or float32; wider numbers become float32.
        valid: (rows, columns) bool, False behind a shutter, at padding and where a value is not finite; None: all.
        intensity: what the object says its values mean; None where the format has no word for it.
    """

    pixels: Pixels
    valid: npt.NDArray[np.bool_] | None = None
    intensity: PixelIntensity | None = None


def read_picture(data: bytes, *, origin: str, frame: int = 1) -> PictureFile:
    """Read one grey picture.

    Args:
        data: the file.
        origin: its name.
        frame: which picture of a DICOM object, from 1; the other formats have one.

    Raises:
        WireError: `unreadable_picture`: another format, cut short, coloured, too large, several pages.
    """
    if data[128:132] == b"DICM":
        return _usable(*read_xray_picture(data, origin=origin, frame=frame), origin=origin)
    if frame != 1:
        raise refused(f"{origin} has one picture, not {frame}", "only a DICOM object has several")
    if data.startswith(_NPY):
        return _usable(_npy(data, origin), origin=origin)
    if data.startswith(_PNG):
        _check_png(data, origin)
    elif data[:4] in _TIFF:
        check_tiff(data, origin=origin, maximum_pixels=MAXIMUM_PIXELS)
    else:
        raise refused(f"{origin} is no PNG, TIFF, NPY or DICOM file")
    return _usable(_decoded(data, origin), origin=origin)


def refused(message: str, mend: str = "") -> WireError:
    """What every reader of pictures raises."""
    return WireError(message, code="unreadable_picture", mend=mend)


def _usable(
    pixels: Pixels,
    valid: npt.NDArray[np.bool_] | None = None,
    intensity: PixelIntensity | None = None,
    *,
    origin: str,
) -> PictureFile:
    if pixels.ndim != 2 or min(pixels.shape) < 2 or pixels.size > MAXIMUM_PIXELS:
        shape = " x ".join(str(count) for count in pixels.shape)
        raise refused(f"{origin} holds {shape} of {pixels.dtype}", "one grey picture of rows x columns")
    if pixels.dtype.str[1:] not in _FRAME_TYPES:
        with np.errstate(over="ignore"):  # what leaves float32 is not finite, and masked below
            pixels = pixels.astype(np.float32)
    pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    if pixels.dtype.kind == "f":
        finite = np.isfinite(pixels)
        if not finite.all():
            valid = finite if valid is None else valid & finite
    if valid is not None and not valid.any():
        raise refused(f"{origin} shows nothing: every pixel is behind the shutter, padding or not a number")
    pixels.flags.writeable = False
    return PictureFile(pixels=pixels, valid=valid, intensity=intensity)


def _npy(data: bytes, origin: str) -> Pixels:
    file = BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, kind = read_header(file)
    except (ValueError, SyntaxError, TypeError, EOFError) as error:
        raise refused(f"{origin} is no array: {error}") from None
    if kind.kind not in "uifb" or kind.hasobject:
        raise refused(f"{origin} holds {kind}", "grey values as numbers")
    shape = tuple(count for count in shape if count != 1)
    needed = math.prod(shape) * kind.itemsize
    body = data[file.tell() :]
    if len(shape) != 2 or len(body) != needed:
        words = " x ".join(str(count) for count in shape)
        raise refused(f"{origin} holds {words} of {kind} in {len(body)} bytes", "one whole picture of rows x columns")
    values: npt.NDArray[Any] = np.frombuffer(body, kind)
    return values.reshape(shape[::-1]).T if is_fortran else values.reshape(shape)


def _check_png(data: bytes, origin: str) -> None:
    """Every chunk whole and one end: the decoder fills what is missing with black and says nothing."""
    at, first, kind = len(_PNG), b"", b""
    while at + 12 <= len(data) and kind != b"IEND":
        length = int.from_bytes(data[at : at + 4], "big")
        kind, end = data[at + 4 : at + 8], at + 8 + length
        if end + 4 > len(data) or zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise refused(f"{origin} is cut short or damaged")
        first = first or data[at + 4 : end]
        at = end + 4
    if kind != b"IEND" or first[:4] != b"IHDR" or len(first) != 17:
        raise refused(f"{origin} is cut short or damaged")
    columns, rows = int.from_bytes(first[4:8], "big"), int.from_bytes(first[8:12], "big")
    if columns * rows > MAXIMUM_PIXELS:
        raise refused(f"{origin} claims {rows} x {columns} pixels", f"at most {MAXIMUM_PIXELS}")
    if first[13] == _PALETTE:
        raise refused(f"{origin} has a palette: what its numbers mean is not known", "a grey picture")


def _decoded(data: bytes, origin: str) -> Pixels:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise refused(f"{origin} does not decode: {error.err}") from None
    if pixels is None:
        raise refused(f"{origin} does not decode: it is damaged or of a kind that is not read")
    values: npt.NDArray[Any] = np.asarray(pixels)
    if values.ndim == 2:
        return values
    colours = values[..., :3] if values.shape[2] in (3, 4) else values[..., :1]
    if (colours != colours[..., :1]).any():
        raise refused(f"{origin} is coloured", "a grey picture, without anything drawn on it")
    return colours[..., 0]
