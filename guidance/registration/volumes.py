"""Where a second CBCT or CT lies in the first: rigid, by the edges of bone, refused where it cannot be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from guidance.messages import F64
from guidance.registration.values import IDENTITY, RigidEstimate, small_motion
from guidance.registration.volume_levels import (
    EdgePoints,
    LevelledVolume,
    level_points,
    levelled_volume,
    thinned,
)
from guidance.registration.volume_match import FEWEST_POINTS, Match, refine
from guidance.registration.volume_search import guesses, nearby_turns, upside_down_turns
from guidance.registration.volume_verdict import (
    Verdict,
    covariance_of,
    inverted_covariance,
    moved_covariance,
    verdict,
)

Progress = Callable[[str], None]

_TOLERANCES: Final = (0.05, 0.02, 0.002)  # mm and deg, coarse to fine
_ITERATIONS: Final = (25, 25, 12)  # from the middle level the last takes three to five
_HOPELESS: Final = 0.4  # correlation on the middle level below which nothing comes of the last
_FOLLOWED: Final = 5  # guesses that are followed to the middle level
_FINISHED: Final = 2  # of them, to the end
_SAMPLED_WHOLE: Final = 1.3  # the smaller volume is sampled, but for what is nearly as large

# Perturbed starts: mm and deg, each with its opposite.
_CAPTURE_SHIFT_MM: Final = 10.0
_CAPTURE_TURN_DEG: Final = 8.0
_CAPTURE_STARTS: Final = 8
_SAME_POSE_MM: Final = 1.0  # of the middle level, which is good to a few tenths
_CHECKED_POINTS: Final = 50
_FEW_POINTS: Final = 5000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VolumeRegistration:
    """Where the moving volume lies in the fixed one.

    Attributes:
        accepted, reason, code: as of `values.Registration`.
        fixed_lps_from_moving_lps: (4, 4) M: the point x of the moving volume is the same spot of the patient as the
            point M x of the fixed one. The best that was found, also where refused; the start where nothing was.
        estimate: M with its covariance, pivot in the fixed volume's frame; `seen_lps_from_volume_lps` is M.
        residual_mm: median over blocks of 25 mm of how far each one's own best place is from M's; None where unknown.
        agreeing: share of the blocks that are within 1 mm; what moved otherwise (femora, other vertebrae) is not.
        similarity: correlation at bone's edges after M, 1 = the same.
        overlap: share of the compared edges that lie in both volumes.
        captured: share of the perturbed starts that came to the same pose; None where not tested.
    """

    accepted: bool
    reason: str
    code: str
    estimate: RigidEstimate
    residual_mm: float | None
    agreeing: float | None
    similarity: float | None
    overlap: float | None
    captured: float | None

    @property
    def fixed_lps_from_moving_lps(self) -> F64:
        return self.estimate.seen_lps_from_volume_lps


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """What is sampled (`source`) and what it is held against (`target`), with the source's edges."""

    target: LevelledVolume
    source: LevelledVolume
    points: tuple[EdgePoints, ...]
    few: EdgePoints  # of the middle level

    def approached(self, start: F64) -> Match | None:
        """The way from a start to the middle level: over the coarse level, which sees farther, or without it, for
        streaks of metal are more than bone there; whichever ends better."""
        begins = [np.asarray(start, np.float64)]
        coarse = self._refined(0, self.points[0], begins[0])
        if coarse is not None:
            begins.append(coarse.target_from_source)
        ends = [match for begin in begins if (match := self._refined(1, self.few, begin)) is not None]
        return max(ends, key=closeness, default=None)

    def finished(self, start: F64) -> Match | None:
        """The way from the middle level to the end."""
        match = self._refined(1, self.points[1], start)
        return None if match is None else self._refined(2, self.points[2], match.target_from_source)

    def pivot(self, target_from_source: F64) -> F64:
        """Middle of the source's edges, in the target."""
        middle: F64 = _moved(self.points[-1].lps_mm.mean(axis=0)[None], target_from_source)[0]
        return middle

    def _refined(self, level: int, points: EdgePoints, start: F64) -> Match | None:
        return refine(
            self.target.levels[level],
            points,
            start,
            self.pivot(start),
            robust=level > 0,
            shaded=level == len(self.points) - 1,
            iterations=_ITERATIONS[level],
            tolerance=_TOLERANCES[level],
        )


