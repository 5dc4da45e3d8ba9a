"""Where cement can be: the volume reduced to classes on a grid of about 1 mm, made once and sent as bytes."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from guidance.errors import GeometryError
from guidance.messages import F32, F64, U8
from guidance.planning.bone import propose_bone
from guidance.planning.working_grid import WorkingGrid, box_of, finest_step_mm, grid_over, onto_grid

SPACING_MM: Final = 1.0
_MOST_VOXELS: Final = 12_000_000
# CT values in HU. Bone is found as planning finds it (130 HU); between trabeculae and cortex the borders below are
# those of Hounsfield-based bone grading (Misch, Contemporary Implant Dentistry, D1 is above 1250, D2 from 850).
_AIR_HU: Final = -300.0
_CORTEX_HU: Final = 850.0
_METAL_HU: Final = 2200.0
_PADDING_HU: Final = -1000
_SOLID_HU: Final = 1800.0  # mineralised bone without pores
_CODE_STEP_HU: Final = 16.0
_CODE_FIRST_HU: Final = -1024.0


class Tissue(IntEnum):
    """Classes of voxels; `CANCELLOUS`: all that a cortex encloses, lesions and voids in it too."""

    OUTSIDE = 0
    AIR = 1
    SOFT = 2
    CANCELLOUS = 3
    CORTICAL = 4
    METAL = 5


class CementSpace(msgspec.Struct, frozen=True, kw_only=True):
    """Tissue on a coarse grid along LPS.

    Attributes:
        tissue: zlib-compressed uint8, `[k, j, i]` in C order: `Tissue`.
        hu_code: zlib-compressed uint8, same order: (HU + 1024) / 16, so that old cement and metal are known.
        shape_kji: its shape.
        spacing_mm: edge of a voxel.
        origin_lps_mm: of the first voxel's centre.
        bone: "" where bone was found, else words why not: then all that is dense counts as bone.
    """

    tissue: bytes
    hu_code: bytes
    shape_kji: tuple[int, int, int]
    spacing_mm: float
    origin_lps_mm: tuple[float, float, float]
    bone: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class OpenSpace:
    """The space unpacked, for looking up.

    Attributes:
        tissue: `[k, j, i]` uint8, `Tissue`.
        hu_code: `[k, j, i]` uint8.
        grid: where.
    """

    tissue: U8
    hu_code: U8
    grid: WorkingGrid

    def at(self, points_lps_mm: F64) -> U8:
        """(N,) tissue of the nearest voxels of (N, 3) points; `Tissue.OUTSIDE` off the grid."""
        return _looked_up(self.tissue, self.grid, points_lps_mm, Tissue.OUTSIDE)

    def hu_at(self, points_lps_mm: F64) -> F32:
        """(N,) HU of the nearest voxels, in steps of 16; NaN off the grid."""
        codes = _looked_up(self.hu_code, self.grid, points_lps_mm, 0).astype(np.float32)
        hu = codes * np.float32(_CODE_STEP_HU) + np.float32(_CODE_FIRST_HU)
        hu[self.at(points_lps_mm) == Tissue.OUTSIDE] = np.nan
        return hu

    def on(self, grid: WorkingGrid) -> U8:
        """Tissue at a grid's points, nearest voxel; `Tissue.OUTSIDE` off this one."""
        return _resliced(self.tissue, self.grid, grid, Tissue.OUTSIDE)

    def hu_on(self, grid: WorkingGrid) -> F32:
        """HU at a grid's points, nearest voxel, in steps of 16; -1024 off this one."""
        codes = _resliced(self.hu_code, self.grid, grid, 0).astype(np.float32)
        return codes * np.float32(_CODE_STEP_HU) + np.float32(_CODE_FIRST_HU)


