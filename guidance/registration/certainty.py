"""How well a pose is known, and the last step to it: what shifts a pose without leaving anything over is let vary."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from guidance.kernels.drr import cone_projection
from guidance.messages import F64
from guidance.registration.measure import Normalised
from guidance.registration.refine import Pose, Problem, judged, slopes_of
from guidance.registration.values import small_motion

F32 = npt.NDArray[np.float32]

_BLUR_PX: Final = 1.0
_APPEARANCES: Final = 3
_PRIOR: Final = 1e-3  # of its own information: an appearance that looks like another one stays small
_CLUSTER_MM: Final = 24.0
# Measured over seven volumes (docs/decisions/0016). What no appearance explains: anatomy outside of the volume.
_UNTOLD: Final = 1.4
# Partial volume at a threshold shifts bone on a grid of 2 mm by 0.05 to 0.15 mm, the same in every picture.
_VOXEL_SHARE: Final = 0.025
_LEAST_INFORMATION: Final = 1e-6  # relative: below it a step would go anywhere
_LONGEST_STEP: Final = 3.0  # mm or deg: more than what appearances can do


def settled(problem: Problem, motion: F64, level: int) -> tuple[Pose, F64]:
    """A refined pose with what its pictures look like let vary as well, and its covariance.

    Bone in the volume is never quite the bone of the picture: blurred by another kernel, hardened by the beam, fatter
    or thinner by its threshold. In one view fatter bone looks like nearer bone. So each view gets three more unknowns
    (blur, the projection's square, a higher threshold), one Gauss-Newton step is made in all of them, and the pose's
    covariance is what is left after they have taken their share: nuisance parameters. Neighbouring pixels err
    together, so squares are summed over tiles, not over pixels: the sandwich estimate of clustered residuals (Liang
    and Zeger, Biometrika 73, 1986), with the robust loss's own curvature. The volume's voxels add a shift of their own,
    which no picture can show.

    Args:
        motion: (4, 4) M, refined at `level`.
        level: of the pictures.

    Returns:
        The pose, and (6, 6) of a small motion after M; very large where the pictures do not tell a direction.
    """
    _, found, told = judged(problem, motion, level)
    unknowns = 6 + _APPEARANCES * len(problem.views)
    bread, filling, pull = np.zeros((unknowns, unknowns)), np.zeros((unknowns, unknowns)), np.zeros(unknowns)
    tiles = 0
    for view, (one, projection) in enumerate(zip(found, told, strict=True)):
        slopes = np.concatenate(
            (
                slopes_of(problem, view, level, motion, one, projection.spread),
                _appearances(problem, view, level, motion, one.gain, projection),
            )
        )
        flat = slopes.reshape(len(slopes), -1)
        first = 6 + _APPEARANCES * view
        own = np.concatenate((np.arange(6), np.arange(first, first + _APPEARANCES)))
        bread[np.ix_(own, own)] += (flat * one.curvature.ravel()) @ flat.T
        side = max(1, round(_CLUSTER_MM / problem.levels[view][level].pixel_mm))
        sums = _tile_sums(slopes * (one.weight * one.left_over), side)
        filling[np.ix_(own, own)] += sums @ sums.T
        pull[own] += sums.sum(axis=1)
        tiles += int(np.count_nonzero(np.abs(sums).sum(axis=0)))
    diagonal = np.abs(np.diag(bread))
    bread[range(6, unknowns), range(6, unknowns)] += _PRIOR * diagonal[6:]
    # In units of each parameter's own information, so that mm and degrees condition alike.
    scale = np.sqrt(np.maximum(diagonal, 1e-30))
    values, vectors = np.linalg.eigh(bread / np.outer(scale, scale))
    inverse = (vectors / np.maximum(values, 1e-9)) @ vectors.T / np.outer(scale, scale)
    freedom = tiles / max(tiles - float(unknowns), 1.0)
    covariance = (_UNTOLD**2 * freedom * inverse @ filling @ inverse)[:6, :6]
    voxel = _VOXEL_SHARE * problem.volume.voxel_lps_mm
    covariance[:3, :3] += voxel @ voxel.T
    step = (inverse @ pull)[:6]
    if not (float(values[0]) > _LEAST_INFORMATION and float(np.abs(step).max()) < _LONGEST_STEP):
        step = np.zeros(6)
    pose, _, _ = judged(problem, small_motion(step, problem.pivot_lps_mm) @ motion, level)
    return pose, np.asarray((covariance + covariance.T) / 2.0, np.float64)


def _appearances(problem: Problem, view: int, level: int, motion: F64, gain: float, told: Normalised) -> F32:
    """(3, rows, columns): change of the fitted projection with blur, hardening and a higher threshold of bone."""
    here = problem.levels[view][level]
    plain = problem.projection(view, level, motion)
    dense = cone_projection(
        problem.volume.dense,
        problem.views[view].pixel_from_patient @ motion,
        plain.shape,
        origin_px=(here.origin_px, here.origin_px),
        step_px=float(here.step_px),
        threads=problem.threads,
    )[0]
    problem.projections += 1
    largest = np.float32(max(float(plain.max()), 1e-9))
    changes = (cv2.GaussianBlur(plain, (0, 0), _BLUR_PX) - plain, plain * plain / largest, dense - plain)
    scale = np.float32(gain) / told.spread
    return np.stack([here.window.detail(np.asarray(change, np.float32)) * scale for change in changes])


def _tile_sums(values: F32, side: int) -> F64:
    """(N, tiles) sums over squares of `side` pixels."""
    rows = np.add.reduceat(values, np.arange(0, values.shape[1], side), axis=1)
    both = np.add.reduceat(rows, np.arange(0, values.shape[2], side), axis=2)
    return np.asarray(both.reshape(len(values), -1), np.float64)
