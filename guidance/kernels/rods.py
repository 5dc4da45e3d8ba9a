"""Instruments along a strip of a picture, looked at closely: the native kernel's face; `rod_reference.py` its twin."""

from __future__ import annotations

from typing import Final

import numpy as np

from guidance.kernels import _core
from guidance.kernels.rod_values import Curve, MetalMask, PictureReading, Rod, RodStrip, TipState
from guidance.messages import Pixels

MOST_RODS: Final = 3


def rods_along(
    pixels: Pixels,
    reading: PictureReading,
    strip: RodStrip,
    metal: MetalMask | None,
    *,
    least: float,
    least_of_range: float = 0.0,
) -> list[Rod]:
    """What looks like a rod of a plan's width along its strip: ridges followed, each looked at closely.

    A ridge's picture is straightened along it, its profiles compared with a rod's, its ends taken from its contrast.

    Args:
        pixels: (rows, columns) uint8, int8, uint16, int16 or float32, contiguous; never altered.
        reading: what the picture's numbers mean.
        strip: where.
        metal: where known metal is: there nothing is looked at.
        least: smallest contrast that counts, natural logarithm or the picture's own units.
        least_of_range: and how much of the strip's range it must be, where there is no unit.

    Returns:
        3 at most, that of the clearest ridge first.

    Raises:
        TypeError: pixels of another type or memory order.
        ValueError: a number of the strip that is not finite, or not above 0 where it must be.
    """
    (u, v), (along_u, along_v), (first, last) = strip.origin_px, strip.along, strip.width_px
    numbers = (u, v, along_u, along_v, strip.length_px, first, last, strip.diameter_mm, strip.end_on)
    found = np.empty((MOST_RODS, _core.ROD_NUMBERS))
    count = _core.rods_along(
        pixels,
        reading.bounds,
        reading.logarithm,
        reading.sign,
        np.array((*numbers, strip.row_px, strip.column_px)),
        strip.shape,
        strip.bins,
        None if metal is None else metal.cells,
        least,
        least_of_range,
        found,
    )
    return [_rod(found[n].tolist()) for n in range(count)]


def _rod(numbers: list[float]) -> Rod:
    terms, middle, half, start, end, tip_sigma, sigma, width, contrast, score, bend, tip, goes_on = numbers[4:]
    return Rod(
        curve=Curve(coefficients=tuple(numbers[: int(terms)]), middle=middle, half=half),
        start_px=start,
        end_px=end,
        tip=TipState(int(tip)),
        tip_sigma_px=tip_sigma,
        sigma_px=sigma,
        width_px=width,
        contrast=contrast,
        score=score,
        bend_px=bend,
        goes_on=goes_on != 0.0,
    )
