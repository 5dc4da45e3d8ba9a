"""`audit.jsonl`: one JSON line per change, synced before anyone is told that it happened; never rewritten."""

from __future__ import annotations

import contextlib
import os
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from guidance.case import AuditLine, AuditPage
from guidance.errors import ConfigError

_NAME: Final = "audit.jsonl"
_END: Final = b"\n"

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(AuditLine)


class AuditLog:
    """The audit of one data folder, over cases and restarts.

    A crash can leave the last line cut at any byte: it is ended and left as it is, counted as unreadable, and the
    lines before and after it are read.

    Args:
        folder: made where it is missing.

    Raises:
        ConfigError: `unwritable_data_dir`, `unreadable_audit`.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        self._starts = array("Q")  # where each readable line begins
        self._numbers = array("Q")
        self.unreadable = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise ConfigError(
                f"cannot write to {self._path}: {error.strerror}", code="unwritable_data_dir", mend="mend [data] dir"
            ) from None
        try:
            self._read_all()
            _sync_folder(folder)
        except OSError as error:
            os.close(self._descriptor)
            raise ConfigError(
                f"cannot read {self._path}: {error.strerror}", code="unreadable_audit", mend="mend its permissions"
            ) from None

    @property
    def last_number(self) -> int:
        """Number of the newest line; 0 where there is none."""
        return self._numbers[-1] if self._numbers else 0

    def append(self, line: AuditLine) -> AuditLine:
        """Give a line its number and put it on disk.

        Raises:
            OSError: it is not on disk; the log is as it was.
        """
        numbered = msgspec.structs.replace(line, number=self.last_number + 1)
        size = os.fstat(self._descriptor).st_size
        # A line that a crash has cut, or that a failed write has left, is ended first.
        torn = size > 0 and os.pread(self._descriptor, 1, size - 1) != _END
        try:
            self._write((_END if torn else b"") + _encoder.encode(numbered) + _END)
            os.fsync(self._descriptor)
        except OSError:
            # What did not get there whole must not stand before the next line.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, size)
            raise
        self._starts.append(size + torn)
        self._numbers.append(numbered.number)
        return numbered

    def page(self, *, before: int | None = None, limit: int = 100) -> AuditPage:
        """Lines with a number below `before`, or the newest; at most `limit`, newest last.

        Raises:
            OSError: the disk.
        """
        last = len(self._numbers) if before is None else bisect_left(self._numbers, before)
        first = max(0, last - limit)
        return AuditPage(
            items=tuple(_decoder.decode(self._line(at)) for at in range(first, last)),
            before=self._numbers[first] if first and last > first else None,
            unreadable=self.unreadable,
        )

    def close(self) -> None:
        """End it; nothing is lost without this."""
        os.close(self._descriptor)

    def _line(self, at: int) -> bytes:
        start = self._starts[at]
        end = self._starts[at + 1] if at + 1 < len(self._starts) else os.fstat(self._descriptor).st_size
        return os.pread(self._descriptor, end - start, start).partition(_END)[0]

    def _write(self, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def _read_all(self) -> None:
        for start, line in _lines(self._descriptor):
            try:
                read = _decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                self.unreadable += 1
                continue
            # A number that does not rise is none that this log gave.
            if read.number <= self.last_number:
                self.unreadable += 1
                continue
            self._starts.append(start)
            self._numbers.append(read.number)


def _lines(descriptor: int) -> Iterator[tuple[int, bytes]]:
    start = 0
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        for line in file:
            yield start, line
            start += len(line)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # a file system that cannot sync a folder has nothing to sync
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
