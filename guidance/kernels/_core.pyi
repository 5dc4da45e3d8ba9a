"""
Native kernels of the guidance server; the documented face is guidance.kernels.
"""

from typing import Any

import numpy
import numpy.typing

TILE_ROWS: int = 16

TILE_COLUMNS: int = 32

def instruction_set() -> str: ...
def crc64(data: numpy.typing.NDArray[numpy.uint8], crc: int = 0) -> int: ...
def crc64_with(variant: str, data: numpy.typing.NDArray[numpy.uint8], crc: int = 0) -> int: ...
def crc64_variants() -> list[str]: ...
def crc64_zeros(crc: int, size: int) -> int: ...
def crc64_combine(crc_a: int, crc_b: int, length_b: int) -> int: ...
def project_points(
    points_mm: numpy.typing.NDArray[numpy.float64],
    pixel_from_patient: numpy.typing.NDArray[numpy.float64],
    out: numpy.typing.NDArray[numpy.float64],
) -> None: ...
def window_levels(pixels: numpy.typing.NDArray[Any]) -> tuple[float, float]: ...
def grey8(
    pixels: numpy.typing.NDArray[Any], low: float, high: float, step: int, out: numpy.typing.NDArray[numpy.uint8]
) -> None: ...
def compose_frame(
    pixels: numpy.typing.NDArray[Any],
    low: float,
    high: float,
    strokes: numpy.typing.NDArray[numpy.float32],
    sprites: numpy.typing.NDArray[numpy.uint8],
    sprite_table: numpy.typing.NDArray[numpy.int32],
    rgb_out: numpy.typing.NDArray[numpy.uint8],
    layer: numpy.typing.NDArray[numpy.uint8],
    dirty: numpy.typing.NDArray[numpy.uint8],
) -> tuple[int, int]: ...
