"""`guidance bench latency`: last byte in to first byte out, beside a bare relay and a pyigtl relay, in turn."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import multiprocessing
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from drivers.commands.bench_report import percentile, report
from drivers.commands.latency_rig import Packer, RunResult, connect, free_port, run_frames, thread_cpu_ns
from drivers.commands.server_process import ServerProcess
from guidance.errors import CaseError
from guidance.kernels import crc64
from guidance.wire.openigtlink.image import pack_image_parts
from simulators.cbct import DicomPeer, send_cbct
from simulators.cbct_objects import CbctRun
from simulators.volumes import HuVolume

_ROWS: Final = 1024
_RATE_HZ: Final = 30.0
_PICTURES: Final = 16  # distinct noise pictures sent in turn, so that none is taken for a held one
_WARM_UP: Final = 30
_STEPS_PER_S: Final = 1 << 20
_STEP_BITS: Final = 12
_VOLUME_WITHIN_S: Final = 30.0


@dataclass(slots=True)
class Series:
    """All runs against one peer."""

    latency_ms: list[float] = field(default_factory=list)
    sent: int = 0
    lost: int = 0
    worst: tuple[float, int] = (0.0, -1)

    def add(self, run: RunResult, offset: int) -> None:
        self.latency_ms += run.latency_ms.values()
        self.sent += run.sent
        self.lost += run.lost
        for frame, ms in run.latency_ms.items():
            self.worst = max(self.worst, (ms, offset + frame))

    def percentile(self, q: float) -> float | None:
        return percentile(self.latency_ms, q)


def run_latency(*, quick: bool) -> dict[str, Any]:
    """Measure; see `guidance bench --help`.

    Args:
        quick: end within 45 s.
    """
    rounds, frames = (2, 75) if quick else (5, 300)
    peer_frames = 45 if quick else 150
    rates = (60.0, 90.0, 120.0) if quick else (60.0, 90.0, 120.0, 150.0, 180.0, 240.0)
    pictures = _Pictures()
    floor, ours, turning, peer, during = Series(), Series(), Series(), Series(), Series()
    with _Server() as server, _Floor() as floor_relay, _pyigtl_relay() as pyigtl_relay:
        server.run(pictures, _WARM_UP)
        ours_frames = 0
        cpu_by_thread: dict[str, int] = {}
        for number in range(rounds):
            floor.add(floor_relay.run(pictures, frames), number * frames)
            before = thread_cpu_ns(server.pid)
            ours.add(server.run(pictures, frames), number * frames)
            ours_frames += frames
            for name, spent in thread_cpu_ns(server.pid).items():
                cpu_by_thread[name] = cpu_by_thread.get(name, 0) + spent - before.get(name, 0)
            turning.add(server.run(pictures, frames, moving=True), number * frames)
            if pyigtl_relay is not None:
                peer.add(pyigtl_relay.run(pictures, peer_frames), number * peer_frames)
        with _dicom_load(server.dicom_port, quick) as loading:
            number = 0
            while loading() and number < (6 if quick else 30):
                during.add(server.run(pictures, 60), number * 60)
                number += 1
        sustained = _highest_rate(server, pictures, rates, seconds=1.5 if quick else 4.0)
        dropped = server.status()["counters"]
    cpu_ms = sum(cpu_by_thread.values()) / 1e6 / ours_frames
    figures = {
        "p50_ms": ours.percentile(50),
        "p99_ms": ours.percentile(99),
        "p999_ms": ours.percentile(99.9),
        "worst_ms": ours.worst[0],
        "worst_frame": ours.worst[1],
        "floor_p50_ms": floor.percentile(50),
        "floor_p99_ms": floor.percentile(99),
        "cpu_ms_per_frame": cpu_ms,
        "frames": ours.sent,
        "frames_lost": ours.lost,
        "max_rate_hz": sustained,
        "p99_ms_during_dicom": during.percentile(99),
        "p50_ms_turning": turning.percentile(50),
        "p99_ms_turning": turning.percentile(99),
        "frames_lost_turning": turning.lost,
        "p50_ms_during_dicom": during.percentile(50),
        "frames_lost_during_dicom": during.lost,
        "frames_during_dicom": during.sent,
        "pyigtl_p50_ms": peer.percentile(50),
        "pyigtl_p99_ms": peer.percentile(99),
        "ratio_p50_vs_pyigtl": _ratio(ours.percentile(50), peer.percentile(50)),
        "ratio_p99_vs_pyigtl": _ratio(ours.percentile(99), peer.percentile(99)),
        "p50_above_floor_ms": _difference(ours.percentile(50), floor.percentile(50)),
        "p99_limit_ms": None if floor.percentile(99) is None else 3.0 * (floor.percentile(99) or 0.0) + 5.0,
    }
    return report(
        "latency",
        settings={
            "rows": _ROWS,
            "columns": _ROWS,
            "scalar": "uint16",
            "rate_hz": _RATE_HZ,
            "paths": len(_PATHS),
            "clients": 1,
            "rounds": rounds,
            "quick": quick,
            "order": "floor, guidance with the C-arm standing, with it turning all the time, pyigtl; in turn",
        },
        figures=figures,
        series={
            "cpu_ms_per_frame_by_thread": {
                name: round(spent / 1e6 / ours_frames, 4) for name, spent in sorted(cpu_by_thread.items())
            },
            "latency_percentiles_ms": {
                name: {str(q): series.percentile(q) for q in (1, 10, 50, 90, 99, 99.9)}
                for name, series in (
                    ("floor", floor),
                    ("guidance", ours),
                    ("guidance_turning", turning),
                    ("pyigtl", peer),
                    ("during_dicom", during),
                )
            },
            "counters": dropped,
        },
    )


_PATHS: Final[list[dict[str, Any]]] = [
    {
        "entry_lps_mm": [x, 60.0, z],
        "target_lps_mm": [x / 3, -20.0, z],
        "diameter_mm": 7.3,
        "label": f"S1 screw {number}",
    }
    for number, (x, z) in enumerate(((-45.0, 10.0), (-20.0, 25.0), (20.0, 25.0), (45.0, 10.0)), start=1)
]


class _Pictures:
    """Packs stamped frames of seeded noise; every frame has its own number and timestamp."""

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        base = rng.normal(20000, 1500, (_ROWS, _ROWS))
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
                (_ROWS, _ROWS),
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


class _Server:
    """The guidance server in its own process, with a small volume and four paths."""

    def __enter__(self) -> _Server:
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
        for path in _PATHS:
            self._process.call("POST", "/api/v1/paths", path)
        self._reader = connect(self._process.ports["openigtlink_output"])
        self._sender = connect(self._process.ports["openigtlink_input"])
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()
        self._folder.cleanup()

    def run(self, pictures: _Pictures, frames: int, rate_hz: float = _RATE_HZ, *, moving: bool = False) -> RunResult:
        pack = pictures.packer(CbctRun(seed=1).frame_of_reference_uid, moving=moving)
        return run_frames(self._sender, self._reader, pack, frames=frames, rate_hz=rate_hz, device="Overlay")

    def status(self) -> dict[str, Any]:
        return dict(self._process.call("GET", "/api/v1/status"))


class _Floor:
    """The relay in C++."""

    def __enter__(self) -> _Floor:
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

    def run(self, pictures: _Pictures, frames: int) -> RunResult:
        return run_frames(self._sender, self._reader, pictures.packer("1.2.3"), frames=frames, rate_hz=_RATE_HZ)


class _PyigtlRelay:
    """The relay of pyigtl; stopped (SIGSTOP) between its runs, for its threads poll."""

    def __enter__(self) -> _PyigtlRelay:
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

    def run(self, pictures: _Pictures, frames: int) -> RunResult:
        self._process.send_signal(signal.SIGCONT)
        try:
            return run_frames(self._sender, self._reader, pictures.packer("1.2.3"), frames=frames, rate_hz=_RATE_HZ)
        finally:
            self._process.send_signal(signal.SIGSTOP)


@contextlib.contextmanager
def _pyigtl_relay() -> Iterator[_PyigtlRelay | None]:
    if importlib.util.find_spec("pyigtl") is None:
        print("pyigtl is not installed (make test installs it): its figures stay unknown", file=sys.stderr)
        yield None
        return
    with _PyigtlRelay() as relay:
        yield relay


@contextlib.contextmanager
def _dicom_load(port: int, quick: bool) -> Iterator[Callable[[], bool]]:
    """A CBCT of 200 MiB (quick: 50) on its way to the server; gives a function that says whether it still is."""
    slices = 100 if quick else 400
    process = multiprocessing.get_context("spawn").Process(
        target=_send_volume, kwargs={"port": port, "edge": 512, "slices": slices, "seed": 2}, daemon=True
    )
    process.start()
    try:
        yield process.is_alive
    finally:
        process.join(60)
        process.kill()


def _send_volume(port: int, *, edge: int, slices: int, seed: int) -> None:
    spacing_mm = 240.0 / edge
    affine = np.diag([spacing_mm, spacing_mm, 240.0 / slices, 1.0])
    affine[:3, 3] = -120.0
    voxels = np.random.default_rng(seed).integers(-100, 100, (slices, edge, edge), np.int16)
    volume = HuVolume(voxels, affine, "benchmark")
    send_cbct(volume, CbctRun(seed=seed), DicomPeer(port=port))


def _highest_rate(server: _Server, pictures: _Pictures, rates: tuple[float, ...], *, seconds: float) -> float:
    """The highest rate at which every frame came back."""
    best = _RATE_HZ
    for rate_hz in rates:
        run = server.run(pictures, round(rate_hz * seconds), rate_hz)
        if run.lost or run.sent / run.seconds < 0.9 * rate_hz:
            break
        best = rate_hz
    return best


def floor_relay_program() -> Path:
    """The floor relay that was built beside the native core.

    Raises:
        CaseError: `floor_relay_missing`.
    """
    from guidance.kernels import _core

    program = Path(str(_core.__file__)).parent / "floor_relay"
    if not program.exists():
        raise CaseError(f"{program} is missing", code="floor_relay_missing", mend="build it: make setup")
    return program


def _ratio(ours: float | None, peer: float | None) -> float | None:
    return None if ours is None or not peer else ours / peer


def _difference(ours: float | None, floor: float | None) -> float | None:
    return None if ours is None or floor is None else ours - floor
