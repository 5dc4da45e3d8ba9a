"""The REST side of /api/v1 for case, volumes, paths and live state: requests to edits of the case, values to JSON."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from drivers.http_requests import MERGE_PATCH, PREFIX, author_of, json_object, json_response, resource
from guidance import case as case_room
from guidance.case import DiameterOf
from guidance.openapi import openapi_document
from guidance.plan_shapes import PathList, path_shape
from guidance.ports import CaseApi
from guidance.shapes import VolumeList, case_shape, volume_shape
from guidance.wire.json_text import json_text


class CaseRoutes:
    """Handlers of /case, /volumes, /paths, /geometry, /status and /openapi.json.

    Args:
        api: the live case.
        diameter_of: the instrument library's diameter in mm; None for what is not in it.
    """

    def __init__(self, api: CaseApi, diameter_of: DiameterOf) -> None:
        self._api = api
        self._diameter_of = diameter_of
        self._openapi = json_text(openapi_document())

    def routes(self) -> list[BaseRoute]:
        """The routes, for Starlette."""
        return [
            resource("/case", GET=self.get_case, PUT=self.put_case, DELETE=self.delete_case),
            resource("/volumes", GET=self.get_volumes),
            resource("/volumes/{id}", GET=self.get_volume),
            resource("/paths", GET=self.get_paths, POST=self.post_path),
            resource(
                "/paths/{id}", GET=self.get_path, PUT=self.put_path, PATCH=self.patch_path, DELETE=self.delete_path
            ),
            resource("/paths/{id}/stage", POST=self.set_stage, PUT=self.set_stage),
            resource("/geometry", GET=self.get_geometry),
            resource("/status", GET=self.get_status),
            resource("/openapi.json", GET=self.get_openapi),
        ]

    async def get_case(self, _request: Request) -> Response:
        return json_response(case_shape(self._api.case()))

    async def put_case(self, request: Request) -> Response:
        fields = await json_object(request)
        self._api.edit(lambda case: (case_room.update_case(case, fields), None), author=author_of(request))
        return json_response(case_shape(self._api.case()))

    async def delete_case(self, request: Request) -> Response:
        self._api.edit(lambda case: (case_room.new_case(case), None), author=author_of(request))
        return Response(status_code=204)

    async def get_volumes(self, _request: Request) -> Response:
        case = self._api.case()
        return json_response(VolumeList(items=tuple(volume_shape(case, volume) for volume in case.volumes)))

    async def get_volume(self, request: Request) -> Response:
        case = self._api.case()
        return json_response(volume_shape(case, case_room.find_volume(case, request.path_params["id"])))

    async def get_paths(self, _request: Request) -> Response:
        case = self._api.case()
        return json_response(PathList(items=tuple(path_shape(case, path) for path in case.paths)))

    async def post_path(self, request: Request) -> Response:
        fields = await json_object(request)
        path = self._api.edit(
            lambda case: case_room.create_path(case, fields, diameter_of=self._diameter_of),
            author=author_of(request),
        )
        return json_response(
            path_shape(self._api.case(), path), status=201, headers={"Location": f"{PREFIX}/paths/{path.id}"}
        )

    async def get_path(self, request: Request) -> Response:
        case = self._api.case()
        return json_response(path_shape(case, case_room.find_path(case, request.path_params["id"])))

    async def put_path(self, request: Request) -> Response:
        fields = await json_object(request)
        path = self._api.edit(
            lambda case: case_room.replace_path(case, request.path_params["id"], fields, diameter_of=self._diameter_of),
            author=author_of(request),
        )
        return json_response(path_shape(self._api.case(), path))

    async def patch_path(self, request: Request) -> Response:
        fields = await json_object(request, also=MERGE_PATCH)
        path = self._api.edit(
            lambda case: case_room.update_path(case, request.path_params["id"], fields, diameter_of=self._diameter_of),
            author=author_of(request),
        )
        return json_response(path_shape(self._api.case(), path))

    async def delete_path(self, request: Request) -> Response:
        self._api.edit(
            lambda case: (case_room.delete_path(case, request.path_params["id"]), None), author=author_of(request)
        )
        return Response(status_code=204)

    async def set_stage(self, request: Request) -> Response:
        fields = await json_object(request)
        path = self._api.edit(
            lambda case: case_room.set_stage(case, request.path_params["id"], fields), author=author_of(request)
        )
        return json_response(path_shape(self._api.case(), path))

    async def get_geometry(self, _request: Request) -> Response:
        return json_response(self._api.geometry())

    async def get_status(self, _request: Request) -> Response:
        return json_response(self._api.status())

    async def get_openapi(self, _request: Request) -> Response:
        return Response(self._openapi, media_type="application/json")
