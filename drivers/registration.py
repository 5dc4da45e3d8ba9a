"""Registration beside the live case: gathers pictures, has them registered in the planning process, makes it true."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Final

import numpy as np
import structlog

from drivers.live import LiveCase
from drivers.planning import PlanningProcess
from drivers.planning_messages import RegisteredAnswer, RegistrationQuestion, ViewPicture
from drivers.tasks import start_task
from guidance.case import Author, Case, accept_registration, check_same_registration, drop_registration
from guidance.errors import CaseError, GeometryError, GuidanceError
from guidance.messages import AcceptedRegistration, CbctVolume, VolumeState
from guidance.registration.answers import RegistrationAnswer, rows_of
from guidance.registration.request import RegistrationRequest, RegistrationState
from guidance.registration.values import IDENTITY
from guidance.session import InputTrack, Session, active_volume
from guidance.session.poses import LiveView, live_view

_OTHER_VIEW_DEG: Final = 20.0  # what is nearer than that to a kept picture takes its place
_MOST_KEPT: Final = 4  # of each input; a picture has 2 MB
_TRY_AGAIN_NS: Final = 5_000_000_000
_OWN: Final = Author(via="server")

_log = structlog.get_logger("registration")


class RegistrationService:
    """All of 2D/3D registration that the server offers.

    Args:
        process: who works it out.
        live: the live case.
        automatic: register by itself when a picture says that the patient has moved.
    """

    def __init__(self, process: PlanningProcess, live: LiveCase, *, automatic: bool) -> None:
        self._process = process
        self._live = live
        self._automatic = automatic
        self._kept: list[LiveView] = []
        self._kept_in: tuple[int, str] = (-1, "")
        self._running = False
        self._tried_ns = -2 * _TRY_AGAIN_NS
        self._task: asyncio.Task[None] | None = None

    # What HTTP asks (guidance.ports.RegistrationApi)

    async def register(self, request: RegistrationRequest, *, author: Author) -> RegistrationAnswer:
        if self._running:
            raise CaseError("a registration is being worked out", code="registration_running", mend="wait for it")
        self._running = True
        try:
            return await self._register(request, author)
        finally:
            self._running = False

    def registration(self) -> RegistrationState:
        case = self._live.case()
        held = case.registration
        return RegistrationState(
            registered=held is not None,
            seen_lps_from_volume_lps=rows_of(_start_of(case)),
            covariance=None if held is None else rows_of(np.array(held.covariance).reshape(6, 6)),
            pivot_lps_mm=None if held is None else held.pivot_lps_mm,
            residual_px=None if held is None else held.residual_px,
            inputs=() if held is None else held.inputs,
            epoch=case.epoch,
            offered=any(track.verdict.check.registration_offered for track in self._live.session.inputs.values()),
            running=self._running,
        )

    def drop(self, *, author: Author) -> None:
        self._live.edit(lambda case: (drop_registration(case), None), author=author)

    # What the live case tells

    def input_changed(self, after: InputTrack) -> None:
        """An input's verdict is another one: where a registration would mend it, and may, it is begun."""
        if not self._automatic or self._running or not after.verdict.check.registration_offered:
            return
        # A patient who breathes deeply is offered one with every breath; each would move the plan.
        if time.monotonic_ns() - self._tried_ns <= _TRY_AGAIN_NS:
            return
        if self._task is None or self._task.done():
            self._tried_ns = time.monotonic_ns()
            self._task = start_task(self._by_itself(after.device))

    def tick(self) -> None:
        """A second has passed: pictures are remembered by angle, so that one C-arm can register from two views in turn;
        and a registration that was refused is tried again while it is still offered."""
        for track in self._live.session.inputs.values():
            self.input_changed(track)
        self._keep_views()

    def _keep_views(self) -> None:
        session, now_ns = self._live.session, time.monotonic_ns()
        key = (session.case.epoch, session.case.active_volume_id)
        if key != self._kept_in:
            self._kept, self._kept_in = [], key
        for track in session.inputs.values():
            if track.frame is None or track.silent or track.liveness.held:
                continue
            if any(kept.device == track.device and kept.received_ns == track.frame.received_ns for kept in self._kept):
                continue
            try:
                view = live_view(session, track, now_ns)
            except GeometryError:
                continue
            others = [
                kept for kept in self._kept if kept.device != view.device or _apart_deg(kept, view) > _OTHER_VIEW_DEG
            ]
            own = [kept for kept in others if kept.device == view.device]
            if len(own) >= _MOST_KEPT:
                others.remove(min(own, key=lambda kept: kept.received_ns))
            self._kept = [*others, view]

    async def stop(self) -> None:
        """Give up what runs by itself."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _by_itself(self, device: str) -> None:
        try:
            answer = await self.register(RegistrationRequest(), author=_OWN)
        except GuidanceError as error:
            _log.warning("registration", input=device, error=str(error), code=error.code)
            return
        _log.info("registration", input=device, accepted=answer.accepted, reason=answer.reason)

    async def _register(self, request: RegistrationRequest, author: Author) -> RegistrationAnswer:
        session = self._live.session
        asked, volume = session.case, _needed_volume(session)
        views = self._views(session, request)
        question = RegistrationQuestion(
            volume=volume,
            views=tuple(_picture_of(view) for view in views),
            start=tuple(_start_of(asked).ravel().tolist()),
        )
        answer = (await self._process.ask(question, RegisteredAnswer)).registration
        check_same_registration(asked, self._live.case())
        if answer.accepted:
            accepted = _accepted(answer, views)
            self._live.edit(lambda case: (accept_registration(case, accepted), None), author=author)
        self._live.counters["registration_accepted" if answer.accepted else f"registration_{answer.code}"] += 1
        return answer

    def _views(self, session: Session, request: RegistrationRequest) -> list[LiveView]:
        now_ns = time.monotonic_ns()
        unknown = [name for name in request.inputs if name not in session.inputs]
        if unknown:
            raise CaseError(f"no input {unknown[0]!r}", code="unknown_input", mend="GET /api/v1/geometry lists them")
        found: list[LiveView] = []
        refused: list[str] = []
        for device, track in session.inputs.items():
            if request.inputs and device not in request.inputs:
                continue
            try:
                found.append(live_view(session, track, now_ns))
            except GeometryError as error:
                refused.append(f"{error.args[0]}")
                if request.inputs:
                    raise CaseError(str(error.args[0]), code="no_view", mend=error.mend or "see the reason") from None
        if not found:
            why = "; ".join(refused) or "no input sends pictures"
            raise CaseError(f"nothing to register: {why}", code="no_view", mend="expose with a geometry that is told")
        oldest_ns = now_ns - request.other_views_s * 1e9
        used = {view.device for view in found}
        for kept in self._kept:
            fresh = kept.device in used and kept.received_ns >= oldest_ns
            if fresh and all(_apart_deg(kept, view) > _OTHER_VIEW_DEG for view in found):
                found.append(kept)
        if len({view.frame_of_reference_uid for view in found}) > 1:
            raise CaseError(
                "the inputs tell different frames of reference",
                code="frame_of_reference_mismatch",
                mend="register those of one frame: name them in inputs",
            )
        return found


def _accepted(answer: RegistrationAnswer, views: Sequence[LiveView]) -> AcceptedRegistration:
    if answer.covariance is None:
        raise CaseError("a registration without a covariance", code="bad_registration")
    return AcceptedRegistration(
        seen_lps_from_volume_lps=tuple(number for row in answer.seen_lps_from_volume_lps for number in row),
        pivot_lps_mm=answer.pivot_lps_mm,
        covariance=tuple(number for row in answer.covariance for number in row),
        residual_px=answer.residual_px,
        inputs=tuple(sorted({view.device for view in views})),
        views=tuple(tuple(view.view.pixel_from_patient.ravel().tolist()) for view in views),
        frame_of_reference_uid=views[0].frame_of_reference_uid,
    )


def _start_of(case: Case) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    if case.registration is None:
        return IDENTITY
    return np.array(case.registration.seen_lps_from_volume_lps).reshape(4, 4)


def _needed_volume(session: Session) -> CbctVolume:
    volume = active_volume(session)
    if volume is None or volume.state is not VolumeState.READY or not volume.shared_memory:
        raise CaseError("no active volume to register", code="no_active_volume", mend="send a CBCT first")
    return volume


def _apart_deg(one: LiveView, other: LiveView) -> float:
    cosine = float(one.view.pixel_from_patient[2, :3] @ other.view.pixel_from_patient[2, :3])
    return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))


def _picture_of(live: LiveView) -> ViewPicture:
    view = live.view
    rows, columns = view.pixels.shape
    return ViewPicture(
        name=view.name,
        pixels=view.pixels.tobytes(),
        dtype=view.pixels.dtype.str,
        rows=rows,
        columns=columns,
        pixel_from_patient=tuple(view.pixel_from_patient.ravel().tolist()),
        intensity=view.intensity,
        sign=view.sign,
        valid=None if view.valid is None else view.valid.tobytes(),
    )
