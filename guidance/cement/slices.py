"""CT slices taken while cement flows: where it is for certain, and how far the thickness's volume is off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from guidance.cement.cannula import Cannula
from guidance.cement.interval import LEAST_ML, Volume
from guidance.cement.space import OpenSpace
from guidance.cement.touching import Body
from guidance.errors import GeometryError
from guidance.messages import F32, F64
from guidance.planning.working_grid import WorkingGrid

# CT values in HU. Cement with 10 % to 30 % of barium sulphate has 1500 to 3000 and more; marrow that is half filled
# rises by half of that.
_RISE_HU: Final = 500.0
_LEAST_HU: Final = 600.0
_SOLID_HU: Final = 1800.0  # bone without pores
_FULL_PERCENTILE: Final = 80.0
_NO_ROOM: Final = 0.03  # prior where a slice shows none
_ROOM: Final = 4.0  # and where it shows cement
_FORGOTTEN_S: Final = 8.0  # a slice's "none here" is worth half after this: cement flows on
_FRESH_S: Final = 3.0
_SLICE_SIGMA: Final = 0.12  # of a slice's volume: thickness, half full voxels, bone that is left in it
# Around a cannula: a planned path and what lies along it are as near, and steel's edge is blurred.
_STEEL_MM: Final = 0.4
_LEAST_SLAB_ML: Final = 0.1
_MOST_SLICES: Final = 64
_WIDE: Final = 1.96


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CementSlice:
    """A CT-fluoroscopy slice.

    Attributes:
        pixels_hu: (rows, columns), any number type.
        affine_lps_from_ijk: (4, 4); column, row and, of unit length or the thickness's, the normal; k is 0.
        thickness_mm: of the slice, > 0.
        received_ns: server's monotonic clock.
    """

    pixels_hu: npt.NDArray[Any]
    affine_lps_from_ijk: F64
    thickness_mm: float
    received_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class ShownBySlice:
    """New cement in one slice; N pixels hold some.

    Attributes:
        points_lps_mm: (N, 3) their middles.
        share: (N,) of each that is cement, over 0 to 1.
        pixel_ml: (N,) cement in each.
        ml: of all.
        middle_lps_mm: (3,) of it, in the slice's plane.
        normal: (3,) of the plane, unit length.
        thickness_mm, received_ns: of the slice.
    """

    points_lps_mm: F64
    share: F32
    pixel_ml: F64
    ml: float
    middle_lps_mm: F64
    normal: F64
    thickness_mm: float
    received_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """What a slice shows.

    Attributes:
        share: (rows, columns) float32 of each pixel that is new cement, 0 to 1; NaN where the volume ends.
        ml: of it, bone taken off.
    """

    share: F32
    ml: float
    origin: F64
    ij_from_lps: F64
    normal: F64
    thickness_mm: float
    received_ns: int


@dataclass(slots=True)
class Slices:
    """The slices of this run.

    Attributes:
        space: what was there before; None: only what is denser than bone counts as cement.
    """

    space: OpenSpace | None
    _cuts: list[_Cut] = field(default_factory=list)
    _shown: list[ShownBySlice] = field(default_factory=list)  # one by cut

    @property
    def shown(self) -> Sequence[ShownBySlice]:
        """What each slice that counts shows, the newest last."""
        return self._shown

    def add(self, one: CementSlice, cannulas: Sequence[Cannula] = ()) -> float:
        """Take a slice in.

        Args:
            one: the slice.
            cannulas: steel that is no cement.

        Returns:
            ml of new cement in it.

        Raises:
            GeometryError: `bad_slice`: no plane, no thickness, no pixels.
        """
        cut = _cut(one, self.space, cannulas)
        # The same plane again: the newer counts.
        kept = [n for n, old in enumerate(self._cuts) if not _one_plane(old, cut)][-(_MOST_SLICES - 1) :]
        self._shown = [*(self._shown[n] for n in kept), _shown_by(cut)]
        self._cuts = [*(self._cuts[n] for n in kept), cut]
        return cut.ml

    def weigh(self, prior: F32, grid: WorkingGrid, now_ns: int) -> None:
        """Change a prior in place where slices were taken."""
        points = grid.points(0, grid.shape_kji[0]) if self._cuts else np.empty((0, 3))
        for cut in self._cuts:
            inside, share = _looked_up(cut, points, grid.spacing_mm)
            old = 0.5 ** (max(now_ns - cut.received_ns, 0) / 1e9 / _FORGOTTEN_S)
            none = np.float32(1.0 - (1.0 - _NO_ROOM) * old)
            flat = prior.reshape(-1)
            flat[inside] = np.where(
                share >= 0.5, np.maximum(flat[inside], 0.3) * np.float32(_ROOM), flat[inside] * none
            )

    def corrected(self, volume: Volume, body: Body, now_ns: int) -> tuple[float, Volume]:
        """Volume by thickness, and what the newest slices say of its scale.

        Returns:
            The factor, and the volume with it; 1 and the same where no slice is new or has enough cement in it.
        """
        if volume.ml is None or volume.low_ml is None or volume.high_ml is None or volume.ml <= 0.0:
            return 1.0, volume
        fresh = [cut for cut in self._cuts if now_ns - cut.received_ns <= _FRESH_S * 1e9]
        pairs = [(cut.ml, _slab_ml(cut, body)) for cut in fresh]
        seen, made = (sum(values) for values in zip(*pairs, strict=True)) if pairs else (0.0, 0.0)
        # The volume is what the shares add up to, corrected already by what else is known.
        made *= volume.ml / max(body.total_ml, LEAST_ML)
        if min(seen, made) < _LEAST_SLAB_ML:
            return 1.0, volume
        own = max(math.log((volume.high_ml + LEAST_ML) / volume.ml) / _WIDE, 1e-3)
        weight = own**2 / (own**2 + _SLICE_SIGMA**2)
        factor = (seen / made) ** weight
        sigma = math.sqrt(weight) * _SLICE_SIGMA
        ml = volume.ml * factor
        return factor, Volume(
            ml, max(ml * math.exp(-_WIDE * sigma) - LEAST_ML, 0.0), ml * math.exp(_WIDE * sigma) + LEAST_ML
        )


def _cut(one: CementSlice, space: OpenSpace | None, cannulas: Sequence[Cannula]) -> _Cut:
    affine = np.asarray(one.affine_lps_from_ijk, np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or one.pixels_hu.ndim != 2 or one.pixels_hu.size == 0:
        raise _bad("it needs pixels and a finite (4, 4) matrix")
    normal: F64 = np.cross(affine[:3, 0], affine[:3, 1])
    area_mm2 = float(np.linalg.norm(normal))
    if not area_mm2 > 1e-9 or not 0.0 < one.thickness_mm < math.inf:
        raise _bad("its plane has no area, or it has no thickness")
    normal = normal / area_mm2
    frame = np.column_stack([affine[:3, 0], affine[:3, 1], normal])
    hu = np.nan_to_num(np.asarray(one.pixels_hu, np.float32), nan=-1024.0, posinf=-1024.0, neginf=-1024.0)
    rows, columns = hu.shape
    v, u = np.mgrid[0:rows, 0:columns]
    points = affine[:3, 3] + u.reshape(-1, 1) * affine[:3, 0] + v.reshape(-1, 1) * affine[:3, 1]
    before = (space.hu_at(points) if space is not None else np.full(hu.size, 0.0, np.float32)).reshape(hu.shape)
    rise = hu - np.nan_to_num(before, nan=3000.0)
    new = (rise > _RISE_HU) & (hu > (_LEAST_HU if space is not None else _SOLID_HU))
    for cannula in cannulas:
        new &= ~cannula.holds(points, around_mm=_STEEL_MM).reshape(hu.shape)
    share = np.zeros(hu.shape, np.float32)
    ml = 0.0
    if new.any():
        full = float(np.percentile(rise[new], _FULL_PERCENTILE))
        share = np.asarray(
            np.where(rise > 0.2 * full, np.clip(rise / full, 0.0, 1.0) * (new | _beside(new)), 0.0), np.float32
        )
        room = np.clip(1.0 - np.nan_to_num(before, nan=0.0) / _SOLID_HU, 0.3, 1.0)
        ml = float((share * room).sum(dtype=np.float64)) * area_mm2 * one.thickness_mm / 1000.0
    share[np.isnan(before)] = np.nan
    return _Cut(
        share,
        ml,
        affine[:3, 3].copy(),
        np.asarray(np.linalg.inv(frame), np.float64),
        normal,
        one.thickness_mm,
        one.received_ns,
    )


def _shown_by(cut: _Cut) -> ShownBySlice:
    share = np.nan_to_num(cut.share, nan=0.0)
    ji = np.argwhere(share > 0.0)
    frame = np.linalg.inv(cut.ij_from_lps)
    points = cut.origin + ji[:, 1:] * frame[:, 0] + ji[:, :1] * frame[:, 1]
    there = share[tuple(ji.T)]
    weights = there / max(float(there.sum(dtype=np.float64)), 1e-9)
    return ShownBySlice(
        points_lps_mm=np.ascontiguousarray(points, np.float64),
        share=there,
        pixel_ml=np.asarray(weights * cut.ml, np.float64),
        ml=cut.ml,
        middle_lps_mm=np.asarray(weights @ points, np.float64) if len(ji) else cut.origin,
        normal=cut.normal,
        thickness_mm=cut.thickness_mm,
        received_ns=cut.received_ns,
    )


def _beside(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    out = np.zeros_like(mask)
    out[1:] |= mask[:-1]
    out[:-1] |= mask[1:]
    out[:, 1:] |= mask[:, :-1]
    out[:, :-1] |= mask[:, 1:]
    return out


def _one_plane(old: _Cut, new: _Cut) -> bool:
    along = abs(float(old.normal @ new.normal))
    return along > 0.999 and abs(float(new.normal @ (old.origin - new.origin))) < 0.25 * new.thickness_mm


def _looked_up(cut: _Cut, points: F64, spacing_mm: float) -> tuple[npt.NDArray[np.bool_], F32]:
    """Which points a slice tells of, and its share there."""
    ijn = (points - cut.origin) @ cut.ij_from_lps.T
    rows, columns = cut.share.shape
    index = np.rint(ijn[:, :2]).astype(np.intp)
    inside = np.abs(ijn[:, 2]) <= 0.5 * max(cut.thickness_mm, spacing_mm)
    inside &= (index >= 0).all(axis=1) & (index[:, 0] < columns) & (index[:, 1] < rows)
    share = cut.share[index[inside, 1], index[inside, 0]]
    known = ~np.isnan(share)
    inside[inside] = known
    return inside, share[known]


def _slab_ml(cut: _Cut, body: Body) -> float:
    """Cement of the body within a slice's thickness and field."""
    kji = np.argwhere((body.share > 0.0) & (body.counted > 0))
    points = (kji[:, ::-1] + body.first_ijk) * body.spacing_mm
    ijn = (points - cut.origin) @ cut.ij_from_lps.T
    rows, columns = cut.share.shape
    # A voxel at the slab's face is in it by its share.
    part = np.clip(0.5 + (0.5 * cut.thickness_mm - np.abs(ijn[:, 2])) / body.spacing_mm, 0.0, 1.0)
    part = np.minimum(part, cut.thickness_mm / body.spacing_mm)
    on = (ijn[:, 0] > -0.5) & (ijn[:, 0] < columns - 0.5) & (ijn[:, 1] > -0.5) & (ijn[:, 1] < rows - 0.5)
    return float((body.share[tuple(kji[on].T)] * part[on]).sum(dtype=np.float64)) * body.voxel_ml


def _bad(why: str) -> GeometryError:
    return GeometryError(f"the CT slice tells nothing: {why}", code="bad_slice", mend="send an axial CT image")
