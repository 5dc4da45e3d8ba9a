"""Who is measured in the latency benchmark: the server, a bare relay, a pyigtl relay; and the frames they are sent."""

from __future__ import annotations

import contextlib
import importlib.util
import math
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

from drivers.commands.latency_rig import Packer, RunResult, connect, free_port, run_frames
from drivers.commands.server_process import ServerProcess
from guidance.errors import CaseError
from guidance.kernels import _core, crc64
from guidance.wire.openigtlink.image import pack_image_parts
from simulators.cbct import DicomPeer, send_cbct
from simulators.cbct_objects import CbctRun
from simulators.volumes import HuVolume

ROWS: Final = 1024
RATE_HZ: Final = 30.0
_PICTURES: Final = 16  # distinct noise pictures sent in turn, so that none is taken for a held one
_STEPS_PER_S: Final = 1 << 20
_STEP_BITS: Final = 12
_VOLUME_WITHIN_S: Final = 30.0

PATHS: Final[list[dict[str, Any]]] = [
    {
        "entry_lps_mm": [x, 60.0, z],
        "target_lps_mm": [x / 3, -20.0, z],
        "diameter_mm": 7.3,
        "label": f"S1 screw {number}",
    }
    for number, (x, z) in enumerate(((-45.0, 10.0), (-20.0, 25.0), (20.0, 25.0), (45.0, 10.0)), start=1)
]


class Pictures:
    """Packs stamped frames of seeded noise; every frame has its own number and timestamp."""

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        base = rng.normal(20000, 1500, (ROWS, ROWS))
        self._pixels = [
            np.ascontiguousarray(np.roll(base, shift, axis=1).astype(np.uint16)) for shift in range(_PICTURES)
        ]
        self._crc = [crc64(pixels.reshape(-1).view(np.uint8)) for pixels in self._pixels]
        self._number = 0

    def packer(self, frame_of_reference_uid: str, *, moving: bool = False) -> Packer:
        """Frames of a C-arm that stands, or that turns all the time."""
        geometry = {
            "XRay.SourceToDetectorMm": "1200",
            "XRay.SourceToIsocenterMm": "750",
            "XRay.ImagerPixelSpacingMm": "0.3 0.3",
            "XRay.IsocenterLpsMm": "0 0 0",
            "XRay.FrameOfReferenceUID": frame_of_reference_uid,
            "XRay.Live": "1",
        }

        def pack(index: int) -> tuple[int, list[memoryview]]:
            self._number += 1
            picture = self._number % _PICTURES
            # Real time as a sound sender stamps it; in steps of a microsecond, which pyigtl's doubles keep exactly.
            timestamp = int(time.time() * _STEPS_PER_S) << _STEP_BITS
            prefix, suffix = pack_image_parts(
                "Fluoro",
                timestamp,
                (ROWS, ROWS),
                np.uint16,
                pixels_crc64=self._crc[picture],
                metadata=geometry | self._told(moving),
            )
            pixels = memoryview(self._pixels[picture].reshape(-1).view(np.uint8).data)
            return timestamp, [memoryview(prefix), pixels, memoryview(suffix)]

        return pack

    def _told(self, moving: bool) -> dict[str, str]:
        # While it turns, nothing of one frame's geometry or drawing can serve for the next.
        swing = math.sin(self._number / 40.0) if moving else 0.5
        return {
            "XRay.FrameNumber": str(self._number),
            "XRay.PrimaryAngleDeg": f"{40.0 * swing:.3f}",
            "XRay.SecondaryAngleDeg": f"{-15.0 * swing:.3f}",
        }


class MeasuredServer:
    """The guidance server in its own process, with a small volume and four paths."""

    def __enter__(self) -> MeasuredServer:
        self._folder = tempfile.TemporaryDirectory(prefix="guidance-bench-")
        environment = {"GUIDANCE_LOG_LEVEL": "error", "GUIDANCE_DICOM_SERIES_QUIET_S": "1"}
        self._process = ServerProcess(Path(self._folder.name), free_ports=True, environment=environment)
        self._process.start()
        self.pid, self.dicom_port = self._process.pid, self._process.ports["dicom"]
        _send_volume(self.dicom_port, edge=48, slices=48, seed=1)
        deadline = time.monotonic() + _VOLUME_WITHIN_S
        while not any(item["active"] for item in self._process.call("GET", "/api/v1/volumes")["items"]):
            if time.monotonic() > deadline:
                raise CaseError("the benchmark's volume did not become ready", code="volume_not_ready")
            time.sleep(0.05)
        for path in PATHS:
            self._process.call("POST", "/api/v1/paths", path)
        self._reader = connect(self._process.ports["openigtlink_output"])
        self._sender = connect(self._process.ports["openigtlink_input"])
        return self

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
