"""Content of POLYDATA: points, lines and polygons (polydata.md); receivers break on anything else: it is not sent."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from guidance.errors import WireError
from guidance.wire.openigtlink.bodies import PolyData

# NPOINTS, then count and bytes of vertices, lines, polygons and triangle strips, NATTRIBUTES
_POLYDATA: Final = struct.Struct(">10I")


def parse_polydata(content: bytes, common: Mapping[str, Any]) -> PolyData:
    """Points, lines and polygons of a content; vertices, strips and attributes are passed over.

    Raises:
        WireError: `BodyLength`, or `PolyDataCells` where cells do not fill their section or name no point.
    """
    if len(content) < _POLYDATA.size:
        raise WireError(f"POLYDATA of {len(content)} bytes", code="BodyLength")
    points, _, vertex_bytes, lines, line_bytes, polygons, polygon_bytes, _, strip_bytes, _ = _POLYDATA.unpack_from(
        content
    )
    at = _POLYDATA.size
    sizes = (12 * points, vertex_bytes, line_bytes, polygon_bytes, strip_bytes)
    if at + sum(sizes) > len(content):
        raise WireError(f"POLYDATA sections of {sum(sizes)} bytes in {len(content) - at}", code="BodyLength")
    coordinates = np.frombuffer(content, ">f4", 3 * points, at).astype(np.float32).reshape(points, 3)
    lines_at = at + sizes[0] + vertex_bytes
    return PolyData(
        points_ras_mm=coordinates,
        lines=_parse_cells(content[lines_at : lines_at + line_bytes], lines, points),
        polygons=_parse_cells(content[lines_at + line_bytes : lines_at + line_bytes + polygon_bytes], polygons, points),
        **common,
    )


def write_polydata(message: PolyData) -> bytes:
    """The content of a POLYDATA.

    Raises:
        WireError: `PolyDataCells`: an empty cell, or one that names no point.
    """
    points = np.ascontiguousarray(message.points_ras_mm, ">f4")
    count = len(points)
    lines, polygons = (
        _cell_numbers(message.lines, count),
        _cell_numbers(message.polygons, count),
    )
    header = _POLYDATA.pack(
        count, 0, 0, len(message.lines), lines.nbytes, len(message.polygons), polygons.nbytes, 0, 0, 0
    )
    return header + points.tobytes() + lines.tobytes() + polygons.tobytes()


def _parse_cells(section: bytes, count: int, points: int) -> tuple[tuple[int, ...], ...]:
    numbers = np.frombuffer(section[: len(section) // 4 * 4], ">u4").tolist()
    cells, at = [], 0
    while at < len(numbers):
        end = at + 1 + numbers[at]
        cells.append(tuple(numbers[at + 1 : end]))
        at = end
    wrong_point = any(point >= points for cell in cells for point in cell)
    if at != len(numbers) or len(section) % 4 or len(cells) != count or wrong_point:
        raise WireError(f"{count} POLYDATA cells in {len(section)} bytes", code="PolyDataCells")
    return tuple(cells)


def _cell_numbers(cells: Sequence[Sequence[int]] | npt.NDArray[np.int32], points: int) -> npt.NDArray[np.uint32]:
    if isinstance(cells, np.ndarray):
        if cells.size and (cells.min() < 0 or cells.max() >= points):
            raise WireError(f"POLYDATA cells that name none of {points} points", code="PolyDataCells")
        counted = np.empty((cells.shape[0], cells.shape[1] + 1), ">u4")
        counted[:, 0] = cells.shape[1]
        counted[:, 1:] = cells
        return counted
    numbers: list[int] = []
    for cell in cells:
        if not len(cell) or min(cell) < 0 or max(cell) >= points:
            raise WireError(f"POLYDATA cell {list(cell)} of {points} points", code="PolyDataCells")
        numbers.append(len(cell))
        numbers.extend(cell)
    return np.array(numbers, ">u4")
