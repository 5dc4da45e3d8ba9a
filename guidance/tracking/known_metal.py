"""Metal that is in the patient already: told apart from what is being put in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from guidance.kernels.rod_values import METAL_STEP, MetalMask
from guidance.messages import F64, Matrix34, PathStage, PlannedPath

METAL_HU: Final = 2500  # denser than cortical bone (about 1500 to 2000); cement with contrast, implants, old screws
_BLOCK_MM: Final = 1.5
_MOST_POINTS: Final = 20_000
_MARGIN_MM: Final = 1.0  # for partial volume and for what geometry is off
_NEAREST_MM: Final = 50.0
_MASKS_KEPT: Final = 8
IN_PATIENT: Final = frozenset({PathStage.SCREW_IN, PathStage.CEMENTED})


@dataclass(frozen=True, slots=True, eq=False)
class KnownMetal:
    """The volume's metal as small balls.

    Attributes:
        points_lps_mm: (N, 3).
        radius_mm: of each.
    """

    points_lps_mm: F64
    radius_mm: float


NO_METAL: Final = KnownMetal(np.zeros((0, 3)), 0.0)


def known_metal_of(voxels_hu: npt.NDArray[Any], affine_lps_from_ijk: F64, *, metal_hu: float = METAL_HU) -> KnownMetal:
    """The metal of a volume, a few thousand points: made once, where there is time.

    Args:
        voxels_hu: `[k, j, i]`, HU; not finite is not metal.
        affine_lps_from_ijk: (4, 4), voxel centres at integers.
        metal_hu: from where on it is metal.
    """
    k, j, i = np.nonzero(voxels_hu >= metal_hu)
    if not k.size:
        return NO_METAL
    places = np.stack((i, j, k), axis=1) @ affine_lps_from_ijk[:3, :3].T + affine_lps_from_ijk[:3, 3]
    voxel_mm = float(np.linalg.norm(affine_lps_from_ijk[:3, :3], axis=0).max())
    block_mm = _BLOCK_MM
    while True:
        points: F64 = np.unique(np.round(places / block_mm).astype(np.int64), axis=0) * np.float64(block_mm)
        if len(points) <= _MOST_POINTS:
            break
        block_mm *= 1.5
    half_diagonal = 0.5 * math.sqrt(3.0) * max(block_mm, 0.0)
    return KnownMetal(points, half_diagonal + 0.5 * voxel_mm + _MARGIN_MM)


def metal_mask(
    metal: KnownMetal, paths: Sequence[PlannedPath], pixel_from_patient: F64, size: tuple[int, int]
) -> MetalMask | None:
    """The shadow of known metal; None where there is none. The newest few are kept, for a C-arm mostly stands still.

    Args:
        metal: of the volume.
        paths: those with a screw in (cemented or not) are metal too.
        pixel_from_patient: (3, 4) as trusted.
        size: (rows, columns) of the picture.
    """
    placed = tuple(path for path in paths if path.stage in IN_PATIENT)
    if not placed and not len(metal.points_lps_mm):
        return None
    return _mask(metal, placed, tuple(pixel_from_patient.ravel().tolist()), size)


@lru_cache(maxsize=_MASKS_KEPT)
def _mask(
    metal: KnownMetal, placed: tuple[PlannedPath, ...], pixel_from_patient: Matrix34, size: tuple[int, int]
) -> MetalMask | None:
    matrix = np.array(pixel_from_patient, np.float64).reshape(3, 4)
    shape = (-(-size[0] // METAL_STEP), -(-size[1] // METAL_STEP))
    cells = np.zeros(shape, np.uint8)
    focal_px = math.sqrt(abs(float(np.linalg.det(matrix[:, :3]))))
    _add(cells, metal.points_lps_mm, metal.radius_mm, matrix, focal_px)
    for path in placed:
        entry, target = np.array(path.entry_lps_mm), np.array(path.target_lps_mm)
        count = max(2, int(np.linalg.norm(target - entry) / 1.0) + 1)
        points = entry + np.linspace(0.0, 1.0, count)[:, None] * (target - entry)
        _add(cells, points, path.diameter_mm / 2.0 + _MARGIN_MM, matrix, focal_px)
    return MetalMask(cells) if cells.any() else None


def _add(cells: npt.NDArray[np.uint8], points: F64, radius_mm: float, matrix: F64, focal_px: float) -> None:
    if not len(points):
        return
    homogeneous = points @ matrix[:, :3].T + matrix[:, 3]
    homogeneous = homogeneous[homogeneous[:, 2] >= _NEAREST_MM]
    if not len(homogeneous):
        return
    rows, columns = cells.shape
    radius = radius_mm * focal_px / float(homogeneous[:, 2].min()) / METAL_STEP
    reach = min(math.ceil(radius), max(rows, columns))
    uv = np.rint(homogeneous[:, :2] / homogeneous[:, 2:] / METAL_STEP)
    near = (uv >= -reach).all(axis=1) & (uv[:, 0] < columns + reach) & (uv[:, 1] < rows + reach)
    if not near.any():
        return
    spots_at = uv[near].astype(np.intp)
    # Only the box about the spots is looked at: most of a picture has no metal.
    first, last = spots_at.min(axis=0) - reach, spots_at.max(axis=0) + reach + 1
    spots = np.zeros((last[1] - first[1], last[0] - first[0]), np.uint8)
    spots[spots_at[:, 1] - first[1], spots_at[:, 0] - first[0]] = 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    grown = np.asarray(cv2.dilate(spots, disk), np.uint8)
    low, high = np.maximum(first, 0), np.minimum(last, (columns, rows))
    cells[low[1] : high[1], low[0] : high[0]] |= grown[
        low[1] - first[1] : high[1] - first[1], low[0] - first[0] : high[0] - first[0]
    ]
