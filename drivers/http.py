"""The HTTP listener in the server's own loop: API, page, health, metrics and the live stream."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from drivers.http_api import CaseRoutes
from drivers.http_cement import CementRoutes
from drivers.http_connections import bounded_protocol
from drivers.http_guard import Guard
from drivers.http_metrics import CONTENT_TYPE, MetricsPage
from drivers.http_planning import PlanningRoutes
from drivers.http_problem import RequestError, on_bug, on_guidance_error, on_http_exception, on_request_error
from drivers.http_registration import RegistrationRoutes
from drivers.http_requests import PREFIX
from drivers.http_stream import StreamEndpoint
from drivers.tasks import start_task
from guidance.config import HttpSettings
from guidance.errors import ConfigError, GuidanceError
from guidance.ports import CaseApi, CementApi, PlanningApi, RegistrationApi
from guidance.shapes import ClientStatus
from guidance.wire.json_text import json_text

_PAGE: Final = Path(__file__).parent / "page"
_PAGE_FILES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_LARGEST_WORD_BYTES: Final = 4096  # what a page may send on the stream: acknowledgements
_CLOSE_WITHIN_S: Final = 1  # of the 5 s that SIGTERM leaves


class HttpServer:
    """API and page.

    Args:
        settings: address, port (0: any free one), names that browsers may use.
        api: what answers; called in the event loop's thread only.
        planning: what answers about plans.
        registration: what answers about where the volume is seen.
        cement: what answers about cement and its alerts.
        maximum_import_mib: the largest file that is taken in.
    """

    def __init__(
        self,
        settings: HttpSettings,
        api: CaseApi,
        planning: PlanningApi,
        registration: RegistrationApi,
        cement: CementApi,
        *,
        maximum_import_mib: int = 256,
    ) -> None:
        self._settings = settings
        self._api = api
        self._planning = planning
        self._registration = registration
        self._cement = cement
        self._maximum_import_mib = maximum_import_mib
        self._stream = StreamEndpoint(api, cement)
        self._metrics = MetricsPage(api.metrics)
        self._guard = self._app()
        self._protocol = bounded_protocol()
        self._server: _EmbeddedServer | None = None
        self._serving: asyncio.Task[None] | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """The port it listens on; 0 before `start`."""
        return self._port

    def clients(self) -> tuple[ClientStatus, ...]:
        """Pages connected to the stream."""
        return self._stream.clients()

    @property
    def refused(self) -> Counter[str]:
        """Requests that were not served, by HTTP status, and connections that were closed, by reason."""
        return (
            Counter({f"http_{status}": count for status, count in self._guard.refused.items()}) + self._protocol.closed
        )

    @property
    def dropped_pictures(self) -> int:
        """Pictures that gave way to newer ones, all pages since the start."""
        return self._stream.dropped_pictures

    async def start(self) -> None:
        """Listen; returns once connections are accepted.

        Raises:
            ConfigError: `port_taken` or `cannot_listen`.
        """
        listener = await _listener(self._settings.host, self._settings.port)
        self._port = listener.getsockname()[1]
        self._server = _EmbeddedServer(
            uvicorn.Config(
                self._guard,
                http=self._protocol,
                ws="websockets-sansio",
                ws_max_size=_LARGEST_WORD_BYTES,
                # Compressing pictures that are compressed costs five times the CPU of sending them.
                ws_per_message_deflate=False,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_CLOSE_WITHIN_S,
            )
        )
        self._serving = start_task(self._server.serve(sockets=[listener]), name="http")
        # Over when it accepts connections; or when it failed, and then its error is ours.
        accepting = asyncio.create_task(self._server.accepting.wait())
        await asyncio.wait({accepting, self._serving}, return_when=asyncio.FIRST_COMPLETED)
        accepting.cancel()
        if self._serving.done():
            self._serving.result()

    async def stop(self) -> None:
        """Close every connection and the listener."""
        if self._server is None or self._serving is None:
            return
        self._server.should_exit = True
        await asyncio.wait({self._serving}, timeout=2 * _CLOSE_WITHIN_S)
        # A page that reads nothing keeps its connection half closed, and from Python 3.12 on the listener with it.
        for connection in tuple(self._server.server_state.connections):
            transport = getattr(connection, "transport", None)
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
        await self._serving
        self._server = self._serving = None

    def _app(self) -> Guard:
        routes: list[BaseRoute] = [
            *CaseRoutes(self._api, self._planning.diameter_of).routes(),
            *RegistrationRoutes(self._registration).routes(),
            *CementRoutes(self._cement).routes(),
            *PlanningRoutes(self._api, self._planning, maximum_import_mib=self._maximum_import_mib).routes(),
            Route("/healthz", self._healthz, methods=["GET"]),
            Route("/readyz", self._readyz, methods=["GET"]),
            Route("/metrics", self._metrics_text, methods=["GET"]),
            *_page_routes(),
        ]
        app = Starlette(
            routes=[*routes, WebSocketRoute(f"{PREFIX}/stream", self._stream.__call__)],
            exception_handlers={
                GuidanceError: on_guidance_error,
                RequestError: on_request_error,
                HTTPException: on_http_exception,
                Exception: on_bug,
            },
        )
        app.router.redirect_slashes = False
        return Guard(app, (self._settings.host, *self._settings.allowed_hosts))

    async def _healthz(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _readyz(self, _request: Request) -> Response:
        ready, reasons = self._api.ready()
        body = json_text({"ready": ready, "reasons": list(reasons)})
        return Response(body, status_code=200 if ready else 503, media_type="application/json")

    async def _metrics_text(self, _request: Request) -> Response:
        return Response(self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})


def _page_routes() -> Iterator[Route]:
    for file in sorted((*_PAGE.glob("*.*"), *_PAGE.glob("built/*.js"))):
        if kind := _PAGE_FILES.get(file.suffix):
            path = "/" if file.name == "index.html" else f"/{file.relative_to(_PAGE).as_posix()}"
            yield Route(path, _file_endpoint(file.read_bytes(), kind), methods=["GET"])


def _file_endpoint(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(_request: Request) -> Response:
        return Response(content, media_type=kind)

    return endpoint


class _EmbeddedServer(uvicorn.Server):
    """Uvicorn without signal handlers (SIGTERM is the server's own business), that says when it accepts."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.accepting.set()


async def _listener(host: str, port: int) -> socket.socket:
    mend = "set http.host and http.port, or GUIDANCE_HTTP_PORT (0: any free one)"
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        raise ConfigError(
            f"HTTP cannot listen on {host}:{port}: {'the port is taken' if taken else error.strerror or error}",
            code="port_taken" if taken else "cannot_listen",
            mend=mend,
        ) from None
