"""The course of a case: its patient, its place, what stands in the way, and how cement grows there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from guidance.messages import F32, F64, Vector3, Zone
from simulators.cement.case import CementCase
from simulators.cement.grown import GrownCement, LeakKind
from simulators.cement.growth import Opportunity, Phase, Surroundings, grow
from simulators.cement.injection import CannulaScript
from simulators.cement.medium import Bools, Medium, bone_medium, closed, opened
from simulators.cement.patients import PATIENTS, patient_part, patient_volume
from simulators.cement.pelvis_places import PLACES
from simulators.cement.places import BEHIND_SPEED, VEIN_SPEED, Place, Way, ball, chain
from simulators.cement.scripts import (
    aside_of,
    balloon_of,
    cannula_of,
    drip_mm,
    injection_of,
    metal_of,
    path_of,
    source_of,
    triple,
    withdrawal_steps,
)
from simulators.cement.zone_bodies import sphere_body, tube_body, zones_of
from simulators.instruments import Cylinder
from simulators.pelvis_shapes import Tube
from simulators.volumes import HuVolume

_GRID_MM: Final = 0.6
_HALF_MM: Final = 33.0
_COARSE_GRID_MM: Final = 0.8  # for the long way to the skin
_ROOM_MM: Final = 8.0  # of the CT around the grid
_FARTHEST_SKIN_MM: Final = 150.0
_AIR_HU: Final = -500.0
_TRACK_SEEN_MM: Final = 25.0  # outside the bone
_TRACK_GAP_MM: Final = 1.1  # between cannula and bone, where cement creeps back
_FISSURE_MM: Final = (1.4, 2.2)  # half width of where bone has given way towards a breach
_BREACH_MM: Final = (4.0, 8.0)  # how far cement would be in marrow when it is through a breach
_DRIPPING_SHARE: Final = 0.1  # of the pressure in the bone that is left when the open track takes the cement
_GAP_DETOUR: Final = 2.4
_TARGET_MM: Final = 12.0
_TRACK_ZONE_MM: Final = 3.0


def patient(case: CementCase) -> HuVolume:
    """The patient's CT, without cement and instruments."""
    return patient_volume(case.patient)


def place(case: CementCase) -> Place:
    """The case's place, with the zones that the case has."""
    made = PLACES[case.place](PATIENTS[case.patient])
    bodies = [body for body in made.zone_bodies if case.vein_marked or body["site"] != "vein"]
    outwards = -np.asarray(made.axis)
    track = [np.asarray(made.entry_lps_mm) + depth * outwards for depth in (_TRACK_ZONE_MM + 2.0, 40.0)]
    bodies.append(tube_body("needle track", "needle_track", None, [triple(point) for point in track], _TRACK_ZONE_MM))
    skin_mm = _skin_mm(case.patient, made.entry_lps_mm, outwards)
    bodies.append(sphere_body("skin", "skin", None, triple(np.asarray(made.entry_lps_mm) + skin_mm * outwards), 8.0))
    if case.target_marked:
        bodies.insert(0, sphere_body("target", "lesion", None, source_of(made), _TARGET_MM, kind="target"))
    return replace(made, zone_bodies=tuple(bodies))


