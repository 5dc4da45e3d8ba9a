"""Names files of label maps: which number is which structure; JSON, TOML, CSV, 3D Slicer, ITK-SNAP or a word."""

from __future__ import annotations

import csv
import io
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final, TypeVar

import msgspec

from guidance.case.fields import BadFieldsError, FieldError
from guidance.messages import ZoneKind, ZoneSide, ZoneSite

TOTALSEGMENTATOR: Final = "totalsegmentator"
_MEND: Final = "send JSON {number: name}, lines of 'number name', a .ctbl, an ITK-SNAP file, or 'totalsegmentator'"
_COLOR: Final = re.compile(r"#[0-9a-fA-F]{6}")
_IGNORE: Final = "ignore"  # as `kind` of a label that is no zone
_MEMBERS: Final = ("name", "site", "side", "level", "kind", "color")

# 3D Slicer: number, name (blanks as underscores), red, green, blue, alpha
_CTBL: Final = re.compile(r"(\d+)\s+(\S.*?)\s+(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})\s+\d{1,3}\s*")
# ITK-SNAP: number, red, green, blue, alpha, visible in 2D, visible in 3D, "name"
_SNAP: Final = re.compile(r'(\d+)\s+(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})\s+[\d.]+\s+[01]\s+[01]\s+"(.*)"\s*')
_PLAIN: Final = re.compile(r"(\d+)\s*[\s,;:=]\s*(\S.*)")
_NUMBER_COLUMNS: Final = ("label", "labelvalue", "label_value", "number", "index", "id", "value")
_NAME_COLUMNS: Final = ("name", "labelname", "label_name", "structure", "segment", "text")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelName:
    """What a label number stands for; None where the file does not say it, "" for no colour.

    `ignored` labels are no zones: what every instrument goes through, as muscle.
    """

    name: str
    site: ZoneSite | None = None
    side: ZoneSide | None = None
    level: str | None = None
    kind: ZoneKind | None = None
    color: str = ""
    ignored: bool = False


LabelNames = Mapping[int, LabelName]
_Word = TypeVar("_Word", ZoneSite, ZoneSide, ZoneKind)


def label_names(text: str, origin: str = "") -> LabelNames:
    """Read a names file, whichever of the known forms it has.

    JSON: `{"25": "sacrum"}`, `{"25": {"name", "site", "side", "level", "kind", "color"}}` (`kind` may be `ignore`: no
    zone is made of it), `{"sacrum": 25}`, or one of these under `labels` (nnU-Net's dataset.json). TOML: the same.
    Text: `number name` lines divided by blanks, tabs, commas or semicolons; tables with a header line; 3D Slicer's
    colour tables; ITK-SNAP's label descriptions. The word `totalsegmentator` alone stands for that program's table.

    Args:
        text: the file's text.
        origin: the file's name, for the errors and to know TOML by its ending.

    Returns:
        Label number -> name; the background, 0, is left out.

    Raises:
        BadFieldsError: names what cannot be read.
    """
    plain = text.lstrip("\ufeff").strip()
    if plain.lower() == TOTALSEGMENTATOR:
        return totalsegmentator()
    where = origin or "names"
    if plain.startswith("{"):
        return _from_members(_json(plain, where), where)
    try:
        told = tomllib.loads(plain)
    except tomllib.TOMLDecodeError as error:
        if origin.lower().endswith(".toml"):
            raise _refused(where, f"is no TOML: {error}") from None
        return _collect(_from_lines(plain, where), where)
    return _from_members(told, where)


@cache
def totalsegmentator() -> LabelNames:
    """The classes of TotalSegmentator 2's task `total`."""
    text = resources.files("guidance.wire").joinpath("data/totalsegmentator.toml").read_text("utf-8")
    return _from_members(tomllib.loads(text), TOTALSEGMENTATOR)


def _refused(field: str, message: str) -> BadFieldsError:
    return BadFieldsError([FieldError(field, message)], what="names file")


