"""Makes docs/pictures: `make pictures` runs the demonstration as a user would, and photographs its page."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from drivers.commands.latency_rig import free_port
from tests.helpers.browser import Page, open_page

_FOLDER: Final = Path(__file__).resolve().parents[1] / "docs" / "pictures"
_SIZE: Final = (1280, 800)
_ENDS_WITHIN_S: Final = 30
_DRAWN: Final = "['Live', 'trusted'].every((word) => document.body?.innerText.includes(word))"
# frame numbers of the script: still at a path's progression view, and at its bull's-eye view
_VIEWS: Final = (("page.png", 130), ("bulls_eye.png", 245))


async def _make() -> None:
    port = free_port()
    environment = {**os.environ, "GUIDANCE_HTTP_PORT": str(port)}
    demo = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "drivers.cli", "demo", env=environment, stdout=asyncio.subprocess.PIPE
    )
    if demo.stdout is None:
        raise RuntimeError("the demonstration has no output")
    try:
        while line := await demo.stdout.readline():
            if b"Page:" in line:
                break
        with tempfile.TemporaryDirectory() as folder:
            async with open_page(f"http://127.0.0.1:{port}/", Path(folder), width=_SIZE[0], height=_SIZE[1]) as page:
                await page.wait_for(_DRAWN)
                for name, frame in _VIEWS:
                    await _wait_for_frame(page, frame)
                    _save(await page.screenshot(), _FOLDER / name)
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
    asyncio.run(_make())
