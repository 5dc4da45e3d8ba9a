"""The REST side of /api/v1: requests to calls of the case API, its answers to JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from drivers.http_problem import RequestError
from guidance.ports import CaseApi
from guidance.schemas import openapi_document
from guidance.shapes import PathList, VolumeList, case_shape, path_shape, volume_shape
from guidance.wire.json_text import json_text

PREFIX: Final = "/api/v1"

# A path is a few hundred bytes; nothing of this API needs more.
_LARGEST_BODY_BYTES: Final = 64 * 1024

_MERGE_PATCH: Final = "application/merge-patch+json"


class CaseRoutes:
    """Handlers of /case, /volumes, /paths, /geometry, /status and /openapi.json."""

    def __init__(self, api: CaseApi) -> None:
        self._api = api
        self._openapi = json_text(openapi_document())

    def routes(self) -> list[BaseRoute]:
        """The routes, for Starlette."""
        return [
            _resource("/case", GET=self.get_case, PUT=self.put_case, DELETE=self.delete_case),
            _resource("/volumes", GET=self.get_volumes),
            _resource("/volumes/{id}", GET=self.get_volume),
            _resource("/paths", GET=self.get_paths, POST=self.post_path),
            _resource(
                "/paths/{id}",
                GET=self.get_path,
                PUT=self.put_path,
                PATCH=self.patch_path,
                DELETE=self.delete_path,
            ),
            _resource("/geometry", GET=self.get_geometry),
            _resource("/status", GET=self.get_status),
            _resource("/openapi.json", GET=self.get_openapi),
        ]

    async def get_case(self, _request: Request) -> Response:
        return _json(case_shape(self._api.case()))

    async def put_case(self, request: Request) -> Response:
        return _json(case_shape(self._api.update_case(await _object(request))))

    async def delete_case(self, _request: Request) -> Response:
        self._api.new_case()
        return Response(status_code=204)

    async def get_volumes(self, _request: Request) -> Response:
        case = self._api.case()
        return _json(VolumeList(items=tuple(volume_shape(case, volume) for volume in self._api.volumes())))

    async def get_volume(self, request: Request) -> Response:
        return _json(volume_shape(self._api.case(), self._api.volume(request.path_params["id"])))

    async def get_paths(self, _request: Request) -> Response:
        case = self._api.case()
        return _json(PathList(items=tuple(path_shape(case, path) for path in self._api.paths())))

    async def post_path(self, request: Request) -> Response:
        path = self._api.create_path(await _object(request))
        return _json(path_shape(self._api.case(), path), status=201, headers={"Location": f"{PREFIX}/paths/{path.id}"})

    async def get_path(self, request: Request) -> Response:
        return _json(path_shape(self._api.case(), self._api.path(request.path_params["id"])))

    async def put_path(self, request: Request) -> Response:
        path = self._api.replace_path(request.path_params["id"], await _object(request))
        return _json(path_shape(self._api.case(), path))

    async def patch_path(self, request: Request) -> Response:
        path = self._api.update_path(request.path_params["id"], await _object(request, also=_MERGE_PATCH))
        return _json(path_shape(self._api.case(), path))

    async def delete_path(self, request: Request) -> Response:
        self._api.delete_path(request.path_params["id"])
        return Response(status_code=204)

    async def get_geometry(self, _request: Request) -> Response:
        return _json(self._api.geometry())

    async def get_status(self, _request: Request) -> Response:
        return _json(self._api.status())

    async def get_openapi(self, _request: Request) -> Response:
        return Response(self._openapi, media_type="application/json")


def _resource(path: str, **handlers: Callable[[Request], Awaitable[Response]]) -> Route:
    # One route with all methods: Starlette's 405 then names every method that the resource takes.
    async def endpoint(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return Route(f"{PREFIX}{path}", endpoint, methods=list(handlers))


def _json(value: msgspec.Struct, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json_text(value), status_code=status, headers=headers, media_type="application/json")


async def _object(request: Request, *, also: str = "application/json") -> dict[str, Any]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", also):
        raise RequestError(
            415, f"content type {kind!r} is not taken", code="not_json_type", mend="send application/json"
        )
    body = await _body(request)
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(
            400, f"the body is not JSON: {error}", code="not_json", mend="NaN and Infinity are not JSON either"
        ) from None
    if not isinstance(value, dict):
        raise RequestError(400, "the body is not a JSON object", code="not_an_object", mend='send {"member": value}')
    return value


async def _body(request: Request) -> bytes:
    received = bytearray()
    try:
        async for chunk in request.stream():
            received += chunk
            if len(received) > _LARGEST_BODY_BYTES:
                raise RequestError(
                    413, f"the body has more than {_LARGEST_BODY_BYTES} bytes", code="body_too_large", mend="send less"
                )
    except ClientDisconnect:
        raise RequestError(400, "the body ended early", code="body_cut") from None
    return bytes(received)
