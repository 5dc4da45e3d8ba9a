"""DICOM reception as the live process sees it: starts, watches, restarts the DICOM process; passes on what it tells."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from drivers.dicom_memory import memory_prefix, remove_blocks
from drivers.dicom_messages import (
    Counted,
    Listening,
    Logged,
    LogLevel,
    Refused,
    SliceStored,
    Start,
    VolumeChanged,
    ZonesStored,
    decode_report,
    encode,
)
from drivers.tasks import start_task
from guidance.config import DicomSettings
from guidance.errors import ConfigError
from guidance.messages import CbctVolume, StoredZones

_LINE_LIMIT_BYTES: Final = 16 << 20  # a volume's message with all its findings is a few kB
_STOP_S: Final = 2.0
_START_S: Final = 60.0
_BACK_OFF_S: Final = (0.1, 5.0)  # first and longest pause before a restart
_STEADY_S: Final = 30.0  # having run that long, the next crash starts at the shortest pause again


class DicomReception:
    """Storage SCP and volume assembly in a process of their own.

    All callbacks run on the event loop that called `start`.

    Args:
        settings: section `dicom`; port 0 takes any free one, and keeps it over restarts of the process.
        data_dir: the server's data folder.
        on_volume: every change of a volume, progress included; the same id replaces what was known of it.
        on_slice: file and name of every new CT Image whose series holds only a few.
        on_zones: every Segmentation and RT Structure Set, also those stored before this start.
        on_count: code and amount of what is counted.
        on_log: level and text.
    """

    def __init__(
        self,
        settings: DicomSettings,
        data_dir: Path,
        *,
        on_volume: Callable[[CbctVolume], None],
        on_zones: Callable[[StoredZones], None] = lambda _: None,
        on_slice: Callable[[Path, str], None] = lambda _, __: None,
        on_count: Callable[[str, int], None],
        on_log: Callable[[LogLevel, str], None],
    ) -> None:
        self._settings = settings
        self._data_dir = data_dir.expanduser().absolute()
        self._on_volume = on_volume
        self._on_zones = on_zones
        self._on_slice = on_slice
        self._on_count = on_count
        self._on_log = on_log
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """The port it listens on; 0 before `start`."""
        return self._port

    @property
    def process_id(self) -> int | None:
        """The DICOM process, for CPU accounting; None while there is none."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the process; returns when its port listens.

        Raises:
            ConfigError: the port is taken, a certificate unreadable, the folder unusable; with the mend.
        """
        if self._watch is not None:
            raise RuntimeError("DICOM reception was started already")
        async with asyncio.timeout(_START_S):
            await self._launch()
        self._watch = start_task(self._supervise(), name="dicom-supervisor")

    async def stop(self) -> None:
        """End the process; what it acknowledged is stored. Takes about 2 s at most; may be called twice."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        process = self._process
        if process is not None and process.returncode is None:
            if process.stdin is not None:
                process.stdin.close()
            try:
                async with asyncio.timeout(_STOP_S):
                    await self._relay()
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        self._process = None
        remove_blocks(memory_prefix(self._data_dir))

    async def _launch(self) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "drivers.dicom_process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT_BYTES,
        )
        self._process = process
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the DICOM process has no pipes")
        settings = self._settings if not self._port else msgspec.structs.replace(self._settings, port=self._port)
        process.stdin.write(encode(Start(settings=settings, data_dir=str(self._data_dir))) + b"\n")
        try:
            await process.stdin.drain()
            while line := await process.stdout.readline():
                report = decode_report(line)
                if isinstance(report, Listening):
                    self._port = report.port
                    return
                if isinstance(report, Refused):
                    await process.wait()
                    raise ConfigError(report.message, code=report.code, mend=report.mend)
                self._pass_on(report)
            await process.wait()
            raise ConfigError(
                f"the DICOM process ended with {process.returncode}", code="dicom_process_failed", mend="see the log"
            )
        except BaseException:
            if process.returncode is None:
                process.kill()
                await process.wait()
            raise

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = _BACK_OFF_S[0]
        while True:
            started_s = loop.time()
            await self._relay()
            if self._process is not None:
                self._on_log("error", f"the DICOM process ended with {await self._process.wait()}; restarted")
            self._on_count("dicom_process_restarted", 1)
            if loop.time() - started_s > _STEADY_S:
                pause_s = _BACK_OFF_S[0]
            await self._relaunch(pause_s)
            pause_s = min(2 * pause_s, _BACK_OFF_S[1])

    async def _relaunch(self, pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s)
            try:
                await self._launch()
            except (ConfigError, OSError) as error:
                self._on_log("error", f"DICOM reception does not come back: {error}")
                pause_s = min(2 * pause_s, _BACK_OFF_S[1])
            else:
                return

    async def _relay(self) -> None:
        """Pass reports on until the process closes its end."""
        if self._process is None or self._process.stdout is None:
            return
        while line := await self._process.stdout.readline():
            self._pass_on(decode_report(line))

    def _pass_on(self, report: object) -> None:
        match report:
            case VolumeChanged(volume):
                self._on_volume(volume)
            case ZonesStored(zones):
                self._on_zones(zones)
            case SliceStored(path, name):
                self._on_slice(Path(path), name)
            case Counted(code, amount):
                self._on_count(code, amount)
            case Logged(level, text):
                self._on_log(level, text)
