"""A DICOM data set -> what assembly needs of it: identity, slices, calibration. Overlays, private data: not."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from guidance.errors import GeometryError, WireError
from guidance.geometry.volume_slices import SliceDescription
from guidance.messages import Finding, Severity, Vector3
from guidance.wire.dicom_classes import CT_IMAGE, VOLUME_CLASSES, XRAY_3D_ANGIOGRAPHIC
from guidance.wire.dicom_frames import FrameHeader, frame_headers
from guidance.wire.dicom_values import integer, items, number, numbers, text, texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """HU = slope * stored value + intercept."""

    slope: float
    intercept: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One stored instance, without its pixels.

    Attributes:
        name: under which it is stored; the SOP Instance UID, with an ending where the UID was already taken.
        sop_class_uid, series_instance_uid, study_instance_uid, patient_id, patient_name, description: as in the object.
        acquisition_number: (0020,0012) as text, "" if absent.
        announced: instances of the series that the object announces; None if it does not.
        slices: one per picture that belongs into a volume; () for scouts and for classes without volumes.
        calibrations: one per slice; None where the object has no HU scale.
        problems: what keeps it from being used, errors of the contract's codes.
        table_at_cbct_mm: table position, axes of design section 3; None if the object does not say.
        isocenter_lps_mm: isocentre in the patient frame; None if the object does not say.
    """

    name: str
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str
    patient_id: str
    patient_name: str
    description: str
    acquisition_number: str
    announced: int | None
    slices: tuple[SliceDescription, ...]
    calibrations: tuple[Calibration | None, ...]
    problems: tuple[Finding, ...] = ()
    table_at_cbct_mm: Vector3 | None = None
    isocenter_lps_mm: Vector3 | None = None


def parse(data: bytes) -> Dataset:
    """Split a DICOM file (with file meta) into elements.

    Raises:
        WireError: `unreadable_instance`: not a DICOM file or its elements do not parse.
    """
    try:
        return pydicom.dcmread(BytesIO(data))
    except InvalidDicomError as error:
        raise WireError(f"not a DICOM file: {error}", code="unreadable_instance") from None
    except Exception as error:  # the parser meets hostile bytes; what it raises on them is not enumerable
        raise WireError(f"the data set does not parse: {error!r}", code="unreadable_instance") from None


def read_instance(dataset: Dataset, *, name: str) -> Instance:
    """Read what assembly needs.

    Args:
        dataset: from `parse`.
        name: under which the instance is stored.

    Raises:
        WireError: `unreadable_instance`: it has no Series Instance UID, so nobody knows where it belongs.
    """
    series = text(dataset, "SeriesInstanceUID")
    if not series:
        raise WireError(f"{name} has no Series Instance UID", code="unreadable_instance")
    sop_class = text(dataset, "SOPClassUID")
    slices: tuple[SliceDescription, ...] = ()
    calibrations: tuple[Calibration | None, ...] = ()
    problems: tuple[Finding, ...] = ()
    if sop_class in VOLUME_CLASSES:
        every = tuple(frame_headers(dataset))
        headers = tuple(header for header in every if not header.is_localizer)
        try:
            if len(every) != (integer(dataset, "NumberOfFrames") or 1):
                raise GeometryError(f"{name} does not describe each of its pictures", code="bad_geometry")
            slices = tuple(_slice(dataset, header, name) for header in headers)
        except GeometryError as error:
            problems = (Finding(code=error.code, severity=Severity.ERROR, message=str(error)),)
        calibrations = tuple(_calibration(header, sop_class) for header in headers)
        if any(one is None for one in calibrations):
            kind = next(header.kind for header, one in zip(headers, calibrations, strict=True) if one is None)
            words = f"{name} has no HU scale ({kind})"
            problems += (Finding(code="not_calibrated", severity=Severity.ERROR, message=words),)
        if problems:
            slices, calibrations = (), ()
    return Instance(
        name=name,
        sop_class_uid=sop_class,
        series_instance_uid=series,
        study_instance_uid=text(dataset, "StudyInstanceUID"),
        patient_id=text(dataset, "PatientID"),
        patient_name=text(dataset, "PatientName"),
        description=text(dataset, "SeriesDescription"),
        acquisition_number=text(dataset, "AcquisitionNumber"),
        announced=_announced(dataset, sop_class),
        slices=slices,
        calibrations=calibrations,
        problems=problems,
        table_at_cbct_mm=_table(dataset),
        isocenter_lps_mm=_isocenter(dataset),
    )


