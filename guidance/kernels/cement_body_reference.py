"""What fitting cement in 3D to its thickness in several views must give: the NumPy twin of the native kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.messages import F32, F64, U8

LARGEST_STEP: Final = 30.0  # by which a round may scale a voxel
_TINY_MM: Final = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RayView:
    """One view's thickness in bins about as wide as a voxel.

    Attributes:
        bin_from_patient: (3, 4) float64, w in mm along the central ray; bin (0, 0) has its middle at (0, 0).
        thickness_mm: (rows, columns) float32 along the ray, mean over each bin; >= 0.
        valid: (rows, columns) uint8, 1 where that is known.
        reach: (rows, columns) float32 that a voxel's prior is multiplied by: 0 where no cement is.
        beyond: the same off the bins.
        lower: the thickness is the least that there is: cement came since.
    """

    bin_from_patient: F64
    thickness_mm: F32
    valid: U8
    reach: F32
    beyond: float = 0.0
    lower: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class BodyFit:
    """Cement on a grid.

    Attributes:
        share: `[k, j, i]` float32 of each voxel, 0 to 1.
        possible: `[k, j, i]` uint8: 1 where no view forbids cement.
        volumes_mm3: (V,) float64: what each view's thickness makes of it, at the depths where it lies, counted voxels
            only; where a view is blind, what the others say.
    """

    share: F32
    possible: U8
    volumes_mm3: F64


@dataclass(frozen=True, slots=True, eq=False)
class _Taps:
    """Where the voxels fall in one view: 4 bins each with their weights; weight 0 off the view."""

    bins: npt.NDArray[np.intp]
    weights: F32
    lengths_mm: F32  # mm of cement in one bin if it took all of a full voxel


def fit_body(
    prior: F32,
    counted: U8,
    first_lps_mm: F64,
    spacing_mm: float,
    views: Sequence[RayView],
    *,
    rounds: int,
    sharpenings: int,
) -> BodyFit:
    """See `guidance.kernels.cement_body.BodyFitter.fit`."""
    shape = prior.shape
    kji = np.argwhere(prior > 0.0)
    points = kji[:, ::-1] * spacing_mm + first_lps_mm
    weights = prior[tuple(kji.T)].astype(np.float32)
    placed = [_taps(points, spacing_mm, view) for view in views]
    for (_, reach), _ in zip(placed, views, strict=True):
        weights = weights * reach
    kept = weights > 0.0
    where = tuple(kji[kept].T)
    taps = [_Taps(t.bins[kept], t.weights[kept], t.lengths_mm[kept]) for t, _ in placed]
    share = np.minimum(weights[kept], np.float32(1.0))
    _rounds(share, taps, views, rounds)
    for _ in range(sharpenings):
        box = np.zeros(shape, np.float32)
        box[where] = share
        smooth = _smoothed(box)[where]
        share = np.minimum(smooth * _steeper(smooth), np.float32(1.0))
        _rounds(share, taps, views, 2)
    box, possible = np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    box[where], possible[where] = share, 1
    counts = counted[where] > 0
    volumes = [
        float((share * _ratios(share, t, view, lower=False))[counts].sum(dtype=np.float64)) * spacing_mm**3
        for t, view in zip(taps, views, strict=True)
    ]
    return BodyFit(box, possible, np.array(volumes))


def _taps(points: F64, spacing_mm: float, view: RayView) -> tuple[_Taps, F32]:
    matrix = view.bin_from_patient
    rows, columns = view.thickness_mm.shape
    u, v, w = matrix[:, :3] @ points.T + matrix[:, 3:]
    front = w > 1.0
    depth = np.where(front, w, 1.0)
    u, v = np.where(front, u / depth, -10.0), np.where(front, v / depth, -10.0)
    source = -np.linalg.solve(matrix[:, :3], matrix[:, 3])
    cosine = depth / np.linalg.norm(points - source, axis=1)
    focal2 = abs(float(np.linalg.det(matrix[:, :3])))
    lengths = spacing_mm**3 * focal2 / (depth**2 * cosine)
    nearest_u, nearest_v = np.floor(u + 0.5).astype(np.intp), np.floor(v + 0.5).astype(np.intp)
    on = front & (nearest_u >= 0) & (nearest_u < columns) & (nearest_v >= 0) & (nearest_v < rows)
    reach = np.where(front, np.float32(view.beyond), np.float32(0.0)).astype(np.float32)
    reach[on] = view.reach[nearest_v[on], nearest_u[on]]
    left, top = np.floor(u).astype(np.intp), np.floor(v).astype(np.intp)
    fu, fv = (u - left).astype(np.float32), (v - top).astype(np.float32)
    bins, weights = np.zeros((len(points), 4), np.intp), np.zeros((len(points), 4), np.float32)
    for n, (dv, du) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        column, row = left + du, top + dv
        inside = front & (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        share = (fu if du else 1.0 - fu) * (fv if dv else 1.0 - fv)
        bins[:, n] = np.where(inside, row * columns + column, 0)
        weights[:, n] = np.where(inside, share, 0.0)
    return _Taps(bins, weights, lengths.astype(np.float32)), reach


def _rounds(share: F32, taps: Sequence[_Taps], views: Sequence[RayView], rounds: int) -> None:
    for _ in range(rounds):
        for t, view in zip(taps, views, strict=True):
            share *= _ratios(share, t, view, lower=view.lower)
            np.minimum(share, np.float32(1.0), out=share)


def _ratios(share: F32, taps: _Taps, view: RayView, *, lower: bool) -> F32:
    """What each voxel is to be multiplied by so that the view's thickness comes out; 1 where the view says nothing."""
    parts = (share * taps.lengths_mm)[:, None] * taps.weights
    sums = np.bincount(taps.bins.ravel(), parts.ravel(), view.thickness_mm.size)
    ratio = np.clip(view.thickness_mm.ravel() / (sums + _TINY_MM), 0.0, LARGEST_STEP)
    if lower:
        ratio = np.maximum(ratio, 1.0)
    ratio = np.where(view.valid.ravel() > 0, ratio, 1.0).astype(np.float32)
    total = (ratio[taps.bins] * taps.weights).sum(axis=1)
    return np.asarray(total + (1.0 - taps.weights.sum(axis=1)), np.float32)


def _smoothed(box: F32) -> F32:
    """1 2 1 along each axis; nothing is outside."""
    for axis in range(3):
        padded = np.pad(box, [(1, 1) if n == axis else (0, 0) for n in range(3)])
        before, here, after = (np.take(padded, range(a, a + box.shape[axis]), axis=axis) for a in (0, 1, 2))
        box = np.asarray(0.25 * (before + after) + 0.5 * here, np.float32)
    return box


def _steeper(share: F32) -> F32:
    """Above one half more, below it less: cement fills its place or is not there."""
    return np.asarray(share * (3.0 - 2.0 * share), np.float32)
