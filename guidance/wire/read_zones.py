"""Zones as a file gave them, before a case takes them; and whether they fit the volume that they are meant for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.case.fields import BadFieldsError, FieldError
from guidance.messages import F64, U8, Finding, Severity, ZoneKind, ZoneSide, ZoneSite
from guidance.planning.occupancy import SURFACE_LEVEL, Occupancy

OUTSIDE: Final = 0.5  # of a zone's volume beyond the CT's field: worth a warning, for half of it cannot be checked
_MOST_POINTS: Final = 200_000  # sampled of a zone to tell what part of it lies in the field


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadZone:
    """One zone of a file.

    Attributes:
        name: as in the file.
        site, side, kind, level: as the file says, or guessed; every guess is in the findings.
        color: `#rrggbb`; "" where the file has none.
        occupancy: its voxels, cut to the zone with an empty rim of one voxel; never empty.
        origin: `dicom_seg`, `rtstruct` or `nifti`.
        origin_uid: SOP Instance UID and segment or ROI number, or the label, so that nothing comes twice.
        frame_of_reference_uid: frame of the occupancy's affine; "" where the file does not say it.
    """

    name: str
    site: ZoneSite
    side: ZoneSide | None
    kind: ZoneKind
    level: str
    color: str
    occupancy: Occupancy
    origin: str
    origin_uid: str
    frame_of_reference_uid: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadZones:
    """What a file of zones held.

    Attributes:
        zones: those that can be used.
        findings: an error names a zone that was left out and why; a warning what to look at.
        frame_of_reference_uid: the file's; "" where it does not say it.
    """

    zones: tuple[ReadZone, ...]
    findings: tuple[Finding, ...] = ()
    frame_of_reference_uid: str = ""


def cropped(values: U8, affine_lps_from_ijk: F64) -> Occupancy | None:
    """Cut to what is not empty, with an empty rim of one voxel; None where all is empty.

    Args:
        values: `[k, j, i]` uint8, 0 to 255.
        affine_lps_from_ijk: (4, 4) float64 of `values`.
    """
    spans = []
    for axis in range(3):
        filled = np.flatnonzero(values.any(axis=tuple(other for other in range(3) if other != axis)))
        if not filled.size:
            return None
        spans.append((int(filled[0]), int(filled[-1]) + 1))
    inner = values[tuple(slice(low, high) for low, high in spans)]
    return rimmed(inner, affine_lps_from_ijk, [low for low, _ in spans])


def rimmed(inner: U8, affine_lps_from_ijk: F64, first_kji: Sequence[int]) -> Occupancy:
    """Put an empty rim of one voxel around a part of a grid.

    Args:
        inner: `[k, j, i]` uint8, the part.
        affine_lps_from_ijk: (4, 4) float64 of the whole grid.
        first_kji: index of the part's first voxel in the whole grid.
    """
    affine = np.array(affine_lps_from_ijk, dtype=np.float64)
    corner_ijk = np.array([first_kji[2] - 1, first_kji[1] - 1, first_kji[0] - 1], dtype=np.float64)
    affine[:3, 3] += affine[:3, :3] @ corner_ijk
    return Occupancy(np.pad(np.asarray(inner, dtype=np.uint8), 1), affine)


def check_against_volume(
    read: ReadZones, shape_kji: tuple[int, int, int], affine_lps_from_ijk: F64, frame_of_reference_uid: str
) -> ReadZones:
    """Leave out what cannot belong to a volume, and say so.

    Another grid is no fault: everything goes by affine.

    Args:
        read: of a file.
        shape_kji, affine_lps_from_ijk, frame_of_reference_uid: the volume's; "" where it has no frame.

    Returns:
        The zones that lie in the volume's field, with an error finding for each that does not.

    Raises:
        BadFieldsError: every zone is of another Frame of Reference, or none lies in the volume's field.
    """
    findings = list(read.findings)
    kept: list[ReadZone] = []
    foreign: list[ReadZone] = []
    for zone in read.zones:
        if zone.frame_of_reference_uid != frame_of_reference_uid:
            foreign.append(zone)
            continue
        inside = _part_inside(zone.occupancy, shape_kji, affine_lps_from_ijk)
        if inside == 0.0:
            told = f"{zone.name} lies wholly outside the volume's field; check that it was made on this volume"
            findings.append(Finding(code="zone_outside_volume", severity=Severity.ERROR, message=told))
            continue
        if inside < 1.0 - OUTSIDE:
            told = f"only {100 * inside:.0f} % of {zone.name} lies in the volume's field"
            findings.append(Finding(code="zone_outside_volume", severity=Severity.WARNING, message=told))
        kept.append(zone)
    if foreign:
        names = ", ".join(zone.name for zone in foreign)
        told = _frame_words({zone.frame_of_reference_uid for zone in foreign}, frame_of_reference_uid)
        if not kept:
            raise BadFieldsError([FieldError("frame_of_reference_uid", told)], what="zones")
        findings.append(Finding(code="frame_of_reference", severity=Severity.ERROR, message=f"{names}: {told}"))
    if read.zones and not kept:
        told = "no zone lies in the volume's field; send the segmentation that was made on this volume"
        raise BadFieldsError([FieldError("affine_lps_from_ijk", told)], what="zones")
    return replace(read, zones=tuple(kept), findings=tuple(findings))


def _frame_words(found: set[str], wanted: str) -> str:
    told = " and ".join(sorted(uid or "none" for uid in found))
    return (
        f"the zones' Frame of Reference is {told}, the volume's {wanted or 'none'}; "
        "send zones made on this volume, or register them to it first"
    )


def _part_inside(occupancy: Occupancy, shape_kji: tuple[int, int, int], affine_lps_from_ijk: F64) -> float:
    """Part of the zone's voxels whose centres lie in the volume, 0 to 1; exactly 0 where there is none."""
    volume_from_zone: F64 = np.asarray(
        np.linalg.solve(affine_lps_from_ijk, occupancy.affine_lps_from_ijk), dtype=np.float64
    )
    most: F64 = np.array(shape_kji[::-1], dtype=np.float64) - 0.5
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in occupancy.values.shape[::-1]])).reshape(3, -1).T
    if _inside(corners, volume_from_zone, most).all():
        return 1.0
    flat = np.flatnonzero(occupancy.values.ravel() > SURFACE_LEVEL)
    if not flat.size:
        flat = np.flatnonzero(occupancy.values.ravel())
    step = max(1, -(-flat.size // _MOST_POINTS))
    ijk = np.stack(np.unravel_index(flat[::step], occupancy.values.shape)[::-1], axis=1)
    return float(_inside(ijk, volume_from_zone, most).mean())


def _inside(ijk: npt.NDArray[np.int64], volume_from_zone: F64, most: F64) -> npt.NDArray[np.bool_]:
    places = ijk @ volume_from_zone[:3, :3].T + volume_from_zone[:3, 3]
    return np.asarray(np.all((places >= -0.5) & (places <= most), axis=1), dtype=np.bool_)
