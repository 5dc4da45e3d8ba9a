"""`guidance simulate cement`: one seeded injection as files, every frame with its truth."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np

from guidance.errors import ConfigError
from simulators.cement.case import CementCase, ViewScript
from simulators.cement.cases import case_of
from simulators.cement.files import CaseFiles, Progress, write_case
from simulators.cement.scripts import injection_of

_SIZES_PX: Final = (64, 4096)
_RATES_HZ: Final = (1.0, 60.0)
_DURATIONS_S: Final = (1.0, 600.0)


def add_cement(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("folder", type=Path, help="where to write")
    parser.add_argument("--seed", type=int, default=10_000, help="tells the whole case [10000]")
    parser.add_argument("--views", choices=get_args(ViewScript), help="how it is looked at [as the seed has it]")
    parser.add_argument("--rate-hz", type=float, help="pulses per second [as the seed has it]")
    parser.add_argument("--duration-s", type=float, help="of the scene [as the seed has it]")
    parser.add_argument("--dose", type=float, help="photons over nominal [as the seed has it]")
    parser.add_argument("--size-px", type=int, default=512, help="of the square picture [512]")
    parser.add_argument("--json", action="store_true", help="progress and report as JSON, one object a line")


def cement_case(arguments: argparse.Namespace) -> CementCase:
    """The case that the words tell.

    Raises:
        ConfigError: a number is out of its range.
    """
    if arguments.seed < 0:
        raise _refused("--seed", "0 or more")
    told: dict[str, Any] = {"size_px": _within("--size-px", arguments.size_px, _SIZES_PX)}
    for name, limits in (("rate_hz", _RATES_HZ), ("duration_s", _DURATIONS_S), ("dose", (0.01, 100.0))):
        value = getattr(arguments, name)
        if value is not None:
            told[name] = _within(f"--{name.replace('_', '-')}", value, limits)
    if arguments.views is not None:
        told["views"] = arguments.views
    case = replace(case_of(arguments.seed), **told)
    injection = injection_of(case)
    if not injection.injected_ml(case.duration_s) > 0.0:
        begins_s = float(np.interp(injection.dead_ml, injection.volumes_ml, injection.times_s))
        raise _refused(
            "--duration-s", f"more than {max(begins_s, injection.times_s[1]):.1f}: before that no cement comes"
        )
    return case


def cement_files(arguments: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Write the case; what was written, for the report.

    Raises:
        ConfigError: a number is out of its range, or the folder cannot be written.
    """
    case = cement_case(arguments)
    try:
        written: CaseFiles = write_case(case, arguments.folder, progress)
    except OSError as error:
        raise ConfigError(
            f"cannot write {arguments.folder}: {error.strerror or error}", code="no_folder", mend="name another folder"
        ) from None
    return {"case": case.name, "folder": str(arguments.folder), **asdict(written)}


def _within(word: str, value: float, limits: tuple[float, float]) -> float:
    if not limits[0] <= value <= limits[1]:
        raise _refused(word, f"{limits[0]:g} to {limits[1]:g}")
    return value


def _refused(word: str, mend: str) -> ConfigError:
    return ConfigError(f"{word} is out of its range", code="bad_argument", mend=mend)
