"""The REST side of /api/v1/registration: where the active volume is seen in the live pictures."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from drivers.http_requests import author_of, json_object_or_nothing, json_response, resource
from guidance.ports import RegistrationApi
from guidance.registration.request import registration_request


class RegistrationRoutes:
    """Handlers of /registration.

    Args:
        registration: what answers; the pictures are registered in another process.
    """

    def __init__(self, registration: RegistrationApi) -> None:
        self._registration = registration

    def routes(self) -> list[BaseRoute]:
        """The routes, for Starlette."""
        return [
            resource(
                "/registration",
                GET=self.get_registration,
                POST=self.post_registration,
                DELETE=self.delete_registration,
            )
        ]

    async def get_registration(self, _request: Request) -> Response:
        return json_response(self._registration.registration())

    async def post_registration(self, request: Request) -> Response:
        asked = registration_request(await json_object_or_nothing(request))
        return json_response(await self._registration.register(asked, author=author_of(request)))

    async def delete_registration(self, request: Request) -> Response:
        self._registration.drop(author=author_of(request))
        return Response(status_code=204)
