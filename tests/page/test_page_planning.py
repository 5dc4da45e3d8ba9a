"""Planning on the page in a real browser: zones, the chosen path's clearance and views, stages, corridors, undo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from guidance.case import Author, Case, create_zone
from guidance.messages import Finding, PlannedPath, Severity, ZoneSide
from guidance.planning.answers import Clearance, Corridor, View, Views, ZoneClearance
from guidance.planning.questions import Level
from tests.helpers.browser import Page
from tests.helpers.case_api import FakeCaseApi, ready_volume
from tests.helpers.live_feed import send_frame
from tests.helpers.planning_api import FakePlanningApi
from tests.helpers.shown_page import shown

PATH = {"entry_lps_mm": [-40, 30, 10], "target_lps_mm": [0, 0, 0], "diameter_mm": 3.2}
ZONE = {
    "name": "S1 left",
    "site": "foramen",
    "side": "left",
    "kind": "keep_out",
    "shape": {"type": "sphere", "center_lps_mm": [0, 0, 0], "radius_mm": 5},
}
# Straight down from the chest: the third row is the central ray, from the patient's back to the front.
FROM_THE_FRONT = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, -1.0, 0.0, 750.0)


class Planning(FakePlanningApi):
    """Every zone is hit by 1.5 mm; views 0/0 and 30/0; a corridor where a 7.3 mm screw is asked for."""

    async def clearance(self, case: Case, path: PlannedPath) -> Clearance:
        zones = tuple(
            ZoneClearance(
                zone_id=zone.id,
                name=zone.name,
                site=zone.site,
                side=zone.side,
                kind=zone.kind,
                min_distance_mm=-1.5,
                at_depth_mm=31.0,
                point_lps_mm=(0.0, 0.0, 0.0),
                permitted=zone.id in path.permitted_zone_ids,
            )
            for zone in case.zones
        )
        missing = Finding(code="bone_pending", severity=Severity.WARNING, message="bone is still being worked out")
        bare = await super().clearance(case, path)
        return msgspec.structs.replace(bare, zones=zones, margin_mm=-1.5, findings=(missing,))

    async def views(self, case: Case, path: PlannedPath) -> Views:
        views = (
            View(kind="bulls_eye", primary_deg=0.0, secondary_deg=0.0, reachable=True, reason="down the path"),
            View(kind="progression", primary_deg=-30.0, secondary_deg=0.0, reachable=False, reason="beyond the stand"),
        )
        return Views(path_id=path.id, c_arm="generic_floor", patient_position="HFS", views=views)

    async def corridor(
        self, case: Case, *, level: Level, diameter_mm: float, margin_mm: float, side: ZoneSide | None
    ) -> Corridor:
        bare = await super().corridor(case, level=level, diameter_mm=diameter_mm, margin_mm=margin_mm, side=side)
        if diameter_mm > 7.3:
            return msgspec.structs.replace(bare, reason="the sacrum is too narrow")
        ends: dict[str, Any] = {"entry_lps_mm": (80.0, 1.0, 2.0), "target_lps_mm": (-80.0, 1.0, 2.0)}
        return msgspec.structs.replace(bare, exists=True, reason="fits", margin_mm=1.2, length_mm=160.0, **ends)


@pytest.fixture
def api() -> FakeCaseApi:
    api = FakeCaseApi()
    api.take_volume(ready_volume())
    return api


def add_zone(api: FakeCaseApi) -> None:
    api.edit(lambda case: create_zone(case, ZONE), author=Author(via="server"))


async def says(page: Page, selector: str, words: str) -> None:
    await page.wait_for(f"document.querySelector({selector!r})?.innerText.includes({words!r})")


async def test_chosen_paths_clearance_views_and_zones(api: FakeCaseApi, tmp_path: Path) -> None:
    api.create_path(PATH | {"label": "one"})
    api.create_path(PATH | {"label": "two"})
    add_zone(api)
    async with shown(api, tmp_path, Planning()) as page:
        await says(page, "#plan h2", "one".upper())
        await says(page, "#clearance", "✕ -1.5 mm")
        await says(page, "#plan", "bone is still being worked out")
        await says(page, "[data-zone=Z1]", "✕ HIT: -1.5 mm at depth 31 mm")
        await says(page, "#path-views [data-view='1']", "✕ beyond the stand")
        assert "30.0° RAO" in await page.text("#path-views [data-view='1']")
        send_frame(api, 1, pixel_from_patient=FROM_THE_FRONT)
        await says(page, "#path-views [data-view='0']", "0° off")
        await says(page, "#path-views [data-view='1']", "30° off")
        # An untrusted pose says nothing about any view.
        send_frame(api, 2, picture=False, geometry_state="withheld", reason="old", pixel_from_patient=FROM_THE_FRONT)
        await page.wait_for("!document.querySelector('#path-views').innerText.includes('off')")
        await page.click("[data-path=P2] .what")
        await says(page, "#plan h2", "two".upper())


async def test_a_zone_is_drawn_hidden_permitted_and_deleted(api: FakeCaseApi, tmp_path: Path) -> None:
    api.create_path(PATH)
    async with shown(api, tmp_path, Planning()) as page:
        await page.click("#new-zone")
        for name, text in (
            ("name", "Vein <b>"),
            *((f"point.{point}.{axis}", str(10 * point + axis)) for point in range(2) for axis in range(3)),
            ("shape.radius_mm", "-4"),
        ):
            await page.type(f'[name="{name}"]', text)
        await page.click("dialog .primary")
        await page.wait_for("document.querySelector('[data-field=\"shape.radius_mm\"].at-fault')")
        await page.type('[name="shape.radius_mm"]', "4,5")
        await page.click("dialog .primary")
        await says(page, "[data-zone=Z1]", "Vein <b>")
        (zone,) = api.case().zones
        assert zone.shape.points_lps_mm == ((0.0, 1.0, 2.0), (10.0, 11.0, 12.0))
        assert zone.shape.radius_mm == 4.5

        await page.click("[data-zone=Z1] [aria-label^=show]")
        await page.wait_for("document.querySelector('[data-zone=Z1].hidden-zone')")
        assert not api.case().zones[0].shown
        await page.click("[data-zone=Z1] [aria-label^=permit]")
        await page.click("dialog .primary")
        await says(page, "[data-zone=Z1]", "touched, permitted")
        assert api.case().paths[0].permitted_zone_ids == ("Z1",)
        await page.click("#outlines")
        await says(page, "#outlines", "Outlines on")
        assert not api.case().zones_shown

        await page.click("[data-zone=Z1] [aria-label^=delete]")
        await page.click("dialog .primary")
        await page.wait_for("!document.querySelector('[data-zone=Z1]')")
        await page.click("#undo")
        await says(page, "[data-zone=Z1]", "Vein <b>")
        assert "undo" in await page.text("#history-said")
        await page.click("#redo")
        await page.wait_for("!document.querySelector('[data-zone=Z1]')")
        await page.click("#redo")
        await says(page, "#history-said", "nothing to redo")


async def test_a_path_goes_from_stage_to_stage(api: FakeCaseApi, tmp_path: Path) -> None:
    api.create_path(PATH)
    async with shown(api, tmp_path) as page:
        await page.click("[data-stage=placed]")
        await says(page, "#plan .tag", "Pin placed")
        await page.click("[data-stage=verified]")
        await says(page, "#plan .tag", "Verified")
        assert api.case().paths[0].stage == "verified"


async def test_a_corridor_is_found_and_made_a_path_and_none_is_said(api: FakeCaseApi, tmp_path: Path) -> None:
    async with shown(api, tmp_path, Planning()) as page:
        await page.click("#find-corridor")
        await page.type('[name="diameter_mm"]', "9")
        await page.click("dialog .primary")
        await says(page, "#corridor", "the sacrum is too narrow")
        assert not await page.evaluate("document.querySelector('#take-corridor') !== null")
        await page.type('[name="diameter_mm"]', "7,3")
        await page.click("dialog .primary")
        await says(page, "#corridor", "A corridor exists")
        await page.click("#take-corridor")
        await says(page, "[data-path=P1]", "7.3 mm")
        assert api.case().paths[0].entry_lps_mm == (80.0, 1.0, 2.0)


async def test_zones_come_from_a_file(api: FakeCaseApi, tmp_path: Path) -> None:
    planning = Planning()
    async with shown(api, tmp_path, planning) as page:
        await page.click("#import-zones")
        await page.evaluate(
            "(() => { const files = new DataTransfer(); files.items.add(new File(['voxels'], 'labels.nii.gz'));"
            "document.querySelector('input[name=labels]').files = files.files; })()"
        )
        await page.click("dialog .primary")
        await page.wait_for("document.querySelector('dialog') === null")
        assert planning.asked[-1] == (b"voxels", "labels.nii.gz", b"totalsegmentator")


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (3840, 2160)])
async def test_nothing_overflows(api: FakeCaseApi, tmp_path: Path, width: int, height: int) -> None:
    api.create_path(PATH | {"label": "ein langer Name, der umbrechen muss, hier und dort"})
    add_zone(api)
    async with shown(api, tmp_path, Planning()) as page:
        await page.size(width, height)
        send_frame(api, 1)
        await says(page, "#clearance", "-1.5 mm")
        overflow = await page.evaluate(
            "[document.documentElement.scrollWidth - innerWidth, document.documentElement.scrollHeight - innerHeight,"
            " document.querySelector('aside').scrollWidth - document.querySelector('aside').clientWidth]"
        )
        assert overflow == [0, 0, 0]
        (tmp_path / "page.png").write_bytes(await page.screenshot())
