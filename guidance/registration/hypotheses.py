"""Other explanations of a picture: mirrored, turned, inverted; asked before a pose is believed and where none is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from guidance.messages import F64
from guidance.registration.picture import PreparedView
from guidance.registration.refine import Pose, Problem, ViewLevel, refined
from guidance.registration.residual import agrees, left_over
from guidance.registration.search import candidates

_COARSE_ITERATIONS: Final = 5
_MIDDLE_ITERATIONS: Final = 3
_COUNT: Final = 3


@dataclass(frozen=True, slots=True)
class Lie:
    """A way in which a picture is not what its geometry says.

    Attributes:
        code: of the refusal.
        words: for the reason.
        pixels: (3, 3) from (u, v, 1) as told to (u, v, 1) as it would be, in units of (width, height) - 1.
    """

    code: str
    words: str
    pixels: tuple[tuple[float, float, float], ...]


_LIES: Final = (
    Lie("picture_mirrored", "mirrored left to right", ((-1, 0, 1), (0, 1, 0), (0, 0, 1))),
    Lie("picture_mirrored", "mirrored top to bottom", ((1, 0, 0), (0, -1, 1), (0, 0, 1))),
    Lie("picture_turned", "turned by 180 deg", ((-1, 0, 1), (0, -1, 1), (0, 0, 1))),
    Lie("picture_turned", "turned by 90 deg clockwise", ((0, -1, 1), (1, 0, 0), (0, 0, 1))),
    Lie("picture_turned", "turned by 90 deg counterclockwise", ((0, 1, 0), (-1, 0, 1), (0, 0, 1))),
    Lie("picture_mirrored", "transposed", ((0, 1, 0), (1, 0, 0), (0, 0, 1))),
)


def best_of_search(problem: Problem, start: F64, count: int = _COUNT) -> Pose:
    """The best pose around a start, refined to the middle level."""
    coarse = candidates(problem, start, count, _COARSE_ITERATIONS)
    return refined(problem, coarse[0].motion, 1, _MIDDLE_ITERATIONS)


def mirrored_patient(problem: Problem, start: F64) -> Pose:
    """The best pose of the volume mirrored at the pivot's sagittal plane: what flipped pictures would fit."""
    mirror = np.eye(4)
    mirror[0, 0], mirror[0, 3] = -1.0, 2.0 * problem.pivot_lps_mm[0]
    return best_of_search(problem, start @ mirror)


def inverted(problem: Problem, views: list[int]) -> Problem:
    """The same with some pictures' values turned round."""
    levels = tuple(
        tuple(replace(level, picture=-level.picture) for level in row) if view in views else row
        for view, row in enumerate(problem.levels)
    )
    return Problem(problem.volume, problem.views, levels, problem.pivot_lps_mm, problem.threads)


def alone(problem: Problem, view: int) -> Problem:
    """One of the views."""
    return Problem(
        problem.volume, (problem.views[view],), (problem.levels[view],), problem.pivot_lps_mm, problem.threads
    )


def likeliest_lie(problem: Problem, start: F64, needed: float) -> tuple[Lie, str] | None:
    """Which lie about one of the pictures explains it, with the picture's name; None if none does.

    Args:
        needed: by how much more similar it must make the picture; its tiles must agree beside that.
    """
    best: tuple[float, Lie, str] | None = None
    for view, prepared in enumerate(problem.views):
        upright = best_of_search(alone(problem, view), start, 2).similarity
        for lie in _LIES:
            told = _told(problem, view, lie)
            pose = best_of_search(told, start, 2)
            if pose.similarity > max(upright + needed, best[0] if best else 0.0) and all(
                agrees([left_over(told, pose.motion, 0)], [pose.similarity])
            ):
                best = (pose.similarity, lie, prepared.name)
    return None if best is None else (best[1], best[2])


def _told(problem: Problem, view: int, lie: Lie) -> Problem:
    """One view with the geometry that it would have if that were so."""
    prepared: PreparedView = problem.views[view]
    fine: ViewLevel = problem.levels[view][-1]
    rows, columns = (side * fine.step_px - 1 for side in fine.picture.shape)
    size = np.diag((float(columns), float(rows), 1.0))
    other = size @ np.array(lie.pixels, np.float64) @ np.linalg.inv(size)
    if lie.pixels[0][0] == 0:  # a turn keeps pixels square, about the picture's middle
        middle = np.array((columns / 2.0, rows / 2.0))
        turn = np.array(lie.pixels, np.float64)[:2, :2]
        other = np.eye(3)
        other[:2, :2], other[:2, 2] = turn, middle - turn @ middle
    across = other[:2, :2] @ prepared.across_mm
    changed = replace(prepared, pixel_from_patient=other @ prepared.pixel_from_patient, across_mm=across)
    return Problem(problem.volume, (changed,), (problem.levels[view],), problem.pivot_lps_mm, problem.threads)
