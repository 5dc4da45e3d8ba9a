"""The storage SCP alone: what it answers when the disk fills up or fails under an association."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.dicom_scp import StorageScp
from drivers.dicom_store import InstanceStore, Kept
from guidance.config import DicomSettings
from guidance.errors import ConfigError
from tests.helpers.dicom_objects import ct_series
from tests.helpers.reception import send_now


class ScriptedStore(InstanceStore):
    """A store whose disk has as much room, and fails when, the test says."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.rooms_mib: list[int] = []
        self.fails_at = -1

    def free_mib(self) -> int:
        return self.rooms_mib.pop(0) if self.rooms_mib else 1000

    def keep(self, received: Path, sop_instance_uid: str) -> Kept:
        self.fails_at -= 1
        if self.fails_at == 0:
            raise OSError(28, "No space left on device")
        return super().keep(received, sop_instance_uid)


class Running:
    def __init__(self, folder: Path) -> None:
        self.store = ScriptedStore(folder)
        self.counts: Counter[str] = Counter()
        self.kept: list[Kept] = []
        settings = DicomSettings(port=0, disk_watermark_mib=500)
        self.scp = StorageScp(
            settings,
            self.store,
            on_kept=self.kept.append,
            count=lambda code: self.counts.update([code]),
            log=lambda *_: None,
        )
        self.port = self.scp.start()


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    from pynetdicom import _config

    for name in ("STORE_RECV_CHUNKED_DATASET", "LOG_HANDLER_LEVEL", "ENFORCE_UID_CONFORMANCE"):
        monkeypatch.setattr(_config, name, getattr(_config, name))  # the SCP sets them for its whole process
    made = Running(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(made.store.incoming))
    yield made
    made.scp.stop(1.0)
    made.store.close()


def test_the_watermark_reached_under_an_association(running: Running) -> None:
    running.store.rooms_mib = [1000, 1000, 1000, 499]  # association, two instances, then full
    assert send_now(running.port, ct_series()[:4]) == [0x0000, 0x0000, 0xA700, 0x0000]
    assert running.counts == {"stored": 3, "disk_watermark": 1}
    assert len(running.kept) == 3
    assert len(list(running.store.instances.iterdir())) == 3


def test_a_disk_that_fails_is_answered_and_the_rest_goes_on(running: Running) -> None:
    running.store.fails_at = 2
    assert send_now(running.port, ct_series()[:3]) == [0x0000, 0xA700, 0x0000]
    assert running.counts == {"stored": 2, "store_failed": 1}
    assert list(running.store.incoming.iterdir()) == []


def test_an_impossible_calling_title_is_a_named_error(tmp_path: Path) -> None:
    store = InstanceStore(tmp_path)
    settings = DicomSettings(port=0, allowed_calling_ae_titles=("A TITLE LONGER THAN SIXTEEN",))
    scp = StorageScp(settings, store, on_kept=lambda _: None, count=lambda _: None, log=lambda *_: None)
    with pytest.raises(ConfigError) as caught:
        scp.start()
    assert caught.value.code == "bad_setting"
    store.close()
