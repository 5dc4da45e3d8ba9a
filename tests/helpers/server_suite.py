"""A running server with one sender and one receiver, for tests of the whole."""

from __future__ import annotations

import asyncio
import json
import struct
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from drivers.server import GuidanceServer
from guidance.config import settings_from_text
from tests.helpers.openigtlink_peer import RawPeer, Received, image_content, message

PATIENCE_S = 60.0
ROWS = COLUMNS = 256
GEOMETRY = {
    "XRay.PrimaryAngleDeg": "0",
    "XRay.SecondaryAngleDeg": "0",
    "XRay.SourceToDetectorMm": "1200",
    "XRay.SourceToIsocenterMm": "750",
    "XRay.ImagerPixelSpacingMm": "1.2 1.2",
    "XRay.IsocenterLpsMm": "0 0 0",
    "XRay.FrameOfReferenceUID": "1.2.3",
    "XRay.Live": "1",
}


def server_settings(folder: Path, **environment: str) -> Any:
    ports = {
        "GUIDANCE_HTTP_PORT": "0",
        "GUIDANCE_OPENIGTLINK_INPUT_PORT": "0",
        "GUIDANCE_OPENIGTLINK_OUTPUT_PORT": "0",
        "GUIDANCE_DICOM_ENABLED": "false",
        "GUIDANCE_DATA_DIR": str(folder),
    }
    return settings_from_text("", ports | environment)


class Suite:
    """A running server with one sender and one receiver."""

    def __init__(self, server: GuidanceServer) -> None:
        self.server = server
        self._rng = np.random.default_rng(1)

    async def connect(self) -> None:
        ports = {
            name: int(where.partition(" ")[0].rpartition(":")[2]) for name, where in self.server.listeners().items()
        }
        self.http = ports["http"]
        self.out = await RawPeer.connect(ports["openigtlink_output"])
        self.into = await RawPeer.connect(ports["openigtlink_input"])

    async def frame(
        self, number: int, *, device: str = "Fluoro", pixels: Any = None, rows: int = ROWS, **metadata: str | None
    ) -> None:
        picture = self._rng.integers(0, 4000, (rows, COLUMNS)).astype("<u2") if pixels is None else pixels
        told = GEOMETRY | {"XRay.FrameNumber": str(number)} | {f"XRay.{key}": text for key, text in metadata.items()}
        content = image_content(picture.shape[1], picture.shape[0], picture.tobytes(), scalar=5)
        stamp = (1_700_000_000 << 32) + (number << 27)
        kept = {key: text for key, text in told.items() if text is not None}
        await self.into.send(message("IMAGE", device, content, timestamp=stamp, metadata=kept))

    async def overlay(self, device: str = "OverlayLayer", *, number: int | None = None) -> tuple[Received, Any]:
        """The next picture of that device (and frame number), as (message, array)."""
        while True:
            received = await self.out.receive_type("IMAGE", check_crc=False)
            if received.device == device and number in (None, int(received.metadata["XRay.FrameNumber"] or -1)):
                break
        _, components, _, _, _, columns, rows, _ = struct.unpack_from(">HBBBB3H", received.content)
        pixels = np.frombuffer(received.content, np.uint8, offset=72).reshape(rows, columns, components)
        return received, pixels

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        def ask() -> Any:
            request = urllib.request.Request(
                f"http://127.0.0.1:{self.http}{path}",
                method=method,
                data=None if body is None else json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                text = answer.read()
                return json.loads(text) if text else None

        return await asyncio.to_thread(ask)

    async def text(self, path: str) -> str:
        """An answer that is no JSON."""

        def ask() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=PATIENCE_S) as answer:
                return str(answer.read().decode())

        return await asyncio.to_thread(ask)

    async def refused(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and problem of a call that must be refused."""
        try:
            answer = await self.call(method, path, body)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(await asyncio.to_thread(error.read))
        raise AssertionError(f"{method} {path} was taken: {answer}")

    async def until(self, method: str, path: str, condition: Callable[[Any], Any]) -> Any:
        """The answer of a call, repeated until the condition holds for it."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                answer = await self.call(method, path)
                if condition(answer):
                    return answer
