"""MQTT topics and payloads (contract 5.5), both directions; no client, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from guidance.cement.alert_answers import AlertAnswer
from guidance.cement.answers import CementAnswer
from guidance.errors import ConfigError, WireError
from guidance.messages import (
    UNCHECKED,
    AlertPriority,
    CArmEvent,
    GeometryState,
    ImageCheck,
    InjectorReading,
    InputState,
    Severity,
    SiteStatus,
    ZoneSide,
    ZoneSite,
)
from guidance.wire.json_text import json_text

SCHEMA_VERSION: Final = 1

# The retained last will is this word, as the contract has it; every other payload is JSON.
OFFLINE: Final = b"offline"

# What a device reports is a few hundred bytes.
_LARGEST_PAYLOAD_BYTES: Final = 64 * 1024

_T = TypeVar("_T")

_Finite = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """The topics of one suite."""

    status: str
    geometry: str
    cement: str
    alert: str
    latency: str
    injector_state: str
    carm_event: str


def topics(suite: str) -> Topics:
    """Topics of a suite.

    Raises:
        ConfigError: the name is empty or holds a character that has a meaning in topics (MQTT 3.1.1, 4.7).
    """
    if not suite or any(character in "+#/$" or not character.isprintable() for character in suite):
        raise ConfigError(
            f"mqtt.suite = {suite!r} can't be part of a topic",
            code="bad_setting",
            mend="use a name without + # / $",
        )
    return Topics(
        status=f"guidance/{suite}/status",
        geometry=f"guidance/{suite}/geometry",
        cement=f"guidance/{suite}/cement",
        alert=f"guidance/{suite}/alert",
        latency=f"guidance/{suite}/latency",
        injector_state=f"{suite}/injector/state",
        carm_event=f"{suite}/carm/event",
    )


class StatusPayload(msgspec.Struct, frozen=True, kw_only=True):
    """`/status`, retained; the last will and the farewell are the bare word `offline`."""

    state: Literal["online"] = "online"
    ready: bool
    reasons: tuple[str, ...] = ()
    version: str
    inputs: dict[str, InputState] = {}
    epoch: int
    active_volume_id: str | None
    schema_version: Literal[1] = SCHEMA_VERSION


class GeometryPayload(msgspec.Struct, frozen=True, kw_only=True):
    """`/geometry`: the newest frame of one input; `pixel_from_patient` is null unless trusted or degraded."""

    input: str
    state: InputState
    geometry_state: GeometryState
    reason: str
    frame_number: int | None
    age_ms: float | None
    pixel_from_patient: tuple[float, ...] | None
    epoch: int
    check: ImageCheck = UNCHECKED
    schema_version: Literal[1] = SCHEMA_VERSION


class LatencyPayload(msgspec.Struct, frozen=True, kw_only=True):
    """`/latency`: last byte in to first byte out, ms, over the frames since the last message."""

    input: str
    now_ms: float | None
    p50_ms: float | None
    p99_ms: float | None
    worst_ms: float | None
    frames: int
    dropped: int
    schema_version: Literal[1] = SCHEMA_VERSION


class CementPayload(CementAnswer, frozen=True, kw_only=True):
    """`/cement`: what GET /cement answers, with every followed frame; the newest wins."""

    schema_version: Literal[1] = SCHEMA_VERSION


class AlertPayload(msgspec.Struct, frozen=True, kw_only=True):
    """`/alert`: something the operator must know; QoS 1, so it may come twice with one `id`.

    One of cement has the members of an alert of `/alerts` and is told whenever it changes: raised, worse, acknowledged,
    no longer `present`. One without `priority` is an event: the overlay of an input went away.
    """

    id: str
    code: str
    severity: Severity
    text: str
    raised_at: str
    input: str = ""
    zone_id: str | None = None
    site: ZoneSite | None = None
    side: ZoneSide | None = None
    status: SiteStatus | None = None
    priority: AlertPriority | None = None
    distance_mm: float | None = None
    time_to_contact_s: float | None = None
    view_to_check: str | None = None
    frame_number: int | None = None
    acknowledged_by: str | None = None
    acknowledged_at: str | None = None
    present: bool | None = None
    schema_version: Literal[1] = SCHEMA_VERSION


class InjectorStatePayload(msgspec.Struct, frozen=True, kw_only=True):
    """`<suite>/injector/state`, in: what is not told is null or left out; other members are ignored.

    A volume that cannot be (negative, or more than can be injected) is taken in and shown as one that is not believed.
    """

    running: bool
    volume_ml: float | None = None
    flow_ml_s: _Finite | None = None
    pressure_bar: _Finite | None = None
    elapsed_s: _Finite | None = None
    schema_version: int = SCHEMA_VERSION


class CArmEventPayload(msgspec.Struct, frozen=True, kw_only=True):
    """`<suite>/carm/event`, in: `event` names it; any other member is kept as a detail."""

    event: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    schema_version: int = SCHEMA_VERSION


Payload = StatusPayload | GeometryPayload | LatencyPayload | CementPayload | AlertPayload

MQTT_SHAPES: Final[dict[str, type[msgspec.Struct]]] = {
    "mqtt-status": StatusPayload,
    "mqtt-geometry": GeometryPayload,
    "mqtt-latency": LatencyPayload,
    "mqtt-cement": CementPayload,
    "mqtt-alert": AlertPayload,
    "mqtt-injector-state": InjectorStatePayload,
    "mqtt-carm-event": CArmEventPayload,
}


def cement_payload(told: CementAnswer) -> CementPayload:
    """The answer as a payload."""
    return CementPayload(**{name: getattr(told, name) for name in CementAnswer.__struct_fields__})


def alert_payload(told: AlertAnswer) -> AlertPayload:
    """An alert of cement as a payload; `code` is `cement_` and its kind."""
    return AlertPayload(
        id=told.id,
        code=f"cement_{told.kind}",
        severity=Severity.ERROR if told.priority is AlertPriority.HIGH else Severity.WARNING,
        text=told.text,
        raised_at=told.raised_at,
        input=told.input,
        zone_id=told.zone_id,
        site=told.site,
        side=told.side,
        status=told.status,
        priority=told.priority,
        distance_mm=told.distance_mm,
        time_to_contact_s=told.time_to_contact_s,
        view_to_check=told.view_to_check,
        frame_number=told.frame_number,
        acknowledged_by=told.acknowledged_by,
        acknowledged_at=told.acknowledged_at,
        present=told.present,
    )


def encode(payload: Payload) -> bytes:
    """The payload as JSON; a number that is not finite becomes null."""
    return json_text(payload)


def decode_injector_state(payload: bytes, received_ns: int) -> InjectorReading:
    """Read `<suite>/injector/state`.

    Args:
        payload: JSON object, see `InjectorStatePayload`.
        received_ns: server's monotonic clock.

    Raises:
        WireError: `bad_injector_state`: not JSON, a wrong type, a negative time, or another schema. A volume that
            cannot be is no fault of the message: the operator is told of it (`guidance.cement.injector`).
    """
    told = _decoded(payload, InjectorStatePayload, "bad_injector_state")
    _check_version(told.schema_version, "bad_injector_state")
    if told.elapsed_s is not None and told.elapsed_s < 0.0:
        raise WireError("injector state: elapsed_s is negative", code="bad_injector_state")
    return InjectorReading(
        volume_ml=told.volume_ml,
        flow_ml_s=told.flow_ml_s,
        pressure_bar=told.pressure_bar,
        elapsed_s=told.elapsed_s,
        running=told.running,
        received_ns=received_ns,
    )


def decode_carm_event(payload: bytes, received_ns: int) -> CArmEvent:
    """Read `<suite>/carm/event`; members besides `event` and `schema_version` become `details`.

    Raises:
        WireError: `bad_carm_event`: not a JSON object, no event, or another schema.
    """
    told = _decoded(payload, CArmEventPayload, "bad_carm_event")
    _check_version(told.schema_version, "bad_carm_event")
    members = _decoded(payload, dict[str, Any], "bad_carm_event")
    details = {name: value for name, value in members.items() if name not in ("event", "schema_version")}
    return CArmEvent(event=told.event, details=details, received_ns=received_ns)


def _decoded(payload: bytes, kind: type[_T], code: str) -> _T:
    if len(payload) > _LARGEST_PAYLOAD_BYTES:
        raise WireError(f"payload of {len(payload)} bytes", code=code, mend=f"send at most {_LARGEST_PAYLOAD_BYTES}")
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"payload refused: {error}", code=code, mend="docs/schemas has its JSON Schema") from None


def _check_version(version: int, code: str) -> None:
    if version != SCHEMA_VERSION:
        raise WireError(f"schema_version {version} is unknown", code=code, mend=f"send {SCHEMA_VERSION}")
