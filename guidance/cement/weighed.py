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
_NODES: Final = np.linspace(-3.5, 3.5, 29)
_LEAST_SCATTER_SIGMA: Final = 0.08  # of ln(primary share): it differs from place to place by as much
_SCATTER_ALIKE: Final = 0.3  # of its variance: one grid and one rule of judging for all views
_COMMON_SIGMA: Final = 0.1  # of all thickness behind bone, besides the opacity: exposure, lag, rims; ...
_SMALL_SIGMA: Final = 0.3  # ... and what it comes near to where there is little: all of that is surface, and new
_SMALL_ML: Final = 0.3
_LEAST_PRIMARY: Final = 0.01  # a ray with less left tells nothing but that it is thick
_ALIKE_SIGMA: Final = 0.06  # by which volumes of views that know their scatter differ: noise, rims, blind spots
_FREEDOM: Final = 4.0  # Student's: a cement mixed with marrow does not fill its outlines
_HALF: Final = 0.025


@dataclass(frozen=True, slots=True)
class Rays:
    """One view's rays through the cement.

    Attributes:
        ml: its volume by thickness as told.
        contrast: (N,) log contrast of each ray.
        scatter_sigma: of ln(primary share).
        opacity_sigma: relative; the same error in all views.
    """

    ml: float
    contrast: F64
    scatter_sigma: float
    opacity_sigma: float


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


def rays_of(view: BinnedView, ml: float) -> Rays | None:
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
        max(scatter_sigma, _LEAST_SCATTER_SIGMA),
        math.hypot(opacity_sigma, _COMMON_SIGMA, _SMALL_SIGMA * _SMALL_ML / (_SMALL_ML + ml)),
    )


def grown_by(rays: Rays, offs: F64) -> F64:
    """ln of how much larger the volume is where the primary's share is e^-off of what was taken: (N,) of (N,)."""
    told = 1.0 - np.exp(-rays.contrast)
    left = 1.0 - told[None, :] * np.exp(offs)[:, None]
    least = np.minimum(_LEAST_PRIMARY, 1.0 - told)[None, :]
    grown: F64 = np.log(-np.log(np.maximum(left, least)).sum(axis=1) / rays.contrast.sum())
    return grown


def weighed(views: Sequence[Rays], solid: Solid | None) -> Volume:
    """The volume that fits all views and their outlines.

    Args:
        views: one or more, all of now.
        solid: None: outlines are not known well enough.
    """
    normal = _drawn()
    opacity = normal[0] * max(one.opacity_sigma for one in views)
    logs, chance = [], np.zeros(_SAMPLES)
    for one, own in zip(views, normal[2:], strict=False):
        drawn = math.sqrt(_SCATTER_ALIKE) * normal[1] + math.sqrt(1.0 - _SCATTER_ALIKE) * own
        grown = grown_by(one, _NODES * one.scatter_sigma)
        logs.append(math.log(one.ml) + np.interp(drawn, _NODES, grown) + opacity)
    every = np.array(logs)
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


def _drawn() -> F64:
    """(7, `_SAMPLES`) standard normal numbers, always the same: opacity, scatter, up to four views, the rest."""
    drawn: F64 = _NORMAL
    return drawn


_NORMAL: Final = np.random.default_rng(24).standard_normal((7, _SAMPLES))
