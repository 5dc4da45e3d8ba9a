"""Has frames drawn by the compute thread and sends the pictures: OpenIGTLink first, the page after."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np

from drivers.compute import ComposedFrame, ComputeThread, FrameJob
from drivers.openigtlink_output import OverlayOutput
from drivers.page_pictures import PagePictures
from guidance.case import Case, drawable_paths
from guidance.cement.engine import CementEngine
from guidance.cement.slices import CementSlice
from guidance.config import OverlaySettings
from guidance.kernels import crc64
from guidance.overlay.cement_lines import cement_on_picture
from guidance.overlay.picture import picture_metadata, thickness_metadata
from guidance.overlay.scene import frame_scene
from guidance.overlay.zones import ZonesOnPicture
from guidance.session import DrawFrame, FrameMeasured, InputTrack, MeasureFrame, PublishNeedleTip, Session
from guidance.wire.openigtlink.needle_tip import needle_tip_transform
from guidance.wire.openigtlink.outputs import THICKNESS_DEVICE, overlay_device, overlay_layer_device
from guidance.wire.openigtlink.plan import points_of, polydata_of, trajectories_of, zones_polydata

_NS_PER_MS: Final = 1e6
_RATE_WINDOW: Final = 60


class OverlayPublisher:
    """From a frame to every receiver.

    Args:
        settings: `[overlay]`.
        output: OpenIGTLink clients.
        page: makes the page's pictures; does nothing while nobody looks.
        cement: follows cement, in the compute thread.
        may_be_shown: asked of each drawn frame when it is about to go out; the process may have stood still meanwhile.
        on_published: told (latency in ms) when the first byte of a new frame's overlay is out, or, without a
            client, when it was ready.
        on_measured: told what holding a frame against the volume has found.
        on_failure: the compute thread died of a bug.
    """

    def __init__(
        self,
        settings: OverlaySettings,
        output: OverlayOutput,
        page: PagePictures,
        cement: CementEngine,
        *,
        may_be_shown: Callable[[InputTrack], bool],
        on_published: Callable[[float], None],
        on_measured: Callable[[FrameMeasured], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._settings = settings
        self._output = output
        self._page = page
        self._may_be_shown = may_be_shown
        self._on_published = on_published
        self._on_measured = on_measured
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._compute = ComputeThread(self._composed, self._measured, self._failed, cement)
        self._times_ns: dict[str, deque[int]] = {}
        self._newest: dict[str, int] = {}  # sequence of the newest frame that went out, by device
        self._mapped: dict[str, int] = {}  # the same of its cement's map
        self._redrawn: dict[str, DrawFrame] = {}
        self.published: Counter[str] = Counter()
        self.overtaken: Counter[str] = Counter()  # frames that gave way to a newer one before they went out

    def rate_hz(self, device: str) -> float | None:
        """Published frames per second of an input, lately."""
        times = self._times_ns.get(device)
        if not times or len(times) < 2 or times[-1] == times[0]:
            return None
        return (len(times) - 1) * 1e9 / (times[-1] - times[0])

    def start(self) -> None:
        self._compute.start()

    def stop(self) -> None:
        self._compute.stop()

    def draw(self, effect: DrawFrame, session: Session) -> None:
        """Have a frame drawn and published."""
        frame = effect.track.frame
        if frame is None:
            return
        if effect.again:
            self._redrawn[effect.track.device] = effect
        make_scene = partial(
            frame_scene,
            effect.track,
            drawable_paths(session.case),
            self._settings,
            age_ms=effect.track.age_ms(time.monotonic_ns()),
            zones=session.zones,
            aids=session.aids,
            uncertainty=effect.track.uncertainty,
            cement=cement_on_picture(session.cement, session.alerts, effect.track.device),
        )
        self._compute.submit(
            FrameJob(
                track=effect.track,
                frame=frame,
                again=effect.again,
                make_scene=make_scene,
                reference=effect.reference,
                cement=session.cement,
            )
        )

    def measure(self, asked: MeasureFrame) -> None:
        """Have a frame held against the volume."""
        self._compute.measure(asked)

    def add_slice(self, one: CementSlice) -> None:
        """Have a CT slice taken into what is known of cement."""
        self._compute.add_slice(one)

    def publish_plan(self, case: Case) -> None:
        """Tell receivers the paths of the active frame."""
        paths = drawable_paths(case)
        self._output.publish_message(polydata_of(paths))
        self._output.publish_message(points_of(paths))
        self._output.publish_message(trajectories_of(paths))

    def publish_zones(self, zones: ZonesOnPicture) -> None:
        """Tell receivers the zones of the active frame."""
        self._output.publish_message(zones_polydata(zones.surfaces))

    def publish_needle_tip(self, tip: PublishNeedleTip) -> None:
        """Tell receivers where an instrument's tip is, or that it is not known any more."""
        frame = tip.track.frame if tip.track is not None else None
        self._output.publish_message(
            needle_tip_transform(
                tip.path,
                tip.placed,
                timestamp_igtl=frame.timestamp_igtl if frame is not None else 0,
                input_device=frame.device if frame is not None else "",
            )
        )

    def _composed(self, composed: ComposedFrame) -> None:
        self._loop.call_soon_threadsafe(self._publish, composed)

    def _measured(self, measured: FrameMeasured) -> None:
        self._loop.call_soon_threadsafe(self._on_measured, measured)

    def _failed(self, error: BaseException) -> None:
        self._loop.call_soon_threadsafe(self._on_failure, error)

    def _publish(self, composed: ComposedFrame) -> None:
        job, frame = composed.job, composed.job.frame
        if self._is_outdated(job) or not self._may_be_shown(job.track):
            return
        before_ns = time.monotonic_ns()
        latency_so_far_ms = (before_ns - frame.received_ns) / _NS_PER_MS
        metadata = picture_metadata(job.track, latency_so_far_ms)
        buffers = composed.lease.buffers
        first_ns = self._output.publish_image(
            overlay_device(frame.device),
            timestamp_igtl=frame.timestamp_igtl,
            pixels=buffers.rgb,
            pixels_crc64=composed.rgb_crc64,
            pixel_pitch_mm=frame.pixel_pitch_mm,
            metadata=metadata,
            lease=composed.lease,
        )
        self._output.publish_image(
            overlay_layer_device(frame.device),
            timestamp_igtl=frame.timestamp_igtl,
            pixels=buffers.layer,
            pixels_crc64=composed.layer_crc64,
            pixel_pitch_mm=frame.pixel_pitch_mm,
            metadata=metadata,
            lease=composed.lease,
        )
        self._publish_thickness(job, latency_so_far_ms)
        latency_ms = ((first_ns or before_ns) - frame.received_ns) / _NS_PER_MS
        newest = self._newest.get(frame.device, 0)
        if frame.sequence > newest:
            self._newest[frame.device] = frame.sequence
            self.overtaken[frame.device] += frame.sequence - newest - 1
            self.published[frame.device] += 1
            self._times_ns.setdefault(frame.device, deque(maxlen=_RATE_WINDOW)).append(frame.received_ns)
            self._on_published(latency_ms)
        self._page.show(composed, latency_ms)

    def _publish_thickness(self, job: FrameJob, latency_ms: float) -> None:
        """The map of the cement that this very frame shows; its state was told before."""
        frame, seen = job.frame, job.track.cement
        if job.cement is None or seen is None or not seen.view.seen or seen.view.thickness_mm is None:
            return
        if self._mapped.get(frame.device) == frame.sequence:
            return  # drawn again: the map is out
        self._mapped[frame.device] = frame.sequence
        thickness_mm = seen.view.thickness_mm
        self._output.publish_image(
            THICKNESS_DEVICE,
            timestamp_igtl=frame.timestamp_igtl,
            pixels=thickness_mm,
            pixels_crc64=crc64(thickness_mm.view(np.uint8).ravel()),
            pixel_pitch_mm=frame.pixel_pitch_mm,
            metadata=thickness_metadata(job.track, latency_ms, job.cement),
            lease=seen.view,
        )

    def _is_outdated(self, job: FrameJob) -> bool:
        """Drawn before the session judged this very picture anew, for another registration, plan or age.

        What was judged anew is on its way through the compute thread, so no frame is lost by not sending this one.
        """
        redrawn = self._redrawn.get(job.frame.device)
        if redrawn is None or redrawn.track.frame is None or redrawn.track is job.track:
            return False
        return job.frame.sequence <= redrawn.track.frame.sequence
