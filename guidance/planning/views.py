"""C-arm poses worth going to for a path: down it, across it, through the foramina beside it; best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from guidance.errors import GeometryError
from guidance.geometry.positioner import positioner_from_isocenter
from guidance.messages import F64, Finding, Matrix34, PlannedPath, Severity, Vector3, Zone, ZoneKind, ZoneSite
from guidance.planning.answers import View, Views
from guidance.planning.c_arms import CArmModel
from guidance.planning.collision import couch_of
from guidance.planning.distance import DistanceField
from guidance.planning.reach import Reach, directions_of, reach_of
from guidance.planning.view_angles import angle_words, positioner_angles
from guidance.planning.view_list import ListedView, bulls_eye_views, en_face_views, progression_views
from guidance.planning.view_scores import PathRays
from guidance.planning.zone_axes import channel_axis

NEAR_MM: Final = 30.0
"""A foramen nearer than this to the instrument's axis is looked through."""

NARROW_MM: Final = 15.0
"""A gap between axis and zone narrower than this is one that a progression view should show."""

USEFUL_OFF_DEG: Final = {"bulls_eye": 5.0, "progression": 30.0, "en_face": 15.0}
"""Farther off its ideal a view is in the list but is not what an operator should be led to."""

_AXIS_SAMPLES: Final = 65
_LEAST_BODY_MM: Final = (150.0, 100.0)  # a skin zone narrower or flatter than this is a patch, not a patient
_SHORTEST_PATH_MM: Final = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class _Near:
    """A zone beside the path: (3,) from the axis to its nearest surface point, and how far that is."""

    zone: Zone
    field: DistanceField
    gap_mm: F64
    distance_mm: float


def path_views(
    path: PlannedPath,
    zones: Sequence[tuple[Zone, DistanceField]],
    *,
    patient_position: str,
    c_arm: CArmModel,
    isocenter_lps_mm: Vector3 | None = None,
) -> Views:
    """Where to put the C-arm for a path.

    Two bull's-eye views (the source on the path's line, either way), two progression views (across the path, and
    the next best well apart from it) and a view through each foramen near the path. Where none of a kind's ideal
    poses can be reached, the nearest reachable one stands in the list by itself with how far it is off.

    Args:
        path: entry and target in LPS.
        zones: those of the path's frame. A skin zone of a body's size says where the patient is.
        patient_position: DICOM (0018,5100); "" where not known: then no view is called reachable.
        c_arm: whose reach and housings count.
        isocenter_lps_mm: where the isocentre will be in the patient; None: at the path's middle, and said so.

    Returns:
        Reachable views by score, then the others; angles are DICOM positioner angles relative to this patient.

    Raises:
        GeometryError: `zero_length` path, `not_finite`, `isocenter_far`, `unknown_patient_position`.
    """
    entry, target = np.array(path.entry_lps_mm), np.array(path.target_lps_mm)
    length_mm = float(np.linalg.norm(target - entry))
    isocenter = (entry + target) / 2 if isocenter_lps_mm is None else np.array(isocenter_lps_mm)
    if not (np.isfinite(length_mm) and np.isfinite(isocenter).all()):
        raise GeometryError(f"path {path.id} or isocentre is not finite", code="not_finite", mend="finite mm")
    if length_mm < _SHORTEST_PATH_MM:
        raise GeometryError(f"path {path.id} has no length", code="zero_length", mend="set entry and target apart")
    if float(np.linalg.norm(isocenter - (entry + target) / 2)) > c_arm.source_to_isocenter_mm / 2:
        raise GeometryError(
            f"isocentre {isocenter_lps_mm} is far from path {path.id}: it cannot be in the picture",
            code="isocenter_far",
            mend="isocentre in patient LPS mm, near the path",
        )
    findings = _isocenter_findings(isocenter_lps_mm is None)
    near = _near_zones(path, zones)
    beside = _gap_zone(path, near)
    reach, reach_findings = _reach(c_arm, zones, isocenter, patient_position)
    rays = PathRays(
        middle_lps_mm=(entry + target) / 2,
        axis=(target - entry) / length_mm,
        isocenter_lps_mm=isocenter,
        source_to_isocenter_mm=c_arm.source_to_isocenter_mm,
        gap=None if beside is None else beside.gap_mm / np.linalg.norm(beside.gap_mm),
        up_lps=None if reach is None else reach.up_lps,
    )
    gap_zone = "" if beside is None else beside.zone.name
    listed = [*bulls_eye_views(rays, reach), *progression_views(rays, reach, gap_zone)]
    for one in near:
        if one.zone.site is not ZoneSite.FORAMEN:
            continue
        channel = channel_axis(one.zone, one.field)
        if channel.direction is None:
            findings.append(_finding("zone_axis_unknown", f"no en face view of {one.zone.name}: {channel.rests_on}"))
        else:
            listed += en_face_views(rays, reach, one.zone, channel, one.distance_mm)
    ranked = sorted(listed, key=lambda view: (not view.reachable, -view.value))
    return Views(
        path_id=path.id,
        c_arm=c_arm.id,
        patient_position=patient_position,
        views=tuple(_answer(view, reach) for view in ranked),
        findings=(*findings, *reach_findings),
    )


