"""Plans from files: whole or not at all; what was exported and brought back changes what it was made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from guidance.case import BadFieldsError, Case, create_path, paths_from_plan, set_stage, take_plan, volume_changed
from guidance.errors import CaseError
from guidance.messages import PlanItem, SphereShape, Zone, ZoneKind, ZoneSite
from guidance.wire.markups import markups_of, read_markups
from tests.helpers.case_api import ready_volume

PATH: dict[str, Any] = {"entry_lps_mm": [-40, 30, 10], "target_lps_mm": [0, 0, 0], "diameter_mm": 7.3, "label": "S1"}
LINE = PlanItem(name="S1", entry_lps_mm=(-40, 30, 10), target_lps_mm=(0, 0, 5), diameter_mm=0)
BALL = Zone(
    id="",
    name="ball",
    site=ZoneSite.LESION,
    kind=ZoneKind.TARGET,
    shape=SphereShape(center_lps_mm=(0, 0, 0), radius_mm=5),
    origin="markups",
)


def planned() -> Case:
    case, _ = create_path(volume_changed(Case(), ready_volume()), PATH)
    return case


def test_a_line_changes_the_path_that_has_its_name_as_label_and_keeps_its_diameter() -> None:
    case, (paths, zones) = take_plan(planned(), [LINE], [BALL], diameter_mm=3.2)
    assert [(path.id, path.target_lps_mm, path.diameter_mm) for path in case.paths] == [("P1", (0, 0, 5), 7.3)]
    assert (paths, [zone.id for zone in zones]) == (case.paths, ["Z1"])
    again, (_, zones) = take_plan(case, [LINE], [BALL])
    assert (again.paths, again.zones, zones) == (case.paths, case.zones, ())


def test_a_label_that_two_paths_have_is_no_name() -> None:
    case, _ = create_path(planned(), PATH)
    case, (paths, _) = take_plan(case, [LINE], diameter_mm=3.2)
    assert [(path.id, path.diameter_mm) for path in paths] == [("P3", 3.2)]


def test_a_path_of_another_frame_is_not_meant() -> None:
    case = planned()
    case = replace(case, paths=(replace(case.paths[0], frame_of_reference_uid="7.7"),))
    _, (paths, _) = take_plan(case, [LINE], diameter_mm=3.2)
    assert [path.id for path in paths] == ["P2"]


def test_points_without_a_name_make_a_path_that_is_called_by_its_id() -> None:
    case, (made,), _ = paths_from_plan(Case(), [replace(LINE, name="", diameter_mm=2)])
    assert made.label == made.id == "P1"
    moved, _, _ = paths_from_plan(case, [replace(LINE, name="", diameter_mm=2, target_lps_mm=(1, 2, 3))])
    assert [(path.label, path.target_lps_mm) for path in moved.paths] == [("P1", (1, 2, 3))]


def test_nothing_is_taken_where_something_is_refused() -> None:
    case = planned()
    new = replace(LINE, name="new")
    with pytest.raises(BadFieldsError, match=r"diameter_mm: is not told for 'new'; give \?diameter_mm=3.2") as error:
        take_plan(case, [LINE, new])
    assert [fault.field for fault in error.value.errors] == ["diameter_mm"]
    placed, _ = set_stage(case, "P1", {"stage": "placed"})
    with pytest.raises(BadFieldsError, match="an instrument lies there"):
        take_plan(placed, [LINE])
    with pytest.raises(CaseError, match="ball"):
        take_plan(case, [LINE], [replace(BALL, shape=SphereShape(center_lps_mm=(0, 0, 0), radius_mm=0))])


def test_an_exported_plan_brought_back_changes_nothing() -> None:
    case, _ = take_plan(planned(), [], [BALL])
    read = read_markups(markups_of(case.paths, case.zones), origin="plan.mrk.json")
    zones = [replace(BALL, name=zone.name, shape=zone.shape, site=zone.site, kind=zone.kind) for zone in read.zones]
    again, (paths, made) = take_plan(case, read.paths, zones)
    assert (again.paths, again.zones, made) == (case.paths, case.zones, ())
    assert [path.id for path in paths] == ["P1"]
