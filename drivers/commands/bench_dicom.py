"""`guidance bench dicom`: receive and assemble, beside dcmtk's storescp fed by the same storescu, in turn."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from drivers.commands.bench_report import report
from drivers.dicom_storage import DicomReception
from guidance.config import DicomSettings
from guidance.errors import CaseError
from guidance.messages import CbctVolume, VolumeState
from guidance.wire.dicom_classes import CT_IMAGE

_PATIENCE_S: Final = 300.0
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Load:
    """A series to send: `count` square slices of `size` pixels, and how often to send it to whom."""

    name: str
    count: int
    size: int
    ours: int
    storescp: int

    @property
    def megabytes(self) -> float:
        return self.count * self.size * self.size * 2 / 1e6


_FULL: Final = (
    _Load("112 x 25 kB", 112, 112, ours=5, storescp=5),
    _Load("64 x 512 kB", 64, 512, ours=3, storescp=3),
    _Load("400 x 512 kB", 400, 512, ours=3, storescp=1),
)
_QUICK: Final = (
    _Load("32 x 25 kB", 32, 112, ours=3, storescp=3),
    _Load("24 x 512 kB", 24, 512, ours=2, storescp=2),
    _Load("400 x 512 kB", 400, 512, ours=1, storescp=0),
)


@dataclass(slots=True)
class _Times:
    """Seconds of each run of one load."""

    ours_s: list[float] = field(default_factory=list)
    storescp_s: list[float] = field(default_factory=list)
    ready_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    floor_s: list[float] = field(default_factory=list)
    copy_s: list[float] = field(default_factory=list)


def run_dicom(quick: bool) -> dict[str, Any]:
    """Measure; figures and table as contract 5.7 says, with these keys besides the contract's.

    `ratio_vs_storescp` is that of all loads sent to both, `ratio_vs_storescp_worst_load` the worst single one's.
    `floor_s` is a copy of the same files with the same syncs and no network, `copy_s` one without any sync; `cpu_s` is
    the CPU time of the whole DICOM process from before the first byte to the finished volume.

    Raises:
        CaseError: `peer_missing`: dcmtk is not installed.
    """
    for name in ("storescu", "storescp"):
        if shutil.which(name) is None:
            raise CaseError(f"{name} is not installed", code="peer_missing", mend="make system, or install dcmtk")
    return asyncio.run(_measure(_QUICK if quick else _FULL, quick=quick))


async def _measure(loads: tuple[_Load, ...], *, quick: bool) -> dict[str, Any]:
    table = []
    largest: _Times | None = None
    for load in loads:
        with tempfile.TemporaryDirectory(prefix="guidance-bench-") as folder:
            times = await _run_load(load, Path(folder))
        ours_s = statistics.median(times.ours_s)
        row: dict[str, Any] = {
            "load": load.name,
            "megabytes": round(load.megabytes, 1),
            "ours_s": round(ours_s, 3),
            "ours_mb_s": round(load.megabytes / ours_s, 1),
            "storescp_s": None,
            "ratio_vs_storescp": None,
            "volume_ready_s": round(statistics.median(times.ready_s), 3),
            "cpu_s": round(statistics.median(times.cpu_s), 2),
            "floor_s": round(statistics.median(times.floor_s), 3),
            "copy_s": round(statistics.median(times.copy_s), 3),
            "runs_s": {"ours": _rounded(times.ours_s), "storescp": _rounded(times.storescp_s)},
        }
        if times.storescp_s:
            row["storescp_s"] = round(statistics.median(times.storescp_s), 3)
            row["ratio_vs_storescp"] = round(ours_s / statistics.median(times.storescp_s), 4)
        table.append(row)
        largest = times
    if largest is None:
        raise ValueError("no load to measure")
    last = loads[-1]
    compared = [row for row in table if row["storescp_s"] is not None]
    return report(
        "dicom",
        settings={"quick": quick, "sender": "storescu, one association, explicit little endian", "durable": True},
        figures={
            "receive_mb_s": last.megabytes / statistics.median(largest.ours_s),
            "ratio_vs_storescp": sum(row["ours_s"] for row in compared) / sum(row["storescp_s"] for row in compared),
            "ratio_vs_storescp_worst_load": max(row["ratio_vs_storescp"] for row in compared),
            "volume_ready_s": statistics.median(largest.ready_s),
            "volume_mib": last.count * last.size * last.size * 2 / _MIB,
            "cpu_s": statistics.median(largest.cpu_s),
            "floor_s": statistics.median(largest.floor_s),
            "copy_s": statistics.median(largest.copy_s),
        },
        series={"loads": table},
    )


async def _run_load(load: _Load, folder: Path) -> _Times:
    sent = folder / "sent"
    _write_series(sent, load)
    times = _Times()
    for run in range(max(load.ours, load.storescp)):
        target = folder / f"run{run}"
        if run < load.storescp:
            times.storescp_s.append(await _send_to_storescp(sent, target / "peer"))
        if run < load.ours:
            await _send_to_us(sent, target / "ours", load, times)
            times.floor_s.append(_copy(sent, target / "floor", durable=True))
            times.copy_s.append(_copy(sent, target / "copy", durable=False))
        shutil.rmtree(target)
    return times


async def _send_to_us(sent: Path, data_dir: Path, load: _Load, times: _Times) -> None:
    stored = 0
    stored_at_s = 0.0
    ready: asyncio.Future[CbctVolume] = asyncio.get_running_loop().create_future()

    def on_count(code: str, amount: int) -> None:
        nonlocal stored, stored_at_s
        if code == "stored":
            stored += amount
            stored_at_s = time.perf_counter()

    def on_volume(volume: CbctVolume) -> None:
        if volume.state is not VolumeState.RECEIVING and not ready.done():
            ready.set_result(volume)

    settings = DicomSettings(port=0, disk_watermark_mib=1)
    reception = DicomReception(settings, data_dir, on_volume=on_volume, on_count=on_count, on_log=lambda *_: None)
    await reception.start()
    try:
        process_id = reception.process_id
        if process_id is None:
            raise CaseError("the DICOM process ended", code="dicom_process_failed")
        cpu_before_s = _cpu_s(process_id)
        times.ours_s.append(await _storescu(sent, reception.port))
        async with asyncio.timeout(_PATIENCE_S):
            volume = await ready
        times.ready_s.append(time.perf_counter() - stored_at_s)
        times.cpu_s.append(_cpu_s(process_id) - cpu_before_s)
        if volume.state is not VolumeState.READY or stored != load.count:
            raise CaseError(f"{stored} instances gave {volume.findings}", code="bench_failed")
    finally:
        await reception.stop()


async def _send_to_storescp(sent: Path, folder: Path) -> float:
    os.makedirs(folder)
    async with _storescp(folder) as port:
        seconds = await _storescu(sent, port)
    if len(os.listdir(folder)) != len(os.listdir(sent)):
        raise CaseError("storescp did not store everything", code="bench_failed")
    return seconds


@asynccontextmanager
async def _storescp(folder: Path) -> AsyncIterator[int]:
    """dcmtk's receiver on a free port, listening."""
    port = _free_port()
    process = await asyncio.create_subprocess_exec("storescp", "-od", str(folder), str(port))
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while (await (await _peer("echoscu", "127.0.0.1", str(port))).wait()) != 0:
                if process.returncode is not None:
                    raise CaseError("storescp does not start", code="bench_failed")
                await asyncio.sleep(0.05)
        yield port
    finally:
        process.terminate()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _storescu(sent: Path, port: int) -> float:
    """Send the folder; seconds from start to end of storescu."""
    start_s = time.perf_counter()
    process = await _peer("storescu", "+sd", "127.0.0.1", str(port), str(sent))
    async with asyncio.timeout(_PATIENCE_S):
        code = await process.wait()
    seconds = time.perf_counter() - start_s
    if code != 0:
        raise CaseError(f"storescu ended with {code}", code="bench_failed")
    return seconds


