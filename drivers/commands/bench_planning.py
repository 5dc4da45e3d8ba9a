"""`guidance bench planning`: path drags, corridor search, zone outlines; their growth with the volume, beside peers."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np

from drivers.commands.bench_report import percentile, report
from drivers.commands.planning_peers import Frames, brute_force_distances_mm, contour_silhouettes, scipy_distance_mm
from drivers.commands.planning_scene import PlanningScene, dragged, planning_scene, pose
from guidance.config import PlanningSettings
from guidance.planning.bone import BoneModel
from guidance.planning.c_arms import c_arm_library
from guidance.planning.distance import field_of_occupancy
from guidance.planning.instruments import instrument_library
from guidance.planning.model import PlanningModel, ZoneFields
from guidance.planning.surface import ZoneSurface

EDGES: Final = (128, 256, 384, 512)
QUICK_EDGES: Final = (128, 512)  # bone and corridors take seconds at any size: quick, they are measured at the largest
_LARGEST: Final = 512
_THREADS: Final = 2  # for what a server works out before anybody asks
_COPIED_BYTES: Final = 8 << 20
_CORRIDOR_DIAMETER_MM: Final = 7.3


@dataclass(slots=True)
class _Timer:
    """Wall and CPU time of runs, ms; CPU of all threads of this process."""

    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def run(self, job: Callable[[], Any]) -> Any:
        cpu_ns, wall_ns = time.process_time_ns(), time.perf_counter_ns()
        answer = job()
        self.wall_ms.append((time.perf_counter_ns() - wall_ns) / 1e6)
        self.cpu_ms.append((time.process_time_ns() - cpu_ns) / 1e6)
        return answer

    @property
    def median_ms(self) -> float:
        return percentile(self.wall_ms, 50.0) or 0.0

    @property
    def p95_ms(self) -> float:
        return percentile(self.wall_ms, 95.0) or 0.0

    @property
    def median_cpu_ms(self) -> float:
        return percentile(self.cpu_ms, 50.0) or 0.0


@dataclass(slots=True, kw_only=True, eq=False)
class _Measured:
    """One volume size; every list in the order of the runs."""

    fields: _Timer = field(default_factory=_Timer)
    surfaces: _Timer = field(default_factory=_Timer)
    prepared: _Timer = field(default_factory=_Timer)
    corridor: _Timer = field(default_factory=_Timer)
    drag: _Timer = field(default_factory=_Timer)
    bare: dict[str, _Timer] = field(default_factory=lambda: {"still": _Timer(), "moving": _Timer()})
    drawn: dict[str, _Timer] = field(default_factory=lambda: {"still": _Timer(), "moving": _Timer()})
    copy: _Timer = field(default_factory=_Timer)
    peers: dict[str, _Timer] = field(default_factory=dict)

    def added_ms(self, which: str) -> list[float]:
        """What zones add to a frame, frame by frame: each with them beside the same one without, in turn."""
        pairs = zip(self.drawn[which].wall_ms, self.bare[which].wall_ms, strict=True)
        return [drawn - bare for drawn, bare in pairs]


def run_planning(*, quick: bool) -> dict[str, Any]:
    """Measure; `path_drag_ms`, `corridor_search_s` and both silhouette times are medians at 512^3.

    `path_drag_ms`: clearance of a path that moves with every question, ten zones, two other paths, bone known (quick,
    only at 512^3).
    `corridor_search_s`: trans-sacral S1, the volume's bone known. `prepare_s`: what a new volume or
    zone costs before that, once: bone, skin and grids of distances. `silhouette_still_ms`, `silhouette_moving_ms`:
    what ten zones add to a frame of 1024 x 1024 px, from scene to composed picture, with the same pose in every frame
    and with another one. `noise_percent`: half the distance of the quartiles of a copy of 8 MiB, over its median.
    """
    rounds = {"drags": 40 if quick else 200, "frames": 40 if quick else 200, "peers": 1 if quick else 5}
    searches = 1 if quick else 3
    edges = QUICK_EDGES if quick else EDGES
    measured = {edge: _measured(edge, rounds, searches if edge == _LARGEST or not quick else 0) for edge in edges}
    largest = measured[_LARGEST]
    figures: dict[str, Any] = {
        "path_drag_ms": largest.drag.median_ms,
        "path_drag_p95_ms": largest.drag.p95_ms,
        "path_drag_cpu_ms": largest.drag.median_cpu_ms,
        "corridor_search_s": largest.corridor.median_ms / 1000.0,
        "corridor_search_cpu_s": largest.corridor.median_cpu_ms / 1000.0,
    }
    for which in ("still", "moving"):
        added = largest.added_ms(which)
        figures[f"silhouette_{which}_ms"] = percentile(added, 50.0)
        figures[f"silhouette_{which}_p95_ms"] = percentile(added, 95.0)
        figures[f"frame_{which}_cpu_ms"] = largest.drawn[which].median_cpu_ms
    figures |= {
        "zone_fields_s": largest.fields.median_ms / 1000.0,
        "zone_surfaces_s": largest.surfaces.median_ms / 1000.0,
        "prepare_s": largest.prepared.median_ms / 1000.0,
    }
    for name, timer in largest.peers.items():
        figures[f"{name}_ms"] = timer.median_ms
    figures["speedup_field_vs_scipy"] = largest.peers["field_scipy"].median_ms / largest.peers["field"].median_ms
    figures["speedup_drag_vs_numpy"] = largest.peers["clearance_numpy"].median_ms / largest.drag.median_ms
    figures["speedup_silhouettes_vs_contours"] = (
        largest.peers["silhouettes_contours"].median_ms / figures["silhouette_moving_ms"]
    )
    lower, upper = (percentile(largest.copy.wall_ms, q) or 0.0 for q in (25.0, 75.0))
    figures["copy_8_mib_ms"] = largest.copy.median_ms
    figures["noise_percent"] = 50.0 * (upper - lower) / largest.copy.median_ms
    series: dict[str, list[Any]] = {
        "edge": list(edges),
        "path_drag_ms": [round(one.drag.median_ms, 3) for one in measured.values()],
        "corridor_search_s": [_seconds(one.corridor) for one in measured.values()],
        "zone_fields_s": [_seconds(one.fields) for one in measured.values()],
        "zone_surfaces_s": [_seconds(one.surfaces) for one in measured.values()],
        "prepare_s": [_seconds(one.prepared) for one in measured.values()],
        **{
            f"silhouette_{which}_ms": [
                round(percentile(one.added_ms(which), 50.0) or 0.0, 3) for one in measured.values()
            ]
            for which in ("still", "moving")
        },
        "path_drag_all_ms": [round(value, 3) for value in largest.drag.wall_ms],
        "silhouette_moving_all_ms": [round(value, 3) for value in largest.added_ms("moving")],
    }
    settings = {
        "zones": 10,
        "other_paths": 2,
        "threads_for_fields_and_surfaces": _THREADS,
        "picture_px": [1024, 1024],
        "corridor": {"level": "s1", "diameter_mm": _CORRIDOR_DIAMETER_MM},
        "searches": searches,
        **rounds,
        "quick": quick,
        "order": "drag and copy in turn; a frame with zones and the same without, in turn; sizes one after the other",
    }
    return report("planning", settings=settings, figures=figures, series=series)


def _seconds(timer: _Timer) -> float | None:
    return round(timer.median_ms / 1000.0, 3) if timer.wall_ms else None


def _measured(edge: int, rounds: dict[str, int], searches: int) -> _Measured:
    scene, one = planning_scene(edge), _Measured()
    fields = ZoneFields(scene.masks.__getitem__)
    model = PlanningModel(
        scene.volume,
        fields,
        library=instrument_library(),
        c_arm=c_arm_library().models[0],
        settings=PlanningSettings(),
    )
    with ThreadPoolExecutor(_THREADS) as pool:
        one.fields.run(lambda: list(pool.map(fields.field, [zone.shape for zone in scene.zones])))
        surfaces = one.surfaces.run(lambda: list(pool.map(fields.surface, [zone.shape for zone in scene.zones])))
    # What the server does when volume or zones have changed, before anybody drags or searches.
    bone = one.prepared.run(lambda: model.prepare(scene.zones)) if searches else None
    _search(one, model, scene, searches)
    _drag(one, model, scene, rounds["drags"], bone)
    _frames(one, scene, surfaces, rounds["frames"])
    if edge == _LARGEST:
        _peers(one, scene, surfaces, rounds["peers"])
    return one


def _search(one: _Measured, model: PlanningModel, scene: PlanningScene, searches: int) -> None:
    for _ in range(searches):
        one.corridor.run(
            lambda: model.corridor(scene.zones, level="s1", diameter_mm=_CORRIDOR_DIAMETER_MM, margin_mm=0.0, side=None)
        )


def _drag(one: _Measured, model: PlanningModel, scene: PlanningScene, drags: int, bone: BoneModel | None) -> None:
    source, target = np.zeros(_COPIED_BYTES, np.uint8), np.empty(_COPIED_BYTES, np.uint8)
    others = scene.other_paths
    model.clearance(scene.path, scene.zones, others, bone=bone)
    for step in range(drags):
        path = dragged(scene.path, step)
        one.drag.run(partial(model.clearance, path, scene.zones, others, bone=bone))
        one.copy.run(lambda: np.copyto(target, source))


def _frames(one: _Measured, scene: PlanningScene, surfaces: list[ZoneSurface], frames: int) -> None:
    live = Frames(scene, surfaces)
    for which in ("still", "moving"):
        for step in range(frames + 1):
            matrix = pose(step if which == "moving" else 0)
            # Which of the two comes first changes, so that neither finds the other's caches warm.
            order = (one.bare, one.drawn) if step % 2 else (one.drawn, one.bare)
            for timers in order:
                timers[which].run(partial(live.draw, matrix, zones=timers is one.drawn))
        for timers in (one.bare, one.drawn):  # the first frame of each builds what is built once
            del timers[which].wall_ms[0], timers[which].cpu_ms[0]


def _peers(one: _Measured, scene: PlanningScene, surfaces: list[ZoneSurface], rounds: int) -> None:
    mask = min(scene.masks.values(), key=lambda occupancy: occupancy.values.size)
    jobs: dict[str, Callable[[int], Any]] = {
        "field": lambda _: field_of_occupancy(mask),
        "field_scipy": lambda _: scipy_distance_mm(mask),
        "clearance_numpy": lambda step: brute_force_distances_mm(dragged(scene.path, step), surfaces),
        "silhouettes_contours": lambda step: contour_silhouettes(surfaces, pose(step)),
    }
    one.peers = {name: _Timer() for name in jobs}
    for step in range(rounds):
        for name, job in jobs.items():
            one.peers[name].run(partial(job, step))
