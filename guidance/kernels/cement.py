"""A frame in bins of attenuation, and its place and exposure against a reference: the native tracker's parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from guidance.kernels import _core
from guidance.messages import F32, F64, U8

WORKING_SIDE: Final = 640
"""Bins along the longer side at most: more only cost time, for noise spreads what is seen over more than a bin."""
HALVED_SIDE: Final = 320
"""Pixels along the longer side, beyond which a bin has two of them at least: one of them is mostly noise."""
UNTOLD_SIDE: Final = 480
"""The same where no scale is told: three pixels to a bin at 1024 show cement no worse than two, in half the time."""
BIN_MM: Final = 0.38
"""Of a bin at the isocentre, where that asks for more pixels: half of it loses thin cement at low dose."""
_LEAST_BINS: Final = 192  # along the longer side, that such a size leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameScale:
    """How a picture's numbers become attenuation on the working grid.

    Attributes:
        step: pixels per bin and axis; what is left over of the picture is not used.
        rows, columns: bins, even.
        logarithm: the numbers are proportional to what the detector got.
        toward: attenuation per number where they are not.
        base, sign: signal = (number - base) * sign.
        bits: of 16-bit numbers, those that are picture; 0: all.
        low, high: numbers at or beyond are no measurement.
        field_px: left, top, right, bottom of what is picture, inclusive.
    """

    step: int
    rows: int
    columns: int
    logarithm: bool
    toward: float
    base: float
    sign: float
    bits: int
    low: float
    high: float
    field_px: tuple[int, int, int, int]

    def numbers(self) -> F64:
        return np.array(
            [float(self.logarithm), self.toward, self.base, self.sign, float(self.bits), self.low, self.high]
        )

    def field(self) -> npt.NDArray[np.int32]:
        return np.array(self.field_px, np.int32)


def grid_of(
    rows: int, columns: int, step: int | None = None, *, mm_per_px: float | None = None
) -> tuple[int, int, int]:
    """Pixels per bin, and even numbers of bins, of a picture.

    Args:
        rows, columns: of the picture.
        step: pixels per bin; None: by the size.
        mm_per_px: of a pixel at the isocentre; None: not known.
    """
    longer = max(rows, columns)
    most = UNTOLD_SIDE if mm_per_px is None else WORKING_SIDE
    used = max(-(-longer // most), 2 if longer > HALVED_SIDE else 1) if step is None else step
    if step is None and mm_per_px is not None:
        used = max(used, min(round(BIN_MM / max(mm_per_px, 1e-3)), longer // _LEAST_BINS))
    return used, rows // used // 2 * 2, columns // used // 2 * 2


def bin_frame(pixels: npt.NDArray[Any], scale: FrameScale) -> tuple[F32, U8, float, float]:
    """Attenuation in bins.

    Args:
        pixels: (rows, columns) uint8, int8, uint16, int16 or float32, C order.
        scale: what the numbers mean.

    Returns:
        attenuation (0 where it is not valid), valid (1 or 0), and the shares of the field's pixels that are at the
        upper end or not finite, and at the lower end.
    """
    attenuation = np.empty((scale.rows, scale.columns), np.float32)
    valid = np.empty(attenuation.shape, np.uint8)
    saturated, black = _core.cement_bins(pixels, scale.step, scale.numbers(), scale.field(), attenuation, valid)
    return attenuation, valid, saturated, black


def warp(frame: F32, valid: U8, du: float, dv: float, turn: float) -> tuple[F32, U8]:
    """Take a frame to where the reference is: cubic convolution (Keys, IEEE Trans. ASSP 29(6), 1981, a = -1/2).

    Args:
        frame, valid: (rows, columns).
        du, dv: shift of the frame, bins.
        turn: radians from +u to +v about the grid's middle.

    Returns:
        values and where they are valid: all sixteen neighbours are.
    """
    out, out_valid = np.empty_like(frame), np.empty_like(valid)
    _core.cement_warp(frame, valid, du, dv, turn, out, out_valid)
    return out, out_valid


def contours(field: F32) -> tuple[tuple[F64, ...], float]:
    """Closed lines where a field goes through 0, and the area above 0, holes taken off.

    Args:
        field: (rows, columns); beyond its border it counts as negative by as much.

    Returns:
        (N, 2) u, v each, lines around what is above 0 with a positive area (half the sum of u v' - u' v), holes with a
        negative one; and the sum of the areas.

    Source: marching squares, saddles by the mean of the corners.
    """
    return _core.cement_contours(field)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Motion and exposure of a frame against a reference.

    Attributes:
        du, dv: where a point of the reference stands in the frame, bins.
        turn: radians, from +u to +v about the grid's middle.
        offset, slope: frame = reference + offset + slope * (reference - its mean).
        share: of what was compared, that agrees.
    """

    du: float
    dv: float
    turn: float
    offset: float
    slope: float
    share: float


class Aligner:
    """Frames against one reference, by least squares on shift, turn, offset and slope with Cauchy's weights.

    Args:
        reference, valid: (rows, columns) even, 32 at least.
        variance: of one frame's noise.
    """

    def __init__(self, reference: F32, valid: U8, variance: F32) -> None:
        self._native = _core.CementAlignment(reference, valid, variance)

    def fit(self, frame: F32, valid: U8, start: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Alignment:
        """Align one frame, from a motion that is guessed."""
        du, dv, turn, offset, slope, share = self._native.fit(frame, valid, *start)
        return Alignment(du=du, dv=dv, turn=turn, offset=offset, slope=slope, share=share)
