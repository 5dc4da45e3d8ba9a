"""Faults in time and identity: what must not be drawn although each frame by itself looks sound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from guidance.case import (
    activate_volume,
    case_from_json,
    case_to_json,
    confirm_shared_frame,
    create_path,
    delete_path,
    new_case,
    volume_changed,
)
from guidance.messages import FluoroFrame, GeometryState, TransformSample, VolumeState
from guidance.session import (
    CaseEdited,
    FrameArrived,
    Session,
    Tick,
    TransformArrived,
    may_be_shown,
    step,
)
from tests.helpers.live_session import GEOMETRY as _GEOMETRY
from tests.helpers.live_session import MS as _MS
from tests.helpers.live_session import PATH as _PATH
from tests.helpers.live_session import after as _after
from tests.helpers.live_session import drawn as _drawn
from tests.helpers.live_session import live_frame as _frame
from tests.helpers.live_session import planned_case as _case
from tests.helpers.live_session import ready_volume as _volume
from tests.helpers.live_session import stamp as _stamp


def _running(session: Session, *, until_ms: int, every_ms: int = 100, delay_ms: float = 0.0) -> Session:
    """A sound stream whose clock has kept time."""
    for ms in range(0, until_ms, every_ms):
        frame = _frame(ms // every_ms, ms)
        session, _ = step(session, FrameArrived(frame), round((ms + delay_ms) * _MS))
    return session


def _late(number: int, sent_ms: float, received_ms: float, **changes: Any) -> FluoroFrame:
    return replace(_frame(number, sent_ms, **changes), received_ns=round(received_ms * _MS))


# How old a picture is


@pytest.mark.parametrize("late_ms", [600.0, 1900.0, 2100.0, 3000.0, 60_000.0])
def test_a_frame_that_waited_on_its_way_is_stale_however_long_it_waited(late_ms: float) -> None:
    session = _running(Session(case=_case()), until_ms=15_000)
    received_ms = 15_000 + late_ms
    session, effects = _after(session, (FrameArrived(_late(150, 15_000, received_ms)), received_ms))
    (draw,) = _drawn(effects)
    assert draw.track.verdict.state is GeometryState.WITHHELD
    assert draw.track.verdict.code == "stale"


def test_frames_that_piled_up_while_the_server_stood_are_stale_until_the_stream_is_current() -> None:
    session = _running(Session(case=_case()), until_ms=15_000)
    # Stopped for 3 s: thirty frames wait in the kernel's buffers and come 2 ms apart.
    codes = []
    for waited in range(30):
        sent_ms, received_ms = 15_000 + 100 * waited, 18_000 + 2 * waited
        frame = _late(150 + waited, sent_ms, received_ms)
        session, effects = _after(session, (FrameArrived(frame), received_ms))
        codes.append((received_ms - sent_ms, _drawn(effects)[0].track.verdict))
    assert all(verdict.code == "stale" for late_ms, verdict in codes if late_ms > 500)
    session, effects = _after(session, (FrameArrived(_frame(180, 18_100)), 18_100))
    assert _drawn(effects)[0].track.verdict.state is GeometryState.TRUSTED
    assert session.inputs["Fluoro"].clock.steps == 0


def test_a_lag_that_grows_past_two_seconds_is_no_clock_that_was_set() -> None:
    session = _running(Session(case=_case()), until_ms=15_000)
    for number in range(60):
        sent_ms = 15_000 + 100 * number
        received_ms = sent_ms + 60 * (number + 1)
        frame = _late(150 + number, sent_ms, received_ms)
        session, effects = _after(session, (FrameArrived(frame), received_ms))
        if received_ms - sent_ms > 500:
            assert _drawn(effects)[0].track.verdict.code == "stale", received_ms - sent_ms


def test_a_clock_that_was_set_back_is_believed_again_after_a_few_frames() -> None:
    session = _running(Session(case=_case()), until_ms=15_000)
    states = []
    for number in range(8):
        received_ms = 15_000 + 100 * number
        frame = _late(150 + number, received_ms - 3_600_000, received_ms)
        session, effects = _after(session, (FrameArrived(frame), received_ms))
        states.append(_drawn(effects)[0].track.verdict.state)
    assert states[-1] is GeometryState.TRUSTED
    assert session.inputs["Fluoro"].clock.steps == 1


def test_another_connection_is_another_clock() -> None:
    session = _running(Session(case=_case()), until_ms=15_000)
    # A second sender takes the device over; its clock is one second behind the first's.
    frame = _late(0, 14_100, 15_100, connection_id=2)
    _, effects = _after(session, (FrameArrived(frame), 15_100))
    assert _drawn(effects)[0].track.verdict.state is GeometryState.TRUSTED


def test_a_picture_that_is_too_old_loses_its_paths_before_the_input_counts_as_silent() -> None:
    session, _ = _after(Session(case=_case()), (FrameArrived(_frame(1, 0)), 0))
    session, effects = _after(session, (Tick(), 900))
    assert not effects
    session, effects = _after(session, (Tick(), 1100))
    (draw,) = _drawn(effects)
    assert draw.again
    assert draw.track.verdict.code == "stale"
    assert not any(place.drawn for place in draw.track.places)
    session, effects = _after(session, (Tick(), 1200))
    assert not effects
    _, effects = _after(session, (FrameArrived(_frame(2, 1300)), 1300))
    assert _drawn(effects)[0].track.verdict.state is GeometryState.TRUSTED


def test_what_was_drawn_before_the_server_stood_still_may_not_be_shown_after() -> None:
    session, effects = _after(Session(case=_case()), (FrameArrived(_frame(1, 0)), 0))
    (draw,) = _drawn(effects)
    assert may_be_shown(session, draw.track, 400 * _MS)
    assert not may_be_shown(session, draw.track, 3000 * _MS)
    withheld = _frame(2, 33, metadata={"XRay.Live": "0"})
    session, effects = _after(session, (FrameArrived(withheld), 33))
    assert may_be_shown(session, _drawn(effects)[0].track, 3000 * _MS)


# What was drawn under another registration


def test_a_volume_that_is_reopened_takes_the_paths_off_at_once() -> None:
    session, _ = _after(Session(case=_case()), (FrameArrived(_frame(1, 0)), 0))
    reopened = volume_changed(session.case, _volume(state=VolumeState.RECEIVING))
    _, effects = _after(session, (CaseEdited(reopened), 20))
    (draw,) = _drawn(effects)
    assert draw.again
    assert draw.track.verdict.code == "no_active_volume"


def test_taking_back_the_word_on_the_frame_takes_the_paths_off_at_once() -> None:
    confirmed = confirm_shared_frame(_case(), True)
    frame = _frame(1, 0, metadata={"XRay.FrameOfReferenceUID": None})
    session, effects = _after(Session(case=confirmed), (FrameArrived(frame), 0))
    assert _drawn(effects)[0].track.verdict.state is GeometryState.TRUSTED
    _, effects = _after(session, (CaseEdited(confirm_shared_frame(confirmed, False)), 20))
    (draw,) = _drawn(effects)
    assert draw.track.verdict.code == "no_frame_of_reference"


def test_a_path_that_was_deleted_does_not_stay_on_the_last_picture() -> None:
    session, _ = _after(Session(case=_case()), (FrameArrived(_frame(1, 0)), 0))
    _, effects = _after(session, (CaseEdited(delete_path(session.case, "P1")), 20))
    (draw,) = _drawn(effects)
    assert draw.again
    assert draw.track.places == ()


def test_a_path_edited_while_the_picture_is_held_is_not_drawn() -> None:
    frames = [_frame(1, 0), _frame(1, 33)]
    session, _ = _after(Session(case=_case()), (FrameArrived(frames[0]), 0), (FrameArrived(frames[1]), 33))
    edited, _ = create_path(session.case, _PATH)
    session, effects = _after(session, (CaseEdited(edited), 40))
    assert all(draw.track.verdict.code == "held" for draw in _drawn(effects))
    assert session.inputs["Fluoro"].verdict.code == "held"


def test_paths_of_one_patient_are_never_drawn_on_another_who_has_the_same_frame_of_reference() -> None:
    # Frames of reference are unique by the standard, and not so after careless anonymisation.
    other = _volume(id="v2", patient_id="Q", study_instance_uid="9.9", series_instance_uid="9.8")
    case = activate_volume(volume_changed(_case(), other), "v2")
    _, effects = _after(Session(case=case), (FrameArrived(_frame(1, 0)), 0))
    (draw,) = _drawn(effects)
    assert not any(place.drawn for place in draw.track.places)
    back = activate_volume(case, "v1")
    _, effects = _after(Session(case=back), (FrameArrived(_frame(1, 0)), 0))
    assert [place.drawn for place in _drawn(effects)[0].track.places] == [True]


def test_the_former_patients_volume_does_not_come_back_into_a_new_case_by_itself() -> None:
    case = new_case(_case())
    for state in (VolumeState.RECEIVING, VolumeState.READY):  # a late slice, or the DICOM process started again
        case = volume_changed(case, _volume(state=state))
    assert case.active is None
    # Nor after a restart of the server, which announces every stored volume.
    case = volume_changed(case_from_json(case_to_json(case)), _volume())
    assert case.active is None
    assert activate_volume(case, "v1").active_volume_id == "v1"
    other = _volume(id="v2", patient_id="Q", study_instance_uid="9.9", series_instance_uid="9.8")
    assert volume_changed(case, other).active_volume_id == "v2"


# Where the patient lies


def test_a_patient_position_that_changes_within_a_registration_withholds() -> None:
    """The volume says nothing of the position, so the stream's first word is what the registration was made in."""
    session = Session(case=_case(patient_position=""))
    supine, prone = {"XRay.PatientPosition": "HFS"}, {"XRay.PatientPosition": "HFP"}
    session, effects = _after(session, (FrameArrived(_frame(1, 0, metadata=supine)), 0))
    assert _drawn(effects)[0].track.verdict.state is GeometryState.TRUSTED
    session, effects = _after(session, (FrameArrived(_frame(2, 33, metadata=prone)), 33))
    assert _drawn(effects)[0].track.verdict.code == "patient_position_changed"
    # Another plane of the same room is told the same.
    session, effects = _after(session, (FrameArrived(_frame(1, 40, metadata=prone, device="FluoroB")), 40))
    assert _drawn(effects)[0].track.verdict.code == "patient_position_changed"
    # A new CBCT is a new registration.
    case = volume_changed(session.case, _volume(id="v2", series_instance_uid="1.2.9", patient_position=""))
    case = activate_volume(case, "v2")
    session, _ = _after(session, (CaseEdited(case), 50))
    _, effects = _after(session, (FrameArrived(_frame(3, 66, metadata=prone)), 66))
    assert _drawn(effects)[0].track.verdict.state is GeometryState.TRUSTED


