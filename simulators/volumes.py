"""Volumes for the simulated suite as int16 HU in LPS: NIfTI, procedural pelvis, DICOM folders by the core's rules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from scipy import ndimage

from guidance.errors import ConfigError, WireError
from guidance.geometry.volume_resample import fill
from guidance.messages import F64
from guidance.wire.dicom_instance import parse, read_instance
from guidance.wire.dicom_pixels import decode_slices
from guidance.wire.dicom_series import Series, conclude, with_instance

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


def load_dicom_folder(folder: Path) -> HuVolume:
    """Read the largest volume of a folder's first series that has one, by the same rules as the server.

    Raises:
        ConfigError: nothing readable in it, or the series is refused; names the finding.
    """
    series: dict[str, Series] = {}
    pixels: dict[tuple[str, int], I16] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            dataset = parse(path.read_bytes())
            instance = read_instance(dataset, name=path.name)
            if not instance.slices:
                continue
            decoded = list(decode_slices(dataset, instance))
        except WireError:
            continue  # a folder on disk also holds DICOMDIR, reports and notes
        pixels |= {one.key: values for one, values in decoded}
        instance = replace(instance, slices=tuple(one for one, _ in decoded))
        uid = instance.series_instance_uid
        series[uid] = with_instance(series.get(uid), instance, 0.0)
    reasons = []
    for found in series.values():
        for conclusion in conclude(found):
            if conclusion.grid is None:
                reasons += [finding.message for finding in conclusion.volume.findings]
                continue
            voxels = np.empty(conclusion.grid.shape_kji, np.int16)
            fill(conclusion.grid, pixels.__getitem__, voxels)
            return HuVolume(voxels, conclusion.grid.affine_lps_from_ijk, conclusion.volume.description or folder.name)
    raise ConfigError(
        f"no volume in {folder}" + "".join(f"; {reason}" for reason in reasons),
        code="no_volume",
        mend="a folder with the files of a CT series",
    )


def load_volume(path: Path) -> HuVolume:
    """A DICOM folder or a NIfTI file; ConfigError if it is neither."""
    if path.is_dir():
        return load_dicom_folder(path)
    if not path.exists():
        raise ConfigError(f"there is no {path}", code="no_volume", mend="a DICOM folder or a NIfTI file")
    return load_nifti(path)
