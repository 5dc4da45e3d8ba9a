"""Zones as POST /zones takes them, fitted to the procedural pelvis; and the same as the server would hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
import numpy as np

from guidance.messages import F64, Vector3, Zone
from guidance.plan_shapes import ZoneFields
from simulators.pelvis_shapes import Tube

Body = Mapping[str, Any]
_GAP_MM: Final = 0.4  # between bone and a slab that lies on it
_STEP_MM: Final = 0.2


def tube_body(
    name: str, site: str, side: str | None, points_lps_mm: Sequence[Vector3], radius_mm: float
) -> dict[str, Any]:
    """A tube."""
    points = [_rounded(point) for point in points_lps_mm]
    return _body(name, site, side, {"type": "tube", "points_lps_mm": points, "radius_mm": round(radius_mm, 2)})


def chain_body(name: str, site: str, side: str | None, tube: Tube) -> dict[str, Any]:
    """A tube of a chain's mean radius."""
    return tube_body(name, site, side, tube.points_lps_mm, float(np.mean(tube.radii_mm)))


def sphere_body(
    name: str, site: str, side: str | None, center_lps_mm: Vector3, radius_mm: float, *, kind: str = "keep_out"
) -> dict[str, Any]:
    """A ball."""
    shape = {"type": "sphere", "center_lps_mm": _rounded(center_lps_mm), "radius_mm": round(radius_mm, 2)}
    return {**_body(name, site, side, shape), "kind": kind}


def slab_body(
    name: str,
    site: str,
    side: str | None,
    polygon_lps_mm: Sequence[Vector3],
    outward: Vector3 | F64,
    height_mm: float,
    bone_mm: Callable[[F64], F64] | None = None,
) -> dict[str, Any]:
    """A flat slab over a face of bone, pushed outwards until it is clear of it.

    Args:
        polygon_lps_mm: corners, nearly in one plane.
        outward: which way is out of the bone.
        height_mm: of the slab.
        bone_mm: (N, 3) -> (N,) distance to the bone; None: the polygon lies where it shall.
    """
    corners = np.asarray(polygon_lps_mm, np.float64)
    middle = corners.mean(axis=0)
    normal = np.linalg.svd(corners - middle)[2][2]
    if normal @ np.asarray(outward) < 0.0:
        normal = -normal
    flat = corners - ((corners - middle) @ normal)[:, None] * normal
    # Newell's normal: the polygon has to run so that its right-hand normal is outward.
    following = np.roll(flat, -1, axis=0)
    if np.cross(flat - middle, following - middle).sum(axis=0) @ normal < 0.0:
        flat = flat[::-1]
    if bone_mm is not None:
        parts = np.linspace(0.0, 1.0, 9)
        edges = np.concatenate([flat + part * (np.roll(flat, -1, axis=0) - flat) for part in parts])
        face = np.concatenate([middle + part * (edges - middle) for part in parts])
        pushed = 0.0
        while float(bone_mm(face + pushed * normal).min()) < _GAP_MM and pushed < 15.0:
            pushed += _STEP_MM
        flat = flat + pushed * normal
    return _body(
        name,
        site,
        side,
        {"type": "prism", "polygon_lps_mm": [_rounded(point) for point in flat], "height_mm": height_mm},
    )


def zones_of(bodies: Sequence[Body]) -> tuple[Zone, ...]:
    """As the server would hold them, `Z1`, `Z2`, ... in order."""
    fields = [msgspec.convert(dict(body), ZoneFields) for body in bodies]
    return tuple(
        Zone(id=f"Z{n}", name=each.name, site=each.site, kind=each.kind, side=each.side, shape=each.shape)
        for n, each in enumerate(fields, 1)
    )


def _body(name: str, site: str, side: str | None, shape: dict[str, Any]) -> dict[str, Any]:
    kind: Literal["keep_out"] = "keep_out"
    return {"name": name, "site": site, "side": side, "kind": kind, "shape": shape}


def _rounded(point: Sequence[float] | F64) -> list[float]:
    return [round(float(value), 2) for value in point]
