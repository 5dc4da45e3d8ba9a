"""JSON Schemas and the OpenAPI document, generated from the shapes; no shape is written down twice."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from guidance import VERSION
from guidance.shapes import (
    NOTICE,
    CaseAnswer,
    CaseUpdate,
    GeometryAnswer,
    Path,
    PathFields,
    PathList,
    PathPatch,
    PictureHeader,
    Problem,
    StatusAnswer,
    Volume,
    VolumeList,
)

# File name in docs/schemas -> shape.
HTTP_SCHEMAS: Final[dict[str, type[msgspec.Struct]]] = {
    "http-case": CaseAnswer,
    "http-case-update": CaseUpdate,
    "http-geometry": GeometryAnswer,
    "http-path": Path,
    "http-path-fields": PathFields,
    "http-path-list": PathList,
    "http-path-patch": PathPatch,
    "http-picture-header": PictureHeader,
    "http-problem": Problem,
    "http-status": StatusAnswer,
    "http-volume": Volume,
    "http-volume-list": VolumeList,
}

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def message_schemas(shapes: Mapping[str, type[msgspec.Struct]]) -> dict[str, dict[str, Any]]:
    """One self-contained JSON Schema (2020-12) per shape: file name without suffix -> schema."""
    schemas = {}
    for name, shape in shapes.items():
        schema = _dedented(msgspec.json.schema(shape))
        schemas[name] = {"$schema": _DIALECT, "$id": f"{name}.json", **schema}
    return schemas


def openapi_document() -> dict[str, Any]:
    """The OpenAPI 3.1 document of everything under /api/v1."""
    _, components = msgspec.json.schema_components(
        tuple(HTTP_SCHEMAS.values()), ref_template="#/components/schemas/{name}"
    )
    components = _dedented(components)
    path_id = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": _DIALECT,
        "info": {"title": "guidance server", "version": VERSION, "description": f"{NOTICE}."},
        "servers": [{"url": "/api/v1"}],
        "paths": {
            "/case": {
                "get": _operation("The case as it is", CaseAnswer),
                "put": _operation(
                    "Choose the active volume; confirm that stream and volume share a frame",
                    CaseAnswer,
                    body=CaseUpdate,
                    problems=("404", "409"),
                ),
                "delete": _operation("Begin an empty case for the next patient", None, status="204"),
            },
            "/volumes": {"get": _operation("Every volume, oldest first", VolumeList)},
            "/volumes/{id}": {
                "parameters": [path_id],
                "get": _operation("One volume", Volume, problems=("404",)),
            },
            "/paths": {
                "get": _operation("Every path", PathList),
                "post": _operation("Make a path", Path, status="201", body=PathFields, problems=("409",)),
            },
            "/paths/{id}": {
                "parameters": [path_id],
                "get": _operation("One path", Path, problems=("404",)),
                "put": _operation("Replace a path", Path, body=PathFields, problems=("404",)),
                "patch": _operation("Change what is given (RFC 7396)", Path, body=PathPatch, problems=("404",)),
                "delete": _operation("Take a path away", None, status="204", problems=("404",)),
            },
            "/geometry": {"get": _operation("Newest frame of each input", GeometryAnswer)},
            "/status": {"get": _operation("Inputs, clients, counters, latency", StatusAnswer)},
            "/openapi.json": {"get": _operation("This document", None)},
        },
        "components": {"schemas": components},
    }


def _operation(
    summary: str,
    answer: type[msgspec.Struct] | None,
    *,
    status: str = "200",
    body: type[msgspec.Struct] | None = None,
    problems: tuple[str, ...] = (),
) -> dict[str, Any]:
    responses: dict[str, Any] = {status: {"description": summary}}
    if answer is not None:
        responses[status]["content"] = {"application/json": {"schema": _reference(answer)}}
    operation: dict[str, Any] = {"summary": summary, "responses": responses}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _reference(body)}}}
        problems = (*problems, "400", "413", "415", "422")
    for problem in sorted(problems):
        responses[problem] = {
            "description": "what is wrong, and the mend",
            "content": {"application/problem+json": {"schema": _reference(Problem)}},
        }
    return operation


def _reference(shape: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{shape.__name__}"}


def _dedented(schema: Any) -> Any:
    """The same with descriptions at the margin: from Python 3.13 on docstrings come without their indentation."""
    if isinstance(schema, dict):
        return {
            key: inspect.cleandoc(value) if key == "description" and isinstance(value, str) else _dedented(value)
            for key, value in schema.items()
        }
    return [_dedented(part) for part in schema] if isinstance(schema, list) else schema
