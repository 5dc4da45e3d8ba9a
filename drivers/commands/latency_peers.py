"""Who is measured in the latency benchmark: the server, a bare relay, a pyigtl relay; and the frames they are sent."""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from drivers.commands.latency_pictures import Pictures
from drivers.commands.latency_rig import RunResult, connect, free_port, run_frames, thread_cpu_ns
from drivers.commands.server_process import ServerProcess
from guidance.errors import CaseError
from guidance.kernels import _core
from guidance.messages import CheckState
from simulators.cbct import DicomPeer, send_cbct
from simulators.cbct_objects import CbctRun
from simulators.volumes import HuVolume

RATE_HZ: Final = 30.0
_VOLUME_WITHIN_S: Final = 30.0
_PREPARED_WITHIN_S: Final = 20.0
_ASKED_FRAMES: Final = 3
_IDLE_S: Final = 0.5
_IDLE_PART: Final = 0.1  # of one core


class MeasuredServer:
    """The guidance server in its own process, with the pictures' volume, its paths and its zones.

    Args:
        pictures: that it will be sent.
    """

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def __enter__(self) -> MeasuredServer:
        self._folder = tempfile.TemporaryDirectory(prefix="guidance-bench-")
        environment = {"GUIDANCE_LOG_LEVEL": "error", "GUIDANCE_DICOM_SERIES_QUIET_S": "1"}
        self._process = ServerProcess(Path(self._folder.name), free_ports=True, environment=environment)
        self._process.start()
        self.pid, self.dicom_port = self._process.pid, self._process.ports["dicom"]
        send_cbct(self._pictures.cbct, CbctRun(seed=1), DicomPeer(port=self.dicom_port))
        deadline = time.monotonic() + _VOLUME_WITHIN_S
        while not any(item["active"] for item in self._process.call("GET", "/api/v1/volumes")["items"]):
            if time.monotonic() > deadline:
                raise CaseError("the benchmark's volume did not become ready", code="volume_not_ready")
            time.sleep(0.05)
        for path in self._pictures.paths:
            self._process.call("POST", "/api/v1/paths", path)
        for zone in self._pictures.zones:
            self._process.call("POST", "/api/v1/zones", zone)
        self._reader = connect(self._process.ports["openigtlink_output"])
        self._sender = connect(self._process.ports["openigtlink_input"])
        self._prepare()
        return self

    def _prepare(self) -> None:
        """Wait until each frame is held against the volume: without it half of the work would not be measured."""
        deadline = time.monotonic() + _PREPARED_WITHIN_S
        while self.check_state(self._pictures) != CheckState.AGREES:
            if time.monotonic() > deadline:
                raise CaseError("the benchmark's pictures were not verified", code="not_verified")
        # What planning works out once per volume is not what is measured; where it does not end, it is measured too.
        while time.monotonic() < deadline:
            before = sum(thread_cpu_ns(self.pid).values())
            time.sleep(_IDLE_S)
            if sum(thread_cpu_ns(self.pid).values()) - before < _IDLE_PART * _IDLE_S * 1e9:
                return

    def check_state(self, pictures: Pictures) -> str:
        """What a picture says of its geometry just now; an old one says nothing."""
        self.run(pictures, _ASKED_FRAMES)
        inputs = self._process.call("GET", "/api/v1/geometry")["inputs"]
        return str(next((entry["check"]["state"] for entry in inputs.values()), ""))

    def __exit__(self, *_: object) -> None:
        self._process.stop()
        self._folder.cleanup()

    def run(self, pictures: Pictures, frames: int, rate_hz: float = RATE_HZ, *, moving: bool = False) -> RunResult:
        pack = pictures.packer(CbctRun(seed=1).frame_of_reference_uid, moving=moving)
        return run_frames(self._sender, self._reader, pack, frames=frames, rate_hz=rate_hz, device="Overlay")

    def status(self) -> dict[str, Any]:
        return dict(self._process.call("GET", "/api/v1/status"))


class FloorRelay:
    """The relay in C++."""

    def __enter__(self) -> FloorRelay:
        self._input, self._output = free_port(), free_port()
        program = floor_relay_program()
        self._process = subprocess.Popen(
            [str(program), str(self._input), str(self._output)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()
        self._reader = connect(self._output)
        self._sender = connect(self._input)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def run(self, pictures: Pictures, frames: int) -> RunResult:
        return run_frames(self._sender, self._reader, pictures.packer("1.2.3"), frames=frames, rate_hz=RATE_HZ)


class PyigtlRelay:
    """The relay of pyigtl; stopped (SIGSTOP) between its runs, for its threads poll."""

    def __enter__(self) -> PyigtlRelay:
        listener = socket.create_server(("127.0.0.1", 0))
        output = free_port()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "drivers.commands.pyigtl_relay", str(listener.getsockname()[1]), str(output)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        listener.settimeout(20.0)
        self._sender, _ = listener.accept()
        self._reader = connect(output)
        listener.close()
        self._process.send_signal(signal.SIGSTOP)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def run(self, pictures: Pictures, frames: int) -> RunResult:
        self._process.send_signal(signal.SIGCONT)
        try:
            return run_frames(self._sender, self._reader, pictures.packer("1.2.3"), frames=frames, rate_hz=RATE_HZ)
        finally:
            self._process.send_signal(signal.SIGSTOP)


@contextlib.contextmanager
def pyigtl_relay() -> Iterator[PyigtlRelay | None]:
    if importlib.util.find_spec("pyigtl") is None:
        print("pyigtl is not installed (make test installs it): its figures stay unknown", file=sys.stderr)
        yield None
        return
    with PyigtlRelay() as relay:
        yield relay


@contextlib.contextmanager
def dicom_load(port: int, quick: bool) -> Iterator[Callable[[], bool]]:
    """A CBCT of 200 MiB (quick: 50) on its way to the server; gives a function that says whether it still is."""
    slices = 100 if quick else 400
    process = multiprocessing.get_context("spawn").Process(
        target=_send_load, kwargs={"port": port, "edge": 512, "slices": slices, "seed": 2}, daemon=True
    )
    process.start()
    try:
        yield process.is_alive
    finally:
        process.join(60)
        process.kill()


def _send_load(port: int, *, edge: int, slices: int, seed: int) -> None:
    # The modality is another machine: what its sending costs here must not count against the server.
    os.nice(19)
    _send_volume(port, edge=edge, slices=slices, seed=seed)


def _send_volume(port: int, *, edge: int, slices: int, seed: int) -> None:
    spacing_mm = 240.0 / edge
    affine = np.diag([spacing_mm, spacing_mm, 240.0 / slices, 1.0])
    affine[:3, 3] = -120.0
    voxels = np.random.default_rng(seed).integers(-100, 100, (slices, edge, edge), np.int16)
    volume = HuVolume(voxels, affine, "benchmark")
    send_cbct(volume, CbctRun(seed=seed), DicomPeer(port=port))


def floor_relay_program() -> Path:
    """The floor relay that was built beside the native core.

    Raises:
        CaseError: `floor_relay_missing`.
    """
    program = Path(str(_core.__file__)).parent / "floor_relay"
    if not program.exists():
        raise CaseError(f"{program} is missing", code="floor_relay_missing", mend="build it: make setup")
    return program
