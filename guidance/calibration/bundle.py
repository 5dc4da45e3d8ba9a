"""Bundle adjustment: all views' cameras and the beads' true places at once, with a robust loss, and its covariance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.calibration.bundle_problem import LabelledView, Problem, State
from guidance.calibration.view_camera import ViewCamera
from guidance.messages import F64

_PASSES: Final = 2  # of finding the unit of the shadows' sigmas
_OUTLIER: Final = 6.0  # sigmas beyond which a shadow is no picture of its bead
_FEWEST: Final = 8

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bundle:
    """What came of it.

    Attributes:
        cameras: one per view, phantom's frame.
        points_mm: (N, 3) beads as the pictures show them, held to their told places by the phantom's tolerance.
        residuals_px: per view (M, 2), measured less predicted.
        inliers: per view (M,) bool.
        sigma_unit: factor by which the shadows' sigmas had to grow to explain the residuals.
        covariances: per view (9, 9) of `ViewCamera.moved`'s numbers; the beads' doubt is in it.
        rounds: of Gauss and Newton.
    """

    cameras: tuple[ViewCamera, ...]
    points_mm: F64
    residuals_px: tuple[F64, ...]
    inliers: tuple[Mask, ...]
    sigma_unit: float
    covariances: tuple[F64, ...]
    rounds: int


def adjusted(
    views: Sequence[LabelledView],
    points_mm: F64,
    radii_mm: F64,
    tolerance_mm: float,
    *,
    share_focal: bool = False,
) -> Bundle:
    """Adjust all views at once (Levenberg-Marquardt on the normal equations, views eliminated by their blocks).

    Args:
        points_mm: (N, 3) as told.
        tolerance_mm: standard deviation of each told coordinate.
        share_focal: views of one group have the same focal length.

    Returns:
        The adjustment; its frame is that of the told places, which the tolerance holds it to.

    Source: Triggs et al., Bundle Adjustment - A Modern Synthesis, 2000 (section 6, Schur complement; section 4, robust
        cost); Huber, Robust Statistics, 1981.
    """
    unit = 1.0
    problem = Problem(views, points_mm, radii_mm, tolerance_mm, share_focal)
    state = State(_starts(views, share_focal), points_mm.copy())
    rounds = 0
    for _ in range(_PASSES):
        state, done = problem.descended(state, unit)
        rounds += done
        unit = problem.sigma_unit(state)
    # Huber's loss bounds an outlier's pull but keeps it: what is no picture of its bead goes before the last descent.
    cleaned = [
        _kept(view, inlier) for view, inlier in zip(views, _inliers(views, problem.residuals(state), unit), strict=True)
    ]
    clean = Problem(cleaned, points_mm, radii_mm, tolerance_mm, share_focal)
    state, done = clean.descended(state, unit)
    unit = clean.sigma_unit(state)
    residuals = problem.residuals(state)
    return Bundle(
        cameras=state.cameras,
        points_mm=state.points_mm,
        residuals_px=tuple(residuals),
        inliers=tuple(_inliers(views, residuals, unit)),
        sigma_unit=unit,
        covariances=clean.covariances(state, unit),
        rounds=rounds + done,
    )


def _starts(views: Sequence[LabelledView], share_focal: bool) -> tuple[ViewCamera, ...]:
    """Where to begin: each view's own camera, with its group's middle focal length where that is shared."""
    cameras = tuple(view.camera for view in views)
    if not share_focal:
        return cameras
    focal = np.array([camera.focal_px for camera in cameras])
    groups = np.array([view.focal_group for view in views])
    middles = [np.median(focal[groups == group], axis=0).tolist() for group in groups]
    return tuple(replace(camera, focal_px=(u, v)) for camera, (u, v) in zip(cameras, middles, strict=True))


def _inliers(views: Sequence[LabelledView], residuals: Sequence[F64], unit: float) -> list[Mask]:
    return [
        np.asarray(np.linalg.norm(residual, axis=1) < _OUTLIER * unit * view.sigma_px, np.bool_)
        for residual, view in zip(residuals, views, strict=True)
    ]


def _kept(view: LabelledView, inlier: Mask) -> LabelledView:
    if inlier.all() or np.count_nonzero(inlier) < _FEWEST:
        return view
    return replace(view, beads=view.beads[inlier], places_px=view.places_px[inlier], sigma_px=view.sigma_px[inlier])
