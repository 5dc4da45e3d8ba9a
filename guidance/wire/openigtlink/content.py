"""Contents of all messages but IMAGE: bytes <-> values; a wrong length is a named refusal."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, cast

from guidance.errors import WireError
from guidance.wire.openigtlink.bodies import (
    Capability,
    Empty,
    Message,
    Point,
    Points,
    PolyData,
    Position,
    Query,
    Reply,
    Status,
    Text,
    Trajectories,
    Trajectory,
    Transform,
)
from guidance.wire.openigtlink.header import fixed_name, name_text
from guidance.wire.openigtlink.metadata import CHARSET_ASCII, CHARSET_UTF8, decode_text
from guidance.wire.openigtlink.polydata import parse_polydata, write_polydata

_TRANSFORM: Final = struct.Struct(">12f")
_POINT: Final = struct.Struct(">64s32s4B3ff20s")  # 136 bytes
_TRAJECTORY: Final = struct.Struct(">64s32sBx4B3f3ff20s")  # 150 bytes
_STATUS: Final = struct.Struct(">Hq20s")  # then NUL-terminated text; the NUL counts
_STRING: Final = struct.Struct(">HH")
_TYPE_NAME: Final = struct.Struct(">12s")
_FULL_SUBJECT: Final = {"TRANS": "TRANSFORM", "TRANSFOR": "TRANSFORM", "CAPABIL": "CAPABILITY"}
_SHORT_SUBJECT: Final = {"TRANSFORM": "TRANS", "CAPABILITY": "CAPABIL"}  # 12 characters hold no more


def is_known_type(type_name: str) -> bool:
    """True for types whose body is worth receiving (IMAGE is read elsewhere)."""
    return type_name in _PARSERS or (type_name[:4] in ("GET_", "STT_", "STP_", "RTS_") and len(type_name) > 4)


def parse_content(type_name: str, content: bytes, common: Mapping[str, Any]) -> Message:
    """Read the content of one message.

    Args:
        type_name: the header's type; known.
        content: bytes between extended header and metadata.
        common: the fields of `Message`.

    Raises:
        WireError: `BodyLength`, `Charset` or `PolyDataCells`.
    """
    verb, _, subject = type_name.partition("_")
    if verb in ("GET", "STT", "STP"):
        return Query(
            verb=cast(Literal["GET", "STT", "STP"], verb),
            subject=_FULL_SUBJECT.get(subject, subject),
            wire_type=type_name,
            body=content,
            **common,
        )
    if verb == "RTS":
        return Reply(subject=_FULL_SUBJECT.get(subject, subject), status=content[0] if content else 0, **common)
    if not content and type_name not in _LISTS:
        return Empty(type=type_name, **common)
    return _PARSERS[type_name](content, common)


def content_of(message: Message) -> tuple[str, bytes]:
    """(type, content) of any message but IMAGE.

    Raises:
        WireError: `Name`, `Text` or `PolyDataCells`: does not fit its field; `UnknownType`: is never sent.
    """
    if isinstance(message, Query):
        return _short_type(message.verb, message.subject), message.body
    if isinstance(message, Reply):
        return _short_type("RTS", message.subject), bytes([message.status])
    if type(message) not in _WRITERS:
        raise WireError(f"{type(message).__name__} is never sent", code="UnknownType")
    return message.TYPE, _WRITERS[type(message)](message)


def _short_type(verb: str, subject: str) -> str:
    return f"{verb}_{_SHORT_SUBJECT.get(subject, subject)}"


def _exactly(content: bytes, *sizes: int) -> None:
    if len(content) not in sizes:
        raise WireError(f"content of {len(content)} bytes, not {' or '.join(map(str, sizes))}", code="BodyLength")


def _elements(content: bytes, layout: struct.Struct) -> list[tuple[Any, ...]]:
    if len(content) % layout.size:
        raise WireError(f"content of {len(content)} bytes is no list of {layout.size}", code="BodyLength")
    return list(layout.iter_unpack(content))


def _parse_transform(content: bytes, common: Mapping[str, Any]) -> Transform:
    _exactly(content, _TRANSFORM.size)
    return Transform(matrix=_TRANSFORM.unpack(content), **common)


def _parse_position(content: bytes, common: Mapping[str, Any]) -> Position:
    """Position alone (12 bytes), with x y z of the quaternion (24) or all of it (28) (position.md)."""
    _exactly(content, 12, 24, 28)
    x, y, z, *quaternion = struct.unpack(f">{len(content) // 4}f", content)
    if len(quaternion) == 3:
        quaternion.append(max(0.0, 1.0 - sum(q * q for q in quaternion)) ** 0.5)
    qx, qy, qz, qw = quaternion or (0.0, 0.0, 0.0, 1.0)
    return Position(position_ras_mm=(x, y, z), quaternion=(qx, qy, qz, qw), **common)


def _parse_points(content: bytes, common: Mapping[str, Any]) -> Points:
    points = tuple(
        Point(
            name=_text(name),
            group=_text(group),
            rgba=(r, g, b, a),
            position_ras_mm=(x, y, z),
            diameter_mm=diameter,
            owner=_text(owner),
        )
        for name, group, r, g, b, a, x, y, z, diameter, owner in _elements(content, _POINT)
    )
    return Points(points=points, **common)


def _parse_trajectories(content: bytes, common: Mapping[str, Any]) -> Trajectories:
    trajectories = tuple(
        Trajectory(
            name=_text(name),
            group=_text(group),
            kind=kind,
            rgba=(r, g, b, a),
            entry_ras_mm=(ex, ey, ez),
            target_ras_mm=(tx, ty, tz),
            diameter_mm=diameter,
            owner=_text(owner),
        )
        for name, group, kind, r, g, b, a, ex, ey, ez, tx, ty, tz, diameter, owner in _elements(content, _TRAJECTORY)
    )
    return Trajectories(trajectories=trajectories, **common)


def _parse_text(content: bytes, common: Mapping[str, Any]) -> Text:
    if len(content) < _STRING.size:
        raise WireError(f"STRING of {len(content)} bytes", code="BodyLength")
    charset, length = _STRING.unpack_from(content)
    if length > len(content) - _STRING.size:
        raise WireError(f"STRING of {length} bytes in {len(content) - _STRING.size}", code="BodyLength")
    return Text(text=decode_text(content[_STRING.size : _STRING.size + length], charset), **common)


def _parse_status(content: bytes, common: Mapping[str, Any]) -> Status:
    if len(content) < _STATUS.size:
        raise WireError(f"STATUS of {len(content)} bytes", code="BodyLength", mend="it has at least 30")
    code, subcode, error_name = _STATUS.unpack_from(content)
    text = content[_STATUS.size :].split(b"\0", 1)[0].decode("utf-8", "replace")  # free text for people
    return Status(code=code, subcode=subcode, error_name=name_text(error_name), text=text, **common)


def _parse_capability(content: bytes, common: Mapping[str, Any]) -> Capability:
    return Capability(types=tuple(name_text(name) for (name,) in _elements(content, _TYPE_NAME)), **common)


def _text(field: bytes) -> str:
    """Text of a NUL-padded field that people name things in; UTF-8 is common though the protocol says ASCII."""
    return field.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _field(text: str, size: int) -> bytes:
    """UTF-8 in a NUL-padded field, cut between characters where it is too long."""
    return text.encode("utf-8")[:size].decode("utf-8", "ignore").encode("utf-8").ljust(size, b"\0")


def _write_transform(message: Transform) -> bytes:
    return _TRANSFORM.pack(*message.matrix)


def _write_position(message: Position) -> bytes:
    return struct.pack(">7f", *message.position_ras_mm, *message.quaternion)


def _write_points(message: Points) -> bytes:
    return b"".join(
        _POINT.pack(
            _field(p.name, 64), _field(p.group, 32), *p.rgba, *p.position_ras_mm, p.diameter_mm, _field(p.owner, 20)
        )
        for p in message.points
    )


def _write_trajectories(message: Trajectories) -> bytes:
    return b"".join(
        _TRAJECTORY.pack(
            _field(t.name, 64),
            _field(t.group, 32),
            t.kind,
            *t.rgba,
            *t.entry_ras_mm,
            *t.target_ras_mm,
            t.diameter_mm,
            _field(t.owner, 20),
        )
        for t in message.trajectories
    )


def _write_text(message: Text) -> bytes:
    text = message.text.encode("utf-8")
    if len(text) > 0xFFFF:
        raise WireError(f"a text of {len(text)} bytes", code="Text", mend="STRING holds 65535")
    return _STRING.pack(CHARSET_ASCII if message.text.isascii() else CHARSET_UTF8, len(text)) + text


def _write_status(message: Status) -> bytes:
    return (
        _STATUS.pack(message.code, message.subcode, fixed_name(message.error_name, 20))
        + message.text.encode("utf-8")
        + b"\0"
    )


def _write_capability(message: Capability) -> bytes:
    return b"".join(fixed_name(name, 12) for name in message.types)


_PARSERS: Final[Mapping[str, Callable[[bytes, Mapping[str, Any]], Message]]] = {
    "TRANSFORM": _parse_transform,
    "POSITION": _parse_position,
    "POINT": _parse_points,
    "TRAJ": _parse_trajectories,
    "STRING": _parse_text,
    "STATUS": _parse_status,
    "CAPABILITY": _parse_capability,
    "CAPABIL": _parse_capability,
    "POLYDATA": parse_polydata,
}
_LISTS: Final = frozenset({"POINT", "TRAJ", "CAPABILITY", "CAPABIL"})  # empty content: an empty list
_WRITERS: Final[Mapping[type[Message], Callable[[Any], bytes]]] = {
    Transform: _write_transform,
    Position: _write_position,
    Points: _write_points,
    Trajectories: _write_trajectories,
    Text: _write_text,
    Status: _write_status,
    Capability: _write_capability,
    PolyData: write_polydata,
}
