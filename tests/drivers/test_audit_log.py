"""The audit on disk: whatever byte a crash cuts it at, the lines before are read and new ones follow."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from drivers import audit_log
from drivers.audit_log import AuditLog
from guidance.case import AuditLine, Change
from guidance.errors import ConfigError

NAME = "audit.jsonl"


def line(what: str) -> AuditLine:
    return AuditLine(
        number=0,
        at="2026-11-21T08:00:00.000+00:00",
        via="http",
        peer="127.0.0.1:5000",
        operator="Dr. Ä",
        what=what,
        epoch=1,
        changes=(Change(kind="path", id="P1", before={"label": "a"}, after={"label": what}),),
    )


def written(folder: Path, *texts: str) -> None:
    log = AuditLog(folder)
    for text in texts:
        log.append(line(text))
    log.close()


def told(log: AuditLog) -> list[tuple[int, str]]:
    return [(read.number, read.what) for read in log.page(limit=1000).items]


def test_lines_are_numbered_kept_and_read_after_a_restart(tmp_path: Path) -> None:
    written(tmp_path / "new", "one", "two")
    written(tmp_path / "new", "three")
    log = AuditLog(tmp_path / "new")
    assert told(log) == [(1, "one"), (2, "two"), (3, "three")]
    assert log.page().items[0] == msgspec.structs.replace(line("one"), number=1)
    log.close()
    rows = [json.loads(row) for row in (tmp_path / "new" / NAME).read_text(encoding="utf-8").splitlines()]
    assert [row["operator"] for row in rows] == ["Dr. Ä"] * 3
    assert (tmp_path / "new" / NAME).stat().st_mode & 0o077 == 0


def test_pages_lead_from_the_newest_back_to_the_first(tmp_path: Path) -> None:
    written(tmp_path, *(f"{number}" for number in range(1, 8)))
    log = AuditLog(tmp_path)
    seen, before = [], None
    while True:
        page = log.page(before=before, limit=3)
        seen.append([read.number for read in page.items])
        before = page.before
        if before is None:
            break
    assert seen == [[5, 6, 7], [2, 3, 4], [1]]
    assert log.page(before=1).items == ()
    log.close()


def test_a_crash_at_any_byte_loses_at_most_the_line_that_was_being_written(tmp_path: Path) -> None:
    written(tmp_path, "one", "two")
    whole = (tmp_path / NAME).read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole)):
        folder = tmp_path / f"{cut}"
        folder.mkdir()
        (folder / NAME).write_bytes(whole[:cut])
        log = AuditLog(folder)
        # But for its end, the second line is whole only where nothing but its line feed is missing.
        kept = [(1, "one")] + ([(2, "two")] if cut == len(whole) - 1 else [])
        assert told(log) == kept
        log.append(line("next"))
        assert told(log) == [*kept, (len(kept) + 1, "next")]
        log.close()
        again = AuditLog(folder)
        assert told(again) == [*kept, (len(kept) + 1, "next")]
        assert again.unreadable == again.page().unreadable == (0 if cut in (first, len(whole) - 1) else 1)
        again.close()


@pytest.mark.parametrize("damage", [b"\0" * 40 + b"\n", b"{}\n", b"\xff\xfe\n", b'{"number": 1}\n', b"\n"], ids=str)
def test_a_line_that_cannot_be_read_is_counted_and_passed_over(tmp_path: Path, damage: bytes) -> None:
    written(tmp_path, "one")
    with (tmp_path / NAME).open("ab") as file:
        file.write(damage)
    written(tmp_path, "two")
    log = AuditLog(tmp_path)
    assert (told(log), log.unreadable) == ([(1, "one"), (2, "two")], 1)
    log.close()


def test_a_copied_line_is_none_of_ours(tmp_path: Path) -> None:
    written(tmp_path, "one", "two")
    content = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(content * 2)
    log = AuditLog(tmp_path)
    assert (told(log), log.unreadable) == ([(1, "one"), (2, "two")], 2)
    log.close()


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog(tmp_path)
    log.append(line("one"))
    write = os.write

    def half(descriptor: int, content: memoryview) -> int:
        if len(content) > 20:
            return write(descriptor, content[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(audit_log.os, "write", half)
    with pytest.raises(OSError, match="No space"):
        log.append(line("two"))
    # Even where the half line cannot be taken away, it stands alone.
    monkeypatch.setattr(audit_log.os, "ftruncate", _refuse)
    with pytest.raises(OSError, match="No space"):
        log.append(line("three"))
    monkeypatch.undo()
    assert log.append(line("four")).number == 2
    assert told(log) == [(1, "one"), (2, "four")]
    log.close()
    again = AuditLog(tmp_path)
    assert (told(again), again.unreadable) == ([(1, "one"), (2, "four")], 1)
    again.close()


def _refuse(_descriptor: int, _size: int) -> None:
    raise OSError(5, "Input/output error")


def test_it_is_on_disk_before_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog(tmp_path)
    synced: list[bytes] = []
    fsync = os.fsync

    def spy(descriptor: int) -> None:
        fsync(descriptor)
        synced.append((tmp_path / NAME).read_bytes())

    monkeypatch.setattr(audit_log.os, "fsync", spy)
    log.append(line("one"))
    assert b'"one"' in synced[-1]
    log.close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError) as caught:
        AuditLog(tmp_path / "file")
    assert caught.value.code == "unwritable_data_dir"
