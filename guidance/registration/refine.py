"""Gauss-Newton on locally normalised pictures: one pose made better at one resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.kernels.drr import cone_projection
from guidance.messages import F64
from guidance.registration.measure import Agreement, LocalWindow, Normalised, agreement, equations, normalised
from guidance.registration.picture import PreparedView
from guidance.registration.values import small_motion
from guidance.registration.volume import RegistrationVolume

F32 = npt.NDArray[np.float32]

WINDOW_RADIUS_MM: Final = (15.0, 10.0, 6.0)
"""Of the local normalisation, per level: about bone's width, so that what lies far behind or in front drops out."""

_SLOPE_RADIUS_MM: Final = 60.0  # turns are tried by as much as moves this far from the pivot by the tried shift
_DAMPING: Final = (0.01, 0.003, 0.0005)  # per level: a weak direction (depth) needs little, a far start needs more
_OVERSHOOT: Final = (1.2, 1.4, 1.6)  # reweighted squares lie above the robust loss: their steps are short by half
_LONGEST_STEP: Final = 5.0  # mm or deg in one iteration
_MOST_THREADS: Final = 8  # a projection takes a millisecond


@dataclass(frozen=True, slots=True, eq=False)
class ViewLevel:
    """One view at one resolution, ready for comparison."""

    window: LocalWindow
    picture: F32
    step_px: int
    origin_px: float
    pixel_mm: float


@dataclass(slots=True, eq=False)
class Problem:
    """What is to be aligned.

    Attributes:
        volume: projected.
        views: compared with.
        levels: per view, per resolution.
        pivot_lps_mm: (3,) about which is turned.
        threads: for the projections.
        projections: counted.
    """

    volume: RegistrationVolume
    views: tuple[PreparedView, ...]
    levels: tuple[tuple[ViewLevel, ...], ...]
    pivot_lps_mm: F64
    threads: int
    projections: int = field(default=0)

    def projection(self, view: int, level: int, motion: F64, margin_px: int = 0) -> F32:
        """(rows, columns) of a view's projection with the volume moved; wider by a margin on every side."""
        here = self.levels[view][level]
        rows, columns = here.picture.shape
        origin = here.origin_px - margin_px * here.step_px
        self.projections += 1
        stack = cone_projection(
            self.volume.levels[level],
            self.views[view].pixel_from_patient @ motion,
            (rows + 2 * margin_px, columns + 2 * margin_px),
            origin_px=(origin, origin),
            step_px=float(here.step_px),
            threads=self.threads
            if level == len(WINDOW_RADIUS_MM) - 1
            else 1,  # smaller ones end before a thread starts
        )
        picture: F32 = stack[0]
        return picture


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """A pose with its agreement.

    Attributes:
        motion: (4, 4) M.
        similarity: mean of the views.
        loss: mean of the views, lower is better.
    """

    motion: F64
    similarity: float
    loss: float


def problem_of(
    volume: RegistrationVolume, views: Sequence[PreparedView], pivot_lps_mm: F64, threads: int = 1
) -> Problem:
    """Normalise every picture once."""
    levels = []
    for view in views:
        row = []
        for level, radius_mm in zip(view.levels, WINDOW_RADIUS_MM, strict=True):
            window = LocalWindow.of(level.valid, max(2, round(radius_mm / level.pixel_mm)))
            picture = normalised(level.integrals, window).values
            row.append(ViewLevel(window, picture, level.step_px, level.origin_px, level.pixel_mm))
        levels.append(tuple(row))
    return Problem(volume, tuple(views), tuple(levels), pivot_lps_mm, min(max(threads, 1), _MOST_THREADS))


def judged(problem: Problem, motion: F64, level: int) -> tuple[Pose, list[Agreement], list[Normalised]]:
    """The agreement of a pose, and of each view."""
    found, told = [], []
    for view in range(len(problem.views)):
        here = problem.levels[view][level]
        told.append(normalised(problem.projection(view, level, motion), here.window))
        found.append(agreement(here.picture, told[-1], here.window))
    pose = Pose(motion, float(np.mean([one.similarity for one in found])), float(np.mean([one.loss for one in found])))
    return pose, found, told


def slopes_of(problem: Problem, view: int, level: int, motion: F64, found: Agreement, spread: F32) -> F32:
    """(6, rows, columns): change of the fitted projection per mm and per degree of a small motion after M."""
    here = problem.levels[view][level]
    plain = problem.projection(view, level, motion)
    axes, depth_mm = _own_axes(problem, view)
    shift_mm = max(0.5 * here.pixel_mm, 0.3)
    turn_deg = float(np.degrees(shift_mm / _SLOPE_RADIUS_MM))
    # Along the rays a shift only enlarges; tried that small it would drown in the projector's rounding.
    steps = (shift_mm, shift_mm, shift_mm * depth_mm / _SLOPE_RADIUS_MM, turn_deg, turn_deg, turn_deg)
    scale = np.float32(found.gain) / spread
    own = np.empty((6, *plain.shape), np.float32)
    for n, size in enumerate(steps):
        vector = np.zeros(6)
        vector[3 * (n // 3) : 3 * (n // 3) + 3] = size * axes[n % 3]
        moved = problem.projection(view, level, small_motion(vector, problem.pivot_lps_mm) @ motion)
        own[n] = here.window.detail(moved - plain) * (scale * np.float32(1.0 / size))
    to_lps = axes.T.astype(np.float32)
    flat = own.reshape(2, 3, -1)
    return np.asarray(to_lps @ flat, np.float32).reshape(own.shape)


def _own_axes(problem: Problem, view: int) -> tuple[F64, float]:
    """(3, 3) right, down and along the rays of a view as rows, orthonormal; the pivot's distance from the source."""
    prepared = problem.views[view]
    right, depth = prepared.across_mm[0], prepared.depth
    axes = np.stack((right, np.cross(depth, right), depth))
    camera = prepared.pixel_from_patient
    return axes, float(camera[2, :3] @ problem.pivot_lps_mm + camera[2, 3])


def refined(problem: Problem, start: F64, level: int, iterations: int, *, enough: float = 0.02) -> Pose:
    """Make a pose better; the best seen on the way.

    Args:
        enough: mm and deg: a step smaller than that ends it.
    """
    motion = start
    best: Pose | None = None
    for _ in range(iterations):
        pose, found, told = judged(problem, motion, level)
        if best is None or pose.loss < best.loss:
            best = pose
        step = _step(problem, level, motion, found, told)
        motion = small_motion(step, problem.pivot_lps_mm) @ motion
        if float(np.abs(step).max()) < enough:
            break
    pose, _, _ = judged(problem, motion, level)
    return pose if best is None or pose.loss <= best.loss else best


def _step(problem: Problem, level: int, motion: F64, found: list[Agreement], told: list[Normalised]) -> F64:
    matrix, vector = np.zeros((6, 6)), np.zeros(6)
    for view, (one, projection) in enumerate(zip(found, told, strict=True)):
        slopes = slopes_of(problem, view, level, motion, one, projection.spread)
        more_matrix, more_vector = equations(one, slopes)
        matrix += more_matrix
        vector += more_vector
    diagonal = np.diag(matrix)
    if not diagonal.max() > 0.0:
        return np.zeros(6)
    damped = matrix + np.diag(_DAMPING[level] * diagonal + 1e-6 * diagonal.max())
    step = np.asarray(np.linalg.solve(damped, vector), np.float64)
    step *= _OVERSHOOT[level]
    return step / max(1.0, float(np.abs(step).max()) / _LONGEST_STEP)