# Transforms


def _transform(name: str, matrix: Any, ms: float, received_ms: float, connection_id: int = 1) -> TransformArrived:
    sample = TransformSample(
        name=name,
        matrix=np.array(matrix, np.float64),
        timestamp_igtl=_stamp(ms),
        received_ns=round(received_ms * _MS),
        connection_id=connection_id,
    )
    return TransformArrived(sample)


# The golden view 0/0 in LPS: detector in front of the chest, 450 mm from the isocentre; its z axis towards the source.
_DETECTOR_AP = ((1, 0, 0, -153.45), (0, 0, 1, -450.0), (0, -1, 0, 153.45), (0, 0, 0, 1))
_SOURCE_AP = ((1, 0, 0, 0), (0, 1, 0, 750.0), (0, 0, 1, 0), (0, 0, 0, 1))
_NO_ANGLES: dict[str, str | None] = dict.fromkeys(
    key for key in _GEOMETRY if key not in ("XRay.FrameOfReferenceUID", "XRay.SourceToDetectorMm")
) | {"XRay.SourceToDetectorMm": None}


def _paired(session: Session, *, sent_ms: float, received_ms: float) -> Session:
    for name, matrix in (("DetectorToPatient", _DETECTOR_AP), ("SourceToPatient", _SOURCE_AP)):
        session, _ = _after(session, (_transform(name, matrix, sent_ms, received_ms), received_ms))
    return session


