"""What the rest of the suite tells: the injector, the C-arm's events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectorReading:
    """What the cement injector tells (contract 5.5); None is "not told".

    Attributes:
        volume_ml: delivered since the injection began.
        flow_ml_s: present flow.
        pressure_bar: pressure at the injector.
        elapsed_s: seconds since the injection began.
        running: the plunger moves.
        received_ns: server's monotonic clock.
    """

    volume_ml: float | None
    flow_ml_s: float | None
    pressure_bar: float | None
    elapsed_s: float | None
    running: bool
    received_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CArmEvent:
    """Something the C-arm reports by MQTT, such as `acquisition_started`; `details` are its other members as sent."""

    event: str
    details: Mapping[str, Any]
    received_ns: int
