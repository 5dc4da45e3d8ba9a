"""The page in a browser over a case API and planning that the test holds."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from drivers.http import HttpServer
from guidance.config import HttpSettings
from guidance.ports import CementApi, PlanningApi, RegistrationApi
from tests.helpers.browser import Page, open_page
from tests.helpers.case_api import FakeCaseApi
from tests.helpers.cement import FakeCementApi
from tests.helpers.live_feed import SIZE_PX
from tests.helpers.planning_api import FakePlanningApi
from tests.helpers.registration_api import FakeRegistrationApi


@contextlib.asynccontextmanager
async def shown(
    api: FakeCaseApi,
    folder: Path,
    planning: PlanningApi | None = None,
    registration: RegistrationApi | None = None,
    cement: CementApi | None = None,
) -> AsyncIterator[Page]:
    """The page of a server over `api`, connected and with its lists filled."""
    server = HttpServer(
        HttpSettings(port=0),
        api,
        planning or FakePlanningApi(),
        registration or FakeRegistrationApi(),
        cement or FakeCementApi(),
    )
    await server.start()
    try:
        async with open_page(f"http://127.0.0.1:{server.port}/", folder) as page:
            await api.wait_for_subscribers(1)
            await page.wait_for("document.querySelector('#volume-shown strong') !== null")
            yield page
            # The page's own policy (CSP) and scripts have nothing to complain of; refusals are what a test asks for.
            assert [problem for problem in page.problems if "422" not in problem and "409" not in problem] == []
    finally:
        await server.stop()


async def pixel(page: Page, u: float, v: float) -> list[int]:
    """RGB on the canvas at a pixel of the live picture."""
    value = await page.evaluate(
        "(() => { const c = document.querySelector('canvas'); const n = " + str(SIZE_PX) + ";"
        "const s = Math.min(c.width, c.height) / n;"
        f"const x = (c.width - s * n) / 2 + s * ({u} + 0.5), y = (c.height - s * n) / 2 + s * ({v} + 0.5);"
        "return [...c.getContext('2d').getImageData(x, y, 1, 1).data.slice(0, 3)]; })()"
    )
    return [int(part) for part in value]
