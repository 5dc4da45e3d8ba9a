"""A file of zones -> zones: its content says whether it is a label map, a DICOM Segmentation or an RT Structure Set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from guidance.case.fields import BadFieldsError, FieldError
from guidance.errors import WireError
from guidance.messages import Finding, MaskShape, Severity, Zone, ZoneSite
from guidance.planning.occupancy import Occupancy
from guidance.planning.volume import PlanningVolume
from guidance.wire.dicom_classes import RT_STRUCTURE_SET, SEGMENTATION
from guidance.wire.dicom_instance import parse
from guidance.wire.dicom_segmentation import LABEL_MAP_SEGMENTATION, read_segmentation
from guidance.wire.dicom_structures import read_structures
from guidance.wire.dicom_values import text
from guidance.wire.label_map import read_label_map
from guidance.wire.label_names import LabelNames, totalsegmentator
from guidance.wire.markups import MarkupZone, read_markups
from guidance.wire.read_zones import ReadZone, ReadZones

OUTLINED: Final = frozenset(ZoneSite) - {ZoneSite.BONE, ZoneSite.SKIN, ZoneSite.OTHER}
"""Sites that go onto the live picture unasked; outlines of every bone and organ would hide what they are there for."""

_DICOM_MARK_AT: Final = slice(128, 132)
_LONGEST_INDENT: Final = 256
_MOST_NAMED: Final = 10


def read_zone_file(
    data: bytes, *, origin: str, names: LabelNames | None = None, volume: PlanningVolume | None = None
) -> ReadZones:
    """Read all zones of a file that holds voxels or contours.

    Args:
        data: the file.
        origin: its name, for words.
        names: of a label map's numbers; None: TotalSegmentator's, and a finding says so.
        volume: the one that the zones are meant for: a label map is taken to be in its frame.

    Raises:
        BadFieldsError: what is wrong with the file.
        WireError: `unknown_zone_file`: a DICOM object of another class.
    """
    if data[_DICOM_MARK_AT] != b"DICM":
        frame_uid = volume.frame_of_reference_uid if volume else ""
        # The same labels sent again are the same zones, whatever the file is called now.
        uid = hashlib.sha256(data).hexdigest()[:16]
        table = totalsegmentator() if names is None else names  # an empty table is one: it names nothing
        found = read_label_map(data, table, frame_of_reference_uid=frame_uid, origin_uid=uid)
        return found if names is not None else replace(found, findings=(_assumed(origin), *found.findings))
    dataset = parse(data)
    sop_class = text(dataset, "SOPClassUID")
    volume_affine = volume.affine_lps_from_ijk if volume else None
    if sop_class in (SEGMENTATION, LABEL_MAP_SEGMENTATION):
        return read_segmentation(dataset, volume_affine=volume_affine)
    if sop_class == RT_STRUCTURE_SET:
        return read_structures(dataset, volume_affine=volume_affine)
    raise WireError(
        f"{origin} is a DICOM object of class {sop_class or 'unknown'}, which holds no zones",
        code="unknown_zone_file",
        mend="a NIfTI label map, a DICOM Segmentation or an RT Structure Set",
    )


def zones_of(read: Sequence[ReadZone], keep: Callable[[Occupancy], MaskShape]) -> tuple[Zone, ...]:
    """The zones as a case takes them (`guidance.case.import_zones`); id, frame and patient are not theirs yet.

    Args:
        keep: stores voxels and tells under which shape.
    """
    return tuple(
        Zone(
            id="",
            name=zone.name,
            site=zone.site,
            side=zone.side,
            kind=zone.kind,
            level=zone.level,
            color=zone.color,
            shape=keep(zone.occupancy),
            shown=zone.site in OUTLINED,
            origin=zone.origin,
            origin_uid=zone.origin_uid,
        )
        for zone in read
    )


def is_markups(data: bytes) -> bool:
    """Whether a file of zones is a markups file: it alone is text that begins as a JSON object."""
    return data[:_LONGEST_INDENT].removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"


def read_drawn_zones(data: bytes, *, origin: str) -> tuple[tuple[Zone, ...], tuple[Finding, ...]]:
    """The drawn zones of a markups file, and what is said of it; paths and points in it are left out and told.

    Raises:
        BadFieldsError: what is wrong with the file, or that it holds no zone.
    """
    read = read_markups(data, origin=origin)
    left = [path.name for path in read.paths] + [point.name for point in read.points]
    if not read.zones:
        told = "holds no zone: draw a curve, or write r=4 mm into a point's description; paths come by POST /markups"
        raise BadFieldsError([FieldError("markups", told)], what="markups file")
    findings = read.findings
    if left:
        told = f"no zones, left out: {', '.join(left[:_MOST_NAMED])}; paths come by POST /markups"
        findings += (Finding(code="no_zone", severity=Severity.WARNING, message=told),)
    return drawn_zones_of(read.zones), findings


def drawn_zones_of(read: Sequence[MarkupZone]) -> tuple[Zone, ...]:
    """Drawn zones of a markups file as a case takes them."""
    return tuple(
        Zone(
            id="",
            name=zone.name,
            site=zone.site,
            side=zone.side,
            kind=zone.kind,
            level=zone.level,
            color=zone.color,
            shape=zone.shape,
            origin="markups",
        )
        for zone in read
    )


def _assumed(origin: str) -> Finding:
    return Finding(
        code="label_names_assumed",
        severity=Severity.WARNING,
        message=f"no names came with {origin}: its numbers are taken for TotalSegmentator's",
    )
