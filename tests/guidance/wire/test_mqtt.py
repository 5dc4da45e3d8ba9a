"""MQTT payloads: bytes as they are on the wire, and what is refused."""

from __future__ import annotations

import json
import math

import msgspec
import pytest

from guidance.cement.alert_answers import alert_answer
from guidance.cement.answers import CementAnswer
from guidance.errors import ConfigError, WireError
from guidance.messages import (
    Alert,
    AlertCondition,
    AlertPriority,
    CArmEvent,
    CementState,
    GeometryState,
    InjectorReading,
    InputState,
    Severity,
    SiteStatus,
    ZoneSide,
    ZoneSite,
)
from guidance.wire.json_text import json_text
from guidance.wire.mqtt import (
    AlertPayload,
    GeometryPayload,
    StatusPayload,
    alert_payload,
    cement_payload,
    decode_carm_event,
    decode_injector_state,
    encode,
    topics,
)


def test_topics_are_the_contracts() -> None:
    told = topics("angio-1")
    assert (told.status, told.geometry, told.cement, told.alert, told.latency) == tuple(
        f"guidance/angio-1/{name}" for name in ("status", "geometry", "cement", "alert", "latency")
    )
    assert (told.injector_state, told.carm_event) == ("angio-1/injector/state", "angio-1/carm/event")


@pytest.mark.parametrize("suite", ["", "a/b", "#", "a+", "$SYS", "a\n"])
def test_suite_that_is_no_topic_is_refused(suite: str) -> None:
    with pytest.raises(ConfigError, match=r"mqtt\.suite"):
        topics(suite)


def test_payload_bytes() -> None:
    alert = AlertPayload(
        id="a1", code="late", severity=Severity.WARNING, text="über 200 ms", raised_at="2026-01-01T00:00:00Z"
    )
    assert (
        encode(alert)
        == (
            '{"id":"a1","code":"late","severity":"warning","text":"über 200 ms",'
            '"raised_at":"2026-01-01T00:00:00Z","input":"","zone_id":null,"site":null,"side":null,"status":null,'
            '"priority":null,"distance_mm":null,"time_to_contact_s":null,"view_to_check":null,"frame_number":null,'
            '"acknowledged_by":null,"acknowledged_at":null,"present":null,"schema_version":1}'
        ).encode()
    )


def test_cement_is_what_http_answers_with_a_version() -> None:
    told = CementAnswer(state=CementState.PAUSED, reason="no frame for 1.0 s", frame_number=7, volume_ml=math.inf)
    sent = json.loads(encode(cement_payload(told)))
    assert sent.pop("schema_version") == 1
    assert sent == json.loads(json_text(told))
    assert (sent["state"], sent["frame_number"], sent["volume_ml"]) == ("paused", 7, None)


def test_alert_of_cement_has_the_members_of_an_alert() -> None:
    what = AlertCondition(
        kind="site",
        priority=AlertPriority.HIGH,
        text="foramen",
        zone_id="Z1",
        site=ZoneSite.FORAMEN,
        side=ZoneSide.LEFT,
        status=SiteStatus.CONTACT_POSSIBLE,
        distance_mm=-0.5,
        view_to_check="the lateral view",
        frame_number=3,
        device="FluoroA",
    )
    told = alert_answer(Alert(id="A1", condition=what, present=True, raised_ns=0), wall_from_monotonic_ns=0)
    sent = json.loads(encode(alert_payload(told)))
    members = {name: value for name, value in msgspec.to_builtins(told).items() if name != "kind"}
    assert sent == members | {"code": "cement_site", "severity": "error", "schema_version": 1}


def test_volume_that_cannot_be_is_no_fault_of_the_message() -> None:
    for volume in (-3.0, 1e12):
        reading = decode_injector_state(json.dumps({"running": True, "volume_ml": volume}).encode(), 7)
        assert reading.volume_ml == volume


def test_number_that_is_not_finite_becomes_null() -> None:
    payload = GeometryPayload(
        input="Fluoro",
        state=InputState.STREAMING,
        geometry_state=GeometryState.TRUSTED,
        reason="",
        frame_number=None,
        age_ms=math.nan,
        pixel_from_patient=None,
        epoch=0,
    )
    assert json.loads(encode(payload))["age_ms"] is None


def test_status_says_its_state_and_schema() -> None:
    told = json.loads(encode(StatusPayload(ready=False, reasons=("x",), version="1", epoch=0, active_volume_id=None)))
    assert (told["state"], told["schema_version"], told["active_volume_id"]) == ("online", 1, None)


def test_injector_reading() -> None:
    payload = b'{"volume_ml":2.5,"flow_ml_s":0.1,"pressure_bar":-0.2,"elapsed_s":25,"running":false,"maker":"x"}'
    assert decode_injector_state(payload, 7) == InjectorReading(
        volume_ml=2.5, flow_ml_s=0.1, pressure_bar=-0.2, elapsed_s=25.0, running=False, received_ns=7
    )


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe", id="not-utf-8"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"{}", id="running-missing"),
        pytest.param(b'{"running":1}', id="running-number"),
        pytest.param(b'{"running":true,"volume_ml":"2"}', id="text"),
        pytest.param(b'{"running":true,"volume_ml":true}', id="bool"),
        pytest.param(b'{"running":true,"volume_ml":NaN}', id="nan"),
        pytest.param(b'{"running":true,"volume_ml":1e999}', id="infinite"),
        pytest.param(b'{"running":true,"elapsed_s":-1}', id="negative-time"),
        pytest.param(b'{"running":true,"schema_version":2}', id="schema"),
        pytest.param(b"[" * 60000, id="deep"),
        pytest.param(b'{"running":true}' + b" " * 70000, id="large"),
    ],
)
def test_injector_state_refused(payload: bytes) -> None:
    with pytest.raises(WireError) as caught:
        decode_injector_state(payload, 0)
    assert caught.value.code == "bad_injector_state"


def test_carm_event_keeps_its_other_members() -> None:
    payload = b'{"event":"acquisition_started","schema_version":1,"protocol":{"fps":15}}'
    assert decode_carm_event(payload, 3) == CArmEvent(
        event="acquisition_started", details={"protocol": {"fps": 15}}, received_ns=3
    )


@pytest.mark.parametrize("payload", [b"{}", b'{"event":""}', b'{"event":3}', b'"event"', b'{"event":"' + b"x" * 65])
def test_carm_event_refused(payload: bytes) -> None:
    with pytest.raises(WireError) as caught:
        decode_carm_event(payload, 0)
    assert caught.value.code == "bad_carm_event"
