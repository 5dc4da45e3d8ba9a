"""Errors as application/problem+json (RFC 9457); decides only which HTTP status an error's code has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from guidance.case import BadFieldsError
from guidance.errors import CaseError, ConfigError, GuidanceError
from guidance.shapes import FieldAtFault, Problem
from guidance.wire.json_text import json_text

# Planning's process is starting, full or ending: the same question is answered in a moment.
_NOT_NOW: Final = frozenset({"planning_busy", "planning_slow", "planning_ended", "stopping"})
_RETRY_AFTER_S: Final = "1"
_NAMED_IN_BODY: Final = {"unknown_brand": "brand"}  # the resource is there; a member of the request is at fault
_LOST_VOXELS: Final = "unknown_mask"  # the path or zone that was asked for is there; a file of a zone is not
_IN_FILE: Final = re.compile(r"\w+\[\d+\](\.\w+|\[\d+\])*")  # markups[0].controlPoints[1].position
_PARTS: Final = re.compile(r"\w+")


class RequestError(Exception):
    """A request that never reaches the case: not JSON, too large, from a foreign page."""

    def __init__(self, status: int, detail: str, *, code: str, mend: str = "") -> None:
        super().__init__(detail)
        self.problem = _problem(status, detail, code=code, mend=mend)


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The response that carries a problem."""
    return Response(
        json_text(problem),
        status_code=problem.status,
        headers=dict(headers or {}),
        media_type="application/problem+json",
    )


async def on_guidance_error(_request: Request, error: Exception) -> Response:
    """Starlette handler: what the case, or planning, does not allow or cannot read."""
    assert isinstance(error, GuidanceError)
    detail = str(error.args[0])
    if isinstance(error, BadFieldsError):
        at_fault = tuple(
            FieldAtFault(field=field.field, message=field.message, pointer=_pointer(field.field))
            for field in error.errors
        )
        return problem_response(_problem(422, detail, code=error.code, mend=error.mend, errors=at_fault))
    if isinstance(error, CaseError) and (field := _NAMED_IN_BODY.get(error.code)):
        named = (FieldAtFault(field=field, message=detail, pointer=_pointer(field)),)
        return problem_response(_problem(422, detail, code=error.code, mend=error.mend, errors=named))
    status = _status(error)
    headers = {"Retry-After": _RETRY_AFTER_S} if status == 503 else None
    return problem_response(_problem(status, detail, code=error.code, mend=error.mend), headers)


def _status(error: GuidanceError) -> int:
    if error.code in _NOT_NOW:
        return 503
    if isinstance(error, CaseError):
        return 404 if error.code.startswith("unknown_") and error.code != _LOST_VOXELS else 409
    # The site's settings are at fault, not who asks; a file or a geometry that cannot be used is the asker's.
    return 500 if isinstance(error, ConfigError) else 422


async def on_request_error(_request: Request, error: Exception) -> Response:
    """Starlette handler: a request that cannot be understood or is not let in."""
    assert isinstance(error, RequestError)
    return problem_response(error.problem)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette handler: no such resource, or no such method of it."""
    assert isinstance(error, HTTPException)
    words = {404: f"there is no {request.url.path}", 405: f"{request.url.path} does not take {request.method}"}
    detail = words.get(error.status_code, error.detail)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    mend = "GET /api/v1/openapi.json lists what there is"
    return problem_response(_problem(error.status_code, detail, code=code, mend=mend), error.headers)


async def on_bug(_request: Request, _error: Exception) -> Response:
    """Starlette handler: our bug; Starlette raises it again after the answer, so that it is logged."""
    return problem_response(_problem(500, "the server failed on this request", code="internal", mend="see its log"))


def _problem(status: int, detail: str, **members: Any) -> Problem:
    return Problem(type="about:blank", title=HTTPStatus(status).phrase, status=status, detail=detail, **members)


def _pointer(field: str) -> str:
    # A member of the two objects in a request is told with a dot; so is one of a file, after the place in its list.
    if _IN_FILE.fullmatch(field):
        parts = _PARTS.findall(field)
    else:
        parts = field.split(".") if field.startswith(("shape.", "ablation.")) else [field]
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
