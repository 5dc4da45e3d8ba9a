"""Paths of a case: make, replace, change, take on a stage, delete."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from guidance.case.fields import (
    ENDS,
    INSTRUMENT_PALETTE,
    LONGEST_ID,
    BadFieldsError,
    FieldError,
    check_ends,
    checked_path_fields,
)
from guidance.case.stages import check_step, is_in_patient
from guidance.case.state import Case, is_in_active_frame
from guidance.errors import CaseError
from guidance.messages import PathStage, PlannedPath

# The overlay is drawn per frame within milliseconds; nobody reads more than this many tubes in one picture.
MAXIMUM_PATHS: Final = 64

# A client that reads, changes and writes back sends these along.
_SENT_BACK: Final = ("id", "frame_of_reference_uid", "in_active_frame", "next_stages")

DiameterOf = Callable[[str], float | None]


def no_library(_instrument: str) -> None:
    """The instrument library of who has none."""


def find_path(case: Case, path_id: str) -> PlannedPath:
    """The path of that id.

    Raises:
        CaseError: `unknown_path`.
    """
    for path in case.paths:
        if path.id == path_id:
            return path
    raise CaseError(f"no path {path_id!r}", code="unknown_path", mend="GET /api/v1/paths lists them")


def drawable_paths(case: Case) -> tuple[PlannedPath, ...]:
    """The paths of the active volume's patient and frame; all while no volume is active, for nothing is drawn then."""
    return tuple(path for path in case.paths if is_in_active_frame(case, path))


def paths_in_other_frames(case: Case) -> tuple[PlannedPath, ...]:
    """The paths planned in another frame than the active volume's: kept and listed, never drawn."""
    drawable = {path.id for path in drawable_paths(case)}
    return tuple(path for path in case.paths if path.id not in drawable)


def create_path(
    case: Case, fields: Mapping[str, Any], *, new_id: str = "", diameter_of: DiameterOf = no_library
) -> tuple[Case, PlannedPath]:
    """Add a path in the active volume's frame.

    Args:
        case: the case as it is.
        fields: see `checked_path_fields`; ends are required, and the diameter or an instrument of the library.
        new_id: 1 to 10 ASCII characters; "" takes the next of `P1`, `P2`, ...
        diameter_of: the library's diameter of an instrument, mm; None where it isn't in it.

    Raises:
        BadFieldsError: a field at fault.
        CaseError: `too_many_paths`, or `path_exists` for a taken `new_id`.
    """
    values = _checked(fields, diameter_of)
    check_ends(values["entry_lps_mm"], values["target_lps_mm"])
    _check_permissions(case, values)
    if values.get("stage") not in (None, PathStage.PLANNED):
        raise BadFieldsError([FieldError("stage", "of a new path is planned; change it when the instrument is placed")])
    if len(case.paths) >= MAXIMUM_PATHS:
        raise CaseError(f"the case has {MAXIMUM_PATHS} paths", code="too_many_paths", mend="delete one first")
    taken = {path.id for path in case.paths}
    number = case.path_count + 1
    path_id = new_id
    if not path_id:
        while f"P{number}" in taken:
            number += 1
        path_id = f"P{number}"
    if not (0 < len(path_id) <= LONGEST_ID and path_id.isascii() and path_id.replace("_", "").isalnum()):
        raise BadFieldsError([FieldError("id", f"must be 1 to {LONGEST_ID} ASCII letters, digits or _")])
    if path_id in taken:
        raise CaseError(f"path {path_id} exists", code="path_exists", mend="choose another id")
    chosen = {name: value for name, value in values.items() if value is not None}
    chosen.setdefault("color", _unused_color(case))
    chosen.setdefault("label", path_id)
    path = PlannedPath(
        id=path_id, frame_of_reference_uid=case.frame_of_reference_uid, patient_id=case.patient_id, **chosen
    )
    return replace(case, paths=(*case.paths, path), path_count=number), path


