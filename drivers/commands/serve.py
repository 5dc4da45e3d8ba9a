"""`guidance serve`: the server until SIGTERM or Ctrl-C; exit code 0 with everything stored."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from drivers.log import configure_logging
from drivers.server import GuidanceServer
from drivers.settings import add_config_argument, load_settings
from guidance.shapes import NOTICE


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser("serve", help="run the server", description=f"The guidance server. {NOTICE}.")
    add_config_argument(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    settings = load_settings(arguments.config)
    configure_logging(settings.log)
    return asyncio.run(_serve(GuidanceServer(settings)))


async def _serve(server: GuidanceServer) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        await server.start()
        for name, address in server.listeners().items():
            print(f"{name:<20} {address}", flush=True)
        print(f"{NOTICE}. Page: {server.page_address()}", flush=True)
        ended = asyncio.create_task(server.failed())
        waiting = asyncio.create_task(stopping.wait())
        await asyncio.wait({ended, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            print(f"guidance serve: {ended.result()}", file=sys.stderr)
        waiting.cancel()
        failed = ended.done()
        ended.cancel()
        return 1 if failed else 0
    finally:
        await server.stop()
