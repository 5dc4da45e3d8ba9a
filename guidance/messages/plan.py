"""Planned paths, what a plan sends of them, where they fall on a picture."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from guidance.messages.basics import Vector3


class PathStage(StrEnum):
    """How far a path has come; each step changes what is drawn."""

    PLANNED = "planned"
    PLACED = "placed"
    VERIFIED = "verified"
    SCREW_IN = "screw_in"
    CEMENTED = "cemented"


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationSetting:
    """How a probe is to be run; the instrument library's table says what zone that gives."""

    power_w: float
    time_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPath:
    """A planned instrument path.

    Attributes:
        id: at most 10 ASCII characters (OpenIGTLink device names carry it).
        entry_lps_mm, target_lps_mm: ends of the axis, patient LPS.
        diameter_mm: true outer diameter, > 0.
        label: what the operator reads, any language.
        color: `#rrggbb`.
        instrument: id in the instrument library, or free words for what is not in it.
        approach: id of an approach template, or free words.
        frame_of_reference_uid: frame that the ends are in; "" while the case has no volume yet.
        patient_id: whose path it is, for frames' UIDs repeat after careless anonymisation; None: not known yet.
        stage: how far it has come.
        permitted_zone_ids: zones that this path may touch or cross (an SI joint on a trans-iliac way).
        bevel_deg: turn of a bevelled tip about the axis, seen from the hub, clockwise; 0 = the bevel's opening towards
            the patient's head, or, where the axis runs along the body, towards the patient's front; None: no bevel.
        ablation: how a probe is to be run; None for what ablates nothing.
    """

    id: str
    entry_lps_mm: Vector3
    target_lps_mm: Vector3
    diameter_mm: float
    label: str = ""
    color: str = "#00ff00"
    instrument: str = ""
    approach: str = ""
    frame_of_reference_uid: str = ""
    patient_id: str | None = None
    stage: PathStage = PathStage.PLANNED
    permitted_zone_ids: tuple[str, ...] = ()
    bevel_deg: float | None = None
    ablation: AblationSetting | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanItem:
    """One path of a plan from outside (OpenIGTLink POINT group or TRAJ element, markups line), patient LPS.

    Attributes:
        name: what the sender calls it; the same name later changes the same path.
        entry_lps_mm, target_lps_mm: ends of the axis, already converted from RAS.
        diameter_mm: the DIAMETER field.
        color: `#rrggbb` from the RGBA field; "" lets the case choose.
        instrument, approach: as of a path; "" where the sender does not say.
    """

    name: str
    entry_lps_mm: Vector3
    target_lps_mm: Vector3
    diameter_mm: float
    color: str = ""
    instrument: str = ""
    approach: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathProjection:
    """Where a path falls on one frame; px (u, v), centre of the first pixel is (0, 0)."""

    id: str
    entry_px: tuple[float, float] | None
    target_px: tuple[float, float] | None
    drawn: bool
