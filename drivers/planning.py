"""The planning process as the live process sees it: starts it with the first question, watches it, asks it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
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
    Question,
    Start,
    SurfaceAnswer,
    ViewsAnswer,
    ZonesAnswer,
    decode_told,
    frame_of,
)
from drivers.tasks import start_task
from guidance.case import BadFieldsError, FieldError
from guidance.config import PlanningSettings
from guidance.errors import CaseError, ConfigError, GeometryError, GuidanceError, WireError

_MOST_WAITING: Final = 64
_STOP_S: Final = 1.0
_ERRORS: Final = {"GeometryError": GeometryError, "WireError": WireError, "ConfigError": ConfigError}

_Expected = TypeVar("_Expected", SurfaceAnswer, BoneAnswer, ClearanceAnswer, ViewsAnswer, CorridorAnswer, ZonesAnswer)


class PlanningProcess:
    """Planning in a process of its own, so that no search ever delays a frame.

    Args:
        settings: section `planning`.
        data_dir: the server's data folder.
        on_count: code and amount of what is counted.
        on_log: level and text.
    """

    def __init__(
        self,
        settings: PlanningSettings,
        data_dir: Path,
        *,
        on_count: Callable[[str, int], None],
        on_log: Callable[[LogLevel, str], None],
    ) -> None:
        self._settings = settings
        self._data_dir = data_dir.expanduser().absolute()
        self._on_count = on_count
        self._on_log = on_log
        self._process: asyncio.subprocess.Process | None = None
        self._launching = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._number = 0
        self._stopped = False

    @property
    def process_id(self) -> int | None:
        """The process, for CPU accounting and for tests; None while there is none."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def stop(self) -> None:
        """End the process; who still waits is told so."""
        self._stopped = True
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
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)
        self._fail_waiting("the server is stopping", "stopping")

    async def ask(self, question: Question, expected: type[_Expected]) -> _Expected:
        """Ask and wait for the answer.

        Raises:
            GuidanceError: what the question ran into, as its code and mend say.
            CaseError: `planning_busy`, `planning_ended`, `stopping`.
        """
        if len(self._waiting) >= _MOST_WAITING:
            self._on_count("planning_busy", 1)
            raise CaseError(
                f"{_MOST_WAITING} planning questions wait already", code="planning_busy", mend="ask again in a moment"
            )
        number = self._number = self._number + 1
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            process = await self._running()
            assert process.stdin is not None
            process.stdin.write(frame_of(Ask(number, question)))
            await process.stdin.drain()
            answer = await future
        except (BrokenPipeError, ConnectionResetError):
            raise _ended() from None
        finally:
            self._waiting.pop(number, None)
        if isinstance(answer, Failed):
            self._on_count(f"planning_{answer.code}", 1)
            raise _error_of(answer)
        if not isinstance(answer, expected):
            raise RuntimeError(f"the planning process answered with a {type(answer).__name__}")
        return answer

    async def _running(self) -> asyncio.subprocess.Process:
        async with self._launching:
            if self._stopped:
                raise CaseError("the server is stopping", code="stopping")
            if self._process is None or self._process.returncode is not None:
                self._process = await self._launched()
            return self._process

    async def _launched(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "drivers.planning_process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(frame_of(Start(settings=self._settings, data_dir=str(self._data_dir))))
        self._reader = start_task(self._read(process), name="planning-reader")
        return process

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            while True:
                (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
                told = decode_told(await process.stdout.readexactly(length))
                future = self._waiting.get(told.number)
                if future is not None and not future.done():
                    future.set_result(told.answer)
        except asyncio.IncompleteReadError:
            code = await process.wait()
            if not self._stopped:
                self._on_count("planning_process_ended", 1)
                self._on_log("error", f"the planning process ended with {code}; the next question starts it anew")
            self._fail_waiting("the planning process ended before it answered", "planning_ended")

    def _fail_waiting(self, message: str, code: str) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(CaseError(message, code=code, mend="ask again"))


def _ended() -> CaseError:
    return CaseError("the planning process ended before it answered", code="planning_ended", mend="ask again")


def _error_of(failed: Failed) -> GuidanceError:
    if failed.kind == "BadFieldsError":
        return BadFieldsError([FieldError(field, message) for field, message in failed.fields])
    return _ERRORS.get(failed.kind, CaseError)(failed.message, code=failed.code, mend=failed.mend)
