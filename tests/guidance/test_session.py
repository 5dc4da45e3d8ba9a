"""The live session: what is drawn, what is withheld and why, and what receivers are told when a stream stops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from guidance.case import confirm_shared_frame, create_path, volume_changed
from guidance.messages import GeometryState, InputState, TransformSample, VolumeState
from guidance.session import (
    CaseEdited,
    ConnectionClosed,
    DrawFrame,
    FrameArrived,
    InputChanged,
    PublishPlan,
    Session,
    StoreCase,
    Tick,
    TransformArrived,
)
from tests.helpers.live_session import GEOMETRY as _GEOMETRY
from tests.helpers.live_session import MS as _MS
from tests.helpers.live_session import after as _after
from tests.helpers.live_session import drawn as _drawn
from tests.helpers.live_session import live_frame as _frame
from tests.helpers.live_session import planned_case as _case
from tests.helpers.live_session import ready_volume as _volume


def test_a_good_frame_is_drawn_with_the_paths_where_the_golden_table_says() -> None:
    session, effects = _after(Session(case=_case()), (FrameArrived(_frame(1, 10)), 10))
    (draw,) = _drawn(effects)
    assert draw.track.verdict.state is GeometryState.TRUSTED
    assert draw.track.state is InputState.VALID
    (place,) = draw.track.places
    assert place.entry_px == pytest.approx((778.17, 511.50), abs=0.01)
    assert place.target_px == pytest.approx((511.50, 404.83), abs=0.01)
    assert place.drawn
    assert not draw.again
    assert session.inputs["Fluoro"].frame_number == 1


@pytest.mark.parametrize(
    ("change", "state", "code"),
    [
        pytest.param(
            {"metadata": {"XRay.FrameOfReferenceUID": "9.9"}}, "withheld", "frame_of_reference_mismatch", id="for"
        ),
        pytest.param(
            {"metadata": {"XRay.FrameOfReferenceUID": None}}, "withheld", "no_frame_of_reference", id="no-for"
        ),
        pytest.param({"metadata": {"XRay.Live": "0"}}, "withheld", "held", id="held"),
        pytest.param({"metadata": {"XRay.SourceToDetectorMm": "1.2"}}, "withheld", None, id="metres"),
        pytest.param({"metadata": {"XRay.PrimaryAngleDeg": "nan"}}, "withheld", None, id="nan"),
        pytest.param(
            {"metadata": {"XRay.PatientPosition": "HFP"}}, "withheld", "patient_position_mismatch", id="prone"
        ),
        pytest.param({"metadata": {"XRay.TableMm": "0 0 10"}}, "withheld", None, id="table-reference-unknown"),
        pytest.param({"metadata": dict.fromkeys(_GEOMETRY)}, "absent", "no_geometry", id="no-geometry"),
    ],
)
def test_what_cannot_be_trusted_is_not_drawn(change: dict[str, Any], state: str, code: str | None) -> None:
    session, effects = _after(Session(case=_case()), (FrameArrived(_frame(1, 10, **change)), 10))
    (draw,) = _drawn(effects)
    assert draw.track.verdict.state.value == state
    assert draw.track.verdict.reason
    assert draw.track.verdict.pixel_from_patient is None
    assert not any(place.drawn for place in draw.track.places)
    if code:
        assert draw.track.verdict.code == code
    # One good frame later all is well again.
    _, effects = _after(session, (FrameArrived(_frame(2, 43)), 43))
    assert _drawn(effects)[0].track.verdict.state is GeometryState.TRUSTED


def test_without_a_volume_nothing_is_drawn() -> None:
    _, effects = _after(Session(), (FrameArrived(_frame(1, 10)), 10))
    assert _drawn(effects)[0].track.verdict.code == "no_active_volume"


def test_the_operators_word_lets_a_stream_without_frame_of_reference_draw() -> None:
    frame = _frame(1, 10, metadata={"XRay.FrameOfReferenceUID": None})
    session, _ = _after(Session(case=_case()), (FrameArrived(frame), 10))
    confirmed = confirm_shared_frame(session.case, True)
    again = _frame(2, 43, metadata={"XRay.FrameOfReferenceUID": None})
    _, effects = _after(session, (CaseEdited(confirmed), 40), (FrameArrived(again), 43))
    assert _drawn(effects)[0].track.verdict.state is GeometryState.TRUSTED


def test_a_repeated_picture_is_held_even_when_numbered_anew_and_called_live() -> None:
    live = {"XRay.Live": "1"}
    session, effects = _after(
        Session(case=_case()),
        (FrameArrived(_frame(1, 10, metadata=live)), 10),
        (FrameArrived(_frame(2, 43, metadata=live, pixels_crc64=2)), 43),
    )
    (draw,) = _drawn(effects)
    assert draw.track.state is InputState.HELD
    assert draw.track.verdict.state is GeometryState.WITHHELD
    assert "HELD" in draw.track.verdict.reason
    assert session.inputs["Fluoro"].age_ms(143 * _MS) == pytest.approx(133)


def test_a_stream_that_stops_is_published_once_more_without_paths() -> None:
    session, _ = _after(Session(case=_case()), (FrameArrived(_frame(1, 10)), 10))
    session, effects = _after(session, (Tick(), 500))
    assert effects == []
    session, effects = _after(session, (Tick(), 1500))
    assert _drawn(effects)[0].track.verdict.code == "stale"
    session, effects = _after(session, (Tick(), 2100))
    (draw,) = _drawn(effects)
    assert draw.again
    assert draw.track.state is InputState.SILENT
    assert draw.track.verdict.state is GeometryState.WITHHELD
    assert not any(place.drawn for place in draw.track.places)
    assert _after(session, (Tick(), 2200))[1] == []
    _, effects = _after(session, (FrameArrived(_frame(2, 2300)), 2300))
    assert _drawn(effects)[0].track.verdict.state is GeometryState.TRUSTED


def test_a_closed_connection_silences_its_inputs_at_once() -> None:
    session, _ = _after(Session(case=_case()), (FrameArrived(_frame(1, 10)), 10))
    assert _after(session, (ConnectionClosed(2), 20))[1] == []
    _, effects = _after(session, (ConnectionClosed(1), 20))
    assert _drawn(effects)[0].track.state is InputState.SILENT


def test_biplane_inputs_are_judged_apart() -> None:
    session, _ = _after(
        Session(case=_case()),
        (FrameArrived(_frame(1, 10, device="FluoroA")), 10),
        (FrameArrived(_frame(1, 12, device="FluoroB", metadata={"XRay.PrimaryAngleDeg": "90"})), 12),
    )
    places = {device: track.places[0].entry_px for device, track in session.inputs.items()}
    assert places["FluoroA"] == pytest.approx((778.17, 511.5), abs=0.01)
    assert places["FluoroB"] == pytest.approx((511.5, 511.5), abs=0.01)


def test_a_new_registration_redraws_at_once_and_stores() -> None:
    session, _ = _after(Session(case=_case()), (FrameArrived(_frame(1, 10)), 10))
    refused = volume_changed(session.case, _volume(state=VolumeState.REFUSED))
    _, effects = _after(session, (CaseEdited(refused), 20))
    (draw,) = _drawn(effects)
    assert draw.again
    assert draw.track.verdict.state is GeometryState.WITHHELD
    assert [effect for effect in effects if isinstance(effect, StoreCase)]


def test_a_changed_path_is_stored_before_it_is_published() -> None:
    session, _ = _after(Session(case=_case()), (FrameArrived(_frame(1, 10)), 10))
    case, _ = create_path(
        session.case, {"entry_lps_mm": [0.0, 0.0, 0.0], "target_lps_mm": [0.0, 9.0, 0.0], "diameter_mm": 3.2}
    )
    _, effects = _after(session, (CaseEdited(case), 20))
    assert [type(effect) for effect in effects] == [StoreCase, PublishPlan, DrawFrame]


def test_state_changes_are_told_once() -> None:
    session, effects = _after(Session(case=_case()), (FrameArrived(_frame(1, 10)), 10))
    assert [effect for effect in effects if isinstance(effect, InputChanged)]
    _, effects = _after(session, (FrameArrived(_frame(2, 43)), 43))
    assert not [effect for effect in effects if isinstance(effect, InputChanged)]


def test_a_change_of_size_and_type_in_mid_stream_is_drawn_in_the_new_pixels() -> None:
    session, _ = _after(Session(case=_case()), (FrameArrived(_frame(1, 10)), 10))
    small = _frame(2, 43, pixels=np.zeros((512, 512), np.uint8), metadata={"XRay.ImagerPixelSpacingMm": "0.6 0.6"})
    _, effects = _after(session, (FrameArrived(small), 43))
    (place,) = _drawn(effects)[0].track.places
    assert place.entry_px == pytest.approx((255.5 + (778.17 - 511.5) / 2, 255.5), abs=0.01)


def test_transforms_that_come_after_their_picture_make_it_drawable() -> None:
    no_metadata = dict.fromkeys(_GEOMETRY)
    frame = _frame(1, 10, metadata=no_metadata | {"XRay.FrameOfReferenceUID": "1.2.3"}, pixel_pitch_mm=(0.3, 0.3))
    # Detector in front of the chest (RAS +A 450 mm), source behind (-A 750 mm): rows run to the patient's left.
    detector = np.array(
        [[-1.0, 0, 0, 0.3 * 511.5], [0, 0, -1.0, 450.0], [0, -1.0, 0, 0.3 * 511.5], [0, 0, 0, 1.0]], np.float64
    )
    source = np.eye(4)
    source[:3, 3] = (0.0, -750.0, 0.0)

    def sample(name: str, matrix: Any) -> TransformSample:
        return TransformSample(
            name=name, matrix=matrix, timestamp_igtl=frame.timestamp_igtl, received_ns=11 * _MS, connection_id=1
        )

    session, effects = _after(Session(case=_case()), (FrameArrived(frame), 10))
    assert _drawn(effects)[0].track.verdict.pixel_from_patient is None
    session, effects = _after(
        session,
        (TransformArrived(sample("DetectorToPatient", detector)), 11),
        (TransformArrived(sample("SourceToPatient", source)), 11),
    )
    (draw,) = _drawn(effects)
    assert draw.again
    assert draw.track.verdict.state is GeometryState.TRUSTED
    assert draw.track.places[0].entry_px == pytest.approx((778.17, 511.50), abs=0.01)
