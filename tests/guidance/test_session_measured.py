"""Every frame is held against the volume before anything is shown of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from guidance.case import accept_registration, delete_path, drop_registration
from guidance.consistency.measurement import Measurement
from guidance.consistency.volume import WatchVolume, watch_volume
from guidance.messages import AcceptedRegistration, CheckState, FluoroFrame, GeometryState, TransformSample
from guidance.registration.values import small_motion
from guidance.session import (
    CaseEdited,
    ConnectionClosed,
    DrawFrame,
    FrameArrived,
    FrameMeasured,
    InputChanged,
    MeasureFrame,
    Planned,
    PlanWorkedOut,
    Session,
    Tick,
    TransformArrived,
    watch_key,
)
from guidance.tracking.known_metal import NO_METAL
from tests.helpers.live_session import GEOMETRY, MS, after, drawn, live_frame, planned_case, stamp

AGREES = Measurement(
    picture_shows=0.9,
    projection_shows=0.5,
    xray_like=True,
    compared=0.3,
    similarity=0.95,
    similarity_told=0.95,
    residual_px=0.2,
    residual_mm=0.05,
    sigma_mm=0.02,
    offset=(0.0,) * 6,
    shift_mm=(0.0, 0.0),
)
FAR_OFF = replace(AGREES, residual_px=40.0, residual_mm=8.0, shift_mm=(8.0, 0.0), offset=(8.0, 0, 0, 0, 0, 0))


def small_volume() -> WatchVolume:
    return watch_volume(np.zeros((20, 20, 20), np.int16), np.diag([5.0, 5.0, 5.0, 1.0]))


def watched() -> Session:
    """A session with a volume to hold frames against."""
    session = Session(case=planned_case())
    planned = Planned(watch=(watch_key(session.case), small_volume(), NO_METAL))
    session, _ = after(session, (PlanWorkedOut(planned), 0))
    return session


def answer(asked: MeasureFrame, measurement: Measurement = AGREES) -> FrameMeasured:
    return FrameMeasured(
        track=asked.track, pixel_from_patient=asked.pixel_from_patient, watch=asked.watch, measurement=measurement
    )


def measured(session: Session, number: int, ms: float, measurement: Measurement = AGREES) -> tuple[Session, list[Any]]:
    session, [asked] = after(session, (FrameArrived(live_frame(number, ms)), ms))
    return after(session, (answer(asked, measurement), ms + 1))


def test_a_frame_is_measured_before_anything_is_known_or_drawn_of_it() -> None:
    session, effects = after(watched(), (FrameArrived(live_frame(1, 100)), 100))
    [asked] = effects
    assert isinstance(asked, MeasureFrame)
    assert "Fluoro" not in session.inputs
    session, effects = after(session, (answer(asked), 102))
    assert [type(effect) for effect in effects] == [DrawFrame, InputChanged]
    track = session.inputs["Fluoro"]
    assert (track.verdict.state, track.verdict.check.state) == (GeometryState.TRUSTED, CheckState.AGREES)
    assert session.pending == {}


def test_a_picture_that_contradicts_its_geometry_is_drawn_without_paths() -> None:
    session, _ = measured(watched(), 1, 100)
    session, effects = measured(session, 2, 133, FAR_OFF)
    [effect] = drawn(effects)
    assert effect.track.verdict.state is GeometryState.WITHHELD
    assert effect.track.verdict.pixel_from_patient is None
    assert not any(place.drawn for place in effect.track.places)
    assert session.inputs["Fluoro"].verdict.check.registration_offered


def test_the_last_settled_frame_stays_the_newest_until_the_next_is_measured() -> None:
    session, _ = measured(watched(), 1, 100)
    session, _ = after(session, (FrameArrived(live_frame(2, 133)), 133))
    assert session.inputs["Fluoro"].frame_number == 1
    assert session.pending["Fluoro"].frame_number == 2


def test_frames_that_come_faster_than_they_are_measured_are_still_shown() -> None:
    session = watched()
    session, [first] = after(session, (FrameArrived(live_frame(1, 100, sequence=1)), 100))
    session, [second] = after(session, (FrameArrived(live_frame(2, 110, sequence=2)), 110))
    session, effects = after(session, (answer(first), 115))
    assert drawn(effects)
    assert session.inputs["Fluoro"].frame_number == 1
    session, effects = after(session, (answer(second), 120))
    assert session.inputs["Fluoro"].frame_number == 2
    assert session.pending == {}


def test_a_frame_that_was_measured_late_never_takes_the_place_of_a_later_one() -> None:
    session = watched()
    session, [first] = after(session, (FrameArrived(live_frame(1, 100, sequence=1)), 100))
    held = live_frame(2, 110, sequence=2, metadata={"XRay.Live": "0"})
    session, _ = after(session, (FrameArrived(held), 110))
    assert session.inputs["Fluoro"].verdict.code == "held"
    session, effects = after(session, (answer(first), 115))
    assert effects == []
    assert session.inputs["Fluoro"].verdict.code == "held"


def test_what_is_told_wrong_needs_no_measuring_and_is_withheld_at_once() -> None:
    wrong = live_frame(1, 100, metadata={"XRay.FrameOfReferenceUID": "9.9"})
    session, effects = after(watched(), (FrameArrived(wrong), 100))
    assert [type(effect) for effect in effects] == [DrawFrame, InputChanged]
    assert session.inputs["Fluoro"].verdict.code == "frame_of_reference_mismatch"


def test_an_input_that_was_closed_meanwhile_does_not_come_back_to_life() -> None:
    session, _ = measured(watched(), 1, 100)
    session, [asked] = after(session, (FrameArrived(live_frame(2, 133)), 133))
    session, _ = after(session, (ConnectionClosed(1), 134))
    assert session.pending == {}
    session, effects = after(session, (answer(asked), 135))
    assert effects == []
    assert session.inputs["Fluoro"].silent


def test_a_registration_accepted_while_a_frame_is_measured_has_it_measured_again() -> None:
    session, _ = measured(watched(), 1, 100)
    session, [asked] = after(session, (FrameArrived(live_frame(2, 133)), 133))
    session, _ = after(session, (CaseEdited(accept_registration(session.case, shifted(5.0))), 134))
    session, [again] = after(session, (answer(asked), 135))
    assert isinstance(again, MeasureFrame)
    assert again.pixel_from_patient != asked.pixel_from_patient
    session, effects = after(session, (answer(again), 137))
    assert drawn(effects)[0].track.measured_with == again.pixel_from_patient


def test_a_registration_moves_where_paths_fall_and_its_end_moves_them_back() -> None:
    session, _ = measured(watched(), 1, 100)
    before = session.inputs["Fluoro"].places[0].entry_px
    session, effects = after(session, (CaseEdited(accept_registration(session.case, shifted(6.0))), 110))
    # What was found of the picture was found for another place: nothing of it is told of this one.
    assert drawn(effects)[0].track.verdict.check.state is CheckState.UNCHECKED
    session, _ = measured(session, 2, 133)
    after_it = session.inputs["Fluoro"].places[0].entry_px
    assert before is not None
    assert after_it is not None
    # 6 mm to the left at 750 of 1200 mm, 0.3 mm pixels.
    assert after_it[0] - before[0] == pytest.approx(6.0 * 1200 / 750 / 0.3)
    assert after_it[1] == pytest.approx(before[1])
    session, _ = after(session, (CaseEdited(drop_registration(session.case)), 140))
    session, _ = measured(session, 3, 166)
    assert session.inputs["Fluoro"].places[0].entry_px == before


def test_a_registration_is_true_for_the_frame_it_was_made_in_and_no_other() -> None:
    session = watched()
    case = accept_registration(session.case, replace(shifted(6.0), frame_of_reference_uid="7.7"))
    session, _ = after(session, (CaseEdited(case), 90))
    session, _ = after(session, (FrameArrived(live_frame(1, 100)), 100))
    assert session.inputs["Fluoro"].verdict.code == "frame_of_reference_mismatch"
    other = live_frame(2, 133, metadata={"XRay.FrameOfReferenceUID": "7.7"})
    session, [asked] = after(session, (FrameArrived(other), 133))
    session, _ = after(session, (answer(asked), 134))
    assert session.inputs["Fluoro"].verdict.state is GeometryState.TRUSTED


def test_history_ends_with_the_registration() -> None:
    session, _ = measured(watched(), 1, 100, FAR_OFF)
    session, _ = after(session, (CaseEdited(accept_registration(session.case, shifted(8.0))), 110))
    session, _ = measured(session, 2, 133)
    check = session.inputs["Fluoro"].verdict.check
    assert (check.state, check.residual_mm) == (CheckState.AGREES, AGREES.residual_mm)


def test_without_a_volume_to_hold_it_against_the_picture_says_that_it_is_unchecked() -> None:
    _, effects = after(Session(case=planned_case()), (FrameArrived(live_frame(1, 100)), 100))
    verdict = drawn(effects)[0].track.verdict
    assert (verdict.state, verdict.check.state) == (GeometryState.TRUSTED, CheckState.UNCHECKED)


def without_geometry(number: int, ms: float) -> FluoroFrame:
    keys = ("PrimaryAngleDeg", "SecondaryAngleDeg", "SourceToDetectorMm", "SourceToIsocenterMm", "IsocenterLpsMm")
    metadata = {f"XRay.{key}": None for key in keys}
    return live_frame(number, ms, pixel_pitch_mm=(0.3, 0.3), metadata=metadata)


def transforms(ms: float) -> list[tuple[Any, float]]:
    """Detector and source of a picture taken at that time: at 0/0, 750 mm and 450 mm from the isocentre."""
    detector, source = np.eye(4), np.eye(4)
    detector[:3, 0], detector[:3, 1], detector[:3, 2] = (1, 0, 0), (0, 0, -1), (0, 1, 0)
    detector[:3, 3], source[:3, 3] = (-153.45, -450.0, 153.45), (0.0, 750.0, 0.0)
    ras_from_lps = np.diag((-1.0, -1.0, 1.0, 1.0))
    return [
        (
            TransformArrived(
                TransformSample(
                    name=name,
                    matrix=ras_from_lps @ matrix,
                    timestamp_igtl=stamp(ms),
                    received_ns=round(ms * MS),
                    connection_id=1,
                )
            ),
            ms + 1,
        )
        for name, matrix in (("DetectorToPatient", detector), ("SourceToPatient", source))
    ]


def test_a_picture_whose_geometry_comes_after_it_is_held_against_the_volume_too() -> None:
    session, effects = after(watched(), (FrameArrived(without_geometry(1, 100)), 100))
    assert not any(place.drawn for place in drawn(effects)[0].track.places)
    session, effects = after(session, *transforms(100))
    [asked] = effects
    session, _ = after(session, (CaseEdited(accept_registration(session.case, shifted(0.0))), 101))
    session, effects = after(session, (answer(asked), 102))
    [draw] = drawn(effects)
    assert (draw.again, draw.track.verdict.check.state) == (True, CheckState.AGREES)
    assert session.pending == {}
    session, _ = after(session, (FrameArrived(without_geometry(2, 133)), 133))
    session, [asked] = after(session, *transforms(133))
    session, effects = after(session, (answer(asked, FAR_OFF), 136))
    assert drawn(effects)[0].track.verdict.state is GeometryState.WITHHELD
    assert "moving" not in session.inputs["Fluoro"].verdict.reason


def test_after_another_registration_a_picture_is_not_shown_by_what_it_was_never_held_against() -> None:
    session, _ = measured(watched(), 1, 100)
    session, effects = after(session, (CaseEdited(accept_registration(session.case, shifted(8.0))), 110))
    assert drawn(effects)[0].track.verdict.code == "registration_changed"
    session, effects = after(session, (CaseEdited(delete_path(session.case, session.case.paths[0].id)), 112))
    assert session.inputs["Fluoro"].verdict.state is GeometryState.WITHHELD
    session, _ = measured(session, 2, 133)
    assert session.inputs["Fluoro"].verdict.check.state is CheckState.AGREES


def test_switched_off_it_measures_nothing() -> None:
    session = watched()
    session = replace(session, consistency=replace_settings(session, enabled=False))
    _, effects = after(session, (FrameArrived(live_frame(1, 100)), 100))
    assert drawn(effects)[0].track.verdict.check.state is CheckState.UNCHECKED


def test_a_picture_grows_old_while_it_is_measured() -> None:
    session, [asked] = after(watched(), (FrameArrived(live_frame(1, 100)), 100))
    session, effects = after(session, (answer(asked), 100 + 900))
    assert drawn(effects)[0].track.verdict.code == "stale"


def test_a_tick_does_not_bring_back_what_the_picture_contradicted() -> None:
    session, _ = measured(watched(), 1, 100, FAR_OFF)
    session, _ = after(session, (Tick(), 150))
    assert session.inputs["Fluoro"].verdict.state is GeometryState.WITHHELD


def shifted(left_mm: float) -> AcceptedRegistration:
    motion = small_motion(np.array((left_mm, 0.0, 0.0, 0.0, 0.0, 0.0)), np.zeros(3))
    return AcceptedRegistration(
        seen_lps_from_volume_lps=tuple(motion.ravel().tolist()),
        pivot_lps_mm=(0.0, 0.0, 0.0),
        covariance=tuple((0.01 * np.eye(6)).ravel().tolist()),
        frame_of_reference_uid=GEOMETRY["XRay.FrameOfReferenceUID"],
    )


def replace_settings(session: Session, **changes: Any) -> Any:
    return type(session.consistency)(**({"enabled": True} | changes))
