"""What POST /registration asks for, and what GET /registration tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec

from guidance.case import BadFieldsError, FieldError
from guidance.case.values import checked_number
from guidance.messages import Vector3
from guidance.registration.answers import Rows

LONGEST_OTHER_VIEWS_S: Final = 600.0
_DEVICE: Final = re.compile(r"Fluoro[A-Za-z0-9_-]{0,14}")
_FIELDS: Final = ("inputs", "other_views_s")

OtherViews = Annotated[float, msgspec.Meta(ge=0, le=LONGEST_OTHER_VIEWS_S)]


class RegistrationFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What POST /registration takes; nothing at all stands for all live inputs.

    Attributes:
        inputs: devices whose newest pictures are used; none: all live ones.
        other_views_s: also use pictures of these inputs from other angles that are at most so many seconds old, 0 to
            600; the patient must have lain still since.
    """

    inputs: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    other_views_s: OtherViews | msgspec.UnsetType = msgspec.UNSET


class RegistrationState(msgspec.Struct, frozen=True, kw_only=True):
    """Where the active volume is seen now.

    Attributes:
        registered: a registration is in force; else the geometry is taken as it is told.
        seen_lps_from_volume_lps: four rows of four, identity without one.
        covariance, pivot_lps_mm, residual_px: as it was accepted; null without one.
        inputs: whose pictures it was made from.
        epoch: of the registration.
        offered: a picture says that the patient has moved, so a new one may mend it.
        running: one is being worked out.
    """

    registered: bool
    seen_lps_from_volume_lps: Rows
    covariance: Rows | None
    pivot_lps_mm: Vector3 | None
    residual_px: float | None
    inputs: tuple[str, ...]
    epoch: int
    offered: bool
    running: bool


@dataclass(frozen=True, slots=True)
class RegistrationRequest:
    """Inputs to use, () for all live ones; and how old pictures from other angles may be, 0: none."""

    inputs: tuple[str, ...] = ()
    other_views_s: float = 0.0


def registration_request(fields: Mapping[str, Any]) -> RegistrationRequest:
    """Read the body of POST /registration.

    Raises:
        BadFieldsError: unknown member or wrong type.
    """
    errors = [
        FieldError(str(name), f"is not known; there are {', '.join(_FIELDS)}") for name in fields if name not in _FIELDS
    ]
    inputs: object = fields.get("inputs")
    inputs = [] if inputs is None else inputs
    if not isinstance(inputs, list) or not all(isinstance(name, str) and _DEVICE.fullmatch(name) for name in inputs):
        errors.append(FieldError("inputs", "must be a list of input devices such as Fluoro"))
        inputs = []
    seconds: object = fields.get("other_views_s")
    try:
        other_views_s = 0.0 if seconds is None else checked_number(seconds)
    except ValueError as error:
        errors.append(FieldError("other_views_s", str(error)))
        other_views_s = 0.0
    if not 0.0 <= other_views_s <= LONGEST_OTHER_VIEWS_S:
        errors.append(FieldError("other_views_s", f"must be 0 to {LONGEST_OTHER_VIEWS_S:g} s"))
    if errors:
        raise BadFieldsError(errors, what="registration")
    return RegistrationRequest(inputs=tuple(dict.fromkeys(inputs)), other_views_s=other_views_s)
