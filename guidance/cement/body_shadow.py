"""The body's attenuation as a volume predicts it for a pose: how thick it is, and what contrast its parts have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from guidance.cement.beam import KVP_RANGE, DetectedBeam, detected_beam, linear_per_mm
from guidance.cement.held_rays import held_rays
from guidance.cement.opacity import USUAL_KVP
from guidance.cement.scatter_room import ScatterRoom
from guidance.cement.space import OpenSpace
from guidance.kernels.watch import Grid, WatchProjector
from guidance.messages import F32, F64, U8

BINS: Final = 128
"""Along a picture's longer side."""
_FINE: Final = 2  # rays per bin and axis
_VOXEL_MM: Final = 2.0
_SOFT_HU: Final = 54.0  # soft tissue of ICRU 44 at any energy of a CT
# Cortical bone of ICRU 44 at 72 keV; on a scanner of 120 kVp 1524 (Schneider, Pedroni & Lomax, PMB 41, 1996).
_CORTICAL_HU: Final = 1504.0
_SCANNER_BLUR_MM: Final = 0.3  # standard deviation of a kernel for bone
_DENSEST_HU: Final = 2500.0
_WATER_TABLE_MM: Final = np.linspace(0.0, 700.0, 36)
_BONE_TABLE_MM: Final = np.linspace(0.0, 160.0, 41)
# Of a view's own contrast; what is wrong in all views alike, HU and beam, the scatter's estimate adds.
_WHOLE_SIGMA: Final = 0.03
_CUT_SIGMA: Final = 0.06  # bones outside the volume lie over those within, and look alike
_LEAST_CONTRAST: Final = 0.02
_PELVIS_MM: Final = (350.0, 230.0)  # from side to side, from front to back; a cone-beam volume holds 150 to 250
_LONGEST_MM: Final = 500.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BodyShadow:
    """What a volume predicts of one pose.

    Attributes:
        contrast: (R, C) float32 log attenuation in equal bins over the picture, up to what is smooth.
        water_mm: as much water hardens the beam as the body does on a median ray, its bones with it.
        thickness_mm: of the body on that ray, as thick as its mass in water.
        blur_bins: standard deviation of what the volume's voxels and the scanner have blurred it by.
        sigma: one standard deviation of the contrast's scale, as a share: HU, and what bone is made of.
        whole: the volume holds the body's thickness; else both are at least a usual pelvis'.
        used: (R, C) bool: bins whose rays lack nothing, or all the same slab of body; None: all of them.
        room: what other poses of the same volume told of scatter.
    """

    contrast: F32
    water_mm: float
    thickness_mm: float
    blur_bins: float = 0.0
    sigma: float = _WHOLE_SIGMA
    whole: bool = True
    used: npt.NDArray[np.bool_] | None = None
    room: ScatterRoom = field(default_factory=ScatterRoom)


