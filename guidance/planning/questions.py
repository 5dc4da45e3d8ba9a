"""What can be asked of planning: strict checks that name every field at fault at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from guidance.case.fields import LARGEST_DIAMETER_MM, BadFieldsError, FieldError
from guidance.case.values import checked_length_mm, checked_number
from guidance.messages import ZoneSide

Level = Literal["free", "s1", "s2", "iliosacral"]
Proposal = Literal["bone", "skin"]

_Word = TypeVar("_Word")

_LEVELS: Final[Mapping[str, Level]] = {"free": "free", "s1": "s1", "s2": "s2", "iliosacral": "iliosacral"}
_PROPOSALS: Final[Mapping[str, Proposal]] = {"bone": "bone", "skin": "skin"}
_SIDES: Final = {"left": ZoneSide.LEFT, "right": ZoneSide.RIGHT}
_CORRIDOR_FIELDS: Final = ("level", "diameter_mm", "margin_mm", "side")
_LARGEST_MARGIN_MM: Final = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CorridorQuestion:
    """Whether a straight corridor exists.

    Attributes:
        diameter_mm: of the screw, (0, 50].
        margin_mm: asked all round, [0, 50].
        side: of the entry, for `iliosacral`; None: either.
    """

    level: Level
    diameter_mm: float
    margin_mm: float = 0.0
    side: ZoneSide | None = None


def corridor_question(fields: Mapping[str, Any]) -> CorridorQuestion:
    """The question in a JSON object: `level` and `diameter_mm`, `margin_mm` [0], `side` for `iliosacral` [either].

    Raises:
        BadFieldsError: names every field at fault.
    """
    errors = _unknown(fields, _CORRIDOR_FIELDS, "corridor")
    level = _word(fields, "level", _LEVELS, errors)
    side = None if fields.get("side") is None else _word(fields, "side", _SIDES, errors)
    if side is not None and level not in (None, "iliosacral"):
        errors.append(FieldError("side", "is asked for level iliosacral only"))
    diameter_mm, margin_mm = 0.0, 0.0
    try:
        diameter_mm = checked_length_mm(fields.get("diameter_mm"), at_most=LARGEST_DIAMETER_MM)
    except ValueError as error:
        errors.append(FieldError("diameter_mm", "is required" if fields.get("diameter_mm") is None else str(error)))
    if fields.get("margin_mm") is not None:
        try:
            margin_mm = _margin_mm(fields["margin_mm"])
        except ValueError as error:
            errors.append(FieldError("margin_mm", str(error)))
    if errors or level is None:
        raise BadFieldsError(errors, what="corridor")
    return CorridorQuestion(level=level, diameter_mm=diameter_mm, margin_mm=margin_mm, side=side)


def proposal_question(fields: Mapping[str, Any]) -> Proposal:
    """What is to be proposed: `{"what": "bone"}` or `{"what": "skin"}`.

    Raises:
        BadFieldsError: names every field at fault.
    """
    errors = _unknown(fields, ("what",), "proposal")
    what = _word(fields, "what", _PROPOSALS, errors)
    if errors or what is None:
        raise BadFieldsError(errors, what="proposal")
    return what


def _unknown(fields: Mapping[str, Any], known: tuple[str, ...], what: str) -> list[FieldError]:
    return [
        FieldError(str(name), f"is not a field of a {what}; there are {', '.join(known)}")
        for name in fields
        if name not in known
    ]


def _word(fields: Mapping[str, Any], name: str, words: Mapping[str, _Word], errors: list[FieldError]) -> _Word | None:
    said = fields.get(name)
    if isinstance(said, str) and said in words:
        return words[said]
    errors.append(FieldError(name, "is required" if said is None else f"must be one of {', '.join(words)}"))
    return None


def _margin_mm(value: object) -> float:
    margin_mm = checked_number(value)
    if not 0.0 <= margin_mm <= _LARGEST_MARGIN_MM:
        raise ValueError(f"must be 0 to {_LARGEST_MARGIN_MM:g} mm")
    return margin_mm
