"""`guidance bench [NAME] [--quick] [--json] [--plots DIR]`: every figure that the product promises has its command."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from drivers.commands.bench_report import print_report
from guidance.errors import ConfigError

_BENCHMARKS: Final = {
    "latency": ("drivers.commands.bench_latency", "run_latency", "frame in to overlay out, beside a floor and pyigtl"),
    "dicom": ("drivers.commands.bench_dicom", "run_dicom", "receive and assemble, beside dcmtk's storescp"),
    "planning": ("drivers.commands.bench_planning", "run_planning", "path drags, corridor search, zone outlines"),
    "drr": ("drivers.commands.bench_drr", "run_drr", "radiographs from CT, beside other CPU projectors"),
    "registration": ("drivers.commands.bench_registration", "run_registration", "2D/3D and 3D/3D on simulated views"),
    "consistency": ("drivers.commands.bench_consistency", "run_consistency", "each frame held against the volume"),
    "faults": ("drivers.commands.bench_faults", "run_faults", "what is noticed of a lying stream, and when"),
    "calibration": ("drivers.commands.bench_calibration", "run_calibration", "bead phantom to calibration table"),
    "uncertainty": ("drivers.commands.bench_uncertainty", "run_uncertainty", "whether 95 % bands hold 95 %"),
    "instruments": ("drivers.commands.bench_instruments", "run_instruments", "needles found in one and two views"),
    "cement": ("drivers.commands.bench_cement", "run_cement", "cement followed in simulated cases, against the truth"),
    "cement-speed": ("drivers.commands.bench_cement_speed", "run_cement_speed", "a frame's cement, beside OpenCV"),
    "kernels": ("drivers.commands.bench_kernels", "run_kernels", "native kernels beside their twins and a memory pass"),
}


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    names = "; ".join(f"{name}: {summary}" for name, (_, _, summary) in _BENCHMARKS.items())
    parser = subparsers.add_parser("bench", help="measure, print figures", description=names)
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"one of {', '.join(_BENCHMARKS)}; all without it")
    parser.add_argument("--quick", action="store_true", help="end within 45 s on two cores")
    parser.add_argument("--json", action="store_true", help="print JSON; with all benchmarks one object a line")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write the benchmark's charts there as SVG")
    parser.set_defaults(run=_run)


def benchmark(name: str) -> tuple[str, str]:
    """Module and function of a benchmark.

    Raises:
        ConfigError: `unknown_benchmark`.
    """
    if name not in _BENCHMARKS:
        raise ConfigError(
            f"no benchmark is named {name!r}", code="unknown_benchmark", mend=f"one of {', '.join(_BENCHMARKS)}"
        )
    return _BENCHMARKS[name][:2]


def _run(arguments: argparse.Namespace) -> int:
    for name in _BENCHMARKS if arguments.name is None else [arguments.name]:
        module, function = benchmark(name)
        print(f"{name}: {_BENCHMARKS[name][2]} ...", file=sys.stderr, flush=True)
        room = importlib.import_module(module)
        answer = getattr(room, function)(quick=arguments.quick)
        if arguments.plots is not None:
            for path in write_charts(room, answer, arguments.plots):
                print(f"wrote {path}", file=sys.stderr, flush=True)
        if arguments.json:
            print(json.dumps(answer, indent=None if arguments.name is None else 2), flush=True)
        else:
            print_report(answer)
    return 0


def write_charts(room: ModuleType, answer: dict[str, Any], folder: Path) -> list[Path]:
    """Write the charts of one answer.

    Args:
        room: the benchmark's module; it may offer `charts_of(answer) -> dict[file stem, SVG text]`.
        answer: what it answered.
        folder: where to; made if need be.

    Returns:
        The files written, in the room's order; none where it offers no chart.
    """
    charts: dict[str, str] = room.charts_of(answer) if hasattr(room, "charts_of") else {}
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for stem, text in charts.items():
        path = folder / f"{stem}.svg"
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths
