"""Zones of a case: make, replace, change, delete, and take over from files; frame and patient as for paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from guidance.case.fields import BadFieldsError, FieldError
from guidance.case.state import Case, is_in_active_frame
from guidance.case.zone_fields import ZONE_COLORS, checked_zone_fields
from guidance.case.zone_shapes import PLACES, is_elsewhere, merged_shape
from guidance.errors import CaseError
from guidance.messages import MaskShape, Zone

# TotalSegmentator has 117 classes; two such files and what is drawn by hand.
MAXIMUM_ZONES: Final = 256

# A client that reads, changes and writes back sends these along.
_SENT_BACK: Final = ("id", "frame_of_reference_uid", "in_active_frame", "origin", "origin_uid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of zones that came from a file.

    Attributes:
        zones: made.
        already_there: names of those that the case has from the same source.
    """

    zones: tuple[Zone, ...]
    already_there: tuple[str, ...] = ()


def find_zone(case: Case, zone_id: str) -> Zone:
    """The zone of that id.

    Raises:
        CaseError: `unknown_zone`.
    """
    for zone in case.zones:
        if zone.id == zone_id:
            return zone
    raise CaseError(f"no zone {zone_id!r}", code="unknown_zone", mend="GET /api/v1/zones lists them")


def active_zones(case: Case) -> tuple[Zone, ...]:
    """The zones of the active volume's patient and frame: those that count; all while no volume is active."""
    return tuple(zone for zone in case.zones if is_in_active_frame(case, zone))


def create_zone(case: Case, fields: Mapping[str, Any]) -> tuple[Case, Zone]:
    """Add a drawn zone in the active volume's frame.

    Args:
        case: the case as it is.
        fields: see `checked_zone_fields`; name, site, kind and shape are required.

    Raises:
        BadFieldsError: a field at fault.
        CaseError: `too_many_zones`.
    """
    values = checked_zone_fields(fields)
    _check_room(case, 1)
    chosen = {name: value for name, value in values.items() if value is not None}
    chosen.setdefault("color", ZONE_COLORS[chosen["site"]])
    number = case.zone_count + 1
    zone = Zone(
        id=f"Z{number}",
        frame_of_reference_uid=case.frame_of_reference_uid,
        patient_id=case.patient_id,
        **chosen,
    )
    return replace(case, zones=(*case.zones, zone), zone_count=number), zone


def replace_zone(case: Case, zone_id: str, fields: Mapping[str, Any]) -> tuple[Case, Zone]:
    """PUT: all fields anew; what is left out gets its default, but the colour, which stays.

    A shape with other points is in the active volume's frame, unless `frame_of_reference_uid` says that it is in the
    zone's old one. A mask can only be sent back as it is.

    Raises:
        BadFieldsError: a field at fault.
        CaseError: `unknown_zone`.
    """
    old = find_zone(case, zone_id)
    values = checked_zone_fields(_own_fields(case, old, fields), held=old.shape)
    chosen = {name: value for name, value in values.items() if value is not None}
    chosen.setdefault("color", old.color)
    plain = Zone(
        id=zone_id,
        origin=old.origin,
        origin_uid=old.origin_uid,
        frame_of_reference_uid=old.frame_of_reference_uid,
        patient_id=old.patient_id,
        **chosen,
    )
    zone = _in_its_frame(case, old, plain, fields)
    return _with(case, zone), zone


def update_zone(case: Case, zone_id: str, fields: Mapping[str, Any]) -> tuple[Case, Zone]:
    """PATCH (RFC 7396): only what is given changes, in the shape too; null gives an optional field its default.

    New points are in the active volume's frame, see `replace_zone`.

    Raises:
        BadFieldsError: a field at fault.
        CaseError: `unknown_zone`.
    """
    old = find_zone(case, zone_id)
    own = _own_fields(case, old, fields)
    if own.get("shape") is not None:
        own["shape"] = merged_shape(own["shape"], old.shape)
    values = checked_zone_fields(own, required=(), held=old.shape)
    defaults: dict[str, Any] = {"side": None, "color": old.color, "level": "", "shown": True}
    chosen = {name: defaults[name] if value is None else value for name, value in values.items()}
    zone = _in_its_frame(case, old, replace(old, **chosen), fields)
    given = fields.get("shape")
    placed = isinstance(given, Mapping) and any(name in given for name in PLACES)
    if zone.frame_of_reference_uid != old.frame_of_reference_uid and not placed:
        raise BadFieldsError([FieldError("shape", "must come too: the frame of reference changes")], what="zone")
    return _with(case, zone), zone


def delete_zone(case: Case, zone_id: str) -> Case:
    """Take a zone out of the case, and out of the paths that were permitted to touch it.

    Raises:
        CaseError: `unknown_zone`.
    """
    find_zone(case, zone_id)
    paths = tuple(
        replace(path, permitted_zone_ids=tuple(held for held in path.permitted_zone_ids if held != zone_id))
        if zone_id in path.permitted_zone_ids
        else path
        for path in case.paths
    )
    return replace(case, paths=paths, zones=tuple(zone for zone in case.zones if zone.id != zone_id))


