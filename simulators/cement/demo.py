"""An injection for the demonstration: cement beside a foramen that a crack leads into; not advice for any patient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from guidance.kernels.drr import ProjectionVolume
from guidance.messages import PlannedPath, Vector3
from simulators.carm_metadata import Telling
from simulators.cement.grown import GrownCement
from simulators.cement.growth import Opportunity, Phase, Surroundings, grow
from simulators.cement.imaging import CementImaging, CementTechnique, ImagedView
from simulators.cement.injection import CannulaScript, InjectionCurve
from simulators.cement.looks import Shot
from simulators.cement.medium import bone_medium, opened
from simulators.cement.motion import PatientMotion
from simulators.cement.places import ball, chain
from simulators.cement.zone_bodies import zones_of
from simulators.demo_paths import Which
from simulators.gantry import Gantry
from simulators.pelvis_anatomy import sacral_point
from simulators.volumes import HuVolume

BRAND: Final = "baso4_30"
RATE_HZ: Final = 15.0
REFERENCE_FRAMES: Final = 20  # of each place
_LEAK: Final = "S1 foramen left"
_SIZE, _PITCH_MM = 640, 0.3
_START_S, _RATE_ML_S, _TOTAL_ML = 2.0, 0.09, 3.2
_DEVICE: Final = "Fluoro"
_PRIMARY_DEG: Final = (180.0, 90.0)
_STAY_S: Final = (18.0, 6.0)  # AP, lateral
_TURN_S: Final = 2.0
_GRID_MM, _HALF_MM = 0.7, 30.0
_FISSURE_MM, _FORAMEN_SPEED = 1.8, 3.0
# Where bone is gone: without it the real CT's fatty ala, seen with voxels of 3 mm, would be no bone at all.
_LESION_MM: Final = 11.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    tip_lps_mm: Vector3
    hub_lps_mm: Vector3
    entry_lps_mm: Vector3
    breach_lps_mm: Vector3
    fissure_speed: float


def _sacral(x: float, depth: float, down: float) -> Vector3:
    a, b, c = (float(value) for value in sacral_point(x, depth, down))
    return (a, b, c)


_SITES: Final[Mapping[Which, _Site]] = {
    "real": _Site(
        tip_lps_mm=(38.0, -99.0, 208.0),
        hub_lps_mm=(48.0, 8.0, 196.0),
        entry_lps_mm=(40.5, -72.0, 205.0),
        breach_lps_mm=(23.5, -103.5, 209.0),
        fissure_speed=3.2,
    ),
    "procedural": _Site(
        tip_lps_mm=_sacral(34.0, -1.0, 20.0),
        hub_lps_mm=_sacral(40.0, 115.0, 12.0),
        entry_lps_mm=_sacral(35.0, 16.0, 18.5),
        breach_lps_mm=_sacral(18.0, -2.0, 29.5),
        fissure_speed=2.5,
    ),
}


def demo_injection(which: Which, volume: HuVolume, zones: Sequence[Mapping[str, Any]]) -> GrownCement | None:
    """Let cement grow for the demonstration.

    Args:
        which: the volume; there is no injection in `other`, for nobody has looked.
        volume: the patient.
        zones: bodies of POST /zones; one of them is the foramen that is leaked into.

    Returns:
        The course; None: no place for it.
    """
    if which not in _SITES:
        return None
    site = _SITES[which]
    foramen = next(zone for zone in zones if zone["site"] == "foramen" and _names_s1_left(zone))
    points_lps_mm = [_triple(point) for point in foramen["shape"]["points_lps_mm"]]
    tunnel = chain(points_lps_mm, float(foramen["shape"]["radius_mm"]))
    medium = bone_medium(
        volume,
        site.tip_lps_mm,
        spacing_mm=_GRID_MM,
        half_mm=(_HALF_MM, _HALF_MM, _HALF_MM),
        seed=10,
        hole_mm=ball(site.tip_lps_mm, _LESION_MM),
    )
    points = medium.points_lps_mm()
    fissure = chain([site.tip_lps_mm, site.breach_lps_mm], _FISSURE_MM)
    medium = opened(medium, fissure.distance_mm(points) <= 0.0, site.fissure_speed, None)
    medium = opened(medium, tunnel.distance_mm(points) <= 0.0, _FORAMEN_SPEED, _LEAK)
    held = tuple({name: value for name, value in zone.items() if name not in ("level", "color")} for zone in zones)
    found = zones_of(held)
    leak_id = found[list(zones).index(foramen)].id
    stop_s = _START_S + _TOTAL_ML / _RATE_ML_S
    path = PlannedPath(
        id="P1", entry_lps_mm=site.entry_lps_mm, target_lps_mm=site.tip_lps_mm, diameter_mm=3.0, label="cannula"
    )
    return grow(
        medium,
        (Phase(start_s=0.0, speed=medium.speed, tip_lps_mm=np.asarray(site.tip_lps_mm)),),
        InjectionCurve(times_s=(0.0, _START_S, stop_s, stop_s + 1.0), volumes_ml=(0.0, 0.0, _TOTAL_ML, _TOTAL_ML)),
        CannulaScript(hub_lps_mm=site.hub_lps_mm, tip_lps_mm=site.tip_lps_mm),
        Surroundings(zone_bodies=held, zones=found, paths=(path,)),
        (Opportunity("foramen", _LEAK, leak_id),),
        duration_s=stop_s + 1.0,
        brand=BRAND,
    )


def demo_imaging(
    volume: ProjectionVolume,
    grown: GrownCement,
    telling: Telling,
    patient_position: str = "HFP",
) -> CementImaging:
    """The C-arm of the demonstration: AP and lateral of one plane; the patient breathes."""
    place = Gantry(
        detector_rows=_SIZE,
        detector_columns=_SIZE,
        pitch_row_mm=_PITCH_MM,
        pitch_column_mm=_PITCH_MM,
        isocenter_lps_mm=grown.cannula.tip_lps_mm,
        patient_position=patient_position,
    )
    views = [ImagedView(gantry=replace(place, primary_deg=angle), device=_DEVICE) for angle in _PRIMARY_DEG]
    return CementImaging(
        volume,
        grown,
        CementTechnique(rate_hz=RATE_HZ, telling=telling),
        views,
        motion=PatientMotion(breath=(0.0, 0.3, 0.6, 0.1, 0.0, 0.0)),
    )


def demo_shots() -> Iterator[Shot]:
    """For ever: a reference of lateral and AP, then AP from 0 on, with a look from the side now and then."""
    taken = [0, 0]
    before_s = REFERENCE_FRAMES / RATE_HZ
    begin_s, view = -2.0 * before_s - _TURN_S, 1
    ends_s = [begin_s + before_s, 0.0]
    while True:
        end_s = ends_s.pop(0) if ends_s else begin_s + _STAY_S[view]
        for n in range(round((end_s - begin_s) * RATE_HZ)):
            yield Shot(view_index=view, t_s=begin_s + n / RATE_HZ, frame_index=taken[view])
            taken[view] += 1
        # The lateral reference is followed by AP's, and AP goes on from there.
        turns = not (view == 0 and end_s == 0.0)
        begin_s = end_s + _TURN_S * turns
        view = 1 - view if turns else view


def _names_s1_left(zone: Mapping[str, Any]) -> bool:
    return "S1" in zone["name"] and zone["side"] == "left"


def _triple(point: Sequence[float]) -> Vector3:
    x, y, z = (float(value) for value in point)
    return (x, y, z)
