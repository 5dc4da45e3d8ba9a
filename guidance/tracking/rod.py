"""One candidate of a strip looked at closely: its centreline to a fraction of a pixel, its width, its tip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.messages import F64, Pixels
from guidance.tracking.curve import Curve, robust_fit, spread_of
from guidance.tracking.known_metal import MetalMask
from guidance.tracking.straightened import (
    PictureReading,
    block_profiles,
    contrast_of,
    likeness,
    middles_of,
    straightened,
    width_of,
)
from guidance.tracking.strip import Strip
from guidance.tracking.tip import longest_run, tip_of

# Lengths in widths of the rod's shadow unless their name says otherwise.
_BEYOND: Final = 4.0  # how far beyond both ends of the track is looked
_SHORTEST: Final = 3.0
_ASTRAY: Final = 3.0  # that a track may go on without the rod
_SHORTEST_PX: Final = 24.0
_LIKE_A_ROD: Final = 0.94  # correlation of the whole profile with a rod's
_BLOCKS_ALIKE: Final = 0.6  # share of blocks that must show it
_BLOCK_CORRELATION: Final = 0.6
_MIDDLE_CORRELATION: Final = 0.5  # a block that is less like a rod says nothing of its middle
_STRAIGHT_PX: Final = 0.5  # a bend smaller than this is not told from noise
_BEND_GAIN: Final = 1.6  # by which a curve must fit better than a line
_STEADY: Final = 0.55  # spread of the contrast along the rod over the contrast
_LEAST_RADIUS_MM: Final = 220.0  # no instrument is bent more sharply in a patient; a cortex often is
_WIDTHS: Final = (0.5, 1.8)  # of the expected, that the shadow may have
_LEAST_SIGMA_PX: Final = 0.04


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rod:
    """A rod in strip coordinates (px).

    Attributes:
        start_px, end_px: x of its ends; `end_px` is the tip where `tip_unknown` is "".
        tip_sigma_px: standard deviation of the tip along it.
        sigma_px: of its centreline's middle across it.
        goes_on: whether nothing is known of the picture just before its start, so that it may come from farther.
    """

    curve: Curve
    start_px: float
    end_px: float
    tip_unknown: str
    tip_sigma_px: float
    sigma_px: float
    width_px: float
    contrast: float
    score: float
    bend_px: float
    goes_on: bool


def rod_of(
    pixels: Pixels,
    reading: PictureReading,
    strip: Strip,
    x_px: F64,
    y_px: F64,
    metal: MetalMask | None,
    least: float,
    *,
    whole_track: bool = True,
) -> Rod | None:
    """Look closely at a track; None where it is no rod.

    Args:
        x_px, y_px: (N,) the track in the strip, x rising.
        metal: where known metal is.
        least: smallest contrast that counts.
        whole_track: False where the track is cut to its rod already.
    """
    first, last = float(x_px[0]), float(x_px[-1])
    width = float(strip.width_at(np.array([0.5 * (first + last)]))[0])
    shortest = max(_SHORTEST * width, _SHORTEST_PX)
    if last - first < shortest:
        return None
    degree = 3 if last - first > 6.0 * width else 1
    curve, _ = robust_fit(x_px, y_px, np.ones(len(x_px)), degree, least_px=0.15 * width)
    sigma_px = _LEAST_SIGMA_PX
    for coarse in (True, False):
        reach = 0.0 if coarse else _BEYOND * width
        flat = straightened(pixels, reading, strip, curve, (first - reach, last + reach), metal, coarse=coarse)
        begin, end = np.searchsorted(flat.x_px, (first, last))
        at, profiles = block_profiles(flat, int(begin), int(end))
        if len(at) < 3:
            return None
        shift, weight = middles_of(profiles, flat.blur)
        kept = weight > _MIDDLE_CORRELATION
        if int(kept.sum()) < 3:
            return None
        at, weight = at[kept], weight[kept]
        slope = curve.slope(at)
        y = curve.y(at) + shift[kept] * strip.width_at(at) * np.sqrt(1.0 + slope * slope)
        curve, sigma_px = _line_or_curve(at, y, weight * weight, width)
    if curve.sharpest * _LEAST_RADIUS_MM * width / strip.path.diameter_mm > 1.0:
        return None
    # The last pass' samples lie a small part of a width off the last curve: contrast and profile do not mind.
    contrast = contrast_of(flat)
    run = longest_run(contrast, flat)
    if run is None or run.usual < least or flat.x_px[run.end] - flat.x_px[run.begin] < shortest:
        return None
    if whole_track and (last - flat.x_px[run.end] > _ASTRAY * width or flat.x_px[run.begin] - first > _ASTRAY * width):
        # The track goes on along something else, which bends the curve: once more without that.
        own = (x_px >= flat.x_px[run.begin]) & (x_px <= flat.x_px[run.end])
        if int(own.sum()) < 4:
            return None
        return rod_of(pixels, reading, strip, x_px[own], y_px[own], metal, least, whole_track=False)
    inside = contrast[run.begin : run.end + 1]
    inside = inside[~np.isnan(inside)]
    _, blocks = block_profiles(flat, run.begin, run.end + 1)
    if not len(blocks) or spread_of(inside - run.usual) > _STEADY * run.usual:
        return None
    profile = blocks.mean(axis=0)
    score = float(likeness(profile[None], flat.blur)[0])
    if score < _LIKE_A_ROD or float(np.mean(likeness(blocks, flat.blur) > _BLOCK_CORRELATION)) < _BLOCKS_ALIKE:
        return None
    widths = width_of(profile)
    if not _WIDTHS[0] <= widths <= _WIDTHS[1]:
        return None
    middle = contrast_of(flat, narrow=True)
    # A tube's middle is its faintest part, and what follows it says nothing of a point.
    solid = float(np.nanmean(middle[run.begin : run.end + 1])) > float(np.nanmean(contrast[run.begin : run.end + 1]))
    tip = tip_of(flat, middle if solid else contrast, run, end_on=strip.end_on, solid=solid)
    start_px = float(flat.x_px[run.begin])
    before = flat.known[max(run.begin - max(round(1.2 * width / flat.pitch_px), 8), 0) : run.begin]
    ends = curve.y(np.array((start_px, 0.5 * (start_px + tip.x_px), tip.x_px)))
    return Rod(
        curve=curve,
        start_px=start_px,
        end_px=tip.x_px,
        tip_unknown=tip.unknown,
        tip_sigma_px=tip.sigma_px,
        sigma_px=sigma_px,
        width_px=widths * width,
        contrast=run.usual,
        score=score,
        bend_px=0.0 if curve.straight else float(abs(ends[1] - 0.5 * (ends[0] + ends[2]))),
        goes_on=not len(before) or float(np.mean(before)) < 0.7,
    )


def _line_or_curve(x: F64, y: F64, weight: F64, width: float) -> tuple[Curve, float]:
    """The straight line, unless a low curve fits clearly better; and its middle's standard deviation."""
    line, miss = robust_fit(x, y, weight, 1, least_px=0.02 * width)
    straight = spread_of(miss)
    if len(x) >= 6:
        curve, miss = robust_fit(x, y, weight, 3 if len(x) >= 12 else 2, least_px=0.02 * width)
        curved = spread_of(miss)
        bow = curve.y(x) - line.y(x)
        if straight > _BEND_GAIN * curved and float(bow.max() - bow.min()) > _STRAIGHT_PX:
            return curve, max(curved * math.sqrt(4.0 / len(x)), _LEAST_SIGMA_PX)
    return line, max(straight * math.sqrt(2.0 / len(x)), _LEAST_SIGMA_PX)
