"""`guidance bench latency`: last byte in to first byte out, beside a bare relay and a pyigtl relay, in turn."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from drivers.commands.bench_report import percentile, report
from drivers.commands.latency_peers import RATE_HZ, FloorRelay, MeasuredServer, dicom_load, pyigtl_relay
from drivers.commands.latency_pictures import ROWS, Pictures
from drivers.commands.latency_rig import RunResult, thread_cpu_ns

_WARM_UP: Final = 30


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
    pictures = Pictures()
    floor, ours, turning, peer, during, floor_during = (Series() for _ in range(6))
    with MeasuredServer(pictures) as server, FloorRelay() as floor_relay, pyigtl_relay() as peer_relay:
        server.run(pictures, _WARM_UP)
        ours_frames = 0
        cpu_by_thread: dict[str, int] = {}
        checks: Counter[str] = Counter()
        for number in range(rounds):
            floor.add(floor_relay.run(pictures, frames), number * frames)
            before = thread_cpu_ns(server.pid)
            ours.add(server.run(pictures, frames), number * frames)
            ours_frames += frames
            for name, spent in thread_cpu_ns(server.pid).items():
                cpu_by_thread[name] = cpu_by_thread.get(name, 0) + spent - before.get(name, 0)
            checks[server.check_state(pictures)] += 1
            turning.add(server.run(pictures, frames, moving=True), number * frames)
            checks[server.check_state(pictures)] += 1
            if peer_relay is not None:
                peer.add(peer_relay.run(pictures, peer_frames), number * peer_frames)
        with dicom_load(server.dicom_port, quick) as loading:
            number = 0
            while loading() and number < (6 if quick else 30):
                floor_during.add(floor_relay.run(pictures, 30), number * 30)
                during.add(server.run(pictures, 60), number * 60)
                number += 1
        status = server.status()
        sustained = _highest_rate(server, pictures, rates, seconds=1.5 if quick else 4.0)
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
        "frames_lost_in_all_runs": ours.lost + turning.lost + during.lost,
        "frames_dropped_newest_wins_in_all_runs": sum(entry["dropped"] for entry in status["inputs"].values()),
        "max_rate_hz": sustained,
        "p99_ms_during_dicom": during.percentile(99),
        "p50_ms_turning": turning.percentile(50),
        "p99_ms_turning": turning.percentile(99),
        "frames_lost_turning": turning.lost,
        "p50_ms_during_dicom": during.percentile(50),
        "floor_p50_ms_during_dicom": floor_during.percentile(50),
        "floor_p99_ms_during_dicom": floor_during.percentile(99),
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
            "rows": ROWS,
            "columns": ROWS,
            "scalar": "uint16",
            "rate_hz": RATE_HZ,
            "paths": len(pictures.paths),
            "zones": len(pictures.zones),
            "instruments": 1,
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
                    ("floor_during_dicom", floor_during),
                )
            },
            "checks": dict(checks),
            "counters": status["counters"],
        },
    )


def _highest_rate(server: MeasuredServer, pictures: Pictures, rates: tuple[float, ...], *, seconds: float) -> float:
    """The highest rate at which every frame came back."""
    best = RATE_HZ
    for rate_hz in rates:
        run = server.run(pictures, round(rate_hz * seconds), rate_hz)
        if run.lost or run.sent / run.seconds < 0.9 * rate_hz:
            break
        best = rate_hz
    return best


def _ratio(ours: float | None, peer: float | None) -> float | None:
    return None if ours is None or not peer else ours / peer


def _difference(ours: float | None, floor: float | None) -> float | None:
    return None if ours is None or floor is None else ours - floor
