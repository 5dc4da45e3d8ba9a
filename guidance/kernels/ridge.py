"""Rods in a live picture: strips sampled across it, and dark ridges followed along them; the kernels' face and twins.

The twins are the specification: `backend="reference"`. There is no fallback to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from guidance.kernels import _core
from guidance.kernels.reference import F32, I32
from guidance.messages import F64, Pixels

Backend = Literal["native", "reference"]

CORE_PART: Final = 0.4  # of the width to either side of the middle: what surely is the rod's shadow
FLANK_PARTS: Final = (0.6, 0.95)  # of the width: what is beside it and still the same background
LEAST_GAIN: Final = -1.5  # what a row without a ridge costs at most, in rows with one
SIDESTEP_COST: Final = 0.06
LEAST_SCORE: Final = 4.0  # rows of a clear ridge: less is noise
UNSEEN_COST: Final = 0.02  # of a row of which nothing is known
_NOISE_SIGMAS: Final = 3.0
_NOISE_SAMPLES: Final = 4096
_BEGINS: Final = 2
_SIGMA_OF_MEDIAN: Final = 1.4826 / np.sqrt(2.0)  # of the median difference of two normal deviates


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tracks:
    """Ridges found in a strip, the best first.

    Attributes:
        columns: (K, T) int32, the strip's column in each row; -1 where the track does not run.
        scores: (K,) float64, sum of the rows' gains: a clear ridge over n rows has n.
        threshold: the response that counts as nothing, in the strip's units.
    """

    columns: I32
    scores: F64
    threshold: float


def sample_strip(
    pixels: Pixels,
    starts: F64,
    steps: F64,
    columns: int,
    *,
    bins: tuple[int, int] = (1, 1),
    bounds: tuple[float, float, float, float],
    logarithm: bool,
    sign: int,
    backend: Backend = "native",
) -> F32:
    """Sample lines across a picture as what lies in the beam: more is more.

    Bilinear; with bins the nearest pixels, for their mean is smooth anyway.

    Args:
        pixels: (rows, columns) uint8, int8, uint16, int16 or float32.
        starts, steps: (R, 2) float64 u, v of each line's first sample and from sample to sample.
        columns: samples per line.
        bins: (lines, samples) averaged to one; what is left over at the end is left out.
        bounds: left, top, right, bottom in px: a sample beyond makes its bin NaN, as does one that is not finite.
        logarithm: minus the natural logarithm of the mean (below 1 it counts as 1) times `sign`, else minus the mean
            times `sign`.
        sign: 1 where more X-ray gives higher values, else -1.

    Returns:
        (R // bins[0], columns // bins[1]) float32.
    """
    if backend == "native":
        out = np.empty((len(starts) // bins[0], columns // bins[1]), np.float32)
        _core.sample_strip(pixels, starts, steps, columns, bins, bounds, logarithm, sign, out)
        return out
    rows, count = (len(starts) // bins[0]) * bins[0], (columns // bins[1]) * bins[1]
    uv = starts[:rows, None] + steps[:rows, None] * np.arange(count)[None, :, None]
    height, width = pixels.shape
    left, top, right, bottom = bounds
    low, high = np.maximum((left, top), 0.0), np.minimum((right, bottom), (width - 1.0, height - 1.0))
    inside = np.asarray(((uv >= low) & (uv <= high)).all(axis=2))
    place = np.where(inside[..., None], uv, 0.0)
    numbers = pixels.astype(np.float64)
    if bins == (1, 1):
        corner = np.minimum(place.astype(np.intp), (width - 2, height - 2))
        (column, row), (part_u, part_v) = np.moveaxis(corner, 2, 0), np.moveaxis(place - corner, 2, 0)
        upper = (1.0 - part_u) * numbers[row, column] + part_u * numbers[row, column + 1]
        lower = (1.0 - part_u) * numbers[row + 1, column] + part_u * numbers[row + 1, column + 1]
        value = (1.0 - part_v) * upper + part_v * lower
    else:
        column, row = np.moveaxis((place + 0.5).astype(np.intp), 2, 0)
        value = numbers[row, column]
    value = np.where(inside, value, np.nan)
    mean = value.reshape(rows // bins[0], bins[0], count // bins[1], bins[1]).mean(axis=(1, 3))
    mean = np.where(np.isfinite(mean), np.log(np.maximum(mean, 1.0)) if logarithm else mean, np.nan)
    return np.asarray(-sign * mean, np.float32)


def ridge_tracks(
    strip: F32,
    width_columns: F64,
    *,
    least: float,
    most: int,
    unknown: npt.NDArray[np.bool_] | None = None,
    backend: Backend = "native",
) -> Tracks:
    """Follow ridges of a known width along a strip.

    A cell's response is what its middle has more than the nearer of both sides: an edge has none. A track gains in
    each row what the response is above the threshold, in thresholds, at most 1 and at least -1.5, and moves one
    column a row at most; tracks begin and end where that is best (local alignment by dynamic programming).

    Args:
        strip: (T, S) float32, more where more lies in the beam; NaN is not known.
        width_columns: (T,) float64 expected width of the rod in columns.
        least: smallest response that counts.
        most: tracks to return at most.
        unknown: (T, S) bool, where a ridge counts as nothing either way; None: nowhere.

    Returns:
        The tracks that share no ground, best first.

    Source: Koller et al., Multiscale detection of curvilinear structures, ICCV 1995 (the lesser of both sides);
        Smith & Waterman, J. Mol. Biol. 147, 1981 (local alignment).
    """
    rows = len(strip)
    if backend == "native":
        tracks, sums = np.empty((most, rows), np.int32), np.empty(most, np.float64)
        count, threshold = _core.ridge_tracks(strip, width_columns, unknown, least, tracks, sums)
        return Tracks(columns=tracks[:count], scores=sums[:count], threshold=threshold)
    response = ridge_response(strip, width_columns)
    if unknown is not None:
        response[unknown] = np.nan
    threshold = max(least, _NOISE_SIGMAS * _noise(response))
    with np.errstate(invalid="ignore"):
        gain = np.clip((response - np.float32(threshold)) / np.float32(threshold), np.float32(LEAST_GAIN), 1.0)
    gain = np.where(np.isnan(gain), np.float32(-UNSEEN_COST), gain)
    found: list[I32] = []
    scores: list[float] = []
    while len(found) < most:
        track, score = _best_track(gain)
        if score < LEAST_SCORE:
            break
        found.append(track)
        scores.append(score)
        for row in np.flatnonzero(track >= 0):
            # What is near a found track is that same ridge; another may cross it.
            reach = int(width_columns[row])
            near = slice(max(int(track[row]) - reach, 0), int(track[row]) + reach + 1)
            gain[row, near] = np.minimum(gain[row, near], np.float32(-UNSEEN_COST))
    return Tracks(
        columns=np.array(found, np.int32).reshape(-1, rows), scores=np.array(scores, np.float64), threshold=threshold
    )


def ridge_response(strip: F32, width_columns: F64) -> F32:
    """(T, S): what the middle has more than the nearer side; NaN where one of the three is not known."""
    rows, columns = strip.shape
    sums = np.concatenate((np.zeros((rows, 1)), np.cumsum(np.nan_to_num(strip.astype(np.float64)), axis=1)), axis=1)
    holes = np.concatenate((np.zeros((rows, 1)), np.cumsum(np.isnan(strip), axis=1)), axis=1)
    response = np.full((rows, columns), np.nan, np.float32)
    for row in range(rows):
        core, near, far = band_columns(float(width_columns[row]))
        middle = np.arange(far, columns - far)
        if not middle.size:
            continue
        means = []
        known = np.ones(middle.size, bool)
        for low, high in ((-core, core), (-far, -near), (near, far)):
            first, last = middle + low, middle + high + 1
            means.append((sums[row, last] - sums[row, first]) / (high - low + 1))
            known &= holes[row, last] == holes[row, first]
        response[row, middle] = np.where(known, means[0] - np.maximum(means[1], means[2]), np.nan)
    return response


def band_columns(width: float) -> tuple[int, int, int]:
    """Half the core, and where a flank begins and ends, in columns from the middle."""
    core = int(CORE_PART * width)
    near = max(int(FLANK_PARTS[0] * width + 0.5), core + 1)
    return core, near, max(int(FLANK_PARTS[1] * width + 0.5), near)


def _noise(response: F32) -> float:
    steps = np.abs(np.diff(response, axis=0)).ravel()
    steps = steps[:: max(steps.size // _NOISE_SAMPLES, 1)]
    known = np.sort(steps[~np.isnan(steps)])
    return float(_SIGMA_OF_MEDIAN * known[known.size // 2]) if known.size else 0.0


def _best_track(gain: F32) -> tuple[I32, float]:
    """(T,) column by row of the best track, -1 where it does not run, and its score."""
    rows, columns = gain.shape
    value = np.zeros((rows, columns), np.float32)
    came = np.full((rows, columns), _BEGINS, np.int8)  # -1, 0, 1: from that column beside
    before = np.zeros(columns, np.float32)
    for row in range(rows):
        padded = np.pad(before, 1, constant_values=-np.inf)
        # Straight on wins where equal, then the left.
        ways = np.stack((padded[1:-1], padded[:-2] - np.float32(SIDESTEP_COST), padded[2:] - np.float32(SIDESTEP_COST)))
        best, reached = np.argmax(ways, axis=0), ways.max(axis=0)
        came[row] = np.where(reached > 0.0, np.array((0, -1, 1), np.int8)[best], _BEGINS)
        before = np.maximum(reached, 0.0) + gain[row]
        value[row] = before
    row, column = divmod(int(np.argmax(value)), columns)
    score = float(value[row, column])
    track = np.full(rows, -1, np.int32)
    while True:
        track[row] = column
        if came[row, column] == _BEGINS or row == 0:
            return track, score
        row, column = row - 1, column + int(came[row, column])
