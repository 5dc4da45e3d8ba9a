"""Has planning work out what the live picture shows, after each change of the case; the newest case wins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
import structlog

from drivers.planning import PlanningProcess
from drivers.planning_messages import (
    BoneAnswer,
    BoneQuestion,
    ClearanceAnswer,
    ClearanceQuestion,
    SpaceAnswer,
    SpaceQuestion,
    SurfaceAnswer,
    SurfaceQuestion,
    ViewsAnswer,
    ViewsQuestion,
    WatchAnswer,
    WatchQuestion,
)
from guidance.case import Case, active_zones, drawable_paths
from guidance.errors import GuidanceError
from guidance.kernels.silhouette import shadow_mesh
from guidance.messages import CbctVolume, PlannedPath, Zone, ZoneShape, ZoneSite
from guidance.overlay.zones import PathAid
from guidance.planning.instruments import InstrumentLibrary
from guidance.planning.surface import ZoneSurface
from guidance.session import Planned, Session, active_volume, aid_key, watch_key
from guidance.tracking.known_metal import KnownMetal

# What has nothing to do with the question: everything waits a moment.
_NOT_NOW: Final = ("planning_busy", "stopping", "volume_gone")
# What may be the question's fault or not: it is asked again after longer and longer pauses, and the others go on.
_MAYBE_LATER: Final = ("planning_ended", "planning_slow", "planning_bug", "unknown_mask", "damaged_mask")
_AGAIN_S: Final = 2.0
_LONGEST_PAUSE_S: Final = 600.0

_BoneKey = tuple[str, str, tuple[ZoneShape, ...]]

_log = structlog.get_logger("planning")


class PlanFollower:
    """Keeps `Session.planned` up with the case.

    Args:
        process: who works it out.
        library: instruments, for what is marked on them.
        session: the session as it is.
        deliver: takes what has been worked out so far, in the event loop's thread.
        again_s: the first pause.
    """

    def __init__(
        self,
        process: PlanningProcess,
        library: InstrumentLibrary,
        *,
        session: Callable[[], Session],
        deliver: Callable[[Planned], None],
        again_s: float = _AGAIN_S,
    ) -> None:
        self._process = process
        self._library = library
        self._session = session
        self._deliver = deliver
        self._changed = asyncio.Event()
        self._again_s = again_s
        self._without_surface: set[ZoneShape] = set()
        self._unwatched: tuple[str, str] | None = None  # a volume that nothing can be held against
        self._without_space: tuple[str, tuple[str, str]] | None = None
        self._bone_of: _BoneKey | None = None
        self._before_bone: set[str] = set()  # ids of the paths whose margins were asked for before bone was known
        self._pauses: dict[object, tuple[float, float]] = {}  # of a question: until when (loop's time), how long

    def case_changed(self) -> None:
        """The case may need something else now."""
        self._changed.set()

    def process_ended(self) -> None:
        """What the process knew of bone and skin is gone with it."""
        self._bone_of = None
        self._changed.set()

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._follow()
            except GuidanceError as error:
                _log.warning("planning", error=str(error), code=error.code)
                await asyncio.sleep(self._again_s)
                self._changed.set()

    async def _follow(self) -> None:
        """One thing after the other, the quick ones first; ends early where the case has changed meanwhile."""
        await self._watch()
        await self._surfaces(shown=True)
        if self._changed.is_set():
            return
        # Cement may be started at any moment, and its reference's scatter is told from this; bone takes far longer.
        await self._space()
        if self._changed.is_set():
            return
        await self._aids()
        # Cement is held against zones that are not shown, too.
        await self._surfaces(shown=False)
        if not self._changed.is_set() and drawable_paths(self._session().case) and await self._bone():
            await self._aids()

    async def _surfaces(self, *, shown: bool) -> None:
        for zone in active_zones(self._session().case):
            if self._changed.is_set() or self._session().case.active is None:
                return
            if zone.shown is shown:
                await self._surface(zone)

    async def _watch(self) -> None:
        """Have the volume made small that every frame is held against."""
        session = self._session()
        volume, key = _voxels(session), watch_key(session.case)
        known = session.planned.watch
        if volume is None or (known is not None and known[0] == key) or self._pauses_for(key) or key == self._unwatched:
            return
        try:
            answer = await self._process.ask(WatchQuestion(volume=volume), WatchAnswer)
        except GuidanceError as error:
            # It stays said on the picture that nothing holds it against the volume.
            _log.error("planning", volume=volume.id, error=f"pictures are not checked: {error}")
            if not self._put_off(key, error):
                self._unwatched = key
            return
        points = np.frombuffer(answer.metal_lps_mm, np.float64).reshape(-1, 3)
        metal = KnownMetal(points_lps_mm=points, radius_mm=answer.metal_radius_mm)
        self._deliver(replace(self._session().planned, watch=(key, answer.watch, metal)))

    async def _space(self) -> None:
        """Have it made known where cement can be in the volume."""
        session = self._session()
        volume, key = _voxels(session), watch_key(session.case)
        known, question = session.planned.space, ("space", key)
        if volume is None or (known is not None and known[0] == key) or self._pauses_for(question):
            return
        if question == self._without_space:
            return
        try:
            answer = await self._process.ask(SpaceQuestion(volume=volume), SpaceAnswer)
        except GuidanceError as error:
            # Cement is followed without it, and told in wider intervals.
            _log.error("planning", volume=volume.id, error=f"where cement can be is not known: {error}")
            if not self._put_off(question, error):
                self._without_space = question
            return
        self._deliver(replace(self._session().planned, space=(key, answer.space)))

    async def _surface(self, zone: Zone) -> None:
        planned = self._session().planned
        if zone.shape in planned.surfaces or zone.shape in self._without_surface or self._pauses_for(zone.shape):
            return
        try:
            answer = await self._process.ask(SurfaceQuestion(zone=zone), SurfaceAnswer)
        except GuidanceError as error:
            # It stays said on the picture that this zone is not shown.
            if not self._put_off(zone.shape, error):
                self._without_surface.add(zone.shape)
            _log.error("planning", zone=zone.id, error=f"no outline: {error}")
            return
        surface = ZoneSurface(
            vertices_lps_mm=np.frombuffer(answer.vertices_lps_mm, np.float32).reshape(-1, 3),
            triangles=np.frombuffer(answer.triangles, np.int32).reshape(-1, 3),
        )
        # Made ready off the live threads, where it would delay a frame by milliseconds.
        await asyncio.to_thread(shadow_mesh, surface)
        session = self._session()
        held = {zone.shape for zone in session.case.zones}
        kept = {shape: found for shape, found in session.planned.surfaces.items() if shape in held}
        self._deliver(replace(session.planned, surfaces={**kept, zone.shape: surface}))

    async def _bone(self) -> bool:
        """Have bone and skin worked out; whether they are new."""
        session = self._session()
        volume = _voxels(session)
        if volume is None:
            return False
        zones, key = active_zones(session.case), _bone_key(session.case, volume)
        if key == self._bone_of or self._pauses_for(key):
            return False
        try:
            await self._process.ask(BoneQuestion(zones=zones, volume=volume), BoneAnswer)
        except GuidanceError as error:
            _log.error("planning", volume=volume.id, error=f"no bone and skin: {error}")
            if not self._put_off(key, error):
                self._bone_of = key  # margins stay unknown
            return False
        self._bone_of = key
        return True

    async def _aids(self) -> None:
        for path in drawable_paths(self._session().case):
            session = self._session()
            known = session.planned.aids.get(path.id)
            if self._changed.is_set():
                return
            if session.case.active is None or path not in drawable_paths(session.case):
                continue
            fuller = path.id in self._before_bone and self._bone_is_known(session)
            if fuller or known is None or known[0] != aid_key(session.case, path):
                await self._aid(session, path)

    async def _aid(self, session: Session, path: PlannedPath) -> None:
        case, volume = session.case, _voxels(session)
        key = aid_key(case, path)
        if self._pauses_for(key):
            return
        zones = active_zones(case)
        others = tuple(other for other in drawable_paths(case) if other.id != path.id)
        try:
            clearance = await self._process.ask(
                ClearanceQuestion(path=path, others=others, zones=zones, volume=volume), ClearanceAnswer
            )
            views = await self._process.ask(ViewsQuestion(path=path, zones=zones, volume=volume), ViewsAnswer)
        except GuidanceError as error:
            _log.warning("planning", path=path.id, error=str(error))
            if self._put_off(key, error):
                return
            aid = PathAid()
        else:
            self._before_bone.discard(path.id)
            if not clearance.clearance.bone_source and not self._bone_is_known(session):
                self._before_bone.add(path.id)
            instrument = self._library.find(path.instrument)
            aid = PathAid(
                margin_mm=clearance.clearance.margin_mm,
                side_hole_depths_mm=instrument.side_hole_depths_mm if instrument else (),
                views=views.views.views,
            )
        session = self._session()
        held = {path.id for path in session.case.paths}
        kept = {path_id: found for path_id, found in session.planned.aids.items() if path_id in held}
        self._deliver(replace(session.planned, aids={**kept, path.id: (key, aid)}))

    def _bone_is_known(self, session: Session) -> bool:
        volume = _voxels(session)
        return volume is not None and self._bone_of == _bone_key(session.case, volume)

    def _put_off(self, question: object, error: GuidanceError) -> bool:
        """Whether what has failed is asked again by itself.

        Raises:
            GuidanceError: the same, where nothing else need be asked now either.
        """
        if error.code in _NOT_NOW:
            raise error
        if error.code not in _MAYBE_LATER:
            return False
        _, last_s = self._pauses.pop(question, (0.0, 0.0))
        pause_s = min(max(2.0 * last_s, self._again_s), _LONGEST_PAUSE_S)
        loop = asyncio.get_running_loop()
        self._pauses = {key: pause for key, pause in self._pauses.items() if pause[0] + pause[1] > loop.time()}
        self._pauses[question] = loop.time() + pause_s, pause_s
        loop.call_later(pause_s, self._changed.set)
        return True

    def _pauses_for(self, question: object) -> bool:
        return self._pauses.get(question, (0.0, 0.0))[0] > asyncio.get_running_loop().time()


def _bone_key(case: Case, volume: CbctVolume) -> _BoneKey:
    shapes = tuple(zone.shape for zone in active_zones(case) if zone.site is ZoneSite.BONE)
    return volume.id, volume.shared_memory, shapes


def _voxels(session: Session) -> CbctVolume | None:
    """The active volume where its voxels can be opened."""
    volume = active_volume(session)
    return volume if volume is not None and volume.shared_memory and volume.shape_kji else None
