"""A path's stages, and what may be edited while an instrument lies in the patient."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from guidance.case import (
    BadFieldsError,
    Case,
    create_path,
    create_zone,
    next_stages,
    paths_from_plan,
    replace_path,
    set_stage,
    tried_path,
    update_path,
)
from guidance.errors import CaseError
from guidance.messages import AblationSetting, PathStage, PlanItem
from tests.helpers.case_api import ready_volume

FIELDS: dict[str, Any] = {"entry_lps_mm": [-40.0, 30.0, 10.0], "target_lps_mm": [0.0, 0.0, 0.0], "diameter_mm": 3.2}
LIBRARY = {"screw_7_3": 7.3, "guidepin_3_2": 3.2}

# Written down once more, from the clinical order: what is not here is refused.
STEPS = {
    ("planned", "placed"),
    ("placed", "verified"),
    ("placed", "planned"),
    ("verified", "screw_in"),
    ("verified", "cemented"),
    ("verified", "placed"),
    ("verified", "planned"),
    ("screw_in", "cemented"),
    ("screw_in", "verified"),
    ("screw_in", "planned"),
}
WAY = {
    "planned": [],
    "placed": ["placed"],
    "verified": ["placed", "verified"],
    "screw_in": ["placed", "verified", "screw_in"],
    "cemented": ["placed", "verified", "screw_in", "cemented"],
}


def at(stage: str) -> Case:
    case, _ = create_path(Case(), FIELDS)
    for step in WAY[stage]:
        case, _ = set_stage(case, "P1", {"stage": step})
    return case


@pytest.mark.parametrize(("before", "after"), list(product(WAY, WAY)))
def test_steps(before: str, after: str) -> None:
    case = at(before)
    assert case.paths[0].stage == before
    if (before, after) in STEPS or before == after:
        for step in (set_stage, update_path):
            _, path = step(case, "P1", {"stage": after})
            assert path.stage is PathStage(after)
    else:
        with pytest.raises(CaseError) as caught:
            set_stage(case, "P1", {"stage": after})
        assert caught.value.code == "no_such_step"
        assert caught.value.mend
    assert (PathStage(after) in next_stages(PathStage(before))) is ((before, after) in STEPS)


@pytest.mark.parametrize(
    "fields", [{}, {"stage": None}, {"stage": "done"}, {"stage": 3}, {"stage": "placed", "label": "x"}]
)
def test_a_stage_that_is_none(fields: dict[str, Any]) -> None:
    with pytest.raises(BadFieldsError):
        set_stage(at("planned"), "P1", fields)


@pytest.mark.parametrize("stage", ["placed", "verified", "screw_in", "cemented"])
def test_a_path_with_an_instrument_in_it_is_not_moved(stage: str) -> None:
    case = at(stage)
    moves: list[Any] = [
        lambda: update_path(case, "P1", {"target_lps_mm": [0, 0, 1]}),
        lambda: replace_path(case, "P1", FIELDS | {"entry_lps_mm": [0, 0, 50]}),
    ]
    for move in moves:
        with pytest.raises(CaseError) as caught:
            move()
        assert caught.value.code == "path_in_patient"
    # The same ends written back, and what doesn't move it, are no move.
    _, same = replace_path(case, "P1", FIELDS | {"label": "neu"})
    assert (same.stage, same.label) == (PathStage(stage), "neu")
    # What if it were elsewhere may always be asked.
    assert tried_path(case, "P1", {"target_lps_mm": [0, 0, 1]}).target_lps_mm == (0, 0, 1)


def test_a_pin_gives_way_to_a_screw_until_cement_holds_it() -> None:
    _, path = update_path(at("verified"), "P1", {"instrument": "screw_7_3"}, diameter_of=LIBRARY.get)
    assert path.diameter_mm == 7.3
    with pytest.raises(CaseError, match="diameter_mm cannot change"):
        update_path(at("cemented"), "P1", {"diameter_mm": 7.3})


def test_back_to_planned_and_moved_in_one_request() -> None:
    _, path = update_path(at("placed"), "P1", {"stage": "planned", "target_lps_mm": [0, 0, 1]})
    assert (path.stage, path.target_lps_mm) == (PathStage.PLANNED, (0, 0, 1))


def test_a_peers_plan_does_not_move_a_placed_path() -> None:
    item = PlanItem(name="S1", entry_lps_mm=(-40, 30, 10), target_lps_mm=(0, 0, 0), diameter_mm=3.2)
    case, made, _ = paths_from_plan(Case(), [item])
    case, _ = set_stage(case, made[0].id, {"stage": "placed"})
    again, _, refused = paths_from_plan(case, [item])
    assert (again.paths, refused) == (case.paths, ())
    moved = PlanItem(name="S1", entry_lps_mm=(-40, 30, 11), target_lps_mm=(0, 0, 0), diameter_mm=3.2)
    again, _, refused = paths_from_plan(case, [moved])
    assert again.paths == case.paths
    assert [error.code for error in refused] == ["path_in_patient"]


# The other new fields of a path ------------------------------------------------------------------------------------


def test_a_new_path_is_planned() -> None:
    _, path = create_path(Case(), FIELDS | {"stage": "planned"})
    assert path.stage is PathStage.PLANNED
    with pytest.raises(BadFieldsError, match="stage"):
        create_path(Case(), FIELDS | {"stage": "placed"})


def test_an_instrument_of_the_library_brings_its_diameter() -> None:
    ends = {name: FIELDS[name] for name in ("entry_lps_mm", "target_lps_mm")}
    case, path = create_path(Case(), ends | {"instrument": "screw_7_3"}, diameter_of=LIBRARY.get)
    assert path.diameter_mm == 7.3
    _, given = create_path(Case(), FIELDS | {"instrument": "screw_7_3", "diameter_mm": 8}, diameter_of=LIBRARY.get)
    assert given.diameter_mm == 8
    with pytest.raises(BadFieldsError, match="diameter_mm: is required, for 'a wire' is not in the library"):
        create_path(Case(), ends | {"instrument": "a wire"}, diameter_of=LIBRARY.get)
    _, pin = update_path(case, "P1", {"instrument": "guidepin_3_2"}, diameter_of=LIBRARY.get)
    assert pin.diameter_mm == 3.2
    _, words = update_path(case, "P1", {"instrument": "a wire"}, diameter_of=LIBRARY.get)
    assert words.diameter_mm == 7.3
    _, put = replace_path(case, "P1", ends | {"instrument": "guidepin_3_2"}, diameter_of=LIBRARY.get)
    assert put.diameter_mm == 3.2


def test_a_wider_path_of_the_same_instrument_stays_as_wide() -> None:
    case, _ = create_path(Case(), FIELDS | {"instrument": "screw_7_3", "diameter_mm": 8}, diameter_of=LIBRARY.get)
    _, path = update_path(case, "P1", {"instrument": "screw_7_3", "label": "x"}, diameter_of=LIBRARY.get)
    assert path.diameter_mm == 8


def test_permissions_name_zones_that_are_there() -> None:
    joint = {
        "name": "SI joint",
        "site": "si_joint",
        "kind": "keep_out",
        "shape": {"type": "sphere", "center_lps_mm": [0, 0, 0], "radius_mm": 9},
    }
    case, _ = create_zone(Case(volumes=(ready_volume(),)), joint)
    case, path = create_path(case, FIELDS | {"permitted_zone_ids": ["Z1", "Z1"]})
    assert path.permitted_zone_ids == ("Z1",)
    for change in (create_path, lambda case, fields: update_path(case, "P1", fields)):
        with pytest.raises(BadFieldsError, match="there is no zone Z9"):
            change(case, FIELDS | {"permitted_zone_ids": ["Z1", "Z9"]})
    _, bare = update_path(case, "P1", {"permitted_zone_ids": None})
    assert bare.permitted_zone_ids == ()


def test_bevel_and_ablation() -> None:
    case, path = create_path(Case(), FIELDS | {"bevel_deg": -90, "ablation": {"power_w": 0, "time_s": 600}})
    assert (path.bevel_deg, path.ablation) == (-90, AblationSetting(power_w=0, time_s=600))
    _, bare = update_path(case, "P1", {"bevel_deg": None, "ablation": None})
    assert (bare.bevel_deg, bare.ablation) == (None, None)


@pytest.mark.parametrize(
    "change",
    [
        {"bevel_deg": 361},
        {"bevel_deg": "up"},
        {"ablation": {"power_w": 40}},
        {"ablation": {"power_w": 40, "time_s": 0}},
        {"ablation": {"power_w": -1, "time_s": 60}},
        {"ablation": {"power_w": 40, "time_s": 60, "mode": "x"}},
        {"ablation": 40},
        {"permitted_zone_ids": "Z1"},
        {"permitted_zone_ids": [1]},
        {"permitted_zone_ids": ["Z1"] * 65},
        {"stage": "PLANNED"},
    ],
    ids=str,
)
def test_a_bad_field_is_named(change: dict[str, Any]) -> None:
    with pytest.raises(BadFieldsError) as caught:
        create_path(Case(), FIELDS | change)
    assert [error.field for error in caught.value.errors] == list(change)
