"""Decoded voxels of series under way, and the shared blocks of finished volumes; bounded, one thread only."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final

import numpy as np

from drivers.dicom_memory import I16, SHARED_MEMORY_FOLDER, create_block, remove_block
from guidance.errors import CaseError
from guidance.geometry.volume_grid import VolumeGrid
from guidance.geometry.volume_resample import fill

STAGED_LIMIT_BYTES: Final = 3 << 30  # decoded voxels kept until their series is complete; beyond, files are read again
_BLOCKS_KEPT: Final = 2  # per volume: a reader may be opening the last but one right now

Key = tuple[str, int]


class VoxelShelf:
    """Args: `memory_prefix`: what the names of its shared blocks begin with."""

    def __init__(self, memory_prefix: str) -> None:
        self._prefix = memory_prefix
        self._staged: dict[Key, I16] = {}
        self._staged_bytes = 0
        self._blocks: dict[str, list[str]] = {}
        self._block_number = 0

    def stage(self, decoded: Mapping[Key, I16]) -> None:
        """Keep decoded slices until `drop`; over the limit they are not kept and will be read again."""
        size = sum(pixels.nbytes for pixels in decoded.values())
        if self._staged_bytes + size <= STAGED_LIMIT_BYTES:
            self._staged.update(decoded)
            self._staged_bytes += size

    def drop(self, keys: Iterable[Key]) -> None:
        """Forget staged slices."""
        for key in keys:
            pixels = self._staged.pop(key, None)
            if pixels is not None:
                self._staged_bytes -= pixels.nbytes

    def fill_block(
        self, volume_id: str, grid: VolumeGrid, read: Callable[[str], Mapping[Key, I16]], *, spare_half: bool
    ) -> str:
        """Write a volume into a new shared block; returns its name.

        Args:
            volume_id: the volume's id; its older blocks but the last are removed.
            grid: where each slice goes.
            read: decodes an instance again, for slices that are not staged.
            spare_half: leave half of the machine's shared memory to volumes that are still to come.

        Raises:
            CaseError: `out_of_shared_memory`.
        """
        size = 2 * int(np.prod(grid.shape_kji))
        if spare_half:
            _check_half_is_free(size)
        self._block_number += 1
        name = f"{self._prefix}{volume_id}_{self._block_number}"
        block = create_block(name, size)
        again: dict[Key, I16] = {}

        def pixels_of(key: Key) -> I16:
            pixels = self._staged.get(key)
            if pixels is None and key not in again:
                again.clear()
                again.update(read(key[0]))
            return again[key] if pixels is None else pixels

        try:
            out: I16 = np.ndarray(grid.shape_kji, dtype=np.int16, buffer=block.buf)
            fill(grid, pixels_of, out)
            del out
        except BaseException:
            remove_block(name)
            raise
        finally:
            # An exception's traceback may still hold the array: the map then goes with it.
            with suppress(BufferError):
                block.close()
        names = self._blocks.setdefault(volume_id, [])
        names.append(name)
        while len(names) > _BLOCKS_KEPT:
            remove_block(names.pop(0))
        return name


def _check_half_is_free(size_bytes: int) -> None:
    if not SHARED_MEMORY_FOLDER.is_dir():
        return
    usage = shutil.disk_usage(SHARED_MEMORY_FOLDER)
    if usage.free - size_bytes < usage.total // 2:
        raise CaseError(
            "stored but not loaded: half of the shared memory is left to new volumes",
            code="out_of_shared_memory",
            mend="give /dev/shm more room, or send the series again into an empty data folder",
        )
