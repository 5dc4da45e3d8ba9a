"""One input's eye on cement: which pose it looks from, the tracker of that pose, and what a new pose begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from guidance.cement.fusion import BodyEstimator
from guidance.cement.late_reference import LateReference, starts_px
from guidance.cement.lumen import LumenFinder
from guidance.cement.moved_reference import MovedReference
from guidance.cement.new_view import NewView, covers
from guidance.cement.picture_scale import mm_per_px_of
from guidance.cement.pose_scatter import scatter_of_pose
from guidance.cement.reference import ReferencePicture, reference_picture, same_pose
from guidance.cement.shafts import Shafts, shafts_of
from guidance.cement.standing_steel import steel_lines
from guidance.cement.surroundings import Surroundings
from guidance.cement.tracker import CementTracker, capsules
from guidance.cement.values import CementFrame, CementScene
from guidance.errors import CaseError
from guidance.messages import F32, F64, CementRun, CementView, Matrix34

_MOST_POSES: Final = 6
_SAME_KVP: Final = 0.5
# What can have come since the last frame: at once, in a second (an injector gives 0.05 to 0.5 ml/s), and in proportion.
_FREE_ML, _ML_S, _FREE_SHARE, _SHARE_S, _STEADY = 10.0, 1.0, 0.15, 0.02, 1.5
_KNOWN_FREE_ML: Final = 1.0  # once it is known how much there is: a sum has noise, and another view another scatter
_COVERED: Final = "more is new in the picture than can have flowed: something lies over it"
_CHANGED_FRAMES: Final = 5  # in a row that show another picture, before it is taken for another view


@dataclass(slots=True, eq=False)
class _Pose:
    """One line of sight.

    Attributes:
        frames: before the cement, or the first ones of a new view; empty once the tracker is made.
        start: of a new view.
        anchor: the newest of them.
        tracker: None until it is needed.
        kvp: that its opacity is for.
        new: it was first seen after the start.
        moved: follows the table.
        share: scatter's, on the reference's grid.
        growth_only: what of its first frames is cement could not be told.
        water_mm: thickness of the patient; None: not known.
        shafts: instruments in it.
        lumen: finds those that nobody told of; None before there is a tracker.
    """

    frames: tuple[CementFrame, ...]
    anchor: CementFrame
    new: bool
    growth_only: bool = False
    tracker: CementTracker | None = None
    kvp: float | None = None
    water_mm: float | None = None
    share: F32 | float = 0.0
    start: NewView = field(default_factory=NewView)
    moved: MovedReference = field(default_factory=MovedReference)
    shafts: Shafts = field(default_factory=Shafts)
    lumen: LumenFinder | None = None


class Eye:
    """Follows one input through its poses; one thread, one run.

    Args:
        run: of which it is.
        surroundings: shared with the other inputs.
        before: frames before the start by pose, the pose seen last first.
    """

    def __init__(self, run: CementRun, surroundings: Surroundings, before: Sequence[tuple[CementFrame, ...]]) -> None:
        self._run, self._surroundings = run, surroundings
        self._poses = [_Pose(frames=frames, anchor=frames[-1], new=False) for frames in before]
        self._current: _Pose | None = None
        self._changed: list[CementFrame] = []
        self._last: CementView | None = None
        self._amount_ns: int | None = None
        self._ml = self._share = 0.0

    def look(self, frame: CementFrame, scene: CementScene, estimator: BodyEstimator) -> CementView:
        """What the frame shows; of one that was looked at before the same, with its geometry of now."""
        last = self._last
        if last is not None and frame.sequence <= last.sequence:
            mm_per_px = mm_per_px_of(frame)
            return replace(last, pixel_from_patient=frame.pixel_from_patient, mm_per_px=mm_per_px)
        pose = self._pose_of(frame)
        view = self._looked(pose, frame, scene, estimator)
        if view.code == "picture_changed" and frame.pose is None:
            view = self._elsewhere(view, frame, scene, estimator)
        else:
            self._changed = []
        self._last = view
        return view

    def _pose_of(self, frame: CementFrame) -> _Pose:
        """The pose that the frame is of; a new one where it is none of the known."""
        current = self._current
        if current is not None and (frame.pose is None or current.anchor.pose is None):
            return current  # only the picture can tell
        for pose in self._poses:
            if same_pose(pose.anchor, frame):
                return self._enter(pose, frame)
        if frame.pose is None or all(pose.anchor.pose is None for pose in self._poses):
            # Nothing tells where these were: the one seen last.
            if self._poses:
                return self._enter(self._poses[0], frame)
        elif current is not None and not _same_kind(current.anchor, frame):
            return current  # its size or type is not the reference's, which is said
        return self._enter(self._add_pose(frame), frame)

    def _add_pose(self, frame: CementFrame) -> _Pose:
        pose = _Pose(frames=(), anchor=frame, new=True)
        self._poses.insert(0, pose)
        del self._poses[_MOST_POSES:]
        return pose

    def _enter(self, pose: _Pose, frame: CementFrame) -> _Pose:
        if pose is not self._current:
            if self._current is not None and self._current.tracker is not None:
                self._current.tracker.leave()
            if pose.tracker is not None:
                pose.tracker.resume(frame.time_ns)
            self._current = pose
            self._poses.remove(pose)
            self._poses.insert(0, pose)
        return pose

    def _looked(self, pose: _Pose, frame: CementFrame, scene: CementScene, estimator: BodyEstimator) -> CementView:
        mm_per_px = mm_per_px_of(frame)
        if pose.tracker is None:
            refused = self._prepare(pose, frame, scene, estimator)
            if refused:
                return self._unseen(frame, refused, mm_per_px)
        tracker = pose.tracker
        assert tracker is not None
        if frame.kvp is not None and pose.kvp is not None and abs(frame.kvp - pose.kvp) > _SAME_KVP:
            pose.kvp = frame.kvp
            opacity = self._surroundings.opacity(self._run.material, frame.kvp, pose.water_mm)
            if opacity is not None:
                tracker.set_opacity(opacity)
        last = self._last
        here = last is not None and last.pixel_from_patient == frame.pixel_from_patient
        expected = estimator.expected(last) if last is not None and here else None
        if expected is not None and expected.shape != frame.pixels.shape:
            expected = None
        motion = last.motion if last is not None and here and last.seen else (0.0, 0.0, 0.0)
        mask = last.mask if last is not None and here and last.seen else None
        moved = pose.shafts.moved(scene.instruments, frame.time_ns, motion, max(frame.pixels.shape), mask)
        lumens = pose.shafts.lumens(scene.instruments, frame.time_ns, last if here else None)
        if lumens is None and pose.lumen is not None:
            lumens = pose.lumen.capsules(last if here else None)
        view = tracker.follow(frame, moved, lumens, expected, mm_per_px=mm_per_px)
        if view.seen:
            matrix = None if frame.pixel_from_patient is None else _matrix(frame.pixel_from_patient)
            tracker.note_steel(steel_lines(scene.instruments, scene.paths, matrix))
        if view.seen and self._too_much(view, frame):
            return self._unseen(frame, _COVERED, mm_per_px, code="covered")
        if pose.lumen is not None and view.seen and not scene.instruments:
            pose.lumen.look(view)
        told = pose.moved.whole(view)
        places = [] if frame.pixel_from_patient is None else starts_px(scene.paths, _matrix(frame.pixel_from_patient))
        under = [rows for rows in (capsules(moved), lumens) if rows is not None]
        steel = np.concatenate(under) if under else None
        if pose.moved.add(pose.anchor, frame, view, places, steel):
            opacity = self._surroundings.opacity(self._run.material, pose.kvp, pose.water_mm)
            frames, late = pose.moved.frames, None
            if opacity is not None:
                late = pose.moved.made(view, opacity, pose.share, places, steel)
            if late is not None:  # compare with where the patient lies since the table was moved
                pose.frames, pose.anchor = frames, frame
                self._made(pose, late.reference, late)
                pose.shafts.reference_moved(view.motion)
        return replace(told, growth_only=True) if pose.growth_only and view.seen else told

    def _too_much(self, view: CementView, frame: CementFrame) -> bool:
        """More than can have flowed since it was known how much there is: a hand, or another picture."""
        passed_s = 0.0 if self._amount_ns is None else max(frame.time_ns - self._amount_ns, 0) / 1e9
        share = view.area_px / max(frame.pixels.size, 1)
        most_share = _FREE_SHARE + _STEADY * self._share + _SHARE_S * passed_s
        ml = most_ml = 0.0
        if view.thickness_sum_mm_px is not None and view.mm_per_px is not None:
            ml = view.thickness_sum_mm_px * view.mm_per_px**2 / 1000.0
            free_ml = _FREE_ML if self._amount_ns is None else _KNOWN_FREE_ML
            most_ml = free_ml + _STEADY * self._ml + _ML_S * passed_s
        if ml > most_ml or share > most_share:
            return True
        self._amount_ns, self._ml, self._share = frame.time_ns, ml or self._ml, share
        return False

    def _elsewhere(
        self, view: CementView, frame: CementFrame, scene: CementScene, estimator: BodyEstimator
    ) -> CementView:
        """Without geometry the picture alone tells that the view is another: a known one, or in time a new one."""
        here = self._current
        for pose in [pose for pose in self._poses if pose is not here and _same_kind(pose.anchor, frame)]:
            if pose.tracker is None and not pose.frames:
                continue
            other = self._looked(pose, frame, scene, estimator)
            if other.seen:
                self._current, self._changed = pose, []
                return other
        self._changed.append(frame)
        if len(self._changed) >= _CHANGED_FRAMES:
            pose = self._add_pose(frame)
            pose.frames, self._changed, self._current = tuple(self._changed), [], pose
        return view

    def _prepare(self, pose: _Pose, frame: CementFrame, scene: CementScene, estimator: BodyEstimator) -> str:
        """Make the pose's tracker; why not yet, in words, or "" where it is made."""
        if pose.new and frame not in pose.frames:
            pose.frames = pose.start.taken(pose.frames, frame)
            if pose.start.reason:
                return pose.start.reason
        try:
            reference = reference_picture(pose.frames, least=1)
        except CaseError as error:
            pose.frames = () if pose.new else pose.frames
            pose.new = True
            return str(error.args[0])
        late = None
        if pose.new:
            still = pose.start.still(reference, frame.time_ns)
            if still is None:
                return pose.start.reason
            reference, late = still, self._surroundings.late(still, scene, estimator.looked())
            if not pose.start.bare(late, frame.time_ns):
                return pose.start.reason
        known = None
        if late is None and pose.new and reference.pixel_from_patient is not None:
            known = estimator.expected_thickness(_matrix(reference.pixel_from_patient), *reference.picture)
        pose.growth_only = pose.new and (known is None if late is None else covers(late))
        before = self._made(pose, reference, late, known)
        pose.lumen = LumenFinder(before.attenuation, before.valid, before.scale.step)
        pose.shafts.stood(*shafts_of(frame if pose.new else pose.anchor, scene, before, cement=pose.new))
        return ""

    def _made(
        self, pose: _Pose, reference: ReferencePicture, late: LateReference | None, known: F32 | None = None
    ) -> ReferencePicture:
        """Make the pose's tracker; the reference as it is without cement."""
        before = reference if late is None else late.before
        shadow = self._surroundings.shadow(before)
        pose.water_mm = shadow.water_mm if shadow is not None else None
        pose.kvp = reference.kvp
        scatter = scatter_of_pose(before, pose.frames, shadow)
        pose.share = scatter.share if scatter is not None else 0.0
        opacity = self._surroundings.opacity(self._run.material, reference.kvp, pose.water_mm)
        if late is not None:
            reference, known = late.told(opacity, scatter)
        pose.tracker = CementTracker(
            reference,
            opacity=opacity,
            scatter=scatter.share if scatter is not None else None,
            scatter_sigma=scatter.primary_sigma if scatter is not None else 0.0,
            settings=self._surroundings.settings,
            started_ns=self._run.started_ns,
            known_mm=known,
            seen_ns=None if pose.tracker is None else reference.until_ns,
        )
        pose.frames = ()
        return before

    def _unseen(
        self, frame: CementFrame, reason: str, mm_per_px: float | None, *, code: str = "no_reference"
    ) -> CementView:
        return CementView(
            device=frame.device,
            sequence=frame.sequence,
            frame_number=frame.frame_number,
            received_ns=frame.received_ns,
            time_s=(frame.time_ns - self._run.started_ns) / 1e9,
            seen=False,
            code=code,
            reason=reason,
            pixel_from_patient=frame.pixel_from_patient,
            mm_per_px=mm_per_px,
        )


def _same_kind(one: CementFrame, other: CementFrame) -> bool:
    return one.pixels.shape == other.pixels.shape and one.pixels.dtype == other.pixels.dtype


def _matrix(numbers: Matrix34) -> F64:
    return np.array(numbers, np.float64).reshape(3, 4)
