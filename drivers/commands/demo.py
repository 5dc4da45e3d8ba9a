"""`guidance demo`: the server, a simulated suite on a CT, four paths, cement, and the page; Ctrl-C ends all."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from drivers.commands.demo_cement import Injection, inject, look
from drivers.commands.demo_volume import find_or_fetch_pelvis
from drivers.commands.progress import show_progress
from drivers.commands.server_process import ServerProcess
from drivers.settings import load_settings
from drivers.tasks import end_all
from guidance.errors import CaseError
from guidance.shapes import NOTICE
from simulators.cbct import DicomPeer
from simulators.cement.demo import demo_injection
from simulators.demo_paths import Which, demo_paths, demo_pin
from simulators.demo_zones import demo_zones
from simulators.pelvis import ProceduralPelvis
from simulators.suite import SimulatedSuite, SuitePlan
from simulators.volumes import HuVolume, load_volume

_PROCEDURAL_SPACING_MM: Final = 1.0
_PIN_ALONG: Final = 2  # a path of one side: the others stay without an instrument
_CBCT_SPACING_MM: Final = 0.7
_VOLUME_WITHIN_S: Final = 120.0
_POLL_S: Final = 0.25
_TOUR_S: Final = 27.0


@dataclass(frozen=True, slots=True)
class _Patient:
    """Which CT the demonstration is on, and how it was come by."""

    volume: HuVolume
    which: Which
    origin: str


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "demo", help="server, simulated suite and page in one command", description=f"A demonstration. {NOTICE}."
    )
    parser.add_argument(
        "--volume",
        type=Path,
        metavar="VOLUME",
        help="a DICOM folder or a NIfTI file of your own, or `real` or `procedural` as `simulate` has them",
    )
    parser.add_argument("--procedural", action="store_true", help="the procedural pelvis, whatever else there is")
    parser.add_argument("--headless", action="store_true", help="print no page address, take free ports")
    parser.add_argument("--seconds", type=float, metavar="N", help="end after N seconds of stream")
    parser.add_argument(
        "--tour-seconds",
        type=float,
        default=_TOUR_S,
        metavar="N",
        help=f"how long the C-arm goes round the paths before cement is injected [{_TOUR_S:g}: once round]",
    )
    parser.add_argument("--without-cement", action="store_true", help="the C-arm goes round the paths for ever")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    return asyncio.run(_demo(arguments))


async def _demo(arguments: argparse.Namespace) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    patient = await asyncio.to_thread(_patient, arguments)
    _say(f"volume: {patient.volume.description} ({patient.origin})")
    with tempfile.TemporaryDirectory(prefix="guidance-demo-") as folder:
        server = ServerProcess(Path(folder), free_ports=arguments.headless)
        try:
            await asyncio.to_thread(server.start)
            summary = await _play(server, patient, stop, arguments)
        finally:
            await asyncio.to_thread(server.stop)
    if arguments.json:
        print(json.dumps(summary, indent=2))
    else:
        _print_summary(summary)
    return 0 if summary["frames_published"] > 0 or stop.is_set() else 1


async def _play(
    server: ServerProcess, patient: _Patient, stop: asyncio.Event, arguments: argparse.Namespace
) -> dict[str, Any]:
    paths, zones = demo_paths(patient.which, patient.volume.center_lps_mm), demo_zones(patient.which)
    cement = None
    if not arguments.without_cement:
        cement = await asyncio.to_thread(demo_injection, patient.which, patient.volume, zones)
    plan = SuitePlan(
        volume=patient.volume,
        paths=paths,
        dicom=DicomPeer(port=server.ports["dicom"]),
        openigtlink=("127.0.0.1", server.ports["openigtlink_input"]),
        spacing_mm=_CBCT_SPACING_MM,
        instruments=(demo_pin(paths[_PIN_ALONG]),),
        cement=cement,
    )
    suite = SimulatedSuite(plan)
    began = time.monotonic()
    sending = asyncio.create_task(suite.send_cbct(show_progress))
    await _first(sending, stop)
    volume = await _active_volume(server, stop)
    volume_s = time.monotonic() - began
    for path in paths:
        await asyncio.to_thread(server.call, "POST", "/api/v1/paths", path)
    for zone in zones:
        await asyncio.to_thread(server.call, "POST", "/api/v1/zones", zone)
    if not arguments.headless:
        print(f"\n  {NOTICE}.\n  Page: http://127.0.0.1:{server.ports['http']}/   (Ctrl-C ends all)\n", flush=True)
    states: Counter[str] = Counter()
    injection = Injection()
    streaming = asyncio.create_task(_tour_and_injection(server, suite, injection, arguments.tour_seconds))
    began = time.monotonic()
    try:
        while not stop.is_set() and not streaming.done():
            elapsed_s = time.monotonic() - began
            if arguments.seconds is not None and elapsed_s >= arguments.seconds:
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _POLL_S)
            geometry = await asyncio.to_thread(server.call, "GET", "/api/v1/geometry")
            states.update(entry["geometry_state"] for entry in geometry["inputs"].values())
            status = await asyncio.to_thread(server.call, "GET", "/api/v1/status")
            for text in await look(server, injection):
                _say(f"\nALERT  {text}")
            _status_line(status, geometry, injection)
        if streaming.done():
            streaming.result()  # what ended it
        elapsed_s = time.monotonic() - began
        geometry = await asyncio.to_thread(server.call, "GET", "/api/v1/geometry")
        status = await asyncio.to_thread(server.call, "GET", "/api/v1/status")
    finally:
        await end_all((streaming,))
        if sys.stderr.isatty():
            print(file=sys.stderr)
    inputs = status["inputs"]
    received = sum(entry["frames"] for entry in inputs.values())
    dropped = sum(entry["dropped"] for entry in inputs.values())
    return {
        "volume": {
            "name": volume["description"],
            "kind": status["volume"]["kind"] if status["volume"] else "unknown",
            "origin": patient.origin,
            "shape_kji": volume["shape_kji"],
            "findings": [finding["code"] for finding in volume["findings"]],
            "seconds_to_ready": round(volume_s, 2),
        },
        "paths": len(paths),
        "paths_drawn": {
            device: sum(place["drawn"] for place in entry["paths"]) for device, entry in geometry["inputs"].items()
        },
        "seconds": round(elapsed_s, 2),
        "frames_sent": suite.report.frames,
        "frames_received": received,
        "frames_published": received - dropped,
        "frames_dropped": dropped,
        "frames_per_s": round(received / elapsed_s, 2) if elapsed_s > 0 else 0.0,
        "latency_ms": status["latency_ms"],
        "geometry_states_seen": dict(states),
        "cement": None if cement is None or injection.begun_s is None else injection.summary(cement),
        "notice": NOTICE,
    }


async def _tour_and_injection(
    server: ServerProcess, suite: SimulatedSuite, injection: Injection, tour_s: float
) -> None:
    """The C-arm goes round the paths; then, where there is a place for it, cement is injected."""
    if suite.plan.cement is None:
        await suite.stream()
    await suite.stream(max(1, round(tour_s * suite.plan.rate_hz)))
    _say("\ncement is injected beside a foramen that a crack leads into")
    await inject(server, suite, injection, load_settings(None).mqtt)


async def _first(sending: asyncio.Task[int], stop: asyncio.Event) -> None:
    """Waits for the CBCT; an interruption ends the demonstration at once."""
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait({sending, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if stop.is_set():
        raise CaseError("interrupted before the volume was in", code="interrupted")
    sending.result()


async def _active_volume(server: ServerProcess, stop: asyncio.Event) -> dict[str, Any]:
    deadline = time.monotonic() + _VOLUME_WITHIN_S
    while time.monotonic() < deadline and not stop.is_set():
        for volume in (await asyncio.to_thread(server.call, "GET", "/api/v1/volumes"))["items"]:
            if volume["state"] == "refused":
                reasons = "; ".join(finding["message"] for finding in volume["findings"])
                raise CaseError(f"the volume is refused: {reasons}", code="volume_refused", mend="choose another")
            if volume["active"]:
                return dict(volume)
        await asyncio.sleep(_POLL_S)
    raise CaseError("the volume did not become ready", code="volume_not_ready", mend="see the server's log above")


def _patient(arguments: argparse.Namespace) -> _Patient:
    named = None if arguments.volume is None else str(arguments.volume)
    if named not in (None, "real", "procedural"):
        return _Patient(load_volume(arguments.volume), "other", str(arguments.volume))
    if not arguments.procedural and named != "procedural":
        found = find_or_fetch_pelvis(_say)
        if found.path is not None:
            volume = replace(load_volume(found.path), description="real pelvis CT")
            return _Patient(volume, "real", f"TotalSegmentator's example, {found.reason}")
        _say(f"{found.reason}; the procedural pelvis takes its place")
    _say("making the procedural pelvis ...")
    return _Patient(ProceduralPelvis().volume(_PROCEDURAL_SPACING_MM), "procedural", "made by this program")


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _status_line(status: dict[str, Any], geometry: dict[str, Any], injection: Injection) -> None:
    if not sys.stderr.isatty():
        return
    latency = status["latency_ms"]
    words = [
        f"{device} {entry['state']} {entry['geometry_state']} frame {entry['frame_number']}"
        for device, entry in geometry["inputs"].items()
    ]
    if latency["p50"] is not None:
        words.append(f"latency p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms")
    words.append(injection.words())
    print(f"\r{'   '.join(words):<140}", end="", file=sys.stderr, flush=True)


def _print_summary(summary: dict[str, Any]) -> None:
    volume, latency = summary["volume"], summary["latency_ms"]
    print(f"volume      {volume['name']} ({volume['kind']}; {volume['origin']})")
    frames = f"{summary['frames_received']} frames in {summary['seconds']} s, {summary['frames_dropped']} dropped"
    print(f"stream      {frames}")
    if latency["p50"] is not None:
        print(f"latency     p50 {latency['p50']:.2f} ms, p99 {latency['p99']:.2f} ms, worst {latency['worst']:.2f} ms")
    print(f"geometry    {summary['geometry_states_seen']}")
    cement = summary["cement"]
    if cement is not None:
        told = "not known" if cement["volume_ml"] is None else f"{cement['volume_ml']:.2f} ml"
        if cement["volume_low_ml"] is not None and cement["volume_high_ml"] is not None:
            told += f" ({cement['volume_low_ml']:.2f} to {cement['volume_high_ml']:.2f} ml)"
        print(f"cement      {told} told, {cement['volume_true_ml']} ml true; {cement['why_not'] or 'followed'}")
        print(f"            in truth it is in the foramen after {cement['contact_true_s'] or math.inf:.1f} s")
        for alert in cement["alerts"]:
            print(f"            {alert['after_s']:6.1f} s  {alert['text']}")
