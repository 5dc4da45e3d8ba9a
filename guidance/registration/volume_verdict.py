"""Whether a match of two volumes may be used, how far it is off, and how well it is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.messages import F64
from guidance.registration.volume_match import Match

LEAST_BLOCKS: Final = 10
_LEAST_BLOCK_POINTS: Final = 40
_LEAST_INSIDE: Final = 0.1
_LEAST_CORRELATION: Final = 0.65
AGREEING_MM: Final = 1.0
_LEAST_AGREEING: Final = 0.65
_LEAST_CAPTURED: Final = 0.5
_LARGEST_SIGMA_MM: Final = 0.5
_LARGEST_SIGMA_DEG: Final = 0.5
# Interpolation and means over voxels leave this much that the blocks' scatter does not show.
_FLOOR_MM: Final = 0.03
_FLOOR_DEG: Final = 0.02
# Shading and streaks reach over many blocks, so their errors are no scatter: on simulated scans with both, errors are
# 1.7 times what blocks say.
_INFLATION: Final = 3.0
_DEG: Final = math.pi / 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is said of a match.

    Attributes:
        code: "" where it may be used.
        reason: words.
        residual_mm: median over blocks of how far each one's own best place is off; None without blocks.
        agreeing: share of the blocks within `AGREEING_MM`.
    """

    code: str
    reason: str
    residual_mm: float | None = None
    agreeing: float | None = None


def verdict(match: Match | None, covariance: F64 | None, captured: float | None = None) -> Verdict:
    """Judge a match.

    Args:
        match: of the finest level, or of the last that was reached; None where nothing could be compared.
        covariance: (6, 6) of `covariance_of`; None where there is none.
        captured: share of perturbed starts that came back; None: not tested yet.
    """
    if match is None:
        return Verdict(code="too_little_overlap", reason="next to no bone lies in both volumes")
    counted = match.block_points >= _LEAST_BLOCK_POINTS
    blocks = int(counted.sum())
    if blocks < LEAST_BLOCKS or match.inside < _LEAST_INSIDE:
        words = f"bone of {blocks} cubes of 25 mm lies in both volumes, {LEAST_BLOCKS} are needed"
        return Verdict(code="too_little_overlap", reason=words)
    off_mm = np.linalg.norm(match.block_shifts_mm[counted], axis=1)
    residual_mm, agreeing = float(np.median(off_mm)), float((off_mm < AGREEING_MM).mean())
    code, reason = "", f"{blocks} cubes of bone lie {residual_mm:.2f} mm apart (median)"
    if match.correlation < _LEAST_CORRELATION or agreeing < _LEAST_AGREEING:
        code = "not_the_same"
        reason = (
            f"bone does not agree: correlation {match.correlation:.2f}, {100.0 * agreeing:.0f} % of it within "
            f"{AGREEING_MM:g} mm; another patient, another part, or bones that moved against each other"
        )
    elif covariance is None or not _is_tight(covariance):
        code, reason = "not_constrained", "what both volumes show does not hold the motion in every direction"
    elif captured is not None and captured < _LEAST_CAPTURED:
        code, reason = "ambiguous", f"only {100.0 * captured:.0f} % of the perturbed starts came to the same pose"
    return Verdict(code=code, reason=reason, residual_mm=residual_mm, agreeing=agreeing)


def covariance_of(match: Match) -> F64 | None:
    """(6, 6) of a small motion after the match, about the pivot that it was made with; mm and deg.

    Blocks are taken for independent, points in one are not: noise, streaks and interpolation are correlated. None
    where blocks are too few or the motion is not held.

    Source: White, A heteroskedasticity-consistent covariance matrix estimator, Econometrica 48(4), 1980, by clusters.
    """
    blocks = len(match.block_scores)
    if blocks <= LEAST_BLOCKS:
        return None
    try:
        inverse = np.linalg.inv(match.normal)
    except np.linalg.LinAlgError:
        return None
    meat = match.block_scores.T @ match.block_scores * (_INFLATION * blocks / (blocks - 6.0))
    covariance = inverse @ meat @ inverse
    covariance += np.diag([_FLOOR_MM**2] * 3 + [_FLOOR_DEG**2] * 3)
    return covariance if np.isfinite(covariance).all() else None


def moved_covariance(covariance: F64, from_pivot_mm: F64, to_pivot_mm: F64) -> F64:
    """The same small motion's covariance with its shift told at another pivot."""
    x, y, z = ((to_pivot_mm - from_pivot_mm) * _DEG).tolist()
    change = np.eye(6)
    # shift at the new pivot = shift + turn x arm
    change[:3, 3:] = np.array(((0.0, z, -y), (-z, 0.0, x), (y, -x, 0.0)))
    return np.asarray(change @ covariance @ change.T)


def inverted_covariance(covariance: F64, source_from_target: F64) -> F64:
    """Covariance of the inverse motion, about the pivot's image: the small motion seen from the other side."""
    change = np.zeros((6, 6))
    change[:3, :3] = change[3:, 3:] = -source_from_target[:3, :3]
    return np.asarray(change @ covariance @ change.T)


def _is_tight(covariance: F64) -> bool:
    shift, turn = np.linalg.eigvalsh(covariance[:3, :3])[-1], np.linalg.eigvalsh(covariance[3:, 3:])[-1]
    return bool(shift <= _LARGEST_SIGMA_MM**2 and turn <= _LARGEST_SIGMA_DEG**2)
