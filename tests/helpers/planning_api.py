"""Planning for HTTP's tests: answers what it is told to, and keeps what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guidance.case import Case
from guidance.errors import GuidanceError
from guidance.messages import PlannedPath, ZoneSide
from guidance.planning.answers import ApproachMatch, Clearance, Corridor, View, Views
from guidance.planning.approaches import Approach, templates
from guidance.planning.c_arms import CArmModel, c_arm_library
from guidance.planning.instruments import Instrument, InstrumentLibrary, instrument_library
from guidance.planning.questions import Level, Proposal
from guidance.ports import NewPlan, NewZones


class FakePlanningApi:
    """Satisfies `guidance.ports.PlanningApi`; tests set its members."""

    def __init__(self) -> None:
        self.library: InstrumentLibrary = instrument_library()
        self.error: GuidanceError | None = None
        self.asked: list[Any] = []
        self.meanwhile: Callable[[], object] = lambda: None  # happens while it is worked out
        self.zones = NewZones(zones=())
        self.plan = NewPlan(paths=())

    def diameter_of(self, instrument: str) -> float | None:
        found = self.library.find(instrument)
        return found.diameter_mm if found else None

    def instruments(self) -> Sequence[Instrument]:
        return self.library.instruments

    def approaches(self) -> Sequence[Approach]:
        return templates()

    def c_arms(self) -> Sequence[CArmModel]:
        return c_arm_library().models

    async def clearance(self, case: Case, path: PlannedPath) -> Clearance:
        self._ask(path)
        return Clearance(
            path_id=path.id,
            length_mm=50.0,
            diameter_mm=path.diameter_mm,
            zones=(),
            mediolateral_deg=0.0,
            craniocaudal_deg=0.0,
            approach=ApproachMatch(id="", name="", reason="a fake"),
        )

    async def views(self, case: Case, path: PlannedPath) -> Views:
        self._ask(path)
        view = View(kind="bulls_eye", primary_deg=180.0, secondary_deg=20.0, reachable=True, reason="down the path")
        return Views(path_id=path.id, c_arm="generic_floor", patient_position="HFP", views=(view,))

    async def corridor(
        self, case: Case, *, level: Level, diameter_mm: float, margin_mm: float, side: ZoneSide | None
    ) -> Corridor:
        self._ask((level, diameter_mm, margin_mm, side))
        return Corridor(
            level=level,
            diameter_mm=diameter_mm,
            asked_margin_mm=margin_mm,
            exists=False,
            reason="a fake",
            entry_lps_mm=None,
            target_lps_mm=None,
            margin_mm=None,
            largest_diameter_mm=None,
        )

    async def read_zones(self, case: Case, file: Path, *, filename: str, names: bytes | None) -> NewZones:
        self._ask((await asyncio.to_thread(file.read_bytes), filename, names))
        return self.zones

    async def propose_zones(self, case: Case, what: Proposal) -> NewZones:
        self._ask(what)
        return self.zones

    async def read_markups(self, case: Case, data: bytes, *, filename: str) -> NewPlan:
        self._ask((data, filename))
        return self.plan

    async def write_markups(self, case: Case) -> bytes:
        return msgspec.json.encode({"markups": [path.id for path in case.paths]})

    def _ask(self, asked: Any) -> None:
        if self.error is not None:
            raise self.error
        self.asked.append(asked)
        self.meanwhile()
