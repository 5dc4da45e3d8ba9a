"""`guidance simulate carm|cbct|cement|injector|suite`: a simulated device alone, against any server."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Awaitable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from drivers.commands import simulate_arguments as words
from drivers.commands.progress import show_progress
from drivers.commands.simulate_cement import add_cement, cement_files
from drivers.commands.simulate_injector import add_injector, injector_of, run_injector
from guidance.errors import ConfigError
from guidance.kernels.drr import ProjectionVolume
from simulators.carm_stream import CArmStream, biplane
from simulators.cbct import DicomPeer, cbct_volume, send_cbct, write_cbct
from simulators.cement.demo import demo_injection
from simulators.demo_zones import demo_zones
from simulators.injector_stream import InjectorReport
from simulators.openigtlink_peers import StreamReport
from simulators.scene import Scene
from simulators.suite import SimulatedSuite, SuitePlan

_DESCRIPTION = "A simulated device; synthetic pictures only. Research use only, not for clinical use."


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser("simulate", help="a simulated device alone, against any server")
    devices = parser.add_subparsers(dest="device_kind", required=True, metavar="DEVICE")
    carm = devices.add_parser("carm", help="OpenIGTLink fluoroscopy", description=_DESCRIPTION)
    words.add_common(carm)
    words.add_openigtlink(carm)
    words.add_stream(carm)
    carm.set_defaults(run=_carm)
    cbct = devices.add_parser("cbct", help="a CBCT run over DICOM", description=_DESCRIPTION)
    words.add_common(cbct)
    words.add_dicom(cbct)
    cbct.add_argument("--folder", type=Path, help="write files here instead of sending them")
    cbct.set_defaults(run=_cbct)
    cement = devices.add_parser("cement", help="an injection as files, with its truth", description=_DESCRIPTION)
    add_cement(cement)
    cement.set_defaults(run=_cement)
    injector = devices.add_parser("injector", help="a cement injector over MQTT", description=_DESCRIPTION)
    add_injector(injector)
    injector.set_defaults(run=_injector)
    suite = devices.add_parser("suite", help="a CBCT run, then the C-arm", description=_DESCRIPTION)
    words.add_common(suite)
    words.add_openigtlink(suite)
    words.add_dicom(suite)
    suite.add_argument("--frames", type=int, help="end after so many [never]")
    suite.add_argument("--rate-hz", type=float, default=30.0, help="pictures per second [30]")
    suite.add_argument("--without-cbct", action="store_true", help="the C-arm alone, as the suite has it")
    suite.add_argument(
        "--cement-after-s",
        type=float,
        metavar="S",
        help="after `--frames` of the round, AP and lateral; cement flows so long after the reference",
    )
    suite.set_defaults(run=_suite)


class Teller:
    """Says what is going on: a line that is overwritten for people, JSON lines for programs."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def words(self, text: str) -> None:
        """One event in words."""
        if self._as_json:
            print(json.dumps({"event": "note", "text": text}), flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def progress(self, what: str, done: int, total: int) -> None:
        """So many of so many."""
        if self._as_json:
            print(json.dumps({"event": "progress", "what": what, "done": done, "total": total}), flush=True)
        else:
            show_progress(what, done, total)

    def report(self, figures: dict[str, Any]) -> None:
        """What came of it."""
        if self._as_json:
            print(json.dumps({"event": "report", **figures}), flush=True)
        else:
            print(" ".join(f"{key}={value}" for key, value in figures.items()), flush=True)


def _carm(arguments: argparse.Namespace) -> int:
    teller = Teller(arguments.json)
    volume, which = words.chosen_volume(arguments.volume, teller.words)
    script = words.carm_script(arguments, words.chosen_paths(arguments, volume, which))
    scripts = [script]
    if arguments.biplane:
        first = script.stops[0].gantry
        turned = (first.primary_deg + 90.0 + 180.0) % 360.0 - 180.0
        scripts = list(biplane(script, replace(first, primary_deg=turned, secondary_deg=0.0)))
    scene = Scene(ProjectionVolume(volume.voxels_hu, volume.affine_lps_from_ijk), tuple(arguments.pin))
    stream = CArmStream(
        scene,
        scripts,
        connect=None if arguments.listen else (arguments.host, arguments.port),
        listen=_address(arguments.listen) if arguments.listen else None,
        progress=teller.progress,
    )

    async def run() -> StreamReport:
        if arguments.listen:
            asyncio.get_running_loop().create_task(_tell_address(stream, teller))
        return await stream.run(frames=arguments.frames, render_ahead=arguments.render_ahead)

    _run_until_stopped(run(), stream.report, teller)
    return 0


def _cbct(arguments: argparse.Namespace) -> int:
    teller = Teller(arguments.json)
    volume, which = words.chosen_volume(arguments.volume, teller.words)
    paths = words.chosen_paths(arguments, volume, which)
    teller.words(f"resampling to {arguments.spacing_mm:g} mm")
    ends = [path[key] for path in paths for key in ("entry_lps_mm", "target_lps_mm")]
    x, y, z = np.mean(ends, axis=0).tolist()
    middle = (x, y, z)
    run = replace(words.cbct_run(arguments), isocenter_lps_mm=middle, table_mm=(0.0, 0.0, 0.0))
    made = cbct_volume(volume, spacing_mm=arguments.spacing_mm, center_lps_mm=np.array(middle))
    if arguments.folder is not None:
        count = write_cbct(made, run, arguments.folder, teller.progress)
    else:
        count = send_cbct(made, run, _peer(arguments), teller.progress)
    teller.report(
        {
            "objects": count,
            "series_instance_uid": run.uid("series", run.kind),
            "frame_of_reference_uid": run.frame_of_reference_uid,
        }
    )
    return 0


def _cement(arguments: argparse.Namespace) -> int:
    teller = Teller(arguments.json)
    teller.report(cement_files(arguments, teller.progress))
    return 0


def _suite(arguments: argparse.Namespace) -> int:
    teller = Teller(arguments.json)
    volume, which = words.chosen_volume(arguments.volume, teller.words)
    cement = None
    if arguments.cement_after_s is not None:
        cement = demo_injection(which, volume, demo_zones(which))
        if cement is None or arguments.frames is None:
            raise ConfigError(
                "no injection in this volume, or no end of the C-arm's round before it",
                code="no_cement",
                mend="`--volume procedural` or `real`, and `--frames N`",
            )
    suite = SimulatedSuite(
        SuitePlan(
            volume=volume,
            cement=cement,
            paths=words.chosen_paths(arguments, volume, which),
            dicom=_peer(arguments),
            openigtlink=(arguments.host, arguments.port),
            patient_position=arguments.patient_position,
            spacing_mm=arguments.spacing_mm,
            kind=arguments.kind,
            rate_hz=arguments.rate_hz,
            seed=arguments.seed,
        )
    )

    async def run() -> StreamReport:
        if not arguments.without_cbct:
            teller.words(f"resampling to {arguments.spacing_mm:g} mm")
            count = await suite.send_cbct(teller.progress)
            teller.words(f"{count} objects stored; the C-arm begins")
        await suite.stream(arguments.frames)
        return suite.report if arguments.cement_after_s is None else await _injected(suite, arguments, teller)

    _run_until_stopped(run(), suite.report, teller)
    return 0


async def _injected(suite: SimulatedSuite, arguments: argparse.Namespace, teller: Teller) -> StreamReport:
    """AP and lateral for a reference, time for somebody to begin to follow, then cement, for ever."""
    stream = await suite.injection()
    running = asyncio.ensure_future(stream.run(hold=True))
    try:
        await stream.reference_taken.wait()
        teller.words(f"the reference is taken; cement flows in {arguments.cement_after_s:g} s")
        await asyncio.sleep(arguments.cement_after_s)
        stream.begun.set()
        teller.words("cement flows")
        return await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _injector(arguments: argparse.Namespace) -> int:
    report = InjectorReport()
    _run_until_stopped(run_injector(injector_of(arguments), arguments, report), report, Teller(arguments.json))
    return 0


def _run_until_stopped(work: Awaitable[object], report: StreamReport | InjectorReport, teller: Teller) -> None:
    """Run until it ends or SIGINT or SIGTERM comes, then say what was sent."""

    async def guarded() -> None:
        task = asyncio.ensure_future(work)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(guarded())
    teller.report(asdict(report))


async def _tell_address(stream: CArmStream, teller: Teller) -> None:
    await stream.listening.wait()
    assert stream.address is not None
    teller.words(f"listening on {stream.address[0]}:{stream.address[1]}")


def _peer(arguments: argparse.Namespace) -> DicomPeer:
    return DicomPeer(
        host=arguments.dicom_host,
        port=arguments.dicom_port,
        called_ae_title=arguments.called_ae_title,
        calling_ae_title=arguments.calling_ae_title,
    )


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"--listen {text}", code="bad_address", mend="write HOST:PORT")
    return host, int(port)
