"""3D Slicer markups files (.mrk.json) as the schema has them: types, names, placed points in LPS, colours."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from guidance.case.fields import BadFieldsError, FieldError
from guidance.messages import Vector3

DIAMETER: Final = "diameter"  # measurement of a line that tells the instrument's
_SCHEMA: Final = re.compile(r".*markups(-schema)?-v1\.\d+\.\d+(-schema)?\.json#*", re.IGNORECASE)
# Slicer 4.10 and older wrote numbers: vtkMRMLMarkupsStorageNode's RAS 0, LPS 1, IJK 2.
_LPS_FROM: Final = {"LPS": 1.0, "RAS": -1.0, "1": 1.0, "0": -1.0}
_FARTHEST_MM: Final = 5000.0
_MOST_POINTS: Final = 10_000
_LONGEST_TEXT: Final = 1000
_SLICER_DEFAULTS: Final = {"selectedColor": "#ff8080", "color": "#66ffff"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPoint:
    """A placed point: patient LPS, mm; `words` is its description, `where` its member in the file."""

    label: str
    words: str
    position_lps_mm: Vector3
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Markup:
    """One markup.

    Attributes:
        where: its member in the file, for errors.
        type: `Fiducial`, `Line`, `Curve`, `ClosedCurve`, `Plane`, `ROI`, ...
        name: "" where the file has none.
        points: those that are placed.
        not_placed: labels of the others.
        color: `#rrggbb`; "" where the file has none.
        diameter_mm: the measurement of that name.
    """

    where: str
    type: str
    name: str
    points: tuple[ControlPoint, ...]
    not_placed: tuple[str, ...]
    color: str
    diameter_mm: float | None


def read_file(data: bytes) -> tuple[Markup, ...]:
    """Split a markups file.

    Raises:
        BadFieldsError: names the member at fault.

    Source: 3D Slicer, Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json.
    """
    return tuple(_markup(one, f"markups[{place}]") for place, one in enumerate(_markups(data)))


def refused(name: str, message: str) -> BadFieldsError:
    """The error for a member of the file."""
    return BadFieldsError([FieldError(name, message)], what="markups file")


def _markup(markup: Any, where: str) -> Markup:
    if not isinstance(markup, dict):
        raise refused(where, "must be an object")
    kind = markup.get("type")
    if not isinstance(kind, str):
        raise refused(f"{where}.type", "is required")
    points, not_placed = _points(markup, where)
    return Markup(
        where=where,
        type=kind,
        name=_text(markup, "name", where),
        points=points,
        not_placed=not_placed,
        color=_color(markup),
        diameter_mm=_measured(markup, where),
    )


def _markups(data: bytes) -> list[Any]:
    try:
        file = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise refused("file", f"is no JSON: {error}; export it from 3D Slicer as Markups JSON (.mrk.json)") from None
    if not isinstance(file, dict) or not isinstance(file.get("markups"), list):
        raise refused("markups", "is missing: not a markups file; export it from 3D Slicer as Markups JSON (.mrk.json)")
    schema = file.get("@schema", "")
    if schema and not (isinstance(schema, str) and _SCHEMA.fullmatch(schema)):
        raise refused("@schema", f"is {schema!r}; version 1 is read")
    return list(file["markups"])


def _points(markup: Mapping[str, Any], where: str) -> tuple[tuple[ControlPoint, ...], tuple[str, ...]]:
    sign = _sign(markup, where)
    controls = markup.get("controlPoints", [])
    if not isinstance(controls, list) or len(controls) > _MOST_POINTS:
        raise refused(f"{where}.controlPoints", f"must be a list of at most {_MOST_POINTS} points")
    placed, not_placed = [], []
    for place, control in enumerate(controls):
        here = f"{where}.controlPoints[{place}]"
        if not isinstance(control, dict):
            raise refused(here, "must be an object")
        label, words = _text(control, "label", here), _text(control, "description", here)
        status = control.get("positionStatus", "defined")
        if status not in ("defined", "undefined", "preview"):
            raise refused(f"{here}.positionStatus", "must be defined, undefined or preview")
        if status != "defined":  # Slicer writes "" for the position of a point that is not placed
            not_placed.append(label or f"point {place + 1}")
            continue
        x, y, z = _position(control.get("position"), f"{here}.position")
        position = (sign * x + 0.0, sign * y + 0.0, z)  # no -0
        placed.append(ControlPoint(label=label, words=words, position_lps_mm=position, where=here))
    return tuple(placed), tuple(not_placed)


def _sign(markup: Mapping[str, Any], where: str) -> float:
    system = markup.get("coordinateSystem", "LPS")
    sign = (
        _LPS_FROM.get(str(system).upper()) if isinstance(system, str | int) and not isinstance(system, bool) else None
    )
    if sign is None:
        raise refused(f"{where}.coordinateSystem", f"is {system!r}; it must be LPS or RAS")
    units = markup.get("coordinateUnits", "mm")
    if not _is_mm(units):
        raise refused(f"{where}.coordinateUnits", f"is {units!r}; it must be mm: save the scene with lengths in mm")
    return sign


def _position(value: object, where: str) -> Vector3:
    if not isinstance(value, list) or len(value) != 3:
        raise refused(where, "must be three numbers in mm")
    for part in value:
        if isinstance(part, bool) or not isinstance(part, int | float) or not math.isfinite(part):
            raise refused(where, "must be three finite numbers in mm")
        if abs(part) > _FARTHEST_MM:
            raise refused(where, f"lies more than {_FARTHEST_MM:g} mm from the origin; are the coordinates in mm?")
    return float(value[0]), float(value[1]), float(value[2])


def _text(item: Mapping[str, Any], member: str, where: str) -> str:
    value = item.get(member)
    if value is not None and not isinstance(value, str):
        raise refused(f"{where}.{member}", "must be text")
    if value is not None and len(value) > _LONGEST_TEXT:
        raise refused(f"{where}.{member}", f"must have at most {_LONGEST_TEXT} characters")
    return (value or "").strip()


def _color(markup: Mapping[str, Any]) -> str:
    """Slicer paints selected points, and that is what points are unless someone changes it, in `selectedColor`.

    Slicer's own defaults are nobody's choice, and two paths in one colour cannot be told apart: they count as none.
    """
    display = markup.get("display")
    controls = markup.get("controlPoints")
    if not isinstance(display, dict):
        return ""
    first = controls[0] if isinstance(controls, list) and controls and isinstance(controls[0], dict) else {}
    order = ("selectedColor", "color") if first.get("selected", True) else ("color", "selectedColor")
    for member in order:
        parts = display.get(member)
        if isinstance(parts, list) and len(parts) == 3 and all(isinstance(part, int | float) for part in parts):
            color = "#" + "".join(f"{round(min(max(float(part), 0.0), 1.0) * 255):02x}" for part in parts)
            return "" if color == _SLICER_DEFAULTS[member] else color
    return ""


def _measured(markup: Mapping[str, Any], where: str) -> float | None:
    measurements = markup.get("measurements", [])
    if not isinstance(measurements, list):
        raise refused(f"{where}.measurements", "must be a list")
    for place, one in enumerate(measurements):
        if isinstance(one, dict) and str(one.get("name", "")).lower() == DIAMETER and one.get("value") is not None:
            here = f"{where}.measurements[{place}]"
            value, units = one["value"], one.get("units", "mm")
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise refused(f"{here}.value", "must be a diameter in mm, greater than 0")
            if not _is_mm(units):
                raise refused(f"{here}.units", f"is {units!r}; it must be mm")
            return float(value)
    return None


def _is_mm(units: object) -> bool:
    """`mm`, or UCUM's code for it."""
    return units == "mm" or (isinstance(units, list) and units[:2] == ["mm", "UCUM"])
