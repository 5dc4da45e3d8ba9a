"""The course of a case: its patient, its place, what stands in the way, and how cement grows there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from guidance.messages import F32, F64, PlannedPath, Vector3, Zone
from simulators.cement.case import CementCase
from simulators.cement.grown import Balloon, GrownCement, LeakKind
from simulators.cement.growth import Opportunity, Phase, Surroundings, grow
from simulators.cement.injection import CannulaScript, InjectionCurve
from simulators.cement.medium import Bools, Medium, bone_medium, closed, opened
from simulators.cement.patients import PATIENTS, patient_volume
from simulators.cement.pelvis_places import PLACES
from simulators.cement.places import BEHIND_SPEED, VEIN_SPEED, Place, Way, ball, chain
from simulators.cement.zone_bodies import sphere_body, tube_body, zones_of
from simulators.instruments import Cylinder
from simulators.pelvis_shapes import Tube
from simulators.volumes import HuVolume

_GRID_MM: Final = 0.6
_HALF_MM: Final = 33.0
_COARSE_GRID_MM: Final = 0.8  # for the long way to the skin
_TRACK_SEEN_MM: Final = 25.0  # outside the bone
_UNDER_SKIN_MM: Final = 4.0
_START_S: Final = 1.0  # cement begins to flow a second after tracking has begun
_PAUSE_S: Final = 3.0
_BACK_MM: Final = 12.0
_BACK_S: Final = 2.0
_STEPS: Final = 4  # in which the track opens behind the tip, for the short way
_DRIPPING_STEPS: Final = 14
_DRIPPING_S: Final = 4.0
_BEFORE_TIP_MM: Final = 1.5  # cement comes out before the tip
_TRACK_GAP_MM: Final = 1.1  # between cannula and bone, where cement creeps back
_FISSURE_MM: Final = (1.4, 2.2)  # half width of where bone has given way towards a breach
_BREACH_MM: Final = (4.0, 8.0)  # how far cement would be in marrow when it is through a breach
_DRIPPING_SHARE: Final = 0.1  # of the pressure in the bone that is left when the open track takes the cement
_GAP_DETOUR: Final = 2.4
_BALLOON_MM: Final = 7.5
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
    bodies.append(tube_body("needle track", "needle_track", None, [_triple(point) for point in track], _TRACK_ZONE_MM))
    skin_mm = _skin_mm(patient(case), made.entry_lps_mm, outwards)
    bodies.append(sphere_body("skin", "skin", None, _triple(np.asarray(made.entry_lps_mm) + skin_mm * outwards), 8.0))
    if case.target_marked:
        bodies.insert(0, sphere_body("target", "lesion", None, _source(made), _TARGET_MM, kind="target"))
    return Place(
        name=made.name,
        tip_lps_mm=made.tip_lps_mm,
        hub_lps_mm=made.hub_lps_mm,
        entry_lps_mm=made.entry_lps_mm,
        zone_bodies=tuple(bodies),
        ways=made.ways,
    )


def grown(case: CementCase) -> GrownCement:
    """The course of a case; the same every time."""
    where, who = place(case), PATIENTS[case.patient]
    random = np.random.default_rng([case.seed, 0x6E0])
    zones = zones_of(where.zone_bodies)
    source, spacing_mm = _source(where), _COARSE_GRID_MM if "skin" in case.leaks else _GRID_MM
    medium = bone_medium(
        patient(case),
        source,
        spacing_mm=spacing_mm,
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
    cannula = _cannula(case, where)
    steel = _within(cannula.cylinder_at(0.0), points, 0.0)
    balloon = None
    if case.balloon_s is not None:
        balloon = _balloon(case, where)
        cavity = (ball(balloon.center_lps_mm, max(balloon.radii_mm))(points) <= 0.0) & (medium.speed > 0.0)
        medium = opened(medium, cavity, 6.0, None)
    metal, old = _metal(case, where, random), None
    for rod in metal:
        medium = closed(medium, _within(rod, points, 0.0))
    if case.old_cement:
        lump = (ball(_aside(where, random, 13.0), 5.5)(points) <= 0.0) & (medium.speed > 0.0)
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
        _injection(case),
        cannula,
        Surroundings(
            zone_bodies=where.zone_bodies,
            zones=zones,
            paths=(_path(where, cannula),),
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
    return opened(medium, channel, VEIN_SPEED if is_vein else speed, way.name)


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
    source = np.asarray(_source(where))
    phases = [Phase(start_s=0.0, speed=first, tip_lps_mm=source)]
    for time_s, back_mm in _steps(cannula):
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


def _steps(cannula: CannulaScript) -> list[tuple[float, float]]:
    """When it has been pulled back by another step."""
    if len(cannula.times_s) < 2:
        return []
    farthest = max(cannula.back_mm)
    depths = np.linspace(0.0, farthest, 1 + (_STEPS if farthest <= _BACK_MM else _DRIPPING_STEPS))[1:]
    return [(float(np.interp(depth, cannula.back_mm, cannula.times_s)), float(depth)) for depth in depths]


def _injection(case: CementCase) -> InjectionCurve:
    start = _START_S if case.balloon_s is None else case.balloon_s + _BACK_S + _PAUSE_S
    whole = case.total_ml + case.dead_ml
    corners = [(0.0, 0.0), (start, 0.0)]
    if case.pause_s is not None and start < case.pause_s < start + whole / case.rate_ml_s:
        so_far = (case.pause_s - start) * case.rate_ml_s
        corners += [(case.pause_s, so_far), (case.pause_s + _PAUSE_S, so_far)]
    last_s, last_ml = corners[-1]
    stop = last_s + (whole - last_ml) / case.rate_ml_s
    corners += [(stop, whole), (max(stop, case.duration_s) + 1.0, whole)]
    return InjectionCurve(
        times_s=tuple(time for time, _ in corners),
        volumes_ml=tuple(volume for _, volume in corners),
        dead_ml=case.dead_ml,
    )


def _cannula(case: CementCase, where: Place) -> CannulaScript:
    back: tuple[tuple[float, ...], tuple[float, ...]] = ((0.0,), (0.0,))
    if "skin" in case.leaks and case.withdraw_s is not None:
        back = ((case.withdraw_s, case.withdraw_s + _DRIPPING_S), (0.0, where.depth_mm + _drip_mm(where)))
    elif case.withdraw_s is not None:
        back = ((case.withdraw_s, case.withdraw_s + _BACK_S), (0.0, _BACK_MM))
    return CannulaScript(hub_lps_mm=where.hub_lps_mm, tip_lps_mm=where.tip_lps_mm, times_s=back[0], back_mm=back[1])


def _balloon(case: CementCase, where: Place) -> Balloon:
    assert case.balloon_s is not None
    full = case.balloon_s
    return Balloon(
        center_lps_mm=_triple(np.asarray(where.tip_lps_mm) + (_BALLOON_MM - 1.0) * np.asarray(where.axis)),
        times_s=(0.3, full - 0.5, full, full + _BACK_S),
        radii_mm=(0.0, _BALLOON_MM, _BALLOON_MM, 0.0),
    )


def _metal(case: CementCase, where: Place, random: np.random.Generator) -> tuple[Cylinder, ...]:
    """A screw across, past the place."""
    if not case.metal:
        return ()
    middle = np.asarray(where.tip_lps_mm) + np.array([0.0, 0.0, random.choice([-1.0, 1.0]) * 14.0])
    half = np.array([30.0, 0.0, 0.0])
    return (
        Cylinder(
            start_lps_mm=_triple(middle - half),
            end_lps_mm=_triple(middle + half),
            diameter_mm=7.3,
            material="titanium",
        ),
    )


def _path(where: Place, cannula: CannulaScript) -> PlannedPath:
    return PlannedPath(
        id="P1",
        entry_lps_mm=where.entry_lps_mm,
        target_lps_mm=where.tip_lps_mm,
        diameter_mm=cannula.diameter_mm,
        label=where.name,
    )


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


def _source(where: Place) -> Vector3:
    return _triple(np.asarray(where.tip_lps_mm) + _BEFORE_TIP_MM * np.asarray(where.axis))


def _aside(where: Place, random: np.random.Generator, apart_mm: float) -> Vector3:
    axis = np.asarray(where.axis)
    across = np.cross(axis, random.normal(size=3))
    return _triple(np.asarray(where.tip_lps_mm) + apart_mm * across / np.linalg.norm(across))


def _track_end(case: CementCase, where: Place) -> tuple[Vector3, ...]:
    """How far along the cannula cement may come back, if it may."""
    outside = _drip_mm(where) if "skin" in case.leaks else _TRACK_SEEN_MM if "needle_track" in case.leaks else 0.0
    if outside <= 0.0:
        return ()
    return (_triple(np.asarray(where.tip_lps_mm) - (where.depth_mm + outside) * np.asarray(where.axis)),)


def _drip_mm(where: Place) -> float:
    """How far outside the bone the tip stops in a withdrawal under pressure: under the skin."""
    skin = next(body for body in where.zone_bodies if body["site"] == "skin")
    return float(np.linalg.norm(np.subtract(skin["shape"]["center_lps_mm"], where.entry_lps_mm))) - _UNDER_SKIN_MM


def _skin_mm(volume: HuVolume, entry_lps_mm: Vector3, outwards: F64) -> float:
    """How far outwards the patient ends."""
    steps = np.arange(0.0, 150.0, 0.5)
    points = np.asarray(entry_lps_mm) + steps[:, None] * outwards
    ijk = np.linalg.inv(volume.affine_lps_from_ijk)
    places = np.rint(points @ ijk[:3, :3].T + ijk[:3, 3]).astype(int)
    k, j, i = np.clip(places[:, ::-1], 0, np.array(volume.voxels_hu.shape) - 1).T
    air = volume.voxels_hu[k, j, i] < -500
    return float(steps[int(np.argmax(air))]) if air.any() else float(steps[-1])


def _zone_id(zones: Sequence[Zone], name: str) -> str:
    return next((zone.id for zone in zones if zone.name == name), "")


def _triple(values: F64) -> Vector3:
    x, y, z = (float(value) for value in values)
    return (x, y, z)