def _with_pitch(number: int, sent_ms: float, received_ms: float, **changes: Any) -> FluoroFrame:
    changes = {"metadata": _NO_ANGLES, "pixel_pitch_mm": (0.3, 0.3)} | changes
    return _late(number, sent_ms, received_ms, **changes)


def test_transforms_of_the_pictures_time_are_drawn_on() -> None:
    session = _paired(Session(case=_case(), transform_frame="lps"), sent_ms=1000, received_ms=1000)
    _, effects = _after(session, (FrameArrived(_with_pitch(1, 1000, 1001)), 1001))
    (draw,) = _drawn(effects)
    assert draw.track.verdict.state is GeometryState.TRUSTED, draw.track.verdict
    assert draw.track.places[0].entry_px == pytest.approx((778.17, 511.50), abs=0.01)


def test_a_frozen_clock_does_not_pair_pictures_with_transforms_of_long_ago() -> None:
    session = _paired(Session(case=_case(), transform_frame="lps"), sent_ms=1000, received_ms=1000)
    session, _ = _after(session, (FrameArrived(_with_pitch(1, 1000, 1001)), 1001))
    # The sender's clock stands, its transforms have stopped, the gantry may be anywhere.
    for number in range(2, 60):
        received_ms = 1001 + 33 * number
        frame = _with_pitch(number, 1000, received_ms)
        session, effects = _after(session, (FrameArrived(frame), received_ms))
    assert _drawn(effects)[0].track.verdict.code == "transforms_not_paired"


