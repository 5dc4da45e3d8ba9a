"""Rods along a strip: what `guidance.kernels.rods` computes, in plain NumPy; its native code is tested against it."""

from __future__ import annotations

from typing import Final

import numpy as np

from guidance.kernels.reference import F32
from guidance.kernels.ridge import ridge_tracks, sample_strip
from guidance.kernels.rod_fit_reference import LEAST_SIGMA_PX, line_or_curve, robust_fit, spread_of
from guidance.kernels.rod_profile_reference import (
    block_profiles,
    contrast_of,
    likeness,
    middles_of,
    straightened,
    width_of,
)
from guidance.kernels.rod_tip_reference import longest_run, tip_of
from guidance.kernels.rod_values import MetalMask, PictureReading, Rod, RodStrip
from guidance.messages import F64, Pixels

_TRACKS: Final = 3
_TRACK_PART: Final = 0.6  # of the least contrast, from where on a ridge is followed
_SATURATED: Final = 0.005  # share of a strip at its very least value that is more than chance
# Lengths in widths of the rod's shadow unless their name says otherwise.
_BEYOND: Final = 4.0  # how far beyond both ends of the track is looked
_SHORTEST: Final = 3.0
_ASTRAY: Final = 3.0  # that a track may go on without the rod
_SHORTEST_PX: Final = 24.0
_LIKE_A_ROD: Final = 0.94  # correlation of the whole profile with a rod's
_BLOCKS_ALIKE: Final = 0.6  # share of blocks that must show it
_BLOCK_CORRELATION: Final = 0.6
_MIDDLE_CORRELATION: Final = 0.5  # a block that is less like a rod says nothing of its middle
_STEADY: Final = 0.55  # spread of the contrast along the rod over the contrast
_LEAST_RADIUS_MM: Final = 220.0  # no instrument is bent more sharply in a patient; a cortex often is
_WIDTHS: Final = (0.5, 1.8)  # of the expected, that the shadow may have


def rods_along(
    pixels: Pixels,
    reading: PictureReading,
    strip: RodStrip,
    metal: MetalMask | None,
    *,
    least: float,
    least_of_range: float = 0.0,
) -> list[Rod]:
    """As `guidance.kernels.rods.rods_along`."""
    shape = strip.shape
    fine_row, fine_column = strip.row_px / strip.bins[0], strip.column_px / strip.bins[1]
    x: F64 = np.arange(shape[0] * strip.bins[0]) * np.float64(fine_row)
    half = shape[1] // 2
    across = np.array((-strip.along[1], strip.along[0]))
    starts = strip.points(x, np.full(len(x), -half * strip.column_px - 0.5 * (strip.bins[1] - 1) * fine_column))
    values = sample_strip(
        pixels,
        starts,
        np.tile(across * fine_column, (len(x), 1)),
        shape[1] * strip.bins[1],
        bins=strip.bins,
        bounds=reading.bounds,
        logarithm=reading.logarithm,
        sign=reading.sign,
        backend="reference",
    )
    if least_of_range > 0.0:
        known = values[~np.isnan(values)]
        if known.size >= 100:
            low, high = np.percentile(known[:: max(1, known.size // 4096)], (2.0, 98.0))
            least = max(least, least_of_range * float(high - low))
    if least <= 0.0:
        return []
    middle_px: F64 = np.asarray((np.arange(shape[0]) + 0.5 * (strip.bins[0] - 1) / strip.bins[0]) * strip.row_px)
    unknown = None
    if metal is not None:
        y = (np.arange(shape[1]) - half) * strip.column_px
        grid = strip.origin_px + middle_px[:, None, None] * np.array(strip.along) + y[None, :, None] * across
        unknown = metal.covers(grid)
    saturated = _saturated(values)
    if saturated is not None:
        flooded = values <= saturated
        unknown = flooded if unknown is None else unknown | flooded
    tracks = ridge_tracks(
        values,
        strip.width_at(middle_px) / strip.column_px,
        least=_TRACK_PART * least,
        most=_TRACKS,
        unknown=unknown,
        backend="reference",
    )
    found = []
    for track in tracks.columns:
        rows = np.flatnonzero(track >= 0)
        if len(rows) < 4:
            continue
        y_px = (track[rows] - half) * strip.column_px
        rod = rod_of(pixels, reading, saturated, strip, middle_px[rows], y_px, metal, least)
        if rod is not None:
            found.append(rod)
    return found


def rod_of(
    pixels: Pixels,
    reading: PictureReading,
    saturated: float | None,
    strip: RodStrip,
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
    sigma_px = LEAST_SIGMA_PX
    for coarse in (True, False):
        reach = 0.0 if coarse else _BEYOND * width
        flat = straightened(
            pixels, reading, saturated, strip, curve, (first - reach, last + reach), metal, coarse=coarse
        )
        # The track's first row lies on a sample's or, as rounding has it, just beside: half a row before both does not.
        begin, end = np.searchsorted(flat.x_px, np.array((first, last)) - 0.5 * flat.pitch_px)
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
        curve, sigma_px = line_or_curve(at, y, weight * weight, width)
    if curve.sharpest * _LEAST_RADIUS_MM * width / strip.diameter_mm > 1.0:
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
        return rod_of(pixels, reading, saturated, strip, x_px[own], y_px[own], metal, least, whole_track=False)
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
        tip=tip.state,
        tip_sigma_px=tip.sigma_px,
        sigma_px=sigma_px,
        width_px=widths * width,
        contrast=run.usual,
        score=score,
        bend_px=0.0 if curve.straight else float(abs(ends[1] - 0.5 * (ends[0] + ends[2]))),
        goes_on=not len(before) or float(np.mean(before)) < 0.7,
    )


def _saturated(values: F32) -> float | None:
    """The value that stands for as much X-ray as the picture can show, where some of the strip is at it."""
    least = float(np.nanmin(values)) if not np.isnan(values).all() else 0.0
    limit = least + 1e-4 * max(abs(least), 1.0)
    return limit if float(np.mean(values <= limit)) > _SATURATED else None
