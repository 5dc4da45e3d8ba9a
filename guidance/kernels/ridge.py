"""Rods in a live picture: strips sampled across it, and dark ridges followed along them; the kernels' face and twins.

The twins are the specification: `backend="reference"`. There is no fallback to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from guidance.kernels.reference import F32, I32
from guidance.messages import F64, Pixels

Backend = Literal["native", "reference"]

CORE_PART: Final = 0.4  # of the width to either side of the middle: what surely is the rod's shadow
FLANK_PARTS: Final = (0.6, 0.95)  # of the width: what is beside it and still the same background
LEAST_GAIN: Final = -1.5  # what a row without a ridge costs at most, in rows with one
SIDESTEP_COST: Final = 0.06
UNSEEN_COST: Final = 0.02  # of a row of which nothing is known
_NOISE_SIGMAS: Final = 3.0
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
    """Sample lines across a picture, bilinear, as what lies in the beam: more is more.

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
        backend = "reference"
    rows = (len(starts) // bins[0]) * bins[0]
    count = (columns // bins[1]) * bins[1]
    uv = starts[:rows, None] + steps[:rows, None] * np.arange(count)[None, :, None]
    left, top, right, bottom = bounds
    u, v = uv[..., 0], uv[..., 1]
    inside = (u >= left) & (v >= top) & (u <= right) & (v <= bottom)
    height, width = pixels.shape
    inside &= (u >= 0.0) & (v >= 0.0) & (u <= width - 1) & (v <= height - 1)
    u, v = np.where(inside, u, 0.0), np.where(inside, v, 0.0)
    column = np.minimum(u.astype(np.intp), max(width - 2, 0))
    row = np.minimum(v.astype(np.intp), max(height - 2, 0))
    part_u, part_v = u - column, v - row
    right_of, below = np.minimum(column + 1, width - 1), np.minimum(row + 1, height - 1)
    numbers = pixels.astype(np.float64)
    value = (1.0 - part_v) * ((1.0 - part_u) * numbers[row, column] + part_u * numbers[row, right_of]) + part_v * (
        (1.0 - part_u) * numbers[below, column] + part_u * numbers[below, right_of]
    )
    value = np.where(inside, value, np.nan)
    mean = value.reshape(rows // bins[0], bins[0], count // bins[1], bins[1]).mean(axis=(1, 3))
    if logarithm:
        mean = np.log(np.maximum(mean, 1.0))
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
    response = ridge_response(strip, width_columns)
    if unknown is not None:
        response[unknown] = np.nan
    threshold = max(least, _NOISE_SIGMAS * _noise(response))
    with np.errstate(invalid="ignore"):
        gain = np.clip((response - threshold) / threshold, LEAST_GAIN, 1.0)
    gain = np.where(np.isnan(gain), -UNSEEN_COST, gain)
    rows, columns = gain.shape
    value = np.zeros((rows, columns))
    came = np.full((rows, columns), 2, np.int8)  # -1, 0, 1: from that column beside; 2: begins here
    before = np.zeros(columns)
    for row in range(rows):
        padded = np.pad(before, 1, constant_values=-np.inf)
        ways = np.stack((padded[:-2] - SIDESTEP_COST, padded[1:-1], padded[2:] - SIDESTEP_COST))
        order = ways[[1, 0, 2]]  # straight on wins where equal
        best = np.argmax(order, axis=0)
        reached = np.take_along_axis(order, best[None], axis=0)[0]
        came[row] = np.where(reached > 0.0, np.array((0, -1, 1), np.int8)[best], 2)
        before = np.maximum(reached, 0.0) + gain[row]
        value[row] = before
    return _traced(value, came, width_columns, threshold, most)


def ridge_response(strip: F32, width_columns: F64) -> F64:
    """(T, S): what the middle has more than the nearer side; NaN where one of the three is not known."""
    rows, columns = strip.shape
    sums = np.concatenate((np.zeros((rows, 1)), np.cumsum(np.nan_to_num(strip.astype(np.float64)), axis=1)), axis=1)
    holes = np.concatenate((np.zeros((rows, 1)), np.cumsum(np.isnan(strip), axis=1)), axis=1)
    response = np.full((rows, columns), np.nan)
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


def _noise(response: F64) -> float:
    steps = np.abs(np.diff(response, axis=0))
    known = steps[~np.isnan(steps)]
    return float(_SIGMA_OF_MEDIAN * np.median(known)) if known.size else 0.0


def _traced(value: F64, came: npt.NDArray[np.int8], width_columns: F64, threshold: float, most: int) -> Tracks:
    rows, columns = value.shape
    free = np.ones((rows, columns), bool)
    found: list[I32] = []
    scores: list[float] = []
    left = value.copy()
    while len(found) < most:
        at = int(np.argmax(left))
        row, column = divmod(at, columns)
        score = float(left[row, column])
        if score <= 0.0:
            break
        track = np.full(rows, -1, np.int32)
        clear = True
        end_row = row
        while True:
            if not free[row, column]:
                clear = False
                break
            track[row] = column
            step = int(came[row, column])
            if step == 2 or row == 0:
                break
            row, column = row - 1, column + step
        # What is near a found track, or leads into one, is that same ridge.
        for each in range(row, end_row + 1):
            at_column = int(track[each])
            if at_column < 0:
                continue
            reach = int(width_columns[each])
            low, high = max(at_column - reach, 0), at_column + reach + 1
            free[each, low:high] = False
            left[each, low:high] = 0.0
        left[end_row, max(0, int(track[end_row])) if track[end_row] >= 0 else 0] = 0.0
        if clear:
            found.append(track)
            scores.append(score)
        else:
            left[at // columns, at % columns] = 0.0
    return Tracks(
        columns=np.array(found, np.int32).reshape(-1, rows), scores=np.array(scores, np.float64), threshold=threshold
    )
