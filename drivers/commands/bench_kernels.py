"""`guidance bench kernels`: the native kernels beside their NumPy twins and beside one pass over memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np

from drivers.commands.bench_report import percentile, report
from guidance import kernels
from guidance.kernels import F32, frame_buffers
from guidance.messages import F64, U8

_SIDE_PX: Final = 1024
_STROKES: Final = 200
_POINTS: Final = 10_000
_CRC_TWIN_BYTES: Final = 1 << 18  # the twin takes 0.1 us a byte: its share of a frame is measured on a part
_SEED: Final = 20260101


def run_kernels(*, quick: bool) -> dict[str, Any]:
    """Medians of alternating rounds, ms, so that a neighbour's load falls on all alike.

    Per kernel: `<kernel>_ms`, `<kernel>_twin_ms`, `<kernel>_speedup` (twin over kernel) and `<kernel>_ratio_vs_memory`
    (over copying as many bytes as the kernel reads and writes). `noise_percent`: half the distance of the quartiles of
    the memory pass, over its median.
    """
    rounds, twin_rounds = (40, 2) if quick else (200, 5)
    jobs = _jobs()
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for round_number in range(rounds):
        for name, job in jobs.items():
            if name.endswith("_twin") and round_number >= twin_rounds:
                continue
            times[name].append(_milliseconds(job))
    medians = {name: percentile(values, 50.0) or 0.0 for name, values in times.items()}
    frame_crc_bytes = _SIDE_PX * _SIDE_PX * 3
    medians["crc64_twin"] *= frame_crc_bytes / _CRC_TWIN_BYTES
    figures: dict[str, Any] = {}
    for backend in ("", "_twin"):  # what drawing adds to a frame
        medians[f"raster{backend}"] = medians[f"frame_drawn{backend}"] - medians[f"frame_empty{backend}"]
    for kernel, memory in _MEMORY_OF.items():
        figures[f"{kernel}_ms"] = medians[kernel]
        if f"{kernel}_twin" in medians:
            figures[f"{kernel}_twin_ms"] = medians[f"{kernel}_twin"]
            figures[f"{kernel}_speedup"] = medians[f"{kernel}_twin"] / medians[kernel]
        figures[f"{kernel}_ratio_vs_memory"] = medians[kernel] / medians[memory]
    for variant in kernels.crc64_variants():
        figures[f"crc64_{variant}_gb_s"] = frame_crc_bytes / medians[f"crc64_{variant}"] / 1e6
    lower, upper = (percentile(times["memory_frame"], q) or 0.0 for q in (25.0, 75.0))
    figures["memory_frame_ms"] = medians["memory_frame"]
    figures["noise_percent"] = 50.0 * (upper - lower) / medians["memory_frame"]
    settings = {
        "side_px": _SIDE_PX,
        "pixels": "uint16",
        "strokes": _STROKES,
        "points": _POINTS,
        "rounds": rounds,
        "twin_rounds": twin_rounds,
        "crc64_variants": kernels.crc64_variants(),
    }
    series = {f"{name}_ms": [round(value, 4) for value in values] for name, values in times.items()}
    return report("kernels", settings=settings, figures=figures, series=series)


# Each kernel and the copy of as many bytes as it touches; a frame is its pixels read and its RGB written, the raster
# at most one pass over the layer.
_MEMORY_OF: Final = {
    "crc64": "memory_rgb",
    "project_points": "memory_points",
    "raster": "memory_layer",
    "window_levels": "memory_grey",
    "grey8": "memory_grey",
    "compose": "memory_frame",
}


def _jobs() -> dict[str, Callable[[], object]]:
    rng = np.random.default_rng(_SEED)
    pixels = rng.integers(0, 4096, (_SIDE_PX, _SIDE_PX), dtype=np.uint16)
    low, high = kernels.window_levels(pixels)
    strokes = _scene(rng)
    sprites, table = _labels(rng)
    buffers, twin = frame_buffers(_SIDE_PX, _SIDE_PX), frame_buffers(_SIDE_PX, _SIDE_PX)
    rgb = rng.integers(0, 256, _SIDE_PX * _SIDE_PX * 3, dtype=np.uint8)
    points = rng.uniform(-200, 200, (_POINTS, 3))
    matrix = np.array([[4000.0, -511.5, 0, 383625], [0, -511.5, -4000, 383625], [0, -1, 0, 750]])
    plain = np.zeros((_SIDE_PX, _SIDE_PX), np.uint8)
    no_text = np.zeros(0, np.uint8), np.zeros((0, 8), np.int32)

    def compose(into: kernels.FrameBuffers, backend: kernels.Backend) -> object:
        return kernels.compose_frame(
            pixels, low, high, strokes, sprites, table, into.rgb, into.layer, into.dirty, backend=backend
        )

    def frame(of: F32, into: kernels.FrameBuffers, backend: kernels.Backend) -> object:
        return kernels.compose_frame(plain, 0.0, 1.0, of, *no_text, into.rgb, into.layer, into.dirty, backend=backend)

    jobs: dict[str, Callable[[], object]] = {
        "crc64": lambda: kernels.crc64(rgb),
        "project_points": lambda: kernels.project_points(points, matrix),
        "frame_drawn": lambda: frame(strokes, buffers, "native"),
        "frame_empty": lambda: frame(strokes[:0], buffers, "native"),
        "window_levels": lambda: kernels.window_levels(pixels),
        "grey8": lambda: kernels.grey8(pixels, low, high),
        "compose": lambda: compose(buffers, "native"),
        "crc64_twin": lambda: kernels.crc64(rgb[:_CRC_TWIN_BYTES], backend="reference"),
        "project_points_twin": lambda: kernels.project_points(points, matrix, backend="reference"),
        "frame_drawn_twin": lambda: frame(strokes, twin, "reference"),
        "frame_empty_twin": lambda: frame(strokes[:0], twin, "reference"),
        "window_levels_twin": lambda: kernels.window_levels(pixels, backend="reference"),
        "grey8_twin": lambda: kernels.grey8(pixels, low, high, backend="reference"),
        "compose_twin": lambda: compose(twin, "reference"),
    }
    for variant in kernels.crc64_variants():
        jobs[f"crc64_{variant}"] = partial(kernels.crc64_with, variant, rgb)
    for name, touched in {
        "memory_rgb": rgb.nbytes,
        "memory_points": 2 * points.nbytes,
        "memory_grey": pixels.nbytes + pixels.size,
        "memory_layer": 4 * pixels.size,
        "memory_frame": pixels.nbytes + rgb.nbytes,
    }.items():
        jobs[name] = _copy_of(touched // 2)
    return jobs


def _copy_of(size: int) -> Callable[[], object]:
    """Reads `size` bytes and writes as many."""
    source, target = np.zeros(size, np.uint8), np.empty(size, np.uint8)
    return lambda: np.copyto(target, source)


def _scene(rng: np.random.Generator) -> F32:
    """Lines as an overlay has them: four tubes with ticks, outlines and marks made of short pieces."""
    strokes = np.zeros((_STROKES, 8), np.float32)
    middle = rng.uniform(0.2, 0.8, (_STROKES, 2)) * _SIDE_PX
    angle = rng.uniform(0.0, np.pi, _STROKES)
    # Three long lines per tube, ticks of a twentieth, the rest the corners of round shapes.
    length = np.full(_STROKES, 4.0)
    length[:12], length[12:44] = 0.4 * _SIDE_PX, 0.05 * _SIDE_PX
    half: F64 = np.stack((np.cos(angle), np.sin(angle)), axis=1) * length[:, None] / 2
    strokes[:, :2], strokes[:, 2:4] = middle - half, middle + half
    strokes[:, 4] = 0.75
    strokes[:, 5:] = rng.integers(0, 256, (_STROKES, 3))
    return strokes


def _labels(rng: np.random.Generator) -> tuple[U8, np.ndarray[Any, np.dtype[np.int32]]]:
    sprites = rng.integers(0, 256, 24 * 120, dtype=np.uint8)
    table = [[0, 24, 120, 40 + 150 * number, 60 + 130 * number, 0, 255, 0] for number in range(6)]
    return sprites, np.array(table, np.int32)


def _milliseconds(job: Callable[[], object]) -> float:
    before_ns = time.perf_counter_ns()
    job()
    return (time.perf_counter_ns() - before_ns) / 1e6
