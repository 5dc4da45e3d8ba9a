"""IMAGE: its 72-byte header and scatter-gather packing around pixels that nobody touches again."""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from guidance import kernels
from guidance.errors import WireError
from guidance.messages import EMPTY_METADATA, FluoroFrame
from guidance.wire.openigtlink.bodies import DTYPES, SCALAR_TYPES, Image, Matrix12
from guidance.wire.openigtlink.header import EXTENDED_HEADER, EXTENDED_HEADER_BYTES, Header, pack_header
from guidance.wire.openigtlink.metadata import pack_metadata

# V COMPONENTS SCALAR_TYPE ENDIAN COORDINATES SIZE(3) MATRIX(12) SUBVOLUME_OFFSET(3) SUBVOLUME_SIZE(3) (image.md)
IMAGE_HEADER: Final = struct.Struct(">HBBBB3H12f3H3H")
IMAGE_HEADER_BYTES: Final = IMAGE_HEADER.size  # 72
_BIG_ENDIAN, _LITTLE_ENDIAN = 1, 2
_NATIVE_ENDIAN: Final = _LITTLE_ENDIAN if sys.byteorder == "little" else _BIG_ENDIAN
_RAS: Final = 1  # the main receivers ignore the flag, so RAS it is, always
_INPUT_DEVICES: Final = ("Fluoro", "FluoroA", "FluoroB")
_FLUOROSCOPY: Final = frozenset(np.dtype(t) for t in (np.uint8, np.int8, np.uint16, np.int16, np.float32))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLayout:
    """What the image header says about the pixels behind it."""

    dtype: np.dtype[Any]
    swapped: bool
    shape: tuple[int, ...]
    components: int
    pixel_bytes: int
    matrix: Matrix12
    coordinate_system: int


def parse_image_header(buffer: bytes | memoryview, offset: int, pixel_bytes: int) -> ImageLayout:
    """Read and check 72 bytes.

    Args:
        buffer, offset: where the image header begins.
        pixel_bytes: bytes between it and the metadata.

    Raises:
        WireError: `ImageVersion`, `Components`, `ScalarType`, `ByteOrder`, `SubVolume` or `ImageSize` (no pixels,
            or not as many bytes as size, components and type make).
    """
    (version, components, scalar_type, endian, coordinates, *rest) = IMAGE_HEADER.unpack_from(buffer, offset)
    size, matrix, sub_offset, sub_size = rest[0:3], tuple(rest[3:15]), rest[15:18], rest[18:21]
    if version not in (1, 2):
        raise WireError(f"image format {version}", code="ImageVersion", mend="send format 1")
    if components == 0:
        raise WireError("an image of 0 components", code="Components")
    if scalar_type not in DTYPES:
        raise WireError(f"scalar type {scalar_type}", code="ScalarType", mend="2 to 7, 10 or 11")
    dtype = DTYPES[scalar_type]
    if dtype.itemsize > 1 and endian not in (_BIG_ENDIAN, _LITTLE_ENDIAN):
        raise WireError(f"byte order {endian}", code="ByteOrder", mend="1 is big endian, 2 little endian")
    if any(sub_offset) or sub_size != size:
        raise WireError(
            f"sub-volume {sub_size} at {sub_offset} of {size}", code="SubVolume", mend="send the whole picture"
        )
    columns, rows, slices = size
    expected = columns * rows * slices * components * dtype.itemsize
    if expected == 0 or expected != pixel_bytes:
        raise WireError(
            f"{pixel_bytes} bytes for {columns} x {rows} x {slices} pixels of {components} x {dtype}, not {expected}",
            code="ImageSize",
        )
    shape: tuple[int, ...] = (rows, columns) if slices == 1 else (slices, rows, columns)
    return ImageLayout(
        dtype=dtype,
        swapped=dtype.itemsize > 1 and endian != _NATIVE_ENDIAN,
        shape=shape if components == 1 else (*shape, components),
        components=components,
        pixel_bytes=pixel_bytes,
        matrix=matrix,
        coordinate_system=coordinates,
    )


def picture_matrix(pixel_pitch_mm: tuple[float, float] | None) -> Matrix12:
    """The fixed matrix of a published picture: pitch along i and -j (1 mm where unknown), centre 0."""
    column_mm, row_mm = pixel_pitch_mm or (1.0, 1.0)
    return (column_mm, 0.0, 0.0, 0.0, -row_mm, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0)


def pixel_pitch_mm(matrix: Matrix12) -> tuple[float, float] | None:
    """(column step, row step) in mm of an image matrix; None where it says nothing usable."""
    column_mm = sqrt(sum(x * x for x in matrix[0:3]))
    row_mm = sqrt(sum(x * x for x in matrix[3:6]))
    if not (isfinite(column_mm) and isfinite(row_mm) and column_mm > 0.0 and row_mm > 0.0):
        return None
    return (column_mm, row_mm)


