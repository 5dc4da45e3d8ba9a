"""`guidance register`: where a volume is seen in pictures, or where a second volume lies in it; without a server."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from drivers.commands.arguments import vector
from drivers.commands.plan_files import load_volume
from drivers.commands.plan_tables import finding_lines
from drivers.commands.register_inputs import load_view
from drivers.settings import add_config_argument, load_settings
from guidance.errors import CaseError, ConfigError
from guidance.messages import F64, Finding, Severity, Vector3
from guidance.registration.answers import RegistrationAnswer, Rows, registration_answer
from guidance.registration.values import IDENTITY, motion_vector
from guidance.registration.views import MAXIMUM_VIEWS, register_views
from guidance.registration.volume import registration_volume
from guidance.registration.volume_answers import VolumeRegistrationAnswer, volume_registration_answer
from guidance.registration.volumes import register_volumes
from guidance.wire.json_text import json_text
from guidance.wire.volume_files import FileVolume

_MAXIMUM_THREADS: Final = 64
_LARGE_TURN_DEG: Final = 45.0  # nobody lies that much askew; what follows from it (angles, sides) must be looked at

_DESCRIPTION: Final = """\
With --view: where the volume is seen in radiographs. A view is a JSON file {"image": FILE, "geometry": {KEY: VALUE}}:
FILE is a PNG, TIFF, NPY or DICOM file, relative to the JSON file's folder; KEY are the XRay.* keys that a stream sends;
optional members are "frame" (of a DICOM object, from 1) and "name". The answer is that of POST /registration:
seen_lps_from_volume_lps is M, and a volume point x is seen where the told geometry puts M x.

With --moving: where a second volume lies in the first. fixed_lps_from_moving_lps is M: the point x of --moving is the
same spot of the patient as the point M x of --volume.

