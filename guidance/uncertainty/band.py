"""Uncertainty on the picture: how far off what is drawn may lie, 95 %, in px and in mm at its depth; draws nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.geometry.camera import determinant, source_of
from guidance.geometry.tube import NEAREST_MM
from guidance.messages import F64
from guidance.uncertainty.values import NUMBERS, PoseUncertainty

SIGMAS_95: Final = 1.959964
"""Half the width, in standard deviations, that holds 95 % of a normal distribution."""

# Radius of the disc that holds 95 % of a normal distribution in the plane, in its larger standard deviation, by the
# smaller one over it: roots of the integral, found by bisection. Straight lines between them are within 0.13 %.
_DISC_RATIO: Final = np.linspace(0.0, 1.0, 11)
_DISC_SIGMAS: Final = np.array(
    (1.95996, 1.96253, 1.97041, 1.98420, 2.00514, 2.03586, 2.08130, 2.14598, 2.23029, 2.33180, 2.44775)
)
_RAD_PER_DEG: Final = math.pi / 180.0
_END_ON_PX: Final = 1e-3  # a path that is seen shorter than this has no across


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PathBands:
    """95 % bands of N paths at K points each, evenly from entry to target.

    Attributes:
        center_px: (N, K, 2) u, v.
        depth_mm: (N, K) w.
        across_px, along_px: (N, K) half-widths across and along the path as it is seen, each of 95 % by itself.
        across_mm: (N, K) the same across, at that depth.
        disc_mm: (N, K) radius of the disc that holds 95 %, at that depth: what counts where the path is seen end on.
        focal_px: geometric mean of the focal lengths, as tubes are drawn with.
        source_lps_mm: (3,).
        way: (N, 2) unit vector along the path in the picture, from the entry's end; (0, -1) where it is seen end on.
        known: False for a path of which some is behind the source or nearer to it than `NEAREST_MM`; its numbers mean
            nothing then.
    """

    center_px: F64
    depth_mm: F64
    across_px: F64
    along_px: F64
    across_mm: F64
    disc_mm: F64
    focal_px: float
    source_lps_mm: F64
    way: F64
    known: tuple[bool, ...]


def picture_covariance_px(points_lps_mm: F64, pixel_from_patient: F64, uncertainty: PoseUncertainty) -> F64:
    """(N, 2, 2) covariance of where points fall on the picture, px^2, to first order.

    Args:
        points_lps_mm: (N, 3), of the volume, in front of the source.
        pixel_from_patient: (3, 4) as trusted: w in mm along the central ray.
    """
    uvw = points_lps_mm @ pixel_from_patient[:, :3].T + pixel_from_patient[:, 3]
    return _covariance_px(points_lps_mm, uvw, pixel_from_patient, uncertainty)


def band_mm(points_lps_mm: F64, pixel_from_patient: F64, uncertainty: PoseUncertainty) -> F64:
    """(N,) radius, mm at each point's depth, of the disc around where it is drawn that holds 95 % of where it is.

    Across a path, which is what its band shows, 95 % need less: `path_bands`.

    Args:
        points_lps_mm: (N, 3), of the volume; NaN for those behind the source.
        pixel_from_patient: (3, 4) as trusted.
    """
    uvw = points_lps_mm @ pixel_from_patient[:, :3].T + pixel_from_patient[:, 3]
    uvw[:, 2] = np.where(uvw[:, 2] > NEAREST_MM, uvw[:, 2], np.nan)
    covariance = _covariance_px(points_lps_mm, uvw, pixel_from_patient, uncertainty)
    per_px = uvw[:, 2:] / np.array(_focal_px(pixel_from_patient))
    return disc_radius(covariance[:, 0, 0], covariance[:, 1, 1], covariance[:, 0, 1], per_px[:, 0], per_px[:, 1])


def path_bands(entries_mm: F64, targets_mm: F64, pixel_from_patient: F64, uncertainty: PoseUncertainty) -> PathBands:
    """Bands of paths on one picture.

    Args:
        entries_mm, targets_mm: (N, 3) patient LPS.
        pixel_from_patient: (3, 4) as trusted.
    """
    count = len(entries_mm)
    points = (entries_mm[:, None] + _PARTS * (targets_mm - entries_mm)[:, None]).reshape(-1, 3)
    uvw = points @ pixel_from_patient[:, :3].T + pixel_from_patient[:, 3]
    known = [nearest > NEAREST_MM for nearest in uvw[:, 2].reshape(count, _SAMPLES).min(axis=1).tolist()]
    if not all(known):
        uvw[:, 2] = np.maximum(uvw[:, 2], NEAREST_MM)
    covariance = _covariance_px(points, uvw, pixel_from_patient, uncertainty).reshape(count, _SAMPLES, 2, 2)
    depth = uvw[:, 2].reshape(count, _SAMPLES)
    center = (uvw[:, :2] / uvw[:, 2:]).reshape(count, _SAMPLES, 2)
    uu, vv, uv = covariance[:, :, 0, 0], covariance[:, :, 1, 1], covariance[:, :, 0, 1]
    way = center[:, -1] - center[:, 0]
    length = np.sqrt((way * way).sum(axis=1))
    end_on = length < _END_ON_PX
    way = np.where(end_on[:, None], (0.0, -1.0), way / np.where(end_on, 1.0, length)[:, None])
    du, dv = way[:, :1], way[:, 1:]
    focal_u, focal_v = _focal_px(pixel_from_patient)
    across_px = SIGMAS_95 * np.sqrt(np.maximum(dv * dv * uu + du * du * vv - 2.0 * du * dv * uv, 0.0))
    along_px = SIGMAS_95 * np.sqrt(np.maximum(du * du * uu + dv * dv * vv + 2.0 * du * dv * uv, 0.0))
    return PathBands(
        center_px=center,
        depth_mm=depth,
        across_px=across_px,
        along_px=along_px,
        across_mm=across_px * depth / np.hypot(dv * focal_u, du * focal_v),
        disc_mm=disc_radius(uu, vv, uv, depth / focal_u, depth / focal_v),
        focal_px=math.sqrt(abs(determinant(pixel_from_patient))),
        source_lps_mm=source_of(pixel_from_patient),
        way=way,
        known=tuple(known),
    )


def disc_radius(uu: F64, vv: F64, uv: F64, u_scale: F64, v_scale: F64) -> F64:
    """Radius of the disc that holds 95 % of a normal distribution in the plane, its axes scaled.

    Args:
        uu, vv, uv: its covariance, any shape.
        u_scale, v_scale: that the axes are to be multiplied by, of a shape that fits.
    """
    uu, vv, uv = uu * u_scale**2, vv * v_scale**2, uv * (u_scale * v_scale)
    middle, half = (uu + vv) / 2.0, np.hypot((uu - vv) / 2.0, uv)
    larger = np.sqrt(np.maximum(middle + half, 0.0))
    smaller = np.sqrt(np.maximum(middle - half, 0.0))
    ratio = np.divide(smaller, larger, out=np.zeros_like(larger), where=larger > 0.0)
    radius: F64 = larger * np.interp(ratio, _DISC_RATIO, _DISC_SIGMAS)
    return radius


_SAMPLES: Final = 7  # the band is a smooth function of the place along a path
_PARTS: Final = np.linspace(0.0, 1.0, _SAMPLES)[:, None]


def _focal_px(pixel_from_patient: F64) -> tuple[float, float]:
    """Focal lengths along u and v; skew is none."""
    (a, b, c, _), (d, e, f, _), (g, h, i, _) = pixel_from_patient.tolist()
    u0, v0 = a * g + b * h + c * i, d * g + e * h + f * i
    return math.sqrt(a * a + b * b + c * c - u0 * u0), math.sqrt(d * d + e * e + f * f - v0 * v0)


def picture_jacobian(points_mm: F64, uvw: F64, pixel_from_patient: F64, pivot_mm: F64) -> F64:
    """(N, 2, 9): how far u and v of points go with each of the nine numbers of `PoseUncertainty.covariance`.

    Args:
        points_mm: (N, 3) before the matrix.
        uvw: (N, 3) what the matrix makes of them, not divided.
    """
    rows = pixel_from_patient[:, :3]
    uv = uvw[:, :2] / uvw[:, 2:]
    jacobian = np.empty((len(uvw), 2, NUMBERS))
    # What a shift of the point does: d(u, v)/dx = (rows - (u, v) third row) / w.
    shift = jacobian[:, :, :3]
    np.subtract(rows[:2], uv[:, :, None] * rows[2], out=shift)
    shift /= uvw[:, 2, None, None]
    # What a turn does: J (turn x arm) = (arm x J) turn.
    arm = (points_mm - pivot_mm) * _RAD_PER_DEG
    x, y, z = arm[:, 0, None], arm[:, 1, None], arm[:, 2, None]
    jacobian[:, :, 3] = y * shift[:, :, 2] - z * shift[:, :, 1]
    jacobian[:, :, 4] = z * shift[:, :, 0] - x * shift[:, :, 2]
    jacobian[:, :, 5] = x * shift[:, :, 1] - y * shift[:, :, 0]
    jacobian[:, :, 6:8] = _ALONG_PICTURE
    jacobian[:, :, 8] = uv - rows[:2] @ rows[2]
    return jacobian


def _covariance_px(points_mm: F64, uvw: F64, pixel_from_patient: F64, uncertainty: PoseUncertainty) -> F64:
    jacobian = picture_jacobian(points_mm, uvw, pixel_from_patient, np.array(uncertainty.pivot_lps_mm))
    flat = jacobian.reshape(-1, NUMBERS) @ uncertainty.covariance
    covariance: F64 = flat.reshape(jacobian.shape) @ jacobian.transpose(0, 2, 1)
    return covariance


_ALONG_PICTURE: Final = np.eye(2)
