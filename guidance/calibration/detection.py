"""Beads in a radiograph: found at any size in a range, each centre fitted to a fraction of a pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import cv2
import numpy as np
import numpy.typing as npt

from guidance.calibration.bead_fit import fit_shadow
from guidance.messages import F64, Pixels

F32 = npt.NDArray[np.float32]

# Beads may appear smaller or larger than told, by a zoom that is not the told one.
_SIZE_SLACK: Final = 1.6
_SCALE_STEP: Final = 1.22
_COARSE_DIAMETER_PX: Final = 7.0  # of the smallest bead in the picture that is searched
_LEAST_RESPONSE: Final = 0.06  # of a full shadow's; noise and body are held against the fit later
_EDGE_RATIO: Final = 6.0  # (trace)^2 / determinant of the Hessian: 4 for a disc, large for an edge
_MOST_CANDIDATES: Final = 400
_LEAST_CONTRAST: Final = 0.06
_NOISE_TIMES: Final = 6.0
_WORST_FIT: Final = 0.12  # residual over contrast
_CROWDED_PX: Final = 2.5
_BORDER_PX: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BeadShadow:
    """One round shadow.

    Attributes:
        u, v: centre of its shadow, px; the projection of the bead's own centre lies a few thousandths beside it
            (`sphere_offset_px`).
        sigma_px: standard deviation of u and of v, from the noise under it.
        diameter_px: of its outline.
        contrast: darkest depth, 1 where nothing gets through.
        crowded: another shadow touches it; its centre is not to be measured with.
    """

    u: float
    v: float
    sigma_px: float
    diameter_px: float
    contrast: float
    crowded: bool


def find_beads(
    pixels: Pixels,
    *,
    diameter_range_px: tuple[float, float],
    intensity: Literal["LIN", "LOG", "DISP"] = "LIN",
    sign: Literal[1, -1] = 1,
    valid: npt.NDArray[np.bool_] | None = None,
) -> tuple[BeadShadow, ...]:
    """Find the round shadows of a picture.

    Args:
        pixels: (rows, columns), any scalar type.
        diameter_range_px: smallest and largest bead as expected; found are those up to 1.6 times beyond.
        intensity, sign: what values mean, as of `RegistrationView`.
        valid: (rows, columns) bool, False where nothing counts.

    Returns:
        Shadows, the darkest first.
    """
    smallest, largest = diameter_range_px[0] / _SIZE_SLACK, diameter_range_px[1] * _SIZE_SLACK
    share = intensity == "LIN" and sign > 0
    if pixels.dtype.kind == "f":
        finite = np.isfinite(pixels)
        valid = finite if valid is None else valid & finite
    if valid is not None and not valid.any():
        return ()
    shadow = _shadow(pixels, largest, share, sign, valid)
    noise = _noise_of(shadow)
    starts = _candidates(shadow, smallest, largest)
    fits = []
    for u, v, radius in starts:
        others = [one for one in starts if one != (u, v, radius) and math.hypot(one[0] - u, one[1] - v) > 0.5 * radius]
        near = [one for one in others if math.hypot(one[0] - u, one[1] - v) < 2.0 * radius + one[2] + 6.0]
        fit = fit_shadow(shadow, u, v, radius, near, share=share)
        if fit is None or not smallest / 2.0 <= fit.radius_px <= largest / 2.0:
            continue
        if fit.contrast < max(_LEAST_CONTRAST, _NOISE_TIMES * noise / fit.radius_px):
            continue
        if fit.residual > max(_WORST_FIT * fit.contrast, 2.0 * noise) or not _inside(
            fit.u, fit.v, fit.radius_px, shadow
        ):
            continue
        if valid is not None and not _all_valid(valid, fit.u, fit.v, fit.radius_px):
            continue
        fits.append(fit)
    fits.sort(key=lambda fit: -fit.contrast)
    kept: list[Any] = []
    for fit in fits:
        if all(math.hypot(fit.u - one.u, fit.v - one.v) > 0.5 * max(fit.radius_px, one.radius_px) for one in kept):
            kept.append(fit)
    return tuple(
        BeadShadow(
            u=fit.u,
            v=fit.v,
            sigma_px=fit.sigma_px,
            diameter_px=2.0 * fit.radius_px,
            contrast=fit.contrast,
            crowded=any(
                other is not fit
                and math.hypot(fit.u - other.u, fit.v - other.v) < fit.radius_px + other.radius_px + _CROWDED_PX
                for other in kept
            ),
        )
        for fit in kept
    )


def sphere_offset_px(ray_cosine: F64, tangent: F64, radius_over_distance: F64, focal_px: F64 | float) -> F64:
    """How far a sphere's shadow lies outward of its centre's projection.

    A cone cuts the detector obliquely: the outline is an ellipse whose centre lies farther from the central ray than
    the projected centre by beta^2 tan / cos^2, beta the sphere's angular radius. Weighted by the chord (as attenuation
    weighs it) it is 4/5 of that; a shadow between both is taken at 9/10, at most 10 % of some thousandths of a pixel
    from either.

    Args:
        ray_cosine: (N,) cosine of the angle between the ray to the centre and the central ray.
        tangent: (N, 2) of the ray, along u and v: (u - u0) / focal length.
        radius_over_distance: (N,) sphere's radius over its distance from the source.
        focal_px: focal length, or (N, 2) of both.

    Returns:
        (N, 2) px.
    """
    offset: F64 = 0.9 * (radius_over_distance / ray_cosine)[:, None] ** 2 * tangent * focal_px
    return offset


def _shadow(
    pixels: Pixels,
    largest_px: float,
    share: bool,
    sign: int,
    valid: npt.NDArray[np.bool_] | None,
) -> F32:
    """Share of the X-ray taken away by small things (LIN), or a measure that rises with it; about 0 elsewhere."""
    bright = pixels.astype(np.float32)
    if sign < 0:
        bright = bright.max() - bright
    if valid is not None and not valid.all():
        bright = np.where(valid, bright, np.float32(np.median(bright[valid])))
    bright = bright - min(float(bright.min()), 0.0)  # signed storage: what is proportional to X-ray is not negative
    shrink = max(1, int(largest_px / 16.0))
    rows, columns = bright.shape
    small = cv2.resize(
        cv2.GaussianBlur(bright, (0, 0), 1.0),
        (max(columns // shrink, 8), max(rows // shrink, 8)),
        interpolation=cv2.INTER_AREA,
    )
    width = 2 * math.ceil(0.75 * largest_px / shrink) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    ground = cv2.GaussianBlur(cv2.morphologyEx(small, cv2.MORPH_CLOSE, disc), (0, 0), width / 6.0)
    ground = np.asarray(cv2.resize(ground, (columns, rows), interpolation=cv2.INTER_LINEAR), np.float32)
    taken: F32 = ground - bright
    if share:
        return np.asarray(taken / np.maximum(ground, 1e-3 * max(float(ground.max()), 1e-6)), np.float32)
    return np.asarray(taken / max(float(np.percentile(taken, 99.8)), 1e-6), np.float32)


def _noise_of(shadow: F32) -> float:
    """Standard deviation from pixel to pixel, from neighbours' differences (beads and edges are few)."""
    steps = np.abs(np.diff(shadow[::2, :], axis=1))
    return float(np.median(steps)) / 0.6745 / math.sqrt(2.0)


