"""What `guidance.kernels.watch` computes, in plain NumPy: the specification that its native code is tested against."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from guidance.messages import F64


def project(
    voxels: npt.NDArray[np.int16],
    affine_lps_from_ijk: F64,
    pixel_from_lps: F64,
    uv_px: F64,
    depth_mm: float,
    steps_mm: F64,
) -> tuple[F64, F64]:
    """Trilinear samples along rays: integral of the value, and of the value times (w - depth_mm).

    Args:
        uv_px: (N, 2) where the rays go through.
        steps_mm: w of the samples, evenly spaced, all through the volume.
    """
    lps_from_pixel = np.linalg.inv(pixel_from_lps[:, :3])
    source = -lps_from_pixel @ pixel_from_lps[:, 3]
    directions = np.column_stack((uv_px, np.ones(len(uv_px)))) @ lps_from_pixel.T
    points = source + steps_mm[None, :, None] * directions[:, None, :]
    ijk_from_lps = np.linalg.inv(affine_lps_from_ijk)
    at = points @ ijk_from_lps[:3, :3].T + ijk_from_lps[:3, 3] + 1.0
    padded = np.pad(np.maximum(voxels, 0).astype(np.float64).T, 1)  # [i, j, k]
    at = np.clip(at, 0.0, np.array(padded.shape) - 1.000001)
    corner = at.astype(np.intp)
    part = at - corner
    values = np.zeros(at.shape[:2])
    for di, dj, dk in np.ndindex(2, 2, 2):
        share = np.abs(1 - np.array((di, dj, dk)) - part).prod(axis=-1)
        values += share * padded[corner[..., 0] + di, corner[..., 1] + dj, corner[..., 2] + dk]
    length = (steps_mm[1] - steps_mm[0]) * np.linalg.norm(directions, axis=1)
    return values.sum(axis=1) * length, (values * (steps_mm - depth_mm)).sum(axis=1) * length


def bins(pixels: npt.NDArray[np.generic], step: int) -> F64:
    """Mean of whole bins."""
    rows, columns = (size // step for size in pixels.shape)
    cut = pixels[: rows * step, : columns * step].astype(np.float64)
    return np.asarray(cut.reshape(rows, step, columns, step).mean(axis=(1, 3)))


def box_sum(picture: F64, radius: int) -> F64:
    """Sum over square windows, cut at the border."""
    padded = np.pad(picture, radius)
    rows, columns = picture.shape
    shifts = range(2 * radius + 1)
    return np.asarray(sum(padded[y : y + rows, x : x + columns] for y in shifts for x in shifts))


def high_pass(picture: F64, valid: F64, radius: int) -> F64:
    """Smoothed by 1 2 1 both ways, less the local mean, over what is valid."""
    weights = np.outer((1.0, 2.0, 1.0), (1.0, 2.0, 1.0))
    rows, columns = picture.shape

    def smoothed(values: F64) -> F64:
        padded = np.pad(values, 1)
        parts = (weights[y, x] * padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3))
        return np.asarray(sum(parts))

    with np.errstate(invalid="ignore", divide="ignore"):
        smooth = np.where(valid > 0.0, smoothed(picture * valid) / smoothed(valid), 0.0)
        high = np.where(valid > 0.0, smooth - box_sum(smooth * valid, radius) / box_sum(valid, radius), 0.0)
    return np.asarray(high)


def normalised(high: F64, valid: F64, radius: int, least: float) -> tuple[F64, F64]:
    """High-passed over sqrt(local mean square + least); and the local contrast."""
    with np.errstate(invalid="ignore", divide="ignore"):
        square = np.nan_to_num(box_sum(high * high, radius) / box_sum(valid, radius))
    return high / np.sqrt(square + least), np.sqrt(square)


def fit(picture: F64, weight: F64, columns: F64, prior: F64, *, rounds: int, cut: float) -> tuple[F64, float]:
    """Least squares reweighted after Cauchy; the parameters and the correlation of picture and fit, plain weights.

    Args:
        picture, weight: (N,).
        columns: (7, N) projection and its derivatives.
    """
    robust = weight.copy()
    parameters = np.zeros(len(columns))
    variance = float((weight * picture**2).sum() / weight.sum())
    for _ in range(rounds):
        weighted = columns * robust
        normal = weighted @ columns.T + np.diag(np.concatenate(((0.0,), prior * variance)))
        parameters = np.linalg.solve(normal, weighted @ picture)
        off = picture - parameters @ columns
        scale = cut * 1.4826 * float(np.median(np.abs(off[weight >= 0.05])))
        robust = weight / (1.0 + (off / scale) ** 2)
        variance = float((robust * off**2).sum() / robust.sum())
    fitted = parameters @ columns
    norm = np.sqrt((weight * fitted**2).sum() * (weight * picture**2).sum())
    return parameters, float((weight * fitted * picture).sum() / norm)
