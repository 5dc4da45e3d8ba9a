"""Sockets of the storage SCP: acknowledged at once, read in large pieces, TLS shaken hands off the listener."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from guidance.config import DicomSettings
from guidance.errors import ConfigError

MAXIMUM_PDU_BYTES: Final = 128 * 1024  # dcmtk sends at most this; larger ones were no faster
_LARGEST_ACCEPTED_PDU: Final = (
    4 * MAXIMUM_PDU_BYTES
)  # an association request with many contexts is larger than a P-DATA
_HANDSHAKE_S: Final = 10.0
_QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)  # Linux only


def receive(wrapped: AssociationSocket, count: int) -> bytearray:
    """Read exactly `count` bytes, or fewer at the end of the stream.

    A sender built on dcmtk writes an instance in small pieces with Nagle's algorithm on, so each waits for our ACK,
    which the kernel delays by 40 ms; TCP_QUICKACK is not sticky and has to be set again before every read.

    Raises:
        OSError: the connection failed, or the peer announced an absurd PDU.
    """
    connection = wrapped.socket
    if connection is None:
        return bytearray()
    if count > _LARGEST_ACCEPTED_PDU:
        raise OSError(f"a PDU of {count} bytes was announced")
    buffer = bytearray(count)
    view = memoryview(buffer)
    have = 0
    while have < count:
        if _QUICKACK is not None:
            connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        got = connection.recv_into(view[have:])
        if not got:
            break
        have += got
    view.release()
    del buffer[have:]
    return buffer


class QuickRequestHandler(RequestHandler):  # type: ignore[misc]  # pynetdicom has no types that mypy may follow
    """Makes an association whose socket reads by `receive`."""

    def _create_association(self) -> Any:
        association = super()._create_association()
        wrapped = association.dul.socket
        wrapped.recv = partial(receive, wrapped)
        return association


class QuickAssociationServer(ThreadedAssociationServer):  # type: ignore[misc]  # as above
    """Listener for associations; a client that never shakes hands costs one thread, not the port.

    Attributes:
        on_refused_handshake: called with words when TLS fails.
    """

    daemon_threads = True
    request_queue_size = 64
    on_refused_handshake: Callable[[str], None] = staticmethod(lambda _words: None)

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
                self.on_refused_handshake(f"TLS with {client_address[0]} failed: {error}")
                self.shutdown_request(request)
                return
        client.settimeout(self.ae.network_timeout)
        super().process_request_thread(client, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.on_refused_handshake(f"connection of {client_address[0]} could not be served")


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
