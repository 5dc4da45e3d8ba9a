"""Planning beside the live case: its process, what follows the case, stored zones, the answers to HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from drivers.dicom_messages import LogLevel
from drivers.live import LiveCase
from drivers.plan_follower import PlanFollower
from drivers.planning import PlanningProcess
from drivers.planning_api import Planner
from drivers.planning_library import c_arm_of, c_arms_of, instruments_of
from drivers.stored_zones import StoredZonesImporter
from drivers.tasks import start_task
from guidance.config import PlanningSettings
from guidance.messages import StoredZones


class PlanningService:
    """All of planning that the server starts and stops.

    Args:
        settings: section `planning`.
        data_dir: the server's data folder.
        live: the live case.
        on_count: code and amount of what is counted.
        on_log: level and text.

    Raises:
        ConfigError: a library file that cannot be used.
    """

    def __init__(
        self,
        settings: PlanningSettings,
        data_dir: Path,
        live: LiveCase,
        *,
        on_count: Callable[[str, int], None],
        on_log: Callable[[LogLevel, str], None],
    ) -> None:
        instruments, c_arms = instruments_of(settings), c_arms_of(settings)
        c_arm_of(settings, c_arms)  # a model that there is not is refused at the start, not with the first question
        self.process = PlanningProcess(
            settings,
            data_dir,
            on_count=on_count,
            on_log=on_log,
            on_ended=lambda: self._follower.process_ended(),
        )
        self.api = Planner(self.process, instruments=instruments, c_arms=c_arms, session=lambda: live.session)
        self._follower = PlanFollower(self.process, instruments, session=lambda: live.session, deliver=live.on_planned)
        self._importer = StoredZonesImporter(self.api, live, on_count=on_count, on_log=on_log)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Follow the case from now on."""
        self._tasks = [start_task(self._follower.run()), start_task(self._importer.run())]
        self.case_changed()

    async def stop(self) -> None:
        """End everything; who still waits for an answer is told so."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.process.stop()

    def case_changed(self) -> None:
        """The case has changed."""
        self._follower.case_changed()
        self._importer.case_changed()

    def on_stored_zones(self, zones: StoredZones) -> None:
        """A Segmentation or RT Structure Set is on disk."""
        self._importer.add(zones)
