"""The plane, calibration and kind of each picture: one for a CT image, functional groups for multi-frame objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset

from guidance.wire.dicom_values import integer, items, number, numbers, text, texts

_HU_UNITS: Final = ("[hnsf'U]", "HU")  # UCUM, and as some makers write it
_FUNCTIONAL_MAPS: Final = frozenset({"PERFUSION", "MEAN_TRANSIT", "TIME_TO_PEAK"})  # Image Type value 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameHeader:
    """What an object says about one of its pictures; None where it does not say it readably.

    Attributes:
        frame: index from 0.
        position_mm, orientation, spacing_mm: Image Position (3), Image Orientation (6), Pixel Spacing (2).
        rescale: (slope, intercept).
        rescale_type: (0028,1054), "" if absent.
        real_world_hu: (slope, intercept) of a real world value mapping whose unit is HU.
        kind: image type or frame type, joined by backslashes.
        variant: see `SliceDescription.variant`.
        number: instance number, or the frame's number in its stack.
    """

    frame: int
    position_mm: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing_mm: tuple[float, ...] | None
    rescale: tuple[float, float] | None
    rescale_type: str
    real_world_hu: tuple[float, float] | None
    kind: str
    variant: tuple[str, ...]
    number: int | None

    @property
    def is_localizer(self) -> bool:
        return "LOCALIZER" in self.kind.split("\\")

    @property
    def is_functional_map(self) -> bool:
        return not _FUNCTIONAL_MAPS.isdisjoint(self.kind.split("\\")[2:])


def frame_headers(dataset: Dataset) -> Iterator[FrameHeader]:
    """One header per picture of the object, in the order of its pixel data.

    Source: DICOM PS3.3 C.7.6.16 (multi-frame functional groups; what is not in a frame's item is in the shared one).
    """
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        yield _single(dataset)
        return
    shared = items(dataset, "SharedFunctionalGroupsSequence")
    for index, own in enumerate(items(dataset, "PerFrameFunctionalGroupsSequence")):
        yield _frame(dataset, (own, *shared), index)


def _single(dataset: Dataset) -> FrameHeader:
    kinds = texts(dataset, "ImageType")
    return FrameHeader(
        frame=0,
        position_mm=numbers(dataset, "ImagePositionPatient", 3),
        orientation=numbers(dataset, "ImageOrientationPatient", 6),
        spacing_mm=numbers(dataset, "PixelSpacing", 2),
        rescale=_rescale(dataset),
        rescale_type=text(dataset, "RescaleType"),
        real_world_hu=_real_world_hu(dataset),
        kind="\\".join(kinds),
        variant=(*kinds[:3], text(dataset, "TemporalPositionIdentifier")),
        number=integer(dataset, "InstanceNumber"),
    )


def _frame(dataset: Dataset, groups: tuple[Dataset, ...], index: int) -> FrameHeader:
    plane = _macro(groups, "PlanePositionSequence") or _macro(groups, "PlanePositionVolumeSequence")
    orientation = _macro(groups, "PlaneOrientationSequence") or _macro(groups, "PlaneOrientationVolumeSequence")
    measures = _macro(groups, "PixelMeasuresSequence")
    values = _macro(groups, "PixelValueTransformationSequence")
    content = _macro(groups, "FrameContentSequence")
    frame_type = _macro(groups, "CTImageFrameTypeSequence") or _macro(groups, "XRay3DFrameTypeSequence") or Dataset()
    kinds = texts(frame_type, "FrameType") or texts(dataset, "ImageType")
    stack = (text(content, "StackID"), text(content, "TemporalPositionIndex")) if content else ("", "")
    return FrameHeader(
        frame=index,
        position_mm=numbers(plane, "ImagePositionPatient", 3) if plane else None,
        orientation=numbers(orientation, "ImageOrientationPatient", 6) if orientation else None,
        spacing_mm=numbers(measures, "PixelSpacing", 2) if measures else None,
        rescale=_rescale(values) if values else None,
        rescale_type=text(values, "RescaleType") if values else "",
        real_world_hu=next((found for group in groups if (found := _real_world_hu(group))), None),
        kind="\\".join(kinds),
        variant=(*kinds[:4], *stack, text(dataset, "ConcatenationUID") or text(dataset, "SOPInstanceUID")),
        number=integer(content, "InStackPositionNumber") if content else None,
    )


def _macro(groups: tuple[Dataset, ...], keyword: str) -> Dataset | None:
    for group in groups:
        found = items(group, keyword)
        if found:
            return found[0]
    return None


def _rescale(dataset: Dataset) -> tuple[float, float] | None:
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    return None if slope is None or intercept is None else (slope, intercept)


def _real_world_hu(dataset: Dataset) -> tuple[float, float] | None:
    for mapping in items(dataset, "RealWorldValueMappingSequence"):
        units = items(mapping, "MeasurementUnitsCodeSequence")
        slope, intercept = number(mapping, "RealWorldValueSlope"), number(mapping, "RealWorldValueIntercept")
        if slope and intercept is not None and units and text(units[0], "CodeValue") in _HU_UNITS:
            return slope, intercept
    return None
