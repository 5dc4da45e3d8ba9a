"""Prometheus text of the core's metrics, from a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from guidance.ports import MetricFamily

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class MetricsPage:
    """The text of `/metrics`; `families` is asked at every scrape."""

    def __init__(self, families: Callable[[], Sequence[MetricFamily]]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Collector(families))
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Exposition format 0.0.4."""
        return generate_latest(self._registry)


class _Collector(Collector):
    def __init__(self, families: Callable[[], Sequence[MetricFamily]]) -> None:
        self._families = families

    def describe(self) -> Iterable[Metric]:
        # Nothing at registration: the core is asked only when someone scrapes.
        return ()

    def collect(self) -> Iterable[Metric]:
        for family in self._families():
            labels = [name for name, _ in family.samples[0][0]] if family.samples else []
            make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            metric = make(f"guidance_{family.name}", family.help, labels=labels)
            for pairs, value in family.samples:
                metric.add_metric([text for _, text in pairs], value)
            yield metric
