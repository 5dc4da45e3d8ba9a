"""`case.json`: the case on disk, replaced whole and synced before anyone is told that it is stored."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from guidance.case import Case, case_from_json, case_to_json
from guidance.errors import CaseError, ConfigError

_NAME: Final = "case.json"


class CaseStore:
    """The stored case of one data folder.

    Args:
        folder: made where it is missing.

    Raises:
        ConfigError: `unwritable_data_dir`.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".{_NAME}.{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise ConfigError(
                f"cannot write to {folder}: {error.strerror}", code="unwritable_data_dir", mend="mend [data] dir"
            ) from None

    def load(self) -> tuple[Case, CaseError | None]:
        """The stored case; an unreadable one is kept aside and named, and the case begins empty.

        Raises:
            ConfigError: `unreadable_case`: the file is there, and may not be read.
        """
        try:
            return case_from_json(self._path.read_bytes()), None
        except FileNotFoundError:
            return Case(), None
        except OSError as error:
            raise ConfigError(
                f"cannot read {self._path}: {error.strerror}", code="unreadable_case", mend="mend its permissions"
            ) from None
        except CaseError as error:
            aside = self._path.with_suffix(f".unreadable-{self._path.stat().st_mtime_ns}")
            self._path.rename(aside)
            return Case(), CaseError(f"{error}; kept as {aside.name}", code=error.code)

    def save(self, case: Case) -> None:
        """Write, sync, rename: a crash leaves the old or the new case, never half of one."""
        waiting = self._path.with_suffix(".new")
        with waiting.open("wb") as file:
            file.write(case_to_json(case))
            file.flush()
            os.fsync(file.fileno())
        waiting.replace(self._path)
        with contextlib.suppress(OSError):  # a file system that cannot sync a folder has nothing to sync
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
