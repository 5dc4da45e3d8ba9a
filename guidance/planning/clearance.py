"""Everything about one path: how near it comes to what, what lies along it, what it is, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from guidance.config import PlanningSettings
from guidance.messages import F64, PlannedPath, Vector3, Zone, ZoneKind, ZoneSite
from guidance.planning.along import Axis, BoneWay, Interval, axis_of, bone_margin_mm, bone_way, part_seen, tip_bone
from guidance.planning.answers import Clearance, PathClearance, ZoneClearance
from guidance.planning.approaches import classify, clinical_angles_deg, part_of
from guidance.planning.clearance_findings import PathFacts, findings_of
from guidance.planning.instruments import Instrument, InstrumentLibrary
from guidance.planning.medial import Least, least_distance, least_distances
from guidance.planning.path_solids import Reach, check_path, has_geometry, reach_of, used_diameter_mm
from guidance.planning.solid import Cylinder, CylinderField
from guidance.planning.volume import PlanningVolume

# Every path goes through the skin and leaves a track: touching them is what it does, not a fault of the plan.
CROSSED_BY_NATURE: Final = frozenset({ZoneSite.SKIN, ZoneSite.NEEDLE_TRACK})
# As wide as the corridor search takes a joint to be: 2 to 4 mm, and what coarse voxels and a slanting way add.
_WIDEST_JOINT_MM: Final = 6.0
_INTO_BONE_MM: Final = 1.5


class Field(Protocol):
    """A zone's distance field (`guidance.planning.distance.DistanceField`)."""

    def distance_mm(self, points_lps_mm: F64) -> F64:
        """Signed distances of (N, 3) points, negative inside."""

    def nearest_mm(self, points_lps_mm: F64) -> F64:
        """(N, 3) nearest points on the surface."""


class Bone(Protocol):
    """What is read of a bone model (`guidance.planning.bone.BoneModel`)."""

    @property
    def field(self) -> Field:
        """Distance to bone's solid, marrow inside it."""

    @property
    def skin(self) -> Field | None:
        """Distance to the body, negative inside; None where it is not known."""

    @property
    def source(self) -> str:
        """Words: what it was made of."""


def path_clearance(
    path: PlannedPath,
    zones: Sequence[tuple[Zone, Field]],
    others: Sequence[PlannedPath],
    *,
    volume: PlanningVolume | None,
    bone: Bone | None,
    library: InstrumentLibrary,
    settings: PlanningSettings,
) -> Clearance:
    """Measure one path.

    Distances to zones are of the instrument with what it ablates: its own expected zone and, if it ablates at all, the
    other probes' too (their union; that neighbouring probes reach farther together than each alone is not in it, and
    `findings` says so). Distances to other paths are of the shafts alone.

    Args:
        zones: with their fields; those of another frame or patient are left out and told.
        others: every other planned path; itself and those of another frame or patient are left out.
        volume: for HU and for what the picture has seen; None where there is none.
        bone: None where it is not known.

    Raises:
        GeometryError: `bad_path`, `zero_length`; `outside_ablation_table` for this path's setting.
    """
    check_path(path)
    instrument = library.find(path.instrument)
    frame = path.frame_of_reference_uid or (volume.frame_of_reference_uid if volume else "")
    same = [(zone, field) for zone, field in zones if _same_frame(path, frame, zone)]
    in_frame = [other for other in others if other.id != path.id and _same_frame(path, frame, other)]
    fellows = [other for other in in_frame if has_geometry(other)]
    axis = axis_of(path)
    reach = reach_of(path, instrument, fellows, library)
    told_zones = _zones(reach, path, same)
    way = bone_way(axis, bone.field, bone.skin, volume) if bone else None
    joints = [gap for gap in way.gaps if _is_joint(axis, gap, same, path)] if way else []
    bone_margin = bone_margin_mm(axis, way, bone.field, reach.shaft_radius_mm, joints) if bone and way else None
    tip = None
    # What has only a diameter may be a screw.
    if volume and (instrument is None or instrument.kind in ("screw", "nail", "guidepin")):
        tip = tip_bone(
            axis,
            reach.shaft_radius_mm,
            volume,
            tip_length_mm=settings.tip_length_mm,
            preserved_hu=settings.preserved_bone_hu,
        )
    mediolateral_deg, craniocaudal_deg = clinical_angles_deg(path.entry_lps_mm, path.target_lps_mm)
    facts = PathFacts(
        path=path,
        instrument=instrument,
        axis=axis,
        zones=told_zones,
        holding_target=_holding_target(axis, same),
        left_out_zones=tuple(zone.name or zone.id for zone, _ in zones if not _same_frame(path, frame, zone)),
        left_out_paths=tuple(
            other.label or other.id for other in others if other.id != path.id and other not in in_frame
        ),
        unmeasured_paths=tuple(other.label or other.id for other in in_frame if other not in fellows),
        union=reach.union,
        unknown=reach.unknown,
        seen=part_seen(axis, volume) if volume else None,
        skin=_skin_depths(axis, bone),
        ablation_to_skin_mm=_ablation_to_skin(reach, bone),
        tip=tip,
        suggested_length_mm=_suggested_length(instrument, axis, way),
        way=way,
    )
    return Clearance(
        path_id=path.id,
        length_mm=axis.length_mm,
        diameter_mm=2.0 * reach.shaft_radius_mm,
        zones=told_zones,
        paths=_others(reach, fellows, library),
        skin_to_bone_mm=way.skin_to_bone_mm if way else None,
        bone_to_target_mm=way.bone_to_target_mm if way else None,
        target_to_far_cortex_mm=way.target_to_far_cortex_mm if way else None,
        bone_margin_mm=bone_margin,
        bone_source=bone.source if bone else "",
        margin_mm=_margin(bone_margin, told_zones, bone_known=bone is not None),
        tip_bone=tip,
        mediolateral_deg=mediolateral_deg,
        craniocaudal_deg=craniocaudal_deg,
        approach=classify(path.entry_lps_mm, path.target_lps_mm, same, bone.field if bone else None),
        suggested_length_mm=facts.suggested_length_mm,
        ablation_to_skin_mm=facts.ablation_to_skin_mm,
        findings=findings_of(facts),
    )


