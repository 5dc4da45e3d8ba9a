"""Follows cement in the frames of all inputs: references, trackers per pose, the body in 3D, what lies around it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from guidance.cement.eye import Eye
from guidance.cement.fusion import BodyEstimator
from guidance.cement.profiles import CementLibrary, cement_library
from guidance.cement.reference import ReferenceFrames
from guidance.cement.site_watch import SiteWatch
from guidance.cement.slices import CementSlice
from guidance.cement.space import CementSpace
from guidance.cement.surroundings import Surroundings
from guidance.cement.values import CementFrame, CementScene
from guidance.cement.zone_fields import zone_fields
from guidance.config import CementSettings
from guidance.errors import GeometryError
from guidance.messages import CementBody, CementRun, CementSeen, CementView
from guidance.overlay.zones import NO_ZONES

_BODY_EVERY_NS: Final = 150_000_000  # of one input; cement flows 1 to 5 mm/s, and each view counts at once by itself
# A pair's frames come nearer to each other than half an interval; one that is not there after one and a half is lost.
_HALF: Final = 0.5
_WAITS: Final = 1.5
_LONGEST_NS: Final = 2_000_000_000  # between frames of one input: nothing waits longer
_NOTHING: Final = CementBody(reason="no view yet")


class CementEngine:
    """Everything that follows cement; one thread.

    Args:
        settings: section `cement`.
        library: the cements that are known by name; None: the built-in ones.
    """

    def __init__(self, settings: CementSettings, library: CementLibrary | None = None) -> None:
        self._settings = settings
        self._library = library or cement_library()
        self._references = ReferenceFrames()
        self._run: CementRun | None = None
        self._begun = 0
        self._eyes: dict[str, Eye] = {}
        self._any_seen = False
        self._surroundings = Surroundings(settings, self._library)
        self._watch = SiteWatch()
        self._zones = NO_ZONES
        self._space: CementSpace | None = None
        self._epoch: int | None = None
        self._body = _NOTHING
        self._body_ns: dict[str, int] = {}
        self._body_due_ns: int | None = None
        self._body_wanted = False
        self._rhythms: dict[str, _Rhythm] = {}
        self._estimator = BodyEstimator(None, (), settings)

    def keep(self, frame: CementFrame) -> None:
        """A live frame while nothing is followed: it may become part of a reference."""
        if self._run is not None:
            self._run = None
            self._eyes, self._body = {}, _NOTHING
            self._estimator.registered_anew()  # it holds the maps of its views
        self._references.add(frame)

    def slice_added(self, one: CementSlice) -> None:
        """A CT slice came while cement flows; before the first frame it has nothing to say."""
        if self._run is None:
            return
        with suppress(GeometryError):  # a slice without plane or pixels is worth nothing, and loses nothing
            self._estimator.slice_added(one)
        self._body_due_ns = one.received_ns

    def follow(self, run: CementRun, frame: CementFrame, scene: CementScene, *, body_now: bool = True) -> CementSeen:
        """Follow cement in one frame.

        Args:
            run: which start of tracking; a greater number begins anew with what was kept until then.
            frame: live; one that is not newer than the newest of its input tells the same again.
            scene: what is around the cement.
            body_now: have the body worked out with this frame where it is due (tens of ms); False: the caller does so
                with `catch_up` once nothing waits for this frame any more, and the frame tells the body before it.
        """
        if run.number < self._begun:
            # Of a run that is over: the one that goes on must not begin anew for it.
            return CementSeen(run=run.number, view=_over(run, frame))
        if self._run is None or self._run.number != run.number:
            self._begin(run)
        self._see_scene(scene)
        eye = self._eyes.get(frame.device)
        if eye is None:
            eye = self._eyes[frame.device] = Eye(run, self._surroundings, self._before(run, frame.device))
        view = eye.look(frame, scene, self._estimator)
        self._any_seen = self._any_seen or view.area_px > 0.0
        self._add(view, frame, scene)
        if body_now:
            self.catch_up()
        # A pose's first frame: its geometry may still be the former's, and it is seen how old the body is.
        body = self._estimator.unseen(self._body, frame.received_ns) if view.seen and not frame.steady else self._body
        return self._watch.seen(run.number, view, scene, body, space=self._surroundings.space)

    def catch_up(self) -> bool:
        """Have the body worked out, if it is due; whether it was."""
        if self._body_due_ns is None:
            return False
        self._body = self._estimator.body(self._body_due_ns)
        self._body_due_ns = None
        return True

    def _begin(self, run: CementRun) -> None:
        self._run, self._begun = run, run.number
        self._eyes, self._body_ns, self._body, self._body_due_ns = {}, {}, _NOTHING, None
        self._any_seen = False
        self._body_wanted, self._rhythms = False, {}
        self._watch.begun_anew()  # zones' shadows stay: they cost tens of ms in a pose
        self._estimator = self._new_estimator()

    def _new_estimator(self) -> BodyEstimator:
        estimator = BodyEstimator(self._space, zone_fields(self._zones), self._settings)
        estimator.follow_balloon(self._run is not None and self._run.material.balloon)
        return estimator

    def _before(self, run: CementRun, device: str) -> Sequence[tuple[CementFrame, ...]]:
        """What was seen of an input before the start, by pose."""
        last = dict(run.after_sequence).get(device, -1)
        poses = [tuple(kept for kept in pose if kept.sequence <= last) for pose in self._references.poses(device)]
        return [pose for pose in poses if pose]

    def _see_scene(self, scene: CementScene) -> None:
        if scene.epoch != self._epoch:
            # What was placed by the former registration lies elsewhere now; pictures and trackers are as they were.
            self._epoch = scene.epoch
            self._watch.begun_anew()
            self._estimator.registered_anew()
            self._body, self._body_ns, self._body_due_ns = _NOTHING, {}, None
        if scene.space is not self._space:
            if self._space is None and not self._any_seen:
                # The references' scatter was guessed without a volume: they are looked at again, and nothing is lost.
                self._eyes = {}
            self._space = scene.space
            self._surroundings.set_space(scene.space)
            self._estimator = self._new_estimator()
        if scene.zones is not self._zones:
            self._zones = scene.zones
            self._estimator.set_fields(zone_fields(scene.zones))
        self._estimator.set_paths(scene.paths)

    def _add(self, view: CementView, frame: CementFrame, scene: CementScene) -> None:
        """Take the view into the body, which then is due now and then."""
        before = self._rhythms.get(frame.device)
        since_ns = 0 if before is None else min(max(frame.received_ns - before.last_ns, 0), _LONGEST_NS)
        self._rhythms[frame.device] = _Rhythm(frame.received_ns, since_ns)
        if not view.seen or not frame.steady:
            return
        self._estimator.add(view, scene.instruments)
        last_ns = self._body_ns.get(frame.device)
        if last_ns is None or not 0 <= frame.time_ns - last_ns < _BODY_EVERY_NS:
            self._body_ns[frame.device] = frame.time_ns
            self._body_wanted = True
        if self._body_wanted and not self._pair_comes(frame):
            self._body_due_ns, self._body_wanted = frame.received_ns, False

    def _pair_comes(self, frame: CementFrame) -> bool:
        """Whether another input's frame of this very moment is still on its way: with it the body is of one moment."""
        interval_ns = self._rhythms[frame.device].interval_ns
        for device, other in self._rhythms.items():
            apart_ns = frame.received_ns - other.last_ns
            if device != frame.device and _HALF * other.interval_ns < apart_ns < _WAITS * other.interval_ns:
                return interval_ns > 0
        return False


@dataclass(frozen=True, slots=True)
class _Rhythm:
    """When an input's frame came last, and how long after the one before; 0: not known."""

    last_ns: int
    interval_ns: int = 0


def _over(run: CementRun, frame: CementFrame) -> CementView:
    return CementView(
        device=frame.device,
        sequence=frame.sequence,
        frame_number=frame.frame_number,
        received_ns=frame.received_ns,
        time_s=(frame.time_ns - run.started_ns) / 1e9,
        seen=False,
        reason="cement is not followed any more",
    )
