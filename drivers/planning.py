"""The planning process as the live process sees it: starts it with the first question, watches it, asks it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from drivers.dicom_messages import LogLevel
from drivers.planning_messages import (
    LENGTH,
    Answer,
    Ask,
    BoneAnswer,
    ClearanceAnswer,
    CorridorAnswer,
    Failed,
    Forget,
    Lane,
    Ping,
    Pong,
    Question,
    RegisteredAnswer,
    SpaceAnswer,
    Start,
    SurfaceAnswer,
    ViewsAnswer,
    WatchAnswer,
    ZonesAnswer,
    decode_told,
    frame_of,
    lane_of,
)
from drivers.tasks import start_task
from guidance.case import BadFieldsError, FieldError
from guidance.config import PlanningSettings
from guidance.errors import CaseError, ConfigError, GeometryError, GuidanceError, WireError

_MOST_WAITING: Final[Mapping[Lane, int]] = {"quick": 56, "pose": 4, "long": 8}
_PATIENCE_S: Final[Mapping[Lane, float]] = {"quick": 60.0, "pose": 60.0, "long": 300.0}
_SILENCE_S: Final = 20.0  # some steps on a large volume keep the interpreter to themselves for a second
_START_S: Final = 60.0  # its rooms are imported first, on a machine that may have other things to do
_STOP_S: Final = 1.0
_ERRORS: Final = {"GeometryError": GeometryError, "WireError": WireError, "ConfigError": ConfigError}
_MEND: Final = "ask again in a moment"

_Expected = TypeVar(
    "_Expected",
    SurfaceAnswer,
    BoneAnswer,
    ClearanceAnswer,
    ViewsAnswer,
    CorridorAnswer,
    ZonesAnswer,
    SpaceAnswer,
    WatchAnswer,
    RegisteredAnswer,
)


@dataclass(frozen=True, slots=True)
class _Waiting:
    lane: Lane
    answer: asyncio.Future[Answer]


class PlanningProcess:
    """Planning in a process of its own, so that no search ever delays a frame.

    Args:
        settings: section `planning`.
        data_dir: the server's data folder.
        on_count: code and amount of what is counted.
        on_log: level and text.
        on_ended: the process has ended, with all that it knew.
        silence_s: a process that says nothing for so long while someone waits stands still, and is ended.
        patience_s: how long an answer is waited for, by lane.
    """

    def __init__(
        self,
        settings: PlanningSettings,
        data_dir: Path,
        *,
        on_count: Callable[[str, int], None],
        on_log: Callable[[LogLevel, str], None],
        on_ended: Callable[[], None] = lambda: None,
        silence_s: float = _SILENCE_S,
        patience_s: Mapping[Lane, float] = MappingProxyType(_PATIENCE_S),
    ) -> None:
        self._settings = settings
        self._data_dir = data_dir.expanduser().absolute()
        self._on_count = on_count
        self._on_log = on_log
        self._on_ended = on_ended
        self._silence_s = silence_s
        self._patience_s = patience_s
        self._process: asyncio.subprocess.Process | None = None
        self._launching = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._heard = asyncio.Event()
        self._waiting: dict[int, _Waiting] = {}
        self._answered_at: dict[Lane, float] = {"quick": 0.0, "pose": 0.0, "long": 0.0}  # the loop's time
        self._number = 0
        self._stopped = False

    @property
    def process_id(self) -> int | None:
        """The process, for CPU accounting and for tests; None while there is none."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def stop(self) -> None:
        """End the process; who still waits is told so."""
        self._stopped = True
        async with self._launching:  # one that is being started must not be left behind
            process = self._process
        if process is not None and process.returncode is None:
            if process.stdin is not None:
                process.stdin.close()
            try:
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._watcher is not None:
            self._watcher.cancel()
        ended = [task for task in (self._reader, self._watcher) if task is not None]
        await asyncio.gather(*ended, return_exceptions=True)
        self._fail_waiting("the server is stopping", "stopping")

    async def ask(self, question: Question, expected: type[_Expected]) -> _Expected:
        """Ask and wait for the answer.

        Raises:
            GuidanceError: what the question ran into, as its code and mend say.
            CaseError: `planning_busy`, `planning_slow`, `planning_ended`, `stopping`.
        """
        lane = lane_of(question)
        if sum(each.lane == lane for each in self._waiting.values()) >= _MOST_WAITING[lane]:
            self._on_count("planning_busy", 1)
            raise CaseError(f"{_MOST_WAITING[lane]} planning questions wait already", code="planning_busy", mend=_MEND)
        number = self._number = self._number + 1
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = _Waiting(lane, future)
        try:
            async with asyncio.timeout(self._patience_s[lane]):
                process = await self._running()
                assert process.stdin is not None
                process.stdin.write(frame_of(Ask(number, question)))
                await process.stdin.drain()
                answer = await future
        except (BrokenPipeError, ConnectionResetError):
            raise _ended() from None
        except TimeoutError:
            self._given_up(number, lane)
            raise CaseError(
                f"planning has not answered within {self._patience_s[lane]:g} s", code="planning_slow", mend=_MEND
            ) from None
        except asyncio.CancelledError:
            self._forget(number)
            raise
        finally:
            self._waiting.pop(number, None)
            if not future.cancel() and not future.cancelled():
                future.exception()  # else one that nobody came to wait for ends the server as a bug
        if isinstance(answer, Failed):
            self._on_count(f"planning_{answer.code}", 1)
            raise _error_of(answer)
        if not isinstance(answer, expected):
            raise RuntimeError(f"the planning process answered with a {type(answer).__name__}")
        return answer

    def _given_up(self, number: int, lane: Lane) -> None:
        """What was waited for in vain stands in a queue, or in a lane that is stuck: that ends the process."""
        self._on_count("planning_slow", 1)
        if self._answered_at[lane] + self._patience_s[lane] <= asyncio.get_running_loop().time():
            self._end(self._process, f"has worked {self._patience_s[lane]:g} s on one question")
        else:
            self._forget(number)

    def _forget(self, number: int) -> None:
        process = self._process
        if process is not None and process.returncode is None and process.stdin is not None:
            process.stdin.write(frame_of(Ask(number, Forget())))

    def _end(self, process: asyncio.subprocess.Process | None, why: str) -> None:
        if process is not None and process.returncode is None:
            self._on_log("error", f"the planning process {why}, so it is ended")
            process.kill()

    async def _running(self) -> asyncio.subprocess.Process:
        async with self._launching:
            if self._stopped:
                raise CaseError("the server is stopping", code="stopping")
            if self._process is None or self._process.returncode is not None:
                self._process = await self._launched()
            return self._process

    async def _launched(self) -> asyncio.subprocess.Process:
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "drivers.planning_process",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            # No memory, or no process left for it: the live path goes on without.
            self._on_count("planning_not_started", 1)
            raise CaseError(
                f"the planning process cannot be started: {error.strerror or error}", code="planning_ended", mend=_MEND
            ) from None
        assert process.stdin is not None
        process.stdin.write(frame_of(Start(settings=self._settings, data_dir=str(self._data_dir))))
        self._reader = start_task(self._read(process), name="planning-reader")
        self._watcher = start_task(self._watch(process), name="planning-watcher")
        return process

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """A process that stands still while someone waits is ended: killed, it comes back; stopped, it would not."""
        assert process.stdin is not None
        patience_s = _START_S
        while process.returncode is None:
            await asyncio.sleep(self._silence_s / 4)
            if not self._waiting:
                continue
            self._heard.clear()
            process.stdin.write(frame_of(Ask(0, Ping())))
            try:
                async with asyncio.timeout(patience_s):
                    await self._heard.wait()
            except TimeoutError:
                self._on_count("planning_process_silent", 1)
                self._end(process, f"has said nothing for {patience_s:g} s")
            patience_s = self._silence_s

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            while True:
                (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
                told = decode_told(await process.stdout.readexactly(length))
                self._heard.set()
                waiting = self._waiting.get(told.number)
                if waiting is not None and not isinstance(told.answer, Pong):
                    self._answered_at[waiting.lane] = asyncio.get_running_loop().time()
                    if not waiting.answer.done():
                        waiting.answer.set_result(told.answer)
        except asyncio.IncompleteReadError:
            if self._process is process:
                self._process = None  # the next question starts another one, and is not among those that have failed
            self._fail_waiting("the planning process ended before it answered", "planning_ended")
            code = await process.wait()
            if not self._stopped:
                self._on_count("planning_process_ended", 1)
                self._on_log("error", f"the planning process ended with {code}; the next question starts it anew")
                self._on_ended()

    def _fail_waiting(self, message: str, code: str) -> None:
        for waiting in self._waiting.values():
            if not waiting.answer.done():
                waiting.answer.set_exception(CaseError(message, code=code, mend="ask again"))


def _ended() -> CaseError:
    return CaseError("the planning process ended before it answered", code="planning_ended", mend="ask again")


def _error_of(failed: Failed) -> GuidanceError:
    if failed.kind == "BadFieldsError":
        return BadFieldsError([FieldError(field, message) for field, message in failed.fields], what=failed.what)
    return _ERRORS.get(failed.kind, CaseError)(failed.message, code=failed.code, mend=failed.mend)
