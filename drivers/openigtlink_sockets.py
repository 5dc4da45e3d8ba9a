"""TCP sockets and tasks as the OpenIGTLink drivers need them: buffers, keep-alive, listening, dialling."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from typing import Final

from guidance.errors import ConfigError

BUFFER_BYTES: Final = 8 << 20  # two pictures; the kernel caps it at net.core.rmem_max and wmem_max
KEEP_ALIVE_PROBES: Final = 3
DIAL_TIMEOUT_S: Final = 5.0
_ACCEPT_PAUSE_S: Final = 1.0  # with no file descriptor left, accept fails at once again and again


class Listener:
    """Listens on one address and hands every accepted socket over, non-blocking.

    Args:
        keep_alive_s: silence after which the kernel asks whether the peer still lives.
        on_socket: called in the loop with the socket and the peer's address.
    """

    def __init__(
        self, host: str, port: int, *, keep_alive_s: float, on_socket: Callable[[socket.socket, str], None]
    ) -> None:
        self._host = host
        self._port = port
        self._keep_alive_s = keep_alive_s
        self._on_socket = on_socket
        self._socket: socket.socket | None = None
        self._resume: asyncio.TimerHandle | None = None

    async def open(self, name: str) -> None:
        """Bind and listen.

        Args:
            name: setting that holds the port, for the error.

        Raises:
            ConfigError: `port_taken`, or `bad_setting` where the address is not ours.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, address = found[0]
            listening = socket.socket(family, kind, protocol)
        except OSError as error:
            raise ConfigError(f"{name}: {self._host}: {error}", code="bad_setting", mend="mend host") from None
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tune(listening, self._keep_alive_s)  # accepted sockets inherit; the window is scaled at the handshake
            listening.bind(address)
            listening.listen(128)
            listening.setblocking(False)
        except OSError as error:
            listening.close()
            taken = error.errno == errno.EADDRINUSE
            raise ConfigError(
                f"{name}: {self._host}:{self._port}: {error.strerror}",
                code="port_taken" if taken else "bad_setting",
                mend=f"stop what listens there, or set another {name}" if taken else "mend host",
            ) from None
        self._socket = listening
        loop.add_reader(listening.fileno(), self._accept)

    @property
    def port(self) -> int:
        """Port it really listens on."""
        if self._socket is None:
            return self._port
        number: int = self._socket.getsockname()[1]
        return number

    def close(self) -> None:
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _accept(self) -> None:
        listening = self._socket
        while listening is not None and self._socket is listening:
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                loop = asyncio.get_running_loop()
                loop.remove_reader(listening.fileno())
                self._resume = loop.call_later(_ACCEPT_PAUSE_S, self._listen_again)
                return
            try:
                accepted.setblocking(False)
                tune(accepted, self._keep_alive_s)
            except OSError:  # gone already; some systems refuse options of a reset connection
                accepted.close()
                continue
            self._on_socket(accepted, address_text(address))

    def _listen_again(self) -> None:
        self._resume = None
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket.fileno(), self._accept)


async def dial(target: str, *, keep_alive_s: float) -> socket.socket:
    """A connected, non-blocking socket to `host:port`.

    Raises:
        OSError: nobody there, or not within 5 s (TimeoutError).
    """
    host, _, port = target.rpartition(":")
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(DIAL_TIMEOUT_S):
        error: OSError = ConnectionRefusedError(f"no address for {target}")
        for family, kind, protocol, _, address in await loop.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM
        ):
            dialled = socket.socket(family, kind, protocol)
            try:
                dialled.setblocking(False)
                tune(dialled, keep_alive_s)
                await loop.sock_connect(dialled, address)
            except OSError as failure:
                dialled.close()
                error = failure
            except BaseException:
                dialled.close()
                raise
            else:
                return dialled
        raise error


def tune(connection: socket.socket, keep_alive_s: float) -> None:
    """Large buffers, no Nagle delay, keep-alive; what a platform does not know is left out."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    seconds = max(1, round(keep_alive_s))
    for option, value in (
        ("TCP_KEEPIDLE", seconds),
        ("TCP_KEEPINTVL", max(1, seconds // KEEP_ALIVE_PROBES)),
        ("TCP_KEEPCNT", KEEP_ALIVE_PROBES),
    ):
        with contextlib.suppress(OSError):
            if hasattr(socket, option):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


async def end_tasks(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel and wait; the list is empty afterwards."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    tasks.clear()


def address_text(address: object) -> str:
    """`host:port` of what accept and getpeername answer; an IPv4 peer of an IPv6 socket is named as IPv4."""
    if isinstance(address, tuple) and len(address) >= 2:
        return f"{str(address[0]).removeprefix('::ffff:')}:{address[1]}"
    return str(address)
