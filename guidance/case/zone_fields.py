"""What a zone's fields may be: strict checks that name every field at fault at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from guidance.case.fields import BadFieldsError, FieldError
from guidance.case.values import checked_color, checked_flag, checked_text, checked_word
from guidance.case.zone_shapes import checked_shape
from guidance.messages import ZoneKind, ZoneShape, ZoneSide, ZoneSite

REQUIRED_ZONE_FIELDS: Final = ("name", "site", "kind", "shape")
ZONE_FIELDS: Final = (*REQUIRED_ZONE_FIELDS, "side", "color", "level", "shown")

# Muted and apart from the instruments' palette: what belongs to a path has exactly that path's colour. Those that
# lie next to each other in a pelvis (foramen, canal, vein, joint, lesion) are far apart in hue.
ZONE_COLORS: Final[Mapping[ZoneSite, str]] = {
    ZoneSite.FORAMEN: "#ff5c5c",
    ZoneSite.CANAL: "#ff9d9d",
    ZoneSite.VENTRAL_SURFACE: "#9b8cff",
    ZoneSite.SI_JOINT: "#b8b000",
    ZoneSite.DISC: "#7fb069",
    ZoneSite.VEIN: "#4169ff",
    ZoneSite.NEEDLE_TRACK: "#b39ddb",
    ZoneSite.SKIN: "#a1887f",
    ZoneSite.BONE: "#d9cfa3",
    ZoneSite.LESION: "#2ec4b6",
    ZoneSite.OTHER: "#d55e00",
}

_LONGEST_LEVEL: Final = 16


def checked_zone_fields(
    fields: Mapping[str, Any],
    *,
    required: Iterable[str] = REQUIRED_ZONE_FIELDS,
    held: ZoneShape | None = None,
) -> dict[str, Any]:
    """Turn what a client sent into zone fields.

    Args:
        fields: member name -> JSON value; `name` 1 to 64 characters, `site`, `side` and `kind` as contract 5.4 lists
            them, `shape` see `checked_shape`, `color` `#rrggbb`, `level` up to 16 characters, `shown` true or false.
            None means "default" for `side`, `color`, `level` and `shown`.
        required: names that must be there.
        held: the zone's shape so far.

    Returns:
        Field name -> value, only those given; None for "default".

    Raises:
        BadFieldsError: names every missing, unknown or impossible field.
    """
    errors = [FieldError(name, "is required") for name in required if fields.get(name) is None]
    values: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in ZONE_FIELDS:
            errors.append(FieldError(str(name), f"is not a field of a zone; there are {', '.join(ZONE_FIELDS)}"))
        elif value is None and name in REQUIRED_ZONE_FIELDS:
            if name not in required:
                errors.append(FieldError(name, "cannot be removed"))
        elif value is None:
            values[name] = None
        elif name == "shape":
            values[name], found = checked_shape(value, held)
            errors += found
        else:
            try:
                values[name] = _CHECKS[name](value)
            except ValueError as error:
                errors.append(FieldError(name, str(error)))
    if errors:
        raise BadFieldsError(errors, what="zone")
    return values


def _name(value: object) -> str:
    name = checked_text(value)
    if not name:
        raise ValueError("must not be empty")
    return name


def _level(value: object) -> str:
    return checked_text(value, longest=_LONGEST_LEVEL)


def _site(value: object) -> ZoneSite:
    return checked_word(value, ZoneSite)


def _side(value: object) -> ZoneSide:
    return checked_word(value, ZoneSide)


def _kind(value: object) -> ZoneKind:
    return checked_word(value, ZoneKind)


_CHECKS: Final[Mapping[str, Callable[[object], Any]]] = {
    "name": _name,
    "site": _site,
    "side": _side,
    "kind": _kind,
    "color": checked_color,
    "level": _level,
    "shown": checked_flag,
}