def import_zones(
    case: Case, zones: Sequence[Zone], *, frame_of_reference_uid: str = "", patient_id: str | None = None
) -> tuple[Case, Imported]:
    """Take zones from a file or a proposal into the case, all or none.

    Args:
        case: the case as it is.
        zones: with everything but id, frame and patient; one that the case has already, from the same source or with
            the same name, site and shape, is left out.
        frame_of_reference_uid: of the shapes; "" means the active volume's.
        patient_id: whose they are; None: not told, then the case's where the frame is the active one.

    Raises:
        BadFieldsError: a zone whose fields are impossible.
        CaseError: `too_many_zones`.
    """
    frame_uid = frame_of_reference_uid or case.frame_of_reference_uid
    if patient_id is None and frame_uid == case.frame_of_reference_uid:
        patient_id = case.patient_id
    placed = [replace(zone, frame_of_reference_uid=frame_uid, patient_id=patient_id) for zone in zones]
    there = {_source(zone) for zone in case.zones} | {_content(zone) for zone in case.zones}
    new = [zone for zone in placed if not there & {_source(zone), _content(zone)}]
    known = tuple(zone.name for zone in placed if there & {_source(zone), _content(zone)})
    _check_room(case, len(new))
    number = case.zone_count
    made: list[Zone] = []
    for zone in new:
        check_held_zone(zone)
        number += 1
        made.append(replace(zone, id=f"Z{number}", color=zone.color or ZONE_COLORS[zone.site]))
    case = replace(case, zones=(*case.zones, *made), zone_count=number)
    return case, Imported(zones=tuple(made), already_there=known)


def import_object(
    case: Case, zones: Sequence[Zone], *, name: str, frame_of_reference_uid: str, patient_id: str | None
) -> tuple[Case, Imported]:
    """The same for a DICOM object, once: `Case.imported` remembers its `name`.

    Raises:
        BadFieldsError, CaseError: as `import_zones`.
    """
    case, imported = import_zones(case, zones, frame_of_reference_uid=frame_of_reference_uid, patient_id=patient_id)
    return replace(case, imported=(*case.imported, name)), imported


def check_held_zone(zone: Zone) -> None:
    """Put a zone that no client sent through the same checks; a mask is its reader's word.

    Raises:
        BadFieldsError: a field at fault.
    """
    fields: dict[str, Any] = {"name": zone.name, "site": zone.site, "kind": zone.kind, "level": zone.level}
    if zone.color:
        fields["color"] = zone.color
    required: tuple[str, ...] = ("name", "site", "kind")
    if not isinstance(zone.shape, MaskShape):
        members = {name: getattr(zone.shape, name) for name in zone.shape.__struct_fields__}
        fields["shape"] = {"type": zone.shape.__struct_config__.tag, **members}
        required = (*required, "shape")
    try:
        checked_zone_fields(fields, required=required)
    except BadFieldsError as error:
        raise BadFieldsError(error.errors, what=f"zone {zone.name!r}") from None


def _check_room(case: Case, more: int) -> None:
    if len(case.zones) + more > MAXIMUM_ZONES:
        raise CaseError(
            f"{more} more would make {len(case.zones) + more} zones; a case takes {MAXIMUM_ZONES}",
            code="too_many_zones",
            mend="delete some first, or import fewer",
        )


def _source(zone: Zone) -> object:
    """Where a zone is from; a zone that is from nowhere is only like itself."""
    return zone.origin_uid or zone


def _content(zone: Zone) -> object:
    return zone.name, zone.site, zone.side, zone.shape, zone.frame_of_reference_uid, zone.patient_id


def _own_fields(case: Case, old: Zone, fields: Mapping[str, Any]) -> dict[str, Any]:
    errors = []
    for name in ("id", "origin", "origin_uid"):
        if fields.get(name, getattr(old, name)) != getattr(old, name):
            errors.append(FieldError(name, f"can't be changed; it is {getattr(old, name)!r}"))
    stated = fields.get("frame_of_reference_uid", old.frame_of_reference_uid)
    if stated not in (old.frame_of_reference_uid, case.frame_of_reference_uid):
        errors.append(FieldError("frame_of_reference_uid", "is neither the zone's nor the active volume's"))
    elif stated != old.frame_of_reference_uid and isinstance(old.shape, MaskShape):
        errors.append(FieldError("frame_of_reference_uid", "of a mask can't be changed: its voxels lie in their frame"))
    if errors:
        raise BadFieldsError(errors, what="zone")
    return {name: value for name, value in fields.items() if name not in _SENT_BACK}


def _in_its_frame(case: Case, old: Zone, zone: Zone, fields: Mapping[str, Any]) -> Zone:
    moved = is_elsewhere(zone.shape, old.shape)
    stated = fields.get("frame_of_reference_uid")
    # Writing the same points back must not carry them into a frame that they were not drawn in.
    frame_uid = stated if stated is not None else case.frame_of_reference_uid if moved else old.frame_of_reference_uid
    return replace(zone, frame_of_reference_uid=str(frame_uid), patient_id=case.patient_id if moved else old.patient_id)


def _with(case: Case, zone: Zone) -> Case:
    return replace(case, zones=tuple(zone if held.id == zone.id else held for held in case.zones))
