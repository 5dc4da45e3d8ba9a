"""POST /cement/start and stop, GET /cement, /alerts: what a client sends is understood, what it must not is named."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import httpx
import msgspec
import numpy as np
import pytest

from drivers.http import HttpServer
from guidance.cement.alert_answers import AlertList
from guidance.cement.answers import CementAnswer
from guidance.config import HttpSettings
from guidance.messages import CementBody, InjectorReading
from tests.helpers.case_api import FakeCaseApi
from tests.helpers.cement import FORAMEN, FakeCementApi, drop, near_site
from tests.helpers.planning_api import FakePlanningApi
from tests.helpers.registration_api import FakeRegistrationApi

SITE_KEYS = {"zone_id", "site", "side", "distance_mm", "time_to_contact_s", "status", "priority"}
ALERT_KEYS = {
    "id", "zone_id", "site", "side", "status", "priority", "distance_mm", "time_to_contact_s", "view_to_check",
    "frame_number", "raised_at", "acknowledged_by", "acknowledged_at", "text",
}  # fmt: skip


@pytest.fixture
def cement() -> FakeCementApi:
    return FakeCementApi((FORAMEN,))


@pytest.fixture
async def client(cement: FakeCementApi) -> AsyncIterator[httpx.AsyncClient]:
    server = HttpServer(HttpSettings(port=0), FakeCaseApi(), FakePlanningApi(), FakeRegistrationApi(), cement)
    await server.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}/api/v1") as client:
            yield client
    finally:
        await server.stop()


async def start(client: httpx.AsyncClient, **fields: object) -> httpx.Response:
    return await client.post("/cement/start", json=fields or {"brand": "baso4-30"}, headers={"X-Operator": "Ada"})


def comes_near(cement: FakeCementApi) -> None:
    for number in (1, 2):  # one frame alone raises nothing
        cement.frame(drop(number), near_site(1.0))


async def test_idle_is_told_with_every_zone_and_every_reason(client: httpx.AsyncClient) -> None:
    told = (await client.get("/cement")).json()
    figures = ("frame_number", "area_mm2", "volume_ml", "volume_low_ml", "volume_high_ml", "front_speed_mm_s")
    assert told["state"] == "idle"
    assert [told[name] for name in figures] == [None] * 6
    assert set(figures) <= told["reasons"].keys()
    [site] = told["sites"]
    assert site.keys() >= SITE_KEYS
    assert (site["zone_id"], site["site"], site["side"]) == ("Z1", "foramen", "left")
    assert (site["distance_mm"], site["status"]) == (None, None)
    assert site["reason"]


async def test_start_answers_the_state_and_a_frame_its_figures(
    client: httpx.AsyncClient, cement: FakeCementApi
) -> None:
    brand = (await client.get("/cement/brands")).json()["items"][0]["brand"]
    started = await start(client, brand=brand, mixed_s_ago=60, temperature_c=22.5)
    assert started.status_code == 200
    assert (started.json()["state"], started.json()["brand"]) == ("tracking", brand)
    assert (cement.asked[0][0], cement.asked[0][1].operator) == ("start", "Ada")
    body = CementBody(views=("Fluoro",), volume_low_ml=0.4, volume_high_ml=1.6, reason="one view only")
    cement.frame(drop(1), near_site(20.0), body=body)
    cement.now_ns += 500_000_000
    told = (await client.get("/cement")).json()
    assert (told["state"], told["frame_number"], told["dimensions"]) == ("tracking", 1, "2d")
    assert told["area_mm2"] == pytest.approx(np.pi * 20**2 * 0.75**2)
    assert told["front_speed_mm_s"] == pytest.approx(3.0)
    assert (told["volume_ml"], told["volume_low_ml"], told["volume_high_ml"]) == (None, 0.4, 1.6)
    assert "one view" in told["reasons"]["volume_ml"]
    assert "volume_low_ml" not in told["reasons"]
    assert told["mixed_s"] == pytest.approx(60.6)
    assert told["working_time"]["mixed_s"] == pytest.approx(60.6)
    assert told["inputs"]["Fluoro"]["frame_number"] == 1
    assert told["inputs"]["Fluoro"]["growth_px"] == pytest.approx(np.pi * 200, rel=0.05)
    assert msgspec.json.decode(msgspec.json.encode(told), type=CementAnswer).state == "tracking"


async def test_two_views_have_a_volume(client: httpx.AsyncClient, cement: FakeCementApi) -> None:
    await start(client)
    body = CementBody(views=("A", "B"), volume_ml=1.0, volume_low_ml=0.8, volume_high_ml=1.2)
    cement.frame(drop(7, device="FluoroA", now_ns=1_000_000_000))
    cement.frame(drop(6, device="FluoroB", now_ns=1_010_000_000), body=body)
    told = (await client.get("/cement")).json()
    assert (told["volume_ml"], told["dimensions"], told["reasons"].get("volume_ml")) == (1.0, "3d", None)
    assert told["frame_number"] == 6  # the newest pair's
    assert told["inputs"].keys() == {"FluoroA", "FluoroB"}


async def test_without_geometry_it_is_followed_in_pixels(client: httpx.AsyncClient, cement: FakeCementApi) -> None:
    await start(client)
    cement.frame(drop(1, pixel_from_patient=None, mm_per_px=None))
    told = (await client.get("/cement")).json()
    assert (told["state"], told["dimensions"], told["area_mm2"]) == ("tracking", "2d", None)
    assert "no geometry" in told["reasons"]["area_mm2"]
    assert told["inputs"]["Fluoro"]["area_px"] == pytest.approx(np.pi * 400)


async def test_second_start_and_missing_reference_are_conflicts(
    client: httpx.AsyncClient, cement: FakeCementApi
) -> None:
    cement.has_reference = False
    refused = await start(client)
    assert (refused.status_code, refused.json()["code"]) == (409, "no_reference")
    assert refused.headers["content-type"] == "application/problem+json"
    cement.has_reference = True
    assert (await start(client)).status_code == 200
    again = await start(client)
    assert (again.status_code, again.json()["code"]) == (409, "already_tracking")
    stopped = await client.post("/cement/stop")
    assert (stopped.status_code, stopped.json()["state"]) == (200, "idle")
    assert (await client.post("/cement/stop")).status_code == 200
    assert (await start(client)).status_code == 200


async def test_unknown_brand_is_a_field_at_fault_and_the_known_ones_are_named(client: httpx.AsyncClient) -> None:
    refused = await start(client, brand="Superglue")
    told = refused.json()
    assert (refused.status_code, told["code"]) == (422, "unknown_brand")
    assert [error["field"] for error in told["errors"]] == ["brand"]
    known = [brand["brand"] for brand in (await client.get("/cement/brands")).json()["items"]]
    assert all(brand in told["mend"] for brand in known)
    assert len(known) >= 3


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        pytest.param({}, ["brand"], id="neither"),
        pytest.param({"brand": ""}, ["brand"], id="empty"),
        pytest.param({"brand": 7}, ["brand"], id="no text"),
        pytest.param({"brand": "a\n"}, [], id="stripped"),
        pytest.param({"brand": "x" * 65}, ["brand"], id="long"),
        pytest.param({"opacity_per_mm": 0}, ["opacity_per_mm"], id="none"),
        pytest.param({"opacity_per_mm": -0.1}, ["opacity_per_mm"], id="negative"),
        pytest.param({"opacity_per_mm": 50}, ["opacity_per_mm"], id="lead"),
        pytest.param({"opacity_per_mm": True}, ["opacity_per_mm"], id="flag"),
        pytest.param({"opacity_per_mm": "0.1"}, ["opacity_per_mm"], id="text"),
        pytest.param({"opacity_per_mm": 0.1, "mixed_s_ago": -1}, ["mixed_s_ago"], id="not yet mixed"),
        pytest.param({"opacity_per_mm": 0.1, "temperature_c": 293}, ["temperature_c"], id="kelvin"),
        pytest.param({"opacity_per_mm": 0.1, "balloon": 1}, ["balloon"], id="no flag"),
        pytest.param({"opacity": 0.1}, ["opacity", "brand"], id="unknown member"),
        pytest.param(
            {"brand": None, "opacity_per_mm": 9, "temperature_c": 99},
            ["opacity_per_mm", "temperature_c"],
            id="several",
        ),
    ],
)
async def test_what_cannot_be_meant_is_named(
    client: httpx.AsyncClient, cement: FakeCementApi, body: dict, fields: list[str]
) -> None:
    answer = await client.post("/cement/start", json=body)
    assert answer.status_code == 422
    if fields:
        assert [error["field"] for error in answer.json()["errors"]] == fields
        assert cement.asked == []


async def test_opacity_alone_is_enough(client: httpx.AsyncClient) -> None:
    told = (await start(client, opacity_per_mm=0.09)).json()
    assert (told["state"], told["brand"], told["opacity_per_mm"]) == ("tracking", None, 0.09)


async def test_a_balloon_is_told_of_at_the_start(client: httpx.AsyncClient, cement: FakeCementApi) -> None:
    told = (await start(client, opacity_per_mm=0.09, balloon=True)).json()
    assert told["balloon"] is True
    assert cement.known.run is not None
    assert cement.known.run.material.balloon is True


async def test_body_that_is_no_json_object_is_refused(client: httpx.AsyncClient) -> None:
    json_type = {"Content-Type": "application/json"}
    assert (await client.post("/cement/start", content=b"[1]", headers=json_type)).status_code == 400
    assert (await client.post("/cement/start", content=b"{NaN}", headers=json_type)).status_code == 400
    assert (await client.post("/cement/start")).status_code == 415
    assert (await client.get("/cement/start")).status_code == 405


async def test_alert_latches_until_it_is_acknowledged(client: httpx.AsyncClient, cement: FakeCementApi) -> None:
    assert (await client.get("/alerts")).json() == {"items": []}
    await start(client)
    comes_near(cement)
    [alert] = (await client.get("/alerts")).json()["items"]
    assert alert.keys() >= ALERT_KEYS
    assert (alert["zone_id"], alert["site"], alert["side"]) == ("Z1", "foramen", "left")
    assert alert["priority"] in ("medium", "high")
    assert alert["frame_number"] == 2
    assert alert["raised_at"] == "2026-09-21T14:13:20.200+00:00"
    assert (alert["acknowledged_by"], alert["acknowledged_at"], alert["present"]) == (None, None, True)
    assert "S1 left" in alert["text"]
    cement.now_ns += 2_000_000_000
    seen = await client.post(f"/alerts/{alert['id']}/acknowledge", json={"by": " Dr. Ada "})
    assert seen.status_code == 200
    assert (seen.json()["acknowledged_by"], seen.json()["acknowledged_at"]) == (
        "Dr. Ada",
        "2026-09-21T14:13:22.200+00:00",
    )
    [still] = (await client.get("/alerts")).json()["items"]
    assert still["acknowledged_by"] == "Dr. Ada"
    await client.post("/cement/stop")
    told = msgspec.json.decode((await client.get("/alerts")).content, type=AlertList)
    assert told.items == ()


async def test_alert_that_is_over_is_told_as_acknowledged_when_it_goes(
    client: httpx.AsyncClient, cement: FakeCementApi
) -> None:
    await start(client)
    comes_near(cement)
    await client.post("/cement/stop")
    [alert] = (await client.get("/alerts")).json()["items"]
    assert alert["present"] is False
    seen = await client.post(f"/alerts/{alert['id']}/acknowledge", json={"by": "Ada"})
    assert (seen.status_code, seen.json()["acknowledged_by"]) == (200, "Ada")
    assert seen.json()["acknowledged_at"] is not None
    assert (await client.get("/alerts")).json() == {"items": []}


@pytest.mark.parametrize(
    ("alert_id", "body", "status"),
    [
        ("A9", {"by": "Ada"}, 404),
        ("A1", {}, 422),
        ("A1", {"by": ""}, 422),
        ("A1", {"by": " \t"}, 422),
        ("A1", {"by": None}, 422),
        ("A1", {"by": 3}, 422),
        ("A1", {"by": "x" * 65}, 422),
        ("A1", {"by": "Ada", "note": "x"}, 422),
    ],
)
async def test_acknowledgement_names_somebody_and_an_alert(
    client: httpx.AsyncClient, cement: FakeCementApi, alert_id: str, body: dict, status: int
) -> None:
    await start(client)
    comes_near(cement)
    answer = await client.post(f"/alerts/{alert_id}/acknowledge", json=body)
    assert answer.status_code == status
    assert cement.book.alerts[0].acknowledged_by is None


async def test_front_and_maps_of_the_newest_frame(client: httpx.AsyncClient, cement: FakeCementApi) -> None:
    assert (await client.get("/cement/inputs/Fluoro")).status_code == 404
    await start(client)
    cement.frame(drop(4))
    front = (await client.get("/cement/inputs/Fluoro")).json()
    assert (front["input"], front["frame_number"], len(front["front_px"])) == ("Fluoro", 4, 1)
    ring = np.array(front["front_px"][0]).reshape(-1, 2)
    assert np.hypot(*(ring - 127.5).T) == pytest.approx(20.0, abs=0.02)
    assert front["maps"] == ["mask", "blind", "growth", "thickness_mm", "arrival_s"]
    answer = await client.get("/cement/inputs/Fluoro/maps/thickness_mm")
    assert (answer.status_code, answer.headers["x-frame-number"]) == (200, "4")
    thickness = np.load(io.BytesIO(answer.content), allow_pickle=False)
    assert (thickness.shape, thickness.dtype, thickness[127, 127]) == ((256, 256), np.float32, 1.0)
    for name in ("speed_px_s", "../x", "pixels"):
        assert (await client.get(f"/cement/inputs/Fluoro/maps/{name}")).status_code == 404


async def test_reading_that_cannot_be_is_shown_as_one_that_is_not_believed(
    client: httpx.AsyncClient, cement: FakeCementApi
) -> None:
    await start(client)
    cement.frame(drop(1))
    cement.inject(
        InjectorReading(
            volume_ml=-3.0, flow_ml_s=None, pressure_bar=None, elapsed_s=None, running=True, received_ns=cement.now_ns
        )
    )
    told = (await client.get("/cement")).json()
    assert told["injected_ml"] is None
    assert "negative" in told["injector"]["refused"]
    assert "negative" in told["reasons"]["injected_ml"]
    assert [condition["kind"] for condition in told["conditions"]] == ["no_reading"]


async def test_a_gap_pauses(client: httpx.AsyncClient, cement: FakeCementApi) -> None:
    await start(client)
    cement.frame(drop(1))
    cement.wait(2.0)
    told = (await client.get("/cement")).json()
    assert (told["state"], told["reason"]) == ("paused", "no frame for 2.0 s")
    cement.frame(drop(30))
    assert (await client.get("/cement")).json()["state"] == "tracking"
