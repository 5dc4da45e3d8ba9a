"""The REST side of /api/v1/cement and /api/v1/alerts: start, stop, what is known, acknowledgement."""

from __future__ import annotations

import asyncio
import io
from typing import Final

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from drivers.http_requests import author_of, json_object, json_response, resource
from guidance.cement.answers import CementBrandList
from guidance.cement.request import acknowledged_by, cement_material
from guidance.cement.told import MAPS, cement_front, map_of
from guidance.errors import CaseError
from guidance.messages import F32, U8, CementView
from guidance.ports import CementApi

_NPY_TYPE: Final = "application/x-npy"


class CementRoutes:
    """Handlers of /cement and /alerts.

    Args:
        cement: what answers.
    """

    def __init__(self, cement: CementApi) -> None:
        self._cement = cement

    def routes(self) -> list[BaseRoute]:
        """The routes, for Starlette."""
        return [
            resource("/cement", GET=self.get_cement),
            resource("/cement/start", POST=self.start),
            resource("/cement/stop", POST=self.stop),
            resource("/cement/brands", GET=self.get_brands),
            resource("/cement/inputs/{device}", GET=self.get_front),
            resource("/cement/inputs/{device}/maps/{name}", GET=self.get_map),
            resource("/alerts", GET=self.get_alerts),
            resource("/alerts/{id}/acknowledge", POST=self.acknowledge),
        ]

    async def get_cement(self, _request: Request) -> Response:
        return json_response(self._cement.cement())

    async def start(self, request: Request) -> Response:
        material = cement_material(await json_object(request))
        self._cement.start_cement(material, author=author_of(request))
        return json_response(self._cement.cement())

    async def stop(self, request: Request) -> Response:
        self._cement.stop_cement(author=author_of(request))
        return json_response(self._cement.cement())

    async def get_brands(self, _request: Request) -> Response:
        return json_response(CementBrandList(items=tuple(self._cement.brands())))

    async def get_front(self, request: Request) -> Response:
        return json_response(cement_front(self._view(request)))

    async def get_map(self, request: Request) -> Response:
        view, name = self._view(request), str(request.path_params["name"])
        values = map_of(view, name)
        if values is None:
            mend = f"there are {', '.join(found for found in MAPS if map_of(view, found) is not None) or 'none'}"
            raise CaseError(f"{view.device} has no map {name!r} of its newest frame", code="unknown_map", mend=mend)
        content = await asyncio.to_thread(_npy, values)
        number = "" if view.frame_number is None else str(view.frame_number)
        return Response(content, headers={"X-Frame-Number": number}, media_type=_NPY_TYPE)

    async def get_alerts(self, _request: Request) -> Response:
        return json_response(self._cement.alerts())

    async def acknowledge(self, request: Request) -> Response:
        by = acknowledged_by(await json_object(request))
        return json_response(self._cement.acknowledge(request.path_params["id"], by=by))

    def _view(self, request: Request) -> CementView:
        device = str(request.path_params["device"])
        view = self._cement.cement_view(device)
        if view is None:
            raise CaseError(
                f"cement is not followed in {device!r}", code="unknown_input", mend="start it, or look at GET /cement"
            )
        return view


def _npy(values: F32 | U8) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()
