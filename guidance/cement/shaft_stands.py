"""Whether a shaft stands where it stood: its sides in one line, its end at one place but for what hides it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np

from guidance.messages import F64, U8
from guidance.tracking.values import SeenInstrument

Motion = tuple[float, float, float]
_STILL_PX: Final = 1.5  # across itself, beside what is not known of where it is; of a picture of 512 px
_STILL_TIP_PX: Final = 4.0
_NEAR: Final = 1.5  # diameters


def placed(before: SeenInstrument, motion: Motion, now: SeenInstrument | None = None) -> SeenInstrument:
    """One that stands where it stood, in this frame: its sides as they are seen now, its end where it was."""
    shift = np.array(motion[:2])
    line = np.asarray(before.centreline_px, np.float64) + shift
    tip = None if before.tip_px is None else np.array(before.tip_px) + shift
    if now is not None and not now.bent and not before.bent:
        seen = np.asarray(now.centreline_px, np.float64)
        along = (line[-1] - line[0]) / max(float(np.linalg.norm(line[-1] - line[0])), 1e-6)
        across = np.array((-along[1], along[0]))
        line = line + ((seen.mean(axis=0) - line[0]) @ across) * across
        if tip is not None:
            tip = tip + ((line[0] - tip) @ across) * across
    return replace(before, centreline_px=line, tip_px=None if tip is None else (float(tip[0]), float(tip[1])))


def in_line(before: SeenInstrument, now: SeenInstrument, motion: Motion, scale: float) -> bool:
    """Whether both lie on one line; `scale`: the picture's longer side over 512 px."""
    shift = np.array(motion[:2])
    first = np.asarray(before.centreline_px, np.float64) + shift
    line = np.asarray(now.centreline_px, np.float64)
    along = _along(first)
    across = np.array((-along[1], along[0]))
    slack = scale * _STILL_PX + 2.0 * math.hypot(before.sigma_px, now.sigma_px)
    if float(np.abs((line[[0, -1]] - first[0]) @ across).max()) > 2.0 * slack:
        return False
    return float(abs((line.mean(axis=0) - first[0]) @ across)) <= slack


def ends_alike(before: SeenInstrument, now: SeenInstrument, motion: Motion, scale: float, mask: U8 | None) -> bool:
    """Whether the end is where it was, or hidden by cement (`mask`: 1 where it is; None: not known)."""
    shift = np.array(motion[:2])
    first = np.asarray(before.centreline_px, np.float64) + shift
    along = _along(first)
    if before.tip_px is None or now.tip_px is None:
        hidden = before.tip_px is None and now.tip_px is None
        return hidden or _cement_near(mask, shift + (before.tip_px or first[-1] - shift), before.diameter_px)
    sigma = math.hypot(before.tip_sigma_px or 0.0, now.tip_sigma_px or 0.0)
    tip = np.array(now.tip_px)
    further = float((tip - shift - np.array(before.tip_px)) @ along)
    if abs(further) <= scale * _STILL_TIP_PX + 2.0 * sigma:
        return True
    # Cement over an end hides it, and the shaft seems to end where that begins.
    places = (tip, shift + np.array(before.tip_px))
    return further < 0.0 and any(_cement_near(mask, place, before.diameter_px) for place in places)


def _along(line: F64) -> F64:
    whole: F64 = line[-1] - line[0]
    return whole / max(float(np.linalg.norm(whole)), 1e-6)


def _cement_near(mask: U8 | None, place: F64, diameter_px: float) -> bool:
    """Whether there is cement within some diameters; where nothing is known of that, it may be."""
    if mask is None:
        return True
    reach = round(_NEAR * diameter_px)
    u, v = (round(float(value)) for value in place)
    return bool(mask[max(v - reach, 0) : max(v + reach + 1, 0), max(u - reach, 0) : max(u + reach + 1, 0)].any())
