"""Cement in the session: started against live frames, followed frame by frame, told before it is drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from guidance.case import accept_registration, create_zone
from guidance.cement.progress import with_frame
from guidance.config import CementSettings
from guidance.errors import CaseError
from guidance.messages import (
    CementMaterial,
    CementSeen,
    CementState,
    CementView,
    InjectorReading,
    SiteInView,
    SiteStatus,
)
from guidance.session import (
    AlertAcknowledged,
    CaseEdited,
    CementStarted,
    CementStopped,
    ConnectionClosed,
    DrawFrame,
    Effect,
    FrameArrived,
    FrameMeasured,
    InjectorTold,
    MeasureFrame,
    PublishAlerts,
    PublishCement,
    Session,
    Tick,
)
from guidance.session.poses import live_view
from tests.guidance.test_session_measured import answer, shifted, transforms, watched, without_geometry
from tests.helpers.live_session import after, drawn, live_frame, planned_case

STEP_MS = 66.0
START = CementStarted(material=CementMaterial(opacity_per_mm=0.06))
ZONE = {
    "name": "S1 left",
    "site": "foramen",
    "side": "left",
    "kind": "keep_out",
    "shape": {"type": "sphere", "center_lps_mm": [20.0, 0.0, 0.0], "radius_mm": 5.0},
}


def streaming(frames: int, **changes: Any) -> tuple[Session, float]:
    """A session with one zone after so many live frames, and the time of the last."""
    case, _ = create_zone(planned_case(), ZONE)
    session, at_ms = Session(case=case), 0.0
    for number in range(frames):
        at_ms = number * STEP_MS
        session, _ = after(session, (FrameArrived(live_frame(number, at_ms, **changes)), at_ms))
    return session, at_ms


def asked_of(effects: list[Effect]) -> MeasureFrame:
    (asked,) = [effect for effect in effects if isinstance(effect, MeasureFrame)]
    return asked


def followed(asked: MeasureFrame, *, distance_px: float | None = None, seen: bool = True) -> FrameMeasured:
    """The answer of a tracker that sees a square of cement, and how far it is from the zone."""
    assert asked.cement is not None
    frame = asked.cement.frame
    mask = np.zeros(frame.pixels.shape, np.uint8)
    mask[500:520, 500:520] = 1
    view = CementView(
        device=frame.device,
        sequence=frame.sequence,
        frame_number=frame.frame_number,
        received_ns=frame.received_ns,
        time_s=(frame.time_ns - asked.cement.run.started_ns) / 1e9,
        seen=seen,
        code="" if seen else "black",
        reason="" if seen else "the picture is black",
        pixel_from_patient=frame.pixel_from_patient,
        mm_per_px=0.1875 if frame.pixel_from_patient is not None else None,
        mask=mask if seen else None,
        area_px=400.0,
    )
    sites = (SiteInView(zone_id="Z1", distance_px=distance_px, sigma_px=1.0, overlap_px=50.0 if distance_px else 0.0),)
    return FrameMeasured(
        track=asked.track,
        pixel_from_patient=asked.pixel_from_patient,
        watch=asked.watch,
        measurement=None,
        cement=CementSeen(run=asked.cement.run.number, view=view, sites=sites if seen else ()),
    )


def follow(session: Session, number: int, at_ms: float, **changes: Any) -> tuple[Session, list[Effect]]:
    session, effects = after(session, (FrameArrived(live_frame(number, at_ms)), at_ms))
    return after(session, (followed(asked_of(effects), **changes), at_ms))


def started() -> tuple[Session, float]:
    session, at_ms = streaming(6)
    session, _ = after(session, (START, at_ms + 1))
    return session, at_ms


def test_a_start_without_live_frames_is_refused_and_says_what_is_needed() -> None:
    session, at_ms = streaming(4)
    with pytest.raises(CaseError) as caught:
        after(session, (START, at_ms))
    assert caught.value.code == "no_reference"
    assert "Fluoro has sent 4" in str(caught.value)
    assert session.cement.state is CementState.IDLE


def test_held_frames_are_no_reference() -> None:
    session, at_ms = streaming(8, metadata={"XRay.Live": "0"})
    with pytest.raises(CaseError, match="Fluoro has sent 0"):
        after(session, (START, at_ms))


def test_frames_of_another_size_begin_the_reference_anew() -> None:
    session, at_ms = streaming(6)
    small = live_frame(6, at_ms + 66, pixels=np.full((512, 512), 7, np.uint16))
    session, _ = after(session, (FrameArrived(small), at_ms + 66))
    with pytest.raises(CaseError, match="Fluoro has sent 1"):
        after(session, (START, at_ms + 70))


def test_live_frames_before_the_start_are_handed_on_and_none_after_it() -> None:
    session, at_ms = streaming(5)
    session, effects = after(session, (FrameArrived(live_frame(5, at_ms + 66)), at_ms + 66))
    (draw,) = drawn(effects)
    assert draw.reference is not None
    assert draw.reference.sequence == 5
    session, _ = after(session, (START, at_ms + 67))
    _, effects = follow(session, 6, at_ms + 132)
    assert drawn(effects)[0].reference is None


def test_a_second_start_is_refused_and_the_first_goes_on() -> None:
    session, at_ms = started()
    with pytest.raises(CaseError) as caught:
        after(session, (START, at_ms + 2))
    assert caught.value.code == "already_tracking"
    session, _ = follow(session, 6, at_ms + 66)
    assert session.cement.state is CementState.TRACKING
    session, _ = after(session, (CementStopped(), at_ms + 70), (START, at_ms + 71))
    assert session.cement.run is not None
    assert session.cement.run.number == 2


def test_each_frame_is_asked_for_cement_and_its_state_is_told_before_it_is_drawn() -> None:
    session, at_ms = started()
    session, effects = after(session, (FrameArrived(live_frame(6, at_ms + 66)), at_ms + 66))
    asked = asked_of(effects)
    assert not drawn(effects)
    assert asked.cement is not None
    assert asked.track.frame is not None
    assert asked.cement.frame.pixels is asked.track.frame.pixels
    session, effects = after(session, (followed(asked, distance_px=40.0), at_ms + 70))
    kinds = [type(effect) for effect in effects]
    assert kinds.index(PublishCement) < kinds.index(DrawFrame)
    assert session.cement.frame_number == 6
    assert session.inputs["Fluoro"].cement is not None
    (site,) = session.cement.sites
    assert site.zone_id == "Z1"
    assert site.distance_mm == pytest.approx(40 * 0.1875, abs=0.5)


def test_what_the_tracker_says_of_a_former_run_is_not_taken() -> None:
    session, at_ms = started()
    session, effects = after(session, (FrameArrived(live_frame(6, at_ms + 66)), at_ms + 66))
    late = followed(asked_of(effects))
    session, effects = after(session, (CementStopped(), at_ms + 67), (late, at_ms + 70))
    assert session.cement.state is CementState.IDLE
    assert session.inputs["Fluoro"].cement is None
    assert len(drawn(effects)) == 1


def test_cement_is_followed_in_pixels_where_geometry_is_withheld_and_no_distance_is_told() -> None:
    session, at_ms = started()
    session = replace(session, case=replace(session.case, epoch=session.case.epoch))
    bare = live_frame(6, at_ms + 66)
    bare = replace(bare, metadata={"XRay.FrameNumber": "6"})
    session, effects = after(session, (FrameArrived(bare), at_ms + 66))
    asked = asked_of(effects)
    assert asked.pixel_from_patient is None
    assert asked.cement is not None
    assert asked.cement.frame.pixel_from_patient is None
    session, _ = after(session, (followed(asked), at_ms + 70))
    assert session.cement.state is CementState.TRACKING
    assert session.cement.sites[0].distance_mm is None
    assert session.cement.sites[0].status is None
    assert session.cement.area_mm2 is None


def test_held_frames_are_not_followed_and_a_gap_pauses() -> None:
    session, at_ms = started()
    session, _ = follow(session, 6, at_ms + 66)
    held = live_frame(7, at_ms + 132, metadata={"XRay.Live": "0"})
    session, effects = after(session, (FrameArrived(held), at_ms + 132))
    assert not [effect for effect in effects if isinstance(effect, MeasureFrame)]
    session, effects = after(session, (Tick(), at_ms + 1000))
    assert session.cement.state is CementState.PAUSED
    assert [draw.again for draw in drawn(effects)] == [True]
    session, effects = after(session, (Tick(), at_ms + 1010))
    assert not drawn(effects)
    session, _ = follow(session, 8, at_ms + 1066)
    assert session.cement.state is CementState.TRACKING


def test_pictures_in_which_cement_cannot_be_told_lose_it_until_one_can() -> None:
    session, at_ms = started()
    session, _ = follow(session, 6, at_ms + 66)
    session, _ = follow(session, 7, at_ms + 132, seen=False)
    assert session.cement.state is CementState.LOST
    assert "black" in session.cement.reason
    session, _ = follow(session, 8, at_ms + 198)
    assert session.cement.state is CementState.TRACKING


def test_an_overlap_raises_an_alert_that_stays_until_it_is_acknowledged() -> None:
    session, at_ms = started()
    told = []
    for number in range(6, 12):
        session, effects = follow(session, number, at_ms + 66 * (number - 5), distance_px=-20.0)
        told += [effect for effect in effects if isinstance(effect, PublishAlerts)]
    assert session.cement.sites[0].status is SiteStatus.CONTACT_POSSIBLE
    assert told
    (alert,) = [each for each in session.alerts.alerts if each.condition.zone_id == "Z1"]
    assert alert.condition.frame_number is not None
    session, _ = after(session, (CementStopped(), at_ms + 900))
    assert [each.id for each in session.alerts.alerts if not each.present] == [
        each.id for each in session.alerts.alerts
    ]
    with pytest.raises(CaseError) as caught:
        after(session, (AlertAcknowledged("A99", "nurse"), at_ms + 901))
    assert caught.value.code == "unknown_alert"
    for each in session.alerts.alerts:
        session, effects = after(session, (AlertAcknowledged(each.id, "nurse"), at_ms + 902))
        assert [effect for effect in effects if isinstance(effect, PublishAlerts)]
    assert session.alerts.alerts == ()


def test_a_new_zone_is_listed_at_once_with_what_is_not_known_of_it() -> None:
    session, at_ms = started()
    session, _ = follow(session, 6, at_ms + 66, distance_px=40.0)
    case, _ = create_zone(session.case, ZONE | {"name": "S1 right"})
    session, _ = after(session, (CaseEdited(case), at_ms + 70))
    assert [site.zone_id for site in session.cement.sites] == ["Z1", "Z2"]
    assert session.cement.sites[1].distance_mm is None
    assert session.cement.sites[1].reason


def test_registration_does_not_compare_cement_with_a_volume_from_before_it() -> None:
    session, at_ms = started()
    assert live_view(session, session.inputs["Fluoro"], round(at_ms * 1e6)).view.valid is None
    session, _ = follow(session, 6, at_ms + 66)
    valid = live_view(session, session.inputs["Fluoro"], round((at_ms + 66) * 1e6)).view.valid
    assert valid is not None
    assert not valid[495:525, 500:520].any()
    assert valid[:480].all()


def test_the_injector_is_heard_without_a_run_and_counts_from_the_start() -> None:
    session, at_ms = streaming(6)

    def reading(volume_ml: float, at: float) -> InjectorTold:
        told = InjectorReading(
            volume_ml=volume_ml,
            flow_ml_s=None,
            pressure_bar=None,
            elapsed_s=None,
            running=True,
            received_ns=int(at * 1e6),
        )
        return InjectorTold(told)

    session, _ = after(session, (reading(1.0, at_ms), at_ms), (START, at_ms + 1))
    session, _ = after(session, (reading(1.5, at_ms + 50), at_ms + 50))
    assert session.cement.injector.delivered_ml == pytest.approx(0.5)


def test_steps_between_frames_are_the_senders_where_its_clock_goes_on() -> None:
    session, at_ms = streaming(6)
    before = session.inputs["Fluoro"].taken_ns
    late = replace(live_frame(6, at_ms + 66), received_ns=round((at_ms + 90) * 1e6))
    session, _ = after(session, (FrameArrived(late), at_ms + 90))
    assert session.inputs["Fluoro"].taken_ns - before == pytest.approx(66e6, abs=10)
    set_back = replace(live_frame(7, -1e6), received_ns=round((at_ms + 140) * 1e6))
    session, _ = after(session, (FrameArrived(set_back), at_ms + 140))
    assert session.inputs["Fluoro"].taken_ns - before == pytest.approx(66e6 + 50e6, abs=10)


def test_a_closed_connection_leaves_the_run_paused_and_nothing_lost() -> None:
    session, at_ms = started()
    session, _ = follow(session, 6, at_ms + 66, distance_px=40.0)
    session, _ = after(session, (ConnectionClosed(1), at_ms + 70), (Tick(), at_ms + 900))
    assert session.cement.state is CementState.PAUSED
    assert session.cement.sites[0].zone_id == "Z1"
    assert session.cement.run is not None


def test_after_a_registration_no_distance_of_the_former_one_is_told() -> None:
    session, at_ms = started()
    session, _ = follow(session, 6, at_ms + 66, distance_px=40.0)
    assert session.cement.sites[0].distance_mm is not None
    case = accept_registration(session.case, shifted(5.0))
    session, effects = after(session, (CaseEdited(case), at_ms + 70))
    (site,) = session.cement.sites
    assert (site.distance_mm, site.status, site.clearance_left_mm) == (None, None, None)
    assert "registration" in site.reason
    assert all(one.distance_px is None for one in session.cement.seen["Fluoro"].sites)
    assert any(isinstance(effect, PublishCement) for effect in effects)
    session, effects = after(session, (FrameArrived(live_frame(7, at_ms + 132)), at_ms + 132))
    asked = asked_of(effects)
    assert asked.cement is not None
    assert asked.cement.scene.epoch == case.epoch
    session, _ = after(session, (followed(asked, distance_px=80.0), at_ms + 140))
    # The new one counts from its first frame, with no speed out of the step between both.
    assert session.cement.sites[0].distance_mm == pytest.approx(80 * 0.1875, abs=0.5)
    assert session.cement.sites[0].time_to_contact_s is None


def test_a_stop_and_a_pause_that_a_reading_brings_are_drawn_on_every_screen() -> None:
    session, at_ms = started()
    session, _ = follow(session, 6, at_ms + 66, distance_px=40.0)
    told = InjectorReading(
        volume_ml=1.0,
        flow_ml_s=None,
        pressure_bar=None,
        elapsed_s=None,
        running=True,
        received_ns=int((at_ms + 1000) * 1e6),
    )
    session, effects = after(session, (InjectorTold(told), at_ms + 1000))
    assert session.cement.state is CementState.PAUSED
    assert [draw.again for draw in drawn(effects)] == [True]
    session, effects = after(session, (CementStopped(), at_ms + 1010))
    assert [draw.again for draw in drawn(effects)] == [True]
    assert drawn(effects)[0].track.cement is None
    assert session.inputs["Fluoro"].cement is None
    session, effects = after(session, (CementStopped(), at_ms + 1020))
    assert not effects


def test_geometry_that_comes_after_its_picture_gives_the_distances_of_that_picture() -> None:
    session, at_ms = started()
    session, effects = after(session, (FrameArrived(live_frame(6, at_ms + 66)), at_ms + 66))
    with_geometry = followed(asked_of(effects), distance_px=40.0)
    assert with_geometry.cement is not None
    view = replace(with_geometry.cement.view, pixel_from_patient=None, mm_per_px=None)
    first = replace(with_geometry.cement, view=view, sites=())
    known = with_frame(
        session.cement, first, session.case.zones, interval_ns=0, now_ns=view.received_ns, settings=CementSettings()
    )
    assert known.sites[0].distance_mm is None
    for _ in range(2):
        known = with_frame(
            known,
            with_geometry.cement,
            session.case.zones,
            interval_ns=0,
            now_ns=view.received_ns,
            settings=CementSettings(),
        )
        assert known.sites[0].distance_mm == pytest.approx(40 * 0.1875, abs=0.5)
        look = known.inputs["Fluoro"].look
        assert look is not None
        assert look.approaches["Z1"].count == 1


def test_cement_in_a_frame_that_was_long_in_the_work_is_told_though_its_input_is_silent_by_then() -> None:
    session, at_ms = started()
    session, effects = after(session, (FrameArrived(live_frame(6, at_ms + STEP_MS)), at_ms + STEP_MS))
    asked = asked_of(effects)
    late_ms = at_ms + STEP_MS + 2500.0
    session, _ = after(session, (Tick(), late_ms))
    assert session.inputs["Fluoro"].silent
    session, _ = after(session, (followed(asked, distance_px=40.0), late_ms + 10.0))
    assert session.inputs["Fluoro"].silent
    seen = session.cement.seen["Fluoro"]
    assert asked.track.frame is not None
    assert seen.view.sequence == asked.track.frame.sequence
    assert session.cement.state is CementState.PAUSED
    # Its geometry was not held against its picture in time: no distance is told of it.
    assert all(site.distance_px is None for site in seen.sites)
    number = seen.view.sequence
    session, _ = after(session, (followed(asked, distance_px=40.0), late_ms + 20.0))
    assert session.cement.seen["Fluoro"].view.sequence == number


def test_cement_waits_for_geometry_that_comes_after_each_picture_and_so_has_a_pose_that_stands() -> None:
    session, at_ms = watched(), 0.0
    references = []
    for number in range(1, 8):
        at_ms = number * STEP_MS
        session, effects = after(session, (FrameArrived(without_geometry(number, at_ms)), at_ms))
        references += [draw.reference for draw in drawn(effects)]
        session, effects = after(session, *transforms(at_ms))
        session, effects = after(session, (answer(asked_of(effects)), at_ms + 3))
        references += [draw.reference for draw in drawn(effects)]
    # The first picture could not know that its geometry would come; then there is one of each, with its pose.
    kept = [reference for reference in references if reference is not None]
    assert [frame.sequence for frame in kept] == [1, 1, *range(2, 8)]
    assert all(frame.pose is not None and frame.steady for frame in kept[2:])
    session, _ = after(session, (START, at_ms + 5))
    for number in (8, 9):
        at_ms = number * STEP_MS
        session, effects = after(session, (FrameArrived(without_geometry(number, at_ms)), at_ms))
        assert not [effect for effect in effects if isinstance(effect, MeasureFrame)]
        session, effects = after(session, *transforms(at_ms))
        asked = asked_of(effects)
        assert asked.cement is not None
        assert asked.cement.frame.pose is not None
        assert asked.cement.frame.steady
        session, effects = after(session, (followed(asked, distance_px=40.0), at_ms + 3))
        assert drawn(effects)[0].track.cement is not None
    # Where it stays away the next picture is not kept waiting for it: cement is followed by the picture alone.
    session, _ = after(session, (FrameArrived(without_geometry(10, at_ms + 66)), at_ms + 66))
    session, effects = after(session, (FrameArrived(without_geometry(11, at_ms + 132)), at_ms + 132))
    asked = asked_of(effects)
    assert asked.cement is not None
    assert asked.cement.frame.pose is None
