"""Zones as following cement gets them."""

from __future__ import annotations

from guidance.cement.zone_fields import ZoneField, zone_fields
from guidance.messages import SphereShape, TubeShape, Vector3, Zone, ZoneKind, ZoneSite
from guidance.messages.zones import ZoneShape
from guidance.overlay.zones import ZonesOnPicture
from guidance.planning.surface import surface_of_shape


def zone(
    number: int, shape: ZoneShape, *, site: ZoneSite = ZoneSite.FORAMEN, kind: ZoneKind = ZoneKind.KEEP_OUT
) -> Zone:
    return Zone(id=f"Z{number}", name=f"zone {number}", site=site, kind=kind, shape=shape)


def tube(number: int, *points: Vector3, radius_mm: float = 3.5) -> Zone:
    return zone(number, TubeShape(points_lps_mm=points, radius_mm=radius_mm))


def target(number: int, center_lps_mm: Vector3, radius_mm: float) -> Zone:
    shape = SphereShape(center_lps_mm=center_lps_mm, radius_mm=radius_mm)
    return zone(number, shape, site=ZoneSite.LESION, kind=ZoneKind.TARGET)


def fields(*zones: Zone) -> tuple[ZoneField, ...]:
    return zone_fields(ZonesOnPicture(surfaces=tuple((one, surface_of_shape(one.shape)) for one in zones)))
