"""Pictures for the page: grey, JPEG, in a thread of their own, at a limited rate, only while somebody looks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import cv2

from drivers.compute import ComposedFrame, name_this_thread
from guidance.config import HttpSettings
from guidance.kernels import grey8
from guidance.ports import LiveUpdate
from guidance.shapes import GeometryAnswer, PictureHeader

_NS_PER_MS: Final = 1e6
_NS_PER_S: Final = 1e9
_LARGEST_SIDE_PX: Final = 1024


class PagePictures:
    """Turns composed frames into updates of the page.

    Args:
        settings: `[http]`.
        watched: whether anybody looks.
        state: the object of `/geometry`.
        deliver: takes each update, in the event loop's thread.
        on_failure: an encoding failed, which is a bug of ours.
    """

    def __init__(
        self,
        settings: HttpSettings,
        *,
        watched: Callable[[], bool],
        state: Callable[[], GeometryAnswer],
        deliver: Callable[[LiveUpdate], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._interval_ns = _NS_PER_S / settings.picture_rate_hz
        self._quality = settings.jpeg_quality
        self._watched = watched
        self._state = state
        self._deliver = deliver
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._encoder = ThreadPoolExecutor(1, initializer=name_this_thread, initargs=("page",))
        self._busy: set[str] = set()
        self._waiting: dict[str, tuple[ComposedFrame, float]] = {}
        self._next_ns: dict[str, float] = {}

    def stop(self) -> None:
        """End the encoder's thread."""
        self._waiting.clear()
        self._encoder.shutdown(cancel_futures=True)

    def show(self, composed: ComposedFrame, latency_ms: float) -> None:
        """Give a frame to the page: its state at once, its picture when its turn comes."""
        if not self._watched():
            return
        device = composed.job.frame.device
        now_ns = time.monotonic_ns()
        turn = composed.job.again or now_ns >= self._next_ns.get(device, 0.0)
        if device in self._busy or not turn:
            if composed.job.again:
                # No other picture may follow, and the one at work shows what no longer holds.
                self._waiting[device] = (composed, latency_ms)
            self._deliver(LiveUpdate(device=device, state=self._state()))
            return
        self._next_ns[device] = max(self._next_ns.get(device, 0.0) + self._interval_ns, now_ns)
        self._begin(composed, latency_ms)

    def _begin(self, composed: ComposedFrame, latency_ms: float) -> None:
        device = composed.job.frame.device
        self._waiting.pop(device, None)
        self._busy.add(device)
        self._encoder.submit(self._encode, composed, latency_ms).add_done_callback(self._ended)

    def _encode(self, composed: ComposedFrame, latency_ms: float) -> None:
        frame, track = composed.job.frame, composed.job.track
        rows, columns = frame.pixels.shape
        step = -(-max(rows, columns) // _LARGEST_SIDE_PX)
        grey = grey8(frame.pixels, composed.window.low, composed.window.high, step=step)
        _, jpeg = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        header = PictureHeader(
            device=frame.device,
            sequence=frame.sequence,
            frame_number=track.frame_number,
            width=columns,
            height=rows,
            scale=1.0 / step,
            age_ms=track.age_ms(time.monotonic_ns()),
            latency_ms=latency_ms,
            state=track.state,
            geometry_state=track.verdict.state,
            reason=track.verdict.reason,
            epoch=track.epoch,
            overlay=composed.scene.vectors,
        )
        self._loop.call_soon_threadsafe(self._encoded, frame.device, header, jpeg.tobytes())

    def _ended(self, encoding: Future[None]) -> None:
        if not encoding.cancelled() and (error := encoding.exception()) is not None:
            self._loop.call_soon_threadsafe(self._on_failure, error)

    def _encoded(self, device: str, header: PictureHeader, jpeg: bytes) -> None:
        self._busy.discard(device)
        self._deliver(LiveUpdate(device=device, state=self._state(), header=header, picture=jpeg))
        if device in self._waiting:
            self._begin(*self._waiting[device])