async def _peer(name: str, *arguments: str) -> asyncio.subprocess.Process:
    quiet = asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(name, *arguments, stdout=quiet, stderr=quiet)


def _copy(sent: Path, folder: Path, *, durable: bool) -> float:
    """Write the same bytes to files of their own, one after another; with the same syncs as reception, or none."""
    folder.mkdir(parents=True)
    paths = sorted(sent.iterdir())
    directory = os.open(folder, os.O_RDONLY)
    start_s = time.perf_counter()
    for path in paths:
        descriptor = os.open(folder / path.name, os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, path.read_bytes())
        if durable:
            os.fsync(descriptor)
            os.fsync(directory)
        os.close(descriptor)
    seconds = time.perf_counter() - start_s
    os.close(directory)
    return seconds


def _cpu_s(process_id: int) -> float:
    """User and system time of a process so far; 0 where /proc does not tell."""
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _write_series(folder: Path, load: _Load) -> None:
    """A CT series of noise (nothing on the way may compress it), announced by its Images in Acquisition."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(7).integers(0, 3000, (load.size, load.size), np.uint16)
    series, study = generate_uid(), generate_uid()
    for number in range(load.count):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = CT_IMAGE, generate_uid()
        dataset.file_meta.MediaStorageSOPClassUID = CT_IMAGE
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, series, study
        dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.PatientID, dataset.PatientName, dataset.PatientPosition = "BENCH", "Bench", "HFS"
        dataset.ImagePositionPatient = [-100, -100, 0.5 * number]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.ImagesInAcquisition = [0.5, 0.5], load.count
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
        dataset.Rows = dataset.Columns = load.size
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
        dataset.PixelData = np.roll(pixels, number).tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 3) for value in values]
