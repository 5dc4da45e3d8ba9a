"""What a stream's numbers mean for cement: logarithm or not, where they end, overlay planes in high bits, blades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from guidance.cement.values import CementFrame
from guidance.geometry.intensity import highest_number
from guidance.kernels.cement import FrameScale, bin_frame, grid_of
from guidance.messages import F32, U8, Pixels

_PLATEAU_SHARE: Final = 0.005  # of the pixels at the very lowest or highest number: a shutter, a saturated field
_OVERLAY_SHARE: Final = 0.1  # text and graphics cover less of a picture
_OVERLAY_AGREES: Final = 0.2  # of its neighbours' values, beyond which no pixel without its high bits may lie
_OVERLAY_MOST: Final = 0.7  # of the pixels with high bits must
_OVERLAY_WINDOW: Final = 9  # strokes are narrower
_USUAL_SPREAD: Final = 0.35  # standard deviation of a pelvis' attenuation: numbers of unknown scale are taken as that
_LARGEST: Final = 1e12  # of any detector's numbers; beyond, single precision could not square differences
_BLADE_SHARE: Final = 0.1  # of the field's median: behind a blade there is only scatter
_BLADE_MARGIN: Final = 3  # bins: a blade's edge is blurred
# A blade that leaves more scatter behind it is told by its straight edge: natural logarithm of the step, share of the
# edge that must have it, share of the picture's side from the border within which it may lie, and that must be seen.
_BLADE_STEP: Final = 0.4
_BLADE_BETWEEN: Final = 0.5  # of a side, where blades may come from all sides
_BLADE_STRAIGHT: Final = 0.8
_BLADE_REACH: Final = 0.35
_BLADE_SEEN: Final = 0.25


def scale_of(frames: Sequence[CementFrame], step: int | None = None) -> FrameScale:
    """From the frames before the cement, all of one size and type.

    Args:
        frames: one at least, newest last.
        step: pixels per bin; None: by the size, of the picture and of its pixels.
    """
    newest = frames[-1]
    pixels = newest.pixels
    rows, columns = pixels.shape
    used, grid_rows, grid_columns = grid_of(rows, columns, step, mm_per_px=mm_per_px_of(newest))
    bits = _overlay_bits(pixels)
    sample = _plain(pixels, bits)
    finite = sample[np.isfinite(sample)] if sample.dtype.kind == "f" else sample.ravel()
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    low, high = -_LARGEST, _LARGEST
    if sample.dtype.kind in "iu":
        high = highest_number(sample.dtype, most)
        low = float(np.iinfo(sample.dtype).min) if sample.dtype == np.int8 else min(least, 0.0)
    if finite.size:
        if np.count_nonzero(finite == most) > _PLATEAU_SHARE * finite.size:
            high = min(high, most)
        if np.count_nonzero(finite == least) > _PLATEAU_SHARE * finite.size:
            low = max(low, least)
    linear = newest.intensity.relationship == "LIN"
    sign = float(newest.intensity.sign)
    base, toward = 0.0, -sign
    if linear:
        floor = low if low > -_LARGEST and low < 0.0 else 0.0
        base = floor if sign > 0 else (highest_number(sample.dtype, most) if sample.dtype.kind in "iu" else most)
        low = max(low, floor)
    else:
        within = finite[(finite > low) & (finite < high)] if finite.size else finite
        spread = (
            float(np.subtract(*np.percentile(within.astype(np.float64), (84.1, 15.9)))) / 2.0 if within.size else 0.0
        )
        toward = -sign * _USUAL_SPREAD / spread if spread > 0.0 else -sign
        sign = 1.0
    return FrameScale(
        step=used,
        rows=grid_rows,
        columns=grid_columns,
        logarithm=linear,
        toward=toward,
        base=base,
        sign=sign,
        bits=bits,
        low=low,
        high=high,
        field_px=field_of(newest),
    )


def mm_per_px_of(frame: CementFrame) -> float | None:
    """Size of a pixel at the isocentre's depth; None without geometry."""
    if frame.pixel_from_patient is None:
        return None
    matrix = np.array(frame.pixel_from_patient, np.float64).reshape(3, 4)
    matrix = matrix / np.linalg.norm(matrix[2, :3])
    depth_mm = float(matrix[2] @ np.append(np.asarray(frame.isocenter_lps_mm, np.float64), 1.0))
    focal_px = float(np.linalg.norm(np.cross(matrix[0, :3], matrix[2, :3])))
    return depth_mm / focal_px if depth_mm > 0.0 and focal_px > 0.0 else None


def field_of(frame: CementFrame) -> tuple[int, int, int, int]:
    """Open field as told, within the picture; the whole picture where what is told would leave nothing."""
    rows, columns = frame.pixels.shape
    whole = (0, 0, columns - 1, rows - 1)
    if frame.collimator_px is None:
        return whole
    left, top, right, bottom = frame.collimator_px
    inside = (max(left, 0), max(top, 0), min(right, columns - 1), min(bottom, rows - 1))
    return inside if inside[0] < inside[2] and inside[1] < inside[3] else whole


def within(
    field_px: tuple[int, int, int, int], blades_px: tuple[int, int, int, int] | None
) -> tuple[int, int, int, int]:
    """What is open of a told field where blades were seen too; the told one where nothing would be left."""
    if blades_px is None:
        return field_px
    left, top = (max(a, b) for a, b in zip(field_px[:2], blades_px[:2], strict=True))
    right, bottom = (min(a, b) for a, b in zip(field_px[2:], blades_px[2:], strict=True))
    return (left, top, right, bottom) if left < right and top < bottom else field_px


