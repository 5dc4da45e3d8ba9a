"""A pose and whether it may be believed: agreement of each view, rivals, capture, mirrored patient, covariance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.messages import F64
from guidance.registration.certainty import settled
from guidance.registration.hypotheses import alone, best_of_search, inverted, mirrored_patient
from guidance.registration.refine import Pose, Problem, judged, refined
from guidance.registration.residual import LEAST_SIMILARITY, LeftOver, agrees, left_over
from guidance.registration.search import candidates
from guidance.registration.values import motion_vector, small_motion

Progress = Callable[[float], None]
"""Told the share that is done, 0 to 1."""

_STARTS: Final = 6
_COARSE_ITERATIONS: Final = 6
_MIDDLE_ITERATIONS: Final = 4
_FINE_ITERATIONS: Final = 4
_SAME_MM: Final = 2.5  # seen distance, after the middle level
_OTHER_MM: Final = 5.0  # from there on it is another pose

_LEAST_CAPTURED: Final = 0.5
MIRROR_LEAD: Final = 0.04  # by which a mirrored patient may not be more similar
_RIVAL: Final = 0.92  # of the best one's similarity: another pose as good as this makes it ambiguous
_LARGEST_SPREAD_MM: Final = 1.5  # one standard deviation, as seen
_LARGEST_SHIFT_MM: Final = 25.0
_LARGEST_TURN_DEG: Final = 18.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not: a stable code and words."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The best pose with all that speaks for and against it.

    Attributes:
        pose: at the finest level.
        covariance: (6, 6).
        tiles: per view.
        captured: None where it was not worth testing.
        refusal: None: it may be believed.
        symmetric: a mirrored patient fits as well.
    """

    pose: Pose
    covariance: F64
    tiles: list[LeftOver]
    captured: float | None
    refusal: Refusal | None
    symmetric: bool


def found_pose(problem: Problem, start: F64, tell: Progress) -> Found:
    """Search around a start, refine, and judge."""
    coarse = candidates(problem, start, _STARTS, _COARSE_ITERATIONS)
    tell(0.3)
    distinct: list[Pose] = []
    for pose in coarse:
        if all(seen_distance_mm(problem, pose.motion, other.motion) > _OTHER_MM for other in distinct):
            distinct.append(pose)
    middle = sorted(
        (refined(problem, pose.motion, 1, _MIDDLE_ITERATIONS) for pose in distinct[:2]), key=lambda pose: pose.loss
    )
    tell(0.5)
    best, covariance = settled(problem, refined(problem, middle[0].motion, 2, _FINE_ITERATIONS).motion, 2)
    tell(0.7)
    tiles = [left_over(problem, best.motion, view) for view in range(len(problem.views))]
    middle_pose, agreements, _ = judged(problem, best.motion, 1)
    upright = middle_pose.similarity
    refusal = _disagreement(problem, [one.similarity for one in agreements], tiles)
    if refusal is not None:
        return Found(best, covariance, tiles, None, refusal, symmetric=False)
    rivals = [
        pose
        for pose in middle[1:]
        if seen_distance_mm(problem, pose.motion, middle[0].motion) > _OTHER_MM
        and pose.similarity > _RIVAL * middle[0].similarity
    ]
    captured = _captured(problem, best.motion)
    tell(0.85)
    mirrored = mirrored_patient(problem, start).similarity
    vector = motion_vector(best.motion @ np.linalg.inv(start), problem.pivot_lps_mm)
    spread = seen_spread_mm(problem, covariance)
    if mirrored > upright + MIRROR_LEAD:
        refusal = Refusal(
            "picture_mirrored",
            f"a patient mirrored left to right fits better (similarity {mirrored:.2f}, not {upright:.2f})",
        )
    elif rivals:
        refusal = Refusal("ambiguous_pose", "two different poses fit equally well")
    elif captured < _LEAST_CAPTURED:
        refusal = Refusal("poorly_captured", f"only {captured:.0%} of the starts around the pose came back to it")
    elif np.linalg.norm(vector[:3]) > _LARGEST_SHIFT_MM or np.linalg.norm(vector[3:]) > _LARGEST_TURN_DEG:
        refusal = Refusal("out_of_range", "the best pose lies outside of what was searched")
    elif not spread <= _LARGEST_SPREAD_MM:
        refusal = Refusal("uncertain", f"the pictures tell the pose to no better than {spread:.1f} mm")
    return Found(best, covariance, tiles, captured, refusal, symmetric=mirrored > upright - MIRROR_LEAD)


def seen_distance_mm(problem: Problem, a: F64, b: F64) -> float:
    """How far apart two poses put points 40 mm around the pivot, as the views see it: across their rays, mean."""
    offsets = np.concatenate((np.eye(3), -np.eye(3))) * 40.0
    motion = b @ np.linalg.inv(a)
    points = problem.pivot_lps_mm + offsets
    moved = points @ motion[:3, :3].T + motion[:3, 3] - points
    return float(np.mean([np.linalg.norm(moved @ view.across_mm.T, axis=1) for view in problem.views]))


def _disagreement(problem: Problem, similarities: list[float], tiles: list[LeftOver]) -> Refusal | None:
    good = agrees(tiles, similarities)
    if all(good):
        return None
    if not any(len(one.shifts_mm) for one in tiles):
        return Refusal("no_structure", "where the volume is projected to, the pictures show nothing to compare")
    shares = ", ".join(f"{one.agreeing:.0%} of {view.name}" for one, view in zip(tiles, problem.views, strict=True))
    if any(good):
        return Refusal("views_disagree", f"no one pose fits all pictures: {shares} agrees with the volume")
    return Refusal(
        "no_agreement",
        f"pictures and volume do not fit ({shares} agrees): another patient, another volume, or moved by more than is "
        "searched",
    )


def _captured(problem: Problem, motion: F64) -> float:
    """Share of starts around a pose that come back to it through the coarsest and the middle level.

    The starts are fixed: the corners of two simplices, 4 mm and 3 deg along each axis, which is seen as 6 mm.
    """
    signs = np.array(
        [[1, 1, 1, 1, 1, 1], [-1, 1, -1, 1, -1, 1], [1, -1, -1, -1, 1, -1], [-1, -1, 1, 1, 1, -1],
         [1, 1, -1, -1, -1, 1], [-1, 1, 1, -1, -1, -1], [1, -1, 1, 1, -1, -1], [-1, -1, -1, -1, 1, 1]]
    )  # fmt: skip
    back = 0
    for sign in signs:
        away = small_motion(sign * np.array((4.0, 4.0, 4.0, 3.0, 3.0, 3.0)), problem.pivot_lps_mm) @ motion
        again = refined(problem, away, 0, 5, enough=0.2)
        again = refined(problem, again.motion, 1, 3, enough=0.1)
        back += seen_distance_mm(problem, motion, again.motion) < _SAME_MM
    return back / len(signs)


def inverted_views(problem: Problem, start: F64) -> list[int]:
    """Views that fit clearly better with their values turned round."""
    against = []
    for view in range(len(problem.views)):
        one = alone(problem, view)
        as_told = best_of_search(one, start)
        turned = best_of_search(inverted(one, [0]), start)
        if turned.similarity > max(LEAST_SIMILARITY, 1.5 * as_told.similarity):
            against.append(view)
    return against


def seen_spread_mm(problem: Problem, covariance: F64) -> float:
    """Largest standard deviation of the pivot as any of the views sees it."""
    shift = covariance[:3, :3]
    largest = [np.linalg.eigvalsh(view.across_mm @ shift @ view.across_mm.T)[-1] for view in problem.views]
    return float(np.sqrt(max(largest)))
