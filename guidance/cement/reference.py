"""Pictures before the cement: the last of each pose are kept, and put together become the reference."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.cement.picture_scale import open_field, scale_of
from guidance.cement.values import CementFrame
from guidance.errors import CaseError
from guidance.kernels.cement import Aligner, FrameScale, bin_frame, warp
from guidance.messages import F32, F64, U8, Matrix34

LEAST_FRAMES: Final = 5
"""Of a reference (contract 5.4)."""
MOST_FRAMES: Final = 12
_MOST_BYTES: Final = 64 * 1024 * 1024  # of one pose's frames, beyond the least number
_MOST_POSES: Final = 4  # of one input
_SAME_TURN_DEG: Final = 1.0
_SAME_SHIFT: Final = 0.15  # of the picture's shorter side
_SAME_SCALE: Final = 0.02
_AGREES: Final = 0.5  # share of a frame that must agree with the newest one
_LEVELS: Final = 12
_SAMPLE: Final = 20_000  # bins that tell the noise
_USUAL_DEPTH_MM: Final = 750.0  # of the isocentre
_LEAST_SIGMA: Final = 1e-4
_IMMERKAER: Final = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)  # CVIU 64(2), 1996
_MEDIAN_SHARE: Final = 0.6745


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReferencePicture:
    """One pose before the cement, on the working grid.

    Attributes:
        device: of the input.
        scale: what the numbers mean.
        picture: rows and columns of the frames; `kind` their type.
        attenuation: (R, C) mean, in the place of the newest frame; natural logarithm, of numbers for linear pictures.
        valid: 1 where it is known.
        variance: (R, C) of one frame's noise.
        frames: that went into it.
        kvp: of the newest frame; None: not told.
        pixel_from_patient: of the newest frame.
        until_ns: when the newest frame was taken.
        linear: the numbers are proportional to what the detector got.
    """

    device: str
    scale: FrameScale
    picture: tuple[int, int]
    kind: str
    attenuation: F32
    valid: U8
    variance: F32
    frames: int
    kvp: float | None
    pixel_from_patient: Matrix34 | None
    until_ns: int
    linear: bool

    def counts(self) -> F32:
        """(R, C) what the detector got, in the frames' numbers; only of linear pictures."""
        return np.exp(-self.attenuation)


class ReferenceFrames:
    """The last live frames of each input and pose, by reference; bounded by number and bytes."""

    def __init__(self) -> None:
        self._poses: dict[str, list[deque[CementFrame]]] = {}

    def add(self, frame: CementFrame) -> None:
        """Keep a frame; the oldest of its pose, and the pose longest unseen, make room."""
        poses = self._poses.setdefault(frame.device, [])
        for number, kept in enumerate(poses):
            if same_pose(kept[-1], frame):
                poses.insert(0, poses.pop(number))
                break
        else:
            poses.insert(0, deque())
            del poses[_MOST_POSES:]
        frames = poses[0]
        frames.append(frame)
        while len(frames) > MOST_FRAMES or (
            len(frames) > LEAST_FRAMES and sum(kept.pixels.nbytes for kept in frames) > _MOST_BYTES
        ):
            frames.popleft()

    def poses(self, device: str) -> tuple[tuple[CementFrame, ...], ...]:
        """Frames of each pose of an input, oldest first; the pose seen last comes first."""
        return tuple(tuple(frames) for frames in self._poses.get(device, ()))

    def of(self, frame: CementFrame) -> tuple[CementFrame, ...]:
        """Frames of the same input and pose as a frame, oldest first; empty: none."""
        for frames in self._poses.get(frame.device, ()):
            if same_pose(frames[-1], frame):
                return tuple(frames)
        return ()

    def clear(self) -> None:
        self._poses.clear()


