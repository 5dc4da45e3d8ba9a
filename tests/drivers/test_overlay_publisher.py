"""From the session to the receivers: what was drawn too early is not sent, and the page gets the last word."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np

from drivers.buffers import Lease
from drivers.compute import ComposedFrame, FrameJob
from drivers.overlay_publisher import OverlayPublisher
from drivers.page_pictures import PagePictures
from guidance.cement.engine import CementEngine
from guidance.config import CementSettings, HttpSettings, OverlaySettings
from guidance.kernels import frame_buffers
from guidance.messages import FluoroFrame, GeometryState, GeometryVerdict
from guidance.overlay.scene import frame_scene
from guidance.overlay.window import Window
from guidance.ports import LiveUpdate
from guidance.session import DrawFrame, InputTrack, Session
from guidance.shapes import GeometryAnswer

_DEADLINE_S = 20.0


def _track(sequence: int, *, epoch: int = 1, state: GeometryState = GeometryState.ABSENT) -> InputTrack:
    frame = FluoroFrame(
        device="Fluoro", pixels=np.zeros((64, 64), np.uint16), timestamp_igtl=0, received_ns=1, sequence=sequence
    )
    verdict = GeometryVerdict(state=state, reason="why", code="why")
    return InputTrack(device="Fluoro", frame=frame, frames=sequence, verdict=verdict, epoch=epoch)


class Receivers:
    """Stands for the OpenIGTLink output and for the page."""

    def __init__(self) -> None:
        self.epochs: list[str] = []
        self.came = asyncio.Event()

    def publish_image(self, device: str, *, metadata: Any, **_: Any) -> None:
        if device == "Overlay":
            self.epochs.append(metadata["Guidance.Epoch"])

    def show(self, composed: ComposedFrame, latency_ms: float) -> None:
        self.came.set()


async def _published(*effects: DrawFrame, count: int) -> tuple[OverlayPublisher, Receivers]:
    receivers = Receivers()
    failures: list[BaseException] = []
    publisher = OverlayPublisher(
        OverlaySettings(),
        receivers,
        receivers,
        CementEngine(CementSettings()),
        may_be_shown=lambda track: track.verdict.code != "too old by now",
        on_published=lambda latency_ms: None,
        on_measured=lambda measured: None,
        on_failure=failures.append,
    )
    publisher.start()
    try:
        for effect in effects:
            # Composed before the next is asked for; sent only when this task waits, which it does below.
            before = publisher._compute
            publisher.draw(effect, Session())
            while before._newest:
                pass
        while len(receivers.epochs) < count:
            async with asyncio.timeout(_DEADLINE_S):
                await receivers.came.wait()
            receivers.came.clear()
    finally:
        publisher.stop()
    await asyncio.sleep(0)
    assert not failures
    return publisher, receivers


async def test_a_frame_drawn_under_the_former_registration_is_not_sent_after_the_new_one() -> None:
    old, new = _track(1, epoch=1), _track(1, epoch=2)
    publisher, receivers = await _published(DrawFrame(old), DrawFrame(new, again=True), count=1)
    assert receivers.epochs == ["2"]
    assert publisher.published["Fluoro"] == 1
    assert publisher.overtaken["Fluoro"] == 0


async def test_a_picture_that_grew_too_old_on_its_way_is_not_sent() -> None:
    old = _track(1)
    stood_still = replace(old, verdict=replace(old.verdict, code="too old by now"))
    publisher, receivers = await _published(DrawFrame(stood_still), DrawFrame(_track(2, epoch=2)), count=1)
    assert receivers.epochs == ["2"]
    assert publisher.overtaken["Fluoro"] == 1


async def test_every_frame_is_published_or_counted_as_overtaken() -> None:
    effects = [DrawFrame(_track(1)), DrawFrame(_track(2)), DrawFrame(_track(2, epoch=2), again=True)]
    publisher, receivers = await _published(*effects, DrawFrame(_track(5, epoch=2)), count=2)
    assert receivers.epochs == ["2", "2"]
    assert publisher.published["Fluoro"] == 2
    assert publisher.overtaken["Fluoro"] == 3


async def test_the_page_gets_the_withheld_picture_although_the_trusted_one_is_still_being_encoded() -> None:
    updates: list[LiveUpdate] = []
    withheld = asyncio.Event()

    def deliver(update: LiveUpdate) -> None:
        updates.append(update)
        if update.header is not None and update.header.geometry_state is GeometryState.WITHHELD:
            withheld.set()

    failures: list[BaseException] = []
    page = PagePictures(
        HttpSettings(),
        watched=lambda: True,
        state=lambda: GeometryAnswer(inputs={}),
        deliver=deliver,
        on_failure=failures.append,
    )
    trusted = _track(1, state=GeometryState.TRUSTED)
    page.show(_composed(trusted, again=False), 1.0)
    page.show(_composed(replace(trusted, verdict=_track(1, state=GeometryState.WITHHELD).verdict), again=True), 1.0)
    async with asyncio.timeout(_DEADLINE_S):
        await withheld.wait()
    page.stop()
    pictures = [update.header.geometry_state for update in updates if update.header is not None]
    assert pictures == [GeometryState.TRUSTED, GeometryState.WITHHELD]
    assert not failures


def _composed(track: InputTrack, *, again: bool) -> ComposedFrame:
    assert track.frame is not None
    scene = frame_scene(track, (), OverlaySettings(), age_ms=0.0)
    return ComposedFrame(
        job=FrameJob(track=track, frame=track.frame, again=again, make_scene=lambda: scene),
        scene=scene,
        window=Window(0.0, 1.0),
        lease=Lease(frame_buffers(64, 64)),
        rgb_crc64=0,
        layer_crc64=0,
        composed_ns=0,
    )
