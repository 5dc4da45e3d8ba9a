"""Where a volume may lie in another when nothing is known: masked correlation over all shifts and a set of turns."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import fft

from guidance.messages import F64
from guidance.registration.values import small_motion
from guidance.registration.volume_levels import F32, LevelledVolume, VolumeLevel

TURN_DEG: Final = 25.0
"""Between the turns that are tried; what lies between them the refinement finds (it captures 15 deg and more)."""

_FINEST_MM: Final = 10.0
_MOST_CELLS: Final = 40  # along the longest side
_LEAST_OVERLAP: Final = 0.3  # of the smaller volume's cells
_APART_CELLS: Final = 3
_PER_TURN: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class Guess:
    """A place to begin from; `score` is the correlation there, weighed by the overlap."""

    target_from_source: F64
    score: float


def nearby_turns() -> list[F64]:
    """(3, 3) rotations: none, and one step about each axis, either way."""
    turns = [np.zeros(3)]
    for axis, sign in itertools.product(range(3), (1.0, -1.0)):
        turns.append(sign * TURN_DEG * np.eye(3)[axis])
    return [_rotation(turn) for turn in turns]


def upside_down_turns() -> list[F64]:
    """(3, 3) rotations: half turns about each axis, for a patient position told wrongly."""
    return [_rotation(180.0 * np.eye(3)[axis]) for axis in range(3)]


def guesses(target: LevelledVolume, source: LevelledVolume, turns: list[F64], *, threads: int = 1) -> list[Guess]:
    """Best places of the source in the target, best first.

    Args:
        turns: (3, 3) rotations of the source about its middle.
        threads: for the transforms.

    Returns:
        At most two for each turn.

    Source: D. Padfield, Masked object registration in the Fourier domain, IEEE TIP 21(5), 2012.
    """
    fixed, moving = target.levels[0], source.levels[0]
    step_mm = max(_FINEST_MM, max(_extent_mm(fixed), _extent_mm(moving)) / _MOST_CELLS)
    target_grid = _grid(fixed, np.eye(3), target.center_lps_mm, step_mm)
    found = []
    for turn in turns:
        source_grid = _grid(moving, turn, source.center_lps_mm, step_mm)
        for shift_mm, score in _best_shifts(target_grid, source_grid, step_mm, threads):
            motion = np.eye(4)
            motion[:3, :3] = turn
            motion[:3, 3] = target.center_lps_mm + shift_mm - turn @ source.center_lps_mm
            found.append(Guess(motion, score))
    return sorted(found, key=lambda guess: -guess.score)


def _rotation(turn_deg: F64) -> F64:
    return small_motion(np.concatenate((np.zeros(3), turn_deg)), np.zeros(3))[:3, :3]


def _corners(level: VolumeLevel) -> F64:
    counts = level.bone_hu.shape[::-1]
    ijk = np.array(list(itertools.product(*((-0.5, count - 0.5) for count in counts))))
    return ijk @ level.affine_lps_from_ijk[:3, :3].T + level.affine_lps_from_ijk[:3, 3]


def _extent_mm(level: VolumeLevel) -> float:
    corners = _corners(level)
    return float((corners.max(axis=0) - corners.min(axis=0)).max())


def _grid(level: VolumeLevel, turn: F64, center_lps_mm: F64, step_mm: float) -> F32:
    """`[z, y, x]` the volume turned about its middle, on cells of `step_mm` along LPS around it; NaN outside."""
    reach = np.abs((_corners(level) - center_lps_mm) @ turn.T).max(axis=0)
    half = np.maximum(np.ceil(reach / step_mm).astype(int), 1)
    z, y, x = (np.arange(-count, count + 1) * step_mm for count in half[::-1])
    places = np.stack(np.meshgrid(x, y, z, indexing="ij"), axis=-1).transpose(2, 1, 0, 3)
    # The coarse level is finer than a cell: the mean of eight places of each is the cell's.
    values, count = np.zeros(places.shape[:3]), np.zeros(places.shape[:3])
    for offset in itertools.product((-0.25, 0.25), repeat=3):
        seen = level.at((places.reshape(-1, 3) + np.multiply(offset, step_mm)) @ turn + center_lps_mm)
        finite = np.isfinite(seen).reshape(count.shape)
        values[finite] += seen.reshape(count.shape)[finite]
        count += finite
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(count >= 4, values / count, np.nan), np.float32)


def _best_shifts(target: F32, source: F32, step_mm: float, threads: int) -> list[tuple[F64, float]]:
    """(shift of the source's middle from the target's in mm, score) of the best shifts of one turn."""
    size = [fft.next_fast_len(a + b - 1, real=True) for a, b in zip(target.shape, source.shape, strict=True)]

    def spectra(grid: F32) -> list[npt.NDArray[np.complex64]]:
        mask = np.isfinite(grid)
        values = np.where(mask, grid, 0.0).astype(np.float32)
        return [fft.rfftn(part, size, workers=threads) for part in (mask.astype(np.float32), values, np.square(values))]

    t_mask, t_value, t_square = spectra(target)
    s_mask, s_value, s_square = (np.conj(spectrum) for spectrum in spectra(source))

    def over_shifts(product: npt.NDArray[np.complex64]) -> F32:
        return np.asarray(fft.irfftn(product, size, workers=threads), np.float32)

    overlap = np.maximum(over_shifts(t_mask * s_mask), 1e-3)
    target_sum, source_sum = over_shifts(t_value * s_mask), over_shifts(t_mask * s_value)
    covariance = over_shifts(t_value * s_value) - target_sum * source_sum / overlap
    target_spread = over_shifts(t_square * s_mask) - target_sum**2 / overlap
    source_spread = over_shifts(t_mask * s_square) - source_sum**2 / overlap
    full = float(min(np.isfinite(target).sum(), np.isfinite(source).sum()))
    # Spreads below a part of the best are flat tissue, where rounding would be the correlation.
    usable = (overlap > _LEAST_OVERLAP * full) & (target_spread > 0.02 * target_spread.max())
    usable &= source_spread > 0.02 * source_spread.max()
    score = np.full(overlap.shape, -1.0, np.float32)
    score[usable] = covariance[usable] / np.sqrt(target_spread[usable] * source_spread[usable])
    score *= np.sqrt(np.minimum(overlap / max(full, 1.0), 1.0))
    middle = (np.array(target.shape) - 1.0) / 2.0 - (np.array(source.shape) - 1.0) / 2.0
    best = []
    for _ in range(_PER_TURN):
        place = np.unravel_index(int(np.argmax(score)), score.shape)
        top = float(score[place])
        if top <= 0.0:
            break
        cells = np.array(
            [at if at < have else at - whole for at, have, whole in zip(place, target.shape, size, strict=True)]
        )
        best.append((step_mm * (cells - middle)[::-1], top))
        around = np.ix_(
            *(
                np.arange(at - _APART_CELLS, at + _APART_CELLS + 1) % whole
                for at, whole in zip(place, size, strict=True)
            )
        )
        score[around] = -1.0
    return best
