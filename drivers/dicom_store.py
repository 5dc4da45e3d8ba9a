"""Instances on disk: whole and durable before they are acknowledged, nothing overwritten, all found again."""

from __future__ import annotations

import fcntl
import filecmp
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from guidance.errors import ConfigError
from guidance.wire.dicom_classes import is_valid_uid

_ENDING: Final = ".dcm"


@dataclass(frozen=True, slots=True)
class Kept:
    """Where an instance now lies.

    Attributes:
        name: its name in the store: the SOP Instance UID, or a safe one made from it.
        path: its file.
        outcome: `stored`; `duplicate`: the same bytes were there already; `conflict`: others were, both are kept.
    """

    name: str
    path: Path
    outcome: Literal["stored", "duplicate", "conflict"]


class InstanceStore:
    """Folder `dicom` of the data folder: `incoming/` half-received, `instances/` one file per instance.

    Args:
        data_dir: the server's data folder; made if missing.

    Raises:
        ConfigError: `data_dir_unusable`: it cannot be written; `data_dir_in_use`: another server writes there.
    """

    def __init__(self, data_dir: Path) -> None:
        self.incoming = data_dir / "dicom" / "incoming"
        self.instances = data_dir / "dicom" / "instances"
        try:
            self.incoming.mkdir(parents=True, exist_ok=True)
            self.instances.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(data_dir / "dicom" / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._folder = os.open(self.instances, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigError(
                f"{data_dir} cannot be used: {error.strerror}", code="data_dir_unusable", mend="mend data.dir"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"another server stores into {data_dir}",
                code="data_dir_in_use",
                mend="stop it or choose another data.dir",
            ) from None

    def discard_incomplete(self) -> int:
        """Remove what was never received whole, hence never acknowledged; returns how many."""
        left = list(self.incoming.iterdir())
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    def free_mib(self) -> int:
        """Room left on the disk."""
        return shutil.disk_usage(self.instances).free >> 20

    def keep(self, received: Path, sop_instance_uid: str) -> Kept:
        """Make a received file durable under its name.

        When this returns, file and folder entry have been synced: it survives a crash of process and machine. The
        received file's own name stays and is the caller's to remove.

        Args:
            received: a whole DICOM file in `incoming`.
            sop_instance_uid: as the sender gave it, any text.

        Raises:
            OSError: the disk refuses; nothing is stored.
        """
        descriptor = os.open(received, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        name = safe_name(sop_instance_uid)
        path = self._path(name)
        try:
            # A hard link is made whole or not at all, and never replaces a file.
            os.link(received, path)
        except FileExistsError:
            if filecmp.cmp(received, path, shallow=False):
                return Kept(name, path, "duplicate")
            return self._keep_conflict(received, name)
        os.fsync(self._folder)
        return Kept(name, path, "stored")

    def stored(self) -> list[Kept]:
        """Everything in the store, the newest first."""
        with os.scandir(self.instances) as entries:
            found = [(-entry.stat().st_mtime_ns, entry.name) for entry in entries if entry.name.endswith(_ENDING)]
        return [Kept(name.removesuffix(_ENDING), self.instances / name, "stored") for _, name in sorted(found)]

    def close(self) -> None:
        """Let another process use the folder."""
        os.close(self._folder)
        os.close(self._lock)

    def _keep_conflict(self, received: Path, name: str) -> Kept:
        with received.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        other_name = f"{name}.{digest}x"
        path = self._path(other_name)
        try:
            os.link(received, path)
        except FileExistsError:
            return Kept(other_name, path, "duplicate")
        os.fsync(self._folder)
        return Kept(other_name, path, "conflict")

    def _path(self, name: str) -> Path:
        return self.instances / f"{name}{_ENDING}"


def safe_name(sop_instance_uid: str) -> str:
    """A file name for any SOP Instance UID: itself where it is one, else a digest, so no path can be reached by it."""
    if is_valid_uid(sop_instance_uid):
        return sop_instance_uid
    return f"uid-{hashlib.sha256(sop_instance_uid.encode('utf-8', 'surrogateescape')).hexdigest()[:40]}"