def _json(text: str, where: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except msgspec.MsgspecError as error:
        raise _refused(where, f"is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise _refused(where, f"must hold an object; {_MEND}")
    return found


def _from_members(members: Mapping[str, Any], where: str) -> LabelNames:
    inner = members.get("labels")
    if isinstance(inner, Mapping):
        return _from_members(inner, f"{where}.labels")
    return _collect((_member(key, value, where) for key, value in members.items()), where)


def _member(key: str, value: Any, where: str) -> tuple[int, LabelName]:
    if key.strip().isdecimal():
        told: Mapping[str, Any] = {"name": value} if isinstance(value, str) else value
        if not isinstance(told, Mapping):
            raise _refused(f"{where}[{key}]", "must be a name, or an object with a name")
        return int(key), _label(told, f"{where}[{key}]")
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value, LabelName(name=key)
    raise _refused(f"{where}[{key}]", f"is no label number; {_MEND}")


def _label(told: Mapping[str, Any], where: str) -> LabelName:
    for member, value in told.items():
        if member not in _MEMBERS:
            raise _refused(f"{where}.{member}", f"is not known; there are {', '.join(_MEMBERS)}")
        if value is not None and not isinstance(value, str):
            raise _refused(f"{where}.{member}", "must be text")
    name = (told.get("name") or "").strip()
    if not name:
        raise _refused(f"{where}.name", "is required")
    color = told.get("color") or ""
    if color and not _COLOR.fullmatch(color):
        raise _refused(f"{where}.color", "must be #rrggbb")
    level = told.get("level")
    kind = (told.get("kind") or "").strip().lower()
    return LabelName(
        name=name,
        site=_word(ZoneSite, told.get("site"), f"{where}.site"),
        side=_word(ZoneSide, told.get("side"), f"{where}.side"),
        kind=None if kind == _IGNORE else _word(ZoneKind, kind, f"{where}.kind"),
        level=level,
        color=color,
        ignored=kind == _IGNORE,
    )


def _word(kind: type[_Word], value: str | None, where: str) -> _Word | None:
    if not value:
        return None
    try:
        return kind(value.strip().lower())
    except ValueError:
        raise _refused(where, f"must be one of {', '.join(one.value for one in kind)}") from None


def _collect(found: Iterator[tuple[int, LabelName]], where: str) -> LabelNames:
    names: dict[int, LabelName] = {}
    for number, label in found:
        if number in names:
            raise _refused(f"{where}[{number}]", "is named twice")
        if number:
            names[number] = label
    if not names:
        raise _refused(where, f"names no label; {_MEND}")
    return names


def _from_lines(text: str, where: str) -> Iterator[tuple[int, LabelName]]:
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith(("#", "//"))]
    if not lines:
        return
    header = _header(lines[0][1])
    if header is not None:
        delimiter, columns = header
        rows = csv.reader(io.StringIO("\n".join(line for _, line in lines[1:])), delimiter=delimiter)
        for (number, _), row in zip(lines[1:], rows, strict=False):
            yield _row(dict(zip(columns, (cell.strip() for cell in row), strict=False)), f"{where} line {number}")
        return
    form = next((one for one in _FORMS if one[0].fullmatch(lines[0][1])), None)
    for number, line in lines:
        found = form[0].fullmatch(line) if form else None
        if form is None or found is None:
            raise _refused(f"{where} line {number}", f"cannot be read: {line[:60]!r}; {_MEND}")
        yield form[1](found, f"{where} line {number}")


def _header(line: str) -> tuple[str, list[str]] | None:
    for delimiter in (",", ";", "\t"):
        columns = [cell.strip().strip('"').lower().replace(" ", "_") for cell in line.split(delimiter)]
        if len(columns) > 1 and set(columns) & set(_NUMBER_COLUMNS) and set(columns) & set(_NAME_COLUMNS):
            return delimiter, columns
    return None


def _row(cells: Mapping[str, str], where: str) -> tuple[int, LabelName]:
    number = next((cells[name] for name in _NUMBER_COLUMNS if cells.get(name)), "")
    if not number.isdecimal():
        raise _refused(where, f"has no label number: {number!r}")
    told: dict[str, Any] = {member: cells[member] for member in _MEMBERS if cells.get(member)}
    told["name"] = next((cells[name] for name in _NAME_COLUMNS if cells.get(name)), "")
    parts = [cells.get(f"color_{part}", "") for part in "rgb"]
    if all(part.isdecimal() for part in parts):
        told["color"] = _hex(parts, where)
    return int(number), _label(told, where)


def _hex(parts: list[str], where: str) -> str:
    values = [int(part) for part in parts]
    if max(values) > 255:
        raise _refused(where, f"has no colour: {' '.join(parts)}; each of red, green and blue is 0 to 255")
    return "#{:02x}{:02x}{:02x}".format(*values)


def _of_ctbl(found: re.Match[str], where: str) -> tuple[int, LabelName]:
    number, name, *parts = found.groups()
    return int(number), LabelName(name=name.replace("_", " "), color=_hex(parts, where))


def _of_snap(found: re.Match[str], where: str) -> tuple[int, LabelName]:
    number, *parts, name = found.groups()
    return int(number), _label({"name": name, "color": _hex(parts, where)}, where)


def _of_plain(found: re.Match[str], where: str) -> tuple[int, LabelName]:
    return int(found.group(1)), _label({"name": found.group(2).strip().strip("\"'")}, where)


_FORMS: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str], str], tuple[int, LabelName]]], ...]] = (
    (_SNAP, _of_snap),
    (_CTBL, _of_ctbl),
    (_PLAIN, _of_plain),
)
