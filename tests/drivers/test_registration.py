"""Live registration beside the case: which pictures it takes, what stands against it, when it begins by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.audit_log import AuditLog
from drivers.case_store import CaseStore
from drivers.live import LiveCase
from drivers.planning_messages import RegisteredAnswer, RegistrationQuestion
from drivers.registration import RegistrationService
from guidance.case import Author, activate_volume, volume_changed
from guidance.errors import CaseError
from guidance.messages import CheckState, ImageCheck
from guidance.registration.answers import RegistrationAnswer, rows_of
from guidance.registration.request import RegistrationRequest
from guidance.registration.values import small_motion
from guidance.session import Session
from tests.helpers.live_session import MS, live_frame, planned_case, ready_volume

ADA = Author(via="http", operator="Ada")
MOVED = small_motion(np.array((5.0, 0.0, 0.0, 0.0, 0.0, 2.0)), np.zeros(3))


def found(*, accepted: bool = True) -> RegistrationAnswer:
    return RegistrationAnswer(
        accepted=accepted,
        reason="fits" if accepted else "another patient",
        code="" if accepted else "no_agreement",
        seen_lps_from_volume_lps=rows_of(MOVED),
        residual_px=0.4,
        residual_mm=0.1,
        covariance=rows_of(0.01 * np.eye(6)),
        pivot_lps_mm=(0.0, 0.0, 0.0),
        similarity=0.9,
        captured=1.0,
        time_s=0.5,
    )


class FakeProcess:
    """Answers what it is told to, when it is let."""

    def __init__(self) -> None:
        self.asked: list[RegistrationQuestion] = []
        self.answer = found()
        self.error: CaseError | None = None
        self.begun = asyncio.Event()
        self.let = asyncio.Event()
        self.let.set()
        self.meanwhile: Callable[[], object] = lambda: None

    async def ask(self, question: Any, _expected: type) -> Any:
        self.asked.append(question)
        self.begun.set()
        await self.let.wait()
        self.meanwhile()
        if self.error is not None:
            raise self.error
        return RegisteredAnswer(self.answer)


class Rig:
    """A live case with a clock of its own, and registration beside it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, automatic: bool = False) -> None:
        self.now_ms = 1000.0
        monkeypatch.setattr("time.monotonic_ns", lambda: round(self.now_ms * MS))
        self.process = FakeProcess()
        self.live = LiveCase(
            Session(case=planned_case(shared_memory="block")),
            CaseStore(folder),
            AuditLog(folder),
            undo_steps=10,
            draw=lambda effect, session: None,
            measure=lambda asked: None,
            publish_plan=lambda case: None,
            publish_zones=lambda zones: None,
            publish_needle_tip=lambda tip: None,
            publish_cement=lambda _: None,
            publish_alerts=lambda _, __: None,
            input_changed=lambda before, after: None,
            case_changed=lambda: None,
        )
        self.service = RegistrationService(self.process, self.live, automatic=automatic)
        self._number = 0

    def frame(self, device: str = "Fluoro", **metadata: str | None) -> None:
        self._number += 1
        self.now_ms += 33.0
        told = {f"XRay.{key}": text for key, text in metadata.items()}
        self.live.on_frame(live_frame(self._number, self.now_ms, device=device, metadata=told))

    async def register(self, *inputs: str, other_views_s: float = 0.0) -> RegistrationAnswer:
        return await self.service.register(RegistrationRequest(inputs=inputs, other_views_s=other_views_s), author=ADA)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(tmp_path, monkeypatch)


async def test_an_accepted_registration_is_in_force_stored_and_in_the_audit(rig: Rig, tmp_path: Path) -> None:
    rig.frame()
    epoch = rig.live.case().epoch
    answer = await rig.register()
    assert answer.accepted
    state = rig.service.registration()
    assert (state.registered, state.epoch, state.inputs) == (True, epoch + 1, ("Fluoro",))
    np.testing.assert_allclose(state.seen_lps_from_volume_lps, MOVED)
    stored, _ = CaseStore(tmp_path).load()
    assert stored.registration == rig.live.case().registration
    line = rig.live.audit().items[-1]
    assert (line.operator, line.epoch) == ("Ada", epoch + 1)
    assert "registration" in line.changes[0].after
    rig.service.drop(author=ADA)
    assert not rig.service.registration().registered
    assert rig.live.case().epoch == epoch + 2


async def test_the_next_one_begins_where_the_last_one_left_it(rig: Rig) -> None:
    rig.frame()
    await rig.register()
    rig.frame()
    await rig.register()
    np.testing.assert_allclose(np.array(rig.process.asked[0].start).reshape(4, 4), np.eye(4))
    np.testing.assert_allclose(np.array(rig.process.asked[1].start).reshape(4, 4), MOVED)
    # And the geometry is always the told one, without the registration in force.
    assert rig.process.asked[0].views[0].pixel_from_patient == rig.process.asked[1].views[0].pixel_from_patient


async def test_a_refused_registration_changes_nothing(rig: Rig) -> None:
    rig.frame()
    rig.process.answer = found(accepted=False)
    before = rig.live.case()
    assert not (await rig.register()).accepted
    assert rig.live.case() is before
    assert rig.live.counters["registration_no_agreement"] == 1


