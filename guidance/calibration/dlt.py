"""The direct linear transformation: a projection matrix from labelled points, without any guess."""

from __future__ import annotations

from typing import Final

import numpy as np

from guidance.calibration.view_camera import ViewCamera
from guidance.errors import GeometryError
from guidance.geometry.camera import check_plausible, decomposed, normalised
from guidance.messages import F64

FEWEST: Final = 6


def projection_of(points_mm: F64, places_px: F64) -> F64:
    """Projection matrix with the least algebraic error, points and places normalised first.

    Args:
        points_mm: (N, 3), N >= 6, not in one plane.
        places_px: (N, 2).

    Returns:
        (3, 4), `normalised`: w in mm, positive at the points.

    Raises:
        GeometryError: `too_few_beads`; `not_a_projection` for points in one plane, or places that are no picture.

    Source: Hartley & Zisserman, Multiple View Geometry, 2nd ed., algorithm 7.1.
    """
    if len(points_mm) < FEWEST:
        raise GeometryError(f"{len(points_mm)} beads give no projection", code="too_few_beads", mend="at least 6")
    space, plane = _levelling(points_mm), _levelling(places_px)
    x = np.column_stack((points_mm, np.ones(len(points_mm)))) @ space.T
    u, v, _ = (np.column_stack((places_px, np.ones(len(places_px)))) @ plane.T).T
    rows = np.zeros((2 * len(x), 12))
    rows[0::2, :4], rows[0::2, 8:] = x, -u[:, None] * x
    rows[1::2, 4:8], rows[1::2, 8:] = x, -v[:, None] * x
    _, sizes, right = np.linalg.svd(rows)
    if sizes[10] < 1e-6 * sizes[0]:
        raise GeometryError("the beads seen lie in one plane or line", code="not_a_projection")
    matrix = np.linalg.solve(plane, right[11].reshape(3, 4) @ space)
    return normalised(matrix, points_mm.mean(axis=0))


def camera_of(pixel_from_phantom: F64, focal_ratio: float) -> ViewCamera:
    """The nine numbers nearest to a matrix's eleven.

    Args:
        pixel_from_phantom: (3, 4), `normalised`.
        focal_ratio: fu / fv, row pitch over column pitch.

    Raises:
        GeometryError: `not_a_projection`; `mirrored_picture`.
    """
    parts = decomposed(pixel_from_phantom)
    check_plausible(parts)
    if parts.handedness > 0:
        raise GeometryError("the picture is mirrored", code="mirrored_picture")
    focal_v = (parts.focal_v_px * parts.focal_u_px / focal_ratio) ** 0.5
    return ViewCamera(
        focal_px=(focal_v * focal_ratio, focal_v),
        principal_px=parts.principal_point_px,
        rotation=parts.axes,
        translation_mm=parts.translation_mm,
    )


def _levelling(values: F64) -> F64:
    """Similarity that brings the mean to 0 and the mean distance from it to the square root of the dimension."""
    count = values.shape[1]
    middle = values.mean(axis=0)
    scale = count**0.5 / max(float(np.linalg.norm(values - middle, axis=1).mean()), 1e-12)
    levelling = np.eye(count + 1)
    levelling[:count, :count] *= scale
    levelling[:count, count] = -scale * middle
    return levelling