def _same_frame(path: PlannedPath, frame: str, thing: Zone | PlannedPath) -> bool:
    """Frames that are not told (NIfTI has none, nor has a case without a volume) cannot be told apart."""
    other = thing.frame_of_reference_uid
    patients = path.patient_id, thing.patient_id
    return (not frame or not other or frame == other) and (None in patients or patients[0] == patients[1])


def _zones(reach: Reach, path: PlannedPath, zones: Sequence[tuple[Zone, Field]]) -> tuple[ZoneClearance, ...]:
    """Every zone, nearest first."""
    fields = [field for _, field in zones]
    shafts = least_distances(reach.shaft, fields)
    widened = least_distances(reach.widened, fields) if reach.widened else [None] * len(fields)
    told = []
    for (zone, field), shaft, wide in zip(zones, shafts, widened, strict=True):
        least = wide if wide and wide.distance_mm < shaft.distance_mm else shaft
        depth_mm, point = _where(reach.axis, least, field)
        told.append(
            ZoneClearance(
                zone_id=zone.id,
                name=zone.name,
                site=zone.site,
                side=zone.side,
                kind=zone.kind,
                min_distance_mm=least.distance_mm,
                at_depth_mm=depth_mm,
                point_lps_mm=point,
                permitted=zone.id in path.permitted_zone_ids or zone.site in CROSSED_BY_NATURE,
                ablation_distance_mm=wide.distance_mm if wide else None,
            )
        )
    return tuple(sorted(told, key=lambda zone: zone.min_distance_mm))


def _others(reach: Reach, others: Sequence[PlannedPath], library: InstrumentLibrary) -> tuple[PathClearance, ...]:
    """Every other path's shaft, nearest first."""
    fields = [
        CylinderField.of(
            Cylinder(
                other.entry_lps_mm, other.target_lps_mm, 0.5 * used_diameter_mm(other, library.find(other.instrument))
            )
        )
        for other in others
    ]
    told = []
    for other, field, least in zip(others, fields, least_distances(reach.shaft, fields), strict=True):
        depth_mm, point = _where(reach.axis, least, field)
        told.append(
            PathClearance(
                path_id=other.id,
                label=other.label,
                min_distance_mm=least.distance_mm,
                at_depth_mm=depth_mm,
                point_lps_mm=point,
            )
        )
    return tuple(sorted(told, key=lambda path: path.min_distance_mm))


