"""A cone-beam CT run as DICOM objects: CT Image series, Enhanced CT, or X-Ray 3D Angiographic; the same every time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from guidance.messages import F64, Vector3
from guidance.wire.dicom_classes import CT_IMAGE, ENHANCED_CT, XRAY_3D_ANGIOGRAPHIC
from simulators.gantry import lps_from_equipment
from simulators.volumes import HuVolume

ObjectKind = Literal["ct", "enhanced", "xa3d"]
OBJECT_KINDS: Final = ("ct", "enhanced", "xa3d")

_SOP_CLASSES: Final[dict[str, str]] = {"ct": CT_IMAGE, "enhanced": ENHANCED_CT, "xa3d": XRAY_3D_ANGIOGRAPHIC}
_STORED_OFFSET: Final = -1024.0  # rescale intercept: stored values are unsigned, as CT makers have it


@dataclass(frozen=True, slots=True, kw_only=True)
class CbctRun:
    """What the modality knows beside the voxels.

    Attributes:
        seed: all UIDs follow from it.
        patient_id, patient_name: of the simulated patient.
        patient_position: DICOM (0018,5100).
        kind: which objects.
        isocenter_lps_mm: told by multi-frame objects; None leaves it out.
        table_mm: table at the run, equipment axes, told by multi-frame objects; None leaves it out.
        date, time: of the run, DICOM DA and TM.
    """

    seed: int = 1
    patient_id: str = "SIM-0001"
    patient_name: str = "Simulated^Patient"
    patient_position: str = "HFS"
    kind: ObjectKind = "ct"
    isocenter_lps_mm: Vector3 | None = None
    table_mm: Vector3 | None = None
    date: str = "20260101"
    time: str = "120000"

    def uid(self, *words: object) -> str:
        """The same UID for the same words and seed."""
        return str(generate_uid(prefix="2.25.", entropy_srcs=["guidance-cbct", str(self.seed), *map(str, words)]))

    @property
    def frame_of_reference_uid(self) -> str:
        """What the C-arm's frames must name."""
        return self.uid("frame of reference")


def cbct_objects(volume: HuVolume, run: CbctRun) -> Iterator[Dataset]:
    """The objects of one run in acquisition order, with file meta, ready to send or to save.

    Args:
        volume: rows and columns along its i and j axes, slices along k; the grid must not be sheared.
    """
    if run.kind == "ct":
        yield from _ct_series(volume, run)
    else:
        yield _multi_frame(volume, run)


def object_count(volume: HuVolume, run: CbctRun) -> int:
    """How many objects `cbct_objects` gives."""
    return volume.voxels_hu.shape[0] if run.kind == "ct" else 1


def _ct_series(volume: HuVolume, run: CbctRun) -> Iterator[Dataset]:
    count = volume.voxels_hu.shape[0]
    for k in range(count):
        dataset = _common(volume, run, run.uid("instance", k))
        dataset.InstanceNumber = k + 1
        dataset.AcquisitionNumber = 1
        dataset.ImagesInAcquisition = count
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.KVP = 110
        step = volume.affine_lps_from_ijk[:3, 2]
        dataset.SliceThickness = _number(np.linalg.norm(step))
        _plane(dataset, dataset, dataset, volume, k)
        _rescale(dataset)
        dataset.PixelData = _stored(volume, k).tobytes()
        yield dataset


