"""A guidance server in a process of its own, for the demonstration and the benchmarks: started, asked, ended."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from drivers.commands.latency_rig import free_port
from drivers.settings import load_settings
from guidance.errors import CaseError

_READY_WITHIN_S: Final = 60.0
_STOP_WITHIN_S: Final = 8.0
_CALL_WITHIN_S: Final = 10.0


class ServerProcess:
    """One server on loopback.

    Args:
        folder: its data folder.
        free_ports: take free ports even where the configured ones are free; else only where one is taken.
        environment: `GUIDANCE_...` variables on top of the process's own.
    """

    def __init__(self, folder: Path, *, free_ports: bool, environment: dict[str, str] | None = None) -> None:
        settings = load_settings(None)
        configured = {
            "http": settings.http.port,
            "openigtlink_input": settings.openigtlink.input_port,
            "openigtlink_output": settings.openigtlink.output_port,
            "dicom": settings.dicom.port,
        }
        self.ports = {
            name: free_port()
            if (free_ports and f"GUIDANCE_{name.upper()}_PORT" not in os.environ) or not _is_free(port)
            else port
            for name, port in configured.items()
        }
        self._environment = {
            **os.environ,
            "GUIDANCE_LOG_LEVEL": "warning",
            **(environment or {}),
            "GUIDANCE_DATA_DIR": str(folder),
            **{f"GUIDANCE_{name.upper()}_PORT": str(port) for name, port in self.ports.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id.

        Raises:
            CaseError: `server_ended`.
        """
        if self._process is None:
            raise CaseError("the server was not started", code="server_ended")
        return self._process.pid

    def start(self) -> None:
        """Start it; returns when `/readyz` says that all listen.

        Raises:
            CaseError: `server_ended` or `server_slow`.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-m", "drivers.cli", "serve"],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            # Ctrl-C in the terminal goes to the demonstration, which ends the server in its order.
            start_new_session=True,
        )
        deadline = time.monotonic() + _READY_WITHIN_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise CaseError(f"the server ended with code {self._process.returncode}", code="server_ended")
            try:
                self.call("GET", "/readyz")
            except OSError:  # not listening yet, or 503
                time.sleep(0.05)
            else:
                return
        raise CaseError(f"the server is not ready after {_READY_WITHIN_S:g} s", code="server_slow")

    def call(self, method: str, path: str, body: object = None) -> Any:
        """One HTTP request; the JSON of its answer.

        Raises:
            OSError: no answer, or an error status.
        """
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports['http']}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=_CALL_WITHIN_S) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def stop(self) -> int | None:
        """End it as a supervisor would; its exit code."""
        if self._process is None:
            return None
        self._process.terminate()
        try:
            return self._process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return port != 0
