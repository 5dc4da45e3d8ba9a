"""A sequence's geometry file -> what a stream would have told with each of its pictures, and when each was taken."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from guidance.errors import WireError
from guidance.wire.view_files import read_view

_MEMBERS: Final = ("name", "geometry", "reference", "frames", "rate_hz", "timestamps_s")
_FRAME_MEMBERS: Final = ("geometry", "file", "time_s")
_LARGEST_BYTES: Final = 1 << 26
_MOST_FRAMES: Final = 100_000
_RATES_HZ: Final = (0.05, 1000.0)
_EXAMPLE: Final = (
    '{"geometry": {"XRay.PrimaryAngleDeg": 0, ...}, "rate_hz": 15}, the keys alone, or a list with one object per frame'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceFile:
    """One input's pictures as their file tells of them.

    Attributes:
        name: of the input; "" where it is not told.
        frames: XRay metadata: one for all pictures, or one for each in their order, or by `files`.
        files: picture's file name -> its place in `frames`; empty where the entries name none.
        reference: the same of the reference's pictures; empty: as the first of `frames`.
        rate_hz: pictures per second; None: not told.
        timestamps_s: of each picture, rising; empty: not told.
        ignored: geometry keys that are none of the contract's.
    """

    frames: tuple[Mapping[str, str], ...]
    name: str = ""
    files: Mapping[str, int] | None = None
    reference: tuple[Mapping[str, str], ...] = ()
    rate_hz: float | None = None
    timestamps_s: tuple[float, ...] = ()
    ignored: tuple[str, ...] = ()


def read_sequence(data: bytes, *, origin: str) -> SequenceFile:
    """Read a geometry file.

    Args:
        data: JSON, UTF-8: an object of XRay keys (contract 5.3 (a)) for all pictures; or an object with `geometry` and,
            if wanted, `frames` and `reference` (what differs from picture to picture), `rate_hz` or `timestamps_s`,
            `name`; or a list with one object per picture, each XRay keys or `geometry` with `file` and `time_s`.
        origin: the file's name.

    Raises:
        WireError: `unreadable_view`: no JSON, another shape, a misspelt key.
    """
    if len(data) > _LARGEST_BYTES:
        raise _refused(f"{origin} has {len(data)} bytes", "geometry is text of some hundred bytes per picture")
    try:
        told = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _refused(f"{origin} is no JSON: {error}") from None
    if isinstance(told, list):
        told = {"frames": told}
    if not isinstance(told, dict):
        raise _refused(f"{origin} holds no geometry")
    if isinstance(told.get("geometry"), list):
        told = {**{key: value for key, value in told.items() if key != "geometry"}, "frames": told["geometry"]}
    own = {key: value for key, value in told.items() if key not in _MEMBERS}
    unknown = sorted(key for key in own if not key.casefold().startswith("xray"))
    if unknown:
        raise _refused(f"{origin} has {unknown[0][:60]!r}", f"members are {', '.join(_MEMBERS)} and XRay keys")
    name = told.get("name", "")
    if not isinstance(name, str):
        raise _refused(f"{origin}: name is {name!r}", "a text")
    common = {**own, **_object(told.get("geometry") or {}, f"{origin}: geometry")}
    ignored: set[str] = set()
    entries = _entries(told.get("frames"), f"{origin}: frames")
    frames = tuple(
        _metadata({**common, **_geometry(entry, where)}, where, ignored)
        for entry, where in zip(entries or [{}], _places(origin, "frame", entries), strict=True)
    )
    before = _entries(told.get("reference"), f"{origin}: reference")
    reference = tuple(
        _metadata({**common, **_geometry(entry, where)}, where, ignored)
        for entry, where in zip(before, _places(origin, "reference", before), strict=False)
    )
    times = _times(told.get("timestamps_s"), entries, origin)
    return SequenceFile(
        frames=frames,
        name=name,
        files=_files(entries, origin),
        reference=reference,
        rate_hz=_rate(told.get("rate_hz"), origin),
        timestamps_s=times,
        ignored=tuple(sorted(ignored)),
    )


def _metadata(geometry: dict[str, Any], where: str, ignored: set[str]) -> Mapping[str, str]:
    """As a view file's geometry: the same checks, the same words."""
    text = json.dumps({"image": where, "geometry": geometry}).encode()
    view = read_view(text, origin=where)
    ignored.update(view.ignored)
    return view.metadata


def _geometry(entry: dict[str, Any], where: str) -> dict[str, Any]:
    own = {key: value for key, value in entry.items() if key not in _FRAME_MEMBERS}
    unknown = sorted(key for key in own if not key.casefold().startswith("xray"))
    if unknown:
        raise _refused(f"{where} has {unknown[0][:60]!r}", f"members are {', '.join(_FRAME_MEMBERS)} and XRay keys")
    return {**own, **_object(entry.get("geometry") or {}, f"{where}: geometry")}


def _entries(told: object, where: str) -> list[dict[str, Any]]:
    if told is None:
        return []
    entries = told if isinstance(told, list) else [told]
    if not entries or len(entries) > _MOST_FRAMES:
        raise _refused(f"{where} has {len(entries)} entries", f"1 to {_MOST_FRAMES}")
    return [_object(entry, where) for entry in entries]


def _places(origin: str, word: str, entries: Sequence[object]) -> list[str]:
    return [f"{origin}: {word} {number}" for number in range(1, len(entries) + 1)] or [origin]


def _object(told: object, where: str) -> dict[str, Any]:
    if not isinstance(told, dict):
        raise _refused(f"{where} is no object")
    return told


def _files(entries: Sequence[dict[str, Any]], origin: str) -> Mapping[str, int] | None:
    names = [entry.get("file") for entry in entries]
    if not any(name is not None for name in names):
        return None
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise _refused(f"{origin}: not every frame has a file of its own", "name each one's file, or none's")
    return {str(name): number for number, name in enumerate(names)}


def _times(told: object, entries: Sequence[dict[str, Any]], origin: str) -> tuple[float, ...]:
    each = [entry.get("time_s") for entry in entries]
    if any(time is not None for time in each):
        if told is not None:
            raise _refused(f"{origin} tells times twice", "timestamps_s, or time_s with each frame")
        told = each
    if told is None:
        return ()
    if not isinstance(told, list) or not all(_is_number(time) for time in told):
        raise _refused(f"{origin}: timestamps_s is no list of numbers", "seconds, one for each picture")
    times = tuple(float(time) for time in told)
    if any(not later > earlier for earlier, later in pairwise(times)):
        raise _refused(f"{origin}: timestamps_s do not rise", "seconds, one for each picture in its order")
    return times


def _rate(told: object, origin: str) -> float | None:
    if told is None:
        return None
    if not _is_number(told) or not _RATES_HZ[0] <= float(str(told)) <= _RATES_HZ[1]:
        raise _refused(f"{origin}: rate_hz is {str(told)[:40]}", f"{_RATES_HZ[0]:g} to {_RATES_HZ[1]:g} per second")
    return float(str(told))


def _is_number(told: object) -> bool:
    return isinstance(told, int | float) and not isinstance(told, bool) and math.isfinite(told)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:60]!r} stands in it twice")
    return members


def _refused(message: str, mend: str = _EXAMPLE) -> WireError:
    return WireError(message, code="unreadable_view", mend=mend)
