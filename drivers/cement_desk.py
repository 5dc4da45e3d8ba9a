"""Cement and its alerts for HTTP, and what receivers are told of them: OpenIGTLink's Alert, MQTT's cement and alert."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from drivers.live import LiveCase
from drivers.mqtt import MqttPublisher
from drivers.mqtt_reports import publish_alerts, publish_cement
from drivers.openigtlink_output import OverlayOutput
from guidance.alerts.book import AlertBook, newly_raised
from guidance.case import Author
from guidance.cement.alert_answers import AlertAnswer, AlertList, acknowledged_answer, alert_list, alert_objects
from guidance.cement.answers import CementAnswer, CementBrand
from guidance.cement.profiles import CementLibrary, cement_library
from guidance.cement.progress import CementProgress
from guidance.cement.slices import CementSlice
from guidance.cement.told import cement_answer, cement_brands
from guidance.cement.working_time import WorkingTime, working_time
from guidance.config import CementSettings
from guidance.errors import ConfigError, WireError
from guidance.messages import CementMaterial, CementView
from guidance.session import active_volume
from guidance.wire.ct_slices import read_slice
from guidance.wire.openigtlink.outputs import THICKNESS_DEVICE

_NS_PER_S: Final = 1e9

_log = structlog.get_logger("cement")


class CementDesk:
    """`guidance.ports.CementApi` over the live case.

    Args:
        live: where cement is followed.
        library: the cements that are known by name.
        output: OpenIGTLink clients.
        mqtt: the broker.
        add_slice: has a CT slice taken into what is known.
        on_count: code of what is counted.
    """

    def __init__(
        self,
        live: LiveCase,
        library: CementLibrary,
        *,
        output: OverlayOutput,
        mqtt: MqttPublisher,
        add_slice: Callable[[CementSlice], None],
        on_count: Callable[[str], None],
    ) -> None:
        self._live = live
        self._library = library
        self._output = output
        self._mqtt = mqtt
        self._add_slice = add_slice
        self._on_count = on_count
        self._wall_from_monotonic_ns = time.time_ns() - time.monotonic_ns()

    # guidance.ports.CementApi

    def cement(self) -> CementAnswer:
        return self._answer(self._live.session.cement)

    def cement_view(self, device: str) -> CementView | None:
        seen = self._live.session.cement.seen.get(device)
        return seen.view if seen is not None else None

    def brands(self) -> Sequence[CementBrand]:
        return cement_brands(self._library)

    def start_cement(self, material: CementMaterial, *, author: Author) -> None:
        # An unknown brand is refused here, before anything changes.
        cement = self._library.known(material)
        clock = working_time(cement, mixed_s=material.mixed_s_ago, temperature_c=material.temperature_c)
        now_ns = time.monotonic_ns()
        ends_ns = None if clock.left_s is None else now_ns + round(clock.left_s * _NS_PER_S)
        self._live.start_cement(material, work_ends_ns=ends_ns)
        _log.info("started", brand=material.brand, opacity_per_mm=material.opacity_per_mm, via=author.via)

    def stop_cement(self, *, author: Author) -> None:
        self._live.stop_cement()
        _log.info("stopped", via=author.via)

    def alerts(self) -> AlertList:
        return alert_list(self._live.session.alerts, wall_from_monotonic_ns=self._wall_from_monotonic_ns)

    def acknowledge(self, alert_id: str, *, by: str) -> AlertAnswer:
        before = self._live.session.alerts
        self._live.acknowledge_alert(alert_id, by)
        answer = acknowledged_answer(
            before,
            self._live.session.alerts,
            alert_id,
            by=by,
            now_ns=time.monotonic_ns(),
            wall_from_monotonic_ns=self._wall_from_monotonic_ns,
        )
        _log.info("acknowledged", alert=alert_id, by=by, text=answer.text)
        return answer

    async def slice_stored(self, file: Path, name: str) -> None:
        """A CT Image has been stored: it counts while cement is followed, where it is in the active volume's frame."""
        if self._live.session.cement.run is None:
            return
        received_ns = time.monotonic_ns()
        try:
            data = await asyncio.to_thread(file.read_bytes)
            stored = await asyncio.to_thread(read_slice, data, name=name, received_ns=received_ns)
        except (WireError, OSError) as error:
            self._on_count("cement_slice_refused")
            _log.warning("slice", name=name, error=str(error))
            return
        volume = active_volume(self._live.session)
        if volume is None or stored.frame_of_reference_uid != volume.frame_of_reference_uid:
            self._on_count("cement_slice_of_another_frame")
            _log.warning("slice", name=name, error="it is not in the active volume's frame of reference")
            return
        self._on_count("cement_slices")
        self._add_slice(stored.cement_slice)

    # What the live case has to tell

    def publish_cement(self, known: CementProgress) -> None:
        """What is known of cement has changed."""
        if known.run is None:
            self._output.withdraw("IMAGE", THICKNESS_DEVICE)  # who asks must not get the last one's map
        if self._mqtt.on:
            publish_cement(self._mqtt, self._answer(known))

    def publish_alerts(self, before: AlertBook, after: AlertBook) -> None:
        """The latched alerts have changed."""
        told = alert_list(after, wall_from_monotonic_ns=self._wall_from_monotonic_ns)
        self._output.set_alerts(alert_objects(told))
        for alert in newly_raised(before, after):
            _log.warning("alert", id=alert.id, priority=alert.condition.priority.value, text=alert.condition.text)
        if self._mqtt.on:
            publish_alerts(self._mqtt, alert_list(before, wall_from_monotonic_ns=self._wall_from_monotonic_ns), told)

    def _answer(self, known: CementProgress) -> CementAnswer:
        now_ns = time.monotonic_ns()
        return cement_answer(
            known, now_ns=now_ns, wall_from_monotonic_ns=self._wall_from_monotonic_ns, clock=self._clock(known, now_ns)
        )

    def _clock(self, known: CementProgress, now_ns: int) -> WorkingTime | None:
        run = known.run
        if run is None or not run.material.brand:
            return None
        mixed_s = run.material.mixed_s_ago
        if mixed_s is not None:
            mixed_s += (now_ns - run.started_ns) / _NS_PER_S
        return working_time(
            self._library.known(run.material), mixed_s=mixed_s, temperature_c=run.material.temperature_c
        )


def site_cements(settings: CementSettings) -> CementLibrary:
    """The built-in cements and the site's own.

    Raises:
        ConfigError: a file that cannot be read or used.
    """
    if not settings.profiles:
        return cement_library()
    try:
        text = Path(settings.profiles).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot read {settings.profiles}: {error}"
        raise ConfigError(message, code="bad_setting", mend="mend cement.profiles") from None
    return cement_library(text, origin=settings.profiles)
