"""The page says what pictures say of their geometry, and registers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from guidance.errors import CaseError
from guidance.messages import CheckState, GeometryState, ImageCheck
from guidance.shapes import InstrumentSeen
from tests.helpers.case_api import FakeCaseApi, ready_volume
from tests.helpers.live_feed import send_frame
from tests.helpers.registration_api import FakeRegistrationApi
from tests.helpers.shown_page import shown

AGREES = ImageCheck(state=CheckState.AGREES, residual_mm=0.31, residual_px=1.62, breathing_mm=2.2)
MOVED = ImageCheck(
    state=CheckState.CONTRADICTS,
    code="patient_moved",
    reason="the patient lies 6.2 mm off",
    residual_mm=6.2,
    residual_px=33.0,
    registration_offered=True,
)


@pytest.fixture
def api() -> FakeCaseApi:
    api = FakeCaseApi()
    api.take_volume(ready_volume())
    return api


def told(check: ImageCheck) -> dict[str, Any]:
    state = GeometryState.WITHHELD if check.state is CheckState.CONTRADICTS else GeometryState.TRUSTED
    return {"check": check, "geometry_state": state, "reason": check.reason}


async def test_what_a_picture_says_is_on_the_page_with_its_figures(api: FakeCaseApi, tmp_path: Path) -> None:
    async with shown(api, tmp_path) as page:
        send_frame(api, 1, **told(AGREES))
        await page.wait_for("document.querySelector('[data-check=agrees]') !== null")
        text = await page.text("#checks")
        assert "verified" in text
        assert "0.3 mm (1.6 px) off" in text
        assert "breathing 2.2 mm" in text
        pin = InstrumentSeen(
            path_id="P1", to_target_mm=17.6, off_axis_mm=0.1, assumed=False, text="S1: 17.6 mm to target"
        )
        send_frame(api, 2, **told(AGREES), instruments=(pin,))
        await page.wait_for("document.querySelector('#checks .depth')?.textContent === 'S1: 17.6 mm to target'")
        send_frame(api, 3, **told(MOVED))
        await page.wait_for("document.querySelector('[data-check=contradicts]') !== null")
        assert "the patient lies 6.2 mm off" in await page.text("#checks")


async def test_the_operator_registers_and_takes_it_back(api: FakeCaseApi, tmp_path: Path) -> None:
    registration = FakeRegistrationApi()
    registration.offered = True
    async with shown(api, tmp_path, registration=registration) as page:
        await page.wait_for("document.querySelector('#registration .note.bad') !== null")
        await page.click("#register")
        await page.wait_for("document.querySelector('#registration-said')?.textContent.includes('0.3 px left')")
        assert registration.asked[0][0].other_views_s == 60.0
        await page.wait_for("document.querySelector('#drop-registration') !== null")
        assert "Registered from Fluoro" in await page.text("#registration")
        await page.click("#drop-registration")
        await page.click("dialog button.primary")
        await page.wait_for("document.querySelector('#drop-registration') === null")
        assert len(registration.dropped) == 1


async def test_a_refusal_and_a_problem_are_said(api: FakeCaseApi, tmp_path: Path) -> None:
    registration = FakeRegistrationApi()
    registration.accepted = False
    async with shown(api, tmp_path, registration=registration) as page:
        await page.click("#register")
        await page.wait_for("document.querySelector('#registration-said')?.textContent.includes('do not show this')")
        registration.error = CaseError("no input sends pictures", code="no_view", mend="expose")
        await page.click("#register")
        await page.wait_for("document.querySelector('#registration-said')?.textContent.includes('no input sends')")
