"""Where along its centreline a rod is, and where it ends: what the rods' native kernel computes, in plain NumPy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from guidance.kernels.rod_fit_reference import middle_of
from guidance.kernels.rod_profile_reference import Straightened
from guidance.kernels.rod_values import TipState
from guidance.messages import F64

PRESENT: Final = 0.45  # of the usual contrast
_GAP_WIDTHS: Final = 1.0  # without it, before the rod counts as ended
_LEAST_GAP_PX: Final = 8.0
# Half of what the shadow falls off over, in widths: flat ends as far as they are turned to the source, points more.
_RAMPS: Final = (0.06, 0.15, 0.25, 0.35, 0.5, 0.65, 0.8, 1.0, 1.25, 1.5)
_FLAT_WIDTHS: Final = (0.1, 0.25)  # longer than a flat end's: noise up to the first, surely a point from the second on
_POINT_SIGMA: Final = 0.25  # of what was added
_REACH_WIDTHS: Final = 1.2
_AHEAD_WIDTHS: Final = 2.2
_FLOOR_PX: Final = 0.35  # what background at the end always costs
_MOST_AFTER: Final = 0.3  # of the usual contrast, that may go on behind the tip
_CLEAN: Final = 0.9  # of the rows about the tip: metal beside it shifts the background
_LEAST_STEP: Final = 0.4  # of the usual contrast, that is gone behind the tip


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The rod's stretch: first and last row, and its usual contrast."""

    begin: int
    end: int
    usual: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """x of the tip in the strip and its standard deviation, px; where it is not known x of what is seen."""

    x_px: float
    sigma_px: float
    state: TipState = TipState.KNOWN


def longest_run(contrast: F64, flat: Straightened) -> Run | None:
    """The longest stretch of the usual contrast without a gap; what is not known is none."""
    level = _smoothed(contrast, max(3, round(0.35 * flat.width_px / flat.pitch_px)))
    told = ~np.isnan(level)
    values = level[told]
    if values.size < 4:
        return None
    usual = float(np.partition(values, int(0.65 * values.size))[int(0.65 * values.size)])
    for _ in range(3):
        above = values[values > PRESENT * usual]
        if usual <= 0.0 or not above.size:
            return None
        usual = middle_of(above)
    level[~told] = math.inf
    present = told & (level > PRESENT * usual)
    rows = np.flatnonzero(present)
    gap = max(_GAP_WIDTHS * flat.width_px, _LEAST_GAP_PX) / flat.pitch_px
    missing = np.cumsum(told & ~present)
    breaks = np.flatnonzero(missing[rows[1:]] - missing[rows[:-1]] > gap)
    starts, ends = np.append(0, breaks + 1), np.append(breaks, len(rows) - 1)
    longest = int(np.argmax(rows[ends] - rows[starts]))
    return Run(begin=int(rows[starts[longest]]), end=int(rows[ends[longest]]), usual=usual)


