"""POST, GET and DELETE /registration: what a client sends is understood, what it must not send is named."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from drivers.http import HttpServer
from guidance.config import HttpSettings
from guidance.errors import CaseError
from guidance.registration.request import RegistrationRequest
from tests.helpers.case_api import FakeCaseApi
from tests.helpers.cement import FakeCementApi
from tests.helpers.planning_api import FakePlanningApi
from tests.helpers.registration_api import FakeRegistrationApi


@pytest.fixture
def registration() -> FakeRegistrationApi:
    return FakeRegistrationApi()


@pytest.fixture
async def client(registration: FakeRegistrationApi) -> AsyncIterator[httpx.AsyncClient]:
    server = HttpServer(HttpSettings(port=0), FakeCaseApi(), FakePlanningApi(), registration, FakeCementApi())
    await server.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}/api/v1") as client:
            yield client
    finally:
        await server.stop()


async def test_an_accepted_registration_is_the_contracts_answer(
    client: httpx.AsyncClient, registration: FakeRegistrationApi
) -> None:
    answer = await client.post("/registration", json={"inputs": ["FluoroA", "FluoroB"]}, headers={"X-Operator": "Ada"})
    assert answer.status_code == 200
    told = answer.json()
    assert {"accepted", "reason", "seen_lps_from_volume_lps", "residual_px", "covariance", "time_s"} <= told.keys()
    assert [len(row) for row in told["seen_lps_from_volume_lps"]] == [4] * 4
    assert [len(row) for row in told["covariance"]] == [6] * 6
    [(request, author)] = registration.asked
    assert request == RegistrationRequest(inputs=("FluoroA", "FluoroB"))
    assert (author.via, author.operator) == ("http", "Ada")


@pytest.mark.parametrize("body", [{}, {"json": {}}, {"json": {"inputs": []}}, {"json": {"inputs": None}}])
async def test_nothing_said_means_all_live_inputs(
    client: httpx.AsyncClient, registration: FakeRegistrationApi, body: dict
) -> None:
    assert (await client.post("/registration", **body)).status_code == 200
    assert registration.asked[0][0] == RegistrationRequest()


async def test_a_refused_registration_is_an_answer_too(
    client: httpx.AsyncClient, registration: FakeRegistrationApi
) -> None:
    registration.accepted = False
    answer = await client.post("/registration", json={"other_views_s": 60})
    assert (answer.status_code, answer.json()["accepted"], answer.json()["code"]) == (200, False, "no_match")
    assert registration.asked[0][0].other_views_s == 60.0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"input": ["Fluoro"]}, "input"),
        ({"inputs": "Fluoro"}, "inputs"),
        ({"inputs": [1]}, "inputs"),
        ({"inputs": ["../x"]}, "inputs"),
        ({"other_views_s": -1}, "other_views_s"),
        ({"other_views_s": True}, "other_views_s"),
        ({"other_views_s": "60"}, "other_views_s"),
        ({"other_views_s": 1e9}, "other_views_s"),
    ],
)
async def test_what_cannot_be_meant_is_named(
    client: httpx.AsyncClient, registration: FakeRegistrationApi, body: dict, field: str
) -> None:
    answer = await client.post("/registration", json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert registration.asked == []


@pytest.mark.parametrize(
    ("code", "status"),
    [("no_view", 409), ("registration_running", 409), ("unknown_input", 404), ("planning_ended", 503)],
)
async def test_what_stands_against_it_is_a_problem(
    client: httpx.AsyncClient, registration: FakeRegistrationApi, code: str, status: int
) -> None:
    registration.error = CaseError("why", code=code, mend="the mend")
    answer = await client.post("/registration", json={})
    assert (answer.status_code, answer.json()["code"], answer.json()["mend"]) == (status, code, "the mend")


async def test_a_body_that_is_no_json_object_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.post("/registration", content=b"[1]")).status_code == 400
    assert (await client.post("/registration", content=b"{", headers={"Content-Type": "application/json"})).is_error


async def test_it_is_told_and_taken_back(client: httpx.AsyncClient, registration: FakeRegistrationApi) -> None:
    told = (await client.get("/registration")).json()
    assert (told["registered"], told["covariance"]) == (False, None)
    assert (await client.delete("/registration")).status_code == 204
    assert len(registration.dropped) == 1
