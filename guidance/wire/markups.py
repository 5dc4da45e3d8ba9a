"""3D Slicer markups -> paths, drawn zones and points; what they cannot hold stands in their points' descriptions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from guidance.messages import (
    Finding,
    PlanItem,
    PrismShape,
    Severity,
    SphereShape,
    TubeShape,
    Vector3,
    ZoneKind,
    ZoneSide,
    ZoneSite,
)
from guidance.wire.markups_file import ControlPoint, Markup, read_file, refused
from guidance.wire.markups_out import markups_of, zones_without_markup
from guidance.wire.markups_text import lengths_of, pairs_of
from guidance.wire.zone_names import ZoneGuess, guess_findings, guess_zone, kind_of

__all__ = ["MarkupPoint", "MarkupZone", "ReadMarkups", "markups_of", "read_markups", "zones_without_markup"]

_ROLE: Final = re.compile(
    r"(?:(.*?)[\s_:.-]+)?(entry|entrance|eintritt|target|tip|ziel)(?:[\s_-]*(\d+))?", re.IGNORECASE
)
_ENTRIES: Final = frozenset({"entry", "entrance", "eintritt"})
_SHORTEST_PATH_MM: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkupPoint:
    """A point that belongs to no path; patient LPS."""

    name: str
    position_lps_mm: Vector3
    color: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkupZone:
    """A drawn zone: a curve with a radius is a tube, a point with one a sphere, a closed curve with a height a prism.

    Attributes: as of a zone; `color` "" where the file has none.
    """

    name: str
    site: ZoneSite
    side: ZoneSide | None
    kind: ZoneKind
    level: str
    shape: TubeShape | SphereShape | PrismShape
    color: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadMarkups:
    """What a markups file held; `findings` name what was skipped, assumed or guessed."""

    paths: tuple[PlanItem, ...] = ()
    zones: tuple[MarkupZone, ...] = ()
    points: tuple[MarkupPoint, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """What has been read so far."""

    default_diameter_mm: float
    paths: list[PlanItem] = field(default_factory=list)
    zones: list[MarkupZone] = field(default_factory=list)
    points: list[MarkupPoint] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    guesses: list[tuple[str, ZoneGuess]] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)

    def warn(self, code: str, message: str) -> None:
        self.findings.append(Finding(code=code, severity=Severity.WARNING, message=message))


def read_markups(data: bytes, *, origin: str = "", default_diameter_mm: float = 0.0) -> ReadMarkups:
    """Read a markups file.

    A line is a path: its first point is the entry, unless the labels say otherwise. In a list of points, two whose
    labels are `NAME entry` and `NAME target` are a path. The diameter is the measurement `diameter`, or `d=3.2 mm` in a
    label or description; 3D Slicer itself has none. Curves and points with `r=4 mm`, and closed curves with `h=20 mm`,
    are zones; `site=foramen; side=left; level=S1; kind=keep_out` say of what.

    Args:
        data: the file.
        origin: its name: 3D Slicer names a markup by its file.
        default_diameter_mm: for a path that tells none; without it, that path's diameter is 0: the case asks for one.

    Raises:
        BadFieldsError: names the member at fault: no JSON, unknown units or coordinate system, a position that is not
            three numbers, a path without length; nothing in it.
    """
    stem = re.sub(r"(\.mrk)?\.json$", "", origin.replace("\\", "/").rsplit("/", 1)[-1], flags=re.IGNORECASE)
    reading = _Reading(default_diameter_mm=default_diameter_mm)
    for markup in read_file(data):
        name = markup.name or stem
        if markup.not_placed:
            told = f"{name or markup.where}: {', '.join(markup.not_placed)} not placed; skipped"
            reading.warn("point_not_placed", told)
        if markup.type == "Line":
            _read_line(markup, name, reading)
        elif markup.type == "Fiducial":
            _read_list(markup, name, reading)
        elif markup.type in ("Curve", "ClosedCurve"):
            _read_curve(markup, name, reading)
        else:
            told = f"{name or markup.where}: type {markup.type} is left out; lines, points and curves are read"
            reading.warn("unused_markup", told)
    if not (reading.paths or reading.zones or reading.points):
        told = "; ".join(finding.message for finding in reading.findings)
        raise refused("markups", f"holds no placed line or point{': ' + told if told else ''}")
    if reading.assumed:
        taken = f"taken as {default_diameter_mm:g} mm" if default_diameter_mm else "write d=3.2 mm into a description"
        told = f"no diameter is told for {', '.join(reading.assumed)}; {taken}"
        reading.warn("diameter_assumed" if default_diameter_mm else "no_diameter", told)
    return ReadMarkups(
        paths=_named_apart(reading.paths),
        zones=tuple(reading.zones),
        points=tuple(reading.points),
        findings=(*reading.findings, *guess_findings(reading.guesses)),
    )


def _read_line(markup: Markup, name: str, reading: _Reading) -> None:
    points = list(markup.points)
    if len(points) < 2:
        told = f"{name or markup.where}: a line with {len(points)} placed points is no path; left out"
        reading.warn("line_not_placed", told)
        return
    if len(points) > 2:
        raise refused(f"{markup.where}.controlPoints", f"holds {len(points)} points; a line has two")
    first, second = _role(points[0].label), _role(points[1].label)
    stem = ""
    if first is not None and second is not None:
        stem = first[0] if first[0] == second[0] else ""
        if second[1] and not first[1]:
            points.reverse()
    _add_path(points[0], points[1], name or stem, markup, reading)


def _read_list(markup: Markup, name: str, reading: _Reading) -> None:
    ends: dict[str, tuple[list[ControlPoint], list[ControlPoint]]] = {}
    rest: list[ControlPoint] = []
    for point in markup.points:
        role = _role(point.label)
        if role is None:
            rest.append(point)
        else:
            ends.setdefault(role[0], ([], []))[0 if role[1] else 1].append(point)
    for stem, (entries, targets) in ends.items():
        if len(entries) == len(targets) == 1:
            _add_path(entries[0], targets[0], stem or name, markup, reading)
            continue
        labels = ", ".join(point.label for point in (*entries, *targets))
        told = f"{labels}: one entry and one target of a name make a path; kept as points"
        reading.warn("unpaired_point", told)
        rest += [*entries, *targets]
    for point in rest:
        pairs, lengths = _words(point)
        label = pairs.get("label") or point.label or name
        if "r" in lengths:
            shape = SphereShape(center_lps_mm=point.position_lps_mm, radius_mm=lengths["r"])
            _add_zone(shape, label, pairs, point.where, markup.color, reading)
        else:
            reading.points.append(MarkupPoint(name=label, position_lps_mm=point.position_lps_mm, color=markup.color))


def _read_curve(markup: Markup, name: str, reading: _Reading) -> None:
    pairs: dict[str, str] = {}
    lengths: dict[str, float] = {}
    for point in markup.points:
        its_pairs, its_lengths = _words(point)
        pairs, lengths = its_pairs | pairs, its_lengths | lengths
    positions = tuple(point.position_lps_mm for point in markup.points)
    label = pairs.get("label") or name or markup.where
    if markup.type == "Curve" and len(positions) >= 2 and "r" in lengths:
        tube = TubeShape(points_lps_mm=positions, radius_mm=lengths["r"])
        _add_zone(tube, label, pairs, markup.where, markup.color, reading)
    elif markup.type == "ClosedCurve" and len(positions) >= 3 and "h" in lengths:
        prism = PrismShape(polygon_lps_mm=positions, height_mm=lengths["h"])
        _add_zone(prism, label, pairs, markup.where, markup.color, reading)
    else:
        mend = "r=4 mm" if markup.type == "Curve" else "h=20 mm"
        told = f"{label}: a curve without a size is no zone and is left out; write {mend} into a point's description"
        reading.warn("unused_markup", told)


def _role(label: str) -> tuple[str, bool] | None:
    """Name of the path and whether the point is its entry; None for other labels."""
    match = _ROLE.fullmatch(label.strip())
    if match is None:
        return None
    stem = " ".join(part for part in (match.group(1), match.group(3)) if part)
    return stem, match.group(2).lower() in _ENTRIES


def _words(point: ControlPoint) -> tuple[dict[str, str], dict[str, float]]:
    try:
        return pairs_of(point.words), lengths_of(point.words, point.label)
    except ValueError as error:
        raise refused(f"{point.where}.description", str(error)) from None


def _add_path(entry: ControlPoint, target: ControlPoint, name: str, markup: Markup, reading: _Reading) -> None:
    if math.dist(entry.position_lps_mm, target.position_lps_mm) < _SHORTEST_PATH_MM:
        raise refused(f"{target.where}.position", "is that of the entry: the path has no length; move one of them")
    (pairs, lengths), (other_pairs, other_lengths) = _words(entry), _words(target)
    pairs, lengths = other_pairs | pairs, other_lengths | lengths
    label = pairs.get("label") or name or "path"
    measured = markup.diameter_mm if markup.type == "Line" else None
    told = [one for one in (measured, lengths.get("d")) if one is not None]
    if not told:
        told = [reading.default_diameter_mm]
        reading.assumed.append(label)
    if max(told) != min(told):
        words = f"{label}: diameters {min(told):g} and {max(told):g} mm are told; the larger is taken"
        reading.warn("diameter_differs", words)
    reading.paths.append(
        PlanItem(
            name=label,
            entry_lps_mm=entry.position_lps_mm,
            target_lps_mm=target.position_lps_mm,
            diameter_mm=max(told),
            color=markup.color,
            instrument=pairs.get("instrument", ""),
            approach=pairs.get("approach", ""),
        )
    )


def _add_zone(
    shape: TubeShape | SphereShape | PrismShape,
    name: str,
    pairs: Mapping[str, str],
    where: str,
    color: str,
    reading: _Reading,
) -> None:
    guess = guess_zone(name)
    site, side = guess.site, guess.side
    try:
        if "site" in pairs:
            # A file that says the site says the rest, too: what it leaves out is empty, not guessed.
            site, side = ZoneSite(pairs["site"]), None
        else:
            reading.guesses.append((name, guess))
        side = ZoneSide(pairs["side"]) if "side" in pairs else side
        kind = ZoneKind(pairs["kind"]) if "kind" in pairs else kind_of(site)
    except ValueError as error:
        raise refused(f"{where}.description", str(error)) from None
    level = pairs.get("level", "" if "site" in pairs else guess.level)
    reading.zones.append(MarkupZone(name=name, site=site, side=side, kind=kind, level=level, shape=shape, color=color))


def _named_apart(paths: Sequence[PlanItem]) -> tuple[PlanItem, ...]:
    """The same name would later change the same path, so the second of a name becomes `NAME 2`."""
    taken: set[str] = set()
    apart = []
    for path in paths:
        name, number = path.name, 2
        while name in taken:
            name, number = f"{path.name} {number}", number + 1
        taken.add(name)
        apart.append(replace(path, name=name))
    return tuple(apart)
