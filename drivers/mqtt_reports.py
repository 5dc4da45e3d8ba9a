"""What the broker is told of the live session: status, geometry and latency of each input, alerts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from drivers.mqtt import MqttPublisher
from guidance import VERSION
from guidance.cement.alert_answers import AlertAnswer, AlertList
from guidance.cement.answers import CementAnswer
from guidance.messages import GeometryState, InputState, Severity
from guidance.session import InputTrack, Session
from guidance.shapes import LatencyFigures
from guidance.wire.mqtt import (
    AlertPayload,
    GeometryPayload,
    LatencyPayload,
    StatusPayload,
    alert_payload,
    cement_payload,
)

_DRAWABLE: Final = (GeometryState.TRUSTED, GeometryState.DEGRADED)


def publish_status(mqtt: MqttPublisher, session: Session, not_ready: Sequence[str]) -> None:
    """Say whether the server is ready, and what each input does."""
    mqtt.publish_status(
        StatusPayload(
            ready=not not_ready,
            reasons=tuple(not_ready),
            version=VERSION,
            inputs={device: track.state for device, track in session.inputs.items()},
            epoch=session.case.epoch,
            active_volume_id=session.case.active_volume_id or None,
        )
    )


def publish_change(mqtt: MqttPublisher, before: InputTrack | None, after: InputTrack) -> None:
    """Raise an alert where the overlay of an input went away."""
    if before is None or before.verdict.state not in _DRAWABLE or after.verdict.state in _DRAWABLE:
        return
    mqtt.publish_alert(
        AlertPayload(
            id=f"{after.device}-{after.frames}-{after.verdict.code}",
            code=after.verdict.code,
            severity=Severity.WARNING,
            text=f"{after.device}: no path is drawn: {after.verdict.reason}",
            raised_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            input=after.device,
        )
    )


def publish_cement(mqtt: MqttPublisher, told: CementAnswer) -> None:
    """What is known of cement after a frame, or after its state has changed."""
    mqtt.publish_cement(cement_payload(told))


def publish_alerts(mqtt: MqttPublisher, before: AlertList, after: AlertList) -> None:
    """Every alert that has something new to say, and once more one that is gone.

    Millimetres and seconds alone are none: thirty events a second would push what matters out of the outbox while the
    broker is away. `/cement` has them with every frame.
    """
    known = {alert.id: alert for alert in before.items}
    for alert in after.items:
        held = known.pop(alert.id, None)
        if held is None or _said(held) != _said(alert):
            mqtt.publish_alert(alert_payload(alert))
    for gone in known.values():
        mqtt.publish_alert(alert_payload(msgspec.structs.replace(gone, present=False)))


def _said(alert: AlertAnswer) -> tuple[object, ...]:
    return alert.raised_at, alert.priority, alert.status, alert.present, alert.acknowledged_at, alert.view_to_check


def publish_figures(
    mqtt: MqttPublisher, session: Session, latency: LatencyFigures, overtaken: Mapping[str, int]
) -> None:
    """Geometry and latency of every input that sends."""
    now_ns = time.monotonic_ns()
    for device, track in session.inputs.items():
        if track.state is InputState.SILENT:
            continue
        mqtt.publish_geometry(
            GeometryPayload(
                input=device,
                state=track.state,
                geometry_state=track.verdict.state,
                reason=track.verdict.reason,
                frame_number=track.frame_number,
                age_ms=track.age_ms(now_ns),
                pixel_from_patient=track.verdict.pixel_from_patient,
                epoch=track.epoch,
                check=track.verdict.check,
            )
        )
        mqtt.publish_latency(
            LatencyPayload(
                input=device,
                now_ms=latency.now,
                p50_ms=latency.p50,
                p99_ms=latency.p99,
                worst_ms=latency.worst,
                frames=track.frames,
                dropped=overtaken.get(device, 0),
            )
        )
