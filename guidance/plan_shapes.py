"""The JSON shapes of everything that is planned as types: paths, zones, what is asked and what comes of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from guidance.case import Case, is_in_active_frame, next_stages
from guidance.messages import (
    AblationSetting,
    MaskShape,
    PathStage,
    PlannedPath,
    PrismShape,
    SphereShape,
    TubeShape,
    Zone,
    ZoneKind,
    ZoneSide,
    ZoneSite,
)
from guidance.planning.approaches import Approach
from guidance.planning.c_arms import CArmModel
from guidance.planning.instruments import Instrument
from guidance.shapes import Color, Vector3Mm, VolumeFinding

Text64 = Annotated[str, msgspec.Meta(max_length=64)]
NameText = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
LevelText = Annotated[str, msgspec.Meta(max_length=16, description="vertebral level, L5 or S1")]
DiameterMm = Annotated[float, msgspec.Meta(gt=0, le=50, description="true outer diameter in mm")]
BevelDeg = Annotated[float, msgspec.Meta(ge=-360, le=360, description="turn of a bevelled tip, seen from the hub")]

DrawnShape = TubeShape | SphereShape | PrismShape


class PathFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client sends to make or replace a path; an instrument of the library brings its diameter."""

    entry_lps_mm: Vector3Mm
    target_lps_mm: Vector3Mm
    diameter_mm: DiameterMm | None = None
    label: Text64 | None = None
    color: Color | None = None
    instrument: Text64 | None = None
    approach: Text64 | None = None
    stage: PathStage | None = None
    permitted_zone_ids: tuple[str, ...] | None = None
    bevel_deg: BevelDeg | None = None
    ablation: AblationSetting | None = None


class PathPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a client sends to change a path: only what is to change."""

    entry_lps_mm: Vector3Mm | msgspec.UnsetType = msgspec.UNSET
    target_lps_mm: Vector3Mm | msgspec.UnsetType = msgspec.UNSET
    diameter_mm: DiameterMm | msgspec.UnsetType = msgspec.UNSET
    label: Text64 | msgspec.UnsetType | None = msgspec.UNSET
    color: Color | msgspec.UnsetType | None = msgspec.UNSET
    instrument: Text64 | msgspec.UnsetType | None = msgspec.UNSET
    approach: Text64 | msgspec.UnsetType | None = msgspec.UNSET
    stage: PathStage | msgspec.UnsetType | None = msgspec.UNSET
    permitted_zone_ids: tuple[str, ...] | msgspec.UnsetType | None = msgspec.UNSET
    bevel_deg: BevelDeg | msgspec.UnsetType | None = msgspec.UNSET
    ablation: AblationSetting | msgspec.UnsetType | None = msgspec.UNSET


class StageFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What POST /paths/{id}/stage takes."""

    stage: PathStage


class Path(msgspec.Struct, frozen=True, kw_only=True):
    """A stored path.

    `in_active_frame` false means that it was planned in another frame and is not drawn; `next_stages` are the steps
    that it can take now, the way forth first.
    """

    id: str
    entry_lps_mm: Vector3Mm
    target_lps_mm: Vector3Mm
    diameter_mm: DiameterMm
    label: str
    color: Color
    instrument: str
    approach: str
    stage: PathStage
    next_stages: tuple[PathStage, ...]
    permitted_zone_ids: tuple[str, ...]
    bevel_deg: float | None
    ablation: AblationSetting | None
    frame_of_reference_uid: str
    in_active_frame: bool


class PathList(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of GET /paths."""

    items: tuple[Path, ...]


class ZoneFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client sends to make or replace a zone."""

    name: NameText
    site: ZoneSite
    kind: ZoneKind
    shape: DrawnShape
    side: ZoneSide | None = None
    color: Color | None = None
    level: LevelText | None = None
    shown: bool | None = None


class ZonePatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a client sends to change a zone: only what is to change, in the shape too (RFC 7396)."""

    name: NameText | msgspec.UnsetType = msgspec.UNSET
    site: ZoneSite | msgspec.UnsetType = msgspec.UNSET
    kind: ZoneKind | msgspec.UnsetType = msgspec.UNSET
    shape: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    side: ZoneSide | msgspec.UnsetType | None = msgspec.UNSET
    color: Color | msgspec.UnsetType | None = msgspec.UNSET
    level: LevelText | msgspec.UnsetType | None = msgspec.UNSET
    shown: bool | msgspec.UnsetType | None = msgspec.UNSET


class ZoneAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A stored zone; `in_active_frame` false means that it is of another frame: neither drawn nor reckoned with."""

    id: str
    name: str
    site: ZoneSite
    side: ZoneSide | None
    kind: ZoneKind
    shape: TubeShape | SphereShape | PrismShape | MaskShape
    color: Color
    level: str
    shown: bool
    origin: str
    origin_uid: str
    frame_of_reference_uid: str
    in_active_frame: bool


class ZoneList(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of GET /zones."""

    items: tuple[ZoneAnswer, ...]


class ZonesImported(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an import or a proposal; `already_there` are names that the case has from the same source."""

    items: tuple[ZoneAnswer, ...]
    already_there: tuple[str, ...] = ()
    findings: tuple[VolumeFinding, ...] = ()


class ProposeFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What POST /zones/propose takes."""

    what: Literal["bone", "skin"]


class PlanImported(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a markups file: paths made or changed, zones made."""

    paths: tuple[Path, ...]
    zones: tuple[ZoneAnswer, ...]
    findings: tuple[VolumeFinding, ...] = ()


class CorridorFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What POST /corridors takes; `side` is that of the entry, for `iliosacral`."""

    level: Literal["free", "s1", "s2", "iliosacral"]
    diameter_mm: DiameterMm
    margin_mm: Annotated[float, msgspec.Meta(ge=0, le=50)] = 0.0
    side: Literal["left", "right"] | None = None


class InstrumentList(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of GET /instruments."""

    items: tuple[Instrument, ...]


class ApproachList(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of GET /approaches."""

    items: tuple[Approach, ...]


class CArmList(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of GET /c-arms."""

    items: tuple[CArmModel, ...]


def path_shape(case: Case, path: PlannedPath) -> Path:
    """A path as HTTP tells it."""
    return Path(
        id=path.id,
        entry_lps_mm=path.entry_lps_mm,
        target_lps_mm=path.target_lps_mm,
        diameter_mm=path.diameter_mm,
        label=path.label,
        color=path.color,
        instrument=path.instrument,
        approach=path.approach,
        stage=path.stage,
        next_stages=next_stages(path.stage),
        permitted_zone_ids=path.permitted_zone_ids,
        bevel_deg=path.bevel_deg,
        ablation=path.ablation,
        frame_of_reference_uid=path.frame_of_reference_uid,
        in_active_frame=is_in_active_frame(case, path),
    )


def zone_shape(case: Case, zone: Zone) -> ZoneAnswer:
    """A zone as HTTP tells it."""
    return ZoneAnswer(
        id=zone.id,
        name=zone.name,
        site=zone.site,
        side=zone.side,
        kind=zone.kind,
        shape=zone.shape,
        color=zone.color,
        level=zone.level,
        shown=zone.shown,
        origin=zone.origin,
        origin_uid=zone.origin_uid,
        frame_of_reference_uid=zone.frame_of_reference_uid,
        in_active_frame=is_in_active_frame(case, zone),
    )
