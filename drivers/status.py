"""What the server tells about itself: status page, metrics, heartbeat; sums up, decides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from guidance import VERSION
from guidance.kernels import instruction_set
from guidance.messages import InputState
from guidance.ports import MetricFamily
from guidance.session import Session, active_volume
from guidance.shapes import ClientStatus, InputStatus, LatencyFigures, StatusAnswer, VolumeShown

_KINDS: Final[dict[str, Literal["procedural", "real"]]] = {"procedural": "procedural", "real pelvis ct": "real"}


def volume_shown(session: Session) -> VolumeShown | None:
    """What the active volume is, in words for everyone who looks at the page; only its own description can tell."""
    volume = active_volume(session)
    if volume is None:
        return None
    description = volume.description.lower()
    kind: Literal["real", "procedural", "unknown"] = "unknown"
    for words, told in _KINDS.items():
        if words in description:
            kind = told
    return VolumeShown(id=volume.id, name=volume.description or volume.series_instance_uid, kind=kind)


def status_answer(
    session: Session,
    *,
    not_ready: Sequence[str],
    uptime_s: float,
    peers: Mapping[str, str],
    overtaken: Mapping[str, int],
    rates_hz: Mapping[str, float | None],
    clients: Sequence[ClientStatus],
    latency: LatencyFigures,
    counters: Mapping[str, int],
    listeners: Mapping[str, str],
) -> StatusAnswer:
    """The answer of GET /status."""
    inputs = {
        device: InputStatus(
            state=track.state,
            peer=peers.get(device, ""),
            frames=track.frames,
            dropped=overtaken.get(device, 0),
            rate_hz=None if track.silent else rates_hz.get(device),
            detail=_clock_words(track.clock.frozen, track.clock.steps, track.clock.backwards),
        )
        for device, track in session.inputs.items()
    }
    return StatusAnswer(
        version=VERSION,
        ready=not not_ready,
        reasons=tuple(not_ready),
        uptime_s=round(uptime_s, 3),
        volume=volume_shown(session),
        inputs=inputs,
        clients=tuple(clients),
        latency_ms=latency,
        counters=dict(sorted(counters.items())),
        listeners=dict(listeners),
    )


def metric_families(
    session: Session,
    *,
    overtaken: Mapping[str, int],
    published: Mapping[str, int],
    clients: Sequence[ClientStatus],
    latency: LatencyFigures,
    counters: Mapping[str, int],
    now_ns: int,
) -> list[MetricFamily]:
    """Every counter and gauge of GET /metrics."""
    devices = sorted(session.inputs)

    def by_device(values: Mapping[str, float]) -> tuple[Any, ...]:
        return tuple(((("input", device),), float(values.get(device, 0))) for device in devices)

    states = tuple(
        ((("input", device), ("state", state.value)), float(session.inputs[device].state is state))
        for device in devices
        for state in InputState
    )
    families = [
        MetricFamily(
            name="build_info",
            kind="gauge",
            help="Version and instruction set",
            samples=(((("version", VERSION), ("instruction_set", instruction_set())), 1.0),),
        ),
        MetricFamily(
            name="frames_received",
            kind="counter",
            help="Fluoroscopy frames in",
            samples=by_device({device: track.frames for device, track in session.inputs.items()}),
        ),
        MetricFamily(
            name="frames_published", kind="counter", help="Frames whose overlay went out", samples=by_device(published)
        ),
        MetricFamily(
            name="frames_overtaken",
            kind="counter",
            help="Frames that gave way to a newer one before they were drawn",
            samples=by_device(overtaken),
        ),
        MetricFamily(
            name="frames_held",
            kind="counter",
            help="Frames that were held or repeated",
            samples=by_device({device: track.liveness.repeats for device, track in session.inputs.items()}),
        ),
        MetricFamily(
            name="frame_age_seconds",
            kind="gauge",
            help="Age of the picture on the screen",
            samples=by_device({device: track.age_ms(now_ns) / 1000 for device, track in session.inputs.items()}),
        ),
        MetricFamily(
            name="residual_mm",
            kind="gauge",
            help="How far off the geometry what is seen lies, at the isocentre, smoothed",
            samples=by_device(
                {
                    device: track.verdict.check.residual_mm
                    for device, track in session.inputs.items()
                    if track.verdict.check.residual_mm is not None
                }
            ),
        ),
        MetricFamily(name="input_state", kind="gauge", help="1 for the state that an input is in", samples=states),
        MetricFamily(
            name="events",
            kind="counter",
            help="Refusals, losses and findings by name",
            samples=tuple(((("code", code),), float(count)) for code, count in sorted(counters.items())),
        ),
        MetricFamily(
            name="client_pictures_dropped",
            kind="counter",
            help="Pictures that slow receivers lost",
            # Since the start: what those lost who are gone must not be taken back.
            samples=tuple(
                ((("kind", kind),), float(counters.get(f"{kind}_pictures_dropped", 0)))
                for kind in ("openigtlink", "page")
            ),
        ),
        MetricFamily(
            name="clients",
            kind="gauge",
            help="Connected receivers",
            samples=tuple(((("kind", kind),), float(count)) for kind, count in _connected(clients).items()),
        ),
        MetricFamily(name="epoch", kind="gauge", help="Registration epoch", samples=(((), float(session.case.epoch)),)),
    ]
    if latency.p50 is not None and latency.p99 is not None:
        families.append(
            MetricFamily(
                name="latency_seconds",
                kind="gauge",
                help="Last byte in to first byte out, last minute of frames",
                samples=(
                    ((("quantile", "0.5"),), latency.p50 / 1000),
                    ((("quantile", "0.99"),), latency.p99 / 1000),
                ),
            )
        )
    return families


def heartbeat(session: Session, not_ready: Sequence[str]) -> dict[str, Any]:
    """The state that STATUS `Guidance` carries as JSON."""
    return {
        "ready": not not_ready,
        "reasons": list(not_ready),
        "epoch": session.case.epoch,
        "active_volume_id": session.case.active_volume_id or None,
        "inputs": {
            device: {
                "state": track.state.value,
                "geometry_state": track.verdict.state.value,
                "image_check": track.verdict.check.state.value,
            }
            for device, track in session.inputs.items()
        },
    }


def _clock_words(frozen: bool, steps: int, backwards: int) -> str:
    words = ["the sender's clock stands still"] if frozen else []
    words += [f"the sender's clock was set {steps} times"] if steps else []
    words += [f"timestamps went backwards {backwards} times"] if backwards else []
    return "; ".join(words)


def _connected(clients: Sequence[ClientStatus]) -> Counter[str]:
    return Counter(client.kind for client in clients)
