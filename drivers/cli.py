"""The `guidance` command: finds the room of a command, runs it, turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
from typing import Final, NoReturn

from guidance import VERSION
from guidance.errors import ConfigError, GuidanceError

_COMMANDS: Final = {
    "serve": "run the server",
    "demo": "server, simulated suite and page in one command",
    "simulate": "a simulated device alone, against any server",
    "geometry": "print where points must land",
    "calibrate": "pictures of a bead phantom to a calibration table",
    "register": "where a volume is seen in pictures, or in another volume",
    "cement": "follow cement in recorded pictures, without a server",
    "plan": "clearance, corridors and views, without a server",
    "bench": "measure, print figures",
    "check": "validate configuration, ports, certificates, geometry tables",
    "schemas": "write the JSON Schemas of all messages",
}

_EXIT_WRONG_USE: Final = 2
_EXIT_FAILURE: Final = 1
_BUSY: Final = ("port_taken", "cannot_listen")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; `--help` has the rest. Sub-parsers are of the same kind."""

    def error(self, message: str) -> NoReturn:
        self.exit(_EXIT_WRONG_USE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 done, 1 failed, 2 wrong use."""
    words = sys.argv[1:] if arguments is None else arguments
    # Matrices here are small: the spinning threads of OpenBLAS take cores from the frames.
    # It reads this when numpy is loaded, which is after here; processes that are started inherit it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if threading.current_thread() is threading.main_thread():
        # While a command's rooms are still being imported nothing is open yet: SIGTERM then is a clean end.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    parser = _Parser(
        prog="guidance",
        description="C-arm guidance server. Research use only, not for clinical use.",
    )
    parser.add_argument("--version", action="version", version=f"guidance {VERSION}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in words if not word.startswith("-")), None)
    for name, summary in _COMMANDS.items():
        # Only the chosen command's room is imported: `guidance --help` must not wait for numpy.
        if name == chosen:
            importlib.import_module(f"drivers.commands.{name}").register(subparsers)
        else:
            subparsers.add_parser(name, help=summary)
    namespace = parser.parse_args(words)
    try:
        return int(namespace.run(namespace))
    except ConfigError as error:
        print(f"guidance {namespace.command}: {error}", file=sys.stderr)
        # A port that another program holds may be free at the next start: that is no wrong configuration.
        return _EXIT_FAILURE if error.code in _BUSY else _EXIT_WRONG_USE
    except (GuidanceError, OSError) as error:
        print(f"guidance {namespace.command}: {error}", file=sys.stderr)
        return _EXIT_FAILURE
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
