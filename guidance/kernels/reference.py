"""The specification of every kernel in NumPy: short, slow, what the native core must agree with; never used live."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from guidance.messages import F64, U8, Pixels

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]

POLYNOMIAL: Final = 0x42F0E1EBA9EA3693  # ECMA-182, the term x^64 left out
TILE_ROWS: Final = 16
TILE_COLUMNS: Final = 32
SAMPLES_PER_AXIS: Final = 128
LEFT_OUT_PER_THOUSAND: Final = 5
_MASK: Final = (1 << 64) - 1


def _table_entry(byte: int) -> int:
    crc = byte << 56
    for _ in range(8):
        crc = (crc << 1) ^ (POLYNOMIAL if crc >> 63 else 0)
        crc &= _MASK
    return crc


_TABLE: Final = tuple(_table_entry(byte) for byte in range(256))


def crc64(data: U8, crc: int = 0) -> int:
    for byte in data.tobytes():
        crc = ((crc << 8) & _MASK) ^ _TABLE[(crc >> 56) ^ byte]
    return crc


def crc64_combine(crc_a: int, crc_b: int, length_b: int) -> int:
    return crc64(np.zeros(length_b, np.uint8), crc_a) ^ crc_b


def project_points(points_mm: F64, pixel_from_patient: F64) -> F64:
    x, y, z = points_mm.T
    a, b, w = (row[0] * x + row[1] * y + row[2] * z + row[3] for row in pixel_from_patient)
    with np.errstate(all="ignore"):
        uvw = np.stack([a / w, b / w, w], axis=1)
    uvw[~((w > 0) & np.isfinite(uvw[:, 0]) & np.isfinite(uvw[:, 1])), :2] = np.nan
    return uvw


def window_levels(pixels: Pixels) -> tuple[float, float]:
    if pixels.dtype == np.uint8:
        return 0.0, 255.0
    row_step, column_step = (-(-size // SAMPLES_PER_AXIS) for size in pixels.shape)
    sample = pixels[row_step // 2 :: row_step, column_step // 2 :: column_step] if pixels.size else pixels
    ordered = np.sort(sample[np.isfinite(sample)])
    if not ordered.size:
        return 0.0, 1.0
    left_out = ordered.size * LEFT_OUT_PER_THOUSAND // 1000
    low, high = float(ordered[left_out]), float(ordered[-1 - left_out])
    return (low, high) if high > low else (low, low + max(1.0, abs(low) * 1e-3))


def grey8(pixels: Pixels, low: float, high: float, step: int = 1) -> U8:
    if pixels.dtype == np.uint8:
        grey = np.asarray(pixels, np.uint8)
    else:
        with np.errstate(all="ignore"):
            scaled = (pixels.astype(np.float32) - np.float32(low)) * np.float32(255.0 / (high - low)) + np.float32(0.5)
        grey = np.clip(np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0), 0, 255).astype(np.uint8)
    rows, columns = (size // step for size in grey.shape)
    blocks = grey[: rows * step, : columns * step].reshape(rows, step, columns, step).astype(np.uint32)
    area = step * step
    means: U8 = ((blocks.sum(axis=(1, 3)) + area // 2) // area).astype(np.uint8)
    return means


def draw_layer(rows: int, columns: int, strokes: F32, sprites: U8, sprite_table: I32, under: int = 0) -> U8:
    """The layer (rows, columns, 4) that the strokes and then the sprites leave, over what lies under them."""
    layer = np.zeros((rows, columns, 4), np.uint8)
    if under:
        above = draw_layer(rows, columns, strokes[under:], sprites, sprite_table)
        below = draw_layer(rows, columns, strokes[:under], sprites, sprite_table[:0])
        return np.where(above[..., 3:] > 0, above, below)
    for stroke in strokes:
        if np.isfinite(stroke).all() and stroke[4] > 0:
            _draw_stroke(stroke, layer)
    for offset, height, width, x, y, *color in sprite_table.tolist():
        coverage = sprites[offset : offset + height * width].reshape(height, width)
        top, bottom = (min(max(edge, 0), rows) for edge in (y, y + height))
        left, right = (min(max(edge, 0), columns) for edge in (x, x + width))
        _cover(layer[top:bottom, left:right], coverage[top - y : bottom - y, left - x : right - x], color)
    return layer


def compose_frame(
    pixels: Pixels,
    low: float,
    high: float,
    strokes: F32,
    sprites: U8,
    sprite_table: I32,
    rgb_out: U8,
    layer: U8,
    under: int = 0,
) -> tuple[int, int]:
    layer[:] = draw_layer(pixels.shape[0], pixels.shape[1], strokes, sprites, sprite_table, under)
    alpha = layer[..., 3:].astype(np.uint32)
    below = grey8(pixels, low, high)[..., None].astype(np.uint32)
    rgb_out[:] = (below * (255 - alpha) + layer[..., :3] * alpha + 127) // 255
    return crc64(rgb_out.reshape(-1)), crc64(layer.reshape(-1))


def _draw_stroke(stroke: F32, layer: U8) -> None:
    x0, y0, x1, y1, half_width = (float(number) for number in stroke[:5])
    reach = half_width + 0.7072  # a pixel's corner is that far from its centre
    columns = _pixels_between(min(x0, x1) - reach, max(x0, x1) + reach, layer.shape[1])
    rows = _pixels_between(min(y0, y1) - reach, max(y0, y1) + reach, layer.shape[0])
    dx, dy = x1 - x0, y1 - y0
    length = float(np.sqrt(dx * dx + dy * dy))
    ux, uy = (dx / length, dy / length) if length > 0 else (1.0, 0.0)
    u, v = np.meshgrid(
        np.arange(columns.start, columns.stop, dtype=float), np.arange(rows.start, rows.stop, dtype=float)
    )
    x, y = u - x0, v - y0
    along, aside = x * ux + y * uy, np.abs(x * uy - y * ux)
    ex, ey = np.where(along < 0, x, u - x1), np.where(along < 0, y, v - y1)
    distance = np.sqrt(ex * ex + ey * ey)
    with np.errstate(invalid="ignore"):
        nx, ny = (np.where(distance > 0, e / distance, only) for e, only in ((ex, 1.0), (ey, 0.0)))
    body = (along >= 0) & (along <= length)
    inside = np.where(body, aside, distance)
    normal = np.where(body, uy, nx), np.where(body, ux, ny)
    coverage = _covered(half_width - inside, *normal) - _covered(-half_width - inside, *normal)
    color = np.floor(np.clip(stroke[5:], 0, 255) + np.float32(0.5))
    _cover(layer[rows, columns], np.floor(np.clip(coverage, 0, 1) * 255 + 0.5).astype(np.uint8), color)


def _covered(depth: F64, normal_x: F64, normal_y: F64) -> F64:
    """Part of a unit box inside a straight edge that passes `depth` px from its centre: a trapezium's integral."""
    sizes = np.abs(normal_x), np.abs(normal_y)
    large, small = np.maximum(*sizes), np.maximum(np.minimum(*sizes), 1e-6)
    outer, inner = 0.5 * (large + small), 0.5 * (large - small)
    t = np.clip(depth, -outer, outer)
    ramps = [np.maximum(t + shift, 0) ** 2 for shift in (outer, inner, -inner, -outer)]
    covered: F64 = (ramps[0] - ramps[1] - ramps[2] + ramps[3]) * (1.0 / (2.0 * (large * small)))
    return covered


def _cover(layer: U8, coverage: U8, color: Any) -> None:
    wins = (coverage > 0) & (coverage >= layer[..., 3])
    layer[wins, :3] = np.clip(color, 0, 255)
    layer[wins, 3] = coverage[wins]


def _pixels_between(low: float, high: float, size: int) -> slice:
    first = min(max(np.ceil(low), 0), size)
    return slice(int(first), int(max(min(np.floor(high), size - 1) + 1, first)))
