"""What a zone's shape may be: tubes, balls and prisms that are what they say; masks come from files only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from guidance.case.fields import FieldError
from guidance.case.values import checked_length_mm, checked_vector
from guidance.messages import F64, MaskShape, PrismShape, SphereShape, TubeShape, Vector3, ZoneShape

# A patient fits into half a metre of radius.
LARGEST_RADIUS_MM: Final = 500.0
LARGEST_HEIGHT_MM: Final = 1000.0
MOST_POINTS: Final = 256
_NEAREST_POINTS_MM: Final = 0.01
_SMALLEST_AREA_MM2: Final = 0.01
# Corners are clicked on one oblique slice and rounded on their way; what is farther off was clicked on two.
PLANE_TOLERANCE_MM: Final = 0.5

# Members that say where a shape is; sizes alone move nothing.
PLACES: Final = ("points_lps_mm", "center_lps_mm", "polygon_lps_mm")


def checked_shape(value: object, held: ZoneShape | None = None) -> tuple[ZoneShape | None, list[FieldError]]:
    """Turn what a client sent into a shape.

    Args:
        value: JSON object with `type` (`tube`, `sphere`, `prism`) and that type's members.
        held: the zone's shape so far; its mask may be sent back as it is.

    Returns:
        The shape, or None and every member at fault.
    """
    if not isinstance(value, Mapping):
        return None, [FieldError("shape", 'must be an object with a "type"')]
    kind = value.get("type")
    if kind == "mask":
        if isinstance(held, MaskShape) and _same_mask(value, held):
            return held, []
        return None, [FieldError("shape", "a mask comes by POST /zones/import or DICOM and is not edited")]
    if isinstance(held, MaskShape):
        return None, [FieldError("shape", "of a mask is not edited; delete the zone and draw another")]
    if not isinstance(kind, str) or kind not in _MEMBERS:
        return None, [FieldError("shape.type", f"must be one of {', '.join(_MEMBERS)}")]
    members = _MEMBERS[kind]
    errors = [
        FieldError(f"shape.{name}", f"is not a member of a {kind}; there are {', '.join(members)}")
        for name in value
        if name != "type" and name not in members
    ]
    values: dict[str, Any] = {}
    for name, check in members.items():
        if value.get(name) is None:
            errors.append(FieldError(f"shape.{name}", "is required"))
            continue
        try:
            values[name] = check(value[name])
        except ValueError as error:
            errors.append(FieldError(f"shape.{name}", str(error)))
    if errors:
        return None, errors
    return _SHAPES[kind](**values), []


def merged_shape(value: object, held: ZoneShape) -> object:
    """A merge patch (RFC 7396) of a shape; another type replaces it whole, for none of the members would fit."""
    if not isinstance(value, Mapping) or isinstance(held, MaskShape):
        return value
    kind = held.__struct_config__.tag
    if value.get("type", kind) != kind:
        return value
    return {"type": kind, **{name: getattr(held, name) for name in _MEMBERS[str(kind)]}, **value}


def is_elsewhere(shape: ZoneShape, held: ZoneShape) -> bool:
    """Whether a shape has other points than another: a new radius or height alone moves nothing."""
    return any(getattr(shape, name, None) != getattr(held, name, None) for name in PLACES)


def _same_mask(value: Mapping[str, Any], held: MaskShape) -> bool:
    told = {name: value.get(name, getattr(held, name)) for name in held.__struct_fields__}
    return set(value) <= {"type", *held.__struct_fields__} and all(
        _plain(told[name]) == _plain(getattr(held, name)) for name in told
    )


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _radius_mm(value: object) -> float:
    return checked_length_mm(value, at_most=LARGEST_RADIUS_MM)


def _height_mm(value: object) -> float:
    return checked_length_mm(value, at_most=LARGEST_HEIGHT_MM)


def _points(value: object, *, at_least: int, what: str, closed: bool) -> tuple[Vector3, ...]:
    if not isinstance(value, list | tuple) or not at_least <= len(value) <= MOST_POINTS:
        raise ValueError(f"must be {at_least} to {MOST_POINTS} {what}, each [x, y, z] in mm, patient LPS")
    points = []
    for number, point in enumerate(value):
        try:
            points.append(checked_vector(point))
        except ValueError as error:
            raise ValueError(f"{what[:-1]} {number} {error}") from None
    for number in range(0 if closed else 1, len(points)):
        before = (number - 1) % len(points)
        if math.dist(points[before], points[number]) < _NEAREST_POINTS_MM:
            raise ValueError(f"{what} {before} and {number} are the same")
    return tuple(points)


def _tube_points(value: object) -> tuple[Vector3, ...]:
    if isinstance(value, list | tuple) and len(value) == 1:
        raise ValueError("must be at least two points; one point and a radius are a sphere")
    return _points(value, at_least=2, what="points", closed=False)


def _polygon(value: object) -> tuple[Vector3, ...]:
    corners = _points(value, at_least=3, what="corners", closed=True)
    points = np.array(corners) - np.mean(corners, axis=0)
    # Newell's normal: twice the area, right hand, and sound for polygons that are not convex.
    normal = np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0)
    _, _, axes = np.linalg.svd(points, full_matrices=False)
    off_mm = float(np.abs(points @ axes[2]).max())
    if off_mm > PLANE_TOLERANCE_MM:
        raise ValueError(f"must lie in one plane: a corner is {off_mm:.1f} mm off ({PLANE_TOLERANCE_MM} mm allowed)")
    crossing = _crossing(points @ axes[:2].T)
    if crossing is not None:
        raise ValueError(f"must not cross itself: the sides after corners {crossing[0]} and {crossing[1]} do")
    if float(np.linalg.norm(normal)) / 2 < _SMALLEST_AREA_MM2:
        raise ValueError("must have an area; its corners lie on one line")
    return corners


def _crossing(corners: F64) -> tuple[int, int] | None:
    """The first two sides of a plane polygon that meet where they should not; None where there are none."""
    count = len(corners)
    starts, ends = corners, np.roll(corners, -1, axis=0)
    along = ends - starts
    first, second = np.triu_indices(count, k=2)
    apart = ~((first == 0) & (second == count - 1))
    first, second = first[apart], second[apart]

    def side(segment: F64, point: F64) -> F64:
        offset = point - starts[segment]
        turned: F64 = along[segment, 0] * offset[:, 1] - along[segment, 1] * offset[:, 0]
        return turned

    near, far = side(first, starts[second]), side(first, ends[second])
    back, forth = side(second, starts[first]), side(second, ends[first])
    across = (near * far <= 0) & (back * forth <= 0)
    # Sides on one line meet only where their boxes do.
    low, high = np.minimum(starts, ends), np.maximum(starts, ends)
    boxes = ((low[first] <= high[second]) & (low[second] <= high[first])).all(axis=1)
    found = np.flatnonzero(across & boxes)
    return (int(first[found[0]]), int(second[found[0]])) if len(found) else None


_MEMBERS: Final[Mapping[str, Mapping[str, Callable[[object], Any]]]] = {
    "tube": {"points_lps_mm": _tube_points, "radius_mm": _radius_mm},
    "sphere": {"center_lps_mm": checked_vector, "radius_mm": _radius_mm},
    "prism": {"polygon_lps_mm": _polygon, "height_mm": _height_mm},
}
_SHAPES: Final[Mapping[str, type[TubeShape | SphereShape | PrismShape]]] = {
    "tube": TubeShape,
    "sphere": SphereShape,
    "prism": PrismShape,
}
