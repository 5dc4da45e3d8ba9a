"""The shape in which every benchmark answers (contract 5.7), and the machine's facts beside the figures."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from guidance import VERSION
from guidance.kernels import instruction_set


def report(name: str, *, settings: dict[str, Any], figures: dict[str, Any], series: dict[str, Any]) -> dict[str, Any]:
    """One benchmark's answer: `{"name", "version", "machine", "settings", "figures", "series"}`."""
    return {
        "name": name,
        "version": VERSION,
        "machine": machine(),
        "settings": settings,
        "figures": {key: _rounded(value) for key, value in figures.items()},
        "series": series,
    }


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "instruction_set": instruction_set(),
        "python": platform.python_version(),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def percentile(values: list[float], q: float) -> float | None:
    """The q-th percentile (0 to 100); None of nothing."""
    return float(np.percentile(values, q)) if values else None


def print_report(answer: dict[str, Any]) -> None:
    """The figures for people."""
    facts = answer["machine"]
    print(f"{answer['name']}  ({facts['processor']}, {facts['usable_cores']} cores, load {facts['load_1min']})")
    width = max((len(key) for key in answer["figures"]), default=0)
    for key, value in answer["figures"].items():
        print(f"  {key:<{width}}  {'unknown' if value is None else value}")


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