def _slice(dataset: Dataset, header: FrameHeader, name: str) -> SliceDescription:
    rows, columns = integer(dataset, "Rows"), integer(dataset, "Columns")
    position, orientation, spacing = header.position_mm, header.orientation, header.spacing_mm
    if position is None or orientation is None or spacing is None or rows is None or columns is None:
        raise GeometryError(
            f"{name} lacks a readable position, orientation, pixel spacing or size", code="bad_geometry"
        )
    return SliceDescription(
        instance_uid=name,
        frame=header.frame,
        position_mm=(position[0], position[1], position[2]),
        row_direction=(orientation[0], orientation[1], orientation[2]),
        column_direction=(orientation[3], orientation[4], orientation[5]),
        spacing_mm=(spacing[0], spacing[1]),
        rows=rows,
        columns=columns,
        frame_of_reference_uid=text(dataset, "FrameOfReferenceUID"),
        patient_position=text(dataset, "PatientPosition"),
        variant=header.variant,
        instance_number=header.number,
    )


def _calibration(header: FrameHeader, sop_class: str) -> Calibration | None:
    """The HU scale, or None.

    Rescale Type may be absent only where the standard lets that mean HU: in CT objects (PS3.3 C.8.2.1.1.2).
    A perfusion map is no HU image whatever its type says.
    """
    if header.real_world_hu is not None:
        slope, intercept = header.real_world_hu
        return Calibration(slope=slope, intercept=intercept)
    if header.rescale is None or header.rescale[0] == 0 or header.is_functional_map:
        return None
    is_hu = header.rescale_type == "HU" or (not header.rescale_type and sop_class != XRAY_3D_ANGIOGRAPHIC)
    return Calibration(slope=header.rescale[0], intercept=header.rescale[1]) if is_hu else None


def _announced(dataset: Dataset, sop_class: str) -> int | None:
    in_series = integer(dataset, "NumberOfSeriesRelatedInstances")
    if in_series is not None and in_series > 0:
        return in_series
    if sop_class == CT_IMAGE:
        in_acquisition = integer(dataset, "ImagesInAcquisition")
        return in_acquisition if in_acquisition is not None and in_acquisition > 0 else None
    if sop_class in VOLUME_CLASSES:
        parts = integer(dataset, "InConcatenationTotalNumber")
        if text(dataset, "ConcatenationUID"):
            return parts if parts is not None and parts > 0 else None
        return 1
    return None


def _table(dataset: Dataset) -> Vector3 | None:
    """Table position to the isocentre, if the object gives exactly one (X-Ray Isocenter Reference System macro)."""
    found = set()
    groups = (
        dataset,
        *items(dataset, "SharedFunctionalGroupsSequence"),
        *items(dataset, "PerFrameFunctionalGroupsSequence"),
    )
    for group in groups:
        for item in items(group, "IsocenterReferenceSystemSequence"):
            position = tuple(number(item, f"Table{axis}PositionToIsocenter") for axis in "XYZ")
            found.add(position)
    if len(found) != 1:
        return None
    x, y, z = found.pop()
    return None if x is None or y is None or z is None else (x, y, z)


def _isocenter(dataset: Dataset) -> Vector3 | None:
    """The point that Image to Equipment Mapping Matrix (0028,9520) maps to the equipment's origin, the isocentre."""
    if texts(dataset, "EquipmentCoordinateSystemIdentification") != ("ISOCENTER",):
        return None
    matrix = numbers(dataset, "ImageToEquipmentMappingMatrix", 16)
    if matrix is None:
        return None
    equipment_from_lps = np.array(matrix).reshape(4, 4)
    rotation = equipment_from_lps[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or not np.allclose(
        equipment_from_lps[3], (0, 0, 0, 1)
    ):
        return None
    x, y, z = (-rotation.T @ equipment_from_lps[:3, 3]).tolist()
    return (x, y, z)
