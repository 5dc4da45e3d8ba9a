"""Sacrum and hips as parts of one solid whose sacroiliac joints are closed: from bone zones, or parted from bone."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from guidance.messages import F64, Zone, ZoneSide, ZoneSite
from guidance.planning.bone import ZoneField, share_on
from guidance.planning.fill import dilated
from guidance.planning.occupancy import Occupancy
from guidance.planning.signed import ShareSurface
from guidance.planning.working_grid import F32, MOST_SEARCHED_VOXELS, WorkingGrid, grid_over, onto_grid

Mask = npt.NDArray[np.bool_]

JOINT_MM: Final = 6.0  # widest gap between sacrum and hip that is their joint's: 2 to 4 mm, and what 3 mm voxels add
_FACING: Final = -0.8  # cosine between the ways to sacrum and hip: they face each other across the joint
_ASIDE_MM: Final = 45.0  # of the ring beyond the sacrum, on all sides
_LEAST_BLOCK: Final = 3  # voxels; nothing faces anything in less
_HIP_ML: Final = 20.0  # a hip in a short field of view has more
_OPEN_MM: Final = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
_SACRAL_LEVELS: Final = ("S1", "S2", "S3", "S4", "S5")
_SACRUM: Final = re.compile(r"sacr|kreuzbein")
_NOT_SACRUM: Final = re.compile(r"ilia|iliu|ilio|joint|foram|canal")
_HIP: Final = re.compile(r"\bhips?\b|\bili(um|ac bone)|innominate|\bcoxa|hueft|hüft|darmbein|pelvi[sc]|hemipelvis")
_LUMBAR: Final = re.compile(r"^[LTC]\d+$")


@dataclass(frozen=True, slots=True, eq=False)
class PelvicRing:
    """Sacrum and hips on one grid.

    Attributes:
        grid: isotropic, along LPS.
        sacrum: how much of each voxel it fills, 0 to 1.
        left_hip, right_hip: their surfaces.
        solid: all of them with the joints closed; nothing is cut out yet.
        center_lps_mm: middle of the sacrum.
        left, head: unit vectors; `left` joins the hips' middles, `head` is across it.
        levels: parts of the sacrum that zones name, by level.
        source: words.
    """

    grid: WorkingGrid
    sacrum: F32
    left_hip: ShareSurface
    right_hip: ShareSurface
    solid: F32
    center_lps_mm: F64
    left: F64
    head: F64
    levels: dict[str, F32]
    source: str

    @property
    def back(self) -> F64:
        """Unit vector to the patient's back."""
        return np.asarray(np.cross(self.head, self.left))


def ring_of_zones(zones: Sequence[ZoneField], spacing_mm: float) -> PelvicRing | None:
    """The ring from bone zones named sacrum, S1 ... S5, hip or ilium; None where sacrum or a hip is missing."""
    bones = [entry for entry in zones if entry[0].site is ZoneSite.BONE]
    sacral = [entry for entry in bones if _is_sacral(entry[0])]
    hips = [entry for entry in bones if _is_hip(entry[0])]
    if not sacral or not hips:
        return None
    boxes = np.stack([field.bounds_lps_mm for _, field, _ in sacral])
    low, high = boxes[:, 0].min(axis=0) - _ASIDE_MM, boxes[:, 1].max(axis=0) + _ASIDE_MM
    hip_boxes = np.stack([field.bounds_lps_mm for _, field, _ in hips])
    low = np.maximum(low, np.minimum(hip_boxes[:, 0].min(axis=0), boxes[:, 0].min(axis=0)) - 2.0 * spacing_mm)
    high = np.minimum(high, np.maximum(hip_boxes[:, 1].max(axis=0), boxes[:, 1].max(axis=0)) + 2.0 * spacing_mm)
    grid = grid_over(low, high, spacing_mm, most_voxels=MOST_SEARCHED_VOXELS)
    shares = [share_on(entry, grid) for entry in sacral]
    levels = {zone.level: share for (zone, _, _), share in zip(sacral, shares, strict=True) if zone.level}
    sacrum = np.minimum(np.sum(shares, axis=0, dtype=np.float32), 1.0)
    if not (sacrum >= 0.5).any():
        return None
    middle = _centroid(sacrum, grid)
    sides = {ZoneSide.LEFT: np.zeros_like(sacrum), ZoneSide.RIGHT: np.zeros_like(sacrum)}
    is_left = grid.origin_lps_mm[0] + grid.spacing_mm * np.arange(grid.shape_kji[2]) > middle[0]
    for entry in hips:
        share = share_on(entry, grid)
        side = _side_of(entry[0])
        if side is None:
            sides[ZoneSide.LEFT] += share * is_left
            sides[ZoneSide.RIGHT] += share * ~is_left
        else:
            sides[side] += share
    names = ", ".join(zone.name for zone, _, _ in (*sacral, *hips))
    return _ring(
        grid,
        sacrum,
        np.minimum(sides[ZoneSide.LEFT], 1.0),
        np.minimum(sides[ZoneSide.RIGHT], 1.0),
        levels,
        f"bone zones {names}",
    )


