"""Volume of a body that two views or more show now: thickness of each, and outlines, weighed by what scatter can do.

A wrong share of scatter does little to a thin ray and much to a thick one: behind 15 mm of dense cement 3 % of the
primary are left, and an error of 3 % in the scatter halves or doubles what is read. So scatter is left open in each
view, as far as it is not known, and what is told is the volume that fits all: each view's rays, the other's, and how
full cement makes the space within the outlines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.cement.interval import EDGE_SIGMA, GEOMETRY_SIGMA, LEAST_ML, Volume
from guidance.cement.rays import BinnedView
from guidance.messages import F64

_SAMPLES: Final = 4096
_UNIT: Final = np.linspace(-1.0, 1.0, 33)
OFFS: Final = 0.3 * (_UNIT + _UNIT**3)
"""How far off ln(primary share) may be, for which a view's volume is worked out; close together around none."""
_ALIKE_SCATTER_SIGMA: Final = 0.05  # of ln(primary share) in all views: bone's density, filters, the rule of judging
_OWN_SCATTER_SIGMA: Final = 0.04  # the least that is each view's own: it differs from place to place by as much
_COMMON_SIGMA: Final = 0.1  # of all thickness behind bone, besides the opacity: exposure, lag, rims; ...
_SMALL_SIGMA: Final = 0.3  # ... and what it comes near to where there is little: all of that is surface, and new
_SMALL_ML: Final = 0.3
_CLASS: Final = 0.02  # of log contrast
_LEAST_PRIMARY: Final = 0.01  # a ray with less left tells nothing but that it is thick
_ALIKE_SIGMA: Final = 0.06  # by which volumes of views that know their scatter differ: noise, rims, blind spots
_FREEDOM: Final = 4.0  # Student's: a cement mixed with marrow does not fill its outlines
_MOST_POSES: Final = 4
_HALF: Final = 0.025


@dataclass(frozen=True, slots=True)
class Rays:
    """One view's rays through the cement.

    Attributes:
        ml: its volume by thickness as told.
        contrast: (N,) log contrast of each ray.
        scatter_sigma: of ln(primary share).
        opacity_sigma: relative; the same error in all views.
        pose: number by which `Agreement` knows the view's pose; None: by none.
    """

    ml: float
    contrast: F64
    scatter_sigma: float
    opacity_sigma: float
    pose: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """Two poses that showed the same cement, now or earlier.

    Attributes:
        first, second: their numbers.
        log_first, log_second: (OFFS,) ln of the volume that each showed, by how far its scatter is off.
        sigma: by which they differ though scatter is right.
    """

    first: int
    second: int
    log_first: F64
    log_second: F64
    sigma: float


@dataclass(frozen=True, slots=True)
class Solid:
    """What the outlines hold.

    Attributes:
        ml: with pores filled.
        most_ml: with cement alone, no bone in it; between both nothing is wrong.
        sigma: of either, relative.
    """

    ml: float
    most_ml: float
    sigma: float


def rays_of(view: BinnedView, ml: float, pose: int | None = None) -> Rays | None:
    """None where the view does not tell its opacity."""
    per_mm, opacity_sigma, scatter_sigma = view.view.opacity_per_mm, view.view.opacity_sigma, view.view.scatter_sigma
    if per_mm is None or view.thickness_mm is None or not ml > 0.0 or not math.isfinite(opacity_sigma + scatter_sigma):
        return None
    thickness = view.thickness_mm[view.thickness_mm > 0.0].astype(np.float64)
    if not len(thickness):
        return None
    return Rays(
        ml,
        thickness * per_mm,
        scatter_sigma,
        math.hypot(opacity_sigma, _COMMON_SIGMA, _SMALL_SIGMA * _SMALL_ML / (_SMALL_ML + ml)),
        pose,
    )


def curve_of(view: BinnedView) -> F64 | None:
    """(OFFS,) ln of how much larger a view's volume is, by how far its scatter is off; None: it tells no opacity."""
    rays = rays_of(view, 1.0)
    return None if rays is None else grown_by(rays, OFFS)


