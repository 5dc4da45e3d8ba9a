"""What the server's parts count, summed up for the status page and the metrics."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drivers.http import HttpServer
from drivers.live import LiveCase
from drivers.mqtt import MqttPublisher
from drivers.openigtlink_output import OverlayOutput
from drivers.overlay_publisher import OverlayPublisher
from drivers.status import metric_families, status_answer
from guidance.ports import MetricFamily
from guidance.shapes import ClientStatus, StatusAnswer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServerFigures:
    """Who is asked; `peers` and `counters` are the server's own, as they are at the moment."""

    live: LiveCase
    publisher: OverlayPublisher
    output: OverlayOutput
    http: HttpServer
    mqtt: MqttPublisher
    peers: Mapping[int, str]
    counters: Counter[str]

    def status(self, *, missing: Sequence[str], uptime_s: float, listeners: Mapping[str, str]) -> StatusAnswer:
        """The answer of GET /status."""
        session = self.live.session
        return status_answer(
            session,
            not_ready=missing,
            uptime_s=uptime_s,
            peers={device: self.peers.get(track.connection_id, "closed") for device, track in session.inputs.items()},
            overtaken=self.publisher.overtaken,
            rates_hz={device: self.publisher.rate_hz(device) for device in session.inputs},
            clients=self._clients(),
            latency=self.live.latency(),
            counters=self._all_counters(),
            listeners=listeners,
        )

    def metrics(self) -> Sequence[MetricFamily]:
        """Every counter and gauge."""
        return metric_families(
            self.live.session,
            overtaken=self.publisher.overtaken,
            published=self.publisher.published,
            clients=self._clients(),
            latency=self.live.latency(),
            counters=self._all_counters(),
            now_ns=time.monotonic_ns(),
        )

    def _clients(self) -> list[ClientStatus]:
        found = [
            ClientStatus(kind="openigtlink", peer=address, frames=sent, dropped=dropped)
            for address, sent, dropped in self.output.client_pictures()
        ]
        return [*found, *self.http.clients()]

    def _all_counters(self) -> Counter[str]:
        mqtt = self.mqtt.statistics()
        told = {
            "mqtt_connections": mqtt.connections,
            "mqtt_published": mqtt.published,
            "mqtt_events_lost": mqtt.events_lost,
            "mqtt_refused": mqtt.refused,
            "openigtlink_pictures_dropped": self.output.dropped_pictures,
            "page_pictures_dropped": self.http.dropped_pictures,
            **self.http.refused,
        }
        return self.counters + self.live.counters + Counter(told)
