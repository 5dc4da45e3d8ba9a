"""The bones' contrast as a volume predicts it for a pose, and how much of it a picture keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from guidance.cement.beam import DetectedBeam, bone_log_per_hu_mm, detected_beam
from guidance.cement.opacity import USUAL_KVP, USUAL_WATER_MM
from guidance.consistency.volume import WatchVolume
from guidance.kernels.watch import Grid, WatchProjector
from guidance.messages import F32, F64

BINS: Final = 128
"""Along a picture's longer side."""
_FINE: Final = 2  # rays per bin and axis
_KNEE_HU: Final = 100.0  # that the volume's voxels leave out of each bone
_SMOOTH_BINS: Final = 9.0  # what is wider than that is not compared: soft tissue, and where the volume ends
_LEAST_CONTRAST: Final = 0.02
_LEAST_CORRELATION: Final = 0.6
_TUKEY: Final = 4.7
_NEIGHBOURS: Final = 25.0  # bins that are wrong together


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BoneShadow:
    """Log contrast of the bones of a volume in equal bins over a picture.

    Attributes:
        contrast: (R, C) float32, 0 where there is none.
    """

    contrast: F32


def bone_shadow(
    watch: WatchVolume,
    pixel_from_patient: F64,
    rows: int,
    columns: int,
    *,
    kvp: float | None = None,
    filtration_mm_al: float = 3.0,
    filtration_mm_cu: float = 0.1,
    water_mm: float | None = None,
) -> BoneShadow | None:
    """Project the volume.

    Args:
        watch: of `watch_volume`.
        pixel_from_patient: (3, 4), w in mm > 0 in front of the source.
        rows, columns: of the picture.
        kvp, filtration_mm_al, filtration_mm_cu, water_mm: of the beam, as for `CementLibrary.opacity`.

    Returns:
        None where no bone is in the picture.
    """
    step = max(1, round(max(rows, columns) / (BINS * _FINE)))
    grid = Grid(rows=rows // step, columns=columns // step, step=step)
    excess = watch.array()
    # Blocks of the volume hold the mean of what is over the knee: those that are wholly bone lack all of it.
    whole = excess + np.minimum(excess, np.int16(_KNEE_HU))
    matrix = np.ascontiguousarray(pixel_from_patient, np.float64)
    affine = watch.affine()
    middle = affine @ np.append((np.array(excess.shape[::-1]) - 1.0) / 2.0, 1.0)
    depth_mm = float(matrix[2] @ middle)
    if not (np.isfinite(matrix).all() and depth_mm > 1.0) or min(grid.rows, grid.columns) < 2 * _FINE:
        return None
    sums, _ = WatchProjector(whole.astype(np.int16), affine).project(matrix, grid, depth_mm)
    beam = detected_beam(
        USUAL_KVP if kvp is None else kvp,
        filtration_mm_al,
        filtration_mm_cu,
        USUAL_WATER_MM if water_mm is None else water_mm,
    )
    fine = hardened(sums, beam)
    used = (grid.columns * step / columns, grid.rows * step / rows)
    size = (max(2, round(grid.columns / _FINE / used[0])), max(2, round(grid.rows / _FINE / used[1])))
    contrast = np.asarray(cv2.resize(fine, size, interpolation=cv2.INTER_AREA), np.float32)
    return BoneShadow(contrast=contrast) if float(contrast.max()) > _LEAST_CONTRAST else None


def hardened(hu_mm: F32, beam: DetectedBeam) -> F32:
    """Log contrast of so much bone above soft tissue, HU times mm; more bone weighs less per mm."""
    return np.asarray(hu_mm * np.float32(bone_log_per_hu_mm(beam)), np.float32)


def contrast_kept(primary: F32, weight: F32, bone: BoneShadow) -> tuple[float, float]:
    """How much of the predicted contrast a picture shows.

    Args:
        primary: (R, C) signal less scatter, > 0 where `weight` is.
        weight: (R, C) share of the bin that is picture.
        bone: of the same size.

    Returns:
        Shown over predicted contrast, and its standard deviation as a share; inf where nothing can be told.
    """
    used = (weight > 0.9) & (primary > 0.0)
    if np.count_nonzero(used) < 4 * _NEIGHBOURS:
        return 1.0, np.inf
    shown = _without_wide(-np.log(np.where(used, np.maximum(primary, 1e-9), 1.0)).astype(np.float32), used)
    told = _without_wide(bone.contrast, used)
    x, y = told[used].astype(np.float64), shown[used].astype(np.float64)
    robust = np.ones_like(x)
    slope, correlation = 1.0, 0.0
    for _ in range(6):
        xx, yy, xy = (float(np.sum(robust * a * b)) for a, b in ((x, x), (y, y), (x, y)))
        if xx <= 0.0 or yy <= 0.0 or xy <= 0.0:
            return 1.0, np.inf
        correlation = xy / np.sqrt(xx * yy)
        # Both sides are in error (movement, soft tissue): the geometric mean of the two regressions.
        slope = float(np.sqrt(yy / xx))
        off = y - slope * x
        scale = 1.4826 * float(np.median(np.abs(off))) + 1e-9
        robust = np.clip(1.0 - (off / (_TUKEY * scale)) ** 2, 0.0, None) ** 2
    if correlation < _LEAST_CORRELATION or float(np.sqrt(xx / len(x))) < _LEAST_CONTRAST / 4.0:
        return 1.0, np.inf
    independent = max(float(np.sum(robust)) / _NEIGHBOURS, 2.0)
    return slope, float(np.sqrt((1.0 - correlation**2) / independent) / correlation)


def _without_wide(values: F32, used: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> F32:
    """Less the mean of the used ones around."""
    weight = used.astype(np.float32)
    around = cv2.GaussianBlur(weight, (0, 0), _SMOOTH_BINS, borderType=cv2.BORDER_CONSTANT)
    mean = cv2.GaussianBlur(values * weight, (0, 0), _SMOOTH_BINS, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(values - mean / np.maximum(around, np.float32(1e-6)), np.float32)