def same_pose(a: CementFrame, b: CementFrame) -> bool:
    """Whether two frames of one input show the same projection but for small motions.

    Without geometry in either that is not known, and the picture decides later; with it in one of them only they are
    taken as two.
    """
    if a.pixels.shape != b.pixels.shape or a.pixels.dtype != b.pixels.dtype or a.intensity != b.intensity:
        return False
    one, two = (n.pose if n.pose is not None else n.pixel_from_patient for n in (a, b))
    if one is None or two is None:
        return one is two
    first, second = (np.asarray(n, np.float64).reshape(3, 4) for n in (one, two))
    if first.tobytes() == second.tobytes():
        return True
    axes = [m[2, :3] / np.linalg.norm(m[2, :3]) for m in (first, second)]
    if float(axes[0] @ axes[1]) < np.cos(np.deg2rad(_SAME_TURN_DEG)):
        return False
    rows, columns = a.pixels.shape
    point = _in_the_middle(first, (columns - 1) / 2.0, (rows - 1) / 2.0)
    seen = second @ point
    if not seen[2] > 0.0:
        return False
    shift = np.hypot(seen[0] / seen[2] - (columns - 1) / 2.0, seen[1] / seen[2] - (rows - 1) / 2.0)
    scales = [np.linalg.norm(np.cross(m[0, :3], m[2, :3])) for m in (first, second)]
    return bool(shift < _SAME_SHIFT * min(rows, columns) and abs(scales[0] / scales[1] - 1.0) < _SAME_SCALE)


def reference_picture(
    frames: Sequence[CementFrame], *, least: int = LEAST_FRAMES, step: int | None = None
) -> ReferencePicture:
    """Put the frames of one pose together, each where the newest is.

    Args:
        frames: of one input and pose, oldest first.
        least: how many are asked for.
        step: pixels per bin; None: by the size.

    Raises:
        CaseError: `no_reference`: too few frames, or nothing to be seen in the newest.
    """
    if len(frames) < max(least, 1):
        raise CaseError(
            f"{len(frames)} live frames of this pose before the start, {max(least, 1)} are needed",
            code="no_reference",
            mend="take some frames of this view, then start",
        )
    newest = frames[-1]
    alike = [n for n in frames if n.pixels.shape == newest.pixels.shape and n.pixels.dtype == newest.pixels.dtype]
    scale = scale_of(alike, step)
    if min(scale.rows, scale.columns) < 32:
        raise CaseError("the picture is too small", code="no_reference", mend="send at least 32 x 32 pixels")
    newest_pixels = np.ascontiguousarray(newest.pixels)
    base, known, _, _ = bin_frame(newest_pixels, scale)
    known = np.ascontiguousarray(known * open_field(newest_pixels, scale))
    if not known.any():
        raise CaseError(
            "the newest frame shows nothing: black, saturated or covered",
            code="no_reference",
            mend="take some frames of this view, then start",
        )
    one = _one_frame_variance(base, known)
    sums = _Sums(base, known)
    aligner = Aligner(base, known, 2.0 * one)  # both have noise
    level = float(base[known > 0].mean())
    motion = (0.0, 0.0, 0.0)
    for frame in reversed(alike[:-1]):
        layer, seen, _, _ = bin_frame(np.ascontiguousarray(frame.pixels), scale)
        fit = aligner.fit(layer, seen, motion)
        if fit.share < _AGREES:
            continue
        motion = (fit.du, fit.dv, fit.turn)
        moved, there = warp(layer, seen, *motion)
        moved -= np.float32(fit.offset) + np.float32(fit.slope) * (base - np.float32(level))
        sums.add(moved, there)
    mean, valid, variance = sums.together()
    return ReferencePicture(
        device=newest.device,
        scale=scale,
        picture=(newest.pixels.shape[0], newest.pixels.shape[1]),
        kind=newest.pixels.dtype.str,
        attenuation=mean,
        valid=valid,
        variance=variance,
        frames=sums.frames,
        kvp=newest.kvp,
        pixel_from_patient=newest.pixel_from_patient,
        until_ns=newest.time_ns,
        linear=newest.intensity.relationship == "LIN",
    )


