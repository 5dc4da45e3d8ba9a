"""The compute thread: measures and draws the newest frame of each input, natively without the GIL; hands both back."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from drivers.buffers import Lease, LeasePool
from drivers.frame_measuring import FrameMeasuring
from guidance.cement.engine import CementEngine
from guidance.cement.progress import CementProgress
from guidance.cement.slices import CementSlice
from guidance.cement.values import CementFrame
from guidance.kernels import compose_frame, window_levels
from guidance.messages import FluoroFrame
from guidance.overlay.pieces import Scene, Text, scene_of
from guidance.overlay.window import Window, followed_window, measured_part, told_window
from guidance.overlay.words import DISCLAIMER
from guidance.session import FrameMeasured, InputTrack, MeasureFrame
from guidance.tracking.sightings import looks_around

_USUAL_SIDE: Final = 1024
_WARM_BUFFERS: Final = 3
_QUIET_S: Final = 0.004  # without a frame to work on, before something is done that no frame waits for
_OVERDUE_NS: Final = 400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameJob:
    """One frame to draw; `again` where its own picture was published before.

    `reference` is kept afterwards, for cement that may be followed later; None: nothing is. `cement`: what is known
    of it with this frame.
    """

    track: InputTrack
    frame: FluoroFrame
    again: bool
    make_scene: Callable[[], Scene]
    reference: CementFrame | None = None
    cement: CementProgress | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _LookAround:
    """A frame to be searched for instruments along all paths, once it is drawn, at the latest at `due_ns`."""

    asked: MeasureFrame
    due_ns: int
    drawn: bool = False


@dataclass(frozen=True, slots=True)
class _CatchUp:
    """What cement is in 3D is to be worked out where that is due, once no frame waits, at the latest at `due_ns`."""

    due_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedFrame:
    """What one frame became.

    Attributes:
        job: what was asked.
        scene: what was drawn, also as vectors.
        window: grey window that the picture is shown with.
        lease: the pictures; whoever sends from them holds it.
        rgb_crc64, layer_crc64: checksums of their bytes.
        composed_ns: monotonic time when it was done.
    """

    job: FrameJob
    scene: Scene
    window: Window
    lease: Lease
    rgb_crc64: int
    layer_crc64: int
    composed_ns: int


class ComputeThread:
    """Works on frames in a thread of its own; per input the newest wins, what it overtakes is counted.

    Args:
        deliver: called in the compute thread with each drawn frame; must only hand it over.
        measured: the same with each measured frame.
        fail: called in the compute thread with an error, which is a bug of ours; the thread has ended then.
        cement: follows cement; in the compute thread only.
    """

    def __init__(
        self,
        deliver: Callable[[ComposedFrame], None],
        measured: Callable[[FrameMeasured], None],
        fail: Callable[[BaseException], None],
        cement: CementEngine,
    ) -> None:
        self._deliver = deliver
        self._measured = measured
        self._fail = fail
        self._newest: dict[str, FrameJob] = {}
        self._unmeasured: dict[str, MeasureFrame] = {}
        self._around: dict[str, _LookAround] = {}
        self._behind: _CatchUp | None = None
        self._slices: deque[CementSlice] = deque()
        self._measuring = FrameMeasuring(cement)
        self._wake = threading.Condition()
        self._stopping = False
        self._pool = LeasePool()
        self._windows: dict[str, Window] = {}
        self._thread = threading.Thread(target=self._run, name="compute", daemon=True)
        self.overtaken: dict[str, int] = {}

    def start(self) -> None:
        self._thread.start()

    def submit(self, job: FrameJob) -> None:
        """Have a frame drawn; one of the same input that still waits is dropped and counted."""
        device = job.frame.device
        with self._wake:
            if device in self._newest and not job.again:
                self.overtaken[device] = self.overtaken.get(device, 0) + 1
            self._newest[device] = job
            self._wake.notify()

    def measure(self, asked: MeasureFrame) -> None:
        """Have a frame held against the volume; one of the same input that still waits is dropped, and counted."""
        device = asked.track.device
        with self._wake:
            if device in self._unmeasured:
                self.overtaken[device] = self.overtaken.get(device, 0) + 1
            self._unmeasured[device] = asked
            self._wake.notify()

    def add_slice(self, one: CementSlice) -> None:
        """Have a CT slice taken into what is known of cement; none is dropped."""
        with self._wake:
            self._slices.append(one)
            self._wake.notify()

    def stop(self, timeout_s: float = 2.0) -> None:
        """End the thread after the frame that it works on."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        name_this_thread("compute")
        try:
            self._warm_up()
            while (job := self._next()) is not None:
                match job:
                    case CementSlice():
                        self._measuring.slice_added(job)
                    case MeasureFrame():
                        self._measured(self._measuring.measured(job))
                        self._look_around_later(job)
                    case _CatchUp():
                        self._measuring.catch_up()
                    case _LookAround(asked):
                        self._measuring.look_around(asked)
                    case FrameJob():
                        self._deliver(self._composed(job))
                        # Only now: no picture must wait for it, and the next frame tells it.
                        self._behind = self._behind or _CatchUp(time.monotonic_ns() + _OVERDUE_NS)
                        if job.reference is not None:
                            self._measuring.keep(job.reference)
                        if (around := self._around.get(job.frame.device)) is not None:
                            self._around[job.frame.device] = replace(around, drawn=True)
        except BaseException as error:
            self._fail(error)

    def _warm_up(self) -> None:
        """Touch the first buffers' memory and load the fonts, which would make the first frames tens of ms late."""
        picture = np.zeros((_USUAL_SIDE, _USUAL_SIDE), np.uint16)
        scene = scene_of((), [Text(DISCLAIMER, 0, 0, 16, (255, 255, 255))], ())
        leases = [self._pool.lease(_USUAL_SIDE, _USUAL_SIDE) for _ in range(_WARM_BUFFERS)]
        for lease in leases:
            buffers = lease.buffers
            compose_frame(
                picture,
                *window_levels(picture),
                scene.strokes,
                scene.sprites,
                scene.sprite_table,
                buffers.rgb,
                buffers.layer,
                buffers.dirty,
            )

    def _look_around_later(self, asked: MeasureFrame) -> None:
        if asked.metal is None or not looks_around(asked.track.frames):
            return
        before = self._around.get(asked.track.device)
        due_ns = time.monotonic_ns() + _OVERDUE_NS if before is None else before.due_ns
        self._around[asked.track.device] = _LookAround(asked, due_ns)

    def _device_around(self, *, drawn: bool) -> str | None:
        """Whose frame is to be searched now: one that is overdue, or, where asked for, one that is drawn."""
        now_ns = time.monotonic_ns()
        ready = (name for name, each in self._around.items() if (drawn and each.drawn) or now_ns > each.due_ns)
        return next(ready, None)

    def _next(self) -> FrameJob | MeasureFrame | CementSlice | _LookAround | _CatchUp | None:
        with self._wake:
            while not (self._newest or self._unmeasured or self._slices or self._behind or self._stopping):
                if not self._wake.wait(_QUIET_S if self._around else None) and self._device_around(drawn=True):
                    break
            if self._stopping:
                return None
            busy = self._newest or self._unmeasured
            if self._slices and not self._newest:
                return self._slices.popleft()
            behind = self._behind
            if behind is not None and (not busy or (not self._newest and time.monotonic_ns() > behind.due_ns)):
                self._behind = None
                return behind
            if (device := self._device_around(drawn=not busy)) is not None:
                return self._around.pop(device)
            # Oldest input first, so that one fast stream cannot starve the other plane; what only needs drawing is
            # nearer to the eye than what must be measured before.
            waiting: dict[str, FrameJob] | dict[str, MeasureFrame] = self._newest or self._unmeasured
            return waiting.pop(next(iter(waiting)))

    def _composed(self, job: FrameJob) -> ComposedFrame:
        frame = job.frame
        rows, columns = frame.pixels.shape
        window = told_window(frame.metadata)
        if window is None:
            before = self._windows.get(frame.device)
            window = (
                before if job.again and before else followed_window(before, *window_levels(measured_part(frame.pixels)))
            )
            self._windows[frame.device] = window
        scene = job.make_scene()
        lease = self._pool.lease(rows, columns)
        rgb_crc64, layer_crc64 = compose_frame(
            frame.pixels,
            window.low,
            window.high,
            scene.strokes,
            scene.sprites,
            scene.sprite_table,
            lease.buffers.rgb,
            lease.buffers.layer,
            lease.buffers.dirty,
            under=scene.under,
        )
        return ComposedFrame(
            job=job,
            scene=scene,
            window=window,
            lease=lease,
            rgb_crc64=rgb_crc64,
            layer_crc64=layer_crc64,
            composed_ns=time.monotonic_ns(),
        )


def name_this_thread(name: str) -> None:
    """Show the calling thread under this name in `top` and in benchmarks; Linux only, elsewhere without effect."""
    with contextlib.suppress(OSError):
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(name[:15], encoding="ascii")
