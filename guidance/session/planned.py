"""What planning has worked out for the live picture, each beside what it was worked out from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from guidance.case import Case, active_zones, drawable_paths
from guidance.cement.space import CementSpace
from guidance.consistency.volume import WatchVolume
from guidance.kernels.silhouette import Surface
from guidance.messages import PlannedPath, Zone, ZoneShape
from guidance.overlay.zones import NO_ZONES, PathAid, ZonesOnPicture
from guidance.tracking.known_metal import KnownMetal

WatchKey = tuple[str, str]
AidKey = tuple[PlannedPath, tuple[Zone, ...], int, str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Planned:
    """Results of planning.

    Attributes:
        surfaces: by shape, so that a zone keeps its outline when its name or colour changes.
        aids: by path id: what it was worked out from (`aid_key`), and what came out.
        watch: the volume to hold frames against, and its metal, beside what they were made from (`watch_key`); None:
            not made yet.
        space: where cement can be in the volume, beside what it was made from (`watch_key`); None: not made yet.
    """

    surfaces: Mapping[ZoneShape, Surface] = field(default_factory=dict)
    aids: Mapping[str, tuple[AidKey, PathAid]] = field(default_factory=dict)
    watch: tuple[WatchKey, WatchVolume, KnownMetal] | None = None
    space: tuple[WatchKey, CementSpace] | None = None


def aid_key(case: Case, path: PlannedPath) -> AidKey:
    """All that a path's margin and views depend on."""
    return path, active_zones(case), case.epoch, watch_key(case)[1]


def watch_key(case: Case) -> WatchKey:
    """Id of the active volume and the block that its voxels are in: late slices can give it others."""
    block = next((volume.shared_memory for volume in case.volumes if volume.id == case.active_volume_id), "")
    return case.active_volume_id, block


def watch_of(case: Case, planned: Planned) -> tuple[WatchVolume, KnownMetal] | None:
    """The volume to hold frames against, and its metal, where they are of the active one."""
    if planned.watch is None or planned.watch[0] != watch_key(case):
        return None
    return planned.watch[1:]


def space_of(case: Case, planned: Planned) -> CementSpace | None:
    """Where cement can be, where that is of the active volume."""
    return planned.space[1] if planned.space is not None and planned.space[0] == watch_key(case) else None


def zones_on_picture(case: Case, planned: Planned, before: ZonesOnPicture = NO_ZONES) -> ZonesOnPicture:
    """The zones of the active frame; the very same object as `before` where nothing of it has changed.

    Without an active volume nothing is known to be in the picture's frame, so nothing is shown.
    """
    zones = active_zones(case) if case.active is not None else ()
    with_surface = tuple((zone, planned.surfaces[zone.shape]) for zone in zones if zone.shape in planned.surfaces)
    missing = tuple(zone.name for zone in zones if zone.shown and zone.shape not in planned.surfaces)
    same = (before.missing, before.shown) == (missing, case.zones_shown) and len(before.surfaces) == len(with_surface)
    if same and all(a[0] == b[0] and a[1] is b[1] for a, b in zip(before.surfaces, with_surface, strict=True)):
        return before
    return ZonesOnPicture(surfaces=with_surface, missing=missing, shown=case.zones_shown)


def path_aids(case: Case, planned: Planned) -> dict[str, PathAid]:
    """Margins and views of the drawable paths, as far as they still hold."""
    return {
        path.id: planned.aids[path.id][1]
        for path in drawable_paths(case)
        if path.id in planned.aids and planned.aids[path.id][0] == aid_key(case, path)
    }
