"""The measuring end of a latency benchmark: sends stamped frames, notes when the answer's first byte comes back."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_HEADER: Final = struct.Struct(">H12s20sQQQ")  # version, type, device, timestamp, body size, CRC
_DRAIN_BYTES: Final = 1 << 20
_NS_PER_MS: Final = 1e6
_SEND_BUFFER_BYTES: Final = 256 << 10  # small, so that `sent` means received but for a quarter of a MiB

Packer = Callable[[int], tuple[int, list[memoryview]]]
"""frame id -> (header timestamp, buffers of the whole message)."""


@dataclass(slots=True)
class RunResult:
    """One run's figures; a frame id counts from 0 within the run.

    Attributes:
        latency_ms: frame id -> last byte in to first byte out.
        sent: frames sent.
        late_ms: how late the sender itself was against its schedule, worst.
        seconds: wall time of the run.
    """

    latency_ms: dict[int, float] = field(default_factory=dict)
    sent: int = 0
    late_ms: float = 0.0
    seconds: float = 0.0

    @property
    def lost(self) -> int:
        return self.sent - len(self.latency_ms)


def run_frames(
    sender: socket.socket, reader: socket.socket, pack: Packer, *, frames: int, rate_hz: float, device: str = ""
) -> RunResult:
    """Send frames at a steady rate and time the answers.

    Args:
        sender: connected socket into the server under test.
        reader: connected socket out of it.
        pack: gives each frame's timestamp (unique to the microsecond) and its bytes.
        frames: how many.
        rate_hz: frames per second.
        device: only answers of this device name count; "" = every IMAGE.
    """
    result = RunResult()
    sent_ns: dict[int, tuple[int, int]] = {}
    first_ns: dict[int, int] = {}
    stop = threading.Event()
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    thread = threading.Thread(target=_read_answers, args=(reader, device, first_ns, stop), daemon=True)
    thread.start()
    began_ns = time.monotonic_ns()
    interval_ns = round(1e9 / rate_hz)
    for index in range(frames):
        timestamp, buffers = pack(index)
        due_ns = began_ns + index * interval_ns
        while (wait_ns := due_ns - time.monotonic_ns()) > 0:
            time.sleep(wait_ns / 1e9)
        result.late_ms = max(result.late_ms, (time.monotonic_ns() - due_ns) / _NS_PER_MS)
        _send(sender, buffers)
        sent_ns[_microseconds(timestamp)] = (index, time.monotonic_ns())
        result.sent += 1
    deadline = time.monotonic() + 2.0
    while len(first_ns) < len(sent_ns) and time.monotonic() < deadline:
        time.sleep(0.01)
    result.seconds = (time.monotonic_ns() - began_ns) / 1e9
    stop.set()
    thread.join(timeout=2.0)
    for stamp, (index, at_ns) in sent_ns.items():
        if stamp in first_ns:
            result.latency_ms[index] = (first_ns[stamp] - at_ns) / _NS_PER_MS
    return result


def thread_cpu_ns(pid: int) -> dict[str, int]:
    """CPU time of every thread of a process and its children, `pid/tid name` -> ns; Linux's schedstat."""
    times: dict[str, int] = {}
    for process in [pid, *_descendants(pid)]:
        for task in Path(f"/proc/{process}/task").glob("*"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                spent = int((task / "schedstat").read_text().split()[0])
                times[f"{process}/{task.name} {(task / 'comm').read_text().strip()}"] = spent
    return times


def _microseconds(timestamp: int) -> int:
    # pyigtl cuts timestamps to whole nanoseconds; frames are milliseconds apart.
    return (timestamp + (1 << 11)) >> 12


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                found += [int(child), *_descendants(int(child))]
    return found


def _send(sender: socket.socket, buffers: list[memoryview]) -> None:
    pending = [buffer.cast("B") for buffer in buffers if buffer.nbytes]
    while pending:
        sent = sender.sendmsg(pending)
        while pending and sent >= len(pending[0]):
            sent -= len(pending.pop(0))
        if pending and sent:
            pending[0] = pending[0][sent:]


def _read_answers(reader: socket.socket, device: str, first_ns: dict[int, int], stop: threading.Event) -> None:
    header = bytearray(_HEADER.size)
    scratch = bytearray(_DRAIN_BYTES)
    reader.settimeout(0.2)
    while not stop.is_set():
        at_ns = _read_exactly(reader, memoryview(header), stop)
        if at_ns is None:
            return
        _, kind, name, timestamp, size, _ = _HEADER.unpack(header)
        text = name.rstrip(b"\0").decode("ascii", "replace")
        if kind.rstrip(b"\0") == b"IMAGE" and (not device or text == device):
            first_ns.setdefault(_microseconds(timestamp), at_ns)
        while size > 0:
            view = memoryview(scratch)[: min(size, _DRAIN_BYTES)]
            if _read_exactly(reader, view, stop) is None:
                return
            size -= len(view)


def _read_exactly(reader: socket.socket, view: memoryview, stop: threading.Event) -> int | None:
    """Fill the view; the time of its first byte, or None at the end."""
    first: int | None = None
    while len(view):
        try:
            taken = reader.recv_into(view)
        except TimeoutError:
            if stop.is_set():
                return None
            continue
        except OSError:
            return None
        if taken == 0:
            return None
        first = time.monotonic_ns() if first is None else first
        view = view[taken:]
    return first


def free_port() -> int:
    """A TCP port that was free a moment ago, for programs that must be told one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def connect(port: int, *, timeout_s: float = 20.0) -> socket.socket:
    """Connect to a loopback port, waiting for its listener."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=5.0)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def own_cpu_ns() -> int:
    """CPU time of this very process, to show what measuring cost."""
    times = os.times()
    return round((times.user + times.system) * 1e9)
