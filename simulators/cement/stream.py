"""Cement in real time: a case's frames over OpenIGTLink, its growth held back until somebody follows it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

import numpy as np

from guidance.kernels import crc64
from guidance.wire.openigtlink import pack_image_parts, picture_matrix, timestamp_from_unix_ns
from simulators.cement.imaging import CementImaging, CementPicture
from simulators.cement.looks import Shot
from simulators.openigtlink_peers import Peers, StreamReport

Growth = Callable[[float], float]
"""Time of the stream, s since the start -> how far the injection is along its curve, s."""

_LATE_S = 1.0


class CementStream:
    """Sends a case's frames at their times.

    Args:
        imaging: who takes the pictures.
        shots: which, in order of time; those before 0 are the reference. They may have no end.
        connect, listen: as of `Peers`.
        growth: how far the injection is; None: it runs as planned.
        report: where to count; None: a new one.
    """

    def __init__(
        self,
        imaging: CementImaging,
        shots: Iterable[Shot],
        *,
        connect: tuple[str, int] | None = None,
        listen: tuple[str, int] | None = None,
        growth: Growth | None = None,
        report: StreamReport | None = None,
    ) -> None:
        self.report = report or StreamReport()
        self.reference_taken = asyncio.Event()  # all frames from before the start are sent
        self.begun = asyncio.Event()  # cement may flow
        self.peers = Peers(self.report, connect=connect, listen=listen)
        self.last: CementPicture | None = None
        self._imaging, self._shots = imaging, shots
        self._growth = growth or (lambda t_s: t_s)
        self._extra = [0] * len(imaging.views)
        self._stamp_ns = 0
        self._sent = 0

    async def run(self, *, hold: bool = False) -> StreamReport:
        """Stream all shots, then end; or be cancelled.

        Args:
            hold: time stands still at 0 until `begun` is set: the last frame's place is taken again and again.
        """
        transport = asyncio.create_task(self.peers.run())
        playing = asyncio.create_task(self._play(hold))
        try:
            await asyncio.wait({transport, playing}, return_when=asyncio.FIRST_COMPLETED)
            if transport.done():  # it never ends by itself: a port that can't be had
                transport.result()
            await playing
        finally:
            for task in (transport, playing):
                task.cancel()
            await asyncio.gather(transport, playing, return_exceptions=True)
        return self.report

    async def _play(self, hold: bool) -> None:
        await self.peers.connected.wait()
        origin_s = 0.0
        before: Shot | None = None
        for shot in self._shots:
            if before is None:
                origin_s = time.monotonic() - shot.t_s
            if shot.t_s >= 0.0 and not self.reference_taken.is_set():
                self.reference_taken.set()
                if hold and before is not None:
                    origin_s += await self._held(before)
            origin_s = await self._until(origin_s, shot.t_s)
            await self._take(shot)
            before = shot

    async def _held(self, shot: Shot) -> float:
        """Take one place again and again until cement may flow; returns how long that was."""
        first_s = time.monotonic()
        due_s, period_s = first_s, 1.0 / self._imaging.technique.rate_hz
        while not self.begun.is_set():
            due_s = await self._until(due_s, period_s) + period_s
            self._extra[shot.view_index] += 1
            await self._take(shot)
        return time.monotonic() - first_s

    async def _until(self, origin_s: float, t_s: float) -> float:
        """Wait for a time; the origin, later where this machine could not keep up: no frame is left out."""
        late_s = time.monotonic() - origin_s - t_s
        self.report.worst_late_ms = max(self.report.worst_late_ms, late_s * 1e3)
        if late_s > _LATE_S:
            self.report.late += 1
            return origin_s + late_s
        await asyncio.sleep(max(0.0, -late_s))
        return origin_s

    async def _take(self, shot: Shot) -> None:
        index = shot.frame_index + self._extra[shot.view_index]
        growth_s = self._growth(shot.t_s)
        picture = await asyncio.to_thread(self._imaging.picture, shot.view_index, shot.t_s, index, growth_s=growth_s)
        self.last = picture
        # Two planes of one beat still have stamps of their own.
        self._stamp_ns = max(time.time_ns(), self._stamp_ns + 1000)
        self._sent += 1
        self.report.frames += 1
        await self.peers.send(image_chunks(picture, self._stamp_ns, self._sent))


def image_chunks(picture: CementPicture, unix_ns: int, message_id: int) -> list[bytes | memoryview]:
    """One picture as the bytes of an IMAGE message with metadata, header version 2."""
    pixels = np.ascontiguousarray(picture.pixels)
    content = pixels.data.cast("B")
    prefix, rest = pack_image_parts(
        picture.device,
        timestamp_from_unix_ns(unix_ns),
        pixels.shape,
        pixels.dtype,
        pixels_crc64=crc64(content),
        matrix=picture_matrix(picture.told_gantry.picture_pitch_mm),
        metadata=picture.metadata,
        header_version=2,
        message_id=message_id & 0xFFFFFFFF,
    )
    return [prefix, content, rest]
