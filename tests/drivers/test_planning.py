"""The planning process as the live process sees it: stopped, dead, not to be started, given too much to do."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.planning import PlanningProcess
from drivers.planning_messages import CorridorAnswer, CorridorQuestion, SurfaceAnswer, SurfaceQuestion
from guidance.config import PlanningSettings
from guidance.errors import CaseError
from guidance.messages import SphereShape, Zone, ZoneKind, ZoneSite
from tests.helpers.live_session import ready_volume

PATIENCE_S = 60.0
SURFACE = SurfaceQuestion(
    zone=Zone(
        id="Z1",
        name="ball",
        site=ZoneSite.FORAMEN,
        kind=ZoneKind.KEEP_OUT,
        shape=SphereShape(center_lps_mm=(0.0, 0.0, 0.0), radius_mm=5.0),
        color="#00ff00",
    )
)
SEARCH = CorridorQuestion(
    level="free",
    diameter_mm=8.0,
    margin_mm=0.0,
    side=None,
    zones=(),
    volume=ready_volume(shared_memory="no_such_block"),
)


class Counted:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.ended = asyncio.Event()

    def count(self, code: str, amount: int) -> None:
        self.counts[code] += amount


@pytest.fixture
async def started(tmp_path: Path) -> AsyncIterator[Callable[..., tuple[PlanningProcess, Counted]]]:
    processes: list[PlanningProcess] = []

    def start(**settings: Any) -> tuple[PlanningProcess, Counted]:
        counted = Counted()
        process = PlanningProcess(
            PlanningSettings(),
            tmp_path,
            on_count=counted.count,
            on_log=lambda level, text: None,
            on_ended=counted.ended.set,
            **settings,
        )
        processes.append(process)
        return process, counted

    yield start
    for process in processes:
        await process.stop()


async def _refused(question: asyncio.Future[Any]) -> str:
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(CaseError) as refused:
            await question
    return refused.value.code


async def test_a_process_that_stands_still_is_ended_and_the_next_question_is_answered(started: Any) -> None:
    process, counted = started(silence_s=0.5)
    await process.ask(SURFACE, SurfaceAnswer)
    os.kill(process.process_id, signal.SIGSTOP)
    assert await _refused(asyncio.ensure_future(process.ask(SURFACE, SurfaceAnswer))) == "planning_ended"
    await asyncio.wait_for(counted.ended.wait(), PATIENCE_S)
    assert counted.counts["planning_process_silent"] == 1
    await process.ask(SURFACE, SurfaceAnswer)


async def test_no_answer_is_waited_for_without_end(started: Any) -> None:
    patience_s = {"quick": PATIENCE_S, "pose": PATIENCE_S, "long": PATIENCE_S}
    process, counted = started(patience_s=patience_s)
    await process.ask(SURFACE, SurfaceAnswer)
    patience_s["quick"] = 0.2
    os.kill(process.process_id, signal.SIGSTOP)
    assert await _refused(asyncio.ensure_future(process.ask(SURFACE, SurfaceAnswer))) == "planning_slow"
    assert counted.counts["planning_slow"] == 1
    # Nothing was answered all that time, so it was ended: the next one starts another.
    patience_s["quick"] = PATIENCE_S
    await asyncio.wait_for(counted.ended.wait(), PATIENCE_S)
    await process.ask(SURFACE, SurfaceAnswer)


async def test_a_process_that_cannot_be_started_is_a_refusal(started: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_memory(*_: Any, **__: Any) -> None:
        raise OSError(12, "Cannot allocate memory")

    process, counted = started()
    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "create_subprocess_exec", no_memory)
        assert await _refused(asyncio.ensure_future(process.ask(SURFACE, SurfaceAnswer))) == "planning_ended"
    assert counted.counts["planning_not_started"] == 1
    await process.ask(SURFACE, SurfaceAnswer)


async def test_long_questions_take_no_room_from_quick_ones(started: Any) -> None:
    process, counted = started()
    await process.ask(SURFACE, SurfaceAnswer)
    os.kill(process.process_id, signal.SIGSTOP)
    searches = [asyncio.ensure_future(process.ask(SEARCH, CorridorAnswer)) for _ in range(9)]
    outline = asyncio.ensure_future(process.ask(SURFACE, SurfaceAnswer))
    assert await _refused(searches[8]) == "planning_busy"
    # Who goes leaves the queue; nobody waits for what nobody wants.
    searches[7].cancel()
    await asyncio.gather(searches[7], return_exceptions=True)
    searches[8] = asyncio.ensure_future(process.ask(SEARCH, CorridorAnswer))
    os.kill(process.process_id, signal.SIGCONT)
    await asyncio.wait_for(outline, PATIENCE_S)
    assert [await _refused(search) for search in [*searches[:7], searches[8]]] == ["volume_gone"] * 8
    assert counted.counts["planning_busy"] == 1


async def test_nobody_who_has_gone_ends_the_server(started: Any) -> None:
    """An answer that nobody takes any more must not come up as an error of the event loop."""
    process, _ = started()
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    await process.ask(SURFACE, SurfaceAnswer)
    for _ in range(5):
        questions = [asyncio.ensure_future(process.ask(SURFACE, SurfaceAnswer)) for _ in range(8)]
        await asyncio.sleep(0)
        if process.process_id is not None:
            os.kill(process.process_id, signal.SIGKILL)
        questions[0].cancel()
        async with asyncio.timeout(PATIENCE_S):
            results = await asyncio.gather(*questions, return_exceptions=True)
        codes = {getattr(result, "code", type(result).__name__) for result in results}
        assert codes <= {"planning_ended", "CancelledError", "SurfaceAnswer"}
    assert told == []
