"""The case: which volume counts, what a path may be, what survives a restart."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guidance.case import (
    MAXIMUM_PATHS,
    BadFieldsError,
    Case,
    activate_volume,
    case_from_json,
    case_to_json,
    confirm_shared_frame,
    create_path,
    delete_path,
    drawable_paths,
    find_path,
    forget_volume,
    new_case,
    paths_from_plan,
    paths_in_other_frames,
    replace_path,
    update_case,
    update_path,
    volume_changed,
)
from guidance.errors import CaseError
from guidance.messages import CbctVolume, Finding, PlanItem, Severity, VolumeState

FIELDS: dict[str, Any] = {"entry_lps_mm": [-40.0, 30.0, 10.0], "target_lps_mm": [0.0, 0.0, 0.0], "diameter_mm": 3.2}
FRAME, OTHER_FRAME = "1.2.3.4", "1.2.3.5"


def volume(number: int = 1, **members: Any) -> CbctVolume:
    made = CbctVolume(
        id=f"V{number}",
        series_instance_uid=f"1.2.3.{number}.1",
        study_instance_uid="1.2.3",
        patient_id="PAT1",
        frame_of_reference_uid=FRAME,
        state=VolumeState.READY,
        shape_kji=(2, 3, 4),
        affine_lps_from_ijk=tuple(float(number) for _ in range(16)),
    )
    return replace(made, **members)


def taken(*volumes: CbctVolume, case: Case | None = None) -> Case:
    held = case or Case()
    for one in volumes:
        held = volume_changed(held, one)
    return held


def code_of(error: pytest.ExceptionInfo[CaseError]) -> str:
    return error.value.code


# Volumes ---------------------------------------------------------------------------------------------------------


def test_first_ready_volume_of_an_empty_case_becomes_active_by_itself() -> None:
    case = taken(volume(1, state=VolumeState.RECEIVING), volume(2, state=VolumeState.REFUSED))
    assert (case.active, case.epoch) == (None, 0)
    case = taken(volume(1), case=case)
    assert (case.active_volume_id, case.epoch, case.patient_id) == ("V1", 1, "PAT1")


def test_newer_volume_of_the_same_patient_and_study_asks() -> None:
    case = taken(volume(1), volume(2, state=VolumeState.RECEIVING))
    assert case.question is None
    case = taken(volume(2), case=case)
    assert (case.active_volume_id, case.epoch) == ("V1", 1)
    assert case.question is not None
    assert case.question.volume_id == "V2"
    yes = update_case(case, {"active_volume_id": "V2"})
    assert (yes.active_volume_id, yes.epoch, yes.question) == ("V2", 2, None)
    no = update_case(case, {"active_volume_id": "V1"})
    assert (no.active_volume_id, no.epoch, no.question) == ("V1", 1, None)


@pytest.mark.parametrize("stranger", [{"patient_id": "PAT2"}, {"study_instance_uid": "9.9"}, {"patient_id": ""}])
def test_another_patients_volume_neither_counts_nor_asks_until_it_is_chosen(stranger: dict[str, str]) -> None:
    case = taken(volume(1), volume(2, **stranger))
    assert (case.active_volume_id, case.question) == ("V1", None)
    assert activate_volume(case, "V2").active_volume_id == "V2"


def test_question_ends_when_its_volume_is_reopened_or_forgotten() -> None:
    case = taken(volume(1), volume(2))
    assert taken(volume(2, state=VolumeState.RECEIVING), case=case).question is None
    assert forget_volume(case, "V2").question is None


@pytest.mark.parametrize("state", [VolumeState.RECEIVING, VolumeState.REFUSED])
def test_volume_that_is_not_ready_cannot_be_chosen(state: VolumeState) -> None:
    finding = Finding(code="missing_slices", severity=Severity.ERROR, message="slice 7 is missing")
    case = taken(volume(1), volume(2, state=state, findings=(finding,)))
    with pytest.raises(CaseError, match="slice 7 is missing") as caught:
        activate_volume(case, "V2")
    assert code_of(caught) == "volume_not_ready"


def test_reopened_active_volume_stays_and_a_changed_grid_is_a_new_epoch() -> None:
    case = confirm_shared_frame(taken(volume(1)), True)
    receiving = taken(volume(1, state=VolumeState.RECEIVING), case=case)
    assert (receiving.active_volume_id, receiving.epoch) == ("V1", 1)
    same = taken(volume(1), case=receiving)
    assert (same.epoch, same.shared_frame_confirmed) == (1, True)
    grown = taken(volume(1, shape_kji=(3, 3, 4)), case=receiving)
    assert (grown.active_volume_id, grown.epoch, grown.shared_frame_confirmed) == ("V1", 2, False)


def test_active_volume_that_is_refused_later_counts_no_more() -> None:
    case = taken(volume(1), volume(1, state=VolumeState.REFUSED))
    assert (case.active, case.epoch) == (None, 2)
    # The patient is known, so the next one asks instead of slipping in.
    again = taken(volume(1), case=case)
    assert again.active is None
    assert again.question is not None


def test_confirmation_needs_a_volume_and_ends_with_the_epoch() -> None:
    with pytest.raises(CaseError) as caught:
        update_case(Case(), {"shared_frame_confirmed": True})
    assert code_of(caught) == "no_active_volume"
    case = update_case(taken(volume(1), volume(2)), {"shared_frame_confirmed": True})
    assert case.shared_frame_confirmed
    assert not activate_volume(case, "V2").shared_frame_confirmed
    both = update_case(case, {"active_volume_id": "V2", "shared_frame_confirmed": True})
    assert (both.epoch, both.shared_frame_confirmed) == (2, True)


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({}, ["active_volume_id"]),
        ({"active_volume_id": None}, ["active_volume_id"]),
        ({"active_volume_id": ""}, ["active_volume_id"]),
        ({"shared_frame_confirmed": 1}, ["shared_frame_confirmed"]),
        ({"epoch": 3}, ["epoch"]),
    ],
)
def test_case_update_refused(fields: dict[str, Any], at_fault: list[str]) -> None:
    with pytest.raises(BadFieldsError) as caught:
        update_case(taken(volume(1)), fields)
    assert [error.field for error in caught.value.errors] == at_fault


def test_new_case_keeps_volumes_and_never_repeats_an_epoch() -> None:
    case, _ = create_path(taken(volume(1)), FIELDS)
    fresh = new_case(case)
    assert (fresh.paths, fresh.active, fresh.patient_id, fresh.epoch) == ((), None, None, 2)
    assert fresh.volumes == case.volumes
    assert taken(volume(2, patient_id="PAT2"), case=fresh).epoch == 3
    assert create_path(fresh, FIELDS)[1].id == "P2"


# Paths -----------------------------------------------------------------------------------------------------------


def test_paths_get_ids_that_are_never_reused_and_colours_apart() -> None:
    case, first = create_path(Case(), FIELDS)
    case, second = create_path(case, FIELDS | {"label": "S1", "color": "#ABCDEF"})
    assert (first.id, first.label, second.id, second.label, second.color) == ("P1", "P1", "P2", "S1", "#ABCDEF")
    case, third = create_path(delete_path(case, "P2"), FIELDS)
    assert third.id == "P3"
    assert third.color != first.color


@pytest.mark.parametrize(
    ("change", "at_fault"),
    [
        pytest.param({"entry_lps_mm": None}, ["entry_lps_mm"], id="missing"),
        pytest.param({"entry_lps_mm": [0, 0, "0"]}, ["entry_lps_mm"], id="text"),
        pytest.param({"entry_lps_mm": [0, 0, True]}, ["entry_lps_mm"], id="bool"),
        pytest.param({"entry_lps_mm": {"x": 1}}, ["entry_lps_mm"], id="object"),
        pytest.param({"entry_lps_mm": [0, 0, math.nan]}, ["entry_lps_mm"], id="nan"),
        pytest.param({"target_lps_mm": [0, math.inf, 0]}, ["target_lps_mm"], id="infinite"),
        pytest.param({"target_lps_mm": [0, 5000.1, 0]}, ["target_lps_mm"], id="far"),
        pytest.param({"target_lps_mm": [0, 10**400, 0]}, ["target_lps_mm"], id="huge-integer"),
        pytest.param({"entry_lps_mm": [0, 0, 0.05]}, ["target_lps_mm"], id="no-direction"),
        pytest.param({"diameter_mm": 0}, ["diameter_mm"], id="zero"),
        pytest.param({"diameter_mm": -1}, ["diameter_mm"], id="negative"),
        pytest.param({"diameter_mm": 50.01}, ["diameter_mm"], id="thick"),
        pytest.param({"color": "#12345"}, ["color"], id="short-colour"),
        pytest.param({"color": "#12345g"}, ["color"], id="no-hex"),
        pytest.param({"color": "#123456\n"}, ["color"], id="newline"),
        pytest.param({"label": "x" * 65}, ["label"], id="long-label"),
        pytest.param({"label": "a\x07"}, ["label"], id="control"),
        pytest.param({"label": "\ud800"}, ["label"], id="surrogate"),
        pytest.param({"instrument": 7}, ["instrument"], id="instrument"),
        pytest.param({"id": "P7"}, ["id"], id="own-id"),
        pytest.param({"diameter_mm": None, "color": "x", "depth": 3}, ["color", "depth", "diameter_mm"], id="three"),
    ],
)
def test_field_at_fault_is_named_and_nothing_changes(change: dict[str, Any], at_fault: list[str]) -> None:
    with pytest.raises(BadFieldsError) as caught:
        create_path(Case(), FIELDS | change)
    assert sorted(error.field for error in caught.value.errors) == at_fault
    assert all(error.message for error in caught.value.errors)


@pytest.mark.parametrize("new_id", ["P12345678901", "P 1", "Ü1", "a-b"])
def test_given_id_must_fit_a_device_name(new_id: str) -> None:
    with pytest.raises(BadFieldsError):
        create_path(Case(), FIELDS, new_id=new_id)


def test_given_id_must_be_free() -> None:
    case, _ = create_path(Case(), FIELDS, new_id="left")
    with pytest.raises(CaseError) as caught:
        create_path(case, FIELDS, new_id="left")
    assert code_of(caught) == "path_exists"


def test_case_has_room_for_so_many_paths() -> None:
    case = Case()
    for _ in range(MAXIMUM_PATHS):
        case, _ = create_path(case, FIELDS)
    with pytest.raises(CaseError) as caught:
        create_path(case, FIELDS)
    assert code_of(caught) == "too_many_paths"


@pytest.mark.parametrize("change", [find_path, delete_path, lambda case, path_id: update_path(case, path_id, {})])
def test_unknown_path_is_named(change: Any) -> None:
    with pytest.raises(CaseError, match="P9") as caught:
        change(Case(), "P9")
    assert code_of(caught) == "unknown_path"


def test_patch_changes_what_is_given_and_null_gives_the_default() -> None:
    case, path = create_path(Case(), FIELDS | {"label": "S1", "instrument": "pin", "color": "#112233"})
    case, changed = update_path(case, path.id, {"diameter_mm": 5, "instrument": None, "label": None})
    assert changed == replace(path, diameter_mm=5.0, instrument="", label="P1")
    for fields in ({"diameter_mm": None}, {"target_lps_mm": list(FIELDS["entry_lps_mm"])}, {"id": "P2"}):
        with pytest.raises(BadFieldsError):
            update_path(case, path.id, fields)


def test_put_replaces_all_but_the_colour() -> None:
    case, path = create_path(Case(), FIELDS | {"label": "S1", "instrument": "pin", "color": "#112233"})
    _, replaced = replace_path(case, path.id, FIELDS | {"diameter_mm": 4})
    assert replaced == replace(path, diameter_mm=4.0, instrument="", label="P1")
    with pytest.raises(BadFieldsError):
        replace_path(case, path.id, {"diameter_mm": 4})


# Frames ----------------------------------------------------------------------------------------------------------


def test_path_of_another_frame_is_kept_but_not_drawable() -> None:
    case, path = create_path(taken(volume(1), volume(2, frame_of_reference_uid=OTHER_FRAME)), FIELDS)
    assert drawable_paths(case) == (path,)
    moved = activate_volume(case, "V2")
    assert (drawable_paths(moved), paths_in_other_frames(moved)) == ((), (path,))
    assert drawable_paths(activate_volume(moved, "V1")) == (path,)


def test_path_planned_before_any_volume_is_in_the_first_ones_frame() -> None:
    case, _ = create_path(Case(), FIELDS)
    case = taken(volume(1), volume(2, frame_of_reference_uid=OTHER_FRAME), case=case)
    assert [path.frame_of_reference_uid for path in drawable_paths(case)] == [FRAME]
    assert drawable_paths(activate_volume(case, "V2")) == ()


def test_volume_without_a_frame_shares_one_with_nothing_else() -> None:
    first, second = volume(1, frame_of_reference_uid=""), volume(2, frame_of_reference_uid="")
    case, path = create_path(taken(first, second), FIELDS)
    assert path.frame_of_reference_uid == first.series_instance_uid
    assert drawable_paths(activate_volume(case, "V2")) == ()


def test_writing_the_same_ends_back_does_not_carry_a_path_into_another_frame() -> None:
    case, path = create_path(taken(volume(1), volume(2, frame_of_reference_uid=OTHER_FRAME)), FIELDS)
    moved = activate_volume(case, "V2")
    read_back = FIELDS | {"id": path.id, "label": "neu", "in_active_frame": False}
    for fields in (read_back, read_back | {"frame_of_reference_uid": FRAME, "diameter_mm": 4}):
        assert replace_path(moved, path.id, fields)[1].frame_of_reference_uid == FRAME
    assert update_path(moved, path.id, {"label": "neu"})[1].frame_of_reference_uid == FRAME
    with pytest.raises(BadFieldsError) as caught:
        update_path(moved, path.id, {"entry_lps_mm": [1, 2, 3]})
    assert caught.value.errors[0].field == "target_lps_mm"
    both = {"entry_lps_mm": [1, 2, 3], "target_lps_mm": [4, 5, 6]}
    assert update_path(moved, path.id, both)[1].frame_of_reference_uid == OTHER_FRAME
    with pytest.raises(BadFieldsError) as caught:
        replace_path(moved, path.id, FIELDS | {"frame_of_reference_uid": "7.7"})
    assert caught.value.errors[0].field == "frame_of_reference_uid"


# Plans -----------------------------------------------------------------------------------------------------------


def item(name: str, **members: Any) -> PlanItem:
    made = PlanItem(name=name, entry_lps_mm=(0.0, 0.0, 50.0), target_lps_mm=(0.0, 0.0, 0.0), diameter_mm=3.0)
    return replace(made, **members)


def test_plan_makes_paths_and_the_same_names_change_them() -> None:
    case, made, refused = paths_from_plan(Case(), [item("S1 left", color="#010203"), item("S1 right")])
    assert ([path.label for path in made], refused) == (["S1 left", "S1 right"], ())
    assert made[0].color == "#010203"
    case, changed, _ = paths_from_plan(case, [item("S1 left", diameter_mm=7.0)])
    assert (changed[0].id, changed[0].diameter_mm, changed[0].color) == ("P1", 7.0, "#010203")
    assert len(case.paths) == 2
    # A path that the operator took away comes back only as a new one.
    _, again, _ = paths_from_plan(delete_path(case, "P1"), [item("S1 left")])
    assert again[0].id == "P3"


def test_bad_item_of_a_plan_is_named_and_the_others_go_on() -> None:
    case, made, refused = paths_from_plan(
        Case(), [item("thick", diameter_mm=0.0), item("good"), item("lost", entry_lps_mm=(math.nan, 0.0, 0.0))]
    )
    assert [path.label for path in made] == ["good"]
    assert [str(error).split(":")[0] for error in refused] == [
        "path 'thick' of the plan refused",
        "path 'lost' of the plan refused",
    ]
    assert len(case.paths) == 1


# Storage ---------------------------------------------------------------------------------------------------------


def test_restart_keeps_what_lasts_and_asks_again_for_what_does_not() -> None:
    case, path = create_path(taken(volume(1), volume(2)), FIELDS | {"label": "Schraube ä"})
    case, _, _ = paths_from_plan(confirm_shared_frame(case, True), [item("plan")])
    read = case_from_json(case_to_json(case))
    assert (read.paths, read.active, read.epoch, read.path_count) == (case.paths, case.active, 1, 2)
    assert (read.volumes, read.question, read.shared_frame_confirmed) == ((), None, False)
    announced = taken(volume(1), case=read)
    assert (announced.active_volume_id, announced.epoch, drawable_paths(announced)[0]) == ("V1", 1, path)
    assert taken(volume(1, affine_lps_from_ijk=(9.0,) * 16), case=read).epoch == 2


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda stored: stored | {"schema_version": 99}, id="version"),
        pytest.param(lambda stored: stored | {"extra": 1}, id="extra"),
        pytest.param(lambda stored: stored | {"paths": [stored["paths"][0] | {"diameter_mm": -1}]}, id="diameter"),
        pytest.param(lambda stored: stored | {"paths": stored["paths"] * 2}, id="id-twice"),
    ],
)
def test_stored_case_that_is_not_ours_is_refused(change: Any) -> None:
    case, _ = create_path(taken(volume(1)), FIELDS)
    stored = change(json.loads(case_to_json(case)))
    with pytest.raises(CaseError, match="backup") as caught:
        case_from_json(json.dumps(stored).encode())
    assert code_of(caught) == "bad_case_file"


@pytest.mark.parametrize("text", [b"", b"{", b"null", b"\xff", b"[" * 30000])
def test_broken_file_is_refused(text: bytes) -> None:
    with pytest.raises(CaseError) as caught:
        case_from_json(text)
    assert code_of(caught) == "bad_case_file"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from([*FIELDS, "label", "color", "instrument", "approach", "id"]) | st.text(max_size=5)


@given(st.dictionaries(NAMES, JSON, max_size=6), st.booleans())
def test_whatever_comes_is_a_path_or_a_named_refusal(fields: dict[str, Any], on_top: bool) -> None:
    try:
        case, path = create_path(Case(), FIELDS | fields if on_top else fields)
    except BadFieldsError:
        return
    assert case.paths == (path,)
    assert case_from_json(case_to_json(case)).paths == (path,)
    assert path.diameter_mm > 0
    assert all(math.isfinite(number) for number in (*path.entry_lps_mm, *path.target_lps_mm))


def test_a_case_that_the_first_version_stored_is_still_read() -> None:
    stored = {
        "schema_version": 1,
        "paths": [
            {
                "id": "P1",
                "entry_lps_mm": [-40.0, 30.0, 10.0],
                "target_lps_mm": [0.0, 0.0, 0.0],
                "diameter_mm": 3.2,
                "label": "S1",
                "color": "#56b4e9",
                "instrument": "",
                "approach": "",
                "frame_of_reference_uid": FRAME,
                "patient_id": "PAT1",
            }
        ],
        "active": None,
        "patient_id": "PAT1",
        "study_instance_uid": "1.2.3",
        "epoch": 3,
        "path_count": 4,
        "plan_names": [["S1", "P1"]],
        "dismissed": ["V7"],
    }
    case = case_from_json(json.dumps(stored).encode())
    assert (case.paths[0].label, case.paths[0].stage, case.paths[0].permitted_zone_ids) == ("S1", "planned", ())
    assert (case.zones, case.history.done, case.epoch, case.dismissed) == ((), (), 3, ("V7",))
    assert json.loads(case_to_json(case))["schema_version"] == 3


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param({"zones": [{"id": "Z1"}]}, id="no-zone"),
        pytest.param(
            {
                "history": {
                    "done": [
                        {
                            "what": "",
                            "author": {"via": "http"},
                            "at": "",
                            "changes": [{"kind": "path", "id": "P1", "before": {"id": "P1"}, "after": None}],
                        }
                    ]
                }
            },
            id="no-path-to-restore",
        ),
    ],
)
def test_stored_zones_and_history_that_are_not_ours_are_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(CaseError, match="backup"):
        case_from_json(json.dumps(json.loads(case_to_json(Case())) | damage).encode())
