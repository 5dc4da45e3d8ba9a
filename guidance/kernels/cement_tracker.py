"""New cement in one view, frame by frame: the native tracker's face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from guidance.kernels import _core
from guidance.kernels.cement import Alignment, FrameScale
from guidance.kernels.cement_maps import MapRing, read_only
from guidance.messages import F32, F64, U8

TOLD: Final = ("", "saturated", "black", "covered", "picture_changed", "motion_too_large")
"""Why cement cannot be told in a frame, by the native answer's number; the first: it can."""
_READY: Final = 2  # sets of maps: what was told last, and what is being told
_NO_CAPSULES: Final = np.zeros((0, 5))
_NO_TABLE: Final = np.zeros(0, np.float32)


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

    def steel(self, capsules: F64, held_mm: float = 0.0) -> bool:
        """Tell of straight instruments that the reference may show as well; whether it shows one.

        Where one of them is pulled back along itself, what the reference would be without it counts from then on.

        Args:
            capsules: (N, 5) u0, v0, u1, v1, radius in the last frame's pixels, from outside to the tip; how far they
                reach is looked for in the reference.
            held_mm: of a ray through one, on average: of thick cement around it that much is none; 0: not known.
        """
        return self._native.steel(capsules, held_mm)

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