def _where(axis: Axis, least: Least, field: Field) -> tuple[float, Vector3]:
    """Depth along the axis, and the other's nearest surface point; where they overlap, that of the deepest place."""
    center = least.center_lps_mm
    nearest = field.nearest_mm(np.ascontiguousarray(center[None, :]))[0]
    towards = nearest - center
    away_mm = float(np.linalg.norm(towards))
    # Of the common ball, the surface point that faces the zone; within the zone there is no such side.
    surface = (
        center
        if least.distance_mm + least.radius_mm <= 0.0 or away_mm == 0.0
        else (center + towards * min(1.0, least.radius_mm / away_mm))
    )
    depth_mm = float((surface - axis.entry) @ axis.direction)
    x, y, z = (float(part) for part in nearest)
    return depth_mm, (x, y, z)


def _margin(bone_margin: float | None, zones: Sequence[ZoneClearance], *, bone_known: bool) -> float | None:
    known = [zone.min_distance_mm for zone in zones if zone.kind == ZoneKind.KEEP_OUT and not zone.permitted]
    least = min([*known, *([] if bone_margin is None else [bone_margin])], default=None)
    # While bone is not known, the room to the zones alone would be more than there is; what is hit is hit all the same.
    return least if bone_known or (least is not None and least < 0.0) else None


def _holding_target(axis: Axis, zones: Sequence[tuple[Zone, Field]]) -> frozenset[str]:
    """Ids of the zones that the target lies in."""
    point = axis.points_mm(np.array([axis.length_mm]))
    return frozenset(zone.id for zone, field in zones if field.distance_mm(point)[0] <= 0.0)


def _is_joint(axis: Axis, gap: Interval, zones: Sequence[tuple[Zone, Field]], path: PlannedPath) -> bool:
    """Whether a gap in the bone is an SI joint's: marked and permitted, or not marked, narrow, from hip to sacrum."""
    middle = axis.points_mm(np.array([0.5 * (gap.start_mm + gap.stop_mm)]))
    marked = [
        zone for zone, field in zones if zone.site == ZoneSite.SI_JOINT and float(field.distance_mm(middle)[0]) <= 0.0
    ]
    if marked:
        return any(zone.id in path.permitted_zone_ids for zone in marked)
    if gap.stop_mm - gap.start_mm > _WIDEST_JOINT_MM:
        return False
    ends = axis.points_mm(np.array([gap.start_mm - _INTO_BONE_MM, gap.stop_mm + _INTO_BONE_MM]))
    parts: list[set[str]] = [set(), set()]
    for zone, field in zones:
        if zone.site == ZoneSite.BONE:
            for found, distance_mm in zip(parts, field.distance_mm(ends), strict=True):
                found |= {part_of(zone)} if distance_mm <= 0.0 else set()
    return any("sacrum" in one and "ilium" in other for one, other in (parts, parts[::-1]))


def _skin_depths(axis: Axis, bone: Bone | None) -> tuple[float, float] | None:
    """How deep entry and target lie below the skin; negative outside the body."""
    if bone is None or bone.skin is None:
        return None
    entry, target = bone.skin.distance_mm(axis.points_mm(np.array([0.0, axis.length_mm])))
    return -float(entry), -float(target)


@dataclass(frozen=True, slots=True, eq=False)
class _Outside:
    """The room around a body, as a field."""

    body: Field

    def distance_mm(self, points_lps_mm: F64) -> F64:
        return -self.body.distance_mm(points_lps_mm)


def _ablation_to_skin(reach: Reach, bone: Bone | None) -> float | None:
    if reach.widened is None or bone is None or bone.skin is None:
        return None
    return least_distance(reach.widened, _Outside(bone.skin)).distance_mm


def _suggested_length(instrument: Instrument | None, axis: Axis, way: BoneWay | None) -> float | None:
    """Longest screw or nail that does not pass the target, its head on the bone where that is known."""
    if instrument is None or instrument.kind not in ("screw", "nail"):
        return None
    room_mm = way.bone_to_target_mm if way and way.bone_to_target_mm is not None else axis.length_mm
    return max((length for length in instrument.lengths_mm if length <= room_mm + 1e-6), default=None)