def ring_of_bone(bone: Occupancy, spacing_mm: float) -> PelvicRing | None:
    """The ring from bone without names: what crosses the midline between two large bones is taken for the sacrum.

    None where bone cannot be parted that way.
    """
    values = bone.values
    x, y, z = bone.affine_lps_from_ijk[:3, 3].tolist()
    here = WorkingGrid(
        (x, y, z),
        float(bone.affine_lps_from_ijk[0, 0]),
        (values.shape[0], values.shape[1], values.shape[2]),
    )
    low = np.asarray(here.origin_lps_mm)
    grid = grid_over(low, low + here.spacing_mm * (np.array(values.shape[::-1]) - 1), max(spacing_mm, here.spacing_mm))
    share = onto_grid(values, bone.affine_lps_from_ijk, grid, outside=0.0) / np.float32(255.0)
    parts = _parted(share >= 0.5, grid)
    if parts is None:
        return None
    middle, left, right = parts
    near = dilated(middle | left | right, 1)
    sacrum, left_hip, right_hip = (share * (dilated(part, 1) & near) for part in (middle, left, right))
    low_kji, high_kji = _box_around(middle, round(_ASIDE_MM / grid.spacing_mm))
    crop = tuple(slice(a, b) for a, b in zip(low_kji, high_kji, strict=True))
    return _ring(
        grid.part(low_kji, high_kji),
        np.ascontiguousarray(sacrum[crop]),
        np.ascontiguousarray(left_hip[crop]),
        np.ascontiguousarray(right_hip[crop]),
        {},
        "bone proposed from CT values",
    )


def _is_sacral(zone: Zone) -> bool:
    name = zone.name.lower().replace("_", " ")
    if zone.level in _SACRAL_LEVELS:
        return not _HIP.search(name)
    return bool(_SACRUM.search(name)) and not _NOT_SACRUM.search(name) and not _LUMBAR.match(zone.level)


def _is_hip(zone: Zone) -> bool:
    return bool(_HIP.search(zone.name.lower().replace("_", " ")))


def _side_of(zone: Zone) -> ZoneSide | None:
    if zone.side in (ZoneSide.LEFT, ZoneSide.RIGHT):
        return zone.side
    words = set(re.split(r"[^a-z]+", zone.name.lower()))
    for side in (ZoneSide.LEFT, ZoneSide.RIGHT):
        if side.value in words:
            return side
    return None


def _ring(
    grid: WorkingGrid, sacrum: F32, left_hip: F32, right_hip: F32, levels: dict[str, F32], source: str
) -> PelvicRing | None:
    if not ((left_hip >= 0.5).any() and (right_hip >= 0.5).any() and (sacrum >= 0.5).any()):
        return None
    across = _centroid(left_hip, grid) - _centroid(right_hip, grid)
    left = across / np.linalg.norm(across)
    if left[0] < np.cos(np.radians(25.0)):  # hips cut differently by the field of view
        left = np.array([1.0, 0.0, 0.0])
    head = np.array([0.0, 0.0, 1.0]) - left * left[2]
    solid = sacrum + left_hip + right_hip
    surface, hips = ShareSurface(sacrum, grid), (ShareSurface(left_hip, grid), ShareSurface(right_hip, grid))
    for hip, share in zip(hips, (left_hip, right_hip), strict=True):
        low, high = _both_near(sacrum, share, math.ceil(JOINT_MM / grid.spacing_mm) + 2)
        block, part = tuple(slice(a, b) for a, b in zip(low, high, strict=True)), grid.part(low, high)
        if min(part.shape_kji) >= _LEAST_BLOCK:
            joint = _joint(surface.on(part), hip.on(part), grid.spacing_mm)
            solid[block] = np.maximum(solid[block], joint)
    return PelvicRing(
        grid,
        sacrum,
        *hips,
        np.minimum(solid, 1.0),
        _centroid(sacrum, grid),
        left,
        head / np.linalg.norm(head),
        levels,
        source,
    )


