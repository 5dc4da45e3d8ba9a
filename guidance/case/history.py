"""Undo, redo and the audit line of each change; every change passes `record`, so none can be forgotten."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import msgspec

from guidance.case.audit import AuditLine
from guidance.case.changes import (
    Author,
    Change,
    Edit,
    History,
    case_change,
    path_changes,
    path_fields,
    restored_path,
    restored_zone,
    words_for,
    zone_changes,
    zone_fields,
)
from guidance.case.state import Case
from guidance.errors import CaseError

MOST_EDITS: Final = 100
# A peer that drags a path sends it many times a second; that is one step to undo.
_ONE_GESTURE_S: Final = 2.0


class Undone(msgspec.Struct, frozen=True, kw_only=True):
    """What an undo or redo did.

    Attributes:
        what: the edit's words.
        items: (kind, id) of what it touched.
        undo_left, redo_left: steps that are left.
    """

    what: str
    items: tuple[tuple[str, str], ...]
    undo_left: int
    redo_left: int


def record(
    before: Case, after: Case, *, author: Author, at: str, most_edits: int = MOST_EDITS
) -> tuple[Case, AuditLine | None]:
    """Note a change: in the undo history, where it can be undone, and as a line for the audit.

    Args:
        before, after: the case before and after one of guidance.case's functions.
        author: whose change it is.
        at: UTC, ISO 8601.
        most_edits: steps that the undo history keeps.

    Returns:
        The case with its history, and the line; None where nothing has changed.
    """
    items = _item_changes(before, after)
    changes = (*items, *case_change(_case_fields(before), _case_fields(after)))
    moved = after.history.count != before.history.count
    if not changes and not moved:
        return after, None
    what = after.history.said if moved else words_for(changes)
    line = AuditLine(
        number=0,
        at=at,
        via=author.via,
        peer=author.peer,
        operator=author.operator,
        what=what,
        epoch=after.epoch,
        changes=changes,
    )
    # A volume that becomes active takes paths into its frame: that is no edit that could be taken back.
    if not moved and len(items) == len(changes):
        edit = Edit(what=what, author=author, at=at, changes=items)
        done = before.history.done
        if done and _is_one_gesture(done[-1], edit):
            done, edit = done[:-1], _joined(done[-1], edit)
        after = replace(after, history=replace(after.history, done=(*done, edit)[-most_edits:], undone=()))
    return after, line


def undo(case: Case) -> tuple[Case, Undone]:
    """Take the newest edit back.

    Raises:
        CaseError: `nothing_to_undo`, or `changed_since` where what it touched is no longer as it left it.
    """
    if not case.history.done:
        raise CaseError("there is nothing to undo", code="nothing_to_undo")
    edit = case.history.done[-1]
    case = _applied(case, edit, forth=False)
    history = History(
        done=case.history.done[:-1],
        undone=(*case.history.undone, edit),
        count=case.history.count + 1,
        said=f"undo: {edit.what}",
    )
    return replace(case, history=history), _told(edit, history)


def redo(case: Case) -> tuple[Case, Undone]:
    """Do again what was undone last.

    Raises:
        CaseError: `nothing_to_redo`, or `changed_since`.
    """
    if not case.history.undone:
        raise CaseError("there is nothing to redo", code="nothing_to_redo", mend="a new edit ends what can be redone")
    edit = case.history.undone[-1]
    case = _applied(case, edit, forth=True)
    history = History(
        done=(*case.history.done, edit),
        undone=case.history.undone[:-1],
        count=case.history.count + 1,
        said=f"redo: {edit.what}",
    )
    return replace(case, history=history), _told(edit, history)


def _told(edit: Edit, history: History) -> Undone:
    return Undone(
        what=edit.what,
        items=tuple((change.kind, change.id) for change in edit.changes),
        undo_left=len(history.done),
        redo_left=len(history.undone),
    )


def _item_changes(before: Case, after: Case) -> tuple[Change, ...]:
    if before.paths is after.paths and before.plan_names is after.plan_names and before.zones is after.zones:
        return ()
    return (
        *path_changes(before.paths, after.paths, names_before=before.plan_names, names_after=after.plan_names),
        *zone_changes(before.zones, after.zones),
    )


def _case_fields(case: Case) -> dict[str, Any]:
    return {
        "active_volume_id": case.active_volume_id,
        "frame_of_reference_uid": case.frame_of_reference_uid,
        "patient_id": case.patient_id,
        "study_instance_uid": case.study_instance_uid,
        "epoch": case.epoch,
        "shared_frame_confirmed": case.shared_frame_confirmed,
        "zones_shown": case.zones_shown,
        "registration": None if case.registration is None else msgspec.to_builtins(case.registration),
    }


def _is_one_gesture(last: Edit, edit: Edit) -> bool:
    if edit.author.via != "openigtlink" or last.author != edit.author:
        return False
    touched, again = (
        [(change.kind, change.id, sorted(change.after or ())) for change in one.changes] for one in (last, edit)
    )
    only_changes = all(
        change.before is not None and change.after is not None for change in (*last.changes, *edit.changes)
    )
    pause_s = (datetime.fromisoformat(edit.at) - datetime.fromisoformat(last.at)).total_seconds()
    return only_changes and touched == again and 0.0 <= pause_s <= _ONE_GESTURE_S


def _joined(last: Edit, edit: Edit) -> Edit:
    changes = tuple(replace(new, before=old.before) for old, new in zip(last.changes, edit.changes, strict=True))
    return replace(edit, changes=changes)


def _applied(case: Case, edit: Edit, *, forth: bool) -> Case:
    # Each change takes back what came after it, so the way back goes from the last one.
    for change in edit.changes if forth else reversed(edit.changes):
        held, wanted = (change.before, change.after) if forth else (change.after, change.before)
        case = _with_item(case, change, held, wanted)
    return case


def _with_item(case: Case, change: Change, held: dict[str, Any] | None, wanted: dict[str, Any] | None) -> Case:
    """The case with one item as `wanted` says, if it is as `held` says."""
    ids = [item.id for item in (case.paths if change.kind == "path" else case.zones)]
    at = ids.index(change.id) if change.id in ids else None
    if at is None:
        now = None
    elif change.kind == "path":
        now = path_fields(case.paths[at], case.plan_names)
    else:
        now = zone_fields(case.zones[at])
    if (now is None) is not (held is None) or (now and held and any(now[name] != held[name] for name in held)):
        raise CaseError(
            f"{change.kind} {change.id} has been changed by other means since",
            code="changed_since",
            mend=f"GET /api/v1/{change.kind}s/{change.id} shows it as it is",
        )
    fields = None if wanted is None else {**(now or {}), **wanted}
    place = change.place if at is None else at
    if change.kind == "zone":
        zone = None if fields is None else restored_zone(fields)
        return replace(case, zones=_placed(case.zones, change.id, zone, place))
    names = tuple(pair for pair in case.plan_names if pair[1] != change.id)
    path = None
    if fields is not None:
        path, called = restored_path(fields)
        names += tuple((name, path.id) for name in called if name not in dict(names))
    return replace(case, paths=_placed(case.paths, change.id, path, place), plan_names=names)


def _placed(items: tuple[Any, ...], item_id: str, item: Any | None, place: int) -> tuple[Any, ...]:
    others = [held for held in items if held.id != item_id]
    return tuple(others) if item is None else (*others[:place], item, *others[place:])
