"""What HTTP asks of planning (guidance.ports.PlanningApi): questions to the planning process, and the libraries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from drivers.planning import PlanningProcess
from drivers.planning_messages import (
    ClearanceAnswer,
    ClearanceQuestion,
    CorridorAnswer,
    CorridorQuestion,
    ImportQuestion,
    ProposeQuestion,
    ViewsAnswer,
    ViewsQuestion,
    ZonesAnswer,
)
from guidance.case import Case, active_zones, drawable_paths, is_in_active_frame
from guidance.errors import CaseError
from guidance.messages import CbctVolume, Finding, PlannedPath, Severity, VolumeState, ZoneSide
from guidance.planning.answers import Clearance, Corridor, Views
from guidance.planning.approaches import Approach, templates
from guidance.planning.c_arms import CArmLibrary, CArmModel
from guidance.planning.instruments import Instrument, InstrumentLibrary
from guidance.planning.views import views_with_offsets
from guidance.ports import NewPlan, NewZones
from guidance.session import Session
from guidance.wire.markups import markups_of, read_markups
from guidance.wire.zone_files import drawn_zones_of


class Planner:
    """Planning for HTTP.

    Args:
        process: who answers.
        instruments, c_arms: the site's libraries.
        session: the session as it is, for the present views.
    """

    def __init__(
        self,
        process: PlanningProcess,
        *,
        instruments: InstrumentLibrary,
        c_arms: CArmLibrary,
        session: Callable[[], Session],
    ) -> None:
        self._process = process
        self._instruments = instruments
        self._c_arms = c_arms
        self._session = session

    def diameter_of(self, instrument: str) -> float | None:
        found = self._instruments.find(instrument)
        return found.diameter_mm if found else None

    def instruments(self) -> Sequence[Instrument]:
        return self._instruments.instruments

    def approaches(self) -> Sequence[Approach]:
        return templates()

    def c_arms(self) -> Sequence[CArmModel]:
        return self._c_arms.models

    async def clearance(self, case: Case, path: PlannedPath) -> Clearance:
        _check_frame(case, path)
        others = tuple(other for other in drawable_paths(case) if other.id != path.id)
        question = ClearanceQuestion(path=path, others=others, zones=active_zones(case), volume=_ready_volume(case))
        return (await self._process.ask(question, ClearanceAnswer)).clearance

    async def views(self, case: Case, path: PlannedPath) -> Views:
        _check_frame(case, path)
        question = ViewsQuestion(path=path, zones=active_zones(case), volume=_ready_volume(case))
        views = (await self._process.ask(question, ViewsAnswer)).views
        # Biplane: the first input whose geometry is trusted; there is no pose of "the" C-arm with two.
        poses = [track.verdict.pixel_from_patient for track in self._session().inputs.values() if not track.silent]
        return views_with_offsets(views, next((pose for pose in poses if pose is not None), None))

    async def corridor(
        self, case: Case, *, level: str, diameter_mm: float, margin_mm: float, side: ZoneSide | None
    ) -> Corridor:
        question = CorridorQuestion(
            level=level,
            diameter_mm=diameter_mm,
            margin_mm=margin_mm,
            side=side,
            zones=active_zones(case),
            volume=_needed_volume(case),
        )
        return (await self._process.ask(question, CorridorAnswer)).corridor

    async def read_zones(self, case: Case, file: Path, *, filename: str, names: bytes | None = None) -> NewZones:
        question = ImportQuestion(path=str(file), filename=filename, names=names, volume=_ready_volume(case))
        return _new_zones(await self._process.ask(question, ZonesAnswer))

    async def propose_zones(self, case: Case, what: Literal["bone", "skin"]) -> NewZones:
        return _new_zones(await self._process.ask(ProposeQuestion(what=what, volume=_needed_volume(case)), ZonesAnswer))

    async def read_markups(self, case: Case, data: bytes, *, filename: str) -> NewPlan:
        read = read_markups(data, origin=filename)
        findings = read.findings
        if read.points:
            words = f"points that make no path are left out: {', '.join(point.name for point in read.points[:10])}"
            findings += (Finding(code="unpaired_points", severity=Severity.WARNING, message=words),)
        return NewPlan(paths=read.paths, zones=drawn_zones_of(read.zones), findings=findings)

    async def write_markups(self, case: Case) -> bytes:
        return markups_of(drawable_paths(case), active_zones(case))


def _new_zones(answer: ZonesAnswer) -> NewZones:
    return NewZones(zones=answer.zones, findings=answer.findings, frame_of_reference_uid=answer.frame_of_reference_uid)


def _check_frame(case: Case, path: PlannedPath) -> None:
    if not is_in_active_frame(case, path):
        raise CaseError(
            f"path {path.id} was planned in another frame of reference than the active volume's",
            code="other_frame",
            mend="plan it anew on this volume, or make the volume active that it was planned on",
        )


def _ready_volume(case: Case) -> CbctVolume | None:
    """The active volume where its voxels are there."""
    wanted = case.active_volume_id
    volume = next((volume for volume in case.volumes if wanted and volume.id == wanted), None)
    return volume if volume is not None and volume.shared_memory and volume.shape_kji else None


def _needed_volume(case: Case) -> CbctVolume:
    volume = _ready_volume(case)
    if volume is None or volume.state is VolumeState.REFUSED:
        raise CaseError(
            "no volume is active and ready", code="no_active_volume", mend="send a CBCT first, or choose one"
        )
    return volume
