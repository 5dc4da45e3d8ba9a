"""Where to begin: turns tried on a grid, shifts found by correlation, the best made better at the coarsest level."""

from __future__ import annotations

from itertools import product
from typing import Final

import cv2
import numpy as np

from guidance.messages import F64
from guidance.registration.measure import LocalWindow, normalised
from guidance.registration.refine import Pose, Problem, refined
from guidance.registration.values import small_motion

TURNS_DEG: Final = (-6.0, 0.0, 6.0)
SHIFT_MM: Final = 12.0
"""Turns about each axis, and the largest shift along each, that are tried around the start."""

_SHIFT_STEP_MM: Final = 3.0
_REACH_MM: Final = 18.0  # of the correlation in the picture: shifts along two axes add up there
_CLIP: Final = 2.0  # of the picture's normalised values: instruments count no more than bone
_FARTHER: Final = 1e-4  # per mm: of equal ones, the nearer to the start


def coarse_starts(problem: Problem, start: F64, count: int) -> list[F64]:
    """The most promising poses around `start`, one per turn, best first."""
    turns = [np.array(turn) for turn in product(TURNS_DEG, repeat=3)]
    shifts = _shifts(problem)
    scores = np.tile(-_FARTHER * np.linalg.norm(shifts, axis=1), (len(turns), 1))
    motions = [small_motion(np.concatenate((np.zeros(3), turn)), problem.pivot_lps_mm) @ start for turn in turns]
    for view, prepared in enumerate(problem.views):
        here = problem.levels[view][0]
        margin = int(np.ceil(_REACH_MM / here.pixel_mm))
        template = np.clip(here.picture, -_CLIP, _CLIP)
        power = float(np.vdot(template, template))
        # Where the volume's shift moves its picture: index into the map of correlations.
        moved = np.rint(shifts @ prepared.across_mm.T / here.pixel_mm).astype(int)
        index = np.clip(margin - moved, 0, 2 * margin)
        shape = (here.picture.shape[0] + 2 * margin, here.picture.shape[1] + 2 * margin)
        window = LocalWindow.of(np.ones(shape, np.float32), here.window.side_px // 2)
        for n, motion in enumerate(motions):
            told = normalised(problem.projection(view, 0, motion, margin), window)
            values = told.values * told.structure
            cross = cv2.matchTemplate(values, template, cv2.TM_CCORR)
            own = cv2.matchTemplate(values * values, here.window.valid, cv2.TM_CCORR)
            similarity = cross / np.sqrt(np.maximum(own, 0.02 * float(own.max()) + 1e-9) * max(power, 1e-9))
            scores[n] += similarity[index[:, 1], index[:, 0]]
    best = scores.argmax(axis=1)
    order = np.argsort(-scores.max(axis=1))[:count]
    return [
        small_motion(np.concatenate((shifts[best[n]], np.zeros(3))), problem.pivot_lps_mm) @ motions[n] for n in order
    ]


def candidates(problem: Problem, start: F64, count: int, iterations: int) -> list[Pose]:
    """Poses refined at the coarsest level, best first."""
    poses = [refined(problem, motion, 0, iterations, enough=0.2) for motion in coarse_starts(problem, start, count)]
    return sorted(poses, key=lambda pose: pose.loss)


def _shifts(problem: Problem) -> F64:
    """(N, 3) mm: all over the box; with one direction of view only across it, for along it nothing is seen."""
    steps = np.arange(-SHIFT_MM, SHIFT_MM + 0.1, _SHIFT_STEP_MM)
    across = np.concatenate([view.across_mm for view in problem.views])
    _, strength, axes = np.linalg.svd(across)
    seen = axes[: int(np.count_nonzero(strength > 0.1))]
    return np.asarray(np.array(list(product(steps, repeat=len(seen)))) @ seen, np.float64)
