"""Paths of a case: make, replace, change, delete, and take over from a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from guidance.case.fields import (
    INSTRUMENT_PALETTE,
    REQUIRED_FIELDS,
    BadFieldsError,
    FieldError,
    check_ends,
    checked_path_fields,
)
from guidance.case.state import Case
from guidance.errors import CaseError
from guidance.messages import PlanItem, PlannedPath

# The overlay is drawn per frame within milliseconds; nobody reads more than this many tubes in one picture.
MAXIMUM_PATHS: Final = 64

_LONGEST_ID: Final = 10  # an OpenIGTLink device name has 20 bytes, `NeedleTip_` takes 10
_ENDS: Final = REQUIRED_FIELDS[:2]
# A client that reads, changes and writes back sends these along.
_SENT_BACK: Final = ("id", "frame_of_reference_uid", "in_active_frame")


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


def is_in_active_frame(case: Case, path: PlannedPath) -> bool:
    """Whether a path was planned in the active volume's frame, on its patient; true while no volume is active."""
    frame_uid = case.frame_of_reference_uid
    same_frame = path.frame_of_reference_uid == frame_uid and path.patient_id in (None, case.patient_id)
    return not frame_uid or same_frame


def paths_in_other_frames(case: Case) -> tuple[PlannedPath, ...]:
    """The paths planned in another frame than the active volume's: kept and listed, never drawn."""
    drawable = {path.id for path in drawable_paths(case)}
    return tuple(path for path in case.paths if path.id not in drawable)


def create_path(case: Case, fields: Mapping[str, Any], *, new_id: str = "") -> tuple[Case, PlannedPath]:
    """Add a path in the active volume's frame.

    Args:
        case: the case as it is.
        fields: see `checked_path_fields`; ends and diameter are required.
        new_id: 1 to 10 ASCII characters; "" takes the next of `P1`, `P2`, ...

    Raises:
        BadFieldsError: a field at fault.
        CaseError: `too_many_paths`, or `path_exists` for a taken `new_id`.
    """
    values = checked_path_fields(fields)
    check_ends(values["entry_lps_mm"], values["target_lps_mm"])
    if len(case.paths) >= MAXIMUM_PATHS:
        raise CaseError(f"the case has {MAXIMUM_PATHS} paths", code="too_many_paths", mend="delete one first")
    taken = {path.id for path in case.paths}
    number = case.path_count + 1
    path_id = new_id
    if not path_id:
        while f"P{number}" in taken:
            number += 1
        path_id = f"P{number}"
    if not (0 < len(path_id) <= _LONGEST_ID and path_id.isascii() and path_id.replace("_", "").isalnum()):
        raise BadFieldsError([FieldError("id", f"must be 1 to {_LONGEST_ID} ASCII letters, digits or _")])
    if path_id in taken:
        raise CaseError(f"path {path_id} exists", code="path_exists", mend="choose another id")
    chosen = {name: value for name, value in values.items() if value is not None}
    chosen.setdefault("color", _unused_color(case))
    chosen.setdefault("label", path_id)
    path = PlannedPath(
        id=path_id, frame_of_reference_uid=case.frame_of_reference_uid, patient_id=case.patient_id, **chosen
    )
    return replace(case, paths=(*case.paths, path), path_count=number), path


def replace_path(case: Case, path_id: str, fields: Mapping[str, Any]) -> tuple[Case, PlannedPath]:
    """PUT: all fields anew; what is left out gets its default, but the colour, which stays.

    Ends that differ from the old ones are in the active volume's frame, unless `frame_of_reference_uid` says that
    they are in the path's old one.

    Raises:
        BadFieldsError: a field at fault.
        CaseError: `unknown_path`.
    """
    old = find_path(case, path_id)
    values = checked_path_fields(_own_fields(case, old, fields))
    check_ends(values["entry_lps_mm"], values["target_lps_mm"])
    chosen = {name: value for name, value in values.items() if value is not None}
    chosen.setdefault("color", old.color)
    chosen.setdefault("label", path_id)
    path = PlannedPath(
        id=path_id,
        frame_of_reference_uid=_frame_uid(case, old, values, fields),
        patient_id=case.patient_id if _moved(old, values) else old.patient_id,
        **chosen,
    )
    return _with(case, path), path


def update_path(case: Case, path_id: str, fields: Mapping[str, Any]) -> tuple[Case, PlannedPath]:
    """PATCH (RFC 7396): only what is given changes; null gives an optional field its default.

    New ends are in the active volume's frame, see `replace_path`; one end alone cannot change the frame.

    Raises:
        BadFieldsError: a field at fault.
        CaseError: `unknown_path`.
    """
    old = find_path(case, path_id)
    values = checked_path_fields(_own_fields(case, old, fields), required=())
    frame_uid = _frame_uid(case, old, values, fields)
    patient_id = case.patient_id if _moved(old, values) else old.patient_id
    if frame_uid != old.frame_of_reference_uid or old.patient_id not in (None, patient_id):
        # One end in the old frame and one in the new would be a path that nobody planned.
        missing = [name for name in _ENDS if name not in values]
        if missing:
            raise BadFieldsError(
                [FieldError(name, "must come too: the frame of reference changes") for name in missing]
            )
    defaults = {"color": old.color, "label": path_id, "instrument": "", "approach": ""}
    chosen: dict[str, Any] = {name: defaults[name] if value is None else value for name, value in values.items()}
    path = replace(old, **(chosen | {"frame_of_reference_uid": frame_uid, "patient_id": patient_id}))
    check_ends(path.entry_lps_mm, path.target_lps_mm)
    return _with(case, path), path


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


def paths_from_plan(
    case: Case, items: Sequence[PlanItem]
) -> tuple[Case, tuple[PlannedPath, ...], tuple[CaseError, ...]]:
    """Take over a plan from OpenIGTLink: a known name changes its path, a new one makes a path.

    Returns:
        The case, the paths made or changed, and one error per item that was refused (the others go on).
    """
    accepted: list[PlannedPath] = []
    refused: list[CaseError] = []
    for item in items:
        fields: dict[str, Any] = {
            "entry_lps_mm": item.entry_lps_mm,
            "target_lps_mm": item.target_lps_mm,
            "diameter_mm": item.diameter_mm,
            "label": item.name,
        }
        if item.color:
            fields["color"] = item.color
        path_id = dict(case.plan_names).get(item.name)
        try:
            if path_id is None:
                case, path = create_path(case, fields)
                case = replace(case, plan_names=(*case.plan_names, (item.name, path.id)))
            else:
                case, path = update_path(case, path_id, fields)
        except BadFieldsError as error:
            refused.append(BadFieldsError(error.errors, what=f"path {item.name!r} of the plan"))
        except CaseError as error:
            refused.append(error)
        else:
            accepted.append(path)
    return case, tuple(accepted), tuple(refused)


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
    return any(name in values and values[name] != getattr(old, name) for name in _ENDS)


def _unused_color(case: Case) -> str:
    used = [path.color.lower() for path in case.paths]
    return min(INSTRUMENT_PALETTE, key=lambda color: (used.count(color), INSTRUMENT_PALETTE.index(color)))
