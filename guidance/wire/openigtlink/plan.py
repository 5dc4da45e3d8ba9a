"""Plans as OpenIGTLink messages: paths <-> POINT, TRAJ and POLYDATA, zones -> POLYDATA; RAS ends here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from guidance.kernels.silhouette import Surface
from guidance.messages import F64, PlanItem, PlannedPath, Vector3, Zone
from guidance.wire.openigtlink.bodies import Color, Point, Points, PolyData, Trajectories, Trajectory
from guidance.wire.openigtlink.coordinates import lps_from_ras, ras_from_lps

_ENTRY_AND_TARGET: Final = 3  # TRAJ type that has both ends (protocol: trajectory.md)
_SIDES: Final = 12  # of the prism that stands for a tube
_NAME_CHARACTERS: Final = 63  # NAME is 64 bytes with its NUL


def points_of(paths: Iterable[PlannedPath]) -> Points:
    """POINT `Targets`: entry and target of every path, grouped by path (contract fine print 17)."""
    return Points(
        device="Targets",
        points=tuple(
            Point(
                name=f"{_name(path)[: _NAME_CHARACTERS - 7]} {end}",
                group=path.id,
                rgba=_rgba(path.color),
                position_ras_mm=ras_from_lps(position),
                diameter_mm=path.diameter_mm,
            )
            for path in paths
            for end, position in (("entry", path.entry_lps_mm), ("target", path.target_lps_mm))
        ),
    )


def trajectories_of(paths: Iterable[PlannedPath]) -> Trajectories:
    """TRAJ `Paths`, one element per path."""
    return Trajectories(
        device="Paths",
        trajectories=tuple(
            Trajectory(
                name=_name(path)[:_NAME_CHARACTERS],
                group=path.id,
                kind=_ENTRY_AND_TARGET,
                rgba=_rgba(path.color),
                entry_ras_mm=ras_from_lps(path.entry_lps_mm),
                target_ras_mm=ras_from_lps(path.target_lps_mm),
                diameter_mm=path.diameter_mm,
            )
            for path in paths
        ),
    )


def polydata_of(paths: Sequence[PlannedPath]) -> PolyData:
    """POLYDATA `Paths`: each path as its centreline and a closed prism of its true diameter."""
    points: list[F64] = []
    lines: list[list[int]] = []
    polygons: list[list[int]] = []
    for path in paths:
        first = len(points)
        entry, target = (np.array(ras_from_lps(end)) for end in (path.entry_lps_mm, path.target_lps_mm))
        points += [entry, target]
        lines.append([first, first + 1])
        rims = [rim + end for end in (entry, target) for rim in _rim(target - entry, path.diameter_mm / 2)]
        near, far = first + 2, first + 2 + _SIDES
        points += rims
        polygons += [
            [near + side, near + (side + 1) % _SIDES, far + (side + 1) % _SIDES, far + side] for side in range(_SIDES)
        ]
        polygons += [[near + side for side in reversed(range(_SIDES))], [far + side for side in range(_SIDES)]]
    return PolyData(
        device="Paths",
        points_ras_mm=np.array(points, np.float32).reshape(-1, 3),
        lines=lines,
        polygons=polygons,
    )


def zones_polydata(surfaces: Iterable[tuple[Zone, Surface]]) -> PolyData:
    """POLYDATA `Zones`: the surfaces of all zones as triangles of one mesh; none gives an empty one.

    Only polygons: receivers break on vertex cells and drop attributes, so a zone's colour and name cannot go along.
    """
    points: list[npt.NDArray[np.float32]] = []
    triangles: list[npt.NDArray[np.int32]] = []
    first = 0
    for _, surface in surfaces:
        # From LPS to RAS is half a turn about the body's axis: triangles stay outward.
        points.append(surface.vertices_lps_mm.astype(np.float32) * np.array((-1, -1, 1), np.float32))
        triangles.append(surface.triangles + np.int32(first))
        first += len(surface.vertices_lps_mm)
    return PolyData(
        device="Zones",
        points_ras_mm=np.concatenate(points) if points else np.empty((0, 3), np.float32),
        polygons=np.concatenate(triangles) if triangles else (),
    )


def plan_items(message: Points | Trajectories) -> list[PlanItem]:
    """The paths that a peer plans; what makes no whole path is left out.

    POINT: the points of one group make a path; a name that ends in `entry` or `target` says which end it is,
    else the first is the entry and the second the target. TRAJ needs type 3 (contract fine print 17).
    """
    if isinstance(message, Trajectories):
        return [
            _item(item.name or item.group, item.entry_ras_mm, item.target_ras_mm, item.diameter_mm, item.rgba)
            for item in message.trajectories
            if item.kind == _ENTRY_AND_TARGET
        ]
    groups: dict[str, list[Point]] = {}
    for point in message.points:
        groups.setdefault(point.group, []).append(point)
    items: list[PlanItem] = []
    for group, points in groups.items():
        ends = _ends(points)
        if ends is not None:
            entry, target = ends
            label = group or entry.name.removesuffix("entry").strip()
            diameter_mm = entry.diameter_mm or target.diameter_mm
            items.append(_item(label, entry.position_ras_mm, target.position_ras_mm, diameter_mm, entry.rgba))
    return items


def _ends(points: list[Point]) -> tuple[Point, Point] | None:
    entries = [point for point in points if point.name.strip().lower().endswith("entry")]
    targets = [point for point in points if point.name.strip().lower().endswith("target")]
    if len(entries) == 1 and len(targets) == 1:
        return entries[0], targets[0]
    if not entries and not targets and len(points) == 2:
        return points[0], points[1]
    return None


def _item(name: str, entry: Vector3, target: Vector3, diameter_mm: float, rgba: Color) -> PlanItem:
    return PlanItem(
        name=name,
        entry_lps_mm=lps_from_ras(entry),
        target_lps_mm=lps_from_ras(target),
        diameter_mm=diameter_mm,
        color="#{:02x}{:02x}{:02x}".format(*rgba[:3]),
    )


def _name(path: PlannedPath) -> str:
    return path.label.encode("ascii", "replace").decode("ascii") or path.id


def _rgba(color: str) -> Color:
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue, 255


def _rim(axis: F64, radius_mm: float) -> F64:
    axis = axis / np.linalg.norm(axis)
    helper = np.eye(3)[int(np.argmin(np.abs(axis)))]
    across = np.cross(axis, helper)
    across /= np.linalg.norm(across)
    turns = 2 * np.pi * np.arange(_SIDES) / _SIDES
    rim: F64 = radius_mm * (np.cos(turns)[:, None] * across + np.sin(turns)[:, None] * np.cross(axis, across))
    return rim
