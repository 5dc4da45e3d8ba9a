"""New cement in one view, frame by frame: the native tracker's face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from guidance.kernels import _core
from guidance.kernels.cement_maps import MapRing, read_only
from guidance.messages import F32, F64, U8

WORKING_SIDE: Final = 640
"""Bins along the longer side at most: more only cost time, for noise spreads what is seen over more than a bin."""
HALVED_SIDE: Final = 320
"""Pixels along the longer side, beyond which a bin has two of them at least: one of them is mostly noise."""
BIN_MM: Final = 0.38
"""Of a bin at the isocentre, where that asks for more pixels: half of it loses thin cement at low dose."""
_LEAST_BINS: Final = 192  # along the longer side, that such a size leaves
TOLD: Final = ("", "saturated", "black", "covered", "picture_changed", "motion_too_large")
"""Why cement cannot be told in a frame, by the native answer's number; the first: it can."""
_READY: Final = 2  # sets of maps: what was told last, and what is being told
_NO_CAPSULES: Final = np.zeros((0, 5))
_NO_TABLE: Final = np.zeros(0, np.float32)


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
    used = max(-(-longer // WORKING_SIDE), 2 if longer > HALVED_SIDE else 1) if step is None else step
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Looked:
    """What the tracker says of one frame; maps are read-only and have the frame's pixels.

    Attributes:
        code: one of `TOLD`.
        alignment: motion in bins, exposure.
        noise: standard deviation of one bin's contrast after filtering, median.
        area_px: of the outlines.
        thickness_sum_mm_px, noise_sigma_mm_px: sum over the mask; its deviation from noise and exposure.
        speed_px_s: the fastest part of the front; None: not known.
        bins: of the grid that are cement.
        out_of_picture: cement touches what cannot be seen.
        front_px: outlines.
        mask, blind, grown, thickness_mm, arrival_s, speed_map_px_s: as in `CementView`.
    """

    code: str
    alignment: Alignment
    noise: float
    area_px: float
    thickness_sum_mm_px: float
    noise_sigma_mm_px: float
    speed_px_s: float | None
    bins: int
    out_of_picture: bool
    front_px: tuple[F64, ...]
    mask: U8
    blind: U8
    grown: U8
    thickness_mm: F32
    arrival_s: F32
    speed_map_px_s: F32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """With what a frame is looked at.

    Attributes:
        time_s: since the start.
        least_contrast: of the primary beam, of the thinnest cement that counts; > 0.
        contrast_step, thickness_mm: table of thicknesses by primary contrast from 0, evenly spaced; None: no thickness.
        slope_sigma: how far the exposure's slope may go from the last frame's.
        memory_frames: longest averaging of what does not change.
        growth_frames: what came within them is new.
        instruments, cannulas: (N, 5) u0, v0, u1, v1, radius in px: what lies within is not told.
        expected: (rows, columns) of the picture, 1 where cement is expected; None: nowhere more than elsewhere.
    """

    time_s: float
    least_contrast: float
    contrast_step: float = 0.0
    thickness_mm: F32 | None = None
    slope_sigma: float = 0.001
    memory_frames: float = 8.0
    growth_frames: int = 10
    instruments: F64 | None = None
    cannulas: F64 | None = None
    expected: U8 | None = None


class NativeTracker:
    """Keeps what is known of one view between its frames.

    Args:
        reference, valid: (rows, columns) mean attenuation before the cement, and where it is known; even, 32 at least.
        variance: (rows, columns) of one frame's noise.
        scatter_share: (rows, columns) of the signal, in [0, 0.9].
        reference_frames: that the reference is the mean of; > 0.
        step: pixels per bin.
        picture: rows and columns of the pictures.
        jitter: bins that a slope of the reference may be displaced by without being noticed.
    """

    def __init__(
        self,
        reference: F32,
        valid: U8,
        variance: F32,
        scatter_share: F32,
        *,
        reference_frames: float,
        step: int,
        picture: tuple[int, int],
        jitter: float = 0.05,
    ) -> None:
        self._native = _core.CementTracker(step, reference_frames, jitter, reference, valid, variance, scatter_share)
        self._ring = MapRing(*picture)
        self._ring.prepare(_READY)

    def resume(self) -> None:
        """After a pause: what is known stays, the next frames count for more."""
        self._ring.prepare(_READY)
        self._native.resume()

    def leave(self) -> None:
        """Nothing is looked at for a while: what is known stays, memory for maps is given back."""
        self._ring.forget()

    def already(self, marks: U8) -> None:
        """(rows, columns) of the grid: 1 where cement is known to be."""
        self._native.already(marks)

    def steel(self, capsules: F64) -> bool:
        """Tell of straight instruments that the reference may show as well; whether it shows one.

        Where one of them is pulled back along itself, what the reference would be without it counts from then on.

        Args:
            capsules: (N, 5) u0, v0, u1, v1, radius in the last frame's pixels, from outside to the tip; how far they
                reach is looked for in the reference.
        """
        return self._native.steel(capsules)

    def follow(self, pixels: npt.NDArray[Any], scale: FrameScale, look: Look) -> Looked:
        """Look at one frame; the interpreter's lock is free meanwhile.

        Raises:
            ValueError, TypeError: shapes or types that do not fit.
        """
        maps = self._ring.acquire()
        numbers = (
            look.time_s,
            look.least_contrast,
            look.contrast_step,
            look.slope_sigma,
            look.memory_frames,
            float(look.growth_frames),
        )
        answer = self._native.follow(
            pixels,
            scale.numbers(),
            scale.field(),
            np.array(numbers),
            _NO_TABLE if look.thickness_mm is None else look.thickness_mm,
            _NO_CAPSULES if look.instruments is None else look.instruments,
            _NO_CAPSULES if look.cannulas is None else look.cannulas,
            look.expected,
            maps.mask,
            maps.blind,
            maps.grown,
            maps.thickness,
            maps.arrival,
            maps.speed,
            maps.box,
        )
        code, du, dv, turn, offset, slope, share, noise, area, total, sigma, speed, bins, out, front = answer
        return Looked(
            code=TOLD[code],
            alignment=Alignment(du=du, dv=dv, turn=turn, offset=offset, slope=slope, share=share),
            noise=noise,
            area_px=area,
            thickness_sum_mm_px=total,
            noise_sigma_mm_px=sigma,
            speed_px_s=speed if speed >= 0.0 else None,
            bins=bins,
            out_of_picture=out,
            front_px=front,
            mask=read_only(maps.mask),
            blind=read_only(maps.blind),
            grown=read_only(maps.grown),
            thickness_mm=read_only(maps.thickness),
            arrival_s=read_only(maps.arrival),
            speed_map_px_s=read_only(maps.speed),
        )
