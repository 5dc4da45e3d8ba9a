"""A DicomReception whose reports can be awaited, and peers to send to it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE

from drivers.dicom_storage import DicomReception
from guidance.config import DicomSettings
from guidance.messages import CbctVolume, StoredZones, VolumeState

PATIENCE_S = 30.0


class Watched:
    """Everything a reception reported, and a way to wait for more."""

    def __init__(self, settings: DicomSettings, data_dir: Path) -> None:
        self.volumes: list[CbctVolume] = []
        self.zones: list[StoredZones] = []
        self.counts: Counter[str] = Counter()
        self.log: list[str] = []
        self._changed = asyncio.Event()
        self.reception = DicomReception(
            settings,
            data_dir,
            on_volume=self._on_volume,
            on_zones=self._on_zones,
            on_count=self._on_count,
            on_log=self._on_log,
        )

    async def until(self, condition: Callable[[], Any]) -> Any:
        """The condition's first true value; asked again after every report."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not (value := condition()):
                    self._changed.clear()
                    await self._changed.wait()
                return value
        except TimeoutError:
            states = [(volume.state.value, volume.findings) for volume in self.volumes]
            raise AssertionError(f"waited in vain: {self.counts}, {states}, {self.log}") from None

    async def volume(self, number: int = 0) -> CbctVolume:
        """The `number`-th volume that became ready or refused."""
        return await self.until(lambda: self.concluded[number] if len(self.concluded) > number else None)

    @property
    def concluded(self) -> list[CbctVolume]:
        return [volume for volume in self.volumes if volume.state is not VolumeState.RECEIVING]

    def _on_volume(self, volume: CbctVolume) -> None:
        self.volumes.append(volume)
        self._changed.set()

    def _on_zones(self, zones: StoredZones) -> None:
        self.zones.append(zones)
        self._changed.set()

    def _on_count(self, code: str, amount: int) -> None:
        self.counts[code] += amount
        self._changed.set()

    def _on_log(self, level: str, text: str) -> None:
        self.log.append(f"{level}: {text}")
        self._changed.set()


@asynccontextmanager
async def watched(data_dir: Path, **settings: Any) -> AsyncIterator[Watched]:
    """A running reception on a free port; a quiet period of 0.3 s unless told otherwise."""
    values: dict[str, Any] = {"port": 0, "series_quiet_s": 0.3, "disk_watermark_mib": 1} | settings
    running = Watched(DicomSettings(**values), data_dir)
    await running.reception.start()
    try:
        yield running
    finally:
        await running.reception.stop()


def peer(name: str) -> str:
    """Path of one of dcmtk's programs; a test that needs it fails where it is missing."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not installed; `make system` installs the tests' peers")
    return path


async def run_peer(name: str, *arguments: str | Path) -> tuple[int, str]:
    """Run a program to its end; its exit code and all that it printed."""
    process = await asyncio.create_subprocess_exec(
        peer(name),
        *(str(argument) for argument in arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TCP_NODELAY": "0"},
    )
    async with asyncio.timeout(PATIENCE_S):
        output, _ = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace")


async def store(port: int, *paths: Path, options: tuple[str, ...] = (), aec: str = "GUIDANCE") -> tuple[int, str]:
    """dcmtk's storescu on files or folders."""
    return await run_peer("storescu", *options, "-aet", "CARM1", "-aec", aec, "+sd", "127.0.0.1", str(port), *paths)


def send_now(port: int, datasets: Sequence[Dataset], *, uids: Sequence[str] | None = None) -> list[int]:
    """C-STORE each data set over one association; the statuses."""
    entity = AE(ae_title="CARM1")
    for sop_class in {str(dataset.SOPClassUID) for dataset in datasets}:
        entity.add_requested_context(sop_class, str(datasets[0].file_meta.TransferSyntaxUID))
    association = entity.associate("127.0.0.1", port, ae_title="GUIDANCE")
    assert association.is_established
    statuses = []
    for number, dataset in enumerate(datasets):
        if uids is not None:
            dataset.SOPInstanceUID = uids[number]
        statuses.append(int(association.send_c_store(dataset).Status))
    association.release()
    return statuses


async def send(running: Watched, datasets: Sequence[Dataset], **options: Any) -> list[int]:
    """`send_now` without blocking the loop."""
    return await asyncio.to_thread(send_now, running.reception.port, datasets, **options)
