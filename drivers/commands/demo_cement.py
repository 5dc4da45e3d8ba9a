"""The injection of the demonstration: the suite's cement, followed by the server, and what the server said of it."""

from __future__ import annotations

import asyncio
import json
import math
import time
import urllib.error
from dataclasses import dataclass, field
from typing import Any, Final

from drivers.commands.server_process import ServerProcess
from drivers.tasks import end_all
from guidance.config import MqttSettings
from guidance.errors import ConfigError
from simulators.cement.demo import BRAND
from simulators.cement.grown import GrownCement
from simulators.injector import SimulatedInjector
from simulators.injector_stream import InjectorStream
from simulators.suite import SimulatedSuite

_MIXED_S_AGO: Final = 150.0
_ROOM_C: Final = 21.0


@dataclass(slots=True)
class Injection:
    """What came of it.

    Attributes:
        followed: the server follows the cement.
        why_not: what it said where it does not.
        begun_s: this machine's clock when cement began to flow; None: not yet.
        alerts: texts of the server's alerts, in the order that they were raised, and when after the begin.
        volume: GET /cement's newest volume_ml, volume_low_ml, volume_high_ml.
        distance_mm: least told distance to a zone that cement must not get into.
        volume_true_ml, stream_s: cement in the patient on the newest picture, and how long pictures were taken.
    """

    followed: bool = False
    why_not: str = ""
    begun_s: float | None = None
    alerts: dict[str, tuple[float, str]] = field(default_factory=dict)
    volume: tuple[float | None, float | None, float | None] = (None, None, None)
    distance_mm: float | None = None
    volume_true_ml: float = 0.0
    stream_s: float = 0.0

    def words(self) -> str:
        """For the status line; "" before it has begun."""
        if self.begun_s is None:
            return ""
        volume, low, high = self.volume
        said = ["cement"]
        if volume is not None:
            said.append(f"{volume:.1f} ml")
        if low is not None and high is not None:
            said.append(f"({low:.1f} to {high:.1f} ml)")
        if self.distance_mm is not None:
            said.append(f"{self.distance_mm:.1f} mm to go")
        if self.alerts:
            said.append(f"{len(self.alerts)} alerts")
        return " ".join(said)

    def summary(self, grown: GrownCement) -> dict[str, Any]:
        """For the end; the true time of contact beside what was said."""
        contact_s = min((truth.contact_s for truth in grown.zone_truth.values()), default=math.inf)
        volume, low, high = self.volume
        return {
            "followed": self.followed,
            "why_not": self.why_not,
            "seconds": round(self.stream_s, 1),
            "volume_ml": volume,
            "volume_low_ml": low,
            "volume_high_ml": high,
            "volume_true_ml": round(self.volume_true_ml, 3),
            "contact_true_s": contact_s if math.isfinite(contact_s) else None,
            "alerts": [{"after_s": round(after_s, 1), "text": text} for after_s, text in self.alerts.values()],
        }


async def inject(server: ServerProcess, suite: SimulatedSuite, injection: Injection, mqtt: MqttSettings) -> None:
    """Take a reference, ask the server to follow, let cement flow; never ends by itself.

    Args:
        injection: filled in.
        mqtt: the site's broker; with a plain one the injector tells its readings there, and obeys a stop.
    """
    assert suite.plan.cement is not None
    injector = SimulatedInjector(suite.plan.cement.injection)

    def grown_s(t_s: float) -> float:
        # By the injector's clock: a machine that is too slow for the pictures does not hold up the plunger.
        return t_s if injection.begun_s is None else injector.given_s(time.monotonic() - injection.begun_s)

    stream = await suite.injection(grown_s)
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(stream.run(hold=True))]
    try:
        await stream.reference_taken.wait()
        body = {"brand": BRAND, "mixed_s_ago": _MIXED_S_AGO, "temperature_c": _ROOM_C}
        try:
            await asyncio.to_thread(server.call, "POST", "/api/v1/cement/start", body)
            injection.followed = True
        except OSError as error:
            injection.why_not = _problem(error)
        readings = _readings(injector, mqtt)
        if readings is not None:
            tasks.append(asyncio.create_task(readings.run()))
        injection.begun_s = time.monotonic()
        stream.begun.set()
        await asyncio.gather(*tasks)
    finally:
        if stream.last is not None:
            injection.volume_true_ml, injection.stream_s = stream.last.volume_ml, stream.last.t_s
        await end_all(tasks)


async def look(server: ServerProcess, injection: Injection) -> list[str]:
    """Ask the server what it knows; returns the texts of alerts that are new."""
    if not injection.followed or injection.begun_s is None:
        return []
    cement = await asyncio.to_thread(server.call, "GET", "/api/v1/cement")
    injection.volume = (cement["volume_ml"], cement["volume_low_ml"], cement["volume_high_ml"])
    distances = [site["distance_mm"] for site in cement["sites"] if site["distance_mm"] is not None]
    injection.distance_mm = min(distances, default=None)
    alerts = (await asyncio.to_thread(server.call, "GET", "/api/v1/alerts"))["items"]
    new = [alert for alert in alerts if alert["id"] not in injection.alerts]
    for alert in new:
        injection.alerts[alert["id"]] = (time.monotonic() - injection.begun_s, alert["text"])
    return [alert["text"] for alert in new]


def _readings(injector: SimulatedInjector, mqtt: MqttSettings) -> InjectorStream | None:
    """The injector at the site's broker; None where there is none, or it asks for more than the simulated one has."""
    if not mqtt.url or mqtt.username:
        return None
    try:
        return InjectorStream(injector, mqtt.url, mqtt.suite)
    except ConfigError:
        return None


def _problem(error: OSError) -> str:
    """The server's own words, of its problem document."""
    if isinstance(error, urllib.error.HTTPError):
        try:
            told = json.loads(error.read())
        except ValueError:
            return str(error)
        return str(told.get("detail") or told.get("title") or error)
    return str(error)
