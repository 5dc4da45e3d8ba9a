"""The course of a case: its patient, its place, and how cement grows there."""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np

from guidance.messages import PlannedPath, Zone
from guidance.plan_shapes import ZoneFields
from simulators.cement.case import CementCase
from simulators.cement.grown import GrownCement
from simulators.cement.growth import Opportunity, Phase, Surroundings, grow
from simulators.cement.injection import CannulaScript, InjectionCurve
from simulators.cement.medium import Medium, bone_medium, opened
from simulators.cement.places import Place, sacral_ala
from simulators.pelvis import ProceduralPelvis
from simulators.volumes import HuVolume

_GRID_MM = 0.6
_HALF_MM = (34.0, 34.0, 34.0)


@lru_cache(maxsize=2)
def patient(case: CementCase) -> HuVolume:
    """The patient's CT, the same for all cases of one patient; long enough along the body for every view."""
    del case
    return ProceduralPelvis().volume(1.0, center_lps_mm=(0.0, -12.0, -15.0), size_mm=(380.0, 250.0, 180.0))


def grown(case: CementCase) -> GrownCement:
    """The course of a case."""
    place = sacral_ala(ProceduralPelvis(), "left")
    medium = bone_medium(patient(case), place.tip_lps_mm, spacing_mm=_GRID_MM, half_mm=_HALF_MM, seed=case.seed)
    opportunities = []
    for kind in case.leaks:
        for way in place.ways_of(kind):
            medium = _with_way(medium, place, way.name)
            zone_id = next((zone.id for zone in zones_of(place) if zone.name == way.zone_name), "")
            opportunities.append(Opportunity(kind=kind, site_name=way.name, zone_id=zone_id))
    stop_s = 1.0 + case.total_ml / case.rate_ml_s
    injection = InjectionCurve(
        times_s=(0.0, 1.0, stop_s, max(stop_s + 1.0, case.duration_s)),
        volumes_ml=(0.0, 0.0, case.total_ml, case.total_ml),
    )
    path = PlannedPath(
        id="P1",
        entry_lps_mm=place.entry_lps_mm,
        target_lps_mm=place.tip_lps_mm,
        diameter_mm=3.0,
        label=place.name,
    )
    return grow(
        medium,
        (Phase(start_s=0.0, speed=medium.speed, tip_lps_mm=np.asarray(place.tip_lps_mm)),),
        injection,
        CannulaScript(hub_lps_mm=place.hub_lps_mm, tip_lps_mm=place.tip_lps_mm),
        Surroundings(zone_bodies=place.zone_bodies, zones=zones_of(place), paths=(path,)),
        opportunities,
        duration_s=case.duration_s,
        brand=case.brand,
    )


def zones_of(place: Place) -> tuple[Zone, ...]:
    """A place's zones as the server would hold them."""
    fields = [msgspec.convert(dict(body), ZoneFields) for body in place.zone_bodies]
    return tuple(
        Zone(id=f"Z{n}", name=each.name, site=each.site, kind=each.kind, side=each.side, shape=each.shape)
        for n, each in enumerate(fields, 1)
    )


def _with_way(medium: Medium, place: Place, name: str) -> Medium:
    way = next(way for way in place.ways if way.name == name)
    points = medium.points_lps_mm()
    inside = way.channel.distance_mm(points) <= 0.0
    if way.into is not None:
        inside |= (way.into(points) <= 0.0) & (medium.hu < 300.0)
    return opened(medium, inside, way.speed, way.name)
