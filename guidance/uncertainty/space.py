"""Uncertainty in space: how far off a place in the patient may be that the told geometry and registration speak of."""

from __future__ import annotations

from typing import Final

import numpy as np

from guidance.messages import F64
from guidance.uncertainty.band import SIGMAS_95
from guidance.uncertainty.values import PoseUncertainty


def place_covariance_mm2(points_lps_mm: F64, uncertainty: PoseUncertainty) -> F64:
    """(N, 3, 3) covariance of where points of the volume are beside where they are told to be, patient LPS.

    With it belongs what a picture does not show: a registration from one view leaves the way along its rays open, and
    here that is said in full. The picture's own parts (principal point, focal length) move nothing in space.

    Args:
        points_lps_mm: (N, 3).
    """
    arm = np.radians(points_lps_mm - np.array(uncertainty.pivot_lps_mm))
    jacobian = np.zeros((len(arm), 3, 6))
    jacobian[:, :, :3] = np.eye(3)
    # turn x arm, as a matrix on the turn
    jacobian[:, 0, 4], jacobian[:, 0, 5] = arm[:, 2], -arm[:, 1]
    jacobian[:, 1, 3], jacobian[:, 1, 5] = -arm[:, 2], arm[:, 0]
    jacobian[:, 2, 3], jacobian[:, 2, 4] = arm[:, 1], -arm[:, 0]
    covariance: F64 = jacobian @ uncertainty.covariance[:6, :6] @ jacobian.transpose(0, 2, 1)
    return covariance


def half_width_mm(points_lps_mm: F64, directions: F64, uncertainty: PoseUncertainty) -> F64:
    """(N,) 95 % half-width of each point's place along a direction, as along a ray or along an instrument.

    Args:
        directions: (N, 3) or (3,), of any length.
    """
    unit = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    unit = np.broadcast_to(unit, points_lps_mm.shape)
    covariance = place_covariance_mm2(points_lps_mm, uncertainty)
    widths: F64 = SIGMAS_95 * np.sqrt(np.maximum(np.einsum("ni,nij,nj->n", unit, covariance, unit), 0.0))
    return widths


def sphere_mm(points_lps_mm: F64, uncertainty: PoseUncertainty) -> F64:
    """(N,) radius of the ball around each point that holds its true place with 95 %.

    Source: of a sum of weighted squares of normal deviates, its two first moments' gamma distribution, with the
        Wilson-Hilferty approximation of its quantile; within 2 % of the exact radius (test).
    """
    eigenvalues = np.maximum(np.linalg.eigvalsh(place_covariance_mm2(points_lps_mm, uncertainty)), 0.0)
    mean, spread = eigenvalues.sum(axis=1), (eigenvalues**2).sum(axis=1)
    freedom = np.divide(mean**2, spread, out=np.ones_like(mean), where=spread > 0.0)
    scale = 2.0 / (9.0 * freedom)
    quantile = mean * (1.0 - scale + _ONE_SIDED_95 * np.sqrt(scale)) ** 3
    radius: F64 = np.sqrt(quantile)
    return radius


_ONE_SIDED_95: Final = 1.644854
