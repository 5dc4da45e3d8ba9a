"""Foramina and canal for the demonstration, as bodies for POST /api/v1/zones; not advice for any patient."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, Final

from simulators.demo_paths import Which
from simulators.pelvis import ProceduralPelvis
from simulators.pelvis_shapes import Tube

_COLORS: Final = {"S1": "#ff9f40", "S2": "#ff5f8a"}
_CANAL_COLOR: Final = "#b388ff"


def demo_zones(which: Which) -> list[dict[str, Any]]:
    """Bodies of POST requests.

    Args:
        which: `real`: foramina and canal of TotalSegmentator's example pelvis, seen on the CT and marked by tubes;
            `procedural`: those of `ProceduralPelvis()` in closed form; `other`: none, for nobody has looked.
    """
    if which == "real":
        file = resources.files("simulators") / "data" / "pelvis_zones.json"
        zones: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        return zones
    if which == "other":
        return []
    pelvis = ProceduralPelvis()
    found = [
        _zone(name, "foramen", name.rpartition(" ")[2], name[:2], _COLORS[name[:2]], tube)
        for name, tube in pelvis.foramina.items()
        if name[:2] in _COLORS and "ventral" in name
    ]
    return [*found, _zone("sacral canal", "canal", "midline", "", _CANAL_COLOR, pelvis.canal)]


def _zone(name: str, site: str, side: str, level: str, color: str, tube: Tube) -> dict[str, Any]:
    return {
        "name": name,
        "site": site,
        "side": side,
        "level": level,
        "kind": "keep_out",
        "color": color,
        "shape": {
            "type": "tube",
            "points_lps_mm": [[round(float(value), 2) for value in point] for point in tube.points_lps_mm],
            "radius_mm": round(float(max(tube.radii_mm)), 2),
        },
    }