def cement_space(voxels_hu: npt.NDArray[Any], affine_lps_from_ijk: F64) -> CementSpace:
    """Reduce a volume to what cement can and cannot fill; seconds for a large one.

    Args:
        voxels_hu: `[k, j, i]`, HU; int16 as planning's; padding counts as air.
        affine_lps_from_ijk: (4, 4), voxel centres at integers; may be sheared or mirrored.

    Raises:
        GeometryError: `singular_grid`: no volume, or a matrix that is not finite.
    """
    affine = np.ascontiguousarray(affine_lps_from_ijk, np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(float(np.linalg.det(affine[:3, :3]))) < 1e-9:
        raise GeometryError("the volume's grid has no volume", code="singular_grid", mend="send the volume again")
    if voxels_hu.ndim != 3 or voxels_hu.size == 0:
        raise GeometryError("the volume has no voxels", code="singular_grid", mend="send the volume again")
    voxels = _as_hu(voxels_hu)
    low, high = box_of(voxels.shape, affine)
    grid = grid_over(low, high, max(SPACING_MM, min(finest_step_mm(affine), 3.0)), most_voxels=_MOST_VOXELS)
    hu = onto_grid(voxels, affine, grid, outside=_PADDING_HU - 24.0, lowest=_PADDING_HU)
    solid, bone = _solid(voxels, affine, grid)
    tissue = _tissue(hu, solid)
    tissue[hu < _PADDING_HU - 12.0] = Tissue.OUTSIDE
    code = np.clip((hu - _CODE_FIRST_HU) / _CODE_STEP_HU + 0.5, 0.0, 255.0).astype(np.uint8)
    return CementSpace(
        tissue=zlib.compress(tissue.tobytes(), 1),
        hu_code=zlib.compress(code.tobytes(), 1),
        shape_kji=grid.shape_kji,
        spacing_mm=grid.spacing_mm,
        origin_lps_mm=grid.origin_lps_mm,
        bone=bone,
    )


def opened(space: CementSpace) -> OpenSpace:
    """Unpack; some 20 ms for ten million voxels.

    Raises:
        GeometryError: `bad_space`: bytes and shape contradict each other.
    """
    try:
        tissue, code = (
            np.frombuffer(zlib.decompress(packed), np.uint8).reshape(space.shape_kji)
            for packed in (space.tissue, space.hu_code)
        )
    except (zlib.error, ValueError):
        raise GeometryError(
            "the space for cement is damaged", code="bad_space", mend="have it made of the volume again"
        ) from None
    return OpenSpace(tissue, code, WorkingGrid(space.origin_lps_mm, space.spacing_mm, space.shape_kji))


def room_for_cement(tissue: U8, hu: F32) -> F32:
    """How readily cement fills a voxel, 0 to 1: pores in bone all, soft tissue some (a leak), cortex and metal hardly.

    Not a share of the volume: what is filled is measured. A prior that is 0 nowhere but in air and outside, for
    cortex is broken where cement leaks, and a coarse voxel of it has marrow in it.
    """
    table = np.zeros(256, np.float32)
    table[Tissue.SOFT], table[Tissue.CANCELLOUS], table[Tissue.CORTICAL], table[Tissue.METAL] = 0.25, 1.0, 0.3, 0.05
    room = table[tissue]
    pores = np.clip(1.0 - hu / np.float32(_SOLID_HU), 0.3, 1.0)
    inside = tissue == Tissue.CANCELLOUS
    room[inside] = pores[inside]
    return room


def _as_hu(voxels_hu: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    if voxels_hu.dtype == np.int16:
        return voxels_hu
    clean = np.nan_to_num(np.asarray(voxels_hu, np.float32), nan=_PADDING_HU, posinf=32767.0, neginf=_PADDING_HU)
    return np.clip(clean, -32768.0, 32767.0).astype(np.int16)


def _solid(voxels: npt.NDArray[np.int16], affine: F64, grid: WorkingGrid) -> tuple[npt.NDArray[np.bool_] | None, str]:
    """Bone with its marrow on the grid; None with words where none is found."""
    try:
        bone = propose_bone(voxels, affine)
    except GeometryError as error:
        return None, str(error.args[0])
    filled = onto_grid(bone.values, bone.affine_lps_from_ijk, grid, outside=0.0)
    return filled >= 127.5, ""


def _tissue(hu: F32, solid: npt.NDArray[np.bool_] | None) -> U8:
    bone = solid if solid is not None else hu > 130.0
    tissue = np.full(hu.shape, Tissue.SOFT, np.uint8)
    tissue[hu < _AIR_HU] = Tissue.AIR
    tissue[bone] = Tissue.CANCELLOUS
    tissue[bone & (hu >= _CORTEX_HU)] = Tissue.CORTICAL
    tissue[hu >= _METAL_HU] = Tissue.METAL
    return tissue


def _looked_up(values: U8, grid: WorkingGrid, points_lps_mm: F64, outside: int) -> U8:
    index = np.rint((points_lps_mm - np.asarray(grid.origin_lps_mm)) / grid.spacing_mm)
    size = np.asarray(grid.shape_kji[::-1])
    with np.errstate(invalid="ignore"):
        inside = np.isfinite(index).all(axis=1) & (index >= 0).all(axis=1) & (index < size).all(axis=1)
    out = np.full(len(index), outside, np.uint8)
    i, j, k = index[inside].astype(np.intp).T
    out[inside] = values[k, j, i]
    return out


def _resliced(values: U8, source: WorkingGrid, grid: WorkingGrid, outside: int) -> U8:
    """Both grids lie along LPS: each axis has one index."""
    out = np.full(grid.shape_kji, outside, np.uint8)
    part = values
    places = []
    for axis in range(3):
        first, start = grid.origin_lps_mm[2 - axis], source.origin_lps_mm[2 - axis]
        places_mm = first + grid.spacing_mm * np.arange(grid.shape_kji[axis])
        index = np.rint((places_mm - start) / source.spacing_mm).astype(np.intp)
        there = np.flatnonzero((index >= 0) & (index < values.shape[axis]))
        if len(there) == 0:
            return out
        places.append(slice(there[0], there[-1] + 1))
        part = part.take(index[there], axis=axis)
    out[tuple(places)] = part
    return out