def _candidates(shadow: F32, smallest_px: float, largest_px: float) -> list[tuple[float, float, float]]:
    """(u, v, radius) of round dark places, by the Laplacian of Gaussians over scales (Lindeberg, IJCV 30, 1998)."""
    shrink = max(1, int(smallest_px / _COARSE_DIAMETER_PX))
    rows, columns = shadow.shape
    small = np.asarray(
        cv2.resize(shadow, (columns // shrink, rows // shrink), interpolation=cv2.INTER_AREA), np.float32
    )
    radii = []
    radius = smallest_px / 2.0 / shrink
    while radius <= largest_px / 2.0 / shrink * 1.01:
        radii.append(radius)
        radius *= _SCALE_STEP
    layers, smoothed = [], []
    for radius in radii:
        sigma = radius / math.sqrt(2.0)
        blurred = cv2.GaussianBlur(small, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
        smoothed.append(np.asarray(blurred, np.float32))
        layers.append(np.asarray(cv2.Laplacian(blurred, cv2.CV_32F, ksize=1), np.float32) * np.float32(-(sigma**2)))
    found = []
    for n, layer in enumerate(layers):
        around = np.asarray(cv2.dilate(layer, np.ones((3, 3), np.uint8)), np.float32)
        peak = (layer >= around) & (layer > _LEAST_RESPONSE)
        for neighbour in layers[max(n - 1, 0) : n] + layers[n + 1 : n + 2]:
            peak &= layer >= np.asarray(cv2.dilate(neighbour, np.ones((3, 3), np.uint8)), np.float32)
        for v, u in np.argwhere(peak[1:-1, 1:-1]) + 1:
            if _is_round(smoothed[n], int(u), int(v)):
                found.append((float(layer[v, u]), float(u), float(v), radii[n]))
    found.sort(reverse=True)
    return [
        ((u + 0.5) * shrink - 0.5, (v + 0.5) * shrink - 0.5, radius * shrink)
        for _, u, v, radius in found[:_MOST_CANDIDATES]
    ]


def _is_round(blurred: F32, u: int, v: int) -> bool:
    here = float(blurred[v, u])
    uu = float(blurred[v, u - 1]) + float(blurred[v, u + 1]) - 2.0 * here
    vv = float(blurred[v - 1, u]) + float(blurred[v + 1, u]) - 2.0 * here
    rising = float(blurred[v + 1, u + 1]) + float(blurred[v - 1, u - 1])
    uv = (rising - float(blurred[v + 1, u - 1]) - float(blurred[v - 1, u + 1])) / 4.0
    determinant = uu * vv - uv * uv
    trace = uu + vv
    return determinant > 0.0 and trace * trace < _EDGE_RATIO * determinant


def _inside(u: float, v: float, radius: float, shadow: F32) -> bool:
    rows, columns = shadow.shape
    reach = radius + _BORDER_PX
    return bool(reach <= u <= columns - 1 - reach and reach <= v <= rows - 1 - reach)


def _all_valid(valid: npt.NDArray[np.bool_], u: float, v: float, radius: float) -> bool:
    reach = radius + _BORDER_PX
    rows = slice(max(int(v - reach), 0), int(v + reach) + 2)
    columns = slice(max(int(u - reach), 0), int(u + reach) + 2)
    return bool(valid[rows, columns].all())