def grown(case: CementCase, *, spacing_mm: float | None = None) -> GrownCement:
    """The course of a case; the same every time.

    Args:
        case: which.
        spacing_mm: of the grid; None: 0.6, or 0.8 where it has to reach the skin.
    """
    where, who = place(case), PATIENTS[case.patient]
    random = np.random.default_rng([case.seed, 0x6E0])
    zones = zones_of(where.zone_bodies)
    source = source_of(where)
    ends = np.array([np.subtract(source, _HALF_MM), np.add(source, _HALF_MM), *_track_end(case, where)])
    medium = bone_medium(
        patient_part(case.patient, ends.min(axis=0) - _ROOM_MM, ends.max(axis=0) + _ROOM_MM),
        source,
        spacing_mm=spacing_mm or (_COARSE_GRID_MM if "skin" in case.leaks else _GRID_MM),
        half_mm=(_HALF_MM,) * 3,
        also_lps_mm=_track_end(case, where),
        seed=case.seed,
        hole_mm=who.lesion_mm,
    )
    points = medium.points_lps_mm()
    opportunities = []
    for kind in case.leaks:
        for way in where.ways_of(kind):
            medium = _breached(medium, way, source, points, random)
            opportunities.append(Opportunity(kind, way.name, _zone_id(zones, way.zone_name)))
    cannula = cannula_of(case, where)
    steel = _within(cannula.cylinder_at(0.0), points, 0.0)
    balloon = None
    if case.balloon_s is not None:
        balloon = balloon_of(where, case.balloon_s)
        cavity = (ball(balloon.center_lps_mm, max(balloon.radii_mm))(points) <= 0.0) & (medium.speed > 0.0)
        medium = opened(medium, cavity, 6.0, None)
    metal, old = metal_of(case, where, random), None
    for rod in metal:
        medium = closed(medium, _within(rod, points, 0.0))
    if case.old_cement:
        lump = (ball(aside_of(where, random, 13.0), 5.5)(points) <= 0.0) & (medium.speed > 0.0)
        old = np.where(lump, medium.capacity, 0.0).astype(np.float32)
        medium = closed(medium, lump)
    medium, phases = _phases(case, where, medium, points, cannula, steel, random)
    if {"needle_track", "skin"} & set(case.leaks) or case.withdraw_s is not None:
        back: LeakKind = "skin" if "skin" in case.leaks else "needle_track"
        zone_name = "skin" if back == "skin" else "needle track"
        opportunities.append(Opportunity(back, "needle track", _zone_id(zones, zone_name)))
    return grow(
        medium,
        phases,
        injection_of(case),
        cannula,
        Surroundings(
            zone_bodies=where.zone_bodies,
            zones=zones,
            paths=(path_of(where, cannula),),
            metal=metal,
            old_cement=old,
            balloon=balloon,
        ),
        opportunities,
        duration_s=case.duration_s,
        brand=case.brand,
    )


def _breached(medium: Medium, way: Way, source: Vector3, points: F32, random: np.random.Generator) -> Medium:
    """With a way out: bone has given way from the tip on, so that the breach is reached in good time."""
    fissure = chain([source, way.channel.points_lps_mm[0]], random.uniform(*_FISSURE_MM))
    is_vein = way.kind == "vein"
    length_mm = _length_mm(fissure) + (0.0 if is_vein else _length_mm(way.channel))
    speed = max(length_mm / random.uniform(*_BREACH_MM), 1.0)
    medium = opened(medium, fissure.distance_mm(points) <= 0.0, speed, None)
    medium = opened(medium, _inside(way, medium, points), BEHIND_SPEED, way.name)
    channel = way.channel.distance_mm(points) <= 0.0
    return opened(medium, channel, random.uniform(*VEIN_SPEED) if is_vein else speed, way.name)


def _length_mm(tube: Tube) -> float:
    return float(np.linalg.norm(np.diff(tube.points_lps_mm, axis=0), axis=1).sum())


