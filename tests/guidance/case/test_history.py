"""Undo, redo and the audit line: whatever was done, the way back leads to where it began."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.case import (
    AuditLine,
    Author,
    Case,
    activate_volume,
    case_from_json,
    case_to_json,
    create_path,
    create_zone,
    delete_path,
    delete_zone,
    new_case,
    paths_from_plan,
    record,
    redo,
    set_stage,
    undo,
    update_case,
    update_path,
    update_zone,
    volume_changed,
)
from guidance.errors import CaseError
from guidance.messages import PlanItem
from tests.helpers.case_api import ready_volume

PATH: dict[str, Any] = {"entry_lps_mm": [-40.0, 30.0, 10.0], "target_lps_mm": [0.0, 0.0, 0.0], "diameter_mm": 3.2}
ZONE: dict[str, Any] = {
    "name": "foramen",
    "site": "foramen",
    "kind": "keep_out",
    "shape": {"type": "tube", "points_lps_mm": [[0, 0, 0], [0, 10, 0]], "radius_mm": 4},
}
OPERATOR = Author(via="http", peer="127.0.0.1:5000", operator="Dr. Ä")


class Desk:
    """A case with everything recorded, as the live case does it."""

    def __init__(self, case: Case | None = None) -> None:
        self.case = case or Case()
        self.lines: list[AuditLine] = []

    def do(self, change: Any, *arguments: Any, author: Author = OPERATOR, at: str = "", most: int = 100) -> Any:
        changed = change(self.case, *arguments)
        after = changed[0] if isinstance(changed, tuple) else changed
        self.case, line = record(
            self.case, after, author=author, at=at or "2026-11-21T08:00:00.000+00:00", most_edits=most
        )
        if line is not None:
            self.lines.append(line)
        return changed[1] if isinstance(changed, tuple) else None

    @property
    def plan(self) -> tuple[Any, ...]:
        return self.case.paths, self.case.zones, sorted(self.case.plan_names)


def restarted(desk: Desk) -> None:
    desk.case = replace(case_from_json(case_to_json(desk.case)), volumes=desk.case.volumes)


def test_each_edit_is_undone_and_done_again() -> None:
    desk = Desk(volume_changed(Case(), ready_volume()))
    states = [desk.plan]
    for change, arguments in [
        (create_path, (PATH,)),
        (create_zone, (ZONE,)),
        (update_path, ("P1", {"permitted_zone_ids": ["Z1"], "label": "a"})),
        (update_zone, ("Z1", {"shape": {"radius_mm": 6}})),
        (create_path, (PATH | {"label": "second"},)),
        (set_stage, ("P1", {"stage": "placed"})),
        (delete_zone, ("Z1",)),
        (delete_path, ("P1",)),
    ]:
        desk.do(change, *arguments)
        states.append(desk.plan)
    restarted(desk)
    for wanted in reversed(states[:-1]):
        desk.do(undo)
        assert desk.plan == wanted
    with pytest.raises(CaseError) as caught:
        undo(desk.case)
    assert caught.value.code == "nothing_to_undo"
    restarted(desk)
    for wanted in states[1:]:
        desk.do(redo)
        assert desk.plan == wanted
    with pytest.raises(CaseError) as caught:
        redo(desk.case)
    assert caught.value.code == "nothing_to_redo"


def test_undo_says_what_it_took_back() -> None:
    desk = Desk()
    desk.do(create_path, PATH)
    desk.do(create_zone, ZONE)
    told = desk.do(undo)
    assert (told.what, told.items, told.undo_left, told.redo_left) == ("create zone Z1", (("zone", "Z1"),), 1, 1)
    assert desk.lines[-1].what == "undo: create zone Z1"
    assert desk.do(redo).what == "create zone Z1"
    assert desk.lines[-1].what == "redo: create zone Z1"


def test_an_edit_ends_what_can_be_redone() -> None:
    desk = Desk()
    desk.do(create_path, PATH)
    desk.do(undo)
    desk.do(create_zone, ZONE)
    with pytest.raises(CaseError, match="redo"):
        redo(desk.case)


def test_ids_are_not_used_again_after_an_undo() -> None:
    desk = Desk()
    desk.do(create_path, PATH)
    desk.do(undo)
    assert desk.do(create_path, PATH).id == "P2"


def test_a_new_case_cannot_be_undone_and_the_audit_keeps_what_it_took() -> None:
    desk = Desk(volume_changed(Case(), ready_volume()))
    desk.do(create_path, PATH)
    desk.do(new_case)
    assert desk.case.history.done == desk.case.history.undone == ()
    assert desk.lines[-1].what == "new case"
    deleted = next(change for change in desk.lines[-1].changes if change.kind == "path")
    assert (deleted.id, deleted.after) == ("P1", None)
    assert deleted.before is not None
    assert deleted.before["target_lps_mm"] == [0, 0, 0]
    with pytest.raises(CaseError):
        undo(desk.case)


def test_undo_keeps_to_the_last_steps() -> None:
    desk = Desk()
    for _ in range(5):
        desk.do(create_path, PATH, most=3)
    assert len(desk.case.history.done) == 3
    for _ in range(3):
        desk.do(undo)
    assert [path.id for path in desk.case.paths] == ["P1", "P2"]


def test_a_path_deleted_before_the_volume_comes_back_in_its_frame() -> None:
    desk = Desk()
    desk.do(create_path, PATH)
    desk.do(create_zone, ZONE)
    desk.do(delete_path, "P1")
    desk.do(delete_zone, "Z1")
    desk.do(volume_changed, ready_volume(), author=Author(via="dicom"))
    desk.do(activate_volume_of_another_frame)
    desk.do(undo)
    desk.do(undo)
    assert [(path.frame_of_reference_uid, path.patient_id) for path in desk.case.paths] == [("1.2.3.4", "PAT1")]
    assert [(zone.frame_of_reference_uid, zone.patient_id) for zone in desk.case.zones] == [("1.2.3.4", "PAT1")]


def activate_volume_of_another_frame(case: Case) -> Case:
    return activate_volume(volume_changed(case, ready_volume(2, frame_of_reference_uid="9.9")), "V2")


def test_what_changed_since_by_other_means_is_not_overwritten() -> None:
    desk = Desk()
    desk.do(create_path, PATH)
    desk.do(update_path, "P1", {"label": "mine", "diameter_mm": 4})
    elsewhere, _ = update_path(desk.case, "P1", {"label": "theirs"})
    desk.case = replace(elsewhere, history=desk.case.history)
    with pytest.raises(CaseError) as caught:
        undo(desk.case)
    assert caught.value.code == "changed_since"
    # What else of it has changed is none of this edit's business, and stays.
    elsewhere, _ = update_path(desk.case, "P1", {"label": "mine", "approach": "transiliac"})
    desk.case = replace(elsewhere, history=desk.case.history)
    desk.do(undo)
    path = desk.case.paths[0]
    assert (path.label, path.diameter_mm, path.approach) == ("P1", 3.2, "transiliac")


def test_what_is_gone_by_other_means_is_not_made_anew() -> None:
    desk = Desk()
    desk.do(create_path, PATH)
    desk.do(update_path, "P1", {"label": "a"})
    desk.case = replace(delete_path(desk.case, "P1"), history=desk.case.history)
    with pytest.raises(CaseError) as caught:
        undo(desk.case)
    assert caught.value.code == "changed_since"


def test_a_plan_sent_again_changes_its_path_after_an_undo_too() -> None:
    desk = Desk()
    item = PlanItem(name="S1", entry_lps_mm=(0, 0, 50), target_lps_mm=(0, 0, 0), diameter_mm=3)
    desk.do(lambda case: paths_from_plan(case, [item])[0])
    desk.do(delete_path, "P1")
    desk.do(undo)
    desk.do(lambda case: paths_from_plan(case, [item])[0])
    assert [path.id for path in desk.case.paths] == ["P1"]


def test_a_peers_drag_is_one_step_and_each_line_of_it_is_kept() -> None:
    desk = Desk()
    slicer = Author(via="openigtlink", peer="127.0.0.1:5001")

    def drag(z_mm: float, at: str) -> None:
        item = PlanItem(name="S1", entry_lps_mm=(0, 0, 50), target_lps_mm=(0, 0, z_mm), diameter_mm=3)
        desk.do(lambda case: paths_from_plan(case, [item])[0], author=slicer, at=f"2026-11-21T08:00:{at}+00:00")

    drag(0, "00.000")
    for step in range(1, 10):
        drag(step, f"0{step % 10}.500")
    drag(10, "30.000")
    assert len(desk.lines) == 11
    assert len(desk.case.history.done) == 3
    targets = []
    for _ in range(3):
        desk.do(undo)
        targets.append([path.target_lps_mm[2] for path in desk.case.paths])
    assert targets == [[9.0], [0.0], []]


def test_an_operators_edits_are_each_a_step() -> None:
    desk = Desk()
    desk.do(create_path, PATH)
    desk.do(update_path, "P1", {"diameter_mm": 4})
    desk.do(update_path, "P1", {"diameter_mm": 5})
    desk.do(undo)
    assert desk.case.paths[0].diameter_mm == 4


# Audit -----------------------------------------------------------------------------------------------------------


def test_a_line_says_who_changed_what_from_what_to_what() -> None:
    desk = Desk(volume_changed(Case(), ready_volume()))
    desk.do(create_path, PATH)
    desk.do(update_path, "P1", {"label": "S1 links"}, at="2026-11-21T08:09:10.123+00:00")
    line = json.loads(msgspec.json.encode(desk.lines[-1]))
    assert line == {
        "number": 0,
        "at": "2026-11-21T08:09:10.123+00:00",
        "via": "http",
        "peer": "127.0.0.1:5000",
        "operator": "Dr. Ä",
        "what": "change path P1: label",
        "epoch": 1,
        "changes": [
            {"kind": "path", "id": "P1", "before": {"label": "P1"}, "after": {"label": "S1 links"}, "place": 0}
        ],
    }


def test_what_changes_nothing_makes_no_line_and_no_step() -> None:
    desk = Desk()
    desk.do(create_path, PATH)
    desk.do(update_path, "P1", {"diameter_mm": 3.2})
    assert (len(desk.lines), len(desk.case.history.done)) == (1, 1)


def test_the_volume_that_counts_is_in_the_audit_and_no_step_to_undo() -> None:
    desk = Desk()
    desk.do(create_path, PATH)
    desk.do(volume_changed, ready_volume())
    assert desk.lines[-1].what == "change path P1: frame_of_reference_uid, patient_id; " + (
        "change case: active_volume_id, frame_of_reference_uid, patient_id, study_instance_uid, epoch"
    )
    desk.do(update_case, {"shared_frame_confirmed": True})
    assert desk.lines[-1].what == "change case: shared_frame_confirmed"
    assert len(desk.case.history.done) == 1


def test_a_long_change_is_told_in_short() -> None:
    desk = Desk()

    def many(case: Case) -> Case:
        for _ in range(9):
            case, _ = create_path(case, PATH)
        return case

    desk.do(many)
    assert desk.lines[-1].what.endswith("create path P5; and 4 more")
    assert len(desk.lines[-1].changes) == 9
    desk.do(undo)
    assert desk.case.paths == ()


# Property --------------------------------------------------------------------------------------------------------

_EDITS = st.sampled_from(["create", "zone", "label", "permit", "move", "stage", "back", "radius", "delete", "unzone"])


@given(st.lists(st.tuples(_EDITS, st.integers(0, 3), st.integers(0, 99)), max_size=25), st.booleans())
def test_whatever_was_done_undo_leads_to_the_beginning_and_redo_to_the_end(
    edits: list[tuple[str, int, int]], restart: bool
) -> None:
    desk = Desk(volume_changed(Case(), ready_volume()))
    beginning, states = desk.plan, []
    for edit, which, value in edits:
        path, zone = f"P{which + 1}", f"Z{which + 1}"
        change, arguments = {
            "create": (create_path, (PATH,)),
            "zone": (create_zone, (ZONE,)),
            "label": (update_path, (path, {"label": f"{value}"})),
            "permit": (update_path, (path, {"permitted_zone_ids": [zone]})),
            "move": (update_path, (path, {"target_lps_mm": [value, 0, 0]})),
            "stage": (set_stage, (path, {"stage": "placed"})),
            "back": (set_stage, (path, {"stage": "planned"})),
            "radius": (update_zone, (zone, {"shape": {"radius_mm": value + 1}})),
            "delete": (delete_path, (path,)),
            "unzone": (delete_zone, (zone,)),
        }[edit]
        before = desk.plan
        try:
            desk.do(change, *arguments)
        except CaseError:
            continue
        if desk.plan != before:
            states.append(desk.plan)
    end = desk.plan
    if restart:
        restarted(desk)
    while desk.case.history.done:
        desk.do(undo)
        states.pop()
        assert desk.plan == (states[-1] if states else beginning)
    if restart:
        restarted(desk)
    while desk.case.history.undone:
        desk.do(redo)
    assert desk.plan == end
