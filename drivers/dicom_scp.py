"""The storage SCP: associations in parallel, each instance durable before it is acknowledged; parses nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pynetdicom import AE, _config, evt

from drivers.dicom_messages import LogLevel
from drivers.dicom_store import InstanceStore, Kept
from drivers.dicom_transport import MAXIMUM_PDU_BYTES, QuickAssociationServer, QuickRequestHandler, tls_context
from guidance.config import DicomSettings
from guidance.errors import ConfigError
from guidance.wire.dicom_classes import STORAGE_CLASSES, TRANSFER_SYNTAXES, VERIFICATION

SUCCESS: Final = 0x0000
OUT_OF_RESOURCES: Final = 0xA700  # PS3.4 table B.2-1
CANNOT_UNDERSTAND: Final = 0xC000

# PS3.8 section 9.3.4: transient, by the presentation service provider, local limit exceeded: "out of resources".
_REJECT_OUT_OF_RESOURCES: Final = (0x02, 0x03, 0x02)
_REASONS: Final = {3: "calling_ae_title_refused", 7: "called_ae_title_refused"}

_REQUEST_TIMEOUT_S: Final = 10.0  # from connection to association request: a port scan costs one thread that long
_IDLE_TIMEOUT_S: Final = 60.0  # pynetdicom polls: an idle association costs about 2 % of a core


class StorageScp:
    """Listens until `stop`.

    Args:
        settings: section `dicom`.
        store: where instances go.
        on_kept: called from an association's thread after an instance was made durable; must not block.
        count: called with a code whenever something is counted.
        log: called with level and text.
    """

    def __init__(
        self,
        settings: DicomSettings,
        store: InstanceStore,
        *,
        on_kept: Callable[[Kept], None],
        count: Callable[[str], None],
        log: Callable[[LogLevel, str], None],
    ) -> None:
        self._settings = settings
        self._store = store
        self._on_kept = on_kept
        self._count = count
        self._log = log
        self._storing = threading.Semaphore(_MOST_STORING)
        self._server: Any = None

    def start(self) -> int:
        """Open the port; returns its number.

        Raises:
            ConfigError: `port_taken`, `bad_certificate` or `bad_host`, with the mend.
        """
        # Received data sets go to a file piece by piece, and into the store's own file system, so that keeping one is
        # a link, not a copy.
        _config.STORE_RECV_CHUNKED_DATASET = True
        _config.LOG_HANDLER_LEVEL = "none"
        _config.ENFORCE_UID_CONFORMANCE = False
        tls = tls_context(self._settings)
        entity = AE(ae_title=self._settings.ae_title)
        entity.maximum_pdu_size = MAXIMUM_PDU_BYTES
        entity.maximum_associations = self._settings.maximum_associations
        entity.acse_timeout = _REQUEST_TIMEOUT_S
        entity.dimse_timeout = _IDLE_TIMEOUT_S
        entity.network_timeout = _IDLE_TIMEOUT_S
        try:
            entity.require_calling_aet = list(self._settings.allowed_calling_ae_titles)
        except ValueError as error:
            raise ConfigError(
                f"dicom.allowed_calling_ae_titles: {error}", code="bad_setting", mend="titles have 1 to 16 characters"
            ) from None
        entity.require_called_aet = self._settings.check_called_ae_title
        entity.add_supported_context(VERIFICATION)
        for sop_class in STORAGE_CLASSES:
            entity.add_supported_context(sop_class, list(TRANSFER_SYNTAXES))
        handlers = [
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_REJECTED, self._on_rejected),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_ABORTED, self._on_aborted),
            (evt.EVT_CONN_CLOSE, self._on_closed),
        ]
        try:
            self._server = entity.make_server(
                (self._settings.host, self._settings.port),
                ssl_context=tls,
                evt_handlers=handlers,
                server_class=QuickAssociationServer,
                request_handler=QuickRequestHandler,
            )
        except OSError as error:
            raise _listen_error(self._settings, error) from None
        entity._servers.append(self._server)  # make_server leaves that to start_server, shutdown() expects it
        self._server.on_stranger = self._on_stranger
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="dicom-listener", daemon=True).start()
        return int(self._server.server_address[1])

    def stop(self, timeout_s: float) -> None:
        """Close the port, let instances that are being stored be finished and acknowledged, abort the rest."""
        for _ in range(_MOST_STORING):
            self._storing.acquire(timeout=timeout_s / _MOST_STORING)
        for association in self._server.active_associations:
            association.dul.socket.close()
        self._server.shutdown()

    def _on_requested(self, event: Any) -> None:
        free_mib = self._store.free_mib()
        if free_mib >= self._settings.disk_watermark_mib:
            return
        self._log("error", f"association refused: {free_mib} MiB left on the disk, the watermark is higher")
        event.assoc.acse.send_reject(*_REJECT_OUT_OF_RESOURCES)
        event.assoc.is_rejected = True
        self._count("disk_watermark")
        event.assoc.kill()

    def _on_rejected(self, event: Any) -> None:
        response = event.assoc.acceptor.primitive
        code = _REASONS.get(getattr(response, "diagnostic", 0), "too_many_associations")
        self._count(code)
        titles = event.assoc.requestor.primitive
        self._log(
            "warning",
            f"association of {titles.calling_ae_title!r} to {titles.called_ae_title!r} from "
            f"{event.assoc.requestor.address} refused: {code}",
        )

    def _on_store(self, event: Any) -> int:
        if self._store.free_mib() < self._settings.disk_watermark_mib:
            self._count("disk_watermark")
            return OUT_OF_RESOURCES
        with self._storing:
            try:
                kept = self._store.keep(Path(event.dataset_path), str(event.request.AffectedSOPInstanceUID))
            except OSError as error:
                self._log("error", f"an instance could not be stored: {error}")
                self._count("store_failed")
                return OUT_OF_RESOURCES
        self._count(
            {"stored": "stored", "duplicate": "duplicate_instance", "conflict": "conflicting_instance"}[kept.outcome]
        )
        if kept.outcome != "duplicate":
            self._on_kept(kept)
        return SUCCESS

    def _on_aborted(self, event: Any) -> None:
        self._count("association_aborted")
        self._log("warning", f"association of {event.assoc.requestor.ae_title!r} was aborted")

    def _on_closed(self, event: Any) -> None:
        """Forget what came in half."""
        message = event.assoc.dimse.message
        path = getattr(message, "_data_set_path", None)
        if path is not None:
            with suppress(OSError):
                path.unlink()
            self._count("incomplete_instance")

    def _on_stranger(self, words: str) -> None:
        self._count("connection_without_association")
        self._log("warning", words)


_MOST_STORING: Final = 64


def _listen_error(settings: DicomSettings, error: OSError) -> ConfigError:
    where = f"{settings.host}:{settings.port}"
    if error.errno == 98 or "in use" in str(error):
        return ConfigError(f"DICOM port {where} is taken", code="port_taken", mend="stop who has it or set dicom.port")
    return ConfigError(f"DICOM cannot listen on {where}: {error}", code="bad_host", mend="mend dicom.host, dicom.port")