def views_with_offsets(views: Views, pixel_from_patient: Matrix34 | None) -> Views:
    """The same views with the angle between an input's present central ray and each of them.

    Args:
        pixel_from_patient: 12 numbers, row-major, w growing away from the source; None without a trusted pose:
            then `off_deg` is None.
    """
    if pixel_from_patient is None:
        return msgspec.structs.replace(
            views, views=tuple(msgspec.structs.replace(view, off_deg=None) for view in views.views)
        )
    central = np.array(pixel_from_patient[8:11])
    central /= np.linalg.norm(central)
    return msgspec.structs.replace(
        views,
        views=tuple(msgspec.structs.replace(view, off_deg=round(_angle_deg(central, view), 2)) for view in views.views),
    )


def useful_views(views: Sequence[View]) -> tuple[View, ...]:
    """The reachable ones that still show what they are for."""
    return tuple(view for view in views if view.reachable and view.ideal_off_deg <= USEFUL_OFF_DEG[view.kind])


def nearest_useful_view(views: Views) -> View | None:
    """The useful view that is least off the present one; None without one."""
    told = [view for view in useful_views(views.views) if view.off_deg is not None]
    return min(told, key=lambda view: view.off_deg or 0.0, default=None)


def view_words(view: View) -> str:
    """A view in few words: `bull's-eye LAO 20 CRAN 5, 12 deg off`; without the offset where it is not known."""
    kind = {"bulls_eye": "bull's-eye", "progression": "progression", "en_face": "en face"}[view.kind]
    off = "" if view.off_deg is None else f", {view.off_deg:.0f} deg off"
    return f"{kind} {angle_words(view.primary_deg, view.secondary_deg)}{off}"


def _answer(view: ListedView, reach: Reach | None) -> View:
    primary, secondary = positioner_angles(view.toward_detector)
    own, rotation = None, 0.0
    if reach is not None:
        own = positioner_angles(view.toward_detector @ reach.lps_from_equipment)
        _, _, rotation = positioner_from_isocenter(*own, 0.0, reach.patient_position)
    return View(
        kind=view.kind,
        primary_deg=primary,
        secondary_deg=secondary,
        reachable=view.reachable,
        reason=view.reason,
        zone_id=view.zone_id,
        score=round(max(view.value, 0.0), 2) if view.reachable else 0.0,
        ideal_off_deg=round(view.off_ideal_deg, 2),
        equipment_deg=own,
        detector_rotation_deg=rotation,
    )


def _angle_deg(central: F64, view: View) -> float:
    direction = directions_of(np.array([view.primary_deg]), np.array([view.secondary_deg]))[0]
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(central, direction)), central @ direction)))


def _near_zones(path: PlannedPath, zones: Sequence[tuple[Zone, DistanceField]]) -> list[_Near]:
    """Zones near the axis, nearest first; the skin is around everything and is none of them."""
    entry, target = np.array(path.entry_lps_mm), np.array(path.target_lps_mm)
    points = np.linspace(entry, target, _AXIS_SAMPLES)
    near = []
    for zone, field in zones:
        if zone.site in (ZoneSite.SKIN, ZoneSite.BONE):
            continue
        distances = field.distance_mm(points)
        at = int(np.argmin(distances))
        if distances[at] <= NEAR_MM:
            gap = field.nearest_mm(points[at : at + 1])[0] - points[at]
            near.append(_Near(zone, field, gap, float(distances[at])))
    return sorted(near, key=lambda one: one.distance_mm)


def _gap_zone(path: PlannedPath, near: Sequence[_Near]) -> _Near | None:
    """The keep-out zone whose gap to the axis a progression view should show; named sites before other ones.

    A zone that the axis itself runs through, as through a muscle, leaves no gap to look at.
    """
    beside = [
        one
        for one in near
        if one.zone.kind is ZoneKind.KEEP_OUT
        and one.zone.id not in path.permitted_zone_ids
        and 0.0 < one.distance_mm <= NARROW_MM
        and float(np.linalg.norm(one.gap_mm)) > 1e-6
    ]
    return min(beside, key=lambda one: (one.zone.site is ZoneSite.OTHER, one.distance_mm), default=None)


def _reach(
    c_arm: CArmModel, zones: Sequence[tuple[Zone, DistanceField]], isocenter: F64, patient_position: str
) -> tuple[Reach | None, list[Finding]]:
    if not patient_position:
        words = "patient position is not known: no view is called reachable"
        return None, [_finding("unknown_patient_position", words)]
    body = _body(zones)
    couch = couch_of(body, isocenter, patient_position)
    findings = []
    if body is None:
        words = "no skin zone: collisions are judged for a large adult with the isocentre in the middle"
        findings.append(_finding("patient_outline_assumed", words))
    return reach_of(c_arm, couch, patient_position), findings


def _body(zones: Sequence[tuple[Zone, DistanceField]]) -> F64 | None:
    for zone, field in zones:
        if zone.site is ZoneSite.SKIN:
            wide, deep, _ = field.bounds_lps_mm[1] - field.bounds_lps_mm[0]
            if wide >= _LEAST_BODY_MM[0] and deep >= _LEAST_BODY_MM[1]:
                return field.bounds_lps_mm
    return None


def _isocenter_findings(assumed: bool) -> list[Finding]:
    if not assumed:
        return []
    return [_finding("isocenter_assumed", "isocentre not told: taken to be at the path's middle")]


def _finding(code: str, message: str) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, message=message)
