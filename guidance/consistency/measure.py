"""Each picture held against the volume's projection at the told matrix: how far off is what is seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from guidance.consistency.displacement import displacement_of
from guidance.consistency.measurement import Measurement
from guidance.consistency.volume import WatchVolume
from guidance.kernels.watch import Fit, Grid, WatchProjector, best_shift, bin_picture, fit_motion, local_contrast
from guidance.kernels.watch import motion_template as make_template
from guidance.messages import F64, Pixels
from guidance.registration.values import motion_vector, small_motion

F32 = npt.NDArray[np.float32]

_BINS: Final = 128
_FEWEST: Final = 24  # bins along a side, below which nothing is told
_MEAN_RADIUS: Final = 3  # bins; what varies more slowly is tissue outside the volume, scatter, exposure
_CONTRAST_RADIUS: Final = 6
_FLOOR: Final = 1.0
_PRIOR: Final = np.array([1.0 / 30.0**2] * 3 + [1.0 / 10.0**2] * 3)  # mm, deg: holds what a view does not show
_GOOD: Final = 0.6
_STILL_MM: Final = 0.5  # a linearisation serves while the answer stays so near
_LINEAR_MM: Final = 1.0  # beyond it the projection is made anew
_REACH: Final = 6  # coarsest bins


class FrameMeasurer:
    """Measures the frames of one input against one volume; keeps what it can while the pose stands.

    Args:
        volume: of `watch_volume`.
    """

    def __init__(self, volume: WatchVolume) -> None:
        voxels, affine = volume.array(), volume.affine()
        self._projector = WatchProjector(voxels, affine)
        self._pivot = _middle(voxels, affine)
        self._templates: dict[tuple[bytes, bytes, int], _Template] = {}
        self._carried = np.zeros(6)

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
        told = np.ascontiguousarray(pixel_from_patient, np.float64)
        step = max(1, math.ceil(max(pixels.shape) / _BINS))
        grid = Grid(rows=pixels.shape[0] // step, columns=pixels.shape[1] // step, step=step)
        if min(grid.rows, grid.columns) < _FEWEST or not self._in_front(told):
            return Measurement(picture_shows=0.0, projection_shows=0.0, xray_like=False)
        seen = _Seen(np.ascontiguousarray(pixels), grid, intensity == "LIN", sign > 0, collimator_px)
        template = self._template(told, self._carried, grid)
        found = self._refined(seen, told, self._carried, grid)
        if found.similarity < _GOOD:
            other = self._captured(seen, told, grid)
            if other.similarity > found.similarity:
                found = other
        good = found.similarity >= _GOOD
        points = self._pivot + _AROUND if points_lps_mm is None or len(points_lps_mm) < 2 else points_lps_mm
        shown = displacement_of(found.motion, found.covariance, told, self._pivot, points)
        self._carry(found.motion if good else np.zeros(6), told)
        core = template.planes[0] * seen.level(0).core
        return Measurement(
            picture_shows=1.0,
            projection_shows=float(core.mean()),
            xray_like=good,
            similarity=found.similarity,
            similarity_told=found.fit.similarity_told,
            offset=tuple(found.motion.tolist()),
            covariance=tuple(found.covariance.ravel().tolist()),
            pivot_lps_mm=(float(self._pivot[0]), float(self._pivot[1]), float(self._pivot[2])),
            residual_px=shown.px,
            residual_mm=shown.mm,
            sigma_mm=shown.sigma_mm,
            shift_mm=shown.pivot_mm,
        )

    def _in_front(self, told: F64) -> bool:
        depth = float(told[2, :3] @ self._pivot + told[2, 3])
        return bool(np.isfinite(told).all()) and depth > 1.0 and abs(float(np.linalg.det(told[:, :3]))) > 1e-9

    def _carry(self, motion: F64, told: F64) -> None:
        points = self._pivot + _AROUND
        apart = motion_vector(
            small_motion(motion, self._pivot) @ np.linalg.inv(small_motion(self._carried, self._pivot)), self._pivot
        )
        if displacement_of(apart, np.zeros((6, 6)), told, self._pivot, points).mm > _STILL_MM:
            still = displacement_of(motion, np.zeros((6, 6)), told, self._pivot, points).mm <= _STILL_MM
            self._carried = np.zeros(6) if still else motion

    def _template(self, told: F64, start: F64, grid: Grid) -> _Template:
        key = (told.tobytes(), start.tobytes(), grid.step)
        held = self._templates.get(key)
        if held is None:
            held = self._made(told @ small_motion(start, self._pivot), grid)
            if len(self._templates) >= _KEPT:
                self._templates.pop(next(iter(self._templates)))
            self._templates[key] = held
        return held

    def _made(self, matrix: F64, grid: Grid) -> _Template:
        matrix = np.ascontiguousarray(matrix)
        depth = float(matrix[2, :3] @ self._pivot + matrix[2, 3])
        if not depth > 1.0:
            return _Template(np.zeros((8, grid.rows, grid.columns), np.float32), 0.0)
        sums, moments = self._projector.project(matrix, grid, depth)
        planes, whole = make_template(
            sums,
            moments,
            matrix,
            self._pivot,
            grid,
            depth,
            mean_radius=_MEAN_RADIUS,
            contrast_radius=_CONTRAST_RADIUS,
            floor=_FLOOR,
        )
        return _Template(planes, whole)

    def _step(self, seen: _Seen, told: F64, start: F64, grid: Grid, level: int) -> _Found:
        layer = seen.level(level)
        template = self._template(told, start, layer.grid)
        fit = fit_motion(layer.normalised, layer.core, template.planes, _PRIOR)
        gain = max(float(fit.parameters[0]), 0.1)
        update = fit.parameters[1:] / gain
        update *= min(1.0, 20.0 / (1e-9 + float(np.abs(update).max())))
        motion = motion_vector(small_motion(start, self._pivot) @ small_motion(update, self._pivot), self._pivot)
        normal = fit.normal.copy()
        normal[np.diag_indices(7)] += np.concatenate(((1e-9,), _PRIOR * fit.variance))
        covariance = np.linalg.inv(normal)[1:, 1:] * (fit.variance * _CORRELATED / gain**2)
        return _Found(motion, covariance, fit.similarity if fit.parameters[0] > 0.0 else 0.0, fit, update)

    def _refined(self, seen: _Seen, told: F64, start: F64, grid: Grid) -> _Found:
        found = self._step(seen, told, start, grid, 0)
        points = self._pivot + _AROUND
        if found.similarity > 0.3:
            moved = displacement_of(found.update, np.zeros((6, 6)), told, self._pivot, points).mm
            if moved > _LINEAR_MM:
                again = self._step(seen, told, found.motion, grid, 0)
                if again.similarity > found.similarity:
                    found = again
        return found

    def _captured(self, seen: _Seen, told: F64, grid: Grid) -> _Found:
        layer = seen.level(2)
        template = self._template(told, np.zeros(6), layer.grid)
        du, dv, _ = best_shift(layer.normalised, layer.core, template.planes[0], template.planes[1], reach=_REACH)
        motion = self._in_plane(told, du * layer.grid.step, dv * layer.grid.step)
        for level in (2, 2, 1, 1, 0):
            motion = self._step(seen, told, motion, grid, level).motion
        return self._step(seen, told, motion, grid, 0)

    def _in_plane(self, told: F64, du_px: float, dv_px: float) -> F64:
        """Shift along the picture by which the pivot is seen so many px off."""
        w = float(told[2, :3] @ self._pivot + told[2, 3])
        u, v = (told[:2, :3] @ self._pivot + told[:2, 3]) / w
        rows = np.vstack((told[0, :3] - u * told[2, :3], told[1, :3] - v * told[2, :3])) / w
        return np.concatenate((np.linalg.pinv(rows) @ (du_px, dv_px), np.zeros(3)))


_AROUND: Final = 30.0 * np.array(
    [[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float64
)
_KEPT: Final = 8
_CORRELATED: Final = 6.0


@dataclass(frozen=True, slots=True, eq=False)
class _Template:
    planes: F32
    contrast: float


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    motion: F64
    covariance: F64
    similarity: float
    fit: Fit
    update: F64


@dataclass(frozen=True, slots=True, eq=False)
class _Level:
    grid: Grid
    attenuation: F32
    valid: F32
    normalised: F32
    core: F32
    contrast: F32
    whole: float


class _Seen:
    """One picture at the resolutions that are asked for."""

    def __init__(
        self, pixels: Pixels, grid: Grid, logarithm: bool, bright: bool, collimator_px: tuple[int, int, int, int] | None
    ) -> None:
        attenuation, valid, self.plateau = bin_picture(pixels, grid, logarithm=logarithm, bright=bright)
        if collimator_px is not None:
            left, top, right, bottom = (n / grid.step for n in collimator_px)
            valid[: max(0, math.ceil(top))] = 0.0
            valid[max(0, math.floor(bottom)) :] = 0.0
            valid[:, : max(0, math.ceil(left))] = 0.0
            valid[:, max(0, math.floor(right)) :] = 0.0
        self._levels = [_level(grid, attenuation, valid)]

    def level(self, n: int) -> _Level:
        while len(self._levels) <= n:
            finer = self._levels[-1]
            grid = Grid(rows=finer.grid.rows // 2, columns=finer.grid.columns // 2, step=finer.grid.step * 2)
            weight = _halved(finer.valid, grid)
            attenuation = _halved(finer.attenuation * finer.valid, grid) / np.maximum(weight, np.float32(0.25))
            self._levels.append(_level(grid, attenuation, (weight > 0.7).astype(np.float32)))
        return self._levels[n]


def _halved(picture: F32, grid: Grid) -> F32:
    cut = picture[: 2 * grid.rows, : 2 * grid.columns]
    halved: F32 = 0.25 * (cut[::2, ::2] + cut[1::2, ::2] + cut[::2, 1::2] + cut[1::2, 1::2])
    return halved


def _level(grid: Grid, attenuation: F32, valid: F32) -> _Level:
    normalised, contrast, whole = local_contrast(
        attenuation, valid, mean_radius=_MEAN_RADIUS, contrast_radius=_CONTRAST_RADIUS, floor=_FLOOR
    )
    core = valid.copy()
    if valid.min() < 1.0:  # beside what is not valid the local mean is one-sided
        core[1:] *= valid[:-1]
        core[:-1] *= valid[1:]
        core[:, 1:] *= valid[:, :-1]
        core[:, :-1] *= valid[:, 1:]
    return _Level(grid, attenuation, valid, normalised, core, contrast, whole)


def _middle(voxels: npt.NDArray[np.int16], affine: F64) -> F64:
    """Centroid of what is dense."""
    weight = np.maximum(voxels, 0).astype(np.float64)
    total = weight.sum()
    if total <= 0.0:
        middle = (np.array(voxels.shape[::-1]) - 1) / 2.0
    else:
        sides = [weight.sum(axis=axes) for axes in ((0, 1), (0, 2), (1, 2))]  # along i, j, k
        middle = np.array([float(side @ np.arange(len(side))) / total for side in sides])
    return np.asarray(affine[:3, :3] @ middle + affine[:3, 3])