def tip_of(flat: Straightened, contrast: F64, run: Run, *, end_on: float, solid: bool) -> Tip:
    """Where the axis ends.

    The middle's contrast falls from the rod's to the background's over a ramp. That of a flat end is as long as the
    end is turned to the source, and its axis ends where half is gone; what is longer is a point, and ends where the
    ramp does.

    Args:
        contrast: (T,) of the very middle; of a tube, of the core.
        end_on: sine of the angle by which the rod is turned to the source.
        solid: whether it can have a point.

    Source of its standard deviation: the Cramer-Rao bound of a step in white noise, and a floor.
    """
    width = flat.width_px / flat.pitch_px
    reach, far = max(round(_REACH_WIDTHS * width), 8), max(round(_AHEAD_WIDTHS * width), 10)
    if (why := _hidden(flat, run, reach)) is not TipState.KNOWN:
        return _unknown(flat, run, why)
    first = max(run.end - 2 * reach, run.begin)
    value = contrast[first : run.end + 1 + far]
    told = ~np.isnan(value)
    if int(told.sum()) < 8:
        return _unknown(flat, run, TipState.UNCLEAR)
    weight = told.astype(np.float64)
    value = np.where(told, value, 0.0)
    count, total = len(value), float(weight.sum())
    mean = float(value.sum()) / total
    power_all = float((weight * (value - mean) ** 2).sum())
    best = (math.inf, 0.0, 0.0, 1.0, 0.0, 0.0)
    for ramp in _RAMPS:
        # value = after + (before - after) * fall: least squares in closed form for every place.
        fall = _falls(count, round(max(ramp * width, 0.5), 1))
        mass = fall @ weight
        power = np.maximum((fall * fall) @ weight - mass * mass / total, 1e-9)
        rise = (fall @ value - mass * mean) / power
        left = np.where(rise > 0.0, power_all - rise * rise * power, math.inf)
        at = int(np.argmin(left))
        if float(left[at]) < best[0]:
            place = 0.5 * (at + _between(left, at))
            after = mean - float(rise[at]) * float(mass[at]) / total
            best = (float(left[at]), place, float(rise[at]), float((np.diff(fall[at]) ** 2).sum()), after, ramp)
    error, place, rise_at, steepness, after, ramp = best
    if not math.isfinite(error) or rise_at < _LEAST_STEP * run.usual or not 2.0 <= place <= count - 3.0:
        return _unknown(flat, run, TipState.UNCLEAR)
    if after > _MOST_AFTER * run.usual:
        return _unknown(flat, run, TipState.OVER_METAL)
    pointed = min(max((ramp - 0.5 * end_on - _FLAT_WIDTHS[0]) / (_FLAT_WIDTHS[1] - _FLAT_WIDTHS[0]), 0.0), 1.0)
    point_px = pointed * ramp * flat.width_px if solid else 0.0
    noise = math.sqrt(max(error, 0.0) / max(total - 3.0, 1.0))
    sigma = noise * flat.pitch_px / max(rise_at * math.sqrt(steepness), 1e-9)
    return Tip(
        x_px=float(flat.x_px[first]) + place * flat.pitch_px + point_px,
        sigma_px=math.hypot(sigma, _FLOOR_PX, _POINT_SIGMA * point_px),
    )


def _hidden(flat: Straightened, run: Run, reach: int) -> TipState:
    """Why the end of a run need not be the rod's; `KNOWN` where it can be."""
    beyond = slice(run.end + 1, run.end + 1 + reach)
    ahead = flat.known[beyond]
    if len(ahead) < reach or float(np.mean(ahead)) < 0.7:
        if not flat.inside[beyond].all():
            return TipState.OUTSIDE
        return TipState.UNCLEAR if len(ahead) < reach else TipState.HIDDEN
    near = slice(max(run.end - reach, run.begin), run.end + 1 + reach)
    return TipState.BESIDE_METAL if float(np.mean(flat.clean[near])) < _CLEAN else TipState.KNOWN


def _unknown(flat: Straightened, run: Run, why: TipState) -> Tip:
    return Tip(x_px=float(flat.x_px[run.end]), sigma_px=math.inf, state=why)


def _between(left: F64, at: int) -> float:
    """Where between its neighbours the least is, -1 to 1."""
    if not 0 < at < len(left) - 1 or not np.isfinite(left[at - 1 : at + 2]).all():
        return 0.0
    bow = float(left[at - 1] - 2.0 * left[at] + left[at + 1])
    return float(np.clip(0.5 * (left[at - 1] - left[at + 1]) / bow, -1.0, 1.0)) if bow > 0.0 else 0.0


@lru_cache(maxsize=64)
def _falls(count: int, half_rows: float) -> F64:
    """(2 count, count): from 1 to 0 over twice the half, about each half row."""
    rows = np.arange(count)
    places = 0.5 * np.arange(2 * count)
    fall: F64 = np.clip(0.5 - (rows[None] - places[:, None]) / (2.0 * half_rows), 0.0, 1.0)
    return fall


def _smoothed(contrast: F64, rows: int) -> F64:
    """Mean over so many rows, what is not known left out; NaN where nothing is."""
    reach = rows // 2
    known = ~np.isnan(contrast)
    sums = np.concatenate(([0.0], np.cumsum(np.where(known, contrast, 0.0))))
    counts = np.concatenate(([0], np.cumsum(known)))
    at = np.arange(len(contrast))
    low, high = np.maximum(at - reach, 0), np.minimum(at + reach + 1, len(contrast))
    count = counts[high] - counts[low]
    return np.where(count > 0, (sums[high] - sums[low]) / np.maximum(count, 1), np.nan)
