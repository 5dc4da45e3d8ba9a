"""Volumes for the simulated suite: NIfTI file or procedural pelvis, as int16 HU in LPS; DICOM folders by the core."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from scipy import ndimage

from guidance.errors import ConfigError
from guidance.messages import F64

I16 = npt.NDArray[np.int16]
_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


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
    try:
        image = nibabel.load(path)
        values = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ImageFileError) as error:
        raise ConfigError(f"{path} is not read: {error}", code="unreadable_volume", mend="a .nii or .nii.gz") from None
    if values.ndim != 3 or values.dtype.kind not in "iuf":
        raise ConfigError(f"{path} holds {values.ndim} axes of {values.dtype}", code="not_a_volume", mend="one CT")
    voxels = np.clip(np.nan_to_num(np.rint(values), nan=-1024.0), -32768, 32767).astype(np.int16)
    return HuVolume(np.ascontiguousarray(voxels.transpose(2, 1, 0)), _LPS_FROM_RAS @ image.affine, path.name)


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
