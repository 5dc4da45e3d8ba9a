"""The page follows cement: start and stop, figures, zones, alerts and who has seen them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from guidance.messages import CementBody, CementMaterial, GeometryState, SphereShape, ZoneKind, ZoneSite
from guidance.shapes import OverlayVector
from tests.helpers.browser import Page
from tests.helpers.case_api import FakeCaseApi, ready_volume
from tests.helpers.cement import FORAMEN, FakeCementApi, drop, near_site
from tests.helpers.live_feed import GREY, send_frame
from tests.helpers.shown_page import pixel, shown

CANAL = replace(FORAMEN, id="Z2", name="Sacral canal", site=ZoneSite.CANAL, side=None)
LESION = replace(
    FORAMEN,
    id="Z3",
    name="Lesion",
    site=ZoneSite.LESION,
    side=None,
    kind=ZoneKind.TARGET,
    shape=SphereShape(center_lps_mm=(0.0, 0.0, 0.0), radius_mm=12.0),
)
INTERVAL = CementBody(views=("Fluoro",), volume_low_ml=0.4, volume_high_ml=1.6, reason="one view only")


@pytest.fixture
def api() -> FakeCaseApi:
    api = FakeCaseApi()
    api.take_volume(ready_volume())
    return api


@pytest.fixture
def cement() -> FakeCementApi:
    return FakeCementApi((FORAMEN, CANAL, LESION))


def flow(cement: FakeCementApi, first: int, foramen_px: float) -> None:
    """Two frames, for one alone raises nothing."""
    for number in (first, first + 1):
        cement.frame(
            drop(number), near_site(foramen_px), near_site(30.0, zone_id="Z2"), near_site(-5.0, zone_id="Z3"),
            body=INTERVAL,
        )  # fmt: skip


async def start(page: Page, *, brand: str = "baso4_30", **fields: str) -> None:
    await page.click("#cement-switch")
    await page.wait_for("document.querySelector('dialog select[name=brand] option:nth-child(2)') !== null")
    await page.evaluate(f"document.querySelector('dialog select[name=brand]').value = {brand!r}")
    for name, text in fields.items():
        await page.type(f"dialog input[name={name}]", text)
    await page.click("dialog button.primary")


async def says(page: Page, selector: str, *words: str) -> str:
    for word in words:
        await page.wait_for(f"document.querySelector('{selector}')?.innerText.includes({word!r})")
    return await page.text(selector)


async def test_cement_is_followed_from_start_to_stop(api: FakeCaseApi, cement: FakeCementApi, tmp_path: Path) -> None:
    async with shown(api, tmp_path, cement=cement) as page:
        await says(page, "#cement-state", "Not followed")
        assert await page.text("#cement-sites") == ""
        await start(page, mixed_s_ago="60")
        await says(page, "#cement-state", "Following")
        assert cement.known.run is not None
        assert cement.known.run.material.mixed_s_ago == 60.0
        assert cement.known.run.material.brand == "baso4_30"
        flow(cement, 1, 40.0)
        text = await says(page, "#cement", "707 mm²", "0.4 to 1.6 ml", "3.0 mm/s", "1:00")
        assert "no injector reading" in text
        told = await says(page, "#cement-sites", "mm left", "target")
        assert "✓ clear" in told  # the good news
        cement.wait(3.0)
        await says(page, "#cement-state", "PAUSED", "no frame for")
        await page.click("#cement-switch")
        await page.click("dialog button.primary")
        await says(page, "#cement-state", "Not followed")
        assert cement.known.run is None


async def test_what_stands_against_a_start_is_said_in_the_dialog(
    api: FakeCaseApi, cement: FakeCementApi, tmp_path: Path
) -> None:
    cement.has_reference = False
    async with shown(api, tmp_path, cement=cement) as page:
        await start(page, brand="")
        await says(page, "dialog [data-field=brand] .fault", "is required")
        await page.type("dialog input[name=opacity_per_mm]", "-1")
        await page.click("dialog button.primary")
        await says(page, "dialog [data-field=opacity_per_mm] .fault", "greater than 0")
        await page.type("dialog input[name=opacity_per_mm]", "0,1")
        await page.click("dialog input[name=balloon]")
        await page.click("dialog button.primary")
        await says(page, "dialog p.fault", "no live frame", "expose")
        cement.has_reference = True
        await page.click("dialog button.primary")
        await says(page, "#cement-state", "Following")
        assert cement.known.run is not None
        assert cement.known.run.material == CementMaterial(opacity_per_mm=0.1, balloon=True)


async def test_without_geometry_the_page_says_what_that_means(
    api: FakeCaseApi, cement: FakeCementApi, tmp_path: Path
) -> None:
    async with shown(api, tmp_path, cement=cement) as page:
        await start(page)
        await says(page, "#cement-state", "Following")
        cement.frame(drop(1, pixel_from_patient=None, mm_per_px=None))
        await says(page, "#cement", "2D only", "no warning of zones", "1257 px")


async def test_alert_stands_over_the_pictures_until_somebody_has_seen_it(
    api: FakeCaseApi, cement: FakeCementApi, tmp_path: Path
) -> None:
    async with shown(api, tmp_path, cement=cement) as page:
        send_frame(api, 1)
        await start(page)
        await says(page, "#cement-state", "Following")
        flow(cement, 1, 1.0)
        await says(page, "[data-alert=A1]", "!!!", "S1 left", "Acknowledge")
        await says(page, "#cement-advice", "STOP", "S1 left")
        ink, ground = await page.evaluate(
            "(() => { const alert = document.querySelector('[data-alert=A1]');"
            "const words = alert.querySelector('.what');"
            "return [getComputedStyle(words).color, getComputedStyle(alert).backgroundColor]; })()"
        )
        assert (ink, ground) == ("rgb(0, 0, 0)", "rgb(255, 122, 61)")
        above = "document.querySelector('#alerts').getBoundingClientRect().bottom"
        assert await page.evaluate(f"{above} <= document.querySelector('.view').getBoundingClientRect().top")
        assert await page.evaluate("document.querySelector('.view').clientHeight") > 300
        # What is said changes with every frame, the button under the finger does not.
        await page.evaluate("window.button = document.querySelector('[data-alert=A1] .acknowledge'); true")
        flow(cement, 3, 0.6)
        await says(page, "[data-alert=A1]", "0.5 mm left")
        assert await page.evaluate("window.button === document.querySelector('[data-alert=A1] .acknowledge')")
        await page.click("[data-alert=A1] .acknowledge")
        await page.type("dialog input[name=by]", "Dr. Ada")
        await page.click("dialog button.primary")
        await says(page, "[data-alert=A1]", "seen by Dr. Ada")
        assert cement.book.alerts[0].acknowledged_by == "Dr. Ada"
        # Worse than it was: it speaks again, and the name is known by now.
        flow(cement, 15, -1.0)  # what overlaps within the first second came there, and is less urgent
        await says(page, "[data-alert=A1]", "contact possible", "Acknowledge")
        await page.click("[data-alert=A1] .acknowledge")
        await says(page, "[data-alert=A1]", "seen by Dr. Ada")
        await page.click("#cement-switch")
        await page.click("dialog button.primary")
        await page.wait_for("document.querySelector('[data-alert]') === null")


async def test_front_is_drawn_without_geometry(api: FakeCaseApi, cement: FakeCementApi, tmp_path: Path) -> None:
    front = OverlayVector(
        kind="line", color="#40f0ff", points=(50.0, 40.0, 200.0, 40.0, 200.0, 60.0), width_px=9.0, cement=True
    )
    async with shown(api, tmp_path, cement=cement) as page:
        send_frame(api, 1, overlay=(front,), geometry_state=GeometryState.ABSENT, reason="no geometry")
        await page.wait_for("document.querySelector('canvas')?.dataset.sequence === '1'")
        assert await pixel(page, 125, 40) == [0x40, 0xF0, 0xFF]
        assert all(abs(level - GREY) <= 3 for level in await pixel(page, 125, 100))  # the path is not drawn


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (3840, 2160)])
async def test_everything_has_room(
    api: FakeCaseApi, cement: FakeCementApi, tmp_path: Path, width: int, height: int
) -> None:
    async with shown(api, tmp_path, cement=cement) as page:
        await page.size(width, height)
        send_frame(api, 1)
        await start(page)
        await says(page, "#cement-state", "Following")
        flow(cement, 1, 1.0)
        await says(page, "[data-alert=A1]", "S1 left")
        overflow = await page.evaluate(
            "[document.documentElement.scrollWidth - innerWidth, document.documentElement.scrollHeight - innerHeight,"
            " document.querySelector('aside').scrollWidth - document.querySelector('aside').clientWidth]"
        )
        assert overflow == [0, 0, 0]
        (tmp_path / "page.png").write_bytes(await page.screenshot())
