"""Sockets of the storage SCP: acknowledged at once, read in large pieces, TLS shaken hands off the listener."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from guidance.config import DicomSettings
from guidance.errors import ConfigError

MAXIMUM_PDU_BYTES: Final = 128 * 1024  # dcmtk sends at most this; larger ones were no faster
_LARGEST_PDU_BYTES: Final = 4 * MAXIMUM_PDU_BYTES  # an association request with many contexts is long, too
_PDU_HEADER_BYTES: Final = 6
_BUSY_S: Final = 0.05
_BUSY_PAUSE_S: Final = 0.0005  # pynetdicom polls each millisecond, which every instance waits for and
_IDLE_PAUSE_S: Final = 0.005  # which costs 4 % of a core for each association where nothing happens
_HANDSHAKE_S: Final = 10.0
_QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)  # Linux only


class Wire:
    """Reading and closing of one association's socket; takes the place of pynetdicom's own.

    Args:
        association: whose socket it is.
        on_stranger: called once, with words, if the connection ends before an association was asked for.
    """

    def __init__(self, association: Any, on_stranger: Callable[[str], None]) -> None:
        self._association = association
        self._socket: AssociationSocket = association.dul.socket
        self._close = self._socket.close
        self._on_stranger = on_stranger
        self._is_told = False
        self._received_s = 0.0
        self._take_primitive = association.dul._process_recv_primitive
        self._socket.recv = self.receive
        self._socket.close = self.close
        association.dul._process_recv_primitive = self._pace

    def receive(self, count: int) -> bytearray:
        """Read exactly `count` bytes, or fewer at the end of the stream.

        A sender built on dcmtk writes an instance in small pieces with Nagle's algorithm on, so each waits for our
        ACK, which the kernel delays by 40 ms; TCP_QUICKACK is not sticky and is set again before every read.

        Raises:
            OSError: the connection failed, or what comes is no DICOM; it is then closed.
        """
        connection = self._socket.socket
        if connection is None:
            return bytearray()
        if count > _LARGEST_PDU_BYTES:
            raise self._hang_up(f"announced a PDU of {count} bytes")
        if self._association.dul.state_machine.current_state == "Sta13":
            # Aborted already: what the peer still sends is of no use and may never become a whole PDU.
            raise self._hang_up("sent what no PDU begins with, or at the wrong time")
        buffer = bytearray(count)
        with memoryview(buffer) as view:
            have = 0
            while have < count:
                if _QUICKACK is not None:
                    connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
                got = connection.recv_into(view[have:])
                if not got:
                    self._tell("hung up")
                    break
                have += got
        if have == count == _PDU_HEADER_BYTES and not 1 <= buffer[0] <= 7:
            raise self._hang_up("does not speak DICOM")
        self._received_s = time.monotonic()
        del buffer[have:]
        return buffer

    def _pace(self) -> bool:
        """Called in each round of pynetdicom's loop, which sleeps between rounds in which nothing came."""
        is_busy = time.monotonic() - self._received_s < _BUSY_S
        self._association.dul._run_loop_delay = _BUSY_PAUSE_S if is_busy else _IDLE_PAUSE_S
        return bool(self._take_primitive())

    def close(self) -> None:
        self._tell("sent what no PDU begins with, or at the wrong time")
        connection = self._socket.socket
        self._close()
        if connection is not None:
            connection.close()  # pynetdicom leaves it open where the peer was faster

    def _hang_up(self, words: str) -> OSError:
        self._tell(words)
        with suppress(OSError):
            if self._socket.socket is not None:
                self._socket.socket.shutdown(socket.SHUT_RDWR)
        return OSError(f"the peer {words}")

    def _tell(self, words: str) -> None:
        if self._association.requestor.primitive is None and not self._is_told:
            self._is_told = True
            self._on_stranger(f"{self._association.requestor.address} {words}")


class QuickRequestHandler(RequestHandler):  # type: ignore[misc]  # pynetdicom has no types that mypy may follow
    """Makes an association that reads through a `Wire`."""

    def _create_association(self) -> Any:
        association = super()._create_association()
        Wire(association, self.server.on_stranger)
        return association


class QuickAssociationServer(ThreadedAssociationServer):  # type: ignore[misc]  # as above
    """Listener for associations; a client that never shakes hands costs one thread, not the port.

    Attributes:
        on_stranger: called with words when a connection ends before an association was asked for.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    on_stranger: Callable[[str], None] = staticmethod(lambda _words: None)

    def get_request(self) -> tuple[socket.socket, Any]:
        client, address = self.socket.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return client, address

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        client = request
        if self.ssl_context is not None:
            try:
                client.settimeout(_HANDSHAKE_S)
                client = self.ssl_context.wrap_socket(client, server_side=True)
            except (OSError, ValueError) as error:
                self.on_stranger(f"{client_address[0]} failed in TLS: {error}")
                self.shutdown_request(request)
                return
        client.settimeout(self.ae.network_timeout)
        super().process_request_thread(client, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.on_stranger(f"{client_address[0]} could not be served")


def tls_context(settings: DicomSettings) -> ssl.SSLContext | None:
    """Server side of DICOM TLS (BCP 195 profile: TLS 1.2 or later), or None where no certificate is set.

    Raises:
        ConfigError: `bad_certificate`: certificate, key or CA cannot be read or do not fit each other.
    """
    if not settings.tls_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(Path(settings.tls_certificate).expanduser(), Path(settings.tls_key).expanduser())
        if settings.tls_ca:
            context.load_verify_locations(Path(settings.tls_ca).expanduser())
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"DICOM TLS: {error}",
            code="bad_certificate",
            mend="dicom.tls_certificate, tls_key and tls_ca must be readable PEM files that belong together",
        ) from None
    return context