def fluoro_frame(image: Image, *, received_ns: int, connection_id: int, sequence: int) -> FluoroFrame:
    """The picture as the core takes it; the pixels are the same memory.

    Raises:
        WireError: not a fluoroscopy picture: `UnknownDevice`, `Components` (not 1), `ScalarType` (not 8/16 bit or
            float32), `ImageSize` (more than one slice).
    """
    if image.device not in _INPUT_DEVICES:
        mend = f"name it {', '.join(_INPUT_DEVICES)}"
        raise WireError(f"pictures of device {image.device!r}", code="UnknownDevice", mend=mend)
    if image.components != 1:
        raise WireError(f"{image.components} components", code="Components", mend="send one component")
    if image.pixels.dtype not in _FLUOROSCOPY:
        raise WireError(f"pixels of {image.pixels.dtype}", code="ScalarType", mend="send 8 or 16 bit or float32")
    if image.pixels.ndim != 2:
        raise WireError(f"{image.pixels.shape[0]} slices", code="ImageSize", mend="send (1, rows, columns)")
    return FluoroFrame(
        device=image.device,
        pixels=image.pixels,
        timestamp_igtl=image.timestamp_igtl,
        received_ns=received_ns,
        metadata=image.metadata,
        pixel_pitch_mm=pixel_pitch_mm(image.matrix),
        header_version=image.header_version,
        connection_id=connection_id,
        sequence=sequence,
        pixels_crc64=image.pixels_crc64,
    )


def pack_image_parts(
    device: str,
    timestamp_igtl: int,
    shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    *,
    pixels_crc64: int,
    matrix: Matrix12 | None = None,
    metadata: Mapping[str, str] = EMPTY_METADATA,
    header_version: int = 2,
    message_id: int = 0,
) -> tuple[bytes, bytes]:
    """Everything of an IMAGE message but the pixels, which are sent between the two parts as they lie in memory.

    Args:
        shape: (rows, columns), (rows, columns, components) or (slices, rows, columns, components).
        dtype: one of the IMAGE scalar types, native byte order.
        pixels_crc64: CRC-64 of the pixel bytes; the body's CRC is combined from it.
        matrix: 12 numbers as in `Image`; None: `picture_matrix(None)`.

    Returns:
        (prefix, suffix); the suffix is empty in version 1.

    Raises:
        WireError: `ScalarType`, `ImageSize`, `Components`, `Name` or `Version`: cannot be said in this protocol.
    """
    kind = np.dtype(dtype)
    if kind not in SCALAR_TYPES or not kind.isnative:
        raise WireError(f"pixels of {kind}", code="ScalarType", mend="native 8, 16, 32 bit or float")
    slices, rows, columns, components = _four(shape)
    if not all(0 < n <= 0xFFFF for n in (slices, rows, columns)):
        raise WireError(f"picture of shape {shape}", code="ImageSize", mend="1 to 65535 along each axis")
    if not 0 < components <= 0xFF:
        raise WireError(f"{components} components", code="Components", mend="1 to 255")
    size = (columns, rows, slices)
    image_header = IMAGE_HEADER.pack(
        1,
        components,
        SCALAR_TYPES[kind],
        _NATIVE_ENDIAN,
        _RAS,
        *size,
        *(matrix or picture_matrix(None)),
        0,
        0,
        0,
        *size,
    )
    pixel_bytes = slices * rows * columns * components * kind.itemsize
    front, suffix = frame_content(image_header, metadata, header_version, message_id)
    crc = kernels.crc64_combine(kernels.crc64(front), pixels_crc64, pixel_bytes)
    if suffix:
        crc = kernels.crc64_combine(crc, kernels.crc64(suffix), len(suffix))
    header = Header(
        version=header_version,
        type=Image.TYPE,
        device=device,
        timestamp_igtl=timestamp_igtl,
        body_size=len(front) + pixel_bytes + len(suffix),
        crc64=crc,
    )
    return pack_header(header) + front, suffix


def frame_content(
    content: bytes, metadata: Mapping[str, str], header_version: int, message_id: int
) -> tuple[bytes, bytes]:
    """What stands around the rest of a content: the extended header and `content`, and the metadata behind it.

    In version 2 extended header and metadata count always go out (14 bytes): upstream receivers lose their place at
    an empty body. Version 1 has neither.
    """
    if header_version < 2:
        return content, b""
    index, values = pack_metadata(metadata)
    extended_header = EXTENDED_HEADER.pack(EXTENDED_HEADER_BYTES, len(index), len(values), message_id)
    return extended_header + content, index + values


def _four(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    if len(shape) == 2:
        return 1, shape[0], shape[1], 1
    if len(shape) == 3:
        return 1, shape[0], shape[1], shape[2]
    if len(shape) == 4:
        return shape[0], shape[1], shape[2], shape[3]
    raise WireError(f"picture of shape {shape}", code="ImageSize", mend="(rows, columns[, components])")
