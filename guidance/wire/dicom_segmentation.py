"""DICOM Segmentation -> zones: binary, fractional and label map; overlapping segments, missing frames are empty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from guidance.case.fields import BadFieldsError, FieldError
from guidance.errors import GeometryError, WireError
from guidance.geometry.plane_stack import Plane, PlaneStack, stack_planes
from guidance.messages import F64, U8, Finding, Severity
from guidance.planning.occupancy import SURFACE_LEVEL, Occupancy
from guidance.wire.dicom_classes import SEGMENTATION
from guidance.wire.dicom_codes import codes_of
from guidance.wire.dicom_colors import hex_of_cielab
from guidance.wire.dicom_frames import FrameHeader, frame_headers
from guidance.wire.dicom_values import integer, items, number, numbers, text
from guidance.wire.read_zones import ReadZone, ReadZones, rimmed
from guidance.wire.segment_frames import stored_frames
from guidance.wire.zone_names import ZoneGuess, guess_findings, guess_zone

LABEL_MAP_SEGMENTATION: Final = "1.2.840.10008.5.1.4.1.1.66.7"
_KINDS: Final = ("BINARY", "FRACTIONAL", "LABELMAP")
_MOST_VOXELS: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class _Patch:
    """The filled part of one frame: its first row and column, and 0 to 255 for each pixel."""

    frame: int
    row: int
    column: int
    values: U8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    number: int
    name: str
    color: str
    guess: ZoneGuess
    patches: list[_Patch] = field(default_factory=list)


def read_segmentation(dataset: Dataset, *, volume_affine: F64 | None = None) -> ReadZones:
    """Make a zone of each segment that has pixels.

    Geometry comes from orientation and position of the frames alone; slices that no frame stands for are empty.
    A probability is taken as the part of a voxel that belongs to the segment, and that is told.

    Args:
        dataset: a Segmentation or Label Map Segmentation with pixel data and file meta.
        volume_affine: `affine_lps_from_ijk` of the volume that it was made on, if known: its step helps where an
            object of few frames does not tell its own.

    Raises:
        BadFieldsError: names the attribute at fault: another kind of object, unreadable pixels, frames that stand on
            no regular grid, unknown segments, no pixel set at all.

    Source: DICOM PS3.3 A.51, C.8.20.
    """
    kind = text(dataset, "SegmentationType").upper()
    if text(dataset, "SOPClassUID") not in (SEGMENTATION, LABEL_MAP_SEGMENTATION) or kind not in _KINDS:
        told = f"is {kind or 'missing'}: not a Segmentation of a known type; there are {', '.join(_KINDS)}"
        raise _refused("SegmentationType", told)
    uid, frame_uid = text(dataset, "SOPInstanceUID"), text(dataset, "FrameOfReferenceUID")
    segments = _segments(dataset)
    headers = list(frame_headers(dataset))
    stack = _stack(dataset, headers, volume_affine)
    findings = list(_fill(dataset, kind, segments, uid))
    zones, guesses = [], []
    for segment in segments.values():
        if not segment.patches:
            told = f"segment {segment.number}, {segment.name}, is empty"
            findings.append(Finding(code="empty_zone", severity=Severity.WARNING, message=told))
            continue
        occupancy, doubled = _occupancy(segment.patches, stack)
        if occupancy.values.max() <= SURFACE_LEVEL:
            told = f"segment {segment.number}, {segment.name}, is nowhere above one half: it has no surface"
            findings.append(Finding(code="empty_zone", severity=Severity.WARNING, message=told))
            continue
        if doubled:
            told = f"{segment.name}: {doubled} frames lie on others of the same segment; taken together"
            findings.append(Finding(code="duplicate_frames", severity=Severity.WARNING, message=told))
        guesses.append((segment.name, segment.guess))
        zones.append(
            ReadZone(
                name=segment.name,
                site=segment.guess.site,
                side=segment.guess.side,
                kind=segment.guess.kind,
                level=segment.guess.level,
                color=segment.color,
                occupancy=occupancy,
                origin="dicom_seg",
                origin_uid=f"{uid}#{segment.number}",
                frame_of_reference_uid=frame_uid,
            )
        )
    if not zones:
        raise _refused("PixelData", "every segment is empty; send the finished segmentation")
    if kind == "FRACTIONAL" and text(dataset, "SegmentationFractionalType").upper() != "OCCUPANCY":
        told = "probabilities are taken as parts of voxels: surfaces lie where the probability is one half"
        findings.append(Finding(code="probability", severity=Severity.WARNING, message=told))
    return ReadZones(
        zones=tuple(zones),
        findings=(*findings, *guess_findings(guesses)),
        frame_of_reference_uid=frame_uid,
    )


def _refused(name: str, message: str) -> BadFieldsError:
    return BadFieldsError([FieldError(name, message)], what="segmentation")


def _segments(dataset: Dataset) -> dict[int, _Segment]:
    found: dict[int, _Segment] = {}
    for place, item in enumerate(items(dataset, "SegmentSequence")):
        told = integer(item, "SegmentNumber")
        if told is None or told < 0 or told in found:
            raise _refused(f"SegmentSequence[{place}].SegmentNumber", "is missing or doubled")
        if told == 0:  # the background of a label map
            continue
        types = items(item, "SegmentedPropertyTypeCodeSequence")
        regions = items(item, "AnatomicRegionSequence")
        sides = [codes_of(one, "SegmentedPropertyTypeModifierCodeSequence") for one in types]
        sides += [codes_of(one, "AnatomicRegionModifierSequence") for one in regions]
        name = text(item, "SegmentLabel") or f"segment {told}"
        color = numbers(item, "RecommendedDisplayCIELabValue", 3)
        found[told] = _Segment(
            number=told,
            name=name,
            color="" if color is None else hex_of_cielab([int(value) for value in color]),
            guess=guess_zone(
                name,
                codes_of(item, "SegmentedPropertyTypeCodeSequence") + codes_of(item, "AnatomicRegionSequence"),
                laterality=[code for codes in sides for code in codes],
                hints=(text(item, "SegmentDescription"),),
            ),
        )
    if not found:
        raise _refused("SegmentSequence", "describes no segment")
    return found


def _stack(dataset: Dataset, headers: Sequence[FrameHeader], volume_affine: F64 | None) -> PlaneStack:
    count = integer(dataset, "NumberOfFrames") or 1
    if len(headers) != count:
        raise _refused("PerFrameFunctionalGroupsSequence", f"has {len(headers)} items for {count} frames")
    planes = []
    for header in headers:
        position, orientation, spacing = header.position_mm, header.orientation, header.spacing_mm
        if position is None or orientation is None or spacing is None:
            missing = (
                ("PlanePositionSequence", position),
                ("PlaneOrientationSequence", orientation),
                ("PixelMeasuresSequence", spacing),
            )
            keyword = next(name for name, value in missing if value is None)
            raise _refused(
                keyword, f"does not say where frame {header.frame + 1} lies; export it in patient coordinates"
            )
        planes.append(Plane(position_mm=position, orientation=orientation, spacing_mm=spacing))
    try:
        return stack_planes(planes, declared_step_mm=_declared_step(dataset), volume_affine=volume_affine)
    except GeometryError as error:
        field_at_fault = "PlaneOrientationSequence" if error.code == "mixed_orientation" else "PlanePositionSequence"
        raise _refused(field_at_fault, str(error)) from None


def _declared_step(dataset: Dataset) -> float | None:
    groups = (
        *items(dataset, "SharedFunctionalGroupsSequence"),
        *items(dataset, "PerFrameFunctionalGroupsSequence")[:1],
    )
    measures = [one for group in groups for one in items(group, "PixelMeasuresSequence")]
    steps = [number(one, "SpacingBetweenSlices") for one in measures]
    return next((step for step in steps if step), None)


def _fill(dataset: Dataset, kind: str, segments: dict[int, _Segment], uid: str) -> Iterator[Finding]:
    """Read every frame once and keep its filled part with the segment it belongs to."""
    table = None
    if kind == "FRACTIONAL":
        table = _fractions(dataset)
    owners = [] if kind == "LABELMAP" else _owners(dataset, segments)
    undescribed: set[int] = set()
    try:
        for frame, stored in enumerate(stored_frames(dataset, uid)):
            if kind == "LABELMAP":
                for label in np.unique(stored[stored != 0]).tolist():
                    if label in segments:
                        _keep(segments[label], frame, (stored == label).astype(np.uint8) * np.uint8(255))
                    else:
                        undescribed.add(label)
            elif table is not None:
                _keep(segments[owners[frame]], frame, table[stored.astype(np.uint8)])
            else:
                _keep(segments[owners[frame]], frame, (stored != 0).astype(np.uint8) * np.uint8(255))
    except WireError as error:
        raise _refused("PixelData", str(error)) from None
    if undescribed:
        told = f"labels without a description are left out: {', '.join(map(str, sorted(undescribed)))}"
        yield Finding(code="undescribed_segment", severity=Severity.ERROR, message=told)


def _fractions(dataset: Dataset) -> U8:
    most = integer(dataset, "MaximumFractionalValue") or 0
    if not 1 <= most <= 255:
        raise _refused("MaximumFractionalValue", "must be 1 to 255")
    if integer(dataset, "BitsAllocated") != 8:
        raise _refused("BitsAllocated", "must be 8 for fractions")
    return np.rint(np.minimum(np.arange(256) / most, 1.0) * 255.0).astype(np.uint8)


def _owners(dataset: Dataset, segments: dict[int, _Segment]) -> list[int]:
    shared = items(dataset, "SharedFunctionalGroupsSequence")
    owners = []
    for place, own in enumerate(items(dataset, "PerFrameFunctionalGroupsSequence")):
        told = [one for group in (own, *shared) for one in items(group, "SegmentIdentificationSequence")]
        owner = integer(told[0], "ReferencedSegmentNumber") if told else None
        if owner is None or owner not in segments:
            words = f"names segment {owner}, which Segment Sequence does not describe"
            raise _refused(f"PerFrameFunctionalGroupsSequence[{place}].ReferencedSegmentNumber", words)
        owners.append(owner)
    return owners


def _keep(segment: _Segment, frame: int, values: U8) -> None:
    rows, columns = np.flatnonzero(values.any(axis=1)), np.flatnonzero(values.any(axis=0))
    if rows.size:
        row, column = int(rows[0]), int(columns[0])
        part = values[row : int(rows[-1]) + 1, column : int(columns[-1]) + 1].copy()
        segment.patches.append(_Patch(frame, row, column, part))


def _occupancy(patches: Sequence[_Patch], stack: PlaneStack) -> tuple[Occupancy, int]:
    """The segment on the stack's grid, cut to it, and how many frames came on top of another."""
    places: npt.NDArray[Any] = stack.places[[patch.frame for patch in patches]]
    low = [int(places.min()), min(patch.row for patch in patches), min(patch.column for patch in patches)]
    high = [
        int(places.max()) + 1,
        max(patch.row + patch.values.shape[0] for patch in patches),
        max(patch.column + patch.values.shape[1] for patch in patches),
    ]
    shape = tuple(one - other for one, other in zip(high, low, strict=True))
    if shape[0] * shape[1] * shape[2] > _MOST_VOXELS:
        raise _refused("PlanePositionSequence", f"spans {shape[0]} slices; send the frames that hold the segment")
    values = np.zeros(shape, np.uint8)
    for place, patch in zip(places, patches, strict=True):
        height, width = patch.values.shape
        row, column = patch.row - low[1], patch.column - low[2]
        part = values[int(place) - low[0], row : row + height, column : column + width]
        np.maximum(part, patch.values, out=part)
    return rimmed(values, stack.affine_lps_from_ijk, low), len(patches) - len(set(places.tolist()))
