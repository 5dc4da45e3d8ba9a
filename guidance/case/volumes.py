"""Which volume counts: the rule by which a volume becomes the active one, and what that does to what was planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from guidance.case.changes import Change, Edit
from guidance.case.fields import BadFieldsError, FieldError
from guidance.case.state import ActiveVolume, Case, VolumeQuestion
from guidance.errors import CaseError
from guidance.messages import CbctVolume, PlannedPath, VolumeState, Zone

_Item = TypeVar("_Item", PlannedPath, Zone)
_SETTABLE: Final = ("active_volume_id", "shared_frame_confirmed", "zones_shown")


def find_volume(case: Case, volume_id: str) -> CbctVolume:
    """The volume of that id.

    Raises:
        CaseError: `unknown_volume`.
    """
    for volume in case.volumes:
        if volume.id == volume_id:
            return volume
    raise CaseError(f"no volume {volume_id!r}", code="unknown_volume", mend="GET /api/v1/volumes lists them")


def volume_changed(case: Case, volume: CbctVolume) -> Case:
    """Take in a volume that is new or has changed.

    The first ready one of an empty case becomes active by itself; a later one of the same patient and study asks;
    any other is only listed. The active one ends with its refusal, and starts a new epoch with a changed grid.
    """
    known = any(held.id == volume.id for held in case.volumes)
    volumes = tuple(volume if held.id == volume.id else held for held in case.volumes)
    case = replace(case, volumes=volumes if known else (*case.volumes, volume))
    if case.question is not None and case.question.volume_id == volume.id and volume.state is not VolumeState.READY:
        case = replace(case, question=None)
    if volume.id == case.active_volume_id:
        return _active_changed(case, volume)
    if volume.state is not VolumeState.READY:
        return case
    if case.patient_id is None:
        # A late slice, or a restart, announces the former patient's volumes again.
        return case if volume.id in case.dismissed else _activated(case, volume)
    if (volume.patient_id, volume.study_instance_uid) == (case.patient_id, case.study_instance_uid):
        name = volume.description or volume.id
        text = f"A newer volume of this patient is ready ({name}). Use it from now on?"
        return replace(case, question=VolumeQuestion(volume_id=volume.id, text=text))
    return case


def forget_volume(case: Case, volume_id: str) -> Case:
    """Drop a volume that the server no longer holds; the active one stays active by its identity.

    Raises:
        CaseError: `unknown_volume`.
    """
    find_volume(case, volume_id)
    question = None if case.question and case.question.volume_id == volume_id else case.question
    return replace(case, volumes=tuple(held for held in case.volumes if held.id != volume_id), question=question)


def activate_volume(case: Case, volume_id: str) -> Case:
    """The operator's word: this volume counts from now on, whatever patient it is of; it answers the question.

    Raises:
        CaseError: `unknown_volume`, or `volume_not_ready`.
    """
    volume = find_volume(case, volume_id)
    if volume.state is not VolumeState.READY:
        reasons = "; ".join(finding.message for finding in volume.findings)
        raise CaseError(
            f"volume {volume_id} is {volume.state.value}" + (f": {reasons}" if reasons else ""),
            code="volume_not_ready",
            mend="wait until it is ready, or choose another",
        )
    if volume_id == case.active_volume_id:
        return replace(case, question=None)
    return _activated(case, volume)


def confirm_shared_frame(case: Case, confirmed: bool) -> Case:
    """The operator's word that stream and active volume share a frame (contract 5.3); it ends with the epoch.

    Raises:
        CaseError: `no_active_volume`: there is nothing to share a frame with.
    """
    if confirmed and case.active is None:
        raise CaseError(
            "no volume is active, so the stream cannot share its frame",
            code="no_active_volume",
            mend="send a CBCT first, or choose one",
        )
    return replace(case, shared_frame_confirmed=confirmed)


def update_case(case: Case, fields: Mapping[str, Any]) -> Case:
    """Apply `PUT /case`: any of `active_volume_id` (text), `shared_frame_confirmed`, `zones_shown` (true or false).

    Raises:
        BadFieldsError: none given, unknown name or wrong type.
        CaseError: see `activate_volume` and `confirm_shared_frame`.
    """
    errors = [
        FieldError(str(name), f"can't be set; only {', '.join(_SETTABLE)} can")
        for name in fields
        if name not in _SETTABLE
    ]
    volume_id = fields.get("active_volume_id", "")
    confirmed = fields.get("shared_frame_confirmed", False)
    if not isinstance(volume_id, str) or ("active_volume_id" in fields and not volume_id):
        errors.append(FieldError("active_volume_id", "must be the id of a volume"))
    for name in _SETTABLE[1:]:
        if not isinstance(fields.get(name, False), bool):
            errors.append(FieldError(name, "must be true or false"))
    if not fields:
        errors.append(FieldError("active_volume_id", f"is required, or one of {', '.join(_SETTABLE[1:])}"))
    if errors:
        raise BadFieldsError(errors, what="case")
    # In this order: a confirmation that comes with a volume is about that volume.
    if volume_id:
        case = activate_volume(case, volume_id)
    if "shared_frame_confirmed" in fields:
        case = confirm_shared_frame(case, confirmed)
    return replace(case, zones_shown=fields.get("zones_shown", case.zones_shown))


def _activated(case: Case, volume: CbctVolume) -> Case:
    active = ActiveVolume(
        id=volume.id,
        series_instance_uid=volume.series_instance_uid,
        study_instance_uid=volume.study_instance_uid,
        patient_id=volume.patient_id,
        frame_of_reference_uid=volume.frame_of_reference_uid or volume.series_instance_uid,
        shape_kji=volume.shape_kji,
        affine_lps_from_ijk=volume.affine_lps_from_ijk,
    )
    paths, zones, history = case.paths, case.zones, case.history
    if case.patient_id in (None, volume.patient_id):
        # Planned while no volume counted: they can only have meant the next one's frame. What was deleted meanwhile
        # may come back by undo, and has the same frame then.
        paths = tuple(_adopted(path, active) for path in paths)
        zones = tuple(_adopted(zone, active) for zone in zones)
        history = replace(
            history,
            done=tuple(_adopted_edit(edit, active) for edit in history.done),
            undone=tuple(_adopted_edit(edit, active) for edit in history.undone),
        )
    return replace(
        case,
        paths=paths,
        zones=zones,
        history=history,
        active=active,
        patient_id=volume.patient_id,
        study_instance_uid=volume.study_instance_uid,
        epoch=case.epoch + 1,
        registration=None,
        shared_frame_confirmed=False,
        question=None,
    )


def _adopted(item: _Item, active: ActiveVolume) -> _Item:
    if item.frame_of_reference_uid or item.patient_id not in (None, active.patient_id):
        return item
    return replace(item, frame_of_reference_uid=active.frame_of_reference_uid, patient_id=active.patient_id)


def _adopted_edit(edit: Edit, active: ActiveVolume) -> Edit:
    def adopted(fields: dict[str, Any] | None) -> dict[str, Any] | None:
        if fields is None or fields.get("frame_of_reference_uid") != "":
            return fields
        if fields.get("patient_id") not in (None, active.patient_id):
            return fields
        return fields | {
            "frame_of_reference_uid": active.frame_of_reference_uid,
            "patient_id": active.patient_id,
        }

    changes: tuple[Change, ...] = tuple(
        replace(change, before=adopted(change.before), after=adopted(change.after)) for change in edit.changes
    )
    return replace(edit, changes=changes)


def _active_changed(case: Case, volume: CbctVolume) -> Case:
    active = case.active
    if active is None or volume.state is VolumeState.RECEIVING:
        return case
    if volume.state is VolumeState.REFUSED:
        # What late instances have shown to be wrong can no longer carry an overlay.
        return replace(case, active=None, epoch=case.epoch + 1, registration=None, shared_frame_confirmed=False)
    same_frame = active.frame_of_reference_uid == (volume.frame_of_reference_uid or volume.series_instance_uid)
    same_grid = (active.shape_kji, active.affine_lps_from_ijk) == (volume.shape_kji, volume.affine_lps_from_ijk)
    same_patient = (active.patient_id, active.study_instance_uid) == (volume.patient_id, volume.study_instance_uid)
    return case if same_frame and same_grid and same_patient else _activated(case, volume)
