"""One candidate of a strip looked at closely: its centreline to a fraction of a pixel, its width, its tip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from guidance.kernels.reference import F32
from guidance.kernels.ridge import sample_strip
from guidance.messages import F64, Pixels
from guidance.tracking.known_metal import MetalMask
from guidance.tracking.strip import Strip

# All lengths in widths of the rod's shadow unless their name says otherwise.
_HALF: Final = 1.5  # of the straightened strip
_COLUMNS: Final = 61
_CORE: Final = 0.35
_FLANK: Final = (0.65, 1.05)
_SHIFTS: Final = np.linspace(-0.5, 0.5, 21)
_TEMPLATE: Final = 1.0  # half the window that is compared
_BLOCK: Final = 6  # rows averaged before a block's middle is measured
_BEYOND: Final = 3.0  # how far beyond both ends of the track is looked
_PRESENT: Final = 0.45  # of the usual contrast
_GAP: Final = 1.0  # without it, before the rod counts as ended
_LEAST_GAP_PX: Final = 8.0
_SHORTEST: Final = 3.0
_SHORTEST_PX: Final = 24.0
_LIKE_A_ROD: Final = 0.8  # correlation of the whole profile with a rod's
_BLOCKS_ALIKE: Final = 0.6  # share of blocks that must show it
_BLOCK_CORRELATION: Final = 0.6
_STRAIGHT_PX: Final = 0.5  # a bend smaller than this is not told from noise
_BEND_GAIN: Final = 1.6  # by which a curve must fit better than a line
_STEADY: Final = 0.55  # spread of the contrast along the rod over the contrast


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureReading:
    """How a picture's numbers are to be read.

    Attributes:
        intensity: `LIN`, `LOG` or `DISP`, DICOM (0028,1040).
        sign: 1 where more X-ray gives higher values, else -1.
        bounds: left, top, right, bottom px within which the picture shows anything.
    """

    intensity: Literal["LIN", "LOG", "DISP"]
    sign: int
    bounds: tuple[float, float, float, float]

    @property
    def logarithm(self) -> bool:
        """Whether thickness is the values' logarithm."""
        return self.intensity == "LIN"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rod:
    """A rod in strip coordinates (px).

    Attributes:
        curve: y(x), highest power first; two numbers for a straight one.
        start_px, end_px: x of its ends; `end_px` is the tip where `tip_unknown` is "".
        tip_sigma_px: standard deviation of the tip along it.
    """

    curve: F64
    start_px: float
    end_px: float
    tip_unknown: str
    tip_sigma_px: float
    sigma_px: float
    width_px: float
    contrast: float
    score: float
    bend_px: float


@dataclass(frozen=True, slots=True, eq=False)
class _Straightened:
    """The picture along a curve: values (T, M), x of the rows, y/width of the columns, whether rows are known."""

    values: F32
    x_px: F64
    pitch_px: float
    offsets: F64
    known: npt.NDArray[np.bool_]


def rod_of(
    pixels: Pixels, reading: PictureReading, strip: Strip, x_px: F64, y_px: F64, metal: MetalMask | None, least: float
) -> Rod | None:
    """Look closely at a track; None where it is no rod.

    Args:
        x_px, y_px: (N,) the track in the strip, x rising.
        metal: where known metal is.
        least: smallest contrast that counts.
    """
    width = float(strip.width_at(np.array([0.5 * (x_px[0] + x_px[-1])]))[0])
    if x_px[-1] - x_px[0] < max(_SHORTEST * width, _SHORTEST_PX):
        return None
    degree = 3 if x_px[-1] - x_px[0] > 6.0 * width else 1
    curve = _robust_fit(x_px, y_px, np.ones(len(x_px)), degree, least_px=0.15 * width)
    first, last = float(x_px[0]) - _BEYOND * width, float(x_px[-1]) + _BEYOND * width
    sigma_px = 0.0
    for _ in range(2):
        flat = _straightened(pixels, reading, strip, curve, (float(x_px[0]), float(x_px[-1])), (first, last), metal)
        middles = _block_middles(flat, float(x_px[0]), float(x_px[-1]))
        if middles is None:
            return None
        at, shift, weight = middles
        slope = np.polyval(np.polyder(curve), at)
        y = _value(curve, at, x_px) + shift * width * np.sqrt(1.0 + slope * slope)
        curve, sigma_px = _line_or_curve(at, y, weight, width)
    flat = _straightened(pixels, reading, strip, curve, (float(at[0]), float(at[-1])), (first, last), metal)
    return _measured(flat, strip, curve, width, sigma_px, least, reading)


