"""Cone-beam line integrals through a volume (radiographs from CT): the native kernel's face and its NumPy twin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from guidance.kernels import _core
from guidance.messages import F64

F32 = npt.NDArray[np.float32]
Backend = Literal["native", "avx2", "portable", "reference"]
Method = Literal["auto", "rays", "shear_warp"]

MAXIMUM_KNOTS: Final = 8
MAXIMUM_FACTOR: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class MaterialCurves:
    """How much of each material a voxel value means: piecewise linear, nothing up to the first knot.

    Attributes:
        knots: (K,) float64, 1 to 8 voxel values, rising.
        amounts: (C, K) float64, amount of each of C materials at the knots; the first column is 0. Above the last
            knot the amount stays (K = 1 is a plain excess over the knot, one unit per unit of value).
    """

    knots: F64
    amounts: F64
    _native: tuple[F32, F32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.knots.ndim != 1 or not 1 <= len(self.knots) <= MAXIMUM_KNOTS or np.any(np.diff(self.knots) <= 0.0):
            raise ValueError(f"knots must be 1 to {MAXIMUM_KNOTS} rising numbers")
        if self.amounts.ndim != 2 or self.amounts.shape[1] != len(self.knots) or np.any(self.amounts[:, 0] != 0.0):
            raise ValueError("amounts must be (channels, knots) and 0 at the first knot")
        object.__setattr__(self, "_native", (self.knots.astype(np.float32), self.coefficients()))

    def coefficients(self) -> F32:
        """(C, K) float32: the change of slope at each knot, so that amount = sum of coefficient * max(0, v - knot)."""
        if len(self.knots) == 1:
            return np.ones((self.amounts.shape[0], 1), np.float32)
        slopes = np.diff(self.amounts, axis=1) / np.diff(self.knots)
        return np.diff(slopes, axis=1, prepend=0.0, append=0.0).astype(np.float32)

    def of(self, values: F64) -> F64:
        """(C, ...) amounts of voxel values of any shape."""
        if len(self.knots) == 1:
            excess = np.maximum(values - self.knots[0], 0.0)
            return np.broadcast_to(excess, (self.amounts.shape[0], *values.shape))
        return np.stack([np.interp(values, self.knots, row) for row in self.amounts])

    def for_native(self) -> tuple[F32, F32]:
        """Knots and coefficients as the kernel takes them; made once, as a projection may take 0.1 ms."""
        return self._native


EXCESS_OVER_ZERO: Final = MaterialCurves(np.zeros(1), np.zeros((1, 1)))
"""One channel: the voxel value itself, nothing below 0."""


class ProjectionVolume:
    """A volume made ready for `cone_projection`; holds a copy with a voxel of air around it.

    Args:
        voxels: `[k, j, i]` int16 or float32, C order.
        affine_lps_from_ijk: (4, 4) float64, voxel centres at integers; may be sheared, must not be singular.
        air: what surrounds the volume; must mean nothing in every material curve used with it.

    Raises:
        TypeError: another dtype, dimension or memory order.
        ValueError: empty, 2^31 voxels or more, a voxel that is not finite, singular or non-finite affine.
    """

    def __init__(self, voxels: npt.NDArray[Any], affine_lps_from_ijk: F64, air: int = -1024) -> None:
        affine = np.ascontiguousarray(affine_lps_from_ijk, np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            raise ValueError("affine_lps_from_ijk must be a finite, invertible (4, 4)")
        self.affine_lps_from_ijk = affine
        self.shape_kji: tuple[int, int, int] = voxels.shape
        self.air = air
        self.voxels = voxels
        self.native: _core.ConeVolumeInt16 | _core.ConeVolumeFloat32
        if voxels.dtype == np.int16:
            self.native = _core.ConeVolumeInt16(voxels, air)
        else:
            self.native = _core.ConeVolumeFloat32(voxels, air)
        self._reduced: dict[tuple[int, int, int], ProjectionVolume] = {(1, 1, 1): self}

    def reduced(self, factor: int | tuple[int, int, int]) -> ProjectionVolume:
        """The volume with each box of `factor` voxels, or of (k, j, i) voxels, averaged to one; made once and kept.

        A box that reaches beyond the volume counts air there. Averages of values are what a projection needs whose
        material curve is straight between them (an attenuation, or an excess over air); int16 is rounded.

        Raises:
            ValueError: a factor that is not 1 to 256.
        """
        factors = (factor, factor, factor) if isinstance(factor, int) else factor
        if not all(1 <= of <= MAXIMUM_FACTOR for of in factors):
            raise ValueError(f"factors must be 1 to {MAXIMUM_FACTOR}")
        if factors not in self._reduced:
            shape = tuple(-(-size // of) for size, of in zip(self.shape_kji, factors, strict=True))
            means = np.empty(shape, self.voxels.dtype)
            _core.box_average(self.voxels, *factors, self.air, means)
            boxes = np.diag([*factors[::-1], 1.0])
            boxes[:3, 3] = (np.array(factors[::-1]) - 1.0) / 2.0
            self._reduced[factors] = ProjectionVolume(means, self.affine_lps_from_ijk @ boxes, self.air)
        return self._reduced[factors]

    def for_pixels(self, pixel_from_patient: F64, step_px: float = 1.0) -> ProjectionVolume:
        """The coarsest reduction (by 1, 2, 4, ... along each axis) with voxels no larger than the picture's pixels.

        Measured in the middle of the volume, square to the ray. Fewer voxels would blur the picture; more cost time,
        and their finest detail falls between the pixels.

        Raises:
            ValueError: the volume's middle lies at or behind the source.
        """
        pixel_from_ijk = pixel_from_patient @ self.affine_lps_from_ijk
        middle = np.append((np.array(self.shape_kji[::-1]) - 1.0) / 2.0, 1.0)
        u, v, w = pixel_from_ijk @ middle
        if not w > 0.0:
            raise ValueError("the volume's middle must lie in front of the source")
        # Change of the pixel per voxel along i, j and k.
        across = (pixel_from_ijk[:2, :3] - np.outer([u / w, v / w], pixel_from_ijk[2, :3])) / w
        voxel_px = np.linalg.norm(across, axis=0) / step_px
        size_mm = np.linalg.norm(self.affine_lps_from_ijk[:3, :3], axis=0)
        px_per_mm = (voxel_px / size_mm).max()
        factors = [1, 1, 1]
        for axis in range(3):
            while factors[axis] < 64 and 2 * factors[axis] * size_mm[axis] * px_per_mm <= 1.0:
                factors[axis] *= 2
        return self.reduced((factors[2], factors[1], factors[0]))


class ProjectionMethod(NamedTuple):
    """How a projection would be computed, and why."""

    method: Literal["shear_warp", "rays"]
    reason: str


_METHODS: Final = {"auto": 0, "rays": 1, "shear_warp": 2}
_INSTRUCTIONS: Final = {"native": 0, "avx2": 1, "portable": 2}


def projection_method(
    volume: ProjectionVolume,
    pixel_from_patient: F64,
    size: tuple[int, int],
    curves: MaterialCurves = EXCESS_OVER_ZERO,
    *,
    origin_px: tuple[float, float] = (0.0, 0.0),
    step_px: float = 1.0,
    method: Method = "auto",
) -> ProjectionMethod:
    """What `cone_projection` with the same arguments does; `shear_warp` asked for where it says `rays` is refused.

    Shear-warp needs rays that all lie within 58 deg (in voxel indices) of one axis of the volume. Left to choose, it is
    taken for curves of one knot and for pictures with pixels enough; several materials keep the rays' accuracy. Where
    the middle ray leans 43 to 47 deg between two axes, the pictures along both are mixed, in twice the time: a camera
    that turns through sees no step.
    """
    knots, coefficients = curves.for_native()
    shear_warp, reason = volume.native.choose(
        np.ascontiguousarray(pixel_from_patient, np.float64),
        volume.affine_lps_from_ijk,
        knots,
        coefficients,
        origin_px[0],
        origin_px[1],
        step_px,
        _METHODS[method],
        size[0],
        size[1],
    )
    return ProjectionMethod("shear_warp" if shear_warp else "rays", reason)


def cone_projection(
    volume: ProjectionVolume,
    pixel_from_patient: F64,
    size: tuple[int, int],
    curves: MaterialCurves = EXCESS_OVER_ZERO,
    *,
    origin_px: tuple[float, float] = (0.0, 0.0),
    step_px: float = 1.0,
    threads: int = 1,
    out: F32 | None = None,
    method: Method = "auto",
    backend: Backend = "native",
) -> F32:
    """Integrate each material along the ray from the source through every pixel's centre.

    All of the volume that lies in front of the source counts; what is outside it is air. Between voxel centres the
    value is bilinear within planes across the ray's main axis, and one plane counts as one step (Joseph).

    Args:
        pixel_from_patient: (3, 4) float64, w > 0 in front of the source; sign matters, scale doesn't.
        size: (rows, columns) of the answer.
        curves: voxel value to amounts of C materials.
        origin_px: (u, v) of the answer's first pixel: a region of interest begins here.
        step_px: pixels of `pixel_from_patient` per pixel of the answer; binned by n: step n, origin (n - 1) / 2.
        threads: 1 to 64, made and ended within the call.
        out: (C, rows, columns) float32, C order, to write into.
        method: `rays` follows each pixel's ray; `shear_warp` resamples the volume's planes onto one grid and the grid
            into the picture, about 5 times as fast, rms within 0.05 % of the largest value of the rays' picture at one
            voxel a pixel; `auto` as `projection_method` says.
        backend: `avx2` is the native code with shorter vectors, `portable` without any; `reference` is the slow
            specification of the rays.

    Returns:
        (C, rows, columns) float32: amount times mm.

    Raises:
        ValueError: singular or non-finite matrix, knots that give a meaning to the surrounding air, bad size,
            `shear_warp` where the rays are too oblique to every axis of the volume.

    Source: P. M. Joseph, An improved algorithm for reprojecting rays through pixel images, IEEE TMI 1(3), 1982;
    P. Lacroute and M. Levoy, Fast volume rendering using a shear-warp factorization, SIGGRAPH 1994.
    """
    matrix = np.ascontiguousarray(pixel_from_patient, np.float64)
    if matrix.shape != (3, 4):
        raise ValueError("pixel_from_patient must be a finite (3, 4) with an invertible left block")
    if volume.air > curves.knots[0]:
        raise ValueError("the air around the volume must not count in the material curves")
    channels = curves.amounts.shape[0]
    if out is None:
        out = np.empty((channels, *size), np.float32)
    if out.shape != (channels, *size):
        raise ValueError(f"out must have shape {(channels, *size)}")
    if backend == "reference":
        out[:] = _reference(volume, matrix, size, curves, origin_px, step_px)
        return out
    knots, coefficients = curves.for_native()
    volume.native.project(
        matrix,
        volume.affine_lps_from_ijk,
        knots,
        coefficients,
        origin_px[0],
        origin_px[1],
        step_px,
        threads,
        _METHODS[method],
        _INSTRUCTIONS[backend],
        out,
    )
    return out


def _reference(
    volume: ProjectionVolume,
    pixel_from_patient: F64,
    size: tuple[int, int],
    curves: MaterialCurves,
    origin_px: tuple[float, float],
    step_px: float,
) -> F64:
    """Joseph's rule pixel by pixel in float64; each ray has the main axis that it crosses most planes of."""
    pixel_from_ijk = pixel_from_patient @ volume.affine_lps_from_ijk
    ijk_from_pixel = np.linalg.inv(pixel_from_ijk[:, :3])
    source = -ijk_from_pixel @ pixel_from_ijk[:, 3]
    voxels = np.pad(volume.voxels.astype(np.float64).T, 1, constant_values=volume.air)  # [i, j, k]
    result = np.zeros((curves.amounts.shape[0], *size))
    for row in range(size[0]):
        for column in range(size[1]):
            direction = ijk_from_pixel @ (origin_px[0] + step_px * column, origin_px[1] + step_px * row, 1.0)
            axis = int(np.argmax(np.abs(direction)))
            planes = np.arange(volume.shape_kji[2 - axis])
            along = (planes - source[axis]) / direction[axis]
            planes, along = planes[along > 0.0], along[along > 0.0]
            at = source + along[:, None] * direction
            lateral = [n for n in range(3) if n != axis]
            position = np.clip(at[:, lateral] + 1.0, 0.0, [voxels.shape[n] - 1 for n in lateral])
            corner = np.minimum(position.astype(np.intp), [voxels.shape[n] - 2 for n in lateral])
            part = position - corner
            stack = np.moveaxis(voxels, axis, 0)
            value = np.zeros(len(planes))
            for da in (0, 1):
                for db in (0, 1):
                    weight = np.abs(1 - da - part[:, 0]) * np.abs(1 - db - part[:, 1])
                    value += weight * stack[planes + 1, corner[:, 0] + da, corner[:, 1] + db]
            step_mm = np.linalg.norm(volume.affine_lps_from_ijk[:3, :3] @ direction) / abs(direction[axis])
            result[:, row, column] = curves.of(value).sum(axis=1) * step_mm
    return result
