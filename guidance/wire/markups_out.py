"""Paths and drawn zones -> a markups file that 3D Slicer opens and `read_markups` reads back to the bit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from guidance.messages import MaskShape, PlannedPath, PrismShape, SphereShape, TubeShape, Vector3, Zone
from guidance.wire.markups_file import DIAMETER
from guidance.wire.markups_text import words_of

_SCHEMA: Final = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)


def markups_of(paths: Iterable[PlannedPath], zones: Iterable[Zone] = ()) -> bytes:
    """A markups file: a line per path, a curve, closed curve or point per drawn zone, in LPS and mm.

    Zones of voxels have no markup (`zones_without_markup` names them); they travel as Segmentations.
    """
    markups = [_line(path) for path in paths]
    markups += [_zone(zone) for zone in zones if not isinstance(zone.shape, MaskShape)]
    return msgspec.json.format(msgspec.json.encode({"@schema": _SCHEMA, "markups": markups}), indent=1) + b"\n"


def zones_without_markup(zones: Iterable[Zone]) -> tuple[Zone, ...]:
    """The zones that a markups file cannot hold."""
    return tuple(zone for zone in zones if isinstance(zone.shape, MaskShape))


def _line(path: PlannedPath) -> dict[str, Any]:
    name = path.label or path.id
    words = words_of(
        {
            "d": float(path.diameter_mm),
            "label": path.label,
            "instrument": path.instrument,
            "approach": path.approach,
        }
    )
    points = [(f"{name} entry", words, path.entry_lps_mm), (f"{name} target", "", path.target_lps_mm)]
    diameter = {
        "name": DIAMETER,
        "enabled": True,
        "value": float(path.diameter_mm),
        "units": "mm",
        "printFormat": "%.1f%s",
    }
    return _markup("Line", name, points, path.color, [diameter])


def _zone(zone: Zone) -> dict[str, Any]:
    shape = zone.shape
    sizes: dict[str, float]
    if isinstance(shape, TubeShape):
        kind, sizes, positions = "Curve", {"r": float(shape.radius_mm)}, shape.points_lps_mm
    elif isinstance(shape, PrismShape):
        kind, sizes, positions = "ClosedCurve", {"h": float(shape.height_mm)}, shape.polygon_lps_mm
    else:
        assert isinstance(shape, SphereShape)
        kind, sizes, positions = "Fiducial", {"r": float(shape.radius_mm)}, (shape.center_lps_mm,)
    words = words_of(
        sizes
        | {
            "label": zone.name,
            "site": zone.site.value,
            "side": zone.side.value if zone.side else "",
            "level": zone.level,
            "kind": zone.kind.value,
        }
    )
    points = [(f"{zone.name}-{place}", "" if place > 1 else words, one) for place, one in enumerate(positions, 1)]
    return _markup(kind, zone.name, points, zone.color, [])


def _markup(
    kind: str, name: str, points: Sequence[tuple[str, str, Vector3]], color: str, measurements: list[dict[str, Any]]
) -> dict[str, Any]:
    packed = int(color.removeprefix("#") or "ffffff", 16)
    parts = [(packed >> shift & 255) / 255 for shift in (16, 8, 0)]
    return {
        "type": kind,
        "name": name,
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": False,
        "fixedNumberOfControlPoints": False,
        "labelFormat": "%N-%d",
        "lastUsedControlPointNumber": len(points),
        "controlPoints": [
            {
                "id": str(number),
                "label": label,
                "description": words,
                "associatedNodeID": "",
                "position": [float(part) for part in position],
                "orientation": [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0],
                "selected": True,
                "locked": False,
                "visibility": True,
                "positionStatus": "defined",
            }
            for number, (label, words, position) in enumerate(points, 1)
        ],
        "measurements": measurements,
        "display": {
            "visibility": True,
            "opacity": 1.0,
            "color": parts,
            "selectedColor": parts,
            "propertiesLabelVisibility": True,
            "pointLabelsVisibility": True,
        },
    }
