"""The committed schemas are those of the code, and real answers fit them."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from starlette.routing import Route

from drivers.cli import main
from drivers.commands.schemas import schema_files
from drivers.http_api import CaseRoutes
from drivers.http_cement import CementRoutes
from drivers.http_planning import PlanningRoutes
from drivers.http_registration import RegistrationRoutes
from drivers.http_requests import PREFIX
from guidance.case import AuditPage, Author, create_zone, no_library
from guidance.openapi import openapi_document
from guidance.plan_shapes import PathFields, PathList, ZoneFields, ZoneList, path_shape, zone_shape
from guidance.shapes import CaseAnswer, Problem, VolumeList, case_shape, volume_shape
from tests.helpers.case_api import FakeCaseApi, ready_volume
from tests.helpers.cement import FakeCementApi
from tests.helpers.planning_api import FakePlanningApi
from tests.helpers.registration_api import FakeRegistrationApi

COMMITTED = Path(__file__).parents[2] / "docs" / "schemas"


@pytest.mark.parametrize("name", sorted(schema_files()))
def test_committed_schema_is_current(name: str) -> None:
    committed = COMMITTED / name
    assert committed.is_file(), f"{name} is missing: run `make schemas`"
    assert committed.read_text(encoding="utf-8") == schema_files()[name], "run `make schemas`"


def test_nothing_else_lies_there() -> None:
    assert {path.name for path in COMMITTED.iterdir()} == set(schema_files())


def test_command_writes_them(tmp_path: Path) -> None:
    assert main(["schemas", str(tmp_path / "new")]) == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "new").iterdir()} == schema_files()


def test_answers_fit_their_shapes_and_references_resolve() -> None:
    api = FakeCaseApi()
    api.take_volume(ready_volume())
    path = api.create_path({"entry_lps_mm": [0, 0, 9], "target_lps_mm": [0, 0, 0], "diameter_mm": 3})
    ball = {"type": "sphere", "center_lps_mm": [0, 0, 0], "radius_mm": 5}
    fields = {"name": "ball", "site": "lesion", "kind": "target", "shape": ball}
    zone = api.edit(lambda case: create_zone(case, fields), author=Author(via="server"))
    case = api.case()
    for shape, answer in (
        (ZoneList, ZoneList(items=(zone_shape(case, zone),))),
        (AuditPage, api.audit()),
        (CaseAnswer, case_shape(case)),
        (PathList, PathList(items=(path_shape(case, path),))),
        (VolumeList, VolumeList(items=tuple(volume_shape(case, volume) for volume in case.volumes))),
    ):
        assert msgspec.json.decode(msgspec.json.encode(answer), type=shape, strict=True) == answer
    text = json.dumps(openapi_document())
    references = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert references <= set(openapi_document()["components"]["schemas"])
    assert {Problem.__name__, PathFields.__name__, ZoneFields.__name__} <= references


def test_every_resource_of_the_server_is_in_the_document_with_its_methods() -> None:
    routes = {
        route.path.removeprefix(PREFIX): {method.lower() for method in route.methods or ()} - {"head"}
        for route in (
            *CaseRoutes(FakeCaseApi(), no_library).routes(),
            *PlanningRoutes(FakeCaseApi(), FakePlanningApi(), maximum_import_mib=1).routes(),
            *RegistrationRoutes(FakeRegistrationApi()).routes(),
            *CementRoutes(FakeCementApi()).routes(),
        )
        if isinstance(route, Route)
    }
    told = {
        path: {method for method in operations if method != "parameters"}
        for path, operations in openapi_document()["paths"].items()
    }
    assert told == routes
