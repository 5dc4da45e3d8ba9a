"""Volume of cement with its 95 % interval: from one view a range only, from two a number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.cement.rays import BinnedView, focal_px, source_of
from guidance.cement.space import OpenSpace, Tissue
from guidance.messages import F64, PlannedPath

_WIDE: Final = 1.96
_DEPTHS: Final = 61
_ANY_DEPTH_MM: Final = 120.0  # each side of the isocentre, where nothing is known of the patient
_RAYS: Final = 400
_NEAR_PATH_MM: Final = 20.0  # cement comes from a cannula's tip: standard deviation along the rays
_ELSEWHERE: Final = 0.03  # what is left for places far from every path
GEOMETRY_SIGMA: Final = 0.01  # of the volume: distances source to detector and isocentre are told to 0.3 %
EDGE_SIGMA: Final = 0.015  # of the volume: thin rims under the tracker's threshold
# What views that know their beam and scatter still differ by from the truth, and from each other, behind bone.
_LEAST_SIGMA: Final = 0.15
LEAST_ML: Final = 0.02


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume in ml.

    Attributes:
        ml: None: only the interval is known.
        low_ml, high_ml: 95 % interval; None: that end is not known.
    """

    ml: float | None
    low_ml: float | None
    high_ml: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """One view's volume at known depth.

    Attributes:
        ml: of its thickness.
        relative_sigma: of its thickness: opacity, scatter and noise.
        older: cement came since.
    """

    ml: float
    relative_sigma: float
    older: bool


def thickness_sigma(view: BinnedView) -> float:
    """Relative standard deviation of a view's sum of thickness, `_LEAST_SIGMA` at least; 1 where it is told of none."""
    total, sigma = view.view.thickness_sum_mm_px, view.view.thickness_sigma_mm_px
    if total is None or sigma is None or not total > 0.0:
        return 1.0
    return min(max(sigma / total, _LEAST_SIGMA), 1.0)


def of_views(measured: Sequence[Measured]) -> Volume:
    """The volume of two views or more, each at the depth that the others tell.

    Opacity and scatter are wrong in all views alike, so that their mean is no surer than one; what they differ by is
    taken as a part of the error. An older view is a lower bound, and counts in full where nothing came since.

    Args:
        measured: one by view; where none is of now, the largest counts.
    """
    now = [one for one in measured if not one.older] or [max(measured, key=lambda one: one.ml)]
    newest = max(one.ml for one in now)
    counting = now + [one for one in measured if one.older and one.ml > newest]
    weights = np.array([1.0 / max(one.relative_sigma, 0.02) ** 2 for one in counting])
    weights /= weights.sum()
    volumes = np.array([one.ml for one in counting])
    ml = float(weights @ volumes)
    common = float(weights @ np.array([one.relative_sigma for one in counting]))
    spread = float(np.sqrt(weights @ (volumes - ml) ** 2)) / max(ml, LEAST_ML)
    sigma = math.sqrt(common**2 + spread**2 + GEOMETRY_SIGMA**2 + EDGE_SIGMA**2)
    low = max(ml * math.exp(-_WIDE * sigma) - LEAST_ML, 0.0)
    return Volume(ml, low, ml * math.exp(_WIDE * sigma) + LEAST_ML)


def of_one_view(view: BinnedView, space: OpenSpace | None, paths: Sequence[PlannedPath]) -> Volume:
    """Only an interval: how large a shadow is depends on how far from the source its body lies.

    The depth is where the space has room for cement on the rays through it, bone before soft tissue, and near a
    path's target where there are paths.

    Args:
        view: with thickness.
        space: None: any depth within `_ANY_DEPTH_MM` of the isocentre.
        paths: along which cannulas lie.
    """
    assert view.thickness_mm is not None
    depths, chances = _depths(view, space, paths)
    low_w, middle_w, high_w = _quantiles(depths, chances, (0.025, 0.5, 0.975))
    middle_ml = view.volume_ml(middle_w)
    sigma = math.hypot(thickness_sigma(view), math.hypot(GEOMETRY_SIGMA, EDGE_SIGMA))
    near, far = 2.0 * math.log(middle_w / low_w), 2.0 * math.log(high_w / middle_w)
    return Volume(
        None,
        max(middle_ml * math.exp(-math.hypot(near, _WIDE * sigma)) - LEAST_ML, 0.0),
        middle_ml * math.exp(math.hypot(far, _WIDE * sigma)) + LEAST_ML,
    )