def _measured(
    flat: _Straightened, strip: Strip, curve: F64, width: float, sigma_px: float, least: float, reading: PictureReading
) -> Rod | None:
    contrast = _contrast(flat)
    run = _longest_run(contrast, flat, width)
    if run is None:
        return None
    begin, end, usual = run
    if flat.x_px[end] - flat.x_px[begin] < max(_SHORTEST * width, _SHORTEST_PX) or usual < least:
        return None
    inside = contrast[begin : end + 1]
    inside = inside[~np.isnan(inside)]
    blocks = _blocks(flat, begin, end + 1)
    score = _likeness(np.nanmean(flat.values[begin : end + 1], axis=0), flat.offsets)
    alike = [_likeness(block, flat.offsets) for block in blocks]
    steady = float(np.median(np.abs(inside - usual))) * 1.4826 / usual
    if score < _LIKE_A_ROD or np.mean(np.array(alike) > _BLOCK_CORRELATION) < _BLOCKS_ALIKE or steady > _STEADY:
        return None
    tip_px, tip_sigma_px, unknown = _tip(flat, contrast, begin, end, usual, width)
    start_px = float(flat.x_px[begin])
    middle = 0.5 * (start_px + tip_px)
    ends = np.polyval(curve, np.array((start_px, middle, tip_px)))
    return Rod(
        curve=curve,
        start_px=start_px,
        end_px=tip_px,
        tip_unknown=unknown,
        tip_sigma_px=tip_sigma_px,
        sigma_px=sigma_px,
        width_px=_width_px(np.nanmean(flat.values[begin : end + 1], axis=0), flat.offsets, width),
        contrast=usual,
        score=score,
        bend_px=float(abs(ends[1] - 0.5 * (ends[0] + ends[2]))) if len(curve) > 2 else 0.0,
    )


