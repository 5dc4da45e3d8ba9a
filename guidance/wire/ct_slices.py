"""A stored CT Image as a slice that is taken while cement flows: pixels in HU, plane and thickness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from guidance.cement.slices import CementSlice
from guidance.errors import WireError
from guidance.geometry.volume_slices import SliceDescription
from guidance.messages import F64
from guidance.wire.dicom_classes import CT_IMAGE
from guidance.wire.dicom_instance import parse, read_instance
from guidance.wire.dicom_pixels import decode_slices
from guidance.wire.dicom_values import number

_THICKNESS_MM: Final = (0.1, 20.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredSlice:
    """One slice and whose it is."""

    frame_of_reference_uid: str
    patient_id: str
    cement_slice: CementSlice


def read_slice(data: bytes, *, name: str, received_ns: int) -> StoredSlice:
    """Read a CT Image.

    Args:
        data: the file.
        name: under which it is stored.
        received_ns: server's monotonic clock.

    Raises:
        WireError: `not_a_slice`: of another class, without HU, plane or thickness; `unreadable_pixels`,
            `unreadable_instance`.
    """
    dataset = parse(data)
    instance = read_instance(dataset, name=name)
    if instance.sop_class_uid != CT_IMAGE or len(instance.slices) != 1 or instance.calibrations[0] is None:
        words = "; ".join(found.message for found in instance.problems) or "it is no CT Image with one slice in HU"
        raise WireError(f"{name}: {words}", code="not_a_slice")
    thickness_mm = number(dataset, "SliceThickness")
    if thickness_mm is None or not _THICKNESS_MM[0] <= thickness_mm <= _THICKNESS_MM[1]:
        raise WireError(f"{name}: Slice Thickness is missing or out of range", code="not_a_slice")
    ((one, pixels_hu),) = decode_slices(dataset, instance)
    return StoredSlice(
        frame_of_reference_uid=one.frame_of_reference_uid,
        patient_id=instance.patient_id,
        cement_slice=CementSlice(
            pixels_hu=pixels_hu,
            affine_lps_from_ijk=_affine(one, thickness_mm),
            thickness_mm=thickness_mm,
            received_ns=received_ns,
        ),
    )


def _affine(one: SliceDescription, thickness_mm: float) -> F64:
    along_i, along_j = np.array(one.row_direction), np.array(one.column_direction)
    affine = np.eye(4)
    affine[:3, 0] = along_i * one.spacing_mm[1]
    affine[:3, 1] = along_j * one.spacing_mm[0]
    affine[:3, 2] = np.cross(along_i, along_j) * thickness_mm
    affine[:3, 3] = one.position_mm
    return affine