class BodyProjector:
    """The body of one volume, for any pose.

    Args:
        space: of `opened`; only its HU count.
    """

    def __init__(self, space: OpenSpace) -> None:
        spacing = space.grid.spacing_mm
        factor = max(1, min(round(_VOXEL_MM / spacing), *space.hu_code.shape))
        hu = _reduced_hu(space, factor)
        affine = np.diag([spacing * factor] * 3 + [1.0])
        affine[:3, 3] = np.asarray(space.grid.origin_lps_mm) + spacing * (factor - 1) / 2.0
        bone = np.clip((hu - _SOFT_HU) / (_CORTICAL_HU - _SOFT_HU), 0.0, None) * 1000.0
        water = np.clip(np.minimum(hu, _SOFT_HU) + 1000.0, 0.0, None)
        self._water = WatchProjector(np.rint(water).astype(np.int16), affine)
        self._bone = WatchProjector(np.rint(np.clip(bone, 0.0, 30000.0)).astype(np.int16), affine)
        # A voxel's mean, interpolated linearly, has a quarter of its width squared as variance.
        self._blur_mm = float(np.hypot(0.5 * spacing * factor, _SCANNER_BLUR_MM))
        self._middle = affine @ np.append((np.array(hu.shape[::-1]) - 1.0) / 2.0, 1.0)
        self._hu, self._affine = hu, affine
        self._room = ScatterRoom()

    def shadow(
        self,
        pixel_from_patient: F64,
        rows: int,
        columns: int,
        *,
        bins: int = BINS,
        kvp: float | None = None,
        filtration_mm_al: float = 3.0,
        filtration_mm_cu: float = 0.1,
    ) -> BodyShadow | None:
        """Project the body.

        Args:
            pixel_from_patient: (3, 4), w in mm > 0 in front of the source.
            rows, columns: of the picture.
            bins: along its longer side.
            kvp, filtration_mm_al, filtration_mm_cu: of the beam, as for `CementLibrary.opacity`.

        Returns:
            None where the body is not in the picture, or the picture has too few pixels.
        """
        step = max(1, round(max(rows, columns) / (bins * _FINE)))
        grid = Grid(rows=rows // step, columns=columns // step, step=step)
        matrix = np.ascontiguousarray(pixel_from_patient, np.float64)
        if min(grid.rows, grid.columns) < 2 * _FINE or not np.isfinite(matrix).all():
            return None
        depth_mm = float(matrix[2] @ self._middle)
        if not depth_mm > 1.0:
            return None
        water_mm = self._water.project(matrix, grid, depth_mm)[0] / np.float32(1000.0)
        bone_mm = self._bone.project(matrix, grid, depth_mm)[0] / np.float32(1000.0)
        if not float(water_mm.max()) > _VOXEL_MM:
            return None
        size = (max(2, round(columns / step / _FINE)), max(2, round(rows / step / _FINE)))
        held = held_rays(
            self._hu,
            self._affine,
            matrix,
            size=(size[1], size[0]),
            first_px=(step * _FINE - 1) / 2.0,
            step_px=step * _FINE,
        )
        through = water_mm > 0.2 * float(water_mm.max())
        among = cv2.resize(held.used.astype(np.uint8), through.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
        if (through & among).any():
            through &= among
        # Bone takes the place of soft tissue, so the water beside it is told without it.
        thick_mm = float(np.median((water_mm + bone_mm * np.float32(_CORTICAL_HU / 1000.0))[through]))
        missing_mm = 0.0 if held.whole else max(_usual_mm(matrix[2, :3]) - thick_mm, 0.0)
        voltage = USUAL_KVP if kvp is None or not KVP_RANGE[0] <= kvp <= KVP_RANGE[1] else kvp
        fine = _attenuation(water_mm + np.float32(missing_mm), bone_mm, voltage, filtration_mm_al, filtration_mm_cu)
        contrast = np.asarray(cv2.resize(fine, size, interpolation=cv2.INTER_AREA), np.float32)
        if not float(np.ptp(contrast)) > _LEAST_CONTRAST:
            return None
        focal_px = float(np.linalg.norm(np.cross(matrix[0, :3], matrix[2, :3]))) / float(matrix[2, :3] @ matrix[2, :3])
        blur_bins = self._blur_mm * focal_px / depth_mm / (step * _FINE)
        return BodyShadow(
            contrast=contrast,
            water_mm=_hardening_water_mm(
                float(np.median(water_mm[through])) + missing_mm,
                float(np.median(bone_mm[through])),
                detected_beam(voltage, filtration_mm_al, filtration_mm_cu, 0.0),
            ),
            thickness_mm=thick_mm + missing_mm,
            blur_bins=blur_bins,
            sigma=_WHOLE_SIGMA if held.whole else _CUT_SIGMA,
            whole=held.whole,
            used=held.used,
            room=self._room,
        )


def _usual_mm(along: F64) -> float:
    """Thickness of a usual pelvis on a ray through its middle: an ellipse across the body, endless along it."""
    x, y, _ = along / np.linalg.norm(along)
    return float(1.0 / max(np.hypot(x / _PELVIS_MM[0], y / _PELVIS_MM[1]), 1.0 / _LONGEST_MM))


def _hardening_water_mm(water_mm: float, bone_mm: float, bare: DetectedBeam) -> float:
    """So much water that barium sulphate shows the same contrast behind it as behind the body with its bone."""
    opacifier, water = linear_per_mm("barium_sulphate"), linear_per_mm("water")
    more = linear_per_mm("cortical_bone") - linear_per_mm("soft_tissue")
    behind = bare.weights * np.exp(-water_mm * water - bone_mm * more)
    wanted = float(behind @ opacifier / behind.sum())
    left = np.exp(-np.outer(_WATER_TABLE_MM, water)) * bare.weights
    falling = left @ opacifier / left.sum(axis=1)
    return float(np.interp(-wanted, -falling, _WATER_TABLE_MM))


def _attenuation(water_mm: F32, bone_mm: F32, kvp: float, aluminium_mm: float, copper_mm: float) -> F32:
    """Log attenuation of so much soft tissue with so much of it being bone; interpolated in a small table."""
    bare = detected_beam(kvp, aluminium_mm, copper_mm, 0.0)
    water, more = linear_per_mm("water"), linear_per_mm("cortical_bone") - linear_per_mm("soft_tissue")
    through_bone = np.exp(-np.outer(_BONE_TABLE_MM, more))
    through_water = np.exp(-np.outer(_WATER_TABLE_MM, water)) * bare.weights
    table = -np.log(through_water @ through_bone.T).astype(np.float32)
    rows = water_mm * np.float32((len(_WATER_TABLE_MM) - 1) / _WATER_TABLE_MM[-1])
    columns = bone_mm * np.float32((len(_BONE_TABLE_MM) - 1) / _BONE_TABLE_MM[-1])
    found = cv2.remap(table, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32)


def _reduced_hu(space: OpenSpace, factor: int) -> F32:
    """Mean HU of blocks, clipped where metal begins."""
    table = np.minimum(np.arange(256, dtype=np.float32) * 16.0 - 1024.0, _DENSEST_HU) + 1024.0
    nk, nj, ni = (n // factor for n in space.hu_code.shape)
    reduced = np.empty((nk, nj, ni), np.float32)
    for k in range(nk):
        slab: U8 = space.hu_code[k * factor : (k + 1) * factor, : nj * factor, : ni * factor]
        reduced[k] = np.rint(table)[slab].reshape(factor, nj, factor, ni, factor).mean(axis=(0, 2, 4)) - 1024.0
    return reduced
