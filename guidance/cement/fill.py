"""How full the voxels of the body are, against how full cement can make them: a scale that needs no opacity.

The shadows' outlines tell how large the body is, whatever the thickness. A thickness that is told too small by some
part (scatter told too low, another opacity) makes its voxels too empty by the same part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from guidance.cement.interval import LEAST_ML, Volume
from guidance.cement.rays import BinnedView
from guidance.cement.space import OpenSpace
from guidance.cement.touching import Body
from guidance.cement.weighed import Agreement, Solid, rays_of, weighed

# Mineralised bone without pores, HU; what is not bone cement fills wholly.
_SOLID_HU: Final = 1800.0
_USUAL_SHARE: Final = 0.87  # of marrow of 230 HU
_USUAL_SIGMA: Final = 0.10  # where no volume tells the bone
# 11 % over lumps of all shapes, 8 % for pores that are not filled to the end.
_SIGMA: Final = 0.13
# What thickness behind bone is off by in all views alike (scatter, lag, thin rims), whatever it tells of itself.
_THICKNESS_SIGMA: Final = 0.2
_SMALL_ML: Final = 0.3  # less has more surface than core
_DOUBTED: Final = 3.0  # standard deviations at which the fill is half believed: cement may be mixed with marrow
_EDGE: Final = 0.5
_SURFACE: Final = 0.4  # of a full voxel: the fit leaves a haze around a body, and its edges half empty
_SOLID_SIGMA: Final = 0.09  # of the voxels counted, over lumps of all shapes
# What two outlines hold against the truth, over simulated injections: of little cement the rim is too thin to be seen,
# of much there are bays that neither outline shows.
_RIM: Final = 0.065
_RIM_ML: Final = 0.3
_MOST_RIM: Final = 0.2
_BAYS: Final = 0.04
# Where rays ask for more than the outlines can hold every corner of the outlines' common part is filled: a ball is 0.79
# of what two of its shadows enclose.
_CORNERS: Final = 0.21
_USUALLY_ASKED: Final = 0.15  # more than can be held, relative: rays differ by as much, and ...
_MUCH_ASKED: Final = 0.6  # ... at which all of them are, and scatter is not what was told
_DOUBTED_SCATTER: Final = 0.3  # sigma of ln(primary share) then
_MOST_HELD: Final = 1.25  # of what the outlines hold: no more can be there
# Where one of the views is seconds old the body reaches into what that view leaves open before its old front: so much
# too large even where little came since, and so much more where all did. Over seven simulated cases taken in turn,
# true thickness; 6 % is left, and each view's own scatter in how much came.
_BLURRED: Final = 1.02
_BLURRED_BY_GROWTH: Final = 0.35
_BLURRED_SIGMA: Final = 0.15
_WIDE: Final = 1.96


def corrected_by_fill(volume: Volume, body: Body, space: OpenSpace | None) -> tuple[float, Volume]:
    """Volume by thickness, drawn to what its outlines hold, by how sure either is.

    Args:
        volume: of two views or more.
        body: fitted to them.
        space: tells how much of a voxel is bone; None: the usual is taken.

    Returns:
        The factor, and the volume with it; 1 and the same where there is no number or next to no cement.
    """
    total_ml = body.total_ml
    if (
        volume.ml is None
        or volume.low_ml is None
        or volume.high_ml is None
        or min(volume.ml, total_ml) < 2.0 * LEAST_ML
    ):
        return 1.0, volume
    full = body.full
    expected, bone_sigma = _expected(body, space, full)
    # What the rays have and no voxel holds, all being full, is in the volume and not in the shares.
    fill = full * volume.ml / total_ml
    # Between full pores and cement alone (a void, a displaced trabecula) nothing is wrong.
    lack = math.log(expected / fill) if fill < expected else min(math.log(1.0 / fill), 0.0)
    own = max(math.log((volume.high_ml + LEAST_ML) / volume.ml) / _WIDE, 1e-3)
    small = _SMALL_ML / (_SMALL_ML + total_ml)
    fill_sigma = math.hypot(math.hypot(_SIGMA, bone_sigma), small * 0.3)
    doubted = max(own, _THICKNESS_SIGMA)
    weight = doubted**2 / (doubted**2 + fill_sigma**2)
    away = lack / (_DOUBTED * math.hypot(doubted, fill_sigma))
    weight /= 1.0 + away**2
    factor = math.exp(weight * lack)
    # Where both disagree the interval holds both.
    sigma = math.hypot(math.hypot((1.0 - weight) * own, weight * fill_sigma), 0.5 * weight * (1.0 - weight) * lack)
    ml = volume.ml * factor
    return factor, Volume(
        ml, max(ml * math.exp(-_WIDE * sigma) - LEAST_ML, 0.0), ml * math.exp(_WIDE * sigma) + LEAST_ML
    )


def of_rays_and_outlines(
    volumes_mm3: Sequence[float],
    views: Sequence[BinnedView],
    partly: Sequence[bool],
    body: Body,
    space: OpenSpace | None,
    *,
    squarely: bool,
    ahead: Sequence[float] = (),
    poses: Sequence[int | None] = (),
    agreements: Sequence[Agreement] = (),
) -> Volume | None:
    """The volume that all rays and the outlines agree on; None where a view that counts does not tell its opacity.

    Args:
        volumes_mm3: of each view, by thickness.
        views: in the same order.
        partly: which of them show but a part, one at least not: they count as a lower bound.
        body: fitted to them.
        space: tells how much of a voxel is bone; None: the usual is taken.
        squarely: seen from nearly at right angles: else the outlines leave the body too long.
        ahead: by how much the cement has grown since each of them, 1 or more; empty: they are of one moment.
        poses: the views' numbers in `agreements`; empty: none has one.
        agreements: what the poses showed of the same cement earlier.
    """
    numbers = list(poses) or [None] * len(views)
    grown = list(ahead) or [1.0] * len(views)
    volumes = [mm3 / 1000.0 * factor for mm3, factor in zip(volumes_mm3, grown, strict=True)]
    newest = max(ml for ml, part in zip(volumes, partly, strict=True) if not part)
    known = [
        rays_of(bins, ml, pose)
        for ml, bins, part, pose in zip(volumes, views, partly, numbers, strict=True)
        if not part or ml > newest
    ]
    counting = [rays for rays in known if rays is not None]
    if len(counting) < len(known):
        return None
    if not squarely:
        return weighed(counting, None, agreements)
    older = [ml for ml, part in zip(volumes, partly, strict=True) if part]
    since = max(1.0 - max(older) / max(newest, 1e-9), 0.0) if older else None
    now = [factor for factor, part in zip(grown, partly, strict=True) if not part]
    solid = solid_of(body, space, since=since, ahead=sum(now) / len(now))
    if solid is None or older:
        return weighed(counting, solid, agreements)
    asked = sum(volumes) / len(volumes) / max(body.total_ml, LEAST_ML) - 1.0
    much = min(max((asked - _USUALLY_ASKED) / (_MUCH_ASKED - _USUALLY_ASKED), 0.0), 1.0)
    doubted = [replace(rays, scatter_sigma=max(rays.scatter_sigma, _DOUBTED_SCATTER * much)) for rays in counting]
    told = weighed(doubted, replace(solid, ml=solid.ml * (1.0 - _CORNERS * much)), agreements)
    most_ml = _MOST_HELD * solid.most_ml + LEAST_ML
    if told.ml is None or told.high_ml is None or told.ml > most_ml:
        return told
    return replace(told, high_ml=min(told.high_ml, most_ml))


def solid_of(body: Body, space: OpenSpace | None, *, since: float | None = None, ahead: float = 1.0) -> Solid | None:
    """What the outlines of a body hold; None of next to nothing.

    Its voxels are counted, not its shares: those add up to what the thickness says, right or wrong.

    Args:
        body: fitted to the views.
        space: None: the usual bone is taken.
        since: share of the cement, 0 to 1, that came since a view that is old or shows but a part; None: all views are
            of now.
    """
    if body.total_ml < 2.0 * LEAST_ML:
        return None
    full = body.full
    expected, bone_sigma = _expected(body, space, full)
    within = int(np.count_nonzero((body.share >= _SURFACE * full) & (body.counted > 0)))
    blurred = 1.0 if since is None else _BLURRED + _BLURRED_BY_GROWTH * since
    held_ml = within * body.voxel_ml / blurred
    unseen = min(_RIM * _RIM_ML / max(held_ml, LEAST_ML), _MOST_RIM)
    solid_ml = held_ml * ahead / (1.0 - unseen) / max(held_ml, _RIM_ML) ** _BAYS
    small = _SMALL_ML / (_SMALL_ML + solid_ml)
    return Solid(
        solid_ml * expected,
        solid_ml,
        math.hypot(_SOLID_SIGMA if since is None else _BLURRED_SIGMA, bone_sigma, small * 0.3),
    )


def _expected(body: Body, space: OpenSpace | None, full: float) -> tuple[float, float]:
    """Share of a voxel that cement can take where the body is solid, and how sure that is."""
    if space is None:
        return _USUAL_SHARE, _USUAL_SIGMA
    solid = (body.share >= _EDGE * full) & (body.counted > 0)
    kji = np.argwhere(solid)
    hu = space.hu_at(kji[:, ::-1] * body.spacing_mm + body.first_lps_mm)
    pores = np.clip(1.0 - np.nan_to_num(hu, nan=0.0) / _SOLID_HU, 0.2, 1.0)
    return (float(pores.mean()), 0.0) if len(pores) else (_USUAL_SHARE, _USUAL_SIGMA)