A registration that is refused is an answer, not an error: exit code 0 and "accepted": false, with code and reason.
Exit code 2 is wrong use (a file that is not there), 1 a file or geometry that cannot be used. docs/registration.md.
"""


def register(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "register",
        help="where a volume is seen in pictures, or in another volume",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--volume", type=Path, required=True, metavar="X", help="DICOM folder or NIfTI file")
    parser.add_argument("--series", default="", metavar="UID", help="Series Instance UID [the folder's largest volume]")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--view", type=Path, action="append", metavar="VIEW.json", help="may be given several times")
    what.add_argument("--moving", type=Path, metavar="Y", help="DICOM folder or NIfTI file of the same patient")
    parser.add_argument("--moving-series", default="", metavar="UID", help="as --series, of --moving")
    parser.add_argument(
        "--other-patient-id", action="store_true", help="--moving has another Patient ID; it is the same"
    )
    parser.add_argument(
        "--pivot-lps-mm",
        type=vector,
        metavar="X,Y,Z",
        help="point of --volume about which the covariance turns [chosen by the search]",
    )
    parser.add_argument("--threads", type=_threads, metavar="N", help="[the usable cores]")
    add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="answer for a program")
    parser.set_defaults(run=_run)


def _threads(word: str) -> int:
    if not (word.isascii() and word.isdigit() and 1 <= int(word) <= _MAXIMUM_THREADS):
        raise argparse.ArgumentTypeError(f"{word!r} is not 1 to {_MAXIMUM_THREADS}")
    return int(word)


def _run(arguments: argparse.Namespace) -> int:
    # What a decoder finds wrong with a file is said in our own line.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    threads = arguments.threads or min(_usable_cores(), _MAXIMUM_THREADS)
    fixed = load_volume(arguments.volume, series_uid=arguments.series)
    answer = _views(arguments, fixed, threads) if arguments.view else _volumes(arguments, fixed, threads)
    if arguments.json:
        print(json.dumps(json.loads(json_text(answer)), ensure_ascii=False))
        return 0
    print("\n".join(_lines(answer)))
    return 0


def _views(arguments: argparse.Namespace, fixed: FileVolume, threads: int) -> RegistrationAnswer:
    if len(arguments.view) > MAXIMUM_VIEWS:
        raise ConfigError(f"{len(arguments.view)} views", code="too_many_views", mend=f"at most {MAXIMUM_VIEWS}")
    if len({path.resolve() for path in arguments.view}) < len(arguments.view):
        raise ConfigError("a view is given twice", code="view_twice", mend="it would count as two that agree")
    settings = load_settings(arguments.config).geometry
    loaded = [load_view(path, fixed.told, settings) for path in arguments.view]
    findings = (*fixed.findings, *(finding for one in loaded for finding in one.findings))
    started = time.perf_counter()
    volume = registration_volume(fixed.volume.voxels_hu, fixed.volume.affine_lps_from_ijk)
    found = register_views(
        volume,
        [one.view for one in loaded],
        pivot_lps_mm=_pivot(arguments.pivot_lps_mm),
        threads=threads,
        progress=_Percent(),
    )
    return registration_answer(found, time.perf_counter() - started, _once(findings))


def _volumes(arguments: argparse.Namespace, fixed: FileVolume, threads: int) -> VolumeRegistrationAnswer:
    moving = load_volume(arguments.moving, series_uid=arguments.moving_series)
    _check_patient(arguments, fixed, moving)
    names = (fixed.told.frame_of_reference_uid, moving.told.frame_of_reference_uid)
    findings = (*fixed.findings, *moving.findings)
    if names[0] == names[1] != "":
        start: F64 | None = IDENTITY
    else:
        start = None
        words = "frames of reference differ" if all(names) else "no common frame of reference is named"
        message = f"{words}: all shifts and turns are searched"
        findings += (Finding(code="no_shared_frame", severity=Severity.WARNING, message=message),)
    started = time.perf_counter()
    found = register_volumes(
        fixed.volume.voxels_hu,
        fixed.volume.affine_lps_from_ijk,
        moving.volume.voxels_hu,
        moving.volume.affine_lps_from_ijk,
        start=start,
        pivot_lps_mm=_pivot(arguments.pivot_lps_mm),
        threads=threads,
        progress=_say,
    )
    seconds = time.perf_counter() - started
    turned_deg = np.linalg.norm(motion_vector(found.fixed_lps_from_moving_lps, found.estimate.pivot_lps_mm)[3:])
    if found.accepted and turned_deg > _LARGE_TURN_DEG:
        message = f"the volumes are turned by {turned_deg:.0f} deg: the patient position of one of them may be wrong"
        findings += (Finding(code="large_turn", severity=Severity.WARNING, message=message),)
    return volume_registration_answer(found, seconds, _once(findings))


def _check_patient(arguments: argparse.Namespace, fixed: FileVolume, moving: FileVolume) -> None:
    """Two hospitals number one patient differently, so a word from the operator lets it through."""
    ids = (fixed.told.patient_id, moving.told.patient_id)
    if all(ids) and ids[0] != ids[1] and not arguments.other_patient_id:
        raise CaseError(
            f"--volume is of patient {ids[0]!r}, --moving of patient {ids[1]!r}",
            code="another_patient",
            mend="give --other-patient-id where they are one and the same person",
        )


def _lines(answer: RegistrationAnswer | VolumeRegistrationAnswer) -> list[str]:
    """The answer for people."""
    if isinstance(answer, RegistrationAnswer):
        rows, title = answer.seen_lps_from_volume_lps, "seen_lps_from_volume_lps (a volume point x is seen at M x)"
    else:
        rows, title = (
            answer.fixed_lps_from_moving_lps,
            "fixed_lps_from_moving_lps (--moving's point x is --volume's M x)",
        )
    lines = [f"ACCEPTED: {answer.reason}" if answer.accepted else f"REFUSED ({answer.code}): {answer.reason}"]
    pivot = ", ".join(f"{value:.1f}" for value in answer.pivot_lps_mm)
    shift, turn = _motion(rows, answer.pivot_lps_mm)
    moved = f"  moved by {_three(shift)} mm, turned by {_three(turn)} deg about L, P, H axes through {pivot}"
    lines += [moved if answer.accepted else f"{moved} (best found; do not use)", f"  {title}"]
    lines += [f"    {'  '.join(f'{value:11.6f}' for value in row)}" for row in rows]
    if answer.covariance is not None:
        sigma = [math.sqrt(max(answer.covariance[n][n], 0.0)) for n in range(6)]
        lines.append(f"  standard deviations {_three(sigma[:3])} mm, {_three(sigma[3:])} deg")
    facts = {
        "residual": (answer.residual_mm, "{:.2f} mm"),
        "similarity": (answer.similarity, "{:.3f}"),
        "captured": (answer.captured, "{:.0%} of perturbed starts"),
    }
    told = [f"{name} {shown.format(value)}" for name, (value, shown) in facts.items() if value is not None]
    lines.append(f"  {', '.join((*told, f'{answer.time_s:.1f} s'))}")
    return lines + finding_lines(answer.findings)


def _motion(rows: Rows, pivot: Vector3) -> tuple[list[float], list[float]]:
    vector = motion_vector(np.array(rows), np.array(pivot)).tolist()
    return vector[:3], vector[3:]


def _three(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


class _Percent:
    """Tells every quarter of the search once."""

    def __init__(self) -> None:
        self._told = -1

    def __call__(self, share: float) -> None:
        quarter = int(4.0 * share)
        if quarter > self._told:
            self._told = quarter
            _say(f"registering, {25 * quarter} %")


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _pivot(point: Vector3 | None) -> F64 | None:
    return None if point is None else np.array(point, np.float64)


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _once(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(dict.fromkeys(findings))
