"""HTTP driver over the pure case: every resource, every refusal, from a real socket."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from drivers.http import HttpServer
from drivers.http_connections import BoundedProtocol
from guidance.config import HttpSettings
from guidance.errors import ConfigError
from guidance.messages import Finding, Severity, VolumeState
from guidance.ports import MetricFamily
from tests.helpers.case_api import FakeCaseApi, input_geometry, ready_volume
from tests.helpers.cement import FakeCementApi
from tests.helpers.planning_api import FakePlanningApi
from tests.helpers.registration_api import FakeRegistrationApi

PATH = {"entry_lps_mm": [-40, 30.5, 10], "target_lps_mm": [0, 0, 0], "diameter_mm": 3.2, "label": "S1 links"}


@pytest.fixture
def api() -> FakeCaseApi:
    return FakeCaseApi()


@pytest.fixture
async def client(api: FakeCaseApi) -> AsyncIterator[httpx.AsyncClient]:
    server = HttpServer(HttpSettings(port=0), api, FakePlanningApi(), FakeRegistrationApi(), FakeCementApi())
    await server.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
            yield client
    finally:
        await server.stop()


async def test_path_is_created_read_changed_and_deleted(client: httpx.AsyncClient) -> None:
    made = await client.post("/api/v1/paths", json=PATH)
    assert made.status_code == 201
    stored = made.json()
    assert made.headers["location"] == f"/api/v1/paths/{stored['id']}"
    assert {key: stored[key] for key in PATH} == PATH
    assert re.fullmatch("#[0-9a-f]{6}", stored["color"])

    assert (await client.get("/api/v1/paths")).json() == {"items": [stored]}
    assert (await client.get(made.headers["location"])).json() == stored

    patched = await client.patch(made.headers["location"], json={"diameter_mm": 7.3, "color": "#AABBCC"})
    assert patched.json() == stored | {"diameter_mm": 7.3, "color": "#AABBCC"}
    replaced = await client.put(made.headers["location"], json=stored | {"label": "neu"})
    assert replaced.json() == stored | {"label": "neu"}

    gone = await client.delete(made.headers["location"])
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await client.get(made.headers["location"])).status_code == 404


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        pytest.param({"diameter_mm": 0}, ["diameter_mm"], id="no-diameter"),
        pytest.param({"diameter_mm": "3"}, ["diameter_mm"], id="diameter-as-text"),
        pytest.param({"entry_lps_mm": [0, 0]}, ["entry_lps_mm"], id="two-numbers"),
        pytest.param({"entry_lps_mm": [0, 0, 0]}, ["target_lps_mm"], id="ends-coincide"),
        pytest.param({"color": "red", "label": 5}, ["color", "label"], id="two-at-fault"),
        pytest.param({"colour": "#ffffff"}, ["colour"], id="unknown-field"),
    ],
)
async def test_bad_field_is_named(client: httpx.AsyncClient, change: dict[str, Any], fields: list[str]) -> None:
    answer = await client.post("/api/v1/paths", json=PATH | change)
    problem = answer.json()
    assert answer.status_code == problem["status"] == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert sorted(error["field"] for error in problem["errors"]) == fields
    assert all(error["message"] and error["pointer"] == f"/{error['field']}" for error in problem["errors"])
    assert (await client.get("/api/v1/paths")).json() == {"items": []}


@pytest.mark.parametrize(
    ("method", "path", "content", "headers", "status", "code"),
    [
        pytest.param("GET", "/api/v1/verification", "", {}, 404, "not_found", id="later-issue"),
        pytest.param("GET", "/api/v1/paths/P9", "", {}, 404, "unknown_path", id="no-such-path"),
        pytest.param("GET", "/api/v1/volumes/V9", "", {}, 404, "unknown_volume", id="no-such-volume"),
        pytest.param("PUT", "/api/v1/case", '{"active_volume_id": "V9"}', {}, 404, "unknown_volume", id="choose-none"),
        pytest.param("POST", "/api/v1/geometry", "{}", {}, 405, "method_not_allowed", id="wrong-method"),
        pytest.param("POST", "/api/v1/paths", "{}", {"Content-Type": "text/plain"}, 415, "not_json_type", id="type"),
        pytest.param("POST", "/api/v1/paths", "{", {}, 400, "not_json", id="cut-json"),
        pytest.param("POST", "/api/v1/paths", '{"diameter_mm": NaN}', {}, 400, "not_json", id="nan"),
        pytest.param("POST", "/api/v1/paths", '{"diameter_mm": -Infinity}', {}, 400, "not_json", id="infinity"),
        pytest.param("POST", "/api/v1/paths", "[1]", {}, 400, "not_an_object", id="list"),
        pytest.param("POST", "/api/v1/paths", "[" * 30000, {}, 400, "not_json", id="deep"),
        pytest.param("POST", "/api/v1/paths", '"' + "x" * 70000 + '"', {}, 413, "body_too_large", id="large"),
        pytest.param(
            "POST", "/api/v1/paths", "{}", {"Origin": "http://evil.example"}, 403, "foreign_origin", id="foreign-page"
        ),
        pytest.param("POST", "/api/v1/paths", "{}", {"Origin": "http://["}, 403, "foreign_origin", id="no-origin"),
        pytest.param("POST", "/api/v1/paths", "{}", {"Origin": "null"}, 403, "foreign_origin", id="null-origin"),
        pytest.param("GET", "/api/v1/case", "", {"Host": "evil.example"}, 421, "unknown_host", id="rebinding"),
        pytest.param("GET", "/api/v1/case", "", {"Host": "[::1"}, 421, "unknown_host", id="no-host"),
        pytest.param("GET", "/", "", {"Host": "evil.example:8080"}, 421, "unknown_host", id="rebinding-page"),
    ],
)
async def test_refusal_is_a_problem(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    content: str,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    answer = await client.request(method, path, content=content, headers={"Content-Type": "application/json"} | headers)
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["detail"]


async def test_number_beyond_double_is_refused(client: httpx.AsyncClient) -> None:
    body = json.dumps(PATH).replace("3.2", "1e999")
    answer = await client.post("/api/v1/paths", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert (await client.get("/api/v1/paths")).json() == {"items": []}


async def test_an_answer_waits_for_no_acknowledgement(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    made = BoundedProtocol.connection_made

    def spy(protocol: BoundedProtocol, transport: asyncio.Transport) -> None:
        made(protocol, transport)
        seen.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(BoundedProtocol, "connection_made", spy)
    assert (await client.get("/healthz")).status_code == 200
    assert seen == [1]


async def test_method_not_allowed_names_those_that_are(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/paths/P1", json={})
    assert {word.strip() for word in answer.headers["allow"].split(",")} == {"GET", "HEAD", "PUT", "PATCH", "DELETE"}


async def test_own_page_may_change_things(client: httpx.AsyncClient) -> None:
    origin = str(client.base_url).rstrip("/")
    answer = await client.post("/api/v1/paths", json=PATH, headers={"Origin": origin})
    assert answer.status_code == 201


async def test_volumes_and_case(client: httpx.AsyncClient, api: FakeCaseApi) -> None:
    assert (await client.get("/api/v1/case")).json()["active_volume_id"] is None
    api.take_volume(ready_volume(1, findings=(Finding(code="gantry_tilt", severity=Severity.WARNING, message="5°"),)))
    api.take_volume(ready_volume(2))
    api.take_volume(ready_volume(3, state=VolumeState.REFUSED))

    items = (await client.get("/api/v1/volumes")).json()["items"]
    assert [(item["id"], item["state"], item["active"]) for item in items] == [
        ("V1", "ready", True),
        ("V2", "ready", False),
        ("V3", "refused", False),
    ]
    assert items[0]["findings"] == [{"code": "gantry_tilt", "severity": "warning", "message": "5°"}]
    assert items[0]["shape_kji"] == [64, 128, 128]
    assert [len(row) for row in items[0]["affine_lps_from_ijk"]] == [4, 4, 4, 4]
    assert items[0]["affine_lps_from_ijk"][3] == [0.0, 0.0, 0.0, 1.0]
    assert (await client.get("/api/v1/volumes/V2")).json() == items[1]

    case = (await client.get("/api/v1/case")).json()
    assert (case["active_volume_id"], case["epoch"], case["question"]["volume_id"]) == ("V1", 1, "V2")
    changed = (await client.put("/api/v1/case", json={"active_volume_id": "V2"})).json()
    assert (changed["active_volume_id"], changed["epoch"], changed["question"]) == ("V2", 2, None)
    refused = await client.put("/api/v1/case", json={"active_volume_id": "V3"})
    assert (refused.status_code, refused.json()["code"]) == (409, "volume_not_ready")
    confirmed = await client.put("/api/v1/case", json={"shared_frame_confirmed": True})
    assert confirmed.json()["shared_frame_confirmed"] is True

    assert (await client.delete("/api/v1/case")).status_code == 204
    assert (await client.get("/api/v1/case")).json()["active_volume_id"] is None


async def test_geometry_is_the_contracts_object(client: httpx.AsyncClient, api: FakeCaseApi) -> None:
    api.inputs = {"Fluoro": input_geometry(frame_number=7)}
    assert (await client.get("/api/v1/geometry")).json() == {
        "inputs": {
            "Fluoro": {
                "state": "streaming",
                "geometry_state": "trusted",
                "reason": "",
                "frame_number": 7,
                "age_ms": 20.0,
                "pixel_from_patient": [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
                "paths": [],
                "check": {
                    "state": "unchecked",
                    "reason": "",
                    "code": "",
                    "residual_mm": None,
                    "residual_px": None,
                    "raw_mm": None,
                    "raw_px": None,
                    "similarity": None,
                    "motion": None,
                    "breathing_mm": None,
                    "registration_offered": False,
                },
                "instruments": [],
            }
        }
    }


async def test_health_readiness_metrics_status(client: httpx.AsyncClient, api: FakeCaseApi) -> None:
    assert (await client.get("/healthz")).status_code == 200
    assert (await client.get("/readyz")).status_code == 200
    api.not_ready = ["DICOM does not listen yet"]
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "reasons": ["DICOM does not listen yet"]})

    samples = (((("device", "Fluoro"),), 3.0), ((("device", "FluoroB"),), 4.0))
    api.families = [
        MetricFamily(name="frames_dropped", kind="counter", help="Frames replaced by newer ones", samples=samples),
        MetricFamily(name="pages", kind="gauge", help="Pages connected", samples=(((), 1.0),)),
    ]
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'guidance_frames_dropped_total{device="Fluoro"} 3.0' in answer.text
    assert "guidance_pages 1.0" in answer.text

    status = (await client.get("/api/v1/status")).json()
    assert status["notice"] == "Research use only, not for clinical use"


async def test_page_and_openapi_are_served_with_their_protection(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "Research use only" in page.text
    for name in re.findall(r'(?:src|href)="(/[^"]+)"', page.text):
        assert (await client.get(name)).status_code == 200
    document = (await client.get("/api/v1/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]["/paths/{id}"]) == {"parameters", "get", "put", "patch", "delete"}


async def test_port_taken_names_the_mend(client: httpx.AsyncClient) -> None:
    second = HttpServer(
        HttpSettings(port=client.base_url.port or 0),
        FakeCaseApi(),
        FakePlanningApi(),
        FakeRegistrationApi(),
        FakeCementApi(),
    )
    with pytest.raises(ConfigError, match="GUIDANCE_HTTP_PORT") as caught:
        await second.start()
    assert caught.value.code == "port_taken"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_probes_are_answered_under_any_name(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path, headers={"Host": "guidance.suite3.example"})).status_code == 200


@pytest.mark.parametrize("host", ["localhost:8080", "LOCALHOST", "[::1]:8080", "10.0.0.7"])
async def test_addresses_and_localhost_are_ours(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/api/v1/case", headers={"Host": host})).status_code == 200


async def test_configured_name_is_let_in(api: FakeCaseApi) -> None:
    server = HttpServer(
        HttpSettings(port=0, allowed_hosts=("suite3.example",)),
        api,
        FakePlanningApi(),
        FakeRegistrationApi(),
        FakeCementApi(),
    )
    await server.start()
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            url = f"http://127.0.0.1:{server.port}/api/v1/case"
            assert (await client.get(url, headers={"Host": "suite3.example:8080"})).status_code == 200
    finally:
        await server.stop()
