"""NIfTI label maps -> zones; RAS ends here, and a file that does not say where it lies is refused."""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Iterator
from typing import Any, Final

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from scipy import ndimage

from guidance.case.fields import BadFieldsError, FieldError
from guidance.messages import F64, Finding, Severity, ZoneSite
from guidance.wire.label_names import LabelName, LabelNames
from guidance.wire.read_zones import ReadZone, ReadZones, rimmed
from guidance.wire.zone_names import guess_findings, guess_zone, kind_of

Labels = npt.NDArray[np.integer[Any]]

_LPS_FROM_RAS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
_MOST_BYTES: Final = 2 << 30  # of voxels: 1024^3 labels of two bytes
_MOST_LABELS: Final = 1000  # TotalSegmentator has 117; what has thousands of values is a picture
_MILLIMETRES: Final = (0, 2)  # units of space; 0: not told, which means mm in practice
_UNITS: Final = {1: "metres", 3: "micrometres"}
_SAME_PLACE_MM: Final = 0.1  # sform and qform may differ by the rounding of a quaternion
_SMALLEST_VOXEL_MM3: Final = 1e-9
_LARGEST_HEADER: Final = 540  # bytes, of NIfTI-2


def read_label_map(
    data: bytes,
    names: LabelNames,
    *,
    frame_of_reference_uid: str = "",
    origin_uid: str = "",
    labels: Collection[int] | None = None,
) -> ReadZones:
    """Split a label map into zones.

    Args:
        data: a NIfTI-1 or NIfTI-2 file in one piece, gzip or not.
        names: from `label_names`; a label without one keeps `label N`.
        frame_of_reference_uid: frame that the file's scanner coordinates are in, for NIfTI cannot say it.
        origin_uid: name of the file, part of every zone's `origin_uid`.
        labels: only these numbers; None: all.

    Returns:
        One zone per label that has voxels, by ascending number.

    Raises:
        BadFieldsError: not a NIfTI file; fractions, more than three axes, negative numbers; no declared geometry.
    """
    image = _image(data)
    affine, findings = _affine(image)
    values = _voxels(image)
    zones, guesses, unnamed, ignored = [], [], [], []
    for number, box in _boxes(values):
        if labels is not None and number not in labels:
            continue
        label = names.get(number)
        if label is None:
            unnamed.append(number)
            label = LabelName(name=f"label {number}", site=ZoneSite.OTHER)
        if label.ignored:
            ignored.append(label.name)
            continue
        guess = guess_zone(label.name)
        if label.site is None:
            guesses.append((label.name, guess))
        site = guess.site if label.site is None else label.site
        inner = (values[box] == number).astype(np.uint8) * np.uint8(255)
        zones.append(
            ReadZone(
                name=label.name,
                site=site,
                side=guess.side if label.side is None else label.side,
                kind=kind_of(site) if label.kind is None else label.kind,
                level=guess.level if label.level is None else label.level,
                color=label.color,
                occupancy=rimmed(inner, affine, [int(span.start) for span in box]),
                origin="nifti",
                origin_uid=f"{origin_uid}#{number}",
                frame_of_reference_uid=frame_of_reference_uid,
            )
        )
    if not zones:
        raise _refused("labels", "is empty: no voxel has a wanted label; send the finished segmentation")
    if ignored:
        told = f"no zones are made of {', '.join(ignored)}; the names file says so"
        findings += (Finding(code="ignored_label", severity=Severity.WARNING, message=told),)
    if unnamed:
        told = f"no names for {', '.join(f'label {number}' for number in unnamed)}; name them in the names file"
        findings += (Finding(code="unnamed_label", severity=Severity.WARNING, message=told),)
    return ReadZones(
        zones=tuple(zones),
        findings=(*findings, *guess_findings(guesses)),
        frame_of_reference_uid=frame_of_reference_uid,
    )


def _refused(field: str, message: str) -> BadFieldsError:
    return BadFieldsError([FieldError(field, message)], what="label map")


