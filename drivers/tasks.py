"""Tasks that nobody awaits: what ends one is told at once, not when it is collected."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any, Final

_CANCEL_AGAIN_S: Final = 0.05


def start_task(coroutine: Coroutine[Any, Any, None], *, name: str | None = None) -> asyncio.Task[None]:
    """A task whose uncaught error goes to the loop's exception handler, which ends the server for its supervisor."""
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    task.add_done_callback(_tell_failure)
    return task


async def end_all(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel until every one has ended; how each ended is nobody's business any more.

    Once is not enough: before Python 3.12 `asyncio.wait_for`, which MQTT's client awaits the broker with, swallows a
    cancellation that comes in the same turn of the loop as its answer.
    """
    while waiting := [task for task in tasks if not task.done()]:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=_CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        context = {"message": f"{task.get_coro()} failed", "exception": error, "task": task}
        task.get_loop().call_exception_handler(context)