def replace_path(
    case: Case, path_id: str, fields: Mapping[str, Any], *, diameter_of: DiameterOf = no_library
) -> tuple[Case, PlannedPath]:
    """PUT: all fields anew; what is left out gets its default, but colour and stage, which stay.

    Ends that differ from the old ones are in the active volume's frame, unless `frame_of_reference_uid` says that
    they are in the path's old one.

    Raises:
        BadFieldsError: a field at fault.
        CaseError: `unknown_path`, `no_such_step`, or `path_in_patient`: an instrument lies there.
    """
    old = find_path(case, path_id)
    values = _checked(_own_fields(case, old, fields), diameter_of)
    check_ends(values["entry_lps_mm"], values["target_lps_mm"])
    _check_permissions(case, values)
    chosen = {name: value for name, value in values.items() if value is not None}
    chosen.setdefault("color", old.color)
    chosen.setdefault("label", path_id)
    chosen.setdefault("stage", old.stage)
    path = PlannedPath(
        id=path_id,
        frame_of_reference_uid=_frame_uid(case, old, values, fields),
        patient_id=case.patient_id if _moved(old, values) else old.patient_id,
        **chosen,
    )
    _check_stage(old, path)
    return _with(case, path), path


def update_path(
    case: Case, path_id: str, fields: Mapping[str, Any], *, diameter_of: DiameterOf = no_library
) -> tuple[Case, PlannedPath]:
    """PATCH (RFC 7396): only what is given changes; null gives an optional field its default.

    New ends are in the active volume's frame, see `replace_path`; one end alone cannot change the frame. Another
    instrument of the library brings its diameter, unless one is given.

    Raises:
        BadFieldsError: a field at fault.
        CaseError: `unknown_path`, `no_such_step`, or `path_in_patient`: an instrument lies there.
    """
    old = find_path(case, path_id)
    path = _updated(case, old, fields, diameter_of)
    _check_stage(old, path)
    return _with(case, path), path


def tried_path(
    case: Case, path_id: str, fields: Mapping[str, Any], *, diameter_of: DiameterOf = no_library
) -> PlannedPath:
    """What `update_path` would make of a path, to be looked at and not kept; stages forbid nothing here.

    Raises:
        BadFieldsError: a field at fault.
        CaseError: `unknown_path`.
    """
    return _updated(case, find_path(case, path_id), fields, diameter_of)


def set_stage(case: Case, path_id: str, fields: Mapping[str, Any]) -> tuple[Case, PlannedPath]:
    """Take a path one step on or back: `{"stage": "placed"}`.

    Raises:
        BadFieldsError: anything but a stage.
        CaseError: `unknown_path`, or `no_such_step`.
    """
    find_path(case, path_id)
    errors = [FieldError(str(name), "is not a field of a stage; there is stage") for name in fields if name != "stage"]
    if fields.get("stage") is None:
        errors.append(FieldError("stage", "is required"))
    if errors:
        raise BadFieldsError(errors, what="stage")
    return update_path(case, path_id, fields)


def delete_path(case: Case, path_id: str) -> Case:
    """Take a path out of the case.

    Raises:
        CaseError: `unknown_path`.
    """
    find_path(case, path_id)
    return replace(
        case,
        paths=tuple(path for path in case.paths if path.id != path_id),
        plan_names=tuple(pair for pair in case.plan_names if pair[1] != path_id),
    )


def _updated(case: Case, old: PlannedPath, fields: Mapping[str, Any], diameter_of: DiameterOf) -> PlannedPath:
    own = _own_fields(case, old, fields)
    if own.get("instrument", old.instrument) != old.instrument:
        own = _with_diameter(own, diameter_of)
    values = checked_path_fields(own, required=())
    _check_permissions(case, values)
    frame_uid = _frame_uid(case, old, values, fields)
    patient_id = case.patient_id if _moved(old, values) else old.patient_id
    if frame_uid != old.frame_of_reference_uid or old.patient_id not in (None, patient_id):
        # One end in the old frame and one in the new would be a path that nobody planned.
        missing = [name for name in ENDS if name not in values]
        if missing:
            raise BadFieldsError(
                [FieldError(name, "must come too: the frame of reference changes") for name in missing]
            )
    chosen: dict[str, Any] = {name: _default(old, name) if value is None else value for name, value in values.items()}
    path = replace(old, **(chosen | {"frame_of_reference_uid": frame_uid, "patient_id": patient_id}))
    check_ends(path.entry_lps_mm, path.target_lps_mm)
    return path


