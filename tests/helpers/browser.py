"""Headless Chromium over its DevTools protocol: just what a test of the page needs."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_START_WITHIN_S = 60
_LIES_STILL_MS = 150
_ANSWER_WITHIN_S = 30
_FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    "--remote-debugging-port=0",
)


class Page:
    """One tab."""

    def __init__(self, socket: ClientConnection, session_id: str) -> None:
        self.problems: list[str] = []
        self._socket = socket
        self._session_id = session_id
        self._numbers = itertools.count(1000)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader = asyncio.create_task(self._read())

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One DevTools command, and its answer."""
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        message = {"id": number, "sessionId": self._session_id, "method": method, "params": parameters}
        await self._socket.send(json.dumps(message))
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            return await answer

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        answer = await self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def wait_for(self, expression: str) -> Any:
        """Until the expression is true in the page; looks again at every picture the page paints."""
        waiting = (
            "new Promise((done, failed) => { const until = performance.now() + 20000;"
            f"const look = () => {{ const value = ({expression}); if (value) done(value);"
            f"else if (performance.now() > until) failed(new Error({json.dumps('never: ' + expression)}));"
            "else setTimeout(look, 20); }; look(); })"
        )
        return await self.evaluate(waiting)

    async def text(self, selector: str) -> str:
        """What an element says."""
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    async def click(self, selector: str) -> None:
        """A real mouse click in the middle of the element, once it lies still and nothing is over it.

        While the page fills its lists what stands below them moves: a person waits for that too.
        """
        name = json.dumps(selector)
        await self.evaluate("window.lay = null")
        place = await self.wait_for(
            f"(() => {{ const e = document.querySelector({name}); if (!e) return null;"
            "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            "const at = [r.x + r.width / 2, r.y + r.height / 2], top = document.elementFromPoint(...at);"
            "if (!r.width || !top || !(e.contains(top) || top.contains(e))) { window.lay = null; return null; }"
            "const now = performance.now(), key = at.join();"
            "if (!window.lay || window.lay.key !== key) window.lay = {key, since: now};"
            f"return now - window.lay.since >= {_LIES_STILL_MS} ? at : null; }})()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    async def type(self, selector: str, text: str) -> None:
        """Put text into a field, as typing it does."""
        await self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.focus(); e.select(); }})()"
        )
        await self.send("Input.insertText", text=text)

    async def press(self, key: str, code: int) -> None:
        """Press a key by its name and Windows key code."""
        for kind in ("rawKeyDown", "keyUp"):
            await self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    async def size(self, width: int, height: int) -> None:
        """Make the window so large, in px."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def screenshot(self) -> bytes:
        """What is seen, as PNG."""
        answer = await self.send("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])

    async def close(self) -> None:
        """Stop listening to the tab."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            if (answer := self._answers.pop(message.get("id"), None)) is not None:
                if "error" in message:
                    answer.set_exception(AssertionError(f"DevTools: {message['error']}"))
                else:
                    answer.set_result(message["result"])
            elif message.get("method") == "Runtime.exceptionThrown":
                self.problems.append(str(message["params"]["exceptionDetails"]))
            elif message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.problems.append(str(message["params"]["entry"]["text"]))


@contextlib.asynccontextmanager
async def open_page(url: str, folder: Path, *, width: int = 1280, height: int = 720) -> AsyncIterator[Page]:
    """A page in a browser of its own with an empty profile in `folder`.

    The test fails, naming the command that gets it, where there is no browser.
    """
    program = next((found for name in _PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.fail("Chromium is missing: run `make system`")
    # Chromium refuses its sandbox as root, which is who runs in containers.
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
    process = await asyncio.create_subprocess_exec(
        program,
        *_FLAGS,
        *sandbox,
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(_START_WITHIN_S):
            address = ""
            while not address:
                line = (await process.stderr.readline()).decode()
                if not line:
                    pytest.fail("Chromium did not start")
                if line.startswith("DevTools listening on "):
                    address = line.removeprefix("DevTools listening on ").strip()
        drain = asyncio.create_task(process.stderr.read())
        async with connect(address, max_size=None, proxy=None) as socket:
            target = await _first(socket, 1, "Target.createTarget", url="about:blank")
            attached = await _first(socket, 2, "Target.attachToTarget", targetId=target["targetId"], flatten=True)
            page = Page(socket, attached["sessionId"])
            try:
                for domain in ("Page", "Runtime", "Log"):
                    await page.send(f"{domain}.enable")
                await page.size(width, height)
                await page.send("Page.navigate", url=url)
                yield page
            finally:
                await page.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
    await drain


async def _first(socket: ClientConnection, number: int, method: str, **parameters: Any) -> dict[str, Any]:
    await socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
    async with asyncio.timeout(_ANSWER_WITHIN_S):
        while True:
            message = json.loads(await socket.recv())
            if message.get("id") == number:
                result: dict[str, Any] = message["result"]
                return result
