"""Tasks that nobody awaits: what ends one is told at once, not when it is collected."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


def start_task(coroutine: Coroutine[Any, Any, None], *, name: str | None = None) -> asyncio.Task[None]:
    """A task whose uncaught error goes to the loop's exception handler, which ends the server for its supervisor."""
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    task.add_done_callback(_tell_failure)
    return task


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        context = {"message": f"{task.get_coro()} failed", "exception": error, "task": task}
        task.get_loop().call_exception_handler(context)
