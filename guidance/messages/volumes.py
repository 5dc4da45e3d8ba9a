"""The CBCT volume and its state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from guidance.messages.basics import Finding, Vector3


class VolumeState(StrEnum):
    RECEIVING = "receiving"
    READY = "ready"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class CbctVolume:
    """A received volume; the voxels live in shared memory, this is everything else.

    Attributes:
        id: the server's id.
        series_instance_uid, study_instance_uid, patient_id, patient_name: DICOM identity.
        frame_of_reference_uid: Frame of Reference the affine is in; "" if the objects have none.
        patient_position: DICOM (0018,5100), `HFS` ... `FFDR`; "" if absent.
        state: receiving, ready or refused.
        findings: named findings, errors first.
        shape_kji: (slices, rows, columns); None until ready.
        affine_lps_from_ijk: 16 numbers, row-major 4x4, voxel centres at integers; None until ready.
        table_at_cbct_mm: table position in the axes of design section 3 from the objects; None if unknown.
        isocenter_lps_mm: isocentre in the patient frame from the objects; None if unknown.
        shared_memory: name of the int16 block `[k, j, i]` in HU; "" until ready.
        instance_count: instances taken into it.
        description: Series Description, for the page only.
    """

    id: str
    series_instance_uid: str
    study_instance_uid: str = ""
    patient_id: str = ""
    patient_name: str = ""
    frame_of_reference_uid: str = ""
    patient_position: str = ""
    state: VolumeState = VolumeState.RECEIVING
    findings: tuple[Finding, ...] = ()
    shape_kji: tuple[int, int, int] | None = None
    affine_lps_from_ijk: tuple[float, ...] | None = None
    table_at_cbct_mm: Vector3 | None = None
    isocenter_lps_mm: Vector3 | None = None
    shared_memory: str = ""
    instance_count: int = 0
    description: str = ""
