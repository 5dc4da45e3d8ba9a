"""`guidance bench [NAME] [--quick] [--json]`: every figure that the product promises has its command here."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from typing import Final

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
    "kernels": ("drivers.commands.bench_kernels", "run_kernels", "native kernels beside their twins and a memory pass"),
}


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    names = "; ".join(f"{name}: {summary}" for name, (_, _, summary) in _BENCHMARKS.items())
    parser = subparsers.add_parser("bench", help="measure, print figures", description=names)
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"one of {', '.join(_BENCHMARKS)}; all without it")
    parser.add_argument("--quick", action="store_true", help="end within 45 s on two cores")
    parser.add_argument("--json", action="store_true", help="print JSON; with all benchmarks one object a line")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.name is not None and arguments.name not in _BENCHMARKS:
        raise ConfigError(
            f"no benchmark is named {arguments.name!r}",
            code="unknown_benchmark",
            mend=f"one of {', '.join(_BENCHMARKS)}",
        )
    for name in _BENCHMARKS if arguments.name is None else [arguments.name]:
        module, function, summary = _BENCHMARKS[name]
        print(f"{name}: {summary} ...", file=sys.stderr, flush=True)
        answer = getattr(importlib.import_module(module), function)(quick=arguments.quick)
        if arguments.json:
            print(json.dumps(answer, indent=None if arguments.name is None else 2), flush=True)
        else:
            print_report(answer)
    return 0
