"""An in-process case API over the pure case, with a scripted picture stream: what HTTP and the page are tested on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from guidance import VERSION
from guidance import case as rules
from guidance.case import AuditLine, AuditPage, Author, Case
from guidance.messages import CbctVolume, GeometryState, InputState, PlannedPath, VolumeState
from guidance.ports import LiveUpdate, MetricFamily
from guidance.shapes import (
    GeometryAnswer,
    InputGeometry,
    InputStatus,
    LatencyFigures,
    StatusAnswer,
    VolumeShown,
)

Told = TypeVar("Told")


class FakeCaseApi:
    """Satisfies `guidance.ports.CaseApi`; tests set its members and call `deliver`."""

    def __init__(self) -> None:
        self.held = Case()
        self.lines: list[AuditLine] = []
        self.now = "2026-11-21T08:00:00.000+00:00"
        self.inputs: dict[str, InputGeometry] = {}
        self.not_ready: list[str] = []
        self.families: list[MetricFamily] = []
        self.latency = LatencyFigures(now=None, p50=None, p99=None, worst=None)
        self.subscribers: list[Callable[[LiveUpdate], None]] = []
        self.subscribers_changed = asyncio.Event()

    def case(self) -> Case:
        return self.held

    def edit(self, change: Callable[[Case], tuple[Case, Told]], *, author: Author) -> Told:
        after, told = change(self.held)
        self.held, line = rules.record(self.held, after, author=author, at=self.now)
        if line is not None:
            self.lines.append(msgspec.structs.replace(line, number=len(self.lines) + 1))
        return told

    def audit(self, *, before: int | None = None, limit: int = 100) -> AuditPage:
        lines = [line for line in self.lines if before is None or line.number < before]
        kept = lines[-limit:]
        return AuditPage(items=tuple(kept), before=kept[0].number if len(kept) < len(lines) else None)

    def create_path(self, fields: Mapping[str, Any]) -> PlannedPath:
        """A path as a test has it made."""
        return self.edit(lambda case: rules.create_path(case, fields), author=Author(via="server"))

    def paths(self) -> Sequence[PlannedPath]:
        """Every path, for tests to look at."""
        return self.held.paths

    def path(self, path_id: str) -> PlannedPath:
        """One path, for tests to look at."""
        return rules.find_path(self.held, path_id)

    def geometry(self) -> GeometryAnswer:
        return GeometryAnswer(inputs=dict(self.inputs))

    def status(self) -> StatusAnswer:
        active = self.held.active_volume_id
        return StatusAnswer(
            version=VERSION,
            ready=not self.not_ready,
            reasons=tuple(self.not_ready),
            uptime_s=1.0,
            volume=VolumeShown(id=active, name="Procedural pelvis, seed 7", kind="procedural") if active else None,
            inputs={
                device: InputStatus(state=seen.state, peer="127.0.0.1:50000", frames=1, dropped=0, rate_hz=15.0)
                for device, seen in self.inputs.items()
            },
            clients=(),
            latency_ms=self.latency,
            counters={},
            listeners={},
        )

    def ready(self) -> tuple[bool, Sequence[str]]:
        return not self.not_ready, self.not_ready

    def metrics(self) -> Sequence[MetricFamily]:
        return self.families

    def subscribe(self, deliver: Callable[[LiveUpdate], None]) -> Callable[[], None]:
        def unsubscribe() -> None:
            self.subscribers.remove(deliver)
            self.subscribers_changed.set()

        self.subscribers.append(deliver)
        self.subscribers_changed.set()
        return unsubscribe

    async def wait_for_subscribers(self, count: int) -> None:
        """Until so many have subscribed; fails after 20 s."""
        async with asyncio.timeout(20):
            while len(self.subscribers) != count:
                self.subscribers_changed.clear()
                await self.subscribers_changed.wait()

    def deliver(self, update: LiveUpdate) -> None:
        """One frame of the live path, to whoever has subscribed."""
        for subscriber in tuple(self.subscribers):
            subscriber(update)

    def take_volume(self, volume: CbctVolume) -> None:
        """What the DICOM side does when a volume is new or has changed."""
        self.held = rules.volume_changed(self.held, volume)


def ready_volume(number: int = 1, **members: Any) -> CbctVolume:
    """A ready volume of patient `PAT1`, study `1.2.3`; its own series and the frame `1.2.3.4`."""
    volume = CbctVolume(
        id=f"V{number}",
        series_instance_uid=f"1.2.3.{number}.1",
        study_instance_uid="1.2.3",
        patient_id="PAT1",
        frame_of_reference_uid="1.2.3.4",
        patient_position="HFP",
        state=VolumeState.READY,
        shape_kji=(64, 128, 128),
        affine_lps_from_ijk=(1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0),
        instance_count=64,
        description=f"CBCT {number}",
    )
    return replace(volume, **members)


def input_geometry(**members: Any) -> InputGeometry:
    """A streaming input with trusted geometry."""
    told: dict[str, Any] = {
        "state": InputState.STREAMING,
        "geometry_state": GeometryState.TRUSTED,
        "reason": "",
        "frame_number": 1,
        "age_ms": 20.0,
        "pixel_from_patient": (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    }
    return InputGeometry(**(told | members))
