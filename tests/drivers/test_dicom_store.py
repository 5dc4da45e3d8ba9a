"""The instance store: names, doubles, what a crash leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.dicom_store import InstanceStore, safe_name
from guidance.errors import ConfigError


@pytest.fixture
def store(tmp_path: Path):  # type: ignore[no-untyped-def]  # a generator fixture
    made = InstanceStore(tmp_path)
    yield made
    made.close()


def received(store: InstanceStore, content: bytes) -> Path:
    path = store.incoming / "tmp1.dcm"
    path.unlink(missing_ok=True)  # a kept file shares its content with the received one
    path.write_bytes(content)
    return path


def test_what_is_kept_is_found_again(store: InstanceStore) -> None:
    kept = store.keep(received(store, b"one"), "1.2.3")
    assert (kept.name, kept.outcome, kept.path.read_bytes()) == ("1.2.3", "stored", b"one")
    assert [(one.name, one.path) for one in store.stored()] == [("1.2.3", kept.path)]


def test_the_same_bytes_are_a_duplicate_others_a_conflict(store: InstanceStore) -> None:
    first = store.keep(received(store, b"one"), "1.2.3")
    assert store.keep(received(store, b"one"), "1.2.3").outcome == "duplicate"
    other = store.keep(received(store, b"two"), "1.2.3")
    assert other.outcome == "conflict"
    assert other.path != first.path
    assert (first.path.read_bytes(), other.path.read_bytes()) == (b"one", b"two")
    assert store.keep(received(store, b"two"), "1.2.3").outcome == "duplicate"
    assert {one.name for one in store.stored()} == {"1.2.3", other.name}


@pytest.mark.parametrize("uid", ["../../../etc/passwd", "", "/", "1.2/3", "a" * 300, "1.2\x00", ".", "..", "ä\udc80"])
def test_no_uid_leads_out_of_the_folder(store: InstanceStore, uid: str) -> None:
    kept = store.keep(received(store, b"x"), uid)
    assert kept.path.resolve().parent == store.instances.resolve()
    assert kept.path.read_bytes() == b"x"


def test_different_odd_uids_have_different_names() -> None:
    assert safe_name("../1") != safe_name("../2")


def test_half_received_files_are_discarded(store: InstanceStore) -> None:
    received(store, b"half")
    assert store.discard_incomplete() == 1
    assert list(store.incoming.iterdir()) == []


def test_two_servers_cannot_share_a_folder(store: InstanceStore, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        InstanceStore(tmp_path)
    assert caught.value.code == "data_dir_in_use"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as caught:
        InstanceStore(tmp_path / "file")
    assert caught.value.code == "data_dir_unusable"
