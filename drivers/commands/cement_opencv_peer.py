"""The tracker's steps of one frame written with OpenCV's and SciPy's calls: what its speed is measured beside.

For linear pictures without scatter, instruments and blades; on the same working grid, with the same thresholds. It is
written as such code is written: whole-array calls, none of them slower than need be, no loop over pixels. OpenCV's
warps place samples to 1/32 of a pixel only, which shows at sharp edges as specks that the tracker does not have.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from guidance.cement.reference import ReferencePicture
from guidance.messages import F32, F64, U8

_FIVE: Final = np.array([1.0, 4.0, 6.0, 4.0, 1.0], np.float32) / 16.0
_FINE_GAIN: Final = 0.0748
_COARSE_GAIN: Final = 0.0398
_MODEL: Final = 0.0025
_LEAST, _SEED, _ATTACHED = 2.6, 5.0, 3.5
_CELL: Final = 16
_ROUNDS: Final = 4
_LINEAR: Final = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
_SQUARE: Final = np.ones((7, 7), np.uint8)
_NAN: Final = np.float32(np.nan)


class OpenCvTracker:
    """The same job as `guidance.kernels.cement_tracker.NativeTracker`, but for what is named above.

    Args:
        reference: of a linear stream.
        least_contrast: of the thinnest cement that counts.
        per_mm: contrast of a millimetre.
        memory_frames: longest averaging.
    """

    def __init__(
        self, reference: ReferencePicture, *, least_contrast: float, per_mm: float, memory_frames: float = 9.0
    ) -> None:
        self._step, self._high = reference.scale.step, reference.scale.high
        self._base, self._valid, self._variance = reference.attenuation, reference.valid, reference.variance
        self._share, self._least, self._per_mm = 1.0 / reference.frames, least_contrast, per_mm
        self._memory = memory_frames
        shape = self._base.shape
        self._mean, self._spread, self._taken = (np.zeros(shape, np.float32) for _ in range(3))
        self._cement = np.zeros(shape, np.uint8)
        self._hold = np.zeros(shape, np.uint8)
        self._arrival = np.full(shape, _NAN, np.float32)
        half = _halved(self._base)
        self._half_shape = half.shape
        slope_u, slope_v = (cv2.Sobel(half, cv2.CV_32F, *order, ksize=1, scale=0.5) for order in ((1, 0), (0, 1)))
        v, u = np.indices(half.shape, np.float32)
        turn = (u - (half.shape[1] - 1) / 2.0) * slope_v - (v - (half.shape[0] - 1) / 2.0) * slope_u
        self._level = float(half.mean())
        level = half - np.float32(self._level)
        self._half_base = half.ravel()
        columns = (slope_u, slope_v, turn, np.ones_like(half), level)
        self._jacobian = np.stack([n.ravel() for n in columns]).astype(np.float32)
        noise = cv2.resize(self._variance, half.shape[::-1], interpolation=cv2.INTER_AREA)
        self._weight = 1.0 / (np.float32(_FINE_GAIN / 4.0) * noise + np.float32(1e-4))
        self._weight[:3] = self._weight[-3:] = 0.0
        self._weight[:, :3] = self._weight[:, -3:] = 0.0
        self._place, self._offset, self._slope = np.zeros(3), 0.0, 0.0
        smooth = cv2.sepFilter2D(self._base, -1, _FIVE, _FIVE)
        slopes = [cv2.Sobel(smooth, cv2.CV_32F, *order, ksize=1, scale=0.5) for order in ((1, 0), (0, 1))]
        self._systematic = np.float32(0.05**2) * (slopes[0] ** 2 + slopes[1] ** 2)
        self._scale = 1.0
        self._frame = 0

    def follow(self, pixels: npt.NDArray[np.uint16], time_s: float) -> tuple[U8, F32, F32, F32, tuple[F64, ...]]:
        """Mask, thickness in mm, arrival in s, speed in px/s, all of the picture's size; and outlines."""
        live, live_valid = self._attenuation(pixels)
        matrix, offset = self._align(live)
        size = live.shape[::-1]
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        now = cv2.warpAffine(live, matrix, size, flags=flags)
        seen = cv2.warpAffine(live_valid, matrix, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP) & self._valid
        model = self._base + np.float32(offset) + np.float32(self._slope) * (self._base - np.float32(self._level))
        contrast = np.where(seen > 0, now - model, np.float32(0.0))
        self._filter(contrast, seen)
        fine, level, z = self._levels(seen)
        self._grow(fine, level, z, seen, time_s)
        self._frame += 1
        return self._maps(fine, level, matrix, pixels.shape)

    def _attenuation(self, pixels: npt.NDArray[np.uint16]) -> tuple[F32, U8]:
        rows, columns = (n * self._step for n in self._base.shape)
        good = cv2.inRange(pixels, 1.0, float(self._high) - 1.0)[:rows, :columns]
        counts = pixels[:rows, :columns].astype(np.float32)
        if self._step > 1:
            counts = cv2.resize(counts, self._base.shape[::-1], interpolation=cv2.INTER_AREA)
            good = cv2.resize(good, self._base.shape[::-1], interpolation=cv2.INTER_AREA)
        valid = (good == 255).astype(np.uint8)
        return -cv2.log(np.maximum(counts, np.float32(1.0))), valid

    def _align(self, live: F32) -> tuple[F64, float]:
        """Gauss-Newton on shift, turn, offset and slope with Cauchy's weights; least squares by BLAS."""
        half = _halved(live)
        free = cv2.resize(1 - cv2.dilate(self._cement, _SQUARE), half.shape[::-1], interpolation=cv2.INTER_NEAREST)
        weight = (self._weight * free).ravel()
        for _ in range(_ROUNDS):
            matrix = self._half_matrix()
            moved = cv2.warpAffine(half, matrix, half.shape[::-1], flags=_LINEAR, borderValue=float("nan")).ravel()
            off = moved - self._half_base - np.float32(self._offset) - np.float32(self._slope) * self._jacobian[4]
            off = np.nan_to_num(off, copy=False, nan=0.0)
            robust = weight / (1.0 + off * off * weight * np.float32(0.25)) * np.isfinite(moved)
            weighted = self._jacobian * robust
            step = np.linalg.solve(
                (weighted @ self._jacobian.T).astype(np.float64) + 1e-6 * np.eye(5),
                -(weighted @ off).astype(np.float64),
            )
            self._place += step[:3]
            self._offset -= step[3]
            self._slope -= step[4]
        return self._whole_matrix(), self._offset

    def _half_matrix(self) -> F64:
        return _about(self._place, self._half_shape)

    def _whole_matrix(self) -> F64:
        du, dv, turn = self._place
        return _about(np.array([2.0 * du, 2.0 * dv, turn]), self._base.shape)

    def _filter(self, contrast: F32, seen: U8) -> None:
        change = cv2.resize(contrast - self._mean, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        noise = cv2.resize(self._variance + self._spread, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        z = cv2.sepFilter2D(change, -1, _FIVE, _FIVE) / np.sqrt(np.float32(_FINE_GAIN / 4.0) * noise + np.float32(1e-5))
        follow = np.clip((np.abs(z) - np.float32(2.5)) / np.float32(3.0), 0.0, 1.0) * np.float32(0.7)
        follow = cv2.resize(follow, contrast.shape[::-1], interpolation=cv2.INTER_NEAREST)
        gain = np.maximum(1.0 / np.minimum(self._taken + 1.0, np.float32(self._memory)), follow) * seen
        self._mean += gain * (contrast - self._mean)
        self._spread = (1.0 - gain) ** 2 * self._spread + gain**2 * self._variance
        np.divide(1.0, gain, out=self._taken, where=gain > 0.0)

    def _levels(self, seen: U8) -> tuple[F32, F32, F32]:
        fine = cv2.sepFilter2D(self._mean, -1, _FIVE, _FIVE)
        free = seen * (1 - cv2.dilate(self._cement, _SQUARE))
        fine -= np.float32(np.median(fine[free > 0][::61]))
        # Drifts: cells' means of what is free, smoothed.
        cells = tuple(n // _CELL for n in fine.shape[::-1])
        weight = cv2.resize(free.astype(np.float32), cells, interpolation=cv2.INTER_AREA)
        value = cv2.resize(fine * free, cells, interpolation=cv2.INTER_AREA)
        drift = cv2.GaussianBlur(value, (0, 0), 2.5) / (cv2.GaussianBlur(weight, (0, 0), 2.5) + np.float32(0.08))
        fine -= cv2.resize(drift, fine.shape[::-1], interpolation=cv2.INTER_LINEAR)
        noise = np.float32(_FINE_GAIN * self._scale**2) * (self._spread + np.float32(self._share) * self._variance)
        sigma = np.sqrt(noise + self._systematic + np.float32(_MODEL**2))
        z = fine / sigma
        below = -z[(z < 0.0) & (free > 0)][::61]
        if below.size:
            size = float(np.clip(np.median(below) / 0.6745, 0.5, 2.0))
            self._scale = float(np.clip(self._scale * (size if self._frame < 3 else size**0.2), 0.3, 5.0))
        level = np.maximum(np.float32(self._least), np.float32(_LEAST) * sigma)
        return fine, level, z

    def _grow(self, fine: F32, level: F32, z: F32, seen: U8, time_s: float) -> None:
        candidate = ((fine > level) & (seen > 0)).astype(np.uint8)
        # Coarse: what the fine scale does not explain.
        free = seen * (1 - cv2.dilate(candidate | self._cement, _SQUARE))
        weight = cv2.GaussianBlur(
            cv2.resize(free.astype(np.float32), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), (0, 0), 1.41
        )
        value = cv2.GaussianBlur(
            cv2.resize(fine * free, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), (0, 0), 1.41
        )
        noise = cv2.resize(
            self._spread + np.float32(self._share) * self._variance, value.shape[::-1], interpolation=cv2.INTER_AREA
        )
        coarse = value / np.maximum(weight, np.float32(0.4))
        deviation = coarse / np.sqrt(np.float32(_COARSE_GAIN / 4.0) * noise + np.float32(_MODEL**2))
        marks = ((deviation > 3.5) & (coarse > self._least) & (weight > 0.4)).astype(np.uint8)
        count, labels = cv2.connectedComponents(marks, connectivity=8)
        if count > 1:
            most = ndimage.maximum(deviation, labels, np.arange(count))
            kept = (np.asarray(most) > 5.5) & (np.arange(count) > 0)
            candidate |= (
                cv2.resize(kept[labels].astype(np.uint8), candidate.shape[::-1], interpolation=cv2.INTER_NEAREST) & free
            )
        # What is cement stays, unless it has been too little for some frames.
        held = fine > 0.5 * level
        self._hold = np.where(held, np.uint8(6), np.maximum(self._hold, 1) - np.uint8(1)) * self._cement
        gone = (self._cement > 0) & (self._hold == 0)
        self._cement[gone] = 0
        self._arrival[gone] = _NAN
        if self._frame < 2:
            return
        new = candidate & (1 - self._cement)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(new, connectivity=8)
        if count < 2:
            return
        near = cv2.dilate(self._cement, _SQUARE)
        numbers = np.arange(count)
        most = np.asarray(ndimage.maximum(z, labels, numbers), np.float64)
        attached = np.asarray(ndimage.maximum(near, labels, numbers)) > 0
        alone = (most > _SEED) & (stats[:, cv2.CC_STAT_AREA] >= 8)
        taken = np.where(attached, most > _ATTACHED, alone) & (numbers > 0)
        came = taken[labels]
        self._cement[came] = 1
        self._hold[came] = 6
        self._arrival[came] = time_s

    def _maps(
        self, fine: F32, level: F32, matrix: F64, shape: tuple[int, ...]
    ) -> tuple[U8, F32, F32, F32, tuple[F64, ...]]:
        above = np.where(
            self._cement > 0, np.maximum(fine - level, 0.05 * level), np.minimum(fine - level, -0.05 * level)
        )
        # Slopes of the time of arrival by a plane in each window: sums by box filters.
        known = np.asarray(np.isfinite(self._arrival), np.float32)
        when = np.asarray(np.where(known > 0.0, self._arrival, 0.0), np.float32)
        indices = np.indices(fine.shape, np.float32)
        v, u = np.asarray(indices[0], np.float32), np.asarray(indices[1], np.float32)
        sums = {
            name: cv2.boxFilter(values * known, cv2.CV_64F, (7, 7), normalize=False)
            for name, values in {
                "n": known,
                "u": u,
                "v": v,
                "t": when,
                "uu": u * u,
                "uv": u * v,
                "vv": v * v,
                "ut": u * when,
                "vt": v * when,
            }.items()
        }
        n = np.maximum(sums["n"], 1.0)
        uu, uv, vv = (sums[a + b] - sums[a] * sums[b] / n for a, b in ("uu", "uv", "vv"))
        ut, vt = sums["ut"] - sums["u"] * sums["t"] / n, sums["vt"] - sums["v"] * sums["t"] / n
        determinant = uu * vv - uv * uv
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.hypot((vv * ut - uv * vt) / determinant, (uu * vt - uv * ut) / determinant)
            speed = np.where((sums["n"] >= 14) & (slope > 0.0) & (self._cement > 0), self._step / slope, np.nan)
        step = self._step
        whole = np.array(
            [[1.0 / step, 0.0, (1.0 - step) / (2.0 * step)], [0.0, 1.0 / step, (1.0 - step) / (2.0 * step)], [0, 0, 1]]
        )
        inverse = np.linalg.inv(np.vstack([matrix, [0.0, 0.0, 1.0]])) @ whole
        size = (shape[1], shape[0])
        linear, nearest = (n | cv2.WARP_INVERSE_MAP for n in (cv2.INTER_LINEAR, cv2.INTER_NEAREST))
        field = cv2.warpAffine(above, inverse[:2], size, flags=linear, borderValue=-1.0)
        mask = (field > 0.0).astype(np.uint8)
        thickness = (
            np.maximum(cv2.warpAffine(fine, inverse[:2], size, flags=linear), 0.0) / np.float32(self._per_mm) * mask
        )
        arrival = cv2.warpAffine(self._arrival, inverse[:2], size, flags=nearest, borderValue=float("nan"))
        speed_map = cv2.warpAffine(speed.astype(np.float32), inverse[:2], size, flags=nearest, borderValue=float("nan"))
        lines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        return mask, thickness, arrival, speed_map, tuple(line[:, 0].astype(np.float64) for line in lines)


def _halved(plane: F32) -> F32:
    half = cv2.resize(plane, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.sepFilter2D(half, -1, _FIVE, _FIVE), np.float32)


def _about(place: F64, shape: tuple[int, ...]) -> F64:
    """(2, 3) of a shift and a turn about the middle."""
    du, dv, turn = place
    middle = np.array([(shape[1] - 1) / 2.0, (shape[0] - 1) / 2.0])
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.hstack([turned, (middle + np.array([du, dv]) - turned @ middle)[:, None]])
