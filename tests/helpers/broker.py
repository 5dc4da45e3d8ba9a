"""A real Mosquitto on a free loopback port, and a wire to it that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest


def mosquitto_program() -> str:
    """Path of the broker; the test fails, naming the command that gets it, where there is none."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.fail("mosquitto is missing: run `make system`")
    return program


class Mosquitto:
    """One broker; `start` and `stop` may alternate, the port stays."""

    def __init__(self, folder: Path, *lines: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self._configuration = folder / "mosquitto.conf"
        # As root it would drop to a user that cannot read the test's folder.
        user = ["user root"] if os.geteuid() == 0 else []
        text = "\n".join([f"listener {self.port} 127.0.0.1", *(lines or ["allow_anonymous true"]), *user])
        self._configuration.write_text(text + "\n")
        self._process: asyncio.subprocess.Process | None = None
        self._drain: asyncio.Task[bytes] | None = None

    async def start(self) -> None:
        """Run it; returns once it accepts connections."""
        self._process = await asyncio.create_subprocess_exec(
            mosquitto_program(),
            "-v",
            "-c",
            str(self._configuration),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._process.stderr is not None
        seen = []
        async with asyncio.timeout(30):
            while line := await self._process.stderr.readline():
                seen.append(line.decode())
                if b"running" in line:
                    break
            else:
                pytest.fail("mosquitto did not start: " + "".join(seen))
        self._drain = asyncio.create_task(self._process.stderr.read())

    async def stop(self) -> None:
        """End it and wait."""
        if self._process is not None and self._drain is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            await self._process.wait()
            await self._drain
            self._process = None


class Wire:
    """A TCP relay in front of the broker; `cut` resets every connection without a word, `hold` lets none through."""

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self._target_port = target_port
        self._open = asyncio.Event()
        self._open.set()
        self._writers: list[asyncio.StreamWriter] = []

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Wire]:
        """Relay while inside."""
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.release()
            self.cut()
            await server.wait_closed()

    def cut(self) -> None:
        """Drop all connections, both sides, as a pulled plug and a reset would."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def hold(self) -> None:
        """New connections wait."""
        self._open.clear()

    def release(self) -> None:
        """New connections, and those that wait, go through."""
        self._open.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        await self._open.wait()
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers.append(other_writer)
        await asyncio.gather(_pump(reader, other_writer), _pump(other_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()
