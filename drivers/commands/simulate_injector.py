"""`guidance simulate injector`: a cement injector at a broker, with faults, that obeys a stop."""

from __future__ import annotations

import argparse
import asyncio

from guidance.errors import ConfigError
from simulators.cement.injection import InjectionCurve
from simulators.injector import FaultTime, SimulatedInjector, fault_time
from simulators.injector_stream import RATE_HZ, InjectorReport, InjectorStream


def add_injector(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("--mqtt", default="mqtt://127.0.0.1:1883", metavar="URL", help="[mqtt://127.0.0.1:1883]")
    parser.add_argument("--suite", default="suite", help="name in the topics [suite]")
    parser.add_argument("--flow-ml-s", type=float, default=0.1, help="[0.1]")
    parser.add_argument("--volume-ml", type=float, default=4.0, help="that it gives in all [4]")
    parser.add_argument("--delay-s", type=float, default=0.0, help="before it begins [0]")
    parser.add_argument("--rate-hz", type=float, default=RATE_HZ, help=f"readings per second [{RATE_HZ:g}]")
    parser.add_argument("--seconds", type=float, help="end after so long [never]")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME@FROM-UNTIL", help="again for more")
    parser.add_argument("--json", action="store_true", help="report as JSON")


def injector_of(arguments: argparse.Namespace) -> SimulatedInjector:
    """The injector that the words mean; ConfigError where they mean none."""
    flow, volume, delay = arguments.flow_ml_s, arguments.volume_ml, arguments.delay_s
    if not (0.0 < flow < 1e3 and 0.0 < volume < 1e6 and 0.0 <= delay < 1e6):
        raise ConfigError(
            f"{volume:g} ml at {flow:g} ml/s after {delay:g} s", code="bad_injection", mend="numbers above 0"
        )
    faults: list[FaultTime] = [fault_time(text) for text in arguments.fault]
    ends = delay + volume / flow
    begins = (0.0, delay) if delay > 0.0 else (0.0,)
    curve = InjectionCurve(times_s=(*begins, ends), volumes_ml=(*(0.0 for _ in begins), volume))
    return SimulatedInjector(curve, faults)


async def run_injector(
    injector: SimulatedInjector, arguments: argparse.Namespace, report: InjectorReport
) -> InjectorReport:
    """Until it ends by `--seconds`, or is cancelled."""
    if not 0.0 < arguments.rate_hz <= 100.0:
        raise ConfigError(f"--rate-hz {arguments.rate_hz:g}", code="bad_rate", mend="above 0, at most 100")
    stream = InjectorStream(injector, arguments.mqtt, arguments.suite, rate_hz=arguments.rate_hz, report=report)
    running = asyncio.ensure_future(stream.run(seconds=arguments.seconds))
    try:
        return await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
