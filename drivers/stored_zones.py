"""Zones that came by DICOM go into the case as soon as the volume they belong to counts; each object once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from drivers.dicom_messages import LogLevel
from drivers.live import LiveCase
from drivers.planning_api import Planner
from guidance import case as case_room
from guidance.case import Author
from guidance.errors import GuidanceError
from guidance.messages import Severity, StoredZones


class StoredZonesImporter:
    """Reads announced objects one after the other.

    Args:
        planner: reads them, in the planning process.
        live: the live case.
        on_count, on_log: as everywhere.
    """

    def __init__(
        self,
        planner: Planner,
        live: LiveCase,
        *,
        on_count: Callable[[str, int], None],
        on_log: Callable[[LogLevel, str], None],
    ) -> None:
        self._planner = planner
        self._live = live
        self._on_count = on_count
        self._on_log = on_log
        self._waiting: list[StoredZones] = []
        self._changed = asyncio.Event()

    def add(self, zones: StoredZones) -> None:
        """An object is on disk; it is announced again after every start."""
        self._waiting.append(zones)
        self._changed.set()

    def case_changed(self) -> None:
        """Another volume may count now."""
        self._changed.set()

    async def run(self) -> None:
        """Import until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            for zones in list(self._waiting):
                if await self._take(zones):
                    self._waiting.remove(zones)

    async def _take(self, zones: StoredZones) -> bool:
        """Whether the object is done with: imported, known already, or of no use. Another patient's waits."""
        case = self._live.case()
        if zones.name in case.imported:
            return True
        if case.active is None or zones.patient_id != case.patient_id:
            return False
        try:
            name = zones.description or zones.name
            found = await self._planner.read_zones(case, Path(zones.path), filename=name)
            if found.frame_of_reference_uid and found.frame_of_reference_uid != case.frame_of_reference_uid:
                return False
            change = partial(
                case_room.import_object,
                name=zones.name,
                zones=found.zones,
                frame_of_reference_uid=found.frame_of_reference_uid,
                patient_id=zones.patient_id,
            )
            imported = self._live.edit(change, author=Author(via="dicom"))
        except GuidanceError as error:
            self._on_count(f"zones_{error.code}", 1)
            self._on_log("error", f"zones of {zones.name} are stored but cannot be used: {error}")
            return True
        for finding in found.findings:
            self._on_count(finding.code, 1)
            level: LogLevel = "error" if finding.severity is Severity.ERROR else "warning"
            self._on_log(level, f"zones of {zones.name}: {finding.message}")
        self._on_log("info", f"zones of {zones.name}: {len(imported.zones)} imported")
        return True
