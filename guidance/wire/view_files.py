"""A view file, `{"image": ..., "geometry": {...}}`, -> the picture's name and its geometry as metadata texts."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from guidance.errors import WireError
from guidance.geometry.intensity import INTENSITY_KEYS
from guidance.geometry.metadata import GEOMETRY_KEYS

# Keys of contract 5.3 (a) that say nothing of where points land, but may stand beside those that do.
_OTHER_KEYS: Final = (
    "XRay.FrameNumber",
    "XRay.KVp",
    "XRay.TubeCurrentMa",
    "XRay.PulseWidthMs",
    "XRay.AirKermaMgy",
    "XRay.DoseAreaProductGycm2",
)
VIEW_KEYS: Final = frozenset((*GEOMETRY_KEYS, *INTENSITY_KEYS, *_OTHER_KEYS))
_MEMBERS: Final = ("image", "geometry", "frame", "name")
_LARGEST_BYTES: Final = 1 << 20
_LARGEST_WHOLE: Final = 1e15
_EXAMPLE: Final = '{"image": "ap.png", "geometry": {"XRay.PrimaryAngleDeg": 0, ...}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewFile:
    """One view as its file tells it.

    Attributes:
        image: name of the picture's file, relative to the view file's folder.
        frame: which picture of a DICOM object, from 1.
        name: what to call it; the image's name where the file does not say.
        metadata: the geometry, as a stream would send it.
        ignored: members of `geometry` that are none of the contract's.
    """

    image: str
    frame: int
    name: str
    metadata: Mapping[str, str]
    ignored: tuple[str, ...] = ()


def read_view(data: bytes, *, origin: str) -> ViewFile:
    """Read a view file.

    Args:
        data: JSON, UTF-8. Values of `geometry` may be texts as on the wire, numbers, true and false, or lists (of
            lists); null is a missing key.
        origin: the file's name.

    Raises:
        WireError: `unreadable_view`: no JSON, another shape, or a key that nearly is one of the contract's: a misspelt
            flip that is passed over would be a wrong pose.
    """
    if len(data) > _LARGEST_BYTES:
        raise _refused(f"{origin} has {len(data)} bytes", "a view is a small JSON file; the picture has its own")
    try:
        told = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_members)
    except (ValueError, RecursionError) as error:
        raise _refused(f"{origin} is no JSON: {error}", _EXAMPLE) from None
    if not isinstance(told, dict):
        raise _refused(f"{origin} holds no view", _EXAMPLE)
    unknown = sorted(set(told) - set(_MEMBERS))
    if unknown:
        raise _refused(f"{origin} has {unknown[0][:60]!r}", f"members of a view are {', '.join(_MEMBERS)}")
    image, geometry = told.get("image"), told.get("geometry")
    frame, name = told.get("frame", 1), told.get("name", "")
    if not isinstance(image, str) or not image.strip() or "\0" in image:
        raise _refused(f"{origin} names no image", _EXAMPLE)
    if not isinstance(geometry, dict):
        raise _refused(f"{origin} has no geometry", _EXAMPLE)
    if type(frame) is not int or frame < 1:
        raise _refused(f"{origin}: frame is {frame!r}", "pictures of a DICOM object count from 1")
    if not isinstance(name, str):
        raise _refused(f"{origin}: name is {name!r}", "a text")
    metadata = {}
    for key, value in geometry.items():
        text = _text(value)
        if text is None:
            raise _refused(f"{origin}: {key[:60]} is {str(value)[:60]}", "a text, a number, true, false or a list")
        if text and key in VIEW_KEYS:
            metadata[key] = text
    ignored = tuple(sorted(set(geometry) - VIEW_KEYS))
    _check_spelling(ignored, origin)
    return ViewFile(image=image, frame=frame, name=name or image, metadata=metadata, ignored=ignored)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:60]!r} stands in it twice")
    return members


def _text(value: object) -> str | None:
    """A JSON value as a stream would write it; "" for a missing one, None for what has no such text."""
    match value:
        case None:
            return ""
        case bool():
            return "1" if value else "0"
        case str():
            return value
        case float() if value.is_integer() and abs(value) < _LARGEST_WHOLE:
            return str(int(value))  # a flag that a program wrote as 1.0 is a flag
        case int() | float():
            return repr(value)
        case list():
            parts = [_text(one) for one in value]
            return None if any(part in (None, "") for part in parts) else " ".join(map(str, parts))
    return None


def _check_spelling(ignored: Iterable[str], origin: str) -> None:
    by_small = {key.casefold(): key for key in sorted(VIEW_KEYS)}
    for key in ignored:
        small = key.casefold()
        name = small if small.startswith("xray.") else f"xray.{small}"
        if name == small or difflib.get_close_matches(name, by_small, 1, 0.85):
            near = by_small[difflib.get_close_matches(name, by_small, 1, 0.0)[0]]
            raise _refused(f"{origin}: there is no key {key[:60]!r}", f"nearest is {near}")


def _refused(message: str, mend: str) -> WireError:
    return WireError(message, code="unreadable_view", mend=mend)