def closeness(match: Match) -> float:
    """For the choice between matches of one level: correlation counts for little where little overlaps."""
    return match.correlation * float(np.sqrt(match.inside))


def register_volumes(
    fixed_hu: npt.NDArray[Any],
    fixed_lps_from_ijk: F64,
    moving_hu: npt.NDArray[Any],
    moving_lps_from_ijk: F64,
    *,
    start: F64 | None = None,
    pivot_lps_mm: F64 | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> VolumeRegistration:
    """Find the rigid motion between two volumes of one patient.

    Only the edges of bone are compared, each 25 mm cube of the smaller volume with a brightness and contrast of its
    own: CBCTs are off by 100 HU and shaded. Metal and air are left out, outliers lose their weight.

    Args:
        fixed_hu, moving_hu: `[k, j, i]`, HU; any field of view, spacing and orientation.
        fixed_lps_from_ijk, moving_lps_from_ijk: (4, 4), mm.
        start: (4, 4) fixed from moving where it is about known (identity: a shared frame of reference). It is tried
            first, and captures about 20 mm and 15 deg. None, or where that fails: all shifts, turns up to about 40
            deg about any axis, and the same after a half turn (a patient position told wrongly).
        pivot_lps_mm: (3,) of the fixed volume, about which the covariance turns; None: middle of what is compared.
        threads: for the search over all shifts; the rest runs on one.
        progress: told what is being done.

    Returns:
        The registration; refused with a code: `no_structure`, `too_little_overlap`, `not_the_same`, `not_constrained`,
        `ambiguous`.

    Raises:
        GeometryError: `bad_volume`.
    """
    tell = progress or _silent
    tell("reducing volumes")
    fixed = levelled_volume(fixed_hu, np.asarray(fixed_lps_from_ijk, np.float64))
    moving = levelled_volume(moving_hu, np.asarray(moving_lps_from_ijk, np.float64))
    swapped = moving.volume_ml > _SAMPLED_WHOLE * fixed.volume_ml
    target, source = (moving, fixed) if swapped else (fixed, moving)
    points = level_points(source)
    pair = _Pair(target, source, points, thinned(points[1], _FEW_POINTS))
    if min(len(points.lps_mm) for points in (*pair.points, *level_points(target)[:1])) < FEWEST_POINTS:
        return _nothing("no bone's edges in one of the volumes", "no_structure", start, pivot_lps_mm, fixed)
    best: _Found | None = None
    if start is not None:
        tell("refining from the shared frame")
        best = _followed(pair, [_inverse(start) if swapped else np.asarray(start, np.float64)])
    for number, turns in enumerate((nearby_turns(), upside_down_turns())):
        if best is not None and best.verdict.code == "":
            break
        tell("searching all shifts" if number == 0 else "searching all shifts, turned by 180 deg")
        found = _followed(pair, [guess.target_from_source for guess in guesses(target, source, turns, threads=threads)])
        best = found if best is None or found.score > best.score else best
    assert best is not None
    if best.match is None:
        return _nothing(best.verdict.reason, best.verdict.code, start, pivot_lps_mm, fixed)
    tell("testing the capture")
    captured = _captured(pair, best.match) if best.verdict.code == "" else None
    return _answer(best.match, captured, pair, swapped, pivot_lps_mm)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A match of the finest level and what is said of it."""

    match: Match | None
    verdict: Verdict

    @property
    def score(self) -> float:
        """For the choice between several: an accepted one first."""
        if self.match is None:
            return -1.0
        return self.match.correlation * (self.verdict.agreeing or 0.0) + (1.0 if self.verdict.code == "" else 0.0)


def _followed(pair: _Pair, starts: list[F64]) -> _Found:
    """The best that comes of the first few starts."""
    near = [match for start in starts[:_FOLLOWED] if (match := pair.approached(start)) is not None]
    best = _Found(None, verdict(None, None))
    for match in sorted(near, key=closeness, reverse=True)[:_FINISHED]:
        end = match if match.correlation < _HOPELESS else pair.finished(match.target_from_source)
        found = _Found(end, verdict(end, None if end is None else covariance_of(end)))
        best = found if found.score > best.score else best
        if best.verdict.code == "":
            break
    return best


def _captured(pair: _Pair, match: Match) -> float:
    """Share of perturbed starts that come back, told on the middle level."""
    pivot = pair.pivot(match.target_from_source)
    reference = pair.approached(match.target_from_source)
    if reference is None:
        return 0.0
    ends = pair.few.lps_mm[:_CHECKED_POINTS]
    random = np.random.default_rng(1)
    came = 0
    for _ in range(_CAPTURE_STARTS):
        away = random.normal(size=(2, 3))
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        vector = np.concatenate((_CAPTURE_SHIFT_MM * away[0], _CAPTURE_TURN_DEG * away[1]))
        found = pair.approached(small_motion(vector, pivot) @ match.target_from_source)
        if found is not None:
            apart = _moved(ends, found.target_from_source) - _moved(ends, reference.target_from_source)
            came += bool(np.linalg.norm(apart, axis=1).max() < _SAME_POSE_MM)
    return came / _CAPTURE_STARTS


def _answer(
    match: Match, captured: float | None, pair: _Pair, swapped: bool, pivot_lps_mm: F64 | None
) -> VolumeRegistration:
    covariance, motion = covariance_of(match), match.target_from_source
    said = verdict(match, covariance, captured)
    pivot = match.pivot_lps_mm
    told = np.full((6, 6), np.nan) if covariance is None else covariance
    if swapped:
        motion = _inverse(motion)
        told, pivot = inverted_covariance(told, motion), _moved(pivot[None], motion)[0]
    if pivot_lps_mm is not None:
        told, pivot = moved_covariance(told, pivot, pivot_lps_mm), np.asarray(pivot_lps_mm, np.float64)
    return VolumeRegistration(
        accepted=said.code == "",
        reason=said.reason,
        code=said.code,
        estimate=RigidEstimate(seen_lps_from_volume_lps=motion, pivot_lps_mm=pivot, covariance=told),
        residual_mm=said.residual_mm,
        agreeing=said.agreeing,
        similarity=match.correlation,
        overlap=match.inside,
        captured=captured,
    )


def _nothing(
    reason: str, code: str, start: F64 | None, pivot_lps_mm: F64 | None, fixed: LevelledVolume
) -> VolumeRegistration:
    return VolumeRegistration(
        accepted=False,
        reason=reason,
        code=code,
        estimate=RigidEstimate(
            seen_lps_from_volume_lps=IDENTITY if start is None else np.asarray(start, np.float64),
            pivot_lps_mm=fixed.center_lps_mm if pivot_lps_mm is None else np.asarray(pivot_lps_mm, np.float64),
            covariance=np.full((6, 6), np.nan),
        ),
        residual_mm=None,
        agreeing=None,
        similarity=None,
        overlap=None,
        captured=None,
    )


def _moved(points_lps_mm: F64, motion: F64) -> F64:
    return np.asarray(points_lps_mm @ motion[:3, :3].T + motion[:3, 3])


def _inverse(motion: F64) -> F64:
    return np.asarray(np.linalg.inv(motion), np.float64)


def _silent(what: str) -> None:
    """Nobody wants to know."""