def _default(old: PlannedPath, name: str) -> object:
    defaults = {
        "color": old.color,
        "label": old.id,
        "instrument": "",
        "approach": "",
        "stage": old.stage,
        "permitted_zone_ids": (),
    }
    return defaults.get(name)


def _checked(fields: Mapping[str, Any], diameter_of: DiameterOf) -> dict[str, Any]:
    whole = _with_diameter(fields, diameter_of)
    try:
        return checked_path_fields(whole)
    except BadFieldsError as error:
        if not whole.get("instrument") or whole.get("diameter_mm") is not None:
            raise
        # Who named an instrument and left its diameter out must hear that it is the name that is not known.
        words = f"is required, for {whole['instrument']!r} is not in the library (GET /api/v1/instruments)"
        errors = [FieldError("diameter_mm", words) if one.field == "diameter_mm" else one for one in error.errors]
        raise BadFieldsError(errors) from None


def _with_diameter(fields: Mapping[str, Any], diameter_of: DiameterOf) -> dict[str, Any]:
    instrument = fields.get("instrument")
    if fields.get("diameter_mm") is None and isinstance(instrument, str):
        diameter_mm = diameter_of(instrument)
        if diameter_mm is not None:
            return {**fields, "diameter_mm": diameter_mm}
    return dict(fields)


def _check_permissions(case: Case, values: Mapping[str, Any]) -> None:
    there = {zone.id for zone in case.zones}
    unknown = [zone_id for zone_id in values.get("permitted_zone_ids") or () if zone_id not in there]
    if unknown:
        raise BadFieldsError([FieldError("permitted_zone_ids", f"there is no zone {', '.join(unknown)}")])


def _check_stage(old: PlannedPath, path: PlannedPath) -> None:
    check_step(old.id, old.stage, path.stage)
    if not is_in_patient(old.stage) or not is_in_patient(path.stage):
        return
    # What is drawn must stay where the steel is: an edit moves the plan, never the instrument. A pin gives way to a
    # screw of another diameter, so instrument and diameter may change until cement holds them.
    fixed = ENDS if old.stage is not PathStage.CEMENTED else (*ENDS, "diameter_mm", "instrument")
    moved = [name for name in fixed if getattr(old, name) != getattr(path, name)]
    if moved:
        raise CaseError(
            f"path {old.id} is {old.stage.value}: {', '.join(moved)} cannot change while an instrument lies there",
            code="path_in_patient",
            mend="plan another path"
            if old.stage is PathStage.CEMENTED
            else "set its stage back to planned when the instrument is out, or plan another path",
        )


def _with(case: Case, path: PlannedPath) -> Case:
    return replace(case, paths=tuple(path if held.id == path.id else held for held in case.paths))


def _own_fields(case: Case, old: PlannedPath, fields: Mapping[str, Any]) -> dict[str, Any]:
    errors = []
    if fields.get("id", old.id) != old.id:
        errors.append(FieldError("id", f"can't be changed; it is {old.id!r}"))
    stated = fields.get("frame_of_reference_uid", old.frame_of_reference_uid)
    if stated not in (old.frame_of_reference_uid, case.frame_of_reference_uid):
        errors.append(FieldError("frame_of_reference_uid", "is neither the path's nor the active volume's"))
    if errors:
        raise BadFieldsError(errors)
    return {name: value for name, value in fields.items() if name not in _SENT_BACK}


def _frame_uid(case: Case, old: PlannedPath, values: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    if "frame_of_reference_uid" in fields:
        return str(fields["frame_of_reference_uid"])
    # Writing the same coordinates back must not carry them into a frame that they were not planned in.
    return case.frame_of_reference_uid if _moved(old, values) else old.frame_of_reference_uid


def _moved(old: PlannedPath, values: Mapping[str, Any]) -> bool:
    return any(name in values and values[name] != getattr(old, name) for name in ENDS)


def _unused_color(case: Case) -> str:
    used = [path.color.lower() for path in case.paths]
    return min(INSTRUMENT_PALETTE, key=lambda color: (used.count(color), INSTRUMENT_PALETTE.index(color)))
