"""`zones/<sha256>.npz`: the voxels of zones on disk, written whole or not at all, verified whenever they are read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import Final

import numpy as np

from guidance.errors import CaseError, ConfigError
from guidance.messages import MaskShape
from guidance.planning.occupancy import Occupancy

_FOLDER: Final = "zones"
_NAME: Final = re.compile(r"[0-9a-f]{64}")
_MOST_BYTES: Final = 4 << 30  # of one zone's voxels; what says more was not written here
_FULL: Final = 255.0


class ZoneStore:
    """The masks of one data folder.

    Args:
        folder: the data folder; `zones` in it is made where it is missing.

    Raises:
        ConfigError: `unwritable_data_dir`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / _FOLDER
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"cannot write to {self._folder}: {error.strerror}", code="unwritable_data_dir", mend="mend [data] dir"
            ) from None

    def save(self, occupancy: Occupancy) -> MaskShape:
        """Store voxels and answer the shape that names them; the same voxels are stored once.

        Raises:
            CaseError: `unwritable_mask`: no space, or no permission.
        """
        shape = mask_shape(occupancy)
        path = self._path(shape.mask_id)
        if path.exists():
            with contextlib.suppress(CaseError):  # a damaged file is replaced
                self.load(shape.mask_id)
                return shape
        waiting = path.with_suffix(f".{os.getpid()}.new")
        try:
            with waiting.open("wb") as file:
                np.savez_compressed(
                    file,
                    values=np.ascontiguousarray(occupancy.values, dtype=np.uint8),
                    affine=np.ascontiguousarray(occupancy.affine_lps_from_ijk, dtype="<f8"),
                )
                file.flush()
                os.fsync(file.fileno())
            waiting.replace(path)
        except OSError as error:
            waiting.unlink(missing_ok=True)
            raise CaseError(
                f"the zone's voxels cannot be stored in {self._folder}: {error.strerror}",
                code="unwritable_mask",
                mend="make space, or mend the folder's permissions",
            ) from None
        with contextlib.suppress(OSError):  # a file system that cannot sync a folder has nothing to sync
            handle = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        return shape

    def load(self, mask_id: str) -> Occupancy:
        """The voxels of a mask, to the bit as they were saved; read-only.

        Raises:
            CaseError: `unknown_mask`: there is no such mask; `damaged_mask`: the file is not what was saved.
        """
        path = self._path(mask_id)
        try:
            with zipfile.ZipFile(path) as archive:
                if sum(member.file_size for member in archive.infolist()) > _MOST_BYTES:
                    raise ValueError("larger than any zone")
            with np.load(path, allow_pickle=False) as stored:
                values, affine = stored["values"], stored["affine"]
        except FileNotFoundError:
            raise CaseError(
                f"the voxels {mask_id} of a zone are not in {self._folder}",
                code="unknown_mask",
                mend="import the zone again, or restore the folder from a backup",
            ) from None
        # NotImplementedError is zipfile's word for a damaged entry that names a compression it does not know.
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            raise _damaged(path, str(error)) from None
        if values.dtype != np.uint8 or values.ndim != 3 or affine.dtype != np.float64 or affine.shape != (4, 4):
            raise _damaged(path, f"{values.dtype} {values.shape} voxels, {affine.dtype} {affine.shape} affine")
        occupancy = Occupancy(np.ascontiguousarray(values), np.ascontiguousarray(affine))
        if mask_id_of(occupancy) != mask_id:
            raise _damaged(path, "its checksum is another one")
        occupancy.values.flags.writeable = False
        occupancy.affine_lps_from_ijk.flags.writeable = False
        return occupancy

    def _path(self, mask_id: str) -> Path:
        if not _NAME.fullmatch(mask_id):
            raise CaseError(f"{mask_id!r} names no voxels", code="unknown_mask", mend="import the zone again")
        return self._folder / f"{mask_id}.npz"


def mask_id_of(occupancy: Occupancy) -> str:
    """sha256 (hex) of shape, affine and voxels: what the zone is, not how it is packed."""
    digest = hashlib.sha256(b"guidance zone 1\0")
    digest.update(np.asarray(occupancy.values.shape, dtype="<u8").tobytes())
    digest.update(np.ascontiguousarray(occupancy.affine_lps_from_ijk, dtype="<f8").tobytes())
    digest.update(np.ascontiguousarray(occupancy.values, dtype=np.uint8).data)
    return digest.hexdigest()


def mask_shape(occupancy: Occupancy) -> MaskShape:
    """The shape that stands for voxels in a zone."""
    voxel_ml = abs(float(np.linalg.det(occupancy.affine_lps_from_ijk[:3, :3]))) / 1000.0
    slices, rows, columns = occupancy.values.shape
    return MaskShape(
        mask_id=mask_id_of(occupancy),
        shape_kji=(slices, rows, columns),
        affine_lps_from_ijk=tuple(float(value) for value in occupancy.affine_lps_from_ijk.ravel()),
        volume_ml=float(occupancy.values.sum(dtype=np.int64)) / _FULL * voxel_ml,
    )


def _damaged(path: Path, why: str) -> CaseError:
    return CaseError(
        f"{path.name} is not what was saved: {why}",
        code="damaged_mask",
        mend="import the zone again, or restore the file from a backup",
    )
