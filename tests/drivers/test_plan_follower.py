"""What planning works out follows the case through failures of its process, and says nothing that it does not know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import numpy as np

from drivers.plan_follower import PlanFollower
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
from guidance.case import create_path, create_zone, volume_changed
from guidance.cement.space import cement_space
from guidance.consistency.volume import WatchVolume
from guidance.errors import CaseError
from guidance.planning.answers import ApproachMatch, Clearance, Views
from guidance.planning.instruments import instrument_library
from guidance.session import CaseEdited, Planned, PlanWorkedOut, Session, step
from tests.helpers.live_session import planned_case, ready_volume

PATIENCE_S = 30.0
ZONE = {
    "site": "foramen",
    "side": "left",
    "kind": "keep_out",
    "shape": {"type": "sphere", "center_lps_mm": [20.0, 0.0, 0.0], "radius_mm": 5.0},
}
_IDENTITY = tuple(np.eye(4).ravel().tolist())
_CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
_FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)


class FakeProcess:
    """Answers at once: no margin, one of 2 mm once bone is known; a radius of 13 mm ends it."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.bone_known = False
        self.before: Callable[[Any], None] = lambda question: None

    async def ask(self, question: Any, _expected: type) -> Any:
        self.asked.append(question)
        self.before(question)
        await asyncio.sleep(0)
        match question:
            case WatchQuestion():
                return WatchAnswer(WatchVolume(voxels=bytes(2), shape_kji=(1, 1, 1), affine_lps_from_ijk=_IDENTITY))
            case SpaceQuestion():
                return SpaceAnswer(cement_space(np.zeros((2, 2, 2), np.int16), np.eye(4)))
            case SurfaceQuestion(zone=zone):
                if msgspec.to_builtins(zone.shape)["radius_mm"] == 13.0:
                    self.bone_known = False
                    raise CaseError("the planning process ended", code="planning_ended")
                return SurfaceAnswer(vertices_lps_mm=_CORNERS.tobytes(), triangles=_FACES.tobytes())
            case BoneQuestion():
                self.bone_known = True
                return BoneAnswer(words="threshold")
            case ClearanceQuestion(path=path):
                return ClearanceAnswer(
                    Clearance(
                        path_id=path.id,
                        length_mm=1.0,
                        diameter_mm=path.diameter_mm,
                        zones=(),
                        margin_mm=2.0 if self.bone_known else None,
                        bone_source="threshold" if self.bone_known else "",
                        mediolateral_deg=0.0,
                        craniocaudal_deg=0.0,
                        approach=ApproachMatch(id="", name="", reason=""),
                    )
                )
            case ViewsQuestion(path=path):
                return ViewsAnswer(Views(path_id=path.id, c_arm="", patient_position="HFS", views=()))
        raise AssertionError(question)

    def count(self, kind: type) -> int:
        return sum(isinstance(question, kind) for question in self.asked)


class Followed:
    """A session, followed; `margins` are all that were ever told of its first path."""

    def __init__(self, process: FakeProcess) -> None:
        self.session = Session(case=planned_case(shared_memory="block1"))
        self.margins: list[float | None] = []
        self._told = asyncio.Event()
        self.follower = PlanFollower(
            process,
            instrument_library(),
            session=lambda: self.session,
            deliver=self._deliver,
            again_s=0.001,
        )

    def edit(self, change: Callable[[Any], Any]) -> None:
        edited = change(self.session.case)
        self.session, _ = step(self.session, CaseEdited(edited[0] if isinstance(edited, tuple) else edited), 0)
        self.follower.case_changed()

    async def until(self, condition: Callable[[Session], Any]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition(self.session):
                self._told.clear()
                await self._told.wait()

    def margin(self) -> float | None:
        aid = self.session.aids.get(self.session.case.paths[0].id)
        return aid.margin_mm if aid else None

    def _deliver(self, planned: Planned) -> None:
        self.session, _ = step(self.session, PlanWorkedOut(planned), 0)
        self.margins.append(self.margin())
        self._told.set()


@asynccontextmanager
async def followed(process: FakeProcess) -> AsyncIterator[Followed]:
    found = Followed(process)
    task = asyncio.get_running_loop().create_task(found.follower.run())
    yield found
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_margin_without_bone_is_no_margin() -> None:
    async with followed(FakeProcess()) as it:
        it.follower.case_changed()
        await it.until(lambda _: it.margin() is not None)
        assert set(it.margins) == {None, 2.0}


async def test_bone_is_worked_out_again_after_the_process_ended() -> None:
    process = FakeProcess()
    async with followed(process) as it:
        it.follower.case_changed()
        await it.until(lambda _: it.margin() == 2.0)
        process.bone_known = False
        it.follower.process_ended()
        it.edit(lambda case: create_zone(case, {**ZONE, "name": "new"}))
        assert it.margin() is None
        await it.until(lambda _: it.margin() == 2.0)
        assert process.count(BoneQuestion) == 2


async def test_an_edit_while_bone_is_worked_out_leaves_no_path_without_its_margin() -> None:
    process = FakeProcess()
    async with followed(process) as it:

        def second_path(question: Any) -> None:
            if isinstance(question, BoneQuestion):
                process.before = lambda question: None
                fields = {"entry_lps_mm": [40, 2, 3], "target_lps_mm": [4, 5, 6], "diameter_mm": 2}
                it.edit(lambda case: create_path(case, fields))

        process.before = second_path
        it.follower.case_changed()
        await it.until(lambda session: [aid.margin_mm for aid in session.aids.values()] == [2.0, 2.0])


async def test_other_voxels_of_the_same_volume_take_the_margin_away_until_it_is_worked_out_anew() -> None:
    process = FakeProcess()
    async with followed(process) as it:
        it.follower.case_changed()
        await it.until(lambda _: it.margin() == 2.0)
        process.bone_known = False
        it.edit(lambda case: volume_changed(case, ready_volume(shared_memory="block2")))
        assert it.session.case.epoch == 1
        assert it.margin() is None
        await it.until(lambda _: it.margin() == 2.0)
        assert process.count(BoneQuestion) == 2


async def test_a_zone_that_ends_the_process_keeps_no_other_from_its_outline() -> None:
    process = FakeProcess()
    async with followed(process) as it:
        deadly = {"type": "sphere", "center_lps_mm": [1.0, 0.0, 0.0], "radius_mm": 13.0}
        it.edit(lambda case: create_zone(case, {**ZONE, "name": "deadly", "shape": deadly}))
        it.edit(lambda case: create_zone(case, {**ZONE, "name": "good"}))
        await it.until(lambda session: session.zones.surfaces and it.margin() == 2.0)
        assert [zone.name for zone, _ in it.session.zones.surfaces] == ["good"]
        assert it.session.zones.missing == ("deadly",)


async def test_where_cement_can_be_is_known_before_bone_and_margins_are_worked_out() -> None:
    process = FakeProcess()
    async with followed(process) as it:
        hidden = {**ZONE, "name": "hidden", "shown": False}
        it.edit(lambda case: create_zone(case, hidden))
        await it.until(lambda _: it.margin() == 2.0)
        kinds = [type(question) for question in process.asked]
        assert kinds.index(SpaceQuestion) < kinds.index(ClearanceQuestion)
        assert kinds.index(SurfaceQuestion) < kinds.index(BoneQuestion)
