"""The table was moved: bones at other depths are elsewhere in the picture, and what is there now is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import cv2
import numpy as np

from guidance.cement.late_reference import LateReference, front_mm_s
from guidance.cement.opacity import Opacity
from guidance.cement.reference import LEAST_FRAMES, reference_picture
from guidance.cement.values import CementFrame
from guidance.errors import CaseError
from guidance.messages import F32, F64, U8, CementView, Matrix34

Motion = tuple[float, float, float]
Places = Sequence[tuple[float, float]]
STILL: Final = (0.0, 0.0, 0.0)
_MOVED: Final = 0.005  # of the longer side: the isocentre's shift, with which bones above and below it shift by another
_NEARER: Final = 0.002
_MOST_BLIND: Final = 0.5  # of the picture: something lies over it, which is no reference
_MOST_NEAR: Final = 0.1  # of what lies near the cement, steel aside: bones that are elsewhere are up to 0.05 of it
_MOST_HIDDEN: Final = 0.05  # of the cement
_WAITS_NS: Final = 4_000_000_000  # for what lies over the cement to go away; then it is blind there
_NEAR_MM: Final = 4.0  # cement may be beside what is seen of it, and goes on as long as it cannot be seen
_BROAD_MM: Final = 2.0  # edges of bones are narrower: cement behind those is seen beside them
_USUAL_MM: Final = 0.3  # of a pixel


class MovedReference:
    """Frames of where the patient lies now, until they are enough for a reference; one thread, one pose.

    What is told then goes on to be against the first reference: motions are put together, and times of arrival stay.
    """

    def __init__(self) -> None:
        self._frames: list[CementFrame] = []
        self._blind: U8 | None = None
        self._since_ns: int | None = None
        self._unknown: U8 | None = None
        self._before: Motion = STILL
        self._arrival_s: F32 | None = None

    @property
    def frames(self) -> tuple[CementFrame, ...]:
        """That came since."""
        return tuple(self._frames)

    def add(
        self,
        anchor: CementFrame,
        frame: CementFrame,
        view: CementView,
        places_px: Places = (),
        steel: F64 | None = None,
    ) -> bool:
        """Take a frame in; whether a reference can be made of those that came.

        What is new where the tracker was blind meanwhile would be background for good: where something lies over
        cement, or near it, frames that show more are waited for.

        Args:
            anchor: of the reference as it is.
            frame: that the view shows.
            view: of the tracker.
            places_px: where cement comes out.
            steel: (N, 5) capsules u0, v0, u1, v1, radius in px, within which the tracker is blind anyway.
        """
        if not moved(anchor, frame):
            self._since_ns, self._frames = None, []
            return False
        alike = not self._frames or self._frames[-1].pose == frame.pose
        self._since_ns = frame.time_ns if self._since_ns is None or not alike else self._since_ns
        waits = frame.time_ns - self._since_ns < _WAITS_NS
        if not (alike and _shows_all(view)) or (waits and _hidden(view, places_px, steel)):
            self._frames = []
            return False
        assert view.blind is not None
        self._blind = view.blind.copy() if not self._frames or self._blind is None else self._blind | view.blind
        self._frames.append(frame)
        return len(self._frames) >= LEAST_FRAMES

    def made(
        self,
        view: CementView,
        opacity: Opacity,
        share: F32 | float,
        places_px: Places = (),
        steel: F64 | None = None,
    ) -> LateReference | None:
        """The frames as a reference, with the cement that the view shows in it; None where they are none.

        Where cement can have come unseen meanwhile, what does not grow since is blind from then on.

        Args:
            view: of the newest of them, as the tracker told it.
            opacity: of the cement.
            share: scatter's of the signal, on the grid of the reference before: a table moved along the beam may
                change how many pixels a bin has.
            places_px: where cement comes out.
            steel: as of `add`.
        """
        frames, self._frames = self._frames, []
        try:
            reference = reference_picture(frames)
        except CaseError:
            return None
        assert view.thickness_mm is not None
        assert self._blind is not None
        unseen_s = max(frames[-1].time_ns - (self._since_ns or frames[0].time_ns), 0) / 1e9
        reach_mm = _NEAR_MM + front_mm_s(view) * unseen_s
        whole = self.whole(view)
        assert whole.blind is not None
        unknown = _broad(view, self._blind & _near(view, reach_mm, places_px, steel))
        step, shape = reference.scale.step, reference.attenuation.shape
        thickness = view.thickness_mm[: shape[0] * step, : shape[1] * step]
        binned = thickness.reshape(shape[0], step, shape[1], step).mean(axis=(1, 3), dtype=np.float32)
        if not isinstance(share, float) and share.shape != shape:
            share = np.asarray(cv2.resize(share, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
        through = np.exp(-opacity.contrast_of(binned))
        contrast = np.where(binned > 0.0, -np.log(share + (1.0 - share) * through), 0.0)
        assert view.blind is not None
        self._unknown = unknown | ((whole.blind > 0) & (view.blind == 0))
        self._before, self._arrival_s = whole.motion, whole.arrival_s
        return LateReference(reference, np.ascontiguousarray(contrast, np.float32))

    def whole(self, view: CementView) -> CementView:
        """A view of the tracker with its motion against the first reference, earlier times of arrival, and blind where
        the reference may have cement in it that nobody has seen.
        """
        if self._unknown is None or not view.seen or view.mask is None:
            return view
        motion = put_together(self._before, view.motion)
        arrival = view.arrival_s
        if arrival is not None and self._arrival_s is not None:
            arrival = _with_earlier(arrival, self._arrival_s, view)
        blind = view.blind
        if blind is not None and self._unknown.any():
            du, dv, _ = view.motion
            rows, columns = blind.shape
            shift = np.array([[1.0, 0.0, du], [0.0, 1.0, dv]])
            here = cv2.warpAffine(self._unknown, shift, (columns, rows), flags=cv2.INTER_NEAREST)
            blind = np.asarray((blind > 0) | ((here > 0) & (view.mask == 0)), np.uint8)
            blind.flags.writeable = False
        return replace(view, motion=motion, arrival_s=arrival, blind=blind)


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


def _near(view: CementView, reach_mm: float, places_px: Places, steel: F64 | None) -> U8:
    """1 around cement and where it comes out, but where there is steel."""
    assert view.mask is not None
    found = (view.mask > 0).astype(np.uint8)
    for u, v in places_px:
        if 0.0 <= u < found.shape[1] and 0.0 <= v < found.shape[0]:
            found[int(v), int(u)] = 1
    reach_px = reach_mm / (view.mm_per_px or _USUAL_MM)
    away = cv2.distanceTransform(1 - found, cv2.DIST_L2, 3)
    near = np.asarray((away <= reach_px) & bool(found.any()), np.uint8)
    for u0, v0, u1, v1, radius in () if steel is None else steel:
        cv2.line(near, (round(u0), round(v0)), (round(u1), round(v1)), (0,), max(1, round(2.0 * radius)))
    return near


def _broad(view: CementView, marks: U8) -> U8:
    width = max(1, round(_BROAD_MM / (view.mm_per_px or _USUAL_MM)))
    return np.asarray(cv2.morphologyEx(marks, cv2.MORPH_OPEN, np.ones((width, width), np.uint8)), np.uint8)


def _hidden(view: CementView, places_px: Places, steel: F64 | None) -> bool:
    """Whether something lies over cement, or near it."""
    assert view.mask is not None
    assert view.blind is not None
    near = _near(view, _NEAR_MM, places_px, steel) > 0
    cement = (view.mask > 0) & near
    return any(
        int(np.count_nonzero(view.blind[where])) > most * int(np.count_nonzero(where))
        for where, most in ((cement, _MOST_HIDDEN), (near, _MOST_NEAR))
    )


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