def _image(data: bytes) -> Any:
    """The file as nibabel has it, unpacked no further than its own header says that it reaches."""
    packed = data[:2] == b"\x1f\x8b"
    try:
        head = zlib.decompressobj(31).decompress(data, _LARGEST_HEADER) if packed else data[:_LARGEST_HEADER]
        kind = nibabel.Nifti2Image if _header_size(head) == nibabel.Nifti2Header.sizeof_hdr else nibabel.Nifti1Image
        header = kind.header_class(head[: kind.header_class.sizeof_hdr])
        sizes = [int(size) for size in header.get_data_shape()]
        most = math.prod(sizes) * header.get_data_dtype().itemsize
        if min(sizes, default=0) < 1 or most > _MOST_BYTES:
            raise _refused("dim", f"{' x '.join(map(str, sizes))} voxels are no label map that can be read")
        most += int(header.get_data_offset())
        raw = zlib.decompressobj(31).decompress(data, most) if packed else data
        if len(raw) < most:
            raise _refused("file", f"is cut off: {len(raw)} of {most} bytes; send it again")
        return kind.from_bytes(raw)
    except (ImageFileError, HeaderDataError, WrapStructError, zlib.error, ValueError, OverflowError) as error:
        raise _refused("file", f"is no NIfTI file: {error}; send .nii or .nii.gz") from None


def _header_size(head: bytes) -> int:
    little = int.from_bytes(head[:4], "little")
    return little if little < 1 << 16 else int.from_bytes(head[:4], "big")


def _affine(image: Any) -> tuple[F64, tuple[Finding, ...]]:
    """`affine_lps_from_ijk` as nibabel decides: the sform where it is declared, else the qform."""
    header = image.header
    sform, qform = header.get_sform(coded=True), header.get_qform(coded=True)
    if not sform[1] and not qform[1]:
        mend = "save it with its geometry (sform or qform), as 3D Slicer, ITK-SNAP and nibabel do"
        raise _refused("sform_code", f"and qform_code are 0: the file does not say where it lies; {mend}")
    units = int(header["xyzt_units"]) & 7
    if units not in _MILLIMETRES:
        raise _refused("xyzt_units", f"are {_UNITS.get(units, units)}; save it in mm")
    affine: F64 = np.array(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < _SMALLEST_VOXEL_MM3:
        raise _refused("sform" if sform[1] else "qform", "is no invertible matrix; save it with its geometry")
    findings: tuple[Finding, ...] = ()
    if sform[1] and qform[1]:
        corner = np.array([*(size - 1 for size in image.shape[:3]), 1.0])
        apart_mm = max(float(np.linalg.norm((sform[0] - qform[0])[:3] @ one)) for one in (corner, np.eye(4)[3]))
        if not apart_mm < _SAME_PLACE_MM:
            told = f"sform and qform lie {apart_mm:.1f} mm apart; the sform is used"
            findings = (Finding(code="sform_qform_differ", severity=Severity.WARNING, message=told),)
    return _LPS_FROM_RAS @ affine, findings


def _voxels(image: Any) -> Labels:
    kind = image.get_data_dtype()
    sizes = image.shape
    if len(sizes) < 3 or any(size != 1 for size in sizes[3:]):
        told = f"is {' x '.join(map(str, sizes))}: {len(sizes)} axes; send one label map of three axes"
        raise _refused("dim", told)
    if kind.kind not in "iu":
        raise _refused("datatype", f"is {kind}; a label map holds whole numbers: save it as an integer type")
    if image.dataobj.slope != 1 or image.dataobj.inter != 0:
        raise _refused("scl_slope", "scales the numbers; save the labels as they are, with slope 1 and intercept 0")
    values = np.asarray(image.dataobj).reshape(sizes[:3])
    return values.astype(kind.newbyteorder("="), copy=False).transpose(2, 1, 0)


def _boxes(values: Labels) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Number and box of each label that has voxels, by ascending number; 0 is the background."""
    present: set[int] = set()
    for plane in values:
        present.update(np.unique(plane).tolist())
        if len(present) > _MOST_LABELS or min(present) < 0:
            told = f"has {'negative numbers' if min(present) < 0 else 'thousands of values'}; is it a picture?"
            raise _refused("labels", f"{told} Send the segmentation, not the CT")
    numbers = sorted(present | {0})
    compact = values if numbers[-1] <= _MOST_LABELS else np.searchsorted(numbers, values)
    boxes = ndimage.find_objects(compact)
    for place, box in enumerate(boxes, 1):
        if box is not None:
            yield (place if compact is values else numbers[place]), box
