"""`python -m drivers.dicom_process`: DICOM reception and assembly in a process of their own; stdin in, stdout out."""

from __future__ import annotations

import os
import queue
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Final

from drivers.dicom_assembler import Assembler
from drivers.dicom_ledger import CrashLedger
from drivers.dicom_memory import memory_prefix, remove_blocks
from drivers.dicom_messages import (
    Counted,
    Listening,
    Logged,
    LogLevel,
    Refused,
    Report,
    SliceStored,
    Start,
    VolumeChanged,
    ZonesStored,
    decode_start,
    encode,
)
from drivers.dicom_scp import StorageScp
from drivers.dicom_store import InstanceStore
from drivers.dicom_voxels import VoxelShelf
from guidance.errors import ConfigError

_NICENESS: Final = 10  # the live process goes first where both want a core
_SWITCH_INTERVAL_S: Final = 0.0005  # Python's 5 ms would make each PDU wait behind the decoder for the interpreter lock
_STOP_S: Final = 1.5


class _Teller:
    """Writes reports from one thread, so that no association waits for the reader of the pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._reports: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="dicom-teller", daemon=True)
        self._thread.start()

    def tell(self, report: Report) -> None:
        self._reports.put(report)

    def count(self, code: str) -> None:
        self.tell(Counted(code))

    def log(self, level: LogLevel, text: str) -> None:
        self.tell(Logged(level, text))

    def close(self) -> None:
        self._reports.put(None)
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        while (report := self._reports.get()) is not None:
            line = memoryview(encode(report) + b"\n")
            while line:
                try:
                    line = line[os.write(self._descriptor, line) :]
                except BrokenPipeError:
                    return


def main() -> int:
    """Serve until stdin ends; returns 0, or 2 where the settings cannot work."""
    # Whatever prints goes to stderr; stdout carries reports only.
    descriptor = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    os.nice(_NICENESS)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    warnings.simplefilter("ignore")  # odd values in files are findings or nothing, never lines on stderr
    teller = _Teller(descriptor)
    try:
        return _serve(decode_start(sys.stdin.buffer.readline()), teller)
    except ConfigError as error:
        teller.tell(Refused(str(error.args[0]), error.code, error.mend))
        return 2
    finally:
        teller.close()


def _serve(start: Start, teller: _Teller) -> int:
    data_dir = Path(start.data_dir)
    store = InstanceStore(data_dir)
    for _ in range(store.discard_incomplete()):
        teller.count("incomplete_instance")
    remove_blocks(memory_prefix(data_dir))
    tempfile.tempdir = str(store.incoming)  # where pynetdicom writes what it receives
    assembler = Assembler(
        quiet_s=start.settings.series_quiet_s,
        shelf=VoxelShelf(memory_prefix(data_dir)),
        ledger=CrashLedger(data_dir / "dicom"),
        on_volume=lambda volume: teller.tell(VolumeChanged(volume)),
        on_zones=lambda zones: teller.tell(ZonesStored(zones)),
        on_slice=lambda kept: teller.tell(SliceStored(path=str(kept.path), name=kept.name)),
        count=teller.count,
        log=teller.log,
        old=store.stored(),
    )
    scp = StorageScp(start.settings, store, on_kept=assembler.add, count=teller.count, log=teller.log)
    teller.tell(Listening(scp.start()))
    assembler.start()
    sys.stdin.buffer.read()  # ends when the parent says so, or is gone
    scp.stop(_STOP_S)
    assembler.stop(_STOP_S)
    remove_blocks(memory_prefix(data_dir))
    return 0


if __name__ == "__main__":
    # pynetdicom's threads are not daemons: one that hangs in a half-open connection must not keep the process alive.
    os._exit(main())
