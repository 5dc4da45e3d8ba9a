"""Pictures before the cement: the last of each pose are kept, and put together become the reference."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from guidance.cement.frame_noise import noise_by_density, one_frame_variance
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
_USUAL_DEPTH_MM: Final = 750.0  # of the isocentre
_CELL: Final = 8  # bins along a side: noise is averaged away in it
_BROAD: Final = 13  # bins: edges of bones and of cement that grows are narrower
_CHANGED: Final = 3.0  # times the noise's variance that a cell differs by between the frames
_ALIKE: Final = 0.75  # of the frames go into a reference of a picture in which little moves


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
        changed: (R, C) 1 where the frames differ by more than noise, broadly: something has moved; all of it where
            they are not frames of one picture. None: one frame only.
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
    changed: U8 | None = None

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
    one = one_frame_variance(base, known)
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
    changed = (
        sums.changed(np.minimum(variance, 2.0 * one), valid)
        if sums.frames >= _ALIKE * len(alike)
        else np.ones_like(valid)
    )
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
        changed=changed if len(alike) > 1 else None,
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
            return self._base, self._known, one_frame_variance(self._base, self._known)
        valid = np.ascontiguousarray(self._count > 0.5 * self.frames, np.uint8)
        count = np.maximum(self._count, 1.0)
        mean = np.asarray(self._base + self._sum / count, np.float32) * valid
        spread = np.asarray(np.maximum(self._squares - self._sum**2 / count, 0.0) / (self.frames - 1), np.float32)
        whole = (self._count == self.frames) & (valid > 0)
        return mean, valid, noise_by_density(mean, spread, whole, valid, self.frames)

    def changed(self, variance: F32, valid: U8) -> U8:
        """Where bins differ between the frames by more than their noise, all over an area."""
        count = np.maximum(self._count, 1.0)
        spread = np.maximum(self._squares - self._sum**2 / count, 0.0) / np.maximum(count - 1.0, 1.0)
        ratio = np.asarray(spread / variance * valid, np.float32)
        cells = cv2.blur(ratio, (_CELL, _CELL)) > _CHANGED * cv2.blur(valid.astype(np.float32), (_CELL, _CELL))
        marks = np.asarray(cells & (valid > 0), np.uint8)
        return np.asarray(cv2.morphologyEx(marks, cv2.MORPH_OPEN, np.ones((_BROAD, _BROAD), np.uint8)), np.uint8)


def _in_the_middle(matrix: F64, u: float, v: float) -> F64:
    """A homogeneous point on the ray of a pixel, at the usual depth of the isocentre."""
    point = np.linalg.solve(matrix[:, :3], _USUAL_DEPTH_MM * np.array([u, v, 1.0]) - matrix[:, 3])
    return np.array([*point, 1.0])