async def test_pictures_are_named_live_and_of_one_frame(rig: Rig) -> None:
    with pytest.raises(CaseError) as refused:
        await rig.register()
    assert refused.value.code == "no_view"
    rig.frame("FluoroA")
    with pytest.raises(CaseError) as refused:
        await rig.register("FluoroB")
    assert refused.value.code == "unknown_input"
    rig.frame("FluoroB", Live="0")
    with pytest.raises(CaseError) as refused:
        await rig.register("FluoroB")
    assert (refused.value.code, "HELD" in str(refused.value)) == ("no_view", True)
    await rig.register()  # the one that is live
    assert [view.name for view in rig.process.asked[-1].views] == ["FluoroA"]
    rig.frame("FluoroA")
    rig.frame("FluoroB", FrameOfReferenceUID="9.9")
    with pytest.raises(CaseError) as refused:
        await rig.register()
    assert refused.value.code == "frame_of_reference_mismatch"


async def test_a_stream_of_another_frame_can_be_registered_and_only_that_one_is(rig: Rig) -> None:
    rig.frame(FrameOfReferenceUID="9.9")
    assert rig.live.session.inputs["Fluoro"].verdict.code == "frame_of_reference_mismatch"
    await rig.register()
    rig.frame(FrameOfReferenceUID="9.9")
    assert rig.live.session.inputs["Fluoro"].verdict.pixel_from_patient is not None
    rig.frame()
    assert rig.live.session.inputs["Fluoro"].verdict.code == "frame_of_reference_mismatch"


async def test_what_has_changed_meanwhile_is_not_overwritten(rig: Rig) -> None:
    rig.frame()
    other = ready_volume(id="v2", series_instance_uid="5.5", shared_memory="other", frame_of_reference_uid="5")

    def another_volume() -> None:
        rig.live.edit(lambda case: (activate_volume(volume_changed(case, other), "v2"), None), author=ADA)

    rig.process.meanwhile = another_volume
    with pytest.raises(CaseError) as refused:
        await rig.register()
    assert refused.value.code == "case_changed"
    assert rig.live.case().registration is None
    assert rig.live.case().active_volume_id == "v2"


async def test_one_at_a_time_and_an_error_leaves_the_way_free(rig: Rig) -> None:
    rig.frame()
    rig.process.let.clear()
    first = asyncio.create_task(rig.register())
    await rig.process.begun.wait()
    assert rig.service.registration().running
    with pytest.raises(CaseError) as refused:
        await rig.register()
    assert refused.value.code == "registration_running"
    rig.process.error = CaseError("the planning process ended", code="planning_ended")
    rig.process.let.set()
    with pytest.raises(CaseError):
        await first
    rig.process.error = None
    assert (await rig.register()).accepted


async def test_a_single_c_arm_registers_from_views_in_turn_if_asked(rig: Rig) -> None:
    for angle in ("0", "3", "60"):
        rig.frame(PrimaryAngleDeg=angle)
        rig.service.tick()
    await rig.register()
    assert len(rig.process.asked[-1].views) == 1
    rig.service.drop(author=ADA)
    for angle in ("0", "3", "60"):
        rig.frame(PrimaryAngleDeg=angle)
        rig.service.tick()
    await rig.register(other_views_s=30.0)
    # 0 gave way to 3, which is next to it.
    assert len(rig.process.asked[-1].views) == 2
    # A registration has begun since: what was seen before it is not mixed in.
    rig.frame(PrimaryAngleDeg="60")
    rig.service.tick()
    await rig.register(other_views_s=30.0)
    assert len(rig.process.asked[-1].views) == 1


async def test_old_views_are_not_used(rig: Rig) -> None:
    rig.frame(PrimaryAngleDeg="0")
    rig.service.tick()
    rig.now_ms += 60_000.0
    rig.frame(PrimaryAngleDeg="60")
    await rig.register(other_views_s=30.0)
    assert len(rig.process.asked[-1].views) == 1


async def test_it_begins_by_itself_only_where_it_may_and_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = ImageCheck(state=CheckState.CONTRADICTS, code="patient_moved", registration_offered=True)
    for automatic in (False, True):
        rig = Rig(tmp_path / str(automatic), monkeypatch, automatic=automatic)
        rig.frame()
        track = rig.live.session.inputs["Fluoro"]
        rig.service.input_changed(track)
        moved = replace(track, verdict=replace(track.verdict, check=offered))
        rig.service.input_changed(moved)
        rig.service.input_changed(moved)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(rig.process.asked) == int(automatic)
        assert (rig.live.case().registration is not None) is automatic
        await rig.service.stop()


async def test_by_itself_it_registers_at_most_once_in_five_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = ImageCheck(state=CheckState.CONTRADICTS, code="patient_breathes", registration_offered=True)
    rig = Rig(tmp_path, monkeypatch, automatic=True)
    rig.frame()
    track = rig.live.session.inputs["Fluoro"]
    moved = replace(track, verdict=replace(track.verdict, check=offered))
    for asked in (1, 1, 1, 2):
        rig.service.input_changed(moved)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(rig.process.asked) == asked
        rig.now_ms += 2000.0
        rig.frame()
    await rig.service.stop()
