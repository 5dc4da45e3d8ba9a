"""Remembers over a crash which instance was being decoded, so that no stored file can end the process for ever."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

ATTEMPTS: Final = 2  # one may be a power cut or a kill that had nothing to do with the file


class CrashLedger:
    """Two small files in the store's folder; not synced, for they need to survive the process only.

    Args:
        folder: `dicom` of the data folder.
    """

    def __init__(self, folder: Path) -> None:
        self._counts_path = folder / "crashes.json"
        self._counts: dict[str, int] = {}
        # None yet, or a half-written one: each file then gets its attempts again.
        with suppress(OSError, ValueError, AttributeError):
            self._counts = {str(name): int(count) for name, count in json.loads(self._counts_path.read_text()).items()}
        self._current = os.open(folder / "decoding", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        name = os.pread(self._current, 4096, 0).decode("ascii", "replace")
        if name:
            self._counts[name] = self._counts.get(name, 0) + 1
            self._counts_path.write_text(json.dumps(self._counts))
            os.ftruncate(self._current, 0)

    def gave_up_on(self, name: str) -> bool:
        """Whether decoding this instance has ended the process as often as it may."""
        return self._counts.get(name, 0) >= ATTEMPTS

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Decode inside; an exception is no crash."""
        os.pwrite(self._current, name.encode("ascii"), 0)
        try:
            yield
        finally:
            os.ftruncate(self._current, 0)
