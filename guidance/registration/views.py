"""2D/3D registration: where a volume is seen in radiographs with told geometry, or why that cannot be told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from guidance.errors import GeometryError
from guidance.messages import F64
from guidance.registration.hypotheses import inverted, likeliest_lie
from guidance.registration.picture import checked_matrix, checked_pixels, prepared
from guidance.registration.refine import Problem, problem_of
from guidance.registration.values import IDENTITY, Registration, RegistrationView, RigidEstimate
from guidance.registration.verdict import (
    MIRROR_LEAD,
    Found,
    Progress,
    Refusal,
    found_pose,
    inverted_views,
    seen_spread_mm,
)
from guidance.registration.volume import RegistrationVolume

MAXIMUM_VIEWS: Final = 8


def register_views(
    volume: RegistrationVolume,
    views: Sequence[RegistrationView],
    *,
    pivot_lps_mm: F64 | None = None,
    threads: int = 1,
    start: F64 = IDENTITY,
    progress: Progress | None = None,
) -> Registration:
    """Find M such that a volume point x is seen where the told geometry puts M x.

    Searched is all within 12 mm along and 9 deg about each axis around `start`. One view sees no depth: along its
    rays M is known no better than its covariance says, and that is large.

    Args:
        volume: `registration_volume`.
        views: one to eight, all of the patient in one position.
        pivot_lps_mm: (3,) about which the covariance's turns are; None: where the views' central rays meet the volume.
        threads: for projections.
        start: (4, 4) around which is searched.
        progress: told how far it is.

    Returns:
        Accepted, or refused with a reason and a code: `no_views`, `too_many_views`, `bad_start`, `bad_picture`,
        `bad_geometry`, `pivot_behind_source`, `no_structure`, `volume_not_in_picture`, `no_agreement`,
        `views_disagree`, `picture_mirrored`, `picture_turned`, `ambiguous_pose`, `poorly_captured`, `out_of_range`,
        `uncertain`. Never raises for what a peer sent.

    Source: local normalisation as in Penney et al., IEEE TMI 17(4), 1998 (the measures that lost: docs/decisions/0016).
    """
    tell = progress or (lambda _: None)
    pivot = np.zeros(3)
    try:
        start = _checked_start(start)
        if not views:
            raise GeometryError("no picture to register with", code="no_views")
        if len(views) > MAXIMUM_VIEWS:
            raise GeometryError(f"{len(views)} pictures are more than {MAXIMUM_VIEWS}", code="too_many_views")
        pivot = _pivot(volume, views, start) if pivot_lps_mm is None else np.asarray(pivot_lps_mm, np.float64)
        if pivot.shape != (3,) or not np.isfinite(pivot).all():
            raise GeometryError("the pivot is not a point", code="bad_start")
        ready = [prepared(view, pivot) for view in views]
        problem = problem_of(volume, ready, pivot, threads)
        _check_in_picture(problem, start)
    except GeometryError as error:
        return _nothing(error.code, str(error), start, pivot)
    tell(0.1)
    found = found_pose(problem, start, tell)
    note = ""
    if found.refusal is not None and found.refusal.code in ("no_agreement", "views_disagree"):
        against = inverted_views(problem, start)
        if against:
            names = " and ".join(problem.views[view].name for view in against)
            again = inverted(problem, against)
            second = found_pose(again, start, tell)
            again.projections += problem.projections
            if second.refusal is None:
                problem, found = again, second
                note = f"; the values of {names} run against the told sign"
    refusal = found.refusal
    if refusal is not None and refusal.code in ("no_agreement", "views_disagree"):
        lie = likeliest_lie(problem, start, MIRROR_LEAD)
        if lie is not None:
            refusal = Refusal(lie[0].code, f"{lie[1]} fits only {lie[0].words}")
    tell(1.0)
    return _registration(problem, found, refusal, note)


def _registration(problem: Problem, found: Found, refusal: Refusal | None, note: str) -> Registration:
    shifts_mm = np.concatenate([one.shifts_mm for one in found.tiles])
    residual_mm = float(np.median(np.linalg.norm(shifts_mm, axis=1))) if len(shifts_mm) else None
    pixel_mm = float(np.mean([view.pixel_mm for view in problem.views]))
    if refusal is None:
        spread = seen_spread_mm(problem, found.covariance)
        depth = float(np.sqrt(np.linalg.eigvalsh(found.covariance[:3, :3])[-1]))
        reason = f"fits to {residual_mm:.1f} mm, known to {spread:.2f} mm as seen"
        if depth > max(1.0, 3.0 * spread):
            reason += f", along the rays only to {depth:.1f} mm"
        if found.symmetric:
            reason += "; a mirrored patient would fit as well: left and right are not verified by it"
        reason += note
    else:
        reason = refusal.reason
    return Registration(
        accepted=refusal is None,
        reason=reason,
        code=refusal.code if refusal else "",
        estimate=RigidEstimate(
            seen_lps_from_volume_lps=found.pose.motion,
            pivot_lps_mm=problem.pivot_lps_mm,
            covariance=found.covariance,
        ),
        residual_px=None if residual_mm is None else residual_mm / pixel_mm,
        residual_mm=residual_mm,
        similarity=found.pose.similarity,
        captured=found.captured,
        projections=problem.projections,
    )


def _nothing(code: str, reason: str, start: F64, pivot: F64) -> Registration:
    """A refusal before anything was compared."""
    usable = np.shape(start) == (4, 4) and bool(np.isfinite(start).all())
    return Registration(
        accepted=False,
        reason=reason,
        code=code,
        estimate=RigidEstimate(
            seen_lps_from_volume_lps=start if usable else IDENTITY,
            pivot_lps_mm=pivot if np.isfinite(pivot).all() and pivot.shape == (3,) else np.zeros(3),
            covariance=np.full((6, 6), np.inf),
        ),
        residual_px=None,
        residual_mm=None,
        similarity=None,
        captured=None,
        projections=0,
    )


def _checked_start(start: F64) -> F64:
    start = np.asarray(start, np.float64)
    rigid = start.shape == (4, 4) and bool(np.isfinite(start).all())
    if rigid:
        turn = start[:3, :3]
        rigid = bool(np.abs(turn @ turn.T - np.eye(3)).max() < 1e-3 and np.linalg.det(turn) > 0.0)
    if not rigid or not np.allclose(start[3], (0.0, 0.0, 0.0, 1.0)):
        raise GeometryError("the start is not a rigid motion", code="bad_start")
    return start


def _pivot(volume: RegistrationVolume, views: Sequence[RegistrationView], start: F64) -> F64:
    """Nearest to all central rays, and along them to the middle of what casts shadows."""
    middle = start[:3, :3] @ volume.center_lps_mm + start[:3, 3]
    matrix, vector = 1e-3 * np.eye(3), 1e-3 * middle
    for view in views:
        camera = checked_matrix(view)
        rows, columns = checked_pixels(view).shape
        inverse = np.linalg.inv(camera[:, :3])
        source = -inverse @ camera[:, 3]
        ray = inverse @ ((columns - 1) / 2.0, (rows - 1) / 2.0, 1.0)
        ray /= np.linalg.norm(ray)
        across = np.eye(3) - np.outer(ray, ray)
        matrix += across
        vector += across @ source
    pivot = np.asarray(np.linalg.solve(matrix, vector), np.float64)
    reach_mm = float(np.linalg.norm(volume.box_lps_mm - volume.center_lps_mm, axis=1).max())
    return pivot if float(np.linalg.norm(pivot - middle)) < reach_mm else middle


def _check_in_picture(problem: Problem, start: F64) -> None:
    names = []
    for view, prepared_view in enumerate(problem.views):
        projection = problem.projection(view, 0, start, margin_px=4)
        if float((projection > 0.0).mean()) < 0.02:
            names.append(prepared_view.name)
    if names:
        raise GeometryError(f"the volume is not projected into {' and '.join(names)}", code="volume_not_in_picture")
