"""The native core's documented face; `reference` is the specification of each kernel in NumPy.

Arrays are checked at the door: another dtype, shape or memory order is a TypeError, never a silent copy; sizes that
do not fit each other and values out of range are a ValueError. All kernels release the GIL and keep no state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from guidance.kernels import reference
from guidance.kernels.reference import F32, I32
from guidance.messages import F64, U8, Pixels

try:
    from guidance.kernels import _core
except ImportError as error:  # no fallback to the twin: latency is part of correctness
    raise ImportError(
        "the native core guidance.kernels._core is missing or does not load: build it with `make setup` "
        f"(or `pip install -e .` in the repository); {error}"
    ) from error

Backend = Literal["native", "reference"]

TILE_ROWS: Final[int] = _core.TILE_ROWS
TILE_COLUMNS: Final[int] = _core.TILE_COLUMNS
STROKE_NUMBERS: Final = 8
SPRITE_NUMBERS: Final = 8

__all__ = [
    "F32",
    "I32",
    "SPRITE_NUMBERS",
    "STROKE_NUMBERS",
    "TILE_COLUMNS",
    "TILE_ROWS",
    "Backend",
    "FrameBuffers",
    "compose_frame",
    "crc64",
    "crc64_combine",
    "crc64_variants",
    "crc64_with",
    "crc64_zeros",
    "dirty_shape",
    "frame_buffers",
    "grey8",
    "instruction_set",
    "project_points",
    "window_levels",
]


def instruction_set() -> str:
    """What the vectorised loops run with: `x86-64-v4`, `x86-64-v3`, `x86-64`, `aarch64` or `generic`."""
    return _core.instruction_set()


def crc64(data: bytes | bytearray | memoryview | U8, crc: int = 0, *, backend: Backend = "native") -> int:
    """CRC-64/ECMA-182 of the bytes, as OpenIGTLink's header carries it; not reflected, initial 0, no final xor.

    Args:
        data: any contiguous buffer, or a 1-D uint8 array.
        crc: where to go on from: `crc64(b, crc64(a)) == crc64(a + b)`.

    Source: OpenIGTLink protocol, header; check value of "123456789": 6C40DF5F0B497347.
    """
    numbers = data if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)
    return _core.crc64(numbers, crc) if backend == "native" else reference.crc64(numbers, crc)


def crc64_with(variant: str, data: U8, crc: int = 0) -> int:
    """The same with one of `crc64_variants()`; ValueError for one that this processor lacks."""
    return _core.crc64_with(variant, data, crc)


def crc64_variants() -> list[str]:
    """What this processor can compute CRCs with, the fastest (which `crc64` uses) first."""
    return _core.crc64_variants()


def crc64_combine(crc_a: int, crc_b: int, length_b: int, *, backend: Backend = "native") -> int:
    """The CRC of a + b from the CRCs of both and the length of b in bytes; at most a microsecond or two."""
    combine = _core.crc64_combine if backend == "native" else reference.crc64_combine
    return combine(crc_a, crc_b, length_b)


def crc64_zeros(crc: int, length: int) -> int:
    """Go on from `crc` over `length` zero bytes without reading any."""
    return _core.crc64_zeros(crc, length)


def project_points(points_mm: F64, pixel_from_patient: F64, *, backend: Backend = "native") -> F64:
    """Project points onto the picture (cone beam, no distortion).

    Args:
        points_mm: (N, 3) float64, C order, patient LPS.
        pixel_from_patient: (3, 4) float64, C order; w > 0 in front of the source.

    Returns:
        (N, 3) float64: u, v in px, (0, 0) the centre of the first pixel, and w in the matrix's scale (mm along the
        central ray); u and v are NaN at or behind the source and where they are not finite.

    Raises:
        TypeError: wrong shape, dtype or memory order.

    Source: Hartley & Zisserman, Multiple View Geometry, 2nd ed., section 6.1.
    """
    if backend == "reference":
        return reference.project_points(points_mm, pixel_from_patient)
    uvw = np.empty(points_mm.shape, np.float64)
    _core.project_points(points_mm, pixel_from_patient, uvw)
    return uvw


def window_levels(pixels: Pixels, *, backend: Backend = "native") -> tuple[float, float]:
    """Robust grey limits: half a percent of a strided sample (at most 128 x 128) lies below low, and above high.

    Args:
        pixels: (rows, columns) uint8, int8, uint16, int16 or float32, C order; NaN and infinities are left out.

    Returns:
        low < high, finite; (0, 255) for uint8, (0, 1) where there is no finite pixel.
    """
    return _core.window_levels(pixels) if backend == "native" else reference.window_levels(pixels)


def grey8(pixels: Pixels, low: float, high: float, *, step: int = 1, backend: Backend = "native") -> U8:
    """The picture in 8-bit grey, shrunk by a whole number; for the page's JPEG.

    Args:
        pixels: as in `compose_frame`.
        low, high: what becomes 0 and 255; finite, low < high; uint8 stay as they are.
        step: 1 to 64; each block of step x step becomes its rounded mean, rows and columns left over are dropped.

    Returns:
        (rows // step, columns // step) uint8.
    """
    if backend == "reference":
        return reference.grey8(pixels, low, high, step)
    out = np.empty((pixels.shape[0] // step, pixels.shape[1] // step), np.uint8)
    _core.grey8(pixels, low, high, step, out)
    return out


def dirty_shape(rows: int, columns: int) -> tuple[int, int]:
    """Shape of the tile map that belongs to a layer."""
    return -(-rows // TILE_ROWS), -(-columns // TILE_COLUMNS)


@dataclass(frozen=True, slots=True)
class FrameBuffers:
    """What `compose_frame` writes; reused from frame to frame, one set per frame in flight.

    Attributes:
        rgb: (rows, columns, 3) uint8, the picture with the layer burned in.
        layer: (rows, columns, 4) uint8, straight alpha; only `compose_frame` writes it.
        dirty: `dirty_shape(rows, columns)` uint8, 1 where the layer may hold something; belongs to its layer for ever.
    """

    rgb: U8
    layer: U8
    dirty: U8


def frame_buffers(rows: int, columns: int) -> FrameBuffers:
    """A fresh, empty set. A layer made elsewhere (inside a message's body) must be zero and bring a zero `dirty`."""
    return FrameBuffers(
        np.empty((rows, columns, 3), np.uint8),
        np.zeros((rows, columns, 4), np.uint8),
        np.zeros(dirty_shape(rows, columns), np.uint8),
    )


def compose_frame(
    pixels: Pixels,
    low: float,
    high: float,
    strokes: F32,
    sprites: U8,
    sprite_table: I32,
    rgb_out: U8,
    layer: U8,
    dirty: U8,
    *,
    under: int = 0,
    backend: Backend = "native",
) -> tuple[int, int]:
    """Draw one frame: clear what the layer showed, draw into it, window the picture, burn the layer in, sum both.

    Per pixel of the layer the larger coverage wins and keeps exactly its colour (nothing is mixed); of two equal ones
    the later, sprites after strokes. Coverage of a line's side is the exact area (tests
    allow 0.007, their oracle's grain), of its round end within 0.1 for a half width of 1 px (0.25 at 0.5, 0.04 at 2.5).

    Args:
        pixels: (rows, columns) uint8, int8, uint16, int16 or float32, C order; never altered. NaN becomes black.
        low, high: grey window, finite, low < high; uint8 is shown as it is.
        strokes: (N, 8) float32: x0 y0 x1 y1 half_width_px r g b; pixel centres at integers, colours 0 to 255. A
            stroke is all that lies within half_width of its segment; one with a number that is not finite is left out.
        sprites: 1-D uint8, coverage bitmaps one after the other.
        sprite_table: (M, 8) int32: offset rows columns x y r g b; (x, y) is the pixel of the top left corner.
        rgb_out: (rows, columns, 3) uint8, overwritten.
        layer, dirty: as in `FrameBuffers`.
        under: strokes, from the first, that lie under the others and the sprites: of them nothing is left in a pixel
            that something above touches, so that what is above looks as if it were alone.

    Returns:
        CRC-64 of the bytes of rgb_out and of layer.

    Raises:
        TypeError: wrong dtype, dimensions or memory order.
        ValueError: sizes that do not fit, a bad window, a sprite outside its bytes, outputs that share memory.
    """
    if backend == "native":
        return _core.compose_frame(pixels, low, high, strokes, sprites, sprite_table, rgb_out, layer, dirty, under)
    dirty[:] = 1
    return reference.compose_frame(pixels, low, high, strokes, sprites, sprite_table, rgb_out, layer, under)
