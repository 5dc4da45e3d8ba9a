"""The OpenAPI document of everything under /api/v1; its shapes come from the code."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from guidance import VERSION
from guidance.case import AuditPage, Undone
from guidance.cement.alert_answers import AlertAnswer, AlertList
from guidance.cement.answers import CementAnswer, CementBrandList, CementFront
from guidance.cement.request import Acknowledgement, CementStart
from guidance.plan_shapes import (
    ApproachList,
    CArmList,
    CorridorFields,
    InstrumentList,
    Path,
    PathFields,
    PathList,
    PathPatch,
    PlanImported,
    ProposeFields,
    StageFields,
    ZoneAnswer,
    ZoneFields,
    ZoneList,
    ZonePatch,
    ZonesImported,
)
from guidance.planning.answers import Clearance, Corridor, Views
from guidance.registration.answers import RegistrationAnswer
from guidance.registration.request import RegistrationFields, RegistrationState
from guidance.schemas import DIALECT, HTTP_SCHEMAS, dedented
from guidance.shapes import (
    NOTICE,
    CaseAnswer,
    CaseUpdate,
    GeometryAnswer,
    Problem,
    StatusAnswer,
    Volume,
    VolumeList,
)

_ID: Final = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
_OPERATOR: Final = {
    "name": "X-Operator",
    "in": "header",
    "description": "who changes it, for the audit; UTF-8, may be percent-encoded",
    "schema": {"type": "string", "maxLength": 64},
}


def openapi_document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    _, components = msgspec.json.schema_components(
        tuple(HTTP_SCHEMAS.values()), ref_template="#/components/schemas/{name}"
    )
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": DIALECT,
        "info": {"title": "guidance server", "version": VERSION, "description": f"{NOTICE}."},
        "servers": [{"url": "/api/v1"}],
        "paths": _case_paths() | _path_paths() | _zone_paths() | _planning_paths() | _cement_paths(),
        "components": {"schemas": dedented(components)},
    }


def _case_paths() -> dict[str, Any]:
    return {
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
        "/volumes/{id}": {"parameters": [_ID], "get": _operation("One volume", Volume, problems=("404",))},
        "/geometry": {"get": _operation("Newest frame of each input", GeometryAnswer)},
        "/status": {"get": _operation("Inputs, clients, counters, latency", StatusAnswer)},
        "/openapi.json": {"get": _operation("This document", None)},
        "/registration": {
            "get": _operation("Where the active volume is seen now", RegistrationState),
            "post": _operation(
                "Find where the active volume is seen in the live pictures; a refusal is an answer",
                RegistrationAnswer,
                body=RegistrationFields,
                problems=("404", "409", "503"),
            ),
            "delete": _operation("Take the geometry as it is told again", None, status="204"),
        },
        "/undo": {"post": _operation("Take the newest edit of paths and zones back", Undone, problems=("409",))},
        "/redo": {"post": _operation("Do again what was undone last", Undone, problems=("409",))},
        "/audit": {
            "parameters": [
                _query("before", "integer", "only lines with a smaller number"),
                _query("limit", "integer", "at most so many lines, 1 to 200 [100]"),
            ],
            "get": _operation("Who changed what and when, newest last", AuditPage, problems=("422",)),
        },
    }


def _path_paths() -> dict[str, Any]:
    changes = ("404", "409")
    stage = _operation("Take a path a step on or back", Path, body=StageFields, problems=changes)
    return {
        "/paths": {
            "get": _operation("Every path", PathList),
            "post": _operation("Make a path", Path, status="201", body=PathFields, problems=("409",)),
        },
        "/paths/{id}": {
            "parameters": [_ID],
            "get": _operation("One path", Path, problems=("404",)),
            "put": _operation("Replace a path", Path, body=PathFields, problems=changes),
            "patch": _operation("Change what is given (RFC 7396)", Path, body=PathPatch, problems=changes),
            "delete": _operation("Take a path away", None, status="204", problems=("404",)),
        },
        "/paths/{id}/stage": {"parameters": [_ID], "post": stage, "put": stage},
        "/paths/{id}/clearance": {
            "parameters": [_ID],
            "get": _operation("How near it comes to everything else", Clearance, problems=("404", "409", "503")),
            "post": _operation(
                "The same as if the path had these fields; nothing is stored",
                Clearance,
                body=PathPatch,
                problems=("404", "409", "503"),
            ),
        },
        "/paths/{id}/views": {
            "parameters": [_ID],
            "get": _operation("From where to look at it, best first", Views, problems=("404", "409", "503")),
        },
    }


def _zone_paths() -> dict[str, Any]:
    return {
        "/zones": {
            "get": _operation("Every zone", ZoneList),
            "post": _operation("Draw a zone", ZoneAnswer, status="201", body=ZoneFields, problems=("409",)),
        },
        "/zones/{id}": {
            "parameters": [_ID],
            "get": _operation("One zone", ZoneAnswer, problems=("404",)),
            "put": _operation("Replace a zone", ZoneAnswer, body=ZoneFields, problems=("404",)),
            "patch": _operation("Change what is given (RFC 7396)", ZoneAnswer, body=ZonePatch, problems=("404",)),
            "delete": _operation("Take a zone away, and all permissions for it", None, status="204", problems=("404",)),
        },
        "/zones/import": {
            "post": _with_parts(
                _operation(
                    "Zones from a label map, DICOM SEG, RT Structure Set or markups file; 200 where all were there",
                    ZonesImported,
                    status="201",
                    problems=("400", "409", "413", "415", "422", "503"),
                ),
                {
                    "labels": {"type": "string", "format": "binary", "description": "the file"},
                    "names": {
                        "type": "string",
                        "description": "for a label map: a names table, or the word totalsegmentator",
                    },
                },
                required="labels",
            )
        },
        "/zones/propose": {
            "post": _operation(
                "Bone or skin proposed from the active volume; takes seconds",
                ZonesImported,
                status="201",
                body=ProposeFields,
                problems=("409", "503"),
            )
        },
    }


def _planning_paths() -> dict[str, Any]:
    return {
        "/corridors": {
            "post": _operation(
                "The best straight corridor through bone; takes seconds",
                Corridor,
                body=CorridorFields,
                problems=("409", "503"),
            )
        },
        "/instruments": {"get": _operation("The instrument library", InstrumentList)},
        "/approaches": {"get": _operation("The approach templates", ApproachList)},
        "/c-arms": {"get": _operation("The C-arm models", CArmList)},
        "/markups": {
            "get": _operation("Paths and drawn zones as a 3D Slicer markups file", None),
            "post": _with_parts(
                _operation(
                    "Paths and zones of a 3D Slicer markups file, as JSON or as a file, whole or not at all",
                    PlanImported,
                    status="201",
                    problems=("400", "409", "413", "415", "422"),
                )
                | {"parameters": [_OPERATOR, _query("diameter_mm", "number", "for lines without one")]},
                {"file": {"type": "string", "format": "binary"}},
                required="file",
            ),
        },
    }


def _cement_paths() -> dict[str, Any]:
    device = _ID | {"name": "device", "description": "the input, such as Fluoro"}
    name = _ID | {"name": "name", "description": "one of `maps` of /cement/inputs/{device}"}
    return {
        "/cement": {"get": _operation("What is known of cement now", CementAnswer)},
        "/cement/start": {
            "post": _operation(
                "Take the last live frames as the reference and follow what is new",
                CementAnswer,
                body=CementStart,
                problems=("409",),
            )
        },
        "/cement/stop": {"post": _operation("Follow no longer", CementAnswer) | {"parameters": [_OPERATOR]}},
        "/cement/brands": {"get": _operation("The cements that are known by name", CementBrandList)},
        "/cement/inputs/{device}": {
            "parameters": [device],
            "get": _operation("The cement's front in the input's newest frame", CementFront, problems=("404",)),
        },
        "/cement/inputs/{device}/maps/{name}": {
            "parameters": [device, name],
            "get": _operation(
                "One number per pixel of the input's newest frame, as a NumPy file; X-Frame-Number is the frame's",
                None,
                problems=("404",),
            ),
        },
        "/alerts": {"get": _operation("All latched alerts, the most important first", AlertList)},
        "/alerts/{id}/acknowledge": {
            "parameters": [_ID],
            "post": _operation(
                "Say that an alert was seen; it goes once it is no longer true",
                AlertAnswer,
                body=Acknowledgement,
                problems=("404",),
            ),
        },
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
        operation["parameters"] = [_OPERATOR]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _reference(body)}}}
        problems = (*problems, "400", "413", "415", "422")
    for problem in sorted(set(problems)):
        responses[problem] = {
            "description": "what is wrong, and the mend",
            "content": {"application/problem+json": {"schema": _reference(Problem)}},
        }
    return operation


def _with_parts(operation: dict[str, Any], parts: dict[str, Any], *, required: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": parts, "required": [required]}
    content = {"multipart/form-data": {"schema": schema}}
    return {"parameters": [_OPERATOR], **operation, "requestBody": {"required": True, "content": content}}


def _query(name: str, kind: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": {"type": kind}}


def _reference(shape: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{shape.__name__}"}
