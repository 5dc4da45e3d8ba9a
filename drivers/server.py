"""The server: builds every driver, connects them to the live case, starts and stops them in order."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from drivers.audit_log import AuditLog
from drivers.case_store import CaseStore
from drivers.cement_desk import CementDesk, site_cements
from drivers.dicom_messages import LogLevel
from drivers.dicom_storage import DicomReception
from drivers.http import HttpServer
from drivers.live import LiveCase
from drivers.mqtt import MqttPublisher
from drivers.mqtt_reports import publish_change, publish_figures, publish_status
from drivers.openigtlink_events import ConnectionEvent, ConnectionState
from drivers.openigtlink_input import FluoroInput
from drivers.openigtlink_output import OverlayOutput
from drivers.overlay_publisher import OverlayPublisher
from drivers.page_pictures import PagePictures
from drivers.planning_service import PlanningService
from drivers.registration import RegistrationService
from drivers.server_figures import ServerFigures
from drivers.status import heartbeat
from drivers.tasks import start_task
from guidance.case import Author
from guidance.cement.engine import CementEngine
from guidance.config import Settings
from guidance.errors import ConfigError
from guidance.geometry.calibration import CalibrationTable, calibration_table_from_text
from guidance.messages import CArmEvent, InjectorReading, VolumeState
from guidance.ports import MetricFamily
from guidance.session import InputTrack, Session, active_volume
from guidance.shapes import StatusAnswer
from guidance.wire.openigtlink import Message, Points, Refusal, StatusCode, Trajectories
from guidance.wire.openigtlink.plan import plan_items

_TICK_S: Final = 0.1
_SLOW_TICK_S: Final = 1.0
_RESTORED_WITHIN_S: Final = 10.0
_SWITCH_INTERVAL_S: Final = 0.0005  # the compute thread waits at most so long for the loop's Python code
_NO_RESOURCE: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_log = structlog.get_logger("server")


class GuidanceServer:
    """One suite's server.

    Args:
        settings: everything a site can set.

    Raises:
        ConfigError: a setting that can't be used, here or in `start`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._data_dir = Path(settings.data.dir).expanduser()
        self._started_ns = time.monotonic_ns()
        self._listening_ns = self._started_ns
        self._not_ready: list[str] = ["starting"]
        self._counters: Counter[str] = Counter()
        self._peers: dict[int, str] = {}
        self._failure: asyncio.Future[str] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._slices: set[asyncio.Task[None]] = set()  # being read

    async def start(self) -> None:
        """Listen on every port; returns when all do.

        Raises:
            ConfigError: a port is taken, a file unreadable, a folder unwritable; names it and the mend.
        """
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        settings = self._settings
        loop = asyncio.get_running_loop()
        self._failure = loop.create_future()
        # What nobody caught is our bug: going on with half of a frame's work done could show a wrong overlay.
        loop.set_exception_handler(lambda _, context: self._on_uncaught(context))
        store = CaseStore(self._data_dir)
        case, damage = store.load()
        if damage is not None:
            self._count("case_unreadable")
            _log.error("case", error=str(damage))
        cements = site_cements(settings.cement)
        session = Session(
            settings=settings.geometry,
            silence_ns=round(settings.openigtlink.input_silence_s * 1e9),
            transform_frame=settings.openigtlink.transform_frame,
            calibration=_calibration(settings.geometry.calibration_table),
            consistency=settings.consistency,
            uncertainty=settings.uncertainty,
            tracking=settings.tracking,
            cement_settings=settings.cement,
            case=case,
        )
        self._live = _Api(self, session, store, AuditLog(self._data_dir), undo_steps=settings.planning.undo_steps)
        self._planning = PlanningService(
            settings.planning, self._data_dir, self._live, on_count=self._count, on_log=self._on_planning_log
        )
        self._registration = RegistrationService(
            self._planning.process, self._live, automatic=settings.registration.automatic
        )
        self._output = OverlayOutput(
            settings.openigtlink,
            heartbeat=self._heartbeat,
            on_client=self._on_client,
            on_refused=self._on_refused,
        )
        self._page = PagePictures(
            settings.http,
            watched=lambda: self._live.watched,
            state=self._live.geometry,
            deliver=self._live.deliver,
            on_failure=self._fail,
        )
        self._publisher = OverlayPublisher(
            settings.overlay,
            self._output,
            self._page,
            CementEngine(settings.cement, cements),
            may_be_shown=self._live.may_be_shown,
            on_published=self._live.on_published,
            on_measured=self._live.on_measured,
            on_failure=self._fail,
        )
        self._input = FluoroInput(
            settings.openigtlink,
            on_frame=self._live.on_frame,
            on_transform=self._live.on_transform,
            on_plan=self._on_plan,
            on_other=self._on_other,
            on_connection=self._on_input_connection,
            on_refused=self._on_refused,
            answer_query=self._output.answer,
        )
        self._mqtt = MqttPublisher(settings.mqtt, on_injector=self._on_injector, on_carm_event=self._on_carm_event)
        self._cement = CementDesk(
            self._live,
            cements,
            output=self._output,
            mqtt=self._mqtt,
            add_slice=lambda one: self._publisher.add_slice(one),
            on_count=self._count,
        )
        self._http = HttpServer(
            settings.http,
            self._live,
            self._planning.api,
            self._registration,
            cement=self._cement,
            maximum_import_mib=settings.planning.maximum_import_mib,
        )
        self._figures = ServerFigures(
            live=self._live,
            publisher=self._publisher,
            output=self._output,
            http=self._http,
            mqtt=self._mqtt,
            peers=self._peers,
            counters=self._counters,
        )
        self._dicom = DicomReception(
            settings.dicom,
            self._data_dir,
            on_volume=self._live.on_volume,
            on_zones=self._planning.on_stored_zones,
            on_slice=self._on_slice,
            on_count=self._count,
            on_log=self._on_dicom_log,
        )
        self._publisher.start()
        await self._output.start()
        await self._input.start()
        await self._http.start()
        if settings.dicom.enabled:
            await self._dicom.start()
        await self._mqtt.start()
        self._publisher.publish_plan(self._live.case())
        self._publisher.publish_zones(self._live.session.zones)
        self._planning.start()
        # Without its tick the server would never notice silence: an error in it must end the server.
        self._tasks = [start_task(self._tick()), start_task(self._tick_slowly())]
        self._not_ready = []
        self._listening_ns = time.monotonic_ns()
        self._publish_status()
        # What start-up made lives as long as the server: the collector need not look at it again and again.
        gc.freeze()

    async def stop(self) -> None:
        """End everything, within 5 s; what was accepted is stored."""
        self._not_ready = ["stopping"]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not hasattr(self, "_dicom"):
            return
        await asyncio.gather(
            self._dicom.stop(),
            self._mqtt.stop(),
            self._input.stop(),
            self._http.stop(),
            self._registration.stop(),
            self._planning.stop(),
        )
        self._publisher.stop()
        self._page.stop()
        await self._output.stop()

    async def failed(self) -> str:
        """Waits for a bug that the server cannot go on with; the supervisor starts it anew."""
        if self._failure is None:
            raise RuntimeError("the server was not started")
        return await self._failure

    @property
    def live(self) -> LiveCase:
        """The live case; what a driver of another kind would feed."""
        return self._live

    @property
    def planning(self) -> PlanningService:
        """Planning beside the live case."""
        return self._planning

    def listeners(self) -> dict[str, str]:
        """Where it listens, by name."""
        settings = self._settings
        found = {
            "http": f"{settings.http.host}:{self._http.port}",
            "openigtlink_input": f"{settings.openigtlink.host}:{self._input.port}",
            "openigtlink_output": f"{settings.openigtlink.host}:{self._output.port}",
        }
        if settings.dicom.enabled:
            found["dicom"] = f"{settings.dicom.host}:{self._dicom.port} {settings.dicom.ae_title}"
        return found

    def page_address(self) -> str:
        """The page's URL."""
        host = self._settings.http.host
        return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{self._http.port}/"

    # What status asks

    def status(self) -> StatusAnswer:
        return self._figures.status(
            missing=self._missing(),
            uptime_s=(time.monotonic_ns() - self._started_ns) / 1e9,
            listeners=self.listeners(),
        )

    def metrics(self) -> Sequence[MetricFamily]:
        return self._figures.metrics()

    def ready(self) -> tuple[bool, Sequence[str]]:
        missing = self._missing()
        return not missing, missing

    def _missing(self) -> list[str]:
        """What is not ready yet; a volume that does not come back is not waited for without end."""
        if self._not_ready or not self._settings.dicom.enabled:
            return self._not_ready
        session = self._live.session
        volume = active_volume(session)
        restored = session.case.active is None or (volume is not None and volume.state is not VolumeState.RECEIVING)
        if restored or time.monotonic_ns() - self._listening_ns > _RESTORED_WITHIN_S * 1e9:
            return []
        return ["the active volume is being read from its files again"]

    def input_changed(self, before: InputTrack | None, after: InputTrack) -> None:
        """An input's state or its geometry changed: log, MQTT, and an alert where the overlay went away."""
        _log.info(
            "input",
            device=after.device,
            state=after.state.value,
            geometry=after.verdict.state.value,
            reason=after.verdict.reason,
        )
        self._publish_status()
        publish_change(self._mqtt, before, after)
        self._registration.input_changed(after)

    # What drivers tell

    def _on_plan(self, message: Points | Trajectories, connection_id: int) -> None:
        items = plan_items(message)
        if not items:
            self._count("plan_without_path")
        peer = self._peers.get(connection_id, "")
        self._live.on_plan(items, Author(via="openigtlink", peer=peer))

    def _on_other(self, message: Message, connection_id: int) -> None:
        self._count(f"openigtlink_ignored_{message.TYPE or type(message).__name__}")

    def _on_input_connection(self, event: ConnectionEvent) -> None:
        self._count(f"input_{event.state.value}")
        _log.info("input connection", address=event.address, state=event.state.value, detail=event.detail)
        if event.state is ConnectionState.CONNECTED:
            self._peers[event.connection_id] = event.address
        elif event.state is ConnectionState.CLOSED:
            self._peers.pop(event.connection_id, None)
            self._live.on_connection_closed(event.connection_id)

    def _on_client(self, event: ConnectionEvent) -> None:
        self._count(f"client_{event.state.value}")
        _log.info("overlay client", address=event.address, state=event.state.value, detail=event.detail)

    def _on_refused(self, refusal: Refusal, connection_id: int) -> None:
        self._count(f"openigtlink_{refusal.code}")

    def _on_slice(self, file: Path, name: str) -> None:
        task = start_task(self._cement.slice_stored(file, name))
        self._slices.add(task)
        task.add_done_callback(self._slices.discard)

    def _on_dicom_log(self, level: LogLevel, text: str) -> None:
        getattr(_log, str(level))("dicom", text=text)

    def _on_planning_log(self, level: LogLevel, text: str) -> None:
        getattr(_log, str(level))("planning", text=text)

    def _on_injector(self, reading: InjectorReading) -> None:
        self._count("injector_readings")
        self._live.on_injector(reading)

    def _on_carm_event(self, event: CArmEvent) -> None:
        self._count("carm_events")

    def _fail(self, error: BaseException) -> None:
        _log.error("bug", error=repr(error), exc_info=error)
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(f"ended by a bug: {error!r}")

    def _on_uncaught(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _NO_RESOURCE:
            # Only a listener that cannot accept; it tries again by itself, and the live path goes on.
            if not self._counters["out_of_file_descriptors"]:
                _log.error("event loop", message=context.get("message", ""), error=str(error))
            self._count("out_of_file_descriptors")
        elif isinstance(error, Exception):
            self._fail(error)
        else:
            _log.warning("event loop", message=context.get("message", ""))

    def _count(self, code: str, amount: int = 1) -> None:
        self._counters[code] += amount

    def _heartbeat(self) -> tuple[int, str]:
        missing = self._missing()
        code = StatusCode.OK if not missing else StatusCode.NOT_READY
        return code, json.dumps(heartbeat(self._live.session, missing))

    def _publish_status(self) -> None:
        publish_status(self._mqtt, self._live.session, self._missing())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._live.on_tick()

    async def _tick_slowly(self) -> None:
        while True:
            await asyncio.sleep(_SLOW_TICK_S)
            self._registration.tick()
            publish_figures(self._mqtt, self._live.session, self._live.latency(), self._publisher.overtaken)


class _Api(LiveCase):
    """The live case with what only the whole server knows."""

    def __init__(
        self, server: GuidanceServer, session: Session, store: CaseStore, audit: AuditLog, *, undo_steps: int
    ) -> None:
        super().__init__(
            session,
            store,
            audit,
            undo_steps=undo_steps,
            draw=lambda effect, session: server._publisher.draw(effect, session),
            measure=lambda asked: server._publisher.measure(asked),
            publish_plan=lambda case: server._publisher.publish_plan(case),
            publish_zones=lambda zones: server._publisher.publish_zones(zones),
            publish_needle_tip=lambda tip: server._publisher.publish_needle_tip(tip),
            publish_cement=lambda cement: server._cement.publish_cement(cement),
            publish_alerts=lambda before, after: server._cement.publish_alerts(before, after),
            input_changed=server.input_changed,
            case_changed=lambda: server._planning.case_changed(),
        )
        self._server = server

    def status(self) -> StatusAnswer:
        return self._server.status()

    def ready(self) -> tuple[bool, Sequence[str]]:
        return self._server.ready()

    def metrics(self) -> Sequence[MetricFamily]:
        return self._server.metrics()


def _calibration(file: str) -> CalibrationTable | None:
    if not file:
        return None
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot read {file}: {error}"
        raise ConfigError(message, code="bad_setting", mend="mend geometry.calibration_table") from None
    return calibration_table_from_text(text, origin=file)
