"""Synthetic Segmentations and RT Structure Sets for tests, every frame and attribute under the test's control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from guidance.wire.dicom_classes import RT_STRUCTURE_SET, SEGMENTATION
from guidance.wire.dicom_segmentation import LABEL_MAP_SEGMENTATION

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
FRAME = "1.2.826.0.1.3680043.10.9"


def item(**attributes: Any) -> Dataset:
    """A sequence item."""
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def code(value: str, scheme: str = "SCT", meaning: str = "words") -> Dataset:
    """A code item."""
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def segment(number: int, label: str, type_code: Dataset | None = None, **attributes: Any) -> Dataset:
    """An item of the Segment Sequence."""
    return item(
        SegmentNumber=number,
        SegmentLabel=label,
        SegmentedPropertyCategoryCodeSequence=[code("123037004", meaning="Anatomical Structure")],
        SegmentedPropertyTypeCodeSequence=[type_code or code("85756007", meaning="Tissue")],
        SegmentAlgorithmType="MANUAL",
        **attributes,
    )


def segmentation(
    frames: Sequence[tuple[int, Sequence[float], npt.NDArray[Any]]],
    segments: Sequence[Dataset],
    *,
    kind: str = "BINARY",
    orientation: Sequence[float] = AXIAL,
    spacing: Sequence[float] = (0.8, 0.7),
    between: float | None = None,
    most: int = 255,
    fractional_type: str = "OCCUPANCY",
) -> Dataset:
    """A Segmentation.

    Args:
        frames: (segment number, position, (rows, columns) stored numbers) in file order.
        segments: from `segment`.
        between: Spacing Between Slices.
    """
    dataset = _base(LABEL_MAP_SEGMENTATION if kind == "LABELMAP" else SEGMENTATION, "SEG")
    dataset.SegmentationType = kind
    if kind == "FRACTIONAL":
        dataset.SegmentationFractionalType, dataset.MaximumFractionalValue = fractional_type, most
    dataset.SegmentSequence = list(segments)
    measures = item(PixelSpacing=list(spacing), SliceThickness=3.3)  # a thickness that is not the step
    if between is not None:
        measures.SpacingBetweenSlices = between
    dataset.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=[float(one) for one in orientation])],
            PixelMeasuresSequence=[measures],
        )
    ]
    groups = []
    for number, position, _ in frames:
        group = item(PlanePositionSequence=[item(ImagePositionPatient=[float(one) for one in position])])
        if kind != "LABELMAP":
            group.SegmentIdentificationSequence = [item(ReferencedSegmentNumber=number)]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.NumberOfFrames = len(frames)
    put_pixels(dataset, np.stack([pixels for *_, pixels in frames]), bits=1 if kind == "BINARY" else 8)
    return dataset


def put_pixels(dataset: Dataset, stored: npt.NDArray[Any], *, bits: int) -> None:
    """Put (frames, rows, columns) numbers in; one bit a pixel is packed as PS3.5 8.1.1 says."""
    dataset.Rows, dataset.Columns = stored.shape[1:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    if bits == 1:
        data = np.packbits(stored.astype(np.uint8).ravel(), bitorder="little").tobytes()
    else:
        data = stored.astype(np.uint8 if bits == 8 else "<u2").tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if bits <= 8 else "OW"


def structure_set(
    structures: Mapping[str, Sequence[npt.NDArray[np.float64]]],
    *,
    types: Mapping[str, str] | None = None,
    geometric_type: str = "CLOSED_PLANAR",
) -> Dataset:
    """An RT Structure Set: name -> contours, each (N, 3) mm."""
    dataset = _base(RT_STRUCTURE_SET, "RTSTRUCT")
    dataset.ReferencedFrameOfReferenceSequence = [item(FrameOfReferenceUID=FRAME)]
    dataset.StructureSetROISequence, dataset.ROIContourSequence, dataset.RTROIObservationsSequence = [], [], []
    for number, (name, contours) in enumerate(structures.items(), 1):
        dataset.StructureSetROISequence.append(
            item(ROINumber=number, ROIName=name, ReferencedFrameOfReferenceUID=FRAME, ROIGenerationAlgorithm="MANUAL")
        )
        dataset.ROIContourSequence.append(
            item(
                ReferencedROINumber=number,
                ROIDisplayColor=[255, 128, 0],
                ContourSequence=[contour(points, geometric_type) for points in contours],
            )
        )
        dataset.RTROIObservationsSequence.append(
            item(ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType=(types or {}).get(name, ""))
        )
    return dataset


def contour(points: npt.NDArray[np.float64], geometric_type: str = "CLOSED_PLANAR") -> Dataset:
    """An item of the Contour Sequence, with coordinates as files have them: at most 16 characters."""
    return item(
        ContourGeometricType=geometric_type,
        NumberOfContourPoints=len(points),
        ContourData=[f"{value:.6f}"[:16] for value in np.asarray(points).ravel()],
    )


def _base(sop_class: str, modality: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[sop_class, modality])
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.10.1", "1.2.826.0.1.3680043.10.2"
    dataset.FrameOfReferenceUID = FRAME
    dataset.PatientID, dataset.PatientName, dataset.Modality = "P1", "Phantom^One", modality
    return dataset
