"""Tasks end when they are told to, also those that swallow a cancellation."""

from __future__ import annotations

import asyncio
import contextlib

from drivers.tasks import end_all


async def _swallows(times: int) -> None:
    for _ in range(times):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    await asyncio.Event().wait()


async def _fails() -> None:
    raise OSError("gone")


async def test_all_end_whatever_they_do_with_a_cancellation() -> None:
    tasks = [asyncio.create_task(_swallows(times)) for times in (0, 1, 3)] + [asyncio.create_task(_fails())]
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await end_all(tasks)
    assert all(task.done() for task in tasks)
    await end_all(())
