"""Bone as a solid with its marrow, and the skin: from zones where there are some, else proposed from CT values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from guidance.errors import GeometryError
from guidance.messages import F64, Zone, ZoneSite
from guidance.planning.distance import DistanceField, field_of_occupancy
from guidance.planning.fill import dilated, filled_bone, filled_slices
from guidance.planning.occupancy import Occupancy
from guidance.planning.working_grid import F32, WorkingGrid, box_of, finest_step_mm, grid_over, onto_grid

I16 = npt.NDArray[np.int16]
Mask = npt.NDArray[np.bool_]
ZoneField = tuple[Zone, DistanceField, Occupancy | None]

# CT values in HU. 130 is where calcium begins for coronary scores (Agatston et al., J Am Coll Cardiol 1990;15:827) and
# bone in 3D Slicer's tissue example; muscle has 25 to 70 there. Marrow may have less (it is filled in); a cortex has
# more than 250 somewhere, however thin.
BONE_HU: Final = 130.0
_CORTEX_HU: Final = 250.0
_METAL_HU: Final = 2200.0
_AIR_HU: Final = -1000
_SKIN_HU: Final = -300.0
_FAT_HU: Final = -100.0
_BONE_TOP_HU: Final = 1500.0  # above it the profile of a surface is metal's
_FINEST_MM, _COARSEST_MM = 0.8, 1.5
_SKIN_MM: Final = 1.6
_SMALLEST_ML: Final = 0.3
_BODY_PART: Final = 0.25  # a second body, as large as this part of the first, is one too
_MOSTLY_METAL: Final = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class BoneModel:
    """The patient's bone, whatever it was made of.

    Attributes:
        field: signed distance to the bone's surface, negative in bone; marrow is inside, foramina and canal are not.
        solid: the same as voxels, on an isotropic grid along LPS.
        source: words for the operator: which zones, or that it was proposed from CT values.
        skin: signed distance to the skin; None where no body was found.
    """

    field: DistanceField
    solid: Occupancy
    source: str
    skin: DistanceField | None


def bone_model(voxels_hu: I16, affine_lps_from_ijk: F64, zones: Sequence[ZoneField]) -> BoneModel:
    """Bone of a volume; zones of site bone win over CT values.

    Args:
        voxels_hu: `[k, j, i]` int16.
        affine_lps_from_ijk: (4, 4), may be sheared.
        zones: zones of the volume's frame; those of other sites are not looked at.

    Raises:
        GeometryError: `no_bone`: nothing in the volume looks like bone, and there is no zone.
    """
    bones = [zone for zone in zones if zone[0].site is ZoneSite.BONE]
    if bones:
        solid = union_of(bones, spacing_mm=working_spacing_mm(affine_lps_from_ijk))
        source = "bone zones: " + ", ".join(zone.name for zone, _, _ in bones)
    else:
        solid = propose_bone(voxels_hu, affine_lps_from_ijk)
        source = f"proposed from CT values above {BONE_HU:.0f} HU, not verified"
    try:
        skin: DistanceField | None = field_of_occupancy(propose_skin(voxels_hu, affine_lps_from_ijk))
    except GeometryError:
        skin = None
    return BoneModel(field_of_occupancy(solid), solid, source, skin)


def propose_bone(voxels_hu: I16, affine_lps_from_ijk: F64) -> Occupancy:
    """Bone from CT values: above a threshold, what the cortex encloses filled, its surface where half of it is bone.

    Metal in bone is part of it; metal by itself, crumbs and what lies outside the body are not. Vessels with contrast
    medium and calcified ones look like bone: it is a proposal.

    Args:
        voxels_hu: `[k, j, i]` int16; padding (-1500, -2000, -3024, 63536 as int16) counts as air.
        affine_lps_from_ijk: (4, 4), may be sheared.

    Returns:
        On an isotropic grid along LPS, of 0.8 to 1.5 mm, cut to the bone with an empty rim.

    Raises:
        GeometryError: `no_bone`.
    """
    grid = _grid_of(voxels_hu.shape, affine_lps_from_ijk, working_spacing_mm(affine_lps_from_ijk))
    hu = onto_grid(voxels_hu, affine_lps_from_ijk, grid, outside=_AIR_HU, lowest=_AIR_HU)
    mask = hu >= BONE_HU
    if not mask.any():
        raise _no_bone()
    low, high = _box(mask, 4)
    crop = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    hu, mask, grid = hu[crop], mask[crop], grid.part(low, high)
    mask = _bones(hu, mask, _in_body(voxels_hu, affine_lps_from_ijk, grid), grid.spacing_mm)
    if not mask.any():
        raise _no_bone()
    return cut(_surface_occupancy(hu, filled_bone(mask, grid.spacing_mm)), grid)


def propose_skin(voxels_hu: I16, affine_lps_from_ijk: F64) -> Occupancy:
    """The body's outer surface, all of its inside filled; the table and what lies about are left out.

    Raises:
        GeometryError: `no_body`: nothing but air.
    """
    grid = _grid_of(voxels_hu.shape, affine_lps_from_ijk, max(_SKIN_MM, finest_step_mm(affine_lps_from_ijk)))
    hu = onto_grid(voxels_hu, affine_lps_from_ijk, grid, outside=_AIR_HU, lowest=_AIR_HU)
    body = _bodies(hu > _SKIN_HU, grid.spacing_mm, most=1)
    if not body.any():
        raise GeometryError("no body is found in the volume", code="no_body", mend="is it a CT of a patient?")
    body = filled_slices(body)
    share = np.clip((hu - _AIR_HU) / (_FAT_HU - _AIR_HU), 0.0, 1.0)
    return cut(_shell(body, share), grid)


def union_of(zones: Sequence[ZoneField], *, spacing_mm: float) -> Occupancy:
    """One solid of several that touch or overlap, on an isotropic grid along LPS.

    Shares of a voxel add up, so that two labels with a common face leave no crack between them.
    """
    boxes = np.stack([field.bounds_lps_mm for _, field, _ in zones])
    grid = grid_over(boxes[:, 0].min(axis=0) - 2.0 * spacing_mm, boxes[:, 1].max(axis=0) + 2.0 * spacing_mm, spacing_mm)
    total = np.zeros(grid.shape_kji, np.float32)
    for zone in zones:
        block, part = share_in(zone, grid)
        total[block] += part
    return Occupancy((np.minimum(total, 1.0) * 255.0 + 0.5).astype(np.uint8), grid.affine_lps_from_ijk)


def share_on(zone: ZoneField, grid: WorkingGrid) -> F32:
    """How much of each voxel a zone fills, 0 to 1."""
    out = np.zeros(grid.shape_kji, np.float32)
    block, part = share_in(zone, grid)
    out[block] = part
    return out


def share_in(zone: ZoneField, grid: WorkingGrid) -> tuple[tuple[slice, ...], F32]:
    """As `share_on`, for the block of the grid outside of which the zone fills nothing.

    A mask's own voxels are averaged or interpolated: cheap, and one half stays where the mask's surface is. Drawn
    shapes come from their distance.
    """
    _, field, occupancy = zone
    bounds, origin, size = field.bounds_lps_mm, np.asarray(grid.origin_lps_mm), np.asarray(grid.shape_kji[::-1])
    steps = np.zeros(3) if occupancy is None else np.abs(occupancy.affine_lps_from_ijk[:3, :3]).sum(axis=1)
    rim = steps + grid.spacing_mm
    low = np.clip(np.floor((bounds[0] - rim - origin) / grid.spacing_mm), 0, size).astype(int)[::-1]
    high = np.clip(np.ceil((bounds[1] + rim - origin) / grid.spacing_mm) + 1, low[::-1], size).astype(int)[::-1]
    block = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    part = grid.part(low, high)
    if 0 in part.shape_kji:
        return block, np.zeros(part.shape_kji, np.float32)
    if occupancy is not None:
        crop, affine = _crop_of(occupancy, part)
        return block, onto_grid(crop, affine, part, outside=0.0) / np.float32(255.0)
    places = part.points(0, part.shape_kji[0])
    share = np.clip(0.5 - field.distance_mm(places) / grid.spacing_mm, 0.0, 1.0)
    return block, share.reshape(part.shape_kji).astype(np.float32)


def _crop_of(occupancy: Occupancy, grid: WorkingGrid) -> tuple[npt.NDArray[np.uint8], F64]:
    """The voxels of a mask that reach into a grid."""
    affine, values = occupancy.affine_lps_from_ijk, occupancy.values
    low_lps, high_lps = box_of(grid.shape_kji, grid.affine_lps_from_ijk)
    corners = np.stack(np.meshgrid(*zip(low_lps, high_lps, strict=True), indexing="ij"), axis=-1).reshape(-1, 3)
    ijk = (corners - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    size = np.asarray(values.shape[::-1])
    # Twice the widest block that is averaged: so that blocks at the crop's border are whole ones.
    low = np.clip(np.floor(ijk.min(axis=0)) - 16, 0, size - 1).astype(int)
    high = np.clip(np.ceil(ijk.max(axis=0)) + 17, low + 1, size).astype(int)
    cut_affine = affine.copy()
    cut_affine[:3, 3] += affine[:3, :3] @ low
    # A rim of nothing: the array's end is the zone's end.
    padded = np.pad(values[low[2] : high[2], low[1] : high[1], low[0] : high[0]], 1)
    cut_affine[:3, 3] -= affine[:3, :3] @ np.ones(3)
    return padded, cut_affine


def working_spacing_mm(affine_lps_from_ijk: F64) -> float:
    """Of the grid that bone is made on."""
    return float(np.clip(finest_step_mm(affine_lps_from_ijk), _FINEST_MM, _COARSEST_MM))


def cut(values: npt.NDArray[np.uint8], grid: WorkingGrid) -> Occupancy:
    """Cut to what is there, with an empty rim of 2 voxels (added where the array ends)."""
    low, high = _box(values > 0, 0)
    inside = np.ascontiguousarray(np.pad(values[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], 2))
    return Occupancy(inside, grid.part(low - 2, high + 2).affine_lps_from_ijk)


def _no_bone() -> GeometryError:
    return GeometryError(
        f"nothing in the volume looks like bone (above {BONE_HU:.0f} HU)",
        code="no_bone",
        mend="check that the volume has HU, or give bone zones",
    )


def _grid_of(shape_kji: tuple[int, ...], affine: F64, spacing_mm: float) -> WorkingGrid:
    low, high = box_of(shape_kji, affine)
    return grid_over(low, high, spacing_mm)


def _box(mask: Mask, rim: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    low, high = np.zeros(3, np.intp), np.zeros(3, np.intp)
    for axis in range(3):
        there = np.flatnonzero(mask.any(axis=tuple(n for n in range(3) if n != axis)))
        low[axis] = max(int(there[0]) - rim, 0)
        high[axis] = min(int(there[-1]) + 1 + rim, mask.shape[axis])
    return low, high


def _in_body(voxels_hu: I16, affine: F64, grid: WorkingGrid) -> Mask:
    """The bodies on a bone grid; worked out coarsely, for it only keeps the table and cables out."""
    coarse = _grid_of(voxels_hu.shape, affine, 4.0)
    hu = onto_grid(voxels_hu, affine, coarse, outside=_AIR_HU, lowest=_AIR_HU)
    bodies = dilated(_bodies(hu > _SKIN_HU, coarse.spacing_mm, most=8), 1)
    if not bodies.any():
        return np.ones(grid.shape_kji, np.bool_)
    return onto_grid(bodies.view(np.uint8), coarse.affine_lps_from_ijk, grid, outside=1.0) >= 0.5


def _bodies(mask: Mask, spacing_mm: float, *, most: int) -> Mask:
    """The largest parts once thin bridges (to the table) are cut."""
    cuts = max(round(3.0 / spacing_mm), 1)
    core = ~dilated(~mask, cuts)
    labels, count = ndimage.label(core)
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    order = np.argsort(-sizes, kind="stable")[:most]
    chosen = np.zeros(count + 1, np.bool_)
    chosen[order[sizes[order] >= _BODY_PART * sizes[order[0]]]] = True
    return dilated(chosen[labels], cuts + 1) & mask


def _bones(hu: F32, mask: Mask, body: Mask, spacing_mm: float) -> Mask:
    """Parts that lie in a body, have cortex, are no crumbs and not metal alone."""
    labels, count = ndimage.label(mask)
    every = np.arange(count + 1)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    metal = np.bincount(labels[hu > _METAL_HU], minlength=count + 1)
    cortex = np.bincount(labels[hu > _CORTEX_HU], minlength=count + 1)
    kept = (sizes * spacing_mm**3 >= 1000.0 * _SMALLEST_ML) & (cortex > 0) & (metal < _MOSTLY_METAL * sizes)
    kept &= (every > 0) & (np.bincount(labels[body], minlength=count + 1) > 0)
    return np.asarray(kept[labels])


def _surface_occupancy(hu: F32, solid: Mask) -> npt.NDArray[np.uint8]:
    """The surface is where CT values are half way between what is around it and the bone beneath it."""
    value = np.clip(hu, _AIR_HU, _BONE_TOP_HU)
    low = ndimage.minimum_filter(value, 3)
    high = ndimage.maximum_filter(value, 3)
    return _shell(solid, (value - low) / np.maximum(high - low, 1.0))


def _shell(solid: Mask, share: F32) -> npt.NDArray[np.uint8]:
    """255 within, 0 without, the share in the two layers of voxels at the surface."""
    inner, outer = ~dilated(~solid, 1), dilated(solid, 1)
    out = np.where(inner, 255, 0).astype(np.uint8)
    layer = outer & ~inner
    out[layer] = np.clip(share[layer] * 255.0 + 0.5, 0, 255).astype(np.uint8)
    return out