def wider(scale: FrameScale, pixels: Pixels) -> FrameScale | None:
    """The same for numbers beyond those seen before; None: there are none, so what is at the end is saturated."""
    if pixels.dtype.kind not in "iu" or not scale.logarithm or scale.sign < 0.0:
        return None
    top = highest_number(pixels.dtype, float(_plain(pixels, scale.bits).max()))
    return replace(scale, high=top) if top > scale.high else None


def open_field(pixels: Pixels, scale: FrameScale) -> U8:
    """(rows, columns) of the grid: 1 where neither blade nor shutter nor saturation is.

    Blades and shutters lie at the border: what is dark and hangs together with the border is one of them, and what
    lies beyond a long straight edge; dense bone and metal in the middle are not.
    """
    attenuation, valid, _, _ = bin_frame(pixels, scale)
    if not scale.logarithm or not valid.any():
        return valid
    dark = (valid == 0) | (cv2.blur(attenuation, (3, 3)) > np.median(attenuation[valid > 0]) - np.log(_BLADE_SHARE))
    for turns in range(4):
        known, beyond = (np.rot90(plane, turns) for plane in (valid, dark))  # views
        edge = _blade_edge(np.rot90(attenuation, turns), known)
        if edge is not None:
            beyond[edge:] = True
    padded = np.pad(dark.astype(np.uint8), 1, constant_values=1)
    _, labels = cv2.connectedComponents(padded, connectivity=4)
    blade = (labels == labels[0, 0])[1:-1, 1:-1].astype(np.uint8)
    size = 2 * _BLADE_MARGIN + 1
    blade = cv2.dilate(blade, np.ones((size, size), np.uint8), borderValue=0)
    return np.ascontiguousarray(valid * (1 - blade), np.uint8)


def field_seen(pixels: Pixels, scale: FrameScale) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom (px, inclusive) of the field between straight blades; None: the picture shows none."""
    if not scale.logarithm:
        return None
    attenuation, valid, _, _ = bin_frame(pixels, scale)
    last = (scale.columns - 1, scale.rows - 1)
    sides = [0, 0, *last]
    for turns, side in ((0, 3), (1, 2), (2, 1), (3, 0)):  # what is turned down: bottom, right, top, left
        edge = _blade_edge(np.rot90(attenuation, -turns), np.rot90(valid, -turns), _BLADE_BETWEEN)
        if edge is not None:
            inside = edge - 1 - _BLADE_MARGIN
            sides[side] = inside if side > 1 else last[side] - inside
    if sides == [0, 0, *last] or sides[0] >= sides[2] or sides[1] >= sides[3]:
        return None
    left, top, right, bottom = (side * scale.step for side in sides)
    return left, top, right + scale.step - 1, bottom + scale.step - 1


def _blade_edge(attenuation: F32, valid: U8, straight: float = _BLADE_STRAIGHT) -> int | None:
    """Row from which on a blade lies over the lower end of a picture; None: there is none."""
    rows, columns = valid.shape
    least, gap, depth = round((1.0 - _BLADE_REACH) * rows), 2, 3
    places = np.arange(gap + depth, rows - least - gap - depth)
    if not len(places):
        return None
    known = np.cumsum(np.pad(valid[least:], ((1, 0), (0, 0))), axis=0, dtype=np.int32)
    total = np.cumsum(np.pad(attenuation[least:] * valid[least:], ((1, 0), (0, 0))), axis=0, dtype=np.float64)
    # Means of some rows before and behind, the blurred edge between them.
    there = known[places + gap + depth] - known[places + gap] + known[places - gap] - known[places - gap - depth]
    seen = there == 2 * depth
    behind = total[places + gap + depth] - total[places + gap]
    before = total[places - gap] - total[places - gap - depth]
    counted = np.count_nonzero(seen, axis=1)
    share = np.count_nonzero(seen & (behind - before > _BLADE_STEP * depth), axis=1) / np.maximum(counted, 1)
    edges = np.flatnonzero((share >= straight) & (counted >= _BLADE_SEEN * columns))
    return least + int(places[edges[0]]) if len(edges) else None


def _plain(pixels: Pixels, bits: int) -> npt.NDArray[Any]:
    return pixels & pixels.dtype.type(bits) if bits else pixels


def _overlay_bits(pixels: Pixels) -> int:
    """Bits that are picture where others hold graphics (DICOM PS3.5 8.1.2, retired 60xx in unused bits); 0: all."""
    if pixels.dtype not in (np.uint16, np.int16):
        return 0
    numbers = pixels.view(np.uint16)
    for bits in (14, 12, 10):  # the most that can be picture: another exposure may need them
        limit = 1 << bits
        high = numbers >= limit
        share = np.count_nonzero(high) / high.size
        if share > _OVERLAY_SHARE:
            return 0
        if share == 0.0:
            continue
        plain = numbers & np.uint16(limit - 1)
        # Between its neighbours, for the mean of a window is of little use at a blade's edge.
        window = np.ones((_OVERLAY_WINDOW, _OVERLAY_WINDOW), np.uint8)
        least = cv2.erode(np.where(high, np.uint16(0xFFFF), plain), window)
        most = cv2.dilate(np.where(high, np.uint16(0), plain), window)
        agrees = (plain >= (1.0 - _OVERLAY_AGREES) * least) & (plain <= (1.0 + _OVERLAY_AGREES) * most)
        if np.count_nonzero(agrees & high) > _OVERLAY_MOST * np.count_nonzero(high):
            return limit - 1
    return 0
