"""Makes docs/pictures: `make pictures` runs `guidance plan views` and the demonstration as a user would.

The names of what to make may follow: `plan`, `page`, `cement`; without one, all.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from drivers.commands.demo_volume import find_or_fetch_pelvis
from drivers.commands.latency_rig import free_port
from tests.helpers.browser import Page, open_page

_FOLDER: Final = Path(__file__).resolve().parents[1] / "docs" / "pictures"
_SIZE: Final = (1280, 800)
_ENDS_WITHIN_S: Final = 30
_CEMENT_TOLD: Final = "document.body?.innerText.includes('S1 foramen left: contact possible')"
_DRAWN: Final = "['Live', 'trusted'].every((word) => document.body?.innerText.includes(word))"
# frame numbers of the script: still at a path's progression view, and at its bull's-eye view
_VIEWS: Final = (("page.png", 130), ("bulls_eye.png", 245))
# Foramina and canal drawn by hand on the real pelvis CT: an example, no advice for any patient.
_ZONES: Final = Path(__file__).resolve().parents[1] / "simulators" / "data" / "pelvis_zones.json"
_PLANS: Final = (
    ("plan_short_axis", "S1 short axis left", "42,-40,228", "26,-100,219", "3.2"),
    ("plan_transsacral", "S1 transsacral", "84,-107.5,216.5", "-82,-107.5,216.5", "7.3"),
)
_KINDS: Final = ("slices", "bulls_eye", "progression_1", "progression_2")
_LARGEST_BYTES: Final = 200 * 1024


def _make_plans() -> None:
    pelvis = find_or_fetch_pelvis(print)
    if pelvis.path is None:
        raise RuntimeError(pelvis.reason)
    for name, label, entry, target, diameter in _PLANS:
        with tempfile.TemporaryDirectory() as folder:
            words = ["plan", "views", "--volume", str(pelvis.path), "--zones", str(_ZONES), "--pictures", folder]
            words += [f"--entry-lps-mm={entry}", f"--target-lps-mm={target}", "--diameter-mm", diameter]
            words += ["--patient-position", "HFP", "--label", label]
            subprocess.run([sys.executable, "-m", "drivers.cli", *words], check=True)
            for kind in _KINDS:
                file = _FOLDER / f"{name}_{kind}.png"
                file.write_bytes((Path(folder) / f"{label.lower().replace(' ', '_')}_{kind}.png").read_bytes())
                print(f"{file}: {file.stat().st_size // 1024} KiB")
                if file.stat().st_size > _LARGEST_BYTES:
                    raise RuntimeError(f"{file} is too large for a repository")


async def _make_page() -> None:
    async with _demonstration() as page:
        await page.wait_for(_DRAWN)
        for name, frame in _VIEWS:
            await _wait_for_frame(page, frame)
            _save(await page.screenshot(), _FOLDER / name)


async def _make_cement() -> None:
    async with _demonstration("--tour-seconds", "2") as page:
        await page.wait_for(_CEMENT_TOLD)
        _save(await page.screenshot(), _FOLDER / "cement.png")


@asynccontextmanager
async def _demonstration(*words: str) -> AsyncIterator[Page]:
    """The page of a demonstration that ends with this."""
    port = free_port()
    environment = {**os.environ, "GUIDANCE_HTTP_PORT": str(port)}
    demo = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "drivers.cli", "demo", *words, env=environment, stdout=asyncio.subprocess.PIPE
    )
    if demo.stdout is None:
        raise RuntimeError("the demonstration has no output")
    try:
        while line := await demo.stdout.readline():
            if b"Page:" in line:
                break
        with tempfile.TemporaryDirectory() as folder:
            async with open_page(f"http://127.0.0.1:{port}/", Path(folder), width=_SIZE[0], height=_SIZE[1]) as page:
                yield page
    finally:
        demo.send_signal(signal.SIGINT)
        async with asyncio.timeout(_ENDS_WITHIN_S):
            await demo.wait()


async def _wait_for_frame(page: Page, frame: int) -> None:
    await page.wait_for(f"(document.body.innerText.match(/frame (\\d+)/) || [0, 0])[1] >= {frame}")


def _save(png: bytes, file: Path) -> None:
    """The same picture, in fewer bytes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    cv2.imwrite(str(file), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(f"{file}: {file.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["plan", "page", "cement"]
    if "plan" in wanted:
        _make_plans()
    if "page" in wanted:
        asyncio.run(_make_page())
    if "cement" in wanted:
        asyncio.run(_make_cement())