class _Sums:
    """Frames in one place, put together one by one by their differences from the newest: small numbers."""

    def __init__(self, base: F32, known: U8) -> None:
        self._base, self._known = base, known
        self._count = known.astype(np.float32)
        self._sum, self._squares = np.zeros_like(base), np.zeros_like(base)
        self.frames = 1

    def add(self, layer: F32, seen: U8) -> None:
        off = (layer - self._base) * (seen & self._known)
        self._sum += off
        np.multiply(off, off, out=off)
        self._squares += off
        self._count += seen & self._known
        self.frames += 1

    def together(self) -> tuple[F32, U8, F32]:
        """Mean, where most frames tell it, and the noise of one frame by how dense it is there."""
        if self.frames < 2:
            return self._base, self._known, _one_frame_variance(self._base, self._known)
        valid = np.ascontiguousarray(self._count > 0.5 * self.frames, np.uint8)
        count = np.maximum(self._count, 1.0)
        mean = np.asarray(self._base + self._sum / count, np.float32) * valid
        spread = np.asarray(np.maximum(self._squares - self._sum**2 / count, 0.0) / (self.frames - 1), np.float32)
        whole = (self._count == self.frames) & (valid > 0)
        return mean, valid, _noise_by_density(mean, spread, whole, valid, self.frames)


def _noise_by_density(mean: F32, spread: F32, whole: npt.NDArray[np.bool_], valid: U8, frames: int) -> F32:
    """Variance = a exp(attenuation) + b, a and b not negative: photons, and what else there is."""
    if np.count_nonzero(whole) < 16 * _LEVELS:
        return _one_frame_variance(mean, valid)
    step = max(np.count_nonzero(whole) // _SAMPLE, 1)
    dense = mean[whole][::step]
    level = float(np.median(dense))
    x = np.exp(np.clip(dense - level, -6.0, 6.0)).astype(np.float64)
    order = np.argsort(x)
    values = spread[whole][::step][order].astype(np.float64)
    chunks = np.array_split(np.arange(len(order)), _LEVELS)
    # Medians, as what moved between the frames is no noise; of chi-squared values they lie below the mean (Wilson &
    # Hilferty, PNAS 17, 1931).
    freedom = max(frames - 1, 1)
    means = np.array([np.median(values[c]) for c in chunks]) / (1.0 - 2.0 / (9.0 * freedom)) ** 3
    places = np.array([x[order][c].mean() for c in chunks])
    a, b = _line(places, means)
    variance = a * np.exp(np.clip(mean - level, -6.0, 6.0)) + b
    return np.asarray(np.maximum(variance, _LEAST_SIGMA**2), np.float32)


def _line(x: F64, y: F64) -> tuple[float, float]:
    """Non-negative a, b of y = a x + b with errors in proportion to y."""
    weight = 1.0 / np.maximum(y, 1e-12)
    a, b = np.linalg.lstsq(np.stack([x, np.ones_like(x)], axis=1) * weight[:, None], y * weight, rcond=None)[0]
    if a < 0.0:
        return 0.0, float(np.mean(y))
    if b < 0.0:
        return float(np.sum(weight**2 * x * y) / np.sum(weight**2 * x * x)), 0.0
    return float(a), float(b)


def _one_frame_variance(layer: F32, valid: U8) -> F32:
    """From what differs between neighbours, where there is one frame only."""
    if not valid.any() or min(layer.shape) < 3:
        return np.full(layer.shape, _LEAST_SIGMA**2, np.float32)
    inner = sum(
        _IMMERKAER[r, c] * layer[r : layer.shape[0] - 2 + r, c : layer.shape[1] - 2 + c]
        for r in range(3)
        for c in range(3)
    )
    sizes = np.abs(np.asarray(inner))[valid[1:-1, 1:-1] > 0]
    sigma = float(np.median(sizes)) / (6.0 * _MEDIAN_SHARE) if sizes.size else 0.0
    level = float(np.median(layer[valid > 0]))
    variance = sigma**2 * np.exp(np.clip(layer - level, -3.0, 3.0))
    return np.asarray(np.maximum(variance, _LEAST_SIGMA**2), np.float32)


def _in_the_middle(matrix: F64, u: float, v: float) -> F64:
    """A homogeneous point on the ray of a pixel, at the usual depth of the isocentre."""
    point = np.linalg.solve(matrix[:, :3], _USUAL_DEPTH_MM * np.array([u, v, 1.0]) - matrix[:, 3])
    return np.array([*point, 1.0])