def grown_by(rays: Rays, offs: F64) -> F64:
    """ln of how much larger the volume is where the primary's share is e^-off of what was taken: (N,) of (N,)."""
    # Rays of nearly one contrast bend alike, and are many.
    steps = (rays.contrast / _CLASS).astype(np.intp)
    count = np.bincount(steps)
    there = count > 0
    count = count[there]
    told = 1.0 - np.exp(-np.bincount(steps, rays.contrast)[there] / count)
    left = 1.0 - told[None, :] * np.exp(offs)[:, None]
    least = np.minimum(_LEAST_PRIMARY, 1.0 - told)[None, :]
    grown: F64 = np.log(-(np.log(np.maximum(left, least)) @ count) / rays.contrast.sum())
    return grown


def weighed(views: Sequence[Rays], solid: Solid | None, agreements: Sequence[Agreement] = ()) -> Volume:
    """The volume that fits all views, their outlines, and what their poses showed earlier.

    Args:
        views: one or more, all of now.
        solid: None: outlines are not known well enough.
        agreements: of these views' poses and others.
    """
    normal = _drawn()
    opacity = normal[0] * max(one.opacity_sigma for one in views)
    usual = max(one.scatter_sigma for one in views)
    known = {one.pose: one.scatter_sigma for one in views if one.pose is not None}
    others = {pose for one in agreements for pose in (one.first, one.second)} - set(known)
    offs: dict[int, F64] = {}
    for number, pose in enumerate([*known, *sorted(others)][:_MOST_POSES]):
        offs[pose] = _off(known.get(pose, usual), normal[1], normal[2 + number])
    logs, chance = [], np.zeros(_SAMPLES)
    for number, one in enumerate(views[:_MOST_POSES]):
        off = offs.get(one.pose) if one.pose is not None else None
        if off is None:
            off = _off(one.scatter_sigma, normal[1], normal[2 + number])
        logs.append(math.log(one.ml) + np.interp(off, OFFS, grown_by(one, OFFS)) + opacity)
    every = np.array(logs)
    for agreed in agreements:
        if agreed.first in offs and agreed.second in offs:
            away = np.interp(offs[agreed.first], OFFS, agreed.log_first)
            away -= np.interp(offs[agreed.second], OFFS, agreed.log_second)
            chance -= 0.5 * (_FREEDOM + 1.0) * np.log1p((away / agreed.sigma) ** 2 / _FREEDOM)
    middle = every.mean(axis=0)
    chance -= 0.5 * ((every - middle) ** 2).sum(axis=0) / _ALIKE_SIGMA**2
    if solid is not None and solid.ml > 0.0:
        off = middle - math.log(solid.ml)
        above = math.hypot(solid.sigma, 0.25 * math.log(solid.most_ml / solid.ml))
        off /= np.where(off < 0.0, solid.sigma, above)
        chance -= 0.5 * (_FREEDOM + 1.0) * np.log1p(off**2 / _FREEDOM)
    weight = np.exp(chance - chance.max())
    weight /= weight.sum()
    volume = middle + normal[-1] * math.hypot(GEOMETRY_SIGMA, EDGE_SIGMA, _ALIKE_SIGMA / math.sqrt(len(views)))
    order = np.argsort(volume)
    cumulated = np.cumsum(weight[order]) - 0.5 * weight[order]
    low, ml, high = np.exp(np.interp((_HALF, 0.5, 1.0 - _HALF), cumulated, volume[order]))
    return Volume(float(ml), max(float(low) - LEAST_ML, 0.0), float(high) + LEAST_ML)


def _off(sigma: float, alike: F64, own: F64) -> F64:
    """How far a pose's ln(primary share) is off in each draw: a part alike in all poses, and its own."""
    own_sigma = math.sqrt(max(sigma**2 - _ALIKE_SCATTER_SIGMA**2, _OWN_SCATTER_SIGMA**2))
    return _ALIKE_SCATTER_SIGMA * alike + own_sigma * own


def _drawn() -> F64:
    """(7, `_SAMPLES`) standard normal numbers, always the same: opacity, scatter, up to four views, the rest."""
    drawn: F64 = _NORMAL
    return drawn


_NORMAL: Final = np.random.default_rng(24).standard_normal((7, _SAMPLES))
