"""Volumes for the simulated suite as int16 HU in LPS: NIfTI, procedural pelvis, DICOM folders by the core's rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from guidance.errors import ConfigError, WireError
from guidance.messages import F64
from guidance.wire.volume_files import FileVolume, read_dicom_volume, read_nifti_volume

I16 = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class HuVolume:
    """A volume of CT values.

    Attributes:
        voxels_hu: `[k, j, i]` int16, C order.
        affine_lps_from_ijk: (4, 4) float64, voxel centres at integers.
        description: what it is, for people.
    """

    voxels_hu: I16
    affine_lps_from_ijk: F64
    description: str

    @property
    def center_lps_mm(self) -> F64:
        """(3,): middle of the grid."""
        middle = (np.array(self.voxels_hu.shape[::-1]) - 1) / 2.0
        return self.affine_lps_from_ijk[:3, :3] @ middle + self.affine_lps_from_ijk[:3, 3]


def load_nifti(path: Path) -> HuVolume:
    """Read a CT from a NIfTI file; its RAS becomes LPS.

    Raises:
        ConfigError: not a NIfTI file, or not one 3D volume of numbers.
    """
    return _read(path, lambda: read_nifti_volume(path.read_bytes(), origin=path.name))


def resampled(
    volume: HuVolume, *, spacing_mm: float, center_lps_mm: F64, size_mm: tuple[float, float, float]
) -> HuVolume:
    """Onto an axial grid of equal spacing, cut to a field of view; outside the volume is air.

    Args:
        spacing_mm: of the new grid; finer than the old one adds no anatomy.
        center_lps_mm: middle of the field of view.
        size_mm: along x, y, z.
    """
    count = np.maximum(np.rint(np.asarray(size_mm) / spacing_mm), 1).astype(int)
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    affine[:3, 3] = center_lps_mm - (count - 1) / 2.0 * spacing_mm
    old_from_new = np.linalg.inv(volume.affine_lps_from_ijk) @ affine
    swap = np.eye(4)[[2, 1, 0, 3]]  # the arrays are [k, j, i]
    matrix = swap @ old_from_new @ swap
    voxels = ndimage.affine_transform(
        volume.voxels_hu.astype(np.float32),
        matrix[:3, :3],
        matrix[:3, 3],
        tuple(int(n) for n in count[::-1]),
        order=1,
        mode="constant",
        cval=-1024.0,
    )
    return HuVolume(np.rint(voxels).astype(np.int16), affine, f"{volume.description}, resampled to {spacing_mm:g} mm")


def load_dicom_folder(folder: Path) -> HuVolume:
    """Read the largest volume of a folder, by the same rules as the server.

    Raises:
        ConfigError: nothing readable in it, or every series is refused; names the finding.
    """
    files = ((path.name, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file())
    return _read(folder, lambda: read_dicom_volume(files, origin=str(folder)))


def load_volume(path: Path) -> HuVolume:
    """A DICOM folder or a NIfTI file; ConfigError if it is neither."""
    if path.is_dir():
        return load_dicom_folder(path)
    if not path.exists():
        raise ConfigError(f"there is no {path}", code="no_volume", mend="a DICOM folder or a NIfTI file")
    return load_nifti(path)


def _read(path: Path, read: Callable[[], FileVolume]) -> HuVolume:
    try:
        found = read()
    except OSError as error:
        raise ConfigError(f"{path} is not read: {error}", code="unreadable_volume") from None
    except WireError as error:
        raise ConfigError(str(error.args[0]), code=error.code, mend=error.mend) from None
    return HuVolume(found.volume.voxels_hu, found.volume.affine_lps_from_ijk, found.description)
