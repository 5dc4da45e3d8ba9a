"""The table was moved: bones at other depths are elsewhere in the picture, and what is there now is compared with."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import cv2
import numpy as np

from guidance.cement.late_reference import LateReference
from guidance.cement.opacity import Opacity
from guidance.cement.reference import LEAST_FRAMES, reference_picture
from guidance.cement.values import CementFrame
from guidance.errors import CaseError
from guidance.messages import F32, CementView, Matrix34

Motion = tuple[float, float, float]
STILL: Final = (0.0, 0.0, 0.0)
_MOVED: Final = 0.005  # of the longer side: the isocentre's shift, with which bones above and below it shift by another
_NEARER: Final = 0.002
_MOST_BLIND: Final = 0.5  # of the picture: something lies over it, which is no reference


class MovedReference:
    """Frames of where the patient lies now, until they are enough for a reference; one thread, one pose.

    What is told then goes on to be against the first reference: motions are put together, and times of arrival stay.
    """

    def __init__(self) -> None:
        self._frames: list[CementFrame] = []
        self._before: Motion = STILL
        self._arrival_s: F32 | None = None

    @property
    def frames(self) -> tuple[CementFrame, ...]:
        """That came since."""
        return tuple(self._frames)

    def add(self, anchor: CementFrame, frame: CementFrame, view: CementView) -> bool:
        """Take a frame in; whether a reference can be made of those that came.

        Args:
            anchor: of the reference as it is.
            frame: that the view shows.
            view: of the tracker.
        """
        alike = not self._frames or self._frames[-1].pose == frame.pose
        if not (alike and moved(anchor, frame) and _shows_all(view)):
            self._frames = []
            return False
        self._frames.append(frame)
        return len(self._frames) >= LEAST_FRAMES

    def made(self, view: CementView, opacity: Opacity, share: F32 | float) -> LateReference | None:
        """The frames as a reference, with the cement that the view shows in it; None where they are none.

        Args:
            view: of the newest of them, as the tracker told it.
            opacity: of the cement.
            share: scatter's of the signal, on the grid of the reference before: a table moved along the beam may
                change how many pixels a bin has.
        """
        frames, self._frames = self._frames, []
        try:
            reference = reference_picture(frames)
        except CaseError:
            return None
        assert view.thickness_mm is not None
        step, shape = reference.scale.step, reference.attenuation.shape
        thickness = view.thickness_mm[: shape[0] * step, : shape[1] * step]
        binned = thickness.reshape(shape[0], step, shape[1], step).mean(axis=(1, 3), dtype=np.float32)
        if not isinstance(share, float) and share.shape != shape:
            share = np.asarray(cv2.resize(share, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
        through = np.exp(-opacity.contrast_of(binned))
        contrast = np.where(binned > 0.0, -np.log(share + (1.0 - share) * through), 0.0)
        whole = self.whole(view)
        self._before, self._arrival_s = whole.motion, whole.arrival_s
        return LateReference(reference, np.ascontiguousarray(contrast, np.float32))

    def whole(self, view: CementView) -> CementView:
        """A view of the tracker with its motion against the first reference, and earlier times of arrival."""
        if self._before == STILL or not view.seen or view.mask is None:
            return view
        motion = put_together(self._before, view.motion)
        arrival = view.arrival_s
        if arrival is not None and self._arrival_s is not None:
            arrival = _with_earlier(arrival, self._arrival_s, view)
        return replace(view, motion=motion, arrival_s=arrival)


def moved(anchor: CementFrame, frame: CementFrame) -> bool:
    """Whether the told geometry says that the patient lies elsewhere before the C-arm, which has not turned."""
    if anchor.pose is None or frame.pose is None or anchor.pose == frame.pose:
        return False
    (u, v, size), (other_u, other_v, other_size) = (_isocenter(one.pose, frame) for one in (anchor, frame) if one.pose)
    side = max(frame.pixels.shape)
    return bool(np.hypot(u - other_u, v - other_v) > _MOVED * side or abs(size / other_size - 1.0) > _NEARER)


def put_together(first: Motion, second: Motion) -> Motion:
    """One motion after another: du px, dv px, turn in degrees about the picture's middle."""
    turn = np.deg2rad(second[2])
    cosine, sine = float(np.cos(turn)), float(np.sin(turn))
    return (
        cosine * first[0] - sine * first[1] + second[0],
        sine * first[0] + cosine * first[1] + second[1],
        first[2] + second[2],
    )


def _isocenter(pose: Matrix34, frame: CementFrame) -> tuple[float, float, float]:
    """u, v, and how large things are there."""
    matrix = np.array(pose, np.float64).reshape(3, 4)
    matrix = matrix / np.linalg.norm(matrix[2, :3])
    u, v, w = matrix @ np.append(np.asarray(frame.isocenter_lps_mm, np.float64), 1.0)
    return float(u / w), float(v / w), float(np.linalg.norm(np.cross(matrix[0, :3], matrix[2, :3])) / w)


def _shows_all(view: CementView) -> bool:
    if not view.seen or view.thickness_mm is None or view.blind is None:
        return False
    return bool(np.count_nonzero(view.blind) < _MOST_BLIND * view.blind.size)


def _with_earlier(arrival_s: F32, earlier_s: F32, view: CementView) -> F32:
    """Cement that was known before the reference came when it came."""
    du, dv = round(view.motion[0]), round(view.motion[1])
    rows, columns = arrival_s.shape
    found = np.array(arrival_s)
    to = found[max(dv, 0) : rows + min(dv, 0), max(du, 0) : columns + min(du, 0)]
    of = earlier_s[max(-dv, 0) : rows + min(-dv, 0), max(-du, 0) : columns + min(-du, 0)]
    assert view.mask is not None
    mask = view.mask[max(dv, 0) : rows + min(dv, 0), max(du, 0) : columns + min(du, 0)]
    missing = (mask > 0) & np.isnan(to)
    to[missing] = of[missing]
    found.flags.writeable = False
    return found
