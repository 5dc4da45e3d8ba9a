"""Files of a volume -> voxels in HU with their grid: NIfTI, and DICOM by the server's own rules."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from guidance.errors import WireError
from guidance.geometry.volume_resample import AIR_HU, fill
from guidance.messages import F64, CbctVolume, Finding, Severity, Vector3, VolumeState
from guidance.planning.volume import PlanningVolume
from guidance.wire.dicom_instance import parse, read_instance
from guidance.wire.dicom_pixels import PADDING_BELOW_HU, decode_slices
from guidance.wire.dicom_series import Conclusion, Series, conclude, with_instance

I16 = npt.NDArray[np.int16]

_LPS_FROM_RAS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
_MM: Final = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}
_GZIP: Final = b"\x1f\x8b"
_MOST_TOLD: Final = 3
_BYTE_ORDERS: Final[tuple[Literal["little", "big"], ...]] = ("little", "big")
_NIFTI_1_HEADER: Final = 348  # bytes; the file begins with this number, in either byte order
_NIFTI_2_HEADER: Final = 540
# A padding of -2000 written unsigned reads as 63536; no HU scale reaches that far.
_UNSIGNED_PADDING_HU: Final = 60000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileVolume:
    """A volume out of files.

    Attributes:
        volume: what planning needs.
        description: what it is, for people.
        told: as the server would know it; what a file does not say is empty.
        isocenter_lps_mm: from the objects; None where they do not say.
        findings: what was found about it, and what else was there.
    """

    volume: PlanningVolume
    description: str
    told: CbctVolume
    isocenter_lps_mm: Vector3 | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class NiftiGrid:
    """A NIfTI file's numbers and where they are.

    Attributes:
        values: `[i, j, k]`, or with more axes where the file has more; scaled as the header says.
        affine_lps_from_ijk: (4, 4) float64, mm.
    """

    values: npt.NDArray[Any]
    affine_lps_from_ijk: F64


def read_nifti(data: bytes, *, origin: str) -> NiftiGrid:
    """NIfTI-1 or -2, gzipped or not; its RAS becomes LPS, its units mm.

    Raises:
        WireError: `unreadable_nifti`; `no_geometry` where neither qform nor sform is set: a guessed place is none.
    """
    try:
        content = gzip.decompress(data) if data[:2] == _GZIP else data
        sizes = {int.from_bytes(content[:4], order) for order in _BYTE_ORDERS}
        if sizes.isdisjoint((_NIFTI_1_HEADER, _NIFTI_2_HEADER)):
            raise HeaderDataError("it does not begin as a NIfTI file")
        # What it would print of a header's faults is in the error that follows.
        with LoggingOutputSuppressor():
            image = (nibabel.Nifti2Image if _NIFTI_2_HEADER in sizes else nibabel.Nifti1Image).from_bytes(content)
            values = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError, WrapStructError) as error:
        raise WireError(f"{origin} is not read: {error}", code="unreadable_nifti", mend="a .nii or .nii.gz") from None
    header = image.header
    if not (int(header["qform_code"]) or int(header["sform_code"])):
        raise WireError(
            f"{origin} does not say where it lies: neither qform nor sform is set",
            code="no_geometry",
            mend="write the file with its affine",
        )
    unit = header.get_xyzt_units()[0]
    if unit not in _MM:
        raise WireError(f"{origin} has lengths in {unit!r}", code="unknown_unit", mend="write it in mm")
    affine = _LPS_FROM_RAS @ np.diag([_MM[unit]] * 3 + [1.0]) @ image.affine
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise WireError(f"{origin} has an affine without a volume", code="no_geometry", mend="mend its sform")
    return NiftiGrid(values, affine)


def read_nifti_volume(data: bytes, *, origin: str) -> FileVolume:
    """One CT from a NIfTI file; the format knows no Frame of Reference and no patient position.

    Raises:
        WireError: see `read_nifti`; `not_a_volume` where it is not one 3D array of numbers.
    """
    grid = read_nifti(data, origin=origin)
    values = grid.values
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3 or values.dtype.kind not in "iuf" or min(values.shape) < 2:
        shape = " x ".join(str(count) for count in values.shape)
        raise WireError(f"{origin} holds {shape} of {values.dtype}", code="not_a_volume", mend="one CT in HU")
    columns, rows, slices = values.shape
    voxels = np.empty((slices, rows, columns), np.int16)
    for k in range(len(voxels)):  # slice by slice: floats of a whole 512^3 would take a gigabyte
        plane = np.nan_to_num(values[:, :, k].T.astype(np.float32), nan=AIR_HU, posinf=32767.0, neginf=AIR_HU)
        is_padding = (plane <= PADDING_BELOW_HU) | (plane >= _UNSIGNED_PADDING_HU)
        voxels[k] = np.rint(np.where(is_padding, AIR_HU, np.minimum(plane, 32767.0)))
    voxels.flags.writeable = False
    return FileVolume(
        volume=PlanningVolume(voxels_hu=voxels, affine_lps_from_ijk=grid.affine_lps_from_ijk),
        description=origin,
        told=CbctVolume(
            id=origin,
            series_instance_uid="",
            state=VolumeState.READY,
            shape_kji=(slices, rows, columns),
            affine_lps_from_ijk=tuple(grid.affine_lps_from_ijk.ravel().tolist()),
        ),
    )


def read_dicom_volume(files: Iterable[tuple[str, bytes]], *, origin: str, series_uid: str = "") -> FileVolume:
    """The largest volume among DICOM files, by the same rules as the server; what else they hold is told.

    Args:
        files: (name, content) pairs; what is no DICOM image is passed over, for folders also hold reports and notes.
        origin: the folder's name.
        series_uid: only this Series Instance UID; "" takes all.

    Raises:
        WireError: `no_volume`: nothing readable in them, or every series is refused; names the findings.
    """
    series, pixels, problems = _received(files, series_uid)
    conclusions = [conclusion for found in series.values() for conclusion in conclude(found)]
    usable = [conclusion for conclusion in conclusions if conclusion.grid is not None]
    if not usable:
        problems += [finding.message for conclusion in conclusions for finding in conclusion.volume.findings]
        shown = problems[:_MOST_TOLD] + ([f"and {len(problems) - _MOST_TOLD} more"] if problems[_MOST_TOLD:] else [])
        raise WireError(
            "; ".join((f"no volume in {origin}", *shown)), code="no_volume", mend="the files of a CT series"
        )
    chosen = max(usable, key=_size)
    grid, told = chosen.grid, chosen.volume
    assert grid is not None
    voxels = np.empty(grid.shape_kji, np.int16)
    fill(grid, pixels.__getitem__, voxels)
    voxels.flags.writeable = False
    damaged = (
        Finding(
            code="unreadable_pixels",
            severity=Severity.WARNING,
            message=f"{len(problems)} images in {origin} are not used: {'; '.join(problems[:_MOST_TOLD])}",
        ),
    )
    others = [_name(conclusion) for conclusion in conclusions if conclusion is not chosen]
    several = (
        Finding(
            code="several_volumes",
            severity=Severity.WARNING,
            message=f"{origin} holds {len(conclusions)} volumes; {_name(chosen)} is used, not {', '.join(others)}",
        ),
    )
    return FileVolume(
        volume=PlanningVolume(
            voxels_hu=voxels,
            affine_lps_from_ijk=grid.affine_lps_from_ijk,
            # A volume without a Frame of Reference is in a frame of its own.
            frame_of_reference_uid=told.frame_of_reference_uid or told.series_instance_uid,
            patient_position=told.patient_position,
        ),
        description=told.description or origin,
        told=told,
        isocenter_lps_mm=told.isocenter_lps_mm,
        findings=told.findings + (several if others else ()) + (damaged if problems else ()),
    )


def _received(
    files: Iterable[tuple[str, bytes]], series_uid: str
) -> tuple[dict[str, Series], dict[tuple[str, int], I16], list[str]]:
    """Series by UID, pixels by slice, and what was wrong with images that cannot be used."""
    series: dict[str, Series] = {}
    pixels: dict[tuple[str, int], I16] = {}
    problems: list[str] = []
    for name, data in files:
        try:
            dataset = parse(data)
        except WireError:
            continue
        try:
            instance = read_instance(dataset, name=name)
            if series_uid not in ("", instance.series_instance_uid):
                continue
            problems += [problem.message for problem in instance.problems]
            if not instance.slices:
                continue
            decoded = list(decode_slices(dataset, instance))
        except WireError as error:
            problems.append(f"{name}: {error}")
            continue
        pixels |= {one.key: values for one, values in decoded}
        instance = replace(instance, slices=tuple(one for one, _ in decoded))
        uid = instance.series_instance_uid
        series[uid] = with_instance(series.get(uid), instance, 0.0)
    return series, pixels, problems


def _size(conclusion: Conclusion) -> int:
    return int(np.prod(conclusion.grid.shape_kji)) if conclusion.grid is not None else 0


def _name(conclusion: Conclusion) -> str:
    told = conclusion.volume
    return f"{told.description!r} ({told.series_instance_uid})" if told.description else told.series_instance_uid
