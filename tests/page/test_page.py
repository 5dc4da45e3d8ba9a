"""The page in a real browser: what the operator sees, and what the page says when it can't be trusted."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from drivers.http import HttpServer
from guidance.config import HttpSettings
from guidance.messages import Finding, GeometryState, InputState, Severity, VolumeState
from guidance.shapes import LatencyFigures
from tests.helpers.browser import Page, open_page
from tests.helpers.case_api import FakeCaseApi, ready_volume
from tests.helpers.cement import FakeCementApi
from tests.helpers.live_feed import GREY, PATH_RGB, send_frame
from tests.helpers.planning_api import FakePlanningApi
from tests.helpers.registration_api import FakeRegistrationApi
from tests.helpers.shown_page import pixel, shown

FIELDS = {"entry_lps_mm": [-40, 30, 10], "target_lps_mm": [0, 0, 0], "diameter_mm": 3.2}


@pytest.fixture
def api() -> FakeCaseApi:
    api = FakeCaseApi()
    api.take_volume(ready_volume())
    return api


@contextlib.asynccontextmanager
async def streaming(api: FakeCaseApi, *devices: str) -> AsyncIterator[None]:
    """Frames go on coming, twenty a second, so that the page has no reason to call its picture late."""

    async def stream() -> None:
        for sequence in itertools.count(1):
            for device in devices:
                send_frame(api, sequence, device=device)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(stream())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def no_banner(page: Page, device: str = "Fluoro") -> None:
    shown = f"document.querySelector('[data-device={device}] canvas')?.dataset.sequence > 1"
    await page.wait_for(f"{shown} && document.querySelector('[data-device={device}] .banner').innerText === ''")


async def frame_is_shown(page: Page, sequence: int, device: str = "Fluoro") -> None:
    await page.wait_for(f"document.querySelector('[data-device={device}] canvas')?.dataset.sequence === '{sequence}'")


async def brightest(page: Page, left: int, baseline: int) -> int:
    """Brightest level on the canvas where a text of 40 px would stand."""
    levels = [await pixel(page, left + 2 * step, baseline - 12) for step in range(20)]
    return max(min(level) for level in levels)


async def banner(page: Page, words: str, device: str = "Fluoro") -> str:
    selector = f"[data-device={device}] .banner"
    await page.wait_for(f"document.querySelector('{selector}')?.innerText.includes({words!r})")
    return await page.text(selector)


async def test_picture_and_overlay_of_the_same_message(api: FakeCaseApi, tmp_path: Path) -> None:
    api.latency = LatencyFigures(now=2.5, p50=2.1, p99=4.56, worst=9.0)
    async with shown(api, tmp_path) as page:
        assert "No fluoroscopy input yet" in await page.text(".nothing")
        send_frame(api, 1)
        await frame_is_shown(page, 1)
        assert await pixel(page, 125, 100) == list(PATH_RGB)
        assert all(abs(level - GREY) <= 3 for level in await pixel(page, 125, 150))
        # The line's edges: 9 px wide about v = 100.
        for v, on_line in ((96.5, True), (103.5, True), (94.5, False), (105.5, False)):
            assert (await pixel(page, 125, v) == list(PATH_RGB)) is on_line
        # The side mark is drawn, the word LIVE is not: it would stay on a picture that has stopped.
        assert await brightest(page, 20, 240) == 255
        assert await brightest(page, 20, 190) < GREY + 10
        assert await page.text("#latency-now") == "2.5"
        await page.wait_for("document.querySelector('#latency-p99').innerText === '4.6'")
        assert "Research use only, not for clinical use" in await page.text(".notice")
        assert "Procedural" in await page.text("#volume-shown")
        async with streaming(api, "Fluoro"):
            await no_banner(page)


async def test_path_comes_changes_and_goes(api: FakeCaseApi, tmp_path: Path) -> None:
    async with shown(api, tmp_path) as page:
        api.create_path(FIELDS | {"label": "<img src=x onerror=alert(1)>"})
        await page.wait_for("document.querySelector('[data-path=P1]')")
        assert "<img src=x onerror=alert(1)>" in await page.text("[data-path=P1] strong")

        await page.click("#new-path")
        for name, text in (
            ("label", "S1 links"),
            ("entry_lps_mm.0", "-40,5"),
            ("entry_lps_mm.1", "30"),
            ("entry_lps_mm.2", "10"),
            ("target_lps_mm.0", "0"),
            ("target_lps_mm.1", "null"),
            ("target_lps_mm.2", "0"),
            ("diameter_mm", "3.2"),
        ):
            await page.type(f'[name="{name}"]', text)
        await page.press("Enter", 13)
        await page.click("dialog .primary")
        await page.wait_for("document.querySelector('[data-field=target_lps_mm].at-fault')")
        await page.type('[name="target_lps_mm.1"]', "1.5")
        await page.click("dialog .primary")
        await page.wait_for("document.querySelector('[data-path=P2]')")
        made = api.path("P2")
        assert (made.label, made.entry_lps_mm, made.target_lps_mm) == ("S1 links", (-40.5, 30.0, 10.0), (0.0, 1.5, 0.0))

        await page.click("[data-path=P2] button")
        await page.type('[name="diameter_mm"]', "7.3")
        await page.click("dialog .primary")
        await page.wait_for("document.querySelector('[data-path=P2]').innerText.includes('7.3 mm')")
        assert api.path("P2").diameter_mm == 7.3

        await page.click("[data-path=P2] button:last-child")
        await page.click("dialog .primary")
        await page.wait_for("!document.querySelector('[data-path=P2]')")
        assert [path.id for path in api.paths()] == ["P1"]


async def test_held_and_silent_are_unmistakable(api: FakeCaseApi, tmp_path: Path) -> None:
    async with shown(api, tmp_path) as page:
        send_frame(api, 1)
        await frame_is_shown(page, 1)
        send_frame(api, 1, picture=False, state=InputState.HELD, age_ms=4200.0)
        assert "not live" in await banner(page, "HELD")
        send_frame(api, 1, picture=False, state=InputState.SILENT, age_ms=61000.0)
        assert "1 min old" in await banner(page, "NO SIGNAL")
        async with streaming(api, "Fluoro"):
            await no_banner(page)


async def test_picture_that_stops_is_late_though_the_state_says_live(api: FakeCaseApi, tmp_path: Path) -> None:
    async with shown(api, tmp_path) as page:
        send_frame(api, 1)
        await frame_is_shown(page, 1)
        await banner(page, "PICTURE LATE")
        assert await page.evaluate("document.querySelector('.view').classList.contains('stale')")


async def test_trust_taken_back_hides_paths_before_the_next_picture(api: FakeCaseApi, tmp_path: Path) -> None:
    async with shown(api, tmp_path) as page:
        send_frame(api, 1)
        await frame_is_shown(page, 1)
        assert await pixel(page, 125, 100) == list(PATH_RGB)
        reason = "stream is in another frame of reference"
        send_frame(api, 1, picture=False, geometry_state=GeometryState.WITHHELD, reason=reason)
        assert reason in await banner(page, "PATHS WITHHELD")
        await page.wait_for("document.querySelector('canvas').dataset.paths === 'hidden'")
        assert all(abs(level - GREY) <= 3 for level in await pixel(page, 125, 100))


async def test_biplane_stands_side_by_side(api: FakeCaseApi, tmp_path: Path) -> None:
    async with shown(api, tmp_path) as page:
        send_frame(api, 1, device="FluoroB", geometry_state=GeometryState.ABSENT, reason="no geometry came")
        send_frame(api, 1, device="FluoroA")
        await frame_is_shown(page, 1, "FluoroA")
        await frame_is_shown(page, 1, "FluoroB")
        places = await page.evaluate(
            "[...document.querySelectorAll('.view')].map(v => [v.dataset.device, v.getBoundingClientRect().x])"
        )
        assert [place[0] for place in places] == ["FluoroA", "FluoroB"]
        assert places[0][1] < places[1][1]
        assert "no geometry came" in await banner(page, "NO GEOMETRY", "FluoroB")
        async with streaming(api, "FluoroA"):
            await no_banner(page, "FluoroA")


async def test_operator_answers_about_volume_and_frame(api: FakeCaseApi, tmp_path: Path) -> None:
    finding = Finding(code="missing_slices", severity=Severity.ERROR, message="slices 3 to 5 are missing")
    api.take_volume(ready_volume(3, state=VolumeState.REFUSED, findings=(finding,)))
    async with shown(api, tmp_path) as page:
        await page.wait_for("document.querySelector('[data-volume=V3]')?.innerText.includes('slices 3 to 5')")
        await page.click("#shared-frame button")
        await page.click("dialog .primary")
        await page.wait_for("document.querySelector('#shared-frame').innerText.includes('You confirmed')")
        assert api.case().shared_frame_confirmed
        api.take_volume(ready_volume(2))
        await page.wait_for("document.querySelector('#question').innerText.includes('newer volume')")
        await page.click("#question button")
        await page.wait_for("document.querySelector('[data-volume=V2]').innerText.includes('in use')")
        assert (api.case().active_volume_id, api.case().shared_frame_confirmed) == ("V2", False)


async def test_lost_connection_is_said_within_a_second_and_mends_itself(api: FakeCaseApi, tmp_path: Path) -> None:
    server = HttpServer(HttpSettings(port=0), api, FakePlanningApi(), FakeRegistrationApi(), FakeCementApi())
    await server.start()
    port = server.port
    try:
        async with open_page(f"http://127.0.0.1:{port}/", tmp_path) as page:
            await api.wait_for_subscribers(1)
            send_frame(api, 1)
            await frame_is_shown(page, 1)
            await server.stop()
            await page.wait_for("document.body.dataset.connection === 'lost'")
            assert "CONNECTION LOST" in await page.text(".lost")
            assert "grayscale" in str(await page.evaluate("getComputedStyle(document.querySelector('#views')).filter"))
            server = HttpServer(HttpSettings(port=port), api, FakePlanningApi(), FakeRegistrationApi(), FakeCementApi())
            await server.start()
            await page.wait_for("document.body.dataset.connection === 'live'")
            assert await page.evaluate("getComputedStyle(document.querySelector('.lost')).display") == "none"
    finally:
        await server.stop()


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (3840, 2160)])
async def test_nothing_overflows_from_small_to_wall_display(
    api: FakeCaseApi, tmp_path: Path, width: int, height: int
) -> None:
    for _ in range(8):
        api.create_path(FIELDS | {"label": "ein langer Name, der umbrechen muss, hier und dort"})
    async with shown(api, tmp_path) as page:
        await page.size(width, height)
        send_frame(api, 1)
        await frame_is_shown(page, 1)
        await page.wait_for("document.querySelectorAll('#paths li').length === 8")
        overflow = await page.evaluate(
            "[document.documentElement.scrollWidth - innerWidth, document.documentElement.scrollHeight - innerHeight,"
            " document.querySelector('aside').scrollWidth - document.querySelector('aside').clientWidth]"
        )
        assert overflow == [0, 0, 0]
        # The picture keeps the greater part of the display.
        share = await page.evaluate("document.querySelector('canvas').clientWidth / innerWidth")
        assert share > 0.6
