"""Rows of a long benchmark kept as they are made, so that one that was cut off goes on; dropped when it is whole."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

import guidance
import simulators
from drivers.commands.cement_figures import CaseRow
from guidance.kernels import _core

_ENDINGS: Final = {".py", ".so", ".toml", ".json"}


class KeptRows:
    """One file per case, under a name that changes with every byte of the code that made it.

    Args:
        folder: where to; None: a folder of this code in the user's cache.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = _own_folder() if folder is None else folder

    def row(self, name: str) -> CaseRow | None:
        """What was kept of a case; None: nothing that can be read."""
        try:
            return msgspec.msgpack.decode((self._folder / f"{name}.row").read_bytes(), type=CaseRow)
        except (OSError, msgspec.DecodeError):
            return None

    def keep(self, row: CaseRow) -> None:
        """Write one row; where that cannot be done, the benchmark goes on without."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                file.write(msgspec.msgpack.encode(row))
            Path(file.name).replace(self._folder / f"{row.name}.row")
        except OSError:
            return

    def drop(self) -> None:
        """Forget all rows."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _own_folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "guidance" / f"bench-cement-{_fingerprint(_sources())}"


def _sources() -> list[Path]:
    folders = [Path(__file__).parent, *(Path(str(room.__file__)).parent for room in (guidance, simulators))]
    files = {path for folder in folders for path in folder.rglob("*") if path.suffix in _ENDINGS}
    return sorted(files | {Path(str(_core.__file__))})


def _fingerprint(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
