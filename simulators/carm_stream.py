"""A simulated C-arm in real time: renders ahead, keeps the beat, sends to every peer."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

from simulators.carm import CArmScript, SimulatedCArm
from simulators.gantry import Gantry
from simulators.openigtlink_peers import Peers, StreamReport
from simulators.scene import Exposed, Exposure, Scene, expose

Progress = Callable[[str, int, int], None]
"""(what, done, of all)."""

_BYTES_PER_PIXEL = 3  # of an `Exposed`


class PictureCache:
    """Noise-free pictures by gantry; renders in a thread, forgets the longest unused above its limit.

    Args:
        scene: what is looked at.
        limit_bytes: of all pictures kept; one is always kept.
    """

    def __init__(self, scene: Scene, *, limit_bytes: int = 512 << 20) -> None:
        self._scene = scene
        self._limit = limit_bytes
        self._kept: OrderedDict[tuple[Gantry, Exposure], Exposed] = OrderedDict()
        self._running: dict[tuple[Gantry, Exposure], asyncio.Task[Exposed]] = {}

    def get(self, gantry: Gantry, exposure: Exposure) -> Exposed | None:
        """The picture if it is ready; else its making begins, and None."""
        key = (gantry, exposure)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if key not in self._running:
            self._running[key] = asyncio.create_task(self._render(key))
        return None

    async def wait(self, gantry: Gantry, exposure: Exposure) -> Exposed:
        """The picture, once it is ready."""
        ready = self.get(gantry, exposure)
        return ready if ready is not None else await asyncio.shield(self._running[(gantry, exposure)])

    async def close(self) -> None:
        """Let what is being rendered end."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _render(self, key: tuple[Gantry, Exposure]) -> Exposed:
        exposed = await asyncio.to_thread(render, self._scene, *key)
        self._kept[key] = exposed
        while len(self._kept) > 1 and self._bytes() > self._limit:
            self._kept.popitem(last=False)
        del self._running[key]
        return exposed

    def _bytes(self) -> int:
        return sum(exposed.level.size * _BYTES_PER_PIXEL for exposed in self._kept.values())


def render(scene: Scene, gantry: Gantry, exposure: Exposure) -> Exposed:
    """One noise-free picture."""
    transmission = scene.transmission(gantry.pixel_from_patient(), gantry.size, exposure.beam)
    return expose(transmission, exposure, gantry.pitch_row_mm * gantry.pitch_column_mm)


class CArmStream:
    """Runs scripts (one, or two for biplane) against servers it dials, or peers that dial it.

    A stop whose picture is not rendered yet is not gone to: the C-arm stays where it is, so the stream never stalls.

    Args:
        scene: what is looked at.
        scripts: one per plane; all at the first one's rate.
        connect: (host, port) of a server to dial, again and again until it answers; None: listen instead.
        listen: (host, port) to listen on; port 0 takes any free one.
        progress: told what is rendered when all is rendered ahead.
        report: where to count; None: a new one.
    """

    def __init__(
        self,
        scene: Scene,
        scripts: Sequence[CArmScript],
        *,
        connect: tuple[str, int] | None = None,
        listen: tuple[str, int] | None = None,
        cache_bytes: int = 512 << 20,
        progress: Progress | None = None,
        report: StreamReport | None = None,
    ) -> None:
        self.report = report or StreamReport()
        self._peers = Peers(self.report, connect=connect, listen=listen)
        self.listening = self._peers.listening
        self._carms = [SimulatedCArm(script) for script in scripts]
        self._cache = PictureCache(scene, limit_bytes=cache_bytes)
        self._progress = progress
        self._last_stamp_ns = 0

    @property
    def address(self) -> tuple[str, int] | None:
        """Where it listens, once it does."""
        return self._peers.address

    async def run(self, *, frames: int | None = None, render_ahead: bool = False) -> StreamReport:
        """Stream until the scripts end, `frames` are sent, or the task is cancelled.

        Args:
            frames: pictures per plane; None: as many as the scripts have.
            render_ahead: render every pose before the first frame, so that frame n shows the same in every run.
        """
        first = self._carms[0].script
        for number, gantry in enumerate(first.gantries() if render_ahead else first.gantries()[:1]):
            await self._cache.wait(gantry, first.exposure)
            if self._progress and render_ahead:
                self._progress("rendering", number + 1, len(first.gantries()))
        transport = asyncio.create_task(self._peers.run())
        beating = asyncio.create_task(self._beat(frames))
        try:
            await asyncio.wait({transport, beating}, return_when=asyncio.FIRST_COMPLETED)
            if transport.done():  # it never ends by itself: a port that can't be had
                transport.result()
            await beating
        finally:
            for task in (transport, beating):
                task.cancel()
            await asyncio.gather(transport, beating, return_exceptions=True)
            await self._cache.close()
        return self.report

    async def _beat(self, frames: int | None) -> None:
        await self._peers.connected.wait()
        interval = 1.0 / self._carms[0].script.rate_hz
        begun = time.monotonic()
        beat = 0
        while (frames is None or beat < frames) and not all(carm.finished for carm in self._carms):
            due = begun + beat * interval
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            late = time.monotonic() - due
            self.report.worst_late_ms = max(self.report.worst_late_ms, late * 1e3)
            if late > 1.0:  # stopped for long (laptop asleep, debugger): go on from here instead of catching up
                begun += late
                self.report.late += 1
            for carm in self._carms:
                await self._step(carm)
            beat += 1

    async def _step(self, carm: SimulatedCArm) -> None:
        exposure = carm.script.exposure
        following = carm.next_stop()
        if not following.pedal or self._cache.get(following.gantry, exposure) is not None:
            carm.advance()
        exposed = await self._cache.wait(carm.stop.gantry, exposure)
        # Two planes of one beat, and frames that follow at once, still have stamps of their own.
        self._last_stamp_ns = max(time.time_ns(), self._last_stamp_ns + 1000)
        frame = carm.frame(exposed, self._last_stamp_ns)
        if not frame.chunks:
            self.report.silent += 1
            return
        self.report.frames += 1
        await self._peers.send(frame.chunks, hang_up=frame.hang_up)


def biplane(script: CArmScript, lateral: Gantry) -> tuple[CArmScript, CArmScript]:
    """Two planes from one: the second stands at `lateral` while the first goes through its stops."""
    second = tuple(replace(stop, gantry=lateral) for stop in script.stops)
    return (
        replace(script, device=f"{script.device}A"),
        replace(script, device=f"{script.device}B", stops=second, seed=script.seed + 1),
    )