def _depths(view: BinnedView, space: OpenSpace | None, paths: Sequence[PlannedPath]) -> tuple[F64, F64]:
    """w in mm, and how likely the cement's middle is there."""
    assert view.thickness_mm is not None
    matrix = view.bin_from_patient
    source = source_of(matrix)
    bins = np.argwhere(view.touched > 0)
    bins = bins[:: max(1, len(bins) // _RAYS)]
    rays = np.column_stack([bins[:, 1], bins[:, 0], np.ones(len(bins))]) @ np.linalg.inv(matrix[:, :3]).T
    depths = _depth_range(view, space, source)
    points = source + depths[:, None, None] * rays[None]
    chances = np.ones(points.shape[:2])
    if space is not None:
        likely = np.zeros(256)
        likely[Tissue.SOFT], likely[Tissue.CANCELLOUS], likely[Tissue.CORTICAL] = 0.02, 1.0, 0.3
        chances = likely[space.at(points.reshape(-1, 3))].reshape(chances.shape)
    if paths:
        away = np.min([_away_mm(points.reshape(-1, 3), path) for path in paths], axis=0).reshape(chances.shape)
        chances = chances * (_ELSEWHERE + np.exp(-0.5 * (away / _NEAR_PATH_MM) ** 2))
    total = chances.sum(axis=1)
    return depths, total if total.sum() > 0.0 else np.ones(len(depths))


def _depth_range(view: BinnedView, space: OpenSpace | None, source: F64) -> F64:
    axis = view.pixel_from_patient[2, :3]
    if space is not None:
        first = np.asarray(space.grid.origin_lps_mm)
        last = first + space.grid.spacing_mm * (np.asarray(space.grid.shape_kji[::-1]) - 1)
        corners = np.stack(np.meshgrid(*zip(first, last, strict=True), indexing="ij"), axis=-1).reshape(-1, 3)
        w = (corners - source) @ axis
        return np.linspace(max(float(w.min()), 50.0), max(float(w.max()), 51.0), _DEPTHS)
    middle = isocenter_depth_mm(view.view.mm_per_px, view.pixel_from_patient)
    return np.linspace(max(middle - _ANY_DEPTH_MM, 50.0), middle + _ANY_DEPTH_MM, _DEPTHS)


def isocenter_depth_mm(mm_per_px: float | None, pixel_from_patient: F64) -> float:
    """w of the isocentre, from the scale that is told there; a usual C-arm's where it is not."""
    return mm_per_px * focal_px(pixel_from_patient) if mm_per_px is not None and mm_per_px > 0.0 else 750.0


def _away_mm(points: F64, path: PlannedPath) -> F64:
    """Distance to a path's last part, where cement comes from."""
    entry, target = np.asarray(path.entry_lps_mm), np.asarray(path.target_lps_mm)
    along = target - entry
    length2 = max(float(along @ along), 1e-9)
    part = np.clip((points - entry) @ along / length2, 0.5, 1.0)
    away: F64 = np.linalg.norm(points - (entry + part[:, None] * along), axis=1)
    return away


def _quantiles(values: F64, chances: F64, wanted: tuple[float, ...]) -> tuple[float, ...]:
    total = np.concatenate([[0.0], np.cumsum(chances)])
    edges = np.concatenate([values - 0.5 * (values[1] - values[0]), [values[-1] + 0.5 * (values[1] - values[0])]])
    return tuple(float(np.interp(one * total[-1], total, edges)) for one in wanted)
