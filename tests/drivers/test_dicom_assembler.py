"""The assembler alone: what happens when our own code fails on an object."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers import dicom_assembler
from drivers.dicom_assembler import Assembler
from drivers.dicom_ledger import CrashLedger
from drivers.dicom_memory import memory_prefix, remove_blocks
from drivers.dicom_store import Kept
from drivers.dicom_voxels import VoxelShelf
from guidance.messages import CbctVolume, VolumeState
from tests.helpers.dicom_objects import ct_series, ct_slice, phantom, save

PATIENCE_S = 20.0


class Running:
    def __init__(self, prefix: str, folder: Path, old: list[Kept]) -> None:
        self.told: queue.Queue[CbctVolume | str] = queue.Queue()
        self.assembler = Assembler(
            quiet_s=600.0,
            shelf=VoxelShelf(prefix),
            ledger=CrashLedger(folder),
            on_volume=self.told.put,
            count=self.told.put,
            log=lambda *_: None,
            old=old,
            on_slice=lambda kept: self.told.put(f"slice {kept.name}"),
        )
        self.assembler.start()

    def until(self, wanted: str) -> CbctVolume | None:
        """Wait for a count, or for a volume of that state."""
        while True:
            told = self.told.get(timeout=PATIENCE_S)
            if told == wanted:
                return None
            if isinstance(told, CbctVolume) and told.state.value == wanted:
                return told


@pytest.fixture
def prefix(tmp_path: Path) -> Iterator[str]:
    name = memory_prefix(tmp_path)
    yield name
    remove_blocks(name)


def kept(folder: Path, **attributes: object) -> list[Kept]:
    datasets = ct_series(ImagesInAcquisition=6, **attributes)
    paths = save(datasets, folder)
    return [Kept(str(dataset.SOPInstanceUID), path, "stored") for dataset, path in zip(datasets, paths, strict=True)]


def test_a_fault_on_one_series_does_not_end_the_others(
    tmp_path: Path, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = dicom_assembler.conclude
    monkeypatch.setattr(
        dicom_assembler,
        "conclude",
        lambda series: 1 // 0 if series.uid == "1.6.6.6" else whole(series),
    )
    running = Running(prefix, tmp_path, [])
    for one in [*kept(tmp_path / "a", series_uid="1.6.6.6"), *kept(tmp_path / "b", series_uid="1.7.7.7")]:
        running.assembler.add(one)
    running.until("assembler_error")
    volume = running.until("ready")
    assert volume is not None
    assert (volume.series_instance_uid, volume.state) == ("1.7.7.7", VolumeState.READY)
    running.assembler.stop(PATIENCE_S)


def test_old_series_are_assembled_whole_and_a_file_that_is_gone_is_counted(tmp_path: Path, prefix: str) -> None:
    old = kept(tmp_path / "a", series_uid="1.6.6.6") + kept(tmp_path / "b", series_uid="1.7.7.7")
    old[-1].path.unlink()
    running = Running(prefix, tmp_path, old)
    running.until("unreadable_instance")
    first, second = running.until("ready"), running.until("refused")
    assert first is not None
    assert second is not None
    assert (first.series_instance_uid, first.instance_count) == ("1.6.6.6", 6)
    assert [finding.code for finding in second.findings] == ["missing_slices"]
    running.assembler.stop(PATIENCE_S)


def test_an_instance_that_ended_the_process_twice_is_not_decoded_again(tmp_path: Path, prefix: str) -> None:
    old = kept(tmp_path / "a", series_uid="1.6.6.6")
    crashed = [crash_in(tmp_path, old[2].name) for _ in range(2)]
    running = Running(prefix, tmp_path, old)
    refused = running.until("refused")
    assert refused is not None
    assert [finding.code for finding in refused.findings] == ["unreadable_pixels"]
    running.assembler.stop(PATIENCE_S)
    assert len(crashed) == 2


def crash_in(folder: Path, name: str) -> object:
    """What a process leaves that dies while it decodes; as long as the answer is held."""
    attempt = CrashLedger(folder).attempt(name)
    attempt.__enter__()
    return attempt


def test_one_crash_is_forgiven_and_an_exception_is_none(tmp_path: Path) -> None:
    crashed = crash_in(tmp_path, "1.2.3")
    ledger = CrashLedger(tmp_path)
    assert not ledger.gave_up_on("1.2.3")
    with pytest.raises(ZeroDivisionError), ledger.attempt("1.2.3"):
        raise ZeroDivisionError
    assert not CrashLedger(tmp_path).gave_up_on("1.2.3")
    assert crashed
    (tmp_path / "crashes.json").write_text("{half")
    assert not CrashLedger(tmp_path).gave_up_on("1.2.3")


def shots(folder: Path, positions_mm: list[float]) -> list[Kept]:
    """CT fluoroscopy in one series: a picture at each of the places."""
    datasets = [
        ct_slice(phantom(1)[0], position=(0.0, 0.0, z_mm), instance_number=number, series_uid="1.8.8.8")
        for number, z_mm in enumerate(positions_mm, 1)
    ]
    paths = save(datasets, folder)
    return [Kept(str(dataset.SOPInstanceUID), path, "stored") for dataset, path in zip(datasets, paths, strict=True)]


def test_each_shot_at_the_same_places_is_a_slice_however_many_there_are(tmp_path: Path, prefix: str) -> None:
    running = Running(prefix, tmp_path, [])
    taken = shots(tmp_path / "a", [0.0, 5.0, 10.0] * 8)
    for one in taken:
        running.assembler.add(one)
    running.until(f"slice {taken[-1].name}")
    running.assembler.stop(PATIENCE_S)


def test_a_volume_is_not_taken_for_slices(tmp_path: Path, prefix: str) -> None:
    running = Running(prefix, tmp_path, [])
    taken = shots(tmp_path / "a", [2.0 * number for number in range(40)])
    for one in taken:
        running.assembler.add(one)
    running.assembler.stop(PATIENCE_S)
    told = [running.told.get_nowait() for _ in range(running.told.qsize())]
    assert sum(isinstance(one, str) and one.startswith("slice ") for one in told) == 12
