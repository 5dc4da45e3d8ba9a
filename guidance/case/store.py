"""The case as JSON, for `case.json`: what must survive a restart, and nothing that a restart makes untrue."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from guidance.case.changes import History, restored_path, restored_zone
from guidance.case.fields import check_ends, checked_path_fields
from guidance.case.registration import check_registration
from guidance.case.state import ActiveVolume, Case
from guidance.case.zones import check_held_zone
from guidance.errors import CaseError
from guidance.messages import AcceptedRegistration, PlannedPath, Zone

# 1 knew no zones and no history, 2 no registration; what they lack has its default here.
_VERSION: Final = 3


class _StoredCase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema_version: Literal[1, 2, 3]
    paths: tuple[PlannedPath, ...]
    active: ActiveVolume | None
    patient_id: str | None
    study_instance_uid: str | None
    epoch: int
    path_count: int
    plan_names: tuple[tuple[str, str], ...]
    dismissed: tuple[str, ...] = ()
    zones: tuple[Zone, ...] = ()
    zone_count: int = 0
    history: History = History()
    imported: tuple[str, ...] = ()
    zones_shown: bool = True
    registration: AcceptedRegistration | None = None


def case_to_json(case: Case) -> bytes:
    """The case's lasting part as JSON text.

    Volumes are not in it: they are read from their DICOM files again. The operator's confirmation and the pending
    question are not either: who confirmed cannot have seen what happened while the server was away.
    """
    stored = _StoredCase(
        schema_version=_VERSION,
        paths=case.paths,
        active=case.active,
        patient_id=case.patient_id,
        study_instance_uid=case.study_instance_uid,
        epoch=case.epoch,
        path_count=case.path_count,
        plan_names=case.plan_names,
        dismissed=case.dismissed,
        zones=case.zones,
        zone_count=case.zone_count,
        history=case.history,
        imported=case.imported,
        zones_shown=case.zones_shown,
        registration=case.registration,
    )
    return msgspec.json.format(msgspec.json.encode(stored), indent=2) + b"\n"


def case_from_json(text: bytes) -> Case:
    """The case that was stored, without volumes; the active one counts again once it is announced.

    Raises:
        CaseError: `bad_case_file`: not what `case_to_json` writes.
    """
    try:
        stored = msgspec.json.decode(text, type=_StoredCase)
        for path in stored.paths:
            fields = {name: getattr(path, name) for name in ("entry_lps_mm", "target_lps_mm", "diameter_mm", "color")}
            values = checked_path_fields(fields | {"label": path.label})
            check_ends(values["entry_lps_mm"], values["target_lps_mm"])
        for zone in stored.zones:
            check_held_zone(zone)
        if stored.registration is not None:
            check_registration(stored.registration)
        _check_ids("path", [path.id for path in stored.paths])
        _check_ids("zone", [zone.id for zone in stored.zones])
        _check_history(stored.history)
    except (msgspec.MsgspecError, UnicodeDecodeError, CaseError) as error:
        raise CaseError(
            f"the stored case cannot be read: {error}",
            code="bad_case_file",
            mend="restore it from a backup, or move it away to begin an empty case",
        ) from None
    return Case(
        paths=stored.paths,
        active=stored.active,
        patient_id=stored.patient_id,
        study_instance_uid=stored.study_instance_uid,
        epoch=stored.epoch,
        path_count=stored.path_count,
        plan_names=stored.plan_names,
        dismissed=stored.dismissed,
        zones=stored.zones,
        zone_count=stored.zone_count,
        history=stored.history,
        imported=stored.imported,
        zones_shown=stored.zones_shown,
        registration=stored.registration,
    )


def lasting(case: Case) -> tuple[object, ...]:
    """The part of a case that is on disk: what differs in it must be stored."""
    return (
        case.paths,
        case.zones,
        case.active,
        case.patient_id,
        case.study_instance_uid,
        case.epoch,
        case.path_count,
        case.zone_count,
        case.plan_names,
        case.dismissed,
        case.history,
        case.imported,
        case.zones_shown,
        case.registration,
    )


def _check_ids(kind: str, ids: list[str]) -> None:
    if len(set(ids)) != len(ids):
        raise CaseError(f"one {kind} id twice", code="bad_case_file")


def _check_history(history: History) -> None:
    """What comes back whole by undo or redo must be an item."""
    for edit in (*history.done, *history.undone):
        for change in edit.changes:
            whole = change.before if change.after is None else change.after if change.before is None else None
            if whole is not None and change.kind == "path":
                restored_path(whole)
            elif whole is not None:
                restored_zone(whole)