def _joint(to_sacrum: F32, to_hip: F32, spacing_mm: float) -> F32:
    """Share of each voxel that lies between sacrum and hip where these face each other."""
    width = np.maximum(to_sacrum, 0.0) + np.maximum(to_hip, 0.0)
    near = width <= JOINT_MM + 0.5 * spacing_mm
    for axis in range(3):
        ends: list[slice | int] = [slice(None)] * 3
        for end in (0, -1):
            ends[axis] = end
            near[tuple(ends)] = False
    k, j, i = np.nonzero(near)
    cosine = np.zeros(len(k), np.float32)
    lengths = [np.zeros(len(k), np.float32), np.zeros(len(k), np.float32)]
    for step in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        ahead, behind = (k + step[0], j + step[1], i + step[2]), (k - step[0], j - step[1], i - step[2])
        one, other = to_sacrum[ahead] - to_sacrum[behind], to_hip[ahead] - to_hip[behind]
        cosine += one * other
        lengths[0] += one * one
        lengths[1] += other * other
    cosine /= np.sqrt(np.maximum(lengths[0] * lengths[1], 1e-12))
    share = np.clip(0.5 + (JOINT_MM - width[k, j, i]) / spacing_mm, 0.0, 1.0)
    # Voxels are stairs, and single ones face askew: their neighbours in the gap are asked too.
    around, count = np.zeros_like(width), near.astype(np.float32)
    around[k, j, i] = cosine
    mean = (ndimage.uniform_filter(around, 3) / np.maximum(ndimage.uniform_filter(count, 3), 1e-3))[k, j, i]
    out = np.zeros_like(width)
    out[k, j, i] = np.where(np.minimum(cosine, mean) <= _FACING, share, 0.0)
    return out


def _centroid(share: F32, grid: WorkingGrid) -> F64:
    weights = [share.sum(axis=tuple(m for m in range(3) if m != n), dtype=np.float64) for n in (2, 1, 0)]
    places = [float((w * np.arange(len(w))).sum() / w.sum()) for w in weights]
    return np.asarray(grid.origin_lps_mm) + grid.spacing_mm * np.array(places)


def _both_near(one: F32, other: F32, rim: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The block within a rim of both; empty where there is none."""
    (low_a, high_a), (low_b, high_b) = _box_around(one >= 0.5, rim), _box_around(other >= 0.5, rim)
    low = np.maximum(low_a, low_b)
    return low, np.maximum(np.minimum(high_a, high_b), low)


def _box_around(mask: Mask, rim: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    found = ndimage.find_objects(mask.view(np.uint8))[0]
    low = np.array([max(part.start - rim, 0) for part in found], np.intp)
    high = np.array([min(part.stop + rim, n) for part, n in zip(found, mask.shape, strict=True)], np.intp)
    return low, high


def _parted(bone: Mask, grid: WorkingGrid) -> tuple[Mask, Mask, Mask] | None:
    """Middle, left and right bone: opened with growing balls until they come apart, then grown back."""
    for opening_mm in _OPEN_MM:
        times = round(opening_mm / grid.spacing_mm)
        labels, count = ndimage.label(~dilated(~bone, times) if times else bone)
        if count < 3:
            continue
        chosen = _three(labels, count, grid)
        if chosen is None:
            continue
        seeds = np.select([labels == chosen[0], labels == chosen[1], labels == chosen[2]], [1, 2, 3], 0).astype(
            np.uint8
        )
        grown = _grown(seeds, bone, 2 * times + 1) if times else seeds
        return grown == 1, grown == 2, grown == 3
    return None


def _three(labels: npt.NDArray[np.int32], count: int, grid: WorkingGrid) -> tuple[int, int, int] | None:
    sizes = np.bincount(labels.ravel(), minlength=count + 1) * grid.spacing_mm**3 / 1000.0
    large = [n for n in range(1, count + 1) if sizes[n] >= _HIP_ML]
    boxes = ndimage.find_objects(labels)
    spans = {n: (boxes[n - 1][2].start, boxes[n - 1][2].stop) for n in large}
    best: tuple[float, tuple[int, int, int]] | None = None
    for middle in large:
        center = sum(spans[middle]) / 2.0
        # The patient's left is where x rises.
        right = [n for n in large if n != middle and spans[n][1] <= center]
        left = [n for n in large if n != middle and spans[n][0] >= center]
        if not left or not right:
            continue
        three = (middle, max(left, key=lambda n: float(sizes[n])), max(right, key=lambda n: float(sizes[n])))
        total = float(sum(sizes[n] for n in three))
        if best is None or total > best[0]:
            best = (total, three)
    return None if best is None else best[1]


def _grown(seeds: npt.NDArray[np.uint8], bone: Mask, times: int) -> npt.NDArray[np.uint8]:
    """Seeds grown within bone, each into what no other has."""
    out = seeds
    for _ in range(times):
        free = bone & (out == 0)
        if not free.any():
            break
        grown = ndimage.grey_dilation(out, footprint=ndimage.generate_binary_structure(3, 1))
        out = np.where(free, grown, out)
    return out
