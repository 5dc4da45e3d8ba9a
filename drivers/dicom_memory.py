"""Voxels in shared memory: made by the DICOM process, read by the others, removed by name; never by the tracker."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.errors import CaseError
from guidance.messages import CbctVolume

I16 = npt.NDArray[np.int16]

SHARED_MEMORY_FOLDER: Final = Path("/dev/shm")  # where Linux shows POSIX shared memory; elsewhere nothing can be listed


def memory_prefix(data_dir: Path) -> str:
    """What the names of this server's blocks begin with; short, because macOS allows 31 characters in all."""
    return f"gdn_{hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:8]}_"


def create_block(name: str, size_bytes: int) -> SharedMemory:
    """A new block whose memory is really there.

    Raises:
        CaseError: `out_of_shared_memory`. Without this check the first write beyond the limit would be a SIGBUS.
    """
    path = SHARED_MEMORY_FOLDER / name
    has_folder = SHARED_MEMORY_FOLDER.is_dir()
    if has_folder and shutil.disk_usage(SHARED_MEMORY_FOLDER).free < size_bytes:
        raise _out_of_memory(size_bytes)
    block = _untracked(name, create=True, size=size_bytes)
    if not has_folder:
        return block
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
    except OSError:
        block.close()
        remove_block(name)
        raise _out_of_memory(size_bytes) from None
    finally:
        os.close(descriptor)
    return block


def _out_of_memory(size_bytes: int) -> CaseError:
    return CaseError(
        f"no shared memory for {size_bytes >> 20} MiB",
        code="out_of_shared_memory",
        mend="give /dev/shm more room (a container's default is 64 MiB: --shm-size)",
    )


@contextmanager
def open_volume(volume: CbctVolume) -> Iterator[I16]:
    """The voxels of a ready volume, (slices, rows, columns) int16 HU, read-only; valid inside the `with` only.

    Raises:
        CaseError: `volume_gone`: the volume has no voxels, or its block was replaced by a newer one.
    """
    if volume.shape_kji is None or not volume.shared_memory:
        raise CaseError(f"volume {volume.id} has no voxels", code="volume_gone", mend="wait until it is ready")
    try:
        block = _untracked(volume.shared_memory)
    except FileNotFoundError:
        raise CaseError(
            f"the voxels of volume {volume.id} were replaced", code="volume_gone", mend="take the newest message"
        ) from None
    voxels = np.ndarray(volume.shape_kji, dtype=np.int16, buffer=block.buf)
    voxels.flags.writeable = False
    try:
        yield voxels
    finally:
        del voxels
        block.close()


def load_volume(volume: CbctVolume) -> I16:
    """A copy of the voxels, for who keeps them longer than the block may live; errors as `open_volume`."""
    with open_volume(volume) as voxels:
        return voxels.copy()


def remove_block(name: str) -> None:
    """Remove a block's name if it still has one; who has it open keeps its memory."""
    try:
        block = _untracked(name)
    except FileNotFoundError:
        return
    block.close()
    if sys.version_info < (3, 13):
        # unlink() tells the tracker to forget the block, so it has to know it at that moment.
        resource_tracker.register(f"/{name}", "shared_memory")
    with suppress(FileNotFoundError):
        block.unlink()


def remove_blocks(prefix: str) -> int:
    """Remove what a crashed process left behind; returns how many. Only where blocks can be listed (Linux)."""
    if not SHARED_MEMORY_FOLDER.is_dir():
        return 0
    names = [path.name for path in SHARED_MEMORY_FOLDER.iterdir() if path.name.startswith(prefix)]
    for name in names:
        remove_block(name)
    return len(names)


def _untracked(name: str, *, create: bool = False, size: int = 0) -> SharedMemory:
    """Open a block that Python's resource tracker leaves alone.

    The tracker would remove it when the process that made it, or any that looked at it, ends (bpo-38119); from
    Python 3.13 on there is `track=False`, before that it is told to forget.
    """
    if sys.version_info >= (3, 13):
        return SharedMemory(name=name, create=create, size=size, track=False)
    block = SharedMemory(name=name, create=create, size=size)
    resource_tracker.unregister(f"/{name}", "shared_memory")
    return block
