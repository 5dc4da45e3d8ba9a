"""What POST /cement/start and POST /alerts/{id}/acknowledge ask for; strict, every field at fault is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from guidance.case import BadFieldsError, FieldError
from guidance.case.values import LONGEST_TEXT, checked_flag, checked_number, checked_text
from guidance.messages import CementMaterial

LARGEST_OPACITY_PER_MM: Final = 5.0  # steel has 1 / mm at 60 keV (NIST XCOM)
LONGEST_MIXED_S: Final = 7200.0
COLDEST_C, WARMEST_C = 0.0, 45.0
_START_FIELDS: Final = ("brand", "opacity_per_mm", "mixed_s_ago", "temperature_c", "balloon")

Brand = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_TEXT)]
OpacityPerMm = Annotated[float, msgspec.Meta(gt=0, le=LARGEST_OPACITY_PER_MM)]
MixedSAgo = Annotated[float, msgspec.Meta(ge=0, le=LONGEST_MIXED_S)]
TemperatureC = Annotated[float, msgspec.Meta(ge=COLDEST_C, le=WARMEST_C)]
By = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_TEXT)]


class CementStart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What POST /cement/start takes: at least one of `brand` and `opacity_per_mm`.

    Attributes:
        brand: one of `/cement/brands`.
        opacity_per_mm: effective linear attenuation that the cement adds, as a step wedge of it shows in the same
            beam; counts before the brand's.
        mixed_s_ago: seconds since mixing began; without it the working time is not known.
        temperature_c: of the room [20].
        balloon: what flows is contrast in a balloon, which is no cement [false].
    """

    brand: Brand | msgspec.UnsetType = msgspec.UNSET
    opacity_per_mm: OpacityPerMm | msgspec.UnsetType = msgspec.UNSET
    mixed_s_ago: MixedSAgo | msgspec.UnsetType = msgspec.UNSET
    temperature_c: TemperatureC | msgspec.UnsetType = msgspec.UNSET
    balloon: bool | msgspec.UnsetType = msgspec.UNSET


class Acknowledgement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What POST /alerts/{id}/acknowledge takes: who has seen it."""

    by: By


def cement_material(fields: Mapping[str, Any]) -> CementMaterial:
    """Read the body of POST /cement/start; null stands for "not told".

    Raises:
        BadFieldsError: unknown member, wrong type or range, or neither a brand nor an opacity. Whether the brand is
            known is the library's to say.
    """
    errors = [
        FieldError(str(name), f"is not known; there are {', '.join(_START_FIELDS)}")
        for name in fields
        if name not in _START_FIELDS
    ]
    brand, opacity = fields.get("brand"), fields.get("opacity_per_mm")
    if brand is None and opacity is None:
        errors.append(FieldError("brand", "is required, or opacity_per_mm"))
    told = ""
    try:
        told = "" if brand is None else checked_text(brand)
        if brand is not None and not told:
            errors.append(FieldError("brand", "must not be empty"))
    except ValueError as error:
        errors.append(FieldError("brand", str(error)))
    opacity_per_mm = _number(errors, "opacity_per_mm", opacity, None, 0.0, LARGEST_OPACITY_PER_MM, above=True)
    mixed_s_ago = _number(errors, "mixed_s_ago", fields.get("mixed_s_ago"), None, 0.0, LONGEST_MIXED_S)
    default_c = CementMaterial().temperature_c
    temperature_c = _number(errors, "temperature_c", fields.get("temperature_c"), default_c, COLDEST_C, WARMEST_C)
    balloon = False
    try:
        balloon = fields.get("balloon") is not None and checked_flag(fields["balloon"])
    except ValueError as error:
        errors.append(FieldError("balloon", str(error)))
    if errors:
        raise BadFieldsError(errors, what="cement")
    return CementMaterial(
        brand=told,
        opacity_per_mm=opacity_per_mm,
        mixed_s_ago=mixed_s_ago,
        temperature_c=default_c if temperature_c is None else temperature_c,
        balloon=balloon,
    )


def acknowledged_by(fields: Mapping[str, Any]) -> str:
    """Read the body of POST /alerts/{id}/acknowledge.

    Raises:
        BadFieldsError: nobody is named, or another member is there.
    """
    errors = [FieldError(str(name), "is not known; there is by") for name in fields if name != "by"]
    by = ""
    if fields.get("by") is None:
        errors.append(FieldError("by", "is required"))
    else:
        try:
            by = checked_text(fields["by"])
            if not by:
                errors.append(FieldError("by", "must not be empty"))
        except ValueError as error:
            errors.append(FieldError("by", str(error)))
    if errors:
        raise BadFieldsError(errors, what="acknowledgement")
    return by


def _number(
    errors: list[FieldError],
    name: str,
    value: object,
    default: float | None,
    least: float,
    most: float,
    *,
    above: bool = False,
) -> float | None:
    if value is None:
        return default
    try:
        number = checked_number(value)
    except ValueError as error:
        errors.append(FieldError(name, str(error)))
        return default
    if not least <= number <= most or (above and number == least):
        words = f"greater than {least:g} and at most {most:g}" if above else f"{least:g} to {most:g}"
        errors.append(FieldError(name, f"must be {words}"))
        return default
    return number
