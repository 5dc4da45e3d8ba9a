"""RT Structure Set -> zones: closed plane contours are filled, points and open lines are named, not lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from pydicom.dataset import Dataset

from guidance.case.fields import BadFieldsError, FieldError
from guidance.errors import GeometryError
from guidance.geometry.contour_volume import Contour, ContourVolume, fill_contours
from guidance.geometry.plane_stack import regular_places
from guidance.messages import F64, Finding, Severity, ZoneKind
from guidance.wire.dicom_classes import RT_STRUCTURE_SET
from guidance.wire.dicom_codes import code_of
from guidance.wire.dicom_values import all_numbers, integer, items, number, numbers, text
from guidance.wire.read_zones import ReadZone, ReadZones
from guidance.wire.zone_names import Code, ZoneGuess, guess_findings, guess_zone

_CLOSED: Final = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_HINTS: Final = {"EXTERNAL": "skin", "GTV": "gtv", "CTV": "ctv", "PTV": "ptv"}  # (3006,00A4) in the words of the names
_FEWEST_POINTS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Structure:
    number: int
    name: str
    frame_of_reference_uid: str
    color: str
    interpreted_type: str
    codes: tuple[Code, ...]
    contours: tuple[Contour, ...]
    others: tuple[tuple[str, int], ...]


def read_structures(dataset: Dataset, *, volume_affine: F64 | None = None) -> ReadZones:
    """Make a zone of each structure that closed contours enclose.

    Args:
        dataset: an RT Structure Set.
        volume_affine: `affine_lps_from_ijk` of the volume that it was drawn on, if known.

    Returns:
        The zones; an error finding for each structure that could not be filled, a warning for points and open lines.

    Raises:
        BadFieldsError: another kind of object; no structure can be filled.

    Source: DICOM PS3.3 A.19, C.8.8.5, C.8.8.6, C.8.8.8.
    """
    if text(dataset, "SOPClassUID") != RT_STRUCTURE_SET:
        raise _refused("SOPClassUID", "is not that of an RT Structure Set")
    uid = text(dataset, "SOPInstanceUID")
    findings: list[Finding] = []
    structures = _structures(dataset, findings)
    step_mm = _common_step(structures)
    zones, guesses = [], []
    for one in structures:
        for kind, count in one.others:
            told = f"{one.name}: {count} contours of type {kind} enclose nothing and are left out"
            findings.append(Finding(code="not_a_volume", severity=Severity.WARNING, message=told))
        if not one.contours:
            if not one.others:
                told = f"{one.name} has no contour"
                findings.append(Finding(code="empty_zone", severity=Severity.WARNING, message=told))
            continue
        try:
            filled = fill_contours(one.contours, volume_affine=volume_affine, step_mm=step_mm)
        except GeometryError as error:
            told = f"{one.name} is left out: {error}"
            findings.append(Finding(code=error.code, severity=Severity.ERROR, message=told))
            continue
        findings += _doubts(one.name, filled)
        guess = guess_zone(one.name, one.codes, hints=(_HINTS.get(one.interpreted_type, ""),))
        guesses.append((one.name, guess))
        zones.append(
            ReadZone(
                name=one.name,
                site=guess.site,
                side=guess.side,
                kind=_kind(one.interpreted_type, guess),
                level=guess.level,
                color=one.color,
                occupancy=filled.occupancy,
                origin="rtstruct",
                origin_uid=f"{uid}#{one.number}",
                frame_of_reference_uid=one.frame_of_reference_uid,
            )
        )
    if not zones:
        told = "; ".join(finding.message for finding in findings) or "there is no structure"
        raise _refused("ROIContourSequence", f"nothing can be used: {told}")
    return ReadZones(
        zones=tuple(zones),
        findings=(*findings, *guess_findings(guesses)),
        frame_of_reference_uid=zones[0].frame_of_reference_uid,
    )


def _refused(name: str, message: str) -> BadFieldsError:
    return BadFieldsError([FieldError(name, message)], what="structure set")


def _kind(interpreted_type: str, guess: ZoneGuess) -> ZoneKind:
    if interpreted_type == "AVOIDANCE":
        return ZoneKind.KEEP_OUT
    # The outline of the body encloses the patient: instruments are meant to be inside.
    return ZoneKind.TARGET if interpreted_type == "EXTERNAL" else guess.kind


def _doubts(name: str, filled: ContourVolume) -> list[Finding]:
    findings = []
    if filled.overlapping_planes:
        told = f"{name}: contours lie partly over each other on {filled.overlapping_planes} planes; taken together"
        findings.append(Finding(code="overlapping_contours", severity=Severity.WARNING, message=told))
    if filled.missing_mm:
        places = ", ".join(f"{place:.1f}" for place in filled.missing_mm[:5])
        told = f"{name}: no contour on {len(filled.missing_mm)} planes between others, at {places} mm; empty there"
        findings.append(Finding(code="missing_contours", severity=Severity.WARNING, message=told))
    return findings


def _structures(dataset: Dataset, findings: list[Finding]) -> list[_Structure]:
    frames = [text(one, "FrameOfReferenceUID") for one in items(dataset, "ReferencedFrameOfReferenceSequence")]
    fallback = next((uid for uid in frames if uid), text(dataset, "FrameOfReferenceUID"))
    drawn = {integer(one, "ReferencedROINumber"): one for one in items(dataset, "ROIContourSequence")}
    observed = {integer(one, "ReferencedROINumber"): one for one in items(dataset, "RTROIObservationsSequence")}
    structures = []
    for place, item in enumerate(items(dataset, "StructureSetROISequence")):
        told = integer(item, "ROINumber")
        if told is None:
            raise _refused(f"StructureSetROISequence[{place}].ROINumber", "is missing")
        name = text(item, "ROIName") or f"structure {told}"
        outline, observation = drawn.pop(told, Dataset()), observed.get(told, Dataset())
        color = numbers(outline, "ROIDisplayColor", 3)
        contours, others = _contours(outline, name, findings)
        structures.append(
            _Structure(
                number=told,
                name=name,
                frame_of_reference_uid=text(item, "ReferencedFrameOfReferenceUID") or fallback,
                color="" if color is None else "#" + "".join(f"{min(max(int(one), 0), 255):02x}" for one in color),
                interpreted_type=text(observation, "RTROIInterpretedType").upper(),
                codes=tuple(code_of(one) for one in items(observation, "RTROIIdentificationCodeSequence")),
                contours=contours,
                others=others,
            )
        )
    if drawn:
        numbers_told = ", ".join(str(one) for one in drawn)
        told_words = f"contours of structures that are not described are left out: {numbers_told}"
        findings.append(Finding(code="undescribed_structure", severity=Severity.ERROR, message=told_words))
    return structures


def _contours(
    outline: Dataset, name: str, findings: list[Finding]
) -> tuple[tuple[Contour, ...], tuple[tuple[str, int], ...]]:
    closed: list[Contour] = []
    others: Counter[str] = Counter()
    for place, item in enumerate(items(outline, "ContourSequence")):
        kind = text(item, "ContourGeometricType").upper()
        if kind not in _CLOSED:
            others[kind or "unknown"] += 1
            continue
        points = _points(item)
        if points is None or len(points) < _FEWEST_POINTS:
            told = f"{name}: contour {place + 1} has no three readable points and is left out"
            findings.append(Finding(code="unreadable_contour", severity=Severity.ERROR, message=told))
            continue
        thickness = number(item, "ContourSlabThickness")
        closed.append(
            Contour(
                points_mm=points,
                exclusive=kind == "CLOSEDPLANAR_XOR",
                thickness_mm=thickness if thickness is not None and thickness > 0 else None,
            )
        )
    return tuple(closed), tuple(others.items())


def _points(item: Dataset) -> F64 | None:
    values = all_numbers(item, "ContourData")
    told = integer(item, "NumberOfContourPoints")
    if values is None or len(values) % 3 or (told is not None and len(values) != 3 * told):
        return None
    return np.array(values, dtype=np.float64).reshape(-1, 3)


def _common_step(structures: Sequence[_Structure]) -> float | None:
    """The step of the axial planes of all structures, for one that is drawn on a single plane."""
    heights = [
        float(contour.points_mm[:, 2].mean())
        for one in structures
        for contour in one.contours
        if np.ptp(contour.points_mm[:, 2]) < 0.05
    ]
    try:
        return regular_places(np.array(heights)).step_mm if len(set(heights)) > 1 else None
    except GeometryError:
        return None
