"""The grey window of the burned-in picture: what the sender says, else one that follows slowly; never inverted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.messages import Pixels

_WEIGHT: Final = 0.1  # per frame; at 15/s the window has followed a new exposure after a second
_MARGIN_PART: Final = 5  # a fifth of the picture on each side is left out
_SAMPLES_PER_AXIS: Final = 128
_JUMP: Final = 0.5  # a change of the window's width by half is another scene, not a drift: taken at once


@dataclass(frozen=True, slots=True)
class Window:
    """Pixel values that become black and white; low < high."""

    low: float
    high: float


def told_window(metadata: Mapping[str, str]) -> Window | None:
    """The window of `XRay.WindowCenter` and `XRay.WindowWidth`; None where they are missing or impossible.

    Source: DICOM PS3.3 C.11.2.1.2.1 (linear): low = center - 0.5 - (width - 1) / 2.
    """
    try:
        center, width = float(metadata["XRay.WindowCenter"]), float(metadata["XRay.WindowWidth"])
    except (KeyError, ValueError):
        return None
    if not (math.isfinite(center) and math.isfinite(width) and width > 1.0):
        return None
    low = center - 0.5 - (width - 1.0) / 2.0
    high = low + width - 1.0
    # Beyond what float64 resolves there is no window: the kernel takes finite low < high only.
    return Window(low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None


def measured_part(pixels: Pixels) -> Pixels:
    """What the window is measured on: a sample of the picture's middle, as exposure control does.

    Air beside the body and the collimator's shadow would take the grey levels that the anatomy needs.

    Args:
        pixels: (rows, columns), not empty.

    Returns:
        At most some 128 x 128 of them, C order.
    """
    rows, columns = pixels.shape
    top, left = rows // _MARGIN_PART, columns // _MARGIN_PART
    middle = pixels[top : rows - top, left : columns - left]
    row_step, column_step = (-(-size // _SAMPLES_PER_AXIS) for size in middle.shape)
    return np.ascontiguousarray(middle[::row_step, ::column_step])


def followed_window(before: Window | None, low: float, high: float) -> Window:
    """The next window of a stream from this picture's own grey limits, low < high."""
    if before is None:
        return Window(low, high)
    width = before.high - before.low
    if abs((high - low) - width) > _JUMP * width or low > before.high or high < before.low:
        return Window(low, high)
    return Window(before.low + _WEIGHT * (low - before.low), before.high + _WEIGHT * (high - before.high))