def test_a_pause_in_the_stream_does_not_widen_what_counts_as_paired() -> None:
    session = Session(case=_case(), transform_frame="lps")
    for number in range(10):
        session = _paired(session, sent_ms=33 * number, received_ms=33 * number)
        frame = _with_pitch(number, 33 * number, 33 * number + 1)
        session, _ = _after(session, (FrameArrived(frame), 33 * number + 1))
    session = _paired(session, sent_ms=2180, received_ms=2180)
    # 1.9 s of pause; the only transforms are 120 ms older than the picture: the gantry may have gone 3 degrees.
    _, effects = _after(session, (FrameArrived(_with_pitch(10, 2300, 2301)), 2301))
    assert _drawn(effects)[0].track.verdict.code == "transforms_not_paired"


def test_transforms_that_contradict_the_angles_beside_the_picture_withhold() -> None:
    session = _paired(Session(case=_case(), transform_frame="lps"), sent_ms=1000, received_ms=1000)
    told = _NO_ANGLES | {"XRay.PrimaryAngleDeg": "30", "XRay.SecondaryAngleDeg": "0"}
    _, effects = _after(session, (FrameArrived(_with_pitch(1, 1000, 1001, metadata=told)), 1001))
    assert _drawn(effects)[0].track.verdict.code == "contradictory_geometry"


def test_transforms_of_tools_are_not_kept() -> None:
    session = Session(case=_case())
    for number in range(300):
        session, effects = _after(session, (_transform(f"Tool{number}", np.eye(4), 0, 0), 0))
        assert not effects
    assert not session.transforms


# Repeats


def test_a_frame_number_with_blanks_around_it_is_still_a_number() -> None:
    session, _ = _after(Session(case=_case()), (FrameArrived(_frame(7, 0, metadata={"XRay.FrameNumber": " 7"})), 0))
    assert session.inputs["Fluoro"].frame_number == 7
    _, effects = _after(session, (FrameArrived(_frame(8, 33, metadata={"XRay.FrameNumber": "7 "})), 33))
    assert _drawn(effects)[0].track.verdict.code == "held"


def test_a_run_that_is_shown_again_is_held_although_each_picture_differs_from_the_one_before() -> None:
    """Many C-arms show the last run in a loop when the pedal is let go: old pictures under the geometry of now."""
    session = Session(case=_case())
    for number in range(60):
        session, effects = _after(session, (FrameArrived(_frame(number, 33 * number)), 33 * number))
        assert _drawn(effects)[0].track.verdict.state is GeometryState.TRUSTED
    for number in range(60):
        ms = 2000 + 33 * number
        session, effects = _after(session, (FrameArrived(_frame(number, ms)), ms))
        assert _drawn(effects)[0].track.verdict.code == "held"
    # A new run counts anew and shows new pictures.
    session, effects = _after(session, (FrameArrived(_frame(0, 4000, pixels_crc64=999)), 4000))
    assert _drawn(effects)[0].track.verdict.state is GeometryState.TRUSTED
    # So does a sender that was started anew, even one that makes the same pictures as before.
    for number in range(3):
        ms = 5000 + 33 * number
        session, effects = _after(session, (FrameArrived(_frame(number, ms, connection_id=2)), ms))
    assert _drawn(effects)[0].track.verdict.state is GeometryState.TRUSTED


def test_what_is_remembered_of_a_stream_is_bounded() -> None:
    session = Session(case=_case())
    for number in range(5000):
        session, _ = step(session, FrameArrived(_frame(number, number)), number * _MS)
    liveness = session.inputs["Fluoro"].liveness
    assert 1024 <= len(liveness.recent) + len(liveness.older) <= 2048