def _phases(
    case: CementCase,
    where: Place,
    medium: Medium,
    points: F32,
    cannula: CannulaScript,
    steel: Bools,
    random: np.random.Generator,
) -> tuple[Medium, tuple[Phase, ...]]:
    """From a tight cannula to its open track, step by step as it is pulled back."""
    # What is left open behind a withdrawn cannula falls in on itself; a loose one has a gap all along.
    gap_mm = 0.2 if "skin" in case.leaks else _TRACK_GAP_MM
    track = _within(cannula.cylinder_at(0.0), points, gap_mm)
    entry, axis = np.asarray(where.entry_lps_mm, np.float32), np.asarray(where.axis, np.float32)
    out_of_bone = (points - entry) @ axis < 0.0
    leaky = "needle_track" in case.leaks
    # Along a thin oblique gap the grid makes the way longer.
    speed_back = max(_GAP_DETOUR * where.depth_mm / random.uniform(*_BREACH_MM), 3.0)
    named = opened(medium, track & out_of_bone, speed_back, "needle track")
    named = opened(named, track & ~out_of_bone, speed_back, None)
    # What is open from the start: the gap along the steel if the cannula sits loose, else nothing of its track.
    first = named.speed.copy()
    if not leaky:
        first[track] = medium.speed[track]
    first[steel] = 0.0
    source = np.asarray(source_of(where))
    phases = [Phase(start_s=0.0, speed=first, tip_lps_mm=source)]
    for time_s, back_mm in withdrawal_steps(cannula):
        tip = source - back_mm * np.asarray(where.axis)
        behind = (points - tip.astype(np.float32)) @ axis < 0.0
        speed = named.speed.copy()
        if not leaky:
            speed[track & behind] = medium.speed[track & behind]
        speed[steel & behind] = 0.0
        if "skin" in case.leaks:
            speed[~track] *= _DRIPPING_SHARE
        phases.append(Phase(start_s=time_s, speed=speed, tip_lps_mm=tip))
    return named, tuple(phases)


def _inside(way: Way, medium: Medium, points: F32) -> Bools:
    inside: Bools = way.channel.distance_mm(points) <= 0.0
    if way.into is not None:
        # Only there: a distance to bone costs more than all the rest.
        low, high = way.channel.box_mm()
        low, high = low - 40.0, high + 40.0
        k, j, i = (
            slice(int(a), int(b)) for a, b in zip(medium.index_of(low), np.add(medium.index_of(high), 1), strict=True)
        )
        part = (k, j, i)
        inside[part] |= (way.into(points[part]) <= 0.0) & (medium.hu[part] < way.into_hu)
    return inside


def _within(rod: Cylinder, points: F32, gap_mm: float) -> Bools:
    """Voxels within a rod, or so near to it."""
    start, axis = np.asarray(rod.start_lps_mm, np.float32), rod.axis_mm().astype(np.float32)
    length = float(np.linalg.norm(axis))
    axis /= np.float32(length)
    from_start = points - start
    along = from_start @ axis
    off = np.linalg.norm(from_start - along[..., None] * axis, axis=-1)
    inside: Bools = (along >= 0.0) & (along <= length) & (off <= rod.diameter_mm / 2.0 + gap_mm)
    return inside


def _track_end(case: CementCase, where: Place) -> tuple[Vector3, ...]:
    """How far along the cannula cement may come back, if it may."""
    outside = drip_mm(where) if "skin" in case.leaks else _TRACK_SEEN_MM if "needle_track" in case.leaks else 0.0
    if outside <= 0.0:
        return ()
    return (triple(np.asarray(where.tip_lps_mm) - (where.depth_mm + outside) * np.asarray(where.axis)),)


def _skin_mm(name: str, entry_lps_mm: Vector3, outwards: F64) -> float:
    """How far outwards the patient ends."""
    steps = np.arange(0.0, _FARTHEST_SKIN_MM, 0.5)
    points = np.asarray(entry_lps_mm) + steps[:, None] * outwards
    part = patient_part(name, points.min(axis=0) - 1.0, points.max(axis=0) + 1.0)
    i, j, k = np.rint((points - part.affine_lps_from_ijk[:3, 3]) / part.affine_lps_from_ijk[0, 0]).astype(int).T
    air = part.voxels_hu[k, j, i] < _AIR_HU
    return float(steps[int(np.argmax(air))]) if air.any() else _FARTHEST_SKIN_MM


def _zone_id(zones: Sequence[Zone], name: str) -> str:
    return next((zone.id for zone in zones if zone.name == name), "")
