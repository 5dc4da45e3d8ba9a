"""The case as JSON, for `case.json`: what must survive a restart, and nothing that a restart makes untrue."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from guidance.case.fields import check_ends, checked_path_fields
from guidance.case.state import ActiveVolume, Case
from guidance.errors import CaseError
from guidance.messages import PlannedPath

_VERSION: Final = 1


class _StoredCase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema_version: Literal[1]
    paths: tuple[PlannedPath, ...]
    active: ActiveVolume | None
    patient_id: str | None
    study_instance_uid: str | None
    epoch: int
    path_count: int
    plan_names: tuple[tuple[str, str], ...]
    dismissed: tuple[str, ...] = ()


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
        if len({path.id for path in stored.paths}) != len(stored.paths):
            raise CaseError("one path id twice", code="bad_case_file")
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
    )