def _multi_frame(volume: HuVolume, run: CbctRun) -> Dataset:
    count = volume.voxels_hu.shape[0]
    dataset = _common(volume, run, run.uid("instance", run.kind))
    dataset.InstanceNumber = 1
    dataset.NumberOfFrames = count
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.ContentDate, dataset.ContentTime = run.date, run.time
    dataset.VolumetricProperties = "VOLUME"
    if run.isocenter_lps_mm is not None:
        equipment_from_lps = np.eye(4)
        equipment_from_lps[:3, :3] = lps_from_equipment(run.patient_position).T
        equipment_from_lps[:3, 3] = -equipment_from_lps[:3, :3] @ run.isocenter_lps_mm
        dataset.EquipmentCoordinateSystemIdentification = "ISOCENTER"
        dataset.ImageToEquipmentMappingMatrix = [float(value) for value in equipment_from_lps.ravel()]
    shared = Dataset()
    values = Dataset()
    _rescale(values)
    shared.PixelValueTransformationSequence = Sequence([values])
    frame_type = Dataset()
    frame_type.FrameType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    if run.kind == "enhanced":
        shared.CTImageFrameTypeSequence = Sequence([frame_type])
    else:
        shared.XRay3DFrameTypeSequence = Sequence([frame_type])
    if run.table_mm is not None:
        table = Dataset()
        table.TableXPositionToIsocenter, table.TableYPositionToIsocenter, table.TableZPositionToIsocenter = (
            float(value) for value in run.table_mm
        )
        shared.IsocenterReferenceSystemSequence = Sequence([table])
    frames = []
    for k in range(count):
        frame, plane, orientation, measures, content = (Dataset() for _ in range(5))
        _plane(plane, orientation, measures, volume, k)
        frame.PlanePositionSequence = Sequence([plane])
        if k == 0:
            shared.PlaneOrientationSequence = Sequence([orientation])
            measures.SliceThickness = _number(np.linalg.norm(volume.affine_lps_from_ijk[:3, 2]))
            shared.PixelMeasuresSequence = Sequence([measures])
        content.StackID, content.InStackPositionNumber = "1", k + 1
        content.FrameAcquisitionNumber = 1
        frame.FrameContentSequence = Sequence([content])
        frames.append(frame)
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    dataset.PixelData = b"".join(_stored(volume, k).tobytes() for k in range(count))
    return dataset


def _common(volume: HuVolume, run: CbctRun, instance_uid: str) -> Dataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = _SOP_CLASSES[run.kind]
    meta.MediaStorageSOPInstanceUID = instance_uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, instance_uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = run.uid("study"), run.uid("series", run.kind)
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = run.frame_of_reference_uid, ""
    dataset.PatientID, dataset.PatientName = run.patient_id, run.patient_name
    dataset.PatientBirthDate, dataset.PatientSex = "", "O"
    dataset.StudyID, dataset.AccessionNumber, dataset.ReferringPhysicianName = "1", "", ""
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = run.date
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = run.time
    dataset.Modality = "XA" if run.kind == "xa3d" else "CT"
    dataset.Manufacturer, dataset.ManufacturerModelName = "guidance", "simulated CBCT"
    dataset.SeriesNumber = 1
    dataset.SeriesDescription = f"SIMULATED CBCT of {volume.description}"[:64]
    dataset.PatientPosition = run.patient_position
    dataset.Rows, dataset.Columns = volume.voxels_hu.shape[1:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    return dataset


def _plane(position: Dataset, orientation: Dataset, measures: Dataset, volume: HuVolume, k: int) -> None:
    affine = volume.affine_lps_from_ijk
    along_row, along_column = affine[:3, 0], affine[:3, 1]
    position.ImagePositionPatient = [_number(value) for value in affine[:3] @ (0.0, 0.0, float(k), 1.0)]
    unit = np.concatenate([_unit(along_row), _unit(along_column)])
    orientation.ImageOrientationPatient = [_number(value) for value in unit]
    measures.PixelSpacing = [_number(np.linalg.norm(along_column)), _number(np.linalg.norm(along_row))]


def _rescale(dataset: Dataset) -> None:
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = _number(_STORED_OFFSET), "1", "HU"


def _stored(volume: HuVolume, k: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    shifted = volume.voxels_hu[k].astype(np.int32) - int(_STORED_OFFSET)
    return np.asarray(np.clip(shifted, 0, 65535), "<u2")


def _unit(vector: F64) -> F64:
    return np.asarray(vector / np.linalg.norm(vector))


def _number(value: float | np.floating) -> str:
    """A decimal string of at most 16 characters."""
    return f"{float(value):.10g}"[:16]
