"""Keeps foreign web pages out: Host against DNS rebinding, Origin against cross-site requests, safe headers."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable
from typing import Final
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from drivers.http_problem import RequestError, problem_response

_FIRST_REFUSAL: Final = 400
_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
# Read by probes and scrapers under whatever name they know; they tell nothing of a patient.
_PUBLIC: Final = frozenset({"/healthz", "/readyz", "/metrics"})

# Everything the page needs comes from here; nothing may frame it or run in it.
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware.

    A name in `Host` that is not ours may have been pointed at this address by a foreign page (DNS rebinding), so only
    addresses, `localhost` and configured names are answered; requests that change something, and the stream, must
    come from a page of the same host or from no page at all.

    Args:
        app: what is guarded.
        names: host names that are ours besides `localhost`.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self.refused: Counter[int] = Counter()  # requests that were not served, by status
        self._app = app
        self._names = {"localhost", *(name.lower() for name in names if name)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if scope["type"] == "websocket":
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                self.refused[refusal.problem.status] += 1
                await receive()
                # A close before the handshake's answer is a plain 403.
                await send({"type": "websocket.close", "code": 1008})
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] >= _FIRST_REFUSAL and scope["path"] not in _PUBLIC:
                    self.refused[message["status"]] += 1
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if refusal is None:
            await self._app(scope, receive, send_guarded)
        else:
            await problem_response(refusal.problem)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> RequestError | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if scope["path"] in _PUBLIC:
            return None
        if not self._is_ours(_split(f"//{host}").hostname or ""):
            return RequestError(
                421, f"this server is not {host!r}", code="unknown_host", mend="add the name to http.allowed_hosts"
            )
        if scope["type"] == "http" and scope["method"] in _SAFE_METHODS:
            return None
        origin = headers.get("origin")
        foreign = origin is not None and _split(origin).netloc.lower() != host.lower()
        if foreign or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            return RequestError(
                403, f"a page of {origin} may not do this", code="foreign_origin", mend="use the server's own page"
            )
        return None

    def _is_ours(self, name: str) -> bool:
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _split(reference: str) -> SplitResult:
    try:
        return urlsplit(reference)
    except ValueError:
        return urlsplit("")
