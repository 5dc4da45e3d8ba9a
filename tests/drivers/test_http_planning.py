"""Planning over HTTP: every resource and every refusal, from a real socket, over the pure case and a fake planner."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from drivers.http import HttpServer
from guidance.case import Author, BadFieldsError, Case, FieldError, new_case, volume_changed
from guidance.config import HttpSettings
from guidance.errors import CaseError, ConfigError, GeometryError, WireError
from guidance.messages import Finding, PlanItem, Severity, SphereShape, Zone, ZoneKind, ZoneSide, ZoneSite
from guidance.plan_shapes import InstrumentList, PathList, ZoneList
from guidance.planning.answers import Clearance, Corridor, Views
from guidance.ports import NewPlan, NewZones
from tests.helpers.case_api import FakeCaseApi, ready_volume
from tests.helpers.cement import FakeCementApi
from tests.helpers.planning_api import FakePlanningApi
from tests.helpers.registration_api import FakeRegistrationApi

API = "/api/v1"
PATH = {"entry_lps_mm": [-40, 30.5, 10], "target_lps_mm": [0, 0, 0], "diameter_mm": 3.2, "label": "S1 links"}
TUBE = {"type": "tube", "points_lps_mm": [[0, 0, 0], [0, 10, 0.5]], "radius_mm": 4}
SPHERE = {"type": "sphere", "center_lps_mm": [1, 2, 3], "radius_mm": 5}
PRISM = {"type": "prism", "polygon_lps_mm": [[0, 0, 0], [9, 0, 0], [0, 9, 0]], "height_mm": 8}
ZONE: dict[str, Any] = {"name": "S1 links", "site": "foramen", "side": "left", "kind": "keep_out", "shape": TUBE}
_LIMIT_MIB = 2


@pytest.fixture
def api() -> FakeCaseApi:
    held = FakeCaseApi()
    held.take_volume(ready_volume())
    return held


@pytest.fixture
def planning() -> FakePlanningApi:
    return FakePlanningApi()


@pytest.fixture
async def client(api: FakeCaseApi, planning: FakePlanningApi) -> AsyncIterator[httpx.AsyncClient]:
    server = HttpServer(
        HttpSettings(port=0), api, planning, FakeRegistrationApi(), FakeCementApi(), maximum_import_mib=_LIMIT_MIB
    )
    await server.start()
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{server.port}{API}", trust_env=False, headers={"X-Operator": "Dr. %C3%84"}
        ) as client:
            yield client
    finally:
        await server.stop()


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert told["status"] == status
    return told


# Zones -----------------------------------------------------------------------------------------------------------


async def test_zone_is_created_read_changed_and_deleted(client: httpx.AsyncClient) -> None:
    made = await client.post("/zones", json=ZONE)
    assert made.status_code == 201
    stored = made.json()
    assert made.headers["location"] == f"{API}/zones/{stored['id']}"
    assert {key: stored[key] for key in ZONE} == ZONE
    assert stored["in_active_frame"] is True
    assert stored["frame_of_reference_uid"] == "1.2.3.4"

    url = f"/zones/{stored['id']}"
    assert (await client.get("/zones")).json() == {"items": [stored]}
    assert (await client.get(url)).json() == stored
    patched = await client.patch(
        url,
        json={"shape": {"radius_mm": 6}, "color": "#AABBCC"},
        headers={"Content-Type": "application/merge-patch+json"},
    )
    stored |= {"shape": TUBE | {"radius_mm": 6}, "color": "#AABBCC"}
    assert patched.json() == stored
    assert (await client.put(url, json=stored | {"shape": PRISM})).json() == stored | {"shape": PRISM}
    assert (await client.put(url, json=ZONE)).json() == stored | {"shape": TUBE}
    assert msgspec.json.decode((await client.get("/zones")).content, type=ZoneList).items[0].shape.radius_mm == 4

    gone = await client.delete(url)
    assert (gone.status_code, gone.content) == (204, b"")
    for method in ("GET", "DELETE"):
        assert problem(await client.request(method, url), 404)["code"] == "unknown_zone"


async def test_every_fault_of_a_zone_is_named_at_once_with_its_place(client: httpx.AsyncClient) -> None:
    bad = {"site": "nerve", "kind": "keep_out", "shape": SPHERE | {"radius_mm": -1, "points_lps_mm": []}, "a/b": 1}
    told = problem(await client.post("/zones", json=bad), 422)
    assert {error["field"]: error["pointer"] for error in told["errors"]} == {
        "name": "/name",
        "site": "/site",
        "shape.radius_mm": "/shape/radius_mm",
        "shape.points_lps_mm": "/shape/points_lps_mm",
        "a/b": "/a~1b",
    }
    assert all(error["message"] for error in told["errors"])
    assert (await client.get("/zones")).json() == {"items": []}


async def test_permission_for_a_zone_goes_with_it_and_comes_back(client: httpx.AsyncClient) -> None:
    zone = (await client.post("/zones", json=ZONE | {"site": "si_joint"})).json()["id"]
    path = (await client.post("/paths", json=PATH | {"permitted_zone_ids": [zone]})).json()
    assert path["permitted_zone_ids"] == [zone]
    await client.delete(f"/zones/{zone}")
    assert (await client.get("/paths/P1")).json()["permitted_zone_ids"] == []
    assert (await client.post("/undo")).json()["items"] == [["path", "P1"], ["zone", "Z1"]]
    assert (await client.get("/paths/P1")).json() == path
    told = problem(await client.patch("/paths/P1", json={"permitted_zone_ids": ["Z9"]}), 422)
    assert told["errors"][0]["field"] == "permitted_zone_ids"


# Import ----------------------------------------------------------------------------------------------------------


def _sphere(name: str, **members: Any) -> Zone:
    return Zone(
        id="",
        name=name,
        site=ZoneSite.BONE,
        kind=ZoneKind.TARGET,
        shape=SphereShape(center_lps_mm=(0, 0, 0), radius_mm=3),
        origin="nifti",
        **members,
    )


async def test_label_map_is_imported(client: httpx.AsyncClient, planning: FakePlanningApi) -> None:
    found = Finding(code="empty_label", severity=Severity.WARNING, message="label 7 has no voxel")
    planning.zones = NewZones(
        zones=(_sphere("sacrum", origin_uid="f#1"), _sphere("hip", origin_uid="f#2")), findings=(found,)
    )
    large = bytes(range(256)) * 6000  # more than a chunk, and more than what is kept in memory
    files = {"labels": ("seg.nii.gz", large), "names": ("names.csv", b"1,sacrum\n2,hip\n")}
    made = await client.post("/zones/import", files=files)
    assert made.status_code == 201
    assert planning.asked == [(large, "seg.nii.gz", b"1,sacrum\n2,hip\n")]
    assert [(zone["id"], zone["name"]) for zone in made.json()["items"]] == [("Z1", "sacrum"), ("Z2", "hip")]
    assert made.json()["findings"] == [
        {"code": "empty_label", "severity": "warning", "message": "label 7 has no voxel"}
    ]
    again = await client.post("/zones/import", files={"labels": ("seg.nii", b"x")}, data={"names": "totalsegmentator"})
    assert again.status_code == 200
    assert (again.json()["items"], again.json()["already_there"]) == ([], ["sacrum", "hip"])
    assert planning.asked[1] == (b"x", "seg.nii", b"totalsegmentator")
    assert (await client.post("/undo")).json()["what"] == "create zone Z1; create zone Z2"
    assert (await client.get("/zones")).json() == {"items": []}


async def test_import_of_another_patient_is_listed_and_does_not_count(
    client: httpx.AsyncClient, planning: FakePlanningApi
) -> None:
    planning.zones = NewZones(zones=(_sphere("sacrum"),), frame_of_reference_uid="1.2.3.4", patient_id="PAT2")
    made = await client.post("/zones/import", files={"labels": ("seg.dcm", b"x")})
    assert made.json()["items"][0]["in_active_frame"] is False


async def test_an_import_that_cannot_be_read_leaves_the_case_and_no_file(
    client: httpx.AsyncClient, planning: FakePlanningApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    planning.error = WireError("seg.nii declares no geometry", code="no_geometry", mend="save it with its affine")
    told = problem(await client.post("/zones/import", files={"labels": ("seg.nii", b"x")}), 422)
    assert (told["code"], told["mend"]) == ("no_geometry", "save it with its affine")
    planning.error = None
    planning.zones = NewZones(zones=(_sphere(""),))
    assert (
        problem(await client.post("/zones/import", files={"labels": ("s", b"x")}), 422)["errors"][0]["field"] == "name"
    )
    assert (await client.get("/zones")).json() == {"items": []}
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("request_members", "status", "code"),
    [
        pytest.param({"json": {"a": 1}}, 415, "not_multipart", id="json"),
        pytest.param({"files": {"picture": ("a", b"x")}}, 400, "no_file", id="another-part"),
        pytest.param({"files": {"labels": (None, b"x")}}, 400, "no_file", id="a-field"),
        pytest.param(
            {"content": b"--b\r\nrubbish", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
            400,
            "no_file",
            id="without-its-end",
        ),
        pytest.param(
            {"content": b"rubbish", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
            400,
            "bad_multipart",
            id="damaged",
        ),
        pytest.param(
            {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
            400,
            "bad_multipart",
            id="no-boundary",
        ),
        pytest.param(
            {"files": {"labels": ("a", b"x" * ((_LIMIT_MIB << 20) + 1))}}, 413, "body_too_large", id="too-large"
        ),
        pytest.param(
            {"files": {"labels": ("a", b"x"), "names": ("n", b"x" * ((1 << 20) + 1))}},
            413,
            "body_too_large",
            id="names",
        ),
        pytest.param({"files": [("labels", ("a", b"x"))] * 9}, 400, "bad_multipart", id="many-parts"),
    ],
)
async def test_bad_upload(
    client: httpx.AsyncClient, planning: FakePlanningApi, request_members: dict[str, Any], status: int, code: str
) -> None:
    assert problem(await client.post("/zones/import", **request_members), status)["code"] == code
    assert planning.asked == []


async def test_an_upload_that_is_cut_leaves_nothing(client: httpx.AsyncClient, planning: FakePlanningApi) -> None:
    _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(
        b"POST /api/v1/zones/import HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disposition: form-data; "
        b'name="labels"; filename="a"\r\n\r\nabc'
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await client.get("/zones")).json() == {"items": []}
    assert planning.asked == []


async def test_proposal(client: httpx.AsyncClient, planning: FakePlanningApi) -> None:
    planning.zones = NewZones(zones=(_sphere("bone"),))
    made = await client.post("/zones/propose", json={"what": "bone"})
    assert (made.status_code, planning.asked, made.json()["items"][0]["name"]) == (201, ["bone"], "bone")
    told = problem(await client.post("/zones/propose", json={"what": "nerve", "x": 1}), 422)
    assert [error["field"] for error in told["errors"]] == ["x", "what"]


def _another_grid(case: Case) -> Case:
    return volume_changed(case, ready_volume(shape_kji=(case.epoch, 9, 9)))


@pytest.mark.parametrize("change", [new_case, _another_grid])
async def test_what_was_read_for_one_case_is_not_taken_into_another(
    client: httpx.AsyncClient, planning: FakePlanningApi, api: FakeCaseApi, change: Callable[[Case], Case]
) -> None:
    item = PlanItem(name="L", entry_lps_mm=(0, 0, 50), target_lps_mm=(0, 0, 0), diameter_mm=3)
    planning.zones = NewZones(zones=(_sphere("sacrum"),))
    planning.plan = NewPlan(paths=(item,))
    planning.meanwhile = lambda: api.edit(lambda case: (change(case), None), author=Author(via="server"))
    for answer in (
        await client.post("/zones/import", files={"labels": ("seg.nii", b"x")}),
        await client.post("/zones/propose", json={"what": "bone"}),
        await client.post("/markups", json={}),
    ):
        assert problem(answer, 409)["code"] == "case_changed"
    assert (api.held.zones, api.held.paths) == ((), ())


# What is asked ---------------------------------------------------------------------------------------------------


async def test_what_was_worked_out_in_a_former_registration_is_not_told(
    client: httpx.AsyncClient, planning: FakePlanningApi, api: FakeCaseApi
) -> None:
    path = (await client.post("/paths", json=PATH)).json()["id"]
    planning.meanwhile = lambda: api.edit(lambda case: (_another_grid(case), None), author=Author(via="server"))
    for answer in (
        await client.post("/corridors", json={"level": "free", "diameter_mm": 8}),
        await client.get(f"/paths/{path}/clearance"),
        await client.post(f"/paths/{path}/clearance", json={"diameter_mm": 4}),
        await client.get(f"/paths/{path}/views"),
    ):
        assert problem(answer, 409)["code"] == "case_changed"
    planning.meanwhile = lambda: api.edit(lambda case: (new_case(case), None), author=Author(via="server"))
    assert problem(await client.get(f"/paths/{path}/views"), 409)["code"] == "case_changed"


async def test_clearance_of_a_stored_path_and_of_one_that_is_tried(
    client: httpx.AsyncClient, api: FakeCaseApi, planning: FakePlanningApi
) -> None:
    stored = (await client.post("/paths", json=PATH)).json()
    answer = await client.get("/paths/P1/clearance")
    assert msgspec.json.decode(answer.content, type=Clearance).diameter_mm == 3.2
    await client.post("/paths/P1/stage", json={"stage": "placed"})
    tried = await client.post("/paths/P1/clearance", json={"target_lps_mm": [0, 0, 5], "diameter_mm": 7.3})
    assert tried.json()["diameter_mm"] == 7.3
    assert [path.target_lps_mm for path in planning.asked] == [(0, 0, 0), (0, 0, 5)]
    assert (await client.get("/paths/P1")).json() == stored | {
        "stage": "placed",
        "next_stages": ["verified", "planned"],
    }
    assert problem(await client.post("/paths/P1/clearance", json={"diameter_mm": -1}), 422)["errors"]
    for ask in (
        client.get("/paths/P9/clearance"),
        client.post("/paths/P9/clearance", json={}),
        client.get("/paths/P9/views"),
    ):
        assert problem(await ask, 404)["code"] == "unknown_path"
    assert len(api.lines) == 2


async def test_views(client: httpx.AsyncClient, planning: FakePlanningApi) -> None:
    await client.post("/paths", json=PATH)
    views = msgspec.json.decode((await client.get("/paths/P1/views")).content, type=Views)
    assert [view.kind for view in views.views] == ["bulls_eye"]


async def test_corridor(client: httpx.AsyncClient, planning: FakePlanningApi) -> None:
    answer = await client.post(
        "/corridors", json={"level": "iliosacral", "diameter_mm": 7.3, "margin_mm": 2, "side": "left"}
    )
    assert msgspec.json.decode(answer.content, type=Corridor).exists is False
    await client.post("/corridors", json={"level": "free", "diameter_mm": 5})
    assert planning.asked == [("iliosacral", 7.3, 2.0, ZoneSide.LEFT), ("free", 5.0, 0.0, None)]


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({}, ["level", "diameter_mm"]),
        ({"level": "s3", "diameter_mm": 0}, ["level", "diameter_mm"]),
        ({"level": "s1", "diameter_mm": 7, "margin_mm": -1, "side": "left"}, ["side", "margin_mm"]),
        ({"level": "iliosacral", "diameter_mm": 7, "side": "midline"}, ["side"]),
        ({"level": "s1", "diameter_mm": "7", "width": 2}, ["width", "diameter_mm"]),
    ],
)
async def test_bad_corridor(client: httpx.AsyncClient, fields: dict[str, Any], at_fault: list[str]) -> None:
    told = problem(await client.post("/corridors", json=fields), 422)
    assert [error["field"] for error in told["errors"]] == at_fault


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CaseError("64 wait already", code="planning_busy", mend="ask again"), 503),
        (CaseError("no answer within 60 s", code="planning_slow", mend="ask again"), 503),
        (CaseError("the voxels of a zone are gone", code="unknown_mask", mend="import it again"), 409),
        (CaseError("no path 'P9'", code="unknown_path", mend="GET /api/v1/paths lists them"), 404),
        (CaseError("the planning process ended", code="planning_ended", mend="ask again"), 503),
        (CaseError("no volume is active", code="no_active_volume", mend="send a CBCT"), 409),
        (GeometryError("the path leaves the volume", code="outside_volume", mend="move it"), 422),
        (ConfigError("bad file", code="bad_instrument", mend="mend it"), 500),
    ],
    ids=lambda value: getattr(value, "code", None),
)
async def test_what_planning_cannot_answer(
    client: httpx.AsyncClient, planning: FakePlanningApi, error: Any, status: int
) -> None:
    await client.post("/paths", json=PATH)
    planning.error = error
    answer = await client.get("/paths/P1/clearance")
    told = problem(answer, status)
    assert (told["code"], told["mend"]) == (error.code, error.mend)
    assert ("retry-after" in answer.headers) is (status == 503)


async def test_libraries(client: httpx.AsyncClient) -> None:
    instruments = msgspec.json.decode((await client.get("/instruments")).content, type=InstrumentList).items
    assert instruments
    assert (await client.get("/c-arms")).json()["items"][0]["id"]
    assert (await client.get("/approaches")).json()["items"]
    ends = {name: PATH[name] for name in ("entry_lps_mm", "target_lps_mm")}
    made = (await client.post("/paths", json=ends | {"instrument": instruments[0].id})).json()
    assert made["diameter_mm"] == instruments[0].diameter_mm


# Stage, undo, audit ----------------------------------------------------------------------------------------------


async def test_stage_goes_step_by_step(client: httpx.AsyncClient) -> None:
    await client.post("/paths", json=PATH)
    assert problem(await client.post("/paths/P1/stage", json={"stage": "screw_in"}), 409)["mend"]
    assert (await client.put("/paths/P1/stage", json={"stage": "placed"})).json()["stage"] == "placed"
    assert (await client.patch("/paths/P1", json={"stage": "verified"})).json()["stage"] == "verified"
    told = problem(await client.patch("/paths/P1", json={"target_lps_mm": [0, 0, 1]}), 409)
    assert told["code"] == "path_in_patient"
    assert problem(await client.post("/paths/P1/stage", json={"stage": "in"}), 422)["errors"][0]["field"] == "stage"
    assert problem(await client.post("/paths/P9/stage", json={"stage": "placed"}), 404)


async def test_undo_and_redo(client: httpx.AsyncClient) -> None:
    assert problem(await client.post("/undo"), 409)["code"] == "nothing_to_undo"
    stored = (await client.post("/paths", json=PATH)).json()
    await client.patch("/paths/P1", json={"diameter_mm": 4})
    undone = (await client.post("/undo")).json()
    assert undone == {
        "what": "change path P1: diameter_mm",
        "items": [["path", "P1"]],
        "undo_left": 1,
        "redo_left": 1,
    }
    assert (await client.get("/paths/P1")).json() == stored
    assert (await client.post("/redo")).json()["redo_left"] == 0
    assert (await client.get("/paths/P1")).json() == stored | {"diameter_mm": 4}
    assert problem(await client.post("/redo"), 409)["code"] == "nothing_to_redo"
    await client.post("/undo")
    await client.post("/undo")
    assert (await client.get("/paths")).json() == {"items": []}


async def test_audit_tells_who_did_what(client: httpx.AsyncClient) -> None:
    await client.post("/paths", json=PATH)
    await client.patch("/paths/P1", json={"label": "neu"}, headers={"X-Operator": "Schwester Ö".encode()})
    await client.post("/undo", headers={"X-Operator": ""})
    await client.delete("/case")
    page = (await client.get("/audit")).json()
    assert [line["what"] for line in page["items"]] == [
        "create path P1",
        "change path P1: label",
        "undo: change path P1: label",
        "new case",
    ]
    assert [line["operator"] for line in page["items"]] == ["Dr. Ä", "Schwester Ö", "", "Dr. Ä"]
    assert {line["peer"].partition(":")[0] for line in page["items"]} == {"127.0.0.1"}
    assert page["items"][1]["changes"] == [
        {"kind": "path", "id": "P1", "before": {"label": "S1 links"}, "after": {"label": "neu"}, "place": 0}
    ]
    newest = (await client.get("/audit", params={"limit": 1})).json()
    assert ([line["number"] for line in newest["items"]], newest["before"]) == ([4], 4)
    older = (await client.get("/audit", params={"limit": 5, "before": 4})).json()
    assert ([line["number"] for line in older["items"]], older["before"]) == ([1, 2, 3], None)


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "before=-1", "before=", "limit=%C2%B2"])
async def test_bad_page_of_the_audit(client: httpx.AsyncClient, query: str) -> None:
    told = problem(await client.get(f"/audit?{query}"), 422)
    assert told["errors"][0]["field"] == query.partition("=")[0]


# Markups ---------------------------------------------------------------------------------------------------------


async def test_markups_out(client: httpx.AsyncClient) -> None:
    await client.post("/paths", json=PATH)
    answer = await client.get("/markups")
    assert answer.headers["content-disposition"] == 'attachment; filename="plan.mrk.json"'
    assert answer.json() == {"markups": ["P1"]}


async def test_a_fault_in_a_markups_file_is_pointed_at(client: httpx.AsyncClient, planning: FakePlanningApi) -> None:
    planning.error = BadFieldsError(
        [FieldError("markups[0].controlPoints[1].position", "is text")], what="markups file"
    )
    told = problem(await client.post("/markups", content=b"{}", headers={"Content-Type": "application/json"}), 422)
    assert told["errors"][0]["pointer"] == "/markups/0/controlPoints/1/position"
    assert told["detail"].startswith("markups file refused: ")


async def test_markups_in_as_json_and_as_file(client: httpx.AsyncClient, planning: FakePlanningApi) -> None:
    item = PlanItem(name="L", entry_lps_mm=(0, 0, 50), target_lps_mm=(0, 0, 0), diameter_mm=0)
    planning.plan = NewPlan(paths=(item,), zones=(_sphere("ball", origin_uid="m#1"),))
    told = problem(await client.post("/markups", content=b"{}", headers={"Content-Type": "application/json"}), 422)
    assert told["errors"][0]["field"] == "diameter_mm"
    assert "?diameter_mm=3.2" in told["detail"]
    assert (await client.get("/paths")).json() == (await client.get("/zones")).json() == {"items": []}
    made = await client.post("/markups?diameter_mm=3.2", content=b"{}", headers={"Content-Type": "application/json"})
    assert made.status_code == 201
    assert [path["label"] for path in made.json()["paths"]] == ["L"]
    assert [zone["name"] for zone in made.json()["zones"]] == ["ball"]
    again = await client.post("/markups?diameter_mm=4", files={"file": ("a.mrk.json", b"{}")})
    assert [path["id"] for path in again.json()["paths"]] == ["P1"]
    assert again.json()["zones"] == []
    assert planning.asked == [(b"{}", "markups"), (b"{}", "markups"), (b"{}", "a.mrk.json")]
    assert len(msgspec.json.decode((await client.get("/paths")).content, type=PathList).items) == 1
    assert problem(await client.post("/markups?diameter_mm=nan", content=b"{}"), 422)["errors"]
    assert problem(await client.post("/markups", content=b"{}"), 415)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_a_method_that_there_is_not_names_those_there_are(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, "/zones")
    problem(answer, 405)
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
