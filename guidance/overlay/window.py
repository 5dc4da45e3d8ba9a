"""The grey window of the burned-in picture: what the sender says, else one that follows slowly; never inverted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_WEIGHT: Final = 0.1  # per frame; at 15/s the window has followed a new exposure after a second
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


def followed_window(before: Window | None, low: float, high: float) -> Window:
    """The next window of a stream from this picture's own grey limits, low < high."""
    if before is None:
        return Window(low, high)
    width = before.high - before.low
    if abs((high - low) - width) > _JUMP * width or low > before.high or high < before.low:
        return Window(low, high)
    return Window(before.low + _WEIGHT * (low - before.low), before.high + _WEIGHT * (high - before.high))