def _straightened(
    pixels: Pixels,
    reading: PictureReading,
    strip: Strip,
    curve: F64,
    held: tuple[float, float],
    span: tuple[float, float],
    metal: MetalMask | None,
) -> _Straightened:
    width = float(strip.width_at(np.array([0.5 * (held[0] + held[1])]))[0])
    pitch = max(1.0, width / 16.0)
    x = np.arange(span[0], span[1], pitch)
    # Beyond the track the curve goes on straight: a cubic would run away.
    slope = np.polyval(np.polyder(curve), np.clip(x, *held))
    y = _value(curve, x, np.array(held))
    length = np.sqrt(1.0 + slope * slope)
    across = (strip.across - slope[:, None] * strip.along) / length[:, None]
    offsets = np.linspace(-_HALF, _HALF, _COLUMNS)
    widths = strip.width_at(np.clip(x, 0.0, strip.length_px))
    steps = across * (widths * (offsets[1] - offsets[0]))[:, None]
    starts = strip.points(x, y) - across * (_HALF * widths)[:, None]
    values = sample_strip(
        pixels, starts, steps, _COLUMNS, bounds=reading.bounds, logarithm=reading.logarithm, sign=reading.sign
    )
    known = ~np.isnan(values[:, _COLUMNS // 2])
    if metal is not None:
        known &= ~metal.covers(strip.points(x, y))
    return _Straightened(values, x, pitch, offsets, known)


def _value(curve: F64, x: F64, held: F64) -> F64:
    """y(x), straight on beyond where the curve was fitted."""
    inside = np.clip(x, held[0], held[-1])
    return np.polyval(curve, inside) + np.polyval(np.polyder(curve), inside) * (x - inside)


def _blocks(flat: _Straightened, begin: int, end: int) -> F64:
    """(B, M) means of `_BLOCK` rows each; what has nothing known is left out."""
    count = (end - begin) // _BLOCK
    if count < 1:
        return np.zeros((0, _COLUMNS))
    values = flat.values[begin : begin + count * _BLOCK].astype(np.float64)
    values = np.where(flat.known[begin : begin + count * _BLOCK, None], values, np.nan)
    stacked = values.reshape(count, _BLOCK, _COLUMNS)
    whole = ~np.isnan(stacked).any(axis=(1, 2))
    return np.asarray(stacked[whole].mean(axis=1))


def _block_middles(flat: _Straightened, first_px: float, last_px: float) -> tuple[F64, F64, F64] | None:
    """x px, shift in widths and weight of each block's rod between two places."""
    begin, end = np.searchsorted(flat.x_px, (first_px, last_px))
    count = int(end - begin) // _BLOCK
    if count < 3:
        return None
    rows = flat.values[begin : begin + count * _BLOCK].astype(np.float64).reshape(count, _BLOCK, _COLUMNS)
    known = flat.known[begin : begin + count * _BLOCK].reshape(count, _BLOCK)
    whole = known.all(axis=1) & ~np.isnan(rows).any(axis=(1, 2))
    if int(whole.sum()) < 3:
        return None
    profiles = rows[whole].mean(axis=1)
    at = flat.x_px[begin : begin + count * _BLOCK].reshape(count, _BLOCK)[whole].mean(axis=1)
    correlation = _correlations(profiles, flat.offsets)
    best = np.clip(np.argmax(correlation, axis=1), 1, len(_SHIFTS) - 2)
    row = np.arange(len(best))
    before, peak, after = correlation[row, best - 1], correlation[row, best], correlation[row, best + 1]
    bow = np.minimum(before - 2.0 * peak + after, -1e-6)
    shift = _SHIFTS[best] + np.clip(0.5 * (before - after) / bow, -1.0, 1.0) * (_SHIFTS[1] - _SHIFTS[0])
    weight = np.where(peak > 0.5, peak**2, 0.0)
    if int((weight > 0.0).sum()) < 3:
        return None
    kept = weight > 0.0
    return at[kept], shift[kept], weight[kept]


@lru_cache(maxsize=4)
def _templates(columns: int) -> tuple[F64, F64, F64]:
    """(shifts, M) a solid rod's chord and a tube's, zero in the mean over their window of 1, and the window."""
    offsets: F64 = np.linspace(-_HALF, _HALF, columns)
    solid: list[F64] = []
    hollow: list[F64] = []
    window: list[F64] = []
    for shift in _SHIFTS:
        fine = offsets[:, None] - shift + np.linspace(-0.06, 0.06, 9)  # the detector's spread
        outer = np.sqrt(np.maximum(0.25 - fine**2, 0.0)).mean(axis=1)
        inner = np.sqrt(np.maximum(0.25 * 0.6 - fine**2, 0.0)).mean(axis=1)
        inside = (np.abs(offsets - shift) <= _TEMPLATE).astype(np.float64)
        for shape, stack in ((outer, solid), (outer - inner, hollow)):
            level = (shape - (shape * inside).sum() / inside.sum()) * inside
            stack.append(level / np.linalg.norm(level))
        window.append(inside)
    return np.array(solid), np.array(hollow), np.array(window)


def _correlations(profiles: F64, offsets: F64) -> F64:
    """(B, shifts) normalised correlation with a rod, solid or hollow, whichever fits all of them better."""
    solid, hollow, window = _templates(len(offsets))
    count = window.sum(axis=1)
    spread = (profiles**2) @ window.T - (profiles @ window.T) ** 2 / count
    norm = np.sqrt(np.maximum(spread, 1e-12))
    found = [profiles @ shape.T / norm for shape in (solid, hollow)]
    return max(found, key=lambda correlation: float(correlation.max(axis=1).mean()))


def _likeness(profile: F64, offsets: F64) -> float:
    middle = len(_SHIFTS) // 2
    level = profile - np.nanmean(profile)
    # A background that rises to one side is no fault of the rod's.
    level = level - offsets * np.float64(offsets @ np.nan_to_num(level)) / float(offsets @ offsets)
    correlation = _correlations(np.nan_to_num(level)[None], offsets)[0]
    return float(correlation[middle - 3 : middle + 4].max())


def _robust_fit(x: F64, y: F64, weight: F64, degree: int, *, least_px: float) -> F64:
    """Polynomial with outliers weighed down (Huber), highest power first."""
    degree = min(degree, max(len(x) - 2, 1))
    middle, scale = float(x.mean()), max(float(np.ptp(x)) / 2.0, 1.0)
    basis = np.vander((x - middle) / scale, degree + 1)
    robust = np.ones(len(x))
    coefficients: F64 = np.zeros(degree + 1)
    for _ in range(4):
        root = np.sqrt(weight * robust)
        coefficients = np.asarray(np.linalg.lstsq(basis * root[:, None], y * root, rcond=None)[0], np.float64)
        miss = np.abs(y - basis @ coefficients)
        limit = max(2.0 * float(np.median(miss)), least_px)
        robust = np.minimum(1.0, limit / np.maximum(miss, 1e-12)) ** 2
    fitted = np.poly1d(coefficients)(np.poly1d((1.0 / scale, -middle / scale)))
    return np.atleast_1d(np.asarray(fitted.coeffs if degree else [coefficients[0]], np.float64))


def _line_or_curve(x: F64, y: F64, weight: F64, width: float) -> tuple[F64, float]:
    """The straight line, unless a low curve fits clearly better; and its middle's standard deviation."""
    line = _robust_fit(x, y, weight, 1, least_px=0.02 * width)
    straight = _spread(y - np.polyval(line, x))
    if len(x) >= 6:
        curve = _robust_fit(x, y, weight, 3 if len(x) >= 12 else 2, least_px=0.02 * width)
        curved = _spread(y - np.polyval(curve, x))
        bow = float(np.ptp(np.polyval(curve, x) - np.polyval(line, x)))
        if straight > _BEND_GAIN * curved and bow > _STRAIGHT_PX:
            return curve, max(curved * math.sqrt(4.0 / len(x)), 0.02)
    return line, max(straight * math.sqrt(2.0 / len(x)), 0.02)


def _spread(miss: F64) -> float:
    return 1.4826 * float(np.median(np.abs(miss))) + 1e-6


def _contrast(flat: _Straightened) -> F64:
    """(T,) what the core has more than both flanks together; NaN where not known."""
    at = np.abs(flat.offsets)
    core = flat.values[:, at <= _CORE].mean(axis=1, dtype=np.float64)
    beside = flat.values[:, (at >= _FLANK[0]) & (at <= _FLANK[1])].mean(axis=1, dtype=np.float64)
    return np.where(flat.known, core - beside, np.nan)


def _smoothed(contrast: F64, rows: int) -> F64:
    """Mean over so many rows, what is not known left out; NaN where nothing is."""
    known = ~np.isnan(contrast)
    kernel = np.ones(2 * (rows // 2) + 1)
    total = np.convolve(np.where(known, contrast, 0.0), kernel, mode="same")
    count = np.convolve(known.astype(np.float64), kernel, mode="same")
    return np.where(count > 0.0, total / np.maximum(count, 1.0), np.nan)


def _longest_run(contrast: F64, flat: _Straightened, width: float) -> tuple[int, int, float] | None:
    """First and last row of the rod, and its usual contrast: the longest stretch without a gap."""
    level = _smoothed(contrast, max(3, round(0.35 * width / flat.pitch_px)))
    known = level[~np.isnan(level)]
    if known.size < 4:
        return None
    usual = float(np.percentile(known, 65.0))
    for _ in range(3):
        above = known[known > _PRESENT * usual]
        if not above.size or usual <= 0.0:
            return None
        usual = float(np.median(above))
    present = np.nan_to_num(level, nan=-np.inf) > _PRESENT * usual
    missing = ~present & ~np.isnan(level)  # what is not known ends nothing
    rows = np.flatnonzero(present)
    if not rows.size:
        return None
    gap = max(_GAP * width, _LEAST_GAP_PX) / flat.pitch_px
    seen_missing = np.concatenate(([0], np.cumsum(missing)))
    breaks = np.flatnonzero(seen_missing[rows[1:]] - seen_missing[rows[:-1]] > gap)
    starts, ends = np.append(0, breaks + 1), np.append(breaks, len(rows) - 1)
    longest = int(np.argmax(rows[ends] - rows[starts]))
    return int(rows[starts[longest]]), int(rows[ends[longest]]), usual


def _tip(
    flat: _Straightened, contrast: F64, begin: int, end: int, usual: float, width: float
) -> tuple[float, float, str]:
    """x of the tip, its standard deviation, and words where it is not known.

    The shadow's contrast falls from the rod's to the background's over a ramp that is as wide as the end is turned
    towards the source; the axis' end lies where half of it is gone.
    """
    pitch = flat.pitch_px
    reach = max(round(1.2 * width / pitch), 6)
    low, high = max(end - 2 * reach, begin), min(end + 2 * reach, len(contrast) - 1)
    beyond = np.arange(end + 1, min(end + 1 + reach, len(contrast)))
    if len(beyond) < 4 or np.isnan(contrast[beyond]).mean() > 0.3:
        known = flat.known[beyond]
        outside = len(beyond) < 4 or bool(np.isnan(flat.values[beyond, _COLUMNS // 2]).any())
        why = "its tip is outside the picture" if outside or known.all() else "its tip is over known metal"
        return float(flat.x_px[end]), math.inf, why
    rows = np.arange(low, high + 1)
    rows = rows[~np.isnan(contrast[rows])]
    if len(rows) < 8:
        return float(flat.x_px[end]), math.inf, "its tip cannot be told"
    x, value = flat.x_px[rows], contrast[rows]
    best = (math.inf, float(flat.x_px[end]), 0.0, 0.0)
    for ramp_px in (1.0, 0.25 * width, 0.6 * width):
        places = np.arange(x[0] + 2.0 * pitch, x[-1] - 2.0 * pitch, 0.25 * pitch)
        shape = 1.0 / (1.0 + np.exp(np.clip((x[None] - places[:, None]) / max(0.4 * ramp_px, 0.4), -40.0, 40.0)))
        # value = after + (before - after) * shape: least squares in closed form for every place.
        shape_mean = shape.mean(axis=1, keepdims=True)
        centred = shape - shape_mean
        power = np.maximum((centred**2).sum(axis=1), 1e-9)
        rise = (centred @ value) / power
        left = ((value - value.mean()) ** 2).sum() - rise**2 * power
        left = np.where(rise > 0.0, left, np.inf)
        at = int(np.argmin(left))
        if float(left[at]) < best[0]:
            place = float(places[at])
            if 0 < at < len(places) - 1 and np.isfinite(left[at - 1 : at + 2]).all():
                bow = float(left[at - 1] - 2.0 * left[at] + left[at + 1])
                if bow > 0.0:
                    place += 0.25 * pitch * float(np.clip(0.5 * (left[at - 1] - left[at + 1]) / bow, -1.0, 1.0))
            best = (float(left[at]), place, float(rise[at]), float(np.sum(np.diff(shape[at]) ** 2)))
    error, place, rise, steepness = best
    if not math.isfinite(error) or rise < 0.4 * usual:
        return float(flat.x_px[end]), math.inf, "its tip cannot be told"
    noise = math.sqrt(error / max(len(rows) - 3, 1))
    # Cramer and Rao: noise over the slope; a quarter of a pixel is what background at the end always costs.
    sigma = noise * pitch / max(rise * math.sqrt(steepness), 1e-9)
    return place, math.hypot(sigma, 0.25), ""


def _width_px(profile: F64, offsets: F64, width: float) -> float:
    """Full width at half the contrast of a profile, corrected for a rod's round shoulders."""
    at = np.abs(offsets)
    background = float(np.nanmean(profile[(at >= _FLANK[0]) & (at <= _FLANK[1])]))
    level = profile - background
    half = 0.5 * float(np.nanmax(level))
    above = np.flatnonzero(level > half)
    if not above.size or above[0] == 0 or above[-1] == len(offsets) - 1:
        return width
    edges = []
    for inner, outer in ((int(above[0]), int(above[0]) - 1), (int(above[-1]), int(above[-1]) + 1)):
        part = (level[inner] - half) / max(level[inner] - level[outer], 1e-12)
        edges.append(offsets[inner] + part * (offsets[outer] - offsets[inner]))
    # A solid rod's chord is at half its height at 0.866 of its radius.
    return float(edges[1] - edges[0]) * width / 0.866
