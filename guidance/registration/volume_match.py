"""Edges of one volume held against another: Gauss-Newton for a rigid motion, and what it leaves block by block."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.messages import F64
from guidance.registration.values import small_motion
from guidance.registration.volume_levels import BLOCK_MM, EdgePoints, VolumeLevel

FEWEST_POINTS: Final = 100
_TUKEY: Final = 6.0  # of the residuals' own scale: metal, streaks and what moved are left out, noise is not
_MAD: Final = 1.4826  # median of absolute values to standard deviation
_LONGEST_STEP: Final = 8.0  # mm and deg, in one iteration
_DAMPING: Final = 0.01
_OWN_GAIN_FROM: Final = 0.5  # correlation above which a block may have a gain of its own
_GAIN_PRIOR: Final = 0.5  # weight of the common gain, in blocks
_GAIN_RANGE: Final = 2.0
_SLOPE_PRIOR: Final = 1.0  # in points at a block's edge
_DEG: Final = math.pi / 180.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Match:
    """How well edges lie on the other volume after a motion.

    Attributes:
        target_from_source: (4, 4) the motion.
        pivot_lps_mm: (3,) in the target's frame, about which its small motions turn.
        correlation: of the values, blocks' own brightness taken out, -1 to 1.
        inside: share of the edges that lie where the target can be compared.
        inliers: share of those that agree within the noise.
        normal: (6, 6) of a small motion about the pivot (shift mm, turn deg), HU^2.
        block_scores: (B, 6) gradient of each block, for blocks that have points.
        block_shifts_mm: (B, 3) how far each block's own best place is off.
        block_points: (B,) points of each.
    """

    target_from_source: F64
    pivot_lps_mm: F64
    correlation: float
    inside: float
    inliers: float
    normal: F64
    block_scores: F64
    block_shifts_mm: F64
    block_points: npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class _Compared:
    """Values at the points that can be compared, with the rows of the linear problem."""

    residual: F64
    weight: F64
    jacobian: F64
    block: npt.NDArray[np.intp]
    blocks: int
    correlation: float


def refine(
    target: VolumeLevel,
    points: EdgePoints,
    target_from_source: F64,
    pivot_lps_mm: F64,
    *,
    robust: bool,
    shaded: bool = False,
    tolerance: float,
    iterations: int = 25,
) -> Match | None:
    """Move edges until they lie on the target.

    Args:
        target: what they are held against.
        points: of the source.
        target_from_source: (4, 4) start.
        pivot_lps_mm: (3,) in the target's frame, near the points: turns are about it.
        robust: leave outliers out, and let each block of the source have its own brightness and contrast. Where the
            start is far off, edges are the outliers, so the coarse level is not.
        shaded: also let brightness rise evenly across a block; half as much again of work, a third less of error.
        tolerance: ends when a step is shorter, mm and deg.

    Returns:
        The match; None where next to nothing of the source lies in the target.
    """
    motion = np.array(target_from_source, np.float64)
    weights = np.ones(len(points.lps_mm))
    best, best_weights, best_score = motion, weights, -math.inf
    for _ in range(iterations):
        compared, weights = _compared(target, points, motion, pivot_lps_mm, weights, robust=robust, shaded=shaded)
        if compared is None:
            break
        # The last step is not always the best: with few edges far from their place it may lead away.
        score = compared.correlation * math.sqrt(len(compared.block))
        if score > best_score:
            best, best_weights, best_score = motion, weights, score
        normal, gradient = _normal(compared)
        diagonal = np.diag(normal)
        damping = np.diag(_DAMPING * diagonal + 1e-9 * diagonal.max() + 1e-12)
        step = np.asarray(-np.linalg.solve(normal + damping, gradient), np.float64)
        longest = float(np.abs(step).max())
        if longest > _LONGEST_STEP:
            step *= _LONGEST_STEP / longest
        motion = small_motion(step, pivot_lps_mm) @ motion
        if longest < tolerance:
            best, best_weights = (motion, weights) if robust else (best, best_weights)
            break
    return measure(target, points, best, pivot_lps_mm, best_weights, robust=robust, shaded=shaded)


def measure(
    target: VolumeLevel,
    points: EdgePoints,
    target_from_source: F64,
    pivot_lps_mm: F64,
    weights: F64 | None = None,
    *,
    robust: bool,
    shaded: bool = False,
) -> Match | None:
    """How well edges lie on the target where they are; arguments and answer as of `refine`."""
    start = np.ones(len(points.lps_mm)) if weights is None else weights
    compared, kept = _compared(target, points, target_from_source, pivot_lps_mm, start, robust=robust, shaded=shaded)
    if compared is None:
        return None
    normal, _ = _normal(compared)
    weighted = compared.jacobian * compared.weight[:, None]
    used = np.bincount(compared.block, minlength=compared.blocks)
    scores = _sums(compared.block, weighted * compared.residual[:, None], compared.blocks)
    shifts = np.zeros((compared.blocks, 3))
    # Each block alone, and with every point's full weight: what disagrees must show here.
    products = compared.jacobian[:, :3, None] * compared.jacobian[:, None, :3]
    own = _sums(compared.block, products.reshape(-1, 9), compared.blocks).reshape(-1, 3, 3)
    right = _sums(compared.block, compared.jacobian[:, :3] * compared.residual[:, None], compared.blocks)
    ridge = 0.05 * np.trace(own, axis1=1, axis2=2)[:, None, None] / 3.0 * np.eye(3)
    some = used > 0
    shifts[some] = np.linalg.solve(own[some] + ridge[some] + 1e-12 * np.eye(3), right[some][..., None])[..., 0]
    return Match(
        target_from_source=np.array(target_from_source, np.float64),
        pivot_lps_mm=pivot_lps_mm,
        correlation=compared.correlation,
        inside=len(compared.block) / len(points.lps_mm),
        inliers=float((kept > 0.25).sum()) / len(compared.block),
        normal=normal,
        block_scores=scores[some],
        block_shifts_mm=shifts[some],
        block_points=used[some],
    )


def _compared(
    target: VolumeLevel, points: EdgePoints, motion: F64, pivot_lps_mm: F64, weights: F64, *, robust: bool, shaded: bool
) -> tuple[_Compared | None, F64]:
    """Residuals, weights and derivatives; and the weights for the next time, 0 for what could not be compared."""
    if len(points.lps_mm) < FEWEST_POINTS:
        return None, weights
    moved = points.lps_mm @ motion[:3, :3].T + motion[:3, 3]
    seen = target.at(moved)
    ok = np.isfinite(seen)
    if int(ok.sum()) < FEWEST_POINTS:
        return None, weights
    seen, known, block = seen[ok], points.bone_hu[ok], points.block[ok]
    weight = weights[ok]
    if not robust:
        block, weight = np.zeros(len(seen), np.intp), np.ones(len(seen))
    ground = _Ground.of(points.lps_mm[ok], block, points.blocks if robust else 1, slopes=shaded)
    both = np.column_stack((seen, known))
    residual = gains = seen
    correlation = 0.0
    # Twice: weights move the ground that the weights are from.
    for _ in range(2 if robust else 1):
        off = ground.taken_out(both, weight)
        own, crossed = (np.bincount(block, weight * off[:, 1] * off[:, n], ground.blocks) for n in (1, 0))
        other, whole = float(weight @ off[:, 0] ** 2), float(own.sum())
        correlation = float(crossed.sum()) / math.sqrt(other * whole + 1e-9)
        # Not the regression's gain: away from the match that goes to nothing, and steps to infinity.
        gain = math.sqrt(other / (whole + 1e-9))
        gains = np.full(len(seen), gain)
        if robust and correlation > _OWN_GAIN_FROM:
            prior = _GAIN_PRIOR * whole / ground.blocks
            regressed = (crossed + prior * gain) / (own + prior + 1e-9)
            gains = np.clip(regressed, gain / _GAIN_RANGE, gain * _GAIN_RANGE)[block]
        residual = off[:, 0] - gains * off[:, 1]
        if robust:
            scale = _MAD * float(np.median(np.abs(residual))) + 1e-6
            weight = np.square(np.maximum(0.0, 1.0 - np.square(residual / (_TUKEY * scale))))
    slope = points.gradient[ok] @ motion[:3, :3].T * gains[:, None]
    jacobian = np.concatenate((slope, np.cross(moved[ok] - pivot_lps_mm, slope) * _DEG), axis=1)
    # The ground is estimated beside the motion, so what it explains is taken out of the derivatives too.
    jacobian = ground.taken_out(jacobian, weight)
    following = np.zeros(len(weights))
    following[ok] = weight
    return _Compared(residual, weight, jacobian, block, ground.blocks, correlation), following


@dataclass(frozen=True, slots=True, eq=False)
class _Ground:
    """What a block may have of its own without being elsewhere: brightness, and shading that rises evenly.

    Attributes:
        design: (N, 1 or 4) 1, and the place within the block in units of its size.
    """

    design: F64
    block: npt.NDArray[np.intp]
    blocks: int

    @classmethod
    def of(cls, points_lps_mm: F64, block: npt.NDArray[np.intp], blocks: int, *, slopes: bool) -> _Ground:
        design = np.ones((len(block), 4 if slopes else 1))
        if slopes:
            count = np.maximum(np.bincount(block, minlength=blocks), 1)[:, None]
            middles = _sums(block, points_lps_mm, blocks) / count
            design[:, 1:] = (points_lps_mm - middles[block]) / BLOCK_MM
        return cls(design, block, blocks)

    def taken_out(self, values: F64, weight: F64) -> F64:
        """(N, C) values less their weighted fit in each block."""
        weighted = self.design * weight[:, None]
        width, columns = self.design.shape[1], values.shape[1]
        squares = (weighted[:, :, None] * self.design[:, None, :]).reshape(len(values), -1)
        products = (weighted[:, :, None] * values[:, None, :]).reshape(len(values), -1)
        normal = _sums(self.block, squares, self.blocks).reshape(-1, width, width)
        right = _sums(self.block, products, self.blocks).reshape(-1, width, columns)
        # A few points in a plane hold no slope across it.
        ridge = np.diag([1e-9] + [_SLOPE_PRIOR] * (width - 1))
        fit = np.linalg.solve(normal + ridge, right)
        return np.asarray(values - np.einsum("nw,nwc->nc", self.design, fit[self.block]))


def _normal(compared: _Compared) -> tuple[F64, F64]:
    weighted = compared.jacobian * compared.weight[:, None]
    return weighted.T @ compared.jacobian, weighted.T @ compared.residual


def _sums(block: npt.NDArray[np.intp], values: F64, blocks: int) -> F64:
    """(B, C) sums of (N, C) values by block."""
    return np.stack([np.bincount(block, column, blocks) for column in values.T], axis=1)
