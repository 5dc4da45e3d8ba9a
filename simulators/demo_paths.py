"""Four paths in the sacrum for the demonstration, as bodies for POST /api/v1/paths; not advice for any patient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np

from guidance.messages import F64, Vector3
from simulators.instruments import Cylinder
from simulators.pelvis import ProceduralPelvis
from simulators.pelvis_corridors import corridors

Which = Literal["real", "procedural", "other"]

_PIN_PART: Final = 0.75
_PIN_ASIDE_MM: Final = 1.5
_PIN_OUTSIDE_MM: Final = 60.0
_COLORS: Final = ("#00e676", "#40c4ff", "#ffd740", "#ff80ab")
# Real pelvis CT (TotalSegmentator's example): lines with room in its label map; seen on AP and lateral too.
_REAL: Final[tuple[tuple[str, Vector3, Vector3, float], ...]] = (
    ("S1 transsacral", (84.0, -107.5, 216.5), (-82.0, -107.5, 216.5), 7.3),
    ("S2 across", (46.0, -65.0, 195.0), (-42.0, -65.0, 195.0), 2.8),
    ("S1 iliosacral left", (76.7, -94.6, 203.4), (8.0, -113.0, 216.0), 2.8),
    ("S1 iliosacral right", (-77.6, -94.5, 203.3), (-8.0, -113.0, 216.0), 2.8),
)


def demo_paths(which: Which, center_lps_mm: F64 | None = None) -> list[dict[str, Any]]:
    """Bodies of four POST requests.

    Args:
        which: `real`: TotalSegmentator's example pelvis; `procedural`: `ProceduralPelvis()` with its default origin;
            `other`: any volume: lines around its middle, without any claim.
        center_lps_mm: that middle.
    """
    if which == "real":
        lines = _REAL
    elif which == "procedural":
        found = corridors(ProceduralPelvis())
        lines = tuple(
            (corridor.name, corridor.entry_lps_mm, corridor.target_lps_mm, 7.3 if "trans" in name else 2.8)
            for name, corridor in found.items()
        )
    else:
        lines = _around(np.zeros(3) if center_lps_mm is None else center_lps_mm)
    return [
        {
            "label": label,
            "entry_lps_mm": [round(value, 2) for value in entry],
            "target_lps_mm": [round(value, 2) for value in target],
            "diameter_mm": diameter_mm,
            "color": color,
            "instrument": "screw_7_3_full" if diameter_mm > 4.0 else "guidepin_2_8",
        }
        for (label, entry, target, diameter_mm), color in zip(lines, _COLORS, strict=True)
    ]


def demo_pin(path: Mapping[str, Any]) -> Cylinder:
    """A guidepin on its way along a path: three quarters in, 1.5 mm aside, its hub outside the patient."""
    entry, target = (np.array(path[key], np.float64) for key in ("entry_lps_mm", "target_lps_mm"))
    axis = (target - entry) / np.linalg.norm(target - entry)
    aside = np.cross(axis, (0.0, 0.0, 1.0))
    aside *= _PIN_ASIDE_MM / np.linalg.norm(aside)
    hub, tip = entry - _PIN_OUTSIDE_MM * axis + aside, entry + _PIN_PART * (target - entry) + aside
    return Cylinder(
        start_lps_mm=(float(hub[0]), float(hub[1]), float(hub[2])),
        end_lps_mm=(float(tip[0]), float(tip[1]), float(tip[2])),
        diameter_mm=float(path["diameter_mm"]),
    )


def _around(center: F64) -> tuple[tuple[str, Vector3, Vector3, float], ...]:
    def at(dx: float, dy: float, dz: float) -> Vector3:
        return (float(center[0] + dx), float(center[1] + dy), float(center[2] + dz))

    return (
        ("across", at(60, 0, 0), at(-60, 0, 0), 7.3),
        ("across, lower", at(45, 5, -25), at(-45, 5, -25), 2.8),
        ("oblique left", at(60, 25, -12), at(8, -6, 8), 2.8),
        ("oblique right", at(-60, 25, -12), at(-8, -6, 8), 2.8),
    )
