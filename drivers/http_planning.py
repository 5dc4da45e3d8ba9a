"""The REST side of /api/v1 for planning: zones, clearance, views, corridors, libraries, undo and audit."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from drivers.http_requests import (
    MERGE_PATCH,
    PREFIX,
    author_of,
    content_type,
    json_body,
    json_object,
    json_response,
    resource,
    uploaded,
)
from guidance import case as case_room
from guidance.case import (
    BadFieldsError,
    Case,
    FieldError,
    Imported,
    check_same_case,
    check_same_registration,
    import_zones,
    take_plan,
)
from guidance.case.fields import LARGEST_DIAMETER_MM
from guidance.case.values import checked_length_mm
from guidance.messages import Finding, PlannedPath, Zone
from guidance.plan_shapes import (
    ApproachList,
    CArmList,
    InstrumentList,
    PlanImported,
    ZoneList,
    ZonesImported,
    path_shape,
    zone_shape,
)
from guidance.planning.questions import corridor_question, proposal_question
from guidance.ports import CaseApi, NewZones, PlanningApi
from guidance.shapes import VolumeFinding

_MIB: Final = 1 << 20
# Two thousand control points in 3D Slicer's verbose JSON; it is read in the live loop.
_LARGEST_MARKUPS_BYTES: Final = _MIB
_AUDIT_LINES: Final = 100
_MOST_AUDIT_LINES: Final = 200  # read in the live loop: 2 ms
_MARKUPS_TYPE: Final = "application/json"


class PlanningRoutes:
    """Handlers of /zones, /corridors, the libraries, /markups, /undo, /redo, /audit, and what is asked about a path.

    Args:
        api: the live case.
        planning: what answers; where it takes seconds, another process does.
        maximum_import_mib: the largest file that is taken in.
    """

    def __init__(self, api: CaseApi, planning: PlanningApi, *, maximum_import_mib: int) -> None:
        self._api = api
        self._planning = planning
        self._largest_import_bytes = maximum_import_mib * _MIB

    def routes(self) -> list[BaseRoute]:
        """The routes, for Starlette."""
        return [
            resource("/zones", GET=self.get_zones, POST=self.post_zone),
            resource("/zones/import", POST=self.import_zones),
            resource("/zones/propose", POST=self.propose_zones),
            resource(
                "/zones/{id}", GET=self.get_zone, PUT=self.put_zone, PATCH=self.patch_zone, DELETE=self.delete_zone
            ),
            resource("/paths/{id}/clearance", GET=self.get_clearance, POST=self.try_clearance),
            resource("/paths/{id}/views", GET=self.get_views),
            resource("/corridors", POST=self.find_corridor),
            resource("/instruments", GET=self.get_instruments),
            resource("/approaches", GET=self.get_approaches),
            resource("/c-arms", GET=self.get_c_arms),
            resource("/markups", GET=self.get_markups, POST=self.post_markups),
            resource("/undo", POST=self.undo),
            resource("/redo", POST=self.redo),
            resource("/audit", GET=self.get_audit),
        ]

    # Zones

    async def get_zones(self, _request: Request) -> Response:
        case = self._api.case()
        return json_response(ZoneList(items=tuple(zone_shape(case, zone) for zone in case.zones)))

    async def post_zone(self, request: Request) -> Response:
        fields = await json_object(request)
        zone = self._api.edit(lambda case: case_room.create_zone(case, fields), author=author_of(request))
        return json_response(
            zone_shape(self._api.case(), zone), status=201, headers={"Location": f"{PREFIX}/zones/{zone.id}"}
        )

    async def get_zone(self, request: Request) -> Response:
        case = self._api.case()
        return json_response(zone_shape(case, case_room.find_zone(case, request.path_params["id"])))

    async def put_zone(self, request: Request) -> Response:
        fields = await json_object(request)
        zone = self._api.edit(
            lambda case: case_room.replace_zone(case, request.path_params["id"], fields), author=author_of(request)
        )
        return json_response(zone_shape(self._api.case(), zone))

    async def patch_zone(self, request: Request) -> Response:
        fields = await json_object(request, also=MERGE_PATCH)
        zone = self._api.edit(
            lambda case: case_room.update_zone(case, request.path_params["id"], fields), author=author_of(request)
        )
        return json_response(zone_shape(self._api.case(), zone))

    async def delete_zone(self, request: Request) -> Response:
        self._api.edit(
            lambda case: (case_room.delete_zone(case, request.path_params["id"]), None), author=author_of(request)
        )
        return Response(status_code=204)

    async def import_zones(self, request: Request) -> Response:
        async with uploaded(request, main=("labels", "file"), largest_bytes=self._largest_import_bytes) as upload:
            asked = self._api.case()
            read = await self._planning.read_zones(
                asked, upload.file, filename=upload.filename, names=upload.texts.get("names")
            )
        return self._taken(request, asked, read)

    async def propose_zones(self, request: Request) -> Response:
        what = proposal_question(await json_object(request))
        asked = self._api.case()
        return self._taken(request, asked, await self._planning.propose_zones(asked, what))

    def _taken(self, request: Request, asked: Case, read: NewZones) -> Response:
        def taken(case: Case) -> tuple[Case, Imported]:
            check_same_case(asked, case)
            return import_zones(
                case, read.zones, frame_of_reference_uid=read.frame_of_reference_uid, patient_id=read.patient_id
            )

        imported = self._api.edit(taken, author=author_of(request))
        case = self._api.case()
        return json_response(
            ZonesImported(
                items=tuple(zone_shape(case, zone) for zone in imported.zones),
                already_there=imported.already_there,
                findings=_told(read.findings),
            ),
            status=201 if imported.zones else 200,
        )

    # What is asked

    async def get_clearance(self, request: Request) -> Response:
        case = self._api.case()
        path = case_room.find_path(case, request.path_params["id"])
        return self._answered(case, await self._planning.clearance(case, path))

    async def try_clearance(self, request: Request) -> Response:
        fields = await json_object(request)
        case = self._api.case()
        path = case_room.tried_path(case, request.path_params["id"], fields, diameter_of=self._planning.diameter_of)
        return self._answered(case, await self._planning.clearance(case, path))

    async def get_views(self, request: Request) -> Response:
        case = self._api.case()
        path = case_room.find_path(case, request.path_params["id"])
        return self._answered(case, await self._planning.views(case, path))

    async def find_corridor(self, request: Request) -> Response:
        asked = corridor_question(await json_object(request))
        case = self._api.case()
        corridor = await self._planning.corridor(
            case,
            level=asked.level,
            diameter_mm=asked.diameter_mm,
            margin_mm=asked.margin_mm,
            side=asked.side,
        )
        return self._answered(case, corridor)

    def _answered(self, asked: Case, answer: object) -> Response:
        # Places in a frame that no longer counts would be planned with in the one that does.
        check_same_registration(asked, self._api.case())
        return json_response(answer)

    # Libraries

    async def get_instruments(self, _request: Request) -> Response:
        return json_response(InstrumentList(items=tuple(self._planning.instruments())))

    async def get_approaches(self, _request: Request) -> Response:
        return json_response(ApproachList(items=tuple(self._planning.approaches())))

    async def get_c_arms(self, _request: Request) -> Response:
        return json_response(CArmList(items=tuple(self._planning.c_arms())))

    # Plans of 3D Slicer

    async def get_markups(self, _request: Request) -> Response:
        content = await self._planning.write_markups(self._api.case())
        headers = {"Content-Disposition": 'attachment; filename="plan.mrk.json"'}
        return Response(content, headers=headers, media_type=_MARKUPS_TYPE)

    async def post_markups(self, request: Request) -> Response:
        diameter_mm = _diameter_mm(request)
        if content_type(request) == "multipart/form-data":
            async with uploaded(request, main=("file", "markups"), largest_bytes=_LARGEST_MARKUPS_BYTES) as upload:
                content, filename = await asyncio.to_thread(upload.file.read_bytes), upload.filename
        else:
            content, filename = await json_body(request, largest_bytes=_LARGEST_MARKUPS_BYTES), "markups"
        asked = self._api.case()
        read = await self._planning.read_markups(asked, content, filename=filename)

        def taken(case: Case) -> tuple[Case, tuple[tuple[PlannedPath, ...], tuple[Zone, ...]]]:
            check_same_case(asked, case)
            return take_plan(case, read.paths, read.zones, diameter_mm=diameter_mm)

        paths, zones = self._api.edit(taken, author=author_of(request))
        case = self._api.case()
        return json_response(
            PlanImported(
                paths=tuple(path_shape(case, path) for path in paths),
                zones=tuple(zone_shape(case, zone) for zone in zones),
                findings=_told(read.findings),
            ),
            status=201 if paths or zones else 200,
        )

    # Back and forth

    async def undo(self, request: Request) -> Response:
        return json_response(self._api.edit(case_room.undo, author=author_of(request)))

    async def redo(self, request: Request) -> Response:
        return json_response(self._api.edit(case_room.redo, author=author_of(request)))

    async def get_audit(self, request: Request) -> Response:
        limit = _whole_number(request, "limit", at_most=_MOST_AUDIT_LINES)
        before = _whole_number(request, "before", at_most=None)
        return json_response(self._api.audit(before=before, limit=_AUDIT_LINES if limit is None else limit))


def _told(findings: tuple[Finding, ...]) -> tuple[VolumeFinding, ...]:
    return tuple(VolumeFinding(code=found.code, severity=found.severity, message=found.message) for found in findings)


def _diameter_mm(request: Request) -> float | None:
    said = request.query_params.get("diameter_mm")
    if said is None:
        return None
    try:
        return checked_length_mm(float(said), at_most=LARGEST_DIAMETER_MM)
    except ValueError:
        raise BadFieldsError(
            [FieldError("diameter_mm", f"must be greater than 0 and at most {LARGEST_DIAMETER_MM:g} mm")], what="query"
        ) from None


def _whole_number(request: Request, name: str, *, at_most: int | None) -> int | None:
    said = request.query_params.get(name)
    if said is None:
        return None
    if not (said.isascii() and said.isdigit()) or int(said) < 1 or (at_most is not None and int(said) > at_most):
        most = f" to {at_most}" if at_most is not None else " or more"
        raise BadFieldsError([FieldError(name, f"must be a whole number, 1{most}")], what="query")
    return int(said)
