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
    SurfaceAnswer,
    SurfaceQuestion,
    ViewsAnswer,
    ViewsQuestion,
)
from guidance.case import active_zones, drawable_paths
from guidance.errors import GuidanceError
from guidance.kernels.silhouette import shadow_mesh
from guidance.messages import CbctVolume, PlannedPath, Zone, ZoneShape, ZoneSite
from guidance.overlay.zones import PathAid
from guidance.planning.instruments import InstrumentLibrary
from guidance.planning.surface import ZoneSurface
from guidance.session import Planned, Session, active_volume, aid_key

# What the process itself ran into, not the question: asked again after a pause.
_PASSING: Final = ("planning_busy", "planning_ended", "stopping", "volume_gone")
_AGAIN_S: Final = 2.0

_log = structlog.get_logger("planning")


class PlanFollower:
    """Keeps `Session.planned` up with the case.

    Args:
        process: who works it out.
        library: instruments, for what is marked on them.
        session: the session as it is.
        deliver: takes what has been worked out so far, in the event loop's thread.
    """

    def __init__(
        self,
        process: PlanningProcess,
        library: InstrumentLibrary,
        *,
        session: Callable[[], Session],
        deliver: Callable[[Planned], None],
    ) -> None:
        self._process = process
        self._library = library
        self._session = session
        self._deliver = deliver
        self._changed = asyncio.Event()
        self._without_surface: set[ZoneShape] = set()
        self._bone_of: tuple[str, str, tuple[ZoneShape, ...]] | None = None

    def case_changed(self) -> None:
        """The case may need something else now."""
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
                if error.code in _PASSING:
                    await asyncio.sleep(_AGAIN_S)
                    self._changed.set()

    async def _follow(self) -> None:
        """One thing after the other, the quick ones first; ends early where the case has changed meanwhile."""
        for zone in active_zones(self._session().case):
            if self._changed.is_set():
                return
            if zone.shown and self._session().case.active is not None:
                await self._surface(zone)
        await self._aids()
        if self._changed.is_set() or not drawable_paths(self._session().case):
            return
        if await self._bone():
            await self._aids(again=True)

    async def _surface(self, zone: Zone) -> None:
        planned = self._session().planned
        if zone.shape in planned.surfaces or zone.shape in self._without_surface:
            return
        try:
            answer = await self._process.ask(SurfaceQuestion(zone=zone), SurfaceAnswer)
        except GuidanceError as error:
            if error.code in _PASSING:
                raise
            # It stays said on the picture that this zone is not shown.
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
        zones = active_zones(session.case)
        key = (volume.id, volume.shared_memory, tuple(zone.shape for zone in zones if zone.site is ZoneSite.BONE))
        if key == self._bone_of:
            return False
        await self._process.ask(BoneQuestion(zones=zones, volume=volume), BoneAnswer)
        self._bone_of = key
        return True

    async def _aids(self, *, again: bool = False) -> None:
        for path in drawable_paths(self._session().case):
            session = self._session()
            known = session.planned.aids.get(path.id)
            if self._changed.is_set():
                return
            if session.case.active is not None and (again or known is None or known[0] != aid_key(session.case, path)):
                await self._aid(session, path)

    async def _aid(self, session: Session, path: PlannedPath) -> None:
        case, volume = session.case, _voxels(session)
        key = aid_key(case, path)
        zones = active_zones(case)
        others = tuple(other for other in drawable_paths(case) if other.id != path.id)
        try:
            clearance = await self._process.ask(
                ClearanceQuestion(path=path, others=others, zones=zones, volume=volume), ClearanceAnswer
            )
            views = await self._process.ask(ViewsQuestion(path=path, zones=zones, volume=volume), ViewsAnswer)
        except GuidanceError as error:
            if error.code in _PASSING:
                raise
            _log.warning("planning", path=path.id, error=str(error))
            aid = PathAid()
        else:
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


def _voxels(session: Session) -> CbctVolume | None:
    """The active volume where its voxels can be opened."""
    volume = active_volume(session)
    return volume if volume is not None and volume.shared_memory and volume.shape_kji else None
