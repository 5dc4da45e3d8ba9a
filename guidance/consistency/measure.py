"""Each picture held against the volume's projection at the told matrix: how far off is what is seen."""

from __future__ import annotations

import math
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from guidance.consistency.measurement import Measurement
from guidance.consistency.volume import WatchVolume
from guidance.kernels.drr import ProjectionVolume, cone_projection
from guidance.messages import F64, Pixels

F32 = npt.NDArray[np.float32]

_BINS: Final = 128
_RADIUS: Final = 8  # bins; what varies more slowly is tissue outside the volume, scatter, exposure
_ROUNDS: Final = 4


class FrameMeasurer:
    """Measures the frames of one input against one volume; keeps what it can while the pose stands.

    Args:
        volume: of `watch_volume`.
    """

    def __init__(self, volume: WatchVolume) -> None:
        voxels = volume.array()
        self._projection = ProjectionVolume(voxels, volume.affine(), air=0)
        dense = np.argwhere(voxels > 0)
        middle = dense.mean(axis=0)[::-1] if len(dense) else (np.array(volume.shape_kji[::-1]) - 1) / 2.0
        affine = volume.affine()
        self._pivot: F64 = affine[:3, :3] @ middle + affine[:3, 3]

    def measure(
        self,
        pixels: Pixels,
        pixel_from_patient: F64,
        *,
        intensity: Literal["LIN", "LOG", "DISP"] = "LIN",
        sign: Literal[1, -1] = 1,
        collimator_px: tuple[int, int, int, int] | None = None,
        points_lps_mm: F64 | None = None,
    ) -> Measurement:
        """Measure one frame; takes what is there, never raises for what a picture may hold.

        Args:
            pixels: (rows, columns) uint8, int8, uint16, int16 or float32.
            pixel_from_patient: (3, 4) as told, an accepted registration applied; w in mm, > 0 in front of the source.
            intensity, sign: of the pixels, DICOM (0028,1040) and (0028,1041).
            collimator_px: left, top, right, bottom of what is exposed, of the picture as sent; None: all of it.
            points_lps_mm: (N, 3) where it matters (path ends); None: around the middle of the structure.
        """
        step = max(1, math.ceil(max(pixels.shape) / _BINS))
        rows, columns = pixels.shape[0] // step, pixels.shape[1] // step
        seen = _binned_log(pixels, step, intensity, sign)
        told = cone_projection(
            self._projection, pixel_from_patient, (rows, columns), origin_px=((step - 1) / 2.0,) * 2, step_px=step
        )[0]
        a, b = _high_pass(seen), _high_pass(told)
        where = np.abs(b) > 0.1 * float(np.abs(b).max(initial=0.0))
        energy_a, energy_b = float((a[where] ** 2).sum()), float((b[where] ** 2).sum())
        if energy_a <= 0.0 or energy_b <= 0.0:
            return Measurement(picture_shows=0.0, projection_shows=float(where.mean()), xray_like=False)
        shift, similarity = _shift(a, b)
        w = float(pixel_from_patient[2] @ np.append(self._pivot, 1.0))
        focal = math.sqrt(abs(float(np.linalg.det(pixel_from_patient[:, :3]))))
        px = shift * step
        mm = px * w / focal
        return Measurement(
            picture_shows=1.0,
            projection_shows=float(where.mean()),
            xray_like=similarity > 0.5,
            similarity=similarity,
            similarity_told=float((a[where] * b[where]).sum()) / math.sqrt(energy_a * energy_b),
            pivot_lps_mm=(float(self._pivot[0]), float(self._pivot[1]), float(self._pivot[2])),
            residual_px=float(np.hypot(*px)),
            residual_mm=float(np.hypot(*mm)),
            sigma_mm=0.3,
            shift_mm=(float(mm[0]), float(mm[1])),
        )


def _binned_log(pixels: Pixels, step: int, intensity: str, sign: int) -> F32:
    rows, columns = pixels.shape[0] // step * step, pixels.shape[1] // step * step
    binned = pixels[:rows, :columns].astype(np.float32)
    binned = np.nan_to_num(binned).reshape(rows // step, step, columns // step, step).mean(axis=(1, 3))
    if intensity == "LIN":
        binned = np.log(np.maximum(binned - min(0.0, float(binned.min())), 1.0))
    attenuation: F32 = binned * np.float32(-sign)
    return attenuation


def _high_pass(picture: F32) -> F32:
    padded = np.pad(picture.astype(np.float64), _RADIUS, mode="reflect")
    total = np.pad(padded.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    n = 2 * _RADIUS + 1
    mean = (total[n:, n:] - total[:-n, n:] - total[n:, :-n] + total[:-n, :-n]) / n**2
    result: F32 = (picture - mean).astype(np.float32)
    return result


def _shift(seen: F32, told: F32) -> tuple[F64, float]:
    """Bins (u, v) by which `seen` lies off `told`, by Gauss-Newton steps with robust weights; and their agreement."""
    gradient_v, gradient_u = np.gradient(told)
    columns = np.stack([told, -gradient_u, -gradient_v], axis=-1).reshape(-1, 3).astype(np.float64)
    target = seen.ravel().astype(np.float64)
    weight: F64 = np.ones(len(target))
    parameters: F64 = np.zeros(3)
    for _ in range(_ROUNDS):
        weighted = columns * weight[:, None]
        parameters[:] = np.linalg.lstsq(weighted.T @ columns, weighted.T @ target, rcond=None)[0]
        off = target - columns @ parameters
        scale = 1.4826 * float(np.median(np.abs(off))) + 1e-12
        weight = 1.0 / (1.0 + (off / (2.0 * scale)) ** 2)
    fitted = columns @ parameters
    norm = math.sqrt(float((weight * fitted**2).sum() * (weight * target**2).sum()))
    similarity = float((weight * fitted * target).sum()) / norm if norm > 0.0 else 0.0
    gain = parameters[0] if abs(parameters[0]) > 1e-9 else 1e-9
    return parameters[1:] / gain, similarity
