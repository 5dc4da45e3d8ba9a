"""What an edit changed, as the undo history and the audit keep it: only the fields that differ, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from guidance.messages import PlannedPath, Zone

ItemKind = Literal["path", "zone", "case"]

_PLAN_NAMES = "plan_names"
_LISTED_AT_MOST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Whose change it is.

    Attributes:
        via: what it came by; `server` where nobody asked (a volume that became active by itself).
        peer: `host:port`; "" where there is none.
        operator: as the client says, not checked; "" unknown.
    """

    via: Literal["http", "openigtlink", "dicom", "server"]
    peer: str = ""
    operator: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One item's change.

    Attributes:
        kind: `case` is the case itself: what volume counts, whose it is.
        id: of the path or zone; "" of the case.
        before: the fields that differ; all of them where the item was deleted; None: it was not there.
        after: the same for afterwards.
        place: where in its list it stands or stood.
    """

    kind: ItemKind
    id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    place: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One step of the undo history.

    Attributes:
        what: words.
        author: whose it was.
        at: UTC, ISO 8601.
        changes: of paths and zones only.
    """

    what: str
    author: Author
    at: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What can be undone and redone, the newest last.

    Attributes:
        count: moves with each undo, redo and new case, so that those are told from edits.
        said: what the last of those did, in words.
    """

    done: tuple[Edit, ...] = ()
    undone: tuple[Edit, ...] = ()
    count: int = 0
    said: str = ""


def path_changes(
    before: Sequence[PlannedPath],
    after: Sequence[PlannedPath],
    *,
    names_before: Sequence[tuple[str, str]] = (),
    names_after: Sequence[tuple[str, str]] = (),
) -> tuple[Change, ...]:
    """How paths differ; (name in a plan, path id) pairs are kept as the path's `plan_names`."""
    fields_before = {path.id: _fields(path, names_before) for path in before}
    fields_after = {path.id: _fields(path, names_after) for path in after}
    return _changes("path", fields_before, fields_after)


def zone_changes(before: Sequence[Zone], after: Sequence[Zone]) -> tuple[Change, ...]:
    """How zones differ."""
    same = {id(zone) for zone in before} & {id(zone) for zone in after}
    # Zones can hold hundreds of points: those that are the very same need no look.
    fields_before = {zone.id: {} if id(zone) in same else _builtins(zone) for zone in before}
    fields_after = {zone.id: {} if id(zone) in same else _builtins(zone) for zone in after}
    return _changes("zone", fields_before, fields_after)


def case_change(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """How the case itself differs."""
    return _changes("case", {"": dict(before)}, {"": dict(after)})


def restored_path(fields: Mapping[str, Any]) -> tuple[PlannedPath, tuple[str, ...]]:
    """A path and its names in plans from all of its fields.

    Raises:
        msgspec.ValidationError: they make none.
    """
    names = msgspec.convert(fields.get(_PLAN_NAMES, ()), tuple[str, ...])
    return msgspec.convert({k: v for k, v in fields.items() if k != _PLAN_NAMES}, PlannedPath), names


def restored_zone(fields: Mapping[str, Any]) -> Zone:
    """A zone from all of its fields.

    Raises:
        msgspec.ValidationError: they make none.
    """
    return msgspec.convert(dict(fields), Zone)


def path_fields(path: PlannedPath, plan_names: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """A path's fields as changes keep them."""
    return _fields(path, plan_names)


def zone_fields(zone: Zone) -> dict[str, Any]:
    """A zone's fields as changes keep them."""
    return _builtins(zone)


def words_for(changes: Sequence[Change]) -> str:
    """What was changed, in one line."""
    told = [_words(change) for change in changes[:_LISTED_AT_MOST]]
    if len(changes) > _LISTED_AT_MOST:
        told.append(f"and {len(changes) - _LISTED_AT_MOST} more")
    return "; ".join(told)


def _words(change: Change) -> str:
    name = f"{change.kind} {change.id}".strip()
    if change.before is None:
        return f"create {name}"
    if change.after is None:
        return f"delete {name}"
    return f"change {name}: {', '.join(change.after)}"


def _changes(
    kind: ItemKind, before: Mapping[str, dict[str, Any]], after: Mapping[str, dict[str, Any]]
) -> tuple[Change, ...]:
    found = [
        Change(kind=kind, id=item, before=fields, after=None, place=place)
        for place, (item, fields) in enumerate(before.items())
        if item not in after
    ]
    for place, (item, fields) in enumerate(after.items()):
        old = before.get(item)
        if old is None:
            found.append(Change(kind=kind, id=item, before=None, after=fields, place=place))
        elif old != fields:
            names = [name for name in fields if fields[name] != old.get(name)]
            found.append(
                Change(
                    kind=kind,
                    id=item,
                    before={name: old.get(name) for name in names},
                    after={name: fields[name] for name in names},
                    place=place,
                )
            )
    return tuple(found)


def _fields(path: PlannedPath, plan_names: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return _builtins(path) | {_PLAN_NAMES: [name for name, path_id in plan_names if path_id == path.id]}


def _builtins(item: PlannedPath | Zone) -> dict[str, Any]:
    # By way of JSON: what comes back from disk must equal what was never away, and JSON knows no tuples.
    fields: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(item))
    return fields
