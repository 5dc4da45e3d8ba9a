"""JSON Schemas of all messages, generated from the shapes; no shape is written down twice."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final

import msgspec

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
from guidance.shapes import (
    CaseAnswer,
    CaseUpdate,
    GeometryAnswer,
    LiveState,
    PictureHeader,
    Problem,
    StatusAnswer,
    Volume,
    VolumeList,
)

# File name in docs/schemas -> shape.
HTTP_SCHEMAS: Final[dict[str, type[msgspec.Struct]]] = {
    "http-acknowledgement": Acknowledgement,
    "http-alert": AlertAnswer,
    "http-alert-list": AlertList,
    "http-approach-list": ApproachList,
    "http-audit": AuditPage,
    "http-c-arm-list": CArmList,
    "http-case": CaseAnswer,
    "http-case-update": CaseUpdate,
    "http-cement": CementAnswer,
    "http-cement-brand-list": CementBrandList,
    "http-cement-front": CementFront,
    "http-cement-start": CementStart,
    "http-clearance": Clearance,
    "http-corridor": Corridor,
    "http-corridor-fields": CorridorFields,
    "http-geometry": GeometryAnswer,
    "http-instrument-list": InstrumentList,
    "http-live-state": LiveState,
    "http-path": Path,
    "http-path-fields": PathFields,
    "http-path-list": PathList,
    "http-path-patch": PathPatch,
    "http-picture-header": PictureHeader,
    "http-plan-imported": PlanImported,
    "http-problem": Problem,
    "http-propose-fields": ProposeFields,
    "http-registration": RegistrationAnswer,
    "http-registration-fields": RegistrationFields,
    "http-registration-state": RegistrationState,
    "http-stage-fields": StageFields,
    "http-status": StatusAnswer,
    "http-undone": Undone,
    "http-views": Views,
    "http-volume": Volume,
    "http-volume-list": VolumeList,
    "http-zone": ZoneAnswer,
    "http-zone-fields": ZoneFields,
    "http-zone-list": ZoneList,
    "http-zone-patch": ZonePatch,
    "http-zones-imported": ZonesImported,
}

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def message_schemas(shapes: Mapping[str, type[msgspec.Struct]]) -> dict[str, dict[str, Any]]:
    """One self-contained JSON Schema (2020-12) per shape: file name without suffix -> schema."""
    schemas = {}
    for name, shape in shapes.items():
        schema = dedented(msgspec.json.schema(shape))
        schemas[name] = {"$schema": DIALECT, "$id": f"{name}.json", **schema}
    return schemas


def dedented(schema: Any) -> Any:
    """A schema with descriptions at the margin: from Python 3.13 on docstrings come without their indentation."""
    if isinstance(schema, dict):
        return {
            key: inspect.cleandoc(value) if key == "description" and isinstance(value, str) else dedented(value)
            for key, value in schema.items()
        }
    return [dedented(part) for part in schema] if isinstance(schema, list) else schema
