"""Synthetic DICOM objects for tests: CT series and multi-frame objects with every value under the test's control."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from guidance.wire.dicom_classes import CT_IMAGE, ENHANCED_CT, XRAY_3D_ANGIOGRAPHIC

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def phantom(count: int = 6, rows: int = 24, columns: int = 20, *, seed: int = 1) -> npt.NDArray[np.int16]:
    """(count, rows, columns) HU with no symmetry: air around a noisy body, each voxel different from its neighbours."""
    random = np.random.default_rng(seed)
    volume = np.full((count, rows, columns), -1000, np.int16)
    body = random.integers(-100, 900, (count, rows - 8, columns - 6))
    volume[:, 5:-3, 2:-4] = body
    return volume


def ct_slice(
    hu: npt.NDArray[np.int16],
    *,
    position: Sequence[float],
    orientation: Sequence[float] = AXIAL,
    spacing: Sequence[float] = (0.8, 0.7),
    series_uid: str = "1.2.826.0.1.3680043.10.1.1",
    syntax: str = ExplicitVRLittleEndian,
    slope: float = 1.0,
    intercept: float = -1024.0,
    instance_number: int | None = 1,
    **attributes: Any,
) -> Dataset:
    """One CT Image instance as a file data set; `attributes` by keyword override or, with None, remove elements."""
    dataset = _base(CT_IMAGE, series_uid, syntax)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.ImagePositionPatient = [f"{value:.10g}" for value in position]
    dataset.ImageOrientationPatient = [f"{value:.10g}" for value in orientation]
    dataset.PixelSpacing = list(spacing)
    dataset.SliceThickness = "5.0"
    dataset.InstanceNumber = instance_number
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    set_pixels(dataset, np.rint((hu.astype(np.float64) - intercept) / slope).astype(np.uint16))
    for keyword, value in attributes.items():
        if value is None:
            if keyword in dataset:
                delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def set_pixels(dataset: Dataset, stored: npt.NDArray[Any], *, bits_stored: int = 16) -> None:
    """Put stored values, (rows, columns) or (frames, rows, columns), into a data set."""
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits_stored, bits_stored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = stored.astype(f"<{stored.dtype.kind}2").tobytes()
    dataset["PixelData"].VR = "OW"


def ct_series(
    volume: npt.NDArray[np.int16] | None = None,
    *,
    step: Sequence[float] = (0.0, 0.0, 2.0),
    origin: Sequence[float] = (-30.0, -40.0, 100.0),
    places: Sequence[float] | None = None,
    **attributes: Any,
) -> list[Dataset]:
    """A CT series of `volume` (k, j, i); `places` are the slices' places in units of `step`, 0, 1, 2 ... by default."""
    volume = phantom() if volume is None else volume
    places = range(len(volume)) if places is None else places
    attributes.setdefault("series_uid", generate_uid(entropy_srcs=[str(origin), str(step)]))
    return [
        ct_slice(
            plane, position=np.add(origin, place * np.array(step)), **({"instance_number": number + 1} | attributes)
        )
        for number, (plane, place) in enumerate(zip(volume, places, strict=True))
    ]


def multi_frame(
    volume: npt.NDArray[np.int16] | None = None,
    *,
    sop_class: str = XRAY_3D_ANGIOGRAPHIC,
    step: Sequence[float] = (0.0, 0.0, 2.0),
    origin: Sequence[float] = (-30.0, -40.0, 100.0),
    orientation: Sequence[float] = AXIAL,
    spacing: Sequence[float] = (0.8, 0.7),
    rescale_type: str = "HU",
    frame_type: Sequence[str] = ("ORIGINAL", "PRIMARY", "VOLUME", "NONE"),
    frame_order: Sequence[int] | None = None,
    **attributes: Any,
) -> Dataset:
    """An Enhanced CT or X-Ray 3D Angiographic object of `volume`, its frames in `frame_order`."""
    volume = phantom() if volume is None else volume
    order = list(range(len(volume))) if frame_order is None else list(frame_order)
    dataset = _base(sop_class, "1.2.826.0.1.3680043.10.1.2", ExplicitVRLittleEndian)
    dataset.ImageType = list(frame_type)
    dataset.NumberOfFrames = len(volume)
    shared = Dataset()
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=list(orientation))]
    shared.PixelMeasuresSequence = [_item(PixelSpacing=list(spacing), SliceThickness=2.5)]
    shared.PixelValueTransformationSequence = [
        _item(RescaleIntercept=-1024.0, RescaleSlope=1.0, RescaleType=rescale_type)
    ]
    frame_type_item = _item(FrameType=list(frame_type))
    if sop_class == ENHANCED_CT:
        shared.CTImageFrameTypeSequence = [frame_type_item]
    else:
        shared.XRay3DFrameTypeSequence = [frame_type_item]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [
        _item(
            PlanePositionSequence=[_item(ImagePositionPatient=[float(v) for v in np.add(origin, k * np.array(step))])],
            FrameContentSequence=[_item(StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[1, k + 1])],
        )
        for k in order
    ]
    set_pixels(dataset, (volume[order].astype(np.int32) + 1024).astype(np.uint16))
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def file_bytes(dataset: Dataset) -> bytes:
    """The data set as a DICOM file."""
    from io import BytesIO

    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def save(datasets: Sequence[Dataset], folder: Path) -> list[Path]:
    """Write each data set to a file of its own; names carry no order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, dataset in enumerate(datasets):
        path = folder / f"{(number * 7919) % 10007:05d}-{number}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _base(sop_class: str, series_uid: str, syntax: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyInstanceUID = "1.2.826.0.1.3680043.10.1"
    dataset.SeriesInstanceUID = series_uid
    dataset.FrameOfReferenceUID = "1.2.826.0.1.3680043.10.9"
    dataset.PatientID, dataset.PatientName = "P1", "Phantom^One"
    dataset.PatientPosition = "HFS"
    dataset.Modality = "CT"
    dataset.SeriesDescription = "phantom"
    return dataset


def _item(**attributes: Any) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


__all__ = [
    "AXIAL",
    "ImplicitVRLittleEndian",
    "ct_series",
    "ct_slice",
    "file_bytes",
    "multi_frame",
    "phantom",
    "save",
    "set_pixels",
]
